//! Patterns with Go's semantics: RE2 syntax, in which `\d`, `\w` and `\s` are ASCII-only and `[` inside a class is literal.
//!
//! The `regex` crate is of the same family (linear time, no look-around), so a pattern only has to be rewritten.

use regex::{Regex, RegexBuilder};

/// The maximum size of a compiled pattern in memory, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

/// Compiles a pattern; the error is a single line.
pub(crate) fn regex(source: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translate(source)).size_limit(SIZE_LIMIT).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            format!("error parsing regexp: {}: `{source}`", reason.trim_start_matches("error: "))
        }
    })
}

fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let mut chars = source.chars().peekable();
    let mut class = Class::Outside;
    while let Some(c) = chars.next() {
        let at_class_start = matches!(class, Class::Start);
        if at_class_start && c != '^' {
            class = Class::Inside;
        }
        match (c, class) {
            ('\\', _) => match chars.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str(r"[\t\n\f\r ]"),
                Some('S') => out.push_str(r"[^\t\n\f\r ]"),
                Some('b') if matches!(class, Class::Outside) => out.push_str(r"(?-u:\b)"),
                Some(c @ ('<' | '>')) => out.push(c),
                Some('Q') => {
                    let mut literal = String::new();
                    while let Some(c) = chars.next() {
                        if c == '\\' && chars.next_if_eq(&'E').is_some() {
                            break;
                        }
                        literal.push(c);
                    }
                    out.push_str(&regex::escape(&literal));
                }
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            ('[', Class::Outside) => {
                class = Class::Start;
                out.push('[');
            }
            // In `[]a]` and `[^]a]`, the first `]` is literal.
            (']', Class::Inside) if at_class_start => out.push_str(r"\]"),
            (']', Class::Inside) => {
                class = Class::Outside;
                out.push(']');
            }
            ('[', _) if chars.peek() == Some(&':') => {
                out.push('[');
                while let Some(c) = chars.next() {
                    out.push(c);
                    if c == ':' && chars.next_if_eq(&']').is_some() {
                        out.push(']');
                        break;
                    }
                }
            }
            // Nested classes and set operations exist only in the `regex` crate.
            ('[' | '&' | '~', Class::Inside) => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

/// The position relative to a character class.
#[derive(Clone, Copy)]
enum Class {
    Outside,
    /// Right after `[` or `[^`.
    Start,
    Inside,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let table = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{664}", false),
            (r"^[\w-]+$", "a-b", true),
            (r"^\w$", "é", false),
            (r"^[[a]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]$", "]", false),
            (r"^[[:alpha:]_]+$", "a_", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\/\<x\>$", "/<x>", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^\S+$", "a b", false),
            (r"^[^\s]+$", "ab", true),
        ];
        for (pattern, text, matches) in table {
            let regex = regex(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn the_error_of_a_bad_pattern_is_one_line() {
        let error = regex("[a").unwrap_err();
        assert!(error.starts_with("error parsing regexp: ") && !error.contains('\n'), "{error}");
        assert!(regex("(a{1000}){1000}").unwrap_err().contains("too large"));
    }
}
