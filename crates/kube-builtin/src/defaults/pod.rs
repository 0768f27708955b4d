//! The defaults of pods and their templates.

use kube_validation::Quantity;
use serde_json::{Value, json};

use super::fill::{default, each};
use crate::totals::{self, is_huge, is_resource_of_pods};

const CONTAINERS: [&str; 3] = ["containers[]", "initContainers[]", "ephemeralContainers[]"];

/// Sets the defaults of a pod's `spec`, also in a template.
pub(super) fn set_defaults(spec: &mut Value) {
    // One of the two is the old name of the other.
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

/// Sets the defaults of a pod that a template does not have.
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

/// Sets what a new Pod asks for as a whole, if it says something about that: huge pages as its containers, other requests as its
/// containers, or else as much as it may have, and limits if all containers have one. Unlike other defaults, these are not set when a
/// Pod is decoded: `DefaultPodLevelResources` of kubernetes' `pkg/api/pod`.
pub fn apply_whole_pod_defaults(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    let is_given = |kind: &str| spec["resources"][kind].as_object().is_some_and(|it| !it.is_empty());
    if !is_given("limits") && !is_given("requests") {
        return;
    }
    let limits = totals(spec, "limits");
    for (name, total) in &limits {
        if is_huge(name) && spec["resources"]["requests"][name].is_null() {
            set(spec, "limits", name, total.to_string());
        }
    }
    let own = spec["resources"]["limits"].as_object().into_iter().flatten();
    let own = own.filter_map(|(name, limit)| Some((name.clone(), limit.as_str()?.to_owned())));
    let of_containers = totals(spec, "requests").into_iter().filter(|(name, _)| !is_huge(name));
    let of_containers = of_containers.map(|(name, total)| (name, total.to_string()));
    for (name, amount) in of_containers.chain(own).collect::<Vec<_>>() {
        if is_resource_of_pods(&name) {
            set(spec, "requests", &name, amount);
        }
    }
    limit_as_containers(spec, &limits);
}

/// Limits a new Pod to what its containers may have together, if each of them has a limit, or to what it requests, if that is more.
fn limit_as_containers(spec: &mut Value, totals: &[(String, Quantity)]) {
    for (name, total) in totals.iter().filter(|(name, _)| is_resource_of_pods(name)) {
        let Some(request) = spec["resources"]["requests"].get(name) else { continue };
        let request = request.as_str().and_then(|it| it.parse::<Quantity>().ok()).filter(|it| it > total);
        let lists = ["containers", "initContainers"].map(|list| spec[list].as_array());
        let is_limited = |container: &Value| container["resources"]["limits"].get(name).is_some();
        if lists.into_iter().flatten().flatten().all(is_limited) {
            set(spec, "limits", name, request.unwrap_or(*total).to_string());
        }
    }
}

/// Sets what a Pod asks for as a whole, unless it says so itself.
fn set(spec: &mut Value, kind: &str, name: &str, amount: String) {
    default(&mut spec["resources"], kind, || json!({}));
    default(&mut spec["resources"][kind], name, || amount.into());
}

fn totals(spec: &Value, kind: &str) -> Vec<(String, Quantity)> {
    let all = totals::of_containers(spec, kind).into_iter();
    all.map(|(name, amount)| (name.to_owned(), amount)).collect()
}

/// Sets each of the two fields for a Pod's addresses to the other. The older one, for a single address, wins.
pub(super) fn addresses(pod: &mut Value) {
    let Some(status) = pod.get_mut("status").filter(|status| status.is_object()) else { return };
    let one = status["podIP"].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
    let first = status["podIPs"][0]["ip"].as_str().map(str::to_owned);
    match (one, first) {
        (Some(one), first) if first.as_ref() != Some(&one) => status["podIPs"] = json!([{"ip": one}]),
        (None, Some(first)) => status["podIP"] = first.into(),
        _ => {}
    }
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    default(container, "imagePullPolicy", || policy.into());
    default(container, "terminationMessagePath", || "/dev/termination-log".into());
    default(container, "terminationMessagePolicy", || "File".into());
    each(container, "ports[]", &mut |port| default(port, "protocol", || "TCP".into()));
    each(container, "env[].valueFrom.fieldRef", &mut |field| default(field, "apiVersion", || "v1".into()));
    each(container, "env[].valueFrom.fileKeyRef", &mut |file| default(file, "optional", || false.into()));
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

/// Returns whether an image has the tag `latest`, explicitly or by default.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    // A colon before the last slash belongs to a registry's port.
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

/// Sets the defaults of what a volume is from, of a Pod or by itself.
pub(super) fn source(volume: &mut Value) {
    for (source, field, value) in [
        ("iscsi", "iscsiInterface", "default"),
        ("rbd", "pool", "rbd"),
        ("rbd", "user", "admin"),
        ("rbd", "keyring", "/etc/ceph/keyring"),
        ("azureDisk", "cachingMode", "ReadWrite"),
        ("azureDisk", "kind", "Shared"),
        ("azureDisk", "fsType", "ext4"),
        ("scaleIO", "storageMode", "ThinProvisioned"),
        ("scaleIO", "fsType", "xfs"),
    ] {
        each(volume, source, &mut |it| default(it, field, || value.into()));
    }
    each(volume, "azureDisk", &mut |disk| default(disk, "readOnly", || false.into()));
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
    source(volume);
    each(volume, "ephemeral.volumeClaimTemplate.spec", &mut |spec| {
        default(spec, "volumeMode", || "Filesystem".into());
    });
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
