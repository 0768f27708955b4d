//! Strings: cel-go's `ext/strings.go`, and apiserver's regular expressions. Positions count code points.

use super::arguments::{Table, int, list, string_list, text};
use crate::{
    go::Pattern,
    value::{Error, Evaluated, VISIT, Value, work},
};

pub(super) const TABLE: Table = &[
    ("string_char_at_int", |args| {
        let (text, index) = (text(args, 0)?, int(args, 1)?);
        let at = usize::try_from(index).map_err(|_| out_of_range(index))?;
        match text.chars().nth(at) {
            Some(c) => Ok(Value::string(c.to_string())),
            None if at == text.chars().count() => Ok(Value::string("")),
            None => Err(out_of_range(index)),
        }
    }),
    ("string_index_of_string", |args| index_of(text(args, 0)?, text(args, 1)?, 0)),
    ("string_index_of_string_int", |args| index_of(text(args, 0)?, text(args, 1)?, int(args, 2)?)),
    ("string_last_index_of_string", |args| {
        let (whole, part) = (text(args, 0)?, text(args, 1)?);
        let length = characters(whole);
        if part.is_empty() {
            return Ok(Value::Int(length));
        }
        if whole.len() < part.len() {
            return Ok(Value::Int(-1));
        }
        last_index_of(whole, part, length - 1)
    }),
    ("string_last_index_of_string_int", |args| last_index_of(text(args, 0)?, text(args, 1)?, int(args, 2)?)),
    ("string_lower_ascii", |args| Ok(Value::string(text(args, 0)?.to_ascii_lowercase()))),
    ("string_upper_ascii", |args| Ok(Value::string(text(args, 0)?.to_ascii_uppercase()))),
    ("string_trim", |args| Ok(Value::string(text(args, 0)?.trim_matches(is_go_space).to_owned()))),
    ("string_reverse", |args| Ok(Value::string(text(args, 0)?.chars().rev().collect::<String>()))),
    ("string_replace_string_string", |args| {
        replace(text(args, 0)?, text(args, 1)?, text(args, 2)?, usize::MAX)
    }),
    ("string_replace_string_string_int", |args| {
        let (whole, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
        // A negative count is no limit.
        replace(whole, from, to, usize::try_from(int(args, 3)?).unwrap_or(usize::MAX))
    }),
    ("string_split_string", |args| Ok(split(text(args, 0)?, text(args, 1)?, -1))),
    ("string_split_string_int", |args| Ok(split(text(args, 0)?, text(args, 1)?, int(args, 2)?))),
    ("string_substring_int", |args| {
        let (text, start) = (text(args, 0)?, int(args, 1)?);
        let from = offset(text, start).ok_or_else(|| out_of_range(start))?;
        Ok(Value::string(text.get(from..).unwrap_or_default().to_owned()))
    }),
    ("string_substring_int_int", |args| {
        let (text, start, end) = (text(args, 0)?, int(args, 1)?, int(args, 2)?);
        if start > end {
            return Err(Error::new(format!("invalid substring range. start: {start}, end: {end}")));
        }
        let from = offset(text, start).ok_or_else(|| out_of_range(start))?;
        let to = offset(text, end).ok_or_else(|| out_of_range(end))?;
        Ok(Value::string(text.get(from..to).unwrap_or_default().to_owned()))
    }),
    ("list_join", |args| join(args, "")),
    ("list_join_string", |args| join(args, text(args, 1)?)),
    ("strings_quote", |args| {
        let mut quoted = String::from("\"");
        for c in text(args, 0)?.chars() {
            match c {
                '\x07' => quoted.push_str("\\a"),
                '\x08' => quoted.push_str("\\b"),
                '\x0c' => quoted.push_str("\\f"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\x0b' => quoted.push_str("\\v"),
                '\\' => quoted.push_str("\\\\"),
                '"' => quoted.push_str("\\\""),
                c => quoted.push(c),
            }
        }
        quoted.push('"');
        Ok(Value::string(quoted))
    }),
    ("string_jsonpatch_escapeKey_string", |args| {
        Ok(Value::string(text(args, 0)?.replace('~', "~0").replace('/', "~1")))
    }),
];

fn out_of_range(index: i64) -> Error {
    Error::new(format!("index out of range: {index}"))
}

/// The byte offset of a code point, also of the end; `None` outside.
fn offset(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    match text.char_indices().nth(index) {
        Some((offset, _)) => Some(offset),
        None => (text.chars().count() == index).then_some(text.len()),
    }
}

fn index_of<'a>(text: &str, part: &str, start: i64) -> Evaluated<'a> {
    search(text, part, start, |from| Some(from + text.get(from..)?.find(part)?))
}

fn last_index_of<'a>(text: &str, part: &str, start: i64) -> Evaluated<'a> {
    search(text, part, start, |from| {
        // The match begins at `start` at the latest, so it ends so many characters behind.
        let tail = text.get(from..).unwrap_or_default();
        let end = offset(tail, characters(part)).unwrap_or(tail.len());
        text.get(..from + end)?.rfind(part)
    })
}

/// The index of what `find` finds from the byte where a search starts, or -1.
fn search<'a>(
    text: &str,
    part: &str,
    start: i64,
    find: impl FnOnce(usize) -> Option<usize>,
) -> Evaluated<'a> {
    if start < 0 {
        return Err(out_of_range(start));
    }
    let length = characters(text);
    if part.is_empty() {
        // The empty string is found where the search begins, at the end at the latest.
        return Ok(Value::Int(start.min(length)));
    }
    let from = offset(text, start).filter(|_| start < length);
    let before = from.and_then(find).and_then(|found| text.get(..found));
    Ok(Value::Int(before.map_or(-1, characters)))
}

fn characters(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

/// Go's `unicode.IsSpace`.
fn is_go_space(c: char) -> bool {
    c.is_whitespace()
}

/// Go's `strings.SplitN`: a negative limit is none.
fn split<'a>(text: &str, separator: &str, limit: i64) -> Value<'a> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Value::list(Vec::new());
    }
    if separator.is_empty() {
        let mut parts: Vec<String> = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if parts.len() + 1 == limit {
                parts.push(rest.to_owned());
                return string_list(parts);
            }
            let (first, after) = rest.split_at(c.len_utf8());
            parts.push(first.to_owned());
            rest = after;
        }
        return string_list(parts);
    }
    string_list(text.splitn(limit, separator).map(str::to_owned))
}

/// Go's `strings.Replace`. Its cost does not depend on what is inserted.
fn replace<'a>(whole: &str, from: &str, to: &str, count: usize) -> Evaluated<'a> {
    let places = whole.len() / from.len().max(1) + 1;
    if places.saturating_mul(to.len()) > LARGE {
        let places = whole.matches(from).take(count).count();
        work(places.saturating_mul(to.len()).saturating_mul(4))?;
    } else {
        work(places.saturating_mul(to.len()))?;
    }
    Ok(Value::string(whole.replacen(from, to, count)))
}

/// From this size in bytes on, the size of a result is computed before the result.
const LARGE: usize = 1 << 16;

fn join<'a>(args: &[Value<'a>], separator: &str) -> Evaluated<'a> {
    let mut joined = String::new();
    for (index, element) in list(args)?.iter().enumerate() {
        if index > 0 {
            joined.push_str(separator);
        }
        match element {
            Ok(Value::String(text)) => {
                // The cost is known when the result is.
                work((text.len() + separator.len()).saturating_mul(4))?;
                joined.push_str(&text);
            }
            // Go prints the number that stands for it.
            Ok(Value::Null) => return Err(Error::new("join: invalid input: 0")),
            Ok(other) => return Err(Error::new(format!("join: invalid input: {other}"))),
            Err(error) => return Err(Error::new(format!("join: invalid input: {error}"))),
        }
    }
    Ok(Value::string(joined))
}

/// The work of a step of a search. A pattern with few states takes less, but one can be made that takes this.
const STEP: usize = 8;

/// `text.matches(pattern)`.
pub(crate) fn matches<'a>(text: &str, pattern: &Pattern) -> Evaluated<'a> {
    search_work(pattern.steps(text.len()))?;
    Ok(Value::Bool(pattern.is_match(text)))
}

/// `text.find(pattern)`: the first match, else an empty string.
pub(crate) fn find<'a>(text: &str, pattern: &Pattern) -> Evaluated<'a> {
    search_work(pattern.steps(text.len()))?;
    Ok(Value::string(pattern.find(text).unwrap_or_default().to_owned()))
}

/// `text.findAll(pattern, limit)`; a negative limit is none.
pub(crate) fn find_all<'a>(text: &str, pattern: &Pattern, limit: i64) -> Evaluated<'a> {
    search_work(pattern.steps(text.len()))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut matches = Vec::new();
    for (found, steps) in pattern.find_all(text).take(limit) {
        search_work(steps)?;
        work(VISIT)?;
        matches.push(Value::string(found.to_owned()));
    }
    Ok(Value::list(matches))
}

fn search_work(steps: usize) -> Result<(), Error> {
    work(steps.saturating_mul(STEP))
}
