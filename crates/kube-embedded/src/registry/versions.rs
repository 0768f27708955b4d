//! What becomes of a custom resource's object on its way between the store and a client's version of it.
//!
//! As in kube-apiserver with the conversion strategy None. An object is stored in the storage version, pruned by that one's
//! schema. A read prunes it and fills in defaults by the schema of the version in which it was stored, and then prunes it
//! by that of the version that is asked for. So a change of the definition shows in objects that nobody has written since.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Resource;
use crate::schema::Schema;
use crate::store::{Event, Object};

/// All versions of a definition.
#[derive(Debug)]
pub(crate) struct Versions {
    /// What they were made of: the specification and the accepted names.
    source: Value,
    /// The `apiVersion` in which objects are stored.
    storage: String,
    /// By `apiVersion`; those that are not served too.
    schemas: BTreeMap<String, Arc<Schema>>,
    /// Objects written after this revision are in the store as any version has them. None where schemas differ: no object is.
    plain_after: Option<u64>,
}

impl Versions {
    /// The versions of a definition, as of `revision`. Those whose schemas do not parse are left out.
    pub(super) fn new(definition: &Value, revision: u64) -> Self {
        let spec = &definition["spec"];
        let group = spec["group"].as_str().unwrap_or_default();
        let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
        let name = |version: &Value| format!("{group}/{}", version["name"].as_str().unwrap_or_default());
        let schema = |version: &Value| {
            let openapi = &version["schema"]["openAPIV3Schema"];
            let schema = Schema::parse(openapi, "spec.validation.openAPIV3Schema").ok()?;
            Some((name(version), Arc::new(schema)))
        };
        let alike = versions.windows(2).all(|pair| pair[0]["schema"] == pair[1]["schema"]);
        Self {
            source: source(definition),
            storage: versions.iter().find(|version| version["storage"] == true).map(name).unwrap_or_default(),
            schemas: versions.iter().filter_map(schema).collect(),
            plain_after: alike.then_some(revision),
        }
    }

    /// Whether they are those of a definition.
    pub(crate) fn are_of(&self, definition: &Value) -> bool {
        self.source == source(definition)
    }

    pub(super) fn schema(&self, api_version: &str) -> Option<&Arc<Schema>> {
        self.schemas.get(api_version)
    }

    /// An object of a client as it is stored.
    fn encode<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        if object["apiVersion"] == self.storage.as_str() {
            return Cow::Borrowed(object);
        }
        let mut object = object.clone();
        self.convert(&mut object, &self.storage);
        Cow::Owned(object)
    }

    /// An object of the store in a version.
    fn decode(&self, object: &mut Value, api_version: &str) {
        let stored_in = object["apiVersion"].as_str().and_then(|version| self.schemas.get(version));
        if let Some(schema) = stored_in {
            schema.prune(object);
            schema.default(object);
        }
        if object["apiVersion"] != api_version {
            self.convert(object, api_version);
        }
    }

    fn convert(&self, object: &mut Value, api_version: &str) {
        object["apiVersion"] = api_version.into();
        if let Some(schema) = self.schemas.get(api_version) {
            schema.prune(object);
        }
    }
}

impl Resource {
    /// Whether a stored object is, but for its `apiVersion`, what this version's clients get.
    pub(crate) fn is_plain(&self, object: &Object) -> bool {
        let versions = self.custom.as_ref().map(|custom| &custom.versions);
        versions.is_none_or(|versions| versions.plain_after.is_some_and(|after| object.revision > after))
    }

    /// A stored object as this version's clients get it; its `apiVersion` may be another one.
    pub(crate) fn value(&self, object: &Object) -> Value {
        let value = object.value();
        if self.is_plain(object) { value } else { self.decode(value) }
    }

    /// The JSON of [`Resource::value`]; without a copy where that is what is stored.
    pub(crate) fn bytes(&self, object: &Object) -> Bytes {
        if self.is_plain(object) {
            return object.bytes.clone();
        }
        bytes(&self.decode(object.value()))
    }

    /// The last content of an object that is gone, with the resourceVersion of its end.
    pub(crate) fn last(&self, event: &Event) -> Bytes {
        match &event.old {
            Some(old) if !self.is_plain(old) => {
                let mut last = self.decode(old.value());
                last["metadata"]["resourceVersion"] = event.revision.to_string().into();
                bytes(&last)
            }
            _ => event.last().clone(),
        }
    }

    /// What is stored of an object of a client.
    pub(crate) fn encode<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        match &self.custom {
            Some(custom) => custom.versions.encode(object),
            None => Cow::Borrowed(object),
        }
    }

    /// What clients get of what is stored.
    pub(crate) fn decode(&self, mut stored: Value) -> Value {
        if let Some(custom) = &self.custom {
            custom.versions.decode(&mut stored, &self.api_version());
        }
        stored
    }
}

fn bytes(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// What a change of which makes other versions of a definition.
fn source(definition: &Value) -> Value {
    json!([definition["spec"], definition["status"]["acceptedNames"]])
}
