//! Joins protocol, framing, decoder and store: bytes in, published states out. The engine does no I/O and reads no
//! clock; the driver moves the bytes and passes the time. This lets a simulation drive all of it.
//!
//! Invariant: only a complete first list is published, then what came after it, in order.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use kube::core::Status as ApiStatus;
use tokio::time::Instant;
use tracing::{Level, debug, enabled, field, info, trace, warn};

use crate::{
    Cached, DeletionReason, Error, NamespaceStatus, ObjectKey, Phase, ResourceVersion,
    decode::{self, Decoded, Decoder, Malformed, Undecoded, WatchEvent},
    delta::{Delta, Difference},
    error::in_one_line,
    frame::{self, Piece},
    free::free,
    metrics::Count,
    phase::TOO_MANY_REQUESTS_GRACE,
    protocol::{
        Action, Discovered, Discovery, EventKind, Fault, Machine, Page, Recovery, Request, Served, Settings,
        Target, Time, Verdict, WatchLists,
    },
    scope::{Progress, Scope},
    staging::{self, Staged},
    state::State,
    store::{self, Freshness, Lagging, ListNumber, Store, unseen},
};

/// The maximum number of bytes read of an error's body.
const MAX_ERROR_BODY: usize = 64 << 10;
/// The maximum number of bytes read of a discovery response.
const MAX_DISCOVERY_BODY: usize = 4 << 20;

/// How many objects are removed under one lock when a list is complete.
const SWEEP_BATCH: usize = 1000;

/// How long a server may take to refuse a version that it no longer has. A kube-apiserver accepts the watch with 200 and
/// sends an ERROR event at once (`newErrWatcher` in `storage/cacher/cacher.go`).
const REFUSAL_TIME: Duration = Duration::from_secs(1);

const LAGGING: &str = "the list is older than the cache";

/// Whether to continue reading the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Flow {
    Continue,
    Stop,
}

pub(crate) struct Engine<K: Cached> {
    target: Target,
    path: Arc<str>,
    machine: Machine,
    decoder: Decoder,
    scope: Scope,
    state: Arc<State<K>>,
    /// Whether the type is followed by lists.
    polled: bool,
    /// Where the first list is staged. `None` once it is complete.
    staged: Option<Staged<K>>,
    /// The number of the current or last list.
    list: ListNumber,
    /// How many cached objects the current list has contained, as far as that is known without looking at them.
    marked: Option<usize>,
    reading: Reading,
    stale_after: Duration,
    started: Instant,
    /// The version that was published last, or `None` before the first list.
    published: Option<ResourceVersion>,
    last_contact: Option<Time>,
    /// Whether the state comes from disk, and the server has not confirmed it yet.
    from_disk: bool,
    /// When the server accepted the watch in flight.
    accepted_at: Option<Time>,
    /// When the current or last list was requested.
    list_began: Time,
    /// How many objects of the current list were received.
    listed: usize,
    /// Whether the next object is the first of a page that follows a complete one.
    begins_page: bool,
    /// How many objects of the current list failed to decode, and the first of them.
    undecoded: Option<(usize, ObjectKey)>,
    /// When the last byte of the response was received, or before that, when the request was made.
    last_byte_at: Time,
    /// Since when every attempt has failed.
    failing_since: Option<Time>,
    /// The error because of which discovery was asked.
    doubtful: Option<Error>,
    /// The status that was reported last.
    reported: NamespaceStatus,
    /// The phase, if it changed since the last report.
    new_phase: Option<Phase>,
}

/// How to interpret the bytes of the response.
enum Reading {
    Nothing,
    List(frame::List),
    Watch(frame::Lines),
    /// A short body that is buffered as a whole.
    Buffered {
        code: StatusCode,
        retry_after: Option<Duration>,
        body: Vec<u8>,
        discovery: bool,
    },
}

/// Why to stop reading a response.
enum Problem {
    Malformed(String),
    /// The server sent an error in the stream.
    ErrorEvent(Box<ApiStatus>),
    /// Nothing is wrong, but another list must follow.
    Relist(&'static str),
}

impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

impl From<frame::Error> for Problem {
    fn from(error: frame::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl<K: Cached> Engine<K> {
    /// Returns an engine for one of the scopes of an informer. Time is counted from `started`.
    pub(crate) fn new(
        mut target: Target,
        scope: Scope,
        settings: Settings,
        seed: u64,
        started: Instant,
        watch_lists: Arc<WatchLists>,
        state: Arc<State<K>>,
    ) -> Self {
        target.namespace = scope.namespace.as_deref().map(str::to_owned);
        let (api_version, kind) = (target.api_version.clone(), target.kind.clone());
        let mut decoder =
            Decoder::new(settings.skip.clone(), api_version, kind, Arc::clone(state.compressor()));
        decoder.transform(settings.transform.clone());
        // What is polled is as new as the last list.
        let stale_after = settings.stale_after.max(settings.poll_every.unwrap_or_default().saturating_mul(2));
        let polled = settings.poll_every.is_some();
        if polled {
            decoder.accept_versionless();
        }
        let in_namespace = target.namespace.is_some();
        Self {
            path: target.path().into(),
            machine: Machine::new(settings, in_namespace, seed, watch_lists),
            polled,
            decoder,
            staged: Some(state.stage(&scope)),
            scope,
            state,
            marked: None,
            list: 0,
            reading: Reading::Nothing,
            stale_after,
            started,
            published: None,
            last_contact: None,
            from_disk: false,
            accepted_at: None,
            list_began: Time::ZERO,
            listed: 0,
            begins_page: false,
            undecoded: None,
            last_byte_at: Time::ZERO,
            failing_since: None,
            doubtful: None,
            reported: NamespaceStatus::new(),
            new_phase: None,
            target,
        }
    }

    /// Begins with a state that an earlier run left on disk, complete up to this version. It can be read at once, and is
    /// confirmed as soon as the server sends something that follows it, or goes on from its version without an error.
    pub(crate) fn resume(&mut self, now: Time, stored: Store<K>, version: ResourceVersion) {
        if let Some(staged) = self.staged.take() {
            drop(self.state.staged(&self.scope, &staged));
        }
        self.from_disk = true;
        self.published = Some(version);
        self.machine.start_from(version);
        self.state.join(&self.scope, stored, Progress::FromDisk(version));
        self.report_status(now);
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// Returns what the caller must do now.
    pub(crate) fn next_action(&mut self, now: Time) -> Action {
        let mut action = self.machine.next_action(now);
        if action == Action::InFlight {
            // The caller dropped the request without reporting an outcome.
            let error = Error::Interrupted { resource: Arc::clone(&self.path), source: None };
            self.on_failure(now, &Fault::Transport, error);
            action = self.machine.next_action(now);
        }
        if let Action::Send(request) = &action {
            self.last_byte_at = now;
            self.accepted_at = None;
            if request.begins_list() {
                // Marks of an earlier list do not count.
                self.list = self.list.wrapping_add(1);
                self.marked = Some(0);
                if self.staged.is_none() {
                    let namespace = self.scope.namespace.clone();
                    self.change(|store, _| store.relist_begins(namespace.as_ref()));
                }
            }
            self.reading = match request {
                Request::List { .. } => Reading::List(frame::List::new()),
                Request::WatchList { .. } | Request::Watch { .. } => Reading::Watch(frame::Lines::default()),
                Request::Discover => Reading::Buffered {
                    code: StatusCode::OK,
                    retry_after: None,
                    body: Vec::new(),
                    discovery: true,
                },
            };
            let list_reason = request.begins_list().then(|| self.machine.list_reason());
            if let Some(reason) = list_reason {
                self.list_began = now;
                self.listed = 0;
                self.begins_page = false;
                self.undecoded = None;
                self.state.counters().add(reason, 1);
            }
            if request.is_watch() {
                self.state.counters().add(Count::Watch, 1);
            }
            let (reason, resource_version) =
                (list_reason.map(field::debug), request.version().map(field::display));
            debug!(resource = %self.path, request = request.verb(), resource_version, reason, "sending request");
        }
        action
    }

    /// When to call [`on_timeout`](Self::on_timeout), unless something else happens before.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let stale = self.last_contact.map(|at| at.saturating_add(self.stale_after));
        let stale = stale.filter(|_| self.published.is_some() && !self.reported.stale);
        let settled = self.machine.settles_at().filter(|_| self.failing_since.is_some());
        [self.machine.deadline(), stale, settled, self.confirmed_at()].into_iter().flatten().min()
    }

    /// The time that [`next_timeout`](Self::next_timeout) returned has come.
    pub(crate) fn on_timeout(&mut self, now: Time) -> Flow {
        if self.machine.deadline().is_some_and(|deadline| deadline <= now) {
            let waited = now.saturating_sub(self.last_byte_at);
            let error = Error::Silent { resource: Arc::clone(&self.path), waited };
            self.on_abort(now, &Fault::Silent, error);
            return Flow::Stop;
        }
        if self.failing_since.is_some() && self.machine.settles_at().is_some_and(|at| at <= now) {
            self.mark_working(now);
        }
        if self.confirmed_at().is_some_and(|at| at <= now) {
            self.record_contact(now);
            self.publish(now);
        }
        self.report_status(now);
        Flow::Continue
    }

    /// The response headers were received.
    pub(crate) fn on_headers(&mut self, now: Time, code: StatusCode, retry_after: Option<Duration>) {
        self.machine.on_bytes(now, 0);
        self.last_byte_at = now;
        trace!(resource = %self.path, code = code.as_u16(), "received response");
        if !code.is_success() {
            self.machine.on_error_headers(now);
            let discovery = matches!(self.reading, Reading::Buffered { .. });
            self.reading = Reading::Buffered { code, retry_after, body: Vec::new(), discovery };
        } else if self.machine.settles_at().is_some() {
            self.accepted_at = Some(now);
        }
    }

    /// A part of the response's body was received.
    pub(crate) fn on_chunk(&mut self, now: Time, chunk: Bytes) -> Flow {
        self.machine.on_bytes(now, chunk.len());
        self.last_byte_at = now;
        self.state.counters().add(Count::ReceivedBytes, chunk.len() as u64);
        let read = match std::mem::replace(&mut self.reading, Reading::Nothing) {
            Reading::Nothing => return Flow::Stop,
            Reading::Buffered { code, retry_after, mut body, discovery } => {
                let room = if discovery { MAX_DISCOVERY_BODY } else { MAX_ERROR_BODY };
                body.extend_from_slice(&chunk[..chunk.len().min(room - body.len())]);
                let full = body.len() == room;
                self.reading = Reading::Buffered { code, retry_after, body, discovery };
                if full {
                    self.on_eof(now);
                    return Flow::Stop;
                }
                return Flow::Continue;
            }
            Reading::List(mut list) => {
                list.push(chunk);
                let read = self.read_list(now, &mut list);
                self.reading = Reading::List(list);
                read
            }
            Reading::Watch(mut lines) => {
                lines.push(chunk);
                let read = self.read_watch(now, &mut lines);
                self.reading = Reading::Watch(lines);
                read
            }
        };
        // What is kept while nothing is received does not depend on what was.
        self.decoder.release();
        match read {
            Ok(flow) => {
                if flow == Flow::Stop {
                    self.reading = Reading::Nothing;
                }
                self.publish(now);
                flow
            }
            Err(problem) => {
                self.on_problem(now, problem);
                Flow::Stop
            }
        }
    }

    /// Returns how many bytes of the response, and for decoding it, are allocated.
    #[cfg(test)]
    fn held(&self) -> usize {
        let reading = match &self.reading {
            Reading::Nothing => 0,
            Reading::List(list) => list.held(),
            Reading::Watch(lines) => lines.held(),
            Reading::Buffered { body, .. } => body.capacity(),
        };
        reading + self.decoder.held()
    }

    /// The response ended cleanly.
    pub(crate) fn on_eof(&mut self, now: Time) {
        match std::mem::replace(&mut self.reading, Reading::Nothing) {
            Reading::Buffered { code, retry_after, body, discovery } => {
                self.on_body(now, code, retry_after, &body, discovery);
            }
            Reading::Watch(lines) if lines.holds_value() => {
                // As where a server ignores `watch`, and responds with a list.
                self.on_problem(
                    now,
                    Problem::Malformed("the response to a watch is not a stream of events".to_owned()),
                );
            }
            Reading::List(_) | Reading::Watch(_) => {
                if let Some(recovery) = self.machine.on_eof(now) {
                    let error = Error::Interrupted { resource: Arc::clone(&self.path), source: None };
                    self.recover(now, recovery, error);
                }
            }
            Reading::Nothing => {}
        }
    }

    /// The request failed, or its response broke off.
    pub(crate) fn on_error(&mut self, now: Time, error: Error) {
        self.on_abort(now, &Fault::Transport, error);
    }

    /// The rest of the response is lost. If the headers announced an error, that error counts, even without its body.
    fn on_abort(&mut self, now: Time, fault: &Fault<'_>, error: Error) {
        match &self.reading {
            Reading::Buffered { code, .. } if !code.is_success() => self.on_eof(now),
            _ => self.on_failure(now, fault, error),
        }
    }

    fn read_list(&mut self, now: Time, list: &mut frame::List) -> Result<Flow, Problem> {
        let freshness = self.machine.freshness();
        while let Some(piece) = list.next()? {
            match piece {
                Piece::Item(item) => {
                    self.listed += 1;
                    // Whatever its version is.
                    if matches!(self.elsewhere(&item), Ok(None)) {
                        let decoded = self.decode(&item)?;
                        self.on_list_item(now, decoded, freshness)?;
                    }
                }
                Piece::End(metadata) => {
                    let end = decode::list_end(&metadata)?;
                    let version = match end.version {
                        Some(version) => version,
                        None if self.polled => ResourceVersion::next(self.machine.progress()),
                        None => return Err(Malformed::Version.into()),
                    };
                    return match self.machine.on_page(now, version, end.continue_token) {
                        Page::More => {
                            self.begins_page = true;
                            Ok(Flow::Stop)
                        }
                        Page::Complete(version) => {
                            self.on_list_complete(now, version);
                            Ok(Flow::Stop)
                        }
                        Page::Lagging => Err(Problem::Relist(LAGGING)),
                        Page::Repeated => {
                            Err(Problem::Malformed("a page of a list continues with itself".to_owned()))
                        }
                    };
                }
            }
        }
        Ok(Flow::Continue)
    }

    fn read_watch(&mut self, now: Time, lines: &mut frame::Lines) -> Result<Flow, Problem> {
        while let Some(line) = lines.next()? {
            let event = decode::watch_event(&line)?;
            self.state.counters().add(&event, 1);
            match event {
                WatchEvent::Added(object) => self.on_change(now, EventKind::Added, object)?,
                WatchEvent::Modified(object) => self.on_change(now, EventKind::Modified, object)?,
                WatchEvent::Deleted(object) => self.on_change(now, EventKind::Deleted, object)?,
                WatchEvent::Bookmark { version, ends_initial } => {
                    let version = decode::version(&version)?;
                    trace!(resource = %self.path, resource_version = %version, ends_initial, "received bookmark");
                    self.on_event(now, EventKind::Bookmark { ends_initial }, version)?;
                }
                WatchEvent::Error(status) => return Err(Problem::ErrorEvent(status)),
            }
        }
        Ok(Flow::Continue)
    }

    /// An object was added, modified or deleted.
    fn on_change(&mut self, now: Time, kind: EventKind, object: &[u8]) -> Result<(), Problem> {
        let initial = self.machine.in_initial_events();
        self.listed += usize::from(initial);
        match self.elsewhere(object) {
            Ok(None) => {}
            Err(malformed) if !initial => return Err(malformed.into()),
            elsewhere => {
                self.on_event(now, kind, elsewhere.unwrap_or_default())?;
                return Ok(());
            }
        }
        let decoded = self.decode(object)?;
        // In a list, an object that cannot be identified is one bad object. A change of it could be one of any object.
        if !initial || kind == EventKind::Deleted {
            decoded.check_identity()?;
        }
        match kind {
            EventKind::Deleted => self.on_deleted(now, decoded),
            kind => self.on_applied(now, kind, decoded),
        }
    }

    /// Returns the version of an object that belongs to another shard. A server that knows shards does not send it.
    fn elsewhere(&self, object: &[u8]) -> Result<Option<ResourceVersion>, Malformed> {
        self.target.shard.as_ref().map_or(Ok(None), |shard| shard.elsewhere(object))
    }

    /// Decodes an object, which must be in the namespace that was asked for.
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded<K>, Problem> {
        let decoded = self.decoder.object(bytes)?;
        if let Some(key) = decoded.key()
            && !self.scope.contains(key)
        {
            if key.namespace().is_none() {
                return Ok(decoded.unidentified("an object has no namespace"));
            }
            return Err(Problem::Malformed(
                "an object is not in the namespace that was asked for".to_owned(),
            ));
        }
        Ok(decoded)
    }

    /// An object of the current list was received.
    fn on_list_item(&mut self, now: Time, decoded: Decoded<K>, freshness: Freshness) -> Result<(), Problem> {
        let begins_page = std::mem::take(&mut self.begins_page);
        let listed = match decoded {
            Decoded::Item(item) => match self.change(|store, list| store.list_item(list, item, freshness)) {
                Some(Ok(false)) if begins_page => {
                    return Err(Problem::Malformed("a page of a list repeats an earlier one".to_owned()));
                }
                listed => listed,
            },
            Decoded::Undecoded(item) => {
                let item = self.at_its_place(item);
                self.undecoded.get_or_insert_with(|| (0, item.key.clone())).0 += 1;
                // An object of that name may have been marked, or removed.
                self.marked = None;
                self.change(|store, list| store.list_undecoded(list, item, freshness).map(|()| false))
            }
        };
        match listed {
            Some(Err(Lagging)) => {
                self.machine.on_lagging(now);
                return Err(Problem::Relist(LAGGING));
            }
            Some(Ok(is_new)) => self.marked = self.marked.map(|marked| marked + usize::from(is_new)),
            None => {}
        }
        Ok(())
    }

    /// Gives an object without a usable name one that says which object of the current list it is.
    fn at_its_place(&self, Undecoded { key, uid, version, error }: Undecoded) -> store::Undecoded {
        let place = self.listed.saturating_sub(1);
        let key = key
            .unwrap_or_else(|| ObjectKey::new(self.scope.namespace.as_deref(), &format!("items[{place}]")));
        store::Undecoded { key, uid, version, error }
    }

    fn on_applied(&mut self, now: Time, kind: EventKind, decoded: Decoded<K>) -> Result<(), Problem> {
        let verdict = self.on_event(now, kind, decoded.version())?;
        match (verdict, decoded) {
            (Verdict::ListItem(freshness), decoded) => self.on_list_item(now, decoded, freshness)?,
            (Verdict::Apply, Decoded::Item(item)) => {
                self.change(|store, list| store.upsert(list, item));
            }
            (Verdict::Apply, Decoded::Undecoded(item)) => {
                let item = self.at_its_place(item);
                // The error is not logged, because it can contain a value.
                warn!(resource = %self.path, object = %item.key, "object failed to decode, quarantined");
                self.change(|store, list| store.quarantine(list, item));
            }
            _ => {}
        }
        Ok(())
    }

    fn on_deleted(&mut self, now: Time, decoded: Decoded<K>) -> Result<(), Problem> {
        let version = decoded.version();
        match self.on_event(now, EventKind::Deleted, version)? {
            Verdict::ListItem(_) | Verdict::Apply => {}
            _ => return Ok(()),
        }
        let reason = if self.target.objects_can_leave() {
            DeletionReason::DeletedOrLeftSelection
        } else {
            DeletionReason::Deleted
        };
        let (key, last) = match decoded {
            Decoded::Item(item) => (Some(item.key), Some(item.object)),
            Decoded::Undecoded(item) => (item.key, None),
        };
        let (Some(key), Some(version)) = (key, version) else { return Ok(()) };
        self.marked = None;
        self.change(|store, _| store.delete_at(&key, version, last, reason));
        Ok(())
    }

    /// Asks the protocol how to handle an event.
    fn on_event(
        &mut self,
        now: Time,
        kind: EventKind,
        version: impl Into<Option<ResourceVersion>>,
    ) -> Result<Verdict, Problem> {
        let verdict = self.machine.on_event(now, kind, version);
        match verdict {
            Verdict::ListComplete(version) => self.on_list_complete(now, version),
            Verdict::Lagging => return Err(Problem::Relist(LAGGING)),
            Verdict::Fallback => return Err(Problem::Relist("the server ignores sendInitialEvents")),
            Verdict::VersionRegressed => {
                return Err(Problem::Malformed("resource versions went backwards".to_owned()));
            }
            Verdict::Apply | Verdict::Ignore => self.record_contact(now),
            Verdict::ListItem(_) => {}
        }
        Ok(verdict)
    }

    /// A list is complete. Removes what it did not contain, and publishes the rest.
    fn on_list_complete(&mut self, now: Time, version: ResourceVersion) {
        let took = now.saturating_sub(self.list_began);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.state.counters().add(Count::ListNanoseconds, nanoseconds);
        self.sweep();
        self.last_contact = Some(now);
        self.mark_working(now);
        if let Some((count, object)) = self.undecoded.take() {
            // One line, even if nothing in the list decodes. The error is not logged, because it can contain a value.
            warn!(resource = %self.path, count, %object, "object failed to decode, quarantined");
        }
        if let Some(staged) = self.staged.take() {
            let staged = self.state.staged(&self.scope, &staged);
            let count = staged.len();
            debug!(resource = %self.path, count, resource_version = %version, ?took, "initial list complete");
            self.state.join(&self.scope, staged, version);
            self.published = Some(version);
        } else {
            let reason = self.machine.list_reason();
            debug!(resource = %self.path, resource_version = %version, ?reason, ?took, "relist complete");
        }
        self.publish(now);
        // Last, so that nothing is written to disk before the version is known.
        let namespace = self.scope.namespace.clone();
        self.change(|store, _| store.relist_ends(namespace.as_ref()));
    }

    /// Removes what the list did not contain, in batches: a reader waits for one of them at most.
    fn sweep(&mut self) {
        let namespace = self.scope.namespace.clone();
        let namespace = namespace.as_deref();
        // Scanned without the lock. Only this engine changes the objects of its scope.
        let held = self.change(|store, _| (store.objects().clone(), store.quarantined().clone()));
        let Some((objects, quarantined)) = held else { return };
        let is_all = namespace.is_none() || self.staged.is_some();
        let all_marked = is_all && self.marked == Some(objects.len());
        let unseen = if all_marked { Vec::new() } else { unseen(&objects, namespace, self.list) };
        let settled = quarantined.unseen(namespace, Some(self.list));
        // Otherwise, removing objects would copy what is shared with these.
        drop((objects, quarantined));
        for keys in unseen.chunks(SWEEP_BATCH) {
            self.change(|store, _| {
                keys.iter().for_each(|key| store.delete(key, DeletionReason::MissedWhileAway));
            });
        }
        for keys in settled.chunks(SWEEP_BATCH) {
            self.change(|store, _| keys.iter().for_each(|key| store.unquarantine(key)));
        }
    }

    /// A buffered response is complete.
    fn on_body(
        &mut self,
        now: Time,
        code: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
        discovery: bool,
    ) {
        let served = match (discovery, code) {
            (true, StatusCode::NOT_FOUND) => Ok(None),
            (true, code) if code.is_success() => decode::served(body, &self.target.plural),
            _ => {
                let status = status_of(code, body);
                let error = Error::Api { resource: Arc::clone(&self.path), status: Arc::new(status.clone()) };
                return self.on_failure(now, &Fault::Status { status: &status, retry_after }, error);
            }
        };
        match served {
            Err(malformed) => self.on_problem(now, malformed.into()),
            Ok(served) => self.on_discovered(now, served.as_ref()),
        }
    }

    /// Discovery answered.
    fn on_discovered(&mut self, now: Time, served: Option<&decode::Served>) {
        let resource = Arc::clone(&self.path);
        let (discovered, unsuitable) = match served {
            None => (Discovered::Absent, None),
            Some(served) if self.target.namespace.is_some() && served.has_no_namespaces() => {
                (Discovered::Unsuitable, Some(Error::NotNamespaced { resource }))
            }
            Some(served) if !self.polled && served.cannot_be_watched() => {
                (Discovered::Unsuitable, Some(Error::NotWatchable { resource }))
            }
            Some(_) => (Discovered::Served, None),
        };
        let discovery = self.machine.on_discovery(now, discovered);
        if self.machine.served() == Served::No {
            // The absence of the type is news about the cache, too.
            self.last_contact = Some(now);
        }
        match discovery {
            Discovery::Gone => self.on_type_gone(now),
            Discovery::Continue | Discovery::Failed { .. } => self.doubt_settled(now, discovery, unsuitable),
        }
        self.report_status(now);
    }

    /// Discovery has answered or failed. What made the engine ask is a failure, or not.
    fn doubt_settled(&mut self, now: Time, discovery: Discovery, error: Option<Error>) {
        let doubtful = self.doubtful.take();
        if let Discovery::Failed { at } = discovery
            && let Some(error) = error.or(doubtful)
        {
            self.recover(now, Recovery::Retry { at }, error);
        }
    }

    /// Discovery has confirmed that the type is gone.
    fn on_type_gone(&mut self, now: Time) {
        let namespace = self.scope.namespace.clone();
        if let Some(version) = self.published {
            // First, so that what is half emptied is not written to disk as the state of a version.
            self.state.publish(&self.scope, Progress::Gone(version));
        }
        let objects = self.change(|store, _| store.clear(namespace.as_deref(), DeletionReason::TypeGone));
        warn!(resource = %self.path, objects, "type is no longer served");
        self.failing_since.get_or_insert(now);
        self.from_disk = false;
        let since = self.started + now;
        self.new_phase = Some(Phase::TypeGone { since });
        self.publish(now);
    }

    fn on_problem(&mut self, now: Time, problem: Problem) {
        self.reading = Reading::Nothing;
        match problem {
            Problem::Relist(reason) => {
                debug!(resource = %self.path, reason, "relisting");
                self.publish(now);
            }
            Problem::ErrorEvent(status) => {
                let error =
                    Error::Api { resource: Arc::clone(&self.path), status: Arc::from(status.clone()) };
                self.on_failure(now, &Fault::Status { status: &status, retry_after: None }, error);
            }
            Problem::Malformed(problem) => {
                let error = Error::Malformed { resource: Arc::clone(&self.path), problem: problem.into() };
                self.on_failure(now, &Fault::Malformed, error);
            }
        }
    }

    fn on_failure(&mut self, now: Time, fault: &Fault<'_>, error: Error) {
        self.reading = Reading::Nothing;
        self.begins_page = false;
        if let Some(discovery) = self.machine.on_discovery_failure(now) {
            return self.doubt_settled(now, discovery, None);
        }
        let recovery = self.machine.on_failure(now, fault);
        self.recover(now, recovery, error);
    }

    fn recover(&mut self, now: Time, recovery: Recovery, error: Error) {
        // What was received before the fault counts.
        self.publish(now);
        let at = match recovery {
            Recovery::Fallback => {
                debug!(resource = %self.path, error = in_one_line(&error), "falling back from watch-list to list");
                return;
            }
            Recovery::Discover => {
                debug!(resource = %self.path, error = in_one_line(&error), "asking discovery about the type");
                self.doubtful = Some(error);
                return;
            }
            Recovery::Retry { at } => at,
        };
        self.state.counters().add(&error, 1);
        let (wait, reason) = (at.saturating_sub(now), in_one_line(&error));
        let first = self.failing_since.is_none() && wait < Duration::from_secs(1);
        if first && matches!(error, Error::Interrupted { .. }) && self.published.is_some() {
            // Connections end all the time. If the next attempt fails, too, it is a warning.
            info!(resource = %self.path, error = reason, ?wait, "watch interrupted, resuming");
        } else if self.published.is_some() && self.machine.served() != Served::No {
            warn!(resource = %self.path, error = reason, ?wait, "watch failed, retrying");
        } else {
            // Whoever waits for the first list gets the error itself.
            debug!(resource = %self.path, error = reason, ?wait, "list failed, retrying");
        }
        if self.machine.served() == Served::No {
            return;
        }
        let since = *self.failing_since.get_or_insert(now);
        let throttled = error.is_too_many_requests() && now.saturating_sub(since) < TOO_MANY_REQUESTS_GRACE;
        if self.published.is_none() && !throttled {
            self.state.scope_failed(&self.scope);
        }
        let (since, next) = (self.started + since, self.started + at);
        self.new_phase = Some(Phase::Retrying { since, error, next });
        self.report_status(now);
    }

    /// Records that the server sent news of its state. Response headers, or a part of a list, do not count: they can go
    /// on for hours without the cache being any newer.
    fn record_contact(&mut self, now: Time) {
        self.last_contact = Some(now);
        if self.failing_since.is_some() || self.from_disk {
            self.mark_working(now);
        }
    }

    /// Records that the server works as it should.
    fn mark_working(&mut self, now: Time) {
        if let Some(since) = self.failing_since.take()
            && self.published.is_some()
        {
            info!(resource = %self.path, after = ?now.saturating_sub(since), "watching again");
        }
        if std::mem::take(&mut self.from_disk) {
            info!(resource = %self.path, "the server has confirmed the state from disk");
        }
        self.new_phase = Some(Phase::Watching);
    }

    /// When a state from disk counts as confirmed, if the server sends nothing before: it has accepted a watch from its
    /// version.
    fn confirmed_at(&self) -> Option<Time> {
        let accepted_at =
            self.accepted_at.filter(|_| self.from_disk && self.machine.settles_at().is_some())?;
        Some(accepted_at + REFUSAL_TIME)
    }

    /// Publishes what has changed.
    fn publish(&mut self, now: Time) {
        let Some(before) = self.published else { return self.report_status(now) };
        let version = self.machine.progress().unwrap_or(before);
        self.published = Some(version);
        let progress = match self.machine.served() {
            Served::No => Progress::Gone(version),
            _ if self.from_disk => Progress::FromDisk(version),
            _ => Progress::Complete(version),
        };
        if let Some(batch) = self.state.publish(&self.scope, progress) {
            if enabled!(Level::DEBUG) {
                batch.iter().for_each(|delta| self.log_change(delta));
            }
            let objects = batch.len();
            free(batch, objects);
        }
        self.report_status(now);
    }

    fn log_change(&self, Delta { key, difference }: &Delta<K>) {
        let (resource, namespace, name) = (&self.path, key.namespace(), key.name());
        match difference {
            Difference::Added { .. } => debug!(%resource, namespace, name, "added"),
            Difference::Updated { .. } => debug!(%resource, namespace, name, "updated"),
            Difference::Deleted { reason, .. } => debug!(%resource, namespace, name, ?reason, "deleted"),
            Difference::Replaced { reason, .. } => debug!(%resource, namespace, name, ?reason, "replaced"),
        }
    }

    /// Updates the status.
    fn report_status(&mut self, now: Time) {
        let old = self.last_contact.is_none_or(|at| now.saturating_sub(at) >= self.stale_after);
        // A state from disk is not ready as long as it is not confirmed, however old it is.
        let stale =
            self.published.is_some() && !self.from_disk && (old || self.machine.served() == Served::Doubted);
        if stale != self.reported.stale {
            if stale {
                let age = self.last_contact.map(|at| field::debug(now.saturating_sub(at)));
                warn!(resource = %self.path, age, "cache is stale");
            } else if self.machine.served() != Served::No {
                info!(resource = %self.path, "cache is no longer stale");
            }
        }
        let new_phase = self.new_phase.take();
        // A new `last_contact` alone does not wake waiters, because it changes with every chunk.
        let wake = new_phase.is_some()
            || (self.reported.resource_version, self.reported.stale, self.reported.from_disk)
                != (self.published, stale, self.from_disk);
        self.reported = NamespaceStatus {
            phase: new_phase.unwrap_or_else(|| self.reported.phase.clone()),
            synced: self.published.is_some(),
            resource_version: self.published,
            last_contact: self.last_contact.map(|at| self.started + at),
            stale,
            from_disk: self.from_disk,
        };
        self.state.report_status(&self.scope, &self.reported, wake);
    }

    /// Changes the store, passing it the number of the current or last list. Does nothing if the scope is not watched
    /// any more.
    fn change<T>(&mut self, change: impl FnOnce(&mut Store<K>, ListNumber) -> T) -> Option<T> {
        let list = self.list;
        match &self.staged {
            Some(staged) => Some(change(&mut staging::lock(staged), list)),
            None => self.state.change_in(&self.scope, |store| change(store, list)),
        }
    }
}

/// Returns the server's `Status`, or one made from the little that the server sent.
fn status_of(code: StatusCode, body: &[u8]) -> ApiStatus {
    let sent = serde_json::from_slice::<ApiStatus>(body).ok().filter(ApiStatus::is_failure);
    let mut status = sent.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        let line = text.lines().next().unwrap_or_default().trim();
        ApiStatus::failure(&line.chars().take(200).collect::<String>(), "")
    });
    status.code = code.as_u16();
    status
}
