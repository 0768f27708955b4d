//! stdout for data, stderr for everything else. Neither can make the program panic.

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

/// Tells the user something on stderr, in one line that commands no terminal.
pub(crate) fn say(line: &str) {
    // Whoever closed stderr does not want to know.
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// A closed pipe is success: whoever closed it has seen enough.
pub(crate) fn unless_closed(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}

/// A text whose control characters are spelled out.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}
