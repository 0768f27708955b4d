//! Pods and their templates.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::errors::{Errors, PORT, config_key, items, members, port_name, port_number, port_or_name, text};
use super::field_refs::{field_ref, resource_ref};
use super::security::{self, descending};
use super::volume_sources;
use crate::addresses::address;
use kube_validation::{FieldError, FieldPath, Quantity, names};

/// The maximum of IDs of users and groups, and of `activeDeadlineSeconds`.
const MAX: i64 = i32::MAX as i64;
const VARIABLE: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const NOT_ALLOWED: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
                           `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
                           additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set \
                           to 1 if it was previously negative)";

pub(super) fn create(pod: &Value, errors: &mut Errors) {
    annotations(pod, errors);
    spec(&pod["spec"], &FieldPath::Root("spec"), errors);
    tokens(&pod["spec"], errors);
}

/// Refuses tokens of a ServiceAccount in the files of a Pod that has none.
fn tokens(spec: &Value, errors: &mut Errors) {
    if !text(spec, "serviceAccountName").is_empty() {
        return;
    }
    let list = FieldPath::Root("spec.volumes");
    for (index, volume) in items(&spec["volumes"]).iter().enumerate() {
        let (volume_path, sources) = (list.index(index), items(&volume["projected"]["sources"]));
        let projected = volume_path.child("projected");
        let list = projected.child("sources");
        let tokens = sources.iter().enumerate().filter(|(_, it)| !it["serviceAccountToken"].is_null());
        for (index, _) in tokens {
            let detail = "must not be specified when serviceAccountName is not set";
            let source = list.index(index);
            errors.push(FieldError::forbidden(source.child("serviceAccountToken"), detail));
        }
    }
}

/// Checks the annotations of a Pod that stand for fields.
fn annotations(pod: &Value, errors: &mut Errors) {
    const MIRROR: &str = "kubernetes.io/config.mirror";
    let path = FieldPath::Root("metadata.annotations");
    let mirror = &pod["metadata"]["annotations"][MIRROR];
    if mirror.is_string() && text(&pod["spec"], "nodeName").is_empty() {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(FieldError::invalid(path.key(MIRROR), mirror, detail));
    }
    if !items(&pod["spec"]["schedulingGates"]).is_empty() && !text(&pod["spec"], "nodeName").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden("spec.nodeName", detail));
    }
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

/// Checks a template of Pods.
pub(super) fn template(template: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.labels(&template["metadata"]["labels"], path.child("labels"));
    for (key, _) in members(&template["metadata"]["annotations"]) {
        errors.named(&key.to_lowercase(), names::qualified_name, path.child("annotations"));
    }
    let spec_path = path.child("spec");
    spec(&template["spec"], &spec_path, errors);
    if !items(&template["spec"]["ephemeralContainers"]).is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(spec_path.child("ephemeralContainers"), detail));
    }
}

/// Checks the `spec` of a pod or a template.
pub(super) fn spec(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let volumes = volumes(spec, path, errors);
    resource_claims(&spec["resourceClaims"], &path.child("resourceClaims"), errors);
    containers(spec, path, &volumes, errors);
    let policies = ["Always", "OnFailure", "Never"];
    errors.one_of(&spec["restartPolicy"], &policies, path.child("restartPolicy"));
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.one_of(&spec["dnsPolicy"], &policies, path.child("dnsPolicy"));
    errors.labels(&spec["nodeSelector"], path.child("nodeSelector"));
    security::pod(&spec["securityContext"], &path.child("securityContext"), errors);
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(path.child("shareProcessNamespace"), &true.into(), detail));
    }
    affinity(&spec["affinity"], &path.child("affinity"), errors);
    dns(spec, &path.child("dnsConfig"), errors);
    gates(&spec["readinessGates"], Some("conditionType"), &path.child("readinessGates"), errors);
    gates(&spec["schedulingGates"], None, &path.child("schedulingGates"), errors);
    spread(&spec["topologySpreadConstraints"], &path.child("topologySpreadConstraints"), errors);
    if spec["hostUsers"] == false {
        for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
        {
            if spec[field] == true {
                errors.push(FieldError::forbidden(path.child(shown), "when `hostUsers` is false"));
            }
        }
    }
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
            errors.named(name, names::dns1123_label, path.child(field));
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
    if spec["os"].is_object() {
        let os = &spec["os"]["name"];
        errors.one_of(os, &["linux", "windows"], path.child("os"));
        let context = path.child("securityContext");
        if *os == "linux" && !spec["securityContext"]["windowsOptions"].is_null() {
            let detail = "windows options cannot be set for a linux pod";
            errors.push(FieldError::forbidden(context.child("windowsOptions"), detail));
        }
    }
}

/// Checks the names of gates: of conditions, which are in a field, or of what holds the scheduling.
fn gates(gates: &Value, field: Option<&str>, list: &FieldPath<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, gate) in items(gates).iter().enumerate() {
        let path = list.index(index);
        let name = text(gate, field.unwrap_or("name"));
        match field {
            Some(field) => errors.named(name, names::qualified_name, path.child(field)),
            None => errors.named(name, names::qualified_name, path),
        }
        if !seen.insert(name) && field.is_none() {
            errors.push(FieldError::duplicate(path, &name.into()));
        }
    }
}

/// Checks the claims for devices that a Pod names.
fn resource_claims(claims: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    let mut names = HashSet::new();
    for (index, claim) in items(claims).iter().enumerate() {
        let (path, name) = (list.index(index), text(claim, "name"));
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        } else if names.insert(name) {
            errors.named(name, label, path.child("name"));
        } else {
            errors.push(FieldError::duplicate(path.child("name"), &name.into()));
        }
        let fields = ["resourceClaimName", "resourceClaimTemplateName"];
        let given = fields.iter().filter(|field| claim[**field].is_string()).count();
        let shown = format!(
            r#"{{"Name":{},"ResourceClaimName":{},"ResourceClaimTemplateName":{}}}"#,
            Value::from(name),
            claim[fields[0]],
            claim[fields[1]]
        );
        let detail = match given {
            0 => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            1 => "",
            _ => "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        };
        if !detail.is_empty() {
            errors.push(FieldError::invalid_shown(path, &shown, detail));
        }
        for field in fields {
            if let Some(name) = claim[field].as_str() {
                errors.named(name, names::dns1123_subdomain, path.child(field));
            }
        }
    }
}

/// Checks the servers and domains that a Pod asks for addresses.
fn dns(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let config = &spec["dnsConfig"];
    let (servers, searches) = (items(&config["nameservers"]), items(&config["searches"]));
    if text(spec, "dnsPolicy") == "None" {
        if config.is_null() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(path, detail));
            return;
        }
        if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(path.child("nameservers"), detail));
            return;
        }
    }
    let list = path.child("nameservers");
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers";
        errors.push(FieldError::invalid(list, &config["nameservers"], detail));
    }
    for (index, server) in servers.iter().enumerate() {
        errors.named(server.as_str().unwrap_or_default(), address, list.index(index));
    }
    let list = path.child("searches");
    if searches.len() > 32 {
        let detail = "must not have more than 32 search paths";
        errors.push(FieldError::invalid(list, &config["searches"], detail));
    }
    let options = path.child("options");
    for (index, option) in items(&config["options"]).iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.push(FieldError::required(options.index(index), "must not be empty"));
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
        volume_sources::check(volume, &path, errors);
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

fn containers(spec: &Value, path: &FieldPath<'_>, volumes: &HashMap<&str, &Value>, errors: &mut Errors) {
    let list = path.child("containers");
    let all = items(&spec["containers"]);
    let mut names = HashSet::new();
    if all.is_empty() {
        errors.push(FieldError::required(list, ""));
    }
    for (index, it) in all.iter().enumerate() {
        let path = list.index(index);
        container(spec, it, &path, volumes, errors);
        let name = text(it, "name");
        if !names.insert(name) {
            errors.push(FieldError::duplicate(path.child("name"), &name.into()));
        }
        runtime(spec, it, &path, errors);
    }
    host_ports(all, &list, errors);
    let list = path.child("initContainers");
    for (index, it) in items(&spec["initContainers"]).iter().enumerate() {
        let path = list.index(index);
        container(spec, it, &path, volumes, errors);
        let policies = ["Always", "Never", "OnFailure"];
        errors.one_of(&it["restartPolicy"], &policies, path.child("restartPolicy"));
        let name = text(it, "name");
        if !names.insert(name) && !name.is_empty() {
            errors.push(FieldError::duplicate(path.child("name"), &name.into()));
        }
        if it["restartPolicy"] == "Always" {
            runtime(spec, it, &path, errors);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if !it[field].is_null() {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.push(FieldError::forbidden(path.child(field), detail));
            }
        }
    }
}

/// Checks the hooks and probes of a container that keeps running.
fn runtime(spec: &Value, container: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let hooks = path.child("lifecycle");
    for hook in ["postStart", "preStop"] {
        if !container["lifecycle"][hook].is_null() {
            let grace = spec["terminationGracePeriodSeconds"].as_i64().unwrap_or_default();
            handler(&container["lifecycle"][hook], grace, &hooks.child(hook), errors);
        }
    }
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if !container[kind].is_null() {
            probe(&container[kind], kind, &path.child(kind), errors);
        }
    }
}

fn container(
    spec: &Value,
    container: &Value,
    path: &FieldPath<'_>,
    volumes: &HashMap<&str, &Value>,
    errors: &mut Errors,
) {
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
    sources_of_environment(&container["envFrom"], &path.child("envFrom"), errors);
    mounts(container, &path.child("volumeMounts"), volumes, errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    errors.one_of(&container["imagePullPolicy"], &policies, path.child("imagePullPolicy"));
    resources(&container["resources"], &path.child("resources"), errors);
    resize_policy(&container["resizePolicy"], &path.child("resizePolicy"), errors);
    let host_users = spec["hostUsers"] != false;
    security::container(&container["securityContext"], host_users, &path.child("securityContext"), errors);
}

/// Checks what a change of each resource does to a container.
fn resize_policy(policies: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, policy) in items(policies).iter().enumerate() {
        let resource = &policy["resourceName"];
        if !seen.insert(text(policy, "resourceName")) {
            errors.push(FieldError::duplicate(path.index(index), resource));
        }
        errors.one_of(resource, &["cpu", "memory"], *path);
        errors.one_of(&policy["restartPolicy"], &["NotRequired", "RestartContainer"], *path);
    }
}

/// Checks the maps from which a container gets all variables.
fn sources_of_environment(sources: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    for (index, source) in items(sources).iter().enumerate() {
        let path = list.index(index);
        let prefix = text(source, "prefix");
        if !prefix.is_empty() && !is_variable(prefix) {
            errors.push(FieldError::invalid(path.child("prefix"), &prefix.into(), VARIABLE));
        }
        let mut count = 0;
        for kind in ["configMapRef", "secretRef"] {
            if source[kind].is_null() {
                continue;
            }
            count += 1;
            let (path, name) = (path.child(kind), text(&source[kind], "name"));
            if name.is_empty() {
                errors.push(FieldError::required(path.child("name"), ""));
            } else {
                errors.named(name, names::dns1123_subdomain, path.child("name"));
            }
        }
        let detail = match count {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errors.push(FieldError::invalid(list, &"".into(), detail));
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

/// Whether a text can be the name of a variable, or its beginning.
fn is_variable(name: &str) -> bool {
    name.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=')
}

fn environment(variables: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    for (index, variable) in items(variables).iter().enumerate() {
        let path = list.index(index);
        let name = text(variable, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        } else if !is_variable(name) {
            errors.push(FieldError::invalid(path.child("name"), &name.into(), VARIABLE));
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

fn mounts(container: &Value, list: &FieldPath<'_>, volumes: &HashMap<&str, &Value>, errors: &mut Errors) {
    let mut places = HashSet::new();
    for (index, mount) in items(&container["volumeMounts"]).iter().enumerate() {
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
        // kube-apiserver reports these at the list, without the index.
        let (below, expanded) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        descending(below, &list.child("subPath"), errors);
        if !expanded.is_empty() && !below.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(path.child("subPathExpr"), &expanded.into(), detail));
        }
        descending(expanded, &list.child("subPathExpr"), errors);
        propagation(container, mount, list, errors);
    }
}

/// Checks what of a mount other mounts see, and whether what is mounted below it can be written.
fn propagation(container: &Value, mount: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    let (propagation, path) = (&mount["mountPropagation"], list.child("mountPropagation"));
    errors.one_of(propagation, &["Bidirectional", "HostToContainer", "None"], path);
    if *propagation == "Bidirectional" && container["securityContext"]["privileged"] != true {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(FieldError::forbidden(path, detail));
    }
    let (recursive, path) = (&mount["recursiveReadOnly"], list.child("recursiveReadOnly"));
    match recursive.as_str() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount["readOnly"] != true {
                let detail = "may only be specified when readOnly is true";
                errors.push(FieldError::forbidden(path, detail));
            }
            if propagation.as_str().is_some_and(|it| it != "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.push(FieldError::forbidden(path, detail));
            }
        }
        Some(_) => errors.one_of(recursive, &["Disabled", "Enabled", "IfPossible"], path),
    }
}

pub(super) fn resources(resources: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
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
                // Known, but not of containers.
                let is_known = matches!(name, "storage" | "pods");
                for detail in [
                    "must be a standard resource type or fully qualified",
                    "must be a standard resource for containers",
                ]
                .into_iter()
                .skip(usize::from(is_known))
                {
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
            && (asked > most || name.contains('/') && asked < most)
        {
            let limit = limit.as_str().unwrap_or_default();
            let relation = if name.contains('/') { "equal to" } else { "less than or equal to" };
            let detail = format!("must be {relation} {name} limit of {limit}");
            errors.push(FieldError::invalid(path.child("requests"), request, &detail));
        }
    }
}

/// Checks the action of a probe or of a lifecycle hook. There must be exactly one.
fn handler(handler: &Value, grace: i64, path: &FieldPath<'_>, errors: &mut Errors) {
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
                for header in items(&action["httpHeaders"]) {
                    errors.named(text(header, "name"), header_name, path.child("httpHeaders"));
                }
            }
            "sleep" if action["seconds"].as_i64().is_some_and(|it| !(0..=grace).contains(&it)) => {
                let detail =
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.push(FieldError::invalid(path, &action["seconds"], &detail));
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

/// Returns the problems of the name of an HTTP header.
fn header_name(name: &str) -> Vec<String> {
    let is_valid = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for \
                  validation is '[-A-Za-z0-9]+')";
    if is_valid { Vec::new() } else { vec![detail.to_owned()] }
}

fn probe(probe: &Value, kind: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    handler(probe, 0, path, errors);
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        errors.not_negative(probe, field, path);
    }
    let (grace, grace_path) =
        (&probe["terminationGracePeriodSeconds"], path.child("terminationGracePeriodSeconds"));
    if grace.as_i64().is_some_and(|seconds| seconds <= 0) {
        errors.push(FieldError::invalid(grace_path, grace, "must be greater than 0"));
    }
    if kind == "readinessProbe" && !grace.is_null() {
        errors.push(FieldError::invalid(grace_path, grace, "must not be set for readinessProbes"));
    }
    if kind != "readinessProbe" && probe["successThreshold"].as_i64().is_some_and(|count| count != 1) {
        errors.push(FieldError::invalid(
            path.child("successThreshold"),
            &probe["successThreshold"],
            "must be 1",
        ));
    }
}

pub(super) fn tolerations(tolerations: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
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
            errors.push(FieldError::invalid(path.child("effect"), &text(it, "effect").into(), detail));
        }
        match operator {
            "" | "Equal" => errors.named(text(it, "value"), names::label_value, path.child("operator")),
            "Exists" if !text(it, "value").is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(path.child("operator"), &it["value"], detail));
            }
            "Exists" => {}
            // Features that are off.
            "Lt" | "Gt" => errors.push(FieldError::not_supported_shown(
                path.child("operator"),
                &it["operator"].to_string(),
                &["Equal", "Exists", "Lt", "Gt"],
            )),
            _ => errors.one_of(&it["operator"], &["Equal", "Exists"], path.child("operator")),
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        errors.one_of(&it["effect"], &effects, path.child("effect"));
    }
}

fn affinity(affinity: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let (nodes, node) = (&affinity["nodeAffinity"], path.child("nodeAffinity"));
    let required = node.child(REQUIRED);
    if nodes[REQUIRED].is_object() && items(&nodes[REQUIRED]["nodeSelectorTerms"]).is_empty() {
        let detail = "must have at least one node selector term";
        errors.push(FieldError::required(required.child("nodeSelectorTerms"), detail));
    }
    errors.each(&nodes[REQUIRED], "nodeSelectorTerms", &required, node_term);
    errors.each(nodes, PREFERRED, &node, |term, path, errors| {
        weight(term, path, errors);
        node_term(&term["preference"], &path.child("preference"), errors);
    });
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (pods, path) = (&affinity[kind], path.child(kind));
        errors.each(pods, REQUIRED, &path, pod_term);
        errors.each(pods, PREFERRED, &path, |term, path, errors| {
            weight(term, path, errors);
            pod_term(&term["podAffinityTerm"], &path.child("podAffinityTerm"), errors);
        });
    }
}

fn weight(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if !term["weight"].as_i64().is_some_and(|weight| (1..=100).contains(&weight)) {
        let detail = "must be in the range 1-100";
        errors.push(FieldError::invalid(path.child("weight"), &term["weight"], detail));
    }
}

/// Checks which nodes a term selects.
pub(super) fn node_term(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.each(term, "matchExpressions", path, |it, path, errors| {
        let count = items(&it["values"]).len();
        let values = path.child("values");
        match text(it, "operator") {
            "In" | "NotIn" if count == 0 => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(values, detail));
            }
            "Exists" | "DoesNotExist" if count > 0 => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(values, detail));
            }
            "Gt" | "Lt" if count != 1 => {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(FieldError::required(values, detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => {
                let detail = "not a valid selector operator";
                errors.push(FieldError::invalid(path.child("operator"), &it["operator"], detail));
            }
        }
        errors.named(text(it, "key"), names::qualified_name, path.child("key"));
    });
}

/// Checks which Pods a term selects, and where.
fn pod_term(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.selector(&term["labelSelector"], path.child("labelSelector"));
    errors.selector(&term["namespaceSelector"], path.child("namespaceSelector"));
    for namespace in items(&term["namespaces"]) {
        errors.named(namespace.as_str().unwrap_or_default(), names::dns1123_label, path.child("namespace"));
    }
    label_keys(term, path, errors);
    errors.required(term, "topologyKey", path, "can not be empty");
    errors.named(text(term, "topologyKey"), names::qualified_name, path.child("topologyKey"));
}

/// Checks the labels whose values the selector of a term takes from the Pod itself.
fn label_keys(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let others = items(&term["mismatchLabelKeys"]);
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let list = path.child(field);
        if !items(&term[field]).is_empty() && term["labelSelector"].is_null() {
            let detail = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(list, detail));
            continue;
        }
        for (index, key) in items(&term[field]).iter().enumerate() {
            errors.named(key.as_str().unwrap_or_default(), names::qualified_name, list.index(index));
            if field == "matchLabelKeys" && others.contains(key) {
                let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
                errors.push(FieldError::invalid(list.index(index), key, detail));
            }
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
        let kind = |it: &Value| (it["topologyKey"].clone(), it["whenUnsatisfiable"].clone());
        if items(constraints)[index + 1..].iter().any(|other| kind(other) == kind(constraint)) {
            let (key, action) = (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
            let shown = format!("{{{key}, {action}}}");
            let path = path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(path, &shown.into()));
        }
        let (domains, domains_path) = (&constraint["minDomains"], path.child("minDomains"));
        if domains.as_i64().is_some_and(|count| count <= 0) {
            errors.push(FieldError::invalid(domains_path, domains, "must be greater than zero"));
        }
        let action = text(constraint, "whenUnsatisfiable");
        if !domains.is_null() && action != "DoNotSchedule" {
            let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
            errors.push(FieldError::invalid(domains_path, domains, &detail));
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            errors.one_of(&constraint[field], &["Honor", "Ignore"], path.child(field));
        }
        label_keys(constraint, &path, errors);
        errors.selector(&constraint["labelSelector"], path.child("labelSelector"));
    }
}
