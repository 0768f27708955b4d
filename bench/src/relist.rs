//! `bench relist`: the memory that a client needs to list everything again, after a watch has expired.
//!
//! The lists come from memory and nothing has changed, so everything above the steady memory is the client's own overhead.

use std::pin::pin;

use anyhow::{Context as _, Result, bail, ensure};
use bench::{feed, kind::Kind};
use blog_api::Blog;
use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _, reflector,
        watcher::{self, watcher},
    },
};
use kube_informer::{Cached, InformerBuilder, Informers};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    Extent, child, machine,
    table::{self, Spread},
    usage::{self, print, print_line, progress},
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    extent: Extent,
    /// The type of the objects
    #[arg(long = "type", default_value = "blogs")]
    kind: Kind,
}

#[derive(Args)]
pub(crate) struct ClientArguments {
    engine: Engine,
    objects: usize,
    #[arg(long = "type", default_value = "blogs")]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    Informer,
    InformerCompact,
    Runtime,
    RuntimeStripped,
}

/// Memory in bytes, without that from before the client was created.
#[derive(Debug, Serialize, Deserialize)]
struct Relisted {
    /// The resident memory with the first list.
    steady: u64,
    /// The maximum resident memory until the second list was complete.
    peak: u64,
}

impl Engine {
    fn title(self) -> &'static str {
        match self {
            Engine::Informer => "kube-informer, typed",
            Engine::InformerCompact => "kube-informer, compact",
            Engine::Runtime => "kube-runtime, typed",
            Engine::RuntimeStripped => "kube-runtime, typed, managedFields cleared",
        }
    }
}

/// Prints the table.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let Extent { objects, runs } = arguments.extent;
    let mut rows: Vec<(Engine, Vec<Relisted>)> =
        Engine::value_variants().iter().map(|engine| (*engine, Vec::new())).collect();
    for run in 1..=runs {
        for (engine, results) in &mut rows {
            progress(&format!("run {run} of {runs}: {}", engine.title()))?;
            let name = engine.to_possible_value().context("an engine without a name")?;
            let mut command = child::myself()?;
            let kind = arguments.kind.to_possible_value().context("a type without a name")?;
            command.args(["relist-client", name.get_name()]).arg(objects.to_string());
            command.args(["--type", kind.get_name()]);
            results.push(child::result(command).await.with_context(|| engine.title())?);
        }
    }
    print_line(&format!(
        "{objects} {} listed again, from memory; median of {runs} runs (least-most).",
        arguments.kind.plural()
    ))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    print_line(&format!("Clients: {}.\n", machine::versions(&machine::CACHES, None)?))?;
    print_line(&render(&rows))
}

/// Runs the process that is measured.
pub(crate) async fn client(arguments: ClientArguments) -> Result<()> {
    let ClientArguments { engine, objects, kind } = arguments;
    print(&match kind {
        Kind::Blogs => relist::<Blog>(engine, kind, objects).await,
        Kind::Pods => relist::<Pod>(engine, kind, objects).await,
    }?)
}

/// An object of either type.
trait Listed:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static
{
}

impl Listed for Blog {}
impl Listed for Pod {}

async fn relist<O: Listed>(engine: Engine, kind: Kind, objects: usize) -> Result<Relisted> {
    let feed = feed::relist(kind, objects);
    match engine {
        Engine::Informer => informer::<O, O>(feed, objects, |builder| builder).await,
        Engine::InformerCompact => informer::<O, _>(feed, objects, InformerBuilder::compact).await,
        Engine::Runtime => runtime::<O>(feed, objects, |_| {}).await,
        Engine::RuntimeStripped => {
            runtime::<O>(feed, objects, |object| object.managed_fields_mut().clear()).await
        }
    }
}

async fn informer<O: Listed, K: Cached>(
    feed: feed::Relist,
    objects: usize,
    choose: impl FnOnce(InformerBuilder<O>) -> InformerBuilder<K>,
) -> Result<Relisted> {
    let before = usage::resident()?;
    let informer = choose(Informers::new(feed.client).typed()).start();
    let synced = informer.synced().await?;
    ensure!(synced.count == objects, "{} objects, not {objects}", synced.count);
    let steady = settled()?;
    ensure!(feed.expire.send(()).is_ok(), "the watch is gone");
    informer.wait_for(None, &feed.version, Instant::now() + child::LIMIT).await?;
    relisted(before, steady, informer.snapshot()?.len(), objects)
}

async fn runtime<O: Listed>(
    feed: feed::Relist,
    objects: usize,
    strip: impl FnMut(&mut O) + Send + 'static,
) -> Result<Relisted> {
    let before = usage::resident()?;
    let (store, writer) = reflector::store();
    let mut complete = Complete::default();
    let (first, second) = (complete.next(), complete.next());
    let driver = tokio::spawn(drive(feed.client, writer, strip, complete));
    first.await.context("the watch ended")?;
    let steady = settled()?;
    ensure!(feed.expire.send(()).is_ok(), "the watch is gone");
    second.await.context("the watch ended")?;
    let relisted = relisted(before, steady, store.len(), objects);
    driver.abort();
    relisted
}

/// The receivers that are notified of the first and the second complete list.
#[derive(Default)]
struct Complete(Vec<oneshot::Sender<()>>);

impl Complete {
    fn next(&mut self) -> oneshot::Receiver<()> {
        let (send, receive) = oneshot::channel();
        self.0.insert(0, send);
        receive
    }
}

async fn drive<O: Listed>(
    client: Client,
    writer: reflector::store::Writer<O>,
    strip: impl FnMut(&mut O) + Send + 'static,
    mut complete: Complete,
) {
    let events = watcher(Api::<O>::all(client), watcher::Config::default().streaming_lists());
    let mut events = pin!(events.modify(strip).default_backoff().reflect(writer));
    while let Some(event) = events.next().await {
        if matches!(event, Ok(watcher::Event::InitDone))
            && let Some(waiting) = complete.0.pop()
        {
            // The receiver is dropped only when the process ends.
            let _ = waiting.send(());
        }
    }
}

/// Returns the steady memory, and resets the peak.
fn settled() -> Result<u64> {
    usage::reset_peak()?;
    usage::resident()
}

fn relisted(before: u64, steady: u64, held: usize, objects: usize) -> Result<Relisted> {
    if held != objects {
        bail!("{held} objects after the second list, not {objects}");
    }
    let peak = usage::peak()?;
    Ok(Relisted { steady: steady.saturating_sub(before), peak: peak.saturating_sub(before) })
}

fn render(rows: &[(Engine, Vec<Relisted>)]) -> String {
    let cells = rows.iter().filter_map(|(engine, results)| {
        let spread = |figure: fn(&Relisted) -> f64| Spread::of(results.iter().map(figure));
        Some(vec![
            engine.title().to_owned(),
            spread(|result| result.steady as f64)?.show(1e6, 0),
            spread(|result| result.peak as f64)?.show(1e6, 0),
            spread(|result| result.peak as f64 / result.steady as f64)?.show(1.0, 2),
        ])
    });
    table::render(&["client", "steady MB", "peak MB", "peak / steady"], &cells.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn both_engines_list_again() {
        // The memory is not looked at: the other tests of this process share it.
        for engine in Engine::value_variants() {
            relist::<Blog>(*engine, Kind::Blogs, 200).await.unwrap();
            relist::<Pod>(*engine, Kind::Pods, 50).await.unwrap();
        }
    }

    #[test]
    fn the_ratio_is_of_each_run() {
        let results = vec![Relisted { steady: 2_000_000, peak: 4_000_000 }];
        let table = render(&[(Engine::Runtime, results)]);
        assert!(
            table.ends_with("| kube-runtime, typed |         2 |       4 |          2.00 |\n"),
            "{table}"
        );
    }
}
