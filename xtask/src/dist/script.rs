//! Scripts that stand for programs in tests.

use std::{path::Path, process::Command};

/// Writes an executable. Another process does it: a file that this one has open for writing cannot be executed, and every
/// process that a test beside starts has it open for a moment.
pub(crate) fn write(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"printf %s "$1" >"$0" && chmod +x "$0""#]).arg(path).arg(text);
    assert!(shell.status().unwrap().success());
}
