//! Converts a custom resource's objects between the store and the version of a client.
//!
//! This works as in kube-apiserver with the conversion strategy None. An object is stored in the storage version,
//! pruned by the schema of that version. A read prunes it and adds defaults by the schema of the version in which it
//! was stored, and then prunes it by the schema of the requested version. A change of the definition therefore also
//! affects objects that were not written since.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kube_patch::{ObjectType, StructuralType};
use kube_schema::Schema;
use kube_validation::FieldErrors;
use serde_json::{Value, json};

use super::schemas::Schemas;
use crate::store::AS_IT_IS;

/// All versions of a definition.
#[derive(Debug)]
pub(crate) struct Versions {
    /// The part of the definition that they are derived from: the specification and the accepted names.
    source: Value,
    /// The `apiVersion` in which objects are stored.
    storage: String,
    /// By `apiVersion`, including versions that are not served.
    types: BTreeMap<String, Type>,
    /// The mark of objects that were written through these versions, and are therefore stored in the form that any
    /// version has. `None` if schemas differ, so that no object is.
    plain: Option<u32>,
    /// The webhook that converts objects, if there is one and something to convert: `spec.conversion.webhook`.
    webhook: Option<Value>,
    /// Whether a read may add a status, which a create leaves out: the schema has a default for it.
    defaults_status: bool,
}

/// The type of one version.
#[derive(Debug)]
struct Type {
    schema: Arc<Schema>,
    merge: StructuralType,
}

impl Versions {
    /// Parses the versions of a definition. Versions whose schemas are invalid are left out. `before` are the versions that
    /// are served.
    pub(crate) fn new(definition: &Value, before: Option<&Self>, schemas: &Schemas) -> Self {
        // Different versions never share a mark, so an object that was written through an earlier definition does not
        // pass for one that was written through this one.
        static MARKS: AtomicU32 = AtomicU32::new(1);
        let spec = &definition["spec"];
        let group = spec["group"].as_str().unwrap_or_default();
        let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
        let name = |version: &Value| format!("{group}/{}", version["name"].as_str().unwrap_or_default());
        let read = |version: &Value| {
            let openapi = &version["schema"]["openAPIV3Schema"];
            let path = "spec.validation.openAPIV3Schema";
            let short = version["name"].as_str().unwrap_or_default();
            let schema = Self::parse_schema(before, short, openapi, path, schemas).ok()?;
            Some((name(version), Type { schema, merge: StructuralType::from_schema(openapi) }))
        };
        let types: BTreeMap<_, _> = versions.iter().filter_map(read).collect();
        for it in types.values() {
            schemas.forget(&it.schema);
        }
        let defaults_status = versions
            .iter()
            .any(|version| version.pointer("/schema/openAPIV3Schema/properties/status/default").is_some());
        let conversion = &spec["conversion"];
        let by_webhook = conversion["strategy"] == "Webhook" && versions.len() > 1;
        let alike = !by_webhook && versions.windows(2).all(|pair| pair[0]["schema"] == pair[1]["schema"]);
        Self {
            source: json!(source(definition)),
            storage: versions.iter().find(|version| version["storage"] == true).map(name).unwrap_or_default(),
            types,
            plain: alike.then(|| MARKS.fetch_add(1, Ordering::Relaxed)),
            webhook: by_webhook.then(|| conversion["webhook"].clone()),
            defaults_status,
        }
    }

    /// The webhook that converts objects.
    pub(super) fn webhook(&self) -> Option<&Value> {
        self.webhook.as_ref()
    }

    /// The `apiVersion` in which objects are stored.
    pub(crate) fn storage(&self) -> &str {
        &self.storage
    }

    /// Removes what a version does not have.
    pub(super) fn prune(&self, object: &mut Value, api_version: &str) {
        if let Some(schema) = self.schema(api_version) {
            schema.prune(object);
        }
    }

    /// Parses the schema of a version. `before` are the versions that are served.
    ///
    /// # Errors
    /// Fails with the errors of the schema.
    pub(crate) fn parse_schema(
        before: Option<&Self>,
        version: &str,
        openapi: &Value,
        path: &str,
        schemas: &Schemas,
    ) -> Result<Arc<Schema>, FieldErrors> {
        schemas.parse(openapi, path, before.and_then(|before| before.parsed(version)))
    }

    /// The schema of the version with a name, before and after parsing.
    fn parsed(&self, version: &str) -> Option<(&Value, &Arc<Schema>)> {
        let spec = &self.source[0];
        let versions = spec["versions"].as_array()?;
        let openapi = &versions.iter().find(|it| it["name"] == version)?["schema"]["openAPIV3Schema"];
        Some((openapi, self.schema(&format!("{}/{version}", spec["group"].as_str()?))?))
    }

    /// Whether these are the versions of a definition.
    pub(crate) fn are_of(&self, definition: &Value) -> bool {
        let [spec, names] = source(definition);
        self.source[0] == *spec && self.source[1] == *names
    }

    /// The schema of a version.
    pub(crate) fn schema(&self, api_version: &str) -> Option<&Arc<Schema>> {
        Some(&self.types.get(api_version)?.schema)
    }

    /// How objects of a version are merged.
    pub(super) fn merge_type(&self, api_version: &str) -> Option<ObjectType<'_>> {
        Some(self.types.get(api_version)?.merge.object())
    }

    /// How objects of all versions are merged. Empty if their schemas are the same.
    pub(super) fn merge_types(&self) -> Vec<(&str, ObjectType<'_>)> {
        let differing = self.types.iter().filter(|_| self.plain.is_none());
        differing.map(|(version, it)| (version.as_str(), it.merge.object())).collect()
    }

    /// The first version in the managed fields of an object that the definition does not have.
    pub(super) fn gone_version<'a>(&self, object: &'a Value) -> Option<&'a str> {
        let managers = object["metadata"]["managedFields"].as_array()?;
        let mut versions = managers.iter().filter_map(|manager| manager["apiVersion"].as_str());
        versions.find(|version| !self.types.contains_key(*version))
    }

    /// The mark of an object that is written. `None` if it is not stored in the form that any version has.
    pub(super) fn mark(&self, object: &Value) -> Option<u32> {
        let reads_as_stored = !self.defaults_status || object.get("status").is_some();
        self.plain.filter(|_| reads_as_stored && empty_metadata(object).next().is_none())
    }

    /// Whether a stored object with this mark is what clients of any version get.
    pub(super) fn is_plain(&self, mark: u32) -> bool {
        mark == AS_IT_IS || self.plain == Some(mark)
    }

    /// Converts a client's object to the form in which it is stored, unless that takes a webhook.
    pub(super) fn encode<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        if self.webhook.is_some() || object["apiVersion"] == self.storage.as_str() {
            return Cow::Borrowed(object);
        }
        let mut object = object.clone();
        self.convert(&mut object, &self.storage);
        remove_empty_metadata(&mut object);
        Cow::Owned(object)
    }

    /// Converts a stored object to a version. If that takes a webhook, the object stays in its own.
    pub(super) fn decode(&self, object: &mut Value, api_version: &str) {
        let stored_in = object["apiVersion"].as_str().and_then(|version| self.schema(version));
        if let Some(schema) = stored_in {
            schema.prune(object);
            schema.apply_defaults(object);
        }
        remove_empty_metadata(object);
        if self.webhook.is_none() && object["apiVersion"] != api_version {
            self.convert(object, api_version);
        }
    }

    pub(super) fn convert(&self, object: &mut Value, api_version: &str) {
        object["apiVersion"] = api_version.into();
        self.prune(object, api_version);
    }
}

/// The fields of an object's metadata that are empty. kube-apiserver shows none, but stores those that an apply to a custom
/// resource in its storage version leaves.
pub(crate) fn empty_metadata(object: &Value) -> impl Iterator<Item = &'static str> {
    let fields = ["annotations", "finalizers", "labels", "ownerReferences"];
    fields.into_iter().filter(|field| match object["metadata"].get(field) {
        Some(Value::Null) => true,
        Some(Value::Object(values)) => values.is_empty(),
        Some(Value::Array(values)) => values.is_empty(),
        _ => false,
    })
}

/// Removes them, as each conversion does.
pub(crate) fn remove_empty_metadata(object: &mut Value) {
    let empty: Vec<_> = empty_metadata(object).collect();
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.retain(|field, _| !empty.contains(&field.as_str()));
    }
}

/// The part of a definition that determines its versions.
fn source(definition: &Value) -> [&Value; 2] {
    [&definition["spec"], &definition["status"]["acceptedNames"]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(label: &str, descriptions: [&str; 2]) -> Value {
        let [v1, v2] = descriptions.map(|description| {
            let rules = json!([{"rule": "self.size() > 0"}]);
            let url = json!({"type": "string", "maxLength": 10, "x-kubernetes-validations": rules});
            json!({"openAPIV3Schema": {"type": "object", "description": description, "properties": {"url": url}}})
        });
        json!({
            "metadata": {"labels": {"a": label}},
            "spec": {
                "group": "web.helloworld",
                "versions": [
                    {"name": "v1", "storage": true, "schema": v1},
                    {"name": "v2", "storage": false, "schema": v2},
                ],
            },
        })
    }

    fn schema<'a>(versions: &'a Versions, version: &str) -> &'a Arc<Schema> {
        versions.schema(&format!("web.helloworld/{version}")).unwrap()
    }

    #[test]
    fn a_schema_is_parsed_once() {
        let schemas = Schemas::default();
        let first = definition("1", ["one", "two"]);
        for version in first["spec"]["versions"].as_array().unwrap() {
            let name = version["name"].as_str().unwrap();
            Versions::parse_schema(None, name, &version["schema"]["openAPIV3Schema"], "", &schemas).unwrap();
        }
        let validated = schemas.all();
        let served = Versions::new(&first, None, &schemas);
        assert!(Arc::ptr_eq(schema(&served, "v1"), &validated[0]));
        assert!(Arc::ptr_eq(schema(&served, "v2"), &validated[1]));
        assert!(schemas.all().is_empty(), "what is served is not kept a second time");

        let labelled = Versions::new(&definition("2", ["one", "two"]), Some(&served), &schemas);
        let described = Versions::new(&definition("2", ["one", "changed"]), Some(&labelled), &schemas);
        assert!(Arc::ptr_eq(schema(&served, "v1"), schema(&described, "v1")));
        assert!(!Arc::ptr_eq(schema(&served, "v2"), schema(&described, "v2")));

        let alike = Versions::new(&definition("3", ["same", "same"]), None, &schemas);
        assert!(Arc::ptr_eq(schema(&alike, "v1"), schema(&alike, "v2")));
    }
}
