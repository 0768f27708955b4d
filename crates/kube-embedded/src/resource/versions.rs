//! What becomes of a custom resource's object on its way between the store and a client's version of it.
//!
//! As in kube-apiserver with the conversion strategy None. An object is stored in the storage version, pruned by that one's
//! schema. A read prunes it and fills in defaults by the schema of the version in which it was stored, and then prunes it by
//! that of the version that is asked for. So a change of the definition shows in objects that nobody has written since.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kube_patch::{ObjectType, StructuralType};
use kube_schema::Schema;
use serde_json::{Value, json};

/// All versions of a definition.
#[derive(Debug)]
pub(crate) struct Versions {
    /// What they were made of: the specification and the accepted names.
    source: Value,
    /// The `apiVersion` in which objects are stored.
    storage: String,
    /// By `apiVersion`; those that are not served too.
    types: BTreeMap<String, Type>,
    /// The mark of objects that are in the store as any version has them: those written through these versions. `None` where
    /// schemas differ, and no object is.
    pub(super) plain: Option<u32>,
}

/// The type of one version.
#[derive(Debug)]
struct Type {
    schema: Arc<Schema>,
    merge: StructuralType,
}

impl Versions {
    /// The versions of a definition. Those whose schemas do not parse are left out.
    pub(crate) fn new(definition: &Value) -> Self {
        // No two versions that differ have one mark, so an object that was written through a definition as it was before does not
        // pass for one that was written through this one.
        static MARKS: AtomicU32 = AtomicU32::new(1);
        let spec = &definition["spec"];
        let group = spec["group"].as_str().unwrap_or_default();
        let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
        let name = |version: &Value| format!("{group}/{}", version["name"].as_str().unwrap_or_default());
        let read = |version: &Value| {
            let openapi = &version["schema"]["openAPIV3Schema"];
            let schema = Arc::new(Schema::parse(openapi, "spec.validation.openAPIV3Schema").ok()?);
            Some((name(version), Type { schema, merge: StructuralType::from_schema(openapi) }))
        };
        let alike = versions.windows(2).all(|pair| pair[0]["schema"] == pair[1]["schema"]);
        Self {
            source: source(definition),
            storage: versions.iter().find(|version| version["storage"] == true).map(name).unwrap_or_default(),
            types: versions.iter().filter_map(read).collect(),
            plain: alike.then(|| MARKS.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Whether they are those of a definition.
    pub(crate) fn are_of(&self, definition: &Value) -> bool {
        self.source == source(definition)
    }

    /// The schema of a version.
    pub(crate) fn schema(&self, api_version: &str) -> Option<&Arc<Schema>> {
        Some(&self.types.get(api_version)?.schema)
    }

    /// How objects of a version merge.
    pub(super) fn merge_type(&self, api_version: &str) -> Option<ObjectType<'_>> {
        Some(self.types.get(api_version)?.merge.object())
    }

    /// An object of a client as it is stored.
    pub(super) fn encode<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        if object["apiVersion"] == self.storage.as_str() {
            return Cow::Borrowed(object);
        }
        let mut object = object.clone();
        self.convert(&mut object, &self.storage);
        Cow::Owned(object)
    }

    /// An object of the store in a version.
    pub(super) fn decode(&self, object: &mut Value, api_version: &str) {
        let stored_in = object["apiVersion"].as_str().and_then(|version| self.schema(version));
        if let Some(schema) = stored_in {
            schema.prune(object);
            schema.apply_defaults(object);
        }
        if object["apiVersion"] != api_version {
            self.convert(object, api_version);
        }
    }

    fn convert(&self, object: &mut Value, api_version: &str) {
        object["apiVersion"] = api_version.into();
        if let Some(schema) = self.schema(api_version) {
            schema.prune(object);
        }
    }
}

/// What a change of which makes other versions of a definition.
fn source(definition: &Value) -> Value {
    json!([definition["spec"], definition["status"]["acceptedNames"]])
}
