//! The templates of `kubectl -o jsonpath`.

use kube_validation::go;
use serde_json::Value;

use super::{
    evaluate::{EvaluateError, Found, evaluate},
    parse::{Template, parse},
};
use crate::ParseError;

/// The template of `kubectl get -o jsonpath=TEMPLATE`: text, and actions in braces.
///
/// `{.a.b}` prints the values of a path, separated by spaces: strings as they are, objects and arrays as JSON, null as `null`,
/// and nothing if a field is missing. `{"\n"}` prints a string of Go. `{range .items[*]}...{end}` repeats for each value,
/// which `@` and `$` stand for. No newline follows the output.
///
/// The rules are those of `k8s.io/client-go/util/jsonpath`, except that the values of an object have the order of its keys
/// for `.*` and `..`, where kubectl's order is random; that a template may be printed several times, where kubectl forgets
/// its `range`s after the first; and that an index into nothing within an empty `range` has no results, where kubectl
/// panics.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPathTemplate(Template);

impl JsonPathTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// Fails with client-go's message if the template is malformed, or if it is nested more than 16 levels deep. kubectl
    /// prints `error parsing jsonpath TEMPLATE, ` in front of it.
    pub fn parse(template: &str) -> Result<Self, ParseError> {
        parse(template).map(Self)
    }

    /// Prints an object as `-o jsonpath` does. Control characters in values are printed as they are, as by kubectl.
    ///
    /// # Errors
    /// Fails if the template does not fit the value: with client-go's message, which kubectl prints between
    /// `error executing jsonpath "TEMPLATE": Error executing template: ` and a dump of the object. Also fails if it visits
    /// more than 33 million values or has more than 64 nested ranges.
    pub fn print(&self, value: &Value) -> Result<String, EvaluateError> {
        let mut out = String::new();
        for results in evaluate(&self.0, value)? {
            for (index, result) in results.into_iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(&text(result));
            }
        }
        Ok(out)
    }

    /// Prints an object as `-o jsonpath-as-json` does: an indented array of the values of each action, each with a newline.
    ///
    /// # Errors
    /// Fails as [`JsonPathTemplate::print`].
    pub fn print_as_json(&self, value: &Value) -> Result<String, EvaluateError> {
        let mut out = String::new();
        for results in evaluate(&self.0, value)? {
            let values = results.into_iter().map(|result| result.cloned().unwrap_or_default()).collect();
            out.push_str(&go::json_indented(&Value::Array(values)));
            out.push('\n');
        }
        Ok(out)
    }
}

fn text(result: Found<'_>) -> String {
    match result {
        None => "<no value>".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(value @ (Value::Array(_) | Value::Object(_))) => go::json(value),
        Some(value) => go::value(value),
    }
}
