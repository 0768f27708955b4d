//! An object as the store holds it: its JSON, stored once, and the places of the parts that the server often looks at.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use kube_builtin::Ordered;
use serde_json::{Map, Value};

use crate::json;

const VERSION: &str = "resourceVersion";

/// The mark of an object that clients get as it is.
pub(crate) const AS_IT_IS: u32 = u32::MAX;

/// The location of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location {
    pub(crate) collection: Arc<str>,
    /// The key in the collection.
    pub(crate) key: Box<str>,
}

/// The content of a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    pub(crate) value: &'a Value,
    /// A mark set by the writer, which is only kept in memory: [`Object::mark`].
    pub(crate) mark: u32,
}

/// One state of an object. It is immutable once it is stored.
#[derive(Debug)]
pub(crate) struct Object {
    /// `namespace/name`, or `name` for cluster-scoped objects.
    pub(crate) key: Box<str>,
    /// The revision of the write that stored this state.
    pub(crate) revision: u64,
    /// The object as JSON, with its fields in kube-apiserver's order.
    pub(crate) bytes: Box<[u8]>,
    /// Whether it has a deletionTimestamp.
    pub(crate) deleted: bool,
    /// The [`Content::mark`] of the write. 0 for an object that was read from disk.
    pub(crate) mark: u32,
    /// The uids of its owners.
    pub(super) owners: Box<[Box<str>]>,
    places: Places,
}

/// Where the parts of an object are in its bytes. All are empty for an object larger than 4 GiB.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    /// `metadata.labels`. Empty: absent.
    labels: Place,
    /// `metadata.resourceVersion`, without the quotes. Empty: the object has no metadata.
    version: Place,
    /// What follows `apiVersion` and `kind`. 0: they are not the first members, or the only ones.
    untyped: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    start: u32,
    end: u32,
}

/// Whether the bytes of an object have this `apiVersion`. Also returns false if finding out would require parsing them.
pub(crate) fn is_of_version(version: &str, bytes: &[u8]) -> bool {
    // It is nearly always first, or follows the `kind` of a built-in one.
    let after_kind = bytes.strip_prefix(b"{\"kind\":\"").and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == b'"')?;
        rest[end..].strip_prefix(b"\",")
    });
    let rest = after_kind.or_else(|| bytes.strip_prefix(b"{"));
    rest.and_then(|rest| rest.strip_prefix(b"\"apiVersion\":\""))
        .and_then(|rest| rest.strip_prefix(version.as_bytes()))
        .is_some_and(|rest| rest.first() == Some(&b'"'))
}

/// An object without its resourceVersion: the part of a write that needs no lock.
#[derive(Debug)]
pub(super) struct Draft(Object);

/// An object in a set, ordered by its key.
#[derive(Clone, Debug)]
pub(super) struct ByKey(pub(super) Arc<Object>);

/// The JSON of an object under construction.
#[derive(Default)]
struct Json {
    bytes: Vec<u8>,
    places: Places,
}

impl Place {
    /// `None`: the range is beyond 4 GiB.
    fn new(range: &Range<usize>) -> Option<Self> {
        Some(Self { start: range.start.try_into().ok()?, end: range.end.try_into().ok()? })
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }
}

impl Object {
    /// Its namespace. Empty for a cluster-scoped object.
    pub(crate) fn namespace(&self) -> &str {
        self.key.rsplit_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.key.rsplit_once('/').map_or(&*self.key, |(_, name)| name)
    }

    /// Its location in a collection.
    pub(crate) fn location(&self, collection: &Arc<str>) -> Location {
        Location { collection: Arc::clone(collection), key: self.key.clone() }
    }

    /// Its labels, which are parsed by each call.
    pub(crate) fn labels(&self) -> Map<String, Value> {
        if self.places.labels.is_empty() {
            return Map::new();
        }
        serde_json::from_slice(&self.bytes[self.places.labels.range()]).unwrap_or_default()
    }

    /// The object as a value.
    pub(crate) fn value(&self) -> Value {
        // The bytes are this store's own serialisation of a value.
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// Appends its JSON without `apiVersion` and `kind`, as in the items of a list. Returns false and appends nothing
    /// if that would require parsing.
    pub(crate) fn write_untyped(&self, out: &mut Vec<u8>) -> bool {
        let Some(rest) = self.bytes.get(self.places.untyped as usize..).filter(|_| self.places.untyped > 0)
        else {
            return false;
        };
        out.push(b'{');
        out.extend_from_slice(rest);
        true
    }

    /// Whether its `apiVersion` is this one. Also returns false if finding out would require parsing it.
    pub(crate) fn is_of_version(&self, version: &str) -> bool {
        is_of_version(version, &self.bytes)
    }

    /// The same state with other content, which is for clients only.
    pub(crate) fn converted(&self, value: &Value) -> Self {
        Draft::new(&self.key, Content { value, mark: AS_IT_IS }).at(self.revision)
    }

    /// Parses an object from its bytes. `None` if they are not an object's.
    #[cfg(feature = "disk")]
    pub(super) fn load(key: &str, bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let revision = value["metadata"][VERSION].as_str()?.parse().ok()?;
        Some(Draft::new(key, Content { value: &value, mark: 0 }).at(revision))
    }

    /// Its bytes with another resourceVersion.
    pub(super) fn bytes_at(&self, revision: u64) -> Box<[u8]> {
        self.with_version(&revision.to_string())
    }

    fn with_version(&self, version: &str) -> Box<[u8]> {
        if self.places.version == Place::default() {
            return self.bytes.clone();
        }
        let place = self.places.version.range();
        let (before, after) = (&self.bytes[..place.start], &self.bytes[place.end..]);
        // One allocation of the exact size: these bytes make up most of a store's memory.
        [before, version.as_bytes(), after].concat().into()
    }
}

impl Draft {
    /// Serialises a value, whose own resourceVersion is ignored.
    pub(super) fn new(key: &str, content: Content<'_>) -> Self {
        let metadata = &content.value["metadata"];
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        let Json { bytes, places } = Json::of(content.value);
        Self(Object {
            key: key.into(),
            revision: 0,
            bytes: bytes.into(),
            deleted: metadata["deletionTimestamp"].is_string(),
            mark: content.mark,
            owners: owners.filter_map(|owner| owner["uid"].as_str()).map(Box::from).collect(),
            places,
        })
    }

    /// Its size in bytes.
    pub(super) fn len(&self) -> usize {
        self.0.bytes.len()
    }

    /// The object as written at this revision.
    pub(super) fn at(self, revision: u64) -> Object {
        let text = revision.to_string();
        let bytes = self.0.with_version(&text);
        let mut places = self.0.places;
        if places.version.start > 0 {
            let length = text.len() as u32;
            places.version.end = places.version.start.saturating_add(length);
            if places.labels.start > places.version.start {
                places.labels.start = places.labels.start.saturating_add(length);
                places.labels.end = places.labels.end.saturating_add(length);
            }
        }
        Object { revision, bytes, places, ..self.0 }
    }
}

impl Json {
    fn of(value: &Value) -> Self {
        let mut json = Self { bytes: Vec::with_capacity(1024), ..Self::default() };
        let object = Ordered::of(value);
        if !value.is_object() {
            json.value(&object);
            return json;
        }
        json.bytes.push(b'{');
        let members = object.members();
        for (at, (name, member)) in members.iter().enumerate() {
            if at == 2 && members[..2].iter().all(|(name, _)| matches!(*name, "kind" | "apiVersion")) {
                // After the comma.
                json.places.untyped = u32::try_from(json.bytes.len() + 1).unwrap_or_default();
            }
            json.name(name);
            match *name {
                "metadata" if member.value().is_object() => json.metadata(member),
                _ => _ = json.value(member),
            }
        }
        json.bytes.push(b'}');
        if u32::try_from(json.bytes.len()).is_err() {
            json.places = Places::default();
        }
        json
    }

    fn metadata(&mut self, metadata: &Ordered<'_>) {
        self.bytes.push(b'{');
        let members = metadata.members();
        let mut members = members.iter().filter(|(name, _)| *name != VERSION).peekable();
        while let Some((name, member)) = members.next_if(|(name, _)| metadata.precedes(name, VERSION)) {
            self.metadata_member(name, member);
        }
        self.name(VERSION);
        let quote = self.value("").start;
        self.places.version = Place::new(&(quote + 1..quote + 1)).unwrap_or_default();
        for (name, member) in members {
            self.metadata_member(name, member);
        }
        self.bytes.push(b'}');
    }

    fn metadata_member(&mut self, name: &str, member: &Ordered<'_>) {
        self.name(name);
        let place = self.value(member);
        if name == "labels" && member.value().as_object().is_some_and(|labels| !labels.is_empty()) {
            self.places.labels = Place::new(&place).unwrap_or_default();
        }
    }

    fn name(&mut self, name: &str) {
        // A value never ends this way.
        if !self.bytes.ends_with(b"{") {
            self.bytes.push(b',');
        }
        self.value(name);
        self.bytes.push(b':');
    }

    /// Writes a value, and returns its place.
    fn value(&mut self, value: &(impl serde::Serialize + ?Sized)) -> Range<usize> {
        let start = self.bytes.len();
        json::write(&mut self.bytes, value);
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

    fn draft(value: &Value) -> Draft {
        Draft::new("x", Content { value, mark: 0 })
    }

    #[test]
    fn an_object_knows_its_name() {
        let object = Draft::new("web/blog", Content { value: &json!({}), mark: 0 }).at(2);
        assert_eq!((object.namespace(), object.name()), ("web", "blog"));
        assert_eq!((draft(&json!({})).at(2).namespace(), draft(&json!({})).at(2).name()), ("", "x"));
    }

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
            metadata in value(), rest in value(), api_version in prop::option::of(text()), revision in 1..u64::MAX, next in 1..u64::MAX,
        ) {
            let mut value = json!({"a": rest, "metadata": metadata, "z": rest});
            if let Some(text) = api_version {
                value["apiVersion"] = text.into();
                value["kind"] = rest.clone();
            }
            let object = draft(&value).at(revision);
            let mut untyped = Vec::new();
            if object.write_untyped(&mut untyped) {
                let mut expected = object.value();
                expected.as_object_mut().unwrap().retain(|name, _| name != "apiVersion" && name != "kind");
                prop_assert_eq!(untyped, crate::json::to_vec(&expected));
            }
            let labels = value["metadata"]["labels"].as_object().cloned().unwrap_or_default();
            prop_assert_eq!(object.labels(), labels);
            for (bytes, revision) in [(&object.bytes, revision), (&object.bytes_at(next), next)] {
                if let Some(metadata) = value["metadata"].as_object_mut() {
                    metadata.insert(VERSION.to_owned(), revision.to_string().into());
                }
                prop_assert_eq!(bytes.to_vec(), crate::json::to_vec(&value));
            }
        }
    }

    #[test]
    fn a_built_in_object_is_ordered_as_in_go() {
        let metadata = json!({"labels": {"a": "b"}, "name": "x", "generation": 1, "resourceVersion": "1"});
        let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}});
        let object = draft(&value).at(20);
        let untyped =
            r#""metadata":{"name":"x","resourceVersion":"20","generation":1,"labels":{"a":"b"}},"spec":{}}"#;
        let whole = format!(r#"{{"kind":"Pod","apiVersion":"v1",{untyped}"#);
        assert_eq!(*object.bytes, *whole.as_bytes());
        assert_eq!(json!(object.labels()), json!({"a": "b"}));
        assert!(object.is_of_version("v1") && !object.is_of_version("v") && !object.is_of_version("v12"));
        let mut written = Vec::new();
        assert!(object.write_untyped(&mut written));
        assert_eq!(written, format!("{{{untyped}").as_bytes());
        assert!(!draft(&json!({"apiVersion": "v1", "kind": "Pod"})).at(2).write_untyped(&mut written));
    }

    #[test]
    fn it_knows_its_owners_and_whether_it_is_deleted() {
        let owners = json!([{"uid": "u"}, {"uid": "v"}]);
        let metadata = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": owners});
        let object = draft(&json!({"metadata": metadata})).at(2);
        assert!(object.deleted && object.owners.iter().map(|it| &**it).eq(["u", "v"]));
        assert!(!draft(&json!({"metadata": {}})).at(2).deleted);
    }
}
