//! Requests for versions that have been compacted away.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, eventually};
use serde_json::json;

use crate::widgets::{names, version, widgets};

e2e::on_each_cluster! { watch_expires [Compaction], pages_expire [Compaction], survives_a_restart [Restart] }

/// A real server was restarted, and responds with 429 until its caches are filled.
const PATIENCE: Duration = Duration::from_secs(10);

async fn watch_expires(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    for name in ["two", "three"] {
        widgets.create(name).await?;
    }
    cluster.compact().await?;
    let path = format!("{}?watch=true&resourceVersion={}", widgets.path, version(&one));
    let mut watch = eventually(PATIENCE, || widgets.http.watch(&path)).await?;
    let event = watch.next().await?;
    assert_eq!((&*event.kind, &event.object["code"]), ("ERROR", &json!(410)));
    assert_eq!(event.object["reason"], "Expired");
    let message = event.object["message"].as_str().unwrap_or_default();
    ensure!(message.starts_with(&format!("too old resource version: {} (", version(&one))), "{message}");
    assert_eq!(watch.try_next().await?, None);

    // The current state can still be listed and watched.
    let list = widgets.http.get(&widgets.path).await?.code(200)?;
    assert_eq!(names(&list), ["one", "three", "two"]);
    let path = format!("{}?watch=true&resourceVersion={}", widgets.path, version(&list));
    let mut watch = widgets.http.watch(&path).await?;
    widgets.create("four").await?;
    watch.expect("ADDED", "four").await?;
    Ok(())
}

async fn pages_expire(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    for name in ["a", "b", "c"] {
        widgets.create(name).await?;
    }
    let first = widgets.http.get(&format!("{}?limit=1", widgets.path)).await?.code(200)?;
    let token = first["metadata"]["continue"].as_str().context("a token")?;
    widgets.create("d").await?;
    cluster.compact().await?;
    let reply = widgets.http.get(&format!("{}?limit=1&continue={token}", widgets.path)).await?;
    let status = reply.refused(
        410,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    )?;
    // The rest, at the current version.
    let token = status["metadata"]["continue"].as_str().context("a token to continue with")?;
    let path = format!("{}?continue={token}", widgets.path);
    let rest = eventually(PATIENCE, || async { widgets.http.get(&path).await?.code(200) }).await?;
    assert_eq!(names(&rest), ["b", "c", "d"]);

    let path = format!("{}?resourceVersion={}&resourceVersionMatch=Exact", widgets.path, version(&first));
    let reply = widgets.http.get(&path).await?;
    assert_eq!(reply.body["reason"], "Expired");
    reply.code(410)?;
    Ok(())
}

async fn survives_a_restart(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let mut watch =
        widgets.http.watch(&format!("{}?watch=true&resourceVersion={}", widgets.path, version(&one))).await?;
    cluster.stop().await?;
    assert!(!matches!(watch.try_next().await, Ok(Some(_))));
    assert!(widgets.get("one").await.is_err());
    cluster.resume().await?;
    // Objects, versions, custom types and credentials are as before.
    eventually(PATIENCE, || async {
        ensure!(widgets.get("one").await?.code(200)? == one);
        Ok(())
    })
    .await?;
    let two = widgets.create("two").await?;
    ensure!(version(&two).parse::<u64>()? > version(&one).parse::<u64>()?);
    Ok(())
}
