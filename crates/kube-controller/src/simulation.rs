//! Plays every fault against a reconciler, in a unit test.
//!
//! A simulation runs controllers on an API server in the process, in one thread and virtual time: first without faults,
//! then once for each point where a fault can strike, then with several faults at random. Whatever strikes, the final state
//! must be that of the execution without faults. That finds more than invariants do: of 46 bugs that
//! [Sieve](https://github.com/sieve-project/sieve) found in operators, five showed as a crash.
//!
//! ```
//! use std::sync::Arc;
//!
//! use k8s_openapi::api::core::v1::{ConfigMap, Secret};
//! use kube::api::{ObjectMeta, PostParams};
//! use kube::{Api, ResourceExt as _};
//! use kube_controller::simulation::Simulation;
//! use kube_controller::{Action, Context, Controller, WriteError};
//!
//! /// Each ConfigMap gets a Secret.
//! async fn reconcile(map: Arc<ConfigMap>, cx: Context<ConfigMap, ()>) -> Result<Action, WriteError> {
//!     let metadata = ObjectMeta { name: Some(map.name_any()), ..ObjectMeta::default() };
//!     cx.apply(&Secret { metadata, ..Secret::default() }).await?;
//!     Ok(Action::await_change())
//! }
//!
//! # fn main() {
//! Simulation::new(|operator| {
//!     let of = operator.informers();
//!     let maps = of.typed::<ConfigMap>().namespace("default").start();
//!     vec![Controller::new("map", maps).owns(of.typed::<Secret>().start()).reconciler(reconcile, ())]
//! })
//! .scenario(|user| async move {
//!     let maps: Api<ConfigMap> = Api::default_namespaced(user);
//!     let metadata = ObjectMeta { name: Some("a".to_owned()), ..ObjectMeta::default() };
//!     maps.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await.unwrap();
//! })
//! .invariant("a Secret has an owner", |state| {
//!     let is_owned = |secret: &serde_json::Value| secret["metadata"]["ownerReferences"].is_array();
//!     if state.of_kind("Secret").all(is_owned) { Ok(()) } else { Err("it has none".to_owned()) }
//! })
//! .check();
//! # }
//! ```
//!
//! # What must hold
//!
//! Besides the invariants of the test, without being asked: the final state equals that without faults, apart from uids,
//! versions, generations, times and managed fields; at the end nothing is written any more for 11 minutes; nothing is written after the
//! lease has become another's; no object stays in deletion; no reconciler panics.
//!
//! # What it takes
//!
//! A simulation is repeatable as long as everything takes part in it: the requests of the controller go through its client, and waits are tokio's.
//! Threads, real sockets, the system's clock and random numbers of the program's own make it less so; a program
//! that waits for them waits in real time. Where a task waits for several things that are ready at once, tokio chooses at
//! random, so that an order may differ in a replay. It cannot be used inside of a runtime: write `#[test]`, not `#[tokio::test]`.
//!
//! Faults strike where the execution without faults had a write or an event. Writes that only follow from a fault are struck
//! by random schedules at most.
//!
//! What it cannot find: writes that come again and again more than 11 minutes apart, with which an execution counts as settled; faults of the server itself, of the network below HTTP, and what only many objects, several
//! replicas at work on their own or real time would show. Two schedules of the same faults can differ in the order in which
//! tasks run; one order of each is tried.

mod execution;
mod log;
mod program;
mod report;
mod schedule;
mod service;
mod state;
mod violation;
mod world;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use serde_json::Value;

use self::execution::{Execution, Prepared};
use self::program::Program;
pub use self::report::{Failure, Report};
use self::schedule::{EVENT_FAULTS, WRITE_FAULTS};
pub use self::schedule::{EventFault, Fault, InvalidSchedule, Schedule, WriteFault};
pub use self::state::State;
pub use self::violation::Violation;
pub use self::world::World;
use crate::controller::Controller;
use crate::operator::Operator;

/// How many schedules of several faults are played by default.
const RANDOM: u32 = 20;

/// Controllers, a scenario, and what must hold. See the [module's page](self).
#[must_use = "a simulation does nothing until it is checked"]
pub struct Simulation {
    program: Program,
    random: u32,
    single: usize,
    seed: u64,
    replay: Option<Schedule>,
}

impl Simulation {
    /// Describes a simulation of these controllers. The function is called at each start of the operator, also after a crash.
    pub fn new(controllers: impl Fn(&Operator) -> Vec<Controller> + 'static) -> Self {
        let program = Program {
            controllers: Box::new(controllers),
            definitions: Vec::new(),
            scenario: Arc::new(|_| Box::pin(async {})),
            world: World::default(),
            invariants: Vec::new(),
            ignore: Vec::new(),
            elects: false,
        };
        Self { program, random: RANDOM, single: usize::MAX, seed: 1, replay: None }
    }

    /// Installs a definition before anything else.
    pub fn crd(mut self, definition: &CustomResourceDefinition) -> Self {
        self.program.definitions.push(definition.clone());
        self
    }

    /// Sets what users do, through a client that no fault strikes. It begins together with the operator, and may wait:
    /// [`tokio::time::sleep`] takes no time. It panics if something is wrong with it.
    pub fn scenario<F>(mut self, scenario: impl Fn(Client) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.program.scenario = Arc::new(move |client| Box::pin(scenario(client)));
        self
    }

    /// Sets what happens in the cluster by itself: nothing by default, except that owned objects are deleted with their owners.
    pub fn world(mut self, world: World) -> Self {
        self.program.world = world;
        self
    }

    /// Adds what must hold after each write, whoever writes. The error says what does not.
    pub fn invariant(
        mut self,
        name: &str,
        holds: impl Fn(&State) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.program.invariants.push((name.to_owned(), Arc::new(holds)));
        self
    }

    /// Removes from an object what may differ between two executions. It is called for each object of a final state, which then
    /// has neither uids nor times.
    pub fn ignore(mut self, remove: impl Fn(&mut Value) + 'static) -> Self {
        self.program.ignore.push(Box::new(remove));
        self
    }

    /// Lets the operator elect a leader, so that leadership can be lost.
    pub fn leader_election(mut self) -> Self {
        self.program.elects = true;
        self
    }

    /// Limits how many schedules of one fault are played. If there are more, they are chosen by the seed: a test that runs often
    /// can play some of them, and one that runs at night all. By default, all are played.
    pub fn at_most(mut self, schedules: usize) -> Self {
        self.single = schedules;
        self
    }

    /// Sets how many schedules of two to four faults are played at random: 20 by default.
    pub fn random(mut self, schedules: u32) -> Self {
        self.random = schedules;
        self
    }

    /// Sets the seed of everything random: 1 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Plays only this schedule, as a [`Report`] prints it.
    ///
    /// # Panics
    /// Panics if the text is not a schedule.
    pub fn replay(mut self, schedule: &str) -> Self {
        match schedule.parse() {
            Ok(schedule) => self.replay = Some(schedule),
            Err(error) => panic!("{error}"),
        }
        self
    }

    /// Plays it, and panics with the report if something fails.
    ///
    /// # Panics
    /// Panics if something fails, and inside of a tokio runtime.
    pub fn check(self) {
        let report = self.run();
        assert!(report.is_ok(), "{report}");
    }

    /// Plays it and returns what failed first, shortened to the fewest faults that still fail.
    ///
    /// # Panics
    /// Panics inside of a tokio runtime, and if the scenario panics.
    #[must_use]
    pub fn run(self) -> Report {
        let mut executions = 1;
        let prepared = Prepared::new(&self.program, self.seed);
        let execute = |schedule: &Schedule| prepared.execute(&self.program, schedule, self.seed);
        let reference = execute(&Schedule::default());
        let (writes, events) = reference.counts;
        let report = |executions, failure| Report { executions, writes, events, failure };
        if let Some(failure) =
            self.failure(&Schedule::default(), reference.violations.clone(), Vec::new(), &reference)
        {
            return report(executions, Some(failure));
        }
        for schedule in self.schedules(writes, events) {
            executions += 1;
            let execution = execute(&schedule);
            if self.judge(&schedule, &reference, &execution).is_some() {
                let (failure, more) = self.shorten(schedule, &reference, &execution, execute);
                return report(executions + more, failure);
            }
        }
        report(executions, None)
    }

    /// The schedules that are played, given how many writes and events there are without faults.
    fn schedules(&self, writes: u32, events: u32) -> Vec<Schedule> {
        if let Some(schedule) = &self.replay {
            return vec![schedule.clone()];
        }
        let places = (writes + events) as usize;
        let is_possible = |fault: &WriteFault| self.program.elects || *fault != WriteFault::LeadershipLost;
        let writes = (1..=writes).flat_map(|at| {
            WRITE_FAULTS.into_iter().filter(is_possible).map(move |fault| Fault::Write(at, fault))
        });
        let events = (1..=events).flat_map(|at| EVENT_FAULTS.map(|fault| Fault::Event(at, fault)));
        let points: Vec<Fault> = writes.chain(events).collect();
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut chosen = rng.choose_multiple(points.iter().copied(), self.single.min(points.len()));
        chosen.sort_unstable();
        let mut schedules: Vec<Schedule> = chosen.into_iter().map(|fault| Schedule::of([fault])).collect();
        if places > 1 {
            schedules.extend((0..self.random).map(|_| {
                let count = rng.usize(2..=4);
                // At different places: of two faults at one write or event the second never strikes.
                let mut chosen: Vec<Fault> = Vec::new();
                while chosen.len() < count.min(places) {
                    let fault = points[rng.usize(..points.len())];
                    if !chosen.iter().any(|other| other.place() == fault.place()) {
                        chosen.push(fault);
                    }
                }
                Schedule::of(chosen)
            }));
        }
        schedules
    }

    /// Returns what is wrong with an execution.
    fn judge(&self, schedule: &Schedule, reference: &Execution, execution: &Execution) -> Option<Failure> {
        let differences = state::compare(&reference.state, &execution.state);
        self.failure(schedule, execution.violations.clone(), differences, execution)
    }

    fn failure(
        &self,
        schedule: &Schedule,
        violations: Vec<Violation>,
        differences: Vec<String>,
        execution: &Execution,
    ) -> Option<Failure> {
        let failed = !violations.is_empty() || !differences.is_empty();
        failed.then(|| Failure {
            seed: self.seed,
            schedule: schedule.clone(),
            violations,
            differences,
            log: execution.log.clone(),
        })
    }

    /// Removes faults until none can be removed without that it passes: one that was needed beside another may not be
    /// any more without it. Returns the failure, and how many executions that took.
    fn shorten(
        &self,
        mut schedule: Schedule,
        reference: &Execution,
        execution: &Execution,
        execute: impl Fn(&Schedule) -> Execution,
    ) -> (Option<Failure>, usize) {
        let mut failure = self.judge(&schedule, reference, execution);
        let (mut index, mut executions) = (0, 0);
        while schedule.faults.len() > 1 && index < schedule.faults.len() {
            let shorter = schedule.without(index);
            executions += 1;
            match self.judge(&shorter, reference, &execute(&shorter)) {
                Some(found) => (schedule, failure, index) = (shorter, Some(found), 0),
                None => index += 1,
            }
        }
        (failure, executions)
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("seed", &self.seed)
            .field("replay", &self.replay)
            .finish_non_exhaustive()
    }
}
