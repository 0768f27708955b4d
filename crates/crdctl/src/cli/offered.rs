//! Which of the global options a command uses. They are global so that they may stand before the command, as in
//! `crdctl --context x watch blogs`. A command does not offer those that it ignores, and refuses them.

use clap::{Arg, ArgMatches, error::ErrorKind, parser::ValueSource};

use crate::program;

/// The help heading of the options that choose the cluster.
const CLUSTER: &str = "Cluster";

/// Whether the command, such as `crd print`, uses the global option.
fn uses(command: &str, option: &Arg) -> bool {
    let (id, of_cluster) = (option.get_id().as_str(), option.get_help_heading() == Some(CLUSTER));
    match command {
        "completion" | "manual" | "crd print" | "crd validate" | "envtest" => {
            !of_cluster && !["log_format", "verbosity"].contains(&id)
        }
        // They make a cluster of their own.
        "demo" | "serve" => !of_cluster,
        // It asks an operator, not a cluster.
        "queue" => !of_cluster && id != "request_timeout",
        // They send no request.
        "config" => id != "request_timeout",
        // What they ask for is in no namespace.
        "crd install" | "crd check" | "version" => id != "namespace",
        // They list what the files contain.
        "config get-contexts" | "config current-context" => id == "kubeconfig" || !of_cluster,
        _ => true,
    }
}

/// Hides the options that commands ignore from their help and completion.
pub(super) fn hide_ignored(command: clap::Command) -> clap::Command {
    let global = global_options(&command);
    command.mut_subcommands(|below| hide(below, "", &global))
}

fn hide(command: clap::Command, above: &str, global: &[Arg]) -> clap::Command {
    let path = format!("{above} {}", command.get_name());
    let path = path.trim();
    let ignored = global.iter().filter(|option| !uses(path, option));
    // clap does not replace an argument that is there already.
    let ignored: Vec<Arg> = ignored.map(|option| option.clone().hide(true)).collect();
    command.args(ignored).mut_subcommands(|below| hide(below, path, global))
}

/// Fails if the user gave an option that the command ignores.
pub(super) fn refuse_ignored(command: &mut clap::Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let (mut path, mut last) = (Vec::new(), matches);
    while let Some((name, below)) = last.subcommand() {
        path.push(name);
        last = below;
    }
    let path = path.join(" ");
    let given = |option: &Arg| last.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine);
    let ignored = |option: &Arg| given(option) && !uses(&path, option);
    match global_options(command).into_iter().find(ignored) {
        None => Ok(()),
        Some(option) => {
            let option = option.get_long().unwrap_or(option.get_id().as_str());
            let problem = format!("`{} {path}` does not use --{option}", program::name());
            Err(command.error(ErrorKind::UnknownArgument, problem))
        }
    }
}

fn global_options(command: &clap::Command) -> Vec<Arg> {
    command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect()
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use crate::cli::{Cluster, command};

    #[test]
    fn the_options_that_choose_the_cluster_have_their_heading() {
        for option in Cluster::augment_args(clap::Command::new("")).get_arguments() {
            assert_eq!(option.get_help_heading(), Some(super::CLUSTER), "{option}");
        }
    }

    fn refused(line: &str) -> Option<String> {
        let mut command = command();
        let matches = command.try_get_matches_from_mut(line.split(' ')).unwrap();
        super::refuse_ignored(&mut command, &matches).err().map(|error| error.to_string())
    }

    #[test]
    fn an_option_that_a_command_ignores_is_refused_wherever_it_stands() {
        for line in [
            "crdctl completion bash --kubeconfig x",
            "crdctl --kubeconfig x completion bash",
            "crdctl crd print --context x",
            "crdctl crd --context x print",
            "crdctl crd print --log-format json",
            "crdctl config --request-timeout 5s",
            "crdctl config get-contexts --context x",
            "crdctl config --context x current-context",
        ] {
            assert!(refused(line).is_some_and(|error| error.contains("does not use --")), "{line}");
        }
        for line in [
            "crdctl --kubeconfig x watch blogs",
            "crdctl --log-format json crd install --context x",
            "crdctl config --context x",
            "crdctl config --kubeconfig x get-contexts",
            "crdctl version --client --context x",
            "crdctl completion bash",
        ] {
            assert_eq!(refused(line), None, "{line}");
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_command_with_a_cluster_of_its_own_refuses_options_that_choose_one() {
        let problem = refused("crdctl demo --kubeconfig x").unwrap();
        assert!(problem.contains("`crdctl demo` does not use --kubeconfig"), "{problem}");
        assert_eq!(refused("crdctl serve --log-format json"), None);
    }

    #[test]
    fn help_shows_only_the_options_that_a_command_uses() {
        let help = |path: &[&str]| {
            let mut command = command();
            command.build();
            let found = path.iter().try_fold(&mut command, |at, name| at.find_subcommand_mut(name));
            found.unwrap().render_help().to_string()
        };
        for (path, option, shown) in [
            (&["watch"][..], "--kubeconfig", true),
            (&["crd", "install"], "--context", true),
            (&["crd", "print"], "--context", false),
            (&["crd", "print"], "--log-format", false),
            (&["completion"], "--kubeconfig", false),
            (&["config"], "--context", true),
            (&["config"], "--request-timeout", false),
            (&["config", "get-contexts"], "--kubeconfig", true),
            (&["config", "get-contexts"], "--context", false),
        ] {
            assert_eq!(help(path).contains(option), shown, "{option} in {}", help(path));
        }
    }
}
