//! What happens to the watches, in one line each on stderr: `-- 03:50:10 connection lost, watching again`.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use jiff::Zoned;
use kube_informer::{Error, Phase, Status};

use crate::stdio::say;

/// A break that is shorter needs no second line.
const BRIEF: Duration = Duration::from_secs(1);

/// Prints a notice with the time.
pub(crate) fn notice(text: &str) {
    say(&format!("-- {} {text}", Zoned::now().strftime("%H:%M:%S")));
}

/// Follows the status of the watches of one server. A break concerns all of them, and is one notice.
pub(crate) struct Notices {
    /// The name of the server, if there are several.
    server: Option<String>,
    watches: Vec<Watch>,
    /// Since when, if a break was reported and is not over.
    broken: Option<Instant>,
}

/// What was last known of a watch.
struct Watch {
    /// The type.
    name: String,
    failing: bool,
    gone: bool,
    stale: bool,
    quarantined: usize,
}

impl Notices {
    pub(crate) fn new(server: Option<String>) -> Self {
        Self { server, watches: Vec::new(), broken: None }
    }

    /// Adds a watch of a type, and returns its place.
    pub(crate) fn add(&mut self, name: String) -> usize {
        self.watches.push(Watch { name, failing: false, gone: false, stale: false, quarantined: 0 });
        self.watches.len() - 1
    }

    /// Returns what is to be reported about a new status of a watch.
    pub(crate) fn on_status(&mut self, place: usize, status: &Status, now: Instant) -> Vec<String> {
        let mut said = Vec::new();
        let Some(watch) = self.watches.get_mut(place) else { return said };
        let name = watch.name.clone();
        let gone = matches!(status.phase, Phase::TypeGone { .. });
        if gone != std::mem::replace(&mut watch.gone, gone) {
            said.push(if gone {
                format!("{name}: the server no longer has this type")
            } else {
                format!("{name}: the type is back")
            });
        }
        // The watch of a type that is gone is stale and fails, which says nothing new.
        let stale = status.stale && !gone;
        if stale != std::mem::replace(&mut watch.stale, stale) {
            said.push(if stale {
                format!("{name}: the server has been silent, the objects may have changed")
            } else {
                format!("{name}: the server is sending again")
            });
        }
        if status.quarantined.len() > std::mem::replace(&mut watch.quarantined, status.quarantined.len())
            && let Some((key, quarantined)) = status.quarantined.last_key_value()
        {
            said.push(format!("{name} {key} cannot be read: {}", quarantined.error));
        }
        watch.failing = matches!(status.phase, Phase::Retrying { .. });
        match (status.error(), self.broken) {
            (Some(error), None) => {
                self.broken = Some(now);
                said.push(reason(error));
            }
            (None, Some(since)) if self.watches.iter().all(|watch| !watch.failing) => {
                self.broken = None;
                let lasted = now.duration_since(since);
                if lasted >= BRIEF {
                    said.push(format!("connected again after {} s", lasted.as_secs()));
                }
            }
            _ => {}
        }
        match &self.server {
            Some(server) => said.iter().map(|text| format!("{server}: {text}")).collect(),
            None => said,
        }
    }
}

/// Returns why a watch broke, without internals.
fn reason(error: &Error) -> String {
    let cause = || {
        let mut cause = error.source();
        let mut text = String::new();
        while let Some(next) = cause {
            text = next.to_string();
            cause = next.source();
        }
        text
    };
    match error {
        Error::Interrupted { .. } => "connection lost, watching again".to_owned(),
        Error::Silent { waited, .. } => {
            format!("the server sent nothing for {} s, watching again", waited.as_secs())
        }
        Error::Unreachable { .. } => format!("the server cannot be reached ({}), trying again", cause()),
        Error::Tls { .. } => format!("no trusted TLS connection to the server ({}), trying again", cause()),
        Error::Client { .. } => format!("cannot send requests ({}), trying again", cause()),
        Error::Api { status, .. } => {
            format!("the server answered {} ({}), trying again", status.code, status.message)
        }
        error => format!("{error}, trying again"),
    }
}
