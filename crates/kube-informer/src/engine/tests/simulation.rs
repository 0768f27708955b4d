//! Generated histories and faults, and what must hold after each.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream as _;
use http::StatusCode;
use kube::ResourceExt as _;
use proptest::prelude::*;
use tokio::time::Instant;

use super::{
    Blog, Form,
    model::{ALWAYS, Answer, Bad, Server, bookmark, refusal},
};
use crate::{
    Cached, Change, Compact, Error, Event, Index, ListSemantic, ObjectKey, Phase, ResourceVersion, Snapshot,
    Status, Subscription,
    engine::{Engine, Flow},
    protocol::{Action, Request, Settings, Target, Time, WatchLists},
    scope::{At, Scope},
    state::State,
    store::{Freshness, Item, Store},
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const NAMESPACES: [&str; 3] = ["east", "north", "west"];

/// The number of index keys, minus one.
const PARTS: u64 = 3;

/// A step of a history.
#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    PutBad(usize, Bad),
    Delete(usize),
    /// An object that comes and goes at once, several times.
    Burst(usize),
    Compact,
    /// With the same objects, or with others.
    Restart(bool),
    Restore,
    /// The cache is written to disk.
    Save,
    /// The program starts anew, from what is on disk.
    Resume,
    Bookmark,
    Fault(Fault),
    /// Stops watching the namespace, or starts again.
    Remove,
    Add,
    Join,
    /// A subscriber reads up to this many events.
    Read(usize, usize),
}

/// A fault of the next response, or of the open watch.
#[derive(Debug, Clone)]
enum Fault {
    Refuse(u16, Option<u64>),
    NoAnswer,
    /// The stream breaks after this many bytes.
    Cut(usize),
    /// The stream ends cleanly after this many bytes.
    End(usize),
    /// Nothing more comes after this many bytes, and the connection stays open.
    Silence(usize),
    Gone,
    IgnoreInitial,
    /// Only events about objects that come and go, and no end of the initial events.
    Busy,
    /// A page continues with itself.
    SamePage,
    /// A response that looks like a list but is not one.
    NoList,
    /// An error whose body never comes.
    Mute(u16),
    Replay(u64),
    Lag(u64),
    Garbage,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        6 => name.clone().prop_map(Step::Put),
        1 => (name.clone(), bad()).prop_map(|(name, bad)| Step::PutBad(name, bad)),
        3 => name.clone().prop_map(Step::Delete),
        1 => name.prop_map(Step::Burst),
        1 => Just(Step::Compact),
        1 => any::<bool>().prop_map(Step::Restart),
        1 => Just(Step::Restore),
        1 => Just(Step::Bookmark),
        6 => fault().prop_map(Step::Fault),
        1 => Just(Step::Join),
        2 => (0_usize..4, 0_usize..6).prop_map(|(subscriber, events)| Step::Read(subscriber, events)),
    ]
}

fn bad() -> impl Strategy<Value = Bad> {
    prop::sample::select(vec![Bad::Spec, Bad::Spec, Bad::Uid, Bad::Version, Bad::Name])
}

fn fault() -> impl Strategy<Value = Fault> {
    let code = prop::sample::select(vec![400_u16, 401, 403, 404, 422, 429, 500, 503, 504]);
    prop_oneof![
        2 => (code.clone(), prop::option::of(0_u64..40)).prop_map(|(code, after)| Fault::Refuse(code, after)),
        1 => Just(Fault::NoAnswer),
        2 => (0_usize..900).prop_map(Fault::Cut),
        2 => (0_usize..900).prop_map(Fault::End),
        1 => (0_usize..900).prop_map(Fault::Silence),
        1 => Just(Fault::Gone),
        1 => Just(Fault::IgnoreInitial),
        1 => Just(Fault::Busy),
        1 => Just(Fault::SamePage),
        1 => Just(Fault::NoList),
        1 => code.prop_map(Fault::Mute),
        1 => (1_u64..5).prop_map(Fault::Replay),
        1 => (1_u64..5).prop_map(Fault::Lag),
        1 => Just(Fault::Garbage),
    ]
}

/// A step of a program that starts anew from time to time.
fn step_of_program() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => step(),
        2 => Just(Step::Save),
        2 => Just(Step::Resume),
    ]
}

/// A step of a namespace that can be added and removed.
fn step_of_set() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => step(),
        1 => Just(Step::Remove),
        2 => Just(Step::Add),
    ]
}

/// A subscriber that checks each change against the previous ones.
struct Subscriber<K: Form> {
    subscription: Subscription<K>,
    known: BTreeMap<ObjectKey, Arc<Blog>>,
    synced: bool,
    /// Whether an older state may follow a newer one: a backup was restored, or the namespace came back.
    backwards: bool,
}

impl<K: Form> Subscriber<K> {
    fn read(&mut self, most: usize) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..most {
            let polled = std::pin::Pin::new(&mut self.subscription).poll_next(&mut context);
            let Poll::Ready(Some(event)) = polled else { return };
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event<K>) {
        match event {
            Event::Change(Change::Added { key, object, initial }) => {
                assert_eq!(initial, !self.synced);
                assert!(self.known.insert(key.clone(), K::blog(&object)).is_none(), "added twice: {key}");
            }
            Event::Change(Change::Updated { key, old, new }) => {
                let (old, new) = (K::blog(&old), K::blog(&new));
                assert_eq!(old.uid(), new.uid(), "another object is no update");
                assert!(self.backwards || version(&old) < version(&new), "{key} went back");
                let known = self.known.insert(key.clone(), Arc::clone(&new));
                assert_eq!(known.map(|known| version(&known)), Some(version(&old)), "{key}");
            }
            Event::Change(Change::Deleted { key, last, .. }) => {
                let known = self.known.remove(&key);
                assert_eq!(
                    known.map(|known| known.uid()),
                    Some(K::blog(&last).uid()),
                    "deleted what was not there: {key}"
                );
            }
            Event::Synced { count, .. } => {
                assert!(!std::mem::replace(&mut self.synced, true), "synced twice");
                assert_eq!(count, self.known.len());
            }
        }
    }
}

/// Contract 2: the index contains exactly the keys that its function returns for the cached objects.
fn check_index<K: Form>(snapshot: &Snapshot<K>, index: &Index<K, u64>) {
    let name = |stored: &K::Stored| K::blog(stored).name_any();
    for key in 0..=PARTS {
        let has = |stored: &&K::Stored| keys::<K>(stored).contains(&key);
        let expected: Vec<String> = snapshot.iter().filter(has).map(name).collect();
        let found: Vec<String> = snapshot.by_index(index, &key).map(name).collect();
        assert_eq!(found, expected, "index key {key}");
    }
}

/// Two keys for most objects and one for some. Most updates change them.
fn keys<K: Form>(stored: &K::Stored) -> Vec<u64> {
    let version = version(&K::blog(stored));
    vec![version % PARTS, version / 2 % (PARTS + 1)]
}

/// The phase of a namespace, or of all namespaces that are watched as one.
fn phase<'a>(status: &'a Status, namespace: &str) -> &'a Phase {
    status.namespaces.get(namespace).map_or(&status.phase, |part| &part.phase)
}

fn version(blog: &Blog) -> u64 {
    blog.resource_version().unwrap().parse().unwrap()
}

type Saved<K> = (ObjectKey, ResourceVersion, <K as Cached>::Stored);

/// An informer of one or several namespaces, each with its own server, and its readers.
struct Simulation<K: Form> {
    state: Arc<State<K>>,
    settings: Settings,
    seed: u64,
    watch_lists: Arc<WatchLists>,
    now: Time,
    connections: Vec<Connection<K>>,
    subscribers: Vec<Subscriber<K>>,
    /// One that exists from the start, and one that was added later.
    indexes: Vec<Index<K, u64>>,
    chunk: usize,
    backwards: bool,
    /// What is on disk: objects, and the version up to which they are complete.
    copy: Option<(ResourceVersion, Vec<Saved<K>>)>,
    /// Whether the program starts anew with the next round.
    resumes: bool,
}

struct Connection<K: Form> {
    namespace: &'static str,
    server: Server,
    /// What the informer watches, or `None` while it does not watch this namespace.
    scope: Option<Scope>,
    /// The engine of the scope. It lags behind `scope` until the round is over, like a task that has not run yet.
    engine: Option<Engine<K>>,
    steps: std::vec::IntoIter<Step>,
    /// The faults of the next responses.
    pending: VecDeque<Fault>,
}

impl<K: Form> Connection<K> {
    fn is_over(&self) -> bool {
        self.steps.len() == 0 && self.pending.is_empty()
    }
}

impl<K: Form> Simulation<K> {
    /// An informer of all namespaces.
    fn new(steps: Vec<Step>, list_semantic: ListSemantic, seed: u64, chunk: usize) -> Self {
        Self::with(vec![("default", Scope::new(None), steps)], list_semantic, seed, chunk)
    }

    /// An informer of a set of namespaces, with a history for each.
    fn of_set(histories: Vec<Vec<Step>>, list_semantic: ListSemantic, seed: u64, chunk: usize) -> Self {
        let members = NAMESPACES.into_iter().zip(histories);
        let members = members.map(|(namespace, steps)| (namespace, Scope::new(Some(namespace)), steps));
        Self::with(members.collect(), list_semantic, seed, chunk)
    }

    fn with(
        members: Vec<(&'static str, Scope, Vec<Step>)>,
        list_semantic: ListSemantic,
        seed: u64,
        chunk: usize,
    ) -> Self {
        let state = Arc::new(State::new(members.iter().map(|(_, scope, _)| scope)));
        let connections = members.into_iter().map(|(namespace, scope, steps)| Connection {
            namespace,
            server: Server::new(namespace),
            scope: Some(scope),
            engine: None,
            steps: steps.into_iter(),
            pending: VecDeque::new(),
        });
        Self {
            state,
            settings: Settings { list_semantic, ..Settings::default() },
            seed,
            watch_lists: Arc::default(),
            now: Duration::ZERO,
            connections: connections.collect(),
            subscribers: Vec::new(),
            indexes: Vec::new(),
            chunk,
            backwards: false,
            copy: None,
            resumes: false,
        }
    }

    /// Plays the histories, taking turns as `turns` says.
    fn run(mut self, turns: &[usize]) {
        self.join();
        self.index();
        let mut turns = turns.iter().copied().cycle();
        // Each round consumes at least one step, or is a request that a fault of an earlier step caused.
        while !self.connections.iter().all(Connection::is_over) {
            let at = turns.next().unwrap_or_default() % self.connections.len();
            self.round(at);
        }
        self.settle();
        self.check();
    }

    /// Without faults, the engines catch up.
    fn settle(&mut self) {
        for at in 0..self.connections.len() {
            let behind = |simulation: &Self| {
                let Connection { namespace, server, scope, .. } = &simulation.connections[at];
                let status = simulation.state.status();
                let whole = (status.resource_version, status.synced);
                let part = status.namespaces.get(namespace);
                let part = part.map_or(whole, |part| (part.resource_version, part.synced));
                // A type that is gone keeps the version that it went at.
                let gone = matches!(phase(&status, namespace), Phase::TypeGone { .. });
                scope.is_some() && (gone || part != (server.revision.to_string().parse().ok(), true))
            };
            for _ in 0..50 {
                if behind(self) {
                    self.round(at);
                }
            }
            assert!(!behind(self), "never caught up: {:?}", self.state.status());
        }
    }

    fn check(&mut self) {
        let snapshot = self.state.snapshot().unwrap();
        let status = self.state.status();
        assert!(status.synced);
        let mut expected = 0;
        for Connection { namespace, server, scope, .. } in &self.connections {
            let cached: BTreeMap<String, u64> = snapshot
                .in_namespace(namespace)
                .map(|stored| K::blog(stored))
                .map(|blog| (blog.name_any(), version(&blog)))
                .collect();
            let quarantined: BTreeMap<&str, Option<String>> = status
                .quarantined
                .iter()
                .filter(|(key, _)| key.namespace().is_none_or(|other| other == *namespace))
                .map(|(key, held)| (key.name(), held.resource_version.map(|version| version.to_string())))
                .collect();
            if scope.is_none() {
                assert!(cached.is_empty() && quarantined.is_empty(), "{namespace} is not watched");
                assert!(status.namespaces.get(namespace).is_none());
                continue;
            }
            expected += cached.len();
            for (name, stored) in &server.objects {
                if stored.bad == Some(Bad::Name) {
                    assert!(!cached.contains_key(name) && !quarantined.contains_key(name.as_str()));
                } else if let Some(bad) = stored.bad {
                    let held = quarantined.get(name.as_str());
                    let version = (bad != Bad::Version).then(|| stored.version.to_string());
                    assert_eq!(held, Some(&version), "{name} is not quarantined");
                    // The uid of a bad state may be what cannot be read.
                    let cached = snapshot.get(*namespace, name).filter(|_| bad != Bad::Uid);
                    assert!(cached.is_none_or(|held| K::blog(held).uid() == Some(stored.uid.to_string())));
                } else {
                    assert_eq!(cached.get(name), Some(&stored.version), "{name}");
                    assert!(!quarantined.contains_key(name.as_str()));
                }
            }
            assert!(cached.keys().all(|name| server.objects.contains_key(name)), "a ghost in {cached:?}");
            let (placed, named): (Vec<&str>, Vec<&str>) =
                quarantined.keys().partition(|name| name.starts_with("items["));
            assert!(named.iter().all(|name| server.objects.contains_key(*name)));
            // Of an object that has got its name back, only a list shows that it is fine.
            let nameless = server.objects.values().filter(|stored| stored.bad == Some(Bad::Name)).count();
            assert!(placed.len() >= nameless, "{nameless} have no name, and there are {placed:?}");
        }
        assert_eq!(snapshot.len(), expected);
        let versions = |(key, blog): (&ObjectKey, &Arc<Blog>)| (key.clone(), version(blog));
        let entries: Vec<_> = snapshot.entries().map(|(key, stored)| (key, K::blog(stored))).collect();
        let cached: BTreeMap<ObjectKey, u64> =
            entries.iter().map(|(key, blog)| versions((key, blog))).collect();
        for subscriber in &mut self.subscribers {
            subscriber.read(usize::MAX);
            assert!(subscriber.synced);
            let known: BTreeMap<ObjectKey, u64> = subscriber.known.iter().map(versions).collect();
            assert_eq!(known, cached, "a subscriber knows something else");
        }
    }

    /// Performs one action of an engine.
    fn round(&mut self, at: usize) {
        self.observe();
        if std::mem::take(&mut self.resumes) {
            self.resume();
        }
        let Connection { scope, engine, .. } = &mut self.connections[at];
        match (scope, &engine) {
            (None, _) => {
                *engine = None;
                return self.advance_offline(at);
            }
            (Some(_), None) => self.start(at),
            (Some(_), Some(_)) => {}
        }
        let before = self.connections[at].scope.clone();
        let now = self.now;
        match self.engine(at).next_action(now) {
            Action::WaitUntil(until) => {
                assert!(until > now);
                self.advance_offline(at);
                self.now = until;
            }
            Action::Send(request) => {
                if matches!(request, Request::List { continue_token: Some(_), .. }) {
                    // The server changes between two pages, too.
                    self.advance_offline(at);
                }
                self.exchange(at, &request);
            }
            Action::InFlight => panic!("the engine does not know what to do"),
        }
        if before.is_some_and(|scope| scope.is_removed()) {
            self.connections[at].engine = None;
        }
    }

    fn engine(&mut self, at: usize) -> &mut Engine<K> {
        self.connections[at].engine.as_mut().expect("somebody follows it")
    }

    /// No partial state is ever visible: an object that always exists is in every snapshot, unless its whole
    /// namespace is not. The first subscriber reads everything at once, so that coalescing hides nothing.
    fn observe(&mut self) {
        self.subscribers[0].read(usize::MAX);
        assert!(self.state.change(Store::take_pending).is_none(), "something was kept back");
        let Some(snapshot) = self.state.snapshot() else { return };
        let status = self.state.status();
        for Connection { namespace, scope, .. } in &self.connections {
            let held = snapshot.resource_version_of(namespace).is_some();
            let count = snapshot.in_namespace(namespace).count();
            assert!(scope.is_some() || !held, "{namespace} is held, and is not watched");
            // A type that is gone is empty, and that it is back is not known until it is listed again.
            let gone = matches!(phase(&status, namespace), Phase::TypeGone { .. });
            let always = snapshot.get(*namespace, ALWAYS).is_some();
            assert!(gone || always == held, "a list under way can be seen");
            assert!(held || count == 0, "a part of {namespace} can be seen");
        }
        for index in &self.indexes {
            check_index(&snapshot, index);
        }
    }

    /// The server changes while nobody is connected.
    fn advance_offline(&mut self, at: usize) {
        for _ in 0..2 {
            match self.connections[at].steps.next() {
                Some(Step::Fault(fault)) => self.connections[at].pending.push_back(fault),
                Some(step) => drop(self.apply(at, &step)),
                None if self.connections[at].scope.is_none() => self.connections[at].pending.clear(),
                None => {}
            }
        }
    }

    fn exchange(&mut self, at: usize, request: &Request) {
        let Connection { steps, pending, server, .. } = &mut self.connections[at];
        if pending.is_empty() && steps.as_slice().first().is_some_and(|step| matches!(step, Step::Fault(_))) {
            let Some(Step::Fault(fault)) = steps.next() else { return };
            pending.push_back(fault);
        }
        let fault = pending.pop_front();
        let ignores = matches!(fault, Some(Fault::IgnoreInitial | Fault::Busy));
        let lag = if let Some(Fault::Lag(lag)) = fault { lag } else { 0 };
        let mut answer = server.answer(request, ignores, lag);
        let mut retry_after = None;
        match &fault {
            Some(Fault::NoAnswer) => return self.error(at),
            Some(Fault::Refuse(code, after)) => {
                retry_after = after.map(Duration::from_secs);
                answer = refusal(*code, "", "");
            }
            Some(Fault::Gone) if answer.open => {
                answer.body = super::model::line(
                    "ERROR",
                    &serde_json::from_str(&refusal(410, "Expired", "").body).unwrap(),
                );
            }
            Some(Fault::Gone) => answer = refusal(410, "Expired", ""),
            Some(Fault::Mute(code)) => answer = Answer { body: String::new(), ..refusal(*code, "", "") },
            Some(Fault::NoList) if matches!(request, Request::List { .. }) => {
                answer.body = r#"{"kind":"Blog","metadata":{"resourceVersion":"1"}}"#.to_owned();
            }
            Some(Fault::SamePage) => {
                if let Request::List { continue_token: Some(token), .. } = request {
                    let metadata = serde_json::json!({"resourceVersion": "1", "continue": token});
                    answer.body = serde_json::json!({"items": [], "metadata": metadata}).to_string();
                }
            }
            Some(Fault::Garbage) => answer.body.insert_str(0, "<html>\n"),
            Some(Fault::Replay(count)) => {
                if let Request::Watch { from, .. } = request {
                    let from: u64 = from.to_string().parse().unwrap();
                    answer.body = server.since(from.saturating_sub(*count));
                }
            }
            _ => {}
        }
        let Answer { code, body, open } = answer;
        if matches!((request, code), (Request::Discover, 404)) {
            // The type counts as gone. When it is back, its objects are what they were.
            self.goes_backwards();
        }
        let now = self.now;
        self.engine(at).on_headers(now, StatusCode::from_u16(code).unwrap(), retry_after);
        let cut = match fault {
            Some(Fault::Cut(cut) | Fault::End(cut) | Fault::Silence(cut)) => cut.min(body.len()),
            _ => body.len(),
        };
        if self.feed(at, &body.as_bytes()[..cut]) == Flow::Stop {
            return;
        }
        match fault {
            Some(Fault::Cut(_)) => self.error(at),
            Some(Fault::End(_)) => self.eof(at),
            Some(Fault::Silence(_) | Fault::IgnoreInitial | Fault::Mute(_)) => self.silence(at),
            Some(Fault::Busy) if matches!(request, Request::WatchList { .. }) => self.busy(at),
            _ if open => self.live(at),
            _ => self.eof(at),
        }
    }

    /// A watch is open: changes are reported at once, until a fault ends it.
    fn live(&mut self, at: usize) {
        while let Some(step) = self.connections[at].steps.next() {
            let (text, end): (String, Option<Fault>) = match step {
                Step::Fault(fault @ (Fault::Cut(cut) | Fault::End(cut) | Fault::Silence(cut))) => {
                    // In the middle of a line.
                    let text = self.connections[at].server.put(NAMES[cut % NAMES.len()], None);
                    (text[..cut % text.len()].to_owned(), Some(fault))
                }
                Step::Fault(Fault::Garbage) => ("{\n".to_owned(), Some(Fault::NoAnswer)),
                Step::Fault(fault) => {
                    self.connections[at].pending.push_back(fault);
                    (String::new(), Some(Fault::NoAnswer))
                }
                Step::Restart(_) | Step::Restore | Step::Resume => {
                    self.apply(at, &step);
                    (String::new(), Some(Fault::NoAnswer))
                }
                step => (self.apply(at, &step), None),
            };
            if self.feed(at, text.as_bytes()) == Flow::Stop {
                return;
            }
            match end {
                None => {}
                Some(Fault::End(_)) => return self.eof(at),
                Some(Fault::Silence(_)) => return self.silence(at),
                Some(_) => return self.error(at),
            }
        }
        // The history is over. The server is idle and reports its version.
        let rests = bookmark(self.connections[at].server.revision, false);
        if self.feed(at, rests.as_bytes()) == Flow::Continue {
            self.error(at);
        }
    }

    fn apply(&mut self, at: usize, step: &Step) -> String {
        let Connection { namespace, server, scope, .. } = &mut self.connections[at];
        match step {
            Step::Put(name) => return server.put(NAMES[*name], None),
            Step::PutBad(name, bad) => return server.put(NAMES[*name], Some(*bad)),
            Step::Delete(name) => return server.delete(NAMES[*name]).unwrap_or_default(),
            Step::Burst(name) => {
                let mut lines = server.delete(NAMES[*name]).unwrap_or_default();
                for _ in 0..3 {
                    lines += &server.put(NAMES[*name], None);
                    lines += &server.delete(NAMES[*name]).unwrap_or_default();
                }
                return lines;
            }
            Step::Compact => server.compact(),
            Step::Save => self.save(),
            Step::Resume => self.resumes = true,
            Step::Restart(same_objects) => {
                server.restart(*same_objects);
                self.copy = None;
                if *same_objects {
                    self.goes_backwards();
                }
            }
            Step::Restore => {
                server.restore();
                self.copy = None;
                self.goes_backwards();
            }
            Step::Bookmark => return bookmark(server.revision, false),
            Step::Remove => {
                if let Some(scope) = scope.take() {
                    self.state.remove_scope(&scope);
                }
            }
            Step::Add => {
                if scope.is_none() {
                    let added = Scope::new(Some(*namespace));
                    self.state.add_scope(&added);
                    *scope = Some(added);
                    self.goes_backwards();
                }
            }
            Step::Join => {
                self.join();
                self.index();
            }
            Step::Read(subscriber, events) => {
                let count = self.subscribers.len();
                self.subscribers[subscriber % count].read(*events);
            }
            Step::Fault(_) => {}
        }
        String::new()
    }

    /// Writes what may be written: `persist::save` has the same conditions.
    fn save(&mut self) {
        let Some(snapshot) = self.state.snapshot() else { return };
        let Some(At { version, .. }) = snapshot.scopes.confirmed(None) else { return };
        if snapshot.scopes.is_relisting(None) {
            return;
        }
        let entries: Vec<_> = snapshot.entries_of(None).collect();
        let settled = entries.iter().all(|(_, entry)| entry.version <= version);
        if settled && !self.state.change(|store| store.is_quarantining(None)) {
            let entries = entries.into_iter();
            let copied = entries.map(|(key, entry)| (key.clone(), entry.version, entry.object.clone()));
            self.copy = Some((version, copied.collect()));
        }
    }

    /// Another program begins with what was saved, if the server is not behind it.
    fn resume(&mut self) {
        let Some((version, objects)) = self.copy.clone() else { return };
        let connection = &mut self.connections[0];
        if version > connection.server.revision.to_string().parse().unwrap() {
            return;
        }
        let scope = Scope::new(None);
        self.state = Arc::new(State::new([&scope]));
        let mut stored = Store::new();
        for (key, version, object) in objects {
            stored.list_item(0, Item { key, version, object }, Freshness::Consistent).unwrap();
        }
        connection.scope = Some(scope);
        connection.engine = None;
        self.subscribers.clear();
        self.indexes.clear();
        self.join();
        self.index();
        self.start(0);
        let now = self.now;
        self.engine(0).resume(now, stored, version);
    }

    /// Starts the engine of a scope.
    fn start(&mut self, at: usize) {
        let Connection { scope: Some(scope), engine, .. } = &mut self.connections[at] else { return };
        let (target, state) = (Target::new::<Blog>(&()), Arc::clone(&self.state));
        let settings = self.settings.clone();
        let (seed, started, watch_lists) = (self.seed, Instant::now(), Arc::clone(&self.watch_lists));
        *engine = Some(Engine::new(target, scope.clone(), settings, seed, started, watch_lists, state));
    }

    fn goes_backwards(&mut self) {
        self.backwards = true;
        self.subscribers.iter_mut().for_each(|subscriber| subscriber.backwards = true);
    }

    fn join(&mut self) {
        let subscription = Subscription::new(self.state.subscribe(), Arc::new(()));
        self.subscribers.push(Subscriber {
            subscription,
            known: BTreeMap::new(),
            synced: false,
            backwards: self.backwards,
        });
    }

    fn index(&mut self) {
        self.indexes.truncate(1);
        self.indexes.push(self.state.add_index(Arc::new(keys::<K>)));
    }

    fn feed(&mut self, at: usize, bytes: &[u8]) -> Flow {
        for chunk in bytes.chunks(self.chunk) {
            self.now += Duration::from_millis(1);
            let now = self.now;
            let flow = self.engine(at).on_chunk(now, Bytes::copy_from_slice(chunk));
            self.observe();
            if flow == Flow::Stop {
                return Flow::Stop;
            }
        }
        Flow::Continue
    }

    fn error(&mut self, at: usize) {
        let now = self.now;
        let engine = self.engine(at);
        let error = Error::Interrupted { resource: Arc::clone(engine.path()), source: None };
        engine.on_error(now, error);
    }

    fn eof(&mut self, at: usize) {
        let now = self.now;
        self.engine(at).on_eof(now);
    }

    /// The server sends changes as if no initial events had been requested, each before the engine's timeout.
    fn busy(&mut self, at: usize) {
        for _ in 0..500 {
            let server = &mut self.connections[at].server;
            let lines = server.put(NAMES[0], None) + &server.delete(NAMES[0]).unwrap_or_default();
            if self.feed(at, lines.as_bytes()) == Flow::Stop {
                return;
            }
            self.now += Duration::from_secs(5);
            let now = self.now;
            let due = self.engine(at).next_timeout().is_some_and(|timeout| timeout <= now);
            if due && self.engine(at).on_timeout(now) == Flow::Stop {
                return;
            }
        }
        panic!("a server that ignores sendInitialEvents is not found out");
    }

    /// Nothing is received any more, and the engine has to notice by itself.
    fn silence(&mut self, at: usize) {
        for _ in 0..10 {
            let timeout = self.engine(at).next_timeout().expect("a request under way has a deadline");
            self.now = self.now.max(timeout);
            let now = self.now;
            if self.engine(at).on_timeout(now) == Flow::Stop {
                return;
            }
        }
        panic!("a silent connection is kept");
    }
}

/// At least this many cases, more than proptest's default. PROPTEST_CASES can raise it further.
fn cases(at_least: u32) -> ProptestConfig {
    ProptestConfig { cases: ProptestConfig::default().cases.max(at_least), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(1024))]

    /// Contract 1, 3, 4, 5, 6, 9 and 12: after any sequence of changes and faults the cache equals the server, and
    /// replaying any subscriber's events yields the cache, whenever it subscribed and however slowly it read.
    #[test]
    fn after_any_history_cache_and_subscribers_equal_the_server(
        steps in prop::collection::vec(step(), 0..40),
        from_cache: bool,
        compact: bool,
        seed: u64,
        chunk in 1_usize..600,
    ) {
        let list_semantic = if from_cache { ListSemantic::Any } else { ListSemantic::MostRecent };
        if compact {
            Simulation::<Compact<Blog>>::new(steps, list_semantic, seed, chunk).run(&[0]);
        } else {
            Simulation::<Blog>::new(steps, list_semantic, seed, chunk).run(&[0]);
        }
    }
}

proptest! {
    #![proptest_config(cases(512))]

    /// The same for a set of namespaces that come and go, each either complete or absent.
    #[test]
    fn after_any_history_a_set_of_namespaces_is_one_cache_that_equals_the_server(
        histories in prop::collection::vec(prop::collection::vec(step_of_set(), 0..25), NAMESPACES.len()),
        turns in prop::collection::vec(0..NAMESPACES.len(), 40),
        from_cache: bool,
        compact: bool,
        seed: u64,
        chunk in 1_usize..600,
    ) {
        let list_semantic = if from_cache { ListSemantic::Any } else { ListSemantic::MostRecent };
        // At the end, each gets a turn.
        let turns: Vec<usize> = turns.into_iter().chain(0..NAMESPACES.len()).collect();
        if compact {
            Simulation::<Compact<Blog>>::of_set(histories, list_semantic, seed, chunk).run(&turns);
        } else {
            Simulation::<Blog>::of_set(histories, list_semantic, seed, chunk).run(&turns);
        }
    }
}

proptest! {
    #![proptest_config(cases(1024))]

    /// Contract 16: the same for a program that starts anew from what it left on disk, however old that is.
    #[test]
    fn after_any_history_a_warm_start_equals_the_server(
        steps in prop::collection::vec(step_of_program(), 0..40),
        from_cache: bool,
        seed: u64,
        chunk in 1_usize..600,
    ) {
        let list_semantic = if from_cache { ListSemantic::Any } else { ListSemantic::MostRecent };
        Simulation::<Blog>::new(steps, list_semantic, seed, chunk).run(&[0]);
    }
}

/// Contract 6: a history of it that is rare among generated ones.
#[test]
fn a_list_from_a_cache_that_lags_moves_nothing_back() {
    let steps = vec![Step::Put(0), Step::Put(0), Step::Fault(Fault::Gone), Step::Fault(Fault::Lag(1))];
    Simulation::<Blog>::new(steps, ListSemantic::Any, 1, 1000).run(&[0]);
}
