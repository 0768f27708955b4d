//! Completion without a cluster: the scripts, in each shell that is installed, and what the program offers for a kubeconfig.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

/// A folder with the program, under the names by which it can be called, and a kubeconfig.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(kubeconfig: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        for name in ["crdctl", "kubectl-crd", "kubectl_complete-crd"] {
            let link = place.path(name);
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_crdctl"), link).expect("a link");
        }
        fs::write(place.path("config"), kubeconfig).expect("a kubeconfig");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Prepares a program that finds crdctl in its PATH.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.folder.path().to_owned()].into_iter().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(path).expect("a PATH"));
        command.env("KUBECONFIG", self.path("config")).env("HOME", self.folder.path());
        command.env_remove("NAMESPACE").current_dir(self.folder.path());
        command
    }

    fn script(&self, program: &str, shell: &str) -> String {
        text(&self.command(self.path(program)).args(["completion", shell]).output().expect("crdctl runs"))
    }

    /// Returns what bash offers for the words, of which the last one is at the cursor.
    fn bash(&self, words: &[&str]) -> Vec<String> {
        self.bash_at(words, words.len() - 1)
    }

    fn bash_at(&self, words: &[&str], cursor: usize) -> Vec<String> {
        let word = words[cursor];
        let complete = "COMP_WORDS=(\"$@\"); COMP_CWORD=$CURSOR; _crdctl crdctl \"$WORD\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let script = format!("{}\n{complete}\n", self.script("crdctl", "bash"));
        let mut bash = self.command("bash");
        bash.args(["--norc", "-c", &script, "bash"]).args(words);
        // After a `=` or a `:`, bash completes an empty word.
        bash.env("WORD", if ["=", ":"].contains(&word) { "" } else { word });
        bash.env("CURSOR", cursor.to_string());
        offered(&bash.output().expect("bash runs"))
    }
}

/// Checks that nothing went wrong and nothing was said, and returns the output.
fn text(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn offered(output: &Output) -> Vec<String> {
    text(output).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn is_installed(shell: &str) -> bool {
    Command::new(shell).arg("--version").output().is_ok()
}

const CONTEXTS: &str = r#"
current-context: dev
contexts:
- {name: dev, context: {cluster: c, user: u}}
- {name: "arn:aws:eks:eu:1:cluster/x", context: {cluster: c, user: u}}
- {name: "admin@prod", context: {cluster: c, user: u}}
- {name: "admin@test", context: {cluster: c, user: u}}
- {name: "with space", context: {cluster: c, user: u}}
- {name: "$(touch owned)", context: {cluster: c, user: u}}
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"#;

#[test]
fn each_shell_has_a_script_for_each_name_of_the_program() {
    let place = Place::new("");
    for shell in SHELLS {
        for program in ["crdctl", "kubectl-crd"] {
            let script = place.script(program, shell);
            assert!(script.contains("CRDCTL_COMPLETE"), "{script}");
            // Not a path of the machine that wrote it, so that it can be packaged.
            assert!(
                script.contains(program) && !script.contains(place.folder.path().to_str().expect("UTF-8"))
            );
        }
    }
    let unknown = place.command("crdctl").args(["completion", "csh"]).output().expect("crdctl runs");
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn bash_completes_commands_options_and_values() {
    let place = Place::new(CONTEXTS);
    let of_crd: &[&str] = match cfg!(feature = "server") {
        true => &["print", "install", "check", "validate", "help"],
        false => &["print", "install", "check", "help"],
    };
    for (words, want) in [
        (&["crdctl", "co"][..], &["config", "completion"][..]),
        (&["crdctl", "crd", ""], of_crd),
        (&["crdctl", "completion", "p"], &["powershell"]),
        (&["crdctl", "watch", "--fie"], &["--field-selector"]),
        // An option is offered only where it is used.
        (&["crdctl", "crd", "install", "--con"], &["--context"]),
        (&["crdctl", "crd", "print", "--"], &["--help"]),
        (&["crdctl", "--context", "d"], &["dev"]),
        (&["crdctl", "watch", "--context", "d"], &["dev"]),
        (&["crdctl", "watch", "--context", "dev,d"], &["dev,dev"]),
        (&["crdctl", "config", "get-contexts", "d"], &["dev"]),
        // Bash splits words at these characters, and replaces only what follows.
        (&["crdctl", "--context", "=", "d"], &["dev"]),
        (&["crdctl", "--context", "arn", ":", "aws"], &["aws:eks:eu:1:cluster/x"]),
        (&["crdctl", "--context", "=", "arn", ":"], &["aws:eks:eu:1:cluster/x"]),
        (&["crdctl", "--context", "admin@"], &["admin@prod", "admin@test"]),
    ] {
        assert_eq!(place.bash(words), want, "{words:?}");
    }
    // The cursor may be within the line, and what follows still counts.
    assert_eq!(place.bash_at(&["crdctl", "watch", "--fie", "blogs"], 2), ["--field-selector"]);
    assert_eq!(place.bash_at(&["crdctl", "--context", "", "--kubeconfig", "/dev/null"], 2), [""; 0]);
    // Words that a shell would split or run are not offered.
    let all = place.bash(&["crdctl", "--context", ""]);
    assert_eq!(all, ["admin@prod", "admin@test", "arn:aws:eks:eu:1:cluster/x", "dev"]);
}

#[test]
fn fish_completes_if_it_is_installed() {
    if !is_installed("fish") {
        println!("skipped: no fish on PATH");
        return;
    }
    let place = Place::new(CONTEXTS);
    let complete = |line: &str| {
        let script = format!("crdctl completion fish | source; complete -C '{line}'");
        offered(&place.command("fish").args(["--no-config", "-c", &script]).output().expect("fish runs"))
    };
    assert!(complete("crdctl co")[0].starts_with("config\tShow how the cluster is chosen"));
    assert_eq!(complete("crdctl watch --context d"), ["dev"]);
    assert_eq!(complete("crdctl --context=arn:"), ["--context=arn:aws:eks:eu:1:cluster/x"]);
}

#[test]
fn zsh_completes_if_it_is_installed() {
    if !is_installed("zsh") {
        println!("skipped: no zsh on PATH");
        return;
    }
    let place = Place::new(CONTEXTS);
    fs::write(place.path("_crdctl"), place.script("crdctl", "zsh")).expect("a script");
    // A function that zsh loads from its `fpath` completes at its first call, too. Only the completion system is replaced.
    let complete = |words: &[&str]| {
        let script = concat!(
            "compdef() { :; }; _describe() { print -rl -- ${(P)3} }; fpath=(. $fpath); autoload -Uz _crdctl\n",
            "words=(\"$@\"); CURRENT=$#; _crdctl\n",
        );
        let mut zsh = place.command("zsh");
        offered(&zsh.args(["-f", "-c", script, "zsh"]).args(words).output().expect("zsh runs"))
    };
    assert!(complete(&["crdctl", "co"])[0].starts_with("config:Show how the cluster is chosen"));
    assert_eq!(complete(&["crdctl", "watch", "--context", "d"]), ["dev"]);
    assert_eq!(complete(&["crdctl", "--context", "arn:"]), [r"arn\:aws\:eks\:eu\:1\:cluster/x"]);
}

#[test]
fn kubectl_gets_candidates_with_descriptions_and_a_directive() {
    let place = Place::new(CONTEXTS);
    let complete = |words: &[&str]| {
        let program = place.path("kubectl_complete-crd");
        offered(&place.command(program).args(words).output().expect("crdctl runs"))
    };
    let lines = complete(&["crd", "in"]);
    assert!(lines[0].starts_with("install\tApply the CRD"), "{lines:?}");
    assert_eq!(lines[1..], [":4"]);
    assert_eq!(complete(&["watch", "--context", "d"]), ["dev", ":4"]);
    assert_eq!(complete(&["watch", "--no-such-"]), [":4"]);
    if is_installed("kubectl") {
        let words = ["__complete", "crd", "watch", "--context", "d"];
        let output = place.command("kubectl").args(words).output().expect("kubectl runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "dev\n:4\n");
    }
    // The cursor stays behind a folder.
    fs::create_dir(place.path("folder")).expect("a folder");
    assert_eq!(complete(&["watch", "--kubeconfig", "fol"]), ["folder/", ":6"]);
}

/// A server that accepts connections and never answers, or none, or no kubeconfig.
#[test]
fn nothing_is_offered_and_nothing_is_said_without_a_cluster() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = |address: &str| CONTEXTS.replace("https://127.0.0.1:1", &format!("http://{address}"));
    let silent = server(&silent.local_addr().expect("an address").to_string());
    for kubeconfig in [&*silent, &server("127.0.0.1:1"), "", "clusters: {"] {
        let place = Place::new(kubeconfig);
        for words in [
            &["crdctl", "watch", ""][..],
            &["crdctl", "watch", "blogs", ""],
            &["crdctl", "watch", "blog/"],
            &["crdctl", "watch", "blogs", "-n", ""],
        ] {
            assert_eq!(place.bash(words), [""; 0], "{words:?} with {kubeconfig}");
        }
    }
}

/// `script` gives the request a terminal, as a shell does.
#[test]
fn a_credential_plugin_has_no_terminal() {
    let place = Place::new("");
    let plugin = place.path("plugin");
    let asks =
        "#!/bin/sh\necho ran >>ran\necho noise >&2\nif (: </dev/tty) 2>/dev/null; then echo tty >>ran; fi\n";
    write_script(&plugin, asks);
    let exec = |mode: &str| {
        let exec = format!(
            "{{apiVersion: client.authentication.k8s.io/v1, command: {}, interactiveMode: {mode}}}",
            plugin.display()
        );
        let config = CONTEXTS.replace("{token: t}", &format!("{{exec: {exec}}}"));
        fs::write(place.path("config"), config).expect("a kubeconfig");
        // As in a shell, the program does not lead its process group.
        let request = "CRDCTL_COMPLETE=fish crdctl -- crdctl watch ''; true";
        let output =
            place.command("script").args(["-qec", request, "/dev/null"]).output().expect("script runs");
        assert_eq!(offered(&output), [""; 0]);
        fs::read_to_string(place.path("ran")).unwrap_or_default()
    };
    // One that must ask is not started.
    assert_eq!(exec("Always"), "");
    assert_eq!(exec("IfAvailable"), "ran\n");
}

/// Writes an executable, in another process: a file that a process of this test still has open cannot be executed.
fn write_script(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"printf %s "$1" >"$0" && chmod +x "$0""#]).arg(path).arg(text);
    assert!(shell.status().expect("sh runs").success());
}
