//! YAML as kube-apiserver reads it: YAML 1.1 as `go.yaml.in/yaml/v2` resolves it, and made JSON by `sigs.k8s.io/yaml`.
//!
//! `yes` is true, `010` is 8, `<<` merges, keys become strings, and of several documents only the first one counts.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag};
use kube_validation::go;
use serde_json::{Map, Number, Value};

/// How deep values may be nested: one level more than an object that is stored may be.
const MAX_DEPTH: usize = 127;

/// A document as JSON.
#[derive(Debug, PartialEq)]
pub(super) struct Document {
    pub(super) value: Value,
    /// The keys that a map has twice, as a strict decoder reports them. The last one counts.
    pub(super) repeated: Vec<String>,
}

impl Document {
    /// The error of a strict decoder.
    pub(super) fn strict_error(&self) -> Option<String> {
        let all = (!self.repeated.is_empty()).then(|| self.repeated.join("\n  "))?;
        Some(format!("yaml: unmarshal errors:\n  {all}"))
    }
}

/// Reads the first document. The error is Go's, as far as the parser finds the same one.
pub(super) fn parse(bytes: &[u8]) -> Result<Document, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "yaml: invalid leading UTF-8 octet".to_owned())?;
    let tree = Tree::read(text).map_err(|why| format!("yaml: {why}"))?;
    let mut decoder = Decoder::new(&tree);
    let value = match tree.root {
        Some(root) => decoder.value(root)?,
        None => Value::Null,
    };
    Ok(Document { value, repeated: decoder.repeated })
}

/// Makes integers of floats that have no fraction, as they are after Go has written and read them.
pub(super) fn make_integers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64() {
                *value = float_value(float);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_integers),
        Value::Object(members) => members.values_mut().for_each(make_integers),
        _ => {}
    }
}

/// A node of a document. Nodes refer to others by their index.
#[derive(Debug)]
enum Node {
    Scalar {
        text: String,
        plain: bool,
        tag: Option<String>,
        line: usize,
    },
    List(Vec<usize>),
    Map(Vec<(usize, usize)>),
    /// The index of the node that it stands for.
    Alias(usize),
}

/// The nodes of a document.
#[derive(Debug, Default)]
struct Tree {
    nodes: Vec<Node>,
    root: Option<usize>,
    anchors: HashMap<usize, usize>,
}

impl Tree {
    fn read(text: &str) -> Result<Self, String> {
        let mut tree = Self::default();
        let mut events = Parser::new_from_str(text);
        loop {
            let Some(event) = events.next() else { return Ok(tree) };
            let (event, span) = event.map_err(|error| describe(&error, text))?;
            if matches!(event, Event::StreamEnd | Event::DocumentEnd) {
                return Ok(tree);
            }
            if is_of_node(&event) {
                tree.root = Some(tree.node(event, span.start.line(), &mut events, text, MAX_DEPTH)?);
                return Ok(tree);
            }
        }
    }

    fn add(&mut self, node: Node, anchor: usize) -> usize {
        let index = self.nodes.len();
        self.nodes.push(node);
        if anchor != 0 {
            self.anchors.insert(anchor, index);
        }
        index
    }

    /// Adds the node that begins with an event, and everything in it.
    fn node<'a>(
        &mut self,
        event: Event<'a>,
        line: usize,
        events: &mut Events<'a>,
        text: &str,
        depth: usize,
    ) -> Result<usize, String> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(format!("exceeded max depth of {MAX_DEPTH}"));
        };
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                let tag = tag.map(|tag| short_tag(&tag));
                let plain = style == ScalarStyle::Plain;
                Ok(self.add(Node::Scalar { text: value.into_owned(), plain, tag, line }, anchor))
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).copied();
                let target = target.ok_or_else(|| "unknown anchor referenced".to_owned())?;
                Ok(self.add(Node::Alias(target), 0))
            }
            Event::SequenceStart(_, anchor, _) => {
                let index = self.add(Node::List(Vec::new()), anchor);
                let mut items = Vec::new();
                loop {
                    match next(events, text)? {
                        (Event::SequenceEnd, _) => break,
                        (event, line) => items.push(self.node(event, line, events, text, depth)?),
                    }
                }
                self.nodes[index] = Node::List(items);
                Ok(index)
            }
            Event::MappingStart(_, anchor, _) => {
                let index = self.add(Node::Map(Vec::new()), anchor);
                let mut members = Vec::new();
                loop {
                    let key = match next(events, text)? {
                        (Event::MappingEnd, _) => break,
                        (event, line) => self.node(event, line, events, text, depth)?,
                    };
                    let (event, line) = next(events, text)?;
                    members.push((key, self.node(event, line, events, text, depth)?));
                }
                self.nodes[index] = Node::Map(members);
                Ok(index)
            }
            _ => Err("did not find expected node content".to_owned()),
        }
    }
}

type Events<'a> = Parser<'a, granit_parser::StrInput<'a>>;

/// The next event of a node, and its line.
fn next<'a>(events: &mut Events<'a>, text: &str) -> Result<(Event<'a>, usize), String> {
    for event in events {
        let (event, span) = event.map_err(|error| describe(&error, text))?;
        if is_of_node(&event) {
            return Ok((event, span.start.line()));
        }
    }
    Err("did not find expected node content".to_owned())
}

/// Whether an event is part of a node. Others are comments, and the beginnings and ends of documents.
fn is_of_node(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::Scalar(..)
            | Event::Alias(_)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd
    )
}

/// Formats a parser's error as Go's yaml does, which has no line for an error in the first one. Its scanner counts lines from
/// one, and its parser from zero.
fn describe(error: &ScanError, text: &str) -> String {
    let (line, end) = (error.marker().line(), text.lines().count());
    let why = error.kind().to_string();
    // The context, which Go leaves out.
    let why = match why.strip_prefix("while ").and_then(|rest| rest.split_once(", ")) {
        Some((_, why)) => why.to_owned(),
        None => why,
    };
    let (line, why) = match error.kind() {
        ErrorKind::UnknownAnchor => {
            // The first line is line 1.
            let alias = text.lines().nth(line.saturating_sub(1)).and_then(|line| line.rsplit_once('*'));
            let name = alias.and_then(|(_, name)| name.split_whitespace().next()).unwrap_or_default();
            return format!("unknown anchor '{name}' referenced");
        }
        // Go notices what is not closed at the end of the text.
        ErrorKind::UnclosedFlowCollection { open: '{' } => (end + 1, EXPECTED_MEMBER.to_owned()),
        ErrorKind::UnclosedFlowCollection { .. } => (end + 1, EXPECTED_ITEM.to_owned()),
        ErrorKind::UnclosedQuotedScalar => (end + 1, "found unexpected end of stream".to_owned()),
        ErrorKind::SimpleKeyExpected => (line + 1, "could not find expected ':'".to_owned()),
        ErrorKind::UnexpectedCharacter { .. }
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabNotAllowed => (line, "found character that cannot start any token".to_owned()),
        ErrorKind::MisplacedFlowCollectionEnd => (line, "did not find expected node content".to_owned()),
        ErrorKind::MismatchedFlowCollectionEnd { open: '{', .. } => (line, EXPECTED_MEMBER.to_owned()),
        ErrorKind::MismatchedFlowCollectionEnd { .. } => (line, EXPECTED_ITEM.to_owned()),
        _ => (line, why),
    };
    let of_parser = why.starts_with("did not find expected");
    match line.saturating_sub(usize::from(of_parser)) {
        0 => why,
        1 if !of_parser => why,
        line => format!("line {line}: {why}"),
    }
}

const EXPECTED_MEMBER: &str = "did not find expected ',' or '}'";
const EXPECTED_ITEM: &str = "did not find expected ',' or ']'";

/// `!!int` for `tag:yaml.org,2002:int`.
fn short_tag(tag: &Tag) -> String {
    let full = format!("{}{}", tag.handle(), tag.suffix());
    match full.strip_prefix("tag:yaml.org,2002:") {
        Some(name) => format!("!!{name}"),
        None => full,
    }
}

/// What a scalar stands for.
#[derive(Clone, Debug, PartialEq)]
enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    /// A time, which is kept as text.
    Time(String),
    Text(String),
}

impl Scalar {
    /// The tag of its type.
    fn tag(&self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool(_) => "!!bool",
            Self::Integer(_) | Self::Unsigned(_) => "!!int",
            Self::Float(_) => "!!float",
            Self::Time(_) => "!!timestamp",
            Self::Text(_) => "!!str",
        }
    }

    fn into_value(self) -> Result<Value, String> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => value.into(),
            Self::Integer(number) => number.into(),
            #[expect(clippy::cast_precision_loss, reason = "Go's JSON makes a float of it, too")]
            Self::Unsigned(number) => float_value(number as f64),
            Self::Float(number) if !number.is_finite() => {
                let name = match number.is_nan() {
                    true => "NaN",
                    false if number > 0.0 => "+Inf",
                    false => "-Inf",
                };
                return Err(format!("json: unsupported value: {name}"));
            }
            Self::Float(number) => float_value(number),
            Self::Time(text) | Self::Text(text) => text.into(),
        })
    }
}

/// A float after Go has written it as JSON and read it again: an integer, if it has no fraction and fits 64 bits.
fn float_value(float: f64) -> Value {
    let Some(number) = Number::from_f64(float) else { return Value::Null };
    match go::json_number(&number).parse::<i64>() {
        Ok(integer) => integer.into(),
        Err(_) => Value::Number(number),
    }
}

/// Decodes nodes, and counts them: aliases must not make a large value of a small text.
struct Decoder<'a> {
    tree: &'a Tree,
    decoded: usize,
    /// How many of them are below an alias.
    aliased: usize,
    depth_of_aliases: usize,
    /// The nodes that are being decoded as aliases.
    open: Vec<usize>,
    /// The keys that a map has twice.
    repeated: Vec<String>,
}

impl<'a> Decoder<'a> {
    fn new(tree: &'a Tree) -> Self {
        Self { tree, decoded: 0, aliased: 0, depth_of_aliases: 0, open: Vec::new(), repeated: Vec::new() }
    }

    fn value(&mut self, index: usize) -> Result<Value, String> {
        self.count()?;
        match &self.tree.nodes[index] {
            Node::Alias(target) => self.alias(*target, Self::value),
            Node::Scalar { text, plain, tag, .. } => resolve(tag.as_deref(), *plain, text)?.into_value(),
            Node::List(items) => {
                let items: Result<Vec<Value>, String> = items.iter().map(|item| self.value(*item)).collect();
                Ok(items?.into())
            }
            Node::Map(_) => {
                let mut members = Map::new();
                self.members(index, &mut members)?;
                Ok(members.into())
            }
        }
    }

    /// Counts a node: the limits of `go.yaml.in/yaml/v2`.
    fn count(&mut self) -> Result<(), String> {
        const LOW: f64 = 400_000.0;
        const HIGH: f64 = 4_000_000.0;
        self.decoded += 1;
        self.aliased += usize::from(self.depth_of_aliases > 0);
        #[expect(clippy::cast_precision_loss, reason = "the counts are small")]
        let (decoded, aliased) = (self.decoded as f64, self.aliased as f64);
        let allowed = 0.99 - 0.89 * ((decoded - LOW) / (HIGH - LOW)).clamp(0.0, 1.0);
        match self.aliased > 100 && self.decoded > 1000 && aliased / decoded > allowed {
            true => Err("yaml: document contains excessive aliasing".to_owned()),
            false => Ok(()),
        }
    }

    /// Decodes what an alias stands for.
    fn alias<T>(
        &mut self,
        target: usize,
        decode: impl FnOnce(&mut Self, usize) -> Result<T, String>,
    ) -> Result<T, String> {
        if self.open.contains(&target) {
            return Err("yaml: anchor value contains itself".to_owned());
        }
        self.open.push(target);
        self.depth_of_aliases += 1;
        let decoded = decode(self, target);
        self.depth_of_aliases -= 1;
        self.open.pop();
        decoded
    }

    /// Adds the members of a map, in their order: what `<<` merges replaces what is before it.
    fn members(&mut self, index: usize, out: &mut Map<String, Value>) -> Result<(), String> {
        let Node::Map(members) = &self.tree.nodes[index] else { return Err(NO_MAP.to_owned()) };
        for (key, value) in members {
            if self.is_merge(*key) {
                self.merge(*value, out)?;
                continue;
            }
            let key = self.key(*key)?;
            let value = self.value(*value)?;
            let name = key.name(&value)?;
            if out.contains_key(&name) {
                let shown = if let Scalar::Text(text) = &key.scalar { go::quote(text) } else { name.clone() };
                self.repeated.push(format!("line {}: key {shown} already set in map", key.line));
            }
            out.insert(name, value);
        }
        Ok(())
    }

    fn is_merge(&self, key: usize) -> bool {
        match &self.tree.nodes[key] {
            Node::Scalar { text, plain, tag, .. } => {
                text == "<<" && (tag.as_deref() == Some("!!merge") || *plain && tag.is_none())
            }
            _ => false,
        }
    }

    /// Adds the members of the map or the maps behind `<<`. Of a list, the first map wins.
    fn merge(&mut self, index: usize, out: &mut Map<String, Value>) -> Result<(), String> {
        let of_one = |decoder: &mut Self, index: usize, out: &mut Map<String, Value>| {
            decoder.count()?;
            match &decoder.tree.nodes[index] {
                Node::Alias(target) => decoder.alias(*target, |decoder, target| decoder.members(target, out)),
                _ => decoder.members(index, out),
            }
        };
        match &self.tree.nodes[index] {
            Node::List(items) => items.iter().rev().try_for_each(|item| of_one(self, *item, out)),
            _ => of_one(self, index, out),
        }
    }

    fn key(&mut self, index: usize) -> Result<Key, String> {
        self.count()?;
        match &self.tree.nodes[index] {
            Node::Alias(target) => self.alias(*target, Self::key),
            Node::Scalar { text, plain, tag, line } => {
                Ok(Key { scalar: resolve(tag.as_deref(), *plain, text)?, line: *line })
            }
            Node::List(_) | Node::Map(_) => {
                let key = go::syntax(&self.value(index)?);
                let key = key.replace("map[string]interface {}", "map[interface {}]interface {}");
                Err(format!("yaml: invalid map key: {key}"))
            }
        }
    }
}

/// A key of a map.
struct Key {
    scalar: Scalar,
    line: usize,
}

impl Key {
    /// The key as JSON has it.
    fn name(&self, value: &Value) -> Result<String, String> {
        let unsupported = |kind: &str, key: &str| {
            Err(format!("unsupported map key of type: {kind}, key: {key}, value: {}", go::syntax(value)))
        };
        Ok(match &self.scalar {
            Scalar::Text(text) | Scalar::Time(text) => text.clone(),
            Scalar::Bool(value) => value.to_string(),
            Scalar::Integer(number) => number.to_string(),
            Scalar::Float(number) if number.is_nan() => ".nan".to_owned(),
            Scalar::Float(number) if number.is_infinite() => {
                if *number > 0.0 { ".inf" } else { "-.inf" }.to_owned()
            }
            #[expect(clippy::cast_possible_truncation, reason = "Go formats it as a float of 32 bits")]
            Scalar::Float(number) => {
                let short = (*number as f32).to_string();
                go::float_text(short.parse().unwrap_or(*number))
            }
            Scalar::Null => return unsupported("%!s(<nil>)", "<nil>"),
            Scalar::Unsigned(number) => return unsupported("uint64", &format!("{number:#x}")),
        })
    }
}

const NO_MAP: &str = "yaml: map merge requires map or sequence of maps as the value";

/// What a scalar with a tag stands for.
fn resolve(tag: Option<&str>, plain: bool, text: &str) -> Result<Scalar, String> {
    let known = ["!!str", "!!bool", "!!int", "!!float", "!!null", "!!timestamp"];
    match tag {
        None if !plain => Ok(Scalar::Text(text.to_owned())),
        None => Ok(untagged(text, true)),
        Some("!!binary") => {
            let bytes = BASE64_STANDARD.decode(text.replace(['\n', '\r'], ""));
            let bytes = bytes.map_err(|_| "yaml: !!binary value contains invalid base64 data".to_owned())?;
            Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Some("!!str") => Ok(Scalar::Text(text.to_owned())),
        Some(tag) if known.contains(&tag) => match (tag, untagged(text, tag == "!!timestamp")) {
            #[expect(clippy::cast_precision_loss, reason = "as in Go")]
            ("!!float", Scalar::Integer(number)) => Ok(Scalar::Float(number as f64)),
            (tag, found) if found.tag() == tag => Ok(found),
            (tag, found) => Err(format!("yaml: cannot decode {} `{text}` as a {tag}", found.tag())),
        },
        // A tag of the author's own.
        Some(_) => Ok(Scalar::Text(text.to_owned())),
    }
}

/// What a plain scalar stands for.
fn untagged(text: &str, may_be_time: bool) -> Scalar {
    let as_text = || Scalar::Text(text.to_owned());
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' if is_float(text) => text.parse().map_or_else(|_| as_text(), Scalar::Float),
        b'+' | b'-' | b'0'..=b'9' => {
            if may_be_time && is_time(text) {
                return Scalar::Time(text.to_owned());
            }
            number(&text.replace('_', "")).unwrap_or_else(as_text)
        }
        _ => as_text(),
    }
}

/// Reads a number as Go does with base 0: `0x1f`, `0o17`, `017` and `0b11` are integers.
fn number(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    let magnitude = match digits.as_bytes().first() {
        Some(b'+' | b'-') | None => None,
        Some(_) => u64::from_str_radix(digits, radix).ok(),
    };
    let signed = magnitude.and_then(|magnitude| match negative {
        true => 0_i64.checked_sub_unsigned(magnitude),
        false => i64::try_from(magnitude).ok(),
    });
    match (signed, magnitude) {
        (Some(number), _) => Some(Scalar::Integer(number)),
        // Go reads no sign here.
        (None, Some(number)) if !text.starts_with(['+', '-']) => Some(Scalar::Unsigned(number)),
        // Beyond the largest float there is none.
        _ if is_float(text) => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Scalar::Float),
        _ => None,
    }
}

/// Whether a text is a float: digits with at most one dot, and an exponent.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = match whole.is_empty() {
        true => !fraction.is_empty(),
        false => true,
    };
    has_digits
        && are_digits(whole)
        && are_digits(fraction)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && are_digits(exponent))
}

/// Whether a text is a time in one of the forms that go-yaml reads. All that matters is that it is no number, so that its parts
/// are only checked for being digits.
fn is_time(text: &str) -> bool {
    let date = |text: &str| {
        let parts: Vec<&str> = text.split('-').collect();
        matches!(parts[..], [year, month, day] if year.len() == 4
            && [year, month, day].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())))
    };
    match text.split_once(['T', 't', ' ']) {
        Some((day, time)) => date(day) && time.contains(':'),
        None => date(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        parse(text.as_bytes()).map(|document| document.value)
    }

    /// What kube-apiserver 1.37.2 stores of these.
    #[test]
    fn scalars_are_those_of_yaml_1_1() {
        for (text, expected) in [
            ("010", json!(8)),
            ("0o10", json!(8)),
            ("0x1F", json!(31)),
            ("-0b11", json!(-3)),
            ("08", json!(8)),
            ("1_000", json!(1000)),
            ("+1", json!(1)),
            ("1.0", json!(1)),
            ("1e2", json!(100)),
            ("1.5e1", json!(15)),
            (".5", json!(0.5)),
            ("1.", json!(1)),
            ("-9223372036854775809", json!(-9_223_372_036_854_775_808.0)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615.0)),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("y", json!(true)),
            ("~", json!(null)),
            ("", json!(null)),
            ("'yes'", json!("yes")),
            ("\"010\"", json!("010")),
            ("!!str 010", json!("010")),
            ("!!float 1", json!(1)),
            ("!own 1", json!("1")),
            ("!!binary aGk=", json!("hi")),
            ("2001-01-01", json!("2001-01-01")),
            ("2001-1-1T1:2:3Z", json!("2001-1-1T1:2:3Z")),
            ("1.2.3", json!("1.2.3")),
            ("12:30:45", json!("12:30:45")),
            ("1e", json!("1e")),
            ("0x", json!("0x")),
            ("-", json!([null])),
            ("--1", json!("--1")),
            ("<<", json!("<<")),
        ] {
            assert_eq!(read(text), Ok(expected), "{text:?}");
        }
        assert!(read(".inf").is_err());
        assert_eq!(read("!!int a"), Err("yaml: cannot decode !!str `a` as a !!int".to_owned()));
    }

    #[test]
    fn keys_become_strings() {
        let text = "1: a\ntrue: b\n1.5: c\nyes: d\n2001-01-01: e\n0x10: f\n1e20: g\n";
        let expected = json!({"1": "a", "true": "d", "1.5": "c", "2001-01-01": "e", "16": "f", "1e+20": "g"});
        assert_eq!(read(text), Ok(expected));
        assert!(read("~: a").is_err() && read("[a]: b").is_err() && read("{a: b}: c").is_err());
    }

    #[test]
    fn maps_are_merged() {
        let base = "base: &b {a: 1, b: 2}\nother: &o {a: 3, c: 4}\n";
        for (text, expected) in [
            ("x: {<<: *b, b: 5}", json!({"a": 1, "b": 5})),
            // The merged members replace what is before them.
            ("x: {b: 5, <<: *b}", json!({"a": 1, "b": 2})),
            ("x: {<<: [*b, *o]}", json!({"a": 1, "b": 2, "c": 4})),
            ("x: {<<: {z: 1}}", json!({"z": 1})),
            ("x: {'<<': 1}", json!({"<<": 1})),
            ("x: *b", json!({"a": 1, "b": 2})),
        ] {
            assert_eq!(read(&format!("{base}{text}\n")).map(|it| it["x"].clone()), Ok(expected), "{text}");
        }
        assert_eq!(read("<<: 1"), Err(NO_MAP.to_owned()));
        assert_eq!(read("<<: [1]"), Err(NO_MAP.to_owned()));
    }

    #[test]
    fn of_a_key_that_is_there_twice_the_last_counts() {
        let document = parse(b"a: 1\ntrue: 2\na: 3\nyes: 4\n").unwrap();
        assert_eq!(document.value, json!({"a": 3, "true": 4}));
        let error = "yaml: unmarshal errors:\n  line 3: key \"a\" already set in map\n  line 4: key true already set in map";
        assert_eq!(document.strict_error().as_deref(), Some(error));
        assert_eq!(parse(b"a: {b: 1}\nc: {b: 1}\n").unwrap().strict_error(), None);
    }

    #[test]
    fn only_the_first_document_counts() {
        assert_eq!(read("a: 1\n---\nb: [\n"), Ok(json!({"a": 1})));
        assert_eq!(read("# nothing\n"), Ok(Value::Null));
        assert_eq!(read("# first\na: # second\n  b: 1 # third\n# last\n"), Ok(json!({"a": {"b": 1}})));
    }

    #[test]
    fn what_is_no_yaml_is_an_error() {
        for (text, expected) in [
            ("a: b: c", "yaml: mapping values are not allowed in this context"),
            ("{\"a\":1", "yaml: line 1: did not find expected ',' or '}'"),
            ("x: {a: b]", "yaml: did not find expected ',' or '}'"),
            ("x:\n  y: ]", "yaml: line 1: did not find expected node content"),
            ("x:\n  y: @a", "yaml: line 2: found character that cannot start any token"),
            ("x:\n  y: 'a\n", "yaml: line 3: found unexpected end of stream"),
            ("x:\n  y: a\n z: b\n", "yaml: line 2: did not find expected key"),
            ("x: .inf", "json: unsupported value: +Inf"),
            ("{[a]: b}", "yaml: invalid map key: []interface {}{\"a\"}"),
            ("a: &x 1\nb: *y", "yaml: unknown anchor 'y' referenced"),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
        assert!(parse(b"a: \xff").is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&format!("{}{}", "[".repeat(500), "]".repeat(500))).is_err());
        assert!(read("a: &a [*a]").is_err());
    }

    #[test]
    fn aliases_do_not_multiply() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert_eq!(read(&text), Err("yaml: document contains excessive aliasing".to_owned()));
    }
}
