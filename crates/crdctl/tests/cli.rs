//! What needs no cluster. Everything else about the program is tested in `e2e/tests/suite`, on real clusters; that this
//! file is here makes `cargo test --workspace` build the program that those tests run.

use std::process::{Command, Output};

fn crdctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crdctl")).args(arguments).output().expect("crdctl runs")
}

#[test]
fn its_help_goes_to_stdout_and_names_every_command() {
    let output = crdctl(&["--help"]);
    let help = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    for command in ["watch", "demo", "crd", "config"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command} in {help}");
    }
}

#[test]
fn wrong_usage_is_told_on_stderr_with_code_2() {
    let output = crdctl(&["watch", "--no-such-option"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(said.contains("--no-such-option"), "{said}");
}
