//! Pods and their templates: `pkg/api/pod/warnings.go`.

use std::collections::{HashMap, HashSet};

use kube_validation::go::quote;
use serde_json::{Value, json};

use super::fields::{claim, deprecated_label, expressions, fractional, has_annotation, items, keys, text};
use super::{addresses, overlaps};

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const SECCOMP: &str = r#"non-functional in v1.27+; use the "seccompProfile" field instead"#;
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const NULL_SELECTOR: &str = "a null labelSelector results in matching no pod";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Warns of a Pod or a template. `at`: the path of the template and a dot, or empty.
pub(super) fn check(pod: &Value, at: &str, warnings: &mut Vec<String>) {
    let spec = &pod["spec"];
    node_labels(spec, at, warnings);
    for (annotation, why) in [
        (
            "scheduler.alpha.kubernetes.io/critical-pod",
            r#"non-functional in v1.16+; use the "priorityClassName" field instead"#,
        ),
        (
            "security.alpha.kubernetes.io/sysctls",
            r#"non-functional in v1.11+; use the "sysctls" field instead"#,
        ),
        (
            "security.alpha.kubernetes.io/unsafe-sysctls",
            r#"non-functional in v1.11+; use the "sysctls" field instead"#,
        ),
    ] {
        if has_annotation(pod, annotation) {
            warnings.push(format!("{at}metadata.annotations[{annotation}]: {why}"));
        }
    }
    volumes(items(&spec["volumes"]), at, warnings);
    overlaps::check(items(&spec["volumes"]), warnings);
    repeated(items(&spec["hostAliases"]), "ip", &format!("{at}spec.hostAliases"), warnings);
    let secrets = items(&spec["imagePullSecrets"]);
    repeated(secrets, "name", &format!("{at}spec.imagePullSecrets"), warnings);
    for (index, _) in secrets.iter().enumerate().filter(|(_, secret)| text(secret, "name").is_empty()) {
        warnings.push(format!("{at}spec.imagePullSecrets[{index}].name: invalid empty name \"\""));
    }
    for resource in ["memory", "ephemeral-storage"] {
        fractional(&spec["overhead"][resource], &format!("{at}spec.overhead[{resource}]"), warnings);
    }
    if spec["securityContext"]["seccompProfile"].is_null() && has_annotation(pod, SECCOMP_POD) {
        warnings.push(format!("{at}metadata.annotations[{SECCOMP_POD}]: {SECCOMP}"));
    }
    for (container, path) in containers(spec, at) {
        annotations(pod, container, at, warnings);
        for resource in ["memory", "ephemeral-storage"] {
            for list in ["limits", "requests"] {
                let field = format!("{path}.resources.{list}[{resource}]");
                fractional(&container["resources"][list][resource], &field, warnings);
            }
        }
        hidden_variables(items(&container["env"]), &path, warnings);
    }
    ports(spec, at, warnings);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        warnings.push(format!(
            "{at}spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = format!("{at}spec.affinity.{kind}");
        for (index, term) in items(&spec["affinity"][kind][REQUIRED]).iter().enumerate() {
            if term["labelSelector"].is_null() {
                warnings.push(format!("{path}.{REQUIRED}[{index}].labelSelector: {NULL_SELECTOR}"));
            }
        }
        for (index, term) in items(&spec["affinity"][kind][PREFERRED]).iter().enumerate() {
            if term["podAffinityTerm"]["labelSelector"].is_null() {
                let field = format!("{path}.{PREFERRED}[{index}].podAffinityTerm.labelSelector");
                warnings.push(format!("{field}: {NULL_SELECTOR}"));
            }
        }
    }
    for (index, server) in items(&spec["dnsConfig"]["nameservers"]).iter().enumerate() {
        addresses::ip(server, &format!("{at}spec.dnsConfig.nameservers[{index}]"), warnings);
    }
    for (index, alias) in items(&spec["hostAliases"]).iter().enumerate() {
        addresses::ip(&alias["ip"], &format!("{at}spec.hostAliases[{index}].ip"), warnings);
    }
}

/// Warns of deprecated labels of nodes.
fn node_labels(spec: &Value, at: &str, warnings: &mut Vec<String>) {
    for label in keys(&spec["nodeSelector"]) {
        if let Some(why) = deprecated_label(label) {
            warnings.push(format!("{at}spec.nodeSelector[{label}]: {why}"));
        }
    }
    let (affinity, path) = (&spec["affinity"]["nodeAffinity"], format!("{at}spec.affinity.nodeAffinity"));
    for (index, term) in items(&affinity[REQUIRED]["nodeSelectorTerms"]).iter().enumerate() {
        expressions(term, &format!("{path}.{REQUIRED}.nodeSelectorTerms[{index}]"), false, warnings);
    }
    for (index, term) in items(&affinity[PREFERRED]).iter().enumerate() {
        expressions(&term["preference"], &format!("{path}.{PREFERRED}[{index}].preference"), true, warnings);
    }
    for (index, constraint) in items(&spec["topologySpreadConstraints"]).iter().enumerate() {
        let path = format!("{at}spec.topologySpreadConstraints[{index}]");
        let key = text(constraint, "topologyKey");
        if let Some(why) = deprecated_label(key) {
            warnings.push(format!("{path}.topologyKey: {key} is {why}"));
        }
        if constraint["labelSelector"].is_null() {
            warnings.push(format!("{path}.labelSelector: {NULL_SELECTOR}"));
        }
    }
}

/// Warns of deprecated sources of volumes.
fn volumes(volumes: &[Value], at: &str, warnings: &mut Vec<String>) {
    for (index, volume) in volumes.iter().enumerate() {
        let path = format!("{at}spec.volumes[{index}]");
        let mut deprecated = |source: &str, shown: &str, why: &str| {
            if !volume[source].is_null() {
                warnings.push(format!("{path}.{shown}: deprecated in {why}"));
            }
        };
        deprecated("photonPersistentDisk", "photonPersistentDisk", "v1.11, non-functional in v1.16+");
        deprecated("gitRepo", "gitRepo", "v1.11, and disabled by default in v1.33+");
        deprecated("scaleIO", "scaleIO", "v1.16, non-functional in v1.22+");
        deprecated("flocker", "flocker", "v1.22, non-functional in v1.25+");
        deprecated("storageos", "storageOS", "v1.22, non-functional in v1.25+");
        deprecated("quobyte", "quobyte", "v1.22, non-functional in v1.25+");
        deprecated("glusterfs", "glusterfs", "v1.25, non-functional in v1.26+");
        let template = &volume["ephemeral"]["volumeClaimTemplate"]["spec"];
        claim(template, &format!("{path}.ephemeral.volumeClaimTemplate.spec"), warnings);
        for source in ["cephfs", "rbd"] {
            if !volume[source].is_null() {
                warnings.push(format!("{path}.{source}: deprecated in v1.28, non-functional in v1.31+"));
            }
        }
    }
}

/// Warns of items that have the same value of a field.
fn repeated(list: &[Value], field: &str, path: &str, warnings: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (index, item) in list.iter().enumerate() {
        let value = text(item, field);
        if !seen.insert(value) {
            warnings.push(format!("{path}[{index}].{field}: duplicate {field} {}", quote(value)));
        }
    }
}

/// Warns of annotations for a container that fields have replaced.
fn annotations(pod: &Value, container: &Value, at: &str, warnings: &mut Vec<String>) {
    let (name, context) = (text(container, "name"), &container["securityContext"]);
    let seccomp = format!("{SECCOMP_CONTAINER}{name}");
    if context["seccompProfile"].is_null() && has_annotation(pod, &seccomp) {
        warnings.push(format!("{at}metadata.annotations[{seccomp}]: {SECCOMP}"));
    }
    let app_armor = format!("{APP_ARMOR}{name}");
    // Of a Pod, the warning is part of the conversion to the field.
    if let Some(given) = pod["metadata"]["annotations"][&app_armor].as_str()
        && !at.is_empty()
        && context["appArmorProfile"].is_null()
        && app_armor_profile(given) != pod["spec"]["securityContext"]["appArmorProfile"]
    {
        warnings.push(format!(
            "{at}metadata.annotations[{app_armor}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
        ));
    }
}

/// The profile that an annotation stands for. An object that is like no profile if it stands for none.
fn app_armor_profile(annotation: &str) -> Value {
    match (annotation, annotation.strip_prefix("localhost/")) {
        ("unconfined", _) => json!({"type": "Unconfined"}),
        ("runtime/default", _) => json!({"type": "RuntimeDefault"}),
        (_, Some(profile)) if !profile.is_empty() => {
            json!({"type": "Localhost", "localhostProfile": profile})
        }
        _ => json!({}),
    }
}

/// Warns of variables that are set again, unless the new value contains the former one.
fn hidden_variables(variables: &[Value], path: &str, warnings: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (index, variable) in variables.iter().enumerate() {
        let (name, value) = (text(variable, "name"), text(variable, "value"));
        let former = format!("$({name})");
        let extends = variable["valueFrom"].is_null() && value != former && value.contains(&former);
        if !seen.insert(name) && !extends {
            warnings.push(format!(
                "{path}.env[{index}]: hides previous definition of {}, which may be dropped when using apply",
                quote(name)
            ));
        }
    }
}

/// Warns of ports that are given more than once.
fn ports(spec: &Value, at: &str, warnings: &mut Vec<String>) {
    let ports: Vec<_> = containers(spec, at)
        .flat_map(|(container, path)| {
            let ports = items(&container["ports"]).iter().enumerate();
            ports.map(move |(index, port)| (port, format!("{path}.ports[{index}]")))
        })
        .collect();
    let number = |port: &Value, field: &str| port[field].as_i64().unwrap_or_default();
    for (index, (port, path)) in ports.iter().enumerate() {
        let (address, host) = (text(port, "hostIP"), number(port, "hostPort"));
        if !address.is_empty() && host == 0 {
            warnings.push(format!(
                "{path}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{address}}}",
                text(port, "name"),
                number(port, "containerPort"),
                text(port, "protocol")
            ));
        }
        let is_same =
            |other: &Value| ["containerPort", "protocol"].iter().all(|field| other[field] == port[field]);
        for (other, other_path) in ports[..index].iter().filter(|(other, _)| is_same(other)) {
            let (other_address, other_host) = (text(other, "hostIP"), number(other, "hostPort"));
            let what = if address == other_address && host == other_host {
                "duplicate"
            } else if host == 0 || other_host == 0 {
                "overlapping"
            } else if host == other_host && address.is_empty() != other_address.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            warnings.push(format!("{path}: {what} port definition with {other_path}"));
        }
    }
    let mut named = HashMap::new();
    for (port, path) in ports.iter().filter(|(port, _)| !text(port, "name").is_empty()) {
        let name = text(port, "name");
        match named.get(name) {
            None => _ = named.insert(name, path),
            Some(other) => warnings.push(format!(
                "{path}: duplicate port name {} with {other}, services and probes that select ports by name will use {other}",
                quote(name)
            )),
        }
    }
}

/// All containers with their paths.
fn containers<'a>(spec: &'a Value, at: &str) -> impl Iterator<Item = (&'a Value, String)> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |list| {
        let containers = items(&spec[list]).iter().enumerate();
        containers.map(move |(index, container)| (container, format!("{at}spec.{list}[{index}]")))
    })
}
