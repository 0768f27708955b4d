//! The JSONPath dialect of kubectl and of printer columns (`k8s.io/client-go/util/jsonpath`), without `range`.
//!
//! It supports fields (`.a`, `.a\.b`, `['a']`), indexes and slices (`[0]`, `[-1]`, `[1:3]`, `[::2]`, `[*]`), wildcards
//! (`.*`), recursive descent (`..a`), unions (`[0,2]`) and filters (`[?(@.type=="Ready")]`). A missing field yields no
//! result.

use serde_json::Value;

use crate::ParseError;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

/// The reason why a path cannot be evaluated for a value: an index is out of bounds, or a filter is applied to something
/// other than an array or compares values of different types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvaluateError(String);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Recursive,
    Slice { start: Option<i64>, end: End, step: Option<i64> },
    Union(Vec<Vec<Step>>),
    Filter { left: Vec<Step>, comparison: Option<(Comparison, Vec<Step>)> },
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// `[1]`: one element.
    One,
    /// `[1:]`
    Length,
    /// `[1:3]`
    At(i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Less,
    LessEqual,
    Equal,
    NotEqual,
    GreaterEqual,
    Greater,
}

/// The maximum nesting depth of a path, so that it cannot exhaust the stack.
const MAX_DEPTH: usize = 16;

impl JsonPath {
    /// Parses a path without the braces of kubectl's templates: `.spec.url`.
    ///
    /// # Errors
    /// Fails if the path is malformed or nested more than 16 levels deep.
    pub fn parse(path: &str) -> Result<Self, ParseError> {
        Parser { rest: path, depth: 0 }.steps().map(Self)
    }

    /// Returns all values that the path leads to, in order; nothing if a field is missing.
    ///
    /// The values are borrowed from `value`, and literals from the path.
    ///
    /// # Errors
    /// Fails if the path does not fit the value.
    pub fn find<'a>(&'a self, value: &'a Value) -> Result<Vec<&'a Value>, EvaluateError> {
        walk(vec![value], &self.0)
    }
}

fn walk<'a>(mut values: Vec<&'a Value>, steps: &'a [Step]) -> Result<Vec<&'a Value>, EvaluateError> {
    for step in steps {
        values = step.apply(values)?;
    }
    Ok(values)
}

impl Step {
    fn apply<'a>(&'a self, values: Vec<&'a Value>) -> Result<Vec<&'a Value>, EvaluateError> {
        let mut results = Vec::new();
        match self {
            Self::Field(name) => {
                results.extend(values.into_iter().filter_map(|value| value.get(name)));
            }
            Self::Wildcard => values.into_iter().for_each(|value| children(value, &mut results)),
            Self::Recursive => values.into_iter().for_each(|value| descend(value, &mut results)),
            Self::Slice { start, end, step } => {
                for value in values.into_iter().filter(|value| !value.is_null()) {
                    let Some(array) = value.as_array() else {
                        return Err(EvaluateError(format!("{} is not array or slice", type_name(value))));
                    };
                    let indexes = slice(array.len(), *start, *end, *step)?;
                    results.extend(indexes.into_iter().filter_map(|index| array.get(index)));
                }
            }
            Self::Union(paths) => {
                for path in paths {
                    results.extend(walk(values.clone(), path)?);
                }
            }
            Self::Filter { left, comparison } => {
                for value in values {
                    let Some(array) = value.as_array() else {
                        return Err(EvaluateError(format!(
                            "{} is not array or slice and cannot be filtered",
                            type_name(value)
                        )));
                    };
                    for item in array {
                        if passes(item, left, comparison.as_ref())? {
                            results.push(item);
                        }
                    }
                }
            }
            Self::Literal(literal) => results.extend(values.iter().map(|_| literal)),
        }
        Ok(results)
    }
}

fn children<'a>(value: &'a Value, results: &mut Vec<&'a Value>) {
    match value {
        Value::Array(array) => results.extend(array),
        Value::Object(object) => results.extend(object.values()),
        _ => {}
    }
}

fn descend<'a>(value: &'a Value, results: &mut Vec<&'a Value>) {
    let mut below = Vec::new();
    children(value, &mut below);
    if !below.is_empty() {
        results.push(value);
        below.into_iter().for_each(|value| descend(value, results));
    }
}

/// Returns the indexes that `[start:end:step]` selects in an array of the given length.
fn slice(
    length: usize,
    start: Option<i64>,
    end: End,
    step: Option<i64>,
) -> Result<Vec<usize>, EvaluateError> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let out_of_bounds =
        |index: i64| EvaluateError(format!("array index out of bounds: index {index}, length {length}"));
    let from_end = |index: i64| if index < 0 { index + length } else { index };
    let first = from_end(start.unwrap_or(0));
    let last = match end {
        End::One => match first.checked_add(1) {
            Some(last) => last,
            None => return Err(out_of_bounds(first)),
        },
        End::Length => length,
        End::At(end) => from_end(end),
    };
    if first == last {
        return Ok(Vec::new());
    }
    if first < 0 || first >= length {
        return Err(out_of_bounds(first));
    }
    if last < 0 || last > length {
        return Err(out_of_bounds(last - 1));
    }
    if first > last {
        return Err(EvaluateError(format!("starting index {first} is greater than ending index {last}")));
    }
    let step = step.unwrap_or(1);
    if step <= 0 {
        return Err(EvaluateError("step must be > 0".to_owned()));
    }
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    Ok((first..last).step_by(step).filter_map(|index| usize::try_from(index).ok()).collect())
}

fn passes(
    item: &Value,
    left: &[Step],
    comparison: Option<&(Comparison, Vec<Step>)>,
) -> Result<bool, EvaluateError> {
    let evaluate = |path| walk(vec![item], path);
    let Some((comparison, right)) = comparison else {
        return Ok(evaluate(left).is_ok_and(|found| !found.is_empty()));
    };
    let (left, right) = (evaluate(left)?, evaluate(right)?);
    let (left, right) = match (left.as_slice(), right.as_slice()) {
        ([], _) | (_, []) => return Ok(false),
        ([left], [right]) => (*left, *right),
        _ => return Err(EvaluateError("can only compare one element at a time".to_owned())),
    };
    let ordering = match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::Bool(left), Value::Bool(right)) => {
            if !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
                return Err(EvaluateError("invalid type for comparison".to_owned()));
            }
            Some(left.cmp(right))
        }
        _ => return Err(EvaluateError("incompatible types for comparison".to_owned())),
    };
    Ok(ordering.is_some_and(|ordering| match comparison {
        Comparison::Less => ordering.is_lt(),
        Comparison::LessEqual => ordering.is_le(),
        Comparison::Equal => ordering.is_eq(),
        Comparison::NotEqual => ordering.is_ne(),
        Comparison::GreaterEqual => ordering.is_ge(),
        Comparison::Greater => ordering.is_gt(),
    }))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "map",
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

fn is_terminator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

impl<'a> Parser<'a> {
    fn steps(mut self) -> Result<Vec<Step>, ParseError> {
        if self.depth > MAX_DEPTH {
            return Err(ParseError("nested too deep".to_owned()));
        }
        let mut steps = Vec::new();
        while let Some(c) = self.rest.chars().next() {
            if let Some(rest) = self.rest.strip_prefix("[?(") {
                self.rest = rest;
                steps.push(self.filter()?);
            } else if let Some(rest) = self.rest.strip_prefix("..") {
                if steps.last() == Some(&Step::Recursive) {
                    return Err(ParseError("invalid multiple recursive descent".to_owned()));
                }
                self.rest = rest;
                steps.push(Step::Recursive);
                if rest.starts_with(|c: char| c == '_' || c.is_alphanumeric()) {
                    steps.push(self.field());
                }
            } else {
                match c {
                    ' ' | '@' | '$' => self.advance(c),
                    '.' => {
                        self.advance(c);
                        steps.push(self.field());
                    }
                    '[' => {
                        self.advance(c);
                        self.brackets(&mut steps)?;
                    }
                    '"' | '\'' => steps.push(Step::Literal(Value::from(self.quoted(c)?))),
                    '+' | '-' | '0'..='9' => steps.push(Step::Literal(self.number()?)),
                    _ if c == '_' || c.is_alphabetic() => match self.word() {
                        "true" => steps.push(Step::Literal(Value::Bool(true))),
                        "false" => steps.push(Step::Literal(Value::Bool(false))),
                        word => return Err(ParseError(format!("unrecognized identifier {word}"))),
                    },
                    _ => return Err(ParseError(format!("unrecognized character in action: {c:?}"))),
                }
            }
        }
        Ok(steps)
    }

    fn advance(&mut self, c: char) {
        self.rest = &self.rest[c.len_utf8()..];
    }

    fn nested(&self, rest: &'a str) -> Result<Vec<Step>, ParseError> {
        Parser { rest, depth: self.depth + 1 }.steps()
    }

    fn word(&mut self) -> &'a str {
        let (word, rest) = self.rest.split_at(self.rest.find(is_terminator).unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// Parses a name up to the first unescaped terminator.
    fn field(&mut self) -> Step {
        let (mut name, mut escaped, mut end) = (String::new(), false, self.rest.len());
        for (index, c) in self.rest.char_indices() {
            if !escaped && c == '\\' {
                escaped = true;
            } else if !escaped && is_terminator(c) {
                end = index;
                break;
            } else {
                escaped = false;
                name.push(c);
            }
        }
        self.rest = &self.rest[end..];
        if name == "*" { Step::Wildcard } else { Step::Field(name) }
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let end = self
            .rest
            .char_indices()
            .find(|(index, c)| !(c.is_ascii_digit() || *c == '.' || (*index == 0 && matches!(c, '+' | '-'))))
            .map_or(self.rest.len(), |(index, _)| index);
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        if let Ok(integer) = text.parse::<i64>() {
            return Ok(Value::from(integer));
        }
        text.parse::<f64>().map(Value::from).map_err(|_| ParseError(format!("cannot parse number {text}")))
    }

    /// Parses a quoted string at the start of `rest`.
    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        self.advance(quote);
        let (mut text, mut escaped) = (String::new(), false);
        for (index, c) in self.rest.char_indices() {
            if escaped {
                text.push(match c {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    c => c,
                });
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                self.rest = &self.rest[index + c.len_utf8()..];
                return Ok(text);
            } else {
                text.push(c);
            }
        }
        Err(ParseError("unterminated quoted string".to_owned()))
    }

    /// Parses the text after `[`.
    fn brackets(&mut self, steps: &mut Vec<Step>) -> Result<(), ParseError> {
        let Some((text, rest)) = self.rest.split_once(']') else {
            return Err(ParseError("unterminated array".to_owned()));
        };
        self.rest = rest;
        if text.contains(',') {
            let paths = text.split(',').map(|item| {
                let mut path = Vec::new();
                let mut parser = Parser { rest: "", depth: self.depth };
                parser.bracket(item.trim_matches(' '), &mut path)?;
                Ok(path)
            });
            steps.push(Step::Union(paths.collect::<Result<_, ParseError>>()?));
            return Ok(());
        }
        self.bracket(text, steps)
    }

    fn bracket(&mut self, text: &'a str, steps: &mut Vec<Step>) -> Result<(), ParseError> {
        if let Some(key) =
            text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).filter(|key| !key.contains('\''))
        {
            let mut parser = Parser { rest: key, depth: self.depth + 1 };
            steps.push(parser.field());
            steps.extend(parser.steps()?);
            return Ok(());
        }
        let text = if text == "*" { ":" } else { text };
        let invalid = || ParseError(format!("invalid array index {text}"));
        let number = |text: &str| match text {
            "" => Ok(None),
            _ => text.parse::<i64>().map(Some).map_err(|_| invalid()),
        };
        let mut parts = text.split(':');
        let start = number(parts.next().unwrap_or_default())?;
        let end = match parts.next().map(number).transpose()? {
            None => End::One,
            Some(None) => End::Length,
            Some(Some(end)) => End::At(end),
        };
        let step = parts.next().map(number).transpose()?.flatten();
        if parts.next().is_some() {
            return Err(invalid());
        }
        steps.push(Step::Slice { start, end, step });
        Ok(())
    }

    /// Parses the text after `[?(`.
    fn filter(&mut self) -> Result<Step, ParseError> {
        let mut quote = None;
        let mut previous = None;
        let mut end = None;
        for (index, c) in self.rest.char_indices() {
            match (quote, c) {
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if c == open && previous != Some('\\') => quote = None,
                (None, ')') => {
                    end = Some(index);
                    break;
                }
                _ => {}
            }
            previous = Some(c);
        }
        let Some(end) = end else {
            return Err(ParseError("unterminated filter".to_owned()));
        };
        let text = &self.rest[..end];
        let Some(rest) = self.rest[end + 1..].strip_prefix(']') else {
            return Err(ParseError("unclosed array expect ]".to_owned()));
        };
        self.rest = rest;
        let is_operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
        let Some(start) = text.find(is_operator).filter(|start| *start > 0) else {
            return Ok(Step::Filter { left: self.nested(text)?, comparison: None });
        };
        let (left, rest) = text.split_at(start);
        let (operator, right) = rest.split_at(rest.find(|c| !is_operator(c)).unwrap_or(rest.len()));
        let comparison = match operator {
            "<" => Comparison::Less,
            "<=" => Comparison::LessEqual,
            "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            ">=" => Comparison::GreaterEqual,
            ">" => Comparison::Greater,
            _ => return Err(ParseError(format!("unrecognized filter operator {operator}"))),
        };
        Ok(Step::Filter { left: self.nested(left)?, comparison: Some((comparison, self.nested(right)?)) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn find(path: &str, value: &Value) -> Result<Value, String> {
        let path = JsonPath::parse(path).map_err(|error| error.to_string())?;
        let found = path.find(value).map_err(|error| error.to_string())?;
        Ok(found.into_iter().cloned().collect())
    }

    #[test]
    fn finds_what_client_go_finds() {
        let value = json!({
            "a": {"b": 1, "x.y/z": 2},
            "list": [10, 20, 30],
            "conditions": [{"type": "Ready", "status": "True", "n": 2}, {"type": "Other", "status": "False", "n": 5}],
        });
        for (path, expected) in [
            (".a.b", json!([1])),
            (".a.none.deeper", json!([])),
            (r".a.x\.y/z", json!([2])),
            (r"['a']['x\.y/z']", json!([2])),
            (".list[0]", json!([10])),
            (".list[-1]", json!([30])),
            (".list[1:]", json!([20, 30])),
            (".list[0:3:2]", json!([10, 30])),
            (".list[*]", json!([10, 20, 30])),
            (".list[0,2]", json!([10, 30])),
            (".a.*", json!([1, 2])),
            ("..type", json!(["Ready", "Other"])),
            (".conditions[?(@.type==\"Ready\")].status", json!(["True"])),
            (".conditions[?(@.type=='Other')].status", json!(["False"])),
            (".conditions[?(@.n>2)].type", json!(["Other"])),
            (".conditions[?(@.n)].type", json!(["Ready", "Other"])),
            (".conditions[?(@.type==\"None\")].status", json!([])),
        ] {
            assert_eq!(find(path, &value), Ok(expected), "{path}");
        }
        for path in [
            ".list[3]",
            ".a[0]",
            ".a[?(@.b==1)]",
            ".list[",
            "[?(@.a",
            ".list[x]",
            "a",
            ".conditions[?(@.n=5)]",
        ] {
            assert!(find(path, &value).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in r#"([.@$\[\]?()='"<*:,0-9 -]|\.\.|a|\\){0,24}|.*"#) {
            let value = json!({"a": [{"a": 1}, [2], "s"], "": {"a": null}});
            if let Ok(path) = JsonPath::parse(&path) {
                let _ = path.find(&value);
            }
        }
    }
}
