//! What mutating policies do with the values of their expressions: apiserver's `pkg/admission/plugin/policy/mutating/patch`.

use serde_json::{Map, Value as Json};

use crate::{
    functions::{Numbers, json, native},
    go,
    program::Value,
    value::{self, Object},
};

/// Why a value is not a mutation.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct MutationError(String);

impl Value<'_> {
    /// The operations of a JSON patch, as RFC 6902 has them, if the value is a list of `JSONPatch` objects.
    ///
    /// Integers that doubles cannot hold become texts, as protobuf maps them; inside of an `Object` they are rounded.
    ///
    /// # Errors
    /// Fails with kube-apiserver's text if the value is something else, or if the `value` of an operation has no JSON. An
    /// `Object` in it must have the names of its fields' types, and no null, duration or timestamp.
    pub fn to_json_patch(&self) -> Result<Vec<Json>, MutationError> {
        let value::Value::List(list) = &self.0 else {
            return Err(mismatch("JSONPatchType.expression should evaluate to array"));
        };
        let operations = list.iter().map(|element| match element {
            Ok(value::Value::Object(object)) if object.is_patch() => operation(&object),
            _ => Err(mismatch("JSONPatchType.expression should evaluate to array of JSONPatch")),
        });
        operations.collect()
    }

    /// The JSON of an `Object`, which is then applied to the object of the request.
    ///
    /// # Errors
    /// Fails with kube-apiserver's text if the value is something else, or if a part of it has the type of another part: the
    /// type `Object.spec` is for the field `spec`. Also fails if there is null, a duration or a timestamp in it, or a list or map
    /// of the expression inside of another one, which kube-apiserver refuses when it applies the object.
    pub fn to_apply_configuration(&self) -> Result<Json, MutationError> {
        let value::Value::Object(object) = &self.0 else {
            let found = self.type_name();
            let text = format!("unsupported return type from ApplyConfiguration expression: {found}");
            return Err(MutationError(text));
        };
        if object.is_patch() {
            let text = "unsupported return type from ApplyConfiguration expression: JSONPatch";
            return Err(MutationError(text.to_owned()));
        }
        check_type_names(object)?;
        native(object, Numbers::Exact).map_err(|error| MutationError(error.to_string()))
    }
}

fn mismatch(what: &str) -> MutationError {
    MutationError(format!("type mismatch: {what}"))
}

fn operation(patch: &Object<'_>) -> Result<Json, MutationError> {
    let text = |name: &str| patch.fields.get(name).and_then(value::Value::as_str).unwrap_or_default();
    let mut operation = Map::new();
    operation.insert("op".to_owned(), text("op").into());
    operation.insert("path".to_owned(), text("path").into());
    if !text("from").is_empty() {
        operation.insert("from".to_owned(), text("from").into());
    }
    if let Some(value) = patch.fields.get("value") {
        if let value::Value::Object(object) = value
            && !object.is_patch()
        {
            check_type_names(object)?;
        }
        let json = json(value).map_err(|error| {
            let text = "JSONPath valueExpression evaluated to a type that could not marshal to JSON";
            MutationError(format!("{text}: {error}"))
        })?;
        operation.insert("value".to_owned(), json);
    }
    Ok(Json::Object(operation))
}

/// Checks that parts of an object have the types of the fields that they are in: `CheckTypeNamesMatchFieldPathNames`.
fn check_type_names(object: &Object<'_>) -> Result<(), MutationError> {
    let mut errors = Vec::new();
    check_object(object, &object.type_name, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(mismatch(&errors.join("\n"))) }
}

fn check_object(object: &Object<'_>, expected: &str, errors: &mut Vec<String>) {
    if &*object.type_name != expected {
        errors.push(format!(
            "unexpected type name {}, expected {}, which matches field name path from root Object type",
            go::quote(&*object.type_name),
            go::quote(expected)
        ));
    }
    for (name, value) in &object.fields {
        check_value(value, &format!("{expected}.{name}"), errors);
    }
}

fn check_value(value: &value::Value<'_>, expected: &str, errors: &mut Vec<String>) {
    match value {
        value::Value::Object(object) if !object.is_patch() => check_object(object, expected, errors),
        // Lists and maps have no names.
        value::Value::List(value::List::Values(values, _)) => {
            values.iter().for_each(|value| check_value(value, expected, errors));
        }
        value::Value::Map(value::Map::Values(entries)) => {
            entries.values().for_each(|value| check_value(value, expected, errors));
        }
        _ => {}
    }
}
