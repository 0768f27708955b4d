//! An object as the store holds it: its JSON, once, and where in it the parts are that the server looks at most.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

const VERSION: &str = "resourceVersion";

/// One state of one object. Nothing changes it once it is stored.
#[derive(Debug)]
pub(crate) struct Object {
    /// `namespace/name`, or `name` for objects of the cluster.
    pub(crate) key: Box<str>,
    /// Of the write that made this state.
    pub(crate) revision: u64,
    /// The object as JSON with sorted keys.
    pub(crate) bytes: Bytes,
    /// It has a deletionTimestamp.
    pub(crate) deleted: bool,
    /// The uids of its owners.
    pub(super) owners: Box<[Box<str>]>,
    /// Where in the bytes its labels are; empty: it has none.
    labels: Range<usize>,
    /// Where in the bytes its resourceVersion is, without the quotes; empty: it has no metadata.
    version: Range<usize>,
}

/// An object that has all but its resourceVersion: what a write can do before it locks the store.
#[derive(Debug)]
pub(super) struct Draft(Object);

/// An object in a set, by its key.
#[derive(Debug)]
pub(super) struct ByKey(pub(super) Arc<Object>);

/// The JSON of an object while it is written.
#[derive(Default)]
struct Json {
    bytes: Vec<u8>,
    labels: Range<usize>,
    version: Range<usize>,
}

impl Object {
    /// Its labels. Costs parsing them.
    pub(crate) fn labels(&self) -> Map<String, Value> {
        if self.labels.is_empty() {
            return Map::new();
        }
        serde_json::from_slice(&self.bytes[self.labels.clone()]).unwrap_or_default()
    }

    /// The object as a value.
    pub(crate) fn value(&self) -> Value {
        // The bytes are this store's own serialisation of a value.
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// An object from its bytes; none if these are none's.
    pub(super) fn load(key: &str, bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let revision = value["metadata"][VERSION].as_str()?.parse().ok()?;
        Some(Draft::new(key, &value).at(revision))
    }

    /// Its bytes with another resourceVersion.
    pub(super) fn bytes_at(&self, revision: u64) -> Bytes {
        self.with_version(&revision.to_string())
    }

    fn with_version(&self, version: &str) -> Bytes {
        if self.version == (0..0) {
            return self.bytes.clone();
        }
        let (before, after) = (&self.bytes[..self.version.start], &self.bytes[self.version.end..]);
        // One allocation of the size that is needed: this is what most of a store's memory is.
        [before, version.as_bytes(), after].concat().into()
    }
}

impl Draft {
    /// Of a value, whose own resourceVersion does not count.
    pub(super) fn new(key: &str, value: &Value) -> Self {
        let metadata = &value["metadata"];
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        let Json { bytes, labels, version } = Json::of(value);
        Self(Object {
            key: key.into(),
            revision: 0,
            bytes: bytes.into(),
            deleted: metadata["deletionTimestamp"].is_string(),
            owners: owners.filter_map(|owner| owner["uid"].as_str()).map(Box::from).collect(),
            labels,
            version,
        })
    }

    /// The object of the write at this revision.
    pub(super) fn at(self, revision: u64) -> Object {
        let text = revision.to_string();
        let bytes = self.0.with_version(&text);
        let start = self.0.version.start;
        let version = if start == 0 { 0..0 } else { start..start + text.len() };
        Object { revision, bytes, version, ..self.0 }
    }
}

impl Json {
    fn of(value: &Value) -> Self {
        let mut json = Self { bytes: Vec::with_capacity(1024), ..Self::default() };
        let Some(members) = value.as_object() else {
            json.value(value);
            return json;
        };
        json.bytes.push(b'{');
        for (name, member) in members {
            json.name(name);
            match member {
                Value::Object(metadata) if name == "metadata" => json.metadata(metadata),
                _ => _ = json.value(member),
            }
        }
        json.bytes.push(b'}');
        json
    }

    fn metadata(&mut self, metadata: &Map<String, Value>) {
        self.bytes.push(b'{');
        let mut members = metadata.iter().filter(|(name, _)| *name != VERSION).peekable();
        while let Some((name, member)) = members.next_if(|(name, _)| name.as_str() < VERSION) {
            self.name(name);
            let place = self.value(member);
            if name == "labels" && member.as_object().is_some_and(|labels| !labels.is_empty()) {
                self.labels = place;
            }
        }
        self.name(VERSION);
        let quote = self.value("").start;
        self.version = quote + 1..quote + 1;
        for (name, member) in members {
            self.name(name);
            self.value(member);
        }
        self.bytes.push(b'}');
    }

    fn name(&mut self, name: &str) {
        // No value ends so.
        if !self.bytes.ends_with(b"{") {
            self.bytes.push(b',');
        }
        self.value(name);
        self.bytes.push(b':');
    }

    /// Writes a value; returns where it is.
    fn value(&mut self, value: &(impl serde::Serialize + ?Sized)) -> Range<usize> {
        let start = self.bytes.len();
        // Text and values have no way to fail.
        let _ = serde_json::to_writer(&mut self.bytes, value);
        start..self.bytes.len()
    }
}

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![".{0,4}", Just("labels".to_owned()), Just(VERSION.to_owned()), Just("{".to_owned())]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), text().prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn its_bytes_are_the_value_at_its_revision(
            metadata in value(), rest in value(), revision in 1..u64::MAX, next in 1..u64::MAX,
        ) {
            let mut value = json!({"a": rest, "metadata": metadata, "z": rest});
            let object = Draft::new("x", &value).at(revision);
            let labels = value["metadata"]["labels"].as_object().cloned().unwrap_or_default();
            prop_assert_eq!(object.labels(), labels);
            for (bytes, revision) in [(&object.bytes, revision), (&object.bytes_at(next), next)] {
                if let Some(metadata) = value["metadata"].as_object_mut() {
                    metadata.insert(VERSION.to_owned(), revision.to_string().into());
                }
                prop_assert_eq!(bytes, &serde_json::to_vec(&value).unwrap());
            }
        }
    }

    #[test]
    fn it_knows_its_owners_and_whether_it_is_deleted() {
        let owners = json!([{"uid": "u"}, {"uid": "v"}]);
        let metadata = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": owners});
        let object = Draft::new("x", &json!({"metadata": metadata})).at(2);
        assert!(object.deleted && object.owners.iter().map(|it| &**it).eq(["u", "v"]));
        assert!(!Draft::new("x", &json!({"metadata": {}})).at(2).deleted);
    }
}
