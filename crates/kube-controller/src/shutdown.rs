//! Why an operator ends.

use std::fmt;

use tokio::signal::unix::{Signal, SignalKind, signal as listen};
use tokio_util::task::AbortOnDropHandle;

/// Why an operator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The process was sent this signal.
    Signal(&'static str),
    /// The token of [`Operator::shutdown_on`](crate::Operator::shutdown_on) was cancelled.
    Cancelled,
}

/// The signals that ask the process to end. Those that come before [`next`](Self::next) is called are not lost.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for SIGTERM or SIGINT, and returns which it was.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Ends the process at the next signal, as controller-runtime does. It does not return from `main`, because a runtime waits
    /// for its blocking tasks, and whoever signals twice does not want to wait.
    pub(crate) fn exit_at_next(mut self) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async move {
            let signal = self.next().await;
            tracing::error!("{signal} again: exits at once");
            std::process::exit(1);
        }))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "stopped by {signal}"),
            Self::Cancelled => f.write_str("stopped"),
        }
    }
}
