//! The objects of a server, as invariants see them and as final states are compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use http::Request;
use kube::Client;
use kube_informer::ObjectKey;
use serde_json::Value;

use crate::differences::{Difference, differences};

/// The objects of every type that was written during the execution, by whomever; without Leases, Events and definitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    objects: BTreeMap<(String, ObjectKey), Value>,
}

/// The path of a collection: `/apis/apps/v1` and `deployments`.
pub(crate) type Collection = (String, String);

/// Removes from an object what does not count.
pub(crate) type Ignore = Box<dyn Fn(&mut Value)>;

/// What is in the way of comparing: what no controller decides.
const IGNORED: [&str; 5] =
    ["ConfigMap kube-root-ca.crt", "ServiceAccount default", "Lease", "Event", "Namespace"];

impl State {
    /// Reads all objects of some types.
    pub(crate) async fn read(client: &Client, collections: BTreeSet<Collection>) -> Self {
        let mut objects = BTreeMap::new();
        for (prefix, plural) in collections {
            let Ok(request) = Request::get(format!("{prefix}/{plural}")).body(Vec::new()) else { continue };
            // A type that is gone by now has no objects.
            let Ok(list) = client.request::<Value>(request).await else { continue };
            let kind = list["kind"].as_str().unwrap_or_default().trim_end_matches("List").to_owned();
            for item in list["items"].as_array().into_iter().flatten() {
                let mut item = item.clone();
                item["kind"] = kind.clone().into();
                item["apiVersion"] = list["apiVersion"].clone();
                let meta = &item["metadata"];
                let name = meta["name"].as_str().unwrap_or_default();
                let key = ObjectKey::new(meta["namespace"].as_str(), name);
                if !IGNORED.contains(&kind.as_str()) && !IGNORED.contains(&format!("{kind} {name}").as_str())
                {
                    objects.insert((kind.clone(), key), item);
                }
            }
        }
        Self { objects }
    }

    /// Returns an object, by its kind, namespace (`None` for cluster-scoped ones) and name.
    #[must_use]
    pub fn get<'a>(&self, kind: &str, namespace: impl Into<Option<&'a str>>, name: &str) -> Option<&Value> {
        self.objects.get(&(kind.to_owned(), ObjectKey::new(namespace, name)))
    }

    /// Returns all objects of a kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |((of, _), _)| of == kind).map(|(_, object)| object)
    }

    /// Returns all objects.
    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.objects.values()
    }

    /// Returns it without what differs between two executions for no reason: uids, versions, times.
    pub(crate) fn comparable(&self, ignore: &[Ignore]) -> BTreeMap<String, Value> {
        let name = |(kind, key): &(String, ObjectKey)| format!("{kind} {key}");
        let uids: HashMap<&str, String> = self
            .objects
            .iter()
            .filter_map(|(key, object)| Some((object["metadata"]["uid"].as_str()?, name(key))))
            .collect();
        let mut comparable = BTreeMap::new();
        // Generated names are not compared: such objects are numbered in the order of their contents.
        let mut generated: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (key, object) in &self.objects {
            let mut object = object.clone();
            let mut base = None;
            if let Some(prefix) = object["metadata"]["generateName"].as_str().map(str::to_owned) {
                let namespace =
                    key.1.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
                base = Some(format!("{} {namespace}{prefix}", key.0));
                object["metadata"]["name"] = Value::Null;
            }
            if let Some(meta) = object["metadata"].as_object_mut() {
                for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
                    meta.remove(field);
                }
            }
            blur(&mut object, &uids);
            for ignore in ignore {
                ignore(&mut object);
            }
            match base {
                Some(base) => generated.entry(base).or_default().push(object),
                None => _ = comparable.insert(name(key), object),
            }
        }
        for (base, mut objects) in generated {
            objects.sort_by_cached_key(Value::to_string);
            let numbered = objects.into_iter().zip(1..);
            comparable.extend(numbered.map(|(object, number)| (format!("{base}*{number}"), object)));
        }
        comparable
    }
}

/// How two comparable states differ: an object, and how.
pub(crate) fn compare(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for name in names {
        match (expected.get(name), found.get(name)) {
            (Some(_), None) => lines.push(format!("- {name}: missing")),
            (None, Some(_)) => lines.push(format!("+ {name}: there without need")),
            (Some(expected), Some(found)) => {
                let found: Vec<Difference> = differences(expected, found);
                lines.extend(found.into_iter().map(|difference| format!("  {name}: {difference}")));
            }
            (None, None) => {}
        }
    }
    lines
}

/// Replaces uids by what they are of, and times.
fn blur(value: &mut Value, uids: &HashMap<&str, String>) {
    match value {
        Value::Object(map) => {
            // The uid of an owner that is gone is like any other that is gone.
            if map.contains_key("kind")
                && map.contains_key("name")
                && let Some(Value::String(uid)) = map.get_mut("uid")
                && !uids.contains_key(uid.as_str())
            {
                "gone".clone_into(uid);
            }
            map.values_mut().for_each(|value| blur(value, uids));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| blur(value, uids)),
        Value::String(text) => {
            if let Some(name) = uids.get(text.as_str()) {
                text.clone_from(name);
            } else if text.len() >= 20
                && text.as_bytes()[10] == b'T'
                && text.parse::<jiff::Timestamp>().is_ok()
            {
                "(time)".clone_into(text);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(uid: &str, owner: &str, at: &str, text: &str) -> State {
        let map = json!({"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "x", "uid": uid, "resourceVersion": at,
            "ownerReferences": [{"kind": "Page", "name": "p", "uid": owner}]}, "data": {"at": "2026-01-01T00:00:00Z", "text": text}});
        let page = json!({"kind": "Page", "metadata": {"name": "p", "namespace": "x", "uid": "page-".to_owned() + uid}});
        State {
            objects: BTreeMap::from([
                (("ConfigMap".to_owned(), ObjectKey::new("x", "a")), map),
                (("Page".to_owned(), ObjectKey::new("x", "p")), page),
            ]),
        }
    }

    #[test]
    fn uids_versions_and_times_do_not_count_and_everything_else_does() {
        let compare = |a: &State, b: &State| compare(&a.comparable(&[]), &b.comparable(&[]));
        let first = state("1", "page-1", "5", "hello");
        assert_eq!(compare(&first, &state("2", "page-2", "7", "hello")), [""; 0]);
        assert_eq!(compare(&first, &state("2", "page-2", "7", "bye")).len(), 1);
        // Owned by an object that is gone.
        assert_eq!(compare(&first, &state("2", "page-1", "7", "hello")).len(), 1);
        assert_eq!(compare(&first, &State::default()).len(), 2);
    }
}
