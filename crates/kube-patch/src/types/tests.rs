use serde_json::{Map, Value, json};

use super::node::{Named, Node, OBJECT_META};
use super::*;

#[test]
fn the_committed_types_are_those_of_the_built_in_kinds() {
    let committed: Map<String, Value> = serde_json::from_str(include_str!("meta.json")).unwrap();
    assert!(committed.contains_key(OBJECT_META));
    for (name, schema) in &committed {
        assert_eq!(Some(schema), kube_builtin::schemas::get(name).as_ref(), "{name}");
    }
}

#[test]
fn names_lead_to_types() {
    let all = openapi::on_demand(kube_builtin::schemas::texts());
    let mut nodes: Vec<_> = all.types.values().map(Named::node).collect();
    while let Some(node) = nodes.pop() {
        match node {
            Node::Reference { name, .. } => {
                let named = all.get(name).unwrap_or_else(|| panic!("{name}"));
                assert!(!matches!(named.node, Node::Reference { .. }), "{name}");
            }
            Node::List(list) => nodes.push(&list.items),
            Node::Map(map) => nodes.extend(map.fields.values().chain(map.values.as_deref())),
            Node::Any(_) | Node::Atomic | Node::Deduced | Node::Scalar(_) => {}
        }
    }
}

#[test]
fn names_that_lead_to_names_are_deduced() {
    let schemas =
        json!({"A": {"$ref": "#/definitions/A"}, "B": {"allOf": [{"$ref": "#/components/schemas/C"}]}});
    let all = Definitions::from_openapi(schemas.as_object().unwrap());
    for name in ["A", "B"] {
        assert!(all.get(name).unwrap().root.atom().map.is_some_and(resolved::Map::is_untyped));
    }
}
