//! Tests that need no cluster. Everything else about the program is tested in `e2e/tests/suite`, on real clusters. This
//! file also makes `cargo test --workspace` build the program that those tests run.

use std::process::{Command, Output};

fn crdctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crdctl")).args(arguments).output().expect("crdctl runs")
}

#[test]
fn its_help_goes_to_stdout_and_names_every_command() {
    let output = crdctl(&["--help"]);
    let help = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let lists = |command: &str| help.lines().any(|line| line.trim_start().starts_with(command));
    for command in ["watch", "crd", "config", "completion"] {
        assert!(lists(command), "{command} in {help}");
    }
    for command in ["demo", "serve"] {
        assert_eq!(lists(command), cfg!(feature = "server"), "{command} in {help}");
    }
}

#[test]
fn wrong_usage_is_reported_on_stderr_with_code_2() {
    let output = crdctl(&["watch", "--no-such-option"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(said.contains("--no-such-option"), "{said}");
}

#[test]
fn each_shell_has_a_completion_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = crdctl(&["completion", shell]);
        let script = String::from_utf8_lossy(&output.stdout);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{shell}");
        for word in ["watch", "crd", "install", "config", "completion", "field-selector"] {
            assert!(script.contains(word), "{word} in the script for {shell}");
        }
    }
    assert_eq!(crdctl(&["completion", "csh"]).status.code(), Some(2));
}

/// Every machine that builds this has bash, so its script is loaded and tried.
#[test]
fn bash_completes_commands() {
    let output = crdctl(&["completion", "bash"]);
    let complete =
        "COMP_WORDS=(crdctl c); COMP_CWORD=1; _crdctl crdctl c crdctl; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let script = format!("{}\n{complete}\n", String::from_utf8_lossy(&output.stdout));
    let output = Command::new("bash").args(["--norc", "-c", &script]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let offered = String::from_utf8_lossy(&output.stdout);
    assert_eq!(offered.lines().collect::<Vec<_>>(), ["crd", "config", "completion"]);
}

#[test]
fn a_manual_needs_an_existing_folder() {
    let output = crdctl(&["manual", "/no/such/folder"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(said.contains("/no/such/folder") && said.lines().count() == 1, "{said}");
}
