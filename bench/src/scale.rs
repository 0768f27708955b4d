//! `bench scale`: what single operations cost as a cache grows. Nothing may grow faster than the logarithm of its size.
//!
//! The objects come from memory. Reads are of objects that are far apart, so that the processor's caches do not hold them.

use std::{hint::black_box, pin::pin, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bench::{blogs, feed};
use blog_api::Blog;
use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef},
        watcher::{self, watcher},
    },
};
use kube_informer::{Compact, Index, Informers, Snapshot};
use serde::{Deserialize, Serialize};

use crate::{
    child, machine,
    table::{self, Spread},
    usage::{self, print, print_line, progress},
};

/// The number of updates that are applied.
const UPDATES: usize = 20_000;
/// The number of reads of each kind.
const READS: usize = 20_000;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The numbers of cached Blogs
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    objects: Vec<usize>,
    /// The number of runs of each client, which take turns; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

#[derive(Args)]
pub(crate) struct ClientArguments {
    engine: Engine,
    objects: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    Typed,
    Compact,
    Runtime,
}

impl Engine {
    fn title(self) -> &'static str {
        match self {
            Self::Typed => "kube-informer, typed",
            Self::Compact => "kube-informer, compact",
            Self::Runtime => "kube-runtime, typed",
        }
    }
}

/// Times are in nanoseconds for one operation.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Costs {
    bytes_per_object: f64,
    event: f64,
    snapshot: Option<f64>,
    get: f64,
    index: Option<f64>,
    iterate: f64,
    read: f64,
    /// In milliseconds, of the last handle.
    drop: f64,
}

/// Prints the table.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { objects, runs } = arguments;
    let kinds =
        Engine::value_variants().iter().flat_map(|engine| objects.iter().map(|size| (*engine, *size)));
    let mut rows: Vec<((Engine, usize), Vec<Costs>)> = kinds.map(|kind| (kind, Vec::new())).collect();
    for run in 1..=runs {
        for ((engine, size), results) in &mut rows {
            progress(&format!("run {run} of {runs}: {}, {size} objects", engine.title()))?;
            let name = engine.to_possible_value().context("an engine without a name")?;
            let mut command = child::myself()?;
            command.args(["scale-client", name.get_name()]).arg(size.to_string());
            results.push(child::result(command).await.with_context(|| engine.title())?);
        }
    }
    print_line(&format!("Medians of {runs} runs (least-most). Times in ns for one operation."))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    print_line(&format!("Clients: {}.\n", machine::versions(&machine::CACHES, None)?))?;
    print_line(&render(&rows))
}

fn render(rows: &[((Engine, usize), Vec<Costs>)]) -> String {
    let cells = rows.iter().map(|((engine, size), results)| {
        let show = |figure: fn(&Costs) -> Option<f64>| {
            let spread = Spread::of(results.iter().filter_map(figure));
            spread.map_or_else(|| "-".to_owned(), |spread| spread.show(1.0, 0))
        };
        vec![
            engine.title().to_owned(),
            size.to_string(),
            show(|costs| Some(costs.bytes_per_object)),
            show(|costs| Some(costs.event)),
            show(|costs| costs.snapshot),
            show(|costs| Some(costs.get)),
            show(|costs| costs.index),
            show(|costs| Some(costs.iterate)),
            show(|costs| Some(costs.read)),
            show(|costs| Some(costs.drop)),
        ]
    });
    let head = [
        "client",
        "objects",
        "B/object",
        "event",
        "snapshot",
        "get",
        "index hit",
        "iterate",
        "read",
        "drop ms",
    ];
    table::render(&head, &cells.collect::<Vec<_>>())
}

/// Runs the process that is measured.
pub(crate) async fn client(arguments: ClientArguments) -> Result<()> {
    let costs = match arguments.engine {
        Engine::Typed => typed(arguments.objects).await,
        Engine::Compact => compact(arguments.objects).await,
        Engine::Runtime => runtime(arguments.objects).await,
    }?;
    print(&costs)
}

async fn typed(objects: usize) -> Result<Costs> {
    let feed = feed::churn(objects, UPDATES, true);
    let before = usage::resident()?;
    let informer = Informers::new(feed.client.clone()).typed::<Blog>().start();
    ensure!(informer.synced().await?.count == objects, "objects are missing");
    let mut costs = Costs { bytes_per_object: bytes_per_object(before, objects)?, ..Costs::default() };
    costs.event = events(feed, objects).await?;
    let by_url: Index<Blog, String> = informer.index(|blog: &Arc<Blog>| [blog.spec.url.clone()]);
    let snapshot = informer.snapshot()?;
    costs.snapshot = Some(each(READS, |_| drop(black_box(informer.snapshot()))));
    costs.get = get(&snapshot, objects);
    let urls: Vec<String> =
        apart(objects).filter_map(|name| Some(snapshot.get("default", &name)?.spec.url.clone())).collect();
    ensure!(urls.len() == READS, "objects are missing");
    costs.index = Some(each(READS, |at| {
        black_box(snapshot.by_index(&by_url, urls[at].as_str()).next());
    }));
    costs.iterate = iterate(objects, || snapshot.iter().filter(|blog| !blog.spec.url.is_empty()).count())?;
    let names: Vec<String> = apart(objects).collect();
    costs.read = each(READS, |at| {
        black_box(snapshot.get("default", &names[at]).map(|blog| blog.spec.url.len()));
    });
    drop((snapshot, by_url));
    costs.drop = milliseconds(|| drop(informer));
    Ok(costs)
}

async fn compact(objects: usize) -> Result<Costs> {
    let feed = feed::churn(objects, UPDATES, true);
    let before = usage::resident()?;
    let informer = Informers::new(feed.client.clone()).typed::<Blog>().compact().start();
    ensure!(informer.synced().await?.count == objects, "objects are missing");
    let mut costs = Costs { bytes_per_object: bytes_per_object(before, objects)?, ..Costs::default() };
    costs.event = events(feed, objects).await?;
    let snapshot = informer.snapshot()?;
    costs.snapshot = Some(each(READS, |_| drop(black_box(informer.snapshot()))));
    let names: Vec<String> = apart(objects).collect();
    costs.get = each(READS, |at| {
        black_box(snapshot.get("default", &names[at]));
    });
    costs.iterate = iterate(objects, || snapshot.iter().count())?;
    costs.read = each(READS, |at| {
        black_box(snapshot.get("default", &names[at]).map(Compact::decode));
    });
    drop(snapshot);
    costs.drop = milliseconds(|| drop(informer));
    Ok(costs)
}

async fn runtime(objects: usize) -> Result<Costs> {
    let feed = feed::churn(objects, UPDATES, true);
    let before = usage::resident()?;
    let (store, writer) = reflector::store();
    let events_of =
        watcher(Api::<Blog>::all(feed.client.clone()), watcher::Config::default().streaming_lists());
    let driver = tokio::spawn(async {
        let mut events = pin!(events_of.default_backoff().reflect(writer));
        while let Some(_event) = events.next().await {}
    });
    store.wait_until_ready().await?;
    ensure!(store.len() == objects, "objects are missing");
    let mut costs = Costs { bytes_per_object: bytes_per_object(before, objects)?, ..Costs::default() };
    costs.event = events(feed, objects).await?;
    let keys: Vec<ObjectRef<Blog>> =
        apart(objects).map(|name| ObjectRef::new(&name).within("default")).collect();
    costs.get = each(READS, |at| {
        black_box(store.get(&keys[at]));
    });
    costs.iterate =
        iterate(objects, || store.state().iter().filter(|blog| !blog.spec.url.is_empty()).count())?;
    costs.read = each(READS, |at| {
        black_box(store.get(&keys[at]).map(|blog| blog.spec.url.len()));
    });
    driver.abort();
    let ended = driver.await.is_err_and(|error| error.is_cancelled());
    ensure!(ended, "the watch ended by itself");
    costs.drop = milliseconds(|| drop(store));
    Ok(costs)
}

/// Waits until the updates are applied, and returns the time of each.
async fn events(feed: feed::Churn, objects: usize) -> Result<f64> {
    ensure!(objects > 0, "there is nothing to update");
    let start = Instant::now();
    ensure!(feed.open.send(()).is_ok(), "the watch is gone");
    feed.done.await.context("the watch ended")?;
    Ok(start.elapsed().as_nanos() as f64 / UPDATES as f64)
}

fn get(snapshot: &Snapshot<Blog>, objects: usize) -> f64 {
    let names: Vec<String> = apart(objects).collect();
    each(READS, |at| {
        black_box(snapshot.get("default", &names[at]));
    })
}

/// Names of objects that are far apart.
fn apart(objects: usize) -> impl Iterator<Item = String> {
    (0..READS).map(move |at| blogs::name(at * 7919 % objects))
}

fn each(count: usize, mut work: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    (0..count).for_each(&mut work);
    start.elapsed().as_nanos() as f64 / count as f64
}

fn iterate(objects: usize, count: impl Fn() -> usize) -> Result<f64> {
    let start = Instant::now();
    ensure!(black_box(count()) == objects, "objects are missing");
    Ok(start.elapsed().as_nanos() as f64 / objects as f64)
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

fn bytes_per_object(before: u64, objects: usize) -> Result<f64> {
    Ok(usage::resident()?.saturating_sub(before) as f64 / objects as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn each_client_reads_what_it_cached() {
        for costs in [typed(50).await, compact(50).await, runtime(50).await] {
            let costs = costs.unwrap();
            assert!(costs.event > 0.0 && costs.get > 0.0 && costs.iterate > 0.0, "{costs:?}");
        }
    }
}
