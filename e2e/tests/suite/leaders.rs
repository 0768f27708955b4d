//! The operator's leader election: beside a candidate in Go, and with a leader whose network is cut. No two ever lead at once.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, eventually, logged::Logged};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{
    crdctl::{ask, free_address, install},
    operator::{PATIENCE, TAKEOVER, at, becomes, children, command, condition, create, holder, server},
    widgets::version,
};

e2e::on_each_cluster! {
    go_and_rust_release_the_lead_to_each_other [Go], go_and_rust_replace_each_other_when_killed [Go],
    two_replicas_survive_the_loss_of_the_leaders_network, five_replicas_survive_the_loss_of_the_leaders_network
}

/// How long it may take until another leads after a leader has released the Lease. On a machine that is not busy it is 0.2 s.
const HANDOVER: Duration = Duration::from_secs(5);

/// A program that competes for the Lease `blog-operator` of the test's namespace.
struct Candidate {
    program: Logged,
    /// Where the operator serves its health. The one in Go has none.
    health: Option<String>,
    /// When it was killed.
    killed: Option<Timestamp>,
}

/// A time during which a candidate led, by what it said. It still leads if there is no end.
#[derive(Debug, Clone, Copy)]
struct Term {
    from: Timestamp,
    to: Option<Timestamp>,
}

impl Candidate {
    async fn operator(cluster: &Cluster, kubeconfig: &Path) -> Result<Candidate> {
        let health = free_address()?;
        let arguments = format!("--leader-elect --log-format json --health-addr {health}");
        let command = command(cluster, kubeconfig, &arguments).await?;
        let command = command.env("RUST_LOG", "info,kube_controller::worker=debug").into_command();
        let log = cluster.folder().join(format!("operator-{health}.log"));
        Ok(Candidate { program: Logged::start(command, &log)?, health: Some(health), killed: None })
    }

    async fn in_go(cluster: &Cluster, number: usize) -> Result<Candidate> {
        let log = cluster.folder().join(format!("go-{number}.log"));
        let program = Logged::start(cluster.go_command("compete").await?, &log)?;
        Ok(Candidate { program, health: None, killed: None })
    }

    fn is_operator(&self) -> bool {
        self.health.is_some()
    }

    /// Requests a path from where the operator serves its health.
    async fn ask(&self, path: &str) -> Result<(u16, String)> {
        ask(self.health.as_deref().context("it serves nothing")?, path).await
    }

    /// Waits until it knows that another holds the Lease, and an operator is ready, too.
    async fn stands_by(&self) -> Result<()> {
        eventually(PATIENCE, || async {
            if !self.is_operator() {
                return ensure_contains(&self.messages()?, "stands by");
            }
            let (code, reason) = self.ask("/readyz").await?;
            ensure!(code == 200, "{code}: {reason}");
            let queue: Value = serde_json::from_str(&self.ask("/debug/queue").await?.1)?;
            ensure!(queue["leads"] == false && queue["holder"].is_string(), "{queue}");
            Ok(())
        })
        .await
    }

    /// Waits until it has done all there is to do, and seen what it wrote, so that it only waits for the time of the next check.
    async fn rests(&self) -> Result<()> {
        eventually(PATIENCE, || async {
            let queue: Value = serde_json::from_str(&self.ask("/debug/queue").await?.1)?;
            let keys = queue["controllers"][0]["keys"].as_array().context("no keys")?;
            ensure!(keys.iter().all(|key| key["state"] == "waiting for its timer"), "{queue}");
            Ok(())
        })
        .await
    }

    /// Waits until it has begun to lead for the given time, and returns when.
    async fn leads(&self, time: usize) -> Result<Timestamp> {
        let begun = eventually(PATIENCE, || async {
            let term = self.terms()?.into_iter().nth(time);
            Ok(term.with_context(|| self.program.text().unwrap_or_default())?.from)
        });
        begun.await.context("waiting for a leader")
    }

    fn messages(&self) -> Result<Vec<String>> {
        Ok(self.program.lines()?.into_iter().map(|line| line.message).collect())
    }

    fn terms(&self) -> Result<Vec<Term>> {
        let mut terms: Vec<Term> = Vec::new();
        for line in self.program.lines()? {
            match &*line.message {
                "leads" => terms.push(Term { from: line.at, to: None }),
                "does not lead any more" | "releases the lead" => {
                    let last = terms.last_mut().context("it stopped leading, but did not lead")?;
                    last.to.get_or_insert(line.at);
                }
                _ => {}
            }
        }
        if let (Some(killed), Some(last)) = (self.killed, terms.last_mut()) {
            last.to.get_or_insert(killed);
        }
        Ok(terms)
    }

    /// Ends it in order, by SIGTERM.
    async fn terminate(&mut self) -> Result<()> {
        let status = self.program.terminate(PATIENCE).await?;
        ensure!(status.success(), "{status}: {}", self.program.text()?);
        Ok(())
    }

    /// Kills it, by SIGKILL.
    async fn kill(&mut self) -> Result<()> {
        self.program.kill().await?;
        self.killed = Some(Timestamp::now());
        Ok(())
    }
}

fn ensure_contains(messages: &[String], wanted: &str) -> Result<()> {
    ensure!(messages.iter().any(|message| message == wanted), "{messages:?}");
    Ok(())
}

/// All states of the Lease, in their order.
struct History {
    states: Arc<Mutex<Vec<Value>>>,
    watching: JoinHandle<()>,
}

impl History {
    async fn begin(cluster: &Cluster) -> Result<History> {
        let leases = at(cluster, "apis/coordination.k8s.io/v1", "leases");
        let list = cluster.admin().get(&leases).await?.code(200)?;
        let version = list["metadata"]["resourceVersion"].as_str().context("a list without a version")?;
        let mut watch =
            cluster.admin().watch(&format!("{leases}?watch=true&resourceVersion={version}")).await?;
        let states = Arc::new(Mutex::new(Vec::new()));
        let watching = tokio::spawn({
            let states = states.clone();
            async move {
                while let Ok(event) = watch.next().await {
                    states.lock().unwrap_or_else(PoisonError::into_inner).push(event.object);
                }
            }
        });
        Ok(History { states, watching })
    }

    /// Checks that the Lease had no other holder before it was released or had run out, and returns its holders until now.
    async fn holders(&self, cluster: &Cluster) -> Result<Vec<String>> {
        let leases = at(cluster, "apis/coordination.k8s.io/v1", "leases");
        let list = cluster.admin().get(&leases).await?.code(200)?;
        let at_version = |object: &Value| version(object).parse::<u64>();
        let now = list["items"].as_array().and_then(|items| items.first()).context("no Lease")?;
        let now = at_version(now)?;
        // The watch may be behind.
        eventually(PATIENCE, || async {
            ensure!(!self.watching.is_finished(), "the watch has ended");
            let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
            let reached = states.last().map(at_version).transpose()?;
            ensure!(reached.is_some_and(|reached| reached >= now), "{reached:?}, not yet {now}");
            Ok(())
        })
        .await?;
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let time = |lease: &Value, field: &str| -> Result<Timestamp> {
            Ok(lease["spec"][field].as_str().with_context(|| lease.to_string())?.parse()?)
        };
        for pair in states.windows(2) {
            let (old, new) = (&pair[0], &pair[1]);
            if [holder(old), holder(new)].iter().any(String::is_empty) || holder(old) == holder(new) {
                continue;
            }
            let seconds =
                old["spec"]["leaseDurationSeconds"].as_i64().context("a Lease without a duration")?;
            let ran_out = time(old, "renewTime")? + SignedDuration::from_secs(seconds);
            ensure!(time(new, "acquireTime")? >= ran_out, "taken before it ran out: {old} {new}");
        }
        let mut holders: Vec<String> = states.iter().map(holder).collect();
        holders.dedup();
        Ok(holders)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Checks that no two terms overlap, and returns them in their order.
fn one_after_another(candidates: &[Candidate]) -> Result<Vec<Term>> {
    let mut terms = Vec::new();
    for candidate in candidates {
        terms.extend(candidate.terms()?);
    }
    terms.sort_by_key(|term| term.from);
    for pair in terms.windows(2) {
        ensure!(pair[0].to.is_some_and(|end| end <= pair[1].from), "two lead: {terms:?}");
    }
    Ok(terms)
}

/// Checks that each but the first began to lead soon enough after the one before had stopped.
fn gaps_within(terms: &[Term], limit: Duration) -> Result<()> {
    for pair in terms.windows(2) {
        let gap = pair[1].from.duration_since(pair[0].to.context("it leads")?);
        ensure!(gap <= SignedDuration::try_from(limit)?, "nobody led for {gap:#}");
    }
    Ok(())
}

async fn go_and_rust_release_the_lead_to_each_other(cluster: Cluster) -> Result<()> {
    let (terms, holders) = take_turns(&cluster, async |leader| leader.terminate().await).await?;
    gaps_within(&terms, HANDOVER)?;
    let released = |index: usize| holders.get(index).is_some_and(String::is_empty);
    ensure!(holders.len() == 7 && [1, 3, 5].into_iter().all(released), "{holders:?}");
    Ok(())
}

async fn go_and_rust_replace_each_other_when_killed(cluster: Cluster) -> Result<()> {
    let (terms, holders) = take_turns(&cluster, async |leader| leader.kill().await).await?;
    gaps_within(&terms, TAKEOVER)?;
    ensure!(holders.len() == 4 && !holders.contains(&String::new()), "{holders:?}");
    Ok(())
}

/// Lets an operator, a candidate in Go, an operator and a candidate in Go lead in turn, and ends each when the next one stands by.
/// Returns their terms, and the holders of the Lease.
async fn take_turns(
    cluster: &Cluster,
    end: impl AsyncFn(&mut Candidate) -> Result<()>,
) -> Result<(Vec<Term>, Vec<String>)> {
    install(cluster).await?;
    let history = History::begin(cluster).await?;
    let kubeconfig = cluster.kubeconfig_file()?;
    let mut candidates = vec![Candidate::operator(cluster, &kubeconfig).await?];
    candidates[0].leads(0).await?;
    for turn in 1..4 {
        let next = match turn % 2 {
            0 => Candidate::operator(cluster, &kubeconfig).await?,
            _ => Candidate::in_go(cluster, turn).await?,
        };
        next.stands_by().await?;
        let leader = candidates.last_mut().context("the leader")?;
        if !leader.is_operator() {
            // The standby leaves it alone until it leads.
            create(cluster, "one", "https://example.com").await?;
        }
        end(leader).await?;
        let from = next.leads(0).await?;
        if next.is_operator() {
            let map = becomes(cluster, &children(cluster, "one")[0], |_| true).await?;
            let created = map["metadata"]["creationTimestamp"].as_str().context("a time")?;
            // It has no fractions of a second.
            let created = created.parse::<Timestamp>()?;
            ensure!(created.as_second() >= from.as_second(), "made at {created}, before it led at {from}");
        }
        candidates.push(next);
    }
    Ok((one_after_another(&candidates)?, history.holders(cluster).await?))
}

async fn two_replicas_survive_the_loss_of_the_leaders_network(cluster: Cluster) -> Result<()> {
    replicas_survive_the_loss_of_the_leaders_network(&cluster, 2).await
}

async fn five_replicas_survive_the_loss_of_the_leaders_network(cluster: Cluster) -> Result<()> {
    replicas_survive_the_loss_of_the_leaders_network(&cluster, 5).await
}

async fn replicas_survive_the_loss_of_the_leaders_network(cluster: &Cluster, count: usize) -> Result<()> {
    install(cluster).await?;
    let history = History::begin(cluster).await?;
    let network = cluster.behind_a_relay().await?;
    let behind = cluster.kubeconfig_file_through(&network)?;
    let mut replicas = vec![Candidate::operator(cluster, &behind).await?];
    replicas[0].leads(0).await?;
    let direct = cluster.kubeconfig_file()?;
    for _ in 1..count {
        replicas.push(Candidate::operator(cluster, &direct).await?);
    }
    for standby in &replicas[1..] {
        standby.stands_by().await?;
    }
    let (url, site) = server().await?;
    create(cluster, "one", &url).await?;
    condition(cluster, "one", "Reachable", "True").await?;
    replicas[0].rests().await?;

    let cut = Timestamp::now();
    network.freeze();
    // The old leader finds out, too, and cannot write it.
    drop(site);
    create(cluster, "two", &url).await?;
    condition(cluster, "one", "Reachable", "False").await?;
    condition(cluster, "two", "Reachable", "False").await?;

    let terms = one_after_another(&replicas)?;
    let [old, new] = terms[..] else { anyhow::bail!("{terms:?}") };
    let took = new.from.duration_since(cut);
    ensure!(took <= SignedDuration::try_from(TAKEOVER)?, "another led {took:#} after the cut");
    let stopped = old.to.context("the old leader leads")?;
    // It went on until its deadline, and not a moment longer.
    let runs: Vec<Timestamp> = runs(&replicas[0])?;
    ensure!(runs.iter().any(|run| *run > cut), "it stopped before its deadline");
    ensure!(runs.iter().all(|run| *run <= stopped), "runs at {runs:?}, although it stopped at {stopped}");
    stands_by_without_a_network(&mut replicas[0]).await?;

    network.mend();
    replicas[0].stands_by().await?;
    // All others end, the leader last.
    let leader = replicas.iter().position(|replica| {
        replica.terms().is_ok_and(|terms| terms.last().is_some_and(|term| term.to.is_none()))
    });
    let leader = leader.context("nobody leads")?;
    for standby in (1..count).filter(|index| *index != leader).chain([leader]) {
        replicas[standby].terminate().await?;
    }
    let again = replicas[0].leads(1).await?;
    let released = one_after_another(&replicas)?[1].to.context("it was terminated")?;
    ensure!(again.duration_since(released) <= SignedDuration::try_from(HANDOVER)?, "{released} {again}");
    create(cluster, "three", &url).await?;
    for blog in ["one", "two", "three"] {
        condition(cluster, blog, "Reachable", "False").await?;
        for child in children(cluster, blog) {
            becomes(cluster, &child, |_| true).await?;
        }
    }
    one_after_another(&replicas)?;
    let holders = history.holders(cluster).await?;
    ensure!(holders.len() == 4 && holders[0] == holders[3] && holders[2].is_empty(), "{holders:?}");
    Ok(())
}

/// When an operator began its runs.
fn runs(operator: &Candidate) -> Result<Vec<Timestamp>> {
    let lines = operator.program.lines()?;
    Ok(lines.into_iter().filter(|line| line.message == "run").map(|line| line.at).collect())
}

async fn stands_by_without_a_network(operator: &mut Candidate) -> Result<()> {
    ensure!(operator.program.is_running()?, "it ended: {}", operator.program.text()?);
    assert_eq!(operator.ask("/healthz").await?, (200, "ok\n".to_owned()));
    let (code, reason) = operator.ask("/readyz").await?;
    ensure!(code == 503 && reason.contains("leader election: "), "{code}: {reason}");
    let metrics = operator.ask("/metrics").await?.1;
    for (name, value) in [
        ("leader_election_master_status{name=\"blog-operator\"}", "0"),
        ("controller_runtime_active_workers{controller=\"blog\"}", "0"),
    ] {
        let found = metrics.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        ensure!(found == Some(value), "{name}: {found:?}, not {value}");
    }
    Ok(())
}
