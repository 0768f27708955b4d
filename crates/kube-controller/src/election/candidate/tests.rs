use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn candidate(identity: &str, now: Instant) -> Candidate {
    Candidate::new(&Election::new("a"), identity.to_owned(), fastrand::Rng::with_seed(1), now)
}

/// A Lease as another wrote it, at a version.
fn held_by(holder: &str, version: u32) -> Box<Lease> {
    let mut lease = record::held(None, "a", holder, 15 * SECOND, wall(version));
    lease.metadata.resource_version = Some(version.to_string());
    Box::new(lease)
}

fn wall(second: u32) -> Timestamp {
    Timestamp::from_second(second.into()).unwrap()
}

/// Lets a candidate win at `now`, with an answer `later`.
fn win(candidate: &mut Candidate, now: Instant, later: Duration) {
    assert_eq!(candidate.next(now, wall(0)), Step::Get);
    candidate.read(now, now, Answer::Missing);
    let Step::Create(mut lease) = candidate.next(now, wall(0)) else { panic!("a free Lease is taken") };
    lease.metadata.resource_version = Some("1".to_owned());
    candidate.wrote(now, now + later, Answer::Lease(lease));
}

// Rule 23; kubernetes#44887: the renewal hangs, and the leader knows when it has to stop.
#[test]
fn leadership_counts_from_the_start_of_the_last_good_renewal() {
    let start = Instant::now();
    let mut me = candidate("me", start);
    win(&mut me, start, 3 * SECOND);
    let term = Term { number: 1, since: start + 3 * SECOND, until: start + 10 * SECOND };
    assert_eq!(me.term(start + 3 * SECOND), Some(term));
    let Step::Update(lease) = me.next(start + 4 * SECOND, wall(4)) else { panic!("it renews") };
    assert_eq!(me.term(start + 10 * SECOND), None);
    // The answer comes after the deadline: another term, counted from the start of that renewal.
    me.wrote(start + 4 * SECOND, start + 11 * SECOND, Answer::Lease(lease));
    let term = Term { number: 2, since: start + 11 * SECOND, until: start + 14 * SECOND };
    assert_eq!(me.term(start + 11 * SECOND), Some(term));
}

// linkerd2 PR #13392
#[test]
fn failed_renewals_do_not_prolong_the_term() {
    let start = Instant::now();
    let mut me = candidate("me", start);
    win(&mut me, start, Duration::ZERO);
    for second in [2, 4, 6, 8] {
        let now = start + second * SECOND;
        assert_eq!(me.next(now - SECOND, wall(second)), Step::Wait(now));
        assert!(matches!(me.next(now, wall(second)), Step::Update(_)));
        me.wrote(now, now, Answer::Failed);
        assert!(me.term(now).is_some());
    }
    assert!(me.term(start + 10 * SECOND).is_none());
}

// kubernetes#23731
#[test]
fn a_leader_that_reads_of_another_holder_stops() {
    for answer in [Answer::Lease(held_by("other", 7)), Answer::Lease(held_by("", 7)), Answer::Missing] {
        let start = Instant::now();
        let mut me = candidate("me", start);
        win(&mut me, start, Duration::ZERO);
        let now = start + 2 * SECOND;
        assert!(matches!(me.next(now, wall(2)), Step::Update(_)));
        me.wrote(now, now, Answer::Conflict);
        assert!(me.term(now).is_some(), "a conflict alone says nothing");
        assert_eq!(me.next(now, wall(2)), Step::Get);
        me.read(now, now, answer);
        assert_eq!(me.term(now), None);
    }
}

#[test]
fn a_lease_is_taken_once_it_was_unchanged_for_its_duration() {
    let start = Instant::now();
    let mut me = candidate("me", start);
    let mut lease = held_by("other", 7);
    lease.spec.get_or_insert_default().lease_duration_seconds = Some(20);
    assert_eq!(me.next(start, wall(0)), Step::Get);
    me.read(start, start, Answer::Lease(lease.clone()));
    // A label is no renewal, and a renewal is one whatever it says.
    let now = start + 5 * SECOND;
    lease.metadata.resource_version = Some("8".to_owned());
    me.observed(now, Some(*lease.clone()));
    assert_eq!(me.taken_until, Some(start + 20 * SECOND));
    lease.spec.get_or_insert_default().renew_time = None;
    me.observed(now, Some(*lease));
    let free = now + 20 * SECOND;
    assert_eq!(me.taken_until, Some(free));
    let mut at = now;
    while at < free {
        at = match me.next(at, wall(0)) {
            Step::Wait(until) => until,
            Step::Get => {
                me.read(at, at, Answer::Lease(Box::new(me.seen.clone().unwrap())));
                continue;
            }
            step => panic!("{step:?} at {:?}", at - start),
        };
    }
    let Step::Update(lease) = me.next(free, wall(9)) else { panic!("it takes the Lease") };
    assert_eq!(lease.metadata.resource_version.as_deref(), Some("8"));
    let LeaseSpec { holder_identity, lease_transitions, .. } = lease.spec.unwrap();
    assert_eq!((holder_identity.as_deref(), lease_transitions), (Some("me"), Some(1)));
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let start = Instant::now();
    let mut me = candidate("me", start);
    assert_eq!(me.next(start, wall(0)), Step::Get);
    me.read(start, start, Answer::Lease(held_by("other", 7)));
    let now = start + SECOND;
    assert!(matches!(me.next(now, wall(0)), Step::Wait(_)));
    me.observed(now, Some(record::released(*held_by("other", 7), wall(1))));
    assert!(matches!(me.next(now, wall(0)), Step::Update(_)));
}

#[test]
fn a_lease_that_was_deleted_counts_until_it_would_have_expired() {
    let start = Instant::now();
    let mut me = candidate("me", start);
    me.read(start, start, Answer::Lease(held_by("other", 7)));
    me.observed(start + SECOND, None);
    let mut at = start + SECOND;
    while at < start + 15 * SECOND {
        match me.next(at, wall(0)) {
            Step::Wait(until) => at = until,
            Step::Get => me.read(at, at, Answer::Missing),
            step => panic!("{step:?}"),
        }
    }
    assert!(matches!(me.next(start + 15 * SECOND, wall(0)), Step::Create(_)));
}

#[test]
fn conflicts_are_retried_at_once_only_once_in_a_row() {
    let start = Instant::now();
    let mut me = candidate("me", start);
    win(&mut me, start, Duration::ZERO);
    let now = start + 2 * SECOND;
    for _ in 0..2 {
        assert!(matches!(me.next(now, wall(2)), Step::Update(_)));
        me.wrote(now, now, Answer::Conflict);
        if me.next(now, wall(2)) == Step::Get {
            me.read(now, now, Answer::Lease(held_by("me", 9)));
        }
    }
    assert!(matches!(me.next(now, wall(2)), Step::Wait(until) if until >= now + 2 * SECOND));
}

#[test]
fn only_a_leader_has_something_to_release() {
    let start = Instant::now();
    let mut me = candidate("me", start);
    assert_eq!(me.release(start, wall(0)), None);
    win(&mut me, start, Duration::ZERO);
    let mut late = candidate("me", start);
    win(&mut late, start, Duration::ZERO);
    assert_eq!(late.release(start + 10 * SECOND, wall(10)), None);
    let lease = me.release(start + SECOND, wall(1)).unwrap();
    assert_eq!(record::holder(&lease), None);
    assert_eq!(me.term(start + SECOND), None);
}

proptest! {
    // Rule 23
    #[test]
    fn there_are_never_two_leaders_and_one_in_the_end(seed: u64, candidates in 2_usize..5) {
        World::new(seed, candidates).run();
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);
const FAULTS_END: Duration = Duration::from_secs(150);
const END: Duration = Duration::from_secs(220);

/// Several candidates, a server and a bad network, in virtual time.
struct World {
    rng: fastrand::Rng,
    start: Instant,
    now: Duration,
    lease: Option<Lease>,
    version: u32,
    nodes: Vec<Node>,
    /// By time; the second number keeps those of the same time apart.
    events: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    terms: usize,
}

struct Node {
    candidate: Candidate,
    /// Counts its processes: answers to an earlier one are lost.
    process: u32,
    /// Its clock: an offset and a rate.
    offset: Duration,
    rate: f64,
    /// The request that it waits for.
    request: Option<u64>,
    wakes: u64,
}

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "there are few of them")]
enum Event {
    Wake { node: usize, wake: u64 },
    Arrive { node: usize, process: u32, request: u64, started: Instant, step: Step, answered: bool },
    Answer { node: usize, process: u32, request: u64, started: Instant, write: bool, answer: Answer },
    Observe { node: usize, process: u32, lease: Option<Lease> },
    Restart { node: usize },
    Release { node: usize },
}

impl Node {
    fn clock(&self, start: Instant, now: Duration) -> Instant {
        start + self.offset + now.mul_f64(self.rate)
    }

    /// Returns the real time at which its clock shows a time.
    fn real(&self, start: Instant, local: Instant) -> Duration {
        local.saturating_duration_since(start + self.offset).div_f64(self.rate) + Duration::from_nanos(10)
    }
}

impl World {
    fn new(seed: u64, nodes: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let start = Instant::now();
        let nodes = (0..nodes).map(|node| {
            let offset = rng.u64(0..3_600_000);
            let offset = Duration::from_millis(offset);
            // The fastest clock may run 15/10 as fast as the slowest.
            let rate = 0.82 + rng.f64() * 0.36;
            let candidate = candidate(&format!("{node}-0"), start + offset);
            Node { candidate, process: 0, offset, rate, request: None, wakes: 0 }
        });
        let nodes: Vec<_> = nodes.collect();
        let events = BTreeMap::new();
        let now = Duration::ZERO;
        let mut world =
            Self { rng, start, now, lease: None, version: 0, nodes, events, next_event: 0, terms: 0 };
        for node in 0..world.nodes.len() {
            world.at(Duration::ZERO, Event::Wake { node, wake: 0 });
            for _ in 0..world.rng.u32(0..3) {
                let at = world.within(FAULTS_END);
                let event = if world.rng.bool() { Event::Restart { node } } else { Event::Release { node } };
                world.at(at, event);
            }
        }
        world
    }

    fn within(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.rng.f64())
    }

    fn at(&mut self, after: Duration, event: Event) -> u64 {
        self.next_event += 1;
        self.events.insert((self.now + after, self.next_event), event);
        self.next_event
    }

    fn run(&mut self) {
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > END {
                break;
            }
            self.now = at;
            self.happen(event);
            let leaders: Vec<_> = (0..self.nodes.len()).filter(|node| self.leads(*node)).collect();
            assert!(leaders.len() <= 1, "{leaders:?} lead at {at:?}");
        }
        assert!((0..self.nodes.len()).any(|node| self.leads(node)), "nobody leads in the end");
        assert!(self.terms > 0);
    }

    fn leads(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.candidate.term(node.clock(self.start, self.now)).is_some()
    }

    fn happen(&mut self, event: Event) {
        let current = |world: &Self, node: usize, process: u32| world.nodes[node].process == process;
        match event {
            Event::Wake { node, wake } => {
                if self.nodes[node].wakes == wake && self.nodes[node].request.is_none() {
                    self.act(node);
                }
            }
            Event::Arrive { node, process, request, started, step, answered } => {
                let write = step != Step::Get;
                let answer = self.serve(step);
                if answered {
                    let back = self.latency();
                    self.at(back, Event::Answer { node, process, request, started, write, answer });
                }
            }
            Event::Answer { node, process, request, started, write, answer } => {
                if current(self, node, process) && self.nodes[node].request == Some(request) {
                    let now = self.nodes[node].clock(self.start, self.now);
                    let it = &mut self.nodes[node];
                    it.request = None;
                    if write {
                        it.candidate.wrote(started, now, answer);
                    } else {
                        it.candidate.read(started, now, answer);
                    }
                    self.terms += usize::from(it.candidate.term(now).is_some());
                    self.act(node);
                }
            }
            // Events are not for leaders. They may be late: the candidate may have read something newer.
            Event::Observe { node, process, lease } => {
                if current(self, node, process) && self.nodes[node].request.is_none() && !self.leads(node) {
                    let now = self.nodes[node].clock(self.start, self.now);
                    self.nodes[node].candidate.observed(now, lease);
                    self.act(node);
                }
            }
            Event::Restart { node } => self.restart(node),
            Event::Release { node } => {
                let now = self.nodes[node].clock(self.start, self.now);
                let lease = self.nodes[node].candidate.release(now, wall(0));
                if let Some(lease) = lease {
                    self.send(node, Step::Update(Box::new(lease)));
                }
                self.restart(node);
            }
        }
    }

    fn restart(&mut self, node: usize) {
        let now = self.nodes[node].clock(self.start, self.now);
        let it = &mut self.nodes[node];
        it.process += 1;
        it.request = None;
        it.candidate = candidate(&format!("{node}-{}", it.process), now);
        it.candidate.rng = self.rng.fork();
        self.act(node);
    }

    fn act(&mut self, node: usize) {
        let now = self.nodes[node].clock(self.start, self.now);
        let micros = u64::try_from(self.now.as_micros()).unwrap() as i64;
        let wall = Timestamp::from_microsecond(micros).unwrap();
        match self.nodes[node].candidate.next(now, wall) {
            Step::Wait(until) => {
                let at = self.nodes[node].real(self.start, until);
                let wake = self.nodes[node].wakes + 1;
                self.nodes[node].wakes = wake;
                self.at(at.saturating_sub(self.now), Event::Wake { node, wake });
            }
            step => self.send(node, step),
        }
    }

    /// Most of the time, a network that works. Then again it hangs, fails, or delivers long after the timeout.
    fn send(&mut self, node: usize, step: Step) {
        let faults = self.now < FAULTS_END;
        let it = &self.nodes[node];
        let (process, started) = (it.process, it.clock(self.start, self.now));
        let request = self.next_event + 1;
        self.nodes[node].request = Some(request);
        let write = step != Step::Get;
        let timeout = TIMEOUT.div_f64(self.nodes[node].rate);
        let answer = |answer| Event::Answer { node, process, request, started, write, answer };
        self.at(timeout, answer(Answer::Failed));
        let fate = if faults { self.rng.u32(0..20) } else { u32::MAX };
        let there = self.latency();
        let arrive = |answered| Event::Arrive { node, process, request, started, step, answered };
        match fate {
            0 | 1 => _ = self.at(there, answer(Answer::Failed)),
            2 | 3 => {}
            4 | 5 => _ = self.at(there, arrive(false)),
            6 => {
                let late = self.within(30 * SECOND);
                self.at(late, arrive(true));
            }
            _ => _ = self.at(there, arrive(true)),
        }
    }

    fn latency(&mut self) -> Duration {
        let slow = self.now < FAULTS_END && self.rng.u32(0..8) == 0;
        let most = if slow { 4 * SECOND } else { SECOND / 10 };
        self.within(most)
    }

    fn serve(&mut self, step: Step) -> Answer {
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let lease = match (step, &self.lease) {
            (Step::Get | Step::Update(_), None) => return Answer::Missing,
            (Step::Get, Some(lease)) => return Answer::Lease(Box::new(lease.clone())),
            (Step::Create(_), Some(_)) => return Answer::Conflict,
            (Step::Update(new), Some(old)) if version(&new) != version(old) => return Answer::Conflict,
            (Step::Create(lease) | Step::Update(lease), _) => lease,
            (Step::Wait(_), _) => unreachable!("a wait is not sent"),
        };
        let mut lease = *lease;
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        for node in 0..self.nodes.len() {
            if self.rng.u32(0..3) > 0 {
                let (late, process) = (self.latency(), self.nodes[node].process);
                self.at(late, Event::Observe { node, process, lease: Some(lease.clone()) });
            }
        }
        Answer::Lease(Box::new(lease))
    }
}
