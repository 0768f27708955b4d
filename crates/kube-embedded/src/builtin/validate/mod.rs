//! What kube-apiserver refuses of the built-in kinds that programs write most: `pkg/apis/*/validation`, in its order and words.
//!
//! Objects have their types and defaults already. Errors of `metadata` come first and are not told here. Where the real
//! messages show a Go struct, these show what is in the object.

mod core;
mod cron;
mod pod;
mod rbac;
mod status;
mod workload;

use serde_json::{Map, Value};

use crate::field::{FieldError, Path};
use crate::schema::names;
use crate::selector::LabelSelector;

/// What is wrong with a new object, beyond its metadata.
pub(crate) fn create(group: &str, kind: &str, object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    finalizers(object, &mut errors);
    whole(group, kind, object, &mut errors);
    errors.0
}

/// What is wrong with an object that replaces `old`, beyond its metadata.
pub(crate) fn update(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let e = &mut errors;
    match (group, kind) {
        ("", "Pod") => pod::update(new, old, e),
        ("", "ConfigMap" | "Secret") => {
            core::update_data(kind, new, old, e);
            whole(group, kind, new, e);
        }
        ("", "Service") => {
            core::update_service(new, old, e);
            whole(group, kind, new, e);
        }
        ("apps" | "batch", _) => workload::update(kind, new, old, e),
        ("rbac.authorization.k8s.io", _) => {
            whole(group, kind, new, e);
            rbac::update(new, old, e);
        }
        _ => whole(group, kind, new, e),
    }
    errors.0
}

/// What is wrong with an object whose status replaces that of `old`.
pub(crate) fn update_status(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    if group == "apps" {
        status::update(kind, new, old, &mut errors);
    }
    errors.0
}

fn whole(group: &str, kind: &str, object: &Value, errors: &mut Errors) {
    match (group, kind) {
        ("", "ConfigMap") => core::config_map(object, errors),
        ("", "Secret") => core::secret(object, errors),
        ("", "Service") => core::service(object, errors),
        ("", "Namespace") => core::namespace(object, errors),
        ("", "Pod") => pod::create(object, errors),
        ("apps" | "batch", _) => workload::create(kind, object, errors),
        ("coordination.k8s.io", "Lease") => core::lease(object, errors),
        ("rbac.authorization.k8s.io", _) => rbac::create(kind, object, errors),
        _ => {}
    }
}

/// A finalizer belongs to somebody, or is one of kube-apiserver's.
fn finalizers(object: &Value, errors: &mut Errors) {
    let list = Path::Root("metadata.finalizers");
    for (index, finalizer) in items(&object["metadata"]["finalizers"]).iter().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        if !name.contains('/') && !["foregroundDeletion", "kubernetes", "orphan"].contains(&name) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(list.index(index), finalizer, detail));
        }
    }
}

/// The errors found so far.
#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// Refuses a number below zero, and says whether there is one above.
    fn not_negative(&mut self, object: &Value, field: &str, path: &Path<'_>) {
        if object[field].as_f64().is_some_and(|number| number < 0.0) {
            let detail = "must be greater than or equal to 0";
            self.push(FieldError::invalid(path.child(field), &object[field], detail));
        }
    }

    /// Refuses a number out of a range, if there is one.
    fn within(&mut self, value: &Value, low: i64, high: i64, path: Path<'_>) {
        if value.as_i64().is_some_and(|number| !(low..=high).contains(&number)) {
            self.push(FieldError::invalid(
                path,
                value,
                &format!("must be between {low} and {high}, inclusive"),
            ));
        }
    }

    /// Refuses a text that is none of those supported, if there is one.
    fn one_of(&mut self, value: &Value, supported: &[&str], path: Path<'_>) {
        if value.as_str().is_some_and(|text| !supported.contains(&text)) {
            self.push(FieldError::not_supported(path, value, supported));
        }
    }

    /// Refuses an empty text, and says whether it did.
    fn required(&mut self, object: &Value, field: &str, path: &Path<'_>, detail: &str) -> bool {
        let is_empty = text(object, field).is_empty();
        if is_empty {
            self.push(FieldError::required(path.child(field), detail));
        }
        is_empty
    }

    /// Adds what a check has against a text.
    fn named(&mut self, value: &str, check: fn(&str) -> Vec<String>, path: Path<'_>) {
        for why in check(value) {
            self.push(FieldError::invalid(path, &value.into(), &why));
        }
    }

    fn labels(&mut self, labels: &Value, path: Path<'_>) {
        for (key, value) in members(labels) {
            self.named(key, names::qualified_name, path);
            self.named(value.as_str().unwrap_or_default(), names::label_value, path);
        }
    }

    /// A `LabelSelector`; none if it is not one.
    fn selector(&mut self, selector: &Value, path: Path<'_>) -> Option<LabelSelector> {
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
        }
        LabelSelector::from_object(selector)
    }

    /// Refuses a field that is not what it was.
    fn immutable(&mut self, new: &Value, old: &Value, path: Path<'_>) {
        if new != old {
            self.push(FieldError::invalid(path, new, "field is immutable"));
        }
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(key, value)| (key.as_str(), value))
}

/// A port's number.
fn port_number(value: &Value) -> bool {
    value.as_i64().is_some_and(|port| (1..=65535).contains(&port))
}

const PORT: &str = "must be between 1 and 65535, inclusive";

/// What is wrong with the name of a port (RFC 6335).
fn port_name(name: &str) -> Vec<String> {
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

/// A port's number, or the name of one.
fn port_or_name(value: &Value, path: Path<'_>, errors: &mut Errors) {
    match value {
        Value::String(name) => errors.named(name, port_name, path),
        value if port_number(value) => {}
        value => errors.push(FieldError::invalid(path, value, PORT)),
    }
}

/// What is wrong with an address.
fn address(text: &str) -> Vec<String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

/// What is wrong with the key of a ConfigMap or Secret.
fn config_key(key: &str) -> Vec<String> {
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
