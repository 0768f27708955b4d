//! The plugin ServiceAccount: each Pod runs as a ServiceAccount of its namespace, and its containers get a token of it.

use serde_json::{Value, json};

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::resources::items;
use crate::resource::{PODS, SERVICE_ACCOUNTS};
use crate::status::Status;

/// The account of Pods that name none.
const DEFAULT: &str = "default";
/// Marks the Pods that a kubelet reports because it has them from elsewhere.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Restricts the Pods of an account to the Secrets that it lists.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// Where containers find their token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The name of the token's volume, without what is generated.
const VOLUME: &str = "kube-api-access-";
/// How long a token is valid: an hour, and a year for clients that do not read it again.
const EXPIRATION_SECONDS: i64 = 60 * 60 + 7;

/// Gives a new Pod an account, a token of it for each container, and the account's `imagePullSecrets` if it has none.
pub(super) fn mutate(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !request.is_for(PODS) || old.is_some() {
        return Ok(());
    }
    if is_mirror(pod) {
        return check_mirror(pod).map_err(|why| request.forbidden(pod, why));
    }
    if pod["spec"]["serviceAccountName"].as_str().unwrap_or_default().is_empty() {
        for field in ["serviceAccountName", "serviceAccount"] {
            pod["spec"][field] = DEFAULT.into();
        }
    }
    let account = account_of(cluster, request, pod)?;
    let mounts =
        [&pod["spec"], &account].into_iter().find_map(|it| it["automountServiceAccountToken"].as_bool());
    if mounts != Some(false) {
        mount_token(pod, || cluster.random.name(VOLUME));
    }
    let secrets = &account["imagePullSecrets"];
    if items(pod, "imagePullSecrets").is_empty() && secrets.as_array().is_some_and(|all| !all.is_empty()) {
        pod["spec"]["imagePullSecrets"] = secrets.clone();
    }
    validate(cluster, request, pod, None)
}

/// Refuses a Pod whose account does not exist, or does not have the Secrets that the Pod uses.
pub(super) fn validate(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if request.resource.stored_as() != PODS {
        return Ok(());
    }
    let used = match (request.subresource, old) {
        ("", None) if is_mirror(pod) => {
            return check_mirror(pod).map_err(|why| request.forbidden(pod, why));
        }
        ("", None) => Used::ByAll,
        ("ephemeralcontainers", Some(_)) => Used::ByEphemeralContainers,
        _ => return Ok(()),
    };
    let account = account_of(cluster, request, pod)?;
    let enforced = account["metadata"]["annotations"][ENFORCE].as_str();
    if enforced.is_none_or(|text| !is_true(text)) {
        return Ok(());
    }
    check_secrets(&account, pod, used).map_err(|why| match used {
        Used::ByAll => request.forbidden(pod, &why),
        Used::ByEphemeralContainers => Status::internal(why),
    })
}

/// Whose Secrets are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Used {
    ByAll,
    ByEphemeralContainers,
}

/// The account of a Pod, which must exist.
fn account_of(cluster: &Cluster, request: &AdmissionRequest<'_>, pod: &Value) -> Result<Value, Status> {
    let namespace = request.namespace;
    let name = pod["spec"]["serviceAccountName"].as_str().unwrap_or_default();
    if name.is_empty() {
        let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let why = format!("no service account specified for pod {namespace}/{pod_name}");
        return Err(request.forbidden(pod, &why));
    }
    let key = format!("{namespace}/{name}");
    let get = || cluster.store.get(SERVICE_ACCOUNTS.collection(), &key);
    let account = get().or_else(|| {
        // kube-apiserver waits for the controller that creates it.
        (name == DEFAULT).then(|| cluster.create_default_account(namespace))?;
        get()
    });
    let missing = || format!("error looking up service account {key}: serviceaccount {name:?} not found");
    Ok(account.ok_or_else(|| request.forbidden(pod, &missing()))?.value())
}

/// Adds the volume with the token, and mounts it in each container that has nothing else there.
fn mount_token(pod: &mut Value, generate: impl FnOnce() -> String) {
    let named = |volume: &&Value| volume["name"].as_str().is_some_and(|name| name.starts_with(VOLUME));
    let existing = items(pod, "volumes").iter().find(named).map(|volume| volume["name"].clone());
    let is_new = existing.is_none();
    let name = existing.unwrap_or_else(|| generate().into());
    let mut is_mounted = false;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array();
            if mounts.into_iter().flatten().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            is_mounted = true;
            push(container, "volumeMounts", json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
        }
    }
    if is_new && is_mounted {
        let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
        let sources = json!([
            {"serviceAccountToken": {"path": "token", "expirationSeconds": EXPIRATION_SECONDS}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
        ]);
        let volume = json!({"name": name, "projected": {"defaultMode": 0o644, "sources": sources}});
        push(&mut pod["spec"], "volumes", volume);
    }
}

fn push(object: &mut Value, list: &str, item: Value) {
    match object[list].as_array_mut() {
        Some(all) => all.push(item),
        None => object[list] = json!([item]),
    }
}

fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"].get(MIRROR).is_some()
}

/// Refuses a mirror Pod that uses an account, Secrets or tokens, which its kubelet does not check.
fn check_mirror(pod: &Value) -> Result<(), &'static str> {
    if pod["spec"]["serviceAccountName"].as_str().is_some_and(|name| !name.is_empty()) {
        return Err("a mirror pod may not reference service accounts");
    }
    let lists = ["volumes", "initContainers", "containers", "ephemeralContainers"];
    let uses_secret = lists.into_iter().flat_map(|list| items(pod, list)).any(names_secret);
    if uses_secret || !items(pod, "imagePullSecrets").is_empty() {
        return Err("a mirror pod may not reference secrets");
    }
    let sources = items(pod, "volumes").iter().filter_map(|volume| volume["projected"]["sources"].as_array());
    if sources.flatten().any(|source| source["serviceAccountToken"].is_object()) {
        return Err("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

/// Whether a volume or a container names a Secret, in whatever field.
fn names_secret(value: &Value) -> bool {
    let is_name = |(field, value): (&String, &Value)| match field.as_str() {
        "secret" | "secretRef" | "secretKeyRef" | "nodePublishSecretRef" => value.is_object(),
        "secretName" => value.is_string(),
        _ => false,
    };
    match value {
        Value::Object(members) => members.iter().any(is_name) || members.values().any(names_secret),
        Value::Array(all) => all.iter().any(names_secret),
        _ => false,
    }
}

/// Refuses Secrets that an account does not list.
fn check_secrets(account: &Value, pod: &Value, used: Used) -> Result<(), String> {
    let lists = |field: &str, name: &str| {
        account[field].as_array().is_some_and(|all| all.iter().any(|secret| secret["name"] == name))
    };
    let account_name = account["metadata"]["name"].as_str().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let refused = |what: &str, kind: &str| {
        Err(format!(
            "{what} is not allowed because service account {account_name} does not reference that {kind}"
        ))
    };
    if used == Used::ByAll {
        for volume in items(pod, "volumes").iter().filter(|volume| volume["secret"].is_object()) {
            let name = text(&volume["secret"]["secretName"]);
            if !lists("secrets", &name) {
                return refused(&format!("volume with secret.secretName=\"{name}\""), "secret");
            }
        }
    }
    let checked: &[(&str, &str)] = match used {
        Used::ByAll => &[("initContainers", "init container"), ("containers", "container")],
        Used::ByEphemeralContainers => &[("ephemeralContainers", "ephemeral container")],
    };
    for (list, what) in checked {
        for container in items(pod, list) {
            let what = format!("{what} {}", text(&container["name"]));
            let variables = container["env"].as_array().into_iter().flatten();
            let variables = variables.map(|variable| {
                let named = format!("envVar {} referencing", text(&variable["name"]));
                (named, &variable["valueFrom"]["secretKeyRef"])
            });
            let sources = container["envFrom"].as_array().into_iter().flatten();
            let sources = sources.map(|source| ("envFrom referencing".to_owned(), &source["secretRef"]));
            for (how, secret) in variables.chain(sources).filter(|(_, secret)| secret.is_object()) {
                let name = text(&secret["name"]);
                if !lists("secrets", &name) {
                    return refused(&format!("{what} with {how} secret.secretName=\"{name}\""), "secret");
                }
            }
        }
    }
    if used == Used::ByAll {
        for (index, secret) in items(pod, "imagePullSecrets").iter().enumerate() {
            let name = text(&secret["name"]);
            if !lists("imagePullSecrets", &name) {
                return refused(&format!("imagePullSecrets[{index}].name=\"{name}\""), "imagePullSecret");
            }
        }
    }
    Ok(())
}

/// Whether Go's `strconv.ParseBool` takes a text for true.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}
