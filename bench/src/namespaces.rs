//! `bench namespaces`: what an update costs in a set of namespaces, which may not depend on their number.

use std::time::Instant as Clock;

use anyhow::{Context as _, Result, ensure};
use bench::feed;
use blog_api::Blog;
use clap::Args;
use kube_informer::Informers;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    child, machine,
    table::{self, Spread},
    usage::{print, print_line, progress},
};

/// The number of updates in all namespaces together.
const UPDATES: usize = 20_000;
/// The number of Blogs in each namespace.
const OBJECTS: usize = 5;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The numbers of namespaces
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1000, 4000])]
    namespaces: Vec<usize>,
    /// The number of runs, which take turns; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

#[derive(Args)]
pub(crate) struct ClientArguments {
    namespaces: usize,
}

/// Times are in microseconds.
#[derive(Debug, Serialize, Deserialize)]
struct Costs {
    /// To sync, for each namespace.
    sync: f64,
    /// For each update.
    update: f64,
}

/// Prints the table.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { namespaces, runs } = arguments;
    let mut rows: Vec<(usize, Vec<Costs>)> = namespaces.iter().map(|count| (*count, Vec::new())).collect();
    for run in 1..=runs {
        for (count, results) in &mut rows {
            progress(&format!("run {run} of {runs}: {count} namespaces"))?;
            let mut command = child::myself()?;
            command.arg("namespaces-client").arg(count.to_string());
            results.push(child::result(command).await?);
        }
    }
    print_line(&format!(
        "A set of namespaces with {OBJECTS} Blogs each, typed; {UPDATES} updates. Medians of {runs} runs (least-most)."
    ))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    print_line(&format!("Clients: {}.\n", machine::versions(&machine::CACHES, None)?))?;
    print_line(&render(&rows))
}

fn render(rows: &[(usize, Vec<Costs>)]) -> String {
    let cells = rows.iter().filter_map(|(count, results)| {
        let spread = |figure: fn(&Costs) -> f64| Spread::of(results.iter().map(figure));
        Some(vec![
            count.to_string(),
            spread(|costs| costs.sync)?.show(1.0, 0),
            spread(|costs| costs.update)?.show(1.0, 1),
        ])
    });
    table::render(&["namespaces", "sync of each, us", "update, us"], &cells.collect::<Vec<_>>())
}

/// Runs the process that is measured.
pub(crate) async fn client(arguments: ClientArguments) -> Result<()> {
    print(&measure(arguments.namespaces, UPDATES / arguments.namespaces.max(1)).await?)
}

async fn measure(count: usize, updates: usize) -> Result<Costs> {
    let feed::Namespaces { client, open, last } = feed::namespaces(count, OBJECTS, updates);
    let start = Clock::now();
    let names = open.iter().map(|(name, _)| name.clone());
    let informer = Informers::new(client).typed::<Blog>().namespaces(names).start();
    let synced = informer.synced().await?;
    let sync = start.elapsed().as_secs_f64() * 1e6 / count as f64;
    ensure!(synced.count == count * OBJECTS, "{} objects", synced.count);
    let start = Clock::now();
    let mut names = Vec::new();
    for (name, release) in open {
        release.send(()).ok().context("the watch is gone")?;
        names.push(name);
    }
    for name in &names {
        informer.wait_for(name.as_str(), &last, Instant::now() + child::LIMIT).await?;
    }
    Ok(Costs { sync, update: start.elapsed().as_secs_f64() * 1e6 / (count * updates) as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_namespace_receives_its_updates() {
        let costs = measure(20, 3).await.unwrap();
        assert!(costs.sync > 0.0 && costs.update > 0.0, "{costs:?}");
    }
}
