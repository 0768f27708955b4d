//! `bench cel`: rules of CRDs compiled and evaluated by three engines, each in a process of its own.

pub(crate) mod client;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::{
    child, machine,
    peers::{Peer, Program},
    table::{self, Spread},
    usage::{print_line, progress},
};

/// The rules: of the Gateway API, Karpenter, Crossplane, cert-manager and Istio, each with a schema and an object for which it
/// holds. The Go program reads them, too.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cel/rules.json");

#[derive(Args)]
pub(crate) struct Arguments {
    /// How long each run compiles, and then evaluates, in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The number of runs of each engine, which take turns; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Measure only these engines
    #[arg(long, value_delimiter = ',')]
    clients: Vec<Engine>,
}

/// An engine for CEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    K8sCel,
    CelGo,
    KubeCel,
}

impl Engine {
    fn title(self) -> &'static str {
        match self {
            Engine::K8sCel => "k8s-cel",
            Engine::CelGo => "cel-go",
            Engine::KubeCel => "kube-cel",
        }
    }
}

/// What an engine took for a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measured {
    name: String,
    compile_ns: f64,
    evaluate_ns: f64,
    /// The costs that the engine estimates and counts, if it does.
    estimated_cost: Option<u64>,
    cost: Option<u64>,
}

/// All runs of an engine. Each has the same rules: those that the engine can evaluate.
type Runs = Vec<Vec<Measured>>;
type Figure = fn(&Measured) -> f64;

const COMPILE: Figure = |rule| rule.compile_ns;
const EVALUATE: Figure = |rule| rule.evaluate_ns;

/// Prints a table of the engines, and one of the rules.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let mut engines = Engine::value_variants().to_vec();
    engines.retain(|engine| arguments.clients.is_empty() || arguments.clients.contains(engine));
    let with_go = engines.contains(&Engine::CelGo);
    let peer = if with_go { Peer::build(Program::Cel).await? } else { None };
    if peer.is_none() {
        engines.retain(|engine| *engine != Engine::CelGo);
    }
    let mut results: Vec<(Engine, Runs)> = engines.into_iter().map(|engine| (engine, Vec::new())).collect();
    for run in 1..=arguments.runs {
        for (engine, runs) in &mut results {
            let title = engine.title();
            progress(&format!("run {run} of {}: {title}", arguments.runs))?;
            let mut command = command(*engine, peer.as_ref())?;
            // Go takes options with two dashes, too.
            command.arg(format!("--seconds={}", arguments.seconds)).args(["--rules", RULES]);
            runs.push(child::result(command).await.context(title)?);
        }
    }
    let runs_of = |of| results.iter().find(|(engine, _)| *engine == of).and_then(|(_, runs)| runs.first());
    if let (Some(ours), Some(theirs)) = (runs_of(Engine::K8sCel), runs_of(Engine::CelGo)) {
        compare_costs(ours, theirs)?;
    }

    print_line(&format!(
        "Rules compiled and evaluated in turn for {} s each, on one thread; median of {} runs (least-most).",
        arguments.seconds, arguments.runs
    ))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    let versions = machine::versions(&["k8s-cel", "kube-cel"], peer.as_ref().map(Peer::version))?;
    print_line(&format!("Engines: {versions}.\n"))?;
    print_engines(&results)?;
    print_line("Microseconds of each rule: to compile it, and to evaluate it.\n")?;
    print_rules(&results)
}

fn command(engine: Engine, peer: Option<&Peer>) -> Result<Command> {
    match (engine, peer) {
        (Engine::CelGo, Some(peer)) => Ok(peer.command()),
        (Engine::CelGo, None) => bail!("the Go program is not built"),
        (Engine::K8sCel | Engine::KubeCel, _) => {
            let mut command = child::myself()?;
            command.args(["cel-client", engine.title()]);
            Ok(command)
        }
    }
}

/// Fails unless our costs are cel-go's. Each process has checked that its rules hold.
fn compare_costs(ours: &[Measured], theirs: &[Measured]) -> Result<()> {
    ensure!(ours.len() == theirs.len(), "{} rules, and {} in Go", ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        let costs = |of: &Measured| (of.name.clone(), of.estimated_cost, of.cost);
        let (ours, theirs) = (costs(ours), costs(theirs));
        ensure!(ours == theirs, "estimated and actual cost: {ours:?}, but with cel-go {theirs:?}");
    }
    Ok(())
}

fn print_engines(results: &[(Engine, Runs)]) -> Result<()> {
    let head =
        ["engine", "rules", "compiled/s", "/ cel-go", "/ kube-cel", "evaluated/s", "/ cel-go", "/ kube-cel"];
    let rows = results.iter().filter_map(|(engine, runs)| {
        let rules = runs.first()?.len();
        let mut cells = vec![engine.title().to_owned(), rules.to_string()];
        for figure in [COMPILE, EVALUATE] {
            let rate = |run: &Vec<Measured>| 1e9 * rules as f64 / run.iter().map(figure).sum::<f64>();
            cells.push(Spread::of(runs.iter().map(rate))?.show(1.0, 0));
            cells.extend(
                [Engine::CelGo, Engine::KubeCel]
                    .map(|other| ratio(results, other, runs, figure).unwrap_or_else(|| "-".to_owned())),
            );
        }
        Some(cells)
    });
    print_line(&table::render(&head, &rows.collect::<Vec<_>>()))
}

/// How many times the other engine's rate some runs have, with the rules that both can evaluate.
fn ratio(results: &[(Engine, Runs)], other: Engine, runs: &Runs, figure: Figure) -> Option<String> {
    let (_, others) = results.iter().find(|(engine, _)| *engine == other)?;
    let nanoseconds = |of: &Runs, common: &[Measured]| {
        let shared = |rule: &&Measured| common.iter().any(|other| other.name == rule.name);
        Some(Spread::of(of.iter().map(|run| run.iter().filter(shared).map(figure).sum::<f64>()))?.median)
    };
    let (own, other) = (nanoseconds(runs, others.first()?)?, nanoseconds(others, runs.first()?)?);
    Some(format!("{:.2}", other / own))
}

fn print_rules(results: &[(Engine, Runs)]) -> Result<()> {
    let names = results.iter().filter_map(|(_, runs)| runs.first()).max_by_key(|run| run.len());
    let mut head = vec!["rule".to_owned()];
    for what in ["compile", "evaluate"] {
        head.extend(results.iter().map(|(engine, _)| format!("{what}: {}", engine.title())));
    }
    let rows = names.into_iter().flatten().map(|rule| {
        let mut cells = vec![rule.name.clone()];
        for figure in [COMPILE, EVALUATE] {
            cells.extend(results.iter().map(|(_, runs)| {
                let of_rule = runs.iter().flatten().filter(|other| other.name == rule.name);
                let time = Spread::of(of_rule.map(figure));
                time.map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.median / 1e3))
            }));
        }
        cells
    });
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    print_line(&table::render(&head, &rows.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, compile_ns: f64, cost: u64) -> Measured {
        let evaluate_ns = compile_ns / 10.0;
        Measured { name: name.to_owned(), compile_ns, evaluate_ns, estimated_cost: Some(9), cost: Some(cost) }
    }

    #[test]
    fn another_cost_than_cel_gos_is_an_error() {
        let theirs = [measured("a", 1.0, 5), measured("b", 1.0, 6)];
        assert!(compare_costs(&[measured("a", 2.0, 5), measured("b", 2.0, 6)], &theirs).is_ok());
        assert!(compare_costs(&[measured("a", 2.0, 5), measured("b", 2.0, 7)], &theirs).is_err());
        assert!(compare_costs(&theirs[..1], &theirs).is_err());
    }

    #[test]
    fn a_ratio_is_of_the_rules_that_both_engines_have() {
        let ours = vec![vec![measured("a", 10.0, 1), measured("b", 500.0, 1)]];
        let theirs = vec![vec![measured("a", 25.0, 1)]];
        let results = [(Engine::K8sCel, ours.clone()), (Engine::KubeCel, theirs)];
        assert_eq!(ratio(&results, Engine::KubeCel, &ours, COMPILE).as_deref(), Some("2.50"));
        assert_eq!(ratio(&results, Engine::CelGo, &ours, COMPILE), None);
    }
}
