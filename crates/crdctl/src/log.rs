//! Logs on stderr, filtered by `RUST_LOG`.

use anyhow::{Context, Result};
use tracing_subscriber::{EnvFilter, fmt};

use crate::cli::LogFormat;

/// Failed requests are reported once, by their caller, and what happens to a watch in a notice.
const DEFAULT: &str = "info,kube_client=off,kube_informer=off";

/// Starts logging. Fails if `RUST_LOG` cannot be parsed.
pub(crate) fn start(format: LogFormat) -> Result<()> {
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|chosen| !chosen.trim().is_empty());
    let filter = EnvFilter::builder().parse(chosen.as_deref().unwrap_or(DEFAULT)).context(
        "reading RUST_LOG (expected a level, such as `debug`, or a list, such as `info,kube_informer=debug`)",
    )?;
    let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
