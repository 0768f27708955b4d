//! Histories and faults, and what must hold after each.

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
    Blog,
    model::{ALWAYS, Answer, Server, bookmark, refusal},
};
use crate::{
    Change, Error, Event, Index, ListFrom, Snapshot, Subscription,
    engine::{Engine, Flow},
    protocol::{Next, Request, Settings, Target, Time},
    shared::Shared,
    store::Store,
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// How many keys the indexes have, less one.
const PARTS: u64 = 3;

/// What happens, in order.
#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    PutBad(usize),
    Delete(usize),
    /// Comes and goes at once.
    Burst(usize),
    Compact,
    Restart,
    Restore,
    Bookmark,
    Fault(Fault),
    Join,
    /// A subscriber reads this many events.
    Read(usize, usize),
}

/// What happens to the next answer, or to the watch that is open.
#[derive(Debug, Clone)]
enum Fault {
    Refuse(u16, Option<u64>),
    NoAnswer,
    /// The stream breaks after so many bytes.
    Cut(usize),
    /// It ends cleanly after so many bytes.
    End(usize),
    /// Nothing more comes after so many bytes, and the connection stays.
    Silence(usize),
    Gone,
    IgnoreInitial,
    Replay(u64),
    Lag(u64),
    Garbage,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        6 => name.clone().prop_map(Step::Put),
        1 => name.clone().prop_map(Step::PutBad),
        3 => name.clone().prop_map(Step::Delete),
        1 => name.prop_map(Step::Burst),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
        1 => Just(Step::Restore),
        1 => Just(Step::Bookmark),
        6 => fault().prop_map(Step::Fault),
        1 => Just(Step::Join),
        2 => (0_usize..4, 0_usize..6).prop_map(|(subscriber, events)| Step::Read(subscriber, events)),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let code = prop::sample::select(vec![400_u16, 401, 403, 422, 429, 500, 503, 504]);
    prop_oneof![
        2 => (code, prop::option::of(0_u64..40)).prop_map(|(code, after)| Fault::Refuse(code, after)),
        1 => Just(Fault::NoAnswer),
        2 => (0_usize..900).prop_map(Fault::Cut),
        2 => (0_usize..900).prop_map(Fault::End),
        1 => (0_usize..900).prop_map(Fault::Silence),
        1 => Just(Fault::Gone),
        1 => Just(Fault::IgnoreInitial),
        1 => (1_u64..5).prop_map(Fault::Replay),
        1 => (1_u64..5).prop_map(Fault::Lag),
        1 => Just(Fault::Garbage),
    ]
}

/// A subscriber that checks each change against what it was told before.
struct Subscriber {
    subscription: Subscription<Blog>,
    known: BTreeMap<String, Arc<Blog>>,
    synced: bool,
    /// Whether a backup was restored, after which objects do go back.
    restored: bool,
}

impl Subscriber {
    fn read(&mut self, most: usize) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..most {
            let polled = std::pin::Pin::new(&mut self.subscription).poll_next(&mut context);
            let Poll::Ready(Some(event)) = polled else { return };
            self.hear(event);
        }
    }

    fn hear(&mut self, event: Event<Blog>) {
        match event {
            Event::Change(Change::Added { key, object, initial }) => {
                assert_eq!(initial, !self.synced);
                assert!(self.known.insert(key.name().to_owned(), object).is_none(), "added twice: {key}");
            }
            Event::Change(Change::Updated { key, old, new }) => {
                assert_eq!(old.uid(), new.uid(), "another object is no update");
                assert!(self.restored || version(&old) < version(&new), "{key} went back");
                let known = self.known.insert(key.name().to_owned(), Arc::clone(&new));
                assert_eq!(known.map(|known| version(&known)), Some(version(&old)), "{key}");
            }
            Event::Change(Change::Deleted { key, last, .. }) => {
                let known = self.known.remove(key.name());
                assert_eq!(
                    known.map(|known| known.uid()),
                    Some(last.uid()),
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

/// Contract 2: the index says what its function says of each object beside it, no more and no less.
fn check_index(snapshot: &Snapshot<Blog>, index: &Index<Blog, u64>) {
    for key in 0..=PARTS {
        let has = |blog: &&Arc<Blog>| keys(blog).contains(&key);
        let expected: Vec<String> = snapshot.iter().filter(has).map(|blog| blog.name_any()).collect();
        let found: Vec<String> = snapshot.by_index(index, key).map(|blog| blog.name_any()).collect();
        assert_eq!(found, expected, "index key {key}");
    }
}

/// Two keys for most objects and one for some, which change with most updates.
fn keys(blog: &Arc<Blog>) -> Vec<u64> {
    vec![version(blog) % PARTS, version(blog) / 2 % (PARTS + 1)]
}

fn version(blog: &Blog) -> u64 {
    blog.resource_version().unwrap().parse().unwrap()
}

struct Simulation {
    server: Server,
    engine: Engine<Blog>,
    shared: Arc<Shared<Blog>>,
    now: Time,
    steps: std::vec::IntoIter<Step>,
    /// The faults that wait for the next answers.
    pending: VecDeque<Fault>,
    subscribers: Vec<Subscriber>,
    /// One from the start and one that was added later.
    indexes: Vec<Index<Blog, u64>>,
    chunk: usize,
    /// Whether a backup was restored.
    restored: bool,
}

impl Simulation {
    fn new(steps: Vec<Step>, list_from: ListFrom, seed: u64, chunk: usize) -> Self {
        let shared = Arc::new(Shared::new());
        let settings = Settings { list_from, ..Settings::default() };
        let target = Target::new::<Blog>(&());
        Self {
            server: Server::new(),
            engine: Engine::new(target, &settings, seed, Instant::now(), Arc::clone(&shared)),
            shared,
            now: Duration::ZERO,
            restored: false,
            steps: steps.into_iter(),
            pending: VecDeque::new(),
            subscribers: Vec::new(),
            indexes: Vec::new(),
            chunk,
        }
    }

    fn run(mut self) {
        self.join();
        self.index();
        // Each round uses up a step or more, or is a request that a fault of an earlier step has earned.
        while self.steps.len() > 0 || !self.pending.is_empty() {
            self.round();
        }
        self.settle();
        self.check();
    }

    /// Without faults, the engine gets there.
    fn settle(&mut self) {
        for _ in 0..50 {
            self.round();
            let reached = self.shared.status().borrow().resource_version;
            if reached.is_some_and(|reached| reached.to_string() == self.server.revision.to_string()) {
                return;
            }
        }
        panic!("never caught up: {:?}", *self.shared.status().borrow());
    }

    fn check(&mut self) {
        let snapshot = self.shared.snapshot().unwrap();
        let cached: BTreeMap<String, u64> =
            snapshot.iter().map(|blog| (blog.name_any(), version(blog))).collect();
        let quarantined = Arc::clone(&self.shared.status().borrow().quarantined);
        for (name, stored) in &self.server.objects {
            if stored.bad {
                let held = quarantined.iter().find(|(key, _)| key.name() == name);
                let held = held.map(|(_, held)| held.resource_version.to_string());
                assert_eq!(held, Some(stored.version.to_string()), "{name} is not quarantined");
                let cached = snapshot.get("default", name);
                assert!(cached.is_none_or(|blog| blog.uid() == Some(stored.uid.to_string())));
            } else {
                assert_eq!(cached.get(name), Some(&stored.version), "{name}");
                assert!(!quarantined.keys().any(|key| key.name() == name));
            }
        }
        assert!(cached.keys().all(|name| self.server.objects.contains_key(name)), "a ghost in {cached:?}");
        assert!(quarantined.keys().all(|key| self.server.objects.contains_key(key.name())));
        for subscriber in &mut self.subscribers {
            subscriber.read(usize::MAX);
            assert!(subscriber.synced);
            let known: BTreeMap<String, u64> =
                subscriber.known.iter().map(|(name, blog)| (name.clone(), version(blog))).collect();
            assert_eq!(known, cached, "a subscriber knows something else");
        }
    }

    /// One thing that the engine wants.
    fn round(&mut self) {
        self.observe();
        match self.engine.next(self.now) {
            Next::WaitUntil(until) => {
                assert!(until > self.now);
                self.away();
                self.now = until;
            }
            Next::Send(request) => self.exchange(&request),
            Next::Busy => panic!("the engine does not know what to do"),
        }
    }

    /// A reader never sees a part: an object that is there all the time is in every snapshot. And the first subscriber
    /// misses nothing, so that nothing is hidden by coalescing.
    fn observe(&mut self) {
        self.subscribers[0].read(usize::MAX);
        assert!(self.shared.change(Store::take_pending).is_none(), "something was kept back");
        let Some(snapshot) = self.shared.snapshot() else { return };
        assert!(snapshot.get("default", ALWAYS).is_some(), "a list under way can be seen");
        for index in &self.indexes {
            check_index(&snapshot, index);
        }
    }

    /// The world goes on while nobody is connected.
    fn away(&mut self) {
        for _ in 0..2 {
            match self.steps.next() {
                Some(Step::Fault(fault)) => self.pending.push_back(fault),
                Some(step) => drop(self.happen(&step)),
                None => {}
            }
        }
    }

    fn exchange(&mut self, request: &Request) {
        if self.pending.is_empty()
            && self.steps.as_slice().first().is_some_and(|step| matches!(step, Step::Fault(_)))
        {
            let Some(Step::Fault(fault)) = self.steps.next() else { return };
            self.pending.push_back(fault);
        }
        let fault = self.pending.pop_front();
        let ignores = matches!(fault, Some(Fault::IgnoreInitial));
        let lag = if let Some(Fault::Lag(lag)) = fault { lag } else { 0 };
        let mut answer = self.server.answer(request, ignores, lag);
        let mut retry_after = None;
        match &fault {
            Some(Fault::NoAnswer) => return self.broken(),
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
            Some(Fault::Garbage) => answer.body.insert_str(0, "<html>\n"),
            Some(Fault::Replay(count)) => {
                if let Request::Watch { from, .. } = request {
                    let from: u64 = from.to_string().parse().unwrap();
                    answer.body = self.server.since(from.saturating_sub(*count));
                }
            }
            _ => {}
        }
        let Answer { code, body, open } = answer;
        self.engine.head(self.now, StatusCode::from_u16(code).unwrap(), retry_after);
        let cut = match fault {
            Some(Fault::Cut(at) | Fault::End(at) | Fault::Silence(at)) => at.min(body.len()),
            _ => body.len(),
        };
        if self.feed(&body.as_bytes()[..cut]) == Flow::Stop {
            return;
        }
        match fault {
            Some(Fault::Cut(_)) => self.broken(),
            Some(Fault::End(_)) => self.engine.end(self.now),
            Some(Fault::Silence(_) | Fault::IgnoreInitial) => self.silence(),
            _ if open => self.live(),
            _ => self.engine.end(self.now),
        }
    }

    /// A watch is open: what happens is told at once, until a fault ends it.
    fn live(&mut self) {
        while let Some(step) = self.steps.next() {
            let (text, end): (String, Option<Fault>) = match step {
                Step::Fault(fault @ (Fault::Cut(at) | Fault::End(at) | Fault::Silence(at))) => {
                    // In the middle of a line.
                    let text = self.server.put(NAMES[at % NAMES.len()], false);
                    (text[..at % text.len()].to_owned(), Some(fault))
                }
                Step::Fault(Fault::Garbage) => ("{\n".to_owned(), Some(Fault::NoAnswer)),
                Step::Fault(fault) => {
                    self.pending.push_back(fault);
                    (String::new(), Some(Fault::NoAnswer))
                }
                Step::Restart | Step::Restore => {
                    self.happen(&step);
                    (String::new(), Some(Fault::NoAnswer))
                }
                step => (self.happen(&step), None),
            };
            if self.feed(text.as_bytes()) == Flow::Stop {
                return;
            }
            match end {
                None => {}
                Some(Fault::End(_)) => return self.engine.end(self.now),
                Some(Fault::Silence(_)) => return self.silence(),
                Some(_) => return self.broken(),
            }
        }
        // The history is over: the server rests, and says how far it is.
        if self.feed(bookmark(self.server.revision, false).as_bytes()) == Flow::Continue {
            self.broken();
        }
    }

    fn happen(&mut self, step: &Step) -> String {
        match step {
            Step::Put(name) => return self.server.put(NAMES[*name], false),
            Step::PutBad(name) => return self.server.put(NAMES[*name], true),
            Step::Delete(name) => return self.server.delete(NAMES[*name]).unwrap_or_default(),
            Step::Burst(name) => {
                let mut lines = self.server.delete(NAMES[*name]).unwrap_or_default();
                for _ in 0..3 {
                    lines += &self.server.put(NAMES[*name], false);
                    lines += &self.server.delete(NAMES[*name]).unwrap_or_default();
                }
                return lines;
            }
            Step::Compact => self.server.compact(),
            Step::Restart => self.server.restart(),
            Step::Restore => {
                self.server.restore();
                self.restored = true;
                self.subscribers.iter_mut().for_each(|subscriber| subscriber.restored = true);
            }
            Step::Bookmark => return bookmark(self.server.revision, false),
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

    fn join(&mut self) {
        let subscription = Subscription::new(self.shared.subscribe(), Arc::new(()));
        self.subscribers.push(Subscriber {
            subscription,
            known: BTreeMap::new(),
            synced: false,
            restored: self.restored,
        });
    }

    fn index(&mut self) {
        self.indexes.truncate(1);
        self.indexes.push(Index::new(&self.shared, Arc::new(keys)));
    }

    fn feed(&mut self, bytes: &[u8]) -> Flow {
        for chunk in bytes.chunks(self.chunk) {
            self.now += Duration::from_millis(1);
            let flow = self.engine.data(self.now, Bytes::copy_from_slice(chunk));
            self.observe();
            if flow == Flow::Stop {
                return Flow::Stop;
            }
        }
        Flow::Continue
    }

    fn broken(&mut self) {
        let error = Error::Interrupted { resource: Arc::clone(self.engine.path()), source: None };
        self.engine.broken(self.now, error);
    }

    /// Nothing comes any more: the engine has to notice by itself.
    fn silence(&mut self) {
        for _ in 0..10 {
            let wake = self.engine.wake_at().expect("a request under way has a deadline");
            self.now = self.now.max(wake);
            if self.engine.woken(self.now) == Flow::Stop {
                return;
            }
        }
        panic!("a silent connection is kept");
    }
}

proptest! {
    // More than proptest's own number; still more by PROPTEST_CASES.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1024), ..ProptestConfig::default() })]

    /// Contract 1, 3, 4, 5, 6, 9 and 12: after every history of changes and faults the cache equals the server, and so
    /// does what each subscriber was told, whenever it joined and however slowly it read.
    #[test]
    fn after_any_history_cache_and_subscribers_equal_the_server(
        steps in prop::collection::vec(step(), 0..40),
        from_cache: bool,
        seed: u64,
        chunk in 1_usize..600,
    ) {
        let list_from = if from_cache { ListFrom::Cache } else { ListFrom::Storage };
        Simulation::new(steps, list_from, seed, chunk).run();
    }
}

/// Contract 6, the one history of it that is rare among invented ones.
#[test]
fn a_list_from_a_cache_that_lags_moves_nothing_back() {
    let steps = vec![Step::Put(0), Step::Put(0), Step::Fault(Fault::Gone), Step::Fault(Fault::Lag(1))];
    Simulation::new(steps, ListFrom::Cache, 1, 1000).run();
}
