#![doc = include_str!("../README.md")]

#[cfg(feature = "cel")]
mod cel;
#[cfg(not(feature = "cel"))]
#[path = "without_cel.rs"]
mod cel;
pub mod crd;
mod default;
mod embedded;
mod field_path;
mod formats;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod json;
mod lists;
pub mod metadata;
mod parse;
mod prune;
mod read;
mod rules;
mod scale;
mod schema;
mod validate;
mod warnings;
mod webhook;

use kube_validation::{FieldError, FieldErrors, FieldPath, Reason};
use serde_json::Value;

pub use scale::Scale;
pub use schema::Schema;

/// The result of a validation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    /// The reasons why the object is refused, in kube-apiserver's order. Empty if it is valid.
    pub errors: Vec<FieldError>,
    /// The warnings that kube-apiserver sends: rules that the stored object already breaks, in unchanged fields (KEP-4008).
    pub warnings: Vec<String>,
}

impl Schema {
    /// Parses `spec.versions[*].schema.openAPIV3Schema` of a CRD, and compiles its rules.
    ///
    /// `path` is the location of the schema, for the fields of errors, such as `spec.validation.openAPIV3Schema`.
    ///
    /// # Errors
    /// Fails with all errors for which kube-apiserver refuses the schema: it is not structural, a default is not valid, a
    /// rule does not compile or could cost too much.
    pub fn parse(openapi: &Value, path: &str) -> Result<Self, FieldErrors> {
        parse::schema(openapi, path, None).map_err(FieldErrors)
    }

    /// Parses a schema that replaces another one. Rules that the other one has in the same place, about the same declarations,
    /// are not compiled again; and rules of the other one may use what kube-apiserver refuses in new rules, such as functions
    /// that its predecessor does not have.
    ///
    /// # Errors
    /// As [`Schema::parse`].
    pub fn parse_update(openapi: &Value, path: &str, previous: &Self) -> Result<Self, FieldErrors> {
        parse::schema(openapi, path, Some(previous)).map_err(FieldErrors)
    }

    /// Removes the fields that the schema does not specify from a whole object, except `apiVersion`, `kind` and `metadata`.
    ///
    /// Returns the removed paths, sorted: kube-apiserver warns about them or refuses them, depending on `fieldValidation`.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::root(object, self)
    }

    /// Decodes the `metadata` of embedded resources. `decode_metadata` reads one into Go's `ObjectMeta` and writes it again.
    ///
    /// # Errors
    /// Fails if the type of a resource is not text, or with the error of `decode_metadata`.
    pub fn decode_embedded(
        &self,
        object: &mut Value,
        decode_metadata: &dyn Fn(&Value) -> Result<Value, String>,
    ) -> Result<(), FieldError> {
        embedded::decode(object, self, &FieldPath::Root(""), decode_metadata)
    }

    /// Fills in defaults, and removes each `null` that the schema does not allow. Prune the object first.
    pub fn apply_defaults(&self, object: &mut Value) {
        default::value(object, self);
    }

    /// Fills in defaults, also for each `null` that has one and is not allowed. Other nulls stay.
    pub fn fill_defaults(&self, object: &mut Value) {
        default::fill(object, self);
    }

    /// Validates a whole object that was pruned and defaulted. `old` is the stored object that it replaces: errors in
    /// unchanged values are accepted (KEP-4008). `scale` is where the object's replicas are, which must be between 0 and
    /// 2,147,483,647.
    ///
    /// `metadata` are the errors of [`metadata::validate`] or [`metadata::validate_update`], which come first. Some of them
    /// keep rules from running, too.
    pub fn validate(
        &self,
        new: &Value,
        old: Option<&Value>,
        scale: Option<&Scale>,
        metadata: Vec<FieldError>,
    ) -> Validation {
        let path = FieldPath::Root("");
        let mut errors = metadata;
        errors.extend(validate::value(self, new, old, &path));
        if let Some(scale) = scale {
            scale.validate_spec(new, &mut errors);
            scale.validate_status(new, &mut errors);
        }
        metadata::validate_embedded(new, self, &path, &mut errors);
        self.lists_and_rules(new, old, errors)
    }

    /// Validates a whole object when a request writes only its `status`. `metadata` is as for [`Schema::validate`].
    pub fn validate_status(
        &self,
        new: &Value,
        old: &Value,
        scale: Option<&Scale>,
        metadata: Vec<FieldError>,
    ) -> Validation {
        let errors = match (self.properties.get("status"), new.get("status")) {
            // An apply may leave null there.
            (Some(schema), Some(status)) if !status.is_null() => {
                validate::value(schema, status, old.get("status"), &FieldPath::Root(""))
            }
            _ => Vec::new(),
        };
        let moved = |error| validate::moved(error, &FieldPath::Root("status"));
        let mut errors: Vec<_> = metadata.into_iter().chain(errors.into_iter().map(moved)).collect();
        if let Some(scale) = scale {
            scale.validate_status(new, &mut errors);
        }
        self.lists_and_rules(new, Some(old), errors)
    }

    /// Adds the errors of duplicates in lists and of rules. Rules do not run after an error that breaks their assumptions.
    fn lists_and_rules(&self, new: &Value, old: Option<&Value>, mut errors: Vec<FieldError>) -> Validation {
        let path = FieldPath::Root("");
        let repeated = |value: &Value| {
            let mut errors = Vec::new();
            lists::validate(value, self, &path, &mut errors);
            errors
        };
        if old.is_none_or(|old| repeated(old).is_empty()) {
            errors.extend(repeated(new));
        }
        if !self.has_rules {
            return Validation { errors, warnings: Vec::new() };
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
            return Validation { errors, warnings: Vec::new() };
        }
        let found = cel::validate(self, new, old, &path);
        errors.extend(found.errors);
        let warnings = found.ratcheted.iter().map(ToString::to_string).collect();
        Validation { errors, warnings }
    }
}

#[cfg(test)]
mod tests;
