//! The log of a container, and how a kubelet reads it: `ReadLogs` of kubernetes' `pkg/kubelet/kuberuntime/logs`.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::clock::Clock;

/// The number of bytes that are read at a time, at least.
const PIECE: usize = 16 * 1024;

/// The log of a container. Clones are handles to the same log.
#[derive(Clone, Debug)]
pub struct Log {
    lines: Arc<watch::Sender<Lines>>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<Line>,
    /// Whether the container has ended, so that no further lines come.
    ended: bool,
}

#[derive(Clone, Debug)]
struct Line {
    time: Timestamp,
    /// Without its end.
    text: Box<str>,
}

/// The part of a log that a client wants: `PodLogOptions`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogOptions {
    pub(crate) follow: bool,
    pub(crate) timestamps: bool,
    /// The number of lines at the end. `None`: all.
    pub(crate) tail: Option<usize>,
    pub(crate) since: Option<Timestamp>,
    /// The number of bytes after which it ends.
    pub(crate) limit: Option<usize>,
}

/// Reads a log for a client.
#[derive(Debug)]
pub(crate) struct LogReader {
    lines: watch::Receiver<Lines>,
    /// The number of lines that were read.
    read: usize,
    options: LogOptions,
    /// The number of bytes that may still be read.
    left: usize,
}

impl Log {
    pub(super) fn new(clock: Clock) -> Self {
        Self { lines: Arc::new(watch::Sender::new(Lines::default())), clock }
    }

    /// Appends lines with the current time of the server's clock. Clients that follow the log receive them.
    pub fn append(&self, text: &str) {
        self.append_at(self.clock.now(), text);
    }

    /// Appends lines with a time.
    pub fn append_at(&self, time: Timestamp, text: &str) {
        self.extend([(time, text)], false);
    }

    /// Ends the log, as a container does when it ends: clients no longer follow it.
    pub fn end(&self) {
        self.extend([], true);
    }

    /// Appends lines with their times, and with `ends` the end, all of which clients see at once.
    pub(crate) fn extend<'a>(&self, texts: impl IntoIterator<Item = (Timestamp, &'a str)>, ends: bool) {
        let lines = texts.into_iter().flat_map(|(time, text)| {
            // Not `lines`: as in a kubelet, what precedes a line feed belongs to the line, a carriage return too.
            text.split_terminator('\n').map(move |text| Line { time, text: text.into() })
        });
        self.lines.send_modify(|log| {
            log.all.extend(lines);
            log.ended |= ends;
        });
    }

    /// The lines with their times, and whether the log has ended.
    pub(crate) fn snapshot(&self) -> (Vec<(Timestamp, String)>, bool) {
        let log = self.lines.borrow();
        (log.all.iter().map(|line| (line.time, line.text.to_string())).collect(), log.ended)
    }

    /// Reads the log from now on.
    pub(crate) fn read(&self, options: LogOptions) -> LogReader {
        let lines = self.lines.subscribe();
        let all = lines.borrow().all.len();
        let read = options.tail.map_or(0, |tail| all.saturating_sub(tail));
        LogReader { lines, read, options, left: options.limit.unwrap_or(usize::MAX) }
    }
}

impl LogReader {
    /// The next lines, once there are some. `None`: the log has ended, or the client does not want more of it.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let (piece, is_over) = self.take();
            if !piece.is_empty() {
                return Some(piece);
            }
            if is_over || self.lines.changed().await.is_err() {
                return None;
            }
        }
    }

    /// The lines that there are, and whether no others can follow.
    fn take(&mut self) -> (Bytes, bool) {
        let log = self.lines.borrow_and_update();
        let mut piece = BytesMut::new();
        for line in log.all.get(self.read..).unwrap_or_default() {
            if self.left == 0 || piece.len() >= PIECE {
                break;
            }
            self.read += 1;
            if self.options.since.is_some_and(|since| line.time < since) {
                continue;
            }
            let start = piece.len();
            if self.options.timestamps {
                piece.put(line.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string().as_bytes());
            }
            piece.put(line.text.as_bytes());
            piece.put_u8(b'\n');
            let length = (piece.len() - start).min(self.left);
            piece.truncate(start + length);
            self.left -= length;
        }
        let is_over = self.left == 0 || self.read == log.all.len() && (log.ended || !self.options.follow);
        (piece.freeze(), is_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &Log, options: LogOptions) -> String {
        let mut reader = log.read(options);
        let (piece, is_over) = reader.take();
        assert!(is_over || options.follow);
        String::from_utf8(piece.to_vec()).unwrap()
    }

    #[test]
    fn a_log_is_read_as_by_a_kubelet() {
        let log = Log::new(Clock::default());
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        for second in 0..4 {
            log.append_at(at(second), &format!("line {second}"));
        }
        let all = LogOptions::default();
        for (options, expected) in [
            (all, "line 0\nline 1\nline 2\nline 3\n"),
            (LogOptions { tail: Some(1), ..all }, "line 3\n"),
            (LogOptions { tail: Some(0), ..all }, ""),
            (LogOptions { tail: Some(9), limit: Some(10), ..all }, "line 0\nlin"),
            (LogOptions { since: Some(at(2)), ..all }, "line 2\nline 3\n"),
            // The last lines are chosen first.
            (LogOptions { tail: Some(2), since: Some(at(3)), ..all }, "line 3\n"),
            (
                LogOptions { tail: Some(1), timestamps: true, ..all },
                "1970-01-01T00:00:03.000000000Z line 3\n",
            ),
        ] {
            assert_eq!(read(&log, options), expected, "{options:?}");
        }
    }

    #[tokio::test]
    async fn followers_get_what_is_appended_until_the_end() {
        let log = Log::new(Clock::default());
        let follow = LogOptions { follow: true, tail: Some(0), ..LogOptions::default() };
        log.append("before");
        let mut reader = log.read(follow);
        log.append("a\r\nb\n");
        assert_eq!(reader.next().await.unwrap(), "a\r\nb\n");
        let next = tokio::spawn(async move {
            let piece = reader.next().await;
            (piece, reader.next().await)
        });
        log.append("c");
        log.end();
        assert_eq!(next.await.unwrap(), (Some(Bytes::from("c\n")), None));
    }
}
