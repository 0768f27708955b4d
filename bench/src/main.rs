//! Benchmarks of `kube-informer`, `kube-controller`, `k8s-cel` and comparable libraries; see `cargo xtask bench --help`.
//!
//! Each client is measured in a process of its own: the command runs this same program with a hidden subcommand, and reads
//! a line of JSON.

mod api;
mod cel;
mod child;
mod churn;
mod cluster;
mod controller;
mod fill;
mod machine;
mod names;
mod namespaces;
mod pair;
mod peers;
mod relist;
mod scale;
mod sync;
mod table;
mod usage;
mod warm;

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::cluster::{Choice, Own};

/// Measures caches, controllers and CEL side by side
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sync a cache from nothing: CPU, time and memory of each client
    Sync(sync::Arguments),
    /// Process a stream of updates, with subscribers and readers: rate and time of each client
    Churn(churn::Arguments),
    /// List everything again after a watch has expired: memory of each client
    Relist(relist::Arguments),
    /// Read from and write to caches of several sizes: the cost of each operation
    Scale(scale::Arguments),
    /// Update sets of namespaces of several sizes: the cost of an update
    Namespaces(namespaces::Arguments),
    /// Start from a copy on disk instead of a list: time, CPU and memory
    Warm(warm::Arguments),
    /// Measure the embedded API server and the pair made of it: starts, creates, webhooks, lists, watches, memory
    Api(api::Arguments),
    /// Watch names with crdctl: its CPU beside that of kube-runtime's reflector
    Names(names::Arguments),
    /// Run controllers: their start, their reactions, waiting objects, and a change of the leader
    Controller(controller::Arguments),
    /// Compile and evaluate CEL rules of CRDs, beside cel-go and kube-cel
    Cel(cel::Arguments),
    /// Start a server and keep it running until stdin is closed
    #[command(hide = true)]
    Serve {
        server: Own,
        /// The kubeconfig to write for its clients
        kubeconfig: PathBuf,
    },
    /// Measure one client of `sync`
    #[command(hide = true)]
    SyncClient(sync::client::Arguments),
    /// Measure one client of `churn`
    #[command(hide = true)]
    ChurnClient(churn::client::Arguments),
    /// Measure one library of `controller`
    #[command(hide = true)]
    ControllerClient(controller::client::Arguments),
    /// Measure one engine of `cel`
    #[command(hide = true)]
    CelClient(cel::client::Arguments),
    /// The other program of `names`
    #[command(hide = true)]
    NamesClient(names::ClientArguments),
    /// Measure the memory of `api`
    #[command(hide = true)]
    ApiMemory(api::MemoryArguments),
    /// Measure one start of `warm`
    #[command(hide = true)]
    WarmClient(warm::ClientArguments),
    /// Measure one client of `relist`
    #[command(hide = true)]
    RelistClient(relist::ClientArguments),
    /// Measure one client of `scale`
    #[command(hide = true)]
    ScaleClient(scale::ClientArguments),
    /// Measure one set of `namespaces`
    #[command(hide = true)]
    NamespacesClient(namespaces::ClientArguments),
}

/// The sizes of a benchmark that fills a cache.
#[derive(Args)]
struct Extent {
    /// The number of cached objects
    #[arg(long, default_value = "100000")]
    objects: NonZeroUsize,
    /// The number of runs of each client, which take turns; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

#[expect(clippy::print_stderr, reason = "a command reports its error to the user")]
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
        // It creates its own runtime, because the library that starts the control plane does.
        Command::Serve { server, kubeconfig } => cluster::serve(server, &kubeconfig),
        Command::SyncClient(arguments) => block_on(sync::client::run(arguments)),
        Command::Api(arguments) => block_on(api::run(arguments)),
        Command::ApiMemory(arguments) => block_on(api::memory(arguments)),
        Command::Warm(arguments) => block_on(warm::run(arguments)),
        Command::WarmClient(arguments) => block_on(warm::client(arguments)),
        Command::Relist(arguments) => block_on(relist::run(arguments)),
        Command::RelistClient(arguments) => block_on(relist::client(arguments)),
        Command::Scale(arguments) => block_on(scale::run(arguments)),
        Command::ScaleClient(arguments) => block_on(scale::client(arguments)),
        Command::Namespaces(arguments) => block_on(namespaces::run(arguments)),
        Command::NamespacesClient(arguments) => block_on(namespaces::client(arguments)),
        Command::Names(arguments) => block_on(names::run(arguments)),
        Command::NamesClient(arguments) => block_on(names::client(arguments)),
        Command::Controller(arguments) => block_on(controller::run(arguments)),
        Command::ControllerClient(arguments) => block_on(controller::client::run(arguments)),
        Command::Cel(arguments) => block_on(cel::run(arguments)),
        Command::CelClient(arguments) => cel::client::run(&arguments),
        Command::ChurnClient(arguments) => block_on(churn::client::run(arguments)),
    }
}

fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
