//! What happened in an execution, for people.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use kube_informer::ObjectKey;
use tokio::time::Instant;

use crate::lock::lock;
use crate::observer::Observer;
use crate::reason::Reason;

/// How many lines are kept: the last ones, because they explain a failure.
const LONGEST: usize = 2000;

/// What happened, in order. Clones are handles to the same log.
#[derive(Clone)]
pub(crate) struct Log(Arc<Inner>);

struct Inner {
    start: Instant,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    lines: VecDeque<String>,
    /// How many are not kept.
    left_out: usize,
    panics: Vec<String>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { start: Instant::now(), lines: Mutex::default() }))
    }

    pub(crate) fn line(&self, text: impl std::fmt::Display) {
        let mut lines = lock(&self.0.lines);
        if lines.lines.len() == LONGEST {
            lines.lines.pop_front();
            lines.left_out += 1;
        }
        lines.lines.push_back(format!("{:>9.3}s  {text}", self.0.start.elapsed().as_secs_f64()));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = lock(&self.0.lines);
        let left_out =
            (lines.left_out > 0).then(|| format!("({} lines before are left out)", lines.left_out));
        left_out.into_iter().chain(lines.lines.iter().cloned()).collect()
    }

    /// The panics of reconcilers.
    pub(crate) fn panics(&self) -> Vec<String> {
        lock(&self.0.lines).panics.clone()
    }
}

impl Observer for Log {
    fn run_started(&self, controller: &str, key: &ObjectKey, reasons: &[Reason]) {
        let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        self.line(format_args!("{controller}: {key} runs: {}", reasons.join(", ")));
    }

    fn run_finished(&self, controller: &str, key: &ObjectKey, outcome: &str) {
        self.line(format_args!("{controller}: {key} ends: {outcome}"));
        if outcome.starts_with("the reconciler panicked") {
            lock(&self.0.lines).panics.push(format!("{controller}: {key}: {outcome}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_kept_and_what_is_left_out_is_counted() {
        let log = Log::new();
        for number in 0..LONGEST {
            log.line(number);
        }
        assert_eq!(log.lines().len(), LONGEST);
        log.line("the last but one");
        log.line("the last");
        let lines = log.lines();
        assert_eq!(lines.len(), LONGEST + 1);
        assert_eq!(lines[0], "(2 lines before are left out)");
        assert!(lines[1].ends_with("s  2") && lines[LONGEST].ends_with("s  the last"), "{lines:?}");
    }
}
