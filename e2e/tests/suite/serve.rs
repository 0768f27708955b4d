//! `crdctl serve`, with and without a data folder. Acknowledged writes survive `kill -9`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use e2e::crdctl::{Crdctl, Running};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

/// Starts the server, and waits until it has reported the path of its kubeconfig.
async fn start(folder: &Path, arguments: &str) -> Result<(Running, PathBuf)> {
    let mut running = Crdctl::new(folder).await?.args("serve").args(arguments).start()?;
    let line = running.complaint("kubeconfig: ").await?;
    let path = folder.join(line.split_once("kubeconfig: ").context("a path")?.1.trim());
    Ok((running, path))
}

async fn connect(path: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// Returns the server's port from a kubeconfig.
fn port(path: &Path) -> Result<String> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    let cluster = kubeconfig.clusters.into_iter().next().and_then(|cluster| cluster.cluster);
    let server = cluster.and_then(|cluster| cluster.server).context("a server")?;
    Ok(server.rsplit(':').next().context("a port")?.to_owned())
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap_or_default()
}

fn version(map: &ConfigMap) -> Result<u64> {
    Ok(map.resource_version().context("a version")?.parse()?)
}

#[tokio::test]
async fn in_memory_until_a_signal() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (server, path) = start(folder.path(), "--port 0").await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(connect(&path).await?);
    maps.create(&PostParams::default(), &map("one")).await?;
    server.signal("TERM").await?;
    let (status, said) = server.ends_within(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(0) && said.contains("received SIGTERM"), "{status}: {said}");
    assert!(!path.exists(), "its kubeconfig is still there");
    Ok(())
}

/// As in a container, where the file system may be read-only, and the name is one of the host's.
#[tokio::test]
async fn on_all_addresses_with_the_kubeconfig_on_stdout() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let serve = "serve --port 0 --bind-address 0.0.0.0 --tls-san server.test,192.0.2.1 --kubeconfig-out -";
    let mut server = Crdctl::new(folder.path()).await?.args(serve).start()?;
    server.complaint("API server: https://0.0.0.0:").await?;
    let mut printed = String::new();
    while !printed.contains("\ncurrent-context:") {
        printed += &format!("{}\n", server.line().await?);
    }
    for name in ["server.test", "192.0.2.1", "localhost"] {
        let mut kubeconfig = Kubeconfig::from_yaml(&printed)?;
        let cluster = kubeconfig.clusters[0].cluster.as_mut().context("a cluster")?;
        ensure!(
            cluster.server.as_deref().is_some_and(|it| it.starts_with("https://127.0.0.1:")),
            "{printed}"
        );
        cluster.tls_server_name = Some(name.to_owned());
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let maps: Api<ConfigMap> = Api::default_namespaced(Client::try_from(config)?);
        maps.list(&ListParams::default()).await.with_context(|| name.to_owned())?;
    }
    server.signal("TERM").await?;
    let (status, said) = server.ends_within(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(0), "{status}: {said}");
    Ok(())
}

#[tokio::test]
async fn a_restart_keeps_the_data_and_the_kubeconfig() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (server, path) = start(folder.path(), "--port 0 --data-dir data").await?;
    assert_eq!(path, folder.path().join("data/kubeconfig"));
    let client = connect(&path).await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let one = maps.create(&PostParams::default(), &map("one")).await?;

    // A second server cannot use the folder at the same time.
    let second = Crdctl::new(folder.path()).await?.args("serve --port 0 --data-dir data").run().await?;
    ensure!(second.code == Some(1) && second.stderr.contains("is in use by another server"), "{second:?}");

    server.signal("INT").await?;
    let (status, said) = server.ends_within(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(0), "{status}: {said}");
    let arguments = format!("--port {} --data-dir data", port(&path)?);
    let (_server, same) = start(folder.path(), &arguments).await?;
    assert_eq!(same, path);
    // The earlier client still works, because the certificate and the token are the same.
    assert_eq!(maps.get("one").await?, one);
    Ok(())
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // The last acknowledged state of each object by name. `None`: it was deleted.
    let mut acknowledged: BTreeMap<String, Option<ConfigMap>> = BTreeMap::new();
    let mut last = 0;
    for round in 0..6 {
        let (server, path) = start(folder.path(), "--port 0 --data-dir data").await?;
        let maps: Api<ConfigMap> = Api::default_namespaced(connect(&path).await?);
        let found = maps.list(&ListParams::default()).await?;
        let newest: u64 = found.metadata.resource_version.context("a version")?.parse()?;
        ensure!(newest >= last, "versions went back from {last} to {newest}");
        let found: BTreeMap<String, ConfigMap> =
            found.items.into_iter().map(|map| (map.name_any(), map)).collect();
        for (name, state) in &acknowledged {
            match state {
                Some(map) => assert_eq!(found.get(name), Some(map), "in round {round}"),
                None => assert_eq!(found.get(name), None, "in round {round}"),
            }
        }

        // Concurrent writers, each with its own object. The server is killed after some number of responses, at an arbitrary
        // step of the other writers.
        let mut writes: FuturesUnordered<_> =
            (0..16).map(|writer| write(maps.clone(), format!("map-{round}-{writer}"))).collect();
        let mut answers = 0;
        let mut killed = false;
        while let Some((name, state, answered)) = writes.next().await {
            if answered {
                if let Some(map) = &state {
                    last = last.max(version(map)?);
                }
                acknowledged.insert(name.clone(), state);
                answers += 1;
                if !killed {
                    writes.push(write(maps.clone(), format!("{name}-{answers}")));
                }
            }
            if answers >= 40 + 37 * round && !killed {
                server.signal("KILL").await?;
                killed = true;
            }
        }
        ensure!(killed, "the server ended by itself");
        server.ends_within(Duration::from_secs(5)).await?;
    }
    Ok(())
}

/// Creates an object, and replaces or deletes it. Returns its name, its last state, and whether all writes were acknowledged.
/// The result of a write without a response is unknown, so an object with such a write is not checked.
async fn write(maps: Api<ConfigMap>, name: String) -> (String, Option<ConfigMap>, bool) {
    let Ok(mut created) = maps.create(&PostParams::default(), &map(&name)).await else {
        return (name, None, false);
    };
    created.data = Some([("a".to_owned(), name.clone())].into());
    if name.len().is_multiple_of(3) {
        let deleted = maps.delete(&name, &DeleteParams::default()).await.is_ok();
        return (name, None, deleted);
    }
    match maps.replace(&name, &PostParams::default(), &created).await {
        Ok(replaced) => (name, Some(replaced), true),
        Err(_) => (name, None, false),
    }
}
