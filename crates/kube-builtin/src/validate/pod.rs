//! Pods and their templates.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::errors::{Errors, PORT, config_key, items, members, port_name, port_number, port_or_name, text};
use super::field_refs::{field_ref, resource_ref};
use super::security::{self, descending, without_parents};
use super::{placement, pod_resources, volume_sources, windows};
use crate::addresses::address;
use kube_validation::{FieldError, FieldPath, names};

/// The longest list of domains in which addresses are looked up.
const MAX_SEARCHES: usize = 2048;
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
    images(&pod["spec"], errors);
    if !items(&pod["spec"]["ephemeralContainers"]).is_empty() {
        errors.push(FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
}

/// Refuses white space around the names of images, which templates may have.
fn images(spec: &Value, errors: &mut Errors) {
    for list in ["containers", "initContainers"] {
        errors.each(spec, list, &FieldPath::Root("spec"), |container, path, errors| {
            let image = text(container, "image");
            if image.trim() != image {
                let detail = "must not have leading or trailing whitespace";
                errors.push(FieldError::invalid(path.child("image"), &image.into(), detail));
            }
        });
    }
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
    images(spec, errors);
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
    if errors.all.is_empty() && rest(spec, before) != rest(before, before) {
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
    pod_resources::pod(spec, path, errors);
    shared_ports(spec, path, errors);
    let policies = ["Always", "OnFailure", "Never"];
    errors.one_of(&spec["restartPolicy"], &policies, path.child("restartPolicy"));
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.one_of(&spec["dnsPolicy"], &policies, path.child("dnsPolicy"));
    errors.labels(&spec["nodeSelector"], path.child("nodeSelector"));
    security::pod(spec, &path.child("securityContext"), errors);
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(path.child("shareProcessNamespace"), &true.into(), detail));
    }
    placement::affinity(&spec["affinity"], &path.child("affinity"), errors);
    dns(spec, &path.child("dnsConfig"), errors);
    gates(&spec["readinessGates"], Some("conditionType"), &path.child("readinessGates"), errors);
    gates(&spec["schedulingGates"], None, &path.child("schedulingGates"), errors);
    placement::spread(&spec["topologySpreadConstraints"], &path.child("topologySpreadConstraints"), errors);
    windows::host_process(spec, path, errors);
    if spec["hostUsers"] == false {
        for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
        {
            if spec[field] == true {
                errors.push(FieldError::forbidden(path.child(shown), "when `hostUsers` is false"));
            }
        }
    }
    host_name(spec, path, errors);
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
    placement::tolerations(&spec["tolerations"], &path.child("tolerations"), errors);
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
        let os = path.child("os");
        if !errors.required(&spec["os"], "name", &os, "") {
            errors.one_of(&spec["os"]["name"], &["linux", "windows"], os);
        }
        windows::system(spec, path, errors);
    }
    file_volumes(spec, path, &volumes, errors);
}

/// Checks a name that a Pod has for itself, whatever it is elsewhere.
fn host_name(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const MAX: usize = 64;
    let Some(name) = spec["hostnameOverride"].as_str() else { return };
    let path = path.child("hostnameOverride");
    for field in ["setHostnameAsFQDN", "hostNetwork"].iter().filter(|field| spec[**field] == true) {
        let detail = format!("may not be specified when {field} is true");
        errors.push(FieldError::forbidden(path, &detail));
    }
    if name.len() > MAX {
        errors.push(FieldError::too_long(path, MAX));
    }
    errors.named(name, names::dns1123_subdomain, path);
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
    let length: usize = searches.iter().filter_map(Value::as_str).map(|search| search.len() + 1).sum();
    if length > MAX_SEARCHES + 1 {
        let detail = format!(
            "must not have more than {MAX_SEARCHES} characters (including spaces) in the search list"
        );
        errors.push(FieldError::invalid(list, &config["searches"], &detail));
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| **search != ".") {
        let search = search.as_str().unwrap_or_default();
        let domain = search.strip_suffix('.').unwrap_or(search);
        errors.named(domain, search_domain, list.index(index));
    }
    let options = path.child("options");
    for (index, option) in items(&config["options"]).iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.push(FieldError::required(options.index(index), "must not be empty"));
        }
    }
}

/// Returns the problems of a domain in which addresses are looked up. Its labels may start with a `_`.
fn search_domain(domain: &str) -> Vec<String> {
    const DETAIL: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', \
                          and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
                          validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
    const MAX: usize = 253;
    let is_end = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label).as_bytes();
        label.first().copied().is_some_and(is_end)
            && label.last().copied().is_some_and(is_end)
            && label.iter().all(|c| is_end(*c) || matches!(c, b'-' | b'_'))
    };
    let mut wrong = Vec::new();
    if domain.len() > MAX {
        wrong.push(format!("must be no more than {MAX} characters"));
    }
    if !domain.split('.').all(is_label) {
        wrong.push(DETAIL.to_owned());
    }
    wrong
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
        restart_rules(it, &path, errors);
    }
    host_ports(all, &list, errors);
    let list = path.child("initContainers");
    for (index, it) in items(&spec["initContainers"]).iter().enumerate() {
        let path = list.index(index);
        container(spec, it, &path, volumes, errors);
        restart_rules(it, &path, errors);
        let name = text(it, "name");
        if !names.insert(name) && !name.is_empty() {
            errors.push(FieldError::duplicate(path.child("name"), &name.into()));
        }
        // kube-apiserver shows each as if it was the first.
        host_ports(std::slice::from_ref(it), &list, errors);
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
        errors.each(it, "resizePolicy", &path, |policy, path, errors| {
            let restart = &policy["restartPolicy"];
            if *restart == "RestartContainer" {
                let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                errors.push(FieldError::invalid(path.child("restartPolicy"), restart, detail));
            }
        });
    }
}

/// Refuses ports of the node other than those of the containers of a Pod that shares its network.
fn shared_ports(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if spec["hostNetwork"] != true {
        return;
    }
    errors.each(spec, "containers", path, |container, path, errors| {
        errors.each(container, "ports", path, |port, path, errors| {
            let (own, shared) = (&port["containerPort"], &port["hostPort"]);
            if !shared.is_null() && *shared != 0 && own != shared {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(path.child("hostPort"), shared, detail));
            }
        });
    });
}

/// Checks what happens when a container ends.
fn restart_rules(container: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const MAX_RULES: usize = 20;
    const MAX_CODES: usize = 255;
    let (policy, rules) = (&container["restartPolicy"], items(&container["restartPolicyRules"]));
    let field = path.child("restartPolicy");
    if policy.is_null() && !rules.is_empty() {
        let detail = "must specify restartPolicy when restart rules are used";
        errors.push(FieldError::required(field, detail));
    }
    errors.one_of(policy, &["Always", "Never", "OnFailure"], field);
    if rules.len() > MAX_RULES {
        errors.push(FieldError::too_many(path.child("restartPolicyRules"), rules.len(), MAX_RULES));
    }
    errors.each(container, "restartPolicyRules", path, |rule, path, errors| {
        known(rule, "action", &["Restart", "RestartAllContainers"], path, errors);
        let (codes, path) = (&rule["exitCodes"], path.child("exitCodes"));
        if codes.is_null() {
            errors.push(FieldError::required(path, "must be specified"));
            return;
        }
        known(codes, "operator", &["In", "NotIn"], &path, errors);
        let count = items(&codes["values"]).len();
        if count > MAX_CODES {
            errors.push(FieldError::too_many(path.child("values"), count, MAX_CODES));
        }
    });
}

/// Refuses a text that is not among the known ones, or absent.
fn known(object: &Value, field: &str, known: &[&str], path: &FieldPath<'_>, errors: &mut Errors) {
    let value = text(object, field);
    if !known.contains(&value) {
        errors.push(FieldError::not_supported(path.child(field), &value.into(), known));
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
    }
    let policies = ["File", "FallbackToLogsOnError"];
    errors.one_of(&container["terminationMessagePolicy"], &policies, path.child("terminationMessagePolicy"));
    ports(&container["ports"], &path.child("ports"), errors);
    environment(&container["env"], &path.child("env"), errors);
    sources_of_environment(&container["envFrom"], &path.child("envFrom"), errors);
    mounts(container, &path.child("volumeMounts"), volumes, errors);
    devices(container, &path.child("volumeDevices"), volumes, errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    errors.one_of(&container["imagePullPolicy"], &policies, path.child("imagePullPolicy"));
    let claims = &spec["resourceClaims"];
    pod_resources::container(&container["resources"], claims, &path.child("resources"), errors);
    resize_policy(spec, &container["resizePolicy"], &path.child("resizePolicy"), errors);
    let host_users = spec["hostUsers"] != false;
    security::container(&container["securityContext"], host_users, &path.child("securityContext"), errors);
}

/// Checks what a change of each resource does to a container.
fn resize_policy(spec: &Value, policies: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, policy) in items(policies).iter().enumerate() {
        let resource = &policy["resourceName"];
        if !seen.insert(text(policy, "resourceName")) {
            errors.push(FieldError::duplicate(path.index(index), resource));
        }
        errors.one_of(resource, &["cpu", "memory"], *path);
        let restart = &policy["restartPolicy"];
        errors.one_of(restart, &["NotRequired", "RestartContainer"], *path);
        if spec["restartPolicy"] == "Never" && *restart != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(path, restart, detail));
        }
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
        if from["fileKeyRef"].is_object() {
            file_key(&from["fileKeyRef"], &path.child("fileKeyRef"), errors);
        }
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

/// Checks the file of a volume that has the value of a variable.
fn file_key(reference: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let key = text(reference, "key");
    if !errors.required(reference, "key", path, "") && !is_variable(key) {
        errors.push(FieldError::invalid(path.child("key"), &key.into(), VARIABLE));
    }
    if !errors.required(reference, "volumeName", path, "") {
        errors.named(text(reference, "volumeName"), label, path.child("volumeName"));
    }
    if !errors.required(reference, "path", path, "") {
        without_parents(text(reference, "path"), &path.child("path"), errors);
    }
}

/// Checks the volumes with the files that have the values of variables.
fn file_volumes(spec: &Value, path: &FieldPath<'_>, volumes: &HashMap<&str, &Value>, errors: &mut Errors) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        errors.each(spec, list, path, |container, path, errors| {
            errors.each(container, "env", path, |variable, path, errors| {
                let reference = &variable["valueFrom"]["fileKeyRef"];
                if reference.is_null() {
                    return;
                }
                let name = text(reference, "volumeName");
                let from = path.child("valueFrom");
                let file = from.child("fileKeyRef");
                let field = file.child("volumeName");
                match volumes.get(name) {
                    None => errors.push(FieldError::not_found(field, &name.into())),
                    Some(volume) if volume["emptyDir"].is_null() => {
                        let detail = "referenced volume must be of type emptyDir";
                        errors.push(FieldError::invalid(field, &name.into(), detail));
                    }
                    Some(_) => {}
                }
            });
        });
    }
}

/// The texts of a field in all items of a list.
fn texts_of<'a>(object: &'a Value, list: &str, field: &str) -> HashSet<&'a str> {
    items(&object[list]).iter().map(|item| text(item, field)).collect()
}

fn mounts(container: &Value, list: &FieldPath<'_>, volumes: &HashMap<&str, &Value>, errors: &mut Errors) {
    let mut places = HashSet::new();
    let (device_names, device_places) =
        (texts_of(container, "volumeDevices", "name"), texts_of(container, "volumeDevices", "devicePath"));
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
        if device_names.contains(name) {
            let detail = "must not already exist in volumeDevices";
            errors.push(FieldError::invalid(path.child("name"), &name.into(), detail));
        }
        if device_places.contains(place) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.push(FieldError::invalid(path.child("mountPath"), &place.into(), detail));
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

/// Checks the volumes that a container uses as devices, without a file system.
fn devices(container: &Value, list: &FieldPath<'_>, volumes: &HashMap<&str, &Value>, errors: &mut Errors) {
    let (mut places, mut names) = (HashSet::new(), HashSet::new());
    let (mount_names, mount_places) =
        (texts_of(container, "volumeMounts", "name"), texts_of(container, "volumeMounts", "mountPath"));
    let refuse = |path: FieldPath<'_>, value: &str, detail: &str, errors: &mut Errors| {
        errors.push(FieldError::invalid(path, &value.into(), detail));
    };
    for (index, device) in items(&container["volumeDevices"]).iter().enumerate() {
        let path = list.index(index);
        let (name, place) = (text(device, "name"), text(device, "devicePath"));
        let (name_path, place_path) = (path.child("name"), path.child("devicePath"));
        errors.required(device, "name", &path, "");
        if names.contains(name) {
            refuse(name_path, name, "must be unique", errors);
        }
        let is_block =
            |volume: &Value| !volume["persistentVolumeClaim"].is_null() || !volume["ephemeral"].is_null();
        match volumes.get(name) {
            None => errors.push(FieldError::not_found(name_path, &name.into())),
            Some(volume) if !is_block(volume) => {
                let detail =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                refuse(name_path, name, detail, errors);
            }
            Some(_) => {}
        }
        errors.required(device, "devicePath", &path, "");
        if places.contains(place) {
            refuse(place_path, place, "must be unique", errors);
        }
        if place.split('/').any(|part| part == "..") {
            refuse(place_path, place, "can not contain backsteps ('..')", errors);
        } else {
            places.insert(place);
        }
        if mount_names.contains(name) {
            refuse(name_path, name, "must not already exist in volumeMounts", errors);
        }
        if mount_places.contains(place) {
            refuse(place_path, place, "must not already exist as a path in volumeMounts", errors);
        }
        if !name.is_empty() {
            names.insert(name);
        }
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
