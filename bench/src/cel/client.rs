//! One engine of `bench cel`. What it does for a rule is what the Go program does in `bench/peers/cel`.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use k8s_cel::{COST_LIMIT, Declaration, Environment, Origin, Program, Variables};
use kube_cel::{KubeCelExt as _, cel};
use serde::Deserialize;
use serde_json::Value as Json;

use super::{Engine, Measured};
use crate::usage::{print, progress};

/// Enough at a time for the clock.
const TIMES: u32 = 20;

#[derive(Args)]
pub(crate) struct Arguments {
    engine: Engine,
    #[arg(long)]
    seconds: f64,
    #[arg(long)]
    rules: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: String,
    schema: Json,
    rule: String,
    object: Json,
    old_object: Option<Json>,
}

/// Prints a list of [`Measured`].
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let rules: Vec<Rule> = serde_json::from_slice(&fs::read(&arguments.rules)?)?;
    let extent = Duration::try_from_secs_f64(arguments.seconds)?;
    let measured = match arguments.engine {
        Engine::KubeCel => of_kube_cel(&rules, extent)?,
        Engine::K8sCel | Engine::CelGo => of_k8s_cel(&rules, extent)?,
    };
    print(&measured)
}

/// A rule that is compiled, with the declaration of its variables.
struct Compiled {
    program: Program,
    declaration: Declaration,
}

fn of_k8s_cel(rules: &[Rule], extent: Duration) -> Result<Vec<Measured>> {
    let compiled = rules.iter().map(|rule| compile(rule).with_context(|| rule.name.clone()));
    let compiled = compiled.collect::<Result<Vec<_>>>()?;
    let rules: Vec<_> = rules.iter().zip(&compiled).collect();
    let compiles = measure(&rules, extent, |(rule, _)| compile(rule).map(drop))?;
    let evaluations = measure(&rules, extent, |(rule, compiled)| evaluate(rule, compiled).map(drop))?;
    let rules = rules.into_iter().zip(compiles.into_iter().zip(evaluations));
    rules
        .map(|((rule, compiled), (compile_ns, evaluate_ns))| {
            Ok(Measured {
                name: rule.name.clone(),
                compile_ns,
                evaluate_ns,
                estimated_cost: Some(compiled.program.max_cost()),
                cost: Some(evaluate(rule, compiled)?),
            })
        })
        .collect()
}

/// Does what the creation of a CRD does for one rule.
fn compile(rule: &Rule) -> Result<Compiled> {
    let declaration = Declaration::from_openapi(&rule.schema, false);
    let environment = Environment::kubernetes(37, Origin::Stored)
        .with_variable("self", &declaration)
        .with_variable("oldSelf", &declaration);
    Ok(Compiled { program: Program::compile(&rule.rule, &environment)?, declaration })
}

/// Does what the validation of an object does for one rule, and returns the cost.
fn evaluate(rule: &Rule, compiled: &Compiled) -> Result<u64> {
    let mut variables = Variables::new().with("self", &rule.object, &compiled.declaration);
    if let Some(old) = &rule.old_object {
        variables = variables.with("oldSelf", old, &compiled.declaration);
    }
    let evaluation = compiled.program.evaluate(&variables, COST_LIMIT);
    ensure!(evaluation.result?.as_bool() == Some(true), "the rule does not hold");
    Ok(evaluation.cost)
}

/// The rules that kube-cel can evaluate. It has neither a checker nor costs: it compiles without the schema.
fn of_kube_cel(rules: &[Rule], extent: Duration) -> Result<Vec<Measured>> {
    let context = cel::Context::default().with_all();
    let mut known = Vec::new();
    for rule in rules {
        let compiled = cel::Program::compile(&rule.rule).map_err(anyhow::Error::from);
        let checked = compiled.and_then(|program| execute(rule, &program, &context).map(|()| program));
        match checked {
            Ok(program) => known.push((rule, program)),
            Err(error) => progress(&format!("kube-cel cannot evaluate {:?}: {error}", rule.name))?,
        }
    }
    let compiles = measure(&known, extent, |(rule, _)| Ok(cel::Program::compile(&rule.rule).map(drop)?))?;
    let evaluations = measure(&known, extent, |(rule, program)| execute(rule, program, &context))?;
    let times = compiles.into_iter().zip(evaluations);
    let rules = known.iter().zip(times).map(|((rule, _), (compile_ns, evaluate_ns))| Measured {
        name: rule.name.clone(),
        compile_ns,
        evaluate_ns,
        estimated_cost: None,
        cost: None,
    });
    Ok(rules.collect())
}

fn execute(rule: &Rule, program: &cel::Program, context: &cel::Context<'_>) -> Result<()> {
    let mut context = context.new_inner_scope();
    context.add_variable_from_value("self", value(&rule.object));
    if let Some(old) = &rule.old_object {
        context.add_variable_from_value("oldSelf", value(old));
    }
    ensure!(program.execute(&context)? == cel::Value::Bool(true), "the rule does not hold");
    Ok(())
}

/// Converts JSON as kube-cel's validator does. No name in the rules' schemas is one that it escapes, and no format is one that
/// it parses.
fn value(json: &Json) -> cel::Value {
    match json {
        Json::Null => cel::Value::Null,
        Json::Bool(value) => cel::Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => cel::Value::Int(value),
            None => cel::Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => text.clone().into(),
        Json::Array(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        Json::Object(entries) => {
            entries.iter().map(|(name, entry)| (name.clone(), value(entry))).collect::<HashMap<_, _>>().into()
        }
    }
}

/// Does something with all rules again and again, and returns the nanoseconds that it took for each rule.
fn measure<R>(rules: &[R], extent: Duration, act: impl Fn(&R) -> Result<()>) -> Result<Vec<f64>> {
    // The first time is not measured: it fills caches.
    rules.iter().try_for_each(&act)?;
    let mut took = vec![Duration::ZERO; rules.len()];
    let mut rounds = 0;
    let start = Instant::now();
    while rounds == 0 || start.elapsed() < extent {
        for (rule, took) in rules.iter().zip(&mut took) {
            let before = Instant::now();
            for _ in 0..TIMES {
                act(rule)?;
            }
            *took += before.elapsed();
        }
        rounds += 1;
    }
    Ok(took.iter().map(|took| took.as_nanos() as f64 / f64::from(rounds * TIMES)).collect())
}
