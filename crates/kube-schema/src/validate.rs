//! Validates a value against a schema, with the messages, the order and the quirks of kube-openapi's validator.
//!
//! On an update, each value is validated together with its old value, if that can be determined (KEP-4008): errors in
//! unchanged values are accepted.

use kube_validation::{
    FieldError, FieldPath,
    go::{float_text, json, quote},
};
use serde_json::{Map, Number, Value};

use crate::{
    formats, lists,
    schema::{AdditionalProperties, ListType, Schema, SchemaType},
};

/// Validates a whole object, or its status, at `path`.
pub(super) fn value(
    schema: &Schema,
    new: &Value,
    old: Option<&Value>,
    path: &FieldPath<'_>,
) -> Vec<FieldError> {
    let correlated = old.map(|old| Correlated { schema, new, old });
    at(schema, new, path, correlated).errors
}

/// Moves an error of a value that was validated on its own to `path`. As in kube-apiserver, paths in the message stay.
pub(super) fn moved(error: FieldError, path: &FieldPath<'_>) -> FieldError {
    let field = if error.field == "<nil>" { path.to_string() } else { path.child(&error.field).to_string() };
    FieldError { field, ..error }
}

/// A value, and the old value in its place.
#[derive(Clone, Copy)]
pub(super) struct Correlated<'a> {
    pub(super) schema: &'a Schema,
    pub(super) new: &'a Value,
    pub(super) old: &'a Value,
}

impl<'a> Correlated<'a> {
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        Some(Self { schema: self.schema.property(name)?, new: self.new.get(name)?, old: self.old.get(name)? })
    }

    /// Only the elements of a list of type map can be correlated.
    pub(super) fn item(&self, index: usize) -> Option<Self> {
        let new = self.new.get(index)?;
        let old = lists::correlated(self.schema, new, self.old.as_array()?)?;
        Some(Self { schema: self.schema.items.as_deref()?, new, old })
    }

    /// Returns whether nothing has changed, except for the order of a list of type map.
    pub(super) fn unchanged(&self) -> bool {
        match (self.new, self.old) {
            (Value::Array(new), Value::Array(old)) => {
                new.len() == old.len()
                    && (0..new.len()).all(|index| self.item(index).is_some_and(|item| item.unchanged()))
                    || self.schema.list_type != ListType::Map && new == old
            }
            (Value::Object(new), Value::Object(old)) => {
                new.len() == old.len()
                    && new.keys().all(|name| self.field(name).is_some_and(|field| field.unchanged()))
            }
            (new, old) => new == old,
        }
    }
}

/// The result of a validation.
#[derive(Default)]
struct Outcome {
    errors: Vec<FieldError>,
    /// A count of checks that were made or passed: of several alternatives, the errors of the one with the most are shown.
    matches: usize,
}

impl Outcome {
    fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    fn push(&mut self, error: FieldError) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    fn merge(&mut self, other: Self) {
        self.matches += other.matches;
        other.errors.into_iter().for_each(|error| self.push(error));
    }
}

fn at(schema: &Schema, value: &Value, path: &FieldPath<'_>, correlated: Option<Correlated<'_>>) -> Outcome {
    let mut outcome = check(schema, value, path, correlated);
    if !outcome.is_valid() && correlated.is_some_and(|correlated| correlated.unchanged()) {
        outcome.errors.clear();
    }
    outcome
}

fn check(
    schema: &Schema,
    value: &Value,
    path: &FieldPath<'_>,
    correlated: Option<Correlated<'_>>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let types = Types::of(schema);
    if types.restrict() {
        match types.check(value, path) {
            None => outcome.matches += 2,
            Some(error) => {
                outcome.push(error);
                outcome.matches += 1;
            }
        }
    }
    if value.is_null() {
        outcome.merge(check_enum(schema, value, path));
        return outcome;
    }
    outcome.merge(check_junctors(schema, value, path));
    match value {
        Value::String(text) => {
            outcome.merge(check_string(schema, text, path));
            if let Some(format) = types.format
                && let Some(fits) = formats::check(format, text)
            {
                outcome.matches += 1;
                if !fits {
                    outcome.push(wrong_type(path, format, text));
                }
            }
        }
        Value::Number(number) => outcome.merge(check_number(schema, number, types.format, path)),
        Value::Array(list) => outcome.merge(check_list(schema, list, path, correlated)),
        Value::Object(_) | Value::Bool(_) | Value::Null => {}
    }
    outcome.merge(check_enum(schema, value, path));
    if let Value::Object(map) = value {
        outcome.merge(check_object(schema, map, path, correlated));
    }
    outcome.matches += 1;
    outcome
}

/// The types and the format that a schema requires, without formats that are not checked.
struct Types<'a> {
    /// None, one, or integer and string.
    names: &'a [&'static str],
    format: Option<&'a str>,
    nullable: bool,
}

impl<'a> Types<'a> {
    fn of(schema: &'a Schema) -> Self {
        let names: &[_] = match schema.kind {
            _ if schema.int_or_string => &["integer", "string"],
            None => &[],
            Some(SchemaType::Array) => &["array"],
            Some(SchemaType::Boolean) => &["boolean"],
            Some(SchemaType::Integer) => &["integer"],
            Some(SchemaType::Number) => &["number"],
            Some(SchemaType::Object) => &["object"],
            Some(SchemaType::String) => &["string"],
        };
        let kind = if let [kind] = names { kind } else { "" };
        let format = schema.checks.format.as_deref().filter(|format| formats::is_supported(kind, format));
        Self { names, format, nullable: schema.nullable }
    }

    fn restrict(&self) -> bool {
        !self.names.is_empty() || self.format.is_some()
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    fn check(&self, value: &Value, path: &FieldPath<'_>) -> Option<FieldError> {
        let (kind, format) = match value {
            Value::Null => {
                let wrong = !self.names.is_empty() && !self.nullable;
                return wrong.then(|| wrong_type(path, &self.names.join(","), "null"));
            }
            Value::Bool(_) => ("boolean", ""),
            Value::String(_) => ("string", ""),
            Value::Number(number) if number.is_i64() => ("integer", "int64"),
            Value::Number(_) => ("number", "float64"),
            Value::Array(_) => ("array", ""),
            Value::Object(_) => ("object", ""),
        };
        let is_integral =
            || value.as_f64().is_some_and(|float| float.fract() == 0.0 && float.abs() < MAX_JSON_INTEGER);
        let fits = self.has(kind)
            || kind == "number" && self.has("integer") && is_integral()
            || kind == "integer" && self.has("number");
        if fits {
            return None;
        }
        let text_or_list = matches!(value, Value::String(_) | Value::Array(_));
        match self.format {
            Some(wanted) if !text_or_list && wanted != format => Some(wrong_type(path, wanted, format)),
            // With a format, strings are left to the check of the format, and (a quirk) so are lists.
            Some(_) if text_or_list && !self.has("number") && !self.has("integer") => None,
            _ => Some(wrong_type(path, &self.names.join(","), kind)),
        }
    }
}

/// 2^53: from here on, floats cannot represent every integer.
const MAX_JSON_INTEGER: f64 = 9_007_199_254_740_992.0;

fn check_junctors(schema: &Schema, value: &Value, path: &FieldPath<'_>) -> Outcome {
    let checks = &schema.checks;
    let mut outcome = Outcome { matches: 1, ..Outcome::default() };
    // Without old values: if errors in unchanged values were accepted here, several alternatives could be valid at once.
    let nested = |schema: &Schema| check(schema, value, path, None);

    if !checks.any_of.is_empty() {
        let mut best: Option<Outcome> = None;
        for alternative in &checks.any_of {
            let result = nested(alternative);
            let is_valid = result.is_valid();
            if is_valid || best.as_ref().is_none_or(|best| result.matches > best.matches) {
                best = Some(result);
            }
            if is_valid {
                break;
            }
        }
        if !best.as_ref().is_some_and(Outcome::is_valid) {
            outcome.push(composite(path, "must validate at least one schema (anyOf)"));
        }
        best.into_iter().for_each(|best| outcome.merge(best));
    }

    if !checks.one_of.is_empty() {
        let mut best: Option<Outcome> = None;
        let mut valid = 0;
        for alternative in &checks.one_of {
            let result = nested(alternative);
            if result.is_valid() {
                valid += 1;
                if valid == 1 {
                    best = Some(result);
                }
            } else if valid == 0 && best.as_ref().is_none_or(|best| result.matches > best.matches) {
                best = Some(result);
            }
        }
        match valid {
            0 => outcome
                .push(composite(path, "must validate one and only one schema (oneOf). Found none valid")),
            1 => {}
            _ => {
                let found = format!("Found {valid} valid alternatives");
                outcome.push(composite(
                    path,
                    &format!("must validate one and only one schema (oneOf). {found}"),
                ));
                best = None;
            }
        }
        best.into_iter().for_each(|best| outcome.merge(best));
    }

    if !checks.all_of.is_empty() {
        let mut valid = 0;
        for part in &checks.all_of {
            let result = nested(part);
            valid += usize::from(result.is_valid());
            outcome.merge(result);
        }
        if valid != checks.all_of.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            outcome.push(composite(path, &format!("must validate all the schemas (allOf){none}")));
        }
    }

    if let Some(not) = &checks.not
        && nested(not).is_valid()
    {
        outcome.push(composite(path, "must not validate the schema (not)"));
    }
    outcome
}

fn check_string(schema: &Schema, text: &str, path: &FieldPath<'_>) -> Outcome {
    let checks = &schema.checks;
    let mut outcome = Outcome { matches: 1, ..Outcome::default() };
    let value = || Value::from(text);
    // Characters are counted only if it matters: a text has at least as many bytes as characters.
    let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = checks.max_length
        && i64::try_from(text.len()).unwrap_or(i64::MAX) > max
        && length() > max
    {
        outcome.push(FieldError::too_long(name(path), usize::try_from(max).unwrap_or_default()));
    } else if let Some(min) = checks.min_length
        && length() < min
    {
        let detail = format!("{path} in body should be at least {min} chars long");
        outcome.push(FieldError::invalid(name(path), &value(), &detail));
    } else if let Some(pattern) = &checks.pattern
        && !pattern.regex.is_match(text)
    {
        let detail = format!("{path} in body should match '{}'", pattern.source);
        outcome.push(FieldError::invalid(name(path), &value(), &detail));
    }
    outcome
}

fn check_number(schema: &Schema, value: &Number, format: Option<&str>, path: &FieldPath<'_>) -> Outcome {
    let checks = &schema.checks;
    let mut outcome = Outcome { matches: 2, ..Outcome::default() };
    let range = Range { kind: schema.kind.filter(|_| !schema.int_or_string), format };
    let float = value.as_f64().unwrap_or(f64::NAN);
    let shown = Value::from(value.clone());
    let invalid = |detail: String| {
        FieldError::invalid(name(path), &shown, &format!("{path} in body should be {detail}"))
    };

    if let Some(detail) = range.check(&plain(value), "Checked", path) {
        outcome.push(unplaced(&detail));
    }
    if let Some(factor) = checks.multiple_of {
        let out_of_range = range.check(&factor.to_string(), "MultipleOf", path);
        let integers = value.as_i64().filter(|_| out_of_range.is_none());
        out_of_range.iter().for_each(|detail| outcome.push(unplaced(detail)));
        let is_multiple = match integers {
            Some(_) if factor < 1.0 => None,
            #[allow(clippy::cast_possible_truncation)]
            Some(integer) => Some(integer % factor as i64 == 0),
            None if factor <= 0.0 => None,
            None => Some((if factor < 1.0 { 1.0 / factor * float } else { float / factor }).fract() == 0.0),
        };
        match is_multiple {
            Some(true) => {}
            Some(false) => outcome.push(invalid(format!("a multiple of {}", float_text(factor)))),
            None => {
                let shown = Number::from_f64(factor).map_or(Value::Null, Value::from);
                let factor = float_text(factor);
                let detail = format!("factor MultipleOf declared for {path} must be positive: {factor}");
                outcome.push(FieldError::invalid(name(path), &shown, &detail));
            }
        }
    }
    if let Some(minimum) = checks.minimum {
        let bound = Bound::of(minimum, value, range.check(&minimum.to_string(), "Minimum boundary", path));
        bound.error.iter().for_each(|detail| outcome.push(unplaced(detail)));
        let order = bound.compare(value, float);
        if order.is_lt() || checks.exclusive_minimum && order.is_eq() {
            let than = if checks.exclusive_minimum { "greater than" } else { "greater than or equal to" };
            outcome.push(invalid(format!("{than} {}", bound.text)));
        }
    }
    if let Some(maximum) = checks.maximum {
        let bound = Bound::of(maximum, value, range.check(&maximum.to_string(), "Maximum boundary", path));
        bound.error.iter().for_each(|detail| outcome.push(unplaced(detail)));
        let order = bound.compare(value, float);
        if order.is_gt() || checks.exclusive_maximum && order.is_eq() {
            let than = if checks.exclusive_maximum { "less than" } else { "less than or equal to" };
            outcome.push(invalid(format!("{than} {}", bound.text)));
        }
    }
    outcome
}

/// A limit of a number. As in Go, integers are compared with the integer part of the limit.
struct Bound {
    limit: f64,
    integer: Option<i64>,
    text: String,
    error: Option<String>,
}

impl Bound {
    fn of(limit: f64, value: &Number, error: Option<String>) -> Self {
        #[allow(clippy::cast_possible_truncation)]
        let integer = (value.is_i64() && error.is_none()).then_some(limit as i64);
        let text = integer.map_or_else(|| float_text(limit), |integer| integer.to_string());
        Self { limit, integer, text, error }
    }

    fn compare(&self, value: &Number, float: f64) -> std::cmp::Ordering {
        match (value.as_i64(), self.integer) {
            (Some(value), Some(limit)) => value.cmp(&limit),
            _ => float.total_cmp(&self.limit),
        }
    }
}

/// The range of a number's type and format.
struct Range<'a> {
    kind: Option<SchemaType>,
    format: Option<&'a str>,
}

impl Range<'_> {
    fn check(&self, text: &str, what: &str, path: &FieldPath<'_>) -> Option<String> {
        let fits = match (self.kind, self.format) {
            (Some(SchemaType::Integer), Some("int32")) => text.parse::<i32>().is_ok(),
            (Some(SchemaType::Integer), _) => text.parse::<i64>().is_ok(),
            (_, Some("float")) => text.parse::<f32>().is_ok_and(f32::is_finite),
            _ => true,
        };
        if fits {
            return None;
        }
        let kind = if self.kind == Some(SchemaType::Integer) { "integer" } else { "number" };
        Some(match self.format {
            Some(format) => format!("{what} value must be of type {kind} with format {format} in {path}"),
            None => format!("{what} value must be of type {kind} (default format) in {path}"),
        })
    }
}

/// Formats a number without an exponent.
fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}

fn check_list(
    schema: &Schema,
    list: &[Value],
    path: &FieldPath<'_>,
    correlated: Option<Correlated<'_>>,
) -> Outcome {
    let checks = &schema.checks;
    let mut outcome = Outcome { matches: 2, ..Outcome::default() };
    if let Some(items) = schema.items.as_deref() {
        for (index, item) in list.iter().enumerate() {
            let correlated = correlated.and_then(|correlated| correlated.item(index));
            outcome.merge(at(items, item, &path.index(index), correlated));
        }
    }
    let size = i64::try_from(list.len()).unwrap_or(i64::MAX);
    if let Some(min) = checks.min_items
        && size < min
    {
        let detail = format!("{path} in body should have at least {min} items");
        outcome.push(FieldError::invalid(name(path), &size.into(), &detail));
    }
    if let Some(max) = checks.max_items
        && size > max
    {
        outcome.push(FieldError::too_many(name(path), list.len(), usize::try_from(max).unwrap_or_default()));
    }
    outcome
}

fn check_enum(schema: &Schema, value: &Value, path: &FieldPath<'_>) -> Outcome {
    let mut outcome = Outcome { matches: 1, ..Outcome::default() };
    let allowed = &schema.checks.r#enum;
    if !allowed.is_empty() && !allowed.iter().any(|allowed| is_enumerated(value, allowed)) {
        let supported: Vec<_> =
            allowed.iter().map(|value| value.as_str().map_or_else(|| json(value), str::to_owned)).collect();
        outcome.push(FieldError::not_supported(name(path), value, &supported));
    }
    outcome
}

fn is_enumerated(value: &Value, allowed: &Value) -> bool {
    match (value, allowed) {
        (Value::Null, _) => false,
        (Value::Number(value), Value::Number(allowed)) => match (value.as_i64(), allowed.as_i64()) {
            (Some(value), Some(allowed)) => value == allowed,
            _ => value.as_f64() == allowed.as_f64(),
        },
        _ => value == allowed,
    }
}

fn check_object(
    schema: &Schema,
    map: &Map<String, Value>,
    path: &FieldPath<'_>,
    correlated: Option<Correlated<'_>>,
) -> Outcome {
    let checks = &schema.checks;
    let mut outcome = Outcome { matches: 1, ..Outcome::default() };
    let size = i64::try_from(map.len()).unwrap_or(i64::MAX);
    if let Some(min) = checks.min_properties
        && size < min
    {
        let detail = format!("{path} in body should have at least {min} properties");
        outcome.push(FieldError::invalid(name(path), &size.into(), &detail));
    }
    if let Some(max) = checks.max_properties
        && size > max
    {
        outcome.push(FieldError::too_many(name(path), map.len(), usize::try_from(max).unwrap_or_default()));
    }
    let correlated = |field: &str| {
        let is_type = path.is_empty() && matches!(field, "apiVersion" | "kind");
        correlated.filter(|_| !is_type)?.field(field)
    };
    match &schema.additional_properties {
        Some(AdditionalProperties::Any(false)) => {
            for key in map.keys().filter(|key| !schema.properties.contains_key(*key)) {
                let detail = format!("{path}.{key} in body is a forbidden property");
                outcome.push(FieldError::invalid(name(path), &key.as_str().into(), &detail));
            }
        }
        Some(AdditionalProperties::Schema(additional)) => {
            for (key, value) in map.iter().filter(|(key, _)| !schema.properties.contains_key(*key)) {
                outcome.merge(at(additional, value, &path.child(key), correlated(key)));
            }
        }
        Some(AdditionalProperties::Any(true)) | None => {}
    }
    for (field, property) in &schema.properties {
        if let Some(value) = map.get(field) {
            outcome.merge(at(property, value, &path.child(field), correlated(field)));
        }
    }
    for field in checks.required.iter().filter(|field| !map.contains_key(*field)) {
        outcome.push(FieldError::required(path.child(field), ""));
    }
    outcome
}

fn wrong_type(path: &FieldPath<'_>, wanted: &str, found: &str) -> FieldError {
    let detail = format!("{path} in body must be of type {wanted}: {}", quote(found));
    FieldError::type_invalid(name(path), &found.into(), &detail)
}

/// Creates an error that Go's validator reports at `<nil>`, with the path inside the message.
fn composite(path: &FieldPath<'_>, what: &str) -> FieldError {
    unplaced(&format!("{} {what}", quote(path.to_string())))
}

fn unplaced(detail: &str) -> FieldError {
    FieldError::invalid("<nil>", &"".into(), detail)
}

/// Returns the field of an error.
fn name(path: &FieldPath<'_>) -> String {
    if path.is_empty() { "<nil>".to_owned() } else { path.to_string() }
}
