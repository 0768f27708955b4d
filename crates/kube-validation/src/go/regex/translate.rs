//! Reads a pattern as Go does and writes it in the syntax of the `regex` crate.

use super::class::{Class, read_brackets, read_class_escape};
use super::escape::{failed, read_escape};

/// A pattern for the `regex` crate. Its groups capture nothing.
pub(super) struct Translated {
    pub(super) pattern: String,
    /// How deep groups and repetitions are nested.
    pub(super) depth: u32,
    /// How many characters it has with all repetitions written out, without those that have no end.
    pub(super) characters: usize,
    /// Whether a match cannot have more characters than that.
    pub(super) has_end: bool,
}

/// The deepest nesting; that of Go is counted in another way.
const MAX_DEPTH: u32 = 1_000;

/// The largest count of a repetition, and the largest product of nested counts.
const MAX_COUNT: u32 = 1_000;

/// Translates a pattern.
///
/// # Errors
/// Fails with Go's text.
pub(super) fn translate(source: &str) -> Result<Translated, String> {
    let mut translator = Translator {
        source,
        out: String::with_capacity(source.len() * 2),
        flags: Flags::default(),
        groups: Vec::new(),
        current: Group::default(),
    };
    let mut rest = source;
    // The text from the last repetition on, if nothing is after it.
    let mut last_repetition: Option<&str> = None;
    while let Some(c) = rest.chars().next() {
        let start = rest;
        rest = translator.read(c, start, last_repetition)?;
        let is_repetition = match c {
            '*' | '+' | '?' => true,
            '{' => read_counts(start).is_some(),
            _ => false,
        };
        last_repetition = is_repetition.then_some(start);
    }
    if !translator.groups.is_empty() {
        return Err(failed("missing closing )", source));
    }
    translator.current.finish_item();
    let Group { depth, characters, has_no_end, .. } = translator.current;
    Ok(Translated { pattern: translator.out, depth, characters, has_end: !has_no_end })
}

struct Translator<'a> {
    source: &'a str,
    out: String,
    flags: Flags,
    /// The open groups around the current one.
    groups: Vec<Group>,
    current: Group,
}

/// Flags that hold until the end of a group.
#[derive(Clone, Copy, Default)]
struct Flags {
    ignores_case: bool,
    multi_line: bool,
    dot_is_all: bool,
    is_lazy: bool,
}

/// An open group, or the whole pattern.
#[derive(Default)]
struct Group {
    /// Where it begins in the output.
    start: usize,
    /// The flags that hold again after it.
    flags: Flags,
    /// The last item, which a repetition would repeat.
    item: Option<Item>,
    /// The largest of all items before it.
    depth: u32,
    count: u32,
    /// The sum of all items before it.
    characters: usize,
    has_no_end: bool,
}

/// An expression that can be repeated.
#[derive(Clone, Copy)]
struct Item {
    start: usize,
    depth: u32,
    /// The product of nested repetitions.
    count: u32,
    /// With repetitions written out.
    characters: usize,
    /// Whether something in it can be repeated without end.
    has_no_end: bool,
    is_repetition: bool,
}

impl Group {
    fn finish_item(&mut self) {
        if let Some(item) = self.item.take() {
            self.depth = self.depth.max(item.depth);
            self.count = self.count.max(item.count);
            self.characters = self.characters.saturating_add(item.characters);
            self.has_no_end |= item.has_no_end;
        }
    }

    fn push(&mut self, item: Item) {
        self.finish_item();
        self.item = Some(item);
    }
}

impl<'a> Translator<'a> {
    /// Reads what begins with a character. Returns the rest.
    fn read(&mut self, c: char, text: &'a str, last_repetition: Option<&'a str>) -> Result<&'a str, String> {
        let rest = text.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '(' if rest.starts_with('?') => return self.read_flags(text),
            '(' => self.open_group(),
            ')' => self.close_group()?,
            '|' => {
                self.current.finish_item();
                self.out.push('|');
            }
            '^' => self.push(if self.flags.multi_line { "(?m:^)" } else { r"\A" }),
            '$' => self.push(if self.flags.multi_line { "(?m:$)" } else { r"\z" }),
            '.' => self.push(if self.flags.dot_is_all { "(?s:.)" } else { "." }),
            '[' => {
                let (class, rest) = read_brackets(text)?;
                self.push_class(&class);
                return Ok(rest);
            }
            '*' | '+' | '?' => {
                let operator = text.strip_suffix(rest).unwrap_or_default();
                return self.repeat(operator, 1, text, rest, last_repetition);
            }
            '{' => return self.read_repetition(text, last_repetition),
            '\\' => return self.read_backslash(text),
            c => self.push_literal(c),
        }
        Ok(rest)
    }

    fn push(&mut self, text: &str) {
        self.current.push(Item {
            start: self.out.len(),
            depth: 1,
            count: 1,
            characters: 1,
            has_no_end: false,
            is_repetition: false,
        });
        self.out.push_str(text);
    }

    fn push_literal(&mut self, c: char) {
        let literal = regex::escape(c.encode_utf8(&mut [0; 4]));
        if self.flags.ignores_case && c.is_alphabetic() {
            self.push(&format!("(?i:{literal})"));
        } else {
            self.push(&literal);
        }
    }

    fn push_class(&mut self, class: &Class) {
        let mut text = String::new();
        class.write(&mut text);
        if self.flags.ignores_case {
            text = format!("(?i:{text})");
        }
        self.push(&text);
    }

    fn open_group(&mut self) {
        let group = Group { start: self.out.len(), flags: self.flags, ..Group::default() };
        self.groups.push(std::mem::replace(&mut self.current, group));
        self.out.push_str("(?:");
    }

    fn close_group(&mut self) -> Result<(), String> {
        let outer = self.groups.pop().ok_or_else(|| failed("unexpected )", self.source))?;
        let mut group = std::mem::replace(&mut self.current, outer);
        group.finish_item();
        self.flags = group.flags;
        self.out.push(')');
        let depth = group.depth + 1;
        self.current.push(Item {
            start: group.start,
            depth,
            count: group.count.max(1),
            characters: group.characters,
            has_no_end: group.has_no_end,
            is_repetition: false,
        });
        self.check_depth(depth)
    }

    fn check_depth(&self, depth: u32) -> Result<(), String> {
        if depth > MAX_DEPTH { Err(failed("expression nests too deeply", self.source)) } else { Ok(()) }
    }

    fn read_repetition(
        &mut self,
        text: &'a str,
        last_repetition: Option<&'a str>,
    ) -> Result<&'a str, String> {
        let Some((least, most, rest)) = read_counts(text) else {
            self.push_literal('{');
            return Ok(text.get(1..).unwrap_or_default());
        };
        let is_valid = least <= MAX_COUNT && most.is_none_or(|most| (least..=MAX_COUNT).contains(&most));
        if !is_valid {
            return Err(failed("invalid repeat count", text.strip_suffix(rest).unwrap_or(text)));
        }
        let operator = match most {
            Some(most) => format!("{{{least},{most}}}"),
            None => format!("{{{least},}}"),
        };
        // A repetition of nothing hides what is in it from the check of the product.
        self.repeat(&operator, most.unwrap_or(least.max(1)), text, rest, last_repetition)
    }

    /// Repeats the last item. `text` begins with the operator, and `rest` is what follows it.
    fn repeat(
        &mut self,
        operator: &str,
        count: u32,
        text: &'a str,
        rest: &'a str,
        last_repetition: Option<&'a str>,
    ) -> Result<&'a str, String> {
        let (is_lazy, rest) = match rest.strip_prefix('?') {
            Some(rest) => (!self.flags.is_lazy, rest),
            None => (self.flags.is_lazy, rest),
        };
        let until_rest = |text: &'a str| text.strip_suffix(rest).unwrap_or(text);
        if let Some(last) = last_repetition {
            return Err(failed("invalid nested repetition operator", until_rest(last)));
        }
        let Some(mut item) = self.current.item.take() else {
            return Err(failed("missing argument to repetition operator", until_rest(text)));
        };
        if item.is_repetition {
            // Such as `a*(?i)?`, where the crate would read `a*?`.
            self.out.insert_str(item.start, "(?:");
            self.out.push(')');
        }
        self.out.push_str(operator);
        if is_lazy {
            self.out.push('?');
        }
        item.depth += 1;
        item.is_repetition = true;
        item.count = if count == 0 { 1 } else { item.count.saturating_mul(count) };
        item.characters = item.characters.saturating_mul(usize::try_from(count).unwrap_or(usize::MAX));
        item.has_no_end |= matches!(operator, "*" | "+") || operator.ends_with(",}");
        self.current.push(item);
        self.check_depth(item.depth)?;
        if operator.starts_with('{') && count >= 2 && item.count > MAX_COUNT {
            return Err(failed("invalid repeat count", until_rest(text)));
        }
        Ok(rest)
    }

    fn read_backslash(&mut self, text: &'a str) -> Result<&'a str, String> {
        let after = text.get(2..).unwrap_or_default();
        match text.as_bytes().get(1) {
            Some(b'A') => self.push(r"\A"),
            Some(b'z') => self.push(r"\z"),
            Some(b'b') => self.push(r"(?-u:\b)"),
            Some(b'B') => self.push(r"(?-u:\B)"),
            Some(b'C') => return Err(failed("invalid escape sequence", r"\C")),
            Some(b'Q') => {
                let (literal, rest) = after.split_once(r"\E").unwrap_or((after, ""));
                literal.chars().for_each(|c| self.push_literal(c));
                return Ok(rest);
            }
            _ => {
                if let Some((class, rest)) = read_class_escape(text)? {
                    self.push_class(&class);
                    return Ok(rest);
                }
                let (code, rest) = read_escape(text)?;
                match char::from_u32(code) {
                    Some(c) => self.push_literal(c),
                    None => self.push_class(&Class::of_code(code)),
                }
                return Ok(rest);
            }
        }
        Ok(after)
    }

    /// Reads what begins with `(?`: a named group, a group with flags, or flags for the rest of the current group.
    fn read_flags(&mut self, text: &'a str) -> Result<&'a str, String> {
        let name_start = if text.starts_with("(?P<") && text.len() > 4 {
            Some(4)
        } else {
            (text.starts_with("(?<") && text.len() > 3).then_some(3)
        };
        if let Some(start) = name_start {
            let invalid = |part| failed("invalid named capture", part);
            let end = text.find('>').ok_or_else(|| invalid(text))?;
            let name = text.get(start..end).unwrap_or_default();
            let (group, rest) = text.split_at(end + 1);
            if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                return Err(invalid(group));
            }
            self.open_group();
            return Ok(rest);
        }
        let mut chars = text.chars();
        chars.by_ref().take(2).for_each(drop);
        let mut flags = self.flags;
        let (mut value, mut has_flag) = (true, false);
        while let Some(c) = chars.next() {
            has_flag = match c {
                'i' | 'm' | 's' | 'U' => true,
                '-' if value => false,
                ':' | ')' if value || has_flag => {
                    if c == ':' {
                        self.open_group();
                    }
                    self.flags = flags;
                    return Ok(chars.as_str());
                }
                _ => break,
            };
            match c {
                'i' => flags.ignores_case = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_is_all = value,
                'U' => flags.is_lazy = value,
                _ => value = false,
            }
        }
        let part = text.strip_suffix(chars.as_str()).unwrap_or(text);
        Err(failed("invalid or unsupported Perl syntax", part))
    }
}

/// Reads `{n}`, `{n,}` or `{n,m}` and returns what follows; anything else is literal text.
fn read_counts(text: &str) -> Option<(u32, Option<u32>, &str)> {
    let (least, rest) = read_count(text.strip_prefix('{')?)?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((least, Some(least), rest));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((least, None, rest));
    }
    let (most, rest) = read_count(rest)?;
    Some((least, Some(most), rest.strip_prefix('}')?))
}

/// Reads a number without leading zeros; one that is too large is the largest.
fn read_count(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let has_leading_zero = digits.len() > 1 && digits.starts_with('0');
    (!digits.is_empty() && !has_leading_zero).then(|| (digits.parse().unwrap_or(u32::MAX), rest))
}
