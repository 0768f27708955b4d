//! Custom resources whose versions a webhook converts.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{APPLY_PATCH, Http, MERGE_PATCH, Reply},
    webhook::{Answer, Call, NAMES, Webhook},
};
use serde_json::{Value, json};

use crate::widgets::{CRDS, names, version};

e2e::on_each_cluster! {
    written_in_one_and_read_in_another [Callbacks], watched [Callbacks], applied [Callbacks],
    owned_in_both_versions [Callbacks], deleted [Callbacks],
    metadata [Callbacks], empty_metadata [Callbacks], wrong_answers [Callbacks, Alone], unreachable [Callbacks, Alone], seen_by_admission [Callbacks]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Gears: `v1` is stored and has a `size` such as `5mm`, `v2` has a `width` such as 5.
struct Gears {
    http: Http,
    group: String,
    namespace: String,
    webhook: Webhook,
}

/// Converts gears.
fn convert(call: &Call) -> Vec<Value> {
    let request = &call.review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let objects = request["objects"].as_array().cloned().unwrap_or_default();
    let converted = objects.into_iter().map(|mut gear| {
        gear["apiVersion"] = wanted.into();
        gear["spec"] = match wanted.ends_with("/v2") {
            true => {
                let size = gear["spec"]["size"]
                    .as_str()
                    .unwrap_or_default()
                    .trim_end_matches("mm")
                    .parse()
                    .unwrap_or(0);
                json!({"width": size})
            }
            false => json!({"size": format!("{}mm", gear["spec"]["width"])}),
        };
        gear
    });
    converted.collect()
}

fn answer(call: &Call, objects: &[Value]) -> Answer {
    let response = json!({
        "uid": call.review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objects,
    });
    Answer::json(
        &json!({"apiVersion": call.review["apiVersion"], "kind": "ConversionReview", "response": response}),
    )
}

async fn gears(cluster: &Cluster, answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Result<Gears> {
    let webhook = Webhook::start(NAMES, answer).await?;
    let gears = Gears {
        http: cluster.admin(),
        group: cluster.unique(),
        namespace: cluster.namespace().to_owned(),
        webhook,
    };
    let version = |name: &str, storage: bool, field: &str, kind: &str| {
        let spec = json!({"type": "object", "properties": {field: {"type": kind}}});
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
        })
    };
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gears.{}", gears.group)},
        "spec": {
            "group": gears.group, "scope": "Namespaced",
            "names": {"plural": "gears", "singular": "gear", "kind": "Gear", "listKind": "GearList"},
            "versions": [version("v1", true, "size", "string"), version("v2", false, "width", "integer")],
            "conversion": {
                "strategy": "Webhook",
                "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": gears.webhook.at("/convert")},
            },
        },
    });
    gears.http.post(CRDS, &crd).await?.code(201)?;
    eventually(PATIENCE, || async { gears.http.get(&gears.path("v1")).await?.code(200) }).await?;
    Ok(gears)
}

impl Gears {
    fn path(&self, version: &str) -> String {
        format!("/apis/{}/{version}/namespaces/{}/gears", self.group, self.namespace)
    }

    fn at(&self, version: &str, name: &str) -> String {
        format!("{}/{name}", self.path(version))
    }

    fn draft(&self, version: &str, name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": format!("{}/{version}", self.group), "kind": "Gear", "metadata": {"name": name}, "spec": spec,
        })
    }

    async fn post(&self, version: &str, name: &str, spec: &Value) -> Result<Reply> {
        self.http.post(&self.path(version), &self.draft(version, name, spec)).await
    }

    async fn get(&self, version: &str, name: &str) -> Result<Value> {
        self.http.get(&self.at(version, name)).await?.code(200)
    }

    /// Removes the definition with its gears. As long as kube-controller-manager cannot list a resource, it ends no namespace
    /// and collects no garbage: a test that keeps a webhook from converting needs a cluster of its own.
    async fn remove(&self) -> Result<()> {
        let definition = format!("{CRDS}/gears.{}", self.group);
        self.http.delete(&definition).await?.code(200)?;
        eventually(PATIENCE, || async { self.http.get(&definition).await?.code(404) }).await?;
        Ok(())
    }

    /// Refuses an object of another version, or with another spec.
    fn expect(&self, object: &Value, version: &str, spec: &Value) {
        assert_eq!(
            (&object["apiVersion"], &object["spec"]),
            (&json!(format!("{}/{version}", self.group)), spec)
        );
    }
}

async fn written_in_one_and_read_in_another(cluster: Cluster) -> Result<()> {
    let gears = gears(&cluster, |call| answer(call, &convert(call))).await?;
    let created = gears.post("v2", "two", &json!({"width": 2})).await?.code(201)?;
    gears.expect(&created, "v2", &json!({"width": 2}));
    gears.expect(&gears.get("v1", "two").await?, "v1", &json!({"size": "2mm"}));
    gears.expect(&gears.get("v2", "two").await?, "v2", &json!({"width": 2}));
    gears.post("v1", "one", &json!({"size": "1mm"})).await?.code(201)?;
    let list = gears.http.get(&gears.path("v2")).await?.code(200)?;
    assert_eq!(names(&list), ["one", "two"]);
    for item in list["items"].as_array().context("items")? {
        ensure!(
            item["spec"]["width"].is_i64() && item["apiVersion"] == format!("{}/v2", gears.group),
            "{item}"
        );
    }
    // What a client of one version changes is a change in the other.
    let patched = gears
        .http
        .patch(&gears.at("v2", "one"), MERGE_PATCH, &json!({"spec": {"width": 7}}))
        .await?
        .code(200)?;
    gears.expect(&patched, "v2", &json!({"width": 7}));
    let mut one = gears.get("v1", "one").await?;
    gears.expect(&one, "v1", &json!({"size": "7mm"}));
    assert_eq!(one["metadata"]["generation"], 2);
    one["spec"]["size"] = "8mm".into();
    gears.http.put(&gears.at("v1", "one"), &one).await?.code(200)?;
    gears.expect(&gears.get("v2", "one").await?, "v2", &json!({"width": 8}));
    // A request that only tries is converted, too.
    let tried = gears
        .http
        .post(&format!("{}?dryRun=All", gears.path("v2")), &gears.draft("v2", "x", &json!({"width": 3})))
        .await?;
    gears.expect(&tried.code(201)?, "v2", &json!({"width": 3}));
    // Clients of what is stored need no webhook.
    drop(gears.webhook.calls());
    gears.get("v1", "one").await?;
    gears.post("v1", "three", &json!({"size": "3mm"})).await?.code(201)?;
    gears.remove().await
}

async fn watched(cluster: Cluster) -> Result<()> {
    let gears = gears(&cluster, |call| answer(call, &convert(call))).await?;
    gears.post("v1", "one", &json!({"size": "1mm"})).await?.code(201)?;
    // kube-apiserver's watches of a version begin when its cache is there.
    eventually(PATIENCE, || async {
        gears.http.get(&format!("{}?resourceVersion=0", gears.path("v2"))).await?.code(200)
    })
    .await?;
    let mut watch = gears.http.watch(&format!("{}?watch=true", gears.path("v2"))).await?;
    gears.expect(&watch.expect("ADDED", "one").await?, "v2", &json!({"width": 1}));
    gears.post("v1", "two", &json!({"size": "2mm"})).await?.code(201)?;
    gears.expect(&watch.expect("ADDED", "two").await?, "v2", &json!({"width": 2}));
    gears
        .http
        .patch(&gears.at("v1", "two"), MERGE_PATCH, &json!({"spec": {"size": "4mm"}}))
        .await?
        .code(200)?;
    gears.expect(&watch.expect("MODIFIED", "two").await?, "v2", &json!({"width": 4}));
    gears.http.delete(&gears.at("v1", "two")).await?.code(200)?;
    gears.expect(&watch.expect("DELETED", "two").await?, "v2", &json!({"width": 4}));
    gears.remove().await
}

async fn applied(cluster: Cluster) -> Result<()> {
    let gears = gears(&cluster, |call| answer(call, &convert(call))).await?;
    let apply = async |version: &str, manager: &str, spec: &Value| {
        let path = format!("{}?fieldManager={manager}", gears.at(version, "one"));
        gears.http.patch(&path, APPLY_PATCH, &gears.draft(version, "one", spec)).await
    };
    let created = apply("v2", "a", &json!({"width": 1})).await?.code(201)?;
    gears.expect(&created, "v2", &json!({"width": 1}));
    gears.expect(&gears.get("v1", "one").await?, "v1", &json!({"size": "1mm"}));
    let changed = apply("v2", "a", &json!({"width": 2})).await?.code(200)?;
    gears.expect(&changed, "v2", &json!({"width": 2}));
    apply("v2", "b", &json!({"width": 3})).await?.code(409)?;
    gears.remove().await
}

/// What a manager owns is compared in its version: the webhook also converts what is merged.
async fn owned_in_both_versions(cluster: Cluster) -> Result<()> {
    let gears = gears(&cluster, |call| answer(call, &convert(call))).await?;
    let apply = async |version: &str, options: &str, spec: &Value| {
        let path = format!("{}?{options}", gears.at(version, "one"));
        gears.http.patch(&path, APPLY_PATCH, &gears.draft(version, "one", spec)).await
    };
    let owners = |object: &Value| -> Vec<String> {
        let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        let texts = entries.map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default();
            let (_, version) = text("apiVersion").split_once('/').unwrap_or_default();
            format!("{} {} {version} {}", text("manager"), text("operation"), entry["fieldsV1"]["f:spec"])
        });
        texts.collect()
    };
    apply("v1", "fieldManager=a", &json!({"size": "1mm"})).await?.code(201)?;
    let refused = apply("v2", "fieldManager=b", &json!({"width": 2})).await?;
    refused.refused(409, "Conflict", "Apply failed with 1 conflict: conflict with \"a\": .spec.size")?;
    let forced = apply("v2", "fieldManager=b&force=true", &json!({"width": 2})).await?.code(200)?;
    assert_eq!(owners(&forced), [r#"b Apply v2 {"f:width":{}}"#]);
    // What it applied last is in the other version.
    let moved = apply("v1", "fieldManager=b", &json!({"size": "3mm"})).await?.code(200)?;
    gears.expect(&moved, "v1", &json!({"size": "3mm"}));
    assert_eq!(owners(&moved), [r#"b Apply v1 {"f:size":{}}"#]);
    let patch = json!({"spec": {"width": 4}});
    let path = format!("{}?fieldManager=c", gears.at("v2", "one"));
    let patched = gears.http.patch(&path, MERGE_PATCH, &patch).await?.code(200)?;
    assert_eq!(owners(&patched), [r#"c Update v2 {"f:width":{}}"#]);
    gears.remove().await
}

async fn deleted(cluster: Cluster) -> Result<()> {
    let gears = gears(&cluster, |call| answer(call, &convert(call))).await?;
    for name in ["one", "two"] {
        gears.post("v1", name, &json!({"size": "1mm"})).await?.code(201)?;
    }
    gears
        .http
        .patch(&gears.at("v1", "one"), MERGE_PATCH, &json!({"metadata": {"finalizers": ["a.b/c"]}}))
        .await?
        .code(200)?;
    let marked = gears.http.delete(&gears.at("v2", "one")).await?.code(200)?;
    gears.expect(&marked, "v2", &json!({"width": 1}));
    gears
        .http
        .patch(&gears.at("v2", "one"), MERGE_PATCH, &json!({"metadata": {"finalizers": null}}))
        .await?
        .code(200)?;
    gears.http.get(&gears.at("v1", "one")).await?.code(404)?;
    let listed = gears.http.delete(&gears.path("v2")).await?.code(200)?;
    gears.expect(&listed["items"][0], "v2", &json!({"width": 1}));
    gears.http.get(&gears.at("v1", "two")).await?.code(404)?;
    gears.remove().await
}

/// A webhook may change labels and annotations, and nothing else of the metadata.
async fn metadata(cluster: Cluster) -> Result<()> {
    let gears = gears(&cluster, |call| {
        let mut objects = convert(call);
        for gear in &mut objects {
            let metadata = &mut gear["metadata"];
            metadata["labels"] = json!({"converted": "yes"});
            metadata["annotations"] = Value::Null;
            metadata["finalizers"] = json!(["from/webhook"]);
            metadata["resourceVersion"] = "1".into();
        }
        answer(call, &objects)
    })
    .await?;
    let mut one = gears.draft("v1", "one", &json!({"size": "1mm"}));
    one["metadata"]["annotations"] = json!({"a": "b"});
    let one = gears.http.post(&gears.path("v1"), &one).await?.code(201)?;
    let shown = gears.get("v2", "one").await?;
    assert_eq!(shown["metadata"]["labels"], json!({"converted": "yes"}));
    assert_eq!(shown["metadata"].get("annotations"), None);
    for field in ["finalizers", "resourceVersion", "uid"] {
        assert_eq!(shown["metadata"].get(field), one["metadata"].get(field), "{field}");
    }
    gears.remove().await
}

/// A conversion leaves no empty metadata, neither the webhook's nor an apply's.
async fn empty_metadata(cluster: Cluster) -> Result<()> {
    let gears = gears(&cluster, |call| {
        let mut objects = convert(call);
        for gear in &mut objects {
            gear["metadata"]["labels"] = json!({});
            gear["metadata"]["annotations"] = json!({});
        }
        answer(call, &objects)
    })
    .await?;
    let mut draft = gears.draft("v2", "one", &json!({"width": 1}));
    draft["metadata"]["labels"] = json!({});
    let path = format!("{}?fieldManager=ann", gears.at("v2", "one"));
    let applied = gears.http.patch(&path, APPLY_PATCH, &draft).await?.code(201)?;
    let read = gears.get("v2", "one").await?;
    let replaced = gears.http.put(&gears.at("v2", "one"), &read).await?.code(200)?;
    let patched = gears.http.patch(&gears.at("v2", "one"), MERGE_PATCH, &json!({})).await?.code(200)?;
    for shown in [&applied, &read, &replaced, &patched] {
        let metadata = &shown["metadata"];
        assert_eq!((metadata.get("labels"), metadata.get("annotations")), (None, None), "{shown}");
        assert_eq!(metadata["resourceVersion"], applied["metadata"]["resourceVersion"], "{shown}");
    }
    gears.remove().await
}

async fn wrong_answers(cluster: Cluster) -> Result<()> {
    let cases: &[(&str, &str)] = &[
        ("message", "failed: no gears today"),
        ("status", "failed: response.result.status was 'Failure', not 'Success'"),
        ("count", "returned 0 objects, expected 1"),
        (
            "version",
            "returned invalid object at index 0: invalid groupVersion (expected GROUP/v2, received GROUP/v1)",
        ),
        ("kind", "returned invalid object at index 0: invalid kind (expected Gear, received Wheel)"),
        ("name", "returned invalid object: must have the same name: name != other"),
        ("uid", "returned invalid object: must have the same UID: UID != other"),
        (
            "labels",
            "returned invalid metadata: metadata.labels[a] must be a string, but is bool in converted object",
        ),
        (
            "label",
            "returned invalid metadata: metadata.labels: Invalid value: \"not valid!\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        ("review", "failed: expected response.uid=\"REVIEW\", got \"other\""),
        (
            "type",
            "failed: no kind \"Other\" is registered for version \"apiextensions.k8s.io/v1\" in scheme \"pkg/runtime/scheme.go:111\"",
        ),
        ("response", "failed: no response provided"),
        ("500", "failed: an error on the server (\"unknown\") has prevented the request from succeeding"),
    ];
    let gears = gears(&cluster, |call| {
        let name = call.review["request"]["objects"][0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut objects = convert(call);
        let result = |result: &Value| {
            let response = json!({"uid": call.review["request"]["uid"], "result": result});
            Answer::json(&json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}))
        };
        match name.as_str() {
            "message" => return result(&json!({"status": "Failure", "message": "no gears today"})),
            "status" => return result(&json!({"status": "Failure"})),
            "count" => objects.clear(),
            "version" => objects = call.review["request"]["objects"].as_array().cloned().unwrap_or_default(),
            "kind" => objects[0]["kind"] = "Wheel".into(),
            "name" => objects[0]["metadata"]["name"] = "other".into(),
            "uid" => objects[0]["metadata"]["uid"] = "other".into(),
            "labels" => objects[0]["metadata"]["labels"] = json!({"a": true}),
            "label" => objects[0]["metadata"]["labels"] = json!({"a": "not valid!"}),
            "review" => {
                let response = json!({"uid": "other", "result": {"status": "Success"}, "convertedObjects": objects});
                return Answer::json(&json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}));
            }
            "type" => return Answer::json(&json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "Other", "response": {}})),
            "response" => return Answer::json(&json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview"})),
            _ => return Answer::raw(500, ""),
        }
        answer(call, &objects)
    })
    .await?;
    for (name, message) in cases {
        let created = gears.post("v1", name, &json!({"size": "1mm"})).await?.code(201)?;
        let reply = gears.http.get(&gears.at("v2", name)).await?;
        let uid = created["metadata"]["uid"].as_str().unwrap_or_default();
        let got = reply.message().replace(&gears.group, "GROUP").replace(uid, "UID");
        // kube-apiserver asks again for its cache, perhaps meanwhile.
        let got = gears.webhook.calls().iter().fold(got, |got, call| {
            got.replace(call.review["request"]["uid"].as_str().unwrap_or_default(), "REVIEW")
        });
        let got = got.replace(&gears.namespace, "NAMESPACE");
        let expected = format!(
            "Internal error occurred: StorageError: corrupt object, Code: 7, Key: /GROUP/gears/NAMESPACE/{name}, \
             ResourceVersion: 0, AdditionalErrorMsg: object not decodable revision={}: conversion webhook for GROUP/v1, \
             Kind=Gear {message}",
            version(&created)
        );
        assert_eq!((reply.code, got), (500, expected));
    }
    gears.remove().await
}

/// Without its webhook, an object is not shown and not stored, but those of the stored version are.
async fn unreachable(cluster: Cluster) -> Result<()> {
    let gears = gears(&cluster, |call| answer(call, &convert(call))).await?;
    gears.post("v1", "one", &json!({"size": "1mm"})).await?.code(201)?;
    let definition = format!("{CRDS}/gears.{}", gears.group);
    let gone = Webhook::start(NAMES, |call| answer(call, &[])).await?;
    let client = json!({"spec": {"conversion": {"webhook": {"clientConfig": gone.at("/convert")}}}});
    drop(gone);
    gears.http.patch(&definition, MERGE_PATCH, &client).await?.code(200)?;
    let why = format!("conversion webhook for {}/v1, Kind=Gear failed: Post \"https://", gears.group);
    eventually(PATIENCE, || async {
        let reply = gears.http.get(&gears.at("v2", "one")).await?;
        let message = reply.message();
        ensure!(reply.code == 500 && message.contains(&why), "{}", reply.body);
        ensure!(message.contains("/convert?timeout=30s\": dial tcp 127.0.0.1:"), "{message}");
        ensure!(message.ends_with(": connect: connection refused"), "{message}");
        Ok(())
    })
    .await?;
    let list = gears.http.get(&gears.path("v2")).await?;
    // kube-apiserver cannot fill its cache, and may say so instead.
    if !(list.code == 429 && list.message().starts_with("storage is (re)initializing")) {
        let list = list.code(500)?;
        assert_eq!((&list["reason"], &list["details"]["name"]), (&json!("StorageReadError"), &json!("list")));
        let cause = &list["details"]["causes"][0];
        let key = format!("/registry/{}/gears/{}/one", gears.group, gears.namespace);
        assert_eq!((&cause["reason"], &cause["field"]), (&json!("UnexpectedServerResponse"), &json!(key)));
    }
    let refused = gears.post("v2", "two", &json!({"width": 2})).await?;
    assert_eq!(refused.code, 500, "{}", refused.body);
    ensure!(
        refused
            .message()
            .starts_with(&format!("conversion webhook for {}/v2, Kind=Gear failed", gears.group)),
        "{}",
        refused.body
    );
    gears.http.get(&gears.at("v1", "two")).await?.code(404)?;
    gears.get("v1", "one").await?;
    let change = json!({"spec": {"width": 9}});
    let refused = gears.http.patch(&gears.at("v2", "one"), MERGE_PATCH, &change).await?;
    ensure!(
        refused.code == 500 && refused.message().starts_with("object not decodable revision="),
        "{}",
        refused.body
    );
    gears.http.delete(&gears.at("v2", "one")).await?.code(500)?;
    gears.expect(&gears.get("v1", "one").await?, "v1", &json!({"size": "1mm"}));
    gears.http.delete(&gears.at("v1", "one")).await?.code(200)?;
    gears.remove().await
}

/// An admission webhook for one version sees requests of the other, converted.
async fn seen_by_admission(cluster: Cluster) -> Result<()> {
    let gears = gears(&cluster, |call| match call.uri.path() {
        "/admit" => {
            let patch = json!([{"op": "replace", "path": "/spec/size", "value": "42mm"}]);
            Answer::patch(call, &patch)
        }
        _ => answer(call, &convert(call)),
    })
    .await?;
    let hook = json!({
        "name": "gears.hooks.test", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": gears.webhook.at("/admit"),
        "rules": [{"operations": ["CREATE"], "apiGroups": [gears.group], "apiVersions": ["v1"], "resources": ["gears"]}],
    });
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": gears.group}, "webhooks": [hook],
    });
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    gears.http.post(path, &configuration).await?.code(201)?;
    eventually(PATIENCE, || async {
        let tried = gears
            .http
            .post(&format!("{}?dryRun=All", gears.path("v2")), &gears.draft("v2", "x", &json!({"width": 3})))
            .await?;
        let tried = tried.code(201)?;
        ensure!(tried["spec"] == json!({"width": 42}), "{tried}");
        Ok(())
    })
    .await?;
    gears.http.delete(&format!("{path}/{}", gears.group)).await?.code(200)?;
    gears.remove().await
}
