//! One library's controller, in a process that is measured.
//!
//! It prints a line when each object has been reconciled once, and another one when its stdin is closed and nothing has run for
//! a second. `bench/peers/controller` does the same with controller-runtime.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail, ensure};
use blog_api::Blog;
use clap::Args;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use kube::{
    Api, Client,
    runtime::{
        controller::{self, Controller as RuntimeController},
        watcher::{self, watcher},
    },
};
use kube_controller::{Action, Context, Controller, Election, Operator};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt as _, sync::Notify, time::sleep};

use super::Library;
use crate::{
    cluster,
    fill::NAMESPACE,
    sync::client::{informer, reflect, typed},
    usage::{Sample, Start, cpu_seconds, print},
};

/// The time without a run after which a controller counts as idle.
const IDLE: Duration = Duration::from_secs(1);
/// How long runs may take to end after a signal.
const GRACE: Duration = Duration::from_secs(30);
/// The time until the next run that a waiting object asks for. No benchmark lasts as long.
const REQUEUE: Duration = Duration::from_secs(3600);

#[derive(Args)]
pub(crate) struct Arguments {
    pub(super) library: Library,
    pub(super) kubeconfig: PathBuf,
    /// The number of different objects whose runs complete the start
    #[arg(long)]
    pub(super) objects: usize,
    #[arg(long, default_value_t = 4)]
    pub(super) concurrency: u16,
    /// How long each run sleeps, in milliseconds
    #[arg(long, default_value_t = 0)]
    pub(super) work: u64,
    /// Each run asks for another one in an hour
    #[arg(long)]
    pub(super) requeue: bool,
    /// Only fill the cache
    #[arg(long)]
    pub(super) cache_only: bool,
    /// Take part in leader election, and print a line as soon as the cache is warm
    #[arg(long)]
    pub(super) lease: bool,
}

/// The line when each object has been reconciled once.
#[derive(Serialize, Deserialize)]
pub(crate) struct Started {
    #[serde(flatten)]
    pub(crate) sample: Sample,
    /// When the first run began, in nanoseconds of the epoch. Zero if there was none.
    pub(crate) first_run_at: u64,
}

/// The line at the end.
#[derive(Serialize, Deserialize)]
pub(crate) struct Finished {
    /// The CPU time since the other line.
    pub(crate) cpu_seconds: f64,
    pub(crate) runs: Vec<Run>,
}

/// A run of the reconciler: the object's number, the number of the last write that it saw, and when it began, in nanoseconds of
/// the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run(pub(crate) u32, pub(crate) u32, pub(crate) u64);

/// What the reconcilers share.
struct Recorder {
    record: Mutex<Record>,
    all_ran: Notify,
    work: Duration,
    requeue: bool,
}

struct Record {
    runs: Vec<Run>,
    /// Which of the objects have run.
    ran: Vec<bool>,
    /// The number of those that have not.
    missing: usize,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let start = Start::now()?;
    let client = cluster::client(&arguments.kubeconfig).await?;
    if arguments.cache_only {
        return cache_only(arguments.library, start, client).await;
    }
    let recorder = Arc::new(Recorder::new(&arguments));
    let driver = match arguments.library {
        Library::Controller => ours(client, &arguments, Arc::clone(&recorder)),
        Library::Runtime => runtime(client, &arguments, Arc::clone(&recorder)),
        Library::Go => bail!("bench/peers/controller is the program for that"),
    };
    let mut driver = tokio::spawn(driver);
    tokio::select! {
        () = recorder.all_ran.notified() => {}
        // A signal ends it.
        ended = &mut driver => return ended?,
    }
    let first_run_at = recorder.record().runs.first().map_or(0, |run| run.2);
    let sample = start.synced(|| Ok(arguments.objects)).await?;
    print(&Started { sample, first_run_at })?;

    let cpu = cpu_seconds();
    let mut stdin = tokio::io::stdin();
    let mut rest = Vec::new();
    tokio::select! {
        read = stdin.read_to_end(&mut rest) => { read?; }
        // The thread that reads stdin would keep the process alive.
        ended = driver => { ended??; std::process::exit(0) }
    }
    let mut before = usize::MAX;
    while before != recorder.record().runs.len() {
        before = recorder.record().runs.len();
        sleep(IDLE).await;
    }
    let runs = std::mem::take(&mut recorder.record().runs);
    print(&Finished { cpu_seconds: cpu_seconds() - cpu, runs })
}

impl Recorder {
    fn new(arguments: &Arguments) -> Recorder {
        let objects = arguments.objects;
        let record =
            Record { runs: Vec::with_capacity(objects), ran: vec![false; objects], missing: objects };
        Recorder {
            record: Mutex::new(record),
            all_ran: Notify::new(),
            work: Duration::from_millis(arguments.work),
            requeue: arguments.requeue,
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is what each reconciler does.
    async fn reconcile(&self, blog: &Blog) {
        self.add(blog);
        if !self.work.is_zero() {
            sleep(self.work).await;
        }
    }

    fn add(&self, blog: &Blog) {
        let (number, sequence) = numbers(&blog.spec.url).unwrap_or_default();
        let mut record = self.record();
        record.runs.push(Run(number, sequence, now()));
        if let Some(ran) = record.ran.get_mut(number as usize)
            && !std::mem::replace(ran, true)
        {
            record.missing -= 1;
            if record.missing == 0 {
                self.all_ran.notify_one();
            }
        }
    }
}

/// The nanoseconds since the epoch: a clock that all processes of a machine share.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Reads the object's number and that of the last write from an address like `https://000042.example.com/7`.
fn numbers(url: &str) -> Option<(u32, u32)> {
    let (host, path) = url.strip_prefix("https://")?.split_once(".example.com")?;
    let sequence = path.strip_prefix('/').map_or(Some(0), |sequence| sequence.parse().ok())?;
    Some((host.parse().ok()?, sequence))
}

fn ours(client: Client, arguments: &Arguments, recorder: Arc<Recorder>) -> BoxFuture<'static, Result<()>> {
    let operator = Operator::new(client, "bench").shutdown_on_signal(GRACE);
    let operator = if arguments.lease {
        operator.leader_election_with(Election::new("bench-kube-controller").namespace(NAMESPACE))
    } else {
        operator
    };
    let blogs = operator.informers().typed::<Blog>().namespace(NAMESPACE).start();
    let controller = Controller::new("blog", blogs.clone())
        .concurrency(arguments.concurrency.into())
        .reconciler(reconcile, recorder);
    let lease = arguments.lease;
    async move {
        let warm = async {
            blogs.synced().await?;
            if lease { print(&"warm") } else { Ok(()) }
        };
        let (ended, warm) = tokio::join!(operator.run([controller]), warm);
        warm?;
        ended?;
        Ok(())
    }
    .boxed()
}

async fn reconcile(blog: Arc<Blog>, cx: Context<Blog, Arc<Recorder>>) -> Result<Action, Infallible> {
    cx.state().reconcile(&blog).await;
    Ok(if cx.state().requeue { Action::requeue(REQUEUE) } else { Action::await_change() })
}

fn runtime(client: Client, arguments: &Arguments, recorder: Arc<Recorder>) -> BoxFuture<'static, Result<()>> {
    let config = controller::Config::default().concurrency(arguments.concurrency);
    let lease = arguments.lease;
    async move {
        ensure!(!lease, "kube-runtime has no leader election");
        RuntimeController::new(Api::<Blog>::namespaced(client, NAMESPACE), watch_list())
            .with_config(config)
            .run(runtime_reconcile, |_, error: &Infallible, _| match *error {}, recorder)
            .for_each(|_| std::future::ready(()))
            .await;
        bail!("kube-runtime's controller has ended")
    }
    .boxed()
}

async fn runtime_reconcile(
    blog: Arc<Blog>,
    recorder: Arc<Recorder>,
) -> Result<controller::Action, Infallible> {
    recorder.reconcile(&blog).await;
    Ok(if recorder.requeue {
        controller::Action::requeue(REQUEUE)
    } else {
        controller::Action::await_change()
    })
}

/// Asks for a watch-list, as kube-informer and client-go do.
fn watch_list() -> watcher::Config {
    watcher::Config::default().streaming_lists()
}

/// Fills the cache as `bench sync` does.
async fn cache_only(library: Library, start: Start, client: Client) -> Result<()> {
    let sample = match library {
        Library::Controller => informer(start, typed::<Blog>(client)).await?,
        Library::Runtime => {
            let events = watcher(Api::<Blog>::namespaced(client, NAMESPACE), watch_list());
            reflect(start, events, &()).await?
        }
        Library::Go => bail!("bench/peers/controller is the program for that"),
    };
    print(&Started { sample, first_run_at: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_the_object_and_its_last_write() {
        assert_eq!(numbers("https://000042.example.com"), Some((42, 0)));
        assert_eq!(numbers("https://000042.example.com/7"), Some((42, 7)));
        assert_eq!(numbers("https://example.com/7"), None);
    }
}
