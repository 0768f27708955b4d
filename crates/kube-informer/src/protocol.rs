//! The list and watch protocol as a state machine: which request is sent when, and what an answer means.
//!
//! It has no socket, no clock and no task. Time is what the caller passes, counted from a moment that all machines of one
//! server share. The caller asks [`next_action`](Machine::next_action), does what it says, and reports what came of it. What always holds:
//! - there is at most one request under way, and it has a [`deadline`](Machine::deadline);
//! - the version that a watch resumes from only moves forward, but for a consistent list, which may move it back;
//! - a failure of any kind makes the next wait longer, and only a watch that got somewhere makes it short again.

mod backoff;
mod request;
#[cfg(test)]
mod tests;
mod time;
mod watch_lists;

use std::{sync::Arc, time::Duration};

use kube::core::Status;

use self::backoff::Backoff;
pub(crate) use self::{
    request::{ListVersion, Request, Target},
    time::Time,
    watch_lists::WatchLists,
};
use crate::{ResourceVersion, skip::Skip, store::Freshness};

/// How fresh the lists of an informer are, in the words of kube-runtime's `watcher::ListSemantic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ListSemantic {
    /// As fresh as the server's storage (etcd), and read in pages.
    #[default]
    MostRecent,
    /// From the server's watch cache. Cheaper for the server, and sent as a whole: a page size would make it read from
    /// storage. The first list may be a little old; later ones are at least as new as what this informer has seen.
    Any,
}

/// What a user chooses for one informer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    pub(crate) list_semantic: ListSemantic,
    pub(crate) skip: Skip,
    pub(crate) stale_after: Duration,
    /// Whether a watch-list is tried before a list.
    pub(crate) watch_list: bool,
    /// How many objects a page of a list has; none for no pages.
    pub(crate) page_size: Option<u32>,
    /// After what time the server is asked to end a watch, if not after [`WATCH_TIMEOUT`].
    pub(crate) watch_timeout: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            list_semantic: ListSemantic::default(),
            skip: Skip::managed_fields(),
            stale_after: Duration::from_secs(180),
            watch_list: true,
            page_size: Some(PAGE_SIZE),
            watch_timeout: None,
        }
    }
}

/// How many objects a page of a list has, as client-go's.
const PAGE_SIZE: u32 = 500;
/// The longest wait between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(15);
/// The longest wait while no connection comes about.
const MAX_DELAY_UNREACHABLE: Duration = Duration::from_secs(5);
/// The longest wait while the type is not served: somebody may be about to install it.
const MAX_DELAY_NOT_SERVED: Duration = Duration::from_secs(3);
/// A watch that lived this long worked, even when nothing happened.
const SETTLE_TIME: Duration = Duration::from_secs(10);
/// How long the head of an answer, or the next bytes of a list, may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server that was asked for the initial events may be silent before their end: one that knows them sends
/// them without a break.
const INITIAL_EVENTS_TIMEOUT: Duration = Duration::from_secs(10);
/// The server is asked to end each watch after a time in this range, so that clients spread over servers; below the
/// read timeout of kube's client, 295 s.
const WATCH_TIMEOUT: (Duration, Duration) = (Duration::from_secs(240), Duration::from_secs(285));
/// How long past that time a watch that the server did not end is believed to be alive.
const WATCH_GRACE: Duration = Duration::from_secs(10);
/// How many watch-lists may end without an end of the initial events before a list is tried.
const MAX_UNFINISHED_WATCH_LISTS: u32 = 2;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Send(Request),
    WaitUntil(Time),
    /// A request is under way: report what comes of it.
    InFlight,
}

/// What the kinds of watch events are to the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
    Bookmark {
        /// It carries the annotation that ends the initial events.
        ends_initial: bool,
    },
}

/// What to do with a watch event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is a part of the list under way.
    ListItem(Freshness),
    /// It is a change.
    Apply,
    /// It says that the list under way is complete at this version.
    ListComplete(ResourceVersion),
    /// There is nothing to apply.
    Ignore,
    /// The list under way is older than the cache. It is asked again: stop reading.
    Lagging,
    /// The server did not understand that initial events were asked for: stop reading, a list follows.
    Fallback,
    /// Versions went back: stop reading; report it as a failure.
    VersionRegressed,
}

/// What to do after a page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    More,
    Complete(ResourceVersion),
    /// The list is older than the cache. It was asked again already.
    Lagging,
    /// The page leads to itself: report it as a failure.
    Repeated,
}

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Fault<'a> {
    /// The server answered with an error, or sent one in the stream.
    Status { status: &'a Status, retry_after: Option<Duration> },
    /// No connection, or it broke.
    Transport,
    /// The server was silent past the deadline.
    Silent,
    /// What came cannot be understood, or cannot be true.
    Malformed,
}

/// What follows from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// The attempt failed; the next one starts at this time.
    Retry { at: Time },
    /// It only means that another request has to be used.
    Fallback,
}

/// Whether the server serves the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    Yes,
    /// A request was answered with 404; discovery has not confirmed it.
    Doubted,
    No,
}

/// Why the whole state is asked for. It stays the same until a list succeeds or something else goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListReason {
    /// There is none yet.
    Initial,
    /// The server has forgotten the version that a watch or a page was to go on from, or does not know its own token.
    Expired,
    /// The list before was older than the cache.
    Lagging,
    /// What came could not be understood, or versions went back.
    Malformed,
    /// The type was not served for a while.
    TypeReturned,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Intent {
    /// List, from the beginning or from a page on.
    List {
        continue_token: Option<String>,
    },
    Watch(ResourceVersion),
    Discover,
}

#[derive(Debug)]
enum State {
    Waiting { until: Time, then: Intent },
    InFlight(Exchange),
}

/// The request under way.
#[derive(Debug)]
struct Exchange {
    request: Request,
    sent_at: Time,
    /// When the last byte came; none before the head of the answer.
    last_byte_at: Option<Time>,
    /// Since when the answer is known to be an error, whose text is still coming.
    error_since: Option<Time>,
    /// Whether the initial events of a watch-list are still coming.
    in_initial_events: bool,
    /// Since when they have been changes, and no objects that are just there.
    only_changes_since: Option<Time>,
    /// When the watch proper began.
    watching_since: Time,
    /// Whether the watch moved the version on.
    advanced: bool,
}

#[derive(Debug)]
pub(crate) struct Machine {
    settings: Settings,
    state: State,
    backoff: Backoff,
    /// The version up to which the cache is complete.
    progress: Option<ResourceVersion>,
    served: Served,
    watch_lists: Arc<WatchLists>,
    /// How many were broken off since the last list was complete.
    unfinished_watch_lists: u32,
    /// The server would not do the watch-list before. Whether that was because it was one shows the list that follows.
    watch_list_refused: bool,
    /// Whether the next list has to come from storage, whatever the user chose.
    consistent: bool,
    /// Whether lists are asked for in pages. Not after a page expired: the next one could again.
    paged: bool,
    /// The version of the first page of the list under way.
    list_version: Option<ResourceVersion>,
    list_reason: ListReason,
}

impl Machine {
    pub(crate) fn new(settings: Settings, seed: u64, watch_lists: Arc<WatchLists>) -> Self {
        Self {
            state: State::Waiting { until: Time::ZERO, then: Intent::List { continue_token: None } },
            backoff: Backoff::new(seed),
            progress: None,
            served: Served::Yes,
            watch_lists,
            unfinished_watch_lists: 0,
            watch_list_refused: false,
            consistent: false,
            paged: true,
            list_version: None,
            list_reason: ListReason::Initial,
            settings,
        }
    }

    /// Why the list under way, or the last one, was asked for.
    pub(crate) fn list_reason(&self) -> ListReason {
        self.list_reason
    }

    pub(crate) fn served(&self) -> Served {
        self.served
    }

    /// The version up to which the cache is complete.
    pub(crate) fn progress(&self) -> Option<ResourceVersion> {
        self.progress
    }

    /// How far the items of the list under way can be trusted.
    pub(crate) fn freshness(&self) -> Freshness {
        match self.version_to_list() {
            ListVersion::Latest => Freshness::Consistent,
            ListVersion::Any | ListVersion::AtLeast(_) => Freshness::AtLeast(self.progress),
        }
    }

    pub(crate) fn next_action(&mut self, now: Time) -> Action {
        let State::Waiting { until, then } = &self.state else { return Action::InFlight };
        if *until > now {
            return Action::WaitUntil(*until);
        }
        let then = then.clone();
        let request = self.request(now, then);
        let in_initial_events = matches!(request, Request::WatchList { .. });
        if request.begins_list() {
            self.list_version = None;
        }
        self.state = State::InFlight(Exchange {
            request: request.clone(),
            sent_at: now,
            last_byte_at: None,
            error_since: None,
            in_initial_events,
            only_changes_since: None,
            watching_since: now,
            advanced: false,
        });
        Action::Send(request)
    }

    /// Until when the request under way must have brought its next sign of life.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let State::InFlight(exchange) = &self.state else { return None };
        let Some(last_byte_at) = exchange.last_byte_at else {
            return Some(exchange.sent_at + RESPONSE_TIMEOUT);
        };
        if let Some(error_since) = exchange.error_since {
            return Some(error_since + RESPONSE_TIMEOUT);
        }
        Some(match exchange.request {
            Request::WatchList { timeout, .. } if exchange.in_initial_events => {
                // A server that knows initial events sends them first. Another one can send changes for ever, and where
                // each is a new object only the time tells: it would have ended an answer of its own by then.
                let silence = exchange.only_changes_since.unwrap_or(last_byte_at) + INITIAL_EVENTS_TIMEOUT;
                silence.min(exchange.sent_at + timeout + WATCH_GRACE)
            }
            Request::WatchList { timeout, .. } | Request::Watch { timeout, .. } => {
                exchange.sent_at + timeout + WATCH_GRACE
            }
            Request::List { .. } | Request::Discover => last_byte_at + RESPONSE_TIMEOUT,
        })
    }

    /// The server accepted the request, or sent more of its answer.
    pub(crate) fn on_bytes(&mut self, now: Time) {
        if let State::InFlight(exchange) = &mut self.state {
            exchange.last_byte_at = Some(now);
        }
    }

    /// The server answered with an error; its text follows.
    pub(crate) fn on_error_headers(&mut self, now: Time) {
        if let State::InFlight(exchange) = &mut self.state {
            exchange.error_since = Some(now);
        }
    }

    /// When the watch under way has lived long enough to be called working.
    pub(crate) fn settles_at(&self) -> Option<Time> {
        let State::InFlight(exchange) = &self.state else { return None };
        let watches = match exchange.request {
            Request::Watch { .. } | Request::WatchList { .. } => !exchange.in_initial_events,
            Request::List { .. } | Request::Discover => false,
        };
        let answered = exchange.last_byte_at.is_some() && exchange.error_since.is_none();
        (watches && answered).then(|| exchange.watching_since + SETTLE_TIME)
    }

    /// A watch event with the version that it has.
    pub(crate) fn on_event(&mut self, now: Time, kind: EventKind, version: ResourceVersion) -> Verdict {
        let freshness = self.freshness();
        let lagging = self.is_lagging(version, freshness);
        let State::InFlight(exchange) = &mut self.state else { return Verdict::Ignore };
        if exchange.in_initial_events {
            return match kind {
                EventKind::Added => {
                    exchange.only_changes_since = None;
                    Verdict::ListItem(freshness)
                }
                EventKind::Modified | EventKind::Deleted => {
                    exchange.only_changes_since.get_or_insert(now);
                    Verdict::ListItem(freshness)
                }
                EventKind::Bookmark { ends_initial: false } => {
                    self.watch_list_refused = true;
                    self.schedule(now, Intent::List { continue_token: None });
                    Verdict::Fallback
                }
                EventKind::Bookmark { ends_initial: true } => {
                    if lagging {
                        self.on_lagging(now);
                        return Verdict::Lagging;
                    }
                    exchange.in_initial_events = false;
                    exchange.watching_since = now;
                    self.on_list_complete(now, version);
                    Verdict::ListComplete(version)
                }
            };
        }
        let before = self.progress;
        if Some(version) < before {
            return Verdict::VersionRegressed;
        }
        if Some(version) > before {
            exchange.advanced = true;
            self.progress = Some(version);
            self.backoff.reset();
        }
        match kind {
            EventKind::Added | EventKind::Modified | EventKind::Deleted => Verdict::Apply,
            EventKind::Bookmark { .. } => Verdict::Ignore,
        }
    }

    /// A page of a list came to its end.
    pub(crate) fn on_page(
        &mut self,
        now: Time,
        version: ResourceVersion,
        continue_token: Option<String>,
    ) -> Page {
        let version = *self.list_version.get_or_insert(version);
        let continue_token = continue_token.filter(|token| !token.is_empty());
        if continue_token.is_some() {
            let State::InFlight(Exchange { request, .. }) = &self.state else { return Page::More };
            if matches!(request, Request::List { continue_token: asked, .. } if *asked == continue_token) {
                return Page::Repeated;
            }
            self.schedule(now, Intent::List { continue_token });
            return Page::More;
        }
        if self.is_lagging(version, self.freshness()) {
            self.on_lagging(now);
            return Page::Lagging;
        }
        self.on_list_complete(now, version);
        self.schedule(now, Intent::Watch(version));
        Page::Complete(version)
    }

    /// The list under way showed a state older than the cached one: asks again, consistent.
    pub(crate) fn on_lagging(&mut self, now: Time) {
        self.consistent = true;
        self.list_reason = ListReason::Lagging;
        self.schedule(now, Intent::List { continue_token: None });
    }

    /// The stream came to a clean end. An answer when that is a failure: it ended before it brought anything.
    pub(crate) fn on_eof(&mut self, now: Time) -> Option<Recovery> {
        let State::InFlight(exchange) = &self.state else { return None };
        let worked = exchange.advanced || self.has_settled(now);
        match (&exchange.request, self.progress) {
            (Request::Watch { .. } | Request::WatchList { .. }, Some(progress)) if worked => {
                self.backoff.reset();
                self.schedule(now, Intent::Watch(progress));
                None
            }
            _ => Some(self.on_failure(now, &Fault::Transport)),
        }
    }

    /// Discovery answered whether the type is served. True when it is newly known to be gone.
    pub(crate) fn on_discovery(&mut self, now: Time, served: bool) -> bool {
        let newly_gone = !served && self.served != Served::No;
        if served {
            // The list decides; until it succeeds, a type that was gone is gone.
            self.list_reason = ListReason::TypeReturned;
            let wait = self.backoff.next_delay(MAX_DELAY_NOT_SERVED, None);
            let wait = if self.served == Served::No { Duration::ZERO } else { wait };
            self.schedule(now + wait, Intent::List { continue_token: None });
        } else {
            self.served = Served::No;
            self.progress = None;
            self.consistent = true;
            let wait = self.backoff.next_delay(MAX_DELAY_NOT_SERVED, None);
            self.schedule(now + wait, Intent::Discover);
        }
        newly_gone
    }

    /// The request under way failed, or cannot be continued.
    pub(crate) fn on_failure(&mut self, now: Time, fault: &Fault<'_>) -> Recovery {
        let State::InFlight(exchange) = &self.state else { return Recovery::Fallback };
        if self.has_settled(now) {
            self.backoff.reset();
        }
        self.watch_list_refused = false;
        if exchange.in_initial_events && self.gives_up_watch_list(fault) {
            self.schedule(now, Intent::List { continue_token: None });
            return Recovery::Fallback;
        }
        let State::InFlight(exchange) = &self.state else { return Recovery::Fallback };
        let (mut cap, mut retry_after_hint) = (MAX_DELAY, None);
        let mut then = match (&exchange.request, self.progress) {
            (Request::List { continue_token, .. }, _) => {
                Intent::List { continue_token: continue_token.clone() }
            }
            (Request::WatchList { .. }, Some(progress)) if !exchange.in_initial_events => {
                Intent::Watch(progress)
            }
            (Request::Watch { .. }, Some(progress)) => Intent::Watch(progress),
            (Request::WatchList { .. } | Request::Watch { .. }, _) => Intent::List { continue_token: None },
            (Request::Discover, _) => Intent::Discover,
        };
        let page = matches!(then, Intent::List { continue_token: Some(_) });
        match fault {
            Fault::Status { status, retry_after } => {
                retry_after_hint = retry_after.or_else(|| retry_after_in(status));
                let expired = is_expired(status) || (page && is_refusal(status));
                if expired {
                    self.list_reason = ListReason::Expired;
                }
                if expired || is_too_large(status) {
                    // What was asked for is not there (any more): only a new list helps. One that asked for a certain
                    // version itself has to ask for none.
                    self.paged &= !page;
                    self.consistent |= matches!(then, Intent::List { .. }) || is_too_large(status);
                    then = Intent::List { continue_token: None };
                } else if status.code == 404 {
                    cap = MAX_DELAY_NOT_SERVED;
                    if self.progress.is_some() && self.served == Served::Yes {
                        self.served = Served::Doubted;
                    }
                    if self.served != Served::Yes {
                        then = Intent::Discover;
                    }
                } else if then == Intent::Discover && matches!(status.code, 400..=499) && status.code != 429 {
                    // Discovery does not say. The list does, if there is one.
                    cap = MAX_DELAY_NOT_SERVED;
                    then = Intent::List { continue_token: None };
                }
            }
            Fault::Malformed if self.progress.is_some() || page || then == Intent::Discover => {
                // The same would come again from the same version, page or discovery.
                self.list_reason = ListReason::Malformed;
                self.consistent = true;
                self.paged &= !page;
                then = Intent::List { continue_token: None };
            }
            // Nobody is there to be spared.
            Fault::Transport if exchange.last_byte_at.is_none() => cap = MAX_DELAY_UNREACHABLE,
            Fault::Transport | Fault::Silent | Fault::Malformed => {}
        }
        if then == Intent::Discover {
            cap = MAX_DELAY_NOT_SERVED;
        }
        let at = now + self.backoff.next_delay(cap, retry_after_hint);
        self.schedule(at, then);
        Recovery::Retry { at }
    }

    fn request(&mut self, now: Time, intent: Intent) -> Request {
        match intent {
            Intent::Watch(from) => Request::Watch { from, timeout: self.watch_timeout() },
            Intent::List { continue_token: None } if self.tries_watch_list(now) => {
                Request::WatchList { version: self.version_to_list(), timeout: self.watch_timeout() }
            }
            Intent::List { continue_token } => {
                let version = self.version_to_list();
                // A page size would make older servers go to storage.
                let paged = self.paged && version == ListVersion::Latest;
                let limit = self.settings.page_size.filter(|_| paged);
                Request::List { version, limit, continue_token }
            }
            Intent::Discover => Request::Discover,
        }
    }

    fn watch_timeout(&mut self) -> Duration {
        let (from, to) = WATCH_TIMEOUT;
        self.settings.watch_timeout.unwrap_or_else(|| self.backoff.jitter(from, to))
    }

    fn version_to_list(&self) -> ListVersion {
        match (self.settings.list_semantic, self.consistent, self.progress) {
            (ListSemantic::MostRecent, ..) | (_, true, _) => ListVersion::Latest,
            (ListSemantic::Any, false, None) => ListVersion::Any,
            (ListSemantic::Any, false, Some(progress)) => ListVersion::AtLeast(progress),
        }
    }

    fn is_lagging(&self, version: ResourceVersion, freshness: Freshness) -> bool {
        freshness != Freshness::Consistent && Some(version) < self.progress
    }

    fn on_list_complete(&mut self, now: Time, version: ResourceVersion) {
        if std::mem::take(&mut self.watch_list_refused) {
            self.watch_lists.record_refusal(now);
        }
        self.progress = Some(version);
        self.served = Served::Yes;
        self.consistent = false;
        self.paged = true;
        self.unfinished_watch_lists = 0;
    }

    /// Whether the watch under way was open long enough to call it working.
    fn has_settled(&self, now: Time) -> bool {
        self.settles_at().is_some_and(|at| at <= now)
    }

    fn tries_watch_list(&self, now: Time) -> bool {
        self.settings.watch_list
            && !self.watch_list_refused
            && self.unfinished_watch_lists < MAX_UNFINISHED_WATCH_LISTS
            && self.watch_lists.should_try(now)
    }

    /// Whether this fault of a watch-list shows that a list is better.
    fn gives_up_watch_list(&mut self, fault: &Fault<'_>) -> bool {
        let State::InFlight(exchange) = &self.state else { return false };
        let refused = match fault {
            // 422 is a kube-apiserver without the feature; the others are servers that are not kube-apiserver.
            Fault::Status { status, .. } => matches!(status.code, 400 | 405 | 406 | 415 | 422 | 501),
            Fault::Silent => exchange.last_byte_at.is_some(),
            Fault::Transport => {
                // It may be the network, so it says nothing of the server; but a list gets through where a watch-list
                // does not.
                self.unfinished_watch_lists += u32::from(exchange.last_byte_at.is_some());
                return self.unfinished_watch_lists >= MAX_UNFINISHED_WATCH_LISTS;
            }
            Fault::Malformed => false,
        };
        self.watch_list_refused = refused;
        refused
    }

    fn schedule(&mut self, until: Time, then: Intent) {
        self.state = State::Waiting { until, then };
    }
}

fn is_expired(status: &Status) -> bool {
    status.code == 410 || matches!(status.reason.as_str(), "Expired" | "Gone")
}

/// The server does not take what was asked for, whoever asks and whenever.
fn is_refusal(status: &Status) -> bool {
    matches!(status.code, 400..=499) && !matches!(status.code, 401 | 403 | 429)
}

/// The server is behind the version that it was asked for, and says so.
fn is_too_large(status: &Status) -> bool {
    let cause = |cause: &kube::core::response::StatusCause| cause.reason == "ResourceVersionTooLarge";
    status.details.as_ref().is_some_and(|details| details.causes.iter().any(cause))
}

fn retry_after_in(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}
