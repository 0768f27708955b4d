//! The benchmarks, which are a program of their own: built for release, and outside of this one's dependencies.

use std::{ffi::OsString, process::Command};

use anyhow::{Context, Result, bail};

/// Builds and runs the program `bench` with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--release", "--package=bench", "--"]).args(arguments);
    let status = cargo.status().context("starting cargo")?;
    if !status.success() {
        bail!("the benchmark ended with {status}");
    }
    Ok(())
}
