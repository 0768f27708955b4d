//! The text of an expression, and errors that show where they are in it.

use std::fmt;

/// A snippet with more bytes than this is not shown.
const SNIPPET_MAX: usize = 16384;

/// The text of an expression.
#[derive(Debug)]
pub(crate) struct Source {
    text: String,
    /// Where each line starts, in characters.
    lines: Vec<u32>,
}

/// A place in a source: the line from 1, the column from 0, in characters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Position {
    pub(crate) line: i32,
    pub(crate) column: i32,
}

impl Position {
    /// Of an error that concerns the whole source.
    pub(crate) const UNKNOWN: Self = Self { line: -1, column: -1 };
    /// Where cel-go finds what is at no offset, and the end of an empty source.
    pub(crate) const BEFORE: Self = Self { line: 1, column: -1 };
}

/// An error at a place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Issue {
    pub(crate) position: Position,
    pub(crate) message: String,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let starts = text.chars().zip(1..).filter(|(c, _)| *c == '\n').map(|(_, next)| next);
        Self { lines: std::iter::once(0).chain(starts).collect(), text: text.to_owned() }
    }

    /// The position of a character, by its offset in characters.
    pub(crate) fn position(&self, offset: u32) -> Position {
        if self.text.is_empty() {
            return Position::BEFORE;
        }
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        Position { line: i32::try_from(line).unwrap_or(i32::MAX), column: number(offset - start) }
    }

    /// Formats errors as cel-go does: in the order of their places, each with its line and a marker below it.
    pub(crate) fn display<'a>(&'a self, issues: &'a [Issue]) -> impl fmt::Display + 'a {
        Display { source: self, issues }
    }
}

/// cel-go reports this many errors and counts the others.
const ISSUES_MAX: usize = 100;

struct Display<'a> {
    source: &'a Source,
    issues: &'a [Issue],
}

impl fmt::Display for Display<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut issues: Vec<_> = self.issues.iter().take(ISSUES_MAX).collect();
        issues.sort_by_key(|issue| issue.position);
        for (index, issue) in issues.into_iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let Position { line, column } = issue.position;
            write!(f, "ERROR: <input>:{line}:{}: {}", column.saturating_add(1), issue.message)?;
            let index = usize::try_from(line).unwrap_or_default().wrapping_sub(1);
            let Some(snippet) = self.source.text.split('\n').nth(index) else { continue };
            if self.source.text.is_empty() || snippet.len() > SNIPPET_MAX {
                continue;
            }
            write!(f, "\n | {}\n | ", snippet.replace('\t', " "))?;
            let mut chars = snippet.chars();
            for c in chars.by_ref().take(usize::try_from(column).unwrap_or_default()) {
                f.write_str(if c.len_utf8() > 1 { "\u{ff0e}" } else { "." })?;
            }
            f.write_str(if chars.next().is_some_and(|c| c.len_utf8() > 1) { "\u{ff3e}" } else { "^" })?;
        }
        match self.issues.len().checked_sub(ISSUES_MAX) {
            Some(more @ 1..) => write!(f, "\n{more} more errors were truncated"),
            _ => Ok(()),
        }
    }
}
