//! The workspace's tasks: `cargo xtask --help`.

mod crd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
        /// Change nothing; fail when a file differs from the types
        #[arg(long)]
        check: bool,
    },
}

#[expect(clippy::print_stderr, reason = "a command's error goes to its user")]
fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Crd { check: false } => crd::write(),
        Task::Crd { check: true } => crd::check(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
