//! `format.dns1123Label().validate(...)`: apiserver's `format.go`.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use kube_validation::names;
use regex::Regex;

use super::arguments::{Table, mismatch, string_list, text};
use crate::{
    go,
    types::Type,
    value::{Error, Evaluated, Opaque, Value},
};

pub(super) const TABLE: Table = &[
    ("format.byte", |_| named("byte")),
    ("format.date", |_| named("date")),
    ("format.datetime", |_| named("datetime")),
    ("format.dns1035Label", |_| named("dns1035Label")),
    ("format.dns1035LabelPrefix", |_| named("dns1035LabelPrefix")),
    ("format.dns1123Label", |_| named("dns1123Label")),
    ("format.dns1123LabelPrefix", |_| named("dns1123LabelPrefix")),
    ("format.dns1123Subdomain", |_| named("dns1123Subdomain")),
    ("format.dns1123SubdomainPrefix", |_| named("dns1123SubdomainPrefix")),
    ("format.labelValue", |_| named("labelValue")),
    ("format.qualifiedName", |_| named("qualifiedName")),
    ("format.uri", |_| named("uri")),
    ("format.uuid", |_| named("uuid")),
    ("format-named", |args| {
        Ok(Format::find(text(args, 0)?)
            .map_or(Value::Optional(None), |format| Value::some(Value::opaque(format))))
    }),
    ("format-validate", |args| {
        let Some(format) = args.first().and_then(Value::downcast::<Format>) else { return mismatch() };
        let errors = (format.check)(text(args, 1)?);
        Ok(if errors.is_empty() { Value::Optional(None) } else { Value::some(string_list(errors)) })
    }),
];

#[derive(Clone, Copy, Debug)]
struct Format {
    /// The name for expressions.
    name: &'static str,
    /// The size of the pattern that a check is charged for.
    size: u64,
    check: fn(&str) -> Vec<String>,
}

const FORMATS: &[Format] = &[
    Format { name: "dns1123Label", size: 30, check: |text| characters(names::dns1123_label(text)) },
    Format { name: "dns1123Subdomain", size: 60, check: |text| characters(names::dns1123_subdomain(text)) },
    Format { name: "dns1035Label", size: 30, check: |text| characters(names::dns1035_label(text)) },
    Format { name: "qualifiedName", size: 60, check: names::qualified_name },
    Format {
        name: "dns1123LabelPrefix",
        size: 30,
        check: |text| characters(names::dns1123_label(&masked(text))),
    },
    Format {
        name: "dns1123SubdomainPrefix",
        size: 60,
        check: |text| characters(names::dns1123_subdomain(&masked(text))),
    },
    Format {
        name: "dns1035LabelPrefix",
        size: 30,
        check: |text| characters(names::dns1035_label(&masked(text))),
    },
    Format { name: "labelValue", size: 40, check: names::label_value },
    Format { name: "uri", size: URI, check: |text| go::Url::new(text).err().into_iter().collect() },
    Format {
        name: "uuid",
        size: 70,
        check: |text| unless(UUID.is_match(text), "does not match the UUID format"),
    },
    Format { name: "byte", size: BASE64, check: |text| unless(is_base64(text), "invalid base64") },
    Format {
        name: "date",
        size: DATE_TIME,
        check: |text| unless(go::parse_date(text).is_ok(), "invalid date"),
    },
    Format {
        name: "datetime",
        size: DATE_TIME,
        check: |text| unless(go::is_strfmt_date_time(text), "invalid datetime"),
    },
];

/// The lengths of the patterns of `asaskevich/govalidator` and go-openapi's `strfmt` for these formats.
const URI: u64 = 1_103;
const BASE64: u64 = 84;
const DATE_TIME: u64 = 71;

// A constant pattern: a test uses it.
#[allow(clippy::expect_used)]
static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$")
        .expect("a constant pattern")
});

fn is_base64(text: &str) -> bool {
    !text.is_empty() && BASE64_STANDARD.decode(text).is_ok()
}

fn unless(valid: bool, error: &str) -> Vec<String> {
    if valid { Vec::new() } else { vec![error.to_owned()] }
}

/// These checks are of an older package of apimachinery, which says `characters` where its successor says `bytes`.
fn characters(errors: Vec<String>) -> Vec<String> {
    errors.into_iter().map(|error| error.replace(" bytes", " characters")).collect()
}

/// A prefix of a generated name may end with a dash: the name goes on behind it. apimachinery's `maskTrailingDash`.
fn masked(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(head) if !head.is_empty() => {
            // The character before the dash goes, too, as there.
            let mut head = head.to_owned();
            head.pop();
            head.push('a');
            head
        }
        _ => text.to_owned(),
    }
}

impl Format {
    fn find(name: &str) -> Option<Self> {
        FORMATS.iter().find(|format| format.name == name).copied()
    }
}

fn named<'a>(name: &str) -> Evaluated<'a> {
    Format::find(name).map_or_else(mismatch, |format| Ok(Value::opaque(format)))
}

impl Opaque for Format {
    fn type_of(&self) -> Type {
        Type::object("kubernetes.NamedFormat")
    }

    fn equal(&self, other: &Value<'_>) -> Result<bool, Error> {
        let other = other.downcast::<Self>().ok_or_else(Error::no_such_overload)?;
        Ok(self.name == other.name)
    }

    fn display(&self) -> String {
        self.name.to_owned()
    }

    fn regex_size(&self) -> u64 {
        self.size
    }
}
