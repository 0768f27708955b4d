//! Runs a process for a client.

use std::io;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kubelet::{Process, Recorder, Stdin};

/// The number of bytes that are sent at a time.
const PIECE: usize = 32 * 1024;

/// The streams that a client has requested.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

/// What a client sends.
pub(crate) enum Input {
    Stdin(Bytes),
    StdinEnd,
    Resize(Bytes),
}

#[derive(Clone, Copy)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

/// A client of a process.
pub(crate) trait Client: Send {
    /// The next input. `None`: the client has left, or does not keep to the protocol.
    fn receive(&mut self) -> impl Future<Output = Option<Input>> + Send;

    fn send(&mut self, to: Output, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Sends the end, and closes the connection.
    fn finish(self, exit: &Exit) -> impl Future<Output = io::Result<()>> + Send;
}

/// How a process has ended.
pub(crate) struct Exit {
    code: u8,
    command: Vec<String>,
}

/// A process to run.
pub(crate) struct Job {
    pub(crate) process: Process,
    /// Whether its client is attached to it, rather than has run it.
    pub(crate) is_attached: bool,
    pub(crate) command: Vec<String>,
    pub(crate) streams: Streams,
    pub(crate) recorder: Recorder,
}

/// A `TerminalSize`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

impl Exit {
    /// A `Status`.
    pub(super) fn status(&self) -> Value {
        match self.code {
            0 => json!({"metadata": {}, "status": "Success"}),
            code => json!({
                "metadata": {},
                "status": "Failure",
                "message": self.message(),
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
        }
    }

    /// What older protocols have in place of a status. `None`: it has succeeded.
    pub(super) fn failure(&self) -> Option<String> {
        (self.code != 0).then(|| self.message())
    }

    fn message(&self) -> String {
        // The second half is containerd's.
        let (code, command) = (self.code, self.command.join(" "));
        format!(
            "command terminated with non-zero exit code: error executing command [{command}], exit code {code}"
        )
    }
}

/// Runs a process until it exits or its client leaves.
pub(crate) async fn run(mut client: impl Client, job: Job) {
    let Job { process, is_attached, command, streams, recorder } = job;
    let ran = communicate(&mut client, &process, streams, &recorder).await;
    // Before the client knows that it is over.
    drop(recorder);
    // Clients that are attached do not receive the exit code.
    let code = if is_attached { 0 } else { process.exit_code };
    let finished = match ran {
        Ok(true) => client.finish(&Exit { code, command }).await,
        other => other.map(|_| ()),
    };
    if let Err(error) = finished {
        tracing::debug!(%error, "a client has left a process");
    }
}

/// Returns whether the process has exited, rather than lost its client.
async fn communicate(
    client: &mut impl Client,
    process: &Process,
    streams: Streams,
    recorder: &Recorder,
) -> io::Result<bool> {
    write(client, streams, Output::Stdout, &process.stdout).await?;
    write(client, streams, Output::Stderr, &process.stderr).await?;
    let mut reads = match process.stdin {
        Stdin::Ignore => false,
        Stdin::Read | Stdin::Echo => streams.stdin,
        Stdin::Hang => true,
    };
    while reads {
        match client.receive().await {
            None => return Ok(false),
            Some(Input::Stdin(bytes)) => {
                recorder.stdin(&bytes);
                if process.stdin == Stdin::Echo {
                    write(client, streams, Output::Stdout, &bytes).await?;
                }
            }
            Some(Input::StdinEnd) => reads = process.stdin == Stdin::Hang,
            Some(Input::Resize(bytes)) => {
                let sizes = serde_json::Deserializer::from_slice(&bytes).into_iter::<Size>();
                sizes.map_while(Result::ok).for_each(|size| recorder.size(size.width, size.height));
            }
        }
    }
    Ok(true)
}

async fn write(client: &mut impl Client, streams: Streams, to: Output, bytes: &[u8]) -> io::Result<()> {
    // A terminal has no stderr of its own.
    let to = if streams.tty { Output::Stdout } else { to };
    let wanted = match to {
        Output::Stdout => streams.stdout,
        Output::Stderr => streams.stderr,
    };
    if wanted {
        for piece in bytes.chunks(PIECE) {
            client.send(to, piece).await?;
        }
    }
    Ok(())
}
