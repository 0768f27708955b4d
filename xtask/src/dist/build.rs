//! Builds the program for a target, and checks the result.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use cargo_metadata::Metadata;

use super::{binary, target::Target};

/// A program that was built, and checked to be static.
pub(crate) struct Program {
    pub(crate) target: Target,
    pub(crate) contents: Vec<u8>,
    /// Its path in cargo's target folder, valid until the next build for the target.
    pub(crate) path: PathBuf,
    /// Whether this machine can execute it.
    pub(crate) runs: bool,
}

/// Fails if this machine cannot build for the target, and says what to install.
pub(crate) fn check(target: Target) -> Result<()> {
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let output = rustc.args(["--print=target-libdir", "--target", target.triple()]).output();
    let output = output.context("starting rustc")?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    ensure!(
        output.status.success() && folder.is_dir(),
        "Rust's standard library for {target} is not installed; run `rustup target add {target}`"
    );
    for tool in [compiler(target, variable), linker(target, variable)] {
        if !is_program(&tool.name) {
            bail!(
                "building for {target} on this machine needs {}, which is not in PATH; Debian's package {} has it, or {} names \
                 another",
                tool.name,
                tool.package,
                tool.variable,
            );
        }
    }
    Ok(())
}

/// Builds the program in release mode, and runs it if possible.
pub(crate) fn build(metadata: &Metadata, name: &str, target: Target) -> Result<Program> {
    let mut cargo = cargo();
    cargo.args(["build", "--locked", "--release", "--package", name, "--bin", name]);
    cargo.args(["--target", target.triple()]);
    for tool in [compiler(target, variable), linker(target, variable)] {
        cargo.env(tool.variable, tool.name);
    }
    // Panic messages contain source paths, which must not depend on the machine. Sets all flags, so that those of the
    // environment do not get into a release.
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo"))).context("finding cargo's home")?;
    let prefixes = [(home.as_path(), "/cargo"), (metadata.workspace_root.as_std_path(), "/source")];
    let mut flags: Vec<String> =
        prefixes.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    flags.extend(GLIBC_ALIASES.iter().map(|alias| format!("-Clink-arg=-Wl,--defsym={alias}")));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    cargo.env(format!("CFLAGS_{}", target.triple().replace('-', "_")), C_FLAGS);
    run(cargo)?;

    let path = metadata.target_directory.join(target.triple()).join("release").join(name).into_std_path_buf();
    let contents = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    binary::check(&contents, target).with_context(|| format!("checking {}", path.display()))?;
    let version = metadata.packages.iter().find(|package| package.name.as_str() == name);
    let version =
        version.with_context(|| format!("the workspace has no package {name}"))?.version.to_string();
    let runs = runs(&path, &format!("{name} {version}"))?;
    Ok(Program { target, contents, path, runs })
}

/// Builds the program for this machine in debug mode, and returns its path.
pub(crate) fn for_this_machine(metadata: &Metadata, name: &str) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--locked", "--package", name, "--bin", name]);
    run(cargo)?;
    Ok(metadata.target_directory.join("debug").join(name).into_std_path_buf())
}

/// Whether this machine can execute the program. If so, checks its `--version`.
fn runs(path: &Path, expected: &str) -> Result<bool> {
    /// "Exec format error": the program is for another processor, and no emulator is registered.
    const ENOEXEC: i32 = 8;
    let output = match Command::new(path).arg("--version").output() {
        Err(error) if error.raw_os_error() == Some(ENOEXEC) => return Ok(false),
        output => output.with_context(|| format!("starting {}", path.display()))?,
    };
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && said.trim() == expected,
        "{} --version should print `{expected}`; it printed `{}` and ended with {}",
        path.display(),
        said.trim(),
        output.status
    );
    Ok(true)
}

fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // These variables describe the package xtask, not the one that is built.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
        cargo.env_remove(name);
    }
    cargo
}

fn run(mut cargo: Command) -> Result<()> {
    let status = cargo.status().context("starting cargo")?;
    ensure!(status.success(), "cargo build ended with {status}");
    Ok(())
}

/// A program that the build calls, and the environment variable that sets it.
#[derive(Debug, PartialEq, Eq)]
struct Tool {
    name: String,
    variable: String,
    package: &'static str,
}

/// The C code of dependencies is compiled with glibc's headers, but linked with musl. Their types and constants are the
/// same on these processors; only functions that glibc's headers put in the place of others are not in musl. This turns
/// off the checking ones (`__memcpy_chk`), which Ubuntu's compilers use by default.
const C_FLAGS: &str = "-U_FORTIFY_SOURCE";
/// The ones of C23, which glibc's headers use since 2.38, and the functions of musl in their place.
const GLIBC_ALIASES: [&str; 3] =
    ["__isoc23_strtol=strtol", "__isoc23_strtoul=strtoul", "__isoc23_sscanf=sscanf"];

/// Returns the compiler for the C and assembly code of dependencies (aws-lc, psm). A compiler for glibc is sufficient, and
/// one for musl is not needed.
fn compiler(target: Target, variable: impl Fn(&str) -> Option<String>) -> Tool {
    tool(target, format!("CC_{}", target.triple().replace('-', "_")), variable)
}

/// Returns the linker. Rust's target includes musl's libc and its start files.
fn linker(target: Target, variable: impl Fn(&str) -> Option<String>) -> Tool {
    let name = target.triple().replace('-', "_").to_uppercase();
    tool(target, format!("CARGO_TARGET_{name}_LINKER"), variable)
}

fn tool(target: Target, name: String, variable: impl Fn(&str) -> Option<String>) -> Tool {
    let (default, package) = if target.is_of_host() {
        ("cc".to_owned(), "gcc")
    } else {
        (target.cross_compiler(), target.cross_package())
    };
    Tool { name: variable(&name).unwrap_or(default), variable: name, package }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether a program exists: in PATH, or, if its name has a slash, as a path.
fn is_program(name: &str) -> bool {
    // All compilers and linkers accept this option; the output does not matter.
    let started = Command::new(name).arg("--version").output();
    !matches!(started, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::{super::script, *};

    #[test]
    fn another_processor_needs_a_cross_compiler_unless_one_is_set() {
        let foreign = match Target::of_host().unwrap() {
            Target::X86_64 => Target::Aarch64,
            Target::Aarch64 => Target::X86_64,
        };
        let nothing = |_: &str| None;
        assert_eq!(compiler(foreign, nothing).name, foreign.cross_compiler());
        assert_eq!(linker(foreign, nothing).name, foreign.cross_compiler());
        let named = |name: &str| Some(format!("the one of {name}"));
        let triple = foreign.triple().replace('-', "_");
        assert_eq!(compiler(foreign, named).name, format!("the one of CC_{triple}"));
        let linker = linker(foreign, named).name;
        assert_eq!(linker, format!("the one of CARGO_TARGET_{}_LINKER", triple.to_uppercase()));
    }

    #[test]
    fn a_program_must_print_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        script::write(&path, "#!/bin/sh\necho program 1.2.3\n");
        assert!(runs(&path, "program 1.2.3").unwrap());
        let error = format!("{:#}", runs(&path, "program 1.2.4").unwrap_err());
        assert!(error.contains("should print `program 1.2.4`; it printed `program 1.2.3`"), "{error}");
        // No kernel recognizes these first bytes as a program.
        script::write(&path, "\u{7f}ELF");
        assert!(!runs(&path, "program 1.2.3").unwrap());
    }
}
