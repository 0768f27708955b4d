//! The list and watch protocol as a state machine: which request to send when, and what a response means.
//!
//! The machine owns no socket, clock or task. The caller passes the time, counted from a moment that all machines of
//! one server share. It asks for the [`next_action`](Machine::next_action), performs it, and reports the outcome.
//! Invariants:
//! - at most one request is in flight, and it has a [`deadline`](Machine::deadline);
//! - the version that a watch resumes from only moves forward, except that a consistent list may move it back;
//! - every failure makes the next delay longer, and only a watch that makes progress resets it.

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
use crate::{ResourceVersion, skip::Skip, store::Freshness, transform::Transform};

/// How fresh the lists of an informer must be. The names are those of kube-runtime's `watcher::ListSemantic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ListSemantic {
    /// As fresh as the server's storage (etcd). Lists are paged.
    #[default]
    MostRecent,
    /// From the server's watch cache, at least as new as what this informer has seen. Cheaper for the server, but the
    /// first list may be slightly old. Lists are not paged, because a page size makes older servers read from
    /// storage.
    Any,
}

/// The options of one informer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    pub(crate) list_semantic: ListSemantic,
    pub(crate) skip: Skip,
    pub(crate) stale_after: Duration,
    /// Whether to try a watch-list before a list.
    pub(crate) watch_list: bool,
    /// The page size of lists, or `None` for unpaged lists.
    pub(crate) page_size: Option<u32>,
    /// The `timeoutSeconds` of watches, or `None` to draw from [`WATCH_TIMEOUT`].
    pub(crate) watch_timeout: Option<Duration>,
    /// The time between two lists of a type that is not watched.
    pub(crate) poll_every: Option<Duration>,
    /// Changes each object before it is cached.
    pub(crate) transform: Option<Transform>,
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
            poll_every: None,
            transform: None,
        }
    }
}

/// The page size of lists, the same as client-go's.
const PAGE_SIZE: u32 = 500;
/// The maximum delay between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(15);
/// The maximum delay while no connection can be established.
const MAX_DELAY_UNREACHABLE: Duration = Duration::from_secs(5);
/// The maximum delay while the type is not served: someone may be about to install it.
const MAX_DELAY_NOT_SERVED: Duration = Duration::from_secs(3);
/// A watch that lives this long is working, even if nothing happened on it.
const SETTLE_TIME: Duration = Duration::from_secs(10);
/// A watch that brings something, but ends sooner than this, is reopened after a short delay.
const SHORT_WATCH: Duration = Duration::from_secs(1);
/// How long response headers, or the next bytes of a list, may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may be silent before the end of the initial events. A server that supports them sends them
/// without a pause.
const INITIAL_EVENTS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long initial events may take, plus the time that their bytes take at [`INITIAL_EVENTS_RATE`]. A server that
/// ignores the request for them sends the changes of a type, which are few; over a connection that is this slow, pages
/// are better.
const INITIAL_EVENTS_TIME: Duration = Duration::from_secs(25);
/// In bytes per second.
const INITIAL_EVENTS_RATE: f64 = 512.0 * 1024.0;
/// The range of watch timeouts that the server is asked for, so that clients spread over servers. Below the read
/// timeout of kube's client, 295 s.
const WATCH_TIMEOUT: (Duration, Duration) = (Duration::from_secs(240), Duration::from_secs(285));
/// How long past its timeout a watch that the server did not end is assumed to be alive.
const WATCH_GRACE: Duration = Duration::from_secs(10);
/// How many watch-lists in a row may fail during the initial events before a list is tried.
const MAX_UNFINISHED_WATCH_LISTS: u32 = 2;
/// How many watches in a row may be refused at one version before a list is tried.
const MAX_REFUSED_WATCHES: u32 = 5;
/// The maximum delay between lists that each follow soon after the one before.
const MAX_DELAY_RELIST: Duration = Duration::from_secs(60);
/// How many intervals of bookmarks a watch may be silent. They are about equal: a kube-apiserver sends them by the
/// minute (`cacheWatcher.nextBookmarkTime`).
const SILENT_INTERVALS: f64 = 2.2;
/// The range of the silence that ends a watch with bookmarks of about a minute or less.
const BOOKMARK_SILENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(130));

/// What the caller must do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Send(Request),
    WaitUntil(Time),
    /// Nothing: a request is in flight, and its outcome is awaited.
    InFlight,
}

/// The kind of a watch event, as far as it matters to the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
    Bookmark {
        /// Whether it carries the annotation that ends the initial events.
        ends_initial: bool,
    },
}

/// What to do with a watch event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Add it to the current list.
    ListItem(Freshness),
    /// Apply it as a change.
    Apply,
    /// Complete the current list at this version.
    ListComplete(ResourceVersion),
    /// Nothing: there is nothing to apply.
    Ignore,
    /// Stop reading: the current list is older than the cache, and a new list is scheduled.
    Lagging,
    /// Stop reading: the server ignored the request for initial events, and a list is scheduled.
    Fallback,
    /// Stop reading and report a failure: versions went backwards.
    VersionRegressed,
}

/// What to do after a page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    More,
    Complete(ResourceVersion),
    /// The list is older than the cache. A new list is scheduled already.
    Lagging,
    /// Report a failure: the page continues with itself.
    Repeated,
}

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Fault<'a> {
    /// The server responded with an error, or sent one in the stream.
    Status { status: &'a Status, retry_after: Option<Duration> },
    /// The connection could not be established, or it broke.
    Transport,
    /// The server was silent past the deadline.
    Silent,
    /// The response cannot be parsed, or cannot be true.
    Malformed,
}

/// How to go on after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// The attempt failed. The next one starts at this time.
    Retry { at: Time },
    /// No failure: another kind of request follows at once.
    Fallback,
    /// Discovery follows at once, and decides whether this is a failure.
    Discover,
}

/// What discovery says about the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discovered {
    Absent,
    Served,
    /// It is served, but not in the way that it is asked for.
    Unsuitable,
}

/// What follows from the answer of discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discovery {
    /// Nothing to report.
    Continue,
    /// For the first time, the type is known to be gone.
    Gone,
    /// What made the caller ask stands as a failure. The next attempt starts at this time.
    Failed { at: Time },
}

/// Whether the server serves the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    Yes,
    /// A request was answered with 404, which discovery has not confirmed yet.
    Doubted,
    No,
}

/// Why a full list is requested. Stays the same until a list succeeds or something else goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListReason {
    /// There was none yet.
    Initial,
    /// The server no longer has the version that a watch or page was to continue from, or does not know its own
    /// continue token.
    Expired,
    /// The previous list was older than the cache.
    Lagging,
    /// A response could not be parsed, or versions went backwards.
    Malformed,
    /// The type was not served for a while.
    TypeReturned,
    /// The server refused several watches of one version, for other reasons than its age.
    Refused,
    /// The type is followed by lists.
    Polled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Intent {
    /// List, from the beginning or from a continue token.
    List {
        continue_token: Option<String>,
    },
    Watch(ResourceVersion),
    Discover,
}

/// What follows once discovery has answered, unless its answer says otherwise.
#[derive(Debug, Clone)]
struct Suspended {
    then: Intent,
    /// The maximum delay, or `None` if what made the caller ask is not a failure.
    cap: Option<Duration>,
}

#[derive(Debug)]
enum State {
    Waiting { until: Time, then: Intent },
    InFlight(Exchange),
}

/// The request in flight.
#[derive(Debug)]
struct Exchange {
    request: Request,
    sent_at: Time,
    /// When the response headers were received.
    headers_at: Option<Time>,
    /// When the last byte was received, or `None` before the response headers.
    last_byte_at: Option<Time>,
    /// When error headers were received. The body is still to come.
    error_since: Option<Time>,
    /// The length of what was received.
    received: u64,
    /// Whether an event was received.
    any_event: bool,
    /// When the last bookmark was received that is not the end of the initial events.
    last_bookmark_at: Option<Time>,
    /// Whether the initial events of a watch-list are still to come.
    in_initial_events: bool,
    /// Since when there were only changes, and no `ADDED` events as initial events are.
    only_changes_since: Option<Time>,
    /// When the actual watch began.
    watching_since: Time,
    /// Whether the watch advanced the version.
    advanced: bool,
}

#[derive(Debug)]
pub(crate) struct Machine {
    settings: Settings,
    /// Whether one namespace is asked for.
    in_namespace: bool,
    state: State,
    backoff: Backoff,
    /// The delays of lists that replace a cache.
    relists: Backoff,
    /// When the last list was complete.
    listed_at: Option<Time>,
    /// The last two intervals between bookmarks.
    bookmark_intervals: [Option<Duration>; 2],
    /// How many watches in a row were refused at the present version.
    refused_watches: u32,
    suspended: Option<Suspended>,
    /// The version up to which the cache is complete.
    progress: Option<ResourceVersion>,
    served: Served,
    watch_lists: Arc<WatchLists>,
    /// How many watch-lists failed since the last complete list.
    unfinished_watch_lists: u32,
    /// The server rejected the last watch-list, or did not send what was asked for. Whether that is so for watch-lists
    /// only is known once a list succeeds; they are then avoided for this long.
    watch_list_refused: Option<Duration>,
    /// Whether the next list must come from storage, whatever the user chose.
    consistent: bool,
    /// Whether lists are paged. Not after a page expired, because the next one could expire, too.
    paged: bool,
    /// The version of the first page of the current list.
    list_version: Option<ResourceVersion>,
    list_reason: ListReason,
}

impl Exchange {
    /// When the initial events must have ended, given what was received of them.
    fn initial_events_end(&self) -> Time {
        let since = self.headers_at.unwrap_or(self.sent_at);
        since + INITIAL_EVENTS_TIME + Duration::from_secs_f64(self.received as f64 / INITIAL_EVENTS_RATE)
    }
}

impl Machine {
    /// Returns a machine that begins with a list, of one namespace or of all.
    pub(crate) fn new(
        settings: Settings,
        in_namespace: bool,
        seed: u64,
        watch_lists: Arc<WatchLists>,
    ) -> Self {
        Self {
            in_namespace,
            state: State::Waiting { until: Time::ZERO, then: Intent::List { continue_token: None } },
            backoff: Backoff::new(seed),
            relists: Backoff::new(seed),
            listed_at: None,
            bookmark_intervals: [None; 2],
            refused_watches: 0,
            suspended: None,
            progress: None,
            served: Served::Yes,
            watch_lists,
            unfinished_watch_lists: 0,
            watch_list_refused: None,
            consistent: false,
            paged: true,
            list_version: None,
            list_reason: ListReason::Initial,
            settings,
        }
    }

    /// Goes on from a state that is complete up to this version, instead of listing.
    pub(crate) fn start_from(&mut self, version: ResourceVersion) {
        self.progress = Some(version);
        self.schedule(Time::ZERO, Intent::Watch(version));
    }

    /// Why the current or last list was requested.
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

    /// How far items of the current list can be trusted.
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
            headers_at: None,
            last_byte_at: None,
            error_since: None,
            received: 0,
            any_event: false,
            last_bookmark_at: None,
            in_initial_events,
            only_changes_since: None,
            watching_since: now,
            advanced: false,
        });
        Action::Send(request)
    }

    /// When the request in flight counts as dead, unless more is received before.
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
                // A server that supports initial events sends them first. Another one may send changes forever, and
                // if each is a new object only the time gives it away.
                let silence = exchange.only_changes_since.unwrap_or(last_byte_at) + INITIAL_EVENTS_TIMEOUT;
                silence.min(exchange.initial_events_end()).min(exchange.sent_at + timeout + WATCH_GRACE)
            }
            Request::WatchList { timeout, .. } | Request::Watch { timeout, .. } => {
                let end = exchange.sent_at + timeout + WATCH_GRACE;
                self.longest_silence().map_or(end, |silence| end.min(last_byte_at + silence))
            }
            Request::List { .. } | Request::Discover => last_byte_at + RESPONSE_TIMEOUT,
        })
    }

    /// How long a watch may be silent, as far as its bookmarks have shown.
    fn longest_silence(&self) -> Option<Duration> {
        // A server also sends a bookmark shortly before it ends a watch, so a single interval can be short.
        let interval = self.bookmark_intervals.into_iter().flatten().max()?;
        let (least, most) = BOOKMARK_SILENCE;
        Some(interval.mul_f64(SILENT_INTERVALS).clamp(least, most.max(interval.mul_f64(1.5))))
    }

    /// Response headers or a part of the body of this length were received.
    pub(crate) fn on_bytes(&mut self, now: Time, length: usize) {
        if let State::InFlight(exchange) = &mut self.state {
            exchange.last_byte_at = Some(now);
            exchange.headers_at.get_or_insert(now);
            exchange.received += length as u64;
        }
    }

    /// The response headers announce an error, whose body follows.
    pub(crate) fn on_error_headers(&mut self, now: Time) {
        if let State::InFlight(exchange) = &mut self.state {
            exchange.error_since = Some(now);
        }
    }

    /// When the watch in flight has lived long enough to count as working.
    pub(crate) fn settles_at(&self) -> Option<Time> {
        let State::InFlight(exchange) = &self.state else { return None };
        let timeout = match exchange.request {
            Request::Watch { timeout, .. } | Request::WatchList { timeout, .. } => timeout,
            Request::List { .. } | Request::Discover => return None,
        };
        let watches = !exchange.in_initial_events;
        let answered = exchange.last_byte_at.is_some() && exchange.error_since.is_none();
        // One that lasted about as long as it was asked to worked, too.
        (watches && answered).then(|| exchange.watching_since + SETTLE_TIME.min(timeout.mul_f64(0.9)))
    }

    /// Whether the events of the watch in flight are still the objects of a list.
    pub(crate) fn in_initial_events(&self) -> bool {
        matches!(&self.state, State::InFlight(exchange) if exchange.in_initial_events)
    }

    /// A watch event was received. Only an object of the initial events may be without a version.
    pub(crate) fn on_event(
        &mut self,
        now: Time,
        kind: EventKind,
        version: impl Into<Option<ResourceVersion>>,
    ) -> Verdict {
        let version = version.into();
        let freshness = self.freshness();
        let lagging = version.is_some_and(|version| self.is_lagging(version, freshness));
        let State::InFlight(exchange) = &mut self.state else { return Verdict::Ignore };
        exchange.any_event = true;
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
                    self.watch_list_refused = Some(watch_lists::REFUSAL);
                    self.schedule(now, Intent::List { continue_token: None });
                    Verdict::Fallback
                }
                EventKind::Bookmark { ends_initial: true } => {
                    if lagging {
                        self.on_lagging(now);
                        return Verdict::Lagging;
                    }
                    let Some(version) = version else { return Verdict::Ignore };
                    exchange.in_initial_events = false;
                    exchange.watching_since = now;
                    self.on_list_complete(now, version);
                    Verdict::ListComplete(version)
                }
            };
        }
        if version.is_none() {
            return Verdict::Ignore;
        }
        let before = self.progress;
        if version < before {
            return Verdict::VersionRegressed;
        }
        if version > before {
            exchange.advanced = true;
            self.progress = version;
            self.backoff.reset();
            self.refused_watches = 0;
        }
        if matches!(kind, EventKind::Bookmark { .. })
            && let Some(last) = exchange.last_bookmark_at.replace(now)
        {
            self.bookmark_intervals = [self.bookmark_intervals[1], Some(now.saturating_sub(last))];
        }
        match kind {
            EventKind::Added | EventKind::Modified | EventKind::Deleted => Verdict::Apply,
            EventKind::Bookmark { .. } => Verdict::Ignore,
        }
    }

    /// A page of a list is complete.
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
        match self.settings.poll_every {
            Some(every) => {
                self.backoff.reset();
                self.list_reason = ListReason::Polled;
                self.schedule(now + every, Intent::List { continue_token: None });
            }
            None => self.schedule(now, Intent::Watch(version)),
        }
        Page::Complete(version)
    }

    /// The current list shows a state older than the cached one. Schedules a consistent list.
    pub(crate) fn on_lagging(&mut self, now: Time) {
        self.consistent = true;
        self.list_reason = ListReason::Lagging;
        self.schedule(now, Intent::List { continue_token: None });
    }

    /// The stream ended cleanly. Returns how to recover if that is a failure, because the stream ended before it
    /// brought anything.
    pub(crate) fn on_eof(&mut self, now: Time) -> Option<Recovery> {
        let State::InFlight(exchange) = &self.state else { return None };
        let worked = exchange.advanced || self.has_settled(now);
        let short = now.saturating_sub(exchange.watching_since) < SHORT_WATCH;
        match (&exchange.request, self.progress) {
            (Request::Watch { .. } | Request::WatchList { .. }, Some(progress)) if worked => {
                let wait = if short { self.backoff.next_delay(MAX_DELAY, None) } else { Duration::ZERO };
                if !short {
                    self.backoff.reset();
                }
                self.schedule(now + wait, Intent::Watch(progress));
                None
            }
            _ => Some(self.on_failure(now, &Fault::Transport)),
        }
    }

    /// Discovery answered.
    pub(crate) fn on_discovery(&mut self, now: Time, discovered: Discovered) -> Discovery {
        match (discovered, self.suspended.take()) {
            (Discovered::Unsuitable, suspended) => {
                // Someone may replace the definition. That is no failure then.
                self.suspended = suspended.map(|suspended| Suspended { cap: None, ..suspended });
                let at = now + self.backoff.next_delay(MAX_DELAY, None);
                self.schedule(at, Intent::Discover);
                Discovery::Failed { at }
            }
            (Discovered::Served | Discovered::Absent, Some(suspended)) => self.resume(now, suspended),
            (Discovered::Served, None) => {
                // The list decides: a type that was gone remains gone until a list succeeds.
                self.list_reason = ListReason::TypeReturned;
                let wait = if self.served == Served::No {
                    self.backoff.reset();
                    Duration::ZERO
                } else {
                    self.backoff.next_delay(MAX_DELAY_NOT_SERVED, None)
                };
                self.schedule_after_watch(now, now + wait, Intent::List { continue_token: None });
                Discovery::Continue
            }
            (Discovered::Absent, None) => {
                let newly_gone = self.served != Served::No;
                self.served = Served::No;
                self.progress = None;
                self.consistent = true;
                let wait = self.backoff.next_delay(MAX_DELAY_NOT_SERVED, None);
                self.schedule(now + wait, Intent::Discover);
                if newly_gone { Discovery::Gone } else { Discovery::Continue }
            }
        }
    }

    /// Discovery did not answer what it was asked. Returns `None` if it was not asked because of another fault.
    pub(crate) fn on_discovery_failure(&mut self, now: Time) -> Option<Discovery> {
        let suspended = self.suspended.take()?;
        Some(self.resume(now, suspended))
    }

    /// Goes on as if discovery had not been asked.
    fn resume(&mut self, now: Time, Suspended { then, cap }: Suspended) -> Discovery {
        let wait = cap.map(|cap| self.backoff.next_delay(cap, None));
        let at = self.schedule_after_watch(now, now + wait.unwrap_or_default(), then);
        if cap.is_some() { Discovery::Failed { at } } else { Discovery::Continue }
    }

    /// Schedules what follows a watch or discovery. A list that replaces a recent one comes later than asked: lists that
    /// soon follow one another, as where two servers with versions of their own take turns, become rare, whatever happens
    /// between them. Returns the time.
    fn schedule_after_watch(&mut self, now: Time, mut at: Time, then: Intent) -> Time {
        let list = then == Intent::List { continue_token: None };
        if let Some(listed_at) = self.listed_at.filter(|_| list) {
            if now.saturating_sub(listed_at) >= 2 * MAX_DELAY_RELIST {
                self.relists.reset();
            }
            at = at.max(now + self.relists.next_delay(MAX_DELAY_RELIST, None));
        }
        self.schedule(at, then);
        at
    }

    /// The request in flight failed or cannot be continued.
    pub(crate) fn on_failure(&mut self, now: Time, fault: &Fault<'_>) -> Recovery {
        let State::InFlight(exchange) = &self.state else { return Recovery::Fallback };
        if self.has_settled(now) {
            self.backoff.reset();
        }
        if matches!(fault, Fault::Silent) {
            // If the watch was merely idle, the next one must not be dropped for the same reason.
            self.bookmark_intervals = [None; 2];
        }
        self.watch_list_refused = None;
        let unwatchable = self.may_be_unwatchable(fault);
        if exchange.in_initial_events && self.gives_up_watch_list(now, fault) {
            let list = Intent::List { continue_token: None };
            if unwatchable {
                return self.suspend(now, list, None);
            }
            self.schedule(now, list);
            return Recovery::Fallback;
        }
        let State::InFlight(exchange) = &self.state else { return Recovery::Fallback };
        let (mut cap, mut retry_after_hint) = (MAX_DELAY, None);
        let watched = exchange.request.is_watch() && !exchange.in_initial_events;
        let discovers = exchange.request == Request::Discover;
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
                    // The requested version is not available (any more), so only a new list helps. A list that itself
                    // asked for a version must ask for none.
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
                    } else if self.in_namespace && then != Intent::Discover {
                        // Perhaps the type has no namespaces.
                        return self.suspend(now, then, Some(cap));
                    }
                } else if watched && !matches!(status.code, 401 | 403 | 429) {
                    self.refused_watches += 1;
                    if self.refused_watches >= MAX_REFUSED_WATCHES {
                        self.list_reason = ListReason::Refused;
                        self.consistent = true;
                        then = Intent::List { continue_token: None };
                    }
                } else if then == Intent::Discover && matches!(status.code, 400..=499) && status.code != 429 {
                    // Discovery is not available. The list, if it succeeds, shows that the type is served.
                    cap = MAX_DELAY_NOT_SERVED;
                    then = Intent::List { continue_token: None };
                }
            }
            Fault::Malformed if self.progress.is_some() || page || then == Intent::Discover => {
                // The same version, page or discovery would bring the same response again.
                self.list_reason = ListReason::Malformed;
                self.consistent = true;
                self.paged &= !page;
                then = Intent::List { continue_token: None };
            }
            // There is no server to be spared.
            Fault::Transport if exchange.last_byte_at.is_none() => cap = MAX_DELAY_UNREACHABLE,
            Fault::Transport | Fault::Silent | Fault::Malformed => {}
        }
        if then == Intent::Discover {
            cap = MAX_DELAY_NOT_SERVED;
        }
        if unwatchable {
            return self.suspend(now, then, Some(cap));
        }
        let mut at = now + self.backoff.next_delay(cap, retry_after_hint);
        if watched || discovers {
            at = self.schedule_after_watch(now, at, then);
        } else {
            self.schedule(at, then);
        }
        Recovery::Retry { at }
    }

    /// Asks discovery before going on with `then`.
    fn suspend(&mut self, now: Time, then: Intent, cap: Option<Duration>) -> Recovery {
        self.suspended = Some(Suspended { then, cap });
        self.schedule(now, Intent::Discover);
        Recovery::Discover
    }

    /// Whether the fault may be due to a type that cannot be watched.
    fn may_be_unwatchable(&self, fault: &Fault<'_>) -> bool {
        let State::InFlight(exchange) = &self.state else { return false };
        exchange.request.is_watch()
            && match fault {
                Fault::Status { status, .. } => status.code == 405,
                // Some servers ignore `watch` and respond with a list.
                Fault::Malformed => !exchange.any_event,
                Fault::Transport | Fault::Silent => false,
            }
    }

    fn request(&mut self, now: Time, intent: Intent) -> Request {
        match intent {
            Intent::Watch(from) => Request::Watch { from, timeout: self.watch_timeout() },
            Intent::List { continue_token: None } if self.tries_watch_list(now) => {
                Request::WatchList { version: self.version_to_list(), timeout: self.watch_timeout() }
            }
            Intent::List { continue_token } => {
                let version = self.version_to_list();
                // A page size makes older servers read from storage.
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
        if let Some(duration) = self.watch_list_refused.take() {
            self.watch_lists.avoid(now, duration);
        } else if self.unfinished_watch_lists >= MAX_UNFINISHED_WATCH_LISTS {
            self.watch_lists.avoid(now, watch_lists::TROUBLE);
        }
        self.progress = Some(version);
        self.listed_at = Some(now);
        self.refused_watches = 0;
        self.served = Served::Yes;
        self.consistent = false;
        self.paged = true;
        self.unfinished_watch_lists = 0;
    }

    /// Whether the watch in flight was open long enough to count as working.
    fn has_settled(&self, now: Time) -> bool {
        self.settles_at().is_some_and(|at| at <= now)
    }

    fn tries_watch_list(&self, now: Time) -> bool {
        self.settings.watch_list
            && self.settings.poll_every.is_none()
            && self.watch_list_refused.is_none()
            && self.unfinished_watch_lists < MAX_UNFINISHED_WATCH_LISTS
            && self.watch_lists.should_try(now)
    }

    /// Whether this fault of a watch-list calls for a list at once.
    fn gives_up_watch_list(&mut self, now: Time, fault: &Fault<'_>) -> bool {
        let State::InFlight(exchange) = &self.state else { return false };
        let refused = match fault {
            // 422 comes from a kube-apiserver without the feature, the others from servers that are not
            // kube-apiserver.
            Fault::Status { status, .. } => {
                matches!(status.code, 400 | 405 | 406 | 415 | 422 | 501).then_some(watch_lists::REFUSAL)
            }
            Fault::Silent if exchange.headers_at.is_none() => None,
            // Changes instead of initial events, or a connection that is too slow for them.
            Fault::Silent if exchange.initial_events_end() <= now => Some(watch_lists::TROUBLE),
            Fault::Silent => Some(watch_lists::REFUSAL),
            Fault::Transport | Fault::Malformed => None,
        };
        self.watch_list_refused = refused;
        if refused.is_some() {
            return true;
        }
        let unreachable = matches!(fault, Fault::Transport) && exchange.last_byte_at.is_none();
        let missing = matches!(fault, Fault::Status { status, .. } if status.code == 404);
        if unreachable || missing {
            return false;
        }
        // The server or the network may be at fault. But a list may get through where a watch-list does not.
        self.unfinished_watch_lists += 1;
        let polite = matches!(fault, Fault::Transport | Fault::Silent);
        polite && self.unfinished_watch_lists >= MAX_UNFINISHED_WATCH_LISTS
    }

    fn schedule(&mut self, until: Time, then: Intent) {
        self.state = State::Waiting { until, then };
    }
}

fn is_expired(status: &Status) -> bool {
    status.code == 410 || matches!(status.reason.as_str(), "Expired" | "Gone")
}

/// Whether the server rejects the request itself, independent of the user and the moment.
fn is_refusal(status: &Status) -> bool {
    matches!(status.code, 400..=499) && !matches!(status.code, 401 | 403 | 429)
}

/// Whether the server reports that it is behind the requested version.
fn is_too_large(status: &Status) -> bool {
    let cause = |cause: &kube::core::response::StatusCause| cause.reason == "ResourceVersionTooLarge";
    status.details.as_ref().is_some_and(|details| details.causes.iter().any(cause))
}

fn retry_after_in(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}
