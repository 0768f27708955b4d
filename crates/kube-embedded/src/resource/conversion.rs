//! Converts objects between the store and the clients of one version of their resource.

use std::borrow::Cow;

use kube_builtin::Ordered;
use serde_json::Value;

use super::resource::Resource;
use crate::json;
use crate::store::{Event, Object};

impl Resource {
    /// Whether a stored object is what this version's clients get, except for its `apiVersion`.
    pub(crate) fn is_plain(&self, object: &Object) -> bool {
        match &self.custom {
            Some(custom) => custom.versions.is_plain(object.mark),
            None => self.stored_in().is_none(),
        }
    }

    /// The mark of an object that is written through this resource.
    pub(crate) fn mark(&self, object: &Value) -> u32 {
        self.custom.as_ref().and_then(|custom| custom.versions.mark(object)).unwrap_or(0)
    }

    /// A stored object as this version's clients get it, except that its `apiVersion` may differ.
    pub(crate) fn value(&self, object: &Object) -> Value {
        let value = object.value();
        if self.is_plain(object) { value } else { self.decode(value) }
    }

    /// Whether writing an object as it is read, `value`, would change nothing. As in kube-apiserver, it is stored once more if it
    /// is stored in another version, lacks new defaults, or has empty metadata.
    pub(crate) fn is_stored_as_read(&self, object: &Object, value: &Value) -> bool {
        self.is_plain(object) || *self.encode(value) == object.value()
    }

    /// The JSON of [`Resource::value`], without a copy if the stored bytes can be used.
    pub(crate) fn bytes<'a>(&self, object: &'a Object) -> Cow<'a, [u8]> {
        match self.is_plain(object) {
            true => Cow::Borrowed(&object.bytes),
            false => Cow::Owned(to_json(&self.decode(object.value()))),
        }
    }

    /// The last content of a removed object, with the resourceVersion of its removal.
    pub(crate) fn last<'a>(&self, event: &'a Event) -> Cow<'a, [u8]> {
        match &event.old {
            Some(old) if !self.is_plain(old) => {
                let mut last = self.decode(old.value());
                last["metadata"]["resourceVersion"] = event.revision.to_string().into();
                to_json(&last).into()
            }
            _ => Cow::Borrowed(event.last()),
        }
    }

    /// Converts a client's object to the form in which it is stored.
    pub(crate) fn encode<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        match &self.custom {
            Some(custom) => custom.versions.encode(object),
            None => match self.stored_in() {
                None => Cow::Borrowed(object),
                Some(api_version) => {
                    let mut stored = object.clone();
                    kube_builtin::convert(&mut stored, api_version);
                    Cow::Owned(stored)
                }
            },
        }
    }

    /// Converts a stored object to the form that clients get.
    pub(crate) fn decode(&self, mut stored: Value) -> Value {
        match &self.custom {
            Some(custom) => custom.versions.decode(&mut stored, &self.api_version()),
            None => kube_builtin::convert(&mut stored, &self.api_version()),
        }
        stored
    }

    /// The `apiVersion` in which objects of a built-in resource are stored, if they have other fields there.
    pub(crate) fn stored_in(&self) -> Option<&'static str> {
        match &*self.collection {
            "autoscaling/horizontalpodautoscalers" => {
                kube_builtin::storage_version(&self.api_version(), &self.kind)
            }
            _ => None,
        }
    }

    /// Converts an object of another version to this one.
    pub(crate) fn converted(&self, mut object: Value) -> Value {
        match &self.custom {
            Some(custom) => custom.versions.convert(&mut object, &self.api_version()),
            None => self.set_type(&mut object),
        }
        object
    }

    /// The webhook that converts its objects between versions, if one does: `spec.conversion.webhook` of its definition.
    pub(crate) fn conversion_webhook(&self) -> Option<&Value> {
        self.custom.as_ref()?.versions.webhook()
    }

    /// The `apiVersion` in which objects of a custom resource are stored.
    pub(crate) fn storage_version(&self) -> Option<&str> {
        Some(self.custom.as_ref()?.versions.storage())
    }

    /// Removes what a version of a custom resource does not have.
    pub(crate) fn prune(&self, object: &mut Value, api_version: &str) {
        if let Some(custom) = &self.custom {
            custom.versions.prune(object, api_version);
        }
    }

    /// Sets an object's `apiVersion` and `kind` to this resource's, and converts the fields of an Event of the other
    /// group.
    pub(crate) fn set_type(&self, object: &mut Value) {
        let api_version = self.api_version();
        kube_builtin::convert(object, &api_version);
        if let Some(object) = object.as_object_mut() {
            object.insert("apiVersion".to_owned(), api_version.into());
            object.insert("kind".to_owned(), self.kind.clone().into());
        }
    }
}

/// The JSON of an object as the store has it.
pub(crate) fn to_json(value: &Value) -> Vec<u8> {
    json::to_vec(&Ordered::of(value))
}
