//! How the server treats built-in kinds: types, defaults and validation, in the responses to recorded requests.
//!
//! `requests.json` contains the bodies of create requests. They are dry runs, unless the request has a list of merge patches,
//! which may be empty; then one merge patch of the status that is really applied, and others, may follow. `answers.json` contains
//! kube-apiserver's responses and, for objects that are really created, the cells that kubectl prints, unless `printed` is false. To record them again, with KUBEBUILDER_ASSETS: `RECORD=1 cargo test -p e2e builtins::answers::real`.

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{Http, MERGE_PATCH, Reply},
};
use serde_json::{Map, Value, json};

e2e::on_each_cluster! { answers [NoControllers], allocations, events, start_objects, roles }

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

async fn answers(cluster: Cluster) -> Result<()> {
    let requests: Vec<Value> = serde_json::from_str(include_str!("builtins/requests.json"))?;
    let http = cluster.admin();
    let version = http.get("/version").await?.ok()?;
    let is_real = !version["gitVersion"].as_str().unwrap_or_default().contains("kube-embedded");
    let mut lines = Vec::new();
    for request in &requests {
        let answers = perform(&http, request, cluster.namespace()).await?;
        lines.push(Value::from(answers).to_string());
    }
    if is_real && env::var_os("RECORD").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/builtins/answers.json");
        return fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n"))).context("write the answers");
    }
    let recorded: Vec<Value> = serde_json::from_str(include_str!("builtins/answers.json"))?;
    ensure!(recorded.len() == requests.len(), "the recorded answers are for other requests");
    let mut wrong = Vec::new();
    for ((request, recorded), line) in requests.iter().zip(&recorded).zip(&lines) {
        let found: Value = serde_json::from_str(line)?;
        if found != *recorded {
            wrong.push(format!("{request}\n  recorded: {recorded}\n  found:    {found}"));
        }
    }
    ensure!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Sends a create request, and the patches of the created object. Returns the responses.
async fn perform(http: &Http, request: &Value, namespace: &str) -> Result<Vec<Value>> {
    let path = request["path"].as_str().context("a path")?;
    let path = path.replace("/namespaces/default/", &format!("/namespaces/{namespace}/"));
    let patches = request["patches"].as_array();
    let query = if patches.is_some() { "" } else { "?dryRun=All" };
    let body: Value = serde_json::from_str(
        &request["body"].to_string().replace("\"default\"", &json!(namespace).to_string()),
    )?;
    let mut answers = vec![plain(&http.post(&format!("{path}{query}"), &body).await?, namespace)];
    let object = format!("{path}/{}", body["metadata"]["name"].as_str().context("a name")?);
    for patch in patches.into_iter().flatten() {
        let reply = http.patch(&format!("{object}?dryRun=All"), MERGE_PATCH, patch).await?;
        answers.push(plain(&reply, namespace));
    }
    if let Some(status) = request.get("status") {
        let reply = http.patch(&format!("{object}/status"), MERGE_PATCH, status).await?;
        answers.push(plain(&reply, namespace));
    }
    for patch in request["statuses"].as_array().into_iter().flatten() {
        let reply = http.patch(&format!("{object}/status?dryRun=All"), MERGE_PATCH, patch).await?;
        answers.push(plain(&reply, namespace));
    }
    if patches.is_some() {
        if request["printed"] != false {
            answers.push(printed(&http.get_as(&object, TABLE).await?.ok()?, namespace)?);
        }
        // Nobody else would remove them, and other tests use the same names.
        if !request["body"]["metadata"]["finalizers"].is_null() {
            let released = json!({"metadata": {"finalizers": null}});
            http.patch(&object, MERGE_PATCH, &released).await?.ok()?;
        }
        http.delete(&format!("{object}?gracePeriodSeconds=0&propagationPolicy=Background")).await?.ok()?;
    }
    Ok(answers)
}

/// Returns the columns and cells of a Table with one object, without those that change.
fn printed(table: &Value, namespace: &str) -> Result<Value> {
    let columns = table["columnDefinitions"].as_array().context("columns")?.iter();
    let cells = table["rows"][0]["cells"].as_array().context("cells")?.iter();
    let mut row = Vec::new();
    for (column, cell) in columns.zip(cells) {
        // Times, and what the controller of a ResourceQuota has counted by now.
        let changing = ["Age", "Created At", "Duration", "Last Seen", "First Seen", "Request", "Limit"];
        let changes = changing.iter().any(|name| column["name"] == *name);
        let cell = if changes { Value::Null } else { cell.clone() };
        row.push(json!([column["name"], column["type"], column["priority"], cell]));
    }
    let mut row = Value::from(row);
    made_up(&mut row, namespace);
    Ok(row)
}

/// Returns a response without the values that each server generates. Of an error, it keeps the message, reason and causes.
fn plain(reply: &Reply, namespace: &str) -> Value {
    let mut body = reply.body.clone();
    if let Some(metadata) = body["metadata"].as_object_mut() {
        metadata.retain(|key, _| !["creationTimestamp", "resourceVersion", "uid"].contains(&key.as_str()));
    }
    if body["kind"] == "ResourceQuota" {
        // Its controller may have written it already.
        body["status"] = json!({});
        if let Some(entries) = body["metadata"]["managedFields"].as_array_mut() {
            entries.retain(|entry| entry["subresource"] != "status");
        }
    }
    for entry in body["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
        entry["time"].take();
        entry["manager"].take();
    }
    if let Some(status) = body.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("lastPhaseTransitionTime");
    }
    if reply.code >= 400 {
        body = json!({"message": body["message"], "reason": body["reason"], "causes": body["details"]["causes"]});
    }
    let mut answer = json!({"code": reply.code, "body": body});
    if !reply.warnings().is_empty() {
        answer["warnings"] = reply.warnings().into();
    }
    made_up(&mut answer, namespace);
    answer
}

/// Replaces allocated addresses and ports, UIDs and the test's namespace.
fn made_up(value: &mut Value, namespace: &str) {
    match value {
        Value::Object(members) => {
            if members.get("nodePort").and_then(Value::as_u64).is_some_and(|port| port != 31000) {
                members.insert("nodePort".to_owned(), "given".into());
            }
            let old = std::mem::take(members);
            *members = old
                .into_iter()
                .map(|(key, mut value)| {
                    made_up(&mut value, namespace);
                    (key, value)
                })
                .collect::<Map<_, _>>();
        }
        Value::Array(items) => items.iter_mut().for_each(|item| made_up(item, namespace)),
        Value::String(text) => {
            if text.starts_with("10.96.") && *text != "10.96.7.7" {
                *text = "given".to_owned();
            }
            // A diff of Go structs follows on the next lines.
            let first = text.lines().next().unwrap_or_default().replace(namespace, "default");
            *text = without_uids(&first);
            // A port and its node port, as kubectl prints them.
            if text.starts_with("80:") && text.ends_with("/TCP") {
                *text = "80:given/TCP".to_owned();
            }
        }
        _ => {}
    }
}

pub(crate) fn without_uids(text: &str) -> String {
    let is_uid = |word: &str| {
        word.len() == 36
            && word.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-')
            && word.matches('-').count() == 4
    };
    let words = text.split_inclusive(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
    words
        .map(|word| {
            let end = word.trim_end_matches(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
            if is_uid(end) { word.replace(end, "UID") } else { word.to_owned() }
        })
        .collect()
}

async fn allocations(cluster: Cluster) -> Result<()> {
    let (http, path) = (cluster.admin(), format!("/api/v1/namespaces/{}/services", cluster.namespace()));
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let ports = json!([{"port": 80}]);
    let one =
        http.post(&path, &service("one", json!({"type": "NodePort", "ports": ports}))).await?.code(201)?;
    let (address, port) = (&one["spec"]["clusterIP"], &one["spec"]["ports"][0]["nodePort"]);
    ensure!(address.as_str().is_some_and(|it| it.starts_with("10.96.")) && port.is_u64(), "{one}");
    let same = service("two", json!({"clusterIP": address, "ports": ports}));
    let shown = address.as_str().context("an address")?;
    http.post(&path, &same).await?.refused(
        422,
        "Invalid",
        &format!(
            "Service \"two\" is invalid: spec.clusterIPs: Invalid value: [\"{shown}\"]: failed to allocate IP {shown}: \
             provided IP is already allocated"
        ),
    )?;
    let same_port = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    http.post(&path, &service("two", same_port)).await?.refused(
        422,
        "Invalid",
        &format!(
            "Service \"two\" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated"
        ),
    )?;
    // A PUT without them keeps them, and they are free again once the Service is deleted.
    let mut next = service("one", json!({"type": "NodePort", "ports": ports}));
    next["metadata"]["resourceVersion"] = one["metadata"]["resourceVersion"].clone();
    let kept = http.put(&format!("{path}/one"), &next).await?.code(200)?;
    assert_eq!(kept["spec"], one["spec"]);
    http.delete(&format!("{path}/one")).await?.ok()?;
    let two = http.post(&path, &same).await?.code(201)?;
    assert_eq!(two["spec"]["clusterIP"], *address);
    Ok(())
}

/// An Event is served in both of its groups, with the fields of each.
async fn events(cluster: Cluster) -> Result<()> {
    let (http, namespace) = (cluster.admin(), cluster.namespace());
    let core = format!("/api/v1/namespaces/{namespace}/events");
    let other = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    let event = json!({
        "metadata": {"name": "one"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Normal",
        "reason": "Tested",
        "action": "Test",
        "note": "all is well",
        "regarding": {"kind": "Pod", "name": "a", "namespace": namespace},
        "reportingController": "example.com/test",
        "reportingInstance": "test-1",
    });
    http.post(&other, &event).await?.code(201)?;
    let read = http.get(&format!("{core}/one")).await?.code(200)?;
    assert_eq!((&read["apiVersion"], &read["message"]), (&json!("v1"), &json!("all is well")));
    assert_eq!((&read["involvedObject"]["name"], &read["note"]), (&json!("a"), &Value::Null));
    for (path, field) in [(&core, "involvedObject"), (&other, "regarding")] {
        let selected = http.get(&format!("{path}?fieldSelector={field}.name%3Da")).await?.code(200)?;
        assert_eq!(selected["items"].as_array().map(Vec::len), Some(1), "{path}");
    }
    let patch = json!({"message": "and still is"});
    http.patch(&format!("{core}/one"), MERGE_PATCH, &patch).await?.code(200)?;
    let list = http.get(&other).await?.code(200)?;
    assert_eq!(list["items"][0]["note"], "and still is");
    http.delete(&format!("{core}/one")).await?.ok()?;
    http.get(&format!("{other}/one")).await?.code(404)?;
    Ok(())
}

async fn start_objects(cluster: Cluster) -> Result<()> {
    let http = cluster.admin();
    let labelled = |labels: Value| json!({"f:labels": labels});
    let bootstrapping = json!({
        "f:annotations": {".": {}, "f:rbac.authorization.kubernetes.io/autoupdate": {}},
        "f:labels": {".": {}, "f:kubernetes.io/bootstrapping": {}},
    });
    let port = json!({".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}});
    for (path, owned) in [
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin",
            json!({"f:metadata": bootstrapping, "f:rules": {}}),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:discovery",
            json!({"f:metadata": bootstrapping, "f:roleRef": {}, "f:subjects": {}}),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/extension-apiserver-authentication-reader",
            json!({"f:metadata": bootstrapping, "f:rules": {}}),
        ),
        (
            "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical",
            json!({"f:description": {}, "f:preemptionPolicy": {}, "f:value": {}}),
        ),
        (
            "/api/v1/namespaces/default",
            json!({"f:metadata": labelled(json!({".": {}, "f:kubernetes.io/metadata.name": {}}))}),
        ),
        (
            "/api/v1/namespaces/default/services/kubernetes",
            json!({
                "f:metadata": labelled(json!({".": {}, "f:component": {}, "f:provider": {}})),
                "f:spec": {
                    "f:clusterIP": {}, "f:internalTrafficPolicy": {}, "f:ipFamilyPolicy": {},
                    "f:ports": {".": {}, "k:{\"port\":443,\"protocol\":\"TCP\"}": port},
                    "f:sessionAffinity": {}, "f:type": {},
                },
            }),
        ),
        (
            "/apis/apiregistration.k8s.io/v1/apiservices/v1.apps",
            json!({
                "f:metadata": labelled(json!({".": {}, "f:kube-aggregator.kubernetes.io/automanaged": {}})),
                "f:spec": {"f:group": {}, "f:groupPriorityMinimum": {}, "f:version": {}, "f:versionPriority": {}},
            }),
        ),
    ] {
        let object = http.get(path).await?.code(200)?;
        let manager = &object["metadata"]["managedFields"][0];
        assert_eq!((&manager["manager"], &manager["fieldsV1"]), (&json!("kube-apiserver"), &owned), "{path}");
    }
    let names: Vec<Value> = http.get("/apis/rbac.authorization.k8s.io/v1/clusterroles").await?.ok()?["items"]
        .as_array()
        .context("items")?
        .iter()
        .map(|role| role["metadata"]["name"].clone())
        .collect();
    ensure!(names.len() > 70 && names.contains(&json!("view")), "{names:?}");
    Ok(())
}

/// `nobody` has the rights of the roles that are bound to everybody, and no others.
async fn roles(cluster: Cluster) -> Result<()> {
    let nobody = cluster.nobody();
    nobody.get("/api").await?.code(200)?;
    nobody.get("/openapi/v2").await?.code(200)?;
    let pods = format!("/api/v1/namespaces/{}/pods", cluster.namespace());
    nobody.get(&pods).await?.code(403)?;
    let base = "/apis/rbac.authorization.k8s.io/v1";
    let reader = format!("{base}/namespaces/{}/roles", cluster.namespace());
    let role = json!({
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
    });
    cluster.admin().post(&reader, &role).await?.code(201)?;
    let binding = json!({
        "metadata": {"name": "reader"},
        "roleRef": {"kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "name": "nobody"}],
    });
    let bindings = format!("{base}/namespaces/{}/rolebindings", cluster.namespace());
    cluster.admin().post(&bindings, &binding).await?.code(201)?;
    eventually(Duration::from_secs(10), || async { nobody.get(&pods).await?.code(200).map(drop) }).await
}
