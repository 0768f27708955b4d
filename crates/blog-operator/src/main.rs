//! The sample operator as a program. See `blog-operator --help`.

use std::{io::IsTerminal as _, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use blog_operator::{Checks, HttpCheck, NAME, Reach, State, controller};
use clap::{Parser, ValueEnum};
use kube_controller::Operator;
use tracing_subscriber::EnvFilter;

/// How long runs may go on after a signal. It is less than a pod has by default, so that the Lease is released in time.
const GRACE: Duration = Duration::from_secs(15);

/// Serves a page for each Blog that leads to its address, and checks whether the address can be reached.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The kubeconfig file to use, instead of KUBECONFIG and ~/.kube/config; in a pod, its ServiceAccount
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig context to use, instead of the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Care for the blogs of this namespace, and keep the Lease there (default: all namespaces; the Lease in that of the context)
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true)]
    namespace: String,
    /// The image of the servers; it serves /usr/share/nginx/html on port 8080, not as root
    #[arg(long, default_value = blog_operator::IMAGE)]
    image: String,
    /// Also check addresses in private networks; whoever may create blogs can then find out what the operator reaches there
    #[arg(long)]
    check_private: bool,
    /// Work only while holding the Lease `blog-operator`, so that several replicas can run
    #[arg(long)]
    leader_elect: bool,
    /// Serve /healthz, /readyz and /metrics on this address
    #[arg(long, value_name = "ADDRESS")]
    health_addr: Option<SocketAddr>,
    /// Write nothing, and log what would be written
    #[arg(long)]
    dry_run: bool,
    /// The format of the log, which RUST_LOG filters
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run = async {
        log(arguments.log_format)?;
        run(arguments).await
    };
    match run.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let resolved = kubeconfig::Options::default()
        .kubeconfig(arguments.kubeconfig.unwrap_or_default())
        .context(arguments.context.unwrap_or_default())
        .namespace(arguments.namespace.as_str())
        .load()?;
    let mut operator = Operator::new(resolved.client()?, NAME).shutdown_on_signal(GRACE);
    if arguments.leader_elect {
        operator = operator.leader_election(NAME);
    }
    if let Some(address) = arguments.health_addr {
        operator = operator.serve(address);
    }
    if arguments.dry_run {
        operator = operator.dry_run();
    }
    let check = HttpCheck::new(if arguments.check_private { Reach::Private } else { Reach::Public });
    let state = State { image: arguments.image, checks: Checks::new(move |url| check.clone().check(url)) };
    let blogs = controller(&operator, &arguments.namespace, state);
    operator.run([blogs]).await?;
    Ok(())
}

fn log(format: LogFormat) -> Result<()> {
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|chosen| !chosen.trim().is_empty());
    let filter =
        EnvFilter::builder().parse(chosen.as_deref().unwrap_or("info")).context("reading RUST_LOG")?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
