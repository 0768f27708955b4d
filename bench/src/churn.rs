//! `bench churn`: a watch that brings one update after another, from memory, with subscribers and readers.
//!
//! No socket and no server: what is measured is what each client does with a line. The next line is there whenever
//! the client asks for it.

pub(crate) mod client;
mod feed;

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use tokio::{process::Command, time::timeout};

use crate::{
    machine,
    table::{self, Spread},
    usage::{print_line, progress},
};
use client::{Churned, Engine};

/// No client may take longer.
const LIMIT: Duration = Duration::from_secs(300);

/// How many subscribers, and how many threads that iterate whole snapshots, one after another.
const SCENARIOS: [(usize, usize); 3] = [(1, 0), (100, 0), (1, 8)];

#[derive(Args)]
pub(crate) struct Arguments {
    /// How many Blogs are cached
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// How many updates follow
    #[arg(long, default_value_t = 100_000)]
    updates: usize,
    /// How often each client runs, in turns; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Prints the table.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    ensure!(arguments.objects > 0 && arguments.updates > 0, "--objects and --updates must be at least 1");
    let mut rows = Vec::new();
    for (subscribers, readers) in SCENARIOS {
        for engine in Engine::value_variants() {
            rows.push((*engine, subscribers, readers, Vec::new()));
        }
    }
    for run in 1..=arguments.runs {
        for (engine, subscribers, readers, results) in &mut rows {
            let title = format!("{}, {subscribers} subscribers, {readers} readers", engine.title());
            progress(&format!("run {run} of {}: {title}", arguments.runs))?;
            let result = measure(*engine, *subscribers, *readers, &arguments).await.context(title)?;
            results.push(result);
        }
    }
    print_line(&format!(
        "{} updates of {} Blogs, from memory, one at a time; median of {} runs (least-most).",
        arguments.updates, arguments.objects, arguments.runs
    ))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    print_line(&format!("Clients: {}.\n", machine::versions(None)?))?;
    print_line(&render(&rows))
}

async fn measure(
    engine: Engine,
    subscribers: usize,
    readers: usize,
    arguments: &Arguments,
) -> Result<Churned> {
    let engine = engine.to_possible_value().context("an engine without a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["churn-client", engine.get_name()]);
    for number in [subscribers, readers, arguments.objects, arguments.updates] {
        command.arg(number.to_string());
    }
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output =
        timeout(LIMIT, command.output()).await.with_context(|| format!("not done within {LIMIT:?}"))??;
    ensure!(output.status.success(), "its process ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("it printed no result")
}

type Row = (Engine, usize, usize, Vec<Churned>);

fn render(rows: &[Row]) -> String {
    let spread = |results: &[Churned], figure: fn(&Churned) -> f64| Spread::of(results.iter().map(figure));
    let rate: fn(&Churned) -> f64 = |result| result.events_per_second;
    let cells = rows.iter().filter_map(|(engine, subscribers, readers, results)| {
        let peer = rows.iter().find(|row| (row.0, row.1, row.2) == (Engine::Runtime, *subscribers, *readers));
        let peer = peer.and_then(|(.., results)| spread(results, rate));
        let own = spread(results, rate)?;
        Some(vec![
            engine.title().to_owned(),
            subscribers.to_string(),
            readers.to_string(),
            own.show(1.0, 0),
            peer.map_or_else(|| "-".to_owned(), |peer| format!("{:.2}", own.median / peer.median)),
            spread(results, |result| result.cpu_microseconds)?.show(1.0, 1),
            spread(results, |result| result.p50_microseconds)?.show(1.0, 1),
            spread(results, |result| result.p99_microseconds)?.show(1.0, 1),
            spread(results, |result| result.passes_per_second)?.show(1.0, 0),
        ])
    });
    let head = [
        "client",
        "subscribers",
        "readers",
        "events/s",
        "/ kube-runtime",
        "CPU us per event",
        "apply p50 us",
        "apply p99 us",
        "reader passes/s",
    ];
    table::render(&head, &cells.collect::<Vec<_>>())
}
