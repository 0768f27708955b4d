//! `bench sync`: the cost of a synced cache from nothing, for each client.

pub(crate) mod client;

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use bench::kind::Kind;
use clap::{Args, ValueEnum};

use crate::{
    Choice, Extent, child,
    cluster::{self, Cluster},
    fill::{self, NAMESPACE},
    machine,
    peers::{Peer, Program},
    table::{self, Spread},
    usage::{Sample, print_line, progress},
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    extent: Extent,
    /// The server: `embedded`, `real` (kube-apiserver and etcd, from KUBEBUILDER_ASSETS) or the path of a kubeconfig
    #[arg(long, default_value = "embedded")]
    server: Choice,
    /// The type of the objects
    #[arg(long = "type", default_value = "blogs")]
    kind: Kind,
    /// Measure only these clients
    #[arg(long, value_delimiter = ',')]
    clients: Vec<Row>,
}

/// A client that is measured. All request a watch-list, except `RuntimePages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    Raw,
    Informer,
    InformerSkipping,
    InformerCompact,
    InformerCompactSkipping,
    InformerDynamic,
    Runtime,
    RuntimeStripped,
    RuntimeDynamic,
    RuntimePages,
    Go,
    GoStripped,
    GoDynamic,
}

impl Row {
    fn title(self) -> &'static str {
        match self {
            Row::Raw => "raw transport",
            Row::Informer => "kube-informer, typed",
            Row::InformerSkipping => "kube-informer, typed, last-applied skipped",
            Row::InformerCompact => "kube-informer, compact",
            Row::InformerCompactSkipping => "kube-informer, compact, last-applied skipped",
            Row::InformerDynamic => "kube-informer, dynamic",
            Row::Runtime => "kube-runtime, typed",
            Row::RuntimeStripped => "kube-runtime, typed, managedFields cleared",
            Row::RuntimeDynamic => "kube-runtime, dynamic",
            Row::RuntimePages => "kube-runtime, typed, list in pages (its default)",
            Row::Go => "client-go, typed",
            Row::GoStripped => "client-go, typed, managedFields cleared",
            Row::GoDynamic => "client-go, dynamic",
        }
    }

    /// Whether it exists for Blogs only: the Go program, and what skips the annotation that Pods do not have.
    fn is_about_blogs(self) -> bool {
        self.go().is_some() || matches!(self, Row::InformerSkipping | Row::InformerCompactSkipping)
    }

    /// The Go program's name for the client.
    fn go(self) -> Option<&'static str> {
        match self {
            Row::Go => Some("typed"),
            Row::GoStripped => Some("stripped"),
            Row::GoDynamic => Some("dynamic"),
            _ => None,
        }
    }
}

/// Prints the table.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let (objects, runs, kind) = (arguments.extent.objects.get(), arguments.extent.runs, arguments.kind);
    let plural = kind.plural();
    let mut rows: Vec<Row> = Row::value_variants().to_vec();
    rows.retain(|row| arguments.clients.is_empty() || arguments.clients.contains(row));
    rows.retain(|row| kind == Kind::Blogs || !row.is_about_blogs());
    let any_go = rows.iter().any(|row| row.go().is_some());
    let peer = if any_go { Peer::build(Program::Informer).await? } else { None };
    if peer.is_none() {
        rows.retain(|row| row.go().is_none());
    }

    let cluster = Cluster::start(&arguments.server).await?;
    let client = cluster::client(cluster.kubeconfig()).await?;
    let version = client.apiserver_version().await.context("asking the server for its version")?;
    progress(&format!("filling {objects} {plural} into namespace {NAMESPACE}"))?;
    fill::fill(&client, kind, objects).await?;
    let size = fill::size(&client, kind).await?;

    let mut samples: Vec<(Row, Vec<Sample>)> = rows.iter().map(|row| (*row, Vec::new())).collect();
    for run in 1..=runs {
        for (row, samples) in &mut samples {
            progress(&format!("run {run} of {runs}: {}", row.title()))?;
            let sample = measure(*row, kind, cluster.kubeconfig(), peer.as_ref())
                .await
                .with_context(|| row.title())?;
            let found = sample.objects;
            ensure!(found == objects, "{} has {found} objects, not {objects}", row.title());
            samples.push(sample);
        }
    }

    print_line(&format!(
        "{} {} of {} B (managedFields {} B, last-applied annotation {} B), median of {} runs (least-most).",
        objects, plural, size.object, size.managed_fields, size.last_applied, runs
    ))?;
    print_line(&format!("Server: {}, {}.", arguments.server.describe(), version.git_version))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    print_line(&format!(
        "Clients: {}.\n",
        machine::versions(&machine::CACHES, peer.as_ref().map(Peer::version))?
    ))?;
    print_line(&render(&samples, objects))?;
    for (row, samples) in &samples {
        if let Some(heap) =
            Spread::of(samples.iter().filter_map(|sample| sample.live_heap).map(|heap| heap as f64))
        {
            print_line(&format!("{}: of the memory {} MB is live heap.", row.title(), heap.show(1e6, 0)))?;
        }
    }
    if let Choice::Kubeconfig(_) = arguments.server {
        print_line(&format!(
            "The {plural} were not removed: `kubectl delete namespace {NAMESPACE}` removes them."
        ))?;
    }
    Ok(())
}

async fn measure(row: Row, kind: Kind, kubeconfig: &Path, peer: Option<&Peer>) -> Result<Sample> {
    let command = match (row.go(), peer) {
        (Some(client), Some(peer)) => {
            let mut command = peer.client(kubeconfig);
            command.args(["-client", client]);
            command
        }
        (Some(_), None) => bail!("the Go program is not built"),
        (None, _) => {
            let row = row.to_possible_value().context("a client without a name")?;
            let mut command = child::myself()?;
            let kind = kind.to_possible_value().context("a type without a name")?;
            command.args(["sync-client", row.get_name()]).arg(kubeconfig).args(["--type", kind.get_name()]);
            command
        }
    };
    child::result(command).await
}

fn render(samples: &[(Row, Vec<Sample>)], objects: usize) -> String {
    let spread = |samples: &[Sample], figure: fn(&Sample) -> f64| Spread::of(samples.iter().map(figure));
    let median_of = |row: Row, figure: fn(&Sample) -> f64| {
        let (_, samples) = samples.iter().find(|(other, _)| *other == row)?;
        spread(samples, figure).map(|spread| spread.median)
    };
    let cpu: fn(&Sample) -> f64 = |sample| sample.cpu_seconds;
    let raw_cpu = median_of(Row::Raw, cpu);
    let runtime_cpu = median_of(Row::Runtime, cpu);
    let runtime_resident = median_of(Row::Runtime, Sample::resident);

    let rows = samples.iter().filter_map(|(row, samples)| {
        let cpu = spread(samples, cpu)?;
        let resident = spread(samples, Sample::resident)?;
        let ratio = |value: f64, base: Option<f64>| {
            base.map_or_else(|| "-".to_owned(), |base| format!("{:.2}", value / base))
        };
        // The raw transport has no cache.
        let cache = |cell: String| if *row == Row::Raw { "-".to_owned() } else { cell };
        Some(vec![
            row.title().to_owned(),
            cpu.show(1.0, 2),
            ratio(cpu.median, raw_cpu),
            ratio(cpu.median, runtime_cpu),
            spread(samples, |sample| sample.wall_seconds)?.show(1.0, 2),
            resident.show(1e6, 0),
            cache(ratio(resident.median, runtime_resident)),
            spread(samples, Sample::peak)?.show(1e6, 0),
            cache(format!("{:.0}", resident.median / objects as f64)),
        ])
    });
    let head = [
        "client",
        "CPU s",
        "/ raw",
        "/ kube-runtime",
        "wall s",
        "memory MB",
        "/ kube-runtime",
        "peak MB",
        "B per object",
    ];
    table::render(&head, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu_seconds: f64, resident: u64) -> Sample {
        Sample {
            objects: 1000,
            cpu_seconds,
            wall_seconds: 2.0,
            resident_before: 1_000_000,
            resident_after: 1_000_000 + resident,
            peak: 1_000_000 + 2 * resident,
            live_heap: None,
        }
    }

    #[test]
    fn ratios_are_of_the_medians() {
        let samples = [
            (Row::Raw, vec![sample(1.0, 100_000)]),
            (Row::Informer, vec![sample(1.2, 1_000_000), sample(1.5, 1_500_000), sample(9.0, 2_000_000)]),
            (Row::Runtime, vec![sample(3.0, 6_000_000)]),
        ];
        let table = render(&samples, 1000);
        let row = table.lines().find(|line| line.contains("kube-informer")).unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(
            cells,
            [
                "kube-informer, typed",
                "1.50 (1.20-9.00)",
                "1.50",
                "0.50",
                "2.00",
                "2 (1-2)",
                "0.25",
                "3 (2-4)",
                "1500"
            ]
        );
    }

    #[test]
    fn without_a_base_there_is_no_ratio() {
        let table = render(&[(Row::Go, vec![sample(1.0, 1_000_000)])], 1000);
        let cells: Vec<&str> = table.lines().nth(2).unwrap().split('|').map(str::trim).collect();
        assert_eq!(cells[2..5], ["1.00", "-", "-"]);
    }
}
