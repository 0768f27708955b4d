//! Admission webhooks: which requests they see, what they may answer, and what follows from that.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{APPLY_PATCH, Http, JSON_PATCH, MERGE_PATCH},
    webhook::{Answer, Call, NAMES, Webhook},
};
use serde_json::{Value, json};

use crate::widgets::{GROUP, version, widgets};

e2e::on_each_cluster! {
    reviews [Callbacks], reviews_of_deletions [Callbacks], reviews_of_subresources [Callbacks], denials [Callbacks],
    invalid_answers [Callbacks], failed_calls [Callbacks], redirects [Callbacks], services [Callbacks], patches [Callbacks],
    patches_that_fail [Callbacks], owners_of_patched_fields [Callbacks], called_again [Callbacks], ignored_failures [Callbacks],
    selectors [Callbacks], match_conditions [Callbacks], equivalent_versions [Callbacks], dry_runs [Callbacks],
    before_conflicts [Callbacks], connections [Callbacks], custom_resources_are_pruned [Callbacks]
}

const PATIENCE: Duration = Duration::from_secs(30);
const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1";

/// The webhooks of a test. They see only what happens in its namespace.
struct Hooks {
    http: Http,
    cluster: Cluster,
    webhook: Webhook,
}

impl Hooks {
    async fn start(
        cluster: &Cluster,
        answer: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Result<Hooks> {
        // Denies what `Hooks::install` tries.
        let answer = move |call: &Call| match call.uri.path() {
            "/probe" => Answer::review(call, &json!({"allowed": false})),
            _ => answer(call),
        };
        let webhook = Webhook::start(NAMES, answer).await?;
        Ok(Hooks { http: cluster.admin(), cluster: cluster.clone(), webhook })
    }

    /// A webhook for creates of ConfigMaps with a label that has its name, and with other members. Its path is its name.
    fn hook(&self, name: &str, members: &Value) -> Value {
        let mut hook = json!({
            "name": format!("{name}.hooks.test"),
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 5,
            "clientConfig": self.webhook.at(&format!("/{name}")),
            "objectSelector": {"matchLabels": {"hook": name}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.cluster.namespace()}},
            "rules": [rule("CREATE", "", "configmaps")],
        });
        for (name, value) in members.as_object().into_iter().flatten() {
            hook[name] = value.clone();
        }
        hook
    }

    /// Creates a configuration, and waits until it has an effect.
    async fn install(&self, kind: &str, name: &str, mut hooks: Vec<Value>) -> Result<String> {
        let name = format!("{name}-{}", self.cluster.unique());
        let probe = json!({"objectSelector": {"matchLabels": {"probe": &name}}});
        hooks.push(self.hook("probe", &probe));
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": &name},
            "webhooks": hooks,
        });
        let path = format!("{CONFIGURATIONS}/{}s", kind.to_lowercase());
        self.http.post(&path, &configuration).await?.code(201)?;
        let mut map = self.map("probe");
        map["metadata"]["labels"] = json!({"probe": &name});
        eventually(PATIENCE, || async {
            let tried = self.http.post(&format!("{}?dryRun=All", self.maps()), &map).await?;
            ensure!(tried.code == 400, "not yet: {}", tried.body);
            Ok(())
        })
        .await?;
        drop(self.webhook.calls());
        Ok(format!("{path}/{name}"))
    }

    async fn mutating(&self, hooks: Vec<Value>) -> Result<String> {
        self.install("MutatingWebhookConfiguration", "m", hooks).await
    }

    async fn validating(&self, hooks: Vec<Value>) -> Result<String> {
        self.install("ValidatingWebhookConfiguration", "v", hooks).await
    }

    fn maps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.cluster.namespace())
    }

    /// A ConfigMap that the webhook of this name sees.
    fn map(&self, hook: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": hook, "labels": {"hook": hook}}, "data": {"a": "b"},
        })
    }

    /// The requests of the reviews since the last time.
    fn reviewed(&self) -> Vec<Value> {
        self.webhook.calls().into_iter().map(|mut call| call.review["request"].take()).collect()
    }
}

fn rule(operation: &str, group: &str, resource: &str) -> Value {
    json!({"operations": [operation], "apiGroups": [group], "apiVersions": ["*"], "resources": [resource]})
}

/// A webhook of a name answers as the path of its call says.
async fn table(
    cluster: &Cluster,
    kind: &str,
    cases: &'static [(&'static str, u16, &'static str)],
    answer: impl Fn(&Call, &str) -> Answer + Send + Sync + 'static,
) -> Result<()> {
    let hooks =
        Hooks::start(cluster, move |call| answer(call, call.uri.path().trim_start_matches('/'))).await?;
    let all = cases.iter().map(|(name, ..)| hooks.hook(name, &json!({}))).collect();
    let configuration = hooks.install(kind, "t", all).await?;
    for (name, code, message) in cases {
        let reply = hooks.http.post(&format!("{}?dryRun=All", hooks.maps()), &hooks.map(name)).await?;
        let uid = hooks.reviewed().first().map(|request| request["uid"].clone()).unwrap_or_default();
        let at = hooks.webhook.at("")["url"].as_str().unwrap_or_default().to_owned();
        let got = reply.message().replace(uid.as_str().unwrap_or("-"), "UID").replace(&at, "URL");
        let got = got.replace(&format!("failed calling webhook \"{name}.hooks.test\""), "FAILED");
        assert_eq!((reply.code, &*got), (*code, *message), "{name}");
        ensure!(reply.body["code"] == *code || reply.code < 300, "{}", reply.body);
    }
    hooks.http.delete(&configuration).await?.code(200)?;
    Ok(())
}

/// The parts of a request that do not depend on the test's run.
fn stable(mut request: Value) -> Value {
    for member in ["uid", "userInfo", "namespace"] {
        if let Some(members) = request.as_object_mut() {
            members.remove(member);
        }
    }
    for object in ["object", "oldObject"] {
        let Some(metadata) = request.get_mut(object).and_then(|it| it.get_mut("metadata")?.as_object_mut())
        else {
            continue;
        };
        for member in ["managedFields", "uid", "creationTimestamp", "resourceVersion", "namespace"] {
            if let Some(value) = metadata.get_mut(member) {
                *value = "SET".into();
            }
        }
    }
    request
}

async fn reviews(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, Answer::allow).await?;
    let all = json!({"objectSelector": {}, "rules": [rule("*", "", "configmaps")]});
    let mutating = hooks.mutating(vec![hooks.hook("mutating", &all)]).await?;
    let validating = hooks.validating(vec![hooks.hook("validating", &all)]).await?;
    let path = format!("{}/one", hooks.maps());
    let mut one = hooks.map("one");
    one["metadata"].as_object_mut().context("metadata")?.remove("labels");

    let review = |operation: &str, options: &Value, object: &Value, old: &Value| {
        let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
        let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
        json!({
            "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource, "name": "one",
            "operation": operation, "object": object, "oldObject": old, "dryRun": false, "options": options,
        })
    };
    let seen = || -> Vec<_> {
        let calls = hooks.webhook.calls();
        let path = |call: &Call| call.uri.to_string();
        calls.into_iter().map(|call| (path(&call), stable(call.review["request"].clone()))).collect()
    };
    let options = |kind: &str| json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});

    // A mutating webhook sees what the client has sent, a validating one what is going to be stored.
    hooks
        .http
        .post(&format!("{}?fieldManager=me&fieldValidation=Ignore", hooks.maps()), &one)
        .await?
        .code(201)?;
    let mut given = options("CreateOptions");
    given["fieldManager"] = "me".into();
    given["fieldValidation"] = "Ignore".into();
    let mut sent = one.clone();
    sent["metadata"]["namespace"] = "SET".into();
    sent["metadata"]["managedFields"] = "SET".into();
    let mut stored = sent.clone();
    stored["metadata"]["uid"] = "SET".into();
    stored["metadata"]["creationTimestamp"] = "SET".into();
    assert_eq!(
        seen(),
        [
            ("/mutating?timeout=5s".to_owned(), review("CREATE", &given, &sent, &Value::Null)),
            ("/validating?timeout=5s".to_owned(), review("CREATE", &given, &stored, &Value::Null)),
        ]
    );
    let mut existing = stored.clone();
    existing["metadata"]["resourceVersion"] = "SET".into();
    let mut next = existing.clone();
    next["data"]["a"] = "c".into();
    let updated = |given: &Value, sent: &Value| {
        [
            ("/mutating?timeout=5s".to_owned(), review("UPDATE", given, sent, &existing)),
            ("/validating?timeout=5s".to_owned(), review("UPDATE", given, &next, &existing)),
        ]
    };
    // A PUT contains only what the client has sent.
    let mut put = one.clone();
    put["data"]["a"] = "c".into();
    hooks.http.put(&format!("{path}?dryRun=All"), &put).await?.code(200)?;
    let dry: Vec<_> = seen().into_iter().map(|(_, request)| request["dryRun"].clone()).collect();
    assert_eq!(dry, [true, true]);
    let data = json!({"data": {"a": "c"}});
    hooks.http.patch(&path, MERGE_PATCH, &data).await?.code(200)?;
    assert_eq!(seen(), updated(&options("UpdateOptions"), &next));

    // An apply of what does not exist is a create.
    let two = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "two"}});
    let query = format!("{}/two?fieldManager=me&force=true", hooks.maps());
    hooks.http.patch(&query, APPLY_PATCH, &two).await?.code(201)?;
    let operations: Vec<_> =
        seen().into_iter().map(|(_, it)| (it["operation"].clone(), it["options"]["kind"].clone())).collect();
    assert_eq!(
        operations,
        [(json!("CREATE"), json!("CreateOptions")), (json!("CREATE"), json!("CreateOptions"))]
    );
    // One that changes nothing is an update.
    hooks.http.patch(&query, APPLY_PATCH, &two).await?.code(200)?;
    let operations: Vec<_> = seen().into_iter().map(|(_, it)| it["operation"].clone()).collect();
    assert_eq!(operations, ["UPDATE", "UPDATE"]);

    // A generated name is known once it is generated.
    let mut generated = one.clone();
    generated["metadata"] = json!({"generateName": "gen-"});
    hooks.http.post(&hooks.maps(), &generated).await?.code(201)?;
    let names: Vec<_> = seen().into_iter().map(|(_, it)| it["name"].as_str().map(str::len)).collect();
    assert_eq!(names, [None, Some("gen-".len() + 5)]);

    // Who asks.
    hooks.http.patch(&path, MERGE_PATCH, &json!({"data": {"a": "d"}})).await?.code(200)?;
    let call = hooks.webhook.calls().remove(0);
    let user = &call.review["request"]["userInfo"];
    ensure!(
        user["groups"].as_array().is_some_and(|groups| groups.contains(&"system:authenticated".into())),
        "{user}"
    );
    let agent = call.headers.get("user-agent").and_then(|agent| agent.to_str().ok());
    assert_eq!(agent, Some("kube-apiserver-admission"));
    for configuration in [mutating, validating] {
        hooks.http.delete(&configuration).await?.code(200)?;
    }
    Ok(())
}

async fn reviews_of_deletions(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let hooks = Hooks::start(&cluster, Answer::allow).await?;
    let all = json!({"objectSelector": {}, "rules": [rule("DELETE", GROUP, "widgets")]});
    let mutating = hooks.mutating(vec![hooks.hook("mutating", &all)]).await?;
    let validating = hooks.validating(vec![hooks.hook("validating", &all)]).await?;
    for name in ["one", "two", "three"] {
        widgets.create(name).await?;
    }
    let options = json!({"propagationPolicy": "Background", "gracePeriodSeconds": 0});
    hooks.http.delete_with(&widgets.at("one"), &options).await?.code(200)?;
    let requests = hooks.reviewed();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let old = (&request["name"], &request["oldObject"]["metadata"]["name"], &request["object"]);
        assert_eq!(old, (&json!("one"), &json!("one"), &Value::Null));
        let mut expected = options.clone();
        expected["kind"] = "DeleteOptions".into();
        expected["apiVersion"] = "meta.k8s.io/v1".into();
        assert_eq!(request["options"], expected);
    }
    // Each object of a collection is asked about; only the object has a name.
    hooks.http.delete(&widgets.path).await?.code(200)?;
    let mut names: Vec<_> = hooks
        .reviewed()
        .iter()
        .map(|it| (it.get("name").is_some(), it["oldObject"]["metadata"]["name"].to_string()))
        .collect();
    names.sort_unstable();
    let quoted = |name: &str| (false, format!("{name:?}"));
    assert_eq!(names, [quoted("three"), quoted("three"), quoted("two"), quoted("two")]);
    hooks.http.delete(&widgets.at("none")).await?.code(404)?;
    assert_eq!(hooks.reviewed().len(), 0);
    for configuration in [mutating, validating] {
        hooks.http.delete(&configuration).await?.code(200)?;
    }
    Ok(())
}

async fn reviews_of_subresources(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let hooks = Hooks::start(&cluster, |call| {
        let request = &call.review["request"];
        match (call.uri.path(), request["subResource"].as_str()) {
            // Scales are patched as scales.
            ("/mutating", Some("scale")) => {
                Answer::patch(call, &json!([{"op": "replace", "path": "/spec/replicas", "value": 4}]))
            }
            _ => Answer::allow(call),
        }
    })
    .await?;
    let all = json!({
        "objectSelector": {},
        "rules": [rule("*", GROUP, "widgets/*"), rule("*", "", "pods/*"), rule("*", "", "serviceaccounts/*")],
    });
    let mutating = hooks.mutating(vec![hooks.hook("mutating", &all)]).await?;
    let validating = hooks.validating(vec![hooks.hook("validating", &all)]).await?;
    widgets.create("one").await?;
    assert_eq!(hooks.reviewed().len(), 2);
    let about = |requests: Vec<Value>| -> Vec<_> {
        let kind = |it: &Value| it["kind"]["kind"].as_str().unwrap_or_default().to_owned();
        requests
            .iter()
            .map(|it| {
                (
                    it["subResource"].as_str().unwrap_or_default().to_owned(),
                    kind(it),
                    it["object"]["kind"].as_str().unwrap_or_default().to_owned(),
                )
            })
            .collect()
    };
    let twice =
        |subresource: &str, kind: &str| vec![(subresource.to_owned(), kind.to_owned(), kind.to_owned()); 2];
    let status = json!({"status": {"phase": "Ready"}});
    let patched = hooks.http.patch(&widgets.at("one/status"), MERGE_PATCH, &status).await?.code(200)?;
    assert_eq!(about(hooks.reviewed()), twice("status", "Widget"));
    in_the_cache(&hooks.http, &widgets.at("one"), &patched).await?;
    let replicas = json!({"spec": {"replicas": 3}});
    let scaled = hooks.http.patch(&widgets.at("one/scale"), MERGE_PATCH, &replicas).await?.code(200)?;
    assert_eq!(scaled["spec"]["replicas"], 4);
    assert_eq!(widgets.get("one").await?.code(200)?["spec"]["replicas"], 4);
    assert_eq!(about(hooks.reviewed()), twice("scale", "Scale"));

    let pods = format!("/api/v1/namespaces/{}/pods", cluster.namespace());
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    hooks.http.post(&pods, &pod).await?.code(201)?;
    hooks.reviewed();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    hooks.http.post(&format!("{pods}/p/binding"), &binding).await?.code(201)?;
    assert_eq!(about(hooks.reviewed()), twice("binding", "Binding"));
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    hooks.http.post(&format!("{pods}/p/eviction"), &eviction).await?.code(201)?;
    assert_eq!(about(hooks.reviewed()), twice("eviction", "Eviction"));
    for configuration in [mutating, validating] {
        hooks.http.delete(&configuration).await?.code(200)?;
    }
    Ok(())
}

async fn denials(cluster: Cluster) -> Result<()> {
    const CASES: &[(&str, u16, &str)] = &[
        ("plain", 400, r#"admission webhook "plain.hooks.test" denied the request without explanation"#),
        ("message", 400, r#"admission webhook "message.hooks.test" denied the request: no way"#),
        ("reason", 400, r#"admission webhook "reason.hooks.test" denied the request: Forbidden"#),
        ("full", 418, r#"admission webhook "full.hooks.test" denied the request: teapot"#),
        ("success", 400, r#"admission webhook "success.hooks.test" denied the request: x"#),
    ];
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        table(&cluster, kind, CASES, |call, case| {
            let status = match case {
                "message" => json!({"message": "no way"}),
                "reason" => json!({"reason": "Forbidden"}),
                "full" => {
                    json!({"code": 418, "message": "teapot", "status": "Success", "details": {"name": "n"}})
                }
                "success" => json!({"code": 200, "message": "x"}),
                _ => return Answer::review(call, &json!({"allowed": false})),
            };
            Answer::review(call, &json!({"allowed": false, "status": status}))
        })
        .await?;
    }
    let hooks = Hooks::start(&cluster, |call| {
        let details = json!({"name": "n", "causes": [{"field": "spec.x", "message": "bad", "reason": "FieldValueInvalid"}]});
        let status = json!({"code": 403, "message": "no", "reason": "Mine", "details": details});
        Answer::review(call, &json!({"allowed": false, "status": status, "warnings": ["careful", "very"]}))
    })
    .await?;
    let configuration = hooks.validating(vec![hooks.hook("one", &json!({}))]).await?;
    let reply = hooks.http.post(&hooks.maps(), &hooks.map("one")).await?;
    assert_eq!(reply.warnings(), ["careful", "very"]);
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403, "reason": "Mine",
        "message": "admission webhook \"one.hooks.test\" denied the request: no",
        "details": {"name": "n", "causes": [{"field": "spec.x", "message": "bad", "reason": "FieldValueInvalid"}]},
    });
    assert_eq!(reply.body, expected);
    hooks.http.delete(&configuration).await?.code(200)?;
    Ok(())
}

/// Answers that are none, or not to the question.
fn invalid(call: &Call, case: &str) -> Answer {
    let mut review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": call.review["request"]["uid"], "allowed": true},
    });
    match case {
        "500" => return Answer::raw(500, "oops"),
        "404" => return Answer::raw(404, ""),
        "403" => return Answer::raw(403, ""),
        "418" => return Answer::raw(418, ""),
        "503" => return Answer::raw(503, ""),
        "204" => return Answer::raw(204, ""),
        "status" => {
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "deep trouble"});
            return Answer::raw(500, &status.to_string());
        }
        "html" => {
            let headers = vec![("content-type", "text/html".to_owned())];
            return Answer { headers, ..Answer::raw(502, "<p>no</p>") };
        }
        "garbage" => return Answer::raw(200, "garbage"),
        "array" => return Answer::raw(200, "[]"),
        "null" => return Answer::raw(200, "null"),
        "empty-object" => return Answer::raw(200, "{}"),
        "no-response" => review["response"] = Value::Null,
        "no-uid" => review["response"]["uid"] = Value::Null,
        "wrong-uid" => review["response"]["uid"] = "other".into(),
        "no-kind" => review["kind"] = Value::Null,
        "wrong-kind" => review["kind"] = "Other".into(),
        "no-version" => review["apiVersion"] = Value::Null,
        "wrong-version" => review["apiVersion"] = "admission.k8s.io/v2".into(),
        "other-version" => review["apiVersion"] = "admission.k8s.io/v1beta1".into(),
        "bad-allowed" => review["response"]["allowed"] = "yes".into(),
        "bad-patch" => review["response"]["patch"] = "!!".into(),
        "type-only" => review["response"]["patchType"] = "JSONPatch".into(),
        "patch-only" => review["response"]["patch"] = "W10=".into(),
        _ => review["response"]["unknown"] = 1.into(),
    }
    Answer::json(&review)
}

async fn invalid_answers(cluster: Cluster) -> Result<()> {
    const CASES: &[(&str, u16, &str)] = &[
        ("unknown-field", 201, ""),
        (
            "500",
            500,
            r#"Internal error occurred: FAILED: failed to call webhook: an error on the server ("unknown") has prevented the request from succeeding"#,
        ),
        (
            "404",
            500,
            "Internal error occurred: FAILED: failed to call webhook: the server could not find the requested resource",
        ),
        ("403", 500, "Internal error occurred: FAILED: failed to call webhook: unknown"),
        (
            "418",
            500,
            "Internal error occurred: FAILED: failed to call webhook: the server responded with the status code 418 but did not return more information",
        ),
        (
            "503",
            500,
            "Internal error occurred: FAILED: failed to call webhook: the server is currently unable to handle the request",
        ),
        (
            "204",
            500,
            "Internal error occurred: FAILED: failed to call webhook: 0-length response with status code: 204 and content type: application/json",
        ),
        ("status", 500, "Internal error occurred: FAILED: failed to call webhook: deep trouble"),
        (
            "html",
            500,
            r#"Internal error occurred: FAILED: failed to call webhook: an error on the server ("<p>no</p>") has prevented the request from succeeding"#,
        ),
        (
            "null",
            500,
            "Internal error occurred: FAILED: received invalid webhook response: webhook response was absent",
        ),
        (
            "empty-object",
            500,
            "Internal error occurred: FAILED: received invalid webhook response: webhook response was absent",
        ),
        (
            "no-response",
            500,
            "Internal error occurred: FAILED: received invalid webhook response: webhook response was absent",
        ),
        (
            "no-uid",
            500,
            r#"Internal error occurred: FAILED: received invalid webhook response: expected response.uid="UID", got """#,
        ),
        (
            "wrong-uid",
            500,
            r#"Internal error occurred: FAILED: received invalid webhook response: expected response.uid="UID", got "other""#,
        ),
        (
            "no-kind",
            500,
            "Internal error occurred: FAILED: received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1, Kind=",
        ),
        (
            "wrong-kind",
            500,
            r#"Internal error occurred: FAILED: failed to call webhook: no kind "Other" is registered for version "admission.k8s.io/v1" in scheme "pkg/runtime/scheme.go:111""#,
        ),
        (
            "no-version",
            500,
            "Internal error occurred: FAILED: received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=AdmissionReview",
        ),
        (
            "wrong-version",
            500,
            r#"Internal error occurred: FAILED: failed to call webhook: no kind "AdmissionReview" is registered for version "admission.k8s.io/v2" in scheme "pkg/runtime/scheme.go:111""#,
        ),
        (
            "other-version",
            500,
            "Internal error occurred: FAILED: failed to call webhook: converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown conversion",
        ),
        (
            "bad-allowed",
            500,
            "Internal error occurred: FAILED: failed to call webhook: json: cannot unmarshal string into Go struct field AdmissionResponse.response.allowed of type bool",
        ),
        (
            "bad-patch",
            500,
            "Internal error occurred: FAILED: failed to call webhook: illegal base64 data at input byte 0",
        ),
    ];
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        table(&cluster, kind, CASES, invalid).await?;
    }
    const MUTATING: &[(&str, u16, &str)] = &[
        (
            "type-only",
            500,
            "Internal error occurred: FAILED: received invalid webhook response: webhook returned response.patchType but not response.patch",
        ),
        (
            "patch-only",
            500,
            "Internal error occurred: FAILED: received invalid webhook response: webhook returned response.patch but not response.patchType",
        ),
    ];
    table(&cluster, "MutatingWebhookConfiguration", MUTATING, invalid).await?;
    const VALIDATING: &[(&str, u16, &str)] = &[
        (
            "type-only",
            500,
            "Internal error occurred: FAILED: received invalid webhook response: validating webhook may not return response.patchType",
        ),
        (
            "patch-only",
            500,
            "Internal error occurred: FAILED: received invalid webhook response: validating webhook may not return response.patch",
        ),
    ];
    table(&cluster, "ValidatingWebhookConfiguration", VALIDATING, invalid).await?;
    // What Go's type of the answer is called is an accident.
    let hooks = Hooks::start(&cluster, |call| invalid(call, call.uri.path().trim_start_matches('/'))).await?;
    let all = ["garbage", "array"].map(|name| hooks.hook(name, &json!({})));
    let configuration = hooks.validating(all.to_vec()).await?;
    for (name, found) in [("garbage", "string"), ("array", "array")] {
        let reply = hooks.http.post(&hooks.maps(), &hooks.map(name)).await?;
        let expected = format!(
            "failed to call webhook: couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value"
        );
        ensure!(reply.code == 500 && reply.message().contains(&expected), "{}", reply.body);
    }
    hooks.http.delete(&configuration).await?.code(200)?;
    Ok(())
}

async fn failed_calls(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, |call| match call.uri.path() {
        "/slow" => Answer { after: Duration::from_secs(20), ..Answer::allow(call) },
        // A server that is busy says when to try again.
        "/busy" => {
            let headers = vec![("retry-after", "1".to_owned())];
            Answer { headers, ..Answer::raw(429, "") }
        }
        _ => Answer::allow(call),
    })
    .await?;
    let other = Webhook::start(&["other.example", "second.example"], Answer::allow).await?;
    let stranger = Webhook::start(NAMES, Answer::allow).await?;
    let gone = Webhook::start(NAMES, Answer::allow).await?.at("/gone");
    let mut wrong_authority = stranger.at("/x");
    wrong_authority["caBundle"] = hooks.webhook.authority().into();
    let mut no_authority = hooks.webhook.at("/x");
    no_authority.as_object_mut().context("a clientConfig")?.remove("caBundle");
    let url = |config: &Value| config["url"].as_str().unwrap_or_default().to_owned();
    let called = |config: &Value, timeout: u64, why: &str| {
        format!("failed to call webhook: Post \"{}?timeout={timeout}s\": {why}", url(config))
    };
    let verify = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    let names = verify("cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs");
    let unknown = verify("certificate signed by unknown authority");
    let port = url(&gone).trim_start_matches("https://127.0.0.1:").trim_end_matches("/gone").to_owned();
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    let (slow, busy) = (hooks.webhook.at("/slow"), hooks.webhook.at("/busy"));
    let late = "context deadline exceeded";
    let cases = [
        ("slow", slow.clone(), 1, called(&slow, 1, late)),
        ("busy", busy.clone(), 2, called(&busy, 2, late)),
        ("names", other.at("/x"), 5, called(&other.at("/x"), 5, &names)),
        ("authority", wrong_authority.clone(), 5, called(&wrong_authority, 5, &unknown)),
        ("system", no_authority.clone(), 5, called(&no_authority, 5, &unknown)),
        ("gone", gone.clone(), 5, called(&gone, 5, &refused)),
        (
            "bundle",
            json!({"url": url(&slow), "caBundle": "eA=="}),
            5,
            "could not get REST client: unable to load root certificates: unable to parse bytes as PEM block"
                .to_owned(),
        ),
    ];
    let all = cases.iter().map(|(name, config, timeout, _)| {
        hooks.hook(name, &json!({"clientConfig": config, "timeoutSeconds": timeout}))
    });
    let configuration = hooks.validating(all.collect()).await?;
    for (name, _, _, why) in &cases {
        let message = format!("Internal error occurred: failed calling webhook \"{name}.hooks.test\": {why}");
        let reply = hooks.http.post(&hooks.maps(), &hooks.map(name)).await?;
        reply.refused(500, "InternalError", &message)?;
    }
    hooks.http.delete(&configuration).await?.code(200)?;
    Ok(())
}

async fn redirects(cluster: Cluster) -> Result<()> {
    const CASES: &[(&str, u16, &str)] = &[
        ("307", 400, r#"admission webhook "307.hooks.test" denied the request without explanation"#),
        ("308", 400, r#"admission webhook "308.hooks.test" denied the request without explanation"#),
        // It becomes a GET, which has no review to answer.
        (
            "302",
            500,
            r#"Internal error occurred: FAILED: received invalid webhook response: expected response.uid="UID", got """#,
        ),
        (
            "loop",
            500,
            r#"Internal error occurred: FAILED: failed to call webhook: Post "/loop": stopped after 10 redirects"#,
        ),
    ];
    table(&cluster, "ValidatingWebhookConfiguration", CASES, |call, case| {
        let to = |code, location: &str| Answer {
            headers: vec![("location", location.to_owned())],
            ..Answer::raw(code, "")
        };
        match case {
            "target" if call.method == http::Method::GET => {
                Answer::raw(200, r#"{"kind": "AdmissionReview", "response": {}}"#)
            }
            "target" => Answer::review(call, &json!({"allowed": false})),
            "loop" => to(307, "/loop"),
            code => to(code.parse().unwrap_or(500), "/target"),
        }
    })
    .await
}

async fn services(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, Answer::allow).await?;
    let namespace = cluster.namespace();
    let in_namespace = |name: &str| format!("{name}.{namespace}.svc");
    let named = Webhook::start(&[&in_namespace("hook")], |call| {
        Answer::review(call, &json!({"allowed": false, "status": {"message": call.uri.path()}}))
    })
    .await?;
    let services = format!("/api/v1/namespaces/{namespace}/services");
    for name in ["hook", "other"] {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        });
        hooks.http.post(&services, &service).await?.code(201)?;
    }
    let config = |name: &str| {
        let service =
            json!({"namespace": namespace, "name": name, "port": named.port(), "path": "/of/service"});
        json!({"clientConfig": {"service": service, "caBundle": named.authority()}})
    };
    let configuration = hooks
        .validating(["hook", "other", "missing"].map(|name| hooks.hook(name, &config(name))).to_vec())
        .await?;
    let post = async |name: &str| hooks.http.post(&hooks.maps(), &hooks.map(name)).await;
    let denied = "admission webhook \"hook.hooks.test\" denied the request: /of/service";
    eventually(PATIENCE, || async { post("hook").await?.refused(400, "", denied) }).await?;
    let failed = |name: &str, why: &str| {
        let url = format!("https://{}:{}/of/service?timeout=5s", in_namespace(name), named.port());
        format!(
            "Internal error occurred: failed calling webhook \"{name}.hooks.test\": failed to call webhook: Post \"{url}\": {why}"
        )
    };
    let (hook, other) = (in_namespace("hook"), in_namespace("other"));
    let why =
        format!("tls: failed to verify certificate: x509: certificate is valid for {hook}, not {other}");
    post("other").await?.refused(500, "InternalError", &failed("other", &why))?;
    let why = "service \"missing\" not found";
    post("missing").await?.refused(500, "InternalError", &failed("missing", why))?;
    hooks.http.delete(&configuration).await?.code(200)?;
    Ok(())
}

async fn patches(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, |call| {
        let patch = match call.uri.path() {
            "/labels" => json!([{"op": "add", "path": "/metadata/labels/more", "value": "yes"}]),
            "/unknown" => json!([{"op": "add", "path": "/nonsense", "value": 1}]),
            "/nothing" => json!([]),
            "/name" => json!([{"op": "replace", "path": "/metadata/name", "value": "renamed"}]),
            "/identity" => json!([{"op": "add", "path": "/metadata/uid", "value": "mine"}]),
            "/managed" => {
                json!([{"op": "add", "path": "/metadata/managedFields", "value": [{"manager": "x"}]}])
            }
            _ => json!([{"op": "add", "path": "/metadata/managedFields", "value": []}]),
        };
        Answer::patch(call, &patch)
    })
    .await?;
    let names = ["labels", "unknown", "nothing", "name", "identity", "managed", "unmanaged"];
    let configuration = hooks.mutating(names.map(|name| hooks.hook(name, &json!({}))).to_vec()).await?;
    let post = async |name: &str| hooks.http.post(&hooks.maps(), &hooks.map(name)).await;
    let labels = post("labels").await?.code(201)?;
    assert_eq!(labels["metadata"]["labels"], json!({"hook": "labels", "more": "yes"}));
    // What its type does not have is removed without a word.
    let unknown = post("unknown").await?;
    assert_eq!((unknown.warnings().len(), unknown.body.get("nonsense")), (0, None));
    unknown.code(201)?;
    post("nothing").await?.code(201)?;
    let renamed = post("name").await?.code(201)?;
    assert_eq!(renamed["metadata"]["name"], "renamed");
    let identity = post("identity").await?.code(201)?;
    assert_ne!(identity["metadata"]["uid"], "mine");
    let managed = post("managed").await?;
    let warning = ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: operation must be `Apply` or `Update`";
    assert_eq!(managed.warnings(), [warning]);
    ensure!(managed.code(201)?["metadata"]["managedFields"][0]["fieldsV1"].is_object());
    assert_eq!(post("unmanaged").await?.code(201)?["metadata"].get("managedFields"), None);
    hooks.http.delete(&configuration).await?.code(200)?;
    Ok(())
}

async fn patches_that_fail(cluster: Cluster) -> Result<()> {
    const CASES: &[(&str, u16, &str)] = &[
        (
            "missing",
            500,
            r#"Internal error occurred: remove operation does not apply: doc is missing path: "/no/where": missing value"#,
        ),
        (
            "add",
            500,
            r#"Internal error occurred: add operation does not apply: doc is missing path: "/spec/color": missing value"#,
        ),
        ("test", 500, "Internal error occurred: testing value /kind failed: test failed"),
        (
            "type",
            500,
            "Internal error occurred: json: cannot unmarshal number into Go struct field ConfigMap.data of type map[string]string",
        ),
        (
            "namespace",
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "object",
            500,
            "Internal error occurred: FAILED: received undecodable patch in webhook response: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ),
        ("merge", 500, r#"Internal error occurred: FAILED: unsupported patch type "Merge""#),
        (
            "name",
            422,
            r#"ConfigMap "A" is invalid: metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#,
        ),
    ];
    table(&cluster, "MutatingWebhookConfiguration", CASES, |call, case| {
        let patch = match case {
            "missing" => json!([{"op": "remove", "path": "/no/where"}]),
            "add" => json!([{"op": "add", "path": "/spec/color", "value": "red"}]),
            "test" => json!([{"op": "test", "path": "/kind", "value": "X"}]),
            "type" => json!([{"op": "add", "path": "/data", "value": 5}]),
            "namespace" => json!([{"op": "replace", "path": "/metadata/namespace", "value": "other"}]),
            "name" => json!([{"op": "replace", "path": "/metadata/name", "value": "A"}]),
            "merge" => {
                let response =
                    json!({"allowed": true, "patchType": "Merge", "patch": "W3sib3AiOiJhZGQifV0="});
                return Answer::review(call, &response);
            }
            _ => json!({}),
        };
        Answer::patch(call, &patch)
    })
    .await
}

/// Nobody owns what a webhook has changed.
async fn owners_of_patched_fields(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let hooks = Hooks::start(&cluster, |call| {
        Answer::patch(
            call,
            &json!([{"op": "add", "path": "/metadata/annotations", "value": {"by": "webhook"}}]),
        )
    })
    .await?;
    let rules = json!([rule("*", GROUP, "widgets"), rule("*", "", "configmaps")]);
    let all = json!({"objectSelector": {"matchExpressions": [{"key": "probe", "operator": "DoesNotExist"}]}, "rules": rules});
    let configuration = hooks.mutating(vec![hooks.hook("all", &all)]).await?;
    let owned = |object: &Value| object["metadata"]["managedFields"].to_string().contains("annotations");
    let widget = widgets.create("one").await?;
    assert_eq!((widget["metadata"]["annotations"]["by"].as_str(), owned(&widget)), (Some("webhook"), false));
    let patched = widgets.merge("one", &json!({"spec": {"size": "large"}})).await?.code(200)?;
    assert!(!owned(&patched));
    let map = hooks.http.post(&hooks.maps(), &hooks.map("m")).await?.code(201)?;
    assert!(!owned(&map));
    let path = format!("{}/m", hooks.maps());
    let patched = hooks.http.patch(&path, MERGE_PATCH, &json!({"data": {"c": "d"}})).await?.code(200)?;
    assert!(!owned(&patched));
    hooks.http.delete(&configuration).await?.code(200)?;
    // What is there because of a webhook, and is sent again, is owned by nobody either.
    let applied = widgets.apply("two", "fieldManager=me", &json!({"size": "small"})).await?.code(201)?;
    assert!(!owned(&applied));
    Ok(())
}

/// A webhook with `reinvocationPolicy: IfNeeded` sees what later ones have changed.
async fn called_again(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, |call| {
        let annotations = call.review["request"]["object"]["metadata"]["annotations"].clone();
        let count = annotations["count"].as_str().and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
        let add = |name: &str, value: &str| {
            let mut annotations = if annotations.is_object() { annotations.clone() } else { json!({}) };
            annotations[name] = value.into();
            Answer::patch(
                call,
                &json!([{"op": "add", "path": "/metadata/annotations", "value": annotations}]),
            )
        };
        match call.uri.path() {
            "/counts" | "/never" => add("count", &(count + 1).to_string()),
            _ => add("last", "set"),
        }
    })
    .await?;
    let selected = |label: &str| json!({"matchLabels": {label: "yes"}});
    let again = json!({"objectSelector": selected("again"), "reinvocationPolicy": "IfNeeded"});
    let configuration = hooks
        .mutating(vec![
            hooks.hook("counts", &again),
            hooks.hook("never", &json!({"objectSelector": selected("never")})),
            hooks.hook("last", &json!({"objectSelector": selected("last")})),
        ])
        .await?;
    let paths = async |labels: &Value| {
        let mut map = hooks.map("x");
        map["metadata"]["labels"] = labels.clone();
        let created = hooks.http.post(&format!("{}?dryRun=All", hooks.maps()), &map).await?.code(201)?;
        let calls = hooks.webhook.calls();
        let paths: Vec<_> = calls.iter().map(|call| call.uri.path().to_owned()).collect();
        anyhow::Ok((paths.join(" "), created["metadata"]["annotations"]["count"].as_str().map(str::to_owned)))
    };
    let count = |count: &str| Some(count.to_owned());
    assert_eq!(paths(&json!({"again": "yes"})).await?, ("/counts".to_owned(), count("1")));
    assert_eq!(
        paths(&json!({"again": "yes", "last": "yes"})).await?,
        ("/counts /last /counts".to_owned(), count("2"))
    );
    assert_eq!(
        paths(&json!({"never": "yes", "last": "yes"})).await?,
        ("/never /last".to_owned(), count("1"))
    );
    assert_eq!(
        paths(&json!({"again": "yes", "never": "yes", "last": "yes"})).await?,
        ("/counts /never /last /counts".to_owned(), count("3"))
    );
    hooks.http.delete(&configuration).await?.code(200)?;
    Ok(())
}

async fn ignored_failures(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, |call| match call.uri.path() {
        "/deny" => Answer::review(call, &json!({"allowed": false})),
        "/slow" => Answer { after: Duration::from_secs(20), ..Answer::allow(call) },
        "/uid" => Answer::json(&json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": "x"}})),
        _ => Answer::raw(500, ""),
    })
    .await?;
    let ignore = json!({"failurePolicy": "Ignore", "timeoutSeconds": 1});
    let mut both = Vec::new();
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let all = ["deny", "slow", "uid", "fails"].map(|name| hooks.hook(name, &ignore));
        both.push(hooks.install(kind, "i", all.to_vec()).await?);
    }
    for name in ["slow", "uid", "fails"] {
        hooks.http.post(&hooks.maps(), &hooks.map(name)).await?.code(201)?;
        assert_eq!(hooks.reviewed().len(), 2, "{name}");
    }
    // A denial is not a failure.
    hooks.http.post(&hooks.maps(), &hooks.map("deny")).await?.code(400)?;
    for configuration in both {
        hooks.http.delete(&configuration).await?.code(200)?;
    }
    Ok(())
}

async fn selectors(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, |call| Answer::review(call, &json!({"allowed": false}))).await?;
    let other = json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}});
    let namespaces = json!({"matchLabels": {"of": cluster.unique()}});
    let scoped = |scope: &str, resource: &str| {
        let mut rule = rule("*", "", resource);
        rule["scope"] = scope.into();
        json!([rule])
    };
    let configuration = hooks
        .validating(vec![
            hooks.hook("elsewhere", &json!({"namespaceSelector": other})),
            hooks.hook("cluster", &json!({"rules": scoped("Cluster", "*")})),
            hooks.hook("namespaced", &json!({"rules": scoped("Namespaced", "*")})),
            hooks.hook("namespaces", &json!({"objectSelector": {}, "namespaceSelector": namespaces, "rules": scoped("*", "namespaces")})),
        ])
        .await?;
    let post = async |name: &str| anyhow::Ok(hooks.http.post(&hooks.maps(), &hooks.map(name)).await?.code);
    assert_eq!(
        (post("elsewhere").await?, post("cluster").await?, post("namespaced").await?),
        (201, 201, 400)
    );
    // A namespace is selected by its own labels.
    let mut namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cluster.unique().replace('.', "-")}});
    namespace["metadata"]["labels"] = namespaces["matchLabels"].clone();
    let created = hooks.http.post("/api/v1/namespaces?dryRun=All", &namespace).await?;
    assert_eq!(created.code, 400, "{}", created.body);
    let request = &hooks.reviewed()[1];
    assert_eq!(request["namespace"], namespace["metadata"]["name"]);
    // An object that loses the label is still selected.
    let updates = json!({"rules": [rule("UPDATE", "", "configmaps")]});
    let updates =
        hooks.install("ValidatingWebhookConfiguration", "u", vec![hooks.hook("updated", &updates)]).await?;
    assert_eq!(post("updated").await?, 201);
    let path = format!("{}/updated", hooks.maps());
    hooks.http.patch(&path, MERGE_PATCH, &json!({"metadata": {"labels": null}})).await?.code(400)?;
    for configuration in [configuration, updates] {
        hooks.http.delete(&configuration).await?.code(200)?;
    }
    Ok(())
}

async fn match_conditions(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, |call| Answer::review(call, &json!({"allowed": false}))).await?;
    let conditions = |all: &[&str]| {
        let all = all.iter().enumerate().map(|(at, it)| json!({"name": format!("c{at}"), "expression": it}));
        json!({"matchConditions": all.collect::<Vec<_>>()})
    };
    let mut ignoring = conditions(&["object.nope == 1"]);
    ignoring["failurePolicy"] = "Ignore".into();
    let configuration = hooks
        .validating(vec![
            hooks.hook("yes", &conditions(&["object.data.a == 'b'", "oldObject == null"])),
            hooks.hook("no", &conditions(&["true", "request.name == 'x'", "object.nope == 1"])),
            hooks.hook("request", &conditions(&["request.operation == 'CREATE' && request.kind.kind == 'ConfigMap' && request.dryRun == false"])),
            hooks.hook("authorizer", &conditions(&["authorizer.requestResource.check('create').allowed()", "authorizer.group('').resource('pods').namespace('x').check('frobnicate').allowed()"])),
            hooks.hook("error", &conditions(&["object.nope.x == 1", "object.nope2 == 1"])),
            hooks.hook("ignored", &ignoring),
        ])
        .await?;
    let post = async |name: &str| hooks.http.post(&hooks.maps(), &hooks.map(name)).await;
    for (name, code) in [("yes", 400), ("no", 201), ("request", 400), ("authorizer", 400), ("ignored", 201)] {
        assert_eq!(post(name).await?.code, code, "{name}");
    }
    let message = "configmaps \"error\" is forbidden: [expression 'object.nope.x == 1' resulted in error: no such key: nope, expression 'object.nope2 == 1' resulted in error: no such key: nope2]";
    post("error").await?.refused(403, "Forbidden", message)?;
    hooks.http.delete(&configuration).await?.code(200)?;
    Ok(())
}

/// A webhook for one version of a resource sees requests in other versions, converted to its own.
async fn equivalent_versions(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let version = |name: &str, storage: bool| {
        let spec = json!({"type": "object", "properties": {"a": {"type": "string"}, name: {"type": "string", "default": "d"}}});
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
    };
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gears.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "gears", "singular": "gear", "kind": "Gear", "listKind": "GearList"},
            "versions": [version("v1", true), version("v2", false)],
        },
    });
    let http = cluster.admin();
    http.post(crate::widgets::CRDS, &crd).await?.code(201)?;
    let path = |version: &str| format!("/apis/{group}/{version}/namespaces/{}/gears", cluster.namespace());
    eventually(PATIENCE, || async { http.get(&path("v2")).await?.code(200) }).await?;
    let hooks = Hooks::start(&cluster, |call| {
        let object = &call.review["request"]["object"];
        Answer::patch(
            call,
            &json!([{"op": "add", "path": "/spec/a", "value": format!("was {}", object["apiVersion"])}]),
        )
    })
    .await?;
    let of = |version: &str, policy: &str| {
        let mut rule = rule("*", &group, "gears");
        rule["apiVersions"] = json!([version]);
        json!({"objectSelector": {}, "matchPolicy": policy, "rules": [rule]})
    };
    let configuration = hooks
        .mutating(vec![
            hooks.hook("exact", &of("v1", "Exact")),
            hooks.hook("equivalent", &of("v1", "Equivalent")),
        ])
        .await?;
    let gear =
        json!({"apiVersion": format!("{group}/v2"), "kind": "Gear", "metadata": {"name": "g"}, "spec": {}});
    let created = http.post(&path("v2"), &gear).await?.code(201)?;
    assert_eq!(created["apiVersion"], format!("{group}/v2"));
    assert_eq!(created["spec"]["a"], format!("was \"{group}/v1\""));
    let calls = hooks.webhook.calls();
    assert_eq!(calls.iter().map(|call| call.uri.path()).collect::<Vec<_>>(), ["/equivalent"]);
    let request = &calls[0].review["request"];
    let shown = |version: &str| json!({"group": group, "version": version, "kind": "Gear"});
    assert_eq!((&request["kind"], &request["requestKind"]), (&shown("v1"), &shown("v2")));
    assert_eq!(
        (&request["resource"]["version"], &request["requestResource"]["version"]),
        (&json!("v1"), &json!("v2"))
    );
    assert_eq!(request["object"]["apiVersion"], format!("{group}/v1"));
    http.delete(&configuration).await?.code(200)?;
    Ok(())
}

async fn dry_runs(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, Answer::allow).await?;
    let effects = |effects: &str| json!({"sideEffects": effects});
    let configuration = hooks.validating(vec![
        hooks.hook("none", &effects("None")),
        hooks.hook("not-on-dry-run", &effects("NoneOnDryRun")),
    ]);
    let configuration = configuration.await?;
    for name in ["none", "not-on-dry-run"] {
        hooks.http.post(&format!("{}?dryRun=All", hooks.maps()), &hooks.map(name)).await?.code(201)?;
        assert_eq!(hooks.reviewed()[0]["dryRun"], true);
    }
    hooks.http.delete(&configuration).await?.code(200)?;
    Ok(())
}

/// Waits until kube-apiserver's watch cache has a version of an object. A write begins with what is there, and again if that is
/// outdated, also with its admission.
async fn in_the_cache(http: &Http, path: &str, object: &Value) -> Result<()> {
    http.get(&format!("{path}?resourceVersion={}", version(object))).await?.code(200)?;
    Ok(())
}

/// Mutating webhooks are called before the version of an object is compared, validating ones after.
async fn before_conflicts(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, Answer::allow).await?;
    let one = hooks.http.post(&hooks.maps(), &hooks.map("one")).await?.code(201)?;
    let rules = json!({"rules": [rule("UPDATE", "", "configmaps")], "objectSelector": {}});
    let mutating = hooks.mutating(vec![hooks.hook("mutating", &rules)]).await?;
    let validating = hooks.validating(vec![hooks.hook("validating", &rules)]).await?;
    let path = format!("{}/one", hooks.maps());
    let paths =
        || -> Vec<_> { hooks.webhook.calls().iter().map(|call| call.uri.path().to_owned()).collect() };
    let patch = json!([{"op": "add", "path": "/data/x", "value": "y"}]);
    let patched = hooks.http.patch(&path, JSON_PATCH, &patch).await?.code(200)?;
    assert_eq!(paths(), ["/mutating", "/validating"]);
    in_the_cache(&hooks.http, &path, &patched).await?;
    let mut stale = hooks.map("one");
    stale["metadata"]["resourceVersion"] = version(&one).into();
    hooks.http.put(&path, &stale).await?.code(409)?;
    assert_eq!(paths(), ["/mutating"]);
    for configuration in [mutating, validating] {
        hooks.http.delete(&configuration).await?.code(200)?;
    }
    Ok(())
}

async fn custom_resources_are_pruned(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let hooks = Hooks::start(&cluster, |call| {
        Answer::patch(
            call,
            &json!([
                {"op": "add", "path": "/spec/unknown", "value": "x"},
                {"op": "add", "path": "/spec/title", "value": "from the webhook"},
                {"op": "add", "path": "/status", "value": {"phase": "x"}},
            ]),
        )
    })
    .await?;
    let all = json!({"objectSelector": {}, "rules": [rule("*", GROUP, "widgets")]});
    let configuration = hooks.mutating(vec![hooks.hook("all", &all)]).await?;
    let created = widgets.create("one").await?;
    assert_eq!((created["spec"].get("unknown"), created.get("status")), (None, None));
    hooks.http.delete(&configuration).await?.code(200)?;
    Ok(())
}

/// Whoever runs a process in a Pod is judged before the Pod is looked for.
async fn connections(cluster: Cluster) -> Result<()> {
    let hooks = Hooks::start(&cluster, |call| {
        let object = &call.review["request"]["object"];
        match (call.uri.path(), object["container"].as_str()) {
            ("/mutating", Some("patched")) => {
                Answer::patch(call, &json!([{"op": "replace", "path": "/container", "value": "other"}]))
            }
            ("/validating", Some("denied")) => {
                Answer::review(call, &json!({"allowed": false, "status": {"message": "no"}}))
            }
            _ => Answer::allow(call),
        }
    })
    .await?;
    let all = json!({"objectSelector": {}, "rules": [rule("CONNECT", "", "pods/*")]});
    let mutating = hooks.mutating(vec![hooks.hook("mutating", &all)]).await?;
    let validating = hooks.validating(vec![hooks.hook("validating", &all)]).await?;
    let pods = format!("/api/v1/namespaces/{}/pods", cluster.namespace());
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "schedulerName": "nobody"},
    });
    hooks.http.post(&pods, &pod).await?.code(201)?;
    assert_eq!(hooks.reviewed(), [] as [Value; 0]);

    let get = async |path: &str| hooks.http.get(&format!("{pods}/{path}")).await;
    let no_host = "pod p does not have a host assigned";
    let stdin = "stdin=true&stdout=1&stderr=false&tty=&container=c&other=1";
    for (path, subresource, kind, object) in [
        (
            format!("p/exec?command=sh&command=-c&{stdin}"),
            "exec",
            "PodExecOptions",
            json!({"command": ["sh", "-c"], "container": "c", "stdin": true, "stdout": true, "tty": true}),
        ),
        ("p/exec".to_owned(), "exec", "PodExecOptions", json!({"command": null})),
        (
            format!("p/attach?command=sh&{stdin}"),
            "attach",
            "PodAttachOptions",
            json!({"container": "c", "stdin": true, "stdout": true, "tty": true}),
        ),
        (
            "p/portforward?ports=80&ports=81,82".to_owned(),
            "portforward",
            "PodPortForwardOptions",
            json!({"ports": [80, 81, 82]}),
        ),
    ] {
        get(&path).await?.refused(400, "BadRequest", no_host)?;
        let reviewed = hooks.reviewed();
        assert_eq!(reviewed.len(), 2, "{path}");
        for mut request in reviewed {
            let mut object = object.clone();
            object["kind"] = kind.into();
            object["apiVersion"] = "v1".into();
            let mut expected = json!({
                "kind": {"group": "", "version": "v1", "kind": kind},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "requestKind": {"group": "", "version": "v1", "kind": kind},
                "requestResource": {"group": "", "version": "v1", "resource": "pods"},
                "subResource": subresource,
                "requestSubResource": subresource,
                "name": "p",
                "namespace": cluster.namespace(),
                "operation": "CONNECT",
                "dryRun": false,
                "oldObject": null,
                "options": null,
            });
            expected["object"] = object;
            for member in ["uid", "userInfo"] {
                expected[member] = request[member].take();
                request[member] = expected[member].clone();
            }
            assert_eq!(request, expected);
        }
    }
    hooks.http.post(&format!("{pods}/p/exec"), &Value::Null).await?.refused(400, "BadRequest", no_host)?;
    assert_eq!(hooks.reviewed().len(), 2);
    get("p/log").await?.code(204)?;
    assert_eq!(hooks.reviewed().len(), 0, "a log is only read");

    let denied = "admission webhook \"validating.hooks.test\" denied the request: no";
    for path in ["p/exec?container=denied", "p/attach?container=denied", "nothing/exec?container=denied"] {
        get(path).await?.refused(400, "", denied)?;
    }
    let patched = "container other is not valid for pod p";
    get("p/exec?container=patched").await?.refused(400, "BadRequest", patched)?;
    for configuration in [mutating, validating] {
        hooks.http.delete(&configuration).await?.code(200)?;
    }
    Ok(())
}
