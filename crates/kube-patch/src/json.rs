//! JSON patch, with kube-apiserver's limits and the extensions of its library (evanphx/json-patch v4) to RFC 6902.

use json_patch::PatchOperation;
use kube_validation::go::json_type;
use serde_json::{Map, Value};

use crate::error::PatchError;

/// `maxJSONPatchOperations` of kube-apiserver.
const MAX_OPERATIONS: usize = 10_000;
/// The maximum number of bytes that all `copy` operations of one patch may add (kube-apiserver's `JSONPatchMaxCopyBytes`).
const MAX_COPY_BYTES: usize = 3 * 1024 * 1024;
/// How deep operations may nest values. Each `copy` can double the depth, and recursion over a value that is too deep
/// exhausts the stack; serde_json parses no deeper.
const MAX_DEPTH: usize = 128;

/// Applies a JSON patch (RFC 6902).
///
/// Beyond the RFC, as in kube-apiserver's library (evanphx/json-patch v4): a negative index counts from an array's end, an
/// `add` without a value adds null, and a missing member of an object passes a `test` for null, is added by a `replace`, and
/// is copied as null.
///
/// # Errors
/// Fails with [`PatchError::BadRequest`] if the patch is malformed, [`PatchError::TooLarge`] if it has more than 10,000
/// operations, [`PatchError::TestFailed`] if a `test` finds another value, and [`PatchError::Inapplicable`] if an operation does
/// not fit the object or nests values more than 128 levels deep, or `copy` operations add more than 3 MiB.
pub fn json_patch(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = match patch {
        Value::Array(operations) => operations.as_slice(),
        Value::Null => &[],
        other => {
            return Err(PatchError::BadRequest(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                json_type(other)
            )));
        }
    };
    let operations = operations.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    if operations.len() > MAX_OPERATIONS {
        let count = operations.len();
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    let mut patched = object.clone();
    let mut copied = 0;
    for operation in operations {
        if apply(&mut patched, operation, &mut copied).is_none() {
            return Err(misfit(&patched, operation));
        }
    }
    Ok(patched)
}

/// Checks the types of an operation's members. Whether it makes sense is checked when it is applied.
fn decode(operation: &Value) -> Result<&Map<String, Value>, PatchError> {
    let Value::Object(members) = operation else {
        return Err(PatchError::BadRequest(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type handlers.jsonPatchOp",
            json_type(operation)
        )));
    };
    for name in ["op", "path", "from"] {
        match members.get(name) {
            None | Some(Value::String(_) | Value::Null) => {}
            Some(other) => {
                return Err(PatchError::BadRequest(format!(
                    "error decoding patch: json: cannot unmarshal {} into Go struct field jsonPatchOp.{name} of type string",
                    json_type(other)
                )));
            }
        }
    }
    Ok(members)
}

/// Applies an operation. `None` if it does not fit the object, which may then be partially patched.
fn apply(object: &mut Value, operation: &Map<String, Value>, copied: &mut usize) -> Option<()> {
    let mut operation = operation.clone();
    let op = operation.get("op")?.as_str()?.to_owned();
    for pointer in ["path", "from"] {
        if let Some(Value::String(path)) = operation.get(pointer) {
            let path = from_the_end(
                object,
                path,
                pointer == "path" && matches!(op.as_str(), "add" | "copy" | "move"),
            );
            operation.insert(pointer.to_owned(), path.into());
        }
    }
    let value = operation.entry("value").or_insert(Value::Null).clone();
    let path = operation.get("path")?.as_str()?.to_owned();
    let inserted = match op.as_str() {
        "copy" | "move" => object.pointer(operation.get("from")?.as_str()?),
        _ => Some(&value),
    };
    if !inserted
        .is_none_or(|inserted| is_within(inserted, MAX_DEPTH.saturating_sub(path.matches('/').count())))
    {
        return None;
    }
    match op.as_str() {
        "replace" if is_missing_member(object, &path) => {
            operation.insert("op".to_owned(), "add".into());
        }
        "copy" if is_missing_member(object, operation.get("from")?.as_str()?) => {
            operation.insert("op".to_owned(), "add".into());
            operation.insert("value".to_owned(), Value::Null);
        }
        "test" if value.is_null() => {
            let parent = object.pointer(path.rsplit_once('/').map_or("", |(parent, _)| parent))?;
            return (parent.is_object() || object.pointer(&path).is_some())
                .then(|| object.pointer(&path).unwrap_or(&Value::Null))
                .filter(|found| found.is_null())
                .map(|_| ());
        }
        "copy" => {
            let source = object.pointer(operation.get("from")?.as_str()?)?;
            *copied = copied.saturating_add(serde_json::to_vec(source).ok()?.len());
            if *copied > MAX_COPY_BYTES {
                return None;
            }
        }
        _ => {}
    }
    let operation: PatchOperation = serde_json::from_value(Value::Object(operation)).ok()?;
    json_patch::patch_unsafe(object, &[operation]).ok()
}

/// Why an operation does not fit an object.
fn misfit(object: &Value, operation: &Map<String, Value>) -> PatchError {
    let text = |name: &str| operation.get(name).and_then(Value::as_str);
    let op = text("op").unwrap_or_default();
    if !matches!(op, "add" | "remove" | "replace" | "move" | "copy" | "test") {
        return PatchError::Inapplicable(format!("Unexpected kind: {op}"));
    }
    let Some(path) = text("path") else {
        return PatchError::Inapplicable(format!("{op} operation failed to decode path: missing value"));
    };
    let has_parent = |path: &str| {
        let parent = object.pointer(path.rsplit_once('/').map_or("", |(parent, _)| parent));
        parent.is_some_and(|parent| parent.is_object() || parent.is_array())
    };
    let key = path.rsplit('/').next().unwrap_or_default();
    let in_array =
        path.rsplit_once('/').and_then(|(parent, _)| object.pointer(parent)).is_some_and(Value::is_array);
    let why = match op {
        "add" | "remove" if !has_parent(path) => {
            format!("{op} operation does not apply: doc is missing path: \"{path}\": missing value")
        }
        "remove" if !in_array => {
            format!(
                "error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
            )
        }
        "replace" if !has_parent(path) => {
            format!("replace operation does not apply: doc is missing path: {path}: missing value")
        }
        "replace" => format!("replace operation does not apply: doc is missing key: {path}: missing value"),
        "test" if !has_parent(path) => {
            format!("test operation does not apply: is missing path: {path}: missing value")
        }
        "test" if !in_array || object.pointer(path).is_some() => {
            return PatchError::TestFailed(format!("testing value {path} failed: test failed"));
        }
        "move" | "copy" => match text("from") {
            None => format!("{op} operation failed to decode from: missing value"),
            Some(from) if !has_parent(from) => {
                format!("{op} operation does not apply: doc is missing from path: {from}: missing value")
            }
            Some(from) if object.pointer(from).is_none() => {
                let key = from.rsplit('/').next().unwrap_or_default();
                format!(
                    "error in {op} for path: '{key}': Unable to remove nonexistent key: {key}: missing value"
                )
            }
            Some(_) if !has_parent(path) => {
                format!(
                    "{op} operation does not apply: doc is missing destination path: {path}: missing value"
                )
            }
            Some(_) => format!("{op} operation does not apply: the result would be too large: {path}"),
        },
        _ => format!(
            "error in {op} for path: '{path}': Unable to access invalid index: {key}: invalid index referenced"
        ),
    };
    PatchError::Inapplicable(why)
}

/// Whether a pointer is to a member of an object that does not have it.
fn is_missing_member(object: &Value, pointer: &str) -> bool {
    let parent = pointer.rsplit_once('/').and_then(|(parent, _)| object.pointer(parent));
    parent.is_some_and(Value::is_object) && object.pointer(pointer).is_none()
}

/// Whether a value is nested at most `depth` levels deep; a scalar is one level.
fn is_within(value: &Value, depth: usize) -> bool {
    let Some(below) = depth.checked_sub(1) else { return false };
    match value {
        Value::Array(items) => items.iter().all(|item| is_within(item, below)),
        Value::Object(members) => members.values().all(|member| is_within(member, below)),
        _ => true,
    }
}

/// Resolves a negative last index from the end of its array. The part before the first `/` is ignored.
fn from_the_end(object: &Value, path: &str, inserts: bool) -> String {
    let Some(start) = path.find('/') else {
        return path.to_owned();
    };
    let path = &path[start..];
    let Some((parent, last)) = path.rsplit_once('/') else {
        return path.to_owned();
    };
    let length = object.pointer(parent).and_then(Value::as_array).map(Vec::len);
    // For insertions, -1 is the position after the last item, otherwise it is the last item.
    match (length, last.strip_prefix('-').and_then(|digits| digits.parse::<usize>().ok())) {
        (Some(length), Some(back)) => match (length + usize::from(inserts)).checked_sub(back) {
            Some(index) => format!("{parent}/{index}"),
            None => path.to_owned(),
        },
        _ => path.to_owned(),
    }
}
