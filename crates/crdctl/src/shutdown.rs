//! How the program ends: the first signal asks, the second one insists.

use std::{future::Future, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long a command may take to end after the first signal.
const GRACE: Duration = Duration::from_millis(1500);

/// Runs `command` until it ends or SIGINT or SIGTERM arrives. The first signal cancels `token` and the command, which
/// has [`GRACE`] to finish; the second one, or the end of that time, ends the process.
#[expect(clippy::print_stderr, reason = "tells the user which signal was received")]
pub(crate) async fn until_signal(
    token: CancellationToken,
    command: impl Future<Output = Result<ExitCode>>,
) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let mut command = std::pin::pin!(command);
    let name = tokio::select! {
        result = &mut command => return result,
        name = signals.next() => name,
    };
    eprintln!("received {name}, stopping");
    token.cancel();
    tokio::select! {
        result = &mut command => result,
        name = signals.next() => {
            eprintln!("received {name} again, ending at once");
            std::process::exit(if name == "SIGINT" { 130 } else { 143 })
        }
        // Whoever reads our output does not; what is left of it is theirs to miss.
        () = tokio::time::sleep(GRACE) => std::process::exit(0),
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
