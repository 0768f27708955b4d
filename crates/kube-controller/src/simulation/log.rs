//! What happened in an execution, for people.

use std::sync::{Arc, Mutex};

use kube_informer::ObjectKey;
use tokio::time::Instant;

use crate::lock::lock;
use crate::observer::Observer;
use crate::reason::Reason;

/// How many lines are kept.
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
    lines: Vec<String>,
    panics: Vec<String>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { start: Instant::now(), lines: Mutex::default() }))
    }

    pub(crate) fn line(&self, text: impl std::fmt::Display) {
        let mut lines = lock(&self.0.lines);
        if lines.lines.len() < LONGEST {
            let line = format!("{:>9.3}s  {text}", self.0.start.elapsed().as_secs_f64());
            lines.lines.push(line);
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        lock(&self.0.lines).lines.clone()
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
