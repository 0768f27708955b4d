//! Scripts that replace programs in tests.

use std::{path::Path, process::Command};

/// Writes an executable, in another process. A file that is open for writing cannot be executed, and if this process wrote it,
/// every process that a concurrent test starts would hold it open for a moment.
pub(crate) fn write(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"printf %s "$1" >"$0" && chmod +x "$0""#]).arg(path).arg(text);
    assert!(shell.status().unwrap().success());
}
