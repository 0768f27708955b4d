//! What is sent, byte by byte: the order of the fields and the form of the JSON. The embedded server and a real one get the same
//! requests.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, Need, Provider,
    http::{JSON_PATCH, MERGE_PATCH, Reply, STRATEGIC_PATCH},
};
use http::Method;
use serde_json::{Value, json};

use crate::{builtins::without_uids, widgets::widgets};

const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
const METADATA: (&str, &str) = ("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
const ONE_METADATA: (&str, &str) = ("accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io");
const CURL: (&str, &str) = ("user-agent", "curl/8.5.0");
const NOTHING: (&str, &str) = ("accept", "application/json");

/// A request, and a header.
type Step = (Method, String, (&'static str, &'static str), Value);

#[test]
fn bodies_are_the_same() -> Result<()> {
    if Provider::real() != Provider::Envtest {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let needs = &[Need::NoControllers];
        let Ok(real) = Cluster::start(Provider::real(), needs).await? else { return Ok(()) };
        let Ok(embedded) = Cluster::start(Provider::Embedded, needs).await? else { return Ok(()) };
        let (here, there) = (answers(&embedded).await?, answers(&real).await?);
        for ((request, here), (_, there)) in here.iter().zip(&there) {
            ensure!(here == there, "{request}\n  here:  {here}\n  there: {there}");
        }
        ensure!(here.len() == there.len());
        Ok(())
    })
}

/// The requests, and what a server answers them.
async fn answers(cluster: &Cluster) -> Result<Vec<(String, String)>> {
    let widgets = widgets(cluster).await?;
    let mut steps = built_in(cluster);
    steps.extend(custom(&widgets.path));
    steps.extend(dry_runs(cluster.namespace())?);
    steps.extend(wrong_types(cluster));
    let (mut answers, mut given) = (Vec::new(), BTreeSet::new());
    for (method, path, header, body) in steps {
        let content_type = match header {
            ("content-type", given) => given,
            _ if method == Method::PATCH => MERGE_PATCH,
            _ => "application/json",
        };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let shown = format!("{method} {path} {header:?} {}", String::from_utf8_lossy(&body));
        let mut headers = vec![("content-type", content_type)];
        headers.extend((header.0 != "content-type").then_some(header));
        let reply = cluster.admin().send(method, &path, &headers, body).await?;
        let shown = shown.replace(cluster.namespace(), "default");
        answers.push((shown, masked(&reply, cluster.namespace(), &mut given)?));
    }
    Ok(answers)
}

fn built_in(cluster: &Cluster) -> Vec<Step> {
    let deployments = format!("/apis/apps/v1/namespaces/{}/deployments", cluster.namespace());
    let (pods, maps) = (cluster.path("pods"), cluster.path("configmaps"));
    let get = |path: String, header| (Method::GET, path, header, Value::Null);
    let watch = "watch=true&timeoutSeconds=1";
    let template = json!({"metadata": {"labels": {"b": "1", "a": "2"}}, "spec": pod_spec()});
    let mut steps = vec![
        (Method::POST, pods.clone(), NOTHING, json!({"metadata": metadata("p"), "spec": pod_spec()})),
        (Method::PATCH, format!("{pods}/p/status"), NOTHING, json!({"status": pod_status()})),
        (
            Method::POST,
            maps.clone(),
            NOTHING,
            json!({
                "metadata": metadata("c"), "immutable": true, "binaryData": {"x": "AAAA"}, "data": {"b": "1", "a": "<&>"},
            }),
        ),
        (Method::POST, maps.clone(), NOTHING, json!({"metadata": {"name": "Not_A_Name"}})),
        (
            Method::POST,
            deployments.clone(),
            NOTHING,
            json!({"metadata": metadata("d"), "spec": {
                "template": template, "selector": {"matchLabels": {"a": "2"}}, "replicas": 2,
            }}),
        ),
        get(format!("{deployments}/d/scale"), NOTHING),
        (Method::PATCH, format!("{deployments}/d/scale"), NOTHING, json!({"spec": {"replicas": 3}})),
        (Method::PATCH, format!("{deployments}/d?dryRun=All"), NOTHING, json!({"spec": {"paused": true}})),
        get(format!("{pods}/p"), ONE_METADATA),
        get(format!("{maps}?limit=1"), NOTHING),
        get(format!("{pods}/missing"), CURL),
        get(format!("{pods}/p?pretty=true"), NOTHING),
        get(format!("{pods}/p?pretty=0"), CURL),
        get(format!("{maps}?labelSelector=a&{watch}"), CURL),
        get("/apis/apps".to_owned(), NOTHING),
        get("/apis/apps".to_owned(), CURL),
        (Method::DELETE, format!("{maps}/c"), CURL, Value::Null),
    ];
    for header in [NOTHING, CURL] {
        steps.extend([
            get(format!("{pods}/p"), header),
            get(pods.clone(), header),
            get(format!("{pods}?{watch}"), header),
            get(format!("{pods}?{watch}&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"), header),
        ]);
    }
    steps.extend([
        get(pods.clone(), METADATA),
        (Method::DELETE, format!("{pods}?gracePeriodSeconds=0"), NOTHING, Value::Null),
    ]);
    steps
}

fn custom(widgets: &str) -> Vec<Step> {
    let get = |path: String, header| (Method::GET, path, header, Value::Null);
    let widget = json!({
        "apiVersion": "suite.example.com/v1", "kind": "Widget", "metadata": {"name": "w", "labels": {"b": "1", "a": "2"}},
        "spec": {"size": "small", "replicas": 3},
    });
    vec![
        (Method::POST, widgets.to_owned(), NOTHING, widget),
        get(format!("{widgets}/w"), CURL),
        get(widgets.to_owned(), NOTHING),
        get(widgets.to_owned(), TABLE),
        get(widgets.to_owned(), METADATA),
        get(format!("{widgets}/w/scale"), NOTHING),
        get(format!("{widgets}?watch=true&timeoutSeconds=1"), CURL),
        (Method::DELETE, format!("{widgets}/w"), NOTHING, Value::Null),
    ]
}

/// Creates of all kinds, valid and invalid: the requests of the tests of built-in kinds.
fn dry_runs(namespace: &str) -> Result<Vec<Step>> {
    let requests: Vec<Value> = serde_json::from_str(include_str!("builtins/requests.json"))?;
    let step = |request: &Value| {
        let path = request["path"].as_str().context("a path")?;
        let path = path.replace("/namespaces/default/", &format!("/namespaces/{namespace}/"));
        let body = request["body"].to_string().replace("\"default\"", &json!(namespace).to_string());
        Ok((Method::POST, format!("{path}?dryRun=All"), NOTHING, serde_json::from_str(&body)?))
    };
    requests.iter().map(step).collect()
}

/// Values of wrong types, and unknown fields: the messages name Go's types, and contain patches and patched objects.
fn wrong_types(cluster: &Cluster) -> Vec<Step> {
    let pods = cluster.path("pods");
    let container = |field: &str, value: Value| {
        let mut container = json!({"name": "c", "image": "i"});
        container[field] = value;
        json!({"metadata": {"name": "t"}, "spec": {"containers": [container]}})
    };
    let spec = |spec: Value| json!({"metadata": {"name": "t"}, "spec": spec});
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let claims = cluster.path("persistentvolumeclaims");
    let bodies = [
        (&*pods, spec(json!({"restartPolicy": 3}))),
        (&pods, spec(json!({"volumes": [{"hostPath": 3}]}))),
        (&pods, spec(json!({"volumes": [{"hostPath": {"type": 3}}]}))),
        (&pods, container("ports", json!([{"protocol": {}}]))),
        (&pods, container("resources", json!({"limits": 3}))),
        (&pods, container("env", json!({"a": "b"}))),
        (&pods, json!({"metadata": {"uid": 3}})),
        (&pods, json!({"metadata": {"ownerReferences": [{"uid": true}]}})),
        (&claims, spec(json!({"accessModes": 3}))),
        (&claims, spec(json!({"accessModes": [3]}))),
        (&claims, spec(json!({"volumeMode": []}))),
        (policies, spec(json!({"failurePolicy": 3}))),
        (policies, spec(json!({"matchConstraints": {"resourceRules": [{"operations": [3]}]}}))),
        (requests, spec(json!({"extra": {"a": 3}}))),
        (requests, spec(json!({"extra": {"a": [3]}}))),
        (requests, spec(json!({"usages": [3]}))),
    ];
    let mut steps: Vec<Step> = bodies
        .into_iter()
        .map(|(path, body)| (Method::POST, format!("{path}?dryRun=All"), NOTHING, body))
        .collect();
    steps.push((Method::POST, pods.clone(), NOTHING, json!({"metadata": metadata("w"), "spec": pod_spec()})));
    for patch in [
        json!({"spec": {"restartPolicy": 3}}),
        json!({"spec": {"restartPolicy": {}}}),
        json!({"spec": {"terminationGracePeriodSeconds": "x"}}),
        json!({"spec": {"terminationGracePeriodSeconds": 1.5}}),
        json!({"spec": {"hostNetwork": 3}}),
        json!({"spec": {"nodeSelector": "x"}}),
        json!({"spec": {"imagePullSecrets": 3}}),
        json!({"spec": {"securityContext": []}}),
        json!({"metadata": {"labels": {"a": 3}}}),
        json!({"spec": {"unknown": {"b": [1, "2", true, 1.5], "a": {}}}, "metadata": {"labels": {"c": "d"}}}),
    ] {
        let path = format!("{pods}/w?fieldValidation=Strict");
        for content_type in [MERGE_PATCH, STRATEGIC_PATCH] {
            steps.push((Method::PATCH, path.clone(), ("content-type", content_type), patch.clone()));
        }
    }
    for operation in [
        json!({"op": "add", "path": "/spec/restartPolicy", "value": 3}),
        json!({"op": "add", "path": "/spec/containers/0/unknown", "value": 3}),
        json!({"op": "add", "path": "/unknown", "value": 3}),
    ] {
        let path = format!("{pods}/w?fieldValidation=Strict");
        steps.push((Method::PATCH, path, ("content-type", JSON_PATCH), json!([operation])));
    }
    steps.push((Method::DELETE, format!("{pods}/w?gracePeriodSeconds=0"), NOTHING, Value::Null));
    steps
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name, "labels": {"b": "1", "a": "2"}, "annotations": {"z": "1", "y": "<>"},
    })
}

fn pod_spec() -> Value {
    json!({
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}],
        "volumes": [
            {"emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}, "name": "e"},
            {"projected": {"sources": [{"configMap": {"name": "a", "items": [{"path": "p", "key": "k"}]}}]}, "name": "v"},
        ],
        "nodeSelector": {"b": "1", "a": "2"},
        "initContainers": [{"name": "i", "image": "i"}],
        "containers": [{
            "image": "image", "name": "c", "args": ["b"], "command": ["a"],
            "env": [{"value": "b", "name": "A"}, {"valueFrom": {"secretKeyRef": {"key": "k", "name": "s"}}, "name": "B"}],
            "ports": [{"containerPort": 80, "name": "http"}],
            "livenessProbe": {"periodSeconds": 3, "httpGet": {"port": 80, "path": "/"}},
            "resources": {"requests": {"memory": "1Gi", "cpu": "100m"}, "limits": {"memory": "2Gi"}},
            "securityContext": {"runAsUser": 1, "capabilities": {"drop": ["ALL"], "add": ["X"]}},
            "volumeMounts": [{"mountPath": "/v", "name": "v", "readOnly": true}],
        }],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"operator": "In", "key": "k", "values": ["v"]}]}],
        }}},
    })
}

fn pod_status() -> Value {
    json!({
        "phase": "Running", "podIPs": [{"ip": "1.2.3.4"}], "podIP": "1.2.3.4",
        "conditions": [{"type": "Ready", "status": "True", "reason": "r", "message": "m"}],
        "containerStatuses": [{"name": "c", "image": "i", "imageID": "x", "ready": true, "restartCount": 1}],
    })
}

const BOOKMARK: &str = r#"{"type":"BOOKMARK""#;

/// A body without what each server makes up: UIDs, times, versions, ports, and the test's namespace. `given` has what earlier
/// answers contained.
fn masked(reply: &Reply, namespace: &str, given: &mut BTreeSet<String>) -> Result<String> {
    // A watch has several values.
    for value in serde_json::Deserializer::from_str(&reply.text).into_iter::<Value>() {
        if reply.code < 400 {
            collect(&value?, given);
        }
    }
    let mut text = without_uids(&reply.text.replace(namespace, "default"));
    if text.starts_with("{\"type\"") {
        // Bookmarks arrive from time to time, apart from the first.
        let is_timed = |line: &&str| line.starts_with(BOOKMARK) && !line.contains("initial-events-end");
        text = text.split_inclusive('\n').filter(|line| !is_timed(line)).collect();
    }
    for given in &*given {
        match given.parse::<u16>() {
            Ok(port) if port >= 30_000 => text = text.replace(&format!(":{port}"), ":0"),
            _ => {}
        }
        // Also in JSON in a message, where quotes are escaped.
        for end in ['"', '\\'] {
            text = text.replace(&format!("\"{given}{end}"), &format!("\"given{end}"));
        }
    }
    let content_type = reply.headers.get("content-type").context("a content type")?.to_str()?;
    Ok(format!("{} {content_type} {text}", reply.code))
}

fn collect(value: &Value, given: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("resourceVersion" | "continue", Value::String(text)) => _ = given.insert(text.clone()),
                    ("nodePort" | "healthCheckNodePort", port) => _ = given.insert(port.to_string()),
                    _ => collect(member, given),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, given)),
        Value::String(text) if is_made_up(text) => _ = given.insert(text.clone()),
        _ => {}
    }
}

/// Whether a text looks like a time, an age, or a cluster IP.
fn is_made_up(text: &str) -> bool {
    let has =
        |byte: u8, places: &[usize]| places.iter().all(|place| text.as_bytes().get(*place) == Some(&byte));
    let is_time = has(b'-', &[4, 7]) && has(b'T', &[10]) && text.ends_with('Z');
    let is_age = text.strip_suffix('s').is_some_and(|digits| digits.parse::<u8>().is_ok());
    is_time || is_age || text.starts_with("10.96.")
}
