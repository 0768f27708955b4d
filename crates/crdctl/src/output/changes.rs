//! What changed, for people: a line per field, or a unified diff.

use anstyle::AnsiColor;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::{
    diff::Difference,
    field_path::{FieldPath, Step},
    stdio::{one_line, printable},
    terminal::Span,
};

/// Returns a line for each field: `spec.url: a -> b`. A condition is one line, with its reason and message.
pub(super) fn paths(fields: &[Difference], new: &Value) -> Vec<Vec<Span>> {
    let mut lines = Vec::new();
    let mut conditions: Vec<FieldPath> = Vec::new();
    for field in fields {
        match condition_of(&field.path).and_then(|path| Some((condition(fields, &path, new)?, path))) {
            Some((_, path)) if conditions.contains(&path) => {}
            Some((line, path)) => {
                conditions.push(path);
                lines.push(line);
            }
            None => lines.push(line(&field.path, field.old.as_ref(), field.new.as_ref(), "")),
        }
    }
    lines
}

fn line(path: &FieldPath, old: Option<&Value>, new: Option<&Value>, remark: &str) -> Vec<Span> {
    vec![
        Span::plain(format!("{}: ", printable(&path.to_string()))),
        Span::colored(shown(old), AnsiColor::Red),
        Span::plain(" -> "),
        Span::colored(shown(new), AnsiColor::Green),
        Span::plain(remark),
    ]
}

/// Returns the path of the condition that a path leads into: `status.conditions[Ready]`.
fn condition_of(path: &FieldPath) -> Option<FieldPath> {
    let [Step::Field(status), Step::Field(conditions), Step::Item(key), ..] = &path.0[..] else {
        return None;
    };
    let is_one =
        status == "status" && conditions == "conditions" && matches!(&key[..], [(name, _)] if name == "type");
    is_one.then(|| FieldPath(path.0[..3].to_vec()))
}

/// Returns one line for all that changed in a condition. `None` if only something else than its status, reason and message
/// did, or if it disappeared.
fn condition(fields: &[Difference], path: &FieldPath, new: &Value) -> Option<Vec<Span>> {
    let Some(Step::Item(key)) = path.0.last() else { return None };
    let kind = &key.first()?.1;
    let now = new["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == *kind)?;
    let of = |name: &str| {
        let wanted = path.join(Step::Field(name.to_owned()));
        fields.iter().find(|field| field.path == wanted)
    };
    let text = |name: &str| now[name].as_str().filter(|text| !text.is_empty());
    let remark = match (text("reason"), text("message")) {
        (Some(reason), Some(message)) => {
            format!(" ({}: {})", one_line(reason.trim_end()), one_line(message.trim_end()))
        }
        (Some(text), None) | (None, Some(text)) => format!(" ({})", one_line(text.trim_end())),
        (None, None) => String::new(),
    };
    // The whole condition is new.
    if fields.iter().any(|field| field.path == *path) {
        return Some(line(path, None, Some(&now["status"]), &remark));
    }
    match of("status") {
        Some(status) => Some(line(path, status.old.as_ref(), status.new.as_ref(), &remark)),
        None if of("reason").is_some() || of("message").is_some() => Some(vec![
            Span::plain(format!("{}: {}", printable(&path.to_string()), shown(Some(&now["status"])))),
            Span::plain(remark),
        ]),
        None => None,
    }
}

/// Returns a value in one line: a string as it is if that is clear, all else as JSON.
fn shown(value: Option<&Value>) -> String {
    match value {
        None => "<none>".to_owned(),
        Some(Value::String(text)) if is_clear(text) => one_line(text),
        Some(value) => printable(&value.to_string()),
    }
}

/// Whether a string cannot be taken for something else when it is not quoted.
fn is_clear(text: &str) -> bool {
    !text.is_empty()
        && text.trim() == text
        && text != "<none>"
        && serde_json::from_str::<Value>(text).is_err()
}

/// Returns a unified diff of the YAML of two states, without the fields of the metadata that every write changes.
pub(super) fn unified(old: &Value, new: &Value) -> Vec<Vec<Span>> {
    let (old, new) = (yaml(old), yaml(new));
    let diff = TextDiff::from_lines(&old, &new);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(3) {
        if !lines.is_empty() {
            lines.push(vec![Span::plain("...")]);
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let text = printable(change.value().trim_end_matches('\n'));
            lines.push(vec![match change.tag() {
                ChangeTag::Equal => Span::plain(format!("  {text}")),
                ChangeTag::Delete => Span::colored(format!("- {text}"), AnsiColor::Red),
                ChangeTag::Insert => Span::colored(format!("+ {text}"), AnsiColor::Green),
            }]);
        }
    }
    lines
}

fn yaml(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for name in crate::diff::ALWAYS_IGNORED {
            metadata.remove(name);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(crate::diff::LAST_APPLIED);
        }
    }
    serde_saphyr::to_string(&object)
        .unwrap_or_else(|error| format!("it cannot be written as YAML: {error}\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diff::{Guessed, compare};

    fn text(lines: Vec<Vec<Span>>) -> Vec<String> {
        lines.into_iter().map(|line| line.into_iter().map(|span| span.text).collect()).collect()
    }

    fn changed(old: &Value, new: &Value) -> Vec<String> {
        text(paths(&compare(old, new, &Guessed, &[]), new))
    }

    #[test]
    fn each_field_has_a_line_with_both_values() {
        let old = json!({"spec": {"url": "https://a.example", "n": 1, "text": "one\ntwo", "t": "true"}});
        let new = json!({"spec": {"url": "https://b.example", "n": 2, "text": "", "t": true, "list": [1]}});
        assert_eq!(
            changed(&old, &new),
            [
                "spec.list: <none> -> [1]",
                "spec.n: 1 -> 2",
                "spec.t: \"true\" -> true",
                "spec.text: one... -> \"\"",
                "spec.url: https://a.example -> https://b.example",
            ]
        );
        assert_eq!(
            changed(&json!({"a": {"b": "x"}}), &json!({"a": {"b": "\u{1b}[2J"}})),
            ["a.b: x -> \\u{1b}[2J"]
        );
    }

    #[test]
    fn a_condition_is_one_line() {
        let with = |condition: Value| json!({"status": {"conditions": [condition]}});
        let ready =
            with(json!({"type": "Ready", "status": "True", "reason": "Up", "lastTransitionTime": "a"}));
        let down = with(
            json!({"type": "Ready", "status": "False", "reason": "Unreachable", "message": "503\nmore", "lastTransitionTime": "b"}),
        );
        assert_eq!(changed(&ready, &down), ["status.conditions[Ready]: True -> False (Unreachable: 503...)"]);
        let other =
            with(json!({"type": "Ready", "status": "True", "reason": "Better", "lastTransitionTime": "a"}));
        assert_eq!(changed(&ready, &other), ["status.conditions[Ready]: True (Better)"]);
        let later =
            with(json!({"type": "Ready", "status": "True", "reason": "Up", "lastTransitionTime": "b"}));
        assert_eq!(changed(&ready, &later), ["status.conditions[Ready].lastTransitionTime: a -> b"]);
        let none = json!({"status": {"conditions": []}});
        assert_eq!(changed(&none, &ready), ["status.conditions[Ready]: <none> -> True (Up)"]);
        assert_eq!(changed(&ready, &none).len(), 1);
    }

    #[test]
    fn a_unified_diff_has_context_and_leaves_out_what_every_write_changes() {
        let old = json!({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"url": "a"}});
        let new = json!({"metadata": {"name": "a", "resourceVersion": "2"}, "spec": {"url": "b"}});
        assert_eq!(
            text(unified(&old, &new)),
            ["  metadata:", "    name: a", "  spec:", "-   url: a", "+   url: b"]
        );
    }
}
