//! Ingresses, IngressClasses and NetworkPolicies: `pkg/apis/networking/validation`.

use serde_json::Value;

use super::core::not_an_address;
use super::errors::{Errors, PORT, items, port_name, port_number, text};
use crate::addresses::{address, network, sloppy_network};
use kube_validation::{FieldError, FieldPath, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");

pub(super) fn create(kind: &str, object: &Value, errors: &mut Errors) {
    check(kind, object, errors);
    let annotation = &object["metadata"]["annotations"]["kubernetes.io/ingress.class"];
    let class = &object["spec"]["ingressClassName"];
    if kind == "Ingress" && annotation.is_string() && class.is_string() && annotation != class {
        let detail = "must match `ingressClassName` when both are specified";
        errors.push(FieldError::invalid("annotations.kubernetes.io/ingress.class", annotation, detail));
    }
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, errors: &mut Errors) {
    if kind == "IngressClass" {
        let path = ROOT.child("spec");
        let controller = |object: &Value| Value::from(text(&object["spec"], "controller"));
        errors.immutable(&controller(new), &controller(old), path.child("controller"));
    }
    check(kind, new, errors);
}

fn check(kind: &str, object: &Value, errors: &mut Errors) {
    let (spec, path) = (&object["spec"], ROOT.child("spec"));
    match kind {
        "Ingress" => ingress(spec, &path, errors),
        "IngressClass" => class(spec, &path, errors),
        "NetworkPolicy" => policy(spec, &path, errors),
        _ => {}
    }
}

/// Checks where an Ingress is reached.
pub(super) fn status(object: &Value, errors: &mut Errors) {
    let status = ROOT.child("status");
    let path = status.child("loadBalancer");
    errors.each(&object["status"]["loadBalancer"], "ingress", &path, |point, path, errors| {
        let (ip, host) = (text(point, "ip"), text(point, "hostname"));
        if !ip.is_empty() {
            errors.named(ip, address, path.child("ip"));
        }
        if !host.is_empty() {
            errors.named(host, names::dns1123_subdomain, path.child("hostname"));
            not_an_address(host, path.child("hostname"), errors);
        }
    });
}

fn ingress(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let default = &spec["defaultBackend"];
    if items(&spec["rules"]).is_empty() && default.is_null() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(path, &spec["rules"], detail));
    }
    if !default.is_null() {
        backend(default, &path.child("defaultBackend"), errors);
    }
    errors.each(spec, "rules", path, ingress_rule);
    errors.each(spec, "tls", path, |tls, path, errors| {
        errors.each(tls, "hosts", path, |host, path, errors| {
            host_name(host.as_str().unwrap_or_default(), path, errors);
        });
        let secret = text(tls, "secretName");
        if !secret.is_empty() {
            errors.named(secret, names::dns1123_subdomain, path.child("secretName"));
        }
    });
    if let Some(class) = spec["ingressClassName"].as_str() {
        errors.named(class, names::dns1123_subdomain, path.child("ingressClassName"));
    }
}

fn ingress_rule(rule: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (host, field) = (text(rule, "host"), path.child("host"));
    if !host.is_empty() {
        not_an_address(host, field, errors);
        host_name(host, &field, errors);
    }
    if rule["http"].is_null() {
        return;
    }
    let http = path.child("http");
    if items(&rule["http"]["paths"]).is_empty() {
        errors.push(FieldError::required(http.child("paths"), ""));
    }
    errors.each(&rule["http"], "paths", &http, ingress_path);
}

fn host_name(host: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    let check = if host.contains('*') { wildcard_subdomain } else { names::dns1123_subdomain };
    errors.named(host, check, *path);
}

fn wildcard_subdomain(host: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if host.len() > 253 {
        wrong.push("must be no more than 253 bytes".to_owned());
    }
    let below = host
        .strip_prefix("*.")
        .filter(|below| below.len() > 253 || names::dns1123_subdomain(below).is_empty());
    if below.is_none() {
        wrong.push(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
             lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', \
             regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    wrong
}

fn ingress_path(item: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if item["pathType"].is_null() {
        errors.push(FieldError::required(path.child("pathType"), "pathType must be specified"));
        return;
    }
    let (value, kind) = (text(item, "path"), text(item, "pathType"));
    let mut wrong = |detail: &str| {
        errors.push(FieldError::invalid(path.child("path"), &value.into(), detail));
    };
    match kind {
        "Exact" | "Prefix" => {
            if !value.starts_with('/') {
                wrong("must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| value.contains(**part)) {
                wrong(&format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."].iter().filter(|end| value.ends_with(**end)) {
                wrong(&format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" if !value.is_empty() && !value.starts_with('/') => {
            wrong("must be an absolute path");
        }
        "ImplementationSpecific" => {}
        _ => {
            let supported = ["Exact", "ImplementationSpecific", "Prefix"];
            errors.one_of(&item["pathType"], &supported, path.child("pathType"));
        }
    }
    backend(&item["backend"], &path.child("backend"), errors);
}

fn backend(backend: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let mut wrong = |detail: &str| errors.push(FieldError::invalid(path, &"".into(), detail));
    match (backend["resource"].is_null(), backend["service"].is_null()) {
        (false, false) => wrong("cannot set both resource and service backends"),
        (false, true) => reference(&backend["resource"], &path.child("resource"), errors),
        (true, false) => service_backend(&backend["service"], path, errors),
        (true, true) => wrong("resource or service backend is required"),
    }
}

fn service_backend(service: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let field = path.child("service");
    if !errors.required(service, "name", &field, "") {
        errors.named(text(service, "name"), names::dns1123_label, field.child("name"));
    }
    let port_field = field.child("port");
    let (port, name) = (&service["port"], text(&service["port"], "name"));
    let number = &port["number"];
    let has_number = number.as_i64().is_some_and(|number| number != 0);
    match (name.is_empty(), has_number) {
        (false, true) => {
            errors.push(FieldError::invalid(path, &"".into(), "cannot set both port name & port number"));
        }
        (false, false) => errors.named(name, port_name, port_field.child("name")),
        (true, true) if !port_number(number) => {
            errors.push(FieldError::invalid(port_field.child("number"), number, PORT));
        }
        (true, true) => {}
        (true, false) => errors.push(FieldError::required(path, "port name or number is required")),
    }
}

/// Checks a reference to an object of any kind.
fn reference(reference: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if let Some(group) = reference["apiGroup"].as_str() {
        errors.named(group, names::dns1123_subdomain, path.child("apiGroup"));
    }
    for field in ["kind", "name"] {
        if !errors.required(reference, field, path, "") {
            errors.named(text(reference, field), names::path_segment, path.child(field));
        }
    }
}

fn class(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let controller = path.child("controller");
    if text(spec, "controller").len() > 250 {
        errors.push(FieldError::too_long(controller, 250));
    }
    domain_prefixed_path(text(spec, "controller"), &controller, errors);
    if spec["parameters"].is_object() {
        class_parameters(&spec["parameters"], &path.child("parameters"), errors);
    }
}

fn domain_prefixed_path(value: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let Some((host, rest)) =
        value.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty())
    else {
        let detail = r#"must be a domain-prefixed path (such as "acme.io/foo")"#;
        errors.push(FieldError::invalid(path, &value.into(), detail));
        return;
    };
    errors.named(host, names::dns1123_subdomain, *path);
    if !rest.bytes().all(|it| it.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&it)) {
        let detail = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')";
        errors.push(FieldError::invalid(path, &rest.into(), detail));
    }
}

fn class_parameters(parameters: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if let Some(group) = parameters["apiGroup"].as_str() {
        errors.named(group, names::dns1123_subdomain, path.child("apiGroup"));
    }
    for field in ["kind", "name"] {
        errors.named(text(parameters, field), names::path_segment, path.child(field));
    }
    let (namespace, field) = (&parameters["namespace"], path.child("namespace"));
    match (text(parameters, "scope"), namespace.as_str()) {
        ("Namespace", None) => {
            errors.push(FieldError::required(field, "`parameters.scope` is set to 'Namespace'"));
        }
        ("Namespace", Some(namespace)) => errors.named(namespace, names::dns1123_label, field),
        ("Cluster", Some(_)) => {
            errors.push(FieldError::forbidden(field, "`parameters.scope` is set to 'Cluster'"));
        }
        ("Cluster", None) => {}
        _ => errors.one_of(&parameters["scope"], &["Cluster", "Namespace"], path.child("scope")),
    }
    // kube-apiserver checks these rules, which are declared in tags, after those that are implemented in code.
    for field in ["kind", "name"] {
        errors.required(parameters, field, path, "");
    }
}

/// The lists of a NetworkPolicy's rules, and the lists of peers in them.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

fn policy(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.selector(&spec["podSelector"], path.child("podSelector"));
    for (rules, peers) in DIRECTIONS {
        errors.each(spec, rules, path, |rule, path, errors| {
            errors.each(rule, "ports", path, policy_port);
            errors.each(rule, peers, path, peer);
        });
    }
    let types = path.child("policyTypes");
    if items(&spec["policyTypes"]).len() > 2 {
        let detail = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(types, &spec["policyTypes"], detail));
    } else {
        errors.each(spec, "policyTypes", path, |kind, path, errors| {
            errors.one_of(kind, &["Ingress", "Egress"], *path);
        });
    }
    // kube-apiserver checks this rule, which is declared in a tag, after those that are implemented in code.
    for (rules, peers) in DIRECTIONS {
        errors.each(spec, rules, path, |rule, path, errors| {
            errors.each(rule, peers, path, |peer, path, errors| {
                if peer["ipBlock"].is_object() {
                    errors.required(&peer["ipBlock"], "cidr", &path.child("ipBlock"), "");
                }
            });
        });
    }
}

fn policy_port(item: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.one_of(&item["protocol"], &["TCP", "UDP", "SCTP"], path.child("protocol"));
    let (port, end) = (&item["port"], &item["endPort"]);
    let (port_field, end_field) = (path.child("port"), path.child("endPort"));
    if !port.is_number() && !end.is_null() {
        let why = if port.is_string() { "is non-numeric" } else { "is not specified" };
        let detail = format!("may not be specified when `port` {why}");
        errors.push(FieldError::invalid(end_field, end, &detail));
    }
    match port {
        Value::String(name) => errors.named(name, port_name, port_field),
        Value::Number(_) => {
            if !port_number(port) {
                errors.push(FieldError::invalid(port_field, port, PORT));
            }
            if end.as_i64().is_some_and(|end| port.as_i64().is_some_and(|port| end < port)) {
                let detail = "must be greater than or equal to `port`";
                errors.push(FieldError::invalid(end_field, end, detail));
            }
            if !end.is_null() && !port_number(end) {
                errors.push(FieldError::invalid(end_field, end, PORT));
            }
        }
        _ => {}
    }
}

fn peer(peer: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let selectors = ["podSelector", "namespaceSelector"];
    for field in selectors {
        errors.selector(&peer[field], path.child(field));
    }
    let block = &peer["ipBlock"];
    if block.is_object() {
        ip_block(block, &path.child("ipBlock"), errors);
    }
    let has_selector = selectors.iter().any(|field| peer[*field].is_object());
    match (has_selector, block.is_object()) {
        (false, false) => errors.push(FieldError::required(path, "must specify a peer")),
        (true, true) => {
            let detail = "may not specify both ipBlock and another peer";
            errors.push(FieldError::forbidden(path, detail));
        }
        _ => {}
    }
}

fn ip_block(block: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let cidr = text(block, "cidr");
    if cidr.is_empty() {
        return;
    }
    errors.named(cidr, network, path.child("cidr"));
    let Some(whole) = sloppy_network(cidr) else { return };
    errors.each(block, "except", path, |item, path, errors| {
        let except = item.as_str().unwrap_or_default();
        errors.named(except, network, *path);
        let outside = |part: kube_validation::go::ip::Cidr| {
            !whole.contains(part.masked().address) || whole.length >= part.length
        };
        if sloppy_network(except).is_some_and(outside) {
            errors.push(FieldError::invalid(path, item, "must be a strict subset of `cidr`"));
        }
    });
}
