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
        let last = status.quarantined.iter().next_back();
        let seen = Seen {
            is_gone: matches!(status.phase, Phase::TypeGone { .. }),
            is_stale: status.stale,
            error: status.error(),
            quarantined: status.quarantined.len(),
            unreadable: last.map(|(key, quarantined)| format!("{key} cannot be read: {}", quarantined.error)),
        };
        let said = self.on_seen(place, &seen, now);
        match &self.server {
            Some(server) => said.iter().map(|text| format!("{server}: {text}")).collect(),
            None => said,
        }
    }

    fn on_seen(&mut self, place: usize, seen: &Seen<'_>, now: Instant) -> Vec<String> {
        let mut said = Vec::new();
        let Some(watch) = self.watches.get_mut(place) else { return said };
        let name = watch.name.clone();
        if seen.is_gone != std::mem::replace(&mut watch.gone, seen.is_gone) {
            let text = if seen.is_gone { "the server no longer has this type" } else { "the type is back" };
            said.push(format!("{name}: {text}"));
        }
        // The type is going: the next status says so.
        let is_going = seen.error.is_some_and(Error::is_unknown_type);
        let is_stale = seen.is_stale && !seen.is_gone && !is_going;
        if is_stale != std::mem::replace(&mut watch.stale, is_stale) {
            let text = if is_stale {
                "the server has been silent, objects may have changed"
            } else {
                "the server is sending again"
            };
            said.push(format!("{name}: {text}"));
        }
        if seen.quarantined > std::mem::replace(&mut watch.quarantined, seen.quarantined)
            && let Some(text) = &seen.unreadable
        {
            said.push(format!("{name}: {text}"));
        }
        let error = seen.error.filter(|_| !is_going);
        watch.failing = error.is_some();
        match (error, self.broken) {
            (Some(error), None) => {
                self.broken = Some(now);
                said.push(reason(error));
            }
            (None, Some(since)) if self.watches.iter().all(|watch| !watch.failing) => {
                self.broken = None;
                if now.duration_since(since) >= BRIEF {
                    said.push("connected again".to_owned());
                }
            }
            _ => {}
        }
        said
    }
}

/// A status of a watch, as far as it is reported.
#[derive(Default)]
struct Seen<'a> {
    is_gone: bool,
    is_stale: bool,
    error: Option<&'a Error>,
    quarantined: usize,
    /// The last object that cannot be read, and why.
    unreadable: Option<String>,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::core::Status as ApiStatus;

    use super::*;

    fn interrupted() -> Error {
        Error::Interrupted { resource: "/apis/web.helloworld/v1/blogs".into(), source: None }
    }

    fn missing() -> Error {
        let status = ApiStatus { code: 404, ..ApiStatus::default() };
        Error::Api { resource: "/apis/web.helloworld/v1/blogs".into(), status: Arc::new(status) }
    }

    fn two() -> Notices {
        let mut notices = Notices::new(None);
        notices.add("blogs.web.helloworld".into());
        notices.add("configmaps".into());
        notices
    }

    #[test]
    fn a_break_of_all_watches_is_one_notice_without_paths() {
        let (mut notices, start) = (two(), Instant::now());
        let lost = interrupted();
        let broken = Seen { error: Some(&lost), ..Seen::default() };
        assert_eq!(notices.on_seen(0, &broken, start), ["connection lost, watching again"]);
        assert_eq!(notices.on_seen(1, &broken, start), [""; 0]);
        assert_eq!(notices.on_seen(0, &broken, start), [""; 0]);
        let later = start + BRIEF;
        assert_eq!(notices.on_seen(0, &Seen::default(), later), [""; 0]);
        assert_eq!(notices.on_seen(1, &Seen::default(), later), ["connected again"]);
        // A short one has only the first.
        assert_eq!(notices.on_seen(0, &broken, later).len(), 1);
        assert_eq!(notices.on_seen(0, &Seen::default(), later), [""; 0]);
    }

    #[test]
    fn a_type_that_goes_is_one_notice_and_so_is_its_return() {
        let (mut notices, now) = (two(), Instant::now());
        let missing = missing();
        let going = Seen { is_stale: true, error: Some(&missing), ..Seen::default() };
        assert_eq!(notices.on_seen(0, &going, now), [""; 0]);
        let gone = Seen { is_gone: true, ..Seen::default() };
        assert_eq!(
            notices.on_seen(0, &gone, now),
            ["blogs.web.helloworld: the server no longer has this type"]
        );
        assert_eq!(notices.on_seen(0, &Seen::default(), now), ["blogs.web.helloworld: the type is back"]);
    }

    #[test]
    fn silence_and_unreadable_objects_are_reported_once() {
        let (mut notices, now) = (two(), Instant::now());
        let silent = Seen { is_stale: true, ..Seen::default() };
        assert_eq!(
            notices.on_seen(1, &silent, now),
            ["configmaps: the server has been silent, objects may have changed"]
        );
        assert_eq!(notices.on_seen(1, &silent, now), [""; 0]);
        assert_eq!(notices.on_seen(1, &Seen::default(), now), ["configmaps: the server is sending again"]);
        let unreadable = || Seen {
            quarantined: 1,
            unreadable: Some("default/a cannot be read: x".into()),
            ..Seen::default()
        };
        assert_eq!(notices.on_seen(1, &unreadable(), now), ["configmaps: default/a cannot be read: x"]);
        assert_eq!(notices.on_seen(1, &unreadable(), now), [""; 0]);
    }
}
