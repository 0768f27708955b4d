//! Validation errors at fields, worded as apimachinery's `field.Error`.

use std::fmt;

use serde_json::Value;

/// What is wrong with a field: the `reason` of a cause in a `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
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
pub(crate) struct FieldError {
    /// What is wrong.
    pub(crate) reason: Reason,
    /// Where, as `spec.items[0].name`; `<nil>` for the root of an object.
    pub(crate) field: String,
    /// Without the field: `Invalid value: "x": must be ...`, `Required value`.
    pub(crate) message: String,
}

impl Reason {
    /// As a cause in a `Status` has it.
    pub(crate) fn as_str(self) -> &'static str {
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
    pub(crate) fn required(field: impl fmt::Display, detail: &str) -> Self {
        Self::bare(Reason::Required, "Required value", field, detail)
    }

    /// `Forbidden: DETAIL`
    pub(crate) fn forbidden(field: impl fmt::Display, detail: &str) -> Self {
        Self::bare(Reason::Forbidden, "Forbidden", field, detail)
    }

    /// `Internal error: DETAIL`
    pub(crate) fn internal(field: impl fmt::Display, detail: &str) -> Self {
        Self::bare(Reason::Internal, "Internal error", field, detail)
    }

    /// `Too long: may not be more than MAX bytes`: the value is left out.
    pub(crate) fn too_long(field: impl fmt::Display, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        Self::bare(Reason::TooLong, "Too long", field, &format!("may not be more than {max} {unit}"))
    }

    /// `Too many: ACTUAL: must have at most MAX items`
    pub(crate) fn too_many(field: impl fmt::Display, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self::bare(
            Reason::TooMany,
            &format!("Too many: {actual}"),
            field,
            &format!("must have at most {max} {unit}"),
        )
    }

    /// `Invalid value: VALUE: DETAIL`
    pub(crate) fn invalid(field: impl fmt::Display, value: &Value, detail: &str) -> Self {
        Self::bare(Reason::Invalid, &format!("Invalid value: {}", Shown(value)), field, detail)
    }

    /// `Invalid value: VALUE: DETAIL`, of the wrong type.
    pub(crate) fn type_invalid(field: impl fmt::Display, value: &Value, detail: &str) -> Self {
        Self::bare(Reason::TypeInvalid, &format!("Invalid value: {}", Shown(value)), field, detail)
    }

    /// `Unsupported value: VALUE: supported values: "a", "b"`
    pub(crate) fn not_supported<S: AsRef<str>>(
        field: impl fmt::Display,
        value: &Value,
        supported: &[S],
    ) -> Self {
        let supported: Vec<_> = supported.iter().map(|value| quote(value.as_ref())).collect();
        let detail = if supported.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", supported.join(", "))
        };
        Self::bare(Reason::NotSupported, &format!("Unsupported value: {}", Shown(value)), field, &detail)
    }

    /// As [`FieldError::not_supported`], with a value that is written already.
    pub(crate) fn not_supported_shown(field: impl fmt::Display, shown: &str, supported: &[&str]) -> Self {
        let supported: Vec<_> = supported.iter().map(|value| quote(value)).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        Self::bare(Reason::NotSupported, &format!("Unsupported value: {shown}"), field, &detail)
    }

    /// `Not found: VALUE`
    pub(crate) fn not_found(field: impl fmt::Display, value: &Value) -> Self {
        Self::bare(Reason::NotFound, &format!("Not found: {}", Shown(value)), field, "")
    }

    /// `Duplicate value: SHOWN`, with a value that is written already.
    pub(crate) fn duplicate_shown(field: impl fmt::Display, shown: &str) -> Self {
        Self::bare(Reason::Duplicate, &format!("Duplicate value: {shown}"), field, "")
    }

    /// `Invalid value: DETAIL`, where the value would tell nothing.
    pub(crate) fn invalid_omitted(field: impl fmt::Display, detail: &str) -> Self {
        Self::bare(Reason::Invalid, "Invalid value", field, detail)
    }

    /// `Invalid value: SHOWN: DETAIL`, with a value that is written already.
    pub(crate) fn invalid_shown(field: impl fmt::Display, shown: &str, detail: &str) -> Self {
        Self::bare(Reason::Invalid, &format!("Invalid value: {shown}"), field, detail)
    }

    /// `Duplicate value`, where the value would tell nothing.
    pub(crate) fn duplicate_omitted(field: impl fmt::Display) -> Self {
        Self::bare(Reason::Duplicate, "Duplicate value", field, "")
    }

    /// `Duplicate value: VALUE`
    pub(crate) fn duplicate(field: impl fmt::Display, value: &Value) -> Self {
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

/// A path to a field, built while walking and written only when something is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path<'a> {
    /// Where the walk begins; `""` is the object itself.
    Root(&'a str),
    /// `PATH.name`
    Child(&'a Path<'a>, &'a str),
    /// `PATH[key]`
    Key(&'a Path<'a>, &'a str),
    /// `PATH[index]`
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// `self.name`
    pub(crate) fn child(&'a self, name: &'a str) -> Self {
        Self::Child(self, name)
    }

    /// `self[key]`
    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    /// `self[index]`
    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    /// Whether this is the object itself.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Root(""))
    }
}

impl fmt::Display for Path<'_> {
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

/// A string as Go's `%q` writes it.
pub(crate) fn quote(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            // Writing to a String cannot fail.
            c if c < ' ' || c == '\x7f' => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c if c.is_control() => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A number as Go's `%v` writes it: floats are `%g` with the shortest digits that read back.
pub(crate) fn number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_text(float),
        _ => number.to_string(),
    }
}

/// A float as Go's `%v`: exponents below -4 and from 21 on.
pub(crate) fn float_text(float: f64) -> String {
    if float == 0.0 || (1e-4..1e21).contains(&float.abs()) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A value inside a message.
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(&quote(text)),
            Value::Number(value) => f.write_str(&number(value)),
            value => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_apimachinerys() {
        let root = Path::Root("");
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
        assert_eq!(FieldError::type_invalid("a", &Value::Null, "b").to_string(), "a: Invalid value: null: b");
    }

    #[test]
    fn numbers_are_gos() {
        for (float, text) in [
            (0.5, "0.5"),
            (3.0, "3"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (123_456_789.25, "123456789.25"),
            (1e20, "100000000000000000000"),
        ] {
            assert_eq!(float_text(float), text);
        }
    }
}
