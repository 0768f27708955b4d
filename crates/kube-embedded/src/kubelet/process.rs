//! Processes in containers, which a test makes up: what they write, and what was sent to them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The number of bytes that are kept of what is sent to a process, in all its runs.
#[cfg(feature = "streams")]
const STDIN_MAX: usize = 16 * 1024 * 1024;
/// The number of sizes of a terminal that are kept of a run.
#[cfg(feature = "streams")]
const SIZES_MAX: usize = 1000;

/// What a process does: it writes its output, then reads its stdin if it does that, then exits.
#[derive(Clone, Debug, Default)]
#[must_use = "a process is run by clients once it is put into a Pod"]
pub struct Process {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) exit_code: u8,
    pub(crate) stdin: Stdin,
}

/// What a process does with its stdin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stdin {
    /// Does not read it, and exits.
    #[default]
    Ignore,
    /// Reads it to its end, as `cat > /dev/null`. Without one, it is at its end.
    Read,
    /// Writes it to stdout, as `cat`.
    Echo,
    /// Reads it, and never exits: clients have to leave.
    Hang,
}

/// The runs of a process. Clones are handles to the same runs.
#[derive(Clone, Debug, Default)]
pub struct Runs(Arc<watch::Sender<Vec<Run>>>);

/// One run of a process, by one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// The container.
    pub container: String,
    /// The command. Empty: the client was attached.
    pub command: Vec<String>,
    /// Whether the client requested a terminal.
    pub tty: bool,
    /// What the client has sent to stdin, as long as it is no more than 16 MiB in all runs of the process. The rest is cut off.
    pub stdin: Vec<u8>,
    /// The widths and heights of the client's terminal: the first 1000.
    pub sizes: Vec<(u16, u16)>,
    /// Whether the process has exited, or its client has left.
    pub is_over: bool,
}

impl Process {
    /// A process that writes nothing and exits with 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes this to stdout.
    pub fn stdout(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdout = text.into();
        self
    }

    /// Writes this to stderr, which with a terminal is stdout.
    pub fn stderr(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stderr = text.into();
        self
    }

    /// Exits with this code. Clients that are attached do not receive it.
    pub fn exit_code(mut self, code: u8) -> Self {
        self.exit_code = code;
        self
    }

    /// What it does with its stdin.
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }
}

impl Runs {
    /// Returns the runs so far, in the order in which they began.
    #[must_use]
    pub fn all(&self) -> Vec<Run> {
        self.0.borrow().clone()
    }

    /// What `show` makes of each run.
    pub(crate) fn map<T>(&self, show: impl Fn(&Run) -> T) -> Vec<T> {
        self.0.borrow().iter().map(show).collect()
    }

    /// Waits until this many runs are over, and returns all.
    pub async fn wait_for(&self, runs: usize) -> Vec<Run> {
        let mut current = self.0.subscribe();
        // The sender is in `self`, so the wait cannot fail.
        let _ = current.wait_for(|all| all.iter().filter(|run| run.is_over).count() >= runs).await;
        self.all()
    }

    /// Begins a run.
    #[cfg(feature = "streams")]
    pub(crate) fn begin(&self, run: Run) -> Recorder {
        let mut index = 0;
        self.0.send_modify(|runs| {
            index = runs.len();
            runs.push(run);
        });
        Recorder { runs: self.clone(), index }
    }
}

/// Records a run, which is over when this is dropped.
#[cfg(feature = "streams")]
#[derive(Debug)]
pub(crate) struct Recorder {
    runs: Runs,
    index: usize,
}

#[cfg(feature = "streams")]
impl Recorder {
    pub(crate) fn stdin(&self, bytes: &[u8]) {
        self.runs.0.send_modify(|runs| {
            let kept: usize = runs.iter().map(|run| run.stdin.len()).sum();
            let room = STDIN_MAX.saturating_sub(kept);
            if let Some(run) = runs.get_mut(self.index) {
                run.stdin.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        });
    }

    pub(crate) fn size(&self, width: u16, height: u16) {
        self.modify(|run| {
            if run.sizes.len() < SIZES_MAX {
                run.sizes.push((width, height));
            }
        });
    }

    fn modify(&self, change: impl FnMut(&mut Run)) {
        self.runs.0.send_modify(|runs| runs.get_mut(self.index).into_iter().for_each(change));
    }
}

#[cfg(feature = "streams")]
impl Drop for Recorder {
    fn drop(&mut self) {
        self.modify(|run| run.is_over = true);
    }
}

#[cfg(all(test, feature = "streams"))]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_is_kept_within_limits() {
        let runs = Runs::default();
        let (one, other) = (runs.begin(Run::default()), runs.begin(Run::default()));
        one.stdin(&vec![0; STDIN_MAX - 1]);
        other.stdin(b"abc");
        (0..2000).for_each(|width| other.size(width, 24));
        let kept = runs.all();
        assert_eq!((kept[0].stdin.len(), &*kept[1].stdin), (STDIN_MAX - 1, &b"a"[..]));
        assert_eq!((kept[1].sizes.len(), kept[1].sizes[0]), (SIZES_MAX, (0, 24)));
    }
}
