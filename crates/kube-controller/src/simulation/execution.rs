//! One execution: a server, an operator, a scenario and a schedule, from the first object until nothing happens any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube_embedded::{Server, ServerBuilder};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::log::Log;
use super::program::Program;
use super::schedule::Schedule;
use super::service::{LEASE, LEASE_DURATION, Network, Sender};
use super::state::State;
use super::violation::Violation;
use crate::election::Election;
use crate::observer::Observer;
use crate::operator::Operator;

/// Settled is what has not written for so long: longer than the longest delay of a retry. The module's page names it.
const QUIET: Duration = Duration::from_secs(11 * 60);

/// What has not settled by then never will.
const LONGEST: Duration = Duration::from_secs(3 * 3600);

/// How long an operator that has crashed takes to start again.
const RESTART: Duration = Duration::from_secs(1);

/// What an execution led to.
pub(crate) struct Execution {
    /// The number of writes and events that the operator had.
    pub(crate) counts: (u32, u32),
    pub(crate) violations: Vec<Violation>,
    /// The final state.
    pub(crate) state: BTreeMap<String, Value>,
    pub(crate) log: Vec<String>,
}

/// The server that each execution begins with a copy of.
pub(crate) struct Prepared(Server);

impl Prepared {
    /// Prepares a server with the program's definitions.
    ///
    /// # Panics
    /// Panics inside of another runtime.
    pub(crate) fn new(program: &Program, seed: u64) -> Self {
        runtime().block_on(async {
            let server = builder(seed).start();
            let server = server.expect("a server without a data folder starts");
            for definition in &program.definitions {
                install(&server.client(), definition).await;
            }
            // Time passes once the server has nothing left to do.
            sleep(Duration::from_secs(1)).await;
            Self(server)
        })
    }

    /// Plays a schedule.
    ///
    /// # Panics
    /// Panics inside of another runtime.
    pub(crate) fn execute(&self, program: &Program, schedule: &Schedule, seed: u64) -> Execution {
        // What takes random numbers of its own takes them from here: there is one thread.
        fastrand::seed(seed);
        runtime().block_on(async { play(&builder(seed).start_copy(&self.0), program, schedule, seed).await })
    }
}

/// A server whose time is that of the operator, which takes it from the system.
fn builder(seed: u64) -> ServerBuilder {
    Server::builder().tokio_clock(Timestamp::now()).seed(seed)
}

/// One thread in virtual time.
fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build();
    runtime.expect("a runtime of one thread needs next to nothing")
}

async fn play(server: &Server, program: &Program, schedule: &Schedule, seed: u64) -> Execution {
    let log = Log::new();
    let network = Network::new(server.client(), log.clone(), schedule.clone(), program.invariants.clone());
    let world = network.client(Sender::Outside("world"));
    let _world =
        AbortOnDropHandle::new(tokio::spawn(program.world.clone().run(world, network.written.subscribe())));
    let users = network.client(Sender::Outside("user"));
    let scenario = AbortOnDropHandle::new(tokio::spawn((program.scenario)(users)));

    let settled = async {
        if let Err(error) = scenario.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        let end = Instant::now() + LONGEST;
        while network.last_write().elapsed() < QUIET || network.is_busy() {
            if Instant::now() >= end {
                network.violate(Violation::NotSettled(LONGEST));
                return;
            }
            sleep(Duration::from_secs(60)).await;
        }
    };
    tokio::select! {
        biased;
        () = settled => {}
        () = operate(program, &network, &log, seed) => {}
    }
    for panic in log.panics() {
        network.violate(Violation::Panic(panic));
    }
    let state = State::read(&network.server, network.collections()).await;
    for (object, value) in state.named() {
        let meta = &value["metadata"];
        if meta["deletionTimestamp"].is_string() {
            network.violate(Violation::NeverDeleted { object, finalizers: meta["finalizers"].to_string() });
        }
    }
    Execution {
        counts: network.counts(),
        violations: network.violations(),
        state: state.comparable(&program.ignore),
        log: log.lines(),
    }
}

/// Runs the operator, and starts it again whenever it crashes.
async fn operate(program: &Program, network: &Arc<Network>, log: &Log, seed: u64) {
    for start in 1.. {
        log.line(format_args!("operator: start {start}"));
        let alive = Arc::new(AtomicBool::new(true));
        let client = network.client(Sender::Operator { alive });
        let observer: Arc<dyn Observer> = Arc::new(log.clone());
        let mut operator = Operator::new(client, "simulation").seed(seed).observer(observer);
        if program.elects {
            let election = Election::new(LEASE).namespace("default").lease_duration(LEASE_DURATION);
            let election = election.renew_deadline(LEASE_DURATION * 2 / 3).retry_period(LEASE_DURATION / 3);
            operator = operator.leader_election_with(election.identity(format!("operator-{start}")));
        }
        let controllers = (program.controllers)(&operator);
        let end = tokio::select! {
            biased;
            () = network.crash.notified() => None,
            ended = operator.run(controllers) => Some(ended),
        };
        if let Some(ended) = end {
            let text = ended.map_or_else(|error| error.to_string(), |ended| ended.to_string());
            network.violate(Violation::Ended(text));
            return;
        }
        log.line("operator: crashed");
        sleep(RESTART).await;
    }
}

/// Installs a definition, and waits until its type is served.
async fn install(client: &Client, definition: &CustomResourceDefinition) {
    let definitions = kube::Api::all(client.clone());
    let created = definitions.create(&kube::api::PostParams::default(), definition).await;
    if let Err(error) = created {
        panic!("the definition cannot be installed: {error}");
    }
    let (group, plural) = (&definition.spec.group, &definition.spec.names.plural);
    for version in definition.spec.versions.iter().filter(|version| version.served) {
        let path = format!("/apis/{group}/{}/{plural}", version.name);
        loop {
            let Ok(request) = Request::get(&path).body(Vec::new()) else { break };
            if client.request::<Value>(request).await.is_ok() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
