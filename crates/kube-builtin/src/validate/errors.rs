//! The collected errors, and the checks that several kinds share.

use std::collections::HashSet;

use kube_validation::{FieldError, FieldPath, names};
use serde_json::{Map, Value};

/// How much text of errors is collected, in bytes. What is refused for so many reasons has more of them than anybody reads, and
/// each may quote a long value.
const TEXT_MAX: usize = 1024 * 1024;

/// The collected errors.
#[derive(Default)]
pub(super) struct Errors {
    pub(super) all: Vec<FieldError>,
    /// The length of their texts.
    size: usize,
}

impl Errors {
    /// Returns the errors, each of them once, as kube-apiserver reports them.
    pub(super) fn distinct(self) -> Vec<FieldError> {
        let mut seen = HashSet::new();
        let mut all = self.all;
        all.retain(|error| seen.insert((error.field.clone(), error.message.clone())));
        all
    }

    /// Adds an error, unless there are too many.
    pub(super) fn push(&mut self, error: FieldError) {
        if !self.is_full() {
            self.size += error.field.len() + error.message.len();
            self.all.push(error);
        }
    }

    /// Whether no more errors are collected.
    pub(super) fn is_full(&self) -> bool {
        self.size > TEXT_MAX
    }

    /// Refuses a negative number.
    pub(super) fn not_negative(&mut self, object: &Value, field: &str, path: &FieldPath<'_>) {
        if object[field].as_f64().is_some_and(|number| number < 0.0) {
            let detail = "must be greater than or equal to 0";
            self.push(FieldError::invalid(path.child(field), &object[field], detail));
        }
    }

    /// Refuses an integer outside of a range. Absent values pass.
    pub(super) fn within(&mut self, value: &Value, low: i64, high: i64, path: FieldPath<'_>) {
        if value.as_i64().is_some_and(|number| !(low..=high).contains(&number)) {
            self.push(FieldError::invalid(
                path,
                value,
                &format!("must be between {low} and {high}, inclusive"),
            ));
        }
    }

    /// Refuses a text that is not among the supported ones. Absent values pass.
    pub(super) fn one_of(&mut self, value: &Value, supported: &[&str], path: FieldPath<'_>) {
        if value.as_str().is_some_and(|text| !supported.contains(&text)) {
            self.push(FieldError::not_supported(path, value, supported));
        }
    }

    /// Refuses a text that is absent, or not among the supported ones.
    pub(super) fn required_one_of(
        &mut self,
        object: &Value,
        field: &str,
        path: &FieldPath<'_>,
        supported: &[&str],
    ) {
        match &object[field] {
            Value::Null => self.push(FieldError::required(path.child(field), "")),
            value => self.one_of(value, supported, path.child(field)),
        }
    }

    /// Calls `check` with each item of a list and its path, until there are too many errors.
    pub(super) fn each(
        &mut self,
        object: &Value,
        field: &str,
        path: &FieldPath<'_>,
        mut check: impl FnMut(&Value, &FieldPath<'_>, &mut Self),
    ) {
        let list = path.child(field);
        for (index, item) in items(&object[field]).iter().enumerate() {
            if self.is_full() {
                break;
            }
            check(item, &list.index(index), self);
        }
    }

    /// Refuses an empty text. Returns whether it was empty.
    pub(super) fn required(
        &mut self,
        object: &Value,
        field: &str,
        path: &FieldPath<'_>,
        detail: &str,
    ) -> bool {
        let is_empty = text(object, field).is_empty();
        if is_empty {
            self.push(FieldError::required(path.child(field), detail));
        }
        is_empty
    }

    /// Adds the problems that a check finds in a text.
    pub(super) fn named(&mut self, value: &str, check: fn(&str) -> Vec<String>, path: FieldPath<'_>) {
        for why in check(value) {
            self.push(FieldError::invalid(path, &value.into(), &why));
        }
    }

    pub(super) fn labels(&mut self, labels: &Value, path: FieldPath<'_>) {
        for (key, value) in members(labels) {
            self.named(key, names::qualified_name, path);
            self.named(value.as_str().unwrap_or_default(), names::label_value, path);
        }
    }

    /// Refuses a malformed `LabelSelector`.
    pub(super) fn selector(&mut self, selector: &Value, path: FieldPath<'_>) {
        self.labels(&selector["matchLabels"], path.child("matchLabels"));
        let expressions = path.child("matchExpressions");
        for (index, expression) in items(&selector["matchExpressions"]).iter().enumerate() {
            let path = expressions.index(index);
            let empty = items(&expression["values"]).is_empty();
            match text(expression, "operator") {
                "In" | "NotIn" if empty => {
                    let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                    self.push(FieldError::required(path.child("values"), detail));
                }
                "Exists" | "DoesNotExist" if !empty => {
                    let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    self.push(FieldError::forbidden(path.child("values"), detail));
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                _ => {
                    let detail = "not a valid selector operator";
                    self.push(FieldError::invalid(path.child("operator"), &expression["operator"], detail));
                }
            }
            self.named(text(expression, "key"), names::qualified_name, path.child("key"));
            let values = path.child("values");
            for (index, value) in items(&expression["values"]).iter().enumerate() {
                self.named(value.as_str().unwrap_or_default(), names::label_value, values.index(index));
            }
        }
    }

    /// Refuses a field that has changed.
    pub(super) fn immutable(&mut self, new: &Value, old: &Value, path: FieldPath<'_>) {
        if new != old {
            self.push(FieldError::invalid(path, new, "field is immutable"));
        }
    }

    /// Refuses a field that has changed, by a rule that is declared in a tag. Such rules do not show the value.
    pub(super) fn declared_immutable(&mut self, new: &Value, old: &Value, path: FieldPath<'_>) {
        if new != old {
            self.push(FieldError::invalid(path, &Value::Null, "field is immutable"));
        }
    }
}

pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(key, value)| (key.as_str(), value))
}

/// Returns whether a value is a valid port number.
pub(super) fn port_number(value: &Value) -> bool {
    value.as_i64().is_some_and(|port| (1..=65535).contains(&port))
}

pub(super) const PORT: &str = "must be between 1 and 65535, inclusive";

/// Returns the problems of a port's name (RFC 6335).
pub(super) fn port_name(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.len() > 15 {
        wrong.push("must be no more than 15 characters".to_owned());
    }
    if !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.bytes().any(|c| c.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// Checks a port's number or name.
pub(super) fn port_or_name(value: &Value, path: FieldPath<'_>, errors: &mut Errors) {
    match value {
        Value::String(name) => errors.named(name, port_name, path),
        value if port_number(value) => {}
        value => errors.push(FieldError::invalid(path, value, PORT)),
    }
}

/// Returns the problems of a key in a ConfigMap or Secret.
pub(super) fn config_key(key: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if key.len() > 253 {
        wrong.push("must be no more than 253 characters".to_owned());
    }
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
    match key {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        _ if key.is_empty() || !key.bytes().all(is_plain) => wrong.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        ),
        _ if key.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// Checks a number that is not negative, or a percentage.
pub(super) fn int_or_percent(value: &Value, path: FieldPath<'_>, errors: &mut Errors) {
    match value {
        Value::String(text) => {
            let digits = text.strip_suffix('%').unwrap_or_default();
            if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
                let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or \
                              '93%', regex used for validation is '[0-9]+%')";
                errors.push(FieldError::invalid(path, value, detail));
            }
        }
        value if value.as_i64().is_some_and(|number| number < 0) => {
            errors.push(FieldError::invalid(path, value, "must be greater than or equal to 0"));
        }
        _ => {}
    }
}

/// Refuses a percentage of more than 100.
pub(super) fn not_more_than_all(value: &Value, path: FieldPath<'_>, errors: &mut Errors) {
    let percent = value.as_str().and_then(|it| it.strip_suffix('%')?.parse::<u32>().ok());
    if percent.is_some_and(|it| it > 100) {
        errors.push(FieldError::invalid(path, value, "must not be greater than 100%"));
    }
}
