//! `crdctl` watches any Kubernetes resource through a cache, installs and checks the Blog CRD, and includes an API server
//! to try it on. See `crdctl --help`.

mod blame;
mod cli;
mod completion;
mod config;
mod connection;
mod contexts;
mod crd;
mod data;
#[cfg(feature = "server")]
mod demo;
mod diff;
mod discovery;
#[cfg(feature = "server")]
mod envtest;
mod explain;
mod field_path;
mod generate;
mod health;
#[cfg(feature = "server")]
mod kubeconfig_out;
mod log;
mod managed_fields;
mod merge_keys;
mod notices;
mod output;
mod pages;
mod program;
mod queue;
mod resource;
mod rows;
#[cfg(feature = "server")]
mod serve;
mod shutdown;
mod stdio;
mod terminal;
#[cfg(feature = "server")]
mod validate;
mod version;
mod wait;
mod watch;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;

use crate::cli::{Cli, Command};

/// How long the end of background tasks is waited for.
const SHUTDOWN: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    if completion::respond() {
        return ExitCode::SUCCESS;
    }
    #[cfg(feature = "server")]
    if let Some(member) = envtest::Member::called() {
        return finish(block_on(member.run()));
    }
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error),
    };
    finish(run(cli))
}

fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        explain::print(&error);
        ExitCode::FAILURE
    })
}

/// Runs a command, and ends its background tasks.
fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("starting the async runtime")?;
    let result = runtime.block_on(command);
    // Exec plugins of background tasks end here. Does not wait longer for blocking tasks, such as a DNS lookup.
    runtime.shutdown_timeout(SHUTDOWN);
    result
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    log::start(cli.log_format, cli.verbosity)?;
    block_on(async {
        match cli.command {
            Command::Watch(args) => watch::run(&cli.cluster, args).await,
            #[cfg(feature = "server")]
            Command::Demo(args) => demo::run(args).await,
            #[cfg(feature = "server")]
            Command::Serve(args) => serve::run(args).await,
            #[cfg(feature = "server")]
            Command::Envtest(args) => envtest::run(&args),
            Command::Crd { command } => shutdown::or_signal(crd::run(&cli.cluster, command)).await,
            Command::Config(args) => config::run(&cli.cluster, &args),
            Command::Version(args) => shutdown::or_signal(version::run(&cli.cluster, &args)).await,
            Command::Queue(args) => shutdown::or_signal(queue::run(&args)).await,
            Command::Completion { shell } => completion::print_script(shell),
            Command::Manual { folder } => generate::manual(&folder),
            Command::Blame(args) => shutdown::or_signal(blame::run(&cli.cluster, args)).await,
            Command::Wait(args) => wait::run(&cli.cluster, args).await,
        }
    })
}
