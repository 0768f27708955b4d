//! One of the two servers: what it answers, without what may differ.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use e2e::{
    Cluster,
    http::{Http, Watch},
};
use serde_json::{Map, Value, json};

use super::requests::{KINDS, LAST, Request};
use crate::widgets::widgets;

/// A server, with the names that it has given.
pub(super) struct Side {
    http: Http,
    namespace: String,
    names: Names,
    /// The last known state of each object, by `KIND/NAME`.
    objects: BTreeMap<String, Value>,
    watches: Vec<(String, Watch)>,
}

/// UIDs and resourceVersions, numbered as they appear.
#[derive(Default)]
struct Names {
    uids: Vec<String>,
    versions: Vec<String>,
}

impl Side {
    /// Creates the namespace, and watches its objects.
    pub(super) async fn new(cluster: &Cluster, namespace: &str) -> Result<Side> {
        let http = cluster.admin();
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        http.post("/api/v1/namespaces", &body).await?.code(201)?;
        widgets(cluster).await?;
        let mut watches = Vec::new();
        for kind in KINDS {
            for selector in ["", "&labelSelector=app%3Da"] {
                let collection = kind.collection(namespace);
                let list = http.get(&format!("{collection}?limit=1")).await?.code(200)?;
                let version = list["metadata"]["resourceVersion"].as_str().context("a version")?;
                let path = format!("{collection}?watch=true&resourceVersion={version}{selector}");
                watches.push((format!("{kind:?}{selector}"), http.watch(&path).await?));
            }
        }
        let names = Names::default();
        Ok(Side { http, namespace: namespace.to_owned(), names, objects: BTreeMap::new(), watches })
    }

    /// Deletes the namespace.
    pub(super) async fn end(&self) -> Result<()> {
        for kind in KINDS {
            let path = kind.collection(&self.namespace);
            let list = self.http.get(&path).await?.ok()?;
            for item in list["items"].as_array().into_iter().flatten() {
                let name = item["metadata"]["name"].as_str().unwrap_or_default();
                let patch = json!({"metadata": {"finalizers": null}});
                self.http.patch(&format!("{path}/{name}"), e2e::http::MERGE_PATCH, &patch).await?;
            }
        }
        self.http.delete(&format!("/api/v1/namespaces/{}", self.namespace)).await?.ok().map(drop)
    }

    /// What the server answers.
    pub(super) async fn answer(&mut self, request: &Request) -> Result<Value> {
        let path = format!("{}{}", request.kind.collection(&self.namespace), self.filled(&request.path));
        let body = request.body.as_ref().map(|body| self.filled_in(body).to_string());
        let headers: Vec<(&str, &str)> =
            request.content_type.iter().map(|&content_type| ("content-type", content_type)).collect();
        let reply = self
            .http
            .send(request.method.clone(), &path, &headers, body.unwrap_or_default().into_bytes())
            .await?;
        self.remember(request, reply.code, &reply.body);
        let mut warnings = reply.warnings();
        warnings.sort();
        Ok(json!({"code": reply.code, "body": self.names.normal(reply.body), "warnings": warnings}))
    }

    /// Keeps the state of an object that a request for it returned.
    fn remember(&mut self, request: &Request, code: u16, body: &Value) {
        let Some(name) = request.plain_name() else { return };
        let key = format!("{:?}/{name}", request.kind);
        match code {
            200 if body["kind"] == request.kind.name() => drop(self.objects.insert(key, body.clone())),
            404 => drop(self.objects.remove(&key)),
            _ => {}
        }
    }

    /// The names, finalizers and owners of the objects that are there.
    pub(super) async fn remaining(&self) -> Result<Value> {
        let mut remaining = Map::new();
        for kind in KINDS {
            let list = self.http.get(&kind.collection(&self.namespace)).await?.code(200)?;
            for item in list["items"].as_array().into_iter().flatten() {
                let metadata = &item["metadata"];
                let name = metadata["name"].as_str().unwrap_or_default();
                let owners = metadata["ownerReferences"].as_array().map_or(0, Vec::len);
                let deleted = metadata["deletionTimestamp"].is_string();
                remaining
                    .insert(format!("{kind:?}/{name}"), json!([metadata["finalizers"], owners, deleted]));
            }
        }
        Ok(Value::Object(remaining))
    }

    /// What each watch has seen, up to the last object.
    pub(super) async fn events(&mut self) -> Result<Vec<(String, Vec<Value>)>> {
        let mut all = Vec::new();
        for (what, watch) in &mut self.watches {
            let mut events = Vec::new();
            loop {
                let event = watch.next().await.with_context(|| what.clone())?;
                let last = event.object["metadata"]["name"] == LAST;
                events.push(json!({"type": event.kind, "object": self.names.normal(event.object)}));
                if last {
                    break;
                }
            }
            all.push((what.clone(), events));
        }
        Ok(all)
    }

    fn filled_in(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.filled(text)),
            Value::Array(items) => items.iter().map(|item| self.filled_in(item)).collect(),
            Value::Object(members) => {
                let filled = members.iter().map(|(name, value)| (name.clone(), self.filled_in(value)));
                Value::Object(filled.collect())
            }
            other => other.clone(),
        }
    }

    /// Puts the server's own values in the place of `$uid:KIND/NAME` and `$version:KIND/NAME`.
    fn filled(&self, text: &str) -> String {
        let of = |key: &str, field: &str, unknown: &str| {
            let known = self.objects.get(key).and_then(|object| object["metadata"][field].as_str());
            known.unwrap_or(unknown).to_owned()
        };
        if let Some(key) = text.strip_prefix("$uid:") {
            return of(key, "uid", "00000000-0000-4000-8000-000000000000");
        }
        if let Some(key) = text.strip_prefix("$version:") {
            return of(key, "resourceVersion", "1");
        }
        text.replace("$namespace", &self.namespace)
    }
}

impl Names {
    /// A value without what differs: times, UIDs and versions by their numbers, managers and causes in order.
    fn normal(&mut self, value: Value) -> Value {
        match value {
            Value::Object(members) => self.normal_object(members),
            Value::Array(items) => items.into_iter().map(|item| self.normal(item)).collect(),
            Value::String(text) => Value::String(self.normal_text(text)),
            other => other,
        }
    }

    fn normal_object(&mut self, members: Map<String, Value>) -> Value {
        // The version of a list is that of everything in the server.
        let is_list = members.contains_key("items");
        let mut normal = Map::new();
        for (name, value) in members {
            let value = match (name.as_str(), value) {
                ("uid", Value::String(uid)) => json!(format!("uid {}", number(&mut self.uids, uid))),
                ("resourceVersion", Value::String(version)) => {
                    json!(format!("version {}", number(&mut self.versions, version)))
                }
                ("metadata", Value::Object(mut metadata)) if is_list => {
                    metadata.remove("resourceVersion");
                    metadata.entry("continue").and_modify(|token| *token = "token".into());
                    self.normal_object(metadata)
                }
                ("managedFields" | "causes", value) => {
                    let mut value = self.normal(value);
                    if let Some(entries) = value.as_array_mut() {
                        entries.sort_by_key(Value::to_string);
                    }
                    value
                }
                (_, value) => self.normal(value),
            };
            normal.insert(self.normal_name(name), value);
        }
        // The order of several errors may differ.
        if normal
            .get("details")
            .and_then(|details| details["causes"].as_array())
            .is_some_and(|it| it.len() > 1)
        {
            normal.remove("message");
        }
        Value::Object(normal)
    }

    /// The name of a member. Managed fields have UIDs in theirs.
    fn normal_name(&mut self, name: String) -> String {
        let uid = name.strip_prefix("k:{\"uid\":\"").and_then(|rest| rest.strip_suffix("\"}"));
        match uid {
            Some(uid) => format!("k:uid {}", number(&mut self.uids, uid.to_owned())),
            None => name,
        }
    }

    fn normal_text(&self, mut text: String) -> String {
        let digits = |range: std::ops::Range<usize>| {
            text.get(range).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        if digits(0..4) && digits(5..7) && digits(8..10) && text.as_bytes().get(10) == Some(&b'T') {
            return "time".to_owned();
        }
        // A whole object in a message has times and versions.
        for (begin, end) in [("Invalid value: \"{", "}\": "), ("Invalid value: \"map[", "]\": ")] {
            if let Some((before, rest)) = text.split_once(begin)
                && let Some((_, after)) = rest.rsplit_once(end)
            {
                text = format!("{before}Invalid value: an object: {after}");
            }
        }
        for (number, uid) in self.uids.iter().enumerate() {
            text = text.replace(uid.as_str(), &format!("uid {number}"));
        }
        let markers =
            ["in object meta: ", "ResourceVersion in the precondition (", "ResourceVersion in record ("];
        for marker in markers {
            if let Some((before, after)) = text.split_once(marker) {
                let version: String = after.chars().take_while(char::is_ascii_digit).collect();
                if !version.is_empty() {
                    let number = self.versions.iter().position(|known| *known == version);
                    let rest = &after[version.len()..];
                    text = format!("{before}{marker}version {number:?}{rest}");
                }
            }
        }
        text
    }
}

fn number(known: &mut Vec<String>, name: String) -> usize {
    known.iter().position(|it| *it == name).unwrap_or_else(|| {
        known.push(name);
        known.len() - 1
    })
}
