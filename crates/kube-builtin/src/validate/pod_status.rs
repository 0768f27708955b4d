//! The status of Pods, which a kubelet or a test in its place writes: `ValidatePodStatusUpdate`.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::errors::{Errors, items, text};
use crate::addresses::address;
use kube_validation::{FieldError, FieldPath, names};

const PATH: FieldPath<'static> = FieldPath::Root("status");
const GENERATION: &str = "must be a non-negative integer";
const RESTART_ALL: &str = "RestartAllContainers";

/// Checks a status that replaces that of `old`.
pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, status, before) = (&old["spec"], &new["status"], &old["status"]);
    conditions(status, errors);
    let node = text(status, "nominatedNodeName");
    if !node.is_empty() && node != text(before, "nominatedNodeName") {
        let path = PATH.child("nominatedNodeName");
        errors.named(node, names::dns1123_subdomain, path);
        if !text(spec, "nodeName").is_empty() {
            let detail = "may not be set on pods that are already bound to a node";
            errors.push(FieldError::forbidden(path, detail));
        }
    }
    let generation = &status["observedGeneration"];
    if generation.as_i64().is_some_and(|number| number < 0) {
        errors.push(FieldError::invalid(PATH.child("observedGeneration"), generation, GENERATION));
    }
    let class = |status: &Value| Value::from(text(status, "qosClass"));
    errors.immutable(&class(status), &class(before), PATH.child("qosClass"));
    states(status, before, spec, errors);
    claims(status, spec, errors);
    addresses("podIPs", status, before, errors);
    let first = &status["podIPs"][0]["ip"];
    if !first.is_null() && first != &status["podIP"] {
        let list = PATH.child("podIPs");
        errors.push(FieldError::invalid(list.index(0).child("ip"), first, "must be equal to `podIP`"));
    }
    let first = &status["hostIPs"][0]["ip"];
    if !first.is_null() && text(status, "hostIP") != *first {
        let list = PATH.child("hostIPs");
        errors.push(FieldError::invalid(list.index(0).child("ip"), first, "must be equal to `hostIP`"));
    }
    addresses("hostIPs", status, before, errors);
    for field in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        errors.each(status, field, &PATH, |container, path, errors| {
            let user = path.child("user");
            users(&container["user"]["linux"], &user.child("linux"), errors);
        });
    }
}

fn conditions(status: &Value, errors: &mut Errors) {
    errors.each(status, "conditions", &PATH, |condition, path, errors| {
        let generation = &condition["observedGeneration"];
        if generation.as_i64().is_some_and(|number| number < 0) {
            errors.push(FieldError::invalid(path.child("observedGeneration"), generation, GENERATION));
        }
        // kube-apiserver writes the field like this.
        errors.named(text(condition, "type"), names::qualified_name, path.child("Type"));
    });
}

/// Refuses that containers run again after their end, unless something restarts them.
fn states(status: &Value, before: &Value, spec: &Value, errors: &mut Errors) {
    let all = ["initContainers", "containers"].into_iter().flat_map(|list| items(&spec[list]));
    let restarts_all = |container: &Value| {
        items(&container["restartPolicyRules"]).iter().any(|rule| rule["action"] == RESTART_ALL)
    };
    let can_restart = all.clone().any(restarts_all);
    for (field, list) in [
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
        ("ephemeralContainerStatuses", ""),
    ] {
        if can_restart && !list.is_empty() {
            continue;
        }
        let (current, own) = (by_name(&status[field]), by_name(&spec[list]));
        errors.each(before, field, &PATH, |ended, path, errors| {
            let (name, terminated) = (text(ended, "name"), &ended["state"]["terminated"]);
            let Some(now) = current.get(name).filter(|_| !terminated.is_null()) else { return };
            let code = terminated["exitCode"].as_i64().unwrap_or_default();
            let own = own.get(name);
            let restarts = own.is_some_and(|container| restarts(container, spec, code));
            if now["state"]["terminated"].is_null() && !restarts {
                let detail = "may not be transitioned to non-terminated state";
                errors.push(FieldError::forbidden(path.child("state"), detail));
            }
        });
    }
}

/// The items of a list by their name, of several the first one.
fn by_name(list: &Value) -> HashMap<&str, &Value> {
    items(list).iter().rev().map(|item| (text(item, "name"), item)).collect()
}

/// Whether a container starts again after it has ended with an exit code.
fn restarts(container: &Value, spec: &Value, code: i64) -> bool {
    let own = container["restartPolicy"].as_str();
    if own.is_some() {
        let matches = |rule: &&Value| {
            let codes = &rule["exitCodes"];
            let is_in = items(&codes["values"]).iter().any(|value| *value == code);
            codes.is_object() && is_in == (text(codes, "operator") == "In")
        };
        let rule = items(&container["restartPolicyRules"]).iter().find(matches);
        if rule.is_some_and(|rule| ["Restart", RESTART_ALL].contains(&text(rule, "action"))) {
            return true;
        }
    }
    match own.unwrap_or_else(|| text(spec, "restartPolicy")) {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}

/// Checks the claims for devices that were made for a Pod.
fn claims(status: &Value, spec: &Value, errors: &mut Errors) {
    let mut known = HashSet::new();
    let claims = by_name(&spec["resourceClaims"]);
    errors.each(status, "resourceClaimStatuses", &PATH, |claim, path, errors| {
        let name = text(claim, "name");
        if !claims.contains_key(name) {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(FieldError::invalid(path.child("name"), &name.into(), detail));
        }
        if !known.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(path.child("name"), &name.into()));
        }
        if let Some(name) = claim["resourceClaimName"].as_str() {
            errors.named(name, names::dns1123_subdomain, path.child("resourceClaimName"));
        }
    });
}

/// Checks addresses, of which there is one of a family. Those from before may be malformed.
fn addresses(field: &str, status: &Value, before: &Value, errors: &mut Errors) {
    let (all, path) = (items(&status[field]), PATH.child(field));
    for (index, it) in all.iter().enumerate().filter(|(_, it)| !items(&before[field]).contains(it)) {
        errors.named(text(it, "ip"), address, path.index(index));
    }
    if all.len() < 2 {
        return;
    }
    let mut families = HashSet::new();
    for (index, it) in all.iter().enumerate() {
        match crate::addresses::sloppy(text(it, "ip")) {
            Some(address) => _ = families.insert(address.is_ipv4()),
            None => {
                let detail = format!(
                    "failed to check for dual stack with error:invalid IP[{index}]: {}",
                    text(it, "ip")
                );
                errors.push(FieldError::internal(path, &detail));
                families.clear();
                break;
            }
        }
    }
    if families.len() < 2 || all.len() > 2 {
        let shown: Value = all.iter().map(|it| json!({"IP": text(it, "ip")})).collect();
        let detail = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(path, &shown, detail));
    }
}

/// Checks as whom a container runs.
fn users(user: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let max = i64::from(i32::MAX);
    errors.within(&user["uid"], 0, i64::from(u32::MAX), path.child("uid"));
    errors.within(&user["gid"], 0, max, path.child("gid"));
    errors.each(user, "supplementalGroups", path, |group, path, errors| errors.within(group, 0, max, *path));
}
