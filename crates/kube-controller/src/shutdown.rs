//! Why an operator ends.

use std::fmt;
use std::net::SocketAddr;

use tokio::signal::unix::{Signal, SignalKind, signal as listen};
use tokio_util::task::AbortOnDropHandle;

use crate::election::InvalidElection;
use crate::shards::InvalidShards;

/// Why an operator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The process was sent this signal.
    Signal(&'static str),
    /// The token of [`Operator::shutdown_on`](crate::Operator::shutdown_on) was cancelled.
    Cancelled,
}

/// Why an operator did not run, or stopped running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Two controllers have the same name.
    #[error("there are two controllers named {0:?}")]
    SameName(String),
    /// The options of leader election contradict one another.
    #[error(transparent)]
    Election(#[from] InvalidElection),
    /// The address of [`Operator::serve`](crate::Operator::serve) cannot be listened at.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A task of this library panicked, which is a bug in it. (A panic of a reconciler is an error of that run.)
    #[error("a task of the operator panicked")]
    Panicked,
    /// [`Operator::run_sharded`](crate::Operator::run_sharded) after
    /// [`Operator::leader_election`](crate::Operator::leader_election): with shards, there is no single leader.
    #[error("leader election and shards exclude one another")]
    LeaderElectionOfShards,
    /// The options of the shards cannot work.
    #[error(transparent)]
    Shards(#[from] InvalidShards),
    /// The cache of a controller has ended: somebody cancelled its informer.
    #[error("a cache of the controller {controller} has stopped")]
    CacheStopped {
        /// The controller.
        controller: String,
    },
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
