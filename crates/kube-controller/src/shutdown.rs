//! Why an operator ends.

use std::fmt;
use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal as listen};
use tokio::sync::oneshot;
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
    /// A task of this library panicked: a bug in it, or a function of the program that runs in one, such as that of
    /// [`watches`](crate::ControllerBuilder::watches). (A panic of a reconciler is an error of that run.)
    #[error("a task of the operator panicked")]
    Panicked,
    /// [`Operator::run_sharded`](crate::Operator::run_sharded) after
    /// [`Operator::leader_election`](crate::Operator::leader_election): with shards, there is no single leader.
    #[error("leader election and shards exclude one another")]
    LeaderElectionOfShards,
    /// The options of the shards cannot work.
    #[error(transparent)]
    Shards(#[from] InvalidShards),
    /// A controller of [`Operator::run_sharded`](crate::Operator::run_sharded) is not limited to the objects of its shard, so that
    /// each replica would run all objects.
    #[error(
        "the informer of the controller {controller} is not of its shard: call `.shard(shard.informer_shard())` before `.start()`"
    )]
    NotOfTheShard {
        /// The controller.
        controller: String,
    },
    /// The cache of a controller has ended: somebody cancelled its informer.
    #[error("a cache of the controller {controller} has stopped")]
    CacheStopped {
        /// The controller.
        controller: String,
    },
}

/// SIGTERM and SIGINT. The first asks the operator to end; the second ends the process at once, whatever the operator does
/// meanwhile. Dropping this makes both do nothing.
pub(crate) struct Signals {
    first: oneshot::Receiver<&'static str>,
    _task: AbortOnDropHandle<()>,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (mut terminate, mut interrupt) =
            (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let mut next = async move || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let (sender, first) = oneshot::channel();
        // A task of its own: an operator that ends because of a failure does not wait for signals any more.
        let task = tokio::spawn(async move {
            // The operator may be ending already.
            let _ = sender.send(next().await);
            let signal = next().await;
            tracing::error!("{signal} again: exits at once");
            // It does not return from `main`, because a runtime waits for its blocking tasks, and whoever signals twice does not
            // want to wait.
            std::process::exit(1);
        });
        Ok(Self { first, _task: AbortOnDropHandle::new(task) })
    }

    /// Waits for the first signal, and returns which it was. It must not be called again then.
    pub(crate) async fn first(&mut self) -> &'static str {
        match (&mut self.first).await {
            Ok(signal) => signal,
            Err(_) => std::future::pending().await,
        }
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
