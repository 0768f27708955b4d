//! `tests/recorded.json` holds sequences of writes and what a kube-apiserver 1.37.2 answered to each: the type is that of
//! `tests/schema.json`, with a status subresource. Here the same writes are made, and must leave the same.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("tests/schema.json")).unwrap();
    Schema::parse(&schema, "").unwrap()
});

/// What a server does around an apply or another write of one object.
#[derive(Default)]
struct Server {
    live: Option<Value>,
}

impl Server {
    fn write(&mut self, step: &Value) -> Result<bool, Error> {
        let text = |field: &str| step.get(field).and_then(Value::as_str).unwrap_or_default();
        let body = &step["body"];
        let kind = self.live.as_ref().unwrap_or(body)["kind"].as_str().unwrap_or_default().to_owned();
        let api_version = match kind.as_str() {
            "ConfigMap" => "v1",
            "Deployment" => "apps/v1",
            _ => "web.helloworld/v1",
        };
        let custom = api_version == "web.helloworld/v1";
        let types = if custom { Types::Schema(&SCHEMA) } else { Types::builtin(api_version, &kind) };
        let reset: &[&[&str]] = match text("subresource") {
            "status" => &[&["metadata"], &["spec"]],
            _ => &[&["status"]],
        };
        let writer = Writer {
            manager: text("manager"),
            subresource: text("subresource"),
            api_version,
            time: "2026-11-22T19:00:00Z".parse().unwrap(),
            reset,
        };
        let finish = |object: &mut Value| {
            if custom {
                SCHEMA.default(object);
            }
        };
        let live = self.live.as_ref();
        let mut new = if text("verb") == "apply" {
            if body["kind"] == "Other" {
                return Err(Error::Invalid(wrong_type(body)));
            }
            let mut new = apply(types, live, body, &writer, step["force"] == true)?;
            finish(&mut new);
            new
        } else {
            let mut new = match live {
                Some(live) => crate::patch::merge_patch(live, body).unwrap(),
                None => body.clone(),
            };
            finish(&mut new);
            track(types, live, &mut new, &writer);
            new
        };
        // Each endpoint takes its part of the object.
        let status = if text("subresource") == "status" {
            let status = new["status"].clone();
            let entries = new["metadata"].get("managedFields").cloned();
            new = live.cloned().unwrap_or_default();
            new["metadata"]["managedFields"] = entries.unwrap_or_default();
            Some(status)
        } else {
            live.and_then(|live| live.get("status").cloned())
        };
        match status.filter(|status| !status.is_null()) {
            Some(status) => new["status"] = status,
            None => {
                new.as_object_mut().unwrap().remove("status");
            }
        }
        let changed = self.live.as_ref() != Some(&new);
        self.live = Some(new);
        Ok(changed)
    }
}

/// Entries without their times, in an order that does not depend on them.
fn entries(entries: &Value) -> Vec<Value> {
    let mut entries = entries.as_array().cloned().unwrap_or_default();
    for entry in &mut entries {
        if let Some(entry) = entry.as_object_mut() {
            let timed = entry.remove("time").is_some();
            entry.entry("timed").or_insert(timed.into());
        }
    }
    entries.sort_by_key(ToString::to_string);
    entries
}

/// The parts that the recording keeps.
fn object(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| {
        matches!(field.as_str(), "labels" | "annotations" | "finalizers" | "ownerReferences" | "generateName")
    });
    object
}

#[test]
fn writes_leave_what_kube_apiserver_leaves() {
    let sequences: Vec<Value> = serde_json::from_str(include_str!("tests/recorded.json")).unwrap();
    let mut wrong = Vec::new();
    for sequence in &sequences {
        let name = sequence["name"].as_str().unwrap();
        let mut server = Server::default();
        for (index, step) in sequence["steps"].as_array().unwrap().iter().enumerate() {
            let already_exists = step["verb"] == "create" && server.live.is_some();
            if already_exists {
                continue;
            }
            let result = server.write(step);
            let mut differ = |what: &str, real: String, ours: String| {
                if real != ours {
                    wrong.push(format!("{name}, step {index}: {what}\n real {real}\n ours {ours}"));
                }
            };
            match (step.get("error"), result) {
                (None, Ok(changed)) => {
                    let live = server.live.as_ref().unwrap();
                    // A real server's defaults of built-in kinds are not ours here.
                    if step["body"]["kind"] != "Deployment" {
                        differ("object", step["object"].to_string(), object(live).to_string());
                    }
                    let real = Value::from(entries(&step["managedFields"])).to_string();
                    differ(
                        "entries",
                        real,
                        Value::from(entries(&live["metadata"]["managedFields"])).to_string(),
                    );
                    differ("changed", step["changed"].to_string(), changed.to_string());
                }
                (Some(error), Err(ours)) => {
                    let (code, message) = match &ours {
                        Error::Conflict(conflicts) => {
                            let causes = conflicts
                                .iter()
                                .map(|c| json!([format!("conflict with {}", c.manager), c.field]));
                            differ(
                                "causes",
                                error["causes"].to_string(),
                                Value::from(causes.collect::<Vec<_>>()).to_string(),
                            );
                            (409, conflict_message(conflicts))
                        }
                        Error::Invalid(message) => (400, message.clone()),
                        Error::Internal(message) => (500, message.clone()),
                    };
                    differ(
                        "error",
                        format!("{} {}", error["code"], error["message"]),
                        format!("{code} {}", Value::from(message)),
                    );
                }
                (error, result) => differ("outcome", format!("{error:?}"), format!("{result:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
