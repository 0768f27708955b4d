//! Patterns: Go's `regexp`.
//!
//! The `regex` crate is of the same family: it finds the leftmost-first match in linear time. A pattern is read as Go reads
//! it, with Go's errors, and written anew in the crate's syntax. Two things are not Go's: the limits on the size and the
//! depth of a pattern, which are lower here, and the pairs of upper and lower case (and U+1171E, now a spacing mark) that came
//! with Unicode 16; Go has 15.

mod class;
mod escape;
mod translate;

use std::thread;

use regex::{Regex, RegexBuilder};

use self::translate::translate;

/// The memory of a compiled pattern that is tried first, in bytes. `^[a-z0-9.-]+$` fits.
const FIRST_SIZE: usize = 4 << 10;

/// How much more memory is tried next.
const NEXT_SIZE: usize = 4;

/// The levels of groups and repetitions that are compiled on the caller's stack.
const SHALLOW: u32 = 20;

/// The stack for a deeper pattern: what one level takes in a debug build, with reserves.
const STACK_PER_LEVEL: usize = 128 << 10;

/// The bytes of a character.
const CHARACTER: usize = 4;

/// Go's `regexp.Regexp`.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    /// How many places there are in it: that many at most are looked at for each byte of a text.
    places: usize,
    /// The length of a match in bytes; `None` if it has no limit.
    longest: Option<usize>,
}

impl Pattern {
    /// The memory for all patterns of a program, in bytes. `\pL{1,253}` fits.
    pub const MEMORY: usize = 16 << 20;

    /// `regexp.Compile`, with all the memory for one pattern.
    ///
    /// # Errors
    /// Fails with Go's text.
    pub fn new(source: &str) -> Result<Self, String> {
        Self::with(source, |pattern| build(pattern, Self::MEMORY))
    }

    /// `regexp.Compile`. Takes from the memory what the pattern needs, rounded up; nothing is left once a pattern is too large.
    ///
    /// # Errors
    /// Fails with Go's text.
    pub fn compile(source: &str, memory: &mut usize) -> Result<Self, String> {
        Self::with(source, |pattern| {
            // The crate does not tell the size of the result.
            let mut size = FIRST_SIZE.min(*memory);
            let built = loop {
                let built = build(pattern, size);
                if size == *memory || !matches!(built, Err(regex::Error::CompiledTooBig(_))) {
                    break built;
                }
                size = size.saturating_mul(NEXT_SIZE).min(*memory);
            };
            *memory = memory.saturating_sub(size);
            built
        })
    }

    /// Compiles a pattern with a function that compiles what it is in the crate's syntax.
    fn with(
        source: &str,
        build: impl FnOnce(&str) -> Result<Regex, regex::Error> + Send,
    ) -> Result<Self, String> {
        let translated = translate(source)?;
        let build = || build(&translated.pattern);
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
        let regex = built.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => escape::failed("expression too large", source),
            _ => escape::failed("regexp/syntax: internal error", source),
        })?;
        let longest = translated.characters.saturating_mul(CHARACTER);
        let places = translated.characters.max(1);
        Ok(Self { regex, places, longest: translated.has_end.then_some(longest) })
    }

    /// Whether the text is a pattern, of any size.
    pub fn is_pattern(source: &str) -> bool {
        translate(source).is_ok()
    }

    /// `regexp.Regexp.MatchString`.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// `regexp.Regexp.FindString`; `None` without a match.
    pub fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.regex.find(text).map(|found| found.as_str())
    }

    /// `regexp.Regexp.FindAllString`. Beside each match is how many steps it took behind the match to be sure of it.
    pub fn find_all<'t>(&self, text: &'t str) -> impl Iterator<Item = (&'t str, usize)> {
        self.regex.find_iter(text).map(|found| {
            let rest = text.len().saturating_sub(found.end());
            let behind = self.longest.map_or(rest, |longest| rest.min(longest));
            (found.as_str(), self.steps(behind))
        })
    }

    /// How many steps a search through a text of this length takes at most.
    pub fn steps(&self, length: usize) -> usize {
        length.saturating_mul(self.places)
    }
}

/// Compiles a pattern of the crate's syntax, unless it needs more memory.
fn build(pattern: &str, memory: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(memory).nest_limit(u32::MAX).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(source: &str) -> Result<Pattern, String> {
        Pattern::compile(source, &mut Pattern::MEMORY.clone())
    }

    fn find_all<'t>(pattern: &Pattern, text: &'t str) -> Vec<&'t str> {
        pattern.find_all(text).map(|(found, _)| found).collect()
    }

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
            let regex = regex(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
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
            assert_eq!(find_all(&regex(pattern).unwrap(), text), found, "{pattern}");
        }
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
            assert_eq!(regex(pattern).unwrap_err(), format!("error parsing regexp: {problem}"), "{pattern}");
        }
    }

    #[test]
    fn size_and_depth_have_limits() {
        let large = r"\pL{1000}\pN{1000}";
        assert_eq!(
            regex(large).unwrap_err(),
            format!("error parsing regexp: expression too large: `{large}`")
        );
        let nested = |levels: usize| "(a|b".repeat(levels) + &")*".repeat(levels);
        assert!(regex(&nested(400)).unwrap().is_match("abab"));
        assert!(regex(&nested(100_000)).unwrap_err().contains("expression nests too deeply"));
        assert!(regex(&"(".repeat(100_000)).unwrap_err().contains("missing closing )"));
    }

    #[test]
    fn patterns_share_their_memory() {
        let mut memory = Pattern::MEMORY;
        for _ in 0..100 {
            Pattern::compile("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", &mut memory).unwrap();
        }
        assert!(memory > Pattern::MEMORY / 2, "{memory}");
        let large = r"\pL{50}";
        let compiled = (0..100).take_while(|_| Pattern::compile(large, &mut memory).is_ok()).count();
        assert!((1..10).contains(&compiled), "{compiled}");
        assert_eq!(memory, 0);
        assert!(Pattern::compile("[a-z]+c", &mut memory).unwrap_err().contains("expression too large"));
    }

    #[test]
    fn steps_are_those_of_the_pattern_written_out() {
        for (source, text, steps, behind) in [
            ("", "abcd", 4, vec![0, 0, 0, 0, 0]),
            ("a", "aaaa", 4, vec![3, 2, 1, 0]),
            ("(ab){2}|c{1,3}", "cabab", 35, vec![28, 0]),
            ("a(b{0,2}c)?", "acbbbbbbbbbbbbbbbbbbbb", 88, vec![64]),
            (".*b|a", "aaab", 12, vec![0]),
            (".*b|a", "aaaa", 12, vec![9, 6, 3, 0]),
            ("a{2,}", "aabaa", 10, vec![6, 0]),
        ] {
            let pattern = regex(source).unwrap();
            let found: Vec<_> = pattern.find_all(text).map(|(_, steps)| steps).collect();
            assert_eq!((pattern.steps(text.len()), found), (steps, behind), "{source}");
        }
    }
}
