//! Metrics, by controller-runtime's names, so that its dashboards and alerts work.
//!
//! What is counted is an atomic addition. What is a state, such as the depth of a queue, is read when it is encoded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use kube_informer::Informers;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::election::Leadership;
use crate::lock::lock;

/// As many priorities as have series of their own. What comes later is one series.
const PRIORITIES: usize = 25;

/// The label of the priorities that came later.
const EXCEEDED: &str = "exceeded_cardinality_limit";

/// The buckets of the time of a run, in seconds.
const RUN_BUCKETS: [f64; 40] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25,
    1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0,
    50.0, 60.0,
];

type Float = Gauge<f64, AtomicU64>;

/// A run that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RunId(u64);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunResult {
    Success,
    RequeueAfter,
    Error,
    TerminalError,
    Panic,
    Timeout,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Controller {
    controller: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    controller: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    name: String,
    controller: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Priority {
    name: String,
    controller: String,
    priority: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lease {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    code: String,
    method: String,
    host: &'static str,
}

/// Histograms with these buckets.
#[derive(Clone, Copy)]
struct Buckets(fn() -> Histogram);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        self.0()
    }
}

/// Client-go's buckets of a queue: from 10 ns to 1000 s.
const QUEUE_BUCKETS: Buckets = Buckets(|| Histogram::new((0..12_i32).map(|power| 1e-8 * 10_f64.powi(power))));

/// The metrics of an operator.
pub(crate) struct OperatorMetrics {
    registry: Registry,
    families: Families,
    requests: Arc<Requests>,
    dropped_events: Counter,
    leadership: Option<(Gauge, watch::Receiver<Leadership>)>,
}

#[derive(Clone)]
struct Families {
    results: Family<Result, Counter>,
    errors: Family<Controller, Counter>,
    terminal_errors: Family<Controller, Counter>,
    panics: Family<Controller, Counter>,
    timeouts: Family<Controller, Counter>,
    time: Family<Controller, Histogram, Buckets>,
    max_concurrent: Family<Controller, Gauge>,
    active: Family<Controller, Gauge>,
    depth: Family<Priority, Gauge>,
    adds: Family<Queue, Counter>,
    queue_duration: Family<Queue, Histogram, Buckets>,
    work_duration: Family<Queue, Histogram, Buckets>,
    unfinished: Family<Queue, Float>,
    longest: Family<Queue, Float>,
    retries: Family<Queue, Counter>,
    own_writes: Family<Controller, Counter>,
    own_writes_timed_out: Family<Controller, Counter>,
    hot_loops: Family<Controller, Counter>,
}

/// The metrics of a controller.
pub(crate) struct ControllerMetrics {
    name: String,
    families: Families,
    success: Counter,
    requeue_after: Counter,
    error: Counter,
    errors: Counter,
    terminal_errors: Counter,
    panics: Counter,
    timeouts: Counter,
    time: Histogram,
    active: Gauge,
    adds: Counter,
    queue_duration: Histogram,
    work_duration: Histogram,
    retries: Counter,
    own_writes: Counter,
    own_writes_timed_out: Counter,
    hot_loops: Counter,
    state: Mutex<State>,
}

/// What is read when it is encoded.
#[derive(Default)]
struct State {
    next: u64,
    runs: HashMap<RunId, Instant>,
    depth: Vec<(i32, usize)>,
    /// The priorities that have series of their own.
    priorities: BTreeSet<i32>,
}

/// The requests of all runs.
#[derive(Default)]
pub(crate) struct Requests(Family<Request, Counter>);

impl Requests {
    /// Counts a request. Without a code, there was no answer.
    pub(crate) fn count(&self, method: &Method, code: Option<StatusCode>) {
        let code = code.map_or_else(|| "<error>".to_owned(), |code| code.as_str().to_owned());
        self.0.get_or_create(&Request { code, method: method.to_string(), host: "" }).inc();
    }
}

impl OperatorMetrics {
    /// Without a lease there is no election.
    pub(crate) fn new(informers: &Informers, election: Option<(&str, watch::Receiver<Leadership>)>) -> Self {
        let mut registry = Registry::default();
        let families = Families::register(&mut registry);
        let requests = Arc::new(Requests::default());
        registry.register(
            "rest_client_requests",
            "Requests of runs, by status code and method",
            requests.0.clone(),
        );
        let dropped_events = Counter::default();
        registry.register(
            "kube_controller_dropped_events",
            "Events that were not sent because too many waited",
            dropped_events.clone(),
        );
        let leadership = election.map(|(lease, leadership)| {
            let status: Family<Lease, Gauge> = Family::default();
            let gauge = status.get_or_create_owned(&Lease { name: lease.to_owned() });
            registry.register("leader_election_master_status", "Whether this replica leads", status);
            (gauge, leadership)
        });
        informers.register_metrics(&mut registry);
        Self { registry, families, requests, dropped_events, leadership }
    }

    pub(crate) fn requests(&self) -> Arc<Requests> {
        Arc::clone(&self.requests)
    }

    /// Returns the counter of the Events that are dropped.
    pub(crate) fn dropped_events(&self) -> Counter {
        self.dropped_events.clone()
    }

    /// Returns the metrics of a controller, which are all there at once, at 0. If it is there a second time, its counters go on.
    pub(crate) fn controller(&self, name: &str, concurrency: usize) -> Arc<ControllerMetrics> {
        Arc::new(ControllerMetrics::new(name, concurrency, self.families.clone()))
    }

    /// Returns all metrics as OpenMetrics text, with the states that controllers have [published](ControllerMetrics::publish).
    pub(crate) fn encode(&self) -> String {
        if let Some((gauge, leadership)) = &self.leadership {
            gauge.set(i64::from(leadership.borrow().leads()));
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Families {
    fn register(registry: &mut Registry) -> Self {
        let run_buckets = Buckets(|| Histogram::new(RUN_BUCKETS));
        let families = Self {
            results: Family::default(),
            errors: Family::default(),
            terminal_errors: Family::default(),
            panics: Family::default(),
            timeouts: Family::default(),
            time: Family::new_with_constructor(run_buckets),
            max_concurrent: Family::default(),
            active: Family::default(),
            depth: Family::default(),
            adds: Family::default(),
            queue_duration: Family::new_with_constructor(QUEUE_BUCKETS),
            work_duration: Family::new_with_constructor(QUEUE_BUCKETS),
            unfinished: Family::default(),
            longest: Family::default(),
            retries: Family::default(),
            own_writes: Family::default(),
            own_writes_timed_out: Family::default(),
            hot_loops: Family::default(),
        };
        let all = families.clone();
        let name = |name: &str| format!("controller_runtime_{name}");
        registry.register(name("reconcile"), "Runs, by result", all.results);
        registry.register(name("reconcile_errors"), "Runs that failed", all.errors);
        registry.register(
            name("terminal_reconcile_errors"),
            "Runs that failed for good",
            all.terminal_errors,
        );
        registry.register(name("reconcile_panics"), "Runs that panicked", all.panics);
        registry.register(name("reconcile_timeouts"), "Runs that took too long", all.timeouts);
        registry.register(name("reconcile_time_seconds"), "The time of runs", all.time);
        registry.register(
            name("max_concurrent_reconciles"),
            "Runs at the same time, at most",
            all.max_concurrent,
        );
        registry.register(name("active_workers"), "Runs under way", all.active);
        registry.register("workqueue_depth", "Keys that may run, by priority", all.depth);
        registry.register("workqueue_adds", "Changes and timers that made keys run", all.adds);
        registry.register("workqueue_queue_duration_seconds", "How long keys were ready", all.queue_duration);
        registry.register("workqueue_work_duration_seconds", "The time of runs", all.work_duration);
        registry.register(
            "workqueue_unfinished_work_seconds",
            "The time of the runs under way, together",
            all.unfinished,
        );
        registry.register(
            "workqueue_longest_running_processor_seconds",
            "The time of the longest run under way",
            all.longest,
        );
        registry.register("workqueue_retries", "Retries after failures", all.retries);
        let name = |name: &str| format!("kube_controller_{name}");
        registry.register(
            name("own_write_waits"),
            "Keys that waited until caches had their writes",
            all.own_writes,
        );
        let help = "Keys that waited in vain until caches had their writes";
        registry.register(name("own_write_timeouts"), help, all.own_writes_timed_out);
        registry.register(name("hot_loops"), "Runs in hot loops", all.hot_loops);
        families
    }
}

impl ControllerMetrics {
    fn new(name: &str, concurrency: usize, families: Families) -> Self {
        let controller = Controller { controller: name.to_owned() };
        let queue = Queue { name: name.to_owned(), controller: name.to_owned() };
        let result =
            |result| families.results.get_or_create_owned(&Result { controller: name.to_owned(), result });
        let concurrency = i64::try_from(concurrency).unwrap_or(i64::MAX);
        families.max_concurrent.get_or_create(&controller).set(concurrency);
        // Nothing asks for that here, but dashboards do.
        result("requeue");
        Self {
            success: result("success"),
            requeue_after: result("requeue_after"),
            error: result("error"),
            errors: families.errors.get_or_create_owned(&controller),
            terminal_errors: families.terminal_errors.get_or_create_owned(&controller),
            panics: families.panics.get_or_create_owned(&controller),
            timeouts: families.timeouts.get_or_create_owned(&controller),
            time: families.time.get_or_create_owned(&controller),
            active: families.active.get_or_create_owned(&controller),
            adds: families.adds.get_or_create_owned(&queue),
            queue_duration: families.queue_duration.get_or_create_owned(&queue),
            work_duration: families.work_duration.get_or_create_owned(&queue),
            retries: families.retries.get_or_create_owned(&queue),
            own_writes: families.own_writes.get_or_create_owned(&controller),
            own_writes_timed_out: families.own_writes_timed_out.get_or_create_owned(&controller),
            hot_loops: families.hot_loops.get_or_create_owned(&controller),
            name: name.to_owned(),
            state: Mutex::new(State { priorities: BTreeSet::from([0]), ..State::default() }),
            families,
        }
    }

    pub(crate) fn added(&self) {
        self.adds.inc();
    }

    pub(crate) fn retried(&self) {
        self.retries.inc();
    }

    /// A key was taken that had been ready for this time.
    pub(crate) fn taken(&self, waited: Duration) {
        self.queue_duration.observe(waited.as_secs_f64());
    }

    pub(crate) fn started(&self, at: Instant) -> RunId {
        self.active.inc();
        let mut state = lock(&self.state);
        state.next += 1;
        let run = RunId(state.next);
        state.runs.insert(run, at);
        run
    }

    pub(crate) fn finished(&self, run: RunId, result: RunResult, took: Duration) {
        lock(&self.state).runs.remove(&run);
        self.active.dec();
        self.work_duration.observe(took.as_secs_f64());
        self.time.observe(took.as_secs_f64());
        match result {
            RunResult::Success => self.success.inc(),
            RunResult::RequeueAfter => self.requeue_after.inc(),
            // It was not the reconciler's.
            RunResult::Cancelled => return,
            RunResult::Error | RunResult::TerminalError | RunResult::Panic | RunResult::Timeout => {
                self.errors.inc();
                self.error.inc()
            }
        };
        match result {
            RunResult::TerminalError => self.terminal_errors.inc(),
            RunResult::Panic => self.panics.inc(),
            RunResult::Timeout => self.timeouts.inc(),
            _ => return,
        };
    }

    pub(crate) fn set_depth(&self, by_priority: impl Iterator<Item = (i32, usize)>) {
        let depth = &mut lock(&self.state).depth;
        depth.clear();
        depth.extend(by_priority);
    }

    /// A key waited until the caches had its own writes.
    pub(crate) fn own_write_waited(&self, timed_out: bool) {
        self.own_writes.inc();
        if timed_out {
            self.own_writes_timed_out.inc();
        }
    }

    pub(crate) fn hot_loop(&self) {
        self.hot_loops.inc();
    }

    /// Ends the controller: nothing waits there any more. Its counters stay.
    pub(crate) fn end(&self) {
        self.set_depth(std::iter::empty());
        self.publish();
    }

    /// Publishes the states.
    pub(crate) fn publish(&self) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        let times = state.runs.values().map(|since| now.saturating_duration_since(*since).as_secs_f64());
        let (sum, longest) =
            times.fold((0.0, 0.0_f64), |(sum, longest), time| (sum + time, longest.max(time)));
        let queue = Queue { name: self.name.clone(), controller: self.name.clone() };
        self.families.unfinished.get_or_create(&queue).set(sum);
        self.families.longest.get_or_create(&queue).set(longest);

        let State { depth, priorities, .. } = &mut *state;
        let mut by_label: BTreeMap<String, usize> = BTreeMap::new();
        for (priority, count) in depth.iter() {
            let has_own = priorities.contains(priority) || priorities.len() < PRIORITIES;
            if has_own {
                priorities.insert(*priority);
            }
            let label = if has_own { priority.to_string() } else { EXCEEDED.to_owned() };
            *by_label.entry(label).or_default() += count;
        }
        for priority in priorities.iter() {
            by_label.entry(priority.to_string()).or_default();
        }
        for (priority, count) in by_label {
            let labels = Priority { name: self.name.clone(), controller: self.name.clone(), priority };
            self.families.depth.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        if depth.iter().all(|(priority, _)| priorities.contains(priority)) {
            let labels = Priority {
                name: self.name.clone(),
                controller: self.name.clone(),
                priority: EXCEEDED.to_owned(),
            };
            self.families.depth.remove(&labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use kube_embedded::Server;

    use super::*;

    fn metrics() -> OperatorMetrics {
        let server = Server::start();
        OperatorMetrics::new(&Informers::new(server.client()), None)
    }

    #[tokio::test]
    async fn the_names_are_controller_runtimes_and_everything_is_0_at_the_start() {
        let metrics = metrics();
        metrics.controller("blog", 4).publish();
        let text = metrics.encode();
        let queue = r#"{name="blog",controller="blog"}"#;
        for line in [
            r#"controller_runtime_reconcile_total{controller="blog",result="success"} 0"#.to_owned(),
            r#"controller_runtime_reconcile_total{controller="blog",result="error"} 0"#.to_owned(),
            r#"controller_runtime_reconcile_total{controller="blog",result="requeue"} 0"#.to_owned(),
            r#"controller_runtime_reconcile_total{controller="blog",result="requeue_after"} 0"#.to_owned(),
            r#"controller_runtime_reconcile_errors_total{controller="blog"} 0"#.to_owned(),
            r#"controller_runtime_terminal_reconcile_errors_total{controller="blog"} 0"#.to_owned(),
            r#"controller_runtime_reconcile_panics_total{controller="blog"} 0"#.to_owned(),
            r#"controller_runtime_reconcile_timeouts_total{controller="blog"} 0"#.to_owned(),
            r#"controller_runtime_reconcile_time_seconds_bucket{le="0.005",controller="blog"} 0"#.to_owned(),
            r#"controller_runtime_max_concurrent_reconciles{controller="blog"} 4"#.to_owned(),
            r#"controller_runtime_active_workers{controller="blog"} 0"#.to_owned(),
            r#"workqueue_depth{name="blog",controller="blog",priority="0"} 0"#.to_owned(),
            format!("workqueue_adds_total{queue} 0"),
            format!("workqueue_queue_duration_seconds_count{queue} 0"),
            format!("workqueue_work_duration_seconds_count{queue} 0"),
            format!("workqueue_unfinished_work_seconds{queue} 0.0"),
            format!("workqueue_longest_running_processor_seconds{queue} 0.0"),
            format!("workqueue_retries_total{queue} 0"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn requests_are_counted_with_their_code_or_that_there_was_no_answer() {
        let metrics = metrics();
        let requests = metrics.requests();
        requests.count(&Method::PATCH, Some(StatusCode::CONFLICT));
        requests.count(&Method::PATCH, Some(StatusCode::CONFLICT));
        requests.count(&Method::GET, None);
        let text = metrics.encode();
        for line in [
            r#"rest_client_requests_total{code="409",method="PATCH",host=""} 2"#,
            r#"rest_client_requests_total{code="<error>",method="GET",host=""} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    /// Controller-runtime #3396: a priority per object made a series per object.
    #[tokio::test]
    async fn many_priorities_become_one_series_and_the_depth_is_never_below_0() {
        let metrics = metrics();
        let blog = metrics.controller("blog", 1);
        blog.set_depth((1..=30).map(|priority| (priority, 2)));
        blog.publish();
        let text = metrics.encode();
        let depths = || text.lines().filter(|line| line.starts_with("workqueue_depth{"));
        assert_eq!(depths().count(), PRIORITIES + 1);
        assert!(
            depths().any(|line| line.ends_with(r#"priority="exceeded_cardinality_limit"} 12"#)),
            "{text}"
        );
        blog.set_depth(std::iter::empty());
        blog.publish();
        let text = metrics.encode();
        let mut depths = text.lines().filter(|line| line.starts_with("workqueue_depth{"));
        assert!(depths.all(|line| line.ends_with(" 0")), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn runs_under_way_are_seen() {
        let metrics = metrics();
        let blog = metrics.controller("blog", 2);
        let (first, second) = (blog.started(Instant::now()), blog.started(Instant::now()));
        tokio::time::advance(Duration::from_secs(3)).await;
        blog.publish();
        let text = metrics.encode();
        assert!(
            text.contains(r#"workqueue_unfinished_work_seconds{name="blog",controller="blog"} 6.0"#),
            "{text}"
        );
        assert!(text.contains(r#"active_workers{controller="blog"} 2"#), "{text}");
        blog.finished(first, RunResult::Panic, Duration::from_secs(3));
        blog.finished(second, RunResult::Success, Duration::from_secs(3));
        blog.publish();
        let text = metrics.encode();
        assert!(
            text.contains(r#"workqueue_unfinished_work_seconds{name="blog",controller="blog"} 0.0"#),
            "{text}"
        );
        assert!(text.contains(r#"reconcile_panics_total{controller="blog"} 1"#), "{text}");
        assert!(text.contains(r#"reconcile_errors_total{controller="blog"} 1"#), "{text}");
    }
}
