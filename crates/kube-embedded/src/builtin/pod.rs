//! What kube-apiserver fills in of pods and their templates.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::defaults::{default, each};
use super::quantity::Quantity;

const CONTAINERS: [&str; 3] = ["containers[]", "initContainers[]", "ephemeralContainers[]"];

/// The defaults of a pod's `spec`, in a template too.
pub(super) fn set_defaults(spec: &mut Value) {
    // One of the two is the other's old name.
    for (from, to) in [("serviceAccount", "serviceAccountName"), ("serviceAccountName", "serviceAccount")] {
        if let Some(name) = spec.get(from).cloned() {
            default(spec, to, || name);
        }
    }
    default(spec, "dnsPolicy", || "ClusterFirst".into());
    default(spec, "restartPolicy", || "Always".into());
    default(spec, "securityContext", || json!({}));
    default(spec, "terminationGracePeriodSeconds", || 30.into());
    default(spec, "schedulerName", || "default-scheduler".into());
    each(spec, "volumes[]", &mut volume);
    for containers in CONTAINERS {
        each(spec, containers, &mut container);
    }
}

/// What is filled in of a pod, and not of a template.
pub(super) fn set_pod_defaults(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        spec["terminationGracePeriodSeconds"] = 1.into();
    }
    default(spec, "enableServiceLinks", || true.into());
    let host_network = spec["hostNetwork"] == true;
    for containers in &CONTAINERS[..2] {
        each(spec, containers, &mut |container| {
            for (name, limit) in container["resources"]["limits"].as_object().cloned().unwrap_or_default() {
                default(&mut container["resources"], "requests", || json!({}));
                default(&mut container["resources"]["requests"], &name, || limit);
            }
            if host_network {
                each(container, "ports[]", &mut |port| {
                    let number = port["containerPort"].clone();
                    default(port, "hostPort", || number);
                });
            }
        });
    }
}

/// Readies a new pod: its status, and what the admission plugins that are on by default add. `class` is its PriorityClass,
/// if it has one.
pub(crate) fn prepare_create(pod: &mut Value, class: Option<&Value>) {
    if let Some(class) = class {
        pod["spec"]["priority"] = class["value"].clone();
        pod["spec"]["priorityClassName"] = class["metadata"]["name"].clone();
        if let Some(policy) = class.get("preemptionPolicy") {
            pod["spec"]["preemptionPolicy"] = policy.clone();
        }
    }
    let class = qos_class(&pod["spec"]);
    pod["status"] = json!({"phase": "Pending", "qosClass": class});
    let spec = &mut pod["spec"];
    default(spec, "priority", || 0.into());
    default(spec, "preemptionPolicy", || "PreemptLowerPriority".into());
    tolerate(spec);
}

/// A pod stays for five minutes on a node that is lost, if it does not say how long.
pub(super) fn tolerate(spec: &mut Value) {
    default(spec, "tolerations", || json!([]));
    let Some(tolerations) = spec["tolerations"].as_array_mut() else { return };
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let is_tolerated = |it: &Value| {
            (it["key"] == taint || it["key"].is_null())
                && (it["effect"] == "NoExecute" || it["effect"].is_null())
        };
        if !tolerations.iter().any(is_tolerated) {
            tolerations.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
}

/// How sure a pod is of what it asks for: `ComputePodQOS`.
fn qos_class(spec: &Value) -> &'static str {
    let of_each =
        ["initContainers", "containers"].into_iter().filter_map(|list| spec[list].as_array()).flatten();
    let mut class = None;
    for resources in of_each.map(|container| &container["resources"]) {
        let quantity = |kind: &str, name: &str| {
            let text = resources[kind][name].as_str()?;
            Quantity::parse(text).ok().flatten().filter(|it| !it.is_zero())
        };
        let of_resource = |name: &str| match (quantity("requests", name), quantity("limits", name)) {
            (None, None) => "BestEffort",
            (Some(request), Some(limit)) if request.compare(limit) == Ordering::Equal => "Guaranteed",
            _ => "Burstable",
        };
        let of_container = match (of_resource("cpu"), of_resource("memory")) {
            (cpu, memory) if cpu == memory => cpu,
            _ => "Burstable",
        };
        match class {
            _ if of_container == "Burstable" => return of_container,
            None => class = Some(of_container),
            Some(other) if other != of_container => return "Burstable",
            Some(_) => {}
        }
    }
    class.unwrap_or("BestEffort")
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    default(container, "imagePullPolicy", || policy.into());
    default(container, "terminationMessagePath", || "/dev/termination-log".into());
    default(container, "terminationMessagePolicy", || "File".into());
    each(container, "ports[]", &mut |port| default(port, "protocol", || "TCP".into()));
    each(container, "env[].valueFrom.fieldRef", &mut |field| default(field, "apiVersion", || "v1".into()));
    for hook in ["lifecycle.postStart.httpGet", "lifecycle.preStop.httpGet"] {
        each(container, hook, &mut http_get);
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        each(container, probe, &mut |probe| {
            for (field, seconds) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                default(probe, field, || seconds.into());
            }
            each(probe, "httpGet", &mut http_get);
            each(probe, "grpc", &mut |grpc| default(grpc, "service", || "".into()));
        });
    }
}

/// Whether an image is the one that is tagged `latest`, in words or by default.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    // A colon before the last slash is of a registry's port.
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_empty() && !last.is_empty(),
    }
}

fn http_get(action: &mut Value) {
    default(action, "path", || "/".into());
    default(action, "scheme", || "HTTP".into());
}

fn volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|members| members.keys().all(|key| key == "name")) {
        volume["emptyDir"] = json!({});
    }
    for source in ["configMap", "downwardAPI", "projected", "secret"] {
        each(volume, source, &mut |source| default(source, "defaultMode", || 0o644.into()));
    }
    each(volume, "hostPath", &mut |source| default(source, "type", || "".into()));
    each(volume, "projected.sources[].serviceAccountToken", &mut |token| {
        default(token, "expirationSeconds", || 3600.into());
    });
    for items in ["downwardAPI.items[].fieldRef", "projected.sources[].downwardAPI.items[].fieldRef"] {
        each(volume, items, &mut |field| default(field, "apiVersion", || "v1".into()));
    }
    each(volume, "iscsi", &mut |source| default(source, "iscsiInterface", || "default".into()));
    each(volume, "ephemeral.volumeClaimTemplate.spec", &mut |spec| {
        default(spec, "volumeMode", || "Filesystem".into());
    });
}

/// Readies a new Job: its own label, and that of its pods, by which it knows them.
pub(super) fn prepare_job(job: &mut Value) {
    let own = |field: &str| job["metadata"][field].clone();
    let (uid, name) = (own("uid"), own("name"));
    let spec = &mut job["spec"];
    if spec["manualSelector"] == true {
        return;
    }
    let before = spec["template"]["metadata"]["labels"].clone();
    let labels = &mut spec["template"]["metadata"];
    if !labels["labels"].is_object() {
        labels["labels"] = Value::Object(Map::new());
    }
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels["labels"][key] = value.clone();
    }
    if !spec["selector"].is_object() {
        spec["selector"] = json!({});
    }
    if !spec["selector"]["matchLabels"].is_object() {
        spec["selector"]["matchLabels"] = json!({});
    }
    spec["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = uid;
    // Labels that the Job has from its template are the same ones in Go.
    let labels = spec["template"]["metadata"]["labels"].clone();
    if job["metadata"]["labels"] == before {
        job["metadata"]["labels"] = labels;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_tag_are_the_latest() {
        for image in ["nginx", "nginx:latest", "a.example.com:5000/nginx"] {
            assert!(is_latest(image), "{image}");
        }
        for image in ["", "nginx:1", "a.example.com:5000/nginx:1", "nginx@sha256:abc"] {
            assert!(!is_latest(image), "{image}");
        }
    }
}
