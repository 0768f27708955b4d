//! The benchmarks of `kube-informer` beside its peers: `cargo xtask bench --help`.
//!
//! Every client is measured in a process of its own, by this same program: the command starts it with a hidden
//! subcommand and reads a line of JSON.

mod api;
mod child;
mod churn;
mod cluster;
mod fill;
mod machine;
mod relist;
mod sync;
mod table;
mod usage;

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::cluster::{Choice, Own};

/// Measures caches of Kubernetes objects side by side
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From nothing to a synced cache: CPU, time and memory of each client
    Sync(sync::Arguments),
    /// A stream of updates, with subscribers and readers: rate and time of each client
    Churn(churn::Arguments),
    /// Listing everything again after a watch has expired: memory of each client
    Relist(relist::Arguments),
    /// The embedded API server: starts, creates, lists, watches, memory
    Api(api::Arguments),
    /// Starts a server and holds it until stdin ends
    #[command(hide = true)]
    Serve {
        server: Own,
        /// The file to write for its clients
        kubeconfig: PathBuf,
    },
    /// Measures one client of `sync`
    #[command(hide = true)]
    SyncClient(sync::client::Arguments),
    /// Measures one client of `churn`
    #[command(hide = true)]
    ChurnClient(churn::client::Arguments),
    /// Measures the memory of `api`
    #[command(hide = true)]
    ApiMemory(api::MemoryArguments),
    /// Measures one client of `relist`
    #[command(hide = true)]
    RelistClient(relist::ClientArguments),
}

/// How much is measured, for the commands that fill a cache.
#[derive(Args)]
struct Extent {
    /// How many Blogs are cached
    #[arg(long, default_value = "100000")]
    objects: NonZeroUsize,
    /// How often each client runs, in turns; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

#[expect(clippy::print_stderr, reason = "a command's error goes to its user")]
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match Cli::parse().command {
        Command::Sync(arguments) => block_on(sync::run(arguments)),
        Command::Churn(arguments) => block_on(churn::run(arguments)),
        // It makes its own runtime: the control plane's library has one.
        Command::Serve { server, kubeconfig } => cluster::serve(server, &kubeconfig),
        Command::SyncClient(arguments) => block_on(sync::client::run(arguments)),
        Command::Api(arguments) => block_on(api::run(arguments)),
        Command::ApiMemory(arguments) => block_on(api::memory(arguments)),
        Command::Relist(arguments) => block_on(relist::run(arguments)),
        Command::RelistClient(arguments) => block_on(relist::client(arguments)),
        Command::ChurnClient(arguments) => block_on(churn::client::run(arguments)),
    }
}

fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
