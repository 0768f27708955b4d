//! Lists: selectors, pages, and the meaning of resource versions.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, eventually};
use serde_json::json;

use crate::widgets::{Widgets, names, version, widgets};

e2e::on_each_cluster! {
    shape, label_selectors, field_selectors, malformed_selectors, pages, page_tokens, versions,
    version_too_large, wrong_options, get_at_a_version, across_namespaces, fields_that_are_absent [NoControllers]
}

async fn three(cluster: &Cluster) -> Result<Widgets> {
    let widgets = widgets(cluster).await?;
    widgets.create_labelled("one", &json!({"app": "x", "tier": "1"})).await?;
    widgets.create_labelled("three", &json!({})).await?;
    widgets.create_labelled("two", &json!({"app": "y"})).await?;
    Ok(widgets)
}

async fn shape(cluster: Cluster) -> Result<()> {
    let widgets = three(&cluster).await?;
    let last = widgets.create("zzz").await?;
    let list = widgets.http.get(&widgets.path).await?.code(200)?;
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("WidgetList"), &json!("suite.example.com/v1")));
    assert_eq!(names(&list), ["one", "three", "two", "zzz"]);
    assert_eq!(list["items"][3], last);
    ensure!(version(&list).parse::<u64>()? >= version(&last).parse::<u64>()?);
    Ok(())
}

async fn label_selectors(cluster: Cluster) -> Result<()> {
    let widgets = three(&cluster).await?;
    let cases: [(&str, &[&str]); 13] = [
        ("app%3Dx", &["one"]),
        ("app%3D%3Dx", &["one"]),
        ("app!%3Dx", &["three", "two"]),
        ("app%20in%20(x,y)", &["one", "two"]),
        ("app%20in%20(x,%20z)", &["one"]),
        ("app%20notin%20(x)", &["three", "two"]),
        ("app", &["one", "two"]),
        ("!app", &["three"]),
        ("app%3Dx,tier%3D1", &["one"]),
        ("app%3Dx,tier%3D2", &[]),
        ("tier%3E0", &["one"]),
        ("tier%3C1", &[]),
        ("app%3D", &[]),
    ];
    for (selector, expected) in cases {
        let found = widgets.names(&format!("labelSelector={selector}")).await?;
        ensure!(found == expected, "{selector}: {found:?}");
    }
    Ok(())
}

async fn field_selectors(cluster: Cluster) -> Result<()> {
    let widgets = three(&cluster).await?;
    widgets.post("four", &json!({"size": "big"})).await?.code(201)?;
    let here = format!("metadata.namespace%3D{}", cluster.namespace());
    let cases: [(&str, &[&str]); 6] = [
        ("metadata.name%3Done", &["one"]),
        ("metadata.name!%3Done", &["four", "three", "two"]),
        (&here, &["four", "one", "three", "two"]),
        ("metadata.namespace%3Delsewhere", &[]),
        ("spec.size%3Dbig", &["four"]),
        ("spec.size%3Dsmall,metadata.name%3Dtwo", &["two"]),
    ];
    for (selector, expected) in cases {
        let found = widgets.names(&format!("fieldSelector={selector}")).await?;
        ensure!(found == expected, "{selector}: {found:?}");
    }
    Ok(())
}

/// A number or boolean that an object does not have is selected by Go's zero value.
async fn fields_that_are_absent(cluster: Cluster) -> Result<()> {
    let (admin, namespace) = (cluster.admin(), cluster.namespace());
    let pod = json!({"containers": [{"name": "c", "image": "i"}]});
    let jobs = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
    let mut once = pod.clone();
    once["restartPolicy"] = "Never".into();
    let event = json!({
        "metadata": {"name": "one"}, "involvedObject": {"namespace": namespace}, "reportingComponent": "suite",
        "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    let core = format!("/api/v1/namespaces/{namespace}");
    for (path, object, selector, other) in [
        (
            "/api/v1/nodes".to_owned(),
            json!({"metadata": {"name": namespace}}),
            "spec.unschedulable",
            ["false", "true"],
        ),
        (
            format!("{core}/pods"),
            json!({"metadata": {"name": "one"}, "spec": pod}),
            "spec.hostNetwork",
            ["false", "true"],
        ),
        (
            jobs,
            json!({"metadata": {"name": "one"}, "spec": {"template": {"spec": once}}}),
            "status.successful",
            ["0", "1"],
        ),
        (format!("{core}/events"), event, "source", ["suite", ""]),
    ] {
        let name = object["metadata"]["name"].clone();
        admin.post(&path, &object).await?.code(201)?;
        for (value, found) in other.into_iter().zip([true, false]) {
            let list = admin.get(&format!("{path}?fieldSelector={selector}%3D{value}")).await?.code(200)?;
            ensure!(names(&list).iter().any(|it| name == it.as_str()) == found, "{selector}={value}: {list}");
        }
    }
    admin.delete(&format!("/api/v1/nodes/{namespace}")).await?.code(200)?;
    Ok(())
}

async fn malformed_selectors(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    for (query, message) in [
        ("labelSelector=a%3Db%3Dc", "found '=', expected: ',' or 'end of string'"),
        ("labelSelector=%3Dx", "found '=', expected: !, identifier, or 'end of string'"),
        ("labelSelector=app%20in", "unable to parse requirement: found '' expected: '('"),
        ("labelSelector=app%3Da%20b", "found 'b', expected: ',' or 'end of string'"),
        (
            "labelSelector=a%20b%3Dc",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
        ("labelSelector=a%3D,", "found '', expected: identifier after ','"),
        (
            "labelSelector=-x%3D1",
            "unable to parse requirement: <nil>: Invalid value: \"-x\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        ("fieldSelector=bogus", "invalid selector: 'bogus'; can't understand 'bogus'"),
        ("fieldSelector=spec.mode%3Dfast", "field label not supported: spec.mode"),
    ] {
        for watch in ["", "&watch=true"] {
            let reply = widgets.http.get(&format!("{}?{query}{watch}", widgets.path)).await?;
            reply.refused(400, "BadRequest", message)?;
        }
    }
    let config_maps =
        format!("/api/v1/namespaces/{}/configmaps?fieldSelector=data.x%3D1", cluster.namespace());
    let message = "\"data.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
    cluster.admin().get(&config_maps).await?.refused(400, "BadRequest", message)?;
    Ok(())
}

async fn pages(cluster: Cluster) -> Result<()> {
    let widgets = three(&cluster).await?;
    let page = async |query: &str| widgets.http.get(&format!("{}?{query}", widgets.path)).await?.code(200);
    let first = page("limit=1").await?;
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["one".to_owned()], &json!(2))
    );
    let token = first["metadata"]["continue"].as_str().context("a token")?.to_owned();

    // All pages show the state at the same version.
    widgets.create("seven").await?;
    widgets.delete("two").await?.code(200)?;
    let second = page(&format!("limit=1&continue={token}")).await?;
    assert_eq!((names(&second), version(&second)), (vec!["three".to_owned()], version(&first)));
    let token = second["metadata"]["continue"].as_str().context("a token")?.to_owned();
    let third = page(&format!("limit=1&continue={token}")).await?;
    assert_eq!((names(&third), version(&third)), (vec!["two".to_owned()], version(&first)));
    assert!(third["metadata"]["continue"].as_str().unwrap_or_default().is_empty(), "{}", third["metadata"]);
    assert!(third["metadata"].get("remainingItemCount").is_none());

    // With a selector, the number of remaining items is not known.
    let first = page("limit=1&labelSelector=app%20notin%20(z)").await?;
    assert!(first["metadata"].get("remainingItemCount").is_none());
    assert!(first["metadata"]["continue"].as_str().is_some_and(|token| !token.is_empty()));
    assert_eq!(names(&page("limit=4").await?).len(), 3);
    assert_eq!(names(&page("limit=0").await?).len(), 3);
    Ok(())
}

async fn page_tokens(cluster: Cluster) -> Result<()> {
    let widgets = three(&cluster).await?;
    let list = async |query: &str| widgets.http.get(&format!("{}?{query}", widgets.path)).await;
    let first = list("limit=1").await?.code(200)?;
    let token = first["metadata"]["continue"].as_str().context("a token")?;
    list(&format!("limit=1&continue={token}&resourceVersion=5")).await?.refused(
        400,
        "BadRequest",
        "specifying resource version is not allowed when using continue",
    )?;
    let reply = list("limit=1&continue=garbage").await?;
    ensure!(reply.message().starts_with("invalid continue token: "), "{}", reply.message());
    reply.code(400)?;
    // {"v":"meta.k8s.io/v1","rv":-1,"start":"../x"}
    let elsewhere = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiLi4veCJ9";
    list(&format!("continue={elsewhere}")).await?.refused(
        400,
        "BadRequest",
        "invalid continue token: continue key is not valid: ../x",
    )?;
    list("limit=x").await?.refused(400, "BadRequest", "strconv.ParseInt: parsing \"x\": invalid syntax")?;
    Ok(())
}

async fn versions(cluster: Cluster) -> Result<()> {
    let widgets = three(&cluster).await?;
    let then = version(&widgets.http.get(&widgets.path).await?.code(200)?).to_owned();
    widgets.create("later").await?;
    let all = ["later", "one", "three", "two"];
    let list = async |query: &str| widgets.http.get(&format!("{}?{query}", widgets.path)).await?.code(200);

    let exact = list(&format!("resourceVersion={then}&resourceVersionMatch=Exact")).await?;
    assert_eq!(
        (names(&exact), version(&exact)),
        (all[1..].iter().map(|&name| name.to_owned()).collect(), &*then)
    );
    for query in [
        "".to_owned(),
        "resourceVersion=".to_owned(),
        format!("resourceVersion={then}&resourceVersionMatch=NotOlderThan"),
        format!("resourceVersion={then}"),
        // For "0", the limit is ignored.
        "resourceVersion=0&limit=1".to_owned(),
    ] {
        // Some of these are served from a cache, which may lag.
        eventually(Duration::from_secs(5), || async {
            let found = names(&list(&query).await?);
            ensure!(found == all, "{query}: {found:?}");
            Ok(())
        })
        .await?;
    }
    let page = list(&format!("resourceVersion={then}&limit=1&resourceVersionMatch=Exact")).await?;
    assert_eq!((names(&page), version(&page)), (vec!["one".to_owned()], &*then));
    Ok(())
}

async fn version_too_large(cluster: Cluster) -> Result<()> {
    let widgets = three(&cluster).await?;
    for path in [
        format!("{}?resourceVersion=999999999", widgets.path),
        format!("{}?resourceVersion=999999999", widgets.at("one")),
    ] {
        let reply = widgets.http.get(&path).await?;
        ensure!(
            reply.message().starts_with("Timeout: Too large resource version: 999999999, current: "),
            "{}",
            reply.message()
        );
        assert_eq!(reply.headers.get("retry-after").map(http::HeaderValue::as_bytes), Some(&b"1"[..]));
        let status = reply.code(504)?;
        assert_eq!(status["reason"], "Timeout");
        assert_eq!(
            status["details"],
            json!({
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            })
        );
    }
    Ok(())
}

async fn wrong_options(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let list = async |query: &str| widgets.http.get(&format!("{}?{query}", widgets.path)).await;
    let invalid = |problem: &str| format!("ListOptions.meta.k8s.io \"\" is invalid: {problem}");
    for (query, problem) in [
        (
            "resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersion=5&resourceVersionMatch=Nope",
            "resourceVersionMatch: Unsupported value: \"Nope\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        ),
        (
            "resourceVersion=5&resourceVersionMatch=Exact&continue=abc",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        ),
    ] {
        list(query).await?.refused(422, "Invalid", &invalid(problem))?;
    }
    for version in ["abc", "-1"] {
        let message = format!(
            "invalid resource version: resourceVersion: Invalid value: \"{version}\": strconv.ParseUint: parsing \"{version}\": invalid syntax"
        );
        list(&format!("resourceVersion={version}")).await?.refused(400, "BadRequest", &message)?;
    }
    Ok(())
}

async fn get_at_a_version(cluster: Cluster) -> Result<()> {
    let widgets = three(&cluster).await?;
    let one = widgets.get("one").await?.code(200)?;
    for query in ["resourceVersion=0".to_owned(), format!("resourceVersion={}", version(&one))] {
        // The result must not be older than this version. The current state is not.
        let got = widgets.http.get(&format!("{}?{query}", widgets.at("one"))).await?;
        assert_eq!(got.code(200)?, one);
    }
    Ok(())
}

async fn across_namespaces(cluster: Cluster) -> Result<()> {
    let widgets = three(&cluster).await?;
    let query = format!("fieldSelector=metadata.namespace%3D{}", cluster.namespace());
    let list = widgets.http.get(&format!("/apis/suite.example.com/v1/widgets?{query}")).await?.code(200)?;
    assert_eq!(names(&list), ["one", "three", "two"]);
    Ok(())
}
