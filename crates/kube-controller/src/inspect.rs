//! What `/debug/queue` answers: the state of each key, as data.
//!
//! ```
//! # fn main() -> Result<(), serde_json::Error> {
//! let answer = r#"{"operator": "blog-operator", "leads": true, "controllers": [{
//!     "controller": "blog", "concurrency": 4, "running": 0, "ready": 0, "omitted": 0, "keys": [{
//!         "key": "default/a", "state": "waiting for retry", "priority": 0, "failures": 3, "nextInMs": 640,
//!         "reasons": [], "error": "the ConfigMap was not written"}]}]}"#;
//! let queues: kube_controller::inspect::Queues = serde_json::from_str(answer)?;
//! assert_eq!(queues.controllers[0].keys[0].failures, 3);
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use kube_informer::ObjectKey;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::queue::{self, EntryState, EntryView, Wait};
use crate::reason::Reason;

/// How many keys of a controller are returned at most.
const LONGEST: usize = 1000;

/// The queues of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Queues {
    /// The operator's name.
    pub operator: String,
    /// Whether this replica leads. Always, if there is no election.
    pub leads: bool,
    /// Who holds the lease, if that is known and there is an election.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The queue of each controller.
    pub controllers: Vec<Queue>,
    /// The names of controllers that did not answer within a second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
}

/// The queue of a controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Queue {
    /// The controller's name.
    pub controller: String,
    /// How many keys run at the same time at most.
    pub concurrency: usize,
    /// How many keys run.
    pub running: usize,
    /// How many keys may run.
    pub ready: usize,
    /// The keys that are not at rest, at most 1,000: those that run, then those that may, then those that wait, the next one first.
    pub keys: Vec<Key>,
    /// How many keys more there are.
    pub omitted: usize,
}

/// A key of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Key {
    /// Namespace and name of the object, or only the name of a cluster-scoped one.
    pub key: String,
    /// What it does or waits for, in words.
    pub state: String,
    /// Its priority.
    pub priority: i32,
    /// How many times in a row it failed.
    pub failures: u32,
    /// For how long it has been running or ready, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// When it may run, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_in_ms: Option<u64>,
    /// Why it runs or is to run. Of a key that runs, what has happened since comes last: it makes one more run.
    pub reasons: Vec<String>,
    /// The error of its last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Describes a queue. The functions return the reasons of a run under way, and the error of the last run.
pub(crate) fn queue<'a>(
    controller: &str,
    concurrency: usize,
    now: Instant,
    queue: &queue::Queue,
    run: impl Fn(&ObjectKey) -> &'a [Reason],
    error: impl Fn(&ObjectKey) -> Option<String>,
) -> Queue {
    let mut entries: Vec<EntryView<'_>> = queue.entries().collect();
    entries.sort_by_key(|entry| (order(&entry.state), entry.key));
    let count = |is: fn(&EntryState) -> bool| entries.iter().filter(|entry| is(&entry.state)).count();
    let running = count(|state| matches!(state, EntryState::Running { .. }));
    let ready = count(|state| matches!(state, EntryState::Ready { .. }));
    let omitted = entries.len().saturating_sub(LONGEST);
    let shown = entries.iter().take(LONGEST);
    let keys = shown.map(|entry| key(now, entry, run(entry.key), error(entry.key))).collect();
    Queue { controller: controller.to_owned(), concurrency, running, ready, keys, omitted }
}

/// Running ones first, those that wait for something last.
fn order(state: &EntryState) -> (u8, Option<Instant>) {
    match state {
        EntryState::Running { since } => (0, Some(*since)),
        EntryState::Ready { since } => (1, Some(*since)),
        EntryState::Held => (2, None),
        EntryState::Waiting { until: Some(until), .. } => (3, Some(*until)),
        EntryState::Waiting { until: None, .. } => (4, None),
        EntryState::Terminal => (5, None),
    }
}

fn key(now: Instant, entry: &EntryView<'_>, run: &[Reason], error: Option<String>) -> Key {
    let ms = |time: Duration| Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let ago = |since: Instant| ms(now.saturating_duration_since(since));
    let (state, for_ms, next_in_ms) = match entry.state {
        EntryState::Running { since } => ("running", ago(since), None),
        EntryState::Ready { since } => ("ready", ago(since), None),
        EntryState::Held => ("waiting for its own writes", None, None),
        EntryState::Terminal => ("failed for good", None, None),
        EntryState::Waiting { until, why } => {
            let why = match why {
                Wait::Timer => "waiting for its timer",
                Wait::Retry => "waiting for retry",
                Wait::Debounce => "waiting for quiet",
                Wait::Slowed => "slowed",
            };
            (why, None, until.and_then(|until| ms(until.saturating_duration_since(now))))
        }
    };
    let mut reasons: Vec<String> = run.iter().chain(entry.reasons).map(ToString::to_string).collect();
    if entry.omitted > 0 {
        reasons.push(format!("and {} more", entry.omitted));
    }
    Key {
        key: entry.key.to_string(),
        state: state.to_owned(),
        priority: entry.priority,
        failures: entry.failures,
        for_ms,
        next_in_ms,
        reasons,
        error,
    }
}
