//! Patterns: Go's `regexp`.
//!
//! The `regex` crate is of the same family: it finds the leftmost-first match in linear time. A pattern is read as Go reads
//! it, with Go's errors, and written anew in the crate's syntax. Two things are not Go's: the limits on the size and the
//! depth of a pattern, which are lower here, and the pairs of upper and lower case (and U+1171E, now a spacing mark) that
//! came with Unicode 16; Go has 15.

mod class;
mod escape;
mod translate;

use std::thread;

use regex::{Regex, RegexBuilder};

use self::translate::translate;

/// The size of a compiled pattern, in bytes. `\pL{1,253}` fits.
const MAX_SIZE: usize = 16 << 20;

/// The levels of groups and repetitions that are compiled on the caller's stack.
const SHALLOW: u32 = 20;

/// The stack for a deeper pattern: what one level takes in a debug build, with reserves.
const STACK_PER_LEVEL: usize = 128 << 10;

/// `regexp.Compile`.
///
/// # Errors
/// Fails with Go's text.
pub fn compile(source: &str) -> Result<Regex, String> {
    let translated = translate(source)?;
    let build = || RegexBuilder::new(&translated.pattern).size_limit(MAX_SIZE).nest_limit(u32::MAX).build();
    let built = if translated.depth <= SHALLOW {
        build()
    } else {
        // The crate's compiler is recursive.
        let levels = usize::try_from(translated.depth).unwrap_or(usize::MAX);
        let stack = levels.saturating_mul(STACK_PER_LEVEL);
        thread::scope(|scope| {
            let compiler = thread::Builder::new().stack_size(stack).spawn_scoped(scope, build);
            compiler.ok().and_then(|compiler| compiler.join().ok())
        })
        .ok_or_else(|| escape::failed("expression nests too deeply", source))?
    };
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => escape::failed("expression too large", source),
        _ => escape::failed("regexp/syntax: internal error", source),
    })
}

/// About how many nanoseconds it takes to compile a pattern. Repetitions are copied as often as they count.
pub fn work(source: &str) -> usize {
    let Ok(translated) = translate(source) else { return source.len() };
    let count = usize::try_from(translated.count).unwrap_or(usize::MAX);
    translated.pattern.len().saturating_mul(count.max(1)).saturating_mul(20)
}

/// `regexp.Regexp.FindAllString`: a negative limit is none.
pub fn find_all<'t>(regex: &Regex, text: &'t str, limit: i64) -> Vec<&'t str> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    regex.find_iter(text).take(limit).map(|found| found.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let table = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{664}", false),
            (r"^\w$", "é", false),
            (r"^[[a]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]$", "]", false),
            (r"^[[:alpha:]_]+$", "a_", true),
            (r"^[[:^alpha:]\D]+$", "a1", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\/\<x\>$", "/<x>", true),
            (r"\bfoo\b", "éfoo", true),
            (r"^\S+$", "a b", false),
            (r"^[^\s]+$", "ab", true),
            (r"^\x{41}\102$", "AB", true),
            (r"^a(?i)b(?-i)c$", "aBc", true),
            (r"^a(?i)b(?-i)c$", "aBC", false),
            (r"^(?i)k$", "\u{212a}", true),
            (r"^a$", "b\na", false),
            (r"(?m)^a$", "b\na", true),
            (r"^.$", "\n", false),
            (r"(?s)^.$", "\n", true),
            (r"^\p{lowercase_letter}\P{Lu}$", "ab", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^[\x{d800}]$", "a", false),
            (r"^[^\x{d800}]$", "a", true),
            // Assigned by Unicode 16.
            (r"\pL", "\u{1c89}", false),
            (r"\p{Cn}", "\u{1c89}", true),
        ];
        for (pattern, text, matches) in table {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn matches_are_leftmost_first() {
        for (pattern, text, found) in [
            ("a|ab", "ab", vec!["a"]),
            ("a*", "baac", vec!["", "aa", ""]),
            ("(?U)a+|b", "aab", vec!["a", "a", "b"]),
            ("a*(?i)?", "aab", vec!["aa", ""]),
            ("", "é", vec!["", ""]),
        ] {
            assert_eq!(find_all(&compile(pattern).unwrap(), text, -1), found, "{pattern}");
        }
        let a = compile("a").unwrap();
        assert_eq!((find_all(&a, "aaa", 2).len(), find_all(&a, "aaa", 0).len()), (2, 0));
    }

    #[test]
    fn bad_patterns_have_the_errors_of_go() {
        for (pattern, problem) in [
            (r"\", "trailing backslash at end of expression: ``"),
            (r"\8", r"invalid escape sequence: `\8`"),
            (r"a\x{110000}", r"invalid escape sequence: `\x{110000`"),
            (r"\C", r"invalid escape sequence: `\C`"),
            (r"\Z", r"invalid escape sequence: `\Z`"),
            ("[a", "missing closing ]: `[a`"),
            ("x[b-a]", "invalid character class range: `b-a`"),
            (r"[a-\d]", r"invalid escape sequence: `\d`"),
            ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
            (r"\pX", r"invalid character class range: `\pX`"),
            (r"\p{Old_Italic}", r"invalid character class range: `\p{Old_Italic}`"),
            ("x)", "unexpected ): `x)`"),
            ("(x", "missing closing ): `(x`"),
            ("a|*", "missing argument to repetition operator: `*`"),
            ("a**?b", "invalid nested repetition operator: `**?`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(a{100}){11}?", "invalid repeat count: `{11}?`"),
            ("a{2,1}", "invalid repeat count: `{2,1}`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?i-)", "invalid or unsupported Perl syntax: `(?i-)`"),
            ("(?P<n-1>a)", "invalid named capture: `(?P<n-1>`"),
            ("(?<n", "invalid named capture: `(?<n`"),
        ] {
            assert_eq!(
                compile(pattern).unwrap_err(),
                format!("error parsing regexp: {problem}"),
                "{pattern}"
            );
        }
    }

    #[test]
    fn size_and_depth_have_limits() {
        let large = r"\pL{1000}\pN{1000}";
        assert_eq!(
            compile(large).unwrap_err(),
            format!("error parsing regexp: expression too large: `{large}`")
        );
        let nested = |levels: usize| "(a|b".repeat(levels) + &")*".repeat(levels);
        assert!(compile(&nested(400)).unwrap().is_match("abab"));
        assert!(compile(&nested(100_000)).unwrap_err().contains("expression nests too deeply"));
        assert!(compile(&"(".repeat(100_000)).unwrap_err().contains("missing closing )"));
    }
}
