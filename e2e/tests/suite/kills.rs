//! The operator on a network that breaks its connections, and killed again and again: it leaves what it leaves without that.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, Relay, eventually, http::MERGE_PATCH, logged::Logged};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    crdctl::install,
    operator::{PATIENCE, at, children, command, server},
};

e2e::on_each_cluster! { what_kills_and_broken_connections_leave_is_what_a_calm_run_leaves [Controllers] }

/// How long blogs are changed and operators killed.
const UNREST: Duration = Duration::from_secs(10);

/// How long it may take until the garbage collector knows a new type. A real one looks for them every 30 s.
const COLLECTOR: Duration = Duration::from_secs(60);

/// At least this many operators are killed, however slow the machine is.
const KILLS: usize = 5;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The path of each blog's address; a blog without one is not there.
type Blogs = BTreeMap<&'static str, Option<u32>>;

/// The objects of the test's namespace without what differs from run to run, by kind and name.
type State = BTreeMap<String, Value>;

async fn what_kills_and_broken_connections_leave_is_what_a_calm_run_leaves(cluster: Cluster) -> Result<()> {
    let seed =
        env::var("E2E_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    compare(&cluster, seed).await.with_context(|| format!("E2E_SEED={seed} makes the same choices again"))
}

async fn compare(cluster: &Cluster, seed: u64) -> Result<()> {
    install(cluster).await?;
    wait_for_the_garbage_collector(cluster).await?;
    let mut random = fastrand::Rng::with_seed(seed);
    let (site, _server) = server().await?;
    let mut blogs: Blogs = NAMES.iter().map(|name| (*name, random.bool().then(|| random.u32(..)))).collect();
    blogs.insert(NAMES[0], Some(random.u32(..)));

    // What is left without faults.
    let mut calm = start(cluster, &cluster.kubeconfig_file()?, 0).await?;
    bring_to(cluster, &site, &blogs).await?;
    let expected = eventually(PATIENCE, || async {
        let state = state(cluster).await?;
        ensure!(is_settled(&state, &blogs), "{}", json!(state));
        Ok(state)
    });
    let expected = expected.await.context("without faults")?;
    let ended = calm.terminate(PATIENCE).await?;
    ensure!(ended.success(), "{ended}: {}", calm.text()?);

    let network = cluster.behind_a_relay().await?;
    let (changes, kills) = (random.fork(), random.fork());
    let (_, mut operator) =
        tokio::try_join!(change(cluster, &site, changes), kill_again_and_again(cluster, &network, kills))?;
    bring_to(cluster, &site, &blogs).await?;
    network.mend();
    let log = || operator.text().unwrap_or_default();
    eventually(PATIENCE, || async { same(&expected, &state(cluster).await?) }).await.with_context(log)?;
    let ended = operator.terminate(PATIENCE).await?;
    ensure!(ended.success(), "{ended}: {}", operator.text()?);
    same(&expected, &state(cluster).await?)
}

/// Waits until the garbage collector knows the type of blogs, and so deletes what belongs to one that is not there.
async fn wait_for_the_garbage_collector(cluster: &Cluster) -> Result<()> {
    let (admin, maps) = (cluster.admin(), at(cluster, "api/v1", "configmaps"));
    let owner = json!({"apiVersion": "web.helloworld/v1", "kind": "Blog", "name": "gone", "uid": "gone"});
    let map = json!({"metadata": {"generateName": "gone-", "ownerReferences": [owner]}});
    eventually(COLLECTOR, || async {
        // Each time another one: it looks at the same one more and more rarely.
        let map = admin.post(&maps, &map).await?.code(201)?;
        let path = format!("{maps}/{}", map["metadata"]["name"].as_str().context("a name")?);
        let gone = eventually(Duration::from_secs(1), || async { admin.get(&path).await?.code(404) }).await;
        admin.delete(&path).await?;
        gone.map(drop).context("what belonged to a blog that is not there")
    })
    .await
}

async fn start(cluster: &Cluster, kubeconfig: &Path, number: usize) -> Result<Logged> {
    let command = command(cluster, kubeconfig, "--log-format json").await?.into_command();
    Logged::start(command, &cluster.folder().join(format!("operator-{number}.log")))
}

/// Kills and starts operators behind a relay, and returns the last one, which runs.
async fn kill_again_and_again(
    cluster: &Cluster,
    network: &Relay,
    mut random: fastrand::Rng,
) -> Result<Logged> {
    let kubeconfig = cluster.kubeconfig_file_through(network)?;
    for number in 1..=KILLS {
        network.storm(random.u64(..));
        let mut operator = start(cluster, &kubeconfig, number).await?;
        sleep(Duration::from_millis(random.u64(100..2_000))).await;
        ensure!(operator.is_running()?, "it ended: {}", operator.text()?);
        operator.kill().await?;
    }
    ensure!(network.broken() > 0, "no connection broke");
    start(cluster, &kubeconfig, KILLS + 1).await
}

/// Changes blogs and what belongs to them, as anybody might.
async fn change(cluster: &Cluster, site: &str, mut random: fastrand::Rng) -> Result<()> {
    let end = Instant::now() + UNREST;
    while Instant::now() < end {
        let name = NAMES[random.usize(..NAMES.len())];
        let child = &children(cluster, name)[random.usize(..3)];
        let admin = cluster.admin();
        match random.u8(..10) {
            0..6 => set(cluster, site, name, random.u32(..)).await?,
            6 => delete(cluster, name, "Background").await?,
            7 => delete(cluster, name, "Foreground").await?,
            8 => drop(admin.delete(child).await?),
            _ => {
                let labels = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
                admin.patch(child, MERGE_PATCH, &labels).await?;
            }
        }
        sleep(Duration::from_millis(random.u64(..150))).await;
    }
    Ok(())
}

/// Creates or changes a blog. One that is being deleted stays as it is.
async fn set(cluster: &Cluster, site: &str, name: &str, page: u32) -> Result<()> {
    let spec = json!({"url": format!("{site}/{page}"), "checkInterval": "5s"});
    let blogs = at(cluster, "apis/web.helloworld/v1", "blogs");
    let (admin, patch) = (cluster.admin(), json!({"spec": spec}));
    if admin.patch(&format!("{blogs}/{name}"), MERGE_PATCH, &patch).await?.code != 404 {
        return Ok(());
    }
    let blog =
        json!({"apiVersion": "web.helloworld/v1", "kind": "Blog", "metadata": {"name": name}, "spec": spec});
    admin.post(&blogs, &blog).await?.ok().map(drop)
}

async fn delete(cluster: &Cluster, name: &str, policy: &str) -> Result<()> {
    let blog = at(cluster, "apis/web.helloworld/v1", &format!("blogs/{name}"));
    cluster.admin().delete_with(&blog, &json!({"propagationPolicy": policy})).await.map(drop)
}

/// Makes the blogs these, and waits until they are.
async fn bring_to(cluster: &Cluster, site: &str, blogs: &Blogs) -> Result<()> {
    for (name, page) in blogs {
        let blog = at(cluster, "apis/web.helloworld/v1", &format!("blogs/{name}"));
        let Some(page) = page else {
            delete(cluster, name, "Background").await?;
            continue;
        };
        eventually(PATIENCE, || async {
            set(cluster, site, name, *page).await?;
            let blog = cluster.admin().get(&blog).await?.code(200)?;
            ensure!(blog["metadata"]["deletionTimestamp"].is_null(), "{blog}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Whether each blog has all that belongs to it, and was found to be reachable.
fn is_settled(state: &State, blogs: &Blogs) -> bool {
    let there = blogs.iter().filter(|(_, page)| page.is_some());
    let reachable = |blog: &Value| {
        let mut conditions = blog["status"]["conditions"].as_array().into_iter().flatten();
        blog["status"]["observedGeneration"] == true
            && conditions.any(|it| it["type"] == "Reachable" && it["status"] == "True")
    };
    there.clone().all(|(name, _)| state.get(&format!("blogs {name}")).is_some_and(reachable))
        && state.len() == 4 * there.count()
}

/// Reads the state of the test's namespace.
async fn state(cluster: &Cluster) -> Result<State> {
    let mut state = State::new();
    let mut uids = Vec::new();
    for (group, resource) in [
        ("apis/web.helloworld/v1", "blogs"),
        ("api/v1", "configmaps"),
        ("api/v1", "services"),
        ("apis/apps/v1", "deployments"),
    ] {
        let mut list = cluster.admin().get(&at(cluster, group, resource)).await?.code(200)?;
        for object in list["items"].as_array_mut().context("a list")? {
            let name = object["metadata"]["name"].as_str().context("a name")?.to_owned();
            if name == "kube-root-ca.crt" {
                continue;
            }
            if resource == "blogs" {
                uids.push((object["metadata"]["uid"].as_str().context("a uid")?.to_owned(), name.clone()));
            }
            timeless(object);
            if resource == "deployments" {
                // Its controller may be anywhere between a change and its end.
                remove(object, &["status"]);
            }
            // Owners are named by uids, also in managed fields.
            let named = uids.iter().fold(object.to_string(), |text, (uid, name)| text.replace(uid, name));
            state.insert(format!("{resource} {name}"), serde_json::from_str(&named)?);
        }
    }
    Ok(state)
}

/// Removes uids, versions and times from an object, and what other programs of a cluster wrote.
fn timeless(object: &mut Value) {
    let generation = object["metadata"]["generation"].clone();
    let is_current = |observed: &Value| json!(*observed == generation);
    let meta = &mut object["metadata"];
    remove(meta, &["uid", "resourceVersion", "generation", "creationTimestamp"]);
    remove(&mut meta["annotations"], &["deployment.kubernetes.io/revision"]);
    if meta["annotations"].as_object().is_none_or(Map::is_empty) {
        remove(meta, &["annotations"]);
    }
    if let Some(managers) = meta["managedFields"].as_array_mut() {
        managers.retain(|manager| manager["manager"] == "blog-operator");
        managers.iter_mut().for_each(|manager| remove(manager, &["time"]));
    }
    // The addresses of a Service.
    remove(&mut object["spec"], &["clusterIP", "clusterIPs"]);
    let status = &mut object["status"];
    if status["observedGeneration"].is_number() {
        status["observedGeneration"] = is_current(&status["observedGeneration"]);
    }
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        remove(condition, &["lastTransitionTime", "lastUpdateTime"]);
        if condition["observedGeneration"].is_number() {
            condition["observedGeneration"] = is_current(&condition["observedGeneration"]);
        }
    }
}

fn remove(object: &mut Value, fields: &[&str]) {
    if let Some(object) = object.as_object_mut() {
        object.retain(|field, _| !fields.contains(&field.as_str()));
    }
}

/// Checks that a state is the expected one, and names what differs.
fn same(expected: &State, found: &State) -> Result<()> {
    let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let text = |state: &State, key| state.get(key).map_or("nothing".to_owned(), Value::to_string);
    let differences = keys.into_iter().filter(|key| expected.get(*key) != found.get(*key));
    let differences: Vec<String> = differences
        .map(|key| format!("{key}: expected {}\nfound {}", text(expected, key), text(found, key)))
        .collect();
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}
