//! Why an operator ends.

use std::fmt;

use tokio::signal::unix::{SignalKind, signal as listen};

/// Why an operator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The process was sent this signal.
    Signal(&'static str),
    /// The token of [`Operator::shutdown_on`](crate::Operator::shutdown_on) was cancelled.
    Cancelled,
}

/// Waits for SIGTERM or SIGINT, and returns which it was.
pub(crate) async fn signal() -> std::io::Result<&'static str> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "stopped by {signal}"),
            Self::Cancelled => f.write_str("stopped"),
        }
    }
}
