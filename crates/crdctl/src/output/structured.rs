//! `-o json` and `-o yaml`.

use kube::core::DynamicObject;
use serde::Serialize;

use super::line::{Line, cached};

/// A line of `-o json`. The fields are in the order in which they are printed.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "UPPERCASE", rename_all_fields = "camelCase")]
enum Json<'a> {
    Added { object: &'a DynamicObject },
    Modified { object: &'a DynamicObject, old: &'a DynamicObject },
    Deleted { object: &'a DynamicObject },
    Synced { count: usize, resource_version: &'a str },
    Cached { count: usize, names: &'a [String] },
}

/// Renders a JSON object and a newline.
pub(super) fn json(line: &Line<'_>) -> String {
    let json = match *line {
        Line::Added(object) => Json::Added { object },
        Line::Modified { old, new } => Json::Modified { object: new, old },
        Line::Deleted(object) => Json::Deleted { object },
        Line::Synced { count, resource_version } => Json::Synced { count, resource_version },
        Line::Cached(names) => Json::Cached { count: names.len(), names },
    };
    match serde_json::to_string(&json) {
        Ok(text) => text + "\n",
        // A DynamicObject was decoded from JSON and its keys are strings, so it can be encoded again.
        Err(error) => unreachable!("a line cannot be written as JSON: {error}"),
    }
}

/// Renders a YAML document with the type of the event in a comment. An event without an object is only a comment.
pub(super) fn yaml(line: &Line<'_>) -> String {
    match line {
        Line::Added(object) => document("ADDED", object),
        Line::Modified { new, .. } => document("MODIFIED", new),
        Line::Deleted(object) => document("DELETED", object),
        Line::Synced { count, resource_version } => {
            format!("# SYNCED  {count}  resourceVersion {resource_version}\n")
        }
        Line::Cached(names) => format!("# {}\n", cached(names)),
    }
}

fn document(kind: &str, object: &DynamicObject) -> String {
    match serde_saphyr::to_string(object) {
        Ok(yaml) => format!("---\n# {kind}\n{}\n", yaml.trim_end()),
        Err(error) => format!("---\n# {kind}, which cannot be written as YAML: {error}\n"),
    }
}
