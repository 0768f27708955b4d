//! `bench warm`: a start from a copy on disk beside one that lists, both from memory, with typed and compact objects.
//!
//! The copy is written by the same program just before, so it is in the page cache: what is measured is the work of the
//! program, not the speed of the disk.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use bench::feed;
use blog_api::Blog;
use clap::{Args, ValueEnum};
use kube_informer::{InformerBuilder, Informers, Persist, Persistable};
use serde::{Deserialize, Serialize};

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
    start: Start,
    objects: usize,
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    Typed,
    Compact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Start {
    /// A list, after which the cache is written.
    Cold,
    /// From what a cold start wrote.
    Warm,
}

/// The cost until the cache can be read, and the cost of writing it. Memory is in bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    wall_seconds: f64,
    cpu_seconds: f64,
    /// The most memory until then, without that from before the client was created.
    peak: u64,
    /// The time that writing the copy took.
    save_seconds: Option<f64>,
}

impl Engine {
    fn title(self, start: Start) -> String {
        let objects = match self {
            Self::Typed => "typed",
            Self::Compact => "compact",
        };
        match start {
            Start::Cold => format!("{objects}, listed"),
            Start::Warm => format!("{objects}, from disk"),
        }
    }
}

/// Prints the table.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let Extent { objects, runs } = arguments.extent;
    let kinds = Engine::value_variants().iter();
    let kinds = kinds.flat_map(|engine| [Start::Cold, Start::Warm].map(|start| (*engine, start)));
    let mut rows: Vec<((Engine, Start), Vec<Started>)> = kinds.map(|kind| (kind, Vec::new())).collect();
    let mut size = 0_u64;
    for run in 1..=runs {
        let folder = tempfile::tempdir()?;
        for ((engine, start), results) in &mut rows {
            progress(&format!("run {run} of {runs}: {}", engine.title(*start)))?;
            let mut command = child::myself()?;
            command.arg("warm-client");
            for name in [engine.to_possible_value(), start.to_possible_value()] {
                command.arg(name.context("a value without a name")?.get_name());
            }
            command.arg(objects.to_string()).arg(folder.path());
            results.push(child::result(command).await.with_context(|| engine.title(*start))?);
        }
        for file in std::fs::read_dir(folder.path())? {
            size = size.max(file?.metadata()?.len());
        }
    }
    let each = size as f64 / objects.get() as f64;
    print_line(&format!(
        "{objects} Blogs, from memory; {each:.0} B each in the larger file; median of {runs} runs (least-most)."
    ))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    print_line(&format!("Clients: {}.\n", machine::versions(&machine::CACHES, None)?))?;
    print_line(&render(&rows))
}

fn render(rows: &[((Engine, Start), Vec<Started>)]) -> String {
    let cells = rows.iter().map(|((engine, start), results)| {
        let show = |figure: fn(&Started) -> Option<f64>, unit, decimals| {
            let spread = Spread::of(results.iter().filter_map(figure));
            spread.map_or_else(|| "-".to_owned(), |spread| spread.show(unit, decimals))
        };
        vec![
            engine.title(*start),
            show(|started| Some(started.wall_seconds), 1.0, 2),
            show(|started| Some(started.cpu_seconds), 1.0, 2),
            show(|started| Some(started.peak as f64), 1e6, 0),
            show(|started| started.save_seconds, 1.0, 2),
        ]
    });
    table::render(
        &["start", "readable after s", "CPU s", "peak MB", "written in s"],
        &cells.collect::<Vec<_>>(),
    )
}

/// Runs the process that is measured.
pub(crate) async fn client(arguments: ClientArguments) -> Result<()> {
    let ClientArguments { engine, start, objects, folder } = arguments;
    let started = match engine {
        Engine::Typed => measure(|builder| builder, start, objects, &folder).await,
        Engine::Compact => measure(InformerBuilder::compact, start, objects, &folder).await,
    }?;
    print(&started)
}

async fn measure<K: Persistable>(
    choose: impl FnOnce(InformerBuilder<Blog>) -> InformerBuilder<K>,
    start: Start,
    objects: usize,
    folder: &Path,
) -> Result<Started> {
    let feed = feed::restart(objects, start == Start::Warm);
    // Never at an interval.
    let persist = Persist::to(folder).interval(child::LIMIT);
    let before = usage::resident()?;
    let (began, cpu) = (Instant::now(), usage::cpu_seconds());
    let informer = choose(Informers::new(feed).typed()).persist(persist)?.start();
    informer.watch_status().wait_for(|status| status.synced).await?;
    let (wall_seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), usage::cpu_seconds() - cpu);
    let peak = usage::peak()?.saturating_sub(before);
    let snapshot = informer.snapshot()?;
    ensure!(snapshot.len() == objects, "{} objects, not {objects}", snapshot.len());
    ensure!(snapshot.is_from_disk() == (start == Start::Warm), "the copy was not used");
    drop(snapshot);
    let save_seconds = match start {
        Start::Warm => None,
        Start::Cold => {
            let began = Instant::now();
            informer.save().await?;
            Some(began.elapsed().as_secs_f64())
        }
    };
    Ok(Started { wall_seconds, cpu_seconds, peak, save_seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_warm_start_has_what_a_cold_one_wrote() {
        for engine in [Engine::Typed, Engine::Compact] {
            let folder = tempfile::tempdir().unwrap();
            for start in [Start::Cold, Start::Warm] {
                let started = match engine {
                    Engine::Typed => measure(|builder| builder, start, 50, folder.path()).await,
                    Engine::Compact => measure(InformerBuilder::compact, start, 50, folder.path()).await,
                };
                assert_eq!(started.unwrap().save_seconds.is_some(), start == Start::Cold);
            }
        }
    }
}
