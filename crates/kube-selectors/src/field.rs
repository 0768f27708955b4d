//! Field selectors: `metadata.name=x,spec.url!=https://a\,b`.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/fields/selector.go`: `\`, `,` and `=` in a value are escaped by a
//! backslash.

use std::str::FromStr;

use crate::ParseError;

/// Requirements on an object's fields, all of which must hold. A selector without requirements selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    field: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Parses the text of a `fieldSelector` parameter. An empty text selects everything.
    ///
    /// # Errors
    /// Fails if a term is not `field=value`, `field==value` or `field!=value`, or if a value has an invalid escape.
    pub fn parse(selector: &str) -> Result<Self, ParseError> {
        let mut terms = split_terms(selector);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let Some((field, equal, value)) = split_term(term) else {
                return Err(ParseError(format!("invalid selector: '{selector}'; can't understand '{term}'")));
            };
            let (field, value) = (field.to_owned(), unescape(value)?);
            requirements.push(Requirement { field, equal, value });
        }
        Ok(Self { requirements })
    }

    /// Returns whether it has no requirements, so that it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Returns the value that a requirement demands for `field`. An object selected by `metadata.name=x` can be read
    /// without listing.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let requirement =
            self.requirements.iter().find(|requirement| requirement.equal && requirement.field == field)?;
        Some(&requirement.value)
    }

    /// Returns whether an object is selected. `get` returns the object's fields; an absent field counts as the empty
    /// string.
    pub fn matches<S: AsRef<str>>(&self, get: impl Fn(&str) -> Option<S>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = get(&requirement.field);
            (value.as_ref().map_or("", AsRef::as_ref) == requirement.value) == requirement.equal
        })
    }

    /// Returns the fields that the requirements refer to.
    ///
    /// A type can be selected by `metadata.name`, `metadata.namespace` and a few other fields; kube-apiserver refuses the
    /// rest.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().map(|requirement| requirement.field.as_str())
    }
}

impl FromStr for FieldSelector {
    type Err = ParseError;

    fn from_str(selector: &str) -> Result<Self, ParseError> {
        Self::parse(selector)
    }
}

/// Splits a selector at each unescaped comma; escapes stay in the terms.
fn split_terms(selector: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, c) in selector.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&selector[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms
}

/// Splits a term into the field, whether the value must be equal, and the value, still escaped.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    term.char_indices().find_map(|(index, _)| {
        let (field, rest) = term.split_at(index);
        [("!=", false), ("==", true), ("=", true)]
            .iter()
            .find_map(|(operator, equal)| Some((field, *equal, rest.strip_prefix(operator)?)))
    })
}

fn unescape(value: &str) -> Result<String, ParseError> {
    let invalid =
        |sequence: &str| ParseError(format!("invalid field selector: invalid escape sequence: {sequence}"));
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                Some(other) => return Err(invalid(&format!("\\{other}"))),
                None => return Err(invalid("\\")),
            },
            ',' | '=' => {
                return Err(ParseError(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                )));
            }
            c => text.push(c),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(name: &str) -> Option<String> {
        match name {
            "metadata.name" => Some("a,b=c".to_owned()),
            "spec.url" => Some("https://x".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn selects_as_kube_apiserver_does() {
        for (selector, selected) in [
            ("", true),
            (r"metadata.name=a\,b\=c", true),
            (r"metadata.name==a\,b\=c,spec.url!=", true),
            ("metadata.name!=x", true),
            ("metadata.name=x", false),
            ("spec.url=https://x,", true),
            ("missing=", true),
        ] {
            let parsed = FieldSelector::parse(selector).unwrap();
            assert_eq!(parsed.matches(fields), selected, "{selector}");
        }
        let selector = FieldSelector::parse("metadata.name=x,metadata.namespace!=y").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("x"));
        assert_eq!(selector.exact("metadata.namespace"), None);
    }

    /// The expected messages are those of kube-apiserver 1.37.
    #[test]
    fn words_errors_as_kube_apiserver_does() {
        for (selector, message) in [
            ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
            (r"metadata.name=a\b", r"invalid field selector: invalid escape sequence: \b"),
            (r"metadata.name=a\", r"invalid field selector: invalid escape sequence: \"),
            ("metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
        ] {
            assert_eq!(FieldSelector::parse(selector), Err(ParseError(message.to_owned())), "{selector}");
        }
        let selector = FieldSelector::parse("spec.url=x,metadata.name!=a").unwrap();
        assert!(selector.fields().eq(["metadata.name", "spec.url"]));
    }

    proptest! {
        #[test]
        fn an_escaped_value_selects_its_object(value in ".{0,20}") {
            let escaped = value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
            let selector = FieldSelector::parse(&format!("spec.url={escaped}")).unwrap();
            prop_assert!(selector.matches(|_| Some(value.as_str())));
        }

        #[test]
        fn any_text_parses_or_is_refused(text in r"[a.\\,=!]{0,20}|.*") {
            if let Ok(selector) = FieldSelector::parse(&text) {
                selector.matches(|_| None::<&str>);
            }
        }
    }
}
