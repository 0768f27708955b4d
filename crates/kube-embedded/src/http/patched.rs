//! The text of a patched object in messages. kube-apiserver patches an object's JSON: what is around the changed parts has its
//! fields by name afterwards, and everything else has them as they were written.

use kube_builtin::Ordered;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::json;

/// A patched object.
struct Patched<'a> {
    object: Ordered<'a>,
    /// An object for each object and list around a changed part, by name or index. `None`: nothing is changed in it.
    changed: Option<&'a Value>,
}

/// The JSON of the result of a JSON patch or of a merge patch.
pub(super) fn text(object: &Value, patch: &Value) -> String {
    let changed = match patch {
        Value::Array(operations) => around(operations),
        merged => merged.clone(),
    };
    let patched = Patched { object: Ordered::of(object), changed: Some(&changed) };
    String::from_utf8_lossy(&json::to_vec(&patched)).into_owned()
}

/// What the operations of a JSON patch change.
fn around(operations: &[Value]) -> Value {
    let mut changed = Value::Object(Map::new());
    let pointers = operations.iter().flat_map(|operation| [&operation["path"], &operation["from"]]);
    for pointer in pointers.filter_map(Value::as_str) {
        let mut segments: Vec<&str> = pointer.split('/').skip(1).collect();
        segments.pop();
        let mut at = &mut changed;
        for segment in segments {
            let name = segment.replace("~1", "/").replace("~0", "~");
            let Value::Object(members) = at else { break };
            at = members.entry(name).or_insert_with(|| Value::Object(Map::new()));
        }
    }
    changed
}

impl Serialize for Patched<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(changed) = self.changed else { return self.object.serialize(serializer) };
        let Value::Object(changed) = changed else { return self.object.value().serialize(serializer) };
        match self.object.value() {
            Value::Object(_) => {
                let mut members = self.object.members();
                members.sort_by_key(|(name, _)| *name);
                let members = members.into_iter();
                serializer.collect_map(
                    members.map(|(name, object)| (name, Patched { object, changed: changed.get(name) })),
                )
            }
            Value::Array(_) => serializer.collect_seq(
                self.object
                    .items()
                    .enumerate()
                    .map(|(index, object)| Patched { object, changed: changed.get(&index.to_string()) }),
            ),
            scalar => scalar.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_around_a_change_is_ordered_by_name() {
        let container = json!({"image": "i", "name": "c"});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"uid": "u", "name": "p"},
            "spec": {"volumes": [], "containers": [container, container], "nodeName": 3},
        });
        let start = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","uid":"u"},"spec":"#;
        let merged = text(&pod, &json!({"spec": {"nodeName": 3}}));
        let c = r#"{"name":"c","image":"i"}"#;
        assert_eq!(merged, format!(r#"{start}{{"containers":[{c},{c}],"nodeName":3,"volumes":[]}}}}"#));
        let patched = text(&pod, &json!([{"op": "add", "path": "/spec/containers/1/name", "value": "c"}]));
        let changed = r#"{"image":"i","name":"c"}"#;
        assert_eq!(
            patched,
            format!(r#"{start}{{"containers":[{c},{changed}],"nodeName":3,"volumes":[]}}}}"#)
        );
        assert!(
            text(&pod, &json!([]))
                .ends_with(&format!(r#"{{"volumes":[],"containers":[{c},{c}],"nodeName":3}}}}"#))
        );
    }
}
