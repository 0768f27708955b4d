//! Controllers that are spread over replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use kube_controller::{Action, Context, Controller, Ended, Operator, RunError, Shards};
use kube_embedded::Server;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
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
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<Ended, RunError>>,
}

impl Replica {
    async fn start(server: &Server, name: &'static str, runs: &mpsc::UnboundedSender<Ran>) -> Self {
        let (address, stop) = (free().await, CancellationToken::new());
        let operator = Operator::new(server.client(), "pages")
            .serve(address)
            .shutdown_on(stop.clone(), Duration::from_secs(30));
        let of = operator.informers();
        let shards = Shards::new(server.client(), "pages", SHARDS)
            .identity(name)
            .retry_period(Duration::from_millis(100));
        let reporter = Reporter(name, runs.clone());
        let task = tokio::spawn(operator.run_sharded(shards, move |shard| {
            let pages = of.typed::<Page>().shard(shard.informer_shard()).start();
            [Controller::new("page", pages).reconciler(report, reporter.clone())]
        }));
        Self { address, stop, task }
    }

    /// Ends it as a signal would.
    async fn stop(self) -> Ended {
        self.stop.cancel();
        within("the replica ends", self.task).await.unwrap().unwrap()
    }
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
    let (send, mut runs) = mpsc::unbounded_channel();

    let one = Replica::start(&server, "one", &send).await;
    let who = who_runs(&pages, &mut runs, "alone").await;
    assert!(who.values().all(|replica| *replica == "one"), "{who:?}");
    let metrics = get(one.address, "/metrics").await.unwrap();
    for shard in 0..SHARDS {
        let runs =
            format!(r#"controller_runtime_max_concurrent_reconciles{{controller="page-shard-{shard}"}} 1"#);
        assert!(metrics.contains(&runs), "{runs} is not in {metrics}");
    }

    let two = Replica::start(&server, "two", &send).await;
    eventually("the other has its half", || async {
        let shown = get(two.address, "/debug/queue").await?;
        (shown.matches("page-shard-").count() == SHARDS as usize / 2).then_some(())
    })
    .await;
    assert!(get(two.address, "/readyz").await.unwrap().starts_with("HTTP/1.1 200 "));
    let who = who_runs(&pages, &mut runs, "together").await;
    assert_eq!(who.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from(["one", "two"]), "{who:?}");

    assert_eq!(one.stop().await, Ended::Cancelled);
    let who = who_runs(&pages, &mut runs, "rest").await;
    assert!(who.values().all(|replica| *replica == "two"), "{who:?}");
    two.stop().await;
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
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::all(server.client());
    assert!(leases.list(&kube::api::ListParams::default()).await.unwrap().items.is_empty());
    task.abort();
}
