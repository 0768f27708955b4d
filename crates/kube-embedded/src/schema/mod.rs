//! Structural schemas of custom resources: what they prune, default and refuse.
//!
//! Everything here is a function of its arguments; recursion is bounded by the depth of the schema, which
//! [`Schema::parse`] limits.

mod cel;
mod crd;
mod default;
pub(crate) mod field_path;
mod formats;
mod lists;
mod metadata;
pub(crate) mod names;
mod openapi;
mod openapi_v2;
mod parse;
mod pattern;
mod prune;
mod rules;
mod validate;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

// Until the strategy of CRDs calls it.
#[allow(unused_imports)]
pub(crate) use self::crd::validate_crd_update;
pub(crate) use self::{
    crd::{default_crd, validate_crd},
    metadata::{validate_metadata, validate_metadata_update},
    openapi::openapi_v3,
    openapi_v2::openapi_v2,
};
use crate::field::{FieldError, Path, Reason};

/// A structural schema, parsed from `spec.versions[*].schema.openAPIV3Schema`.
///
/// The schemas under `all_of`, `any_of`, `one_of` and `not` only validate: they have neither defaults nor
/// extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    /// `type`; none with `int_or_string`, `preserve_unknown_fields`, and in a nested schema.
    pub(crate) kind: Option<Type>,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Value>,

    pub(crate) properties: BTreeMap<String, Schema>,
    pub(crate) additional_properties: Option<AdditionalProperties>,
    pub(crate) items: Option<Box<Schema>>,

    /// `x-kubernetes-preserve-unknown-fields`
    pub(crate) preserve_unknown_fields: bool,
    /// `x-kubernetes-embedded-resource`
    pub(crate) embedded_resource: bool,
    /// `x-kubernetes-int-or-string`
    pub(crate) int_or_string: bool,
    /// `x-kubernetes-list-type`
    pub(crate) list_type: ListType,
    /// `x-kubernetes-list-map-keys`, in the order of the schema.
    pub(crate) list_map_keys: Vec<String>,
    /// `x-kubernetes-map-type: atomic`; else granular.
    pub(crate) map_atomic: bool,

    /// The value validations that apply here.
    pub(crate) checks: Checks,

    /// `x-kubernetes-validations` until they are compiled.
    definitions: Vec<cel::Definition>,
    rules: Arc<Vec<cel::Rule>>,
    /// Here or inside.
    has_rules: bool,
}

/// `type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Array,
    Boolean,
    Integer,
    Number,
    Object,
    String,
}

/// `additionalProperties`
#[derive(Clone, Debug)]
pub(crate) enum AdditionalProperties {
    /// `true` or `false`: values without a schema, of which pruning leaves nothing.
    Any(bool),
    /// Values with a schema.
    Schema(Box<Schema>),
}

impl AdditionalProperties {
    /// The schema of a value, if there is one.
    pub(crate) fn schema(&self) -> Option<&Schema> {
        match self {
            Self::Any(_) => None,
            Self::Schema(schema) => Some(schema),
        }
    }
}

/// `x-kubernetes-list-type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    /// The default.
    #[default]
    Atomic,
    Set,
    Map,
}

/// Value validations, which restrict a value and say nothing of its structure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) format: Option<String>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_maximum: bool,
    pub(crate) minimum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) max_length: Option<i64>,
    pub(crate) min_length: Option<i64>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) max_items: Option<i64>,
    pub(crate) min_items: Option<i64>,
    pub(crate) max_properties: Option<i64>,
    pub(crate) min_properties: Option<i64>,
    pub(crate) required: Vec<String>,
    /// Empty: anything.
    pub(crate) r#enum: Vec<Value>,
    pub(crate) all_of: Vec<Schema>,
    pub(crate) any_of: Vec<Schema>,
    pub(crate) one_of: Vec<Schema>,
    pub(crate) not: Option<Box<Schema>>,
}

/// `pattern`
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) source: String,
    pub(crate) regex: regex::Regex,
}

impl Schema {
    /// Parses a schema; the errors are those with which kube-apiserver refuses a CRD, below `path`.
    pub(crate) fn parse(openapi: &Value, path: &str) -> Result<Self, Vec<FieldError>> {
        parse::schema(openapi, path)
    }

    /// The schema of the property `name` of an object.
    pub(crate) fn property(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or_else(|| self.additional_properties.as_ref()?.schema())
    }

    /// Removes what the schema does not know from a whole object, `apiVersion`, `kind` and `metadata` aside; returns
    /// the paths removed, sorted, for `fieldValidation`.
    pub(crate) fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::root(object, self)
    }

    /// Fills in defaults, and drops each `null` that the schema does not allow.
    pub(crate) fn default(&self, object: &mut Value) {
        default::value(object, self);
    }

    /// What is wrong with a whole object; with the stored one, what it already had wrong is let pass (KEP-4008), and the
    /// rules of that kind are the warnings of the response.
    ///
    /// `metadata` is for [`validate_metadata`].
    pub(crate) fn validate_with_warnings(
        &self,
        new: &Value,
        old: Option<&Value>,
    ) -> (Vec<FieldError>, Vec<String>) {
        let path = Path::Root("");
        let mut errors = validate::value(self, new, old, &path);
        metadata::validate_embedded(new, self, &path, &mut errors);
        self.lists_and_rules(new, old, errors)
    }

    /// What is wrong with a whole object of which only `status` is written, and warnings.
    pub(crate) fn validate_status(&self, new: &Value, old: &Value) -> (Vec<FieldError>, Vec<String>) {
        let errors = match (self.properties.get("status"), new.get("status")) {
            (Some(schema), Some(status)) => {
                validate::value(schema, status, old.get("status"), &Path::Root("status"))
            }
            _ => Vec::new(),
        };
        self.lists_and_rules(new, Some(old), errors)
    }

    /// Adds what is twice in lists, and what the rules say, unless the object is wrong in ways that they do not expect.
    fn lists_and_rules(
        &self,
        new: &Value,
        old: Option<&Value>,
        mut errors: Vec<FieldError>,
    ) -> (Vec<FieldError>, Vec<String>) {
        let path = Path::Root("");
        let repeated = |value: &Value| {
            let mut errors = Vec::new();
            lists::validate(value, self, &path, &mut errors);
            errors
        };
        if old.is_none_or(|old| repeated(old).is_empty()) {
            errors.extend(repeated(new));
        }
        if !self.has_rules {
            return (errors, Vec::new());
        }
        let blocks = |error: &FieldError| {
            matches!(
                error.reason,
                Reason::NotSupported
                    | Reason::Required
                    | Reason::TooLong
                    | Reason::TooMany
                    | Reason::TypeInvalid
            )
        };
        if errors.iter().any(blocks) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                          errors to complete validation";
            errors.push(FieldError::invalid("<nil>", &Value::Null, detail));
            return (errors, Vec::new());
        }
        let found = cel::validate(self, new, old, &path);
        errors.extend(found.errors);
        (errors, found.ratcheted.iter().map(ToString::to_string).collect())
    }

    fn has_rules(&self) -> bool {
        self.has_rules
    }
}

#[cfg(test)]
mod tests;
