//! Runs the benchmarks, which are a separate program: it is built in release mode, and is not a dependency of this one.

use std::{ffi::OsString, process::Command};

use anyhow::{Context, Result, bail};

/// Builds the program `bench` and runs it with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--release", "--package=bench", "--"]).args(arguments);
    let status = cargo.status().context("starting cargo")?;
    if !status.success() {
        bail!("the benchmark ended with {status}");
    }
    Ok(())
}
