//! ConfigMaps, Secrets, Services, Namespaces and Leases.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::errors::{Errors, PORT, config_key, items, members, port_number, port_or_name, text};
use crate::addresses::{address, sloppy};
use kube_validation::{FieldError, FieldPath, names};

/// The maximum size of the data of a ConfigMap or Secret.
const MAX_DATA: usize = 1024 * 1024;
const ROOT: FieldPath<'static> = FieldPath::Root("");

pub(super) fn config_map(object: &Value, errors: &mut Errors) {
    let mut size = 0;
    let (data, binary) = (ROOT.child("data"), ROOT.child("binaryData"));
    for (key, value) in members(&object["data"]) {
        errors.named(key, config_key, data.key(key));
        if !object["binaryData"][key].is_null() {
            let detail = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(data.key(key), &key.into(), detail));
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in members(&object["binaryData"]) {
        errors.named(key, config_key, binary.key(key));
        size += decoded_len(value);
    }
    if size > MAX_DATA {
        errors.push(FieldError::too_long("", MAX_DATA));
    }
}

pub(super) fn secret(object: &Value, errors: &mut Errors) {
    let data = ROOT.child("data");
    let mut size = 0;
    for (key, value) in members(&object["data"]) {
        errors.named(key, config_key, data.key(key));
        size += decoded_len(value);
    }
    if size > MAX_DATA {
        errors.push(FieldError::too_long(data, MAX_DATA));
    }
    let has = |key: &str| object["data"][key].is_string();
    let mut need = |keys: &[&str]| {
        for key in keys.iter().filter(|key| !has(key)) {
            errors.push(FieldError::required(data.key(key), ""));
        }
    };
    match text(object, "type") {
        "kubernetes.io/dockercfg" => need(&[".dockercfg"]),
        "kubernetes.io/dockerconfigjson" => need(&[".dockerconfigjson"]),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => need(&["username", "password"]),
        "kubernetes.io/ssh-auth" if text(&object["data"], "ssh-privatekey").is_empty() => {
            errors.push(FieldError::required(data.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            if text(&object["metadata"]["annotations"], name).is_empty() {
                let annotations = FieldPath::Root("metadata.annotations");
                errors.push(FieldError::required(annotations.key(name), ""));
            }
        }
        _ => {}
    }
}

/// Checks changes to an immutable ConfigMap or Secret, and to a Secret's type.
pub(super) fn update_data(kind: &str, new: &Value, old: &Value, errors: &mut Errors) {
    if kind == "Secret" {
        errors.immutable(&new["type"], &old["type"], ROOT.child("type"));
    }
    if old["immutable"] != true {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        errors.push(FieldError::forbidden("immutable", detail));
    }
    for field in ["data", "binaryData"] {
        if new[field] != old[field] {
            errors.push(FieldError::forbidden(field, detail));
        }
    }
}

pub(super) fn namespace(object: &Value, errors: &mut Errors) {
    let spec = ROOT.child("spec");
    let path = spec.child("finalizers");
    for finalizer in items(&object["spec"]["finalizers"]) {
        let name = finalizer.as_str().unwrap_or_default();
        errors.named(name, names::qualified_name, path);
        if !name.contains('/') && name != "kubernetes" {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path, finalizer, detail));
        }
    }
}

/// Refuses a phase that does not tell whether the Namespace is being deleted.
pub(super) fn namespace_status(object: &Value, errors: &mut Errors) {
    let (phase, is_deleted) =
        (text(&object["status"], "phase"), !object["metadata"]["deletionTimestamp"].is_null());
    let (expected, is) = if is_deleted { ("Terminating", "is not") } else { ("Active", "is") };
    if phase != expected {
        let detail = format!("may only be '{expected}' if `deletionTimestamp` {is} empty");
        errors.push(FieldError::invalid("status.Phase", &phase.into(), &detail));
    }
}

/// Checks where a Service is reached from outside. Addresses from before may be malformed.
pub(super) fn service_status(new: &Value, old: &Value, errors: &mut Errors) {
    let balancer = FieldPath::Root("status.loadBalancer");
    let points = items(&new["status"]["loadBalancer"]["ingress"]);
    let path = balancer.child("ingress");
    if text(&new["spec"], "type") != "LoadBalancer" && !points.is_empty() {
        let detail = "may only be used when `spec.type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden(path, detail));
        return;
    }
    let before = items(&old["status"]["loadBalancer"]["ingress"]);
    for (index, point) in points.iter().enumerate() {
        let path = path.index(index);
        let (ip, host) = (text(point, "ip"), text(point, "hostname"));
        if !ip.is_empty() && !before.iter().any(|it| it["ip"] == ip) {
            errors.named(ip, address, path.child("ip"));
        }
        let mode = path.child("ipMode");
        match (point["ipMode"].is_null(), ip.is_empty()) {
            (true, false) => errors.push(FieldError::required(mode, "must be specified when `ip` is set")),
            (false, true) => {
                errors.push(FieldError::forbidden(mode, "may not be specified when `ip` is not set"));
            }
            (true, true) => {}
            (false, false) => errors.one_of(&point["ipMode"], &["Proxy", "VIP"], mode),
        }
        if !host.is_empty() {
            errors.named(host, names::dns1123_subdomain, path.child("hostname"));
            not_an_address(host, path.child("hostname"), errors);
        }
    }
}

pub(super) fn not_an_address(host: &str, path: FieldPath<'_>, errors: &mut Errors) {
    if sloppy(host).is_some() {
        errors.push(FieldError::invalid(path, &host.into(), "must be a DNS name, not an IP address"));
    }
}

pub(super) fn lease(object: &Value, errors: &mut Errors) {
    let (spec, path) = (&object["spec"], ROOT.child("spec"));
    if spec["leaseDurationSeconds"].as_i64().is_some_and(|seconds| seconds <= 0) {
        let value = &spec["leaseDurationSeconds"];
        errors.push(FieldError::invalid(path.child("leaseDurationSeconds"), value, "must be greater than 0"));
    }
    errors.not_negative(spec, "leaseTransitions", &path);
}

pub(super) fn update_service(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, before) = (&new["spec"], &old["spec"]);
    let addressed =
        |spec: &Value| text(spec, "type") != "ExternalName" && !text(spec, "clusterIP").is_empty();
    if addressed(spec) && addressed(before) && spec["clusterIP"] != before["clusterIP"] {
        let detail = "may not change once set";
        errors.push(FieldError::invalid("spec.clusterIPs[0]", &spec["clusterIPs"], detail));
    }
}

pub(super) fn service(object: &Value, errors: &mut Errors) {
    let (spec, path) = (&object["spec"], ROOT.child("spec"));
    let kind = text(spec, "type");
    let ports = items(&spec["ports"]);
    let headless = text(spec, "clusterIP") == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(path.child("ports"), ""));
    }
    match kind {
        "LoadBalancer" if headless => {
            let detail = "may not be set to 'None' for LoadBalancer services";
            errors.push(FieldError::invalid(path.child("clusterIPs[0]"), &spec["clusterIP"], detail));
        }
        "NodePort" if headless => {
            let detail = "may not be set to 'None' for NodePort services";
            errors.push(FieldError::invalid(path.child("clusterIPs[0]"), &spec["clusterIP"], detail));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                let given = !items(&spec[field]).is_empty() || spec[field].is_string();
                if given || field == "clusterIPs" && !text(spec, "clusterIP").is_empty() {
                    let detail = "may not be set for ExternalName services";
                    errors.push(FieldError::forbidden(path.child(field), detail));
                }
            }
            let name = text(spec, "externalName").trim_end_matches('.');
            if name.is_empty() {
                errors.push(FieldError::required(path.child("externalName"), ""));
            } else {
                errors.named(name, names::dns1123_subdomain, path.child("externalName"));
            }
        }
        _ => {}
    }
    service_ports(ports, &path, errors);
    errors.labels(&spec["selector"], path.child("selector"));
    errors.one_of(&spec["sessionAffinity"], &["ClientIP", "None"], path.child("sessionAffinity"));
    if text(spec, "sessionAffinity") == "ClientIP" {
        let config = path.child("sessionAffinityConfig");
        let client = config.child("clientIP");
        let seconds = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
        if seconds.as_i64().is_some_and(|seconds| !(1..=86400).contains(&seconds)) {
            let detail = "must be greater than 0 and less than 86400";
            errors.push(FieldError::invalid(client.child("timeoutSeconds"), seconds, detail));
        }
    }
    if kind != "ExternalName" {
        addresses(spec, &path, errors);
    }
    let external = path.child("externalIPs");
    for (index, value) in items(&spec["externalIPs"]).iter().enumerate() {
        errors.named(value.as_str().unwrap_or_default(), address, external.index(index));
    }
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    errors.one_of(&spec["type"], &kinds, path.child("type"));
    let list = path.child("ports");
    if kind == "ClusterIP" {
        for (index, _) in
            ports.iter().enumerate().filter(|(_, port)| port["nodePort"].as_i64().is_some_and(|it| it != 0))
        {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(list.index(index).child("nodePort"), detail));
        }
    }
    duplicates(ports, &list, errors);
    if kind != "LoadBalancer" {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        if !items(&spec["loadBalancerSourceRanges"]).is_empty() {
            errors.push(FieldError::forbidden(path.child("loadBalancerSourceRanges"), detail));
        }
        if !spec["allocateLoadBalancerNodePorts"].is_null() {
            errors.push(FieldError::forbidden(path.child("allocateLoadBalancerNodePorts"), detail));
        }
    }
    let policy = &spec["externalTrafficPolicy"];
    let external_ips = !items(&spec["externalIPs"]).is_empty();
    if matches!(kind, "LoadBalancer" | "NodePort") || kind == "ClusterIP" && external_ips {
        errors.one_of(policy, &["Cluster", "Local"], path.child("externalTrafficPolicy"));
    } else if !text(spec, "externalTrafficPolicy").is_empty() {
        let detail = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(path.child("externalTrafficPolicy"), policy, detail));
    }
    errors.one_of(&spec["internalTrafficPolicy"], &["Cluster", "Local"], path.child("internalTrafficPolicy"));
}

fn service_ports(ports: &[Value], spec: &FieldPath<'_>, errors: &mut Errors) {
    let list = spec.child("ports");
    let mut names = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = list.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            errors.named(name, names::dns1123_label, path.child("name"));
            if !names.insert(name) {
                errors.push(FieldError::duplicate(path.child("name"), &name.into()));
            }
        } else if ports.len() > 1 {
            errors.push(FieldError::required(path.child("name"), ""));
        }
        if !port_number(&port["port"]) {
            errors.push(FieldError::invalid(path.child("port"), &port["port"], PORT));
        }
        errors.one_of(&port["protocol"], &["SCTP", "TCP", "UDP"], path.child("protocol"));
        port_or_name(&port["targetPort"], path.child("targetPort"), errors);
        let protocol = text(port, "appProtocol");
        if !protocol.is_empty() {
            errors.named(protocol, names::qualified_name, path.child("appProtocol"));
        }
    }
}

/// Reports duplicate ports and node ports.
fn duplicates(ports: &[Value], list: &FieldPath<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let number = port["nodePort"].as_i64().unwrap_or_default();
        if number != 0 && !seen.insert((text(port, "protocol"), number)) {
            errors.push(FieldError::duplicate(list.index(index).child("nodePort"), &number.into()));
        }
    }
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let (protocol, number) = (text(port, "protocol"), port["port"].as_i64().unwrap_or_default());
        if !seen.insert((protocol, number)) {
            let shown = format!(
                r#"{{"Name":"","Protocol":{},"AppProtocol":null,"Port":{number},"TargetPort":0,"NodePort":0}}"#,
                json!(protocol)
            );
            errors.push(FieldError::duplicate_shown(list.index(index), &shown));
        }
    }
}

fn addresses(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (first, field) = (text(spec, "clusterIP"), path.child("clusterIPs"));
    let asked = items(&spec["clusterIPs"]);
    if !asked.is_empty() {
        let detail = match first {
            "" => "must be empty when `clusterIP` is not specified",
            first if asked.first().is_some_and(|it| it == first) => "",
            _ => "first value must match `clusterIP`",
        };
        if !detail.is_empty() {
            errors.push(FieldError::invalid(field, &spec["clusterIPs"], detail));
        }
    }
    let families = path.child("ipFamilies");
    for (index, family) in items(&spec["ipFamilies"]).iter().enumerate() {
        errors.one_of(family, &["IPv4", "IPv6"], families.index(index));
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    errors.one_of(&spec["ipFamilyPolicy"], &policies, path.child("ipFamilyPolicy"));
    let all = if asked.is_empty() && !first.is_empty() { vec![first] } else { Vec::new() };
    let all = all.into_iter().chain(asked.iter().filter_map(Value::as_str));
    for (index, value) in all.enumerate().filter(|(index, value)| *index > 0 || *value != "None") {
        errors.named(value, address, field.index(index));
    }
}

/// Returns the number of bytes that a base64 value decodes to.
fn decoded_len(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default().trim_end_matches('=');
    text.len() * 3 / 4
}
