//! Semantic versions: apiserver's `semverlib.go` over `blang/semver`.

use std::cmp::Ordering;

use super::arguments::{Table, mismatch, text};
use crate::{
    types::Type,
    value::{Error, Evaluated, Opaque, Value},
};

pub(super) const TABLE: Table = &[
    ("string_to_semver", |args| parse(args).map(Value::opaque)),
    ("string_bool_to_semver", |args| parse(args).map(Value::opaque)),
    ("is_semver_string", |args| Ok(Value::Bool(parse(args).is_ok()))),
    ("is_semver_string_bool", |args| Ok(Value::Bool(parse(args).is_ok()))),
    ("semver_is_greater_than", |args| two(args, |order| Value::Bool(order.is_gt()))),
    ("semver_is_less_than", |args| two(args, |order| Value::Bool(order.is_lt()))),
    ("semver_compare_to", |args| two(args, |order| Value::Int(order as i64))),
    ("semver_major", |args| part(args, 0)),
    ("semver_minor", |args| part(args, 1)),
    ("semver_patch", |args| part(args, 2)),
];

#[derive(Debug)]
struct Version {
    /// Major, minor, patch.
    numbers: [u64; 3],
    prerelease: Vec<Identifier>,
    /// Build metadata, which has no part in the order.
    build: Option<String>,
}

/// Numbers come before words.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Identifier {
    Number(u64),
    Word(String),
}

fn parse(args: &[Value<'_>]) -> Result<Version, Error> {
    let text = text(args, 0)?;
    match args.get(1) {
        Some(Value::Bool(true)) => Version::parse(&normalized(text)?),
        _ => Version::parse(text),
    }
}

/// Without a `v`, without leading zeros, and with all three numbers.
fn normalized(text: &str) -> Result<String, Error> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(str::to_owned).collect();
    for part in &mut parts {
        if part.len() > 1 {
            let trimmed = part.trim_start_matches('0');
            let zero = if trimmed.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "0" };
            *part = format!("{zero}{trimmed}");
        }
    }
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err(Error::new("short version cannot contain PreRelease/Build meta data"));
    }
    parts.resize(3, "0".to_owned());
    Ok(parts.join("."))
}

impl Version {
    fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::new("Version string empty"));
        }
        let parts: Vec<_> = text.splitn(3, '.').collect();
        let [major, minor, patch] = parts[..] else {
            return Err(Error::new("No Major.Minor.Patch elements found"));
        };
        let major = number(major, "major", "Major")?;
        let minor = number(minor, "minor", "Minor")?;
        let (patch, build) =
            patch.split_once('+').map_or((patch, None), |(patch, build)| (patch, Some(build)));
        let (patch, prerelease) =
            patch.split_once('-').map_or((patch, None), |(patch, pre)| (patch, Some(pre)));
        let patch = number(patch, "patch", "Patch")?;
        let prerelease = prerelease
            .into_iter()
            .flat_map(|text| text.split('.'))
            .map(identifier)
            .collect::<Result<_, _>>()?;
        for part in build.iter().flat_map(|build| build.split('.')) {
            if part.is_empty() {
                return Err(Error::new("Build meta data is empty"));
            }
            if !part.bytes().all(is_alphanumeric) {
                return Err(invalid("build meta data", part));
            }
        }
        let build = build.map(str::to_owned);
        Ok(Self { numbers: [major, minor, patch], prerelease, build })
    }

    fn order(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, true) => Ordering::Equal,
                // A release comes after its prereleases.
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.prerelease.cmp(&other.prerelease),
            }
        })
    }
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn invalid(what: &str, text: &str) -> Error {
    Error::new(format!("Invalid character(s) found in {what} {}", crate::go::quote(text)))
}

fn number(text: &str, name: &str, title: &str) -> Result<u64, Error> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(&format!("{name} number"), text));
    }
    let quoted = crate::go::quote(text);
    if text.len() > 1 && text.starts_with('0') {
        return Err(Error::new(format!("{title} number must not contain leading zeroes {quoted}")));
    }
    text.parse().map_err(|_| {
        let why = if text.is_empty() { "invalid syntax" } else { "value out of range" };
        Error::new(format!("strconv.ParseUint: parsing {quoted}: {why}"))
    })
}

fn identifier(text: &str) -> Result<Identifier, Error> {
    if text.is_empty() {
        return Err(Error::new("Prerelease is empty"));
    }
    let quoted = crate::go::quote(text);
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(Error::new(format!(
                "Numeric PreRelease version must not contain leading zeroes {quoted}"
            )));
        }
        let number = text.parse();
        return number
            .map(Identifier::Number)
            .map_err(|_| Error::new(format!("strconv.ParseUint: parsing {quoted}: value out of range")));
    }
    if text.bytes().all(is_alphanumeric) {
        return Ok(Identifier::Word(text.to_owned()));
    }
    Err(invalid("prerelease", text))
}

impl Opaque for Version {
    fn type_of(&self) -> Type {
        Type::object("kubernetes.Semver")
    }

    fn equal(&self, other: &Value<'_>) -> Result<bool, Error> {
        let other = other.downcast::<Self>().ok_or_else(Error::no_such_overload)?;
        Ok(self.order(other).is_eq())
    }

    fn display(&self) -> String {
        let [major, minor, patch] = self.numbers;
        let prerelease = self.prerelease.iter().enumerate().map(|(index, identifier)| {
            let before = if index == 0 { '-' } else { '.' };
            match identifier {
                Identifier::Number(number) => format!("{before}{number}"),
                Identifier::Word(word) => format!("{before}{word}"),
            }
        });
        let prerelease: String = prerelease.collect();
        let build = self.build.as_ref().map(|build| format!("+{build}")).unwrap_or_default();
        format!("{major}.{minor}.{patch}{prerelease}{build}")
    }
}

fn two<'a>(args: &[Value<'a>], compute: impl Fn(Ordering) -> Value<'a>) -> Evaluated<'a> {
    match args {
        [left, right] => match (left.downcast::<Version>(), right.downcast()) {
            (Some(left), Some(right)) => Ok(compute(left.order(right))),
            _ => mismatch(),
        },
        _ => mismatch(),
    }
}

fn part<'a>(args: &[Value<'a>], index: usize) -> Evaluated<'a> {
    let version = args.first().and_then(Value::downcast::<Version>);
    let number = version.and_then(|version| version.numbers.get(index));
    // As in Go, a number that 63 bits cannot hold becomes negative.
    number.map_or_else(mismatch, |number| Ok(Value::Int(number.cast_signed())))
}
