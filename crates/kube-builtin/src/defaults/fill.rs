//! Sets omitted fields.

use serde_json::Value;

/// Calls `with` for each object at a path, in which `[]` stands for the items of a list.
pub(super) fn each(object: &mut Value, path: &str, with: &mut impl FnMut(&mut Value)) {
    let Some((first, rest)) = (!path.is_empty()).then(|| path.split_once('.').unwrap_or((path, ""))) else {
        if object.is_object() {
            with(object);
        }
        return;
    };
    match first.strip_suffix("[]") {
        Some(list) => {
            let items = object.get_mut(list).and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(|item| each(item, rest, with));
        }
        None => object.get_mut(first).into_iter().for_each(|below| each(below, rest, with)),
    }
}

/// Sets an omitted field to the result of `value`.
pub(super) fn default(object: &mut Value, field: &str, value: impl FnOnce() -> Value) {
    let Some(members) = object.as_object_mut() else { return };
    // In Go, an empty text is an omitted one.
    if members.get(field).is_none_or(|value| value.is_null() || *value == "") {
        members.insert(field.to_owned(), value());
    }
}
