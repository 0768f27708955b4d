//! An operator, seen from outside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube_controller::inspect::{Key, Queues};
use kube_controller::{Action, Context, Controller, Operator, RunError};
use kube_embedded::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::support::{Page, Running, eventually, install, page, server, within};

/// A port that nobody listens at.
pub(crate) async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Sends the first lines of a request, and returns the whole answer.
async fn ask(address: SocketAddr, head: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<String> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: localhost")).await
}

async fn fail(_: Arc<Page>, _: Context<Page, ()>) -> Result<Action, String> {
    Err("the disk is full".to_owned())
}

fn failing(operator: &Operator) -> Vec<Controller> {
    vec![Controller::new("page", operator.informers().typed::<Page>().start()).reconciler(fail, ())]
}

/// Controller-runtime #2589: health was green while a CRD was missing.
#[tokio::test]
async fn a_missing_type_is_named_and_heals() {
    let server = Server::start();
    let address = free().await;
    let running = Running::start(Operator::new(server.client(), "pages").serve(address), failing);
    let not_ready = eventually("it says why it is not ready", || async {
        get(address, "/readyz")
            .await
            .filter(|answer| answer.starts_with("HTTP/1.1 503 ") && answer.contains("404"))
    });
    assert!(not_ready.await.contains("page: Page: "), "the controller and the kind are named");
    assert!(get(address, "/healthz").await.unwrap().starts_with("HTTP/1.1 200 "));
    install(&server.client()).await;
    eventually("it heals", || async {
        get(address, "/readyz").await.filter(|it| it.starts_with("HTTP/1.1 200 "))
    })
    .await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_queue_says_what_failed_and_why_to_the_machine_itself() {
    let server = server().await;
    let address = free().await;
    let running = Running::start(Operator::new(server.client(), "pages").serve(address), failing);
    let pages: Api<Page> = Api::default_namespaced(server.client());
    pages.create(&PostParams::default(), &page("a", "hello")).await.unwrap();
    let queues = eventually("the key has failed", || async {
        let answer = get(address, "/debug/queue").await?;
        let queues: Queues = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        queues.controllers.first()?.keys.first().is_some_and(|key| key.failures > 1).then_some(queues)
    });
    let queues = queues.await;
    let key = &queues.controllers[0].keys[0];
    assert_eq!((queues.operator.as_str(), queues.leads), ("pages", true));
    assert_eq!((key.key.as_str(), key.error.as_deref()), ("default/a", Some("the disk is full")));

    // A web page can make a browser send requests to this machine, by a name of its own.
    for (host, code) in [("evil.example", 403), ("127.0.0.1:80", 200), ("[::1]", 200), ("LOCALHOST:1", 200)] {
        let answer = ask(address, &format!("GET /debug/queue HTTP/1.1\r\nhost: {host}")).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{host}: {answer}");
    }
    let failed = get(address, "/metrics").await.unwrap();
    assert!(failed.contains("application/openmetrics-text"), "{failed}");
    assert!(
        failed.lines().any(|line| {
            line.starts_with(r#"controller_runtime_reconcile_errors_total{controller="page"} "#)
                && !line.ends_with(" 0")
        }),
        "{failed}"
    );
    // The retries are counted, not only the change that came first.
    let adds = failed.lines().find(|line| line.starts_with("workqueue_adds_total{")).unwrap();
    let adds: u32 = adds.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(adds >= key.failures, "{failed}");
    for name in [
        r#"kube_controller_own_write_waits_total{controller="page"} "#,
        r#"kube_controller_own_write_timeouts_total{controller="page"} "#,
        r#"kube_controller_hot_loops_total{controller="page"} "#,
        r#"reflector_lists_total{group="example.com","#,
    ] {
        assert!(failed.lines().any(|line| line.starts_with(name)), "{name}: {failed}");
    }
    running.stop().await.unwrap();
}

/// Fails once it is let.
async fn wait(_: Arc<Page>, cx: Context<Page, Arc<Semaphore>>) -> Result<Action, String> {
    cx.state().acquire().await.map_err(|error| error.to_string())?.forget();
    Err("its object is gone".to_owned())
}

#[tokio::test]
async fn a_run_under_way_says_why_and_its_error_is_not_that_of_the_next_object() {
    let server = server().await;
    let (address, let_go) = (free().await, Arc::new(Semaphore::new(0)));
    let state = Arc::clone(&let_go);
    let running = Running::start(Operator::new(server.client(), "pages").serve(address), |operator| {
        let pages = operator.informers().typed::<Page>().start();
        vec![Controller::new("page", pages).concurrency(1).reconciler(wait, state)]
    });
    let pages: Api<Page> = Api::default_namespaced(server.client());
    let find = |name: &'static str, state: &'static str| async move {
        let answer = get(address, "/debug/queue").await?;
        let queues: Queues = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        let mut keys = queues.controllers.into_iter().next()?.keys.into_iter();
        keys.find(|key: &Key| key.key == name && key.state == state)
    };
    pages.create(&PostParams::default(), &page("a", "hello")).await.unwrap();
    let first = eventually("it runs", || find("default/a", "running")).await;
    assert!(matches!(&*first.reasons, [why] if why == "listed" || why.contains("created")), "{first:?}");

    // Once the second is ready, the controller has seen that the first is gone.
    pages.delete("a", &DeleteParams::default()).await.unwrap();
    pages.create(&PostParams::default(), &page("b", "hello")).await.unwrap();
    eventually("the second is ready", || find("default/b", "ready")).await;
    let_go.add_permits(1);
    eventually("the first has failed", || find("default/b", "running")).await;
    pages.create(&PostParams::default(), &page("a", "again")).await.unwrap();
    let again = eventually("it is ready", || find("default/a", "ready")).await;
    assert_eq!((again.failures, again.error), (0, None));
    let_go.close();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn requests_that_are_none_are_refused_and_slow_clients_hold_up_nobody() {
    let server = server().await;
    let address = free().await;
    let running = Running::start(Operator::new(server.client(), "pages").serve(address), failing);
    eventually("it answers", || get(address, "/livez")).await;
    for (head, start) in [
        ("HEAD /healthz HTTP/1.1\r\nhost: x", "HTTP/1.1 200 "),
        ("POST /healthz HTTP/1.1\r\nhost: x", "HTTP/1.1 405 "),
        ("GET / HTTP/1.1\r\nhost: x", "HTTP/1.1 404 "),
        ("nonsense", "HTTP/1.1 400 "),
    ] {
        let answer = ask(address, head).await.unwrap();
        assert!(answer.starts_with(start), "{head}: {answer}");
    }
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let answered = within("an answer beside silent clients", get(address, "/healthz")).await.unwrap();
    assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let server = server().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let operator = Operator::new(server.client(), "pages").serve(address);
    let controllers = failing(&operator);
    let error = operator.run(controllers).await.unwrap_err();
    assert!(
        matches!(error, RunError::Listen { .. }) && error.to_string().contains(&address.to_string()),
        "{error}"
    );
}

/// Rule 25, and controller-runtime #196.
#[tokio::test]
async fn a_standby_is_ready_serves_metrics_and_runs_nothing() {
    let server = server().await;
    let pages: Api<Page> = Api::default_namespaced(server.client());
    pages.create(&PostParams::default(), &page("a", "hello")).await.unwrap();
    let leader = Running::start(Operator::new(server.client(), "pages").leader_election("pages"), failing);
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::default_namespaced(server.client());
    eventually("there is a leader", || async {
        leases.get_opt("pages").await.unwrap()?.spec?.holder_identity
    })
    .await;
    let address = free().await;
    let standby = Running::start(
        Operator::new(server.client(), "pages").leader_election("pages").serve(address),
        failing,
    );
    eventually("it is ready", || async {
        get(address, "/readyz").await.filter(|it| it.starts_with("HTTP/1.1 200 "))
    })
    .await;
    let metrics = get(address, "/metrics").await.unwrap();
    assert!(metrics.contains(r#"leader_election_master_status{name="pages"} 0"#), "{metrics}");
    assert!(
        metrics.contains(r#"controller_runtime_reconcile_errors_total{controller="page"} 0"#),
        "{metrics}"
    );
    // After a release, the other leads at once.
    let asked = tokio::time::Instant::now();
    leader.stop().await.unwrap();
    eventually("the standby leads", || async {
        let metrics = get(address, "/metrics").await?;
        metrics.contains(r#"leader_election_master_status{name="pages"} 1"#).then_some(())
    })
    .await;
    assert!(asked.elapsed() < Duration::from_secs(30));
    standby.begin_to_stop();
    standby.stop().await.unwrap();
}
