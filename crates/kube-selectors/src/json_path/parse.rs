//! Templates as data, and their parser: `parser.go` of `k8s.io/client-go/util/jsonpath`, with its error messages and its
//! rules for quotes, which are not those of other languages.

use serde_json::Value;

use super::unquote::unquote;
use crate::ParseError;

/// A template: the text outside of braces and the actions inside of them, in order. Text is an action that yields itself.
pub(super) type Template = Vec<Action>;

/// The steps of one action. Each is applied to the results of the one before.
pub(super) type Action = Vec<Step>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// A string, which replaces all values.
    Text(Value),
    /// A number or a boolean, one for each value.
    Literal(Value),
    /// `range`, `end`, or an unknown word, which is an error only when it is evaluated.
    Word(String),
    Field(String),
    Wildcard,
    Recursive,
    Slice {
        start: Option<i64>,
        end: End,
        step: Option<i64>,
    },
    Union(Vec<Action>),
    /// `[?(left)]`, or `[?(left operator right)]`. An unknown operator is an error only when it is evaluated.
    Filter {
        left: Action,
        comparison: Option<(String, Action)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// `[1]`: one element.
    One,
    /// `[1:]`
    Length,
    /// `[1:3]`
    At(i64),
}

/// The maximum nesting depth of an action, so that it cannot exhaust the stack.
const MAX_DEPTH: usize = 16;

pub(super) fn parse(template: &str) -> Result<Template, ParseError> {
    Parser { rest: template, depth: 0 }.template()
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

fn is_terminator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn is_operator(c: char) -> bool {
    matches!(c, '!' | '<' | '>' | '=')
}

fn starts_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn error<T>(message: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(message.into()))
}

impl<'a> Parser<'a> {
    fn template(mut self) -> Result<Template, ParseError> {
        if self.depth > MAX_DEPTH {
            return error("nested too deep");
        }
        let mut template = Vec::new();
        while !self.rest.is_empty() {
            let text = self.take(self.rest.find('{').unwrap_or(self.rest.len()));
            if !text.is_empty() {
                template.push(vec![Step::Text(text.into())]);
            }
            if self.skip("{") {
                template.push(self.action()?);
            }
        }
        Ok(template)
    }

    /// Parses the text after `{`, up to and including `}`.
    fn action(&mut self) -> Result<Action, ParseError> {
        let mut steps = Vec::new();
        loop {
            if self.skip("}") {
                return Ok(steps);
            } else if self.skip("[?(") {
                steps.push(self.filter()?);
                continue;
            } else if self.skip("..") {
                if steps.last() == Some(&Step::Recursive) {
                    return error("invalid multiple recursive descent");
                }
                steps.push(Step::Recursive);
                if self.rest.starts_with(starts_word) {
                    steps.push(self.field());
                }
                continue;
            }
            let c = self.rest.chars().next().unwrap_or('\n');
            match c {
                '\r' | '\n' => return error("unclosed action"),
                '+' | '-' => steps.push(self.number()?),
                _ if c.is_numeric() => steps.push(self.number()?),
                _ if starts_word(c) => steps.push(self.word()),
                _ => {
                    self.take(c.len_utf8());
                    match c {
                        ' ' | '@' | '$' => {}
                        '.' => steps.push(self.field()),
                        '[' => self.brackets(&mut steps)?,
                        '"' | '\'' => steps.push(self.quoted(c)?),
                        _ => return error(format!("unrecognized character in action: {}", code_point(c))),
                    }
                }
            }
        }
    }

    /// Parses an action that is part of another.
    fn nested(&self, action: &str) -> Result<Action, ParseError> {
        let template = Parser { rest: &format!("{{{action}}}"), depth: self.depth + 1 }.template()?;
        Ok(template.into_iter().next().unwrap_or_default())
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn word(&mut self) -> Step {
        match self.take(self.rest.find(is_terminator).unwrap_or(self.rest.len())) {
            "true" => Step::Literal(true.into()),
            "false" => Step::Literal(false.into()),
            word => Step::Word(word.to_owned()),
        }
    }

    /// Parses a name up to the first unescaped terminator. All backslashes are dropped.
    fn field(&mut self) -> Step {
        let mut escaped = false;
        let end = self.rest.find(|c| {
            let ends = !escaped && is_terminator(c);
            escaped = !escaped && c == '\\';
            ends
        });
        match self.take(end.unwrap_or(self.rest.len())) {
            "*" => Step::Wildcard,
            name => Step::Field(name.replace('\\', "")),
        }
    }

    fn number(&mut self) -> Result<Step, ParseError> {
        let unsigned = self.rest.strip_prefix(['+', '-']).unwrap_or(self.rest);
        let rest = unsigned.trim_start_matches(|c: char| c == '.' || c.is_numeric());
        let text = self.take(self.rest.len() - rest.len());
        if let Ok(integer) = text.parse::<i64>() {
            return Ok(Step::Literal(integer.into()));
        }
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Step::Literal(float.into())),
            _ => error(format!("cannot parse number {text}")),
        }
    }

    /// Parses the text after a quote. It ends at the first such quote without a backslash before it.
    fn quoted(&mut self, quote: char) -> Result<Step, ParseError> {
        let mut previous = quote;
        let end = self.rest.find(|c| {
            let ends = c == '\n' || c == quote && previous != '\\';
            previous = c;
            ends
        });
        let Some(end) = end.filter(|end| !self.rest[*end..].starts_with('\n')) else {
            return error("unterminated quoted string");
        };
        let text = self.take(end);
        self.skip(quote.encode_utf8(&mut [0; 4]));
        match unquote(text, quote) {
            Some(text) => Ok(Step::Text(text.into())),
            None => error(format!("unquote string {quote}{text}{quote} error invalid syntax")),
        }
    }

    /// Parses the text after `[`.
    fn brackets(&mut self, steps: &mut Action) -> Result<(), ParseError> {
        let end = self.rest.find([']', '\n']).filter(|end| !self.rest[*end..].starts_with('\n'));
        let Some(end) = end else { return error("unterminated array") };
        let text = self.take(end);
        self.skip("]");
        if text.contains(',') {
            let items = text.split(',').map(|item| self.nested(&format!("[{}]", item.trim_matches(' '))));
            steps.push(Step::Union(items.collect::<Result<_, ParseError>>()?));
            return Ok(());
        }
        let key = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
        match key.filter(|key| !key.contains('\'')) {
            Some(key) => steps.extend(self.nested(&format!(".{key}"))?),
            None => steps.push(slice(text)?),
        }
        Ok(())
    }

    /// Parses the text after `[?(`. It ends at the first `)` that is not within the first pair of quotes.
    fn filter(&mut self) -> Result<Step, ParseError> {
        let (mut opened, mut closed, mut previous) = (None, false, '(');
        let end = self.rest.find(|c| {
            match c {
                '"' | '\'' if opened.is_none() => opened = Some(c),
                '"' | '\'' => closed |= opened == Some(c) && previous != '\\',
                _ => {}
            }
            previous = c;
            c == '\n' || c == ')' && opened.is_some() == closed
        });
        let Some(end) = end.filter(|end| !self.rest[*end..].starts_with('\n')) else {
            return error("unterminated filter");
        };
        let text = self.take(end);
        if !self.skip(")]") {
            return error("unclosed array expect ]");
        }
        let (left, comparison) = match split_comparison(text) {
            None => (text, None),
            Some((left, operator, right)) => (left, Some((operator.to_owned(), right))),
        };
        let left = self.nested(left)?;
        let comparison =
            comparison.map(|(operator, right)| Ok((operator, self.nested(right)?))).transpose()?;
        Ok(Step::Filter { left, comparison })
    }
}

/// Splits a filter at its first operator, as `^([^!<>=]+)([!<>=]+)(.+?)$` does: both sides have a character at least.
fn split_comparison(text: &str) -> Option<(&str, &str, &str)> {
    let (left, rest) = text.split_at(text.find(is_operator).filter(|start| *start > 0)?);
    let operator = rest.find(|c| !is_operator(c)).unwrap_or(rest.len() - 1);
    let (operator, right) = rest.split_at(operator);
    (!operator.is_empty()).then_some((left, operator, right))
}

/// Parses an index or a slice: `^(-?[\d]*)(:-?[\d]*)?(:-?[\d]*)?$`.
fn slice(text: &str) -> Result<Step, ParseError> {
    let parts: Vec<&str> = if text == "*" { vec!["", ""] } else { text.split(':').collect() };
    let is_number = |part: &&str| part.strip_prefix('-').unwrap_or(part).chars().all(|c| c.is_ascii_digit());
    if parts.len() > 3 || !parts.iter().all(is_number) {
        return error(format!("invalid array index {text}"));
    }
    let number = |part: &str| match part {
        "" => Ok(None),
        _ => part.parse().map(Some).or_else(|_| error(format!("array index {part} is not a number"))),
    };
    let mut numbers = parts.into_iter().map(number);
    let start = numbers.next().transpose()?.flatten();
    let end = match numbers.next().transpose()? {
        None => End::One,
        Some(None) => End::Length,
        Some(Some(end)) => End::At(end),
    };
    Ok(Step::Slice { start, end, step: numbers.next().transpose()?.flatten() })
}

/// Formats a character as Go's `%#U` does.
fn code_point(c: char) -> String {
    let code = format!("U+{:04X}", u32::from(c));
    if c.is_control() || c.is_whitespace() { code } else { format!("{code} '{c}'") }
}
