//! `pods/resize`, which changes what the containers of a Pod may use of processors and memory: `podResizeStrategy` and
//! `ValidatePodResize` of kube-apiserver.

use kube_validation::{FieldError, FieldPath};
use serde_json::{Map, Value};

use super::metadata::copy;
use super::pod;

const LISTS: [&str; 2] = ["initContainers", "containers"];
const SPEC: FieldPath<'static> = FieldPath::Root("spec");

/// Keeps all of a Pod but its resources. What cannot be kept apart from other changes is refused later.
pub(super) fn prepare(new: &mut Value, old: &Value) {
    if LISTS.iter().any(|list| containers(new, list).len() != containers(old, list).len()) {
        return;
    }
    let mut kept = old.clone();
    for list in LISTS {
        let (given, before) = (containers(new, list), containers(old, list));
        if given.iter().zip(before).any(|(given, before)| given["name"] != before["name"]) {
            copy(&mut kept["spec"], &new["spec"], list);
            continue;
        }
        let resized = kept["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, given) in resized.zip(given) {
            copy(container, given, "resources");
            copy(container, given, "resizePolicy");
        }
    }
    if !new["spec"]["resources"].is_null() {
        copy(&mut kept["spec"], &new["spec"], "resources");
    }
    copy(&mut kept["metadata"], &new["metadata"], "managedFields");
    copy(&mut kept["metadata"], &new["metadata"], "resourceVersion");
    *new = kept;
}

/// The errors of a resized Pod, except those of its metadata.
pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let only = |why: &str| vec![FieldError::forbidden("", why)];
    if old["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some() {
        return only("static pods cannot be resized");
    }
    if old["spec"]["os"]["name"] == "windows" {
        return only("windows pods cannot be resized");
    }
    let mut errors = kube_builtin::validate::create("", "Pod", new);
    // Only a new Pod may not have them.
    errors.retain(|error| error.field != "spec.ephemeralContainers");
    if pod::qos_class(old) != pod::computed_qos_class(&new["spec"]) {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid(SPEC, &new["status"]["qosClass"], why));
    }
    if !can_be_resized(old) {
        errors.push(FieldError::forbidden(SPEC, "Pod running on node without support for resize"));
    }
    whole_pod(&new["spec"]["resources"], &old["spec"]["resources"], &mut errors);
    let others = order(new, old);
    if !others.is_empty() {
        errors.extend(others);
        return errors;
    }
    for list in LISTS {
        let path = SPEC.child(list);
        for (index, (new, old)) in containers(new, list).iter().zip(containers(old, list)).enumerate() {
            let container = path.index(index);
            removals(new, old, &container.child("resources"), "resource", &mut errors);
        }
    }
    let why = "only cpu and memory resources are mutable";
    let others = changed_otherwise(new, old, "containers");
    errors.extend(others.iter().map(|_| FieldError::forbidden(SPEC, why)));
    init_containers(new, old, &mut errors);
    errors
}

fn containers<'a>(pod: &'a Value, list: &str) -> &'a [Value] {
    pod["spec"][list].as_array().map_or(&[], Vec::as_slice)
}

/// Whether the node of a Pod reports resources. One that runs nothing may do so.
fn can_be_resized(pod: &Value) -> bool {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let mut running = statuses.filter(|status| status["state"]["running"].is_object());
    running.next().is_none_or(|status| status["resources"].is_object())
}

/// Checks the resources that a Pod has for itself rather than for its containers.
fn whole_pod(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let is_set = |resources: &Value| ["requests", "limits"].iter().any(|list| !is_empty(&resources[*list]));
    if !is_set(new) && !is_set(old) {
        return;
    }
    let of = |resources: &Value| serde_json::json!({"resources": resources});
    if old.is_object() {
        removals(&of(new), &of(old), &SPEC.child("resources"), "pod-level resource", errors);
    }
    if rest(new) != rest(old) {
        errors.push(FieldError::forbidden(SPEC, "only cpu and memory resources are mutable at pod-level"));
    }
}

/// Refuses to remove, add, rename or move containers.
fn order(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for list in ["containers", "initContainers"] {
        let (path, given, before) = (SPEC.child(list), containers(new, list), containers(old, list));
        if given.len() != before.len() {
            let why = format!("{list} may not be added or removed on resize");
            errors.push(FieldError::forbidden(path, &why));
            continue;
        }
        for (index, _) in given.iter().zip(before).enumerate().filter(|(_, (a, b))| a["name"] != b["name"]) {
            let why = format!("{list} may not be renamed or reordered on resize");
            errors.push(FieldError::forbidden(path.index(index).child("name"), &why));
        }
    }
    errors
}

/// Refuses to remove requests or limits.
fn removals(new: &Value, old: &Value, path: &FieldPath<'_>, what: &str, errors: &mut Vec<FieldError>) {
    for list in ["requests", "limits"] {
        let names = |it: &Value| it["resources"][list].as_object().cloned().unwrap_or_else(Map::new);
        let (given, before) = (names(new), names(old));
        if before.keys().any(|name| !given.contains_key(name)) {
            errors.push(FieldError::forbidden(path.child(list), &format!("{what} {list} cannot be removed")));
        }
    }
}

/// Refuses changes of init containers of anything else, and of those that cannot start again.
fn init_containers(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const LIST: &str = "initContainers";
    let path = SPEC.child(LIST);
    let others = changed_otherwise(new, old, LIST);
    for (index, (new, old)) in containers(new, LIST).iter().zip(containers(old, LIST)).enumerate() {
        if others.contains(&index) {
            let why = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.push(FieldError::forbidden(path.index(index), why));
        }
        let policies = new["resizePolicy"].as_array().into_iter().flatten();
        let restarts = policies.filter(|policy| policy["restartPolicy"] == "RestartContainer").count();
        let is_sidecar = new["restartPolicy"] == "Always";
        for _ in 0..if new != old && !is_sidecar { restarts } else { 0 } {
            let why =
                "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.push(FieldError::forbidden(path.index(index), why));
        }
    }
}

/// The containers of a list that differ in more than processors and memory.
fn changed_otherwise(new: &Value, old: &Value, list: &str) -> Vec<usize> {
    let fixed = |container: &Value| {
        let mut fixed = container.clone();
        fixed["resources"] = rest(&container["resources"]);
        fixed
    };
    let pairs = containers(new, list).iter().zip(containers(old, list)).enumerate();
    pairs.filter(|(_, (new, old))| fixed(new) != fixed(old)).map(|(index, _)| index).collect()
}

/// Resources other than processors and memory.
fn rest(resources: &Value) -> Value {
    let mut rest = resources.as_object().cloned().unwrap_or_default();
    for list in ["requests", "limits"] {
        if let Some(amounts) = rest.get_mut(list).and_then(Value::as_object_mut) {
            amounts.remove("cpu");
            amounts.remove("memory");
        }
    }
    // An empty list is none.
    rest.retain(|_, value| !is_empty(value));
    rest.into()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
