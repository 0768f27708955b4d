//! Objects between the store and the clients of one version of their resource.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use super::resource::Resource;
use crate::store::{Event, Object};

impl Resource {
    /// Whether a stored object is, but for its `apiVersion`, what this version's clients get.
    pub(crate) fn is_plain(&self, object: &Object) -> bool {
        let versions = self.custom.as_ref().map(|custom| &custom.versions);
        versions.is_none_or(|versions| versions.plain == Some(object.mark))
    }

    /// The mark of an object that is written through this resource.
    pub(crate) fn mark(&self) -> u32 {
        self.custom.as_ref().and_then(|custom| custom.versions.plain).unwrap_or(0)
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
        to_json(&self.decode(object.value()))
    }

    /// The last content of an object that is gone, with the resourceVersion of its end.
    pub(crate) fn last(&self, event: &Event) -> Bytes {
        match &event.old {
            Some(old) if !self.is_plain(old) => {
                let mut last = self.decode(old.value());
                last["metadata"]["resourceVersion"] = event.revision.to_string().into();
                to_json(&last)
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

    /// Gives an object this resource's `apiVersion` and `kind`, and an Event of the other group the fields of this one.
    pub(crate) fn set_type(&self, object: &mut Value) {
        let api_version = self.api_version();
        kube_builtin::convert(object, &api_version);
        if let Some(object) = object.as_object_mut() {
            object.insert("apiVersion".to_owned(), api_version.into());
            object.insert("kind".to_owned(), self.kind.clone().into());
        }
    }
}

/// A value's JSON, as the store has it: with sorted keys.
pub(crate) fn to_json(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
