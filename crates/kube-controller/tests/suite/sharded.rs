//! Controllers that are spread over replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use kube_controller::{Action, Context, Controller, Ended, Operator, OwnedShard, RunError, Shards};
use kube_embedded::Server;
use kube_informer::{Informer, Informers, Shard};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::outside::{free, get};
use crate::support::{Page, eventually, page, server, within};

const SHARDS: u32 = 8;

/// A run: the replica, the namespace and the text.
type Ran = (&'static str, String, String);

/// A replica, and what it reports its runs to.
#[derive(Clone)]
struct Reporter(&'static str, mpsc::UnboundedSender<Ran>);

async fn report(page: Arc<Page>, cx: Context<Page, Reporter>) -> Result<Action, String> {
    let Reporter(replica, runs) = cx.state();
    let ran = (*replica, page.namespace().unwrap_or_default(), page.spec.text.clone());
    runs.send(ran).map_err(|error| error.to_string())?;
    Ok(Action::await_change())
}

struct Replica {
    stop: CancellationToken,
    task: JoinHandle<Result<Ended, RunError>>,
}

impl Replica {
    fn start(server: &Server, name: &'static str, count: u32, runs: &mpsc::UnboundedSender<Ran>) -> Self {
        Self::start_with(server, Operator::new(server.client(), "pages"), name, count, runs)
    }

    /// Starts one that can be seen from outside, in real time.
    async fn serve(
        server: &Server,
        name: &'static str,
        runs: &mpsc::UnboundedSender<Ran>,
    ) -> (Self, SocketAddr) {
        let address = free().await;
        let operator = Operator::new(server.client(), "pages").serve(address);
        (Self::start_with(server, operator, name, SHARDS, runs), address)
    }

    fn start_with(
        server: &Server,
        operator: Operator,
        name: &'static str,
        count: u32,
        runs: &mpsc::UnboundedSender<Ran>,
    ) -> Self {
        let stop = CancellationToken::new();
        let operator = operator.shutdown_on(stop.clone(), Duration::from_secs(30));
        let of = operator.informers();
        let shards = Shards::new(server.client(), "pages", count)
            .identity(name)
            .retry_period(Duration::from_millis(100));
        let reporter = Reporter(name, runs.clone());
        let task = tokio::spawn(operator.run_sharded(shards, move |shard| {
            let pages = of.typed::<Page>().shard(shard.informer_shard()).start();
            [Controller::new("page", pages).reconciler(report, reporter.clone())]
        }));
        Self { stop, task }
    }

    /// Ends it as a signal would.
    async fn stop(self) -> Ended {
        self.stop.cancel();
        within("the replica ends", self.task).await.unwrap().unwrap()
    }

    /// Ends it as SIGKILL would.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Makes a page in each of 16 namespaces.
async fn pages(server: &Server) -> BTreeMap<String, Api<Page>> {
    let mut pages = BTreeMap::new();
    for number in 0..16 {
        // Names that differ in their last character only would all be in the same shard.
        let name = format!("{number}-namespace");
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.clone());
        let namespaces: Api<Namespace> = Api::all(server.client());
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let api: Api<Page> = Api::namespaced(server.client(), &name);
        api.create(&PostParams::default(), &page("it", "zero")).await.unwrap();
        pages.insert(name, api);
    }
    pages
}

/// Returns who holds the Lease of each shard, nobody if it was released.
async fn holders(server: &Server) -> BTreeMap<u32, String> {
    let leases: Api<Lease> = Api::default_namespaced(server.client());
    let leases = leases.list(&ListParams::default()).await.unwrap();
    let holder = |lease: &Lease| {
        let (index, _) = lease.metadata.name.as_ref()?.strip_prefix("pages-shard-")?.split_once("-of-")?;
        Some((index.parse().unwrap(), lease.spec.as_ref()?.holder_identity.clone().unwrap_or_default()))
    };
    leases.iter().filter_map(holder).collect()
}

/// Waits until these replicas have so many shards.
async fn until_shared_out(server: &Server, wanted: &[(&str, usize)]) {
    let wanted: BTreeMap<String, usize> =
        wanted.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    eventually(format!("the shards are shared out as {wanted:?}"), || async {
        let mut found = BTreeMap::new();
        for holder in holders(server).await.into_values() {
            *found.entry(holder).or_default() += 1;
        }
        (found == wanted).then_some(())
    })
    .await;
}

/// Writes to each page, and returns which replicas ran it.
async fn who_runs(
    pages: &BTreeMap<String, Api<Page>>,
    runs: &mut mpsc::UnboundedReceiver<Ran>,
    text: &str,
) -> BTreeMap<String, &'static str> {
    let change = json!({"spec": {"text": text}});
    for api in pages.values() {
        api.patch("it", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    }
    let mut who = BTreeMap::new();
    within(format!("each page runs with the text {text}"), async {
        while who.len() < pages.len() {
            let (replica, namespace, seen) = runs.recv().await.unwrap();
            if seen == text {
                assert_eq!(*who.entry(namespace).or_insert(replica), replica, "two replicas ran a page");
            }
        }
    })
    .await;
    who
}

#[tokio::test]
async fn each_object_belongs_to_one_replica_and_to_another_when_that_ends() {
    let server = server().await;
    let pages = pages(&server).await;
    let (send, mut runs) = mpsc::unbounded_channel();

    let (one, address) = Replica::serve(&server, "one", &send).await;
    let who = who_runs(&pages, &mut runs, "alone").await;
    assert!(who.values().all(|replica| *replica == "one"), "{who:?}");
    let metrics = get(address, "/metrics").await.unwrap();
    for shard in 0..SHARDS {
        let runs =
            format!(r#"controller_runtime_max_concurrent_reconciles{{controller="page-shard-{shard}"}} 1"#);
        assert!(metrics.contains(&runs), "{runs} is not in {metrics}");
    }

    let (two, address) = Replica::serve(&server, "two", &send).await;
    eventually("the other has its half", || async {
        let shown = get(address, "/debug/queue").await?;
        (shown.matches("page-shard-").count() == SHARDS as usize / 2).then_some(())
    })
    .await;
    assert!(get(address, "/readyz").await.unwrap().starts_with("HTTP/1.1 200 "));
    let who = who_runs(&pages, &mut runs, "together").await;
    assert_eq!(who.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from(["one", "two"]), "{who:?}");

    assert_eq!(one.stop().await, Ended::Cancelled);
    let who = who_runs(&pages, &mut runs, "rest").await;
    assert!(who.values().all(|replica| *replica == "two"), "{who:?}");
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn three_replicas_share_out_all_shards_and_each_object_runs_on_one() {
    let server = server().await;
    let pages = pages(&server).await;
    let (send, mut runs) = mpsc::unbounded_channel();
    let replicas = ["one", "two", "three"].map(|name| Replica::start(&server, name, SHARDS, &send));
    // Which one has only two is open.
    let holders = eventually("no replica has two shards more than another", || async {
        let holders = holders(&server).await;
        let count = |name: &str| holders.values().filter(|holder| *holder == name).count();
        let mut counts = ["one", "two", "three"].map(count);
        counts.sort_unstable();
        (counts == [2, 3, 3]).then_some(holders)
    })
    .await;
    for (namespace, replica) in who_runs(&pages, &mut runs, "shared").await {
        let of = |index: &u32| Shard::by_namespace(*index, SHARDS).unwrap().contains(&namespace);
        let index = (0..SHARDS).find(of).unwrap();
        assert_eq!(holders[&index], replica, "{namespace} is in shard {index}");
    }
    // Time is virtual: this waits until nothing is left to be done.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let late = runs.try_recv();
    assert!(late.is_err(), "an object ran twice: {late:?}");
    for replica in replicas {
        replica.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_replica_had_goes_to_another_when_its_leases_have_run_out() {
    let server = server().await;
    let pages = pages(&server).await;
    let (send, mut runs) = mpsc::unbounded_channel();
    let one = Replica::start(&server, "one", SHARDS, &send);
    until_shared_out(&server, &[("one", 8)]).await;
    let two = Replica::start(&server, "two", SHARDS, &send);
    until_shared_out(&server, &[("one", 4), ("two", 4)]).await;
    let who = who_runs(&pages, &mut runs, "together").await;
    assert_eq!(who.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from(["one", "two"]), "{who:?}");

    let killed = Instant::now();
    one.kill().await;
    until_shared_out(&server, &[("two", 8)]).await;
    // 15 s after the last renewal. It released nothing.
    let took = killed.elapsed();
    assert!(Duration::from_secs(14) < took && took < Duration::from_secs(17), "{took:?}");
    let who = who_runs(&pages, &mut runs, "rest").await;
    assert!(who.values().all(|replica| *replica == "two"), "{who:?}");
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_shard_has_everything_and_goes_from_one_replica_to_the_other() {
    let server = server().await;
    let pages = pages(&server).await;
    let (send, mut runs) = mpsc::unbounded_channel();
    let one = Replica::start(&server, "one", 1, &send);
    let who = who_runs(&pages, &mut runs, "alone").await;
    assert!(who.values().all(|replica| *replica == "one"), "{who:?}");
    let two = Replica::start(&server, "two", 1, &send);
    let member = eventually("the other is a member", || async {
        let leases: Api<Lease> = Api::default_namespaced(server.client());
        let leases = leases.list(&ListParams::default()).await.unwrap();
        let holder = |lease: &Lease| lease.spec.as_ref()?.holder_identity.clone();
        leases.iter().filter_map(holder).any(|holder| holder == "two").then_some(())
    });
    member.await;
    let who = who_runs(&pages, &mut runs, "standby").await;
    assert!(who.values().all(|replica| *replica == "one"), "{who:?}");
    one.stop().await;
    let who = who_runs(&pages, &mut runs, "rest").await;
    assert!(who.values().all(|replica| *replica == "two"), "{who:?}");
    two.stop().await;
}

/// Returns why controllers are refused, which is before any Lease is written.
async fn refusal(controllers: impl Fn(Informers, &OwnedShard) -> Vec<Controller>) -> RunError {
    let server = server().await;
    let operator = Operator::new(server.client(), "pages");
    let of = operator.informers();
    let shards = Shards::new(server.client(), "pages", SHARDS);
    let ended = operator.run_sharded(shards, |shard| controllers(of.clone(), shard));
    let error = within("they are refused", ended).await.unwrap_err();
    assert_eq!(holders(&server).await, BTreeMap::new());
    error
}

/// A controller that does nothing.
fn idle(name: &str, pages: Informer<Page>) -> Controller {
    Controller::new(name, pages).reconciler(async |_, _| Ok::<_, String>(Action::await_change()), ())
}

#[tokio::test]
async fn controllers_of_all_objects_or_of_another_shard_are_refused_before_a_lease_is_taken() {
    let all = refusal(|of, _| vec![idle("page", of.typed().start())]).await;
    let RunError::NotOfTheShard { controller } = &all else { panic!("{all}") };
    assert_eq!(controller, "page");
    assert!(all.to_string().contains(".shard(shard.informer_shard())"), "{all}");
    let other = Shard::by_uid(0, SHARDS).unwrap();
    let other = refusal(move |of, _| vec![idle("page", of.typed().shard(other.clone()).start())]).await;
    assert!(matches!(other, RunError::NotOfTheShard { .. }), "{other}");
}

#[tokio::test]
async fn a_dry_run_refuses_controllers_of_all_objects_too() {
    let server = server().await;
    let operator = Operator::new(server.client(), "pages").dry_run();
    let of = operator.informers();
    let shards = Shards::new(server.client(), "pages", SHARDS);
    let ended = operator.run_sharded(shards, |_| [idle("page", of.typed().start())]);
    let ended = within("they are refused", ended).await;
    assert!(matches!(ended, Err(RunError::NotOfTheShard { .. })), "{ended:?}");
}

#[tokio::test]
async fn controllers_of_one_name_are_refused_before_a_lease_is_taken() {
    let error = refusal(|of, shard| {
        let pages = of.typed().shard(shard.informer_shard()).start();
        vec![idle("page", pages.clone()), idle("page", pages)]
    });
    let error = error.await;
    assert!(matches!(&error, RunError::SameName(name) if name == "page"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_function_releases_the_leases_first() {
    let server = server().await;
    let operator = Operator::new(server.client(), "pages");
    let of = operator.informers();
    let shards = Shards::new(server.client(), "pages", SHARDS);
    let task = tokio::spawn(operator.run_sharded(shards, move |shard| {
        assert!(!shard.is_owned() || shard.index() != 3, "as the test wants it");
        [idle("page", of.typed().shard(shard.informer_shard()).start())]
    }));
    let panic = within("it ends", task).await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"as the test wants it"));
    let holders = holders(&server).await;
    assert!(holders.contains_key(&3) && holders.values().all(String::is_empty), "{holders:?}");
}

#[tokio::test]
async fn shards_and_leader_election_exclude_one_another() {
    let server = Server::start();
    let operator = Operator::new(server.client(), "pages").leader_election("pages");
    let shards = Shards::new(server.client(), "pages", 2);
    let ended = operator.run_sharded(shards, |_| Vec::new()).await;
    assert!(matches!(ended, Err(RunError::LeaderElectionOfShards)), "{ended:?}");
}

#[tokio::test]
async fn a_dry_run_has_one_shard_and_takes_no_lease() {
    let server = server().await;
    let pages: Api<Page> = Api::default_namespaced(server.client());
    pages.create(&PostParams::default(), &page("it", "text")).await.unwrap();
    let (send, mut runs) = mpsc::unbounded_channel();
    let operator = Operator::new(server.client(), "pages").dry_run();
    let of = operator.informers();
    let shards = Shards::new(server.client(), "pages", SHARDS);
    let task = tokio::spawn(operator.run_sharded(shards, move |shard| {
        assert_eq!((shard.index(), shard.count()), (0, 1));
        let pages = of.typed::<Page>().shard(shard.informer_shard()).start();
        [Controller::new("page", pages).reconciler(report, Reporter("dry", send.clone()))]
    }));
    within("the page runs", runs.recv()).await.unwrap();
    let leases: Api<Lease> = Api::all(server.client());
    assert!(leases.list(&ListParams::default()).await.unwrap().items.is_empty());
    task.abort();
}
