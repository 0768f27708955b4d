//! Logs on stderr, filtered by `RUST_LOG` or `--v`.

use anyhow::{Context, Result};
use tracing_subscriber::{EnvFilter, fmt};

use crate::cli::LogFormat;

/// Returns the filter for a level of kubectl's verbosity. Failed requests are reported once, by their caller, and
/// what happens to a watch in a notice.
fn filter(verbosity: i32) -> &'static str {
    match verbosity {
        ..=3 => "info,kube_client=off,kube_informer=off",
        4..=5 => "info,kube_client=off,crdctl=debug,kube_informer=debug",
        // kubeconfig's client logs the method, URL and status of each request, but neither headers nor bodies.
        6..=7 => "info,kube_client=off,crdctl=debug,kube_informer=debug,kubeconfig=debug",
        8.. => {
            "info,kube_client=off,crdctl=trace,kube_informer=trace,kubeconfig=trace,hyper_util=debug,rustls=debug"
        }
    }
}

/// Starts logging. Fails if `RUST_LOG` cannot be parsed.
pub(crate) fn start(format: LogFormat, verbosity: i32) -> Result<()> {
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|chosen| !chosen.trim().is_empty());
    let filter = EnvFilter::builder().parse(chosen.as_deref().unwrap_or(filter(verbosity))).context(
        "reading RUST_LOG (expected a level, such as `debug`, or a list, such as `info,kube_informer=debug`)",
    )?;
    let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
