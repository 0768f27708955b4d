//! One client with its subscribers and readers, in a process that is measured.

use std::{
    borrow::Borrow,
    hint::black_box,
    pin::pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use bench::feed::{self, Churn};
use blog_api::Blog;
use clap::{Args, ValueEnum};
use futures_util::{Stream, StreamExt as _};
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _, reflector,
        watcher::{self, watcher},
    },
};
use kube_informer::{Cached, Compact, Event, InformerBuilder, Informers};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::JoinSet};

use crate::usage::{cpu_seconds, print};

/// How many changes kube-runtime buffers for its slowest subscriber before it waits for that one.
const BUFFER: usize = 1024;

#[derive(Args)]
pub(crate) struct Arguments {
    engine: Engine,
    subscribers: usize,
    readers: usize,
    objects: usize,
    updates: usize,
    #[arg(long)]
    burst: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    Informer,
    InformerCompact,
    Runtime,
}

/// The result of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Churned {
    /// Measured until the last subscriber received the last update.
    pub(crate) events_per_second: f64,
    /// The CPU time of the whole process per event.
    pub(crate) cpu_microseconds: f64,
    /// The time from passing one chunk of updates until the client asks for the next one.
    pub(crate) p50_microseconds: f64,
    pub(crate) p99_microseconds: f64,
    /// Iterations over whole snapshots, of all readers together.
    pub(crate) passes_per_second: f64,
}

impl Engine {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Engine::Informer => "kube-informer, typed",
            Engine::InformerCompact => "kube-informer, compact",
            Engine::Runtime => "kube-runtime, typed",
        }
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    print(&churn(&arguments).await?)
}

async fn churn(arguments: &Arguments) -> Result<Churned> {
    let feed = feed::churn(arguments.objects, arguments.updates, arguments.burst);
    match arguments.engine {
        Engine::Informer => informer(feed, arguments, |builder| builder).await,
        Engine::InformerCompact => informer(feed, arguments, InformerBuilder::compact).await,
        Engine::Runtime => runtime(feed, arguments).await,
    }
}

async fn informer<K: StoredBlog>(
    feed: Churn,
    arguments: &Arguments,
    choose: impl FnOnce(InformerBuilder<Blog>) -> InformerBuilder<K>,
) -> Result<Churned> {
    let informer = choose(Informers::new(feed.client.clone()).typed()).start();
    informer.synced().await?;
    let mut run = Run::new(feed, arguments);
    for _ in 0..arguments.subscribers {
        let mut subscription = informer.subscribe();
        let (caught_up, last, last_name) = (run.caught_up(), run.last(), run.feed.last_name.clone());
        run.subscribers.spawn(async move {
            while let Some(event) = subscription.next().await {
                match event {
                    Event::Synced { .. } => caught_up.send(()).await?,
                    // Compares the name first: if a hundred subscribers decoded every object, nothing else would be measured.
                    Event::Change(change)
                        if change.key().name() == last_name && K::is_at(change.object(), &last) =>
                    {
                        return Ok(());
                    }
                    _ => {}
                }
            }
            bail!("the informer stopped")
        });
    }
    run.measure(|| informer.snapshot().map_or(0, |snapshot| snapshot.iter().map(K::read).sum())).await
}

async fn runtime(feed: Churn, arguments: &Arguments) -> Result<Churned> {
    let (client, objects) = (feed.client.clone(), arguments.objects);
    let mut run = Run::new(feed, arguments);
    let events = watcher(Api::<Blog>::all(client), watcher::Config::default().streaming_lists());
    let store = if arguments.subscribers == 0 {
        let (store, writer) = reflector::store();
        run.writers.spawn(async move {
            let mut stream = pin!(events.default_backoff().reflect(writer));
            while let Some(_event) = stream.next().await {}
        });
        store
    } else if arguments.subscribers == 1 {
        // The stream that fills the store serves as its subscriber.
        let (store, writer) = reflector::store();
        let applied = events.default_backoff().reflect(writer).applied_objects().map(Result::ok);
        let (caught_up, last) = (run.caught_up(), run.last());
        run.subscribers.spawn(subscriber(applied.filter_map(std::future::ready), objects, last, caught_up));
        store
    } else {
        let (store, writer) = reflector::store_shared(BUFFER);
        for _ in 0..arguments.subscribers {
            let handle = writer.subscribe().context("a store that is not shared")?;
            let (caught_up, last) = (run.caught_up(), run.last());
            run.subscribers.spawn(subscriber(handle, objects, last, caught_up));
        }
        run.writers.spawn(async move {
            let mut stream = pin!(events.default_backoff().reflect_shared(writer));
            while let Some(_event) = stream.next().await {}
        });
        store
    };
    // The stream yields the end of the initial objects before the store has them.
    store.wait_until_ready().await?;
    run.measure(|| store.state().iter().map(Blog::read).sum()).await
}

/// Reports when it has received the initial state, and ends after the last update.
async fn subscriber<B: Borrow<Blog>>(
    updates: impl Stream<Item = B>,
    objects: usize,
    last: String,
    caught_up: mpsc::Sender<()>,
) -> Result<()> {
    let mut updates = pin!(updates);
    let mut seen = 0;
    while let Some(blog) = updates.next().await {
        seen += 1;
        if seen == objects {
            caught_up.send(()).await?;
        }
        if blog.borrow().metadata.resource_version.as_deref() == Some(&last) {
            return Ok(());
        }
    }
    bail!("the stream ended")
}

/// An object of either store.
trait StoredBlog: Cached {
    /// Whether this is the object at this version.
    fn is_at(stored: &Self::Stored, version: &str) -> bool;

    /// Reads the object, as each reader does.
    fn read(stored: &Self::Stored) -> usize;
}

impl StoredBlog for Blog {
    fn is_at(stored: &Arc<Blog>, version: &str) -> bool {
        stored.metadata.resource_version.as_deref() == Some(version)
    }

    fn read(stored: &Arc<Blog>) -> usize {
        read(stored.as_ref())
    }
}

impl StoredBlog for Compact<Blog> {
    fn is_at(stored: &Compact<Blog>, version: &str) -> bool {
        stored.decode().is_ok_and(|blog| blog.metadata.resource_version.as_deref() == Some(version))
    }

    fn read(stored: &Compact<Blog>) -> usize {
        stored.decode().map_or(0, read)
    }
}

fn read(blog: impl Borrow<Blog>) -> usize {
    let blog = blog.borrow();
    black_box(blog.spec.url.len() + blog.metadata.name.as_ref().map_or(0, String::len))
}

struct Run {
    feed: Churn,
    readers: usize,
    updates: usize,
    subscribers: JoinSet<Result<()>>,
    writers: JoinSet<()>,
    caught_up: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Run {
    fn new(feed: Churn, arguments: &Arguments) -> Run {
        Run {
            feed,
            readers: arguments.readers,
            updates: arguments.updates,
            subscribers: JoinSet::new(),
            writers: JoinSet::new(),
            caught_up: mpsc::channel(1),
        }
    }

    fn caught_up(&self) -> mpsc::Sender<()> {
        self.caught_up.0.clone()
    }

    fn last(&self) -> String {
        self.feed.last.clone()
    }

    /// Releases the updates once every subscriber has the initial state, and waits until each has received the last one.
    async fn measure(mut self, pass: impl Fn() -> usize + Sync) -> Result<Churned> {
        for _ in 0..self.subscribers.len() {
            self.caught_up.1.recv().await.context("no subscriber")?;
        }
        let ended = AtomicBool::new(false);
        let passes = AtomicU64::new(0);
        let (open, done, mut subscribers) = (self.feed.open, self.feed.done, self.subscribers);
        if subscribers.is_empty() {
            subscribers.spawn(async { done.await.context("the watch ended") });
        }
        // The readers are scoped threads, so this thread blocks while the runtime's other threads do the work.
        let runtime = tokio::runtime::Handle::current();
        let (seconds, cpu) = tokio::task::block_in_place(|| {
            thread::scope(|scope| {
                for _ in 0..self.readers {
                    scope.spawn(|| {
                        while !ended.load(Ordering::Relaxed) {
                            black_box(pass());
                            passes.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                let (start, cpu) = (Instant::now(), cpu_seconds());
                let outcome = runtime.block_on(async {
                    ensure!(open.send(()).is_ok(), "the watch ended");
                    while let Some(subscriber) = subscribers.join_next().await {
                        subscriber??;
                    }
                    anyhow::Ok((start.elapsed().as_secs_f64(), cpu_seconds() - cpu))
                });
                ended.store(true, Ordering::Relaxed);
                outcome
            })
        })?;
        let mut busy = std::mem::take(&mut *self.feed.busy.lock().unwrap_or_else(PoisonError::into_inner));
        busy.sort_unstable();
        let percentile = |percent: usize| -> Result<f64> {
            let at = (busy.len() * percent / 100).min(busy.len().saturating_sub(1));
            Ok(*busy.get(at).context("nothing was measured")? as f64 / 1e3)
        };
        Ok(Churned {
            events_per_second: self.updates as f64 / seconds,
            cpu_microseconds: cpu * 1e6 / self.updates as f64,
            p50_microseconds: percentile(50)?,
            p99_microseconds: percentile(99)?,
            passes_per_second: passes.into_inner() as f64 / seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_subscriber_of_either_engine_gets_the_last_update() {
        for engine in [Engine::Informer, Engine::InformerCompact, Engine::Runtime] {
            for (subscribers, readers) in [(0, 0), (1, 0), (3, 0), (1, 2)] {
                let burst = subscribers == 3;
                let arguments = Arguments { engine, subscribers, readers, objects: 50, updates: 200, burst };
                let result = churn(&arguments).await.unwrap();
                assert!(result.events_per_second > 0.0, "{result:?}");
                assert!(result.p50_microseconds > 0.0, "{result:?}");
                assert!(result.p99_microseconds >= result.p50_microseconds, "{result:?}");
                // On a busy machine, all updates may be applied before a reader gets a turn.
                assert!(readers > 0 || result.passes_per_second == 0.0, "{result:?}");
            }
        }
    }
}
