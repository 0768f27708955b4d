//! Signals, which are those of a whole process: each test runs itself again in one of its own.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::PostParams;
use kube_controller::{Action, Context, Controller, Operator, Shards};
use kube_informer::{Informers, Shard};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{Page, page, server, within};

/// Set in the other process: what it does.
const CHILD: &str = "KUBE_CONTROLLER_SUITE_CHILD";

/// Never ends.
async fn hang(_: Arc<Page>, cx: Context<Page, mpsc::UnboundedSender<()>>) -> Result<Action, String> {
    cx.state().send(()).map_err(|error| error.to_string())?;
    std::future::pending().await
}

/// Runs an operator that waits an hour for its run to end. If it is to fail, a cache of another controller ends then.
async fn operate(sharded: bool, fails: bool) {
    // To the process that reads it.
    tracing_subscriber::fmt().with_writer(std::io::stdout).with_ansi(false).init();
    let server = server().await;
    let pages: Api<Page> = Api::default_namespaced(server.client());
    pages.create(&PostParams::default(), &page("a", "text")).await.unwrap();
    let (runs, mut seen) = mpsc::unbounded_channel();
    let operator = Operator::new(server.client(), "pages").shutdown_on_signal(Duration::from_secs(3600));
    let (of, broken) = (operator.informers(), CancellationToken::new());
    let other = Informers::with_cancellation(server.client(), broken.clone());
    let controllers = move |shard: Shard| {
        let (pages, others) = (of.typed().shard(shard.clone()).start(), other.typed().shard(shard).start());
        let hangs = Controller::new("hangs", pages).reconciler(hang, runs.clone());
        let breaks = Controller::new("breaks", others).reconciler(hang, runs.clone());
        [hangs, breaks]
    };
    let shards = Shards::new(server.client(), "pages", 1);
    let running = async {
        if sharded {
            operator.run_sharded(shards, |shard| controllers(shard.informer_shard())).await
        } else {
            operator.run(controllers(Shard::by_namespace(0, 1).unwrap())).await
        }
    };
    let after = async {
        // Both controllers run the page.
        seen.recv().await.unwrap();
        seen.recv().await.unwrap();
        if fails {
            broken.cancel();
        } else {
            tracing::info!("it runs");
        }
    };
    let (ended, ()) = tokio::join!(running, after);
    panic!("it ended by itself: {ended:?}");
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once_also_after_a_failure() {
    match std::env::var(CHILD).as_deref() {
        Ok("run") => operate(false, false).await,
        Ok("run, fail") => operate(false, true).await,
        Ok("run sharded") => operate(true, false).await,
        Ok("run sharded, fail") => operate(true, true).await,
        _ => {
            for (what, line) in [
                ("run", "it runs"),
                ("run, fail", "has stopped"),
                ("run sharded", "it runs"),
                ("run sharded, fail", "has stopped"),
            ] {
                let name = "signals::a_second_signal_ends_the_process_at_once_also_after_a_failure";
                let mut child = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", name, "--nocapture"])
                    .env(CHILD, what)
                    .stdout(Stdio::piped())
                    .kill_on_drop(true)
                    .spawn()
                    .unwrap();
                let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
                within(format!("{what}: it says: {line}"), async {
                    while !lines.next_line().await.unwrap().unwrap().contains(line) {}
                })
                .await;
                let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
                // Two of a kind could be taken for one.
                kill_process(pid, Signal::TERM).unwrap();
                kill_process(pid, Signal::INT).unwrap();
                let status = within(format!("{what}: it ends"), child.wait()).await.unwrap();
                assert_eq!(status.code(), Some(1), "{what}");
            }
        }
    }
}
