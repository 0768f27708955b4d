//! `-o json` and `-o yaml`.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::line::{Changes, Event, Line, Object, cached};
use crate::managed_fields::Writer;

/// A line of `-o json`. The fields are in the order in which they are printed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    r#type: &'static str,
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Body<'a> {
    Object {
        object: Box<RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        old: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        changes: Option<Vec<JsonChange<'a>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<JsonWriter<'a>>,
    },
    Synced {
        #[serde(skip_serializing_if = "Option::is_none")]
        resource: Option<&'a str>,
        count: usize,
        resource_version: &'a str,
    },
    Cached {
        count: usize,
        names: &'a [String],
    },
}

#[derive(Serialize)]
struct JsonChange<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<&'a Value>,
}

#[derive(Serialize)]
struct JsonWriter<'a> {
    manager: &'a str,
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subresource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
}

impl<'a> From<&'a Writer> for JsonWriter<'a> {
    fn from(writer: &'a Writer) -> Self {
        Self {
            manager: &writer.manager,
            operation: &writer.operation,
            subresource: writer.subresource.as_deref(),
            time: writer.time,
        }
    }
}

/// Renders an event as a JSON object and a newline. `changes` are those that are asked for.
pub(super) fn json(line: &Line<'_>, changes: &Changes, with_changes: bool) -> String {
    let changed = changes.fields.iter().map(|field| JsonChange {
        path: field.path.to_string(),
        old: field.old.as_ref(),
        new: field.new.as_ref(),
    });
    written(&Json {
        r#type: line.event.name(),
        time: line.time,
        context: line.context,
        body: Body::Object {
            object: raw(line.object),
            old: line.old.map(raw),
            changes: (with_changes && line.event == Event::Modified).then(|| changed.collect()),
            by: changes.writer.as_ref().map(JsonWriter::from),
        },
    })
}

/// Renders the end of a first list.
pub(super) fn json_synced(
    time: Timestamp,
    context: Option<&str>,
    resource: Option<&str>,
    count: usize,
    resource_version: &str,
) -> String {
    written(&Json {
        r#type: "SYNCED",
        time,
        context,
        body: Body::Synced { resource, count, resource_version },
    })
}

/// Renders an Event about an object.
pub(super) fn json_about(time: Timestamp, context: Option<&str>, event: &dyn Object) -> String {
    let body = Body::Object { object: raw(event), old: None, changes: None, by: None };
    written(&Json { r#type: "EVENT", time, context, body })
}

/// Renders the names in the cache.
pub(super) fn json_cached(time: Timestamp, names: &[String]) -> String {
    written(&Json { r#type: "CACHED", time, context: None, body: Body::Cached { count: names.len(), names } })
}

fn written(json: &Json<'_>) -> String {
    match serde_json::to_string(json) {
        Ok(text) => escaped(text) + "\n",
        // It consists of strings, numbers and JSON.
        Err(error) => unreachable!("a line cannot be written as JSON: {error}"),
    }
}

/// Escapes the control characters that JSON may have as they are: those of ISO 6429, which a terminal would obey.
fn escaped(json: String) -> String {
    let is_control = |c: char| matches!(c, '\u{7f}'..='\u{9f}');
    if !json.contains(is_control) {
        return json;
    }
    let escape = |c: char| if is_control(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(escape).collect()
}

/// Returns the JSON of an object as the server sent it, without the managed fields.
fn raw(object: &dyn Object) -> Box<RawValue> {
    let json = String::from_utf8(object.to_json()).unwrap_or_default();
    let json = if json.contains("\"managedFields\"") { without_managed_fields(&json) } else { json };
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn without_managed_fields(json: &str) -> String {
    let mut object: Value = serde_json::from_str(json).unwrap_or_default();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object.to_string()
}

/// Renders a YAML document with the event in a comment.
pub(super) fn yaml(line: &Line<'_>, changes: &Changes) -> String {
    let mut remark = line.event.name().to_owned();
    if let Some(context) = line.context {
        remark += &format!("  context {context}");
    }
    if let Some(writer) = &changes.writer {
        remark += &format!("  by {writer}");
    }
    yaml_document(&remark, line.object)
}

/// Renders a YAML document with a remark in a comment.
pub(super) fn yaml_document(remark: &str, object: &dyn Object) -> String {
    let object: Option<DynamicObject> = serde_json::from_slice(&object.to_json()).ok();
    let written = object.map(|mut object| {
        object.metadata.managed_fields = None;
        serde_saphyr::to_string(&object)
    });
    match written {
        Some(Ok(yaml)) => format!("---\n# {remark}\n{}\n", yaml.trim_end()),
        _ => format!("---\n# {remark}, which cannot be written as YAML\n"),
    }
}

/// Renders the names in the cache as a comment.
pub(super) fn comment(names: &[String]) -> String {
    format!("# {}\n", cached(names))
}
