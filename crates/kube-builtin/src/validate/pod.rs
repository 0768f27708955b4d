//! Pods and their templates.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::errors::{Errors, PORT, config_key, items, members, port_name, port_number, port_or_name, text};
use crate::addresses::address;
use kube_validation::{FieldError, FieldPath, Quantity, names};

/// The maximum of IDs of users and groups, and of `activeDeadlineSeconds`.
const MAX: i64 = i32::MAX as i64;
const NOT_ALLOWED: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
                           `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
                           additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set \
                           to 1 if it was previously negative)";

pub(super) fn create(pod: &Value, errors: &mut Errors) {
    spec(&pod["spec"], &FieldPath::Root("spec"), errors);
}

pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, before) = (&new["spec"], &old["spec"]);
    for list in ["containers", "initContainers"] {
        if items(&spec[list]).len() != items(&before[list]).len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(FieldPath::Root("spec").child(list), detail));
            return;
        }
    }
    for list in ["containers", "initContainers"] {
        let path = FieldPath::Root("spec").child(list);
        for (index, container) in items(&spec[list]).iter().enumerate() {
            errors.required(container, "image", &path.index(index), "");
        }
    }
    let deadline = |spec: &Value| spec["activeDeadlineSeconds"].as_i64();
    let detail = match (deadline(spec), deadline(before)) {
        (None, Some(_)) => Some("must not update from a positive integer to nil value"),
        (Some(now), Some(then)) if now > then => Some("must be less than or equal to previous value"),
        _ => None,
    };
    if let Some(detail) = detail {
        errors.push(FieldError::invalid(
            "spec.activeDeadlineSeconds",
            &spec["activeDeadlineSeconds"],
            detail,
        ));
    }
    // Tolerations may be added, but not removed.
    let tolerations = items(&spec["tolerations"]);
    if !items(&before["tolerations"]).iter().all(|it| tolerations.contains(it)) {
        errors.push(FieldError::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    if errors.0.is_empty() && rest(spec, before) != rest(before, before) {
        errors.push(FieldError::forbidden("spec", NOT_ALLOWED));
    }
}

/// Returns the parts of a pod's `spec` that may not differ from `old`, without the images.
fn rest(spec: &Value, old: &Value) -> Value {
    let mut rest = spec.clone();
    if let Some(members) = rest.as_object_mut() {
        let shortened = spec["terminationGracePeriodSeconds"] == 1
            && old["terminationGracePeriodSeconds"].as_i64().is_some_and(|it| it < 0);
        members.retain(|field, _| {
            let may_change =
                ["activeDeadlineSeconds", "schedulingGates", "tolerations"].contains(&field.as_str());
            !may_change && (!shortened || field != "terminationGracePeriodSeconds")
        });
    }
    for list in ["containers", "initContainers"] {
        for container in rest.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container["image"] = Value::Null;
        }
    }
    rest
}

/// Checks the `spec` of a pod or a template.
pub(super) fn spec(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let volumes = volumes(spec, path, errors);
    containers(spec, path, &volumes, errors);
    let policies = ["Always", "OnFailure", "Never"];
    errors.one_of(&spec["restartPolicy"], &policies, path.child("restartPolicy"));
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.one_of(&spec["dnsPolicy"], &policies, path.child("dnsPolicy"));
    errors.labels(&spec["nodeSelector"], path.child("nodeSelector"));
    let context = path.child("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        errors.within(&spec["securityContext"][field], 0, MAX, context.child(field));
    }
    affinity(&spec["affinity"], &path.child("affinity"), errors);
    if text(spec, "dnsPolicy") == "None" {
        let config = path.child("dnsConfig");
        if spec["dnsConfig"].is_null() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(config, detail));
        } else if items(&spec["dnsConfig"]["nameservers"]).is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(config.child("nameservers"), detail));
        }
    }
    spread(&spec["topologySpreadConstraints"], &path.child("topologySpreadConstraints"), errors);
    for (field, check) in [
        ("serviceAccountName", names::dns1123_subdomain as fn(&str) -> Vec<String>),
        ("nodeName", names::dns1123_subdomain),
    ] {
        let name = text(spec, field);
        if !name.is_empty() {
            errors.named(name, check, path.child(field));
        }
    }
    errors.within(&spec["activeDeadlineSeconds"], 1, MAX, path.child("activeDeadlineSeconds"));
    for field in ["hostname", "subdomain"] {
        let name = text(spec, field);
        if !name.is_empty() {
            errors.named(name, label, path.child(field));
        }
    }
    tolerations(&spec["tolerations"], &path.child("tolerations"), errors);
    let aliases = path.child("hostAliases");
    for (index, alias) in items(&spec["hostAliases"]).iter().enumerate() {
        let path = aliases.index(index);
        errors.named(text(alias, "ip"), address, path.child("ip"));
        let names = path.child("hostnames");
        for (index, name) in items(&alias["hostnames"]).iter().enumerate() {
            errors.named(name.as_str().unwrap_or_default(), names::dns1123_subdomain, names.index(index));
        }
    }
    for field in ["priorityClassName", "runtimeClassName"] {
        let name = text(spec, field);
        if !name.is_empty() {
            errors.named(name, names::dns1123_subdomain, path.child(field));
        }
    }
}

/// Checks an RFC 1123 label. A name with dots gets the general message.
fn label(name: &str) -> Vec<String> {
    let wrong = names::dns1123_label(name);
    match wrong.iter().any(|why| why == "must not contain dots") {
        // The message for any other malformed label.
        true => names::dns1123_label("A"),
        false => wrong,
    }
}

/// Checks the volumes, and returns them by name.
fn volumes<'a>(spec: &'a Value, path: &FieldPath<'_>, errors: &mut Errors) -> HashMap<&'a str, &'a Value> {
    let list = path.child("volumes");
    let mut known = HashMap::new();
    for (index, volume) in items(&spec["volumes"]).iter().enumerate() {
        let path = list.index(index);
        let name = text(volume, "name");
        source(spec, volume, &path, errors);
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        } else {
            errors.named(name, label, path.child("name"));
        }
        if known.insert(name, volume).is_some() {
            errors.push(FieldError::duplicate(path.child("name"), &name.into()));
        }
    }
    known
}

fn source(spec: &Value, volume: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const REQUIRED: [(&str, &str); 5] = [
        ("hostPath", "path"),
        ("secret", "secretName"),
        ("configMap", "name"),
        ("persistentVolumeClaim", "claimName"),
        ("csi", "driver"),
    ];
    // In the order in which kube-apiserver checks them; the first one counts.
    const ORDER: [&str; 10] = [
        "emptyDir",
        "hostPath",
        "gitRepo",
        "secret",
        "nfs",
        "persistentVolumeClaim",
        "configMap",
        "downwardAPI",
        "projected",
        "csi",
    ];
    let given = ORDER.iter().filter(|source| !volume[**source].is_null());
    for (index, source) in given.enumerate() {
        let path = path.child(source);
        if index > 0 {
            errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type"));
            continue;
        }
        if let Some((_, field)) = REQUIRED.iter().find(|(it, _)| it == source) {
            errors.required(&volume[*source], field, &path, "");
        }
        let sources = path.child("sources");
        for (index, projected) in items(&volume[*source]["sources"]).iter().enumerate() {
            if !projected["serviceAccountToken"].is_null() && text(spec, "serviceAccountName").is_empty() {
                let detail = "must not be specified when serviceAccountName is not set";
                let path = sources.index(index);
                errors.push(FieldError::forbidden(path.child("serviceAccountToken"), detail));
            }
        }
    }
}

fn containers(spec: &Value, path: &FieldPath<'_>, volumes: &HashMap<&str, &Value>, errors: &mut Errors) {
    let list = path.child("containers");
    let all = items(&spec["containers"]);
    let mut names = HashSet::new();
    if all.is_empty() {
        errors.push(FieldError::required(list, ""));
    }
    for (index, it) in all.iter().enumerate() {
        let path = list.index(index);
        container(it, &path, volumes, errors);
        let name = text(it, "name");
        if !names.insert(name) {
            errors.push(FieldError::duplicate(path.child("name"), &name.into()));
        }
        let hooks = path.child("lifecycle");
        for hook in ["postStart", "preStop"] {
            if !it["lifecycle"][hook].is_null() {
                handler(&it["lifecycle"][hook], &hooks.child(hook), errors);
            }
        }
        for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
            if !it[kind].is_null() {
                probe(&it[kind], kind, &path.child(kind), errors);
            }
        }
    }
    host_ports(all, &list, errors);
    let list = path.child("initContainers");
    for (index, it) in items(&spec["initContainers"]).iter().enumerate() {
        let path = list.index(index);
        container(it, &path, volumes, errors);
        let name = text(it, "name");
        if !names.insert(name) && !name.is_empty() {
            errors.push(FieldError::duplicate(path.child("name"), &name.into()));
        }
    }
}

fn container(container: &Value, path: &FieldPath<'_>, volumes: &HashMap<&str, &Value>, errors: &mut Errors) {
    let name = text(container, "name");
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    } else {
        errors.named(name, label, path.child("name"));
    }
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(path.child("image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(path.child("image"), &image.into(), detail));
    }
    let policies = ["File", "FallbackToLogsOnError"];
    errors.one_of(&container["terminationMessagePolicy"], &policies, path.child("terminationMessagePolicy"));
    ports(&container["ports"], &path.child("ports"), errors);
    environment(&container["env"], &path.child("env"), errors);
    mounts(&container["volumeMounts"], &path.child("volumeMounts"), volumes, errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    errors.one_of(&container["imagePullPolicy"], &policies, path.child("imagePullPolicy"));
    resources(&container["resources"], &path.child("resources"), errors);
    let context = path.child("securityContext");
    for field in ["runAsUser", "runAsGroup"] {
        errors.within(&container["securityContext"][field], 0, MAX, context.child(field));
    }
}

fn ports(ports: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    let mut names = HashSet::new();
    for (index, port) in items(ports).iter().enumerate() {
        let path = list.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            let wrong = port_name(name);
            if wrong.is_empty() && !names.insert(name) {
                errors.push(FieldError::duplicate(path.child("name"), &name.into()));
            }
            errors.named(name, port_name, path.child("name"));
        }
        match port["containerPort"].as_i64() {
            None | Some(0) => errors.push(FieldError::required(path.child("containerPort"), "")),
            Some(_) if !port_number(&port["containerPort"]) => {
                errors.push(FieldError::invalid(path.child("containerPort"), &port["containerPort"], PORT));
            }
            Some(_) => {}
        }
        if port["hostPort"].as_i64().is_some_and(|it| it != 0) && !port_number(&port["hostPort"]) {
            errors.push(FieldError::invalid(path.child("hostPort"), &port["hostPort"], PORT));
        }
        errors.one_of(&port["protocol"], &["SCTP", "TCP", "UDP"], path.child("protocol"));
    }
}

fn host_ports(containers: &[Value], list: &FieldPath<'_>, errors: &mut Errors) {
    let mut taken = HashSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = list.index(index);
        let ports = path.child("ports");
        for (index, port) in items(&container["ports"]).iter().enumerate() {
            let number = port["hostPort"].as_i64().unwrap_or_default();
            let key = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
            if number != 0 && !taken.insert(key.clone()) {
                errors.push(FieldError::duplicate(ports.index(index).child("hostPort"), &key.into()));
            }
        }
    }
}

fn environment(variables: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    for (index, variable) in items(variables).iter().enumerate() {
        let path = list.index(index);
        let name = text(variable, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        } else if !name.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=') {
            let detail = "a valid environment variable name must consist only of printable ASCII characters other than '='";
            errors.push(FieldError::invalid(path.child("name"), &name.into(), detail));
        }
        let from = &variable["valueFrom"];
        if from.is_null() {
            continue;
        }
        let path = path.child("valueFrom");
        let count = from.as_object().map_or(0, serde_json::Map::len);
        let detail = match count {
            0 => {
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            }
            _ if !text(variable, "value").is_empty() => "may not be specified when `value` is not empty",
            1 => "",
            _ => "may not have more than one field specified at a time",
        };
        if !detail.is_empty() {
            errors.push(FieldError::invalid(path, &"".into(), detail));
        }
        field_ref(&from["fieldRef"], &path.child("fieldRef"), errors);
        resource_ref(&from["resourceFieldRef"], &path.child("resourceFieldRef"), errors);
        for kind in ["configMapKeyRef", "secretKeyRef"] {
            if from[kind].is_null() {
                continue;
            }
            let path = path.child(kind);
            errors.named(text(&from[kind], "name"), names::dns1123_subdomain, path.child("name"));
            let key = text(&from[kind], "key");
            if key.is_empty() {
                errors.push(FieldError::required(path.child("key"), ""));
            } else {
                errors.named(key, config_key, path.child("key"));
            }
        }
    }
}

fn field_ref(field: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const KNOWN: [&str; 10] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
    ];
    if field.is_null() || errors.required(field, "fieldPath", path, "") {
        return;
    }
    let name = text(field, "fieldPath");
    let plain = name.split('[').next().unwrap_or_default();
    if !KNOWN.contains(&plain)
        && !["status.podIPs", "spec.restartPolicy", "spec.schedulerName"].contains(&plain)
    {
        let detail = format!("error converting fieldPath: field label not supported: {name}");
        errors.push(FieldError::invalid(path.child("fieldPath"), &name.into(), &detail));
    }
}

fn resource_ref(field: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const KNOWN: [&str; 6] = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    if field.is_null() || errors.required(field, "resource", path, "") {
        return;
    }
    let name = text(field, "resource");
    if !KNOWN.contains(&name) && !name.contains("hugepages-") {
        errors.push(FieldError::not_supported(path.child("resource"), &field["resource"], &KNOWN));
    }
}

fn mounts(mounts: &Value, list: &FieldPath<'_>, volumes: &HashMap<&str, &Value>, errors: &mut Errors) {
    let mut places = HashSet::new();
    for (index, mount) in items(mounts).iter().enumerate() {
        let path = list.index(index);
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        }
        if !volumes.contains_key(name) {
            errors.push(FieldError::not_found(path.child("name"), &name.into()));
        }
        let place = text(mount, "mountPath");
        if place.is_empty() {
            errors.push(FieldError::required(path.child("mountPath"), ""));
        }
        if !places.insert(place) {
            errors.push(FieldError::invalid(path.child("mountPath"), &place.into(), "must be unique"));
        }
        let below = text(mount, "subPath");
        // kube-apiserver reports these at the list, without the index.
        if below.starts_with('/') {
            errors.push(FieldError::invalid(list.child("subPath"), &below.into(), "must be a relative path"));
        }
        if below.split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(list.child("subPath"), &below.into(), "must not contain '..'"));
        }
    }
}

fn resources(resources: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let parsed = |value: &Value| value.as_str()?.parse::<Quantity>().ok();
    for field in ["limits", "requests"] {
        let list = path.child(field);
        // Names without a prefix come first.
        let mut all: Vec<_> = members(&resources[field]).collect();
        all.sort_by_key(|(name, _)| (name.contains('/'), *name));
        for (name, value) in all {
            let path = list.key(name);
            let standard =
                ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
            if !standard && !name.contains('/') {
                for detail in [
                    "must be a standard resource type or fully qualified",
                    "must be a standard resource for containers",
                ] {
                    errors.push(FieldError::invalid(path, &name.into(), detail));
                }
            }
            let Some(quantity) = parsed(value) else { continue };
            if quantity.is_negative() {
                let detail = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(path, value, detail));
            }
            if name.contains('/') && !quantity.is_whole() {
                errors.push(FieldError::invalid(path, value, "must be an integer"));
            }
        }
    }
    for (name, request) in members(&resources["requests"]) {
        let limit = &resources["limits"][name];
        if let (Some(asked), Some(most)) = (parsed(request), parsed(limit))
            && asked > most
        {
            let detail = format!(
                "must be less than or equal to {name} limit of {}",
                limit.as_str().unwrap_or_default()
            );
            errors.push(FieldError::invalid(path.child("requests"), request, &detail));
        }
    }
}

/// Checks the action of a probe or of a lifecycle hook. There must be exactly one.
fn handler(handler: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let mut count = 0;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let action = &handler[kind];
        if action.is_null() {
            continue;
        }
        let path = path.child(kind);
        count += 1;
        if count > 1 {
            errors.push(FieldError::forbidden(path, "may not specify more than 1 handler type"));
            continue;
        }
        match kind {
            "exec" if items(&action["command"]).is_empty() => {
                errors.push(FieldError::required(path.child("command"), ""));
            }
            "httpGet" => {
                errors.required(action, "path", &path, "");
                port_or_name(&action["port"], path.child("port"), errors);
                errors.one_of(&action["scheme"], &["HTTP", "HTTPS"], path.child("scheme"));
            }
            "tcpSocket" => port_or_name(&action["port"], path.child("port"), errors),
            "grpc" if !port_number(&action["port"]) => {
                errors.push(FieldError::invalid(path.child("port"), &action["port"], PORT));
            }
            _ => {}
        }
    }
    if count == 0 {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}

fn probe(probe: &Value, kind: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    handler(probe, path, errors);
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        errors.not_negative(probe, field, path);
    }
    if kind != "readinessProbe" && probe["successThreshold"].as_i64().is_some_and(|count| count != 1) {
        errors.push(FieldError::invalid(
            path.child("successThreshold"),
            &probe["successThreshold"],
            "must be 1",
        ));
    }
}

fn tolerations(tolerations: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    for (index, it) in items(tolerations).iter().enumerate() {
        let path = list.index(index);
        let (key, operator) = (text(it, "key"), text(it, "operator"));
        if !key.is_empty() {
            errors.named(key, names::qualified_name, path.child("key"));
        } else if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(path.child("operator"), &it["operator"], detail));
        }
        if !it["tolerationSeconds"].is_null() && text(it, "effect") != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(path.child("effect"), &it["effect"], detail));
        }
        match operator {
            "" | "Equal" => errors.named(text(it, "value"), names::label_value, path.child("operator")),
            "Exists" if !text(it, "value").is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(path.child("operator"), &it["value"], detail));
            }
            _ => errors.one_of(&it["operator"], &["Equal", "Exists"], path.child("operator")),
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        errors.one_of(&it["effect"], &effects, path.child("effect"));
    }
}

fn affinity(affinity: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let node = path.child("nodeAffinity");
    let terms = &affinity["nodeAffinity"][REQUIRED];
    if terms.is_object() && items(&terms["nodeSelectorTerms"]).is_empty() {
        let required = node.child(REQUIRED);
        let detail = "must have at least one node selector term";
        errors.push(FieldError::required(required.child("nodeSelectorTerms"), detail));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = path.child(kind);
        let list = path.child(REQUIRED);
        for (index, term) in items(&affinity[kind][REQUIRED]).iter().enumerate() {
            let path = list.index(index);
            errors.selector(&term["labelSelector"], path.child("labelSelector"));
            errors.required(term, "topologyKey", &path, "can not be empty");
            errors.named(text(term, "topologyKey"), names::qualified_name, path.child("topologyKey"));
        }
    }
}

fn spread(constraints: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    for (index, constraint) in items(constraints).iter().enumerate() {
        let path = list.index(index);
        if constraint["maxSkew"].as_i64().is_none_or(|skew| skew <= 0) {
            let detail = "must be greater than zero";
            errors.push(FieldError::invalid(path.child("maxSkew"), &constraint["maxSkew"], detail));
        }
        errors.required(constraint, "topologyKey", &path, "can not be empty");
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        errors.one_of(&constraint["whenUnsatisfiable"], &actions, path.child("whenUnsatisfiable"));
    }
}
