//! From the bytes of one object to the object.
//!
//! What the store does not want is passed over while parsing: it is never allocated. No text of an object leaves this
//! module but in the error of one that does not decode.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use kube::{Resource as _, core::Status};
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, Visitor,
        value::BorrowedStrDeserializer,
    },
};
use serde_json::value::RawValue;

use crate::{
    Cached, ObjectKey, ResourceVersion,
    store::{Item, Undecoded},
};

/// The annotation of the bookmark that ends the initial events of a watch-list (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
/// Where `kubectl apply` keeps the whole of what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How objects are decoded.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    pub(crate) keep_managed_fields: bool,
    pub(crate) skip_last_applied: bool,
    /// What an item of a list is, when it does not say so itself: lists of built-in types leave it out. Empty where
    /// nobody knows.
    pub(crate) api_version: String,
    pub(crate) kind: String,
}

/// A watch event, cut out but for its object.
#[derive(Debug)]
pub(crate) enum WatchEvent<'a> {
    Put(&'a [u8]),
    Deleted(&'a [u8]),
    Bookmark { version: String, ends_initial: bool },
    Error(Box<Status>),
}

/// An object, or what is known of one that does not decode.
pub(crate) enum Decoded<K: Cached> {
    Item(Item<K>),
    Undecoded(Undecoded),
}

impl<K: Cached> Decoded<K> {
    pub(crate) fn version(&self) -> ResourceVersion {
        match self {
            Self::Item(item) => item.version,
            Self::Undecoded(item) => item.version,
        }
    }
}

/// What is wrong with an answer as a whole; never a part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a watch event is not JSON with type and object")]
    Event,
    #[error("an object has no name")]
    NoName,
    #[error("a resource version is not a positive decimal number")]
    Version,
    #[error("a list has no metadata")]
    ListMetadata,
    #[error("a resource list is not one")]
    Discovery,
}

/// The metadata of a list.
pub(crate) struct ListEnd {
    pub(crate) version: ResourceVersion,
    pub(crate) continue_token: Option<String>,
}

/// Cuts a line of a watch.
pub(crate) fn watch_event(line: &[u8]) -> Result<WatchEvent<'_>, Malformed> {
    let (kind, object) = envelope(line)?;
    Ok(match &*kind {
        "ADDED" | "MODIFIED" => WatchEvent::Put(object),
        "DELETED" => WatchEvent::Deleted(object),
        "BOOKMARK" => {
            let metadata = Metadata::of(object)?;
            let end =
                metadata.annotations.and_then(|annotations| annotations.get(INITIAL_EVENTS_END).cloned());
            WatchEvent::Bookmark {
                version: metadata.resource_version.unwrap_or_default(),
                ends_initial: end.as_deref() == Some("true"),
            }
        }
        "ERROR" => WatchEvent::Error(serde_json::from_slice(object).map_err(|_| Malformed::Event)?),
        _ => return Err(Malformed::Event),
    })
}

pub(crate) fn list_end(metadata: &[u8]) -> Result<ListEnd, Malformed> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ListMeta {
        resource_version: String,
        #[serde(rename = "continue")]
        continue_token: Option<String>,
    }
    let ListMeta { resource_version, continue_token } =
        serde_json::from_slice(metadata).map_err(|_| Malformed::ListMetadata)?;
    Ok(ListEnd { version: version(&resource_version)?, continue_token })
}

pub(crate) fn version(text: &str) -> Result<ResourceVersion, Malformed> {
    text.parse().map_err(|_| Malformed::Version)
}

/// Whether a list of resources, as discovery gives it, has this one and it can be watched.
pub(crate) fn serves(resources: &[u8], plural: &str) -> Result<bool, Malformed> {
    #[derive(Deserialize)]
    struct Resources {
        resources: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let list: Resources = serde_json::from_slice(resources).map_err(|_| Malformed::Discovery)?;
    Ok(list.resources.iter().any(|resource| resource.name == plural))
}

impl Decoder {
    /// One object. An error only if not even its name and version can be read.
    pub(crate) fn object<K: Cached>(&self, bytes: &[u8]) -> Result<Decoded<K>, Malformed> {
        let decoded = match self.parse::<K::Object>(bytes) {
            Ok(object) => {
                let meta = object.meta();
                let name = meta.name.as_deref().ok_or(Malformed::NoName)?;
                let key = ObjectKey::new(meta.namespace.as_deref(), name);
                let version = version(meta.resource_version.as_deref().unwrap_or_default())?;
                K::hold(object, &|| self.prune(bytes)).map(|object| Item { key, version, object })
            }
            Err(error) => Err(error),
        };
        match decoded {
            Ok(item) => Ok(Decoded::Item(item)),
            Err(error) => {
                let metadata = Metadata::of(bytes)?;
                let name = metadata.name.as_deref().ok_or(Malformed::NoName)?;
                Ok(Decoded::Undecoded(Undecoded {
                    key: ObjectKey::new(metadata.namespace.as_deref(), name),
                    version: version(metadata.resource_version.as_deref().unwrap_or_default())?,
                    uid: metadata.uid,
                    error: error.to_string(),
                }))
            }
        }
    }

    /// The JSON of an object without what is skipped, and with its type. Values that stay are copied as they are.
    fn prune(&self, bytes: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        let mut pruned = Vec::with_capacity(bytes.len());
        Level::Object(self).copy(serde_json::from_slice(bytes)?, &mut pruned)?;
        Ok(pruned)
    }

    fn prunes_metadata(&self) -> bool {
        !self.keep_managed_fields || self.skip_last_applied
    }

    fn parse<K: DeserializeOwned>(&self, bytes: &[u8]) -> Result<K, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let object = K::deserialize(Pruned { inner: &mut json, level: Level::Object(self) })?;
        json.end()?;
        Ok(object)
    }
}

/// The metadata that is read of an object that does not decode, and of bookmarks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    // Lenient: it is other people's, and it only matters for bookmarks.
    #[serde(default, deserialize_with = "or_none")]
    annotations: Option<BTreeMap<String, String>>,
}

impl Metadata {
    fn of(object: &[u8]) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Metadata,
        }
        let Object { metadata } = serde_json::from_slice(object).map_err(|_| Malformed::Event)?;
        Ok(metadata)
    }
}

fn or_none<'de, D: Deserializer<'de>>(inner: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let raw = <&RawValue>::deserialize(inner)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// Type and object of an event.
fn envelope(line: &[u8]) -> Result<(Cow<'_, str>, &[u8]), Malformed> {
    // What a kube-apiserver writes, so that the object is scanned once and not twice.
    if let Some(rest) = line.strip_prefix(br#"{"type":""#)
        && let Some(end) = memchr::memchr(b'"', rest)
        && let Some(object) = rest[end..].strip_prefix(br#"","object":"#)
        && let Some(object) = object.trim_ascii_end().strip_suffix(b"}")
        && let Ok(kind) = str::from_utf8(&rest[..end])
    {
        return Ok((Cow::Borrowed(kind), object));
    }
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    let Envelope { kind, object } = serde_json::from_slice(line).map_err(|_| Malformed::Event)?;
    Ok((kind, object.get().as_bytes()))
}

/// Which part of an object is being read.
#[derive(Clone, Copy)]
enum Level<'a> {
    Object(&'a Decoder),
    Metadata(&'a Decoder),
    Annotations,
}

/// What becomes of a member of an object, of its metadata or of its annotations.
enum Member<'a> {
    Skipped,
    Whole,
    Within(Level<'a>),
}

impl<'a> Level<'a> {
    fn member(self, key: &str) -> Member<'a> {
        match (self, key) {
            (Self::Metadata(decoder), "managedFields") if !decoder.keep_managed_fields => Member::Skipped,
            (Self::Annotations, LAST_APPLIED) => Member::Skipped,
            (Self::Object(decoder), "metadata") if decoder.prunes_metadata() => {
                Member::Within(Self::Metadata(decoder))
            }
            (Self::Metadata(decoder), "annotations") if decoder.skip_last_applied => {
                Member::Within(Self::Annotations)
            }
            _ => Member::Whole,
        }
    }

    /// Writes what stays of a JSON object.
    fn copy(self, object: &RawValue, to: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let RawMembers(members) = serde_json::from_str(object.get())?;
        let mut seen = Seen::default();
        let mut before = b'{';
        for (key, value) in members {
            let member = self.member(&key);
            if matches!(member, Member::Skipped) {
                continue;
            }
            seen.see(self, &key);
            to.push(std::mem::replace(&mut before, b','));
            serde_json::to_writer(&mut *to, &key)?;
            to.push(b':');
            match member {
                Member::Within(level) if value.get().starts_with('{') => level.copy(value, to)?,
                _ => to.extend_from_slice(value.get().as_bytes()),
            }
        }
        while let Some((key, value)) = seen.missing(self) {
            to.push(std::mem::replace(&mut before, b','));
            serde_json::to_writer(&mut *to, key)?;
            to.push(b':');
            serde_json::to_writer(&mut *to, value)?;
        }
        if before == b'{' {
            to.push(b'{');
        }
        to.push(b'}');
        Ok(())
    }
}

/// The members of a JSON object in their order, their values not looked into.
struct RawMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A deserializer, visitor, seed or map that leaves out what the decoder does not want, and adds the type to an object
/// that does not tell it.
struct Pruned<'a, T> {
    inner: T,
    level: Level<'a>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Pruned<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Pruned { inner: visitor, level: self.level })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Pruned { inner: visitor, level: self.level })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_newtype_struct(name, Pruned { inner: visitor, level: self.level })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    // An object and its metadata are maps, whatever the type calls them.
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Pruned<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Members { map, level: self.level, seen: Seen::default(), value: Value::Own })
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Pruned { inner, level: self.level })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Pruned { inner, level: self.level })
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Pruned<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Pruned { inner, level: self.level })
    }
}

/// The members of an object, of its metadata or of its annotations.
struct Members<'a, A> {
    map: A,
    level: Level<'a>,
    seen: Seen,
    value: Value<'a>,
}

#[derive(Default)]
struct Seen {
    api_version: bool,
    kind: bool,
}

impl Seen {
    fn see(&mut self, level: Level<'_>, key: &str) {
        if let Level::Object(_) = level {
            self.api_version |= key == "apiVersion";
            self.kind |= key == "kind";
        }
    }

    /// A member that says what the object is, when the object does not; each once.
    fn missing<'a>(&mut self, level: Level<'a>) -> Option<(&'static str, &'a str)> {
        let Level::Object(decoder) = level else { return None };
        if decoder.kind.is_empty() {
            return None;
        }
        if !std::mem::replace(&mut self.api_version, true) {
            Some(("apiVersion", &decoder.api_version))
        } else if !std::mem::replace(&mut self.kind, true) {
            Some(("kind", &decoder.kind))
        } else {
            None
        }
    }
}

/// Where the value of the key that was given last comes from.
enum Value<'a> {
    Own,
    Within(Level<'a>),
    Added(&'a str),
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        while let Some(Key(key)) = self.map.next_key()? {
            self.value = match self.level.member(&key) {
                Member::Skipped => {
                    self.map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Member::Whole => Value::Own,
                Member::Within(level) => Value::Within(level),
            };
            self.seen.see(self.level, &key);
            return match key {
                Cow::Borrowed(key) => seed.deserialize(BorrowedStrDeserializer::new(key)),
                Cow::Owned(key) => seed.deserialize(key.into_deserializer()),
            }
            .map(Some);
        }
        let Some((key, value)) = self.seen.missing(self.level) else { return Ok(None) };
        self.value = Value::Added(value);
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        match std::mem::replace(&mut self.value, Value::Own) {
            Value::Own => self.map.next_value_seed(seed),
            Value::Within(level) => self.map.next_value_seed(Pruned { inner: seed, level }),
            Value::Added(text) => seed.deserialize(text.into_deserializer()),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use kube::core::DynamicObject;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn decoder(keep_managed_fields: bool) -> Decoder {
        Decoder {
            keep_managed_fields,
            skip_last_applied: false,
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
        }
    }

    /// The object as it was cached.
    fn decoded<K: crate::Object + serde::Serialize>(decoder: &Decoder, object: &Value) -> Value {
        match decoder.object::<K>(object.to_string().as_bytes()).unwrap() {
            Decoded::Item(item) => serde_json::to_value(&*item.object).unwrap(),
            Decoded::Undecoded(item) => panic!("{}", item.error),
        }
    }

    /// The object as it was cached, and the same from a compact cache.
    fn compacted<K: crate::Object + serde::Serialize>(decoder: &Decoder, object: &Value) -> Value {
        match decoder.object::<crate::Compact<K>>(object.to_string().as_bytes()).unwrap() {
            Decoded::Item(item) => {
                assert_eq!(
                    <crate::Compact<K> as Cached>::uid(&item.object),
                    object["metadata"]["uid"].as_str()
                );
                let json: Value = serde_json::from_slice(item.object.as_json()).unwrap();
                assert_eq!(serde_json::to_value(item.object.decode().unwrap()).unwrap(), json);
                json
            }
            Decoded::Undecoded(item) => panic!("{}", item.error),
        }
    }

    #[test]
    fn what_is_held_as_bytes_is_what_would_be_held_decoded() {
        let mut object = deployment();
        object["metadata"]["annotations"] = json!({LAST_APPLIED: "{}", "a\"b": "é\n"});
        let mut bare = object.clone();
        bare.as_object_mut().unwrap().retain(|name, _| name != "apiVersion" && name != "kind");
        let mut only_skipped = object.clone();
        only_skipped["metadata"]["annotations"] = json!({LAST_APPLIED: "{}"});
        for object in [object, bare, only_skipped] {
            for (keep_managed_fields, skip_last_applied) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let decoder = Decoder { skip_last_applied, ..decoder(keep_managed_fields) };
                let typed = decoded::<DynamicObject>(&decoder, &object);
                assert_eq!(compacted::<DynamicObject>(&decoder, &object), typed);
            }
        }
    }

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "default", "uid": "1", "resourceVersion": "7",
                "managedFields": [{"manager": "kubectl"}],
            },
            "spec": {
                "selector": {},
                "template": {"metadata": {"managedFields": [{"manager": "inner"}], "labels": {"a\"b": "é"}}},
            },
        })
    }

    #[test]
    fn only_the_managed_fields_of_the_object_itself_are_skipped() {
        let mut expected = deployment();
        expected["metadata"].as_object_mut().unwrap().remove("managedFields");
        assert_eq!(decoded::<DynamicObject>(&decoder(false), &deployment()), expected);
        assert_eq!(decoded::<Deployment>(&decoder(false), &deployment()), expected);
        assert_eq!(decoded::<DynamicObject>(&decoder(true), &deployment()), deployment());
        assert_eq!(decoded::<Deployment>(&decoder(true), &deployment()), deployment());
    }

    #[test]
    fn only_the_annotation_of_the_object_itself_is_skipped_and_the_others_stay() {
        let annotations = json!({LAST_APPLIED: "{}", "other": "stays"});
        let mut object = deployment();
        object["metadata"]["annotations"] = annotations.clone();
        object["metadata"]["labels"] = annotations.clone();
        object["spec"]["template"]["metadata"]["annotations"] = annotations;
        let mut expected = object.clone();
        expected["metadata"]["annotations"] = json!({"other": "stays"});
        let skipping = Decoder { skip_last_applied: true, ..decoder(true) };
        assert_eq!(decoded::<DynamicObject>(&skipping, &object), expected);
        assert_eq!(decoded::<Deployment>(&skipping, &object), expected);
        assert_eq!(decoded::<Deployment>(&decoder(true), &object), object);
        object["metadata"]["annotations"] = Value::Null;
        expected["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(decoded::<Deployment>(&skipping, &object), expected);
    }

    #[test]
    fn an_object_that_says_what_it_is_keeps_its_word() {
        let mut other = deployment();
        other["apiVersion"] = json!("other/v2");
        assert_eq!(decoded::<DynamicObject>(&decoder(true), &other), other);
        let mut bare = deployment();
        bare.as_object_mut().unwrap().retain(|name, _| name != "apiVersion" && name != "kind");
        assert_eq!(decoded::<DynamicObject>(&decoder(true), &bare), deployment());
    }

    #[test]
    fn an_event_is_understood_in_either_order() {
        for line in [
            r#"{"type":"DELETED","object":{"a":"}"}}"#,
            "{\"type\":\"DELETED\",\"object\":{\"a\":\"}\"}}\r",
            r#"{ "type": "DELETED", "object": {"a":"}"} }"#,
            r#"{"object":{"a":"}"},"type":"DELETED"}"#,
        ] {
            let event = watch_event(line.as_bytes()).unwrap();
            assert!(matches!(event, WatchEvent::Deleted(br#"{"a":"}"}"#)), "{line}: {event:?}");
        }
        for line in ["", "{}", r#"{"type":"ADDED"}"#, r#"{"type":"NEWS","object":{}}"#, "<html>"] {
            assert_eq!(watch_event(line.as_bytes()).unwrap_err(), Malformed::Event, "{line}");
        }
    }

    #[test]
    fn what_has_no_name_or_version_is_malformed_and_what_has_both_is_not() {
        let odd = |metadata: Value| {
            let object = json!({"metadata": metadata, "spec": 5}).to_string();
            decoder(false).object::<Deployment>(object.as_bytes()).map(|_| ())
        };
        assert_eq!(odd(json!({"resourceVersion": "7"})), Err(Malformed::NoName));
        assert_eq!(odd(json!({"name": "web"})), Err(Malformed::Version));
        assert_eq!(odd(json!({"name": "web", "resourceVersion": "7", "annotations": 5})), Ok(()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, cut in 0_usize..300) {
            let text = deployment().to_string();
            let part = &text.as_bytes()[..cut.min(text.len())];
            for bytes in [&bytes[..], part] {
                let _ = watch_event(bytes);
                let _ = list_end(bytes);
                let _ = serves(bytes, "blogs");
                let _ = decoder(false).object::<DynamicObject>(bytes);
            }
        }
    }
}
