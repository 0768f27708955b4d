//! kube-informer on a live server: its behaviour when objects, the server and the network change.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{Cluster, eventually};
use kube::{Client, api::DynamicObject, core::GroupVersionKind, discovery::ApiResource};
use kube_informer::{
    Change, Error, Event, Informer, InformerBuilder, Informers, ListSemantic, Phase, Shard, Status,
    Subscription,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::{
    credentials::{bind, nobody},
    widgets::{CRDS, GROUP, Widgets, version, widgets, widgets_of_group},
};

e2e::on_each_cluster! {
    initial_list, changes, label_selector, reads_its_own_writes, forbidden, unknown_type, restart [Restart],
    compaction [Compaction], type_removed_and_back, many_pages, breaking_connections, set_of_namespaces,
    warm_start, warm_start_after_compaction [Compaction],
    slow_subscriber, many_namespaces, watch_list [WatchLists], no_watch_list [NoWatchLists], shards,
    cluster_scoped_type_in_a_namespace, list_only_type
}

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn widget_type(group: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", "Widget"), "widgets")
}

fn start(client: Client, group: &str, namespace: &str) -> Informer<DynamicObject> {
    Informers::new(client).dynamic(&widget_type(group)).namespace(namespace).start()
}

/// Returns the next event in a few words.
async fn next(events: &mut Subscription<DynamicObject>) -> Result<String> {
    let event = timeout(PATIENCE, events.next()).await.context("no event in time")?.context("the end")?;
    let size = |object: &DynamicObject| object.data["spec"]["size"].as_str().unwrap_or_default().to_owned();
    let mut words = String::new();
    match event {
        Event::Synced { count, .. } => write!(words, "synced {count}")?,
        Event::Change(Change::Added { key, object, initial }) => {
            let how = if initial { "initially" } else { "added" };
            write!(words, "{how} {} {}", key.name(), size(&object))?;
        }
        Event::Change(Change::Updated { key, old, new }) => {
            write!(words, "updated {} {} to {}", key.name(), size(&old), size(&new))?;
        }
        Event::Change(Change::Deleted { key, last, reason }) => {
            write!(words, "deleted {} {} {reason:?}", key.name(), size(&last))?;
        }
        other => bail!("{other:?}"),
    }
    Ok(words)
}

async fn expect(events: &mut Subscription<DynamicObject>, expected: &str) -> Result<()> {
    let got = next(events).await?;
    ensure!(got == expected, "{got}, not {expected}");
    Ok(())
}

fn cached(informer: &Informer<DynamicObject>) -> Result<Vec<String>> {
    let snapshot = informer.snapshot()?;
    Ok(snapshot.iter().map(|object| object.metadata.name.clone().unwrap_or_default()).collect())
}

async fn initial_list(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    for name in ["b", "a", "c"] {
        widgets.create(name).await?;
    }
    let informer = start(cluster.client(), GROUP, cluster.namespace());
    let synced = timeout(PATIENCE, informer.synced()).await??;
    assert_eq!(synced.count, 3);
    assert_eq!(cached(&informer)?, ["a", "b", "c"]);
    let snapshot = informer.snapshot()?;
    let a = snapshot.get(cluster.namespace(), "a").context("a")?;
    assert_eq!(a.data["spec"], json!({"size": "small", "replicas": 1}));
    assert!(snapshot.get("elsewhere", "a").is_none());
    let mut events = informer.subscribe();
    for expected in ["initially a small", "initially b small", "initially c small", "synced 3"] {
        expect(&mut events, expected).await?;
    }
    Ok(())
}

async fn changes(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let informer = start(cluster.client(), GROUP, cluster.namespace());
    let mut events = informer.subscribe();
    expect(&mut events, "synced 0").await?;
    widgets.create("one").await?;
    expect(&mut events, "added one small").await?;
    widgets.merge("one", &json!({"spec": {"size": "large"}})).await?.code(200)?;
    expect(&mut events, "updated one small to large").await?;
    widgets.delete("one").await?.code(200)?;
    expect(&mut events, "deleted one large Deleted").await?;
    assert!(cached(&informer)?.is_empty());
    widgets.create("one").await?;
    expect(&mut events, "added one small").await
}

async fn label_selector(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create_labelled("in", &json!({"app": "x"})).await?;
    widgets.create_labelled("out", &json!({"app": "y"})).await?;
    let informers = Informers::new(cluster.client());
    let informer =
        informers.dynamic(&widget_type(GROUP)).namespace(cluster.namespace()).label_selector("app=x").start();
    let mut events = informer.subscribe();
    expect(&mut events, "initially in small").await?;
    expect(&mut events, "synced 1").await?;
    let label = async |name: &str, value: &str| {
        widgets.merge(name, &json!({"metadata": {"labels": {"app": value}}})).await?.code(200)
    };
    label("in", "y").await?;
    expect(&mut events, "deleted in small DeletedOrLeftSelection").await?;
    label("out", "x").await?;
    expect(&mut events, "added out small").await?;
    assert_eq!(cached(&informer)?, ["out"]);
    Ok(())
}

async fn reads_its_own_writes(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let informer = start(cluster.client(), GROUP, cluster.namespace());
    timeout(PATIENCE, informer.synced()).await??;
    for name in ["a", "b", "c", "d"] {
        let written = widgets.create(name).await?;
        informer.wait_for(cluster.namespace(), version(&written), Instant::now() + PATIENCE).await?;
        ensure!(cached(&informer)?.contains(&name.to_owned()), "{name} is not there");
    }
    Ok(())
}

async fn forbidden(cluster: Cluster) -> Result<()> {
    widgets(&cluster).await?;
    let nobody = cluster.nobody_client();
    let informer = start(nobody, GROUP, cluster.namespace());
    let Err(error) = timeout(PATIENCE, informer.synced()).await? else { bail!("nobody may list") };
    ensure!(error.is_forbidden(), "{error:?}");
    let message = &error.status().context("a status")?.message;
    let verb = format!("cannot list resource \"widgets\" in API group \"{GROUP}\" in the namespace");
    let watch = verb.replace("cannot list", "cannot watch");
    ensure!(message.contains(&verb) || message.contains(&watch), "{message}");
    assert!(informer.snapshot().is_err());
    Ok(())
}

async fn unknown_type(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let informer = start(cluster.client(), &group, cluster.namespace());
    let Err(error) = timeout(PATIENCE, informer.synced()).await? else { bail!("there is such a type") };
    ensure!(error.is_unknown_type(), "{error:?}");
    // It retries until the type is served.
    let widgets = widgets_of_group(&cluster, &group).await?;
    widgets.create("one").await?;
    timeout(PATIENCE, informer.watch_status().wait_for(|status| status.synced)).await??;
    eventually(PATIENCE, || async {
        ensure!(cached(&informer)? == ["one"]);
        Ok(())
    })
    .await
}

async fn restart(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    for name in ["goes", "stays"] {
        widgets.create(name).await?;
    }
    let informer = start(cluster.client(), GROUP, cluster.namespace());
    let mut events = informer.subscribe();
    for expected in ["initially goes small", "initially stays small", "synced 2"] {
        expect(&mut events, expected).await?;
    }
    cluster.stop().await?;
    let mut status = informer.watch_status();
    timeout(PATIENCE, status.wait_for(|status| matches!(status.phase, Phase::Retrying { .. }))).await??;
    // Its cache can still be read.
    assert_eq!(cached(&informer)?, ["goes", "stays"]);
    cluster.resume().await?;
    eventually(PATIENCE, || async { widgets.delete("goes").await?.code(200) }).await?;
    eventually(PATIENCE, || async { widgets.post("comes", &json!({"size": "small"})).await?.code(201) })
        .await?;
    let mut news = [next(&mut events).await?, next(&mut events).await?];
    news.sort();
    ensure!(
        news == ["added comes small", "deleted goes small Deleted"]
            || news == ["added comes small", "deleted goes small MissedWhileAway"],
        "{news:?}"
    );
    timeout(PATIENCE, status.wait_for(|status| matches!(status.phase, Phase::Watching))).await??;
    assert_eq!(cached(&informer)?, ["comes", "stays"]);
    Ok(())
}

async fn compaction(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    for name in ["goes", "stays"] {
        widgets.create(name).await?;
    }
    let informer = start(cluster.client(), GROUP, cluster.namespace());
    let mut events = informer.subscribe();
    for expected in ["initially goes small", "initially stays small", "synced 2"] {
        expect(&mut events, expected).await?;
    }
    let before = informer.snapshot()?;
    // This one is disconnected while one object is deleted, another is created, and the history is compacted.
    let behind = cluster.behind_a_relay().await?;
    let away = start(behind.client(), GROUP, cluster.namespace());
    timeout(PATIENCE, away.synced()).await??;
    let mut seen = away.subscribe();
    for expected in ["initially goes small", "initially stays small", "synced 2"] {
        expect(&mut seen, expected).await?;
    }
    behind.cut();
    widgets.delete("goes").await?.code(200)?;
    widgets.create("comes").await?;
    cluster.compact().await?;
    behind.mend();
    let mut news = [next(&mut seen).await?, next(&mut seen).await?];
    news.sort();
    assert_eq!(news, ["added comes small", "deleted goes small MissedWhileAway"]);
    assert_eq!(cached(&away)?, ["comes", "stays"]);
    // An informer that was connected gets the changes from its watch, or from a list if the server was restarted. The result
    // is the same.
    eventually(PATIENCE, || async {
        ensure!(cached(&informer)? == ["comes", "stays"]);
        Ok(())
    })
    .await?;
    // A snapshot never changes.
    assert_eq!(before.len(), 2);
    Ok(())
}

/// Describes an informer of the widgets that keeps a copy of its cache in this folder.
fn persisted(client: Client, cluster: &Cluster, folder: &TempDir) -> Result<InformerBuilder<DynamicObject>> {
    let builder = Informers::new(client).dynamic(&widget_type(GROUP)).namespace(cluster.namespace());
    Ok(builder.persist(folder.path())?)
}

/// Leaves a copy of the widgets `goes` and `stays` in this folder. Then `goes` is deleted, and `comes` is created.
async fn left_on_disk(cluster: &Cluster, widgets: &Widgets, folder: &TempDir) -> Result<()> {
    for name in ["goes", "stays"] {
        widgets.create(name).await?;
    }
    let informer = persisted(cluster.client(), cluster, folder)?.start();
    assert_eq!(timeout(PATIENCE, informer.synced()).await??.count, 2);
    informer.save().await?;
    drop(informer);
    widgets.delete("goes").await?.code(200)?;
    widgets.create("comes").await?;
    Ok(())
}

async fn warm_start(cluster: Cluster) -> Result<()> {
    let (widgets, folder) = (widgets(&cluster).await?, tempfile::tempdir()?);
    left_on_disk(&cluster, &widgets, &folder).await?;
    let informer = persisted(cluster.client(), &cluster, &folder)?.start();
    let mut events = informer.subscribe();
    for expected in [
        "initially goes small",
        "initially stays small",
        "synced 2",
        "deleted goes small Deleted",
        "added comes small",
    ] {
        expect(&mut events, expected).await?;
    }
    timeout(PATIENCE, informer.synced()).await??;
    assert_eq!(cached(&informer)?, ["comes", "stays"]);
    informer.save().await?;
    drop(informer);

    // Nothing happens meanwhile, so the server only accepts the watch.
    let informer = persisted(cluster.client(), &cluster, &folder)?.start();
    timeout(PATIENCE, informer.watch_status().wait_for(|status| status.synced)).await??;
    ensure!(informer.status().from_disk, "the copy was not used");
    timeout(PATIENCE, informer.synced()).await??;
    assert_eq!(cached(&informer)?, ["comes", "stays"]);
    drop(informer);

    // Somebody who may not list them does not see the copy either.
    let nobody = persisted(cluster.nobody_client(), &cluster, &folder)?.start();
    let Err(error) = timeout(PATIENCE, nobody.synced()).await? else { bail!("nobody may list") };
    ensure!(error.is_forbidden(), "{error:?}");
    assert!(nobody.snapshot().is_err());
    Ok(())
}

async fn warm_start_after_compaction(cluster: Cluster) -> Result<()> {
    let (widgets, folder) = (widgets(&cluster).await?, tempfile::tempdir()?);
    left_on_disk(&cluster, &widgets, &folder).await?;
    cluster.compact().await?;
    let informer = persisted(cluster.client(), &cluster, &folder)?.start();
    let mut events = informer.subscribe();
    for expected in ["initially goes small", "initially stays small", "synced 2"] {
        expect(&mut events, expected).await?;
    }
    let mut news = [next(&mut events).await?, next(&mut events).await?];
    news.sort();
    assert_eq!(news, ["added comes small", "deleted goes small MissedWhileAway"]);
    timeout(PATIENCE, informer.synced()).await??;
    assert_eq!(cached(&informer)?, ["comes", "stays"]);
    Ok(())
}

async fn type_removed_and_back(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    widgets.create("one").await?;
    let informer = start(cluster.client(), &group, cluster.namespace());
    let mut events = informer.subscribe();
    for expected in ["initially one small", "synced 1"] {
        expect(&mut events, expected).await?;
    }
    remove_type(&widgets, &group).await?;
    let gone = next(&mut events).await?;
    ensure!(gone == "deleted one small Deleted" || gone == "deleted one small TypeGone", "{gone}");
    let mut status = informer.watch_status();
    timeout(PATIENCE, status.wait_for(|status| matches!(status.phase, Phase::TypeGone { .. }))).await??;
    assert!(cached(&informer)?.is_empty());

    let widgets = widgets_of_group(&cluster, &group).await?;
    widgets.create("two").await?;
    expect(&mut events, "added two small").await?;
    timeout(PATIENCE, status.wait_for(|status| matches!(status.phase, Phase::Watching))).await??;
    Ok(())
}

async fn remove_type(widgets: &Widgets, group: &str) -> Result<()> {
    let crd = format!("{CRDS}/widgets.{group}");
    widgets.http.delete(&crd).await?.code(200)?;
    eventually(PATIENCE, || async { widgets.http.get(&crd).await?.code(404) }).await?;
    Ok(())
}

async fn many_pages(cluster: Cluster) -> Result<()> {
    const COUNT: usize = 1_200;
    let widgets = widgets(&cluster).await?;
    let create = |index: usize| {
        let widget = widgets.draft(&format!("w{index:04}"), &json!({"size": "small"}));
        let (http, path) = (widgets.http.clone(), widgets.path.clone());
        async move { http.post(&path, &widget).await?.code(201).map(drop) }
    };
    let creations = futures_util::stream::iter((0..COUNT).map(create));
    futures_util::TryStreamExt::try_for_each(
        futures_util::StreamExt::buffer_unordered(creations, 32),
        async |()| Ok(()),
    )
    .await?;
    let informer = start(cluster.client(), GROUP, cluster.namespace());
    assert_eq!(timeout(PATIENCE, informer.synced()).await??.count, COUNT);
    let names = cached(&informer)?;
    assert!(names.is_sorted() && names.len() == COUNT);
    Ok(())
}

/// The UID and version of each widget by name.
type Known = BTreeMap<String, (String, String)>;

fn identity(object: &DynamicObject) -> (String, String) {
    (
        object.metadata.uid.clone().unwrap_or_default(),
        object.metadata.resource_version.clone().unwrap_or_default(),
    )
}

/// The state that follows from a subscriber's events. Each change is checked against the previous events.
struct Follower {
    events: Subscription<DynamicObject>,
    known: Known,
}

impl Follower {
    fn new(informer: &Informer<DynamicObject>) -> Self {
        Self { events: informer.subscribe(), known: Known::new() }
    }

    async fn hear(&mut self) -> Result<()> {
        match self.events.next().await.context("the end")? {
            Event::Change(Change::Added { key, object, .. }) => {
                let before = self.known.insert(key.name().to_owned(), identity(&object));
                ensure!(before.is_none(), "{key} was added twice");
            }
            Event::Change(Change::Updated { key, old, new }) => {
                let before = self.known.insert(key.name().to_owned(), identity(&new));
                ensure!(before == Some(identity(&old)), "{key} was {before:?}");
                ensure!(old.metadata.uid == new.metadata.uid, "{key} is another object");
            }
            Event::Change(Change::Deleted { key, last, .. }) => {
                let before = self.known.remove(key.name());
                ensure!(before.is_some_and(|(uid, _)| Some(uid) == last.metadata.uid), "{key} was not there");
            }
            _ => {}
        }
        Ok(())
    }

    async fn knows(&mut self, expected: &Known) -> Result<()> {
        let reading = async {
            while self.known != *expected {
                self.hear().await?;
            }
            anyhow::Ok(())
        };
        let read = timeout(PATIENCE, reading).await;
        read.with_context(|| format!("{:?} is known, not {expected:?}", self.known))?
    }
}

/// Whatever the network does, in the end the cache equals the server's state, and replaying a subscriber's events yields
/// the cache. Silence of several minutes is left to tests in virtual time.
async fn breaking_connections(cluster: Cluster) -> Result<()> {
    const NAMES: usize = 30;
    const WRITES: u64 = 150;
    /// How many connections have to break during the test.
    const ENOUGH: usize = 9;
    let widgets = widgets(&cluster).await?;
    let network = cluster.behind_a_relay().await?;
    let informers = Informers::new(network.client());
    let builder = || informers.dynamic(&widget_type(GROUP));
    let followed = [
        builder().namespace(cluster.namespace()).start(),
        builder().namespace(cluster.namespace()).list_semantic(ListSemantic::Any).start(),
        builder().namespaces([cluster.namespace(), "default"]).start(),
    ];
    let mut followers: Vec<Follower> = followed.iter().map(Follower::new).collect();
    let writes = async {
        let mut random = fastrand::Rng::with_seed(1);
        let deadline = Instant::now() + PATIENCE;
        for write in 0.. {
            if write % 50 == 0 {
                network.storm(write);
            }
            if write > WRITES && network.broken() >= ENOUGH {
                break;
            }
            ensure!(Instant::now() < deadline, "the network broke {} times only", network.broken());
            let name = format!("w{}", random.usize(0..NAMES));
            // Large objects span several TLS records, so that a connection can break within a line.
            let padding = "x".repeat(random.usize(0..6_000));
            let changed =
                json!({"metadata": {"annotations": {"padding": padding, "write": write.to_string()}}});
            if random.u8(0..4) == 0 {
                widgets.delete(&name).await?;
            } else if widgets.merge(&name, &changed).await?.code(200).is_err() {
                widgets.create(&name).await?;
            }
        }
        anyhow::Ok(())
    };
    let mut writes = std::pin::pin!(writes);
    loop {
        // One subscriber reads continuously, the others only at the end.
        tokio::select! {
            written = &mut writes => break written?,
            heard = followers[0].hear() => heard?,
        }
    }
    network.mend();
    // Only the final state has it. Without it, an earlier state might be the same.
    widgets.create("last").await?;

    let list = widgets.http.get(&widgets.path).await?.code(200)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = list["items"].as_array().context("items")?.iter().map(|item| &item["metadata"]);
    let expected: Known = items
        .map(|item| (text(&item["name"]), (text(&item["uid"]), text(&item["resourceVersion"]))))
        .collect();
    ensure!(expected.len() > NAMES / 3, "{} widgets", expected.len());
    for (informer, follower) in followed.iter().zip(&mut followers) {
        follower.knows(&expected).await?;
        let snapshot = informer.snapshot()?;
        let cached: Known =
            snapshot.entries().map(|(key, object)| (key.name().to_owned(), identity(object))).collect();
        ensure!(cached == expected, "{cached:?} is cached, not {expected:?}");
    }
    Ok(())
}

async fn set_of_namespaces(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let other = format!("{}-too", cluster.namespace());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}});
    cluster.admin().post("/api/v1/namespaces", &namespace).await?.code(201)?;
    let there = format!("/apis/{GROUP}/v1/namespaces/{other}/widgets");
    let mut widget = widgets.draft("two", &json!({"size": "small"}));
    widget["metadata"]["namespace"] = json!(other);

    let informers = Informers::new(cluster.client());
    let informer = informers.dynamic(&widget_type(GROUP)).namespaces([cluster.namespace()]).start();
    let mut events = informer.subscribe();
    expect(&mut events, "initially one small").await?;
    expect(&mut events, "synced 1").await?;
    let written = cluster.admin().post(&there, &widget).await?.code(201)?;
    informer.add_namespace(&other)?;
    assert_eq!(timeout(PATIENCE, informer.synced()).await??.count, 2);
    expect(&mut events, "added two small").await?;
    informer.wait_for(other.as_str(), version(&written), Instant::now() + PATIENCE).await?;
    cluster.admin().delete(&format!("{there}/two")).await?.code(200)?;
    expect(&mut events, "deleted two small Deleted").await?;
    informer.remove_namespace(cluster.namespace())?;
    assert!(cached(&informer)?.is_empty());
    expect(&mut events, "deleted one small NamespaceRemoved").await
}

async fn slow_subscriber(cluster: Cluster) -> Result<()> {
    const CHANGES: usize = 50;
    let widgets = widgets(&cluster).await?;
    for name in ["changes", "goes"] {
        widgets.create(name).await?;
    }
    let informer = start(cluster.client(), GROUP, cluster.namespace());
    let mut slow = informer.subscribe();
    for expected in ["initially changes small", "initially goes small", "synced 2"] {
        expect(&mut slow, expected).await?;
    }
    // It reads no events while many changes happen.
    let mut last = String::new();
    for change in 0..CHANGES {
        let size = if change + 1 == CHANGES { "last" } else { ["small", "large"][change % 2] };
        let merged = widgets.merge("changes", &json!({"spec": {"size": size}})).await?.code(200)?;
        version(&merged).clone_into(&mut last);
    }
    widgets.delete("goes").await?.code(200)?;
    informer.wait_for(cluster.namespace(), &last, Instant::now() + PATIENCE).await?;
    eventually(PATIENCE, || async {
        ensure!(cached(&informer)? == ["changes"]);
        Ok(())
    })
    .await?;
    // The waiting changes were merged into one per object, from the state in its last event to the current state.
    let mut news = [next(&mut slow).await?, next(&mut slow).await?];
    news.sort();
    assert_eq!(news, ["deleted goes small Deleted", "updated changes small to last"]);
    Ok(())
}

async fn many_namespaces(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    let admin = cluster.admin();
    let mut namespaces = Vec::new();
    for _ in 0..5 {
        let body =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "e2e-many-"}});
        let made = admin.post("/api/v1/namespaces", &body).await?.code(201)?;
        namespaces.push(made["metadata"]["name"].as_str().context("a name")?.to_owned());
    }
    let path = |namespace: &str| format!("/apis/{group}/v1/namespaces/{namespace}/widgets");
    for namespace in &namespaces {
        let widget = widgets.draft("same", &json!({"size": "small"}));
        admin.post(&path(namespace), &widget).await?.code(201)?;
    }
    // Each namespace has an object of the same name. There is one informer for all namespaces, and one for each.
    let informers = Informers::new(cluster.client());
    let all = informers.dynamic(&widget_type(&group)).start();
    assert_eq!(timeout(PATIENCE, all.synced()).await??.count, namespaces.len());
    for namespace in &namespaces {
        let one = informers.dynamic(&widget_type(&group)).namespace(namespace).start();
        assert_eq!(timeout(PATIENCE, one.synced()).await??.count, 1);
        let snapshot = all.snapshot()?;
        let found =
            snapshot.get(namespace.as_str(), "same").with_context(|| format!("nothing of {namespace}"))?;
        assert_eq!(found.metadata.namespace.as_deref(), Some(&**namespace));
        admin.delete(&format!("/api/v1/namespaces/{namespace}")).await?.ok()?;
    }
    remove_type(&widgets, &group).await
}

/// Starts an informer as a user who may watch but not list.
async fn of_a_watcher(cluster: &Cluster) -> Result<Informer<DynamicObject>> {
    bind(cluster, "may-watch", &["watch"], &nobody()).await?;
    let widgets = widgets(cluster).await?;
    widgets.create("one").await?;
    // A real server's authorizer reads from a cache.
    let watched = format!("{}?watch=true&timeoutSeconds=1", widgets.path);
    eventually(PATIENCE, || async { cluster.nobody().watch(&watched).await }).await?;
    cluster.nobody().get(&widgets.path).await?.code(403)?;
    Ok(start(cluster.nobody_client(), GROUP, cluster.namespace()))
}

async fn watch_list(cluster: Cluster) -> Result<()> {
    // A watch-list needs no permission to list.
    let informer = of_a_watcher(&cluster).await?;
    assert_eq!(timeout(PATIENCE, informer.synced()).await??.count, 1);
    assert_eq!(cached(&informer)?, ["one"]);
    Ok(())
}

async fn no_watch_list(cluster: Cluster) -> Result<()> {
    let informer = of_a_watcher(&cluster).await?;
    // The server refuses to send the current state in a watch, and the user may not list it.
    let Err(error) = timeout(PATIENCE, informer.synced()).await? else { bail!("nobody may list") };
    ensure!(error.is_forbidden(), "{error:?}");
    bind(&cluster, "may-list", &["list"], &nobody()).await?;
    timeout(PATIENCE, informer.watch_status().wait_for(Status::is_ready)).await??;
    assert_eq!(cached(&informer)?, ["one"]);
    let mut events = informer.subscribe();
    for expected in ["initially one small", "synced 1"] {
        expect(&mut events, expected).await?;
    }
    widgets(&cluster).await?.create("two").await?;
    expect(&mut events, "added two small").await
}

/// On a server with and without KEP-5866.
async fn shards(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    for number in 0..30 {
        widgets.create(&format!("widget-{number:02}")).await?;
    }
    let informers = Informers::new(cluster.client());
    let mut found = Vec::new();
    let shards = (0..3).map(|index| {
        let builder = informers.dynamic(&widget_type(GROUP)).namespace(cluster.namespace());
        Ok(builder.shard(Shard::by_uid(index, 3)?).start())
    });
    let shards = shards.collect::<Result<Vec<_>>>()?;
    for shard in &shards {
        timeout(PATIENCE, shard.synced()).await??;
        found.extend(cached(shard)?);
    }
    found.sort();
    let all: Vec<String> = (0..30).map(|number| format!("widget-{number:02}")).collect();
    ensure!(found == all, "{found:?}");
    widgets.delete("widget-07").await?.code(200)?;
    let written = widgets.create("widget-30").await?;
    let mut left = 0;
    for shard in &shards {
        shard.wait_for(cluster.namespace(), version(&written), Instant::now() + 3 * PATIENCE).await?;
        left += shard.snapshot()?.len();
    }
    assert_eq!(left, 30);
    Ok(())
}

async fn cluster_scoped_type_in_a_namespace(cluster: Cluster) -> Result<()> {
    let namespaces =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Namespace"), "namespaces");
    let informer =
        Informers::new(cluster.client()).dynamic(&namespaces).namespace(cluster.namespace()).start();
    let Err(error) = timeout(PATIENCE, informer.synced()).await? else { bail!("namespaces have namespaces") };
    ensure!(matches!(error, Error::NotNamespaced { .. }), "{error:?}");
    Ok(())
}

async fn list_only_type(cluster: Cluster) -> Result<()> {
    let kind = GroupVersionKind::gvk("", "v1", "ComponentStatus");
    let statuses = ApiResource::from_gvk_with_plural(&kind, "componentstatuses");
    let informers = Informers::new(cluster.client());
    let watched = informers.dynamic(&statuses).start();
    let Err(error) = timeout(PATIENCE, watched.synced()).await? else { bail!("they can be watched") };
    ensure!(matches!(error, Error::NotWatchable { .. }), "{error:?}");
    let polled = informers.dynamic(&statuses).poll_every(Duration::from_secs(5)).start();
    let synced = timeout(PATIENCE, polled.synced()).await??;
    ensure!(synced.count > 0, "{synced:?}");
    Ok(())
}
