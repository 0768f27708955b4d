//! `bench churn`: a watch that delivers updates from memory, with subscribers and readers.
//!
//! There is no socket and no server, so that only the client's processing of the lines is measured. The next line is always
//! ready when the client asks for it.

pub(crate) mod client;

use std::num::NonZeroUsize;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    child, machine,
    table::{self, Spread},
    usage::{print_line, progress},
};
use client::{Churned, Engine};

/// How the updates arrive, and what runs concurrently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scenario {
    /// Whether many updates arrive together.
    burst: bool,
    subscribers: usize,
    /// The number of threads that iterate over whole snapshots, one after another.
    readers: usize,
}

const SCENARIOS: [Scenario; 5] = [
    // Only decoding and applying.
    Scenario { burst: true, subscribers: 0, readers: 0 },
    Scenario { burst: true, subscribers: 1, readers: 0 },
    Scenario { burst: false, subscribers: 1, readers: 0 },
    Scenario { burst: false, subscribers: 100, readers: 0 },
    Scenario { burst: false, subscribers: 1, readers: 8 },
];

#[derive(Args)]
pub(crate) struct Arguments {
    /// The number of cached Blogs
    #[arg(long, default_value = "10000")]
    objects: NonZeroUsize,
    /// The number of updates
    #[arg(long, default_value = "20000")]
    updates: NonZeroUsize,
    /// The number of runs of each client, which take turns; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Prints the table.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    for scenario in SCENARIOS {
        rows.extend(Engine::value_variants().iter().map(|engine| (*engine, scenario, Vec::new())));
    }
    for run in 1..=arguments.runs {
        for (engine, scenario, results) in &mut rows {
            let title = format!("{}, {}", engine.title(), scenario.title());
            progress(&format!("run {run} of {}: {title}", arguments.runs))?;
            results.push(measure(*engine, *scenario, &arguments).await.context(title)?);
        }
    }
    print_line(&format!(
        "{} updates of {} Blogs, from memory; median of {} runs (least-most).",
        arguments.updates, arguments.objects, arguments.runs
    ))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    print_line(&format!("Clients: {}.\n", machine::versions(&machine::CACHES, None)?))?;
    print_line(&render(&rows))
}

async fn measure(engine: Engine, scenario: Scenario, arguments: &Arguments) -> Result<Churned> {
    let engine = engine.to_possible_value().context("an engine without a name")?;
    let mut command = child::myself()?;
    command.args(["churn-client", engine.get_name()]);
    for number in [scenario.subscribers, scenario.readers, arguments.objects.get(), arguments.updates.get()] {
        command.arg(number.to_string());
    }
    if scenario.burst {
        command.arg("--burst");
    }
    child::result(command).await
}

impl Scenario {
    fn title(self) -> String {
        let Scenario { burst, subscribers, readers } = self;
        let pace = if burst { "bursts" } else { "one at a time" };
        format!("{pace}, subscribers: {subscribers}, readers: {readers}")
    }
}

type Row = (Engine, Scenario, Vec<Churned>);

fn render(rows: &[Row]) -> String {
    let spread = |results: &[Churned], figure: fn(&Churned) -> f64| Spread::of(results.iter().map(figure));
    let rate: fn(&Churned) -> f64 = |result| result.events_per_second;
    let cells = rows.iter().filter_map(|(engine, scenario, results)| {
        let peer = rows.iter().find(|row| (row.0, row.1) == (Engine::Runtime, *scenario));
        let peer = peer.and_then(|(.., results)| spread(results, rate));
        let own = spread(results, rate)?;
        // The time to apply a burst is not that of a single event.
        let single = |cell: String| if scenario.burst { "-".to_owned() } else { cell };
        Some(vec![
            engine.title().to_owned(),
            scenario.title(),
            own.show(1.0, 0),
            peer.map_or_else(|| "-".to_owned(), |peer| format!("{:.2}", own.median / peer.median)),
            spread(results, |result| result.cpu_microseconds)?.show(1.0, 1),
            single(spread(results, |result| result.p50_microseconds)?.show(1.0, 1)),
            single(spread(results, |result| result.p99_microseconds)?.show(1.0, 1)),
            spread(results, |result| result.passes_per_second)?.show(1.0, 0),
        ])
    });
    let head = [
        "client",
        "updates",
        "events/s",
        "/ kube-runtime",
        "CPU us per event",
        "apply p50 us",
        "apply p99 us",
        "reader passes/s",
    ];
    table::render(&head, &cells.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_set_against_the_peer_in_the_same_scenario() {
        let result = |events_per_second| Churned {
            events_per_second,
            cpu_microseconds: 1.0,
            p50_microseconds: 2.0,
            p99_microseconds: 3.0,
            passes_per_second: 0.0,
        };
        let rows = [
            (Engine::Informer, SCENARIOS[0], vec![result(900.0)]),
            (Engine::Runtime, SCENARIOS[0], vec![result(300.0)]),
            (Engine::Informer, SCENARIOS[2], vec![result(500.0)]),
        ];
        let table = render(&rows);
        let cells = |line: usize| -> Vec<&str> {
            table.lines().nth(line).unwrap().split('|').map(str::trim).collect()
        };
        assert_eq!(cells(2)[3..8], ["900", "3.00", "1.0", "-", "-"]);
        assert_eq!(cells(4)[3..8], ["500", "-", "1.0", "2.0", "3.0"]);
    }
}
