//! The conditions of `--for`, `--or` and `--fail-on`, in the forms of `kubectl wait` (kubectl's `pkg/cmd/wait`).

use std::fmt;

use kube_selectors::JsonPath;
use serde_json::Value;

use crate::field_path::bare;

/// A condition as it was written, and its meaning.
#[derive(Debug, PartialEq)]
pub(super) struct Condition {
    text: String,
    test: Test,
}

#[derive(Debug, PartialEq)]
enum Test {
    /// The object exists.
    Created,
    /// The object does not exist.
    Deleted,
    /// `status.conditions` has this status for this type. Both are compared without regard to case.
    Status { kind: String, status: String },
    /// The path leads to this value, or to any.
    Path { shown: String, path: JsonPath, value: Option<String> },
}

impl Condition {
    /// Parses `create`, `delete`, `condition=NAME[=STATUS]`, or `jsonpath=PATH[=VALUE]`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let test = match text.split_once('=') {
            None if text.eq_ignore_ascii_case("create") => Test::Created,
            None if text.eq_ignore_ascii_case("delete") => Test::Deleted,
            Some(("condition", condition)) => {
                let (kind, status) = condition.split_once('=').unwrap_or((condition, "true"));
                Test::Status { kind: kind.to_owned(), status: status.to_owned() }
            }
            Some(("jsonpath", input)) => {
                path_test(input).map_err(|problem| format!("`{text}`: {problem}"))?
            }
            _ => {
                return Err(format!(
                    "`{text}` is not a condition; one is create, delete, condition=NAME[=STATUS] or jsonpath='{{PATH}}'[=VALUE]"
                ));
            }
        };
        Ok(Self { text: text.to_owned(), test })
    }

    pub(super) fn is_creation(&self) -> bool {
        matches!(self.test, Test::Created)
    }

    pub(super) fn is_deletion(&self) -> bool {
        matches!(self.test, Test::Deleted)
    }

    /// Whether an existing object meets the condition. Fails, as kubectl does, if a path leads to several values, or to an
    /// object or array that should be compared.
    pub(super) fn holds(&self, object: &Value) -> Result<bool, String> {
        match &self.test {
            Test::Created => Ok(true),
            Test::Deleted => Ok(false),
            Test::Status { kind, status } => Ok(find(object, kind).is_some_and(|found| {
                found["status"].as_str().is_some_and(|is| equal_fold(is, status))
                    && outdated(object, found).is_none()
            })),
            Test::Path { shown, path, value } => match (self.at(path, shown, object)?, value) {
                (None, _) => Ok(false),
                (Some(_), None) => Ok(true),
                (Some(Value::Array(_) | Value::Object(_)), Some(_)) => {
                    Err(format!("{shown} is an object or array, which cannot be compared with a value"))
                }
                (Some(found), Some(value)) => Ok(bare(found).trim() == value.trim()),
            },
        }
    }

    /// Returns the single value at a path. An index that is out of bounds leads nowhere yet: arrays grow.
    fn at<'a>(
        &self,
        path: &'a JsonPath,
        shown: &str,
        object: &'a Value,
    ) -> Result<Option<&'a Value>, String> {
        match path.find(object).unwrap_or_default()[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(format!("{shown} leads to more than one value")),
        }
    }

    /// Describes the object's state with regard to the condition: `condition Ready is False (Unreachable: 503)`.
    pub(super) fn state(&self, object: &Value) -> String {
        match &self.test {
            Test::Created | Test::Deleted => existence(object),
            Test::Status { kind, .. } => match find(object, kind) {
                None => format!("has no condition {kind}"),
                Some(found) => status(object, found),
            },
            Test::Path { shown, path, .. } => match path.find(object) {
                Ok(found) => match found[..] {
                    [] => format!("{shown} is not set"),
                    [one] => format!("{shown} is {one}"),
                    _ => format!("{shown} leads to more than one value"),
                },
                Err(error) => format!("{shown} is not set ({error})"),
            },
        }
    }
}

/// The condition as it was written.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Describes an object that exists, and why it may continue to.
pub(super) fn existence(object: &Value) -> String {
    let metadata = &object["metadata"];
    if metadata["deletionTimestamp"].is_null() {
        return "exists".to_owned();
    }
    let finalizers: Vec<String> = metadata["finalizers"].as_array().into_iter().flatten().map(bare).collect();
    match &finalizers[..] {
        [] => "still exists, but is being deleted".to_owned(),
        finalizers => {
            format!("still exists, but is being deleted; its finalizers are {}", finalizers.join(", "))
        }
    }
}

/// Parses what follows `jsonpath=`. As in kubectl, a single `=` separates the path from the value, and `==` does not.
fn path_test(input: &str) -> Result<Test, String> {
    let (path, value) = match &split(input)[..] {
        [path] => (path.clone(), None),
        [path, value] => (path.clone(), Some(value.trim_matches(['\'', '"']).to_owned())),
        _ => {
            return Err(
                "it has more than one value; one is written jsonpath='{.status.phase}'=Running".into()
            );
        }
    };
    if value.as_deref() == Some("") {
        return Err("the value after `=` is missing".into());
    }
    let shown = path.trim_matches(['{', '}']).to_owned();
    if shown.is_empty() || shown == "." {
        return Err("a path is written {.status.phase}, .status.phase or status.phase".into());
    }
    let path = JsonPath::parse_relaxed(&path).map_err(|error| error.to_string())?;
    Ok(Test::Path { shown, path, value })
}

/// `splitJSONPathInput` of kubectl.
fn split(input: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = input;
    while let Some(c) = rest.chars().next() {
        let taken = if rest.starts_with("==") { 2 } else { c.len_utf8() };
        match (&rest[..taken], parts.last_mut()) {
            ("=", _) => parts.push(String::new()),
            (text, Some(part)) => part.push_str(text),
            (_, None) => {}
        }
        rest = &rest[taken..];
    }
    parts
}

fn find<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    let is_asked = |condition: &&Value| {
        condition["type"].as_str().is_some_and(|name| equal_fold(name, kind))
            && condition["status"].is_string()
    };
    conditions.iter().find(is_asked)
}

/// Returns the generation that a condition is about and the object's, if the condition is not about the latest.
fn outdated(object: &Value, condition: &Value) -> Option<(i64, i64)> {
    let generation = object["metadata"]["generation"].as_i64()?;
    let observed = &condition["observedGeneration"];
    let observed = observed.as_i64().or_else(|| object["status"]["observedGeneration"].as_i64())?;
    (observed < generation).then_some((observed, generation))
}

/// `condition Ready is False (Unreachable: 503)`
fn status(object: &Value, condition: &Value) -> String {
    let text = |key: &str| condition[key].as_str().unwrap_or_default();
    let mut state = format!("condition {} is {}", text("type"), text("status"));
    state += &match (text("reason"), text("message")) {
        ("", "") => String::new(),
        (one, "") | ("", one) => format!(" ({one})"),
        (reason, message) => format!(" ({reason}: {message})"),
    };
    if let Some((observed, generation)) = outdated(object, condition) {
        state += &format!(", but of generation {observed} and not {generation}");
    }
    state
}

fn equal_fold(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(condition: &str, object: &Value) -> Result<bool, String> {
        Condition::parse(condition).unwrap().holds(object)
    }

    fn state(condition: &str, object: &Value) -> String {
        Condition::parse(condition).unwrap().state(object)
    }

    #[test]
    fn conditions_are_found_in_any_case() {
        let object = json!({"status": {"conditions": [
            1, {"type": "Odd"}, {"type": "Ready", "status": "False", "reason": "Unreachable", "message": "503"},
            {"type": "Done", "status": "True"}]}});
        for met in [
            "condition=ready=FALSE",
            "condition=Ready=false",
            "condition=done",
            "condition=Done=true",
            "create",
            "CREATE",
        ] {
            assert_eq!(holds(met, &object), Ok(true), "{met}");
        }
        for unmet in ["condition=Ready", "condition=Ready=", "condition=Other", "condition=Odd", "delete"] {
            assert_eq!(holds(unmet, &object), Ok(false), "{unmet}");
        }
        assert_eq!(state("condition=ready", &object), "condition Ready is False (Unreachable: 503)");
        assert_eq!(state("condition=Other", &object), "has no condition Other");
        assert_eq!(holds("condition=Ready", &json!({})), Ok(false));
    }

    #[test]
    fn a_condition_of_an_older_generation_does_not_count() {
        let mut object = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1, "conditions": [
            {"type": "Ready", "status": "True"}]}});
        assert_eq!(holds("condition=Ready", &object), Ok(false));
        assert_eq!(
            state("condition=Ready", &object),
            "condition Ready is True, but of generation 1 and not 2"
        );
        // The condition's own generation takes precedence over the status's.
        object["status"]["conditions"][0]["observedGeneration"] = json!(2);
        assert_eq!(holds("condition=Ready", &object), Ok(true));
    }

    #[test]
    fn paths_lead_to_a_value_or_to_any() {
        let object = json!({"spec": {"replicas": 3, "on": true, "list": ["a", "b"]}, "status": {"phase": "Running ", "empty": ""}});
        for met in [
            "jsonpath={.status.phase}=Running",
            "jsonpath='{.status.phase}'=Running",
            "jsonpath=.status.phase=Running",
            "jsonpath=status.phase='Running'",
            "jsonpath={.spec.replicas}=3",
            "jsonpath={.spec.on}=true",
            "jsonpath={.status}",
            "jsonpath={.status.empty}",
            "jsonpath={.spec.list[0]}=a",
            "jsonpath={.spec.list[?(@==\"b\")]}=b",
        ] {
            // The quotes around a path are the shell's.
            let met = met.replace("'{", "{").replace("}'", "}");
            assert_eq!(holds(&met, &object), Ok(true), "{met}");
        }
        for unmet in
            ["jsonpath={.status.phase}=Pending", "jsonpath={.status.other}", "jsonpath={.spec.list[7]}"]
        {
            assert_eq!(holds(unmet, &object), Ok(false), "{unmet}");
        }
        for wrong in ["jsonpath={.spec.list[*]}", "jsonpath={.spec}=x", "jsonpath={.spec.list}=a"] {
            assert!(holds(wrong, &object).is_err(), "{wrong}");
        }
        assert_eq!(state("jsonpath={.status.phase}=x", &object), ".status.phase is \"Running \"");
        assert_eq!(state("jsonpath={.status.other}=x", &object), ".status.other is not set");
    }

    #[test]
    fn other_texts_are_refused() {
        for wrong in [
            "",
            "ready",
            "Condition=Ready",
            "created",
            "jsonpath=",
            "jsonpath={}",
            "jsonpath={.a}=",
            "jsonpath={.a}=b=c",
            "jsonpath={.a}{.b}=c",
            "jsonpath={.a",
            "jsonpath={.a[}",
            "status=x",
        ] {
            assert!(Condition::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_keeps_an_object_is_described() {
        let mut object = json!({"metadata": {}});
        assert_eq!(state("delete", &object), "exists");
        object["metadata"] = json!({"deletionTimestamp": "2026-11-28T00:00:00Z", "finalizers": ["a/b", "c"]});
        assert_eq!(state("delete", &object), "still exists, but is being deleted; its finalizers are a/b, c");
    }
}
