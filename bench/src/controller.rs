//! `bench controller`: controllers of three libraries beside one another.

pub(crate) mod client;
mod writes;

use std::{collections::BTreeMap, num::NonZeroUsize, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use bench::kind::Kind;
use clap::{Args, ValueEnum};
use kube::Client;
use rustix::process::Signal;
use tokio::process::Command;

use crate::{
    Choice, child,
    child::Running,
    cluster::{self, Cluster},
    fill::{self, NAMESPACE},
    machine,
    peers::{Peer, Program},
    table::{self, Spread},
    usage::{Sample, print_line, progress},
};
use client::{Finished, Run, Started, now};
use writes::{Write, delays, quantile};

/// The number of objects that are written to, of those in the cache.
const WRITTEN: u32 = 1000;
/// The number of objects that are always written to.
const HOT: u32 = 40;
/// The number of objects that are written to once beside them.
const QUIET: u32 = 48;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The server: `embedded`, `real` (kube-apiserver and etcd, from KUBEBUILDER_ASSETS) or the path of a kubeconfig
    #[arg(long, default_value = "embedded")]
    server: Choice,
    /// The number of objects that are reconciled once at the start, and cached during the writes
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u32).range(1000..))]
    objects: u32,
    /// The number of objects that wait by timer
    #[arg(long, default_value = "100000")]
    waiting: NonZeroUsize,
    /// How long there is a write each millisecond, in seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// The number of runs of each library, which take turns; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Measure only these libraries
    #[arg(long, value_delimiter = ',')]
    clients: Vec<Library>,
    /// Measure only these scenarios
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
}

/// A library for controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Library {
    Controller,
    Runtime,
    Go,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Each object is reconciled once
    Start,
    /// Writes to many objects
    Writes,
    /// Writes to objects that are always busy, and to some that are not
    Quiet,
    /// Objects that wait for their next run
    Timers,
    /// The leader is killed, or told to stop
    Leadership,
}

impl Library {
    fn title(self) -> &'static str {
        match self {
            Library::Controller => "kube-controller",
            Library::Runtime => "kube-runtime",
            Library::Go => "controller-runtime",
        }
    }
}

/// What all scenarios have in common.
struct Bench {
    libraries: Vec<Library>,
    peer: Option<Peer>,
    runs: u32,
    seconds: u32,
    objects: u32,
}

/// Prints a table for each scenario.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let mut libraries: Vec<Library> = Library::value_variants().to_vec();
    libraries.retain(|library| arguments.clients.is_empty() || arguments.clients.contains(library));
    let any_go = libraries.contains(&Library::Go);
    let peer = if any_go { Peer::build(Program::Controller).await? } else { None };
    if peer.is_none() {
        libraries.retain(|library| *library != Library::Go);
    }
    let (runs, seconds, objects) = (arguments.runs, arguments.seconds, arguments.objects);
    let bench = Bench { libraries, peer, runs, seconds, objects };
    let chosen = |scenario| arguments.scenarios.is_empty() || arguments.scenarios.contains(&scenario);

    print_line(&format!(
        "{objects} Blogs, {} with timers; median of {runs} runs (least-most).",
        arguments.waiting
    ))?;
    print_line(&format!("Server: {}.", arguments.server.describe()))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    let packages = ["kube-controller", "kube-runtime"];
    print_line(&format!(
        "Clients: {}.",
        machine::versions(&packages, bench.peer.as_ref().map(Peer::version))?
    ))?;

    if [Scenario::Start, Scenario::Writes, Scenario::Quiet, Scenario::Leadership].into_iter().any(chosen) {
        let (cluster, client) = filled(&arguments.server, objects as usize).await?;
        if chosen(Scenario::Start) {
            bench.start(&cluster).await?;
        }
        // Later writes have higher numbers than those that the server has from earlier ones.
        let mut sequence = 0;
        if chosen(Scenario::Writes) {
            bench.writes(&cluster, &client, &mut sequence).await?;
        }
        if chosen(Scenario::Quiet) {
            bench.quiet(&cluster, &client, &mut sequence).await?;
        }
        if chosen(Scenario::Leadership) {
            bench.leadership(&cluster).await?;
        }
    }
    if chosen(Scenario::Timers) {
        let own = matches!(arguments.server, Choice::Own(_));
        ensure!(own, "`timers` needs a number of objects of its own: choose the other scenarios");
        let (cluster, _) = filled(&arguments.server, arguments.waiting.get()).await?;
        bench.timers(&cluster, arguments.waiting.get()).await?;
    }
    Ok(())
}

async fn filled(server: &Choice, objects: usize) -> Result<(Cluster, Client)> {
    let cluster = Cluster::start(server).await?;
    let client = cluster::client(cluster.kubeconfig()).await?;
    progress(&format!("filling {objects} Blogs into namespace {NAMESPACE}"))?;
    fill::fill(&client, Kind::Blogs, objects).await?;
    Ok((cluster, client))
}

/// How a controller is run.
#[derive(Clone, Copy)]
struct Set {
    objects: usize,
    concurrency: u32,
    /// How long a run takes, in milliseconds.
    work: u32,
    flag: Option<&'static str>,
}

impl Bench {
    /// Measures each library in turn, several times.
    async fn rounds<T>(
        &self,
        scenario: &str,
        mut measure: impl AsyncFnMut(Library) -> Result<Option<T>>,
    ) -> Result<Vec<(Library, Vec<T>)>> {
        let mut results: Vec<_> = self.libraries.iter().map(|library| (*library, Vec::new())).collect();
        for run in 1..=self.runs {
            for (library, results) in &mut results {
                let title = library.title();
                progress(&format!("run {run} of {}: {scenario}, {title}", self.runs))?;
                results.extend(measure(*library).await.context(title)?);
            }
        }
        results.retain(|(_, results)| !results.is_empty());
        Ok(results)
    }

    fn command(&self, library: Library, kubeconfig: &Path, set: Set) -> Result<Command> {
        let mut command = match (library, &self.peer) {
            (Library::Go, Some(peer)) => peer.client(kubeconfig),
            (Library::Go, None) => bail!("the Go program is not built"),
            (Library::Controller | Library::Runtime, _) => {
                let library = library.to_possible_value().context("a library without a name")?;
                let mut command = child::myself()?;
                command.args(["controller-client", library.get_name()]).arg(kubeconfig);
                command
            }
        };
        // Go takes an option with two dashes, too.
        command.arg(format!("--objects={}", set.objects));
        command.arg(format!("--concurrency={}", set.concurrency));
        command.arg(format!("--work={}", set.work));
        command.args(set.flag);
        Ok(command)
    }

    async fn start(&self, cluster: &Cluster) -> Result<()> {
        let set = Set { objects: self.objects as usize, concurrency: 4, work: 0, flag: None };
        let results = self
            .rounds("start", async |library| {
                let mut running = Running::start(self.command(library, cluster.kubeconfig(), set)?)?;
                let started: Started = running.line().await?;
                let finished: Finished = running.end().await?;
                let runs = finished.runs.len();
                ensure!(runs == set.objects, "{runs} runs for {} objects", set.objects);
                Ok(Some(started.sample))
            })
            .await?;
        print_line("\nEach object is reconciled once at the start, by a reconciler that does nothing.\n")?;
        let head =
            ["library", "CPU s", "/ kube-runtime", "/ controller-runtime", "wall s", "memory MB", "peak MB"];
        let rows = results.iter().filter_map(|(library, samples)| {
            let cpu = Spread::of(samples.iter().map(|sample| sample.cpu_seconds))?;
            Some(vec![
                library.title().to_owned(),
                cpu.show(1.0, 2),
                ratio(&results, Library::Runtime, cpu, |sample| sample.cpu_seconds),
                ratio(&results, Library::Go, cpu, |sample| sample.cpu_seconds),
                Spread::of(samples.iter().map(|sample| sample.wall_seconds))?.show(1.0, 2),
                Spread::of(samples.iter().map(Sample::resident))?.show(1e6, 1),
                Spread::of(samples.iter().map(Sample::peak))?.show(1e6, 1),
            ])
        });
        print_line(&table::render(&head, &rows.collect::<Vec<_>>()))
    }

    async fn writes(&self, cluster: &Cluster, client: &Client, sequence: &mut u32) -> Result<()> {
        let written = WRITTEN.min(self.objects);
        let plan: Vec<u32> = (0..self.seconds * 1000).map(|tick| tick % written).collect();
        let set = Set { objects: self.objects as usize, concurrency: 4, work: 1, flag: None };
        let results = self
            .rounds("writes", async |library| {
                self.reactions(library, cluster, client, set, &plan, sequence).await.map(Some)
            })
            .await?;
        print_line(&format!(
            "\nA write a millisecond for {} s, to {written} objects in turn; a run sleeps 1 ms, 4 at a time. \
             The delay is from the request of the write to the start of a run that sees it.\n",
            self.seconds
        ))?;
        let head = [
            "library",
            "p50 ms",
            "p99 ms",
            "most ms",
            "runs per write",
            "CPU s",
            "/ kube-runtime",
            "/ controller-runtime",
        ];
        let rows = results.iter().filter_map(|(library, reactions)| {
            let at = |share| Some(delay(reactions, |_| true, share)?.show(1e-3, 2));
            let cpu = Spread::of(reactions.iter().map(|result| result.cpu_seconds))?;
            Some(vec![
                library.title().to_owned(),
                at(0.5)?,
                at(0.99)?,
                at(1.0)?,
                Spread::of(reactions.iter().map(Reaction::runs_per_write))?.show(1.0, 2),
                cpu.show(1.0, 2),
                ratio(&results, Library::Runtime, cpu, |result| result.cpu_seconds),
                ratio(&results, Library::Go, cpu, |result| result.cpu_seconds),
            ])
        });
        print_line(&table::render(&head, &rows.collect::<Vec<_>>()))
    }

    async fn quiet(&self, cluster: &Cluster, client: &Client, sequence: &mut u32) -> Result<()> {
        let plan = hot_and_quiet(self.seconds * 1000);
        let set = Set { objects: self.objects as usize, concurrency: 1, work: 1, flag: None };
        let results = self
            .rounds("quiet", async |library| {
                self.reactions(library, cluster, client, set, &plan, sequence).await.map(Some)
            })
            .await?;
        print_line(&format!(
            "\nThe same to {HOT} objects in turn, one run at a time; {QUIET} others are written to once each.\n"
        ))?;
        let head =
            ["library", "quiet: p50 ms", "quiet: most ms", "busy: p50 ms", "busy: most ms", "runs per write"];
        let rows = results.iter().filter_map(|(library, results)| {
            let at = |of: fn(u32) -> bool, share| Some(delay(results, of, share)?.show(1e-3, 1));
            Some(vec![
                library.title().to_owned(),
                at(is_quiet, 0.5)?,
                at(is_quiet, 1.0)?,
                at(|number| !is_quiet(number), 0.5)?,
                at(|number| !is_quiet(number), 1.0)?,
                Spread::of(results.iter().map(Reaction::runs_per_write))?.show(1.0, 2),
            ])
        });
        print_line(&table::render(&head, &rows.collect::<Vec<_>>()))
    }

    /// Starts a controller, writes, and returns how it reacted.
    async fn reactions(
        &self,
        library: Library,
        cluster: &Cluster,
        client: &Client,
        set: Set,
        plan: &[u32],
        sequence: &mut u32,
    ) -> Result<Reaction> {
        let mut running = Running::start(self.command(library, cluster.kubeconfig(), set)?)?;
        let _: Started = running.line().await?;
        let before = *sequence;
        let writes = writes::write(client, sequence, plan).await?;
        let finished: Finished = running.end().await?;
        Reaction::of(before, &writes, &finished)
    }

    async fn timers(&self, cluster: &Cluster, objects: usize) -> Result<()> {
        let sets = [Some("--cache-only"), None, Some("--requeue")].map(|flag| Set {
            objects,
            concurrency: 4,
            work: 0,
            flag,
        });
        let results = self
            .rounds("timers", async |library| {
                let mut memory = [0.0; 3];
                for (set, memory) in sets.into_iter().zip(&mut memory) {
                    let mut running = Running::start(self.command(library, cluster.kubeconfig(), set)?)?;
                    let started: Started = running.line().await?;
                    let found = started.sample.objects;
                    ensure!(found == objects, "{found} objects, not {objects}");
                    // Go's collector keeps pages that it may need again.
                    *memory = started
                        .sample
                        .live_heap
                        .map_or_else(|| started.sample.resident(), |heap| heap as f64);
                }
                Ok(Some(memory))
            })
            .await?;
        print_line(&format!(
            "\nMemory of {objects} objects, each of which was reconciled once and waits for an hour or for a change. \
             For Go it is the live heap, for Rust what is resident.\n"
        ))?;
        let head =
            ["library", "cache only MB", "waiting for changes MB", "waiting by timer MB", "B per timer"];
        let rows = results.iter().filter_map(|(library, results)| {
            let at =
                |index: usize| Some(Spread::of(results.iter().map(|memory| memory[index]))?.show(1e6, 1));
            let per_timer = results.iter().map(|[cache, _, timer]| (timer - cache) / objects as f64);
            let cells = vec![at(0)?, at(1)?, at(2)?, Spread::of(per_timer)?.show(1.0, 0)];
            Some([vec![library.title().to_owned()], cells].concat())
        });
        print_line(&table::render(&head, &rows.collect::<Vec<_>>()))
    }

    async fn leadership(&self, cluster: &Cluster) -> Result<()> {
        let results =
            self.rounds("leadership", async |library| self.succession(library, cluster).await).await?;
        print_line(
            "\nFrom a signal to the leader to the first run of the standby, whose cache is warm. The Lease is for 15 s, \
             renewed within 10 s, each 2 s, as is the default of client-go.\n",
        )?;
        let head = ["library", "after SIGKILL s", "after SIGTERM s"];
        let rows = results.iter().filter_map(|(library, results)| {
            let at = |index: usize| Some(Spread::of(results.iter().map(|times| times[index]))?.show(1.0, 2));
            Some(vec![library.title().to_owned(), at(0)?, at(1)?])
        });
        print_line(&table::render(&head, &rows.collect::<Vec<_>>()))
    }

    /// Returns the seconds until another one leads after SIGKILL and after SIGTERM. kube-runtime has no leader election.
    async fn succession(&self, library: Library, cluster: &Cluster) -> Result<Option<[f64; 2]>> {
        if library == Library::Runtime {
            return Ok(None);
        }
        let candidate = async || {
            let set = Set { objects: 1, concurrency: 4, work: 0, flag: Some("--lease") };
            let mut running = Running::start(self.command(library, cluster.kubeconfig(), set)?)?;
            let _: String = running.line().await?;
            anyhow::Ok(running)
        };
        let mut leader = candidate().await?;
        let _: Started = leader.line().await?;
        let mut times = [0.0; 2];
        for (signal, time) in [Signal::KILL, Signal::TERM].into_iter().zip(&mut times) {
            let mut standby = candidate().await?;
            let sent = now();
            leader.signal(signal)?;
            let started: Started = standby.line().await?;
            *time = started.first_run_at.saturating_sub(sent) as f64 / 1e9;
            leader = standby;
        }
        let _: Finished = leader.end().await?;
        Ok(Some(times))
    }
}

/// How a controller reacted to writes.
struct Reaction {
    /// The object of each write, and the delay in seconds.
    delays: Vec<(u32, f64)>,
    runs: usize,
    cpu_seconds: f64,
}

impl Reaction {
    /// `before` is the number of the last write before these.
    fn of(before: u32, writes: &[Write], finished: &Finished) -> Result<Reaction> {
        let Finished { cpu_seconds, runs } = finished;
        let saw_one = |run: &&Run| run.1 > before;
        Ok(Reaction {
            delays: delays(writes, runs)?,
            runs: runs.iter().filter(saw_one).count(),
            cpu_seconds: *cpu_seconds,
        })
    }

    fn runs_per_write(&self) -> f64 {
        self.runs as f64 / self.delays.len() as f64
    }

    fn delays(&self, of: fn(u32) -> bool) -> Vec<f64> {
        self.delays.iter().filter(|(number, _)| of(*number)).map(|(_, delay)| *delay).collect()
    }
}

/// Returns the delay below which this share of those of some objects are, in seconds.
fn delay(reactions: &[Reaction], of: fn(u32) -> bool, share: f64) -> Option<Spread> {
    Spread::of(reactions.iter().filter_map(|reaction| quantile(&mut reaction.delays(of), share)))
}

fn is_quiet(number: u32) -> bool {
    number >= HOT
}

/// Returns the object of each write: the busy ones in turn, and between them, at equal distances, each quiet one once.
fn hot_and_quiet(writes: u32) -> Vec<u32> {
    let distance = (writes / QUIET).max(1);
    let quiet: BTreeMap<u32, u32> =
        (0..QUIET).map(|index| (index * distance + distance / 2, HOT + index)).collect();
    (0..writes).map(|tick| quiet.get(&tick).copied().unwrap_or(tick % HOT)).collect()
}

/// Returns the value divided by the median of another library.
fn ratio<T>(results: &[(Library, Vec<T>)], of: Library, value: Spread, figure: impl Fn(&T) -> f64) -> String {
    let other = results.iter().find(|(library, _)| *library == of);
    let other = other.and_then(|(_, results)| Spread::of(results.iter().map(figure)));
    other.map_or_else(|| "-".to_owned(), |other| format!("{:.2}", value.median / other.median))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quiet_object_is_written_to_once_among_the_busy_ones() {
        let plan = hot_and_quiet(1000);
        assert_eq!(plan.len(), 1000);
        for number in HOT..HOT + QUIET {
            assert_eq!(plan.iter().filter(|other| **other == number).count(), 1);
        }
        assert_eq!(plan.iter().filter(|number| !is_quiet(**number)).count(), 952);
    }
}
