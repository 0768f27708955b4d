//! The objects of a server, as invariants see them and as final states are compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use http::Request;
use kube::Client;
use kube_informer::ObjectKey;
use serde_json::Value;

use crate::differences::{Difference, differences};

/// The Namespaces, and the objects of every other type that was written during the execution, by whomever; without Leases,
/// Events and definitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    objects: BTreeMap<Name, Value>,
}

/// What tells an object from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: String,
    /// Empty: that of Kubernetes itself.
    group: String,
    key: ObjectKey,
}

/// The path of a collection: `/apis/apps/v1` and `deployments`.
pub(crate) type Collection = (String, String);

/// Removes from an object what does not count.
pub(crate) type Ignore = Box<dyn Fn(&mut Value)>;

/// What is in the way of comparing: what no controller decides.
const IGNORED: [(&str, &str); 2] = [("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")];

impl State {
    /// Reads all objects of some types.
    pub(crate) async fn read(client: &Client, collections: BTreeSet<Collection>) -> Self {
        let mut objects = BTreeMap::new();
        for (prefix, plural) in collections {
            let Ok(request) = Request::get(format!("{prefix}/{plural}")).body(Vec::new()) else { continue };
            // A type that is gone by now has no objects.
            let Ok(list) = client.request::<Value>(request).await else { continue };
            let text = |field: &str| list[field].as_str().unwrap_or_default();
            let (kind, version) = (text("kind"), text("apiVersion"));
            let kind = kind.strip_suffix("List").unwrap_or(kind);
            let group = version.rsplit_once('/').map_or("", |(group, _)| group);
            for item in list["items"].as_array().into_iter().flatten() {
                let meta = &item["metadata"];
                let name = meta["name"].as_str().unwrap_or_default();
                if group.is_empty() && IGNORED.contains(&(kind, name)) {
                    continue;
                }
                let key = ObjectKey::new(meta["namespace"].as_str(), name);
                let mut item = item.clone();
                item["kind"] = kind.into();
                item["apiVersion"] = version.into();
                objects.insert(Name { kind: kind.to_owned(), group: group.to_owned(), key }, item);
            }
        }
        Self { objects }
    }

    /// Returns an object, by its kind, namespace (`None` for cluster-scoped ones) and name. If several groups have the kind, say
    /// which: `Certificate.example.com`.
    #[must_use]
    pub fn get<'a>(&self, kind: &str, namespace: impl Into<Option<&'a str>>, name: &str) -> Option<&Value> {
        let key = ObjectKey::new(namespace, name);
        self.objects.iter().find(|(of, _)| of.key == key && of.is(kind)).map(|(_, object)| object)
    }

    /// Returns all objects of a kind, which can be followed by a group: `Certificate.example.com`.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |(of, _)| of.is(kind)).map(|(_, object)| object)
    }

    /// Returns all objects.
    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.objects.values()
    }

    /// Returns all objects with their names, for people.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, &Value)> {
        self.objects.iter().map(|(name, object)| (name.to_string(), object))
    }

    /// Returns it without what differs between two executions for no reason: uids, versions, times.
    pub(crate) fn comparable(&self, ignore: &[Ignore]) -> BTreeMap<String, Value> {
        // Generated names are not compared, wherever they stand: such objects, and those in such namespaces, are numbered in the
        // order of their contents.
        let generated: HashMap<&str, String> = self
            .objects
            .iter()
            .filter_map(|(name, object)| {
                let prefix = object["metadata"]["generateName"].as_str()?;
                Some((name.key.name(), format!("{prefix}*")))
            })
            .collect();
        let stable = |name: &Name| {
            let of = |text| generated.get(text).map_or(text, String::as_str);
            let key = ObjectKey::new(name.key.namespace().map(of), of(name.key.name()));
            Name { key, ..name.clone() }
        };
        let uids = self.objects.iter().filter_map(|(name, object)| {
            Some((object["metadata"]["uid"].as_str()?, stable(name).to_string()))
        });
        let names: HashMap<&str, String> =
            uids.chain(generated.iter().map(|(name, stable)| (*name, stable.clone()))).collect();
        let mut comparable = BTreeMap::new();
        let mut numbered: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (name, object) in &self.objects {
            let mut object = object.clone();
            if let Some(meta) = object["metadata"].as_object_mut() {
                for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
                    meta.remove(field);
                }
            }
            blur(&mut object, &names);
            for ignore in ignore {
                ignore(&mut object);
            }
            let stable = stable(name);
            if stable == *name {
                comparable.insert(name.to_string(), object);
            } else {
                numbered.entry(stable.to_string()).or_default().push(object);
            }
        }
        for (name, mut objects) in numbered {
            objects.sort_by_cached_key(Value::to_string);
            let objects = objects.into_iter().zip(1..);
            comparable.extend(objects.map(|(object, number)| (format!("{name} ({number})"), object)));
        }
        comparable
    }
}

impl Name {
    /// Whether it is of a kind, which may be followed by its group.
    fn is(&self, kind: &str) -> bool {
        let rest = kind.strip_prefix(self.kind.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('.') == Some(&self.group))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, group, key } = self;
        let dot = if group.is_empty() { "" } else { "." };
        write!(f, "{kind}{dot}{group} {key}")
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

/// Replaces uids and generated names by what they are of, and times.
fn blur(value: &mut Value, names: &HashMap<&str, String>) {
    match value {
        Value::Object(map) => {
            // The uid of an owner that is gone is like any other that is gone.
            if map.contains_key("kind")
                && map.contains_key("name")
                && let Some(Value::String(uid)) = map.get_mut("uid")
                && !names.contains_key(uid.as_str())
            {
                "gone".clone_into(uid);
            }
            map.values_mut().for_each(|value| blur(value, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| blur(value, names)),
        Value::String(text) => {
            if let Some(name) = names.get(text.as_str()) {
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
                (name("ConfigMap", "", "a"), map),
                (name("Page", "example.com", "p"), page),
            ]),
        }
    }

    fn name(kind: &str, group: &str, name: &str) -> Name {
        Name { kind: kind.to_owned(), group: group.to_owned(), key: ObjectKey::new("x", name) }
    }

    #[test]
    fn generated_names_do_not_count_wherever_they_stand() {
        let state = |suffix: &str, text: &str| {
            let space = format!("space-{suffix}");
            let namespace =
                json!({"metadata": {"name": space, "generateName": "space-", "labels": {"name": space}}});
            let map = json!({"metadata": {"name": "a", "namespace": space}, "data": {"text": text}});
            let of = |kind: &str, key| Name { kind: kind.to_owned(), group: String::new(), key };
            let objects = [
                (of("Namespace", ObjectKey::new(None, &space)), namespace),
                (of("ConfigMap", ObjectKey::new(space.as_str(), "a")), map),
            ];
            State { objects: BTreeMap::from(objects) }.comparable(&[])
        };
        assert_eq!(compare(&state("x1", "hello"), &state("y2", "hello")), [""; 0]);
        assert_eq!(
            compare(&state("x1", "hello"), &state("y2", "bye")),
            [r#"  ConfigMap space-*/a (1): .data.text: "hello" -> "bye""#]
        );
    }

    #[test]
    fn objects_of_one_kind_and_name_in_two_groups_are_two() {
        let of = |group: &str| (name("Page", group, "p"), json!({"group": group}));
        let state = State { objects: BTreeMap::from([of("a.example"), of("b.example")]) };
        assert_eq!(state.of_kind("Page").count(), 2);
        assert_eq!(state.of_kind("Pag").count(), 0);
        assert_eq!(state.get("Page.b.example", "x", "p").unwrap()["group"], "b.example");
        assert_eq!(state.get("Page.c.example", "x", "p"), None);
        let names: Vec<_> = state.comparable(&[]).into_keys().collect();
        assert_eq!(names, ["Page.a.example x/p", "Page.b.example x/p"]);
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
