//! From text to tokens: the lexer rules of cel-go's `CEL.g4`.

use std::{fmt, ops::Range};

/// What a token is. The order is that of the grammar, in which sets of tokens are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Kind {
    Eof,
    Equals,
    NotEquals,
    In,
    Less,
    LessEquals,
    GreaterEquals,
    Greater,
    LogicalAnd,
    LogicalOr,
    LeftBracket,
    RightBracket,
    LeftBrace,
    RightBrace,
    LeftParen,
    RightParen,
    Dot,
    Comma,
    Minus,
    Exclamation,
    Question,
    Colon,
    Plus,
    Star,
    Slash,
    Percent,
    True,
    False,
    Null,
    Float,
    Int,
    Uint,
    String,
    Bytes,
    Identifier,
    EscapedIdentifier,
}

impl Kind {
    const ALL: [(Self, &'static str); 36] = [
        (Self::Eof, "<EOF>"),
        (Self::Equals, "'=='"),
        (Self::NotEquals, "'!='"),
        (Self::In, "'in'"),
        (Self::Less, "'<'"),
        (Self::LessEquals, "'<='"),
        (Self::GreaterEquals, "'>='"),
        (Self::Greater, "'>'"),
        (Self::LogicalAnd, "'&&'"),
        (Self::LogicalOr, "'||'"),
        (Self::LeftBracket, "'['"),
        (Self::RightBracket, "']'"),
        (Self::LeftBrace, "'{'"),
        (Self::RightBrace, "'}'"),
        (Self::LeftParen, "'('"),
        (Self::RightParen, "')'"),
        (Self::Dot, "'.'"),
        (Self::Comma, "','"),
        (Self::Minus, "'-'"),
        (Self::Exclamation, "'!'"),
        (Self::Question, "'?'"),
        (Self::Colon, "':'"),
        (Self::Plus, "'+'"),
        (Self::Star, "'*'"),
        (Self::Slash, "'/'"),
        (Self::Percent, "'%'"),
        (Self::True, "'true'"),
        (Self::False, "'false'"),
        (Self::Null, "'null'"),
        (Self::Float, "NUM_FLOAT"),
        (Self::Int, "NUM_INT"),
        (Self::Uint, "NUM_UINT"),
        (Self::String, "STRING"),
        (Self::Bytes, "BYTES"),
        (Self::Identifier, "IDENTIFIER"),
        (Self::EscapedIdentifier, "ESC_IDENTIFIER"),
    ];
}

/// A set of kinds of tokens, and of the end of a rule.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct TokenSet(u64);

impl TokenSet {
    /// The rule can end here.
    pub(super) const END_OF_RULE: Self = Self(1 << 63);

    pub(super) const fn of(kinds: &[Kind]) -> Self {
        let mut bits = 0;
        let mut rest = kinds;
        while let [kind, tail @ ..] = rest {
            bits |= 1 << *kind as u8;
            rest = tail;
        }
        Self(bits)
    }

    pub(super) const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    pub(super) const fn has_end(self) -> bool {
        self.0 & Self::END_OF_RULE.0 != 0
    }

    pub(super) const fn without_end(self) -> Self {
        Self(self.0 & !Self::END_OF_RULE.0)
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn names(self) -> impl Iterator<Item = (Kind, &'static str)> {
        Kind::ALL.into_iter().filter(move |(kind, _)| self.contains(*kind))
    }

    pub(super) fn first(self) -> Kind {
        self.names().next().map_or(Kind::Eof, |(kind, _)| kind)
    }
}

impl fmt::Display for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names().map(|(_, name)| name).collect();
        if let [name] = *names { f.write_str(name) } else { write!(f, "{{{}}}", names.join(", ")) }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Where it starts, in characters.
    pub(super) offset: u32,
    /// Its text, in bytes.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    pub(super) fn text(self, source: &str) -> &str {
        source.get(self.start..self.end).unwrap_or_default()
    }
}

/// Text that is no token.
#[derive(Debug)]
pub(super) struct Unrecognized {
    /// In characters.
    pub(super) offset: u32,
    /// In bytes.
    pub(super) range: Range<usize>,
}

/// How far a rule got: bytes from the start of the token.
enum Scan {
    Match(usize),
    /// The rule does not match; this is where it found out.
    Fail(usize),
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    /// The next character, in bytes.
    at: usize,
    /// The same in characters.
    offset: u32,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, offset: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Moves on by bytes.
    fn advance(&mut self, length: usize) {
        let passed = self.rest().get(..length).unwrap_or_default();
        self.offset = self.offset.saturating_add(u32::try_from(passed.chars().count()).unwrap_or(u32::MAX));
        self.at += length;
    }

    /// The next token: white space and comments are skipped. What is no token comes as an error once, and is
    /// skipped too.
    pub(super) fn next(&mut self) -> Result<Token, Unrecognized> {
        self.skip_hidden();
        let (start, offset) = (self.at, self.offset);
        match scan(self.rest()) {
            Ok((kind, length)) => {
                self.advance(length);
                Ok(Token { kind, offset, start, end: self.at })
            }
            Err(length) => {
                // The character at which the lexer stopped goes with what came before it.
                let stopped = self.rest().get(length..).and_then(|rest| rest.chars().next());
                self.advance(length + stopped.map_or(0, char::len_utf8));
                Err(Unrecognized { offset, range: start..self.at })
            }
        }
    }

    fn skip_hidden(&mut self) {
        loop {
            let rest = self.rest();
            let length = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else {
                count(rest.as_bytes(), |c| matches!(c, b'\t' | b' ' | b'\r' | b'\n' | b'\x0c'))
            };
            if length == 0 {
                return;
            }
            self.advance(length);
        }
    }
}

fn count(bytes: &[u8], matches: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| matches(**byte)).count()
}

/// The longest token at the start of a text, or how many bytes were read before it was clear that there is
/// none.
fn scan(text: &str) -> Result<(Kind, usize), usize> {
    let bytes = text.as_bytes();
    let tail = |from: usize| bytes.get(from..).unwrap_or_default();
    let found = |kind| Ok((kind, 1));
    match *bytes {
        [] => Ok((Kind::Eof, 0)),
        [b'=', b'=', ..] => Ok((Kind::Equals, 2)),
        [b'!', b'=', ..] => Ok((Kind::NotEquals, 2)),
        [b'<', b'=', ..] => Ok((Kind::LessEquals, 2)),
        [b'>', b'=', ..] => Ok((Kind::GreaterEquals, 2)),
        [b'&', b'&', ..] => Ok((Kind::LogicalAnd, 2)),
        [b'|', b'|', ..] => Ok((Kind::LogicalOr, 2)),
        [b'=' | b'&' | b'|', ..] => Err(1),
        [b'<', ..] => found(Kind::Less),
        [b'>', ..] => found(Kind::Greater),
        [b'[', ..] => found(Kind::LeftBracket),
        [b']', ..] => found(Kind::RightBracket),
        [b'{', ..] => found(Kind::LeftBrace),
        [b'}', ..] => found(Kind::RightBrace),
        [b'(', ..] => found(Kind::LeftParen),
        [b')', ..] => found(Kind::RightParen),
        [b',', ..] => found(Kind::Comma),
        [b'-', ..] => found(Kind::Minus),
        [b'!', ..] => found(Kind::Exclamation),
        [b'?', ..] => found(Kind::Question),
        [b':', ..] => found(Kind::Colon),
        [b'+', ..] => found(Kind::Plus),
        [b'*', ..] => found(Kind::Star),
        [b'/', ..] => found(Kind::Slash),
        [b'%', ..] => found(Kind::Percent),
        [b'.', b'0'..=b'9', ..] => Ok((Kind::Float, float_end(bytes, 0))),
        [b'.', ..] => found(Kind::Dot),
        [b'0'..=b'9', ..] => Ok(number(bytes)),
        [b'\'' | b'"', ..] => match quoted(bytes, false) {
            Scan::Match(length) => Ok((Kind::String, length)),
            Scan::Fail(length) => Err(length),
        },
        [b'`', ..] => {
            let length = 1 + count(tail(1), |c| {
                c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-' | b'/' | b' ')
            });
            match bytes.get(length) {
                Some(b'`') if length > 1 => Ok((Kind::EscapedIdentifier, length + 1)),
                _ => Err(length),
            }
        }
        [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => {
            let (prefix, kind, raw) = match *bytes {
                [b'r' | b'R', ..] => (1, Kind::String, true),
                [b'b' | b'B', b'r' | b'R', ..] => (2, Kind::Bytes, true),
                [b'b' | b'B', ..] => (1, Kind::Bytes, false),
                _ => (0, Kind::Identifier, false),
            };
            // A quote that is not closed leaves the letters before it, which are an identifier.
            if let (1.., [b'\'' | b'"', ..]) = (prefix, tail(prefix))
                && let Scan::Match(length) = quoted(tail(prefix), raw)
            {
                return Ok((kind, prefix + length));
            }
            let length = count(bytes, |c| c.is_ascii_alphanumeric() || c == b'_');
            let kind = match bytes.get(..length) {
                Some(b"in") => Kind::In,
                Some(b"true") => Kind::True,
                Some(b"false") => Kind::False,
                Some(b"null") => Kind::Null,
                _ => Kind::Identifier,
            };
            Ok((kind, length))
        }
        _ => Err(0),
    }
}

fn number(bytes: &[u8]) -> (Kind, usize) {
    let tail = |from: usize| bytes.get(from..).unwrap_or_default();
    let hex = if bytes.starts_with(b"0x") { count(tail(2), |c| c.is_ascii_hexdigit()) } else { 0 };
    let digits = if hex > 0 { 2 + hex } else { count(bytes, |c| c.is_ascii_digit()) };
    if let [b'u' | b'U', ..] = tail(digits) {
        return (Kind::Uint, digits + 1);
    }
    let end = if hex > 0 { digits } else { float_end(bytes, digits) };
    if end > digits { (Kind::Float, end) } else { (Kind::Int, digits) }
}

/// Where a floating-point number ends whose integral digits end at `digits`.
fn float_end(bytes: &[u8], digits: usize) -> usize {
    let tail = |from: usize| bytes.get(from..).unwrap_or_default();
    let mut end = digits;
    if let [b'.', b'0'..=b'9', ..] = tail(end) {
        end += 1 + count(tail(end + 1), |c| c.is_ascii_digit());
    }
    let exponent = match *tail(end) {
        [b'e' | b'E', b'+' | b'-', b'0'..=b'9', ..] => 2,
        [b'e' | b'E', b'0'..=b'9', ..] => 1,
        _ => return end,
    };
    end + exponent + count(tail(end + exponent), |c| c.is_ascii_digit())
}

/// A string from its opening quotes to its closing ones.
fn quoted(bytes: &[u8], raw: bool) -> Scan {
    let [quote, tail @ ..] = bytes else { return Scan::Fail(0) };
    match tail {
        [second, third, ..] if second == quote && third == quote => {
            let mut at = 3;
            loop {
                match bytes.get(at..) {
                    Some([a, b, c, ..]) if [a, b, c].iter().all(|byte| *byte == quote) => {
                        return Scan::Match(at + 3);
                    }
                    Some([b'\\', escape @ ..]) if !raw => match escape_length(escape) {
                        Scan::Match(length) => at += 1 + length,
                        // Without its end it is an empty string before another.
                        Scan::Fail(_) => return Scan::Match(2),
                    },
                    Some([_, ..]) => at += 1,
                    _ => return Scan::Match(2),
                }
            }
        }
        _ => {
            let mut at = 1;
            loop {
                match bytes.get(at..) {
                    Some([byte, ..]) if byte == quote => return Scan::Match(at + 1),
                    Some([b'\n' | b'\r', ..] | []) | None => return Scan::Fail(at),
                    Some([b'\\', escape @ ..]) if !raw => match escape_length(escape) {
                        Scan::Match(length) => at += 1 + length,
                        Scan::Fail(length) => return Scan::Fail(at + 1 + length),
                    },
                    Some([_, ..]) => at += 1,
                }
            }
        }
    }
}

/// What follows a backslash.
fn escape_length(bytes: &[u8]) -> Scan {
    let digits = |from: usize, wanted: usize, is_digit: fn(u8) -> bool| {
        let found =
            count(bytes.get(from..from + wanted).or_else(|| bytes.get(from..)).unwrap_or_default(), is_digit);
        if found == wanted { Scan::Match(from + wanted) } else { Scan::Fail(from + found) }
    };
    match bytes {
        [b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`', ..] => {
            Scan::Match(1)
        }
        [b'0'..=b'3', ..] => digits(1, 2, |c| matches!(c, b'0'..=b'7')),
        [b'x' | b'X', ..] => digits(1, 2, |c| c.is_ascii_hexdigit()),
        [b'u', ..] => digits(1, 4, |c| c.is_ascii_hexdigit()),
        [b'U', ..] => digits(1, 8, |c| c.is_ascii_hexdigit()),
        _ => Scan::Fail(0),
    }
}
