//! `crdctl wait`: what it waits for, how it ends, and that it equals `kubectl wait` where it has the same forms.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Cluster,
    crdctl::{Crdctl, Running},
    eventually,
};
use serde_json::{Value, json};

use crate::{
    crdctl::{crdctl, create, delete, install, patch},
    widgets::widgets_of_group,
};

e2e::on_each_cluster! {
    like_kubectl [Kubectl], appears, fails_on, alternatives, times_out, type_appears, deleted, selected, interrupted,
    restart [Restart], wrong_usage, forbidden
}

const PATIENCE: Duration = Duration::from_secs(30);

async fn wait(cluster: &Cluster, arguments: &str) -> Result<Crdctl> {
    crdctl(cluster, &format!("wait {arguments} -n {}", cluster.namespace())).await
}

/// Starts a wait, and returns once it follows the objects.
async fn waiting(cluster: &Cluster, arguments: &str) -> Result<Running> {
    let mut running = wait(cluster, arguments).await?.env("RUST_LOG", "kube_informer=debug").start()?;
    running.complaint("initial list complete").await?;
    Ok(running)
}

async fn ends(running: Running, code: i32) -> Result<String> {
    let (status, said) = running.ends_within(PATIENCE).await?;
    ensure!(status.code() == Some(code), "{status}: {said}");
    Ok(said)
}

async fn condition(cluster: &Cluster, name: &str, kind: &str, status: &str) -> Result<Value> {
    let condition = json!({
        "type": kind, "status": status, "reason": "Unreachable", "message": "503",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    patch(cluster, &format!("{name}/status"), &json!({"status": {"conditions": [condition]}})).await
}

async fn like_kubectl(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "a", &json!({"app": "x"})).await?;
    create(&cluster, "b", &json!({"app": "x"})).await?;
    for name in ["a", "b"] {
        condition(&cluster, name, "Ready", "False").await?;
    }
    eventually(PATIENCE, || async { cluster.kubectl(&["get", "blogs"]).await?.ok() }).await?;
    for arguments in [
        "blog/a --for condition=Ready=False",
        "blog/a --for condition=READY=false",
        "blog/a blog/b --for create",
        "bl a b --for create",
        "blogs --all --for create",
        "blogs --all -l app=x --for create",
        "blogs -l app=x --for jsonpath={.metadata.labels.app}=x",
        "blogs --field-selector metadata.name=b --for create",
        "blogs -l app=y --for delete",
        "blogs,configmaps -l app=x --for create",
        "blog/a --for jsonpath='{.spec.url}'=https://example.com/a",
        "blog/a --for jsonpath=spec.url=https://example.com/a",
        "blog/a --for jsonpath={.spec.url}",
        "blog/a --for jsonpath={.status}",
        "blog/a --for jsonpath={.metadata.generation}=1 --timeout 0",
        "blog/a --for jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=False",
        "blog/a --for create -o name",
        "blog/a --for create --timeout=-1s",
        // These fail.
        "blog/a --for jsonpath={.spec}=x",
        "blog/a --for jsonpath={.metadata.labels.*}{.spec}",
        "blogs --for create",
        "blog/a blog --for create",
        "blog/a --for create -A",
        "blog/a --for nothing",
        "blogz/a --for delete",
    ] {
        let namespaced = |arguments: &str| arguments.replace('\'', "");
        let words: Vec<String> = namespaced(arguments).split(' ').map(str::to_owned).collect();
        let kubectl = ["wait"].into_iter().chain(words.iter().map(String::as_str)).collect::<Vec<_>>();
        let theirs = cluster.kubectl(&kubectl).await?;
        let ours = wait(&cluster, &namespaced(arguments)).await?.run().await?;
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        ensure!(
            sorted(&theirs.stdout) == sorted(&ours.stdout)
                && (theirs.code == Some(0)) == (ours.code == Some(0)),
            "{arguments}\n kubectl: {theirs:?}\n crdctl: {ours:?}"
        );
    }
    let json = ["wait", "blog/a", "--for=create", "-o", "json"];
    let theirs: Value = serde_json::from_str(&cluster.kubectl(&json).await?.ok()?)?;
    let ours: Value =
        serde_json::from_str(&wait(&cluster, "blog/a --for=create -o json").await?.run().await?.ok()?)?;
    assert_eq!(theirs, ours);
    Ok(())
}

async fn appears(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let once = wait(&cluster, "blog/late --for condition=Ready --timeout 0").await?.run().await?;
    ensure!(once.code == Some(124) && once.stderr.contains("late: does not exist"), "{once:?}");
    let mut created = waiting(&cluster, "blog/late --for create").await?;
    let mut ready = waiting(&cluster, "blog/late --for condition=Ready --fail-on condition=Failed").await?;
    create(&cluster, "late", &json!({})).await?;
    assert_eq!(created.line().await?, "blog.web.helloworld/late condition met");
    ends(created, 0).await?;
    condition(&cluster, "late", "Ready", "False").await?;
    condition(&cluster, "late", "Ready", "True").await?;
    assert_eq!(ready.line().await?, "blog.web.helloworld/late condition met");
    ends(ready, 0).await?;
    Ok(())
}

async fn fails_on(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let arguments = "blog/one --for condition=Ready --fail-on condition=Failed --fail-on delete";
    let running = waiting(&cluster, arguments).await?;
    condition(&cluster, "one", "Failed", "True").await?;
    let said = ends(running, 1).await?;
    let state = "error: blog.web.helloworld/one: condition Failed is True (Unreachable: 503)";
    ensure!(said.lines().any(|line| line == state), "{said}");

    condition(&cluster, "one", "Failed", "False").await?;
    let running = waiting(&cluster, arguments).await?;
    delete(&cluster, "one").await?;
    let said = ends(running, 1).await?;
    ensure!(said.contains("error: blog.web.helloworld/one: was deleted"), "{said}");
    Ok(())
}

async fn alternatives(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let arguments = "blog/one --for condition=Ready --for condition=Published --or condition=Failed";
    let mut running = waiting(&cluster, arguments).await?;
    condition(&cluster, "one", "Ready", "True").await?;
    condition(&cluster, "one", "Failed", "True").await?;
    assert_eq!(running.line().await?, "blog.web.helloworld/one condition met (condition=Failed)");
    ends(running, 0).await?;
    Ok(())
}

async fn times_out(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    condition(&cluster, "one", "Ready", "False").await?;
    let output = wait(&cluster, "blog/one blog/two --for condition=Ready --timeout 3s").await?.run().await?;
    ensure!(output.code == Some(124) && output.stdout.is_empty(), "{output:?}");
    let expected = [
        "error: the condition is not met after 3s",
        "blog.web.helloworld/one: condition Ready is False (Unreachable: 503), last seen ",
        "blog.web.helloworld/two: does not exist",
    ];
    let lines: Vec<&str> = output.stderr.lines().collect();
    ensure!(lines.len() == expected.len(), "{output:?}");
    for (line, expected) in lines.iter().zip(expected) {
        ensure!(line.starts_with(expected), "{line:?}, not {expected:?}");
    }
    Ok(())
}

async fn type_appears(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let resource = format!("widgets.{group}");
    let once = wait(&cluster, &format!("{resource}/one --for create --timeout 0")).await?.run().await?;
    ensure!(once.code == Some(124) && once.stderr.contains("doesn't have a resource type"), "{once:?}");
    let mut running = wait(&cluster, &format!("{resource}/one --for create --timeout 1m")).await?.start()?;
    running.complaint("waiting for the type").await?;
    widgets_of_group(&cluster, &group).await?.create("one").await?;
    assert_eq!(running.line().await?, format!("widget.{group}/one condition met"));
    ends(running, 0).await?;
    Ok(())
}

async fn deleted(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    patch(&cluster, "one", &json!({"metadata": {"finalizers": ["example.com/keep"]}})).await?;
    let mut running = waiting(&cluster, "blog/one blog/never --for delete").await?;
    assert_eq!(running.line().await?, "blog.web.helloworld/never condition met");
    delete(&cluster, "one").await?;
    let output = wait(&cluster, "blog/one --for delete --timeout 0").await?.run().await?;
    let state = "still exists, but is being deleted; its finalizers are example.com/keep";
    ensure!(output.code == Some(124) && output.stderr.contains(state), "{output:?}");
    patch(&cluster, "one", &json!({"metadata": {"finalizers": null}})).await?;
    assert_eq!(running.line().await?, "blog.web.helloworld/one condition met");
    ends(running, 0).await?;
    Ok(())
}

async fn selected(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let mut running = waiting(&cluster, "blogs -l app=x --for condition=Ready").await?;
    create(&cluster, "one", &json!({"app": "x"})).await?;
    create(&cluster, "two", &json!({"app": "x"})).await?;
    create(&cluster, "other", &json!({"app": "y"})).await?;
    condition(&cluster, "two", "Ready", "True").await?;
    assert_eq!(running.line().await?, "blog.web.helloworld/two condition met");
    // One that is replaced is not waited for.
    create(&cluster, "three", &json!({"app": "x"})).await?;
    delete(&cluster, "one").await?;
    condition(&cluster, "three", "Ready", "True").await?;
    assert_eq!(running.line().await?, "blog.web.helloworld/three condition met");
    ends(running, 0).await?;

    let running = waiting(&cluster, "blogs --all --for delete").await?;
    for name in ["two", "three", "other"] {
        delete(&cluster, name).await?;
    }
    ends(running, 0).await?;
    Ok(())
}

async fn interrupted(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let running = waiting(&cluster, "blog/never --for create").await?;
    running.signal("INT").await?;
    let said = ends(running, 130).await?;
    ensure!(said.lines().any(|line| line.starts_with("blog") && line.contains("/never: ")), "{said}");
    Ok(())
}

async fn restart(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    create(&cluster, "one", &json!({})).await?;
    let mut running = waiting(&cluster, "blog/one --for condition=Ready --timeout 2m").await?;
    cluster.stop().await?;
    running.complaint("WARN").await?;
    cluster.resume().await?;
    eventually(PATIENCE, || async { condition(&cluster, "one", "Ready", "True").await }).await?;
    assert_eq!(running.line().await?, "blog.web.helloworld/one condition met");
    ends(running, 0).await?;
    Ok(())
}

async fn wrong_usage(cluster: Cluster) -> Result<()> {
    for (arguments, problem) in [
        ("blog/a", "--for"),
        ("--for create", "RESOURCE"),
        ("blog/a --for ready", "`ready` is not a condition"),
        ("blog/a --for create --fail-on jsonpath={.a", "jsonpath={.a"),
        ("blogs --for create", "no object is named"),
        ("blog/a --all --for create", "either named or selected"),
        ("blog/a blogs --for create", "TYPE/NAME"),
        ("blog/a --for create --timeout never", "never"),
    ] {
        let output = wait(&cluster, arguments).await?.run().await?;
        ensure!(output.code == Some(2) && output.stdout.is_empty(), "{arguments}: {output:?}");
        ensure!(
            output.stderr.contains(problem) && output.stderr.lines().count() == 1,
            "{arguments}: {output:?}"
        );
    }
    Ok(())
}

async fn forbidden(cluster: Cluster) -> Result<()> {
    install(&cluster).await?;
    let output = wait(&cluster, "blog/a --for create --context nobody").await?.run().await?;
    ensure!(output.code == Some(1) && output.stderr.contains("User \"nobody\" cannot"), "{output:?}");
    Ok(())
}
