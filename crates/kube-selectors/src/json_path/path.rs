//! Single paths.

use std::fmt;

use serde_json::Value;

use super::{
    evaluate::{EvaluateError, evaluate},
    parse::{Template, parse},
};
use crate::ParseError;

/// A path, as in printer columns, `-o custom-columns`, `--sort-by` and `kubectl wait --for=jsonpath`.
///
/// It supports fields (`.a`, `.a\.b`, `['a']`), indexes and slices (`[0]`, `[-1]`, `[1:3]`, `[::2]`, `[*]`), wildcards
/// (`.*`), recursive descent (`..a`), unions (`[0,2]`) and filters (`[?(@.type=="Ready")]`).
/// [`Display`](fmt::Display) prints it in braces, as kubectl does in its messages: `{.a}`.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    text: String,
    template: Template,
}

impl JsonPath {
    /// Parses a path without the braces of kubectl's templates: `.spec.url`.
    ///
    /// # Errors
    /// Fails if the path is malformed or nested more than 16 levels deep.
    pub fn parse(path: &str) -> Result<Self, ParseError> {
        Self::in_braces(format!("{{{path}}}"))
    }

    /// Parses a path as people type it, with or without braces and the first dot: `spec.url`, `.spec.url`, `{spec.url}`,
    /// `{.spec.url}`. An empty path leads to nothing.
    ///
    /// The rule is `RelaxedJSONPathExpression` of `k8s.io/kubectl/pkg/cmd/get`.
    ///
    /// # Errors
    /// Fails if there are other braces, or as [`JsonPath::parse`].
    pub fn parse_relaxed(path: &str) -> Result<Self, ParseError> {
        if path.is_empty() {
            return Self::in_braces(String::new());
        }
        let inner = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')).unwrap_or(path);
        if inner.is_empty() || inner.contains(['{', '}']) {
            let message = "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or \
                           '{.name1.name2}'";
            return Err(ParseError(message.to_owned()));
        }
        let inner = inner.strip_prefix('.').filter(|rest| !rest.is_empty()).unwrap_or(inner);
        Self::in_braces(format!("{{.{inner}}}"))
    }

    fn in_braces(text: String) -> Result<Self, ParseError> {
        let template = parse(&text)?;
        Ok(Self { text, template })
    }

    /// Returns all values that the path leads to, in order; nothing if a field is missing.
    ///
    /// The values are borrowed from `value`, and literals from the path.
    ///
    /// # Errors
    /// Fails if the path does not fit the value, or visits more than 33 million values.
    pub fn find<'a>(&'a self, value: &'a Value) -> Result<Vec<&'a Value>, EvaluateError> {
        // Text after a brace is another action, which kube-apiserver evaluates and ignores.
        let results = evaluate(&self.template, value)?.into_iter().next();
        Ok(results.unwrap_or_default().into_iter().flatten().collect())
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
