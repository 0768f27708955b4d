//! Data goes to stdout, everything else to stderr. Writing to a closed stream never panics.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};

/// Prints data on stdout.
pub(crate) fn print(text: &str) -> Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    unless_closed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a message for the user on stderr, in one line that cannot control the terminal.
pub(crate) fn say(line: &str) {
    // If stderr is closed, nobody reads the message.
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// Treats a closed pipe as success: its reader needs no more.
pub(crate) fn unless_closed(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}

/// Makes a text safe to print in a line: it cannot break the line or control the terminal. As a cell of kubectl's, it ends at the
/// first line break, and other control characters are escaped (cli-runtime's `printers/tableprinter.go` and `terminal.go`).
pub(crate) fn one_line(text: &str) -> String {
    let (line, cut) = match text.split_once(['\n', '\r', '\u{c}']) {
        Some((first, _)) => (first, "..."),
        None => (text, ""),
    };
    printable(line) + cut
}

/// Quotes a text for a POSIX shell.
#[cfg(feature = "server")]
pub(crate) fn in_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Escapes the control characters of a text.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}
