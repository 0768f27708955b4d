//! Examples at the end of each command's help.

use crate::program;

/// Each command, and lines for a shell in which `crdctl` stands for the name by which the program was called.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "crdctl config                            # which cluster, and why",
            "crdctl watch configmaps -A               # any resource, any change",
            "crdctl help watch                        # all options of a command",
        ],
    ),
    (
        "watch",
        &[
            "crdctl watch pods -A -l app=web          # all namespaces, by label",
            "crdctl watch blogs,pods --events         # with their Events",
            "crdctl watch blogs --by --timestamps     # what, who, and when",
            "crdctl watch blogs -o json | jq -c .type # one line of JSON each",
        ],
    ),
    (
        "demo",
        &[
            "crdctl demo                              # until Ctrl-C",
            "crdctl demo --every 0 -o json | jq -c .  # only changes, as JSON",
        ],
    ),
    (
        "serve",
        &[
            "crdctl serve                             # in memory, on port 6443",
            "crdctl serve --data-dir ./cluster --port 0 # on disk, on a free port",
            "crdctl serve --bind-address 0.0.0.0 --kubeconfig-out - # container",
            "KUBECONFIG=./cluster/kubeconfig crdctl crd install",
        ],
    ),
    (
        "envtest",
        &[
            "KUBEBUILDER_ASSETS=$(crdctl envtest) go test ./...",
            "eval \"$(crdctl envtest --controllers -p env)\"",
        ],
    ),
    ("crd", &["crdctl crd print", "crdctl crd install && crdctl crd check"]),
    ("crd print", &["crdctl crd print > blogs.yaml", "crdctl crd print | kubectl diff --server-side -f -"]),
    (
        "crd install",
        &["crdctl crd install", "crdctl crd install --force-conflicts     # if kubectl applied it"],
    ),
    ("crd check", &["crdctl crd check", "crdctl crd check || crdctl crd install"]),
    (
        "crd validate",
        &[
            "crdctl crd validate config/crd/bases/*.yaml",
            "kustomize build config/crd | crdctl crd validate -",
        ],
    ),
    (
        "config",
        &[
            "crdctl config",
            "crdctl config --context production       # what that one would choose",
            "crdctl config -o json | jq -r .server.value",
        ],
    ),
    (
        "config get-contexts",
        &["crdctl config get-contexts", "crdctl config get-contexts -o name | grep prod"],
    ),
    (
        "config current-context",
        &["crdctl config current-context", "crdctl config current-context --kubeconfig ./kubeconfig"],
    ),
    (
        "blame",
        &[
            "crdctl blame blog/blog-sample            # who owns what, since when",
            "crdctl blame pod web -o json",
        ],
    ),
    (
        "wait",
        &[
            "crdctl wait pod/web --for condition=Ready --timeout 2m",
            "crdctl wait blog/a --for condition=Ready --fail-on condition=Failed",
            "crdctl wait pods -l app=web --for delete",
            "crdctl wait job/x --for condition=Complete --or condition=Failed",
        ],
    ),
    (
        "queue",
        &["crdctl queue localhost:8080", "crdctl queue localhost:8080 -o json | jq -r .controllers[].ready"],
    ),
    ("version", &["crdctl version", "crdctl version -o json | jq -r .serverVersion.gitVersion"]),
    (
        "completion",
        &[
            "source <(crdctl completion bash)         # ~/.bashrc; zsh: ~/.zshrc",
            "crdctl completion fish | source          # ~/.config/fish/config.fish",
            "crdctl completion powershell | Out-String | iex # $PROFILE",
            "eval (crdctl completion elvish | slurp)  # ~/.config/elvish/rc.elv",
        ],
    ),
];

/// Adds the examples to the help of the commands.
pub(super) fn add(command: clap::Command) -> clap::Command {
    with_examples(command, "")
}

fn with_examples(command: clap::Command, path: &str) -> clap::Command {
    let below = |command: clap::Command| {
        let path = format!("{path} {}", command.get_name());
        with_examples(command, path.trim())
    };
    let command = command.mut_subcommands(below);
    match EXAMPLES.iter().find(|(of, _)| *of == path) {
        Some((_, lines)) => command.after_help(text(lines)),
        None => command,
    }
}

fn text(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    format!("Examples:{}", lines.replace(env!("CARGO_BIN_NAME"), program::name()))
}

#[cfg(test)]
mod tests {
    use crate::cli::command;

    fn each(command: &clap::Command, visit: &mut impl FnMut(&clap::Command)) {
        visit(command);
        command.get_subcommands().filter(|below| !below.is_hide_set()).for_each(|below| each(below, visit));
    }

    #[test]
    fn each_command_has_examples_that_it_accepts() {
        each(&command(), &mut |found| {
            let examples = found.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = examples.lines().skip(1).collect();
            assert!(examples.starts_with("Examples:"), "{} has no examples", found.get_name());
            // Manual pages fill longer lines.
            assert!(lines.iter().all(|line| line.len() <= 71), "{lines:?}");
            assert!((1..=4).contains(&lines.len()), "{}: {lines:?}", found.get_name());
            for call in lines.iter().flat_map(|line| line.split(['#', '|', '&', '>', '(', ')'])) {
                let Some((_, call)) = call.split_once("crdctl ") else { continue };
                let words = call.split_whitespace();
                let parsed = command().try_get_matches_from(std::iter::once("crdctl").chain(words));
                let help = |error: &clap::Error| error.kind() == clap::error::ErrorKind::DisplayHelp;
                assert!(parsed.as_ref().map_or_else(help, |_| true), "{call}: {:?}", parsed.err());
            }
        });
    }
}
