//! `crdctl demo`, as a user without a cluster runs it.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::crdctl::{Crdctl, Running};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
};
use serde_json::json;

async fn start(folder: &tempfile::TempDir, arguments: &str) -> Result<(Running, PathBuf)> {
    let mut running = Crdctl::new(folder.path()).await?.args("demo").args(arguments).start()?;
    let line = running.complaint("kubeconfig: ").await?;
    let path = line.split_once("kubeconfig: ").context("a path")?.1.trim();
    let path = folder.path().join(path);
    Ok((running, path))
}

async fn connect(path: &PathBuf) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
}

fn blogs(client: Client) -> Api<DynamicObject> {
    let blog = ApiResource::from_gvk(&GroupVersionKind::gvk("web.helloworld", "v1", "Blog"));
    Api::default_namespaced_with(client, &blog)
}

#[tokio::test]
async fn transcript() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut demo, path) = start(&folder, "--every 1s").await?;
    ensure!(path.metadata()?.permissions().mode() & 0o077 == 0, "others can read {}", path.display());
    demo.line_with(&["ADDED", "default", "blog-sample"]).await?;
    assert_eq!(demo.line_with(&["CACHED"]).await?, "CACHED  1  blog-sample");

    // Access from outside, as with kubectl.
    let client = connect(&path).await?;
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    assert_eq!(crds.get("blogs.web.helloworld").await?.name_any(), "blogs.web.helloworld");
    let blogs = blogs(client);
    let change = json!({"spec": {"url": "https://example.org/elsewhere"}});
    blogs.patch("blog-sample", &PatchParams::default(), &Patch::Merge(change)).await?;
    let line = demo.line_with(&["MODIFIED", "blog-sample"]).await?;
    assert!(line.contains("https://example.org/elsewhere"), "{line}");
    blogs.delete("blog-sample", &DeleteParams::default()).await?;
    demo.line_with(&["DELETED", "blog-sample"]).await?;
    assert_eq!(demo.line_with(&["CACHED"]).await?, "CACHED  0  (empty)");

    demo.signal("INT").await?;
    let (status, said) = demo.ends_within(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(0) && said.contains("received SIGINT"), "{status}: {said}");
    assert!(!path.exists(), "it left {}", path.display());
    Ok(())
}

#[tokio::test]
async fn operator() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut demo, path) = start(&folder, "--operator --every 0 --empty -o json").await?;
    // The watch is synced, so the type is installed.
    let synced: serde_json::Value = serde_json::from_str(&demo.line().await?)?;
    assert_eq!(synced["type"], "SYNCED");
    let blogs = blogs(connect(&path).await?);
    // An address that is not asked, so that the test needs no network.
    let blog = json!({
        "apiVersion": "web.helloworld/v1", "kind": "Blog", "metadata": {"name": "one"},
        "spec": {"url": "http://127.0.0.1:1"},
    });
    blogs.create(&kube::api::PostParams::default(), &serde_json::from_value(blog)?).await?;
    let mut seen = Vec::new();
    while seen.last() != Some(&json!("True")) {
        let line: serde_json::Value = serde_json::from_str(&demo.line().await?)?;
        let conditions = line["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let of = |type_: &str| conditions.iter().find(|it| it["type"] == type_);
        if let Some(ready) = of("Ready") {
            assert_eq!(of("Reachable").map(|it| &it["reason"]), Some(&json!("NotAllowed")), "{line}");
            seen.push(ready["status"].clone());
        }
    }
    demo.signal("INT").await?;
    let (status, said) = demo.ends_within(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(0), "{status}: {said}");
    Ok(())
}

#[tokio::test]
async fn options() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut demo, path) = start(&folder, "--empty --every 100ms -o json --kubeconfig-out mine.yaml").await?;
    assert_eq!(path, folder.path().join("mine.yaml"));
    let synced: serde_json::Value = serde_json::from_str(&demo.line().await?)?;
    assert_eq!((&synced["type"], &synced["count"]), (&json!("SYNCED"), &json!(0)));
    let cached: serde_json::Value = serde_json::from_str(&demo.line().await?)?;
    assert_eq!((&cached["type"], &cached["names"]), (&json!("CACHED"), &json!([])));

    // A second demo cannot use the same port.
    let kubeconfig = Kubeconfig::read_from(&path)?;
    let server = kubeconfig.clusters[0].cluster.as_ref().and_then(|cluster| cluster.server.clone());
    let server = server.context("a server")?;
    let port = server.rsplit(':').next().context("a port")?;
    let second = Crdctl::new(folder.path()).await?.args(&format!("demo --port {port}")).run().await?;
    ensure!(second.code == Some(1) && second.stderr.lines().count() == 1, "{second:?}");
    ensure!(second.stderr.contains(&format!("--port {port}")), "{second:?}");

    // And a file that it did not write is not replaced.
    let precious = folder.path().join("precious");
    std::fs::write(&precious, "mine")?;
    let refused = Crdctl::new(folder.path()).await?.args("demo --kubeconfig-out precious").run().await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("precious"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&precious)?, "mine");

    demo.signal("TERM").await?;
    let (status, said) = demo.ends_within(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(0) && said.contains("received SIGTERM"), "{status}: {said}");
    Ok(())
}
