//! `bench relist`: the memory that a client needs to list everything again, after a watch has expired.
//!
//! The lists come from memory and nothing has changed, so everything above the steady memory is the client's own overhead.

use std::pin::pin;

use anyhow::{Context as _, Result, bail, ensure};
use bench::feed;
use blog_api::Blog;
use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _, reflector,
        watcher::{self, watcher},
    },
};
use kube_informer::{Cached, InformerBuilder, Informers};
use serde::{Deserialize, Serialize};
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
}

#[derive(Args)]
pub(crate) struct ClientArguments {
    engine: Engine,
    objects: usize,
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
            command.args(["relist-client", name.get_name()]).arg(objects.to_string());
            results.push(child::result(command).await.with_context(|| engine.title())?);
        }
    }
    print_line(&format!("{objects} Blogs listed again, from memory; median of {runs} runs (least-most)."))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    print_line(&format!("Clients: {}.\n", machine::versions(None)?))?;
    print_line(&render(&rows))
}

/// Runs the process that is measured.
pub(crate) async fn client(arguments: ClientArguments) -> Result<()> {
    let relisted = match arguments.engine {
        Engine::Informer => informer(arguments.objects, |builder| builder).await,
        Engine::InformerCompact => informer(arguments.objects, InformerBuilder::compact).await,
        Engine::Runtime => runtime(arguments.objects, |_| {}).await,
        Engine::RuntimeStripped => runtime(arguments.objects, |blog| blog.managed_fields_mut().clear()).await,
    }?;
    print(&relisted)
}

async fn informer<K: Cached>(
    objects: usize,
    choose: impl FnOnce(InformerBuilder<Blog>) -> InformerBuilder<K>,
) -> Result<Relisted> {
    let feed = feed::relist(objects);
    let before = usage::resident()?;
    let informer = choose(Informers::new(feed.client).typed()).start();
    let synced = informer.synced().await?;
    ensure!(synced.count == objects, "{} objects, not {objects}", synced.count);
    let steady = settled()?;
    ensure!(feed.expire.send(()).is_ok(), "the watch is gone");
    informer.wait_for(None, &feed.version, Instant::now() + child::LIMIT).await?;
    relisted(before, steady, informer.snapshot()?.len(), objects)
}

async fn runtime(objects: usize, strip: impl FnMut(&mut Blog) + Send + 'static) -> Result<Relisted> {
    let feed = feed::relist(objects);
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

async fn drive(
    client: Client,
    writer: reflector::store::Writer<Blog>,
    strip: impl FnMut(&mut Blog) + Send + 'static,
    mut complete: Complete,
) {
    let events = watcher(Api::<Blog>::all(client), watcher::Config::default().streaming_lists());
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
        informer(200, |builder| builder).await.unwrap();
        informer(200, InformerBuilder::compact).await.unwrap();
        runtime(200, |_| {}).await.unwrap();
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
