//! Structural schemas, their types in CEL, and values that fit them.

use std::{fmt, rc::Rc};

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// A schema.
pub(super) struct Shape {
    kind: Kind,
    nullable: bool,
    pub(super) rules: Vec<Value>,
    /// The name of its type, if it is an object with fields.
    name: Rc<str>,
}

enum Kind {
    Text {
        format: Option<&'static str>,
        max: Option<usize>,
        choices: bool,
    },
    Integer {
        format: Option<&'static str>,
    },
    Number,
    Boolean,
    IntOrString,
    List {
        of: ListType,
        items: Box<Shape>,
        max: Option<usize>,
    },
    Map {
        values: Box<Shape>,
        max: Option<usize>,
        atomic: bool,
    },
    Object {
        fields: Vec<Field>,
        extra: Extra,
        atomic: bool,
    },
    /// Anything: only `x-kubernetes-preserve-unknown-fields`. CEL does not see it.
    Unknown,
}

#[derive(Clone, Copy, PartialEq)]
enum ListType {
    Atomic,
    Set,
    /// By the first field of the items.
    Map,
}

/// What an object has beside its fields.
#[derive(Clone, Copy, PartialEq)]
enum Extra {
    Nothing,
    Preserved,
    Embedded,
}

pub(super) struct Field {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) required: bool,
}

/// A type of CEL, as far as cases need it.
#[derive(Clone, PartialEq)]
pub(super) struct Type(pub(super) String);

const NAMES: &[&str] = &[
    "a",
    "b",
    "name",
    "count",
    "items",
    "labels",
    "spec",
    "value",
    "port",
    "min",
    "max",
    "host",
    "when",
    "mode",
    "x1",
    "camelCase",
    "_under",
    "size",
];
/// These are escaped in CEL, or cannot be written there at all.
const ODD_NAMES: &[&str] = &[
    "namespace",
    "in",
    "true",
    "null",
    "for",
    "if",
    "package",
    "int-value",
    "a.b",
    "a/b",
    "x__y",
    "__z",
    "a b",
    "1st",
    "é",
    "$ref",
    "self",
    "type",
    "dyn",
    "oldSelf",
    "-",
    "as",
    "function",
    "a__dot__b",
];
const FORMATS: &[&str] = &[
    "byte",
    "date",
    "date-time",
    "duration",
    "date-time",
    "duration",
    "byte",
    "uuid",
    "ipv4",
    "uri",
    "email",
    "unknown-format",
    "datetime",
    "hostname",
    "int-or-string",
];

impl Shape {
    /// A resource.
    pub(super) fn root(random: &mut Rng) -> Self {
        let mut names = Names { bounded: random.u8(..4) > 0, ..Names::default() };
        let mut fields = vec![Field {
            name: "spec".into(),
            shape: Self::object(random, &mut names, 0),
            required: random.bool(),
        }];
        if random.bool() {
            let shape = Self::any(random, &mut names, 1);
            fields.push(Field { name: "status".into(), shape, required: false });
        }
        Self::new(Kind::Object { fields, extra: Extra::Nothing, atomic: false }, &mut names)
    }

    fn new(kind: Kind, names: &mut Names) -> Self {
        Self { kind, nullable: false, rules: Vec::new(), name: names.next() }
    }

    fn any(random: &mut Rng, names: &mut Names, depth: u8) -> Self {
        let mut shape = match random.u8(..if depth < 3 { 24 } else { 13 }) {
            0..=3 => Self::text(random, names),
            4..=6 => {
                let format = [None, None, Some("int32"), Some("int64")][random.usize(..4)];
                Self::new(Kind::Integer { format }, names)
            }
            7..=8 => Self::new(Kind::Number, names),
            9..=10 => Self::new(Kind::Boolean, names),
            11 => Self::new(Kind::IntOrString, names),
            12 if random.bool() => Self::new(Kind::Unknown, names),
            12 => Self::text(random, names),
            13..=17 => Self::list(random, names, depth),
            18..=19 => {
                let values = Box::new(Self::any(random, names, depth + 1));
                let max = names.limit(random);
                Self::new(Kind::Map { values, max, atomic: random.u8(..6) == 0 }, names)
            }
            _ => Self::object(random, names, depth),
        };
        shape.nullable = random.u8(..7) == 0;
        shape
    }

    fn text(random: &mut Rng, names: &mut Names) -> Self {
        let format = (random.u8(..3) == 0).then(|| FORMATS[random.usize(..FORMATS.len())]);
        // Texts of a format are not shortened.
        let max = names.limit(random).map(|max| if format.is_some() { max.max(64) } else { max });
        let choices = format.is_none() && random.u8(..8) == 0;
        Self::new(Kind::Text { format, max, choices }, names)
    }

    fn list(random: &mut Rng, names: &mut Names, depth: u8) -> Self {
        let max = names.limit(random);
        let (of, items) = match random.u8(..5) {
            0 => (ListType::Set, Self::scalar(random, names)),
            1 => {
                let mut items = Self::object(random, names, depth + 1);
                if let Kind::Object { fields, .. } = &mut items.kind {
                    let name = "key".to_owned();
                    fields.insert(0, Field { name, shape: Self::scalar(random, names), required: true });
                }
                (ListType::Map, items)
            }
            _ => (ListType::Atomic, Self::any(random, names, depth + 1)),
        };
        Self::new(Kind::List { of, items: Box::new(items), max }, names)
    }

    fn scalar(random: &mut Rng, names: &mut Names) -> Self {
        match random.u8(..5) {
            0 => Self::new(Kind::Integer { format: None }, names),
            1 => Self::new(Kind::IntOrString, names),
            _ => Self::text(random, names),
        }
    }

    fn object(random: &mut Rng, names: &mut Names, depth: u8) -> Self {
        let extra = match random.u8(..12) {
            0 if depth > 0 => Extra::Embedded,
            1 => Extra::Preserved,
            _ => Extra::Nothing,
        };
        let count = 1 + random.usize(..if depth == 0 { 8 } else { 4 });
        let mut fields: Vec<Field> = Vec::new();
        for _ in 0..count {
            let list = if random.u8(..6) == 0 { ODD_NAMES } else { NAMES };
            let name = list[random.usize(..list.len())];
            if fields.iter().all(|field| field.name != name) {
                let shape = Self::any(random, names, depth + 1);
                fields.push(Field { name: name.into(), shape, required: random.u8(..3) == 0 });
            }
        }
        let atomic = random.u8(..10) == 0;
        Self::new(Kind::Object { fields, extra, atomic }, names)
    }

    /// Whether CEL has a type for it.
    pub(super) fn has_type(&self) -> bool {
        !matches!(self.kind, Kind::Unknown)
    }

    /// Whether `oldSelf` is known for what is within it.
    pub(super) fn correlates(&self) -> bool {
        match &self.kind {
            Kind::List { of, .. } => *of == ListType::Map,
            _ => true,
        }
    }

    pub(super) fn children_mut(&mut self) -> Vec<&mut Self> {
        match &mut self.kind {
            Kind::List { items: child, .. } | Kind::Map { values: child, .. } => vec![child],
            Kind::Object { fields, .. } => fields.iter_mut().map(|field| &mut field.shape).collect(),
            _ => Vec::new(),
        }
    }

    /// The schemas of a list's items, or of a map's values.
    pub(super) fn element(&self) -> Option<&Self> {
        match &self.kind {
            Kind::List { items: child, .. } | Kind::Map { values: child, .. } => Some(child),
            _ => None,
        }
    }

    pub(super) fn fields(&self) -> &[Field] {
        match &self.kind {
            Kind::Object { fields, .. } => fields,
            _ => &[],
        }
    }

    pub(super) fn is_embedded(&self) -> bool {
        matches!(self.kind, Kind::Object { extra: Extra::Embedded, .. })
    }

    pub(super) fn is_nullable(&self) -> bool {
        self.nullable
    }

    pub(super) fn field_name(&self, random: &mut Rng) -> Option<&str> {
        random.choice(self.fields()).map(|field| field.name.as_str())
    }

    pub(super) fn json(&self) -> Value {
        let mut schema = match &self.kind {
            Kind::Text { format, max, choices } => {
                let mut schema = json!({"type": "string"});
                set(&mut schema, "format", *format);
                set(&mut schema, "maxLength", *max);
                if *choices {
                    schema["enum"] = json!(CHOICES);
                }
                schema
            }
            Kind::Integer { format } => {
                let mut schema = json!({"type": "integer"});
                set(&mut schema, "format", *format);
                schema
            }
            Kind::Number => json!({"type": "number"}),
            Kind::Boolean => json!({"type": "boolean"}),
            Kind::IntOrString => json!({"x-kubernetes-int-or-string": true}),
            Kind::List { of, items, max } => {
                let mut schema = json!({"type": "array", "items": items.json()});
                match of {
                    ListType::Atomic => {}
                    ListType::Set => schema["x-kubernetes-list-type"] = json!("set"),
                    ListType::Map => {
                        schema["x-kubernetes-list-type"] = json!("map");
                        schema["x-kubernetes-list-map-keys"] = json!(["key"]);
                    }
                }
                set(&mut schema, "maxItems", *max);
                schema
            }
            Kind::Map { values, max, atomic } => {
                let mut schema = json!({"type": "object", "additionalProperties": values.json()});
                set(&mut schema, "maxProperties", *max);
                set(&mut schema, "x-kubernetes-map-type", atomic.then_some("atomic"));
                schema
            }
            Kind::Object { fields, extra, atomic } => {
                let properties: Map<_, _> =
                    fields.iter().map(|field| (field.name.clone(), field.shape.json())).collect();
                let mut schema = json!({"type": "object", "properties": properties});
                let required: Vec<_> =
                    fields.iter().filter(|field| field.required).map(|field| field.name.clone()).collect();
                set(&mut schema, "required", (!required.is_empty()).then_some(required));
                set(&mut schema, "x-kubernetes-map-type", atomic.then_some("atomic"));
                let preserved = (*extra == Extra::Preserved).then_some(true);
                set(&mut schema, "x-kubernetes-preserve-unknown-fields", preserved);
                let embedded = (*extra == Extra::Embedded).then_some(true);
                set(&mut schema, "x-kubernetes-embedded-resource", embedded);
                schema
            }
            Kind::Unknown => json!({"x-kubernetes-preserve-unknown-fields": true}),
        };
        set(&mut schema, "nullable", self.nullable.then_some(true));
        set(&mut schema, "x-kubernetes-validations", (!self.rules.is_empty()).then(|| self.rules.clone()));
        schema
    }

    /// A value within an object, which seldom does not fit the schema.
    fn value(&self, random: &mut Rng, old: Option<&Value>) -> Value {
        match old {
            _ if random.u8(..100) == 0 => WRONG[random.usize(..WRONG.len())].parse().unwrap_or_default(),
            Some(old) if random.bool() && !old.is_null() && self.fields().is_empty() => old.clone(),
            _ if self.nullable && random.u8(..4) == 0 => Value::Null,
            _ => self.fitting(random, old),
        }
    }

    /// A value of the schema's type, which resembles an `old` one if there is one.
    pub(super) fn fitting(&self, random: &mut Rng, old: Option<&Value>) -> Value {
        match &self.kind {
            Kind::Text { format, max, choices } => {
                let texts = if *choices { CHOICES } else { format.map_or(TEXTS, texts_of) };
                let text = texts[random.usize(..texts.len())];
                json!(text.chars().take(max.unwrap_or(usize::MAX)).collect::<String>())
            }
            Kind::Integer { .. } => json!(INTEGERS[random.usize(..INTEGERS.len())]),
            Kind::Number if random.bool() => json!(INTEGERS[random.usize(..INTEGERS.len())]),
            Kind::Number => json!(NUMBERS[random.usize(..NUMBERS.len())]),
            Kind::Boolean => json!(random.bool()),
            Kind::IntOrString if random.bool() => json!(INTEGERS[random.usize(..INTEGERS.len())]),
            Kind::IntOrString => json!(["80%", "5", "http", ""][random.usize(..4)]),
            Kind::List { of, items, max } => {
                let length = random.usize(..4).min(max.unwrap_or(usize::MAX));
                let old = |index| old.and_then(|old| old.get(index));
                let mut list: Vec<Value> = (0..length).map(|index| items.value(random, old(index))).collect();
                match of {
                    ListType::Atomic => {}
                    ListType::Set => dedup_by(&mut list, Value::clone),
                    ListType::Map => dedup_by(&mut list, |item| item["key"].clone()),
                }
                if random.u8(..3) == 0 {
                    random.shuffle(&mut list);
                }
                Value::Array(list)
            }
            Kind::Map { values, max, .. } => {
                let length = random.usize(..4).min(max.unwrap_or(usize::MAX));
                (0..length)
                    .map(|_| {
                        let key = KEYS[random.usize(..KEYS.len())];
                        (key.to_owned(), values.value(random, old.and_then(|old| old.get(key))))
                    })
                    .collect::<Map<_, _>>()
                    .into()
            }
            Kind::Object { fields, extra, .. } => {
                let mut object = Map::new();
                let complete = random.bool();
                for field in fields {
                    if field.required || complete || random.u8(..3) > 0 {
                        let old = old.and_then(|old| old.get(&field.name));
                        object.insert(field.name.clone(), field.shape.value(random, old));
                    }
                }
                match extra {
                    Extra::Nothing => {}
                    Extra::Preserved => {
                        object.insert("unknown".into(), json!({"a": [1, "b", null]}));
                    }
                    Extra::Embedded => {
                        object.insert("apiVersion".into(), json!("v1"));
                        object.insert("kind".into(), json!("Widget"));
                        object.insert("metadata".into(), json!({"name": "inner", "labels": {"a": "b"}}));
                    }
                }
                object.into()
            }
            Kind::Unknown => UNKNOWN[random.usize(..UNKNOWN.len())].parse().unwrap_or_default(),
        }
    }
}

fn dedup_by(list: &mut Vec<Value>, key: impl Fn(&Value) -> Value) {
    let mut seen = Vec::new();
    list.retain(|item| {
        let key = key(item);
        let new = !seen.contains(&key);
        seen.push(key);
        new
    });
}

fn set(schema: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        schema[name] = value.into();
    }
}

/// What the schemas of a case have in common.
#[derive(Default)]
struct Names {
    given: usize,
    /// Whether everything has a limit, so that the estimated costs are mostly within theirs.
    bounded: bool,
}

impl Names {
    fn next(&mut self) -> Rc<str> {
        self.given += 1;
        format!("object{}", self.given).into()
    }

    fn limit(&self, random: &mut Rng) -> Option<usize> {
        match random.u8(..10) {
            0 | 1 if self.bounded => Some(5),
            0 => None,
            1 => Some(1000),
            2 => Some(0),
            3 => Some(1),
            4 => Some(64),
            _ => Some(10),
        }
    }
}

impl Type {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn optional(inner: &Self) -> Self {
        Self(format!("optional_type({inner})"))
    }

    /// The type of the values of a schema.
    pub(super) fn of(shape: &Shape) -> Self {
        Self(match &shape.kind {
            Kind::Text { format, .. } => match *format {
                Some("byte") => "bytes",
                Some("date" | "date-time") => "timestamp",
                Some("duration") => "duration",
                _ => "string",
            }
            .to_owned(),
            Kind::Integer { .. } => "int".to_owned(),
            Kind::Number => "double".to_owned(),
            Kind::Boolean => "bool".to_owned(),
            Kind::IntOrString | Kind::Unknown => "dyn".to_owned(),
            Kind::List { items, .. } => format!("list({})", Self::of(items)),
            Kind::Map { values, .. } => format!("map(string, {})", Self::of(values)),
            Kind::Object { .. } => shape.name.to_string(),
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const CHOICES: &[&str] = &["aws", "gcp", "azure", ""];
const TEXTS: &[&str] = &[
    "",
    "a",
    "abc",
    "aws",
    "héllo",
    "日本語",
    "🎉🎉",
    "A-b_c.d",
    " spaces ",
    "1.2.3",
    "10",
    "true",
    "1h",
    "10.0.0.1",
    "10.0.0.0/8",
    "http://a.b/c?d=e",
    "1Gi",
    "line\nbreak",
    "tab\t",
    "quote\"'",
    "back\\slash",
    "%s",
    "a,b,c",
    "ß",
    "e\u{301}",
    "0123456789abcdefghijklmnopqrstuvwxyz",
];
const INTEGERS: &[i64] = &[0, 1, -1, 2, 3, 5, 10, 80, 8080, 65_535, i32::MAX as i64, i64::MAX, i64::MIN, -7];
const NUMBERS: &[f64] =
    &[0.0, -0.0, 1.0, 0.5, 1.5, -2.25, 1e21, 1e-7, 3.0, 9_007_199_254_740_993.0, f64::MAX, 0.1];
const KEYS: &[&str] = &["a", "b", "app.kubernetes.io/name", "é", "", "k"];
const WRONG: &[&str] = &["{}", "[]", "\"x\"", "1", "1.5", "true", "null", "[{}]"];
const UNKNOWN: &[&str] = &["{\"a\": [1, {\"b\": null}]}", "[]", "\"text\"", "3", "null", "{}"];

fn texts_of(format: &str) -> &'static [&'static str] {
    match format {
        "byte" => &["", "YQ==", "aGVsbG8=", "/w==", "w6k="],
        "date" => &["2020-02-29", "1970-01-01", "9999-12-31", "0001-01-01"],
        "date-time" => &[
            "2020-02-29T12:34:56Z",
            "1970-01-01T00:00:00Z",
            "2023-06-01T23:59:59.999+05:30",
            "1969-12-31T23:59:59Z",
        ],
        "duration" => &["1h", "90m", "0s", "-1.5s", "1h30m", "24h", "1ms"],
        "uuid" => &["123e4567-e89b-12d3-a456-426614174000"],
        "ipv4" => &["10.0.0.1", "127.0.0.1", "255.255.255.255"],
        "uri" => &["http://example.com/a?b=c", "https://[::1]:80/", "urn:x"],
        "email" => &["a@example.com"],
        "datetime" => &["2020-02-29T12:34:56Z"],
        "hostname" => &["example.com", "localhost"],
        _ => TEXTS,
    }
}
