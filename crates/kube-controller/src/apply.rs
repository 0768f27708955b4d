//! Server-side apply that sends nothing if nothing differs.
//!
//! The judgement comes from the live object, never from a memory of what was applied, which would hide that others have
//! changed it since (metacontroller#1177). And it comes from the managed fields before the values: an apply that changes
//! nothing may still raise the version (kubernetes#124605, #131175), and the event of that would cause the next apply.

mod compare;
mod element;
mod quantity;

use serde_json::{Map, Value};

use crate::apply::compare::{Place, fields};
use crate::differences::equal;

/// What the server keeps in `metadata` itself. It has no owner.
const KEPT_BY_SERVER: [&str; 9] = [
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Returns whether a server-side apply of `desired` by `manager`, with force, would change nothing of `live`.
///
/// It would not if the manager's entry for applies, in the same version, owns exactly the fields of `desired`, and these
/// have the same values: whoever else changes such a field takes it from the entry. `live` must be in the version of
/// `desired` and have its managed fields, which informers drop by default; otherwise the result is `false`.
///
/// In doubt the result is `false`, which costs a request that changes nothing: there is no schema, so that for example
/// `{}`, where the server filled in defaults, could also be a change. Two cases remain in which it is `true` although an
/// apply would change the owners (not the values): members that no one owns, below a field that the manager last applied
/// as `{}`, have exactly the values of `desired`; and another manager owns a quantity, too, that `desired` writes in
/// another form (`1000m` for `1`). An apply would take it from the other, who would take it back.
pub(crate) fn is_applied(live: &Value, desired: &Value, manager: &str) -> bool {
    let (Some(members), Some(live_members)) = (desired.as_object(), live.as_object()) else { return false };
    if !["apiVersion", "kind"].iter().all(|name| same_text(members, live_members, name)) {
        return false;
    }
    // Write-only fields of a Secret: the server turns them into `data`.
    if members.contains_key("stringData") && is_secret(members) {
        return false;
    }
    let nothing = Map::new();
    let desired_metadata = members.get("metadata").and_then(Value::as_object).unwrap_or(&nothing);
    let Some(live_metadata) = live.get("metadata").and_then(Value::as_object) else { return false };
    // A uid or version is a precondition: if it does not hold, the server has to say so.
    let identity = desired_metadata.iter().filter(|(name, _)| KEPT_BY_SERVER.contains(&name.as_str()));
    for (name, value) in identity.filter(|(_, value)| !value.is_null()) {
        if !live_metadata.get(name).is_some_and(|live| equal(live, value)) {
            return false;
        }
    }

    let api_version = members.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let Some(entries) = live_metadata.get("managedFields").and_then(Value::as_array) else { return false };
    let (own, others): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| is_own(entry, manager));
    let [own] = own.as_slice() else { return false };
    if own.get("apiVersion").and_then(Value::as_str) != Some(api_version) {
        return false;
    }
    let Some(owned) = own.get("fieldsV1").and_then(Value::as_object) else { return false };

    let place = Place {
        others: others.iter().filter_map(|entry| entry.get("fieldsV1")).collect(),
        has_quantities: has_quantities(api_version),
        is_quantity: false,
    };
    let owned_metadata = match owned.get("f:metadata") {
        None => &nothing,
        Some(owned) => match owned.as_object() {
            Some(owned) => owned,
            None => return false,
        },
    };
    fields(owned, members, Some(live), &place, &["apiVersion", "kind", "metadata"])
        && fields(
            owned_metadata,
            desired_metadata,
            live.get("metadata"),
            &place.inside("f:metadata"),
            &KEPT_BY_SERVER,
        )
}

/// Returns whether an entry of the managed fields is the one of this manager's applies.
fn is_own(entry: &Value, manager: &str) -> bool {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
    text("operation") == "Apply"
        && text("manager") == manager
        && text("subresource").is_empty()
        && text("fieldsType") == "FieldsV1"
}

fn same_text(a: &Map<String, Value>, b: &Map<String, Value>, name: &str) -> bool {
    let (a, b) = (a.get(name).and_then(Value::as_str), b.get(name).and_then(Value::as_str));
    a.is_some() && a == b
}

fn is_secret(object: &Map<String, Value>) -> bool {
    object.get("kind").is_some_and(|kind| kind == "Secret")
}

/// Returns whether objects have quantities at known places, which the server rewrites: `1000m` becomes `1`. Other groups
/// may have the same names for something else. The core group has versions without a slash.
fn has_quantities(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    ["", "apps", "batch", "node.k8s.io"].contains(&group)
}

#[cfg(test)]
mod tests;
