//! Validation errors at fields, with the messages of apimachinery's `field.Error`.

use std::fmt;

use serde_json::Value;

use crate::go::{aggregate, json, number, quote};

/// The kind of a field error: the `reason` of a cause in a `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `FieldValueRequired`
    Required,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
    /// `FieldValueNotSupported`
    NotSupported,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
    /// `FieldValueNotFound`
    NotFound,
    /// `InternalError`
    Internal,
}

/// One error at one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// The kind of error.
    pub reason: Reason,
    /// The path of the field, such as `spec.items[0].name`; `<nil>` for the root of an object.
    pub field: String,
    /// The message without the field: `Invalid value: "x": must be ...`, `Required value`.
    pub message: String,
}

impl Reason {
    /// Returns the reason as it appears in a cause of a `Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::Internal => "InternalError",
        }
    }
}

impl FieldError {
    /// `Required value: DETAIL`
    pub fn required(field: impl fmt::Display, detail: &str) -> Self {
        Self::bare(Reason::Required, "Required value", field, detail)
    }

    /// `Forbidden: DETAIL`
    pub fn forbidden(field: impl fmt::Display, detail: &str) -> Self {
        Self::bare(Reason::Forbidden, "Forbidden", field, detail)
    }

    /// `Internal error: DETAIL`
    pub fn internal(field: impl fmt::Display, detail: &str) -> Self {
        Self::bare(Reason::Internal, "Internal error", field, detail)
    }

    /// `Too long: may not be more than MAX bytes`; the value is omitted.
    pub fn too_long(field: impl fmt::Display, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        Self::bare(Reason::TooLong, "Too long", field, &format!("may not be more than {max} {unit}"))
    }

    /// `Too long: may not be more than MAX characters`; the value is omitted.
    pub fn too_long_characters(field: impl fmt::Display, max: usize) -> Self {
        let unit = if max == 1 { "character" } else { "characters" };
        Self::bare(Reason::TooLong, "Too long", field, &format!("may not be more than {max} {unit}"))
    }

    /// `Too many: ACTUAL: must have at most MAX items`
    pub fn too_many(field: impl fmt::Display, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self::bare(
            Reason::TooMany,
            &format!("Too many: {actual}"),
            field,
            &format!("must have at most {max} {unit}"),
        )
    }

    /// `Invalid value: VALUE: DETAIL`
    pub fn invalid(field: impl fmt::Display, value: &Value, detail: &str) -> Self {
        Self::bare(Reason::Invalid, &format!("Invalid value: {}", Shown(value)), field, detail)
    }

    /// `Invalid value: VALUE: DETAIL`, for a value of the wrong type.
    pub fn type_invalid(field: impl fmt::Display, value: &Value, detail: &str) -> Self {
        Self::bare(Reason::TypeInvalid, &format!("Invalid value: {}", Shown(value)), field, detail)
    }

    /// `Unsupported value: VALUE: supported values: "a", "b"`
    pub fn not_supported<S: AsRef<str>>(field: impl fmt::Display, value: &Value, supported: &[S]) -> Self {
        let supported: Vec<_> = supported.iter().map(|value| quote(value.as_ref())).collect();
        let detail = if supported.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", supported.join(", "))
        };
        Self::bare(Reason::NotSupported, &format!("Unsupported value: {}", Shown(value)), field, &detail)
    }

    /// Like [`FieldError::not_supported`], with the value already formatted.
    pub fn not_supported_shown(field: impl fmt::Display, shown: &str, supported: &[&str]) -> Self {
        let supported: Vec<_> = supported.iter().map(quote).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        Self::bare(Reason::NotSupported, &format!("Unsupported value: {shown}"), field, &detail)
    }

    /// `Not found: VALUE`
    pub fn not_found(field: impl fmt::Display, value: &Value) -> Self {
        Self::bare(Reason::NotFound, &format!("Not found: {}", Shown(value)), field, "")
    }

    /// `Duplicate value: SHOWN`, with the value already formatted.
    pub fn duplicate_shown(field: impl fmt::Display, shown: &str) -> Self {
        Self::bare(Reason::Duplicate, &format!("Duplicate value: {shown}"), field, "")
    }

    /// `Invalid value: DETAIL`, for a value that is not worth showing.
    pub fn invalid_omitted(field: impl fmt::Display, detail: &str) -> Self {
        Self::bare(Reason::Invalid, "Invalid value", field, detail)
    }

    /// `Invalid value: SHOWN: DETAIL`, with the value already formatted.
    pub fn invalid_shown(field: impl fmt::Display, shown: &str, detail: &str) -> Self {
        Self::bare(Reason::Invalid, &format!("Invalid value: {shown}"), field, detail)
    }

    /// `Duplicate value`, for a value that is not worth showing.
    pub fn duplicate_omitted(field: impl fmt::Display) -> Self {
        Self::bare(Reason::Duplicate, "Duplicate value", field, "")
    }

    /// `Duplicate value: VALUE`
    pub fn duplicate(field: impl fmt::Display, value: &Value) -> Self {
        Self::bare(Reason::Duplicate, &format!("Duplicate value: {}", Shown(value)), field, "")
    }

    fn bare(reason: Reason, what: &str, field: impl fmt::Display, detail: &str) -> Self {
        let message = if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") };
        Self { reason, field: field.to_string(), message }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// All errors of an object.
///
/// [`Display`](fmt::Display) prints them as `ErrorList.ToAggregate` does: a single error as it is, several in brackets, and
/// equal messages only once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = Vec::with_capacity(self.0.len());
        for error in &self.0 {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        f.write_str(&aggregate(&texts))
    }
}

impl std::error::Error for FieldErrors {}

/// A path to a field, built while walking an object and formatted only when an error needs it.
#[derive(Clone, Copy, Debug)]
pub enum FieldPath<'a> {
    /// The start of the walk; `""` is the object itself.
    Root(&'a str),
    /// `PATH.name`
    Child(&'a FieldPath<'a>, &'a str),
    /// `PATH[key]`
    Key(&'a FieldPath<'a>, &'a str),
    /// `PATH[index]`
    Index(&'a FieldPath<'a>, usize),
}

impl<'a> FieldPath<'a> {
    /// `self.name`
    pub fn child(&'a self, name: &'a str) -> Self {
        Self::Child(self, name)
    }

    /// `self[key]`
    pub fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    /// `self[index]`
    pub fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    /// Returns whether this is the object itself.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Root(""))
    }
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(root) => f.write_str(root),
            Self::Child(parent, name) if parent.is_empty() => f.write_str(name),
            Self::Child(parent, name) => write!(f, "{parent}.{name}"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Formats a value for a message.
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(&quote(text)),
            Value::Number(value) => f.write_str(&number(value)),
            value => f.write_str(&json(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn several_errors_are_printed_as_a_list() {
        let [a, b] = ["a", "b"].map(|field| FieldError::required(field, ""));
        assert_eq!(FieldErrors(vec![a.clone()]).to_string(), "a: Required value");
        assert_eq!(FieldErrors(vec![a.clone(), a.clone()]).to_string(), "a: Required value");
        assert_eq!(FieldErrors(vec![a, b]).to_string(), "[a: Required value, b: Required value]");
    }

    #[test]
    fn messages_are_apimachinerys() {
        let root = FieldPath::Root("");
        let spec = root.child("spec");
        let items = spec.child("items");
        let item = items.index(3);
        let labels = item.key("a/b");
        assert_eq!(FieldError::required(labels, "").to_string(), "spec.items[3][a/b]: Required value");
        assert_eq!(
            FieldError::invalid("a", &json!("x\"\n"), "must be y").to_string(),
            r#"a: Invalid value: "x\"\n": must be y"#
        );
        assert_eq!(
            FieldError::not_supported("a", &json!(3), &["1", "2"]).to_string(),
            r#"a: Unsupported value: 3: supported values: "1", "2""#
        );
        assert_eq!(FieldError::too_long("a", 63).to_string(), "a: Too long: may not be more than 63 bytes");
        assert_eq!(FieldError::too_many("a", 9, 8).to_string(), "a: Too many: 9: must have at most 8 items");
        assert_eq!(
            FieldError::duplicate("a", &json!({"k": 1})).to_string(),
            r#"a: Duplicate value: {"k":1}"#
        );
        assert_eq!(
            FieldError::invalid("a", &json!(["<&>", 2.0]), "b").to_string(),
            r#"a: Invalid value: ["\u003c\u0026\u003e",2]: b"#
        );
        assert_eq!(FieldError::type_invalid("a", &Value::Null, "b").to_string(), "a: Invalid value: null: b");
    }
}
