//! Shutdown on signals: the first one stops the command gracefully, the second one immediately.

use std::{future::Future, process::ExitCode, task::Poll, time::Duration};

use anyhow::{Context, Result};
use tokio::signal::unix::{self, SignalKind};
use tokio_util::sync::CancellationToken;

use crate::stdio::say;

/// How long a command may take to end after the first signal.
const GRACE: Duration = Duration::from_millis(1500);

/// Runs `command` until it ends or a signal arrives. The first signal cancels `token`, and the command has [`GRACE`] to
/// finish; after that time, or on a second signal, it is dropped.
pub(crate) async fn until_signal(
    token: CancellationToken,
    command: impl Future<Output = Result<ExitCode>>,
) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let mut command = std::pin::pin!(command);
    let signal = tokio::select! {
        biased;
        // Before the end of an exec plugin that got the same signal from the terminal.
        signal = signals.next() => signal,
        result = &mut command => return result,
    };
    say(&format!("received {}, stopping", signal.name));
    token.cancel();
    tokio::select! {
        result = &mut command => result,
        signal = signals.next() => {
            say(&format!("received {} again, stopping immediately", signal.name));
            Ok(ExitCode::from(signal.exit_code))
        }
        // The reader of the output does not read it, so the rest is discarded.
        () = tokio::time::sleep(GRACE) => Ok(ExitCode::SUCCESS),
    }
}

/// Waits for a signal, and returns the exit code of a command that it ends at once.
pub(crate) async fn signal() -> Result<ExitCode> {
    let signal = Signals::new()?.next().await;
    Ok(ExitCode::from(signal.exit_code))
}

/// Runs a command that has nothing to finish, and drops it on the first signal. An exec plugin ends with it, and the
/// terminal is as it was before.
pub(crate) async fn or_signal(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let mut command = std::pin::pin!(command);
    // The files are read before the first request, which blocks. Until then, a signal ends the process as it does by default.
    let begun = std::future::poll_fn(|context| Poll::Ready(command.as_mut().poll(context)));
    if let Poll::Ready(result) = begun.await {
        return result;
    }
    let mut signals = Signals::new()?;
    tokio::select! {
        biased;
        signal = signals.next() => Ok(ExitCode::from(signal.exit_code)),
        result = command => result,
    }
}

/// A signal that ends the program.
#[derive(Clone, Copy)]
struct Signal {
    name: &'static str,
    /// 128 plus its number, as shells report it.
    exit_code: u8,
}

struct Signals {
    hangup: unix::Signal,
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| unix::signal(kind).context("listening for signals");
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal { name: "SIGHUP", exit_code: 129 },
            _ = self.interrupt.recv() => Signal { name: "SIGINT", exit_code: 130 },
            _ = self.terminate.recv() => Signal { name: "SIGTERM", exit_code: 143 },
        }
    }
}
