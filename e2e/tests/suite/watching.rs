//! What `crdctl watch` shows: the server's columns, changes and their authors, several types and contexts, Events, and a real
//! terminal.

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, crdctl::Crdctl, http::MERGE_PATCH, terminal::Terminal};
use serde_json::{Value, json};

use crate::{
    crdctl::{crdctl, create, install, patch, watch},
    credentials::{bind, nobody},
};

e2e::on_each_cluster! {
    columns_of_the_server, columns_without_a_right_to_read_the_crd, changes_and_authors, several_types, several_contexts, events_beside_objects,
    wrong_usage, a_name_that_is_not_there, a_terminal [Terminal]
}

async fn config_map(cluster: &Cluster, name: &str) -> Result<()> {
    let maps = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace());
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}});
    cluster.admin().post(&maps, &map).await?.code(201)?;
    Ok(())
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

async fn columns_of_the_server(cluster: Cluster) -> Result<()> {
    let pods = format!("/api/v1/namespaces/{}/pods", cluster.namespace());
    let account = format!("/api/v1/namespaces/{}/serviceaccounts", cluster.namespace());
    // Where no controller makes it.
    cluster.admin().post(&account, &json!({"metadata": {"name": "default"}})).await?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"},
        "spec": {"containers": [{"name": "c", "image": "example.com/none"}], "nodeSelector": {"no": "node"}},
    });
    cluster.admin().post(&pods, &pod).await?.code(201)?;
    let mut table = watch(&cluster, "pods").await?;
    let header = table.line().await?;
    assert_eq!(
        words(&header)[..6],
        ["EVENT", "NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS"],
        "{header}"
    );
    table.line_with(&["ADDED", "one", "0/1", "Pending"]).await?;
    let mut wide = watch(&cluster, "pods -o wide --show-labels").await?;
    let header = wide.line().await?;
    ensure!(header.contains("NOMINATED NODE") && header.ends_with("LABELS"), "{header}");
    // The status is the server's to print.
    let status = json!({"status": {"phase": "Failed", "reason": "Evicted"}});
    cluster.admin().patch(&format!("{pods}/one/status"), MERGE_PATCH, &status).await?.code(200)?;
    table.line_with(&["MODIFIED", "one", "0/1", "Evicted"]).await?;
    Ok(())
}

async fn columns_without_a_right_to_read_the_crd(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    bind(&cluster, "reader", &["list", "watch"], &nobody()).await?;
    let namespace = cluster.namespace();
    let read = async || {
        let running = crdctl(&cluster, &format!("watch blogs --context nobody -n {namespace}")).await?;
        running.start()?.line_with(&["ADDED", "one", "https://example.com/one"]).await
    };
    // A real server's authorizer reads from a cache.
    e2e::eventually(std::time::Duration::from_secs(10), || async { read().await.map(drop) }).await
}

async fn changes_and_authors(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let mut paths = watch(&cluster, "blogs --diff --by --timestamps=utc").await?;
    let header = paths.line().await?;
    assert_eq!(words(&header), ["TIME", "EVENT", "NAMESPACE", "NAME", "URL", "READY", "AGE", "BY"]);
    let mut unified = watch(&cluster, "blogs --diff=unified --no-headers").await?;
    unified.line_with(&["ADDED", "one"]).await?;
    let mut json = watch(&cluster, "blogs -o json --by --watch-only").await?;
    json.line().await?;
    let mut quiet = watch(&cluster, "blogs --ignore metadata.labels --ignore spec --no-headers").await?;
    quiet.line_with(&["ADDED", "one"]).await?;

    let change = json!({"spec": {"url": "https://changed.example"}});
    patch(&cluster, "one?fieldManager=editor", &change).await?;
    let line = paths.line_with(&["MODIFIED", "one"]).await?;
    ensure!(line.ends_with("   editor"), "{line}");
    assert_eq!(
        words(&paths.line().await?),
        ["spec.url:", "https://example.com/one", "->", "https://changed.example"]
    );
    unified.line_with(&["-", "url:", "https://example.com/one"]).await?;
    unified.line_with(&["+", "url:", "https://changed.example"]).await?;
    let line: Value = serde_json::from_str(&json.line().await?)?;
    assert_eq!(line["changes"][0]["path"], "spec.url");
    assert_eq!((&line["by"]["manager"], &line["by"]["operation"]), (&json!("editor"), &json!("Update")));
    assert!(line["object"]["metadata"].get("managedFields").is_none(), "{line}");

    patch(&cluster, "one", &json!({"metadata": {"labels": {"a": "b"}}})).await?;
    patch(&cluster, "one", &json!({"metadata": {"annotations": {"a": "b"}}})).await?;
    // Only the last of the three changes is not ignored.
    let line = quiet.line().await?;
    ensure!(line.starts_with("MODIFIED"), "{line}");
    create(&cluster, "two", &json!({})).await?;
    let line = quiet.line().await?;
    ensure!(line.starts_with("ADDED"), "{line}");
    Ok(())
}

async fn several_types(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    config_map(&cluster, "settings").await?;
    for arguments in ["blogs,configmaps", "blog/one cm/settings"] {
        let mut both = watch(&cluster, arguments).await?;
        both.line_with(&["ADDED", "blog.web.helloworld/one"]).await?;
        both.line_with(&["ADDED", "configmap/settings", "1"]).await?;
        let url = format!("https://{}.example", arguments.len());
        patch(&cluster, "one", &json!({"spec": {"url": url}})).await?;
        both.line_with(&["MODIFIED", "blog.web.helloworld/one", &url]).await?;
    }
    // The CRD is in the category `all`.
    let mut all = watch(&cluster, "all -o name").await?;
    all.line_with(&["blog.web.helloworld/one"]).await?;
    let mut json = watch(&cluster, "blogs,configmaps -o json").await?;
    for (kind, resource) in [("Blog", "blog.web.helloworld"), ("ConfigMap", "configmap")] {
        let mut line: Value = serde_json::from_str(&json.line().await?)?;
        while line["type"] == "ADDED" {
            assert_eq!(line["object"]["kind"], kind);
            line = serde_json::from_str(&json.line().await?)?;
        }
        assert_eq!((&line["type"], &line["resource"]), (&json!("SYNCED"), &json!(resource)));
    }
    Ok(())
}

async fn several_contexts(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    // Two names for the same server.
    let mut kubeconfig = serde_json::to_value(cluster.kubeconfig())?;
    let context = kubeconfig["contexts"][0]["context"].clone();
    let contexts = kubeconfig["contexts"].as_array_mut().context("contexts")?;
    contexts.push(json!({"name": "other", "context": context}));
    let path = cluster.folder().join("contexts");
    std::fs::write(&path, kubeconfig.to_string())?;
    let arguments = format!("watch blogs --context admin,other -n {}", cluster.namespace());
    let new = Crdctl::new(cluster.folder()).await?.env("KUBECONFIG", &path).args(&arguments);
    let mut both = new.start()?;
    assert_eq!(words(&both.line().await?)[..2], ["CONTEXT", "EVENT"]);
    for context in ["admin", "other"] {
        both.line_with(&[context, "ADDED", "one", "https://example.com/one"]).await?;
    }
    create(&cluster, "two", &json!({})).await?;
    let lines = [both.line_with(&["ADDED", "two"]).await?, both.line_with(&["ADDED", "two"]).await?];
    let mut contexts: Vec<&str> = lines.iter().filter_map(|line| words(line).first().copied()).collect();
    contexts.sort_unstable();
    assert_eq!(contexts, ["admin", "other"]);
    Ok(())
}

async fn events_beside_objects(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let mut watching = watch(&cluster, "blogs --events").await?;
    watching.line_with(&["ADDED", "one"]).await?;
    let events = format!("/api/v1/namespaces/{}/events", cluster.namespace());
    for (about, message) in [("other", "not about us"), ("one", "503 from there")] {
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"generateName": "e-"}, "type": "Warning",
            "reason": "Unreachable", "message": message, "count": 3,
            "involvedObject": {"apiVersion": "web.helloworld/v1", "kind": "Blog", "name": about, "namespace": cluster.namespace()},
        });
        cluster.admin().post(&events, &event).await?.code(201)?;
    }
    let line = watching.line().await?;
    assert_eq!(line, "WARNING    blog/one: Unreachable: 503 from there (x3)");
    Ok(())
}

async fn wrong_usage(cluster: Cluster) -> Result<()> {
    for arguments in [
        "watch blogs -n a -A",
        "watch blogs/a b",
        "watch blogs -o csv",
        "watch blogs --diff=html",
        "watch blogs --ignore a..b",
        "watch blogs --timestamps=later",
        "watch blogs --context a,b --health-addr 127.0.0.1:1",
    ] {
        let output = crdctl(&cluster, arguments).await?.run().await?;
        let is_usage = output.code == Some(2) || (output.code == Some(1) && arguments.contains("--context"));
        ensure!(is_usage && output.stdout.is_empty(), "{arguments}: {output:?}");
        ensure!(output.stderr.lines().count() == 1, "{arguments}: {output:?}");
    }
    Ok(())
}

async fn a_name_that_is_not_there(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let mut watching = watch(&cluster, "blog/later").await?;
    watching.complaint("blog.web.helloworld/later does not exist").await?;
    create(&cluster, "later", &json!({})).await?;
    watching.line_with(&["ADDED", "later"]).await?;
    Ok(())
}

/// Rows fit into the terminal, also after its size has changed, and names may take two columns a character.
async fn a_terminal(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({"text": "x"})).await?;
    let arguments = format!("watch blogs -n {} --by --timestamps", cluster.namespace());
    let terminal = Terminal::start(crdctl(&cluster, &arguments).await?, 80, 24)?;
    let screen = terminal.shows("ADDED").await?;
    // A person knows which namespace was asked for.
    assert_eq!(words(&screen[0]), ["TIME", "EVENT", "NAME", "URL", "READY", "AGE", "BY"]);
    let long = format!("https://example.com/{}", "例え".repeat(60));
    patch(&cluster, "one?fieldManager=editor", &json!({"spec": {"url": long}})).await?;
    let screen = terminal.shows("spec.url").await?;
    let lines: Vec<&String> = screen.iter().filter(|line| !line.is_empty()).collect();
    // The header, the first row, the change, and what changed.
    ensure!(lines.len() == 4, "{screen:#?}");
    ensure!(
        lines[2].contains("MODIFIED") && lines[2].ends_with('…') && lines[3].ends_with('…'),
        "{screen:#?}"
    );

    terminal.resize(50)?;
    patch(&cluster, "one", &json!({"spec": {"url": "https://s.example/but-longer-than-the-terminal"}}))
        .await?;
    let screen = terminal.shows("https://s.e").await?;
    let row = screen.iter().position(|line| line.contains("MODIFIED") && line.contains("https://s.e"));
    let row = row.with_context(|| format!("{screen:#?}"))?;
    ensure!(screen[row].chars().count() == 50 && screen[row].ends_with('…'), "{screen:#?}");
    ensure!(screen[row + 1].trim_start().starts_with("spec.url"), "{screen:#?}");
    terminal.keys("C-c")?;
    Ok(())
}
