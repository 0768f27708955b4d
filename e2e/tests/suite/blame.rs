//! `crdctl blame`: the owners of an object's fields.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster,
    crdctl::Crdctl,
    http::{APPLY_PATCH, MERGE_PATCH},
};
use serde_json::{Value, json};

use crate::crdctl::{crdctl, install};

e2e::on_each_cluster! { owners, errors }

async fn blame(cluster: &Cluster, arguments: &str) -> Result<Crdctl> {
    crdctl(cluster, &format!("blame {arguments} -n {}", cluster.namespace())).await
}

async fn owners(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let path = format!("/apis/web.helloworld/v1/namespaces/{}/blogs/one", cluster.namespace());
    let applied = json!({
        "apiVersion": "web.helloworld/v1", "kind": "Blog",
        "metadata": {"name": "one", "labels": {"app": "x"}}, "spec": {"url": "https://example.com"},
    });
    cluster.admin().patch(&format!("{path}?fieldManager=alice"), APPLY_PATCH, &applied).await?.code(201)?;
    cluster
        .admin()
        .patch(&format!("{path}?fieldManager=bob&force=true"), APPLY_PATCH, &applied)
        .await?
        .code(200)?;
    let patch = json!({"metadata": {"labels": {"app": "changed"}}});
    cluster.admin().patch(&format!("{path}?fieldManager=carol"), MERGE_PATCH, &patch).await?.code(200)?;
    let status = json!({"status": {"conditions": [{
        "type": "Ready", "status": "True", "reason": "Reached", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}});
    cluster
        .admin()
        .patch(&format!("{path}/status?fieldManager=ctl"), MERGE_PATCH, &status)
        .await?
        .code(200)?;

    let annotated = blame(&cluster, "blog/one").await?.run().await?.ok()?;
    let line = |field: &str| {
        let found = annotated.lines().find(|line| line.contains(field));
        found.with_context(|| format!("no {field} in {annotated}"))
    };
    // An apply that changes nothing has no time.
    ensure!(line("url: https://example.com")?.starts_with("bob, alice    ?, "), "{annotated}");
    ensure!(line("app: changed")?.starts_with("carol  "), "{annotated}");
    ensure!(line("type: Ready")?.starts_with("ctl (status)  "), "{annotated}");
    ensure!(line("uid: ")?.starts_with("-  "), "{annotated}");
    ensure!(line("spec:")?.starts_with("   "), "{annotated}");
    ensure!(!annotated.contains("managedFields"), "{annotated}");

    let lines = blame(&cluster, "blog one -o json").await?.run().await?.ok()?;
    let fields = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let field = |path: &str| fields.iter().find(|field| field["path"] == path).with_context(|| lines.clone());
    let ready = field("status.conditions[Ready].status")?;
    assert_eq!((&ready["value"], &ready["managers"][0]["manager"]), (&json!("True"), &json!("ctl")));
    assert_eq!(ready["managers"][0]["subresource"], "status");
    assert_eq!(field("metadata.uid")?["managers"], json!([]));
    Ok(())
}

async fn errors(cluster: Cluster) -> Result<()> {
    for (arguments, code, problem) in [
        ("configmap/never", 1, "configmaps \"never\" not found"),
        ("configmapz/never", 1, "did you mean configmaps?"),
        ("configmaps", 2, "blame takes one object"),
        ("configmap/kube-root-ca.crt --context nobody", 1, "User \"nobody\" cannot"),
    ] {
        let output = blame(&cluster, arguments).await?.run().await?;
        ensure!(output.code == Some(code) && output.stdout.is_empty(), "{arguments}: {output:?}");
        ensure!(
            output.stderr.contains(problem) && output.stderr.lines().count() == 1,
            "{arguments}: {output:?}"
        );
    }
    Ok(())
}
