//! Random requests, sent to the embedded server and to a real one: both must answer the same, store the same, and tell watchers the
//! same.
//!
//! A seed gives the requests. `DIFFERENTIAL=first..last` plays other seeds than the few of the tests, each of 100 requests, and
//! reports all differences instead of the first: `DIFFERENTIAL=0..200` is 20,000 requests.

mod requests;
mod side;

use std::{
    env,
    ops::Range,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{Cluster, Need, Provider, eventually};
use fastrand::Rng;
use serde_json::{Value, json};

use self::{
    requests::{KINDS, Request},
    side::Side,
};

/// The seeds of the tests.
const SEEDS: Range<u64> = 0..4;
const STEPS: usize = 100;
/// The real garbage collector looks for new types twice a minute.
const SOON: Duration = Duration::from_secs(90);
/// An owner that has waited this long for its dependents, on both servers, waits for ever.
const QUIET: Duration = Duration::from_secs(5);

#[test]
fn answers_objects_and_events_are_the_same() -> Result<()> {
    let (asked, seeds) = match env::var("DIFFERENTIAL") {
        Ok(range) => (true, parse(&range).with_context(|| format!("DIFFERENTIAL={range}"))?),
        Err(_) => (false, SEEDS),
    };
    // Other controllers write to the objects of a whole cluster.
    if Provider::real() != Provider::Envtest {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let needs = &[Need::Controllers];
        let Ok(real) = Cluster::start(Provider::real(), needs).await? else { return Ok(()) };
        let Ok(embedded) = Cluster::start(Provider::Embedded, needs).await? else { return Ok(()) };
        let clusters = [&embedded, &real];
        let mut differences = Vec::new();
        for seed in seeds {
            let played = play(clusters, seed).await.with_context(|| format!("seed {seed}"));
            match played {
                Err(difference) if asked => differences.push(format!("{difference:#}")),
                played => played?,
            }
        }
        for cluster in clusters {
            let namespace = format!("/api/v1/namespaces/{}", cluster.namespace());
            cluster.admin().delete(&namespace).await?.ok()?;
        }
        ensure!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n\n"));
        Ok(())
    })
}

fn parse(range: &str) -> Result<Range<u64>> {
    let (first, last) = range.split_once("..").context("not first..last")?;
    Ok(first.parse()?..last.parse()?)
}

/// Plays the requests of a seed in namespaces of their own.
async fn play(clusters: [&Cluster; 2], seed: u64) -> Result<()> {
    let namespace = format!("differential-{seed}-{:08x}", fastrand::u32(..));
    let mut sides = [Side::new(clusters[0], &namespace).await?, Side::new(clusters[1], &namespace).await?];
    let mut rng = Rng::with_seed(seed);
    let played = requests_of(&mut sides, &mut rng).await;
    let [embedded, real] = &sides;
    let ended = (embedded.end().await, real.end().await);
    played.and(ended.0).and(ended.1)
}

async fn requests_of(sides: &mut [Side; 2], rng: &mut Rng) -> Result<()> {
    for step in 0..STEPS {
        let request = Request::random(rng);
        let told = || format!("step {step}: {request}");
        compare(sides, &request).await.with_context(told)?;
        if request.settles() {
            settle(sides).await.with_context(told)?;
        }
        if let Some(object) = request.object() {
            compare(sides, &object).await.with_context(|| format!("after {}", told()))?;
        }
    }
    settle(sides).await.context("at the end")?;
    for kind in KINDS {
        compare(sides, &Request::list(kind)).await.context("at the end")?;
    }
    events(sides).await
}

/// Sends a request to both servers, and compares their answers.
async fn compare(sides: &mut [Side; 2], request: &Request) -> Result<()> {
    let [embedded, real] = sides;
    let (here, there) = (embedded.answer(request).await?, real.answer(request).await?);
    if here != there {
        bail!("{}", difference(&here, &there));
    }
    Ok(())
}

/// Waits until the garbage collectors have done what is to be done. An owner may remain: its dependents may have finalizers that
/// nobody removes.
async fn settle(sides: &mut [Side; 2]) -> Result<()> {
    let [embedded, real] = sides;
    let (embedded, real) = (&*embedded, &*real);
    let last = Mutex::new((Value::Null, Instant::now()));
    eventually(SOON, || async {
        let (here, there) = (embedded.remaining().await?, real.remaining().await?);
        ensure!(here == there, "{}", difference(&here, &there));
        let waits = here.to_string();
        let mut last = last.lock().expect("nothing panics with it");
        if last.0 != here {
            *last = (here, Instant::now());
        }
        let waiting = waits.contains("foregroundDeletion") || waits.contains("\"orphan\"");
        ensure!(!waiting || last.1.elapsed() > QUIET, "{waits}");
        Ok(())
    })
    .await
}

/// Compares what the watches have seen.
async fn events(sides: &mut [Side; 2]) -> Result<()> {
    for kind in KINDS {
        let request = Request::last(kind);
        compare(sides, &request).await?;
    }
    let [embedded, real] = sides;
    let (here, there) = (embedded.events().await?, real.events().await?);
    for ((what, mut here), (_, mut there)) in here.into_iter().zip(there) {
        // The collector of the real server works on several objects at once.
        for events in [&mut here, &mut there] {
            events.sort_by_key(|event| event["object"]["metadata"]["name"].to_string());
        }
        let first = here.iter().zip(&there).position(|(here, there)| here != there);
        if let Some(first) = first {
            bail!("event {first} of {what}: {}", difference(&here[first], &there[first]));
        }
        ensure!(here.len() == there.len(), "{} and {} events of {what}", here.len(), there.len());
    }
    Ok(())
}

/// Where two values differ.
fn difference(here: &Value, there: &Value) -> String {
    let mut lines = Vec::new();
    differences(here, there, "", &mut lines);
    format!("{}\n  embedded: {here}\n  real:     {there}", lines.join("\n"))
}

fn differences(here: &Value, there: &Value, path: &str, lines: &mut Vec<String>) {
    match (here, there) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let side =
                    |of: &serde_json::Map<String, Value>| of.get(key).cloned().unwrap_or(json!("(absent)"));
                differences(&side(left), &side(right), &format!("{path}.{key}"), lines);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(left, right, &format!("{path}[{index}]"), lines);
            }
        }
        _ if here != there => lines.push(format!("  {path}: {here} here, {there} there")),
        _ => {}
    }
}
