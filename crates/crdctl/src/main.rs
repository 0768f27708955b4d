//! `crdctl`: watches any Kubernetes resource from a cache, installs and checks the Blog CRD, and has a cluster in the
//! box to try it on. `crdctl --help` tells the rest.

mod cli;
mod columns;
mod config;
mod crd;
mod demo;
mod explain;
mod log;
mod output;
mod resource;
mod shutdown;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error),
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            explain::print(&error);
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    log::start(cli.log_format)?;
    match cli.command {
        Command::Watch(args) => watch::run(&cli.cluster, args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Crd { command } => crd::run(&cli.cluster, command).await,
        Command::Config => config::run(&cli.cluster),
    }
}
