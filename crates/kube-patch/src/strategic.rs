//! Strategic merge patch: a merge patch with directives, in which lists can merge by the keys of their items.
//!
//! It is applied as in `k8s.io/apimachinery/pkg/util/strategicpatch` (with its `MergeParallelList` and
//! `IgnoreUnmatchedNulls`). Lists and maps merge according to the type's `patchStrategy` and `patchMergeKey`.

use std::fmt::Write as _;

use kube_validation::go::{json_type, unstructured_type};
use serde_json::{Map, Value};

use crate::error::PatchError;
use crate::types::{MemberStrategy, ObjectType, Type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Applies a strategic merge patch: a merge patch whose lists merge according to their `patchStrategy` and `patchMergeKey`,
/// with the directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList` and `$setElementOrder`.
///
/// kube-apiserver accepts such patches for built-in kinds only.
///
/// # Errors
/// Fails with [`PatchError::BadRequest`] if the patch is malformed, and with [`PatchError::Unprocessable`] or
/// [`PatchError::Internal`] if it does not fit the object.
pub fn strategic_merge_patch(
    object: &Value,
    patch: &Value,
    kind: ObjectType<'_>,
) -> Result<Value, PatchError> {
    let patch = match patch {
        Value::Object(patch) => patch.clone(),
        Value::Null => Map::new(),
        other => {
            return Err(PatchError::BadRequest(format!(
                "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                json_type(other)
            )));
        }
    };
    let object = object.as_object().cloned().unwrap_or_default();
    merge_map(object, patch, Some(kind.root)).map(Value::Object)
}

fn strategy<'a>(kind: Option<Type<'a>>, name: &str) -> MemberStrategy<'a> {
    kind.map(|kind| kind.member_strategy(name)).unwrap_or_default()
}

fn merge_map(
    mut object: Map<String, Value>,
    mut patch: Map<String, Value>,
    kind: Option<Type<'_>>,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(DIRECTIVE).map(Value::as_str) {
        None => {}
        Some(Some("replace")) => {
            patch.remove(DIRECTIVE);
            return Ok(patch);
        }
        Some(Some("delete")) => return Ok(Map::new()),
        Some(_) => return Err(bad_patch_type(&patch)),
    }
    retain_keys(&mut object, &mut patch)?;
    set_element_orders(&mut object, &mut patch, kind)?;
    for (name, value) in patch {
        let (name, deletes) = match name.strip_prefix("$deleteFromPrimitiveList") {
            None => (name, false),
            Some(_) => match name.strip_prefix(DELETE_FROM) {
                Some(field) => (field.to_owned(), true),
                None => {
                    return Err(PatchError::BadRequest("invalid patch format of primitive list".to_owned()));
                }
            },
        };
        if value.is_null() {
            object.remove(&name);
            continue;
        }
        let strategy = strategy(kind, &name);
        match (object.remove(&name), value) {
            (Some(Value::Object(current)), Value::Object(patch)) => {
                let merged =
                    if strategy.patch.replace { patch } else { merge_map(current, patch, strategy.of)? };
                object.insert(name, Value::Object(merged));
            }
            (Some(Value::Array(current)), Value::Array(patch)) => {
                object.insert(name, Value::Array(merge_list(current, patch, strategy, deletes)?));
            }
            (current, _) if deletes => object.extend(current.map(|current| (name, current))),
            (_, mut value) => {
                discard_nulls(&mut value);
                object.extend(without_directives(value).map(|value| (name, value)));
            }
        }
    }
    Ok(object)
}

/// Applies `$retainKeys`: removes the members that it does not list.
fn retain_keys(object: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let invalid = || PatchError::BadRequest("invalid patch format of retainKeys".to_owned());
    let keys: Vec<&str> = keys.as_array().ok_or_else(invalid)?.iter().filter_map(Value::as_str).collect();
    let unlisted = patch.iter().any(|(name, value)| {
        let directive = name.starts_with("$deleteFromPrimitiveList") || name.starts_with("$setElementOrder");
        !value.is_null() && !directive && !keys.contains(&name.as_str())
    });
    if unlisted {
        return Err(invalid());
    }
    object.retain(|name, _| keys.contains(&name.as_str()));
    Ok(())
}

/// Applies `$setElementOrder/x`: merges the list `x`, and orders it.
fn set_element_orders(
    object: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    kind: Option<Type<'_>>,
) -> Result<(), PatchError> {
    let directives: Vec<String> =
        patch.keys().filter(|name| name.starts_with("$setElementOrder")).cloned().collect();
    for directive in directives {
        let invalid = || PatchError::BadRequest("invalid patch format of setElementOrder list".to_owned());
        let order = match patch.remove(&directive) {
            Some(Value::Array(order)) => order,
            Some(other) => return Err(wrong_type("[]interface {}", &other)),
            None => continue,
        };
        let name = directive.strip_prefix(SET_ORDER).ok_or_else(invalid)?;
        let list = |value: Option<Value>| match value {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(other) => Err(wrong_type("[]interface {}", &other)),
        };
        let current = list(object.get(name).cloned())?;
        let changes = list(patch.remove(name))?;
        let strategy = strategy(kind, name);
        check_order(changes.as_deref().unwrap_or_default(), &order, strategy.merge_key)?;
        let merged = match (current.clone(), changes.clone()) {
            (None, None) => continue,
            (Some(current), None) => current,
            (None, Some(changes)) => changes.into_iter().filter_map(without_directives).collect(),
            (Some(current), Some(changes)) => merge_list(current, changes, strategy, false)?,
        };
        let current = current.unwrap_or_default();
        element_type(&current, changes.as_deref().unwrap_or_default())?;
        object.insert(name.to_owned(), Value::Array(reorder(merged, &order, &current, strategy.merge_key)?));
    }
    Ok(())
}

/// Checks that the items of a patch are in the order that the patch itself specifies.
fn check_order(changes: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if changes.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in changes.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let identity = identity(item, key)?;
        let mut found = false;
        for ordered in rest.by_ref() {
            if self::identity(ordered, key)? == identity {
                found = true;
                break;
            }
        }
        if !found {
            return Err(PatchError::Internal(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                go_list(changes),
                go_list(order)
            )));
        }
    }
    Ok(())
}

fn merge_list(
    current: Vec<Value>,
    patch: Vec<Value>,
    strategy: MemberStrategy<'_>,
    deletes: bool,
) -> Result<Vec<Value>, PatchError> {
    if !strategy.patch.merge && !deletes {
        return Ok(patch);
    }
    if current.is_empty() && patch.is_empty() {
        return Ok(current);
    }
    if element_type(&current, &patch)? != "map" {
        if deletes {
            return Ok(current.into_iter().filter(|item| !patch.contains(item)).collect());
        }
        let mut merged: Vec<Value> = Vec::with_capacity(current.len() + patch.len());
        for item in current.iter().chain(&patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return reorder(merged, &patch, &current, None);
    }
    let Some(key) = strategy.merge_key else {
        return Err(PatchError::Internal("cannot merge lists without merge key for struct".to_owned()));
    };

    let (mut current, mut changes, mut replaces) = (current, Vec::new(), false);
    for item in patch {
        match item.get(DIRECTIVE).map(Value::as_str) {
            None => changes.push(item),
            Some(Some("delete")) => {
                let identity = identity(&item, Some(key))?;
                current.retain(|item| item.get(key) != Some(identity));
            }
            Some(Some("replace")) => replaces = true,
            Some(Some("merge")) => {
                return Err(PatchError::Internal(
                    "merging lists cannot yet be specified in the patch".to_owned(),
                ));
            }
            Some(_) => return Err(item.as_object().map_or(PatchError::Unprocessable, bad_patch_type)),
        }
    }
    if replaces {
        (current, changes) = (changes, Vec::new());
    }
    let order = changes.clone();
    let before = current.clone();
    for item in changes {
        let identity = identity(&item, Some(key))?.clone();
        match current.iter_mut().find(|candidate| candidate.get(key) == Some(&identity)) {
            Some(found) => {
                if let (Value::Object(old), Value::Object(item)) = (found.take(), item) {
                    *found = Value::Object(merge_map(old, item, strategy.of)?);
                }
            }
            None => current.push(item),
        }
    }
    reorder(current, &order, &before, Some(key))
}

/// Puts the items that `order` lists in its order, and the others between them, at their places in `server`.
fn reorder(
    items: Vec<Value>,
    order: &[Value],
    server: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    let index = |list: &[Value], item: &Value| -> Result<Option<usize>, PatchError> {
        let wanted = identity(item, key)?;
        for (index, candidate) in list.iter().enumerate() {
            if identity(candidate, key)? == wanted {
                return Ok(Some(index));
            }
        }
        Ok(None)
    };
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for item in items {
        match index(order, &item)? {
            Some(place) => named.push((place, index(server, &item)?, item)),
            None => others.push((index(server, &item)?, item)),
        }
    }
    named.sort_by_key(|(place, ..)| *place);
    others.sort_by_key(|(place, _)| *place);
    let mut others = others.into_iter().peekable();
    let mut ordered = Vec::with_capacity(named.len() + others.len());
    for (_, place, item) in named {
        while let Some((_, other)) = others
            .next_if(|(other, _)| matches!((other, place), (Some(other), Some(place)) if *other < place))
        {
            ordered.push(other);
        }
        ordered.push(item);
    }
    ordered.extend(others.map(|(_, other)| other));
    Ok(ordered)
}

/// Returns the identity of an item: its key's value, or the item itself.
fn identity<'a>(item: &'a Value, key: Option<&str>) -> Result<&'a Value, PatchError> {
    let Some(key) = key else {
        return Ok(item);
    };
    let Value::Object(members) = item else {
        return Err(wrong_type("map[string]interface {}", item));
    };
    members.get(key).ok_or_else(|| {
        PatchError::Internal(format!("map: {} does not contain declared merge key: {key}", go_map(members)))
    })
}

/// Returns the type of all items, which must be the same, and not a list.
fn element_type(current: &[Value], patch: &[Value]) -> Result<&'static str, PatchError> {
    let name = |value: &Value| match value {
        Value::Object(_) => "map",
        Value::Number(number) if number.is_f64() => "float",
        other => json_type(other),
    };
    let mut items = current.iter().chain(patch);
    let Some(first) = items.next() else {
        return Err(PatchError::Internal("no elements in any of the given slices".to_owned()));
    };
    if first.is_array() {
        return Err(PatchError::Unprocessable);
    }
    if items.any(|item| name(item) != name(first)) {
        return Err(PatchError::Internal(format!(
            "list element types are not identical: [{} {}]",
            go_list(current),
            go_list(patch)
        )));
    }
    Ok(name(first))
}

fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(discard_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// Removes directives. `None` if the value itself is one.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(members) if members.contains_key(DIRECTIVE) => None,
        Value::Object(members) => {
            let members =
                members.into_iter().filter_map(|(name, value)| Some((name, without_directives(value)?)));
            Some(Value::Object(members.collect()))
        }
        Value::Array(items) => Some(items.into_iter().filter_map(without_directives).collect()),
        other => Some(other),
    }
}

fn bad_patch_type(patch: &Map<String, Value>) -> PatchError {
    let directive = patch.get(DIRECTIVE).map_or_else(String::new, go);
    PatchError::Internal(format!("unknown patch type: {directive} in map: {}", go_map(patch)))
}

fn wrong_type(expected: &str, value: &Value) -> PatchError {
    // Go prints a missing type with `%s` here.
    let actual = if value.is_null() { "%!s(<nil>)" } else { unstructured_type(value) };
    PatchError::Internal(format!("expected a {expected}, but received a {actual}"))
}

/// Formats a value as Go's `%v` does.
fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => go_list(items),
        Value::Object(members) => go_map(members),
        other => other.to_string(),
    }
}

fn go_list(items: &[Value]) -> String {
    format!("[{}]", items.iter().map(go).collect::<Vec<_>>().join(" "))
}

fn go_map(members: &Map<String, Value>) -> String {
    let mut entries: Vec<_> = members.iter().collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    let mut text = "map[".to_owned();
    for (index, (name, value)) in entries.into_iter().enumerate() {
        let separator = if index > 0 { " " } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{name}:{}", go(value));
    }
    text.push(']');
    text
}
