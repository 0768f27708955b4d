//! `crdctl blame`: an object as YAML, with the owners of each field and the age of their last change beside it.

use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::Timestamp;
use kube::{
    Resource as _,
    api::GetParams,
    core::{DynamicObject, Request as ApiRequest},
};
use kube_tables::human_duration;
use serde::Serialize;
use serde_json::Value;

use crate::{
    cli::{BlameArgs, BlameFormat, Cluster, wrong_usage},
    connection::Connection,
    discovery,
    field_path::{FieldPath, Step},
    managed_fields::{self, Entry, Writer},
    resource::Request,
    stdio,
};

/// Runs `crdctl blame`.
pub(crate) async fn run(cluster: &Cluster, args: BlameArgs) -> Result<ExitCode> {
    let asked = match Request::parse(&args.object).as_deref() {
        Ok([Request { resource, name: Some(name) }]) => (resource.clone(), name.clone()),
        Ok(_) => return Ok(wrong_usage("blame takes one object, TYPE/NAME")),
        Err(problem) => return Ok(wrong_usage(problem)),
    };
    let connection = Connection::new(cluster)?;
    let object = get(&connection, asked).await?;
    let entries = managed_fields::entries(&object["metadata"]["managedFields"]);
    let lines = Lines::of(object, &entries);
    stdio::print(&match args.format {
        BlameFormat::Yaml => lines.annotated(Timestamp::now()),
        BlameFormat::Json => lines.json()?,
    })
}

/// Reads the object as it is: kube's types fail on times that they cannot represent.
async fn get(connection: &Connection, (resource, name): (String, String)) -> Result<Value> {
    let discovered = discovery::discover(connection).await?;
    let resource = discovered.get(&resource)?;
    let namespace = resource.namespaced.then_some(connection.namespace.as_str());
    let path = DynamicObject::url_path(&resource.api, namespace);
    let request = ApiRequest::new(path).get(&name, &GetParams::default()).context("building a request")?;
    let action = format!("read {}/{name}", resource.qualified_singular());
    connection.ask(&action, connection.client.request(request)).await
}

/// An object's lines of YAML.
struct Lines<'a>(Vec<Line<'a>>);

struct Line<'a> {
    yaml: String,
    /// `None`: the line is only the name of a map or list.
    leaf: Option<Leaf<'a>>,
}

/// A field without fields below it.
struct Leaf<'a> {
    path: FieldPath,
    value: Value,
    /// Empty if the server set the field, as it does with `metadata.uid`.
    owners: Vec<&'a Writer>,
}

impl<'a> Lines<'a> {
    /// Lists the fields of an object, without its managed fields.
    fn of(mut object: Value, entries: &'a [Entry]) -> Self {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        Self(lines(entries, &FieldPath::default(), object))
    }

    /// Renders the owners, their ages and the YAML in three columns.
    fn annotated(&self, now: Timestamp) -> String {
        let age = |writer: &&Writer| {
            let seconds = |time: Timestamp| human_duration(now.as_second() - time.as_second());
            writer.time.map_or_else(|| "?".to_owned(), seconds)
        };
        let columns = |leaf: &Leaf<'_>| match &leaf.owners[..] {
            [] => ("-".to_owned(), String::new()),
            owners => (join(owners, ToString::to_string), join(owners, age)),
        };
        let margins: Vec<(String, String)> = (self.0.iter())
            .map(|line| line.leaf.as_ref().map(columns).unwrap_or_default())
            .map(|(owners, ages)| (stdio::printable(&owners), ages))
            .collect();
        let width = |text: fn(&(String, String)) -> &String| {
            margins.iter().map(|margin| text(margin).chars().count()).max().unwrap_or_default()
        };
        let (owners_width, ages_width) = (width(|(owners, _)| owners), width(|(_, ages)| ages));
        let mut text = String::new();
        for (line, (owners, ages)) in self.0.iter().zip(&margins) {
            let yaml = stdio::printable(&line.yaml);
            text += &format!("{owners:owners_width$}  {ages:ages_width$}  {yaml}\n");
        }
        text
    }

    /// Renders one JSON object per field.
    fn json(&self) -> Result<String> {
        let leaves = self.0.iter().filter_map(|line| line.leaf.as_ref());
        let line = |leaf: &Leaf<'_>| {
            let managers = leaf.owners.iter().map(|writer| JsonManager::new(writer)).collect();
            let json = Json { path: leaf.path.to_string(), value: &leaf.value, managers };
            Ok(serde_json::to_string(&json).context("writing a field as JSON")? + "\n")
        };
        leaves.map(line).collect()
    }
}

/// A line of `-o json`. The fields are in the order in which they are printed.
#[derive(Serialize)]
struct Json<'a> {
    path: String,
    value: &'a Value,
    managers: Vec<JsonManager<'a>>,
}

#[derive(Serialize)]
struct JsonManager<'a> {
    manager: &'a str,
    subresource: Option<&'a str>,
    operation: &'a str,
    time: Option<Timestamp>,
}

impl<'a> JsonManager<'a> {
    fn new(writer: &'a Writer) -> Self {
        Self {
            manager: &writer.manager,
            subresource: writer.subresource.as_deref(),
            operation: &writer.operation,
            time: writer.time,
        }
    }
}

fn join<T>(items: &[T], text: impl FnMut(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Returns the lines of a value, without the name of its field.
fn lines<'a>(entries: &'a [Entry], path: &FieldPath, value: Value) -> Vec<Line<'a>> {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.into_iter().flat_map(|(name, value)| field(entries, path, name, value)).collect()
        }
        Value::Array(items) if !items.is_empty() => {
            let each = items.into_iter().enumerate();
            each.flat_map(|(index, value)| item(entries, path, index, value)).collect()
        }
        value => {
            let owners = managed_fields::owners(entries, path);
            vec![Line { yaml: scalar(&value), leaf: Some(Leaf { path: path.clone(), value, owners }) }]
        }
    }
}

/// `name: value`, or the name and, below it, the lines of the value.
fn field<'a>(entries: &'a [Entry], path: &FieldPath, name: String, value: Value) -> Vec<Line<'a>> {
    let key = scalar(&Value::String(name.clone()));
    // As kubectl and go-yaml do, the items of a list are not indented.
    let (nested, indent) = match &value {
        Value::Object(fields) => (!fields.is_empty(), "  "),
        Value::Array(items) => (!items.is_empty(), ""),
        _ => (false, ""),
    };
    let mut below = lines(entries, &path.join(Step::Field(name)), value);
    if nested {
        below.iter_mut().for_each(|line| line.yaml.insert_str(0, indent));
        below.insert(0, Line { yaml: format!("{key}:"), leaf: None });
    } else if let Some(line) = below.first_mut() {
        line.yaml = format!("{key}: {}", line.yaml);
    }
    below
}

/// The lines of a list's item, the first of them with a dash.
fn item<'a>(entries: &'a [Entry], path: &FieldPath, index: usize, value: Value) -> Vec<Line<'a>> {
    let step = managed_fields::step_to_item(entries, path, index, &value);
    let mut lines = lines(entries, &path.join(step), value);
    for (place, line) in lines.iter_mut().enumerate() {
        line.yaml.insert_str(0, if place == 0 { "- " } else { "  " });
    }
    lines
}

/// Writes a scalar, an empty map or an empty list as YAML in one line.
fn scalar(value: &Value) -> String {
    match serde_saphyr::to_string(value) {
        Ok(yaml) if !yaml.trim_end().contains('\n') => yaml.trim_end().to_owned(),
        // JSON is YAML, and never has more than one line.
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn blog() -> Value {
        json!({
            "apiVersion": "web.helloworld/v1",
            "kind": "Blog",
            "metadata": {"name": "a", "labels": {"app": "x"}, "uid": "1234", "managedFields": [
                {"manager": "kubectl", "operation": "Apply", "time": "2026-11-26T00:00:00Z", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:tags": {}, "f:url": {}}}},
                {"manager": "argo", "operation": "Apply", "time": "2026-11-28T00:00:00Z", "fieldsV1": {
                    "f:spec": {"f:url": {}}}},
                {"manager": "ctl", "operation": "Update", "subresource": "status", "time": "never", "fieldsV1": {
                    "f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}, "f:type": {}}}}}},
            ]},
            "spec": {"tags": ["a", ["b"]], "text": "one\ntwo", "url": "true", "none": {}},
            "status": {"conditions": [{"type": "Ready", "status": "False"}]},
        })
    }

    #[test]
    fn each_field_has_its_owners_and_their_ages_beside_it() {
        let blog = blog();
        let entries = managed_fields::entries(&blog["metadata"]["managedFields"]);
        let now = "2026-11-28T00:00:05Z".parse().unwrap();
        let text = Lines::of(blog, &entries).annotated(now);
        let expected = r#"
-                      apiVersion: web.helloworld/v1
-                      kind: Blog
                       metadata:
                         labels:
kubectl        2d          app: x
-                        name: a
-                        uid: "1234"
                       spec:
-                        none: {}
                         tags:
kubectl        2d        - a
kubectl        2d        - - b
-                        text: "one\ntwo"
kubectl, argo  2d, 5s    url: "true"
                       status:
                         conditions:
ctl (status)   ?         - status: "False"
ctl (status)   ?           type: Ready
"#;
        assert_eq!(text, expected.trim_start_matches('\n'));
    }

    #[test]
    fn json_has_the_path_the_value_and_the_managers() {
        let blog = blog();
        let entries = managed_fields::entries(&blog["metadata"]["managedFields"]);
        let text = Lines::of(blog, &entries).json().unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let find = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap();
        assert_eq!(
            *find("status.conditions[Ready].status"),
            json!({"path": "status.conditions[Ready].status", "value": "False", "managers": [
                {"manager": "ctl", "subresource": "status", "operation": "Update", "time": null}]})
        );
        assert_eq!(find("metadata.uid")["managers"], json!([]));
        assert_eq!(find("spec.tags[1][0]")["value"], "b");
        assert_eq!(find("spec.url")["managers"][1]["time"], "2026-11-28T00:00:00Z");
        assert!(!text.contains("managedFields"));
    }

    #[test]
    fn a_value_cannot_control_the_terminal() {
        let object = json!({"metadata": {"name": "\u{1b}[2J\u{9b}"}});
        assert!(!Lines::of(object, &[]).annotated(Timestamp::UNIX_EPOCH).contains(['\u{1b}', '\u{9b}']));
    }
}
