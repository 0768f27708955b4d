//! Field selectors: `metadata.name=x,spec.url!=https://a\,b`.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/fields/selector.go`: in a value `\`, `,` and `=` are escaped by a backslash.

use super::Error;

/// Requirements on an object's fields, all of which must hold; without any it selects everything.
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
    /// Parses the `fieldSelector` of a request.
    ///
    /// # Errors
    /// With the message of kube-apiserver's 400, when a term is no `field=value`, `field==value` or `field!=value`.
    pub fn parse(selector: &str) -> Result<Self, Error> {
        let mut terms = split_terms(selector);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let Some((field, equal, value)) = split_term(term) else {
                return Err(Error(format!("invalid selector: '{selector}'; can't understand '{term}'")));
            };
            let (field, value) = (field.to_owned(), unescape(value)?);
            requirements.push(Requirement { field, equal, value });
        }
        Ok(Self { requirements })
    }

    /// Refuses fields that the type cannot be selected by, in a custom resource's wording.
    ///
    /// `metadata.name` and `metadata.namespace` can always be.
    pub(crate) fn supported(&self, selectable: impl Fn(&str) -> bool) -> Result<(), Error> {
        match self.unsupported(selectable) {
            Some(field) => Err(Error(format!("field label not supported: {field}"))),
            None => Ok(()),
        }
    }

    /// The same in the wording of a built-in kind with no conversion of its own (ConfigMap, say).
    pub(crate) fn supported_by_builtin(&self, selectable: impl Fn(&str) -> bool) -> Result<(), Error> {
        match self.unsupported(selectable) {
            Some(field) => Err(Error(format!(
                "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                serde_json::Value::from(field)
            ))),
            None => Ok(()),
        }
    }

    /// Whether it selects everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that `field` must have, if the selector names one: `metadata.name=x` needs no list.
    pub(crate) fn exact(&self, field: &str) -> Option<&str> {
        let requirement =
            self.requirements.iter().find(|requirement| requirement.equal && requirement.field == field)?;
        Some(&requirement.value)
    }

    /// Whether an object is selected whose fields are as `get` tells; a field that is absent is the empty string.
    pub(crate) fn matches<S: AsRef<str>>(&self, get: impl Fn(&str) -> Option<S>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = get(&requirement.field);
            (value.as_ref().map_or("", AsRef::as_ref) == requirement.value) == requirement.equal
        })
    }

    fn unsupported(&self, selectable: impl Fn(&str) -> bool) -> Option<&str> {
        self.requirements
            .iter()
            .map(|requirement| requirement.field.as_str())
            .find(|field| !matches!(*field, "metadata.name" | "metadata.namespace") && !selectable(field))
    }
}

/// At each comma that no backslash escapes; escapes stay in the terms.
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

/// The field, whether it must be equal, and the value as it stands.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    term.char_indices().find_map(|(index, _)| {
        let (field, rest) = term.split_at(index);
        [("!=", false), ("==", true), ("=", true)]
            .iter()
            .find_map(|(operator, equal)| Some((field, *equal, rest.strip_prefix(operator)?)))
    })
}

fn unescape(value: &str) -> Result<String, Error> {
    let invalid =
        |sequence: &str| Error(format!("invalid field selector: invalid escape sequence: {sequence}"));
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
                return Err(Error(format!(
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

    /// The messages of a kube-apiserver 1.37.
    #[test]
    fn words_errors_as_kube_apiserver_does() {
        for (selector, message) in [
            ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
            (r"metadata.name=a\b", r"invalid field selector: invalid escape sequence: \b"),
            (r"metadata.name=a\", r"invalid field selector: invalid escape sequence: \"),
            ("metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
        ] {
            assert_eq!(FieldSelector::parse(selector), Err(Error(message.to_owned())), "{selector}");
        }
        let selector = FieldSelector::parse("metadata.name=a,spec.url=x,x=y").unwrap();
        let error = selector.supported(|field| field == "spec.url").unwrap_err();
        assert_eq!(error.to_string(), "field label not supported: x");
        assert_eq!(selector.supported(|_| true), Ok(()));
        let error = FieldSelector::parse("x=y").unwrap().supported_by_builtin(|_| false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
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
