//! Merges a configuration into an object that has no managers: apiserver's `pkg/admission/plugin/policy/mutating/patch/smd.go`.

use serde_json::Value;

use super::set::{PathElement, display};
use super::walk;
use crate::types::{ObjectType, Relation, Type};

/// The reason why a configuration cannot be merged, in kube-apiserver's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MergeError(String);

/// Merges a configuration into `live` as mutating admission policies do: as [`apply`](super::apply()), but no field gets an
/// owner. Nothing is removed.
///
/// # Errors
/// Fails if the configuration or the object does not fit the type, and if the configuration has an atomic list, map or struct:
/// whatever the policy does not repeat would be removed with it.
pub fn merge_configuration(
    types: ObjectType<'_>,
    live: &Value,
    configuration: &Value,
) -> Result<Value, MergeError> {
    let kind = types.root;
    let unfit = |what: &str, errors: &[String]| match walk::describe_errors(errors) {
        None => Ok(()),
        Some(why) => Err(MergeError(format!("failed to convert {what} object to typed object: {why}"))),
    };
    unfit("patch", &walk::validate(kind, configuration, false))?;
    let mut atomics = Vec::new();
    find_atomics(kind, configuration, &mut Vec::new(), &mut atomics);
    if !atomics.is_empty() {
        return Err(MergeError(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            atomics.join(", ")
        )));
    }
    unfit("original", &walk::validate(kind, live, true))?;
    let merged = walk::merge(kind, Some(live), Some(configuration));
    let merged = merged.map_err(|why| MergeError(format!("failed to merge patch: {why}")))?;
    Ok(merged.unwrap_or_default())
}

/// Collects the paths of atomic values. Like kube-apiserver, looks into fields and lists but not into maps.
fn find_atomics(kind: Type<'_>, value: &Value, path: &mut Vec<PathElement>, found: &mut Vec<String>) {
    let atom = kind.atom();
    match value {
        Value::Object(members) => {
            let Some(map) = atom.map else { return };
            if map.atomic {
                found.push(display(path));
            }
            for (name, member) in members {
                if let Some((kind, true)) = map.member(name) {
                    path.push(PathElement::Field(name.into()));
                    find_atomics(kind, member, path, found);
                    path.pop();
                }
            }
        }
        Value::Array(items) => {
            let Some(list) = atom.list else { return };
            if list.relation == Relation::Atomic {
                found.push(display(path));
            }
            for (index, item) in items.iter().enumerate() {
                path.push(PathElement::Index(i64::try_from(index).unwrap_or(i64::MAX)));
                find_atomics(list.element, item, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::StructuralType;

    #[test]
    fn configurations_are_merged_without_owners() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "size": {"type": "integer"},
            "parts": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {
                    "name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}},
                    "rules": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
                }},
            },
        }}}});
        let kind = StructuralType::from_schema(&schema);
        let merge = |live: Value, configuration: Value| {
            let merged = merge_configuration(kind.object(), &live, &configuration);
            merged.map_err(|error| error.to_string())
        };
        let part = |name: &str| json!({"spec": {"parts": [{"name": name}]}});
        assert_eq!(
            merge(part("a"), json!({"spec": {"size": 2, "parts": [{"name": "b"}]}})),
            Ok(json!({"spec": {"size": 2, "parts": [{"name": "a"}, {"name": "b"}]}}))
        );
        for (configuration, why) in [
            (
                json!({"spec": {"many": 1}}),
                "failed to convert patch object to typed object: .spec.many: field not declared in schema",
            ),
            (
                json!({"spec": {"parts": [{"name": "a", "rules": {"a": "b"}, "tags": []}]}}),
                "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.parts[0].rules, \
                 .spec.parts[0].tags",
            ),
        ] {
            assert_eq!(merge(part("a"), configuration), Err(why.to_owned()));
        }
    }
}
