//! ResourceSlices, in which drivers publish their devices: `pkg/apis/resource/validation`.
//!
//! kube-apiserver checks the rules that are declared in tags after those that are implemented in code. So does this module.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::devices::{MAX_ID, pool_name, qualified};
use super::errors::{Errors, items, members, text};
use super::placement::node_term;
use super::storage::{MAX_DRIVER_NAME, driver_name};
use kube_validation::{FieldError, FieldPath, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");
const MAX_DEVICES: usize = 128;
/// The most devices, if there is one with taints, counters or attributes that are lists.
const MAX_SPECIAL_DEVICES: usize = 64;
const MAX_ENTRIES: usize = 32;
const SELECTION: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];

/// Checks a slice. `old`: the one that is replaced, or null.
pub(super) fn check(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, path) = (&new["spec"], ROOT.child("spec"));
    driver_name(spec, "driver", &path, errors);
    pool(&spec["pool"], &path.child("pool"), errors);
    if !old.is_null() {
        let before = &old["spec"];
        let pool = path.child("pool");
        errors.immutable(&spec["pool"]["name"], &before["pool"]["name"], pool.child("name"));
        for field in ["driver", "nodeName"] {
            errors.immutable(&spec[field], &before[field], path.child(field));
        }
    }
    selection(spec, &path, errors);
    if !spec["sharedCounters"].is_null() && !spec["devices"].is_null() {
        let detail = "only one of `sharedCounters` or `devices` is allowed";
        errors.push(FieldError::invalid(path, &"".into(), detail));
    }
    devices(spec, &path, errors);
    declared(spec, &path, errors);
}

fn pool(pool: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    pool_name(pool, "name", path, errors);
    let number = |field: &str| pool[field].as_i64().unwrap_or_default();
    let (count, generation) = (number("resourceSliceCount"), number("generation"));
    if count <= 0 {
        let detail = "must be greater than zero";
        errors.push(FieldError::invalid(path.child("resourceSliceCount"), &count.into(), detail));
    }
    if generation < 0 {
        let detail = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(path.child("generation"), &generation.into(), detail));
    }
}

/// Checks for which nodes the devices of a slice are.
fn selection(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const ONE: &str =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let detail = "must be either unset or set to a non-empty string";
    let given = selected(spec, &SELECTION, detail, path, errors);
    let terms = &spec["nodeSelector"]["nodeSelectorTerms"];
    if spec["nodeSelector"].is_object() && items(terms).len() != 1 {
        let selector = path.child("nodeSelector");
        let detail = "must have exactly one node selector term";
        errors.push(FieldError::invalid(selector.child("nodeSelectorTerms"), terms, detail));
    }
    only_one(&given, ONE, ", but multiple fields are set", path, errors);
}

/// Checks the fields that select nodes. Returns those that are given, as errors show them.
fn selected(
    object: &Value,
    fields: &[&str],
    empty: &str,
    path: &FieldPath<'_>,
    errors: &mut Errors,
) -> Vec<String> {
    let mut given = Vec::new();
    for field in fields {
        let (value, field_path) = (&object[*field], path.child(field));
        match value {
            Value::Null => continue,
            Value::String(name) if name.is_empty() => {
                errors.push(FieldError::invalid(field_path, value, empty));
                continue;
            }
            Value::String(name) => errors.named(name, names::dns1123_subdomain, field_path),
            Value::Bool(false) => {
                let detail = "must be either unset or set to true";
                errors.push(FieldError::invalid(field_path, value, detail));
                continue;
            }
            Value::Object(_) => {
                let terms = "nodeSelectorTerms";
                if items(&value[terms]).is_empty() {
                    let detail = "must have at least one node selector term";
                    errors.push(FieldError::required(field_path.child(terms), detail));
                }
                errors.each(value, terms, &field_path, node_term);
            }
            _ => {}
        }
        given.push(format!("`{field}`"));
    }
    given
}

fn only_one(given: &[String], detail: &str, several: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    match given {
        [] => errors.push(FieldError::required(path, detail)),
        [_] => {}
        _ => {
            let shown = format!("{{{}}}", given.join(", "));
            errors.push(FieldError::invalid(path, &shown.into(), &format!("{detail}{several}")));
        }
    }
}

fn devices(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let all = items(&spec["devices"]);
    let is_special = |device: &Value| {
        let has = |field: &str| !items(&device[field]).is_empty();
        let has_list = |(_, attribute): (&str, &Value)| attribute.as_object().is_some_and(is_list);
        has("taints") || has("consumesCounters") || members(&device["attributes"]).any(has_list)
    };
    let max = if all.iter().any(is_special) { MAX_SPECIAL_DEVICES } else { MAX_DEVICES };
    if all.len() > max {
        errors.push(FieldError::too_many(path.child("devices"), all.len(), max));
        return;
    }
    let selects = spec["perDeviceNodeSelection"] == true;
    errors.each(spec, "devices", path, |device, path, errors| self::device(device, selects, path, errors));
    let mut known = HashSet::new();
    errors.each(spec, "devices", path, |device, path, errors| {
        let name = text(device, "name");
        if !known.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(path, &name.into()));
        }
    });
}

fn is_list(attribute: &Map<String, Value>) -> bool {
    attribute.keys().any(|kind| kind.ends_with('s'))
}

fn device(device: &Value, selects: bool, path: &FieldPath<'_>, errors: &mut Errors) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` \
                       is set to true in the ResourceSlice spec";
    errors.named(text(device, "name"), names::dns1123_label, path.child("name"));
    let (attributes, capacity) = (&device["attributes"], &device["capacity"]);
    let count = members(attributes).count() + members(capacity).count();
    if count > MAX_ENTRIES {
        let detail = format!("the total number of attributes and capacities must not exceed {MAX_ENTRIES}");
        errors.push(FieldError::invalid(path, &count.into(), &detail));
    }
    let list = path.child("attributes");
    for (name, attribute) in members(attributes) {
        qualified(name, &list, errors);
        self::attribute(attribute, &list.key(&shortened(name)), errors);
    }
    let list = path.child("capacity");
    for (name, amount) in members(capacity) {
        qualified(name, &list, errors);
        if device["allowMultipleAllocations"] != true && !amount["requestPolicy"].is_null() {
            let name = shortened(name);
            let path = list.key(&name);
            let detail = "allowMultipleAllocations must be true";
            errors.push(FieldError::forbidden(path.child("requestPolicy"), detail));
        }
    }
    errors.each(device, "taints", path, |taint, path, errors| {
        errors.named(text(taint, "key"), names::qualified_name, path.child("key"));
        errors.named(text(taint, "value"), names::label_value, path.child("value"));
    });
    let own = &SELECTION[..3];
    if selects {
        let given = selected(device, own, "must not be empty", path, errors);
        only_one(&given, ONE, "", path, errors);
    } else if own.iter().any(|field| !device[*field].is_null()) {
        let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true \
                      in the ResourceSlice spec";
        errors.push(FieldError::invalid(path, &Value::Null, detail));
    }
    binding(device, path, errors);
}

/// The name of an attribute, without its middle if it is too long.
fn shortened(name: &str) -> String {
    const MAX: usize = MAX_DRIVER_NAME + 1 + MAX_ID;
    const DOTS: &str = "...";
    let rest = MAX - DOTS.len();
    match (name.get(..rest.div_ceil(2)), name.get(name.len().saturating_sub(rest / 2)..)) {
        (Some(start), Some(end)) if name.len() > MAX => format!("{start}{DOTS}{end}"),
        _ => name.to_owned(),
    }
}

fn attribute(attribute: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const MAX: usize = 64;
    if text(attribute, "string").len() > MAX {
        errors.push(FieldError::too_long(path.child("string"), MAX));
    }
    let version = |version: &Value, path: FieldPath<'_>, errors: &mut Errors| {
        let text = version.as_str().unwrap_or_default();
        if !is_semantic_version(text) {
            let detail = "must be a string compatible with semver.org spec 2.0.0";
            errors.push(FieldError::invalid(path, version, detail));
        }
        if text.len() > MAX {
            errors.push(FieldError::too_long(path, MAX));
        }
    };
    if !attribute["version"].is_null() {
        version(&attribute["version"], path.child("version"), errors);
    }
    errors.each(attribute, "versions", path, |it, path, errors| version(it, *path, errors));
}

/// Whether a text is a version of semver.org: `1.2.3-alpha.1+build`.
fn is_semantic_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (text, release) = text.split_once('-').map_or((text, None), |(text, release)| (text, Some(release)));
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|c| c.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let is_identifier =
        |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let is_release =
        |part: &str| is_identifier(part) && (is_number(part) || !part.bytes().all(|c| c.is_ascii_digit()));
    let numbers: Vec<_> = text.split('.').collect();
    numbers.len() == 3
        && numbers.into_iter().all(is_number)
        && release.is_none_or(|release| release.split('.').all(is_release))
        && build.is_none_or(|build| build.split('.').all(is_identifier))
}

/// Checks the conditions that a device must meet before a Pod is bound to its node, and those that end the attempt.
fn binding(device: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const FIELDS: [&str; 2] = ["bindingConditions", "bindingFailureConditions"];
    for field in FIELDS {
        errors.each(device, field, path, |name, path, errors| {
            errors.named(name.as_str().unwrap_or_default(), names::qualified_name, *path);
        });
    }
    let conditions: HashSet<_> = items(&device[FIELDS[0]]).iter().map(Value::as_str).collect();
    for field in FIELDS {
        let mut known = HashSet::new();
        errors.each(device, field, path, |name, path, errors| {
            if !known.insert(name.clone()) {
                errors.push(FieldError::duplicate(path, name));
            }
            if field == FIELDS[1] && conditions.contains(&name.as_str()) {
                let detail = "bindingFailureConditions must not overlap with bindingConditions";
                errors.push(FieldError::invalid(path, name, detail));
            }
        });
    }
    let is_empty = |field: &str| items(&device[field]).is_empty();
    for (missing, given) in [(FIELDS[0], FIELDS[1]), (FIELDS[1], FIELDS[0])] {
        if is_empty(missing) && !is_empty(given) {
            let detail = format!("{missing} are required to use {given}");
            errors.push(FieldError::invalid(path.child(missing), &Value::Null, &detail));
        }
    }
}

/// Checks the rules of a slice that are declared in tags.
fn declared(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.each(spec, "devices", path, |device, path, errors| {
        let list = path.child("attributes");
        for (name, attribute) in members(&device["attributes"]) {
            one_value(attribute, &list.key(name), errors);
        }
        errors.each(device, "consumesCounters", path, |consumed, path, errors| {
            counters(consumed, "counterSet", path, errors);
        });
        errors.each(device, "taints", path, |taint, path, errors| {
            if !errors.required(taint, "effect", path, "") {
                let effects = ["NoExecute", "NoSchedule", "None"];
                errors.one_of(&taint["effect"], &effects, path.child("effect"));
            }
        });
    });
    errors.each(spec, "sharedCounters", path, |set, path, errors| counters(set, "name", path, errors));
}

fn one_value(attribute: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const KINDS: [&str; 8] = ["int", "bool", "string", "version", "ints", "bools", "strings", "versions"];
    let given: Vec<_> = KINDS.into_iter().filter(|kind| !attribute[*kind].is_null()).collect();
    let (shown, what) = match given[..] {
        [_] => return,
        [] => (String::new(), ""),
        _ => (format!("{{{}}}", given.join(", ")), "exactly "),
    };
    let kinds: Vec<_> = KINDS.into_iter().map(|kind| format!("`{kind}`")).collect();
    let detail = format!("must specify {what}one of: {}", kinds.join(", "));
    errors.push(FieldError::invalid(path, &shown.into(), &detail));
}

/// Checks a set of counters, and the field with its name.
fn counters(set: &Value, name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    if !errors.required(set, name, path, "") {
        errors.named(text(set, name), names::dns1123_label, path.child(name));
    }
    let field = path.child("counters");
    if members(&set["counters"]).next().is_none() {
        errors.push(FieldError::required(field, ""));
    }
    for (counter, _) in members(&set["counters"]) {
        errors.named(counter, names::dns1123_label, field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_attributes_are_semantic() {
        for good in ["1.2.3", "0.0.0", "1.2.3-alpha.1", "1.2.3-0a", "1.2.3+001", "1.2.3-a+b-c.d"] {
            assert!(is_semantic_version(good), "{good}");
        }
        for bad in ["1", "1.2", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3+", "v1.2.3"] {
            assert!(!is_semantic_version(bad), "{bad}");
        }
    }
}
