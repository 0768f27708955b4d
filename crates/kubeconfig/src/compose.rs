//! Builds a value from the events of the YAML parser. Source: `go.yaml.in/yaml/v2`, `decode.go`.

use std::collections::{HashMap, HashSet};

use libyaml_safer::{Event, EventData, MappingStyle, Mark, Parser, ScalarStyle, SequenceStyle};
use serde_json::{Map, Value};

use crate::scalar;

/// Protects the stack. Go stops at 10,000.
pub(crate) const MAX_DEPTH: usize = 250;

/// How many nodes may be kept for aliases. Each takes about 100 B.
const MAX_KEPT: u64 = 4_000_000;

pub(crate) const SYNTAX: &str = "it is not valid YAML";

/// Why a text is not valid YAML.
#[derive(Debug)]
pub(crate) struct Invalid {
    /// Starts at 1.
    pub(crate) line: Option<u64>,
    pub(crate) problem: String,
}

/// A value, and how many nodes it has after aliases were replaced.
#[derive(Clone)]
struct Composed {
    value: Value,
    nodes: u64,
}

/// How many nodes were decoded, and how many of them for aliases.
#[derive(Default)]
struct Count {
    all: u64,
    aliased: u64,
}

impl Count {
    /// Whether aliases expand a small text to a large value. Source: `decode.go`, `unmarshal` and `allowedAliasRatio`.
    #[expect(clippy::cast_precision_loss, reason = "it is a ratio")]
    fn is_excessive(&self) -> bool {
        let all = self.all as f64;
        let allowed = (0.99 - 0.89 * ((all - 400_000.0) / 3_600_000.0)).clamp(0.10, 0.99);
        self.aliased > 100 && self.all > 1000 && self.aliased as f64 / all > allowed
    }
}

/// Builds a value from the parser's events.
pub(crate) struct Composer<'a, R> {
    parser: Parser<R>,
    text: &'a str,
    /// Whether the last line has no line break, except for the one that was added.
    ends_in_line: bool,
    /// `None` while the value is not complete, or if no alias can mean it.
    anchors: HashMap<String, Option<Composed>>,
    /// What follows an asterisk anywhere in the text: the anchors whose values may be needed again.
    aliases: HashSet<&'a str>,
    /// How many nodes are kept for aliases.
    kept: u64,
    count: Count,
    depth: usize,
    /// How many of these levels are within brackets or braces.
    flow_depth: usize,
}

impl<'a, R: std::io::BufRead> Composer<'a, R> {
    pub(crate) fn new(parser: Parser<R>, text: &'a str, ends_in_line: bool) -> Self {
        Self {
            parser,
            text,
            ends_in_line,
            anchors: HashMap::new(),
            aliases: aliases(text),
            kept: 0,
            count: Count::default(),
            depth: 0,
            flow_depth: 0,
        }
    }

    /// Returns the first document, or `Null` if there is none.
    pub(crate) fn document(mut self) -> Result<Value, Invalid> {
        loop {
            let event = self.next()?;
            match event.data {
                EventData::StreamStart { .. } => {}
                EventData::DocumentStart { version_directive: Some(version), .. }
                    if (version.major, version.minor) != (1, 1) =>
                {
                    return Err(invalid(event.start_mark, "its version of YAML is not 1.1"));
                }
                EventData::DocumentStart { .. } => {
                    let first = self.next()?;
                    let value = self.value(first)?.value;
                    // Whether the document ends here depends on what follows it.
                    self.next()?;
                    return Ok(value);
                }
                _ => return Ok(Value::Null),
            }
        }
    }

    fn next(&mut self) -> Result<Event, Invalid> {
        self.parser.parse().map_err(|error| syntax(&error))
    }

    fn value(&mut self, event: Event) -> Result<Composed, Invalid> {
        let (start, before) = (event.start_mark, self.count.all);
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(invalid(start, "it is too deeply nested"));
        }
        self.count.all += 1;
        let (anchor, value) = match event.data {
            EventData::Alias { anchor } => (None, self.alias(&anchor, start)?),
            EventData::Scalar { anchor, tag, value, plain_implicit, style, .. } => {
                let text = self.text(value, style, start, event.end_mark)?;
                let value = if tag.is_none() && !plain_implicit {
                    text.into()
                } else {
                    scalar::resolve(tag.as_deref(), &text).map_err(|problem| invalid(start, problem))?
                };
                (anchor, value)
            }
            EventData::SequenceStart { anchor, style, .. } => {
                let list = self.within(anchor.as_ref(), style == SequenceStyle::Flow, Self::list)?;
                (anchor, list)
            }
            EventData::MappingStart { anchor, style, .. } => {
                let map = self.within(anchor.as_ref(), style == MappingStyle::Flow, Self::map)?;
                (anchor, map)
            }
            _ => return Err(invalid(start, SYNTAX)),
        };
        self.depth -= 1;
        let composed = Composed { value, nodes: self.count.all - before };
        if let Some(anchor) = anchor.filter(|anchor| self.aliases.contains(anchor.as_str())) {
            self.kept = self.kept.saturating_add(composed.nodes);
            if self.kept > MAX_KEPT {
                return Err(invalid(start, "its anchors hold too large a value"));
            }
            self.anchors.insert(anchor, Some(composed.clone()));
        }
        Ok(composed)
    }

    /// Reads a list or map. Until its end, its anchor means a value that is not complete.
    fn within(
        &mut self,
        anchor: Option<&String>,
        is_flow: bool,
        read: fn(&mut Self) -> Result<Value, Invalid>,
    ) -> Result<Value, Invalid> {
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor.clone(), None);
        }
        self.flow_depth += usize::from(is_flow);
        let value = read(self)?;
        self.flow_depth -= usize::from(is_flow);
        Ok(value)
    }

    fn alias(&mut self, anchor: &str, at: Mark) -> Result<Value, Invalid> {
        match self.anchors.get(anchor) {
            Some(Some(composed)) => {
                self.count.all = self.count.all.saturating_add(composed.nodes);
                self.count.aliased = self.count.aliased.saturating_add(composed.nodes);
                if self.count.is_excessive() {
                    return Err(invalid(at, "its aliases expand to too large a value"));
                }
                Ok(composed.value.clone())
            }
            Some(None) => Err(invalid(at, "an anchor contains itself")),
            None => Err(invalid(at, "an alias has no anchor")),
        }
    }

    fn list(&mut self) -> Result<Value, Invalid> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::SequenceEnd {
                return Ok(Value::Array(items));
            }
            items.push(self.value(event)?.value);
        }
    }

    /// The last of equal keys counts, in which a merge key acts like the keys of its maps.
    fn map(&mut self) -> Result<Value, Invalid> {
        let mut map = Map::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::MappingEnd {
                return Ok(Value::Object(map));
            }
            let at = event.start_mark;
            let is_merge = is_merge(&event.data);
            let key = if is_merge { Value::Null } else { self.value(event)?.value };
            let event = self.next()?;
            let value = self.value(event)?.value;
            if is_merge {
                merge(&mut map, value).map_err(|problem| invalid(at, problem))?;
            } else {
                map.insert(scalar::key(key).map_err(|problem| invalid(at, problem))?, value);
            }
        }
    }

    /// Returns the text of a scalar, where Go's port of libyaml and Rust's differ.
    fn text(&self, mut value: String, style: ScalarStyle, start: Mark, end: Mark) -> Result<String, Invalid> {
        let source = self.text.get(index(start)..index(end)).unwrap_or_default();
        let unknown = match style {
            // JSON has this escape, YAML 1.1 has not.
            ScalarStyle::DoubleQuoted if escapes(source).any(|escaped| escaped == b'/') => {
                "unknown escape character"
            }
            ScalarStyle::Plain if self.flow_depth > 0 && value.contains('?') => {
                "a question mark in an unquoted value"
            }
            _ => "",
        };
        if !unknown.is_empty() {
            return Err(invalid(start, &format!("{SYNTAX}: found {unknown}")));
        }
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
            && self.ends_in_line
            && index(end) >= self.text.len()
            && value.ends_with('\n')
        {
            value.pop();
        }
        Ok(value)
    }
}

/// Returns all that may be names of aliases.
fn aliases(text: &str) -> HashSet<&str> {
    let name = |rest: &'_ str| {
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))).unwrap_or(rest.len())
    };
    text.match_indices('*').map(|(mark, _)| &text[mark + 1..]).map(|rest| &rest[..name(rest)]).collect()
}

/// Returns the characters that follow a backslash.
fn escapes(source: &str) -> impl Iterator<Item = u8> {
    let mut bytes = source.bytes();
    std::iter::from_fn(move || bytes.find(|byte| *byte == b'\\').and_then(|_| bytes.next()))
}

pub(crate) fn index(mark: Mark) -> usize {
    usize::try_from(mark.index).unwrap_or(usize::MAX)
}

fn is_merge(event: &EventData) -> bool {
    match event {
        EventData::Scalar { value, tag, plain_implicit, .. } => {
            value == "<<" && (*plain_implicit || tag.as_deref() == Some("tag:yaml.org,2002:merge"))
        }
        _ => false,
    }
}

/// The first of several maps takes precedence.
fn merge(map: &mut Map<String, Value>, value: Value) -> Result<(), &'static str> {
    let maps = match value {
        Value::Array(maps) => maps,
        one => vec![one],
    };
    for more in maps.into_iter().rev() {
        match more {
            Value::Object(more) => map.extend(more),
            _ => return Err("a merge key needs a map or a list of maps"),
        }
    }
    Ok(())
}

pub(crate) fn syntax(error: &libyaml_safer::Error) -> Invalid {
    Invalid {
        line: error.problem_mark().map(|mark| mark.line + 1),
        problem: format!("{SYNTAX}: {}", error.problem()),
    }
}

pub(crate) fn invalid(at: Mark, problem: &str) -> Invalid {
    Invalid { line: Some(at.line + 1), problem: problem.to_owned() }
}
