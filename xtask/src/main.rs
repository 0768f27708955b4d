//! The workspace's tasks: `cargo xtask --help`.

mod bench;
mod builtin;
mod crd;
mod dist;
mod e2e;
mod protobuf;
mod release;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};

/// The tasks of this workspace.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write deploy/crd/ from the types of blog-api
    Crd {
        /// Change nothing; fail if a file differs from the types
        #[arg(long)]
        check: bool,
    },
    /// Write kube-builtin's data about built-in kinds, from the kube-apiserver in KUBEBUILDER_ASSETS
    Builtin(builtin::Arguments),
    /// Write kube-builtin's protobuf messages, from Kubernetes' Go modules; skipped if these are not available
    Protobuf(protobuf::Arguments),
    /// Run the end-to-end tests on a cluster: kube-embedded, a real API server, kind, k3s, or an existing one
    E2e(e2e::Arguments),
    /// Build the files of a release: static binaries in archives, SBOMs, checksums, a krew manifest
    Dist(dist::Arguments),
    /// Check that a tag can be released, and print the release notes
    Release(release::Arguments),
    /// Run the benchmarks; see `cargo xtask bench --help`
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[expect(clippy::print_stderr, reason = "a command reports its error to the user")]
fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Crd { check: false } => crd::write(),
        Task::Crd { check: true } => crd::check(),
        Task::Builtin(arguments) => builtin::run(&arguments),
        Task::Protobuf(arguments) => protobuf::run(&arguments),
        Task::E2e(arguments) => {
            return e2e::run(&arguments, refuse).unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            });
        }
        Task::Dist(arguments) => dist::run(&arguments),
        Task::Release(arguments) => release::run(&arguments),
        Task::Bench { arguments } => bench::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reports arguments that exclude one another, and ends the process.
fn refuse(problem: String) -> ! {
    Cli::command().error(ErrorKind::ArgumentConflict, problem).exit()
}
