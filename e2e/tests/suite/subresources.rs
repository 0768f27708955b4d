//! Subresources of built-in kinds that schedulers, `kubectl drain` and token sources rely on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use e2e::{
    Cluster,
    http::{MERGE_PATCH, STRATEGIC_PATCH},
};
use serde_json::{Value, json};

e2e::on_each_cluster! {
    binding, bindings_that_are_refused, eviction, eviction_within_a_budget [NoControllers], ephemeral_containers,
    tokens_of_service_accounts, tokens_are_verified_by_others, tokens_bound_to_others,
    token_requests_that_are_refused, token_reviews, approval, cordon, finalize, of_missing_objects, pod_status_keeps_owners,
    resize,
}

fn pods(cluster: &Cluster) -> String {
    format!("/api/v1/namespaces/{}/pods", cluster.namespace())
}

fn accounts(cluster: &Cluster) -> String {
    format!("/api/v1/namespaces/{}/serviceaccounts", cluster.namespace())
}

async fn create_pod(cluster: &Cluster, name: &str, more: &Value) -> Result<Value> {
    // No scheduler assigns it to a node, even if the cluster has nodes.
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}], "schedulerName": "nobody"});
    for (field, value) in more.as_object().context("fields")? {
        spec[field] = value.clone();
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec,
    });
    cluster.admin().post(&pods(cluster), &pod).await?.ok()
}

/// Reports a Pod as ready, as a kubelet does.
async fn make_ready(cluster: &Cluster, name: &str) -> Result<()> {
    let ready = json!({
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let path = format!("{}/{name}/status", pods(cluster));
    cluster.admin().patch(&path, MERGE_PATCH, &ready).await?.ok()?;
    Ok(())
}

async fn binding(cluster: Cluster) -> Result<()> {
    create_pod(&cluster, "p", &json!({})).await?;
    let (admin, path) = (cluster.admin(), pods(&cluster));
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p", "annotations": {"by": "test"}},
        "target": {"kind": "Node", "name": "n1"},
    });
    let reply = admin.post(&format!("{path}/p/binding"), &binding).await?;
    assert_eq!(reply.code, 201, "{reply:?}");
    let expected =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    assert_eq!(reply.body, expected);
    let pod = admin.get(&format!("{path}/p")).await?.ok()?;
    assert_eq!(pod["spec"]["nodeName"], "n1");
    assert_eq!(pod["metadata"]["annotations"]["by"], "test");
    let conditions = pod["status"]["conditions"].as_array().context("conditions")?;
    let scheduled = conditions.iter().find(|it| it["type"] == "PodScheduled").context("PodScheduled")?;
    assert_eq!(scheduled["status"], "True");

    let again = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n2"}});
    let message =
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"";
    let reply = admin.post(&format!("{path}/p/binding"), &again).await?;
    let status = reply.refused(409, "Conflict", message)?;
    assert_eq!(status["details"], json!({"name": "p", "kind": "pods/binding"}));

    // The older endpoint, which schedulers in other languages use.
    create_pod(&cluster, "q", &json!({})).await?;
    let bindings = format!("/api/v1/namespaces/{}/bindings", cluster.namespace());
    let other = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "q"}, "target": {"kind": "Node", "name": "n2"},
    });
    admin.post(&bindings, &other).await?.code(201)?;
    assert_eq!(admin.get(&format!("{path}/q")).await?.ok()?["spec"]["nodeName"], "n2");
    Ok(())
}

async fn bindings_that_are_refused(cluster: Cluster) -> Result<()> {
    create_pod(&cluster, "p", &json!({})).await?;
    let (admin, path) = (cluster.admin(), pods(&cluster));
    let bind = async |pod: &str, name: &str, target: Value| {
        let binding = json!({"metadata": {"name": name}, "target": target});
        admin.post(&format!("{path}/{pod}/binding"), &binding).await
    };
    let reply = bind("p", "p", json!({"kind": "Node"})).await?;
    assert_eq!((reply.code, &reply.body["message"]), (500, &json!("target.name: Required value")));
    let reply = bind("p", "p", json!({"kind": "Pod", "name": "x"})).await?;
    let message = "target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\"";
    assert_eq!((reply.code, &reply.body["message"]), (500, &json!(message)));
    let reply = bind("p", "q", json!({"kind": "Node", "name": "n"})).await?;
    reply.refused(400, "BadRequest", "name in URL does not match name in Binding object")?;
    let reply = bind("none", "none", json!({"kind": "Node", "name": "n"})).await?;
    reply.refused(404, "NotFound", "pods \"none\" not found")?;
    assert_eq!(admin.get(&format!("{path}/p/binding")).await?.code, 405);
    assert!(admin.get(&format!("{path}/p")).await?.ok()?["spec"].get("nodeName").is_none());
    Ok(())
}

async fn eviction(cluster: Cluster) -> Result<()> {
    let pod = create_pod(&cluster, "p", &json!({})).await?;
    let (admin, path) = (cluster.admin(), pods(&cluster));
    let evict = async |name: &str, options: Value| {
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options,
        });
        admin.post(&format!("{path}/p/eviction"), &eviction).await
    };
    let reply = evict("q", json!({})).await?;
    reply.refused(400, "BadRequest", "name in URL does not match name in Eviction object")?;
    let uid = pod["metadata"]["uid"].as_str().context("uid")?;
    let message = format!(
        "Operation cannot be fulfilled on Pod \"p\": the UID in the precondition (other) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
    );
    evict("p", json!({"preconditions": {"uid": "other"}})).await?.refused(409, "Conflict", &message)?;
    evict("p", json!({"dryRun": ["All"]})).await?.code(201)?;
    admin.get(&format!("{path}/p")).await?.code(200)?;

    let reply = evict("p", json!({"preconditions": {"uid": uid}})).await?;
    let success =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    assert_eq!((reply.code, reply.body), (201, success));
    admin.get(&format!("{path}/p")).await?.code(404)?;
    let reply = evict("p", json!({})).await?;
    reply.refused(404, "NotFound", "pods \"p\" not found")?;
    Ok(())
}

async fn eviction_within_a_budget(cluster: Cluster) -> Result<()> {
    create_pod(&cluster, "p", &json!({})).await?;
    make_ready(&cluster, "p").await?;
    let (admin, path) = (cluster.admin(), pods(&cluster));
    let budgets = format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", cluster.namespace());
    let budget = |name: &str| {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}},
        })
    };
    admin.post(&budgets, &budget("b")).await?.code(201)?;
    let evict = async |query: &str| {
        admin.post(&format!("{path}/p/eviction{query}"), &json!({"metadata": {"name": "p"}})).await
    };
    let refused = "Cannot evict pod as it would violate the pod's disruption budget.";
    let cause = |message: &str| json!([{"reason": "DisruptionBudget", "message": message}]);

    // No controller has processed the budget yet.
    let reply = evict("").await?;
    assert_eq!(reply.headers.get("retry-after").context("a header")?, "10");
    let status = reply.refused(429, "TooManyRequests", refused)?;
    let pending = cause("The disruption budget b is still being processed by the server.");
    assert_eq!(
        (&status["details"]["causes"], &status["details"]["retryAfterSeconds"]),
        (&pending, &json!(10))
    );

    let observe = async |allowed: i32, current: i32| {
        let status = json!({"status": {
            "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": current, "desiredHealthy": 1,
            "expectedPods": 1,
        }});
        admin.patch(&format!("{budgets}/b/status"), MERGE_PATCH, &status).await?.ok()
    };
    observe(0, 1).await?;
    let reply = evict("").await?;
    assert!(reply.headers.get("retry-after").is_none());
    let status = reply.refused(429, "TooManyRequests", refused)?;
    let few = cause("The disruption budget b needs 1 healthy pods and has 1 currently");
    assert_eq!(status["details"], json!({"causes": few}));

    observe(1, 2).await?;
    evict("?dryRun=All").await?.code(201)?;
    admin.post(&budgets, &budget("c")).await?.code(201)?;
    let two = evict("").await?;
    let message =
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    assert_eq!((two.code, &two.body["message"]), (500, &json!(message)));
    admin.delete(&format!("{budgets}/c")).await?.code(200)?;

    evict("").await?.code(201)?;
    let after = admin.get(&format!("{budgets}/b")).await?.ok()?["status"].clone();
    assert_eq!(after["disruptionsAllowed"], 0);
    ensure!(after["disruptedPods"]["p"].is_string(), "{after}");
    assert_eq!(after["conditions"][0]["reason"], "InsufficientPods");
    Ok(())
}

async fn ephemeral_containers(cluster: Cluster) -> Result<()> {
    create_pod(&cluster, "p", &json!({})).await?;
    let (admin, path) = (cluster.admin(), format!("{}/p/ephemeralcontainers", pods(&cluster)));
    let add = json!({
        "metadata": {"labels": {"not": "its"}},
        "spec": {
            "nodeName": "other",
            "ephemeralContainers": [{"name": "d", "image": "busybox", "targetContainerName": "c"}],
        },
    });
    let pod = admin.patch(&path, STRATEGIC_PATCH, &add).await?.ok()?;
    assert_eq!(pod["spec"]["ephemeralContainers"][0]["name"], "d");
    assert_eq!(pod["metadata"]["generation"], 2);
    assert!(pod["spec"].get("nodeName").is_none(), "{pod}");
    let same = json!({"spec": {"ephemeralContainers": [{"name": "c", "image": "busybox"}]}});
    let reply = admin.patch(&path, STRATEGIC_PATCH, &same).await?;
    reply.refused(
        422,
        "Invalid",
        "Pod \"p\" is invalid: spec.ephemeralContainers[0].name: Duplicate value: \"c\"",
    )?;
    let none = json!({"spec": {"ephemeralContainers": []}});
    let message = "Pod \"p\" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed\n";
    admin.patch(&path, MERGE_PATCH, &none).await?.refused(422, "Invalid", message)?;
    Ok(())
}

async fn service_account(cluster: &Cluster, name: &str) -> Result<Value> {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    cluster.admin().post(&accounts(cluster), &account).await?.ok()
}

async fn token(cluster: &Cluster, account: &str, spec: Value) -> Result<Value> {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    cluster.admin().post(&format!("{}/{account}/token", accounts(cluster)), &request).await?.ok()
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("a text")
}

async fn tokens_of_service_accounts(cluster: Cluster) -> Result<()> {
    let account = service_account(&cluster, "bot").await?;
    let namespace = cluster.namespace();
    let made = token(&cluster, "bot", json!({})).await?;
    assert_eq!((&made["kind"], &made["metadata"]["name"]), (&json!("TokenRequest"), &json!("bot")));
    let audiences = made["spec"]["audiences"].as_array().context("audiences")?;
    assert_eq!(audiences.len(), 1);
    ensure!(text(&audiences[0])?.starts_with("https://kubernetes.default.svc"), "{audiences:?}");
    assert_eq!(made["spec"]["expirationSeconds"], 3600);
    text(&made["status"]["expirationTimestamp"])?;

    let bot = cluster.with_token(text(&made["status"]["token"])?).await?;
    let name = format!("system:serviceaccount:{namespace}:bot");
    let message = format!(
        "secrets is forbidden: User {name:?} cannot list resource \"secrets\" in API group \"\" at the cluster scope"
    );
    bot.get("/api/v1/secrets").await?.refused(403, "Forbidden", &message)?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let reply = bot.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review).await?.ok()?;
    let user = &reply["status"]["userInfo"];
    assert_eq!((&user["username"], &user["uid"]), (&json!(name), &account["metadata"]["uid"]));
    let groups = json!([
        "system:serviceaccounts",
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated"
    ]);
    assert_eq!(user["groups"], groups);

    // It gets a right through a binding to its name.
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "bot", "namespace": namespace}],
    });
    cluster.admin().post(&format!("{rbac}/roles"), &role).await?.code(201)?;
    cluster.admin().post(&format!("{rbac}/rolebindings"), &binding).await?.code(201)?;
    let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    e2e::eventually(Duration::from_secs(10), || async { bot.get(&maps).await?.code(200) }).await?;

    // The server does not accept a token for another audience.
    let other = token(&cluster, "bot", json!({"audiences": ["vault"], "expirationSeconds": 700})).await?;
    assert_eq!(other["spec"]["expirationSeconds"], 700);
    let stranger = cluster.with_token(text(&other["status"]["token"])?).await?;
    stranger.get(&maps).await?.refused(401, "Unauthorized", "Unauthorized")?;
    Ok(())
}

async fn tokens_are_verified_by_others(cluster: Cluster) -> Result<()> {
    service_account(&cluster, "bot").await?;
    let made = token(&cluster, "bot", json!({})).await?;
    let parts: Vec<Value> = text(&made["status"]["token"])?
        .split('.')
        .take(2)
        .map(|part| Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part)?)?))
        .collect::<Result<_>>()?;
    let configuration = cluster.admin().get("/.well-known/openid-configuration").await?.code(200)?;
    assert_eq!(configuration["issuer"], parts[1]["iss"]);
    assert_eq!(configuration["id_token_signing_alg_values_supported"], json!([parts[0]["alg"]]));
    ensure!(text(&configuration["jwks_uri"])?.ends_with("/openid/v1/jwks"), "{configuration}");
    let keys = cluster.admin().get_as("/openid/v1/jwks", "*/*").await?;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    let keys = keys.code(200)?;
    let known = keys["keys"].as_array().context("keys")?;
    let key = known.iter().find(|key| key["kid"] == parts[0]["kid"]).context("the token's key")?;
    assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &parts[0]["alg"]));
    let message = "forbidden: User \"nobody\" cannot get path \"/openid/v1/jwks\"";
    cluster.nobody().get("/openid/v1/jwks").await?.refused(403, "Forbidden", message)?;
    Ok(())
}

async fn tokens_bound_to_others(cluster: Cluster) -> Result<()> {
    service_account(&cluster, "bot").await?;
    let pod = create_pod(&cluster, "p", &json!({"serviceAccountName": "bot"})).await?;
    let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "p"});
    let made = token(&cluster, "bot", json!({"boundObjectRef": reference})).await?;
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": made["status"]["token"]},
    });
    let reply = cluster.admin().post("/apis/authentication.k8s.io/v1/tokenreviews", &review).await?.ok()?;
    let extra = &reply["status"]["user"]["extra"];
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], json!([pod["metadata"]["uid"]]));
    Ok(())
}

async fn token_requests_that_are_refused(cluster: Cluster) -> Result<()> {
    service_account(&cluster, "bot").await?;
    create_pod(&cluster, "p", &json!({})).await?;
    let (admin, path) = (cluster.admin(), accounts(&cluster));
    let ask = async |account: &str, metadata: Value, spec: Value| {
        let request = json!({"metadata": metadata, "spec": spec});
        admin.post(&format!("{path}/{account}/token"), &request).await
    };
    let invalid =
        |name: &str, why: &str| format!("TokenRequest.authentication.k8s.io \"{name}\" is invalid: {why}");
    let bound = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}});
    let none = json!({});
    let why = "spec.expirationSeconds: Invalid value: 30: may not specify a duration less than 10 minutes";
    let reply = ask("bot", none.clone(), json!({"expirationSeconds": 30})).await?;
    reply.refused(422, "Invalid", &invalid("", why))?;
    let why = "spec.expirationSeconds: Invalid value: 99999999999: may not specify a duration larger than 2^32 seconds";
    let reply = ask("bot", none.clone(), json!({"expirationSeconds": 99_999_999_999_i64})).await?;
    reply.refused(422, "Invalid", &invalid("", why))?;
    let why = "metadata.name: Invalid value: \"x\": must match the service account name if specified";
    let reply = ask("bot", json!({"name": "x"}), none.clone()).await?;
    reply.refused(422, "Invalid", &invalid("bot", why))?;
    let reply = ask("nobody", none.clone(), none.clone()).await?;
    reply.refused(404, "NotFound", "serviceaccounts \"nobody\" not found")?;
    let reply = ask("bot", none.clone(), bound("Pod", "none", "")).await?;
    reply.refused(404, "NotFound", "pods \"none\" not found")?;
    let reply = ask("bot", none.clone(), bound("Foo", "none", "")).await?;
    reply.refused(400, "BadRequest", "cannot bind token to object of type /v1, Kind=Foo")?;
    let why =
        "cannot bind token for serviceaccount \"bot\" to pod running with different serviceaccount name.";
    let reply = ask("bot", none.clone(), bound("Pod", "p", "")).await?;
    reply.refused(400, "BadRequest", why)?;
    let secrets = format!("/api/v1/namespaces/{}/secrets", cluster.namespace());
    admin.post(&secrets, &json!({"metadata": {"name": "s"}})).await?.code(201)?;
    let why = "Operation cannot be fulfilled on Secret \"s\": the UID in the bound object reference (zz) does not match the UID in record. The object might have been deleted and then recreated";
    let reply = ask("bot", none, bound("Secret", "s", "zz")).await?;
    reply.refused(409, "Conflict", why)?;
    Ok(())
}

async fn token_reviews(cluster: Cluster) -> Result<()> {
    service_account(&cluster, "bot").await?;
    let made = token(&cluster, "bot", json!({"audiences": ["vault"]})).await?;
    let review = async |spec: Value| {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        cluster.admin().post("/apis/authentication.k8s.io/v1/tokenreviews", &review).await
    };
    let spec = json!({"token": made["status"]["token"], "audiences": ["vault", "other"]});
    let status = review(spec).await?.ok()?["status"].clone();
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    let status = review(json!({"token": made["status"]["token"]})).await?.ok()?["status"].clone();
    // A token that is requested without an audience is for the server.
    let own = token(&cluster, "bot", json!({})).await?["spec"]["audiences"][0].clone();
    let error = format!(
        "[invalid bearer token, token audiences [\"vault\"] is invalid for the target audiences [{own}]]"
    );
    assert_eq!(status, json!({"user": {}, "error": error}));
    let status = review(json!({"token": "nobody's"})).await?.ok()?["status"].clone();
    assert_eq!(status, json!({"user": {}, "error": "invalid bearer token"}));
    let reply = review(json!({})).await?;
    reply.refused(400, "BadRequest", "token is required for TokenReview in authentication")?;
    Ok(())
}

async fn approval(cluster: Cluster) -> Result<()> {
    let (admin, path) = (cluster.admin(), "/apis/certificates.k8s.io/v1/certificatesigningrequests");
    let name = cluster.unique();
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "jane");
    let pem = params.serialize_request(&key)?.pem()?;
    let encoded = BASE64_STANDARD.encode(pem);
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {
            "request": encoded, "signerName": "example.com/test", "usages": ["client auth"],
            "username": "somebody", "uid": "7", "groups": ["everybody"], "extra": {"a": ["b"]},
        },
    });
    let mut object = admin.post(path, &request).await?.ok()?;
    // The server records who has made the request.
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let review = admin.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review).await?.ok()?;
    for field in ["username", "uid", "groups", "extra"] {
        assert_eq!(object["spec"].get(field), review["status"]["userInfo"].get(field), "{field}");
    }
    object["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "Test"}]);
    object["status"]["certificate"] = "bm90IGl0cw==".into();
    object["spec"]["signerName"] = "example.com/other".into();
    let approved = admin.put(&format!("{path}/{name}/approval"), &object).await?.ok()?;
    assert_eq!(approved["status"]["conditions"][0]["type"], "Approved");
    assert!(approved["status"].get("certificate").is_none(), "only `status` sets it: {approved}");
    assert_eq!(approved["spec"]["signerName"], "example.com/test");
    // It stays what was approved.
    let patch = json!({"spec": {"signerName": "example.com/other", "username": "somebody"}, "status": null});
    let patched = admin.patch(&format!("{path}/{name}"), MERGE_PATCH, &patch).await?.ok()?;
    assert_eq!((&patched["spec"], &patched["status"]), (&approved["spec"], &approved["status"]));
    admin.delete(&format!("{path}/{name}")).await?.code(200)?;
    Ok(())
}

async fn cordon(cluster: Cluster) -> Result<()> {
    let (admin, name) = (cluster.admin(), cluster.unique());
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    admin.post("/api/v1/nodes", &node).await?.code(201)?;
    let path = format!("/api/v1/nodes/{name}");
    let cordoned =
        admin.patch(&path, STRATEGIC_PATCH, &json!({"spec": {"unschedulable": true}})).await?.ok()?;
    assert_eq!(cordoned["spec"]["unschedulable"], true);
    let uncordoned =
        admin.patch(&path, STRATEGIC_PATCH, &json!({"spec": {"unschedulable": null}})).await?.ok()?;
    assert!(uncordoned["spec"].get("unschedulable").is_none(), "{uncordoned}");
    admin.delete(&path).await?.code(200)?;
    Ok(())
}

async fn finalize(cluster: Cluster) -> Result<()> {
    let (admin, name) = (cluster.admin(), format!("{}-finalize", cluster.namespace()));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let mut made = admin.post("/api/v1/namespaces", &namespace).await?.ok()?;
    let path = format!("/api/v1/namespaces/{name}");
    made["spec"]["finalizers"] = json!(["kubernetes", "example.com/mine"]);
    made["metadata"]["labels"]["not"] = "its".into();
    let written = admin.put(&format!("{path}/finalize"), &made).await?.ok()?;
    assert_eq!(written["spec"]["finalizers"], json!(["kubernetes", "example.com/mine"]));
    // This is how users remove a namespace whose deletion hangs: without finalizers, it is removed at once.
    made = admin.delete(&path).await?.ok()?;
    assert_eq!(made["status"]["phase"], "Terminating");
    made["spec"]["finalizers"] = json!([]);
    made["metadata"]["resourceVersion"] = "".into();
    admin.put(&format!("{path}/finalize"), &made).await?.code(200)?;
    admin.get(&path).await?.code(404)?;
    Ok(())
}

async fn of_missing_objects(cluster: Cluster) -> Result<()> {
    for below in ["log", "status", "exec"] {
        let reply = cluster.admin().get(&format!("{}/nothing/{below}", pods(&cluster))).await?;
        reply.refused(404, "NotFound", "pods \"nothing\" not found")?;
    }
    Ok(())
}

/// Whoever may write the status of a Pod cannot have it collected.
async fn pod_status_keeps_owners(cluster: Cluster) -> Result<()> {
    create_pod(&cluster, "one", &json!({})).await?;
    let owner = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "00000000-0000-0000-0000-000000000001",
    });
    let patch = json!({"metadata": {"ownerReferences": [owner], "labels": {"more": "yes"}}});
    let path = format!("{}/one/status", pods(&cluster));
    let pod = cluster.admin().patch(&path, MERGE_PATCH, &patch).await?.code(200)?;
    assert_eq!(pod["metadata"]["ownerReferences"], Value::Null);
    assert_eq!(pod["metadata"]["labels"]["more"], "yes");
    Ok(())
}

async fn resize(cluster: Cluster) -> Result<()> {
    let container =
        json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}});
    create_pod(&cluster, "p", &json!({"containers": [container]})).await?;
    let (admin, path) = (cluster.admin(), format!("{}/p/resize", pods(&cluster)));
    let resize = async |more: Value| {
        let mut container = more;
        container["name"] = "c".into();
        let patch = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
        admin.patch(&path, STRATEGIC_PATCH, &patch).await
    };
    // Only the resources change.
    let resized =
        resize(json!({"image": "other", "resources": {"requests": {"cpu": "2"}}})).await?.code(200)?;
    assert_eq!(resized["spec"]["containers"][0]["resources"]["requests"]["cpu"], "2");
    assert_eq!(resized["spec"]["containers"][0]["image"], "i");
    assert_eq!(resized["metadata"]["labels"], json!({"app": "p"}));
    assert_eq!(resized["metadata"]["generation"], 2);
    for (container, why) in [
        (
            json!({"resources": {"requests": {"cpu": null}}}),
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
        ),
        (
            json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}),
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
        (
            json!({"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}),
            "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing",
        ),
    ] {
        resize(container).await?.refused(422, "Invalid", &format!("Pod \"p\" is invalid: {why}"))?;
    }
    Ok(())
}
