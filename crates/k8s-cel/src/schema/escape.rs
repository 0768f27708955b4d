//! Names of properties as identifiers: apiserver's `pkg/cel/escaping.go`.

use crate::syntax::RESERVED;

/// The identifier for the name of a property; `None` if the name cannot be expressed.
pub(crate) fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '_' if chars.next_if_eq(&'_').is_some() => out.push_str("__underscores__"),
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            '_' => out.push('_'),
            c if c.is_ascii_alphanumeric() => out.push(c),
            _ => return None,
        }
    }
    Some(out)
}

/// The name of a property for an identifier; `None` for an escape that does not exist. A name without escapes is itself.
pub(crate) fn unescape(identifier: &str) -> Option<String> {
    let mut out = String::with_capacity(identifier.len());
    let mut rest = identifier;
    while let Some(start) = rest.find("__") {
        let (before, escape) = rest.split_at(start);
        let inner = escape.trim_start_matches('_');
        let length = inner.find('_').filter(|length| *length > 0 && inner[*length..].starts_with("__"));
        // Of more than two underscores, the last two begin the escape.
        let leading = escape.len() - inner.len() - 2;
        out.push_str(before);
        let Some(length) = length else {
            // No escape begins here; one may begin behind the next name.
            let end = escape.len() - inner.len() + inner.find('_').unwrap_or(inner.len());
            out.push_str(&escape[..end]);
            rest = &escape[end..];
            continue;
        };
        out.push_str(&escape[..leading]);
        match &inner[..length] {
            "underscores" => out.push_str("__"),
            "dot" => out.push('.'),
            "dash" => out.push('-'),
            "slash" => out.push('/'),
            word if RESERVED.contains(&word) && identifier.len() == word.len() + 4 => out.push_str(word),
            _ => return None,
        }
        rest = &inner[length + 2..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn an_identifier_is_read_back() {
        for name in
            ["a-b.c/d", "a__b", "a___b", "namespace", "_x", "1st", "a-b_c", "__", "x__", "a____b", "$ref"]
        {
            let identifier = escape(name).unwrap_or_else(|| name.to_owned());
            assert_eq!(unescape(&identifier).as_deref(), Some(name), "{identifier}");
        }
        assert_eq!(unescape("a__nothing__b"), None);
        assert_eq!(unescape("a__in__"), None);
        assert_eq!(unescape("a__b").as_deref(), Some("a__b"));
    }

    #[test]
    fn names_are_escaped_as_kube_apiserver_does_it() {
        for (name, escaped) in [
            ("a-b.c/d", Some("a__dash__b__dot__c__slash__d")),
            ("a__b", Some("a__underscores__b")),
            ("a___b", Some("a__underscores___b")),
            ("namespace", Some("__namespace__")),
            ("_x", Some("_x")),
            ("1a", None),
            ("a$", None),
            ("ä", None),
            ("", None),
        ] {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
        }
    }
}
