//! Decodes the bytes of one object.
//!
//! Skipped fields are cut out of the bytes before decoding, so they are never allocated. No content of an object
//! leaves this module, except in the error of an object that fails to decode.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use kube::{Resource as _, core::Status};
use serde::{Deserialize, de::Error as _};
use serde_json::value::RawValue;

use crate::{
    Cached, ObjectKey, ResourceVersion,
    compress::Compressor,
    skip::{NotJson, Skip},
    store::Item,
    transform::Transform,
};

/// The annotation of the bookmark that ends the initial events of a watch-list (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Decodes the objects of one resource.
#[derive(Debug)]
pub(crate) struct Decoder {
    skip: Skip,
    /// The type of list items that do not name theirs: lists of built-in types leave it out. Empty if unknown.
    api_version: String,
    kind: String,
    /// Shared by the scopes of an informer, because their objects resemble each other.
    compressor: Arc<Compressor>,
    /// Whether objects may have no version, as those of some types that are only listed.
    versionless: bool,
    transform: Option<Transform>,
    /// The JSON being decoded. Its allocation is reused for the objects of one chunk.
    json: Vec<u8>,
}

/// A watch event whose object is not decoded yet.
#[derive(Debug)]
pub(crate) enum WatchEvent<'a> {
    Added(&'a [u8]),
    Modified(&'a [u8]),
    Deleted(&'a [u8]),
    Bookmark {
        version: String,
        ends_initial: bool,
    },
    /// `code` is never 0.
    Error(Box<Status>),
}

/// An object, or what can be read of one that failed to decode.
pub(crate) enum Decoded<K: Cached> {
    Item(Item<K>),
    Undecoded(Undecoded),
}

/// What can be read of an object that failed to decode.
#[derive(Debug)]
pub(crate) struct Undecoded {
    /// `None` without a name, or with a name or namespace that no object can have.
    pub(crate) key: Option<ObjectKey>,
    pub(crate) uid: Option<String>,
    /// `None` if it cannot be compared with others.
    pub(crate) version: Option<ResourceVersion>,
    pub(crate) error: String,
}

impl<K: Cached> Decoded<K> {
    pub(crate) fn key(&self) -> Option<&ObjectKey> {
        match self {
            Self::Item(item) => Some(&item.key),
            Self::Undecoded(item) => item.key.as_ref(),
        }
    }

    pub(crate) fn version(&self) -> Option<ResourceVersion> {
        match self {
            Self::Item(item) => Some(item.version),
            Self::Undecoded(item) => item.version,
        }
    }

    /// Takes its key for unusable.
    pub(crate) fn unidentified(self, problem: &str) -> Self {
        Self::Undecoded(match self {
            Self::Item(Item { version, .. }) => {
                Undecoded { key: None, uid: None, version: Some(version), error: problem.to_owned() }
            }
            Self::Undecoded(item) => Undecoded { key: None, ..item },
        })
    }

    /// Checks that it has a name and a version, without which it cannot be applied as a change.
    pub(crate) fn check_identity(&self) -> Result<(), Malformed> {
        match self {
            Self::Undecoded(Undecoded { key: None, .. }) => Err(Malformed::NoName),
            Self::Undecoded(Undecoded { version: None, .. }) => Err(Malformed::Version),
            _ => Ok(()),
        }
    }
}

/// What is wrong with a response. Never contains any part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a watch event is not JSON with type and object")]
    Event,
    #[error("an object is not JSON")]
    Object,
    #[error("an object has no usable name")]
    NoName,
    #[error("a resource version is not a positive decimal number")]
    Version,
    #[error("a list has no metadata")]
    ListMetadata,
    #[error("the discovery response is not a list of resources")]
    Discovery,
}

/// The metadata of a list.
pub(crate) struct ListEnd {
    /// `None` for some types that are only listed.
    pub(crate) version: Option<ResourceVersion>,
    pub(crate) continue_token: Option<String>,
}

/// Splits a line of a watch into type and object.
pub(crate) fn watch_event(line: &[u8]) -> Result<WatchEvent<'_>, Malformed> {
    let (kind, object) = envelope(line)?;
    Ok(match &*kind {
        "ADDED" => WatchEvent::Added(object),
        "MODIFIED" => WatchEvent::Modified(object),
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
        "ERROR" => {
            let mut status: Box<Status> = serde_json::from_slice(object).map_err(|_| Malformed::Event)?;
            if status.code == 0 {
                status.code = if matches!(status.reason.as_str(), "Expired" | "Gone") { 410 } else { 500 };
            }
            WatchEvent::Error(status)
        }
        _ => return Err(Malformed::Event),
    })
}

pub(crate) fn list_end(metadata: &[u8]) -> Result<ListEnd, Malformed> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ListMeta {
        #[serde(default)]
        resource_version: String,
        #[serde(rename = "continue")]
        continue_token: Option<String>,
    }
    let ListMeta { resource_version, continue_token } =
        serde_json::from_slice(metadata).map_err(|_| Malformed::ListMetadata)?;
    let version = if resource_version.is_empty() { None } else { Some(version(&resource_version)?) };
    Ok(ListEnd { version, continue_token })
}

pub(crate) fn version(text: &str) -> Result<ResourceVersion, Malformed> {
    text.parse().map_err(|_| Malformed::Version)
}

/// What discovery says about a resource.
#[derive(Debug, Deserialize)]
pub(crate) struct Served {
    name: String,
    namespaced: Option<bool>,
    verbs: Option<Vec<String>>,
}

impl Served {
    pub(crate) fn has_no_namespaces(&self) -> bool {
        self.namespaced == Some(false)
    }

    pub(crate) fn cannot_be_watched(&self) -> bool {
        self.verbs.as_ref().is_some_and(|verbs| !verbs.iter().any(|verb| verb == "watch"))
    }
}

/// Finds a resource in an `APIResourceList`, as discovery returns it.
pub(crate) fn served(resources: &[u8], plural: &str) -> Result<Option<Served>, Malformed> {
    #[derive(Deserialize)]
    struct Resources {
        resources: Vec<Served>,
    }
    let list: Resources = serde_json::from_slice(resources).map_err(|_| Malformed::Discovery)?;
    Ok(list.resources.into_iter().find(|resource| resource.name == plural))
}

impl Decoder {
    pub(crate) fn new(skip: Skip, api_version: String, kind: String, compressor: Arc<Compressor>) -> Self {
        Self { skip, api_version, kind, compressor, versionless: false, transform: None, json: Vec::new() }
    }

    /// Changes each object that decodes.
    pub(crate) fn transform(&mut self, transform: Option<Transform>) {
        self.transform = transform;
    }

    /// Accepts objects without a version. Their content stands for it.
    pub(crate) fn accept_versionless(&mut self) {
        self.versionless = true;
    }

    /// Frees what was allocated to decode. A decoder that waits for the next chunk holds nothing.
    pub(crate) fn release(&mut self) {
        self.json = Vec::new();
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.json.capacity()
    }

    /// Decodes one object. Fails only if it is not JSON: then the response is broken, rather than the object.
    pub(crate) fn object<K: Cached>(&mut self, bytes: &[u8]) -> Result<Decoded<K>, Malformed> {
        let error = match self.decode(bytes) {
            Ok(item) => return Ok(Decoded::Item(item)),
            Err(error) => error,
        };
        let metadata = Metadata::of(bytes)?;
        let version = match metadata.resource_version.as_deref().unwrap_or_default() {
            "" if self.versionless => Some(ResourceVersion::of_content(bytes)),
            text => version(text).ok(),
        };
        let key = metadata.key();
        Ok(Decoded::Undecoded(Undecoded { key, uid: metadata.uid, version, error: error.to_string() }))
    }

    fn decode<K: Cached>(&mut self, bytes: &[u8]) -> Result<Item<K>, serde_json::Error> {
        self.json.clear();
        self.json.reserve(bytes.len());
        let defaults = [("apiVersion", &*self.api_version), ("kind", &*self.kind)]
            .map(|(name, value)| (!value.is_empty()).then_some((name, value)));
        self.skip
            .copy(bytes, defaults, &mut self.json)
            .map_err(|NotJson| serde_json::Error::custom("it is not a JSON object"))?;
        // Checking UTF-8 once here is cheaper than once per string.
        let json = str::from_utf8(&self.json).map_err(serde_json::Error::custom)?;
        let mut object: K::Object = serde_json::from_str(json)?;
        let meta = object.meta();
        let key = key(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
        let key = key.ok_or(Malformed::NoName).map_err(serde_json::Error::custom)?;
        let version = match meta.resource_version.as_deref().unwrap_or_default() {
            "" if self.versionless => ResourceVersion::of_content(json.as_bytes()),
            text => version(text).map_err(serde_json::Error::custom)?,
        };
        let transform = self.transform.as_ref().and_then(Transform::of::<K::Object>);
        let transformed = transform.map(|transform| transform.apply(&mut object, K::AS_JSON)).transpose()?;
        let json = transformed.flatten().map_or(Cow::Borrowed(json), Cow::Owned);
        Ok(Item { key, version, object: K::to_stored(object, &json, &self.compressor)? })
    }
}

/// Returns the key of an object, unless no object can have it: it has no name, or one with a NUL, which divides namespace
/// and name in a key.
fn key(namespace: Option<&str>, name: &str) -> Option<ObjectKey> {
    let usable =
        !name.is_empty() && !name.contains('\0') && !namespace.is_some_and(|text| text.contains('\0'));
    usable.then(|| ObjectKey::new(namespace, name))
}

/// The metadata that is read from bookmarks and from objects that fail to decode. Each member is read by itself: one that
/// is wrong does not hide the others. Of members with the same name the last counts, as in Go.
#[derive(Default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    /// Whether there is a namespace, and it is not text.
    odd_namespace: bool,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Metadata {
    /// Fails only if the bytes are not JSON.
    fn of(object: &[u8]) -> Result<Self, Malformed> {
        let text = String::from_utf8_lossy(object);
        let object: &RawValue = serde_json::from_str(&text).map_err(|_| Malformed::Object)?;
        let Some(metadata) = members(object).remove("metadata") else { return Ok(Self::default()) };
        let mut members = members(metadata);
        members.retain(|_, value| value.get() != "null");
        let text = |name| read::<String>(members.get(name)?);
        let (namespace, given) = (text("namespace"), members.contains_key("namespace"));
        Ok(Self {
            name: text("name"),
            odd_namespace: given && namespace.is_none(),
            namespace,
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            annotations: members.get("annotations").and_then(|value| read(value)),
        })
    }

    fn key(&self) -> Option<ObjectKey> {
        let key = key(self.namespace.as_deref(), self.name.as_deref()?);
        key.filter(|_| !self.odd_namespace)
    }
}

/// Returns the members of an object, of which any other value has none.
fn members(value: &RawValue) -> HashMap<String, &RawValue> {
    read(value).unwrap_or_default()
}

fn read<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// Returns the type and the object of an event.
fn envelope(line: &[u8]) -> Result<(Cow<'_, str>, &[u8]), Malformed> {
    // The form that a kube-apiserver writes. Recognizing it saves a second scan of the object.
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use kube::core::DynamicObject;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

    fn decoder(skip: Skip) -> Decoder {
        Decoder::new(skip, "apps/v1".into(), "Deployment".into(), Arc::default())
    }

    fn both() -> Skip {
        let mut skip = Skip::managed_fields();
        skip.last_applied();
        skip
    }

    fn last_applied() -> Skip {
        let mut skip = both();
        skip.keep_managed_fields();
        skip
    }

    /// The object as it is cached.
    fn decoded<K: crate::Object + serde::Serialize>(skip: &Skip, object: &Value) -> Value {
        match decoder(skip.clone()).object::<K>(object.to_string().as_bytes()).unwrap() {
            Decoded::Item(item) => serde_json::to_value(&*item.object).unwrap(),
            Decoded::Undecoded(item) => panic!("{}", item.error),
        }
    }

    /// The object as it is cached, checked to be the same from a compact cache.
    fn compacted<K: crate::Object + serde::Serialize>(skip: &Skip, object: &Value) -> Value {
        match decoder(skip.clone()).object::<crate::Compact<K>>(object.to_string().as_bytes()).unwrap() {
            Decoded::Item(item) => {
                let uid = <crate::Compact<K> as Cached>::uid(&item.object).map(|uid| uid.to_string());
                assert_eq!(uid.as_deref(), object["metadata"]["uid"].as_str());
                let json: Value = serde_json::from_slice(&item.object.to_json()).unwrap();
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
            for skip in [Skip::default(), Skip::managed_fields(), last_applied(), both()] {
                let typed = decoded::<DynamicObject>(&skip, &object);
                assert_eq!(compacted::<DynamicObject>(&skip, &object), typed);
            }
        }
    }

    #[test]
    fn a_uid_is_found_in_the_bytes_however_they_are_written() {
        let mut object = deployment();
        object["metadata"]["ownerReferences"] = json!([{"uid": "12"}]);
        let pretty = serde_json::to_vec_pretty(&object).unwrap();
        object["metadata"].as_object_mut().unwrap().remove("uid");
        let without = object.to_string().into_bytes();
        for (json, uid) in [(pretty, Some("1")), (without, None)] {
            match decoder(Skip::managed_fields()).object::<crate::Compact<DynamicObject>>(&json).unwrap() {
                Decoded::Item(item) => {
                    let found = <crate::Compact<DynamicObject> as Cached>::uid(&item.object);
                    assert_eq!(found.map(|found| found.to_string()).as_deref(), uid);
                }
                Decoded::Undecoded(item) => panic!("{}", item.error),
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
        assert_eq!(decoded::<DynamicObject>(&Skip::managed_fields(), &deployment()), expected);
        assert_eq!(decoded::<Deployment>(&Skip::managed_fields(), &deployment()), expected);
        assert_eq!(decoded::<DynamicObject>(&Skip::default(), &deployment()), deployment());
        assert_eq!(decoded::<Deployment>(&Skip::default(), &deployment()), deployment());
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
        let skipping = last_applied();
        assert_eq!(decoded::<DynamicObject>(&skipping, &object), expected);
        assert_eq!(decoded::<Deployment>(&skipping, &object), expected);
        assert_eq!(decoded::<Deployment>(&Skip::default(), &object), object);
        object["metadata"]["annotations"] = Value::Null;
        expected["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(decoded::<Deployment>(&skipping, &object), expected);
    }

    #[test]
    fn an_object_that_says_what_it_is_keeps_its_word() {
        let mut other = deployment();
        other["apiVersion"] = json!("other/v2");
        assert_eq!(decoded::<DynamicObject>(&Skip::default(), &other), other);
        let mut bare = deployment();
        bare.as_object_mut().unwrap().retain(|name, _| name != "apiVersion" && name != "kind");
        assert_eq!(decoded::<DynamicObject>(&Skip::default(), &bare), deployment());
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
    fn each_member_of_the_metadata_is_read_by_itself() {
        let read =
            |object: &str| match decoder(Skip::managed_fields()).object::<Deployment>(object.as_bytes()) {
                Ok(Decoded::Undecoded(Undecoded { key, uid, version, .. })) => {
                    let key = key.map_or_else(|| "-".to_owned(), |key| key.to_string());
                    let version = version.map_or_else(|| "-".to_owned(), |version| version.to_string());
                    format!("{key} {} {version}", uid.as_deref().unwrap_or("-"))
                }
                Ok(Decoded::Item(item)) => format!("decoded {}", item.key),
                Err(malformed) => malformed.to_string(),
            };
        for (metadata, wanted) in [
            (r#"{"name":"a","namespace":"b","uid":"1","resourceVersion":"7","labels":5}"#, "b/a 1 7"),
            (r#"{"name":"a","namespace":null,"uid":null,"resourceVersion":"7","labels":5}"#, "a - 7"),
            (r#"{"name":"a","namespace":"b","uid":{},"resourceVersion":"7"}"#, "b/a - 7"),
            (r#"{"name":"a","namespace":"b","uid":"1","resourceVersion":7}"#, "b/a 1 -"),
            (r#"{"name":"a","namespace":"b","uid":"1","resourceVersion":"0"}"#, "b/a 1 -"),
            (r#"{"name":"a","namespace":"b","uid":"1"}"#, "b/a 1 -"),
            (r#"{"namespace":"b","uid":"1","resourceVersion":"7"}"#, "- 1 7"),
            (r#"{"name":"","namespace":"b","uid":"1","resourceVersion":"7"}"#, "- 1 7"),
            (r#"{"name":5,"namespace":"b","uid":"1","resourceVersion":"7"}"#, "- 1 7"),
            (r#"{"name":"a\u0000b","namespace":"b","uid":"1","resourceVersion":"7"}"#, "- 1 7"),
            (r#"{"name":"a","namespace":5,"uid":"1","resourceVersion":"7"}"#, "- 1 7"),
            (r#"{"name":"a","namespace":"b\u0000","uid":"1","resourceVersion":"7"}"#, "- 1 7"),
            (r#"{"name":"a","name":"c","namespace":"b","uid":"1","resourceVersion":"7"}"#, "b/c 1 7"),
            ("null", "- - -"),
            ("[5]", "- - -"),
        ] {
            assert_eq!(read(&format!(r#"{{"metadata":{metadata},"spec":5}}"#)), wanted, "{metadata}");
        }
        for object in ["5", "null", "[]", r#""a""#, "{}"] {
            assert_eq!(read(object), "- - -", "{object}");
        }
        assert_eq!(read(r#"{"metadata":{"name":"a","resourceVersion":"7"},}"#), "an object is not JSON");
        assert_eq!(read(r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#), "decoded a");
        assert_eq!(
            read(r#"{"metadata":{"name":"b"},"spec":5,"metadata":{"name":"a","resourceVersion":"7"}}"#),
            "a - 7"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, cut in 0_usize..300) {
            let text = deployment().to_string();
            let part = &text.as_bytes()[..cut.min(text.len())];
            for bytes in [&bytes[..], part] {
                let _ = watch_event(bytes);
                let _ = list_end(bytes);
                let _ = served(bytes, "blogs");
                let _ = decoder(Skip::managed_fields()).object::<DynamicObject>(bytes);
            }
        }
    }
}
