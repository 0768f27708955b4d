//! Classes of characters.

use std::fmt::Write as _;

use super::escape::{failed, read_escape};

/// A set of characters in the syntax of the `regex` crate, as it stands within brackets. It may be empty.
#[derive(Default)]
pub(super) struct Class {
    items: String,
    negated: bool,
}

impl Class {
    /// A class of one character. No text has a surrogate.
    pub(super) fn of_code(code: u32) -> Self {
        let mut class = Self::default();
        class.push_range(code, code);
        class
    }

    fn push_range(&mut self, low: u32, high: u32) {
        let surrogates = 0xd800..=0xdfff;
        let mut push = |low, high| {
            if low <= high {
                // Writing to a String cannot fail.
                _ = write!(self.items, "\\x{{{low:x}}}-\\x{{{high:x}}}");
            }
        };
        if high < *surrogates.start() || low > *surrogates.end() {
            push(low, high);
        } else {
            push(low, surrogates.start() - 1);
            push(surrogates.end() + 1, high);
        }
    }

    fn push_class(&mut self, class: &Self) {
        if class.negated {
            class.write(&mut self.items);
        } else {
            self.items.push_str(&class.items);
        }
    }

    /// Appends the class in brackets.
    pub(super) fn write(&self, out: &mut String) {
        // The crate has no empty brackets.
        let (negated, items) = match self.items.as_str() {
            "" => (!self.negated, r"\x{0}-\x{10ffff}"),
            items => (self.negated, items),
        };
        // Writing to a String cannot fail.
        _ = write!(out, "[{}{items}]", if negated { "^" } else { "" });
    }
}

/// Reads a class in brackets. Returns what follows it, too.
pub(super) fn read_brackets(text: &str) -> Result<(Class, &str), String> {
    let mut class = Class::default();
    let mut rest = text.strip_prefix('[').unwrap_or(text);
    if let Some(after) = rest.strip_prefix('^') {
        class.negated = true;
        rest = after;
    }
    let mut is_first = true;
    loop {
        // At the beginning, a bracket is one of the characters.
        if let Some(after) = rest.strip_prefix(']').filter(|_| !is_first) {
            return Ok((class, after));
        }
        is_first = false;
        if let Some((group, after)) = read_posix_class(rest)? {
            class.push_class(&group);
            rest = after;
            continue;
        }
        if let Some((group, after)) = read_class_escape(rest)? {
            class.push_class(&group);
            rest = after;
            continue;
        }
        let (low, mut after) = read_code(rest, text)?;
        let mut high = low;
        if let Some(end) = after.strip_prefix('-').filter(|end| !end.is_empty() && !end.starts_with(']')) {
            (high, after) = read_code(end, text)?;
            if high < low {
                let range = rest.strip_suffix(after).unwrap_or(rest);
                return Err(failed("invalid character class range", range));
            }
        }
        class.push_range(low, high);
        rest = after;
    }
}

fn read_code<'a>(text: &'a str, brackets: &str) -> Result<(u32, &'a str), String> {
    let mut chars = text.chars();
    match chars.next() {
        None => Err(failed("missing closing ]", brackets)),
        Some('\\') => read_escape(text),
        Some(c) => Ok((u32::from(c), chars.as_str())),
    }
}

/// Reads an escape of a class, `\d` or `\pL`, if there is one.
pub(super) fn read_class_escape(text: &str) -> Result<Option<(Class, &str)>, String> {
    let mut chars = text.chars();
    let (Some('\\'), Some(kind)) = (chars.next(), chars.next()) else { return Ok(None) };
    let rest = chars.as_str();
    let items = match kind.to_ascii_lowercase() {
        'd' => "0-9",
        's' => r"\t\n\f\r ",
        'w' => "0-9A-Za-z_",
        'p' => return read_unicode_class(text, kind == 'P', rest).map(Some),
        _ => return Ok(None),
    };
    Ok(Some((Class { items: items.to_owned(), negated: kind.is_ascii_uppercase() }, rest)))
}

/// Reads a class such as `[:alpha:]`, if there is one.
fn read_posix_class(text: &str) -> Result<Option<(Class, &str)>, String> {
    let Some((name, rest)) = text.strip_prefix("[:").and_then(|after| after.split_once(":]")) else {
        return Ok(None);
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let items = match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "ascii" => r"\x00-\x7f",
        "blank" => r"\t ",
        "cntrl" => r"\x00-\x1f\x7f",
        "digit" => "0-9",
        "graph" => r"\x21-\x7e",
        "lower" => "a-z",
        "print" => r"\x20-\x7e",
        "punct" => r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
        "space" => r"\t-\r ",
        "upper" => "A-Z",
        "word" => "0-9A-Za-z_",
        "xdigit" => "0-9A-Fa-f",
        _ => {
            let class = text.strip_suffix(rest).unwrap_or(text);
            return Err(failed("invalid character class range", class));
        }
    };
    Ok(Some((Class { items: items.to_owned(), negated }, rest)))
}

/// Reads the name of a Unicode class, which follows `\p`.
fn read_unicode_class<'a>(text: &'a str, negated: bool, rest: &'a str) -> Result<(Class, &'a str), String> {
    let (name, rest) = match rest.strip_prefix('{') {
        Some(after) => after.split_once('}').ok_or_else(|| failed("invalid character class range", text))?,
        None => rest.split_at(rest.chars().next().map_or(0, char::len_utf8)),
    };
    let (inverted, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    match unicode_class(&canonical(name)) {
        Some(class) => Ok((Class { negated: class.negated ^ inverted ^ negated, ..class }, rest)),
        None => Err(failed("invalid character class range", text.strip_suffix(rest).unwrap_or(text))),
    }
}

/// The name with only its first letter in upper case, and without what separates words.
fn canonical(name: &str) -> String {
    let mut chars = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars.map(|c| c.to_ascii_lowercase())).collect()
}

/// The categories of Unicode that are sets of characters of the `regex` crate, and their long names in canonical form.
const CATEGORIES: [(&str, &str); 34] = [
    ("Cc", "Control"),
    ("Cf", "Format"),
    ("Co", "Privateuse"),
    ("L", "Letter"),
    ("Lc", "Casedletter"),
    ("Ll", "Lowercaseletter"),
    ("Lm", "Modifierletter"),
    ("Lo", "Otherletter"),
    ("Lt", "Titlecaseletter"),
    ("Lu", "Uppercaseletter"),
    ("M", "Mark"),
    ("M", "Combiningmark"),
    ("Mc", "Spacingmark"),
    ("Me", "Enclosingmark"),
    ("Mn", "Nonspacingmark"),
    ("N", "Number"),
    ("Nd", "Decimalnumber"),
    ("Nl", "Letternumber"),
    ("No", "Othernumber"),
    ("P", "Punctuation"),
    ("Pc", "Connectorpunctuation"),
    ("Pd", "Dashpunctuation"),
    ("Pe", "Closepunctuation"),
    ("Pf", "Finalpunctuation"),
    ("Pi", "Initialpunctuation"),
    ("Po", "Otherpunctuation"),
    ("Ps", "Openpunctuation"),
    ("S", "Symbol"),
    ("Sc", "Currencysymbol"),
    ("Sk", "Modifiersymbol"),
    ("Sm", "Mathsymbol"),
    ("So", "Othersymbol"),
    ("Z", "Separator"),
    ("Zl", "Lineseparator"),
];

/// The scripts that Go 1.26 finds: it looks for the canonical name in a table of names with `_`.
const SCRIPTS: &[&str] = &[
    "Adlam",
    "Ahom",
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Carian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Chorasmian",
    "Common",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Dogra",
    "Duployan",
    "Elbasan",
    "Elymaic",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hanunoo",
    "Hatran",
    "Hebrew",
    "Hiragana",
    "Inherited",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Katakana",
    "Kawi",
    "Kharoshthi",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Makasar",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Medefaidrin",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "Nandinagari",
    "Newa",
    "Nko",
    "Nushu",
    "Ogham",
    "Oriya",
    "Osage",
    "Osmanya",
    "Palmyrene",
    "Phoenician",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "Sinhala",
    "Sogdian",
    "Soyombo",
    "Sundanese",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Takri",
    "Tamil",
    "Tangsa",
    "Tangut",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Toto",
    "Ugaritic",
    "Vai",
    "Vithkuqi",
    "Wancho",
    "Yezidi",
    "Yi",
];

/// The class with a canonical name, as Unicode 15.0 has it.
fn unicode_class(name: &str) -> Option<Class> {
    let items = |items: String| Some(Class { items, negated: false });
    let of_age = |set: &str| format!("[{set}&&\\p{{age=15.0}}]");
    match name {
        "Any" => return items(r"\x{0}-\x{10ffff}".to_owned()),
        "Ascii" => return items(r"\x{0}-\x{7f}".to_owned()),
        "Assigned" => return items(of_age(r"\p{Assigned}")),
        "Cn" | "Unassigned" => return Some(Class { items: of_age(r"\p{Assigned}"), negated: true }),
        // With what is not assigned.
        "C" | "Other" => {
            return Some(Class { items: of_age(r"\p{L}\p{M}\p{N}\p{P}\p{S}\p{Z}"), negated: true });
        }
        // No text has a surrogate.
        "Cs" | "Surrogate" => return items(String::new()),
        "Zp" | "Paragraphseparator" => return items(r"\p{gc=Zp}".to_owned()),
        "Zs" | "Spaceseparator" => return items(r"\p{gc=Zs}".to_owned()),
        // Names of POSIX.
        "Cntrl" => return items(r"\p{gc=Cc}".to_owned()),
        "Digit" => return items(of_age(r"\p{gc=Nd}")),
        "Punct" => return items(of_age(r"\p{gc=P}")),
        _ => {}
    }
    if let Some((short, _)) = CATEGORIES.iter().find(|(short, long)| *short == name || *long == name) {
        return items(of_age(&format!("\\p{{gc={short}}}")));
    }
    if SCRIPTS.contains(&name) {
        return items(of_age(&format!("\\p{{sc={name}}}")));
    }
    None
}
