//! `metadata.managedFields`: the owners of fields, the times of their writes, and the wire form.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::set::Set;

/// The identity of a manager's entry. An applier has one entry for all versions, an updater one entry per version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Empty for an applier.
    api_version: String,
    pub(super) subresource: String,
}

/// How a manager came to own its fields, in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// The fields that a manager owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owned {
    pub(super) set: Set,
    pub(super) api_version: String,
    /// As in the wire form.
    pub(super) time: Option<String>,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Managed(pub(super) BTreeMap<Manager, Owned>);

/// The maximum number of entries of updates, beyond which the oldest are merged (kube-apiserver's
/// `DefaultMaxUpdateManagers`).
const MAX_UPDATERS: usize = 10;

impl Manager {
    pub(super) fn new(name: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        Self {
            name: name.to_owned(),
            operation,
            api_version: if operation == Operation::Apply { String::new() } else { api_version.to_owned() },
            subresource: subresource.to_owned(),
        }
    }

    /// Formats the manager as conflicts name it: `"kubectl" using v1`.
    pub(super) fn describe(&self) -> String {
        let mut text = Value::from(self.name.as_str()).to_string();
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {}", Value::from(self.subresource.as_str())));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

impl Managed {
    /// Decodes the entries of an object. The error describes what is wrong with them.
    pub(super) fn decode(entries: Option<&Value>) -> Result<Self, String> {
        let mut managed = BTreeMap::new();
        for (index, entry) in entries.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            if text("apiVersion").is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
                other => {
                    let other = Value::from(other);
                    return Err(format!("invalid fieldsType {other} in managed fields entry {index}"));
                }
            }
            let set = match entry.get("fieldsV1") {
                None | Some(Value::Null) => Set::default(),
                Some(fields) => Set::decode(fields).map_err(|error| error.to_string())?,
            };
            let manager = Manager::new(text("manager"), operation, text("apiVersion"), text("subresource"));
            let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
            managed.insert(manager, Owned { set, api_version: text("apiVersion").to_owned(), time });
        }
        Ok(Self(managed))
    }

    /// Encodes the entries: applies first, then by time (in seconds), name, version and subresource. `None` if there are no
    /// entries.
    pub(super) fn encode(&self) -> Option<Value> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by_key(|(manager, owned)| {
            let name = manager.name.as_str();
            (
                manager.operation,
                seconds(owned.time.as_deref()),
                name,
                &owned.api_version,
                &manager.subresource,
            )
        });
        let entries = entries.into_iter().map(|(manager, owned)| {
            let mut entry = Map::new();
            let mut put = |field: &str, text: &str| {
                if !text.is_empty() {
                    entry.insert(field.to_owned(), text.into());
                }
            };
            put("manager", &manager.name);
            put("operation", if manager.operation == Operation::Apply { "Apply" } else { "Update" });
            put("apiVersion", &owned.api_version);
            put("time", owned.time.as_deref().unwrap_or_default());
            put("fieldsType", "FieldsV1");
            put("subresource", &manager.subresource);
            entry.insert("fieldsV1".to_owned(), owned.set.encode());
            Value::Object(entry)
        });
        let entries: Vec<_> = entries.collect();
        (!entries.is_empty()).then_some(Value::Array(entries))
    }

    /// Returns whether the entries are equal except for their times.
    pub(super) fn same_but_times(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|((manager, owned), (other_manager, other))| {
                manager == other_manager && owned.set == other.set && owned.api_version == other.api_version
            })
    }

    /// Merges the oldest entries of updates into one bucket per version, until few enough are left.
    pub(super) fn cap(&mut self) {
        if self.0.len() <= MAX_UPDATERS {
            return;
        }
        let updaters = self.0.iter().filter(|(manager, _)| manager.operation == Operation::Update);
        let mut updaters: Vec<_> =
            updaters.map(|(manager, owned)| (seconds(owned.time.as_deref()), manager.clone())).collect();
        updaters.sort();
        let mut left = updaters.len();
        let mut first_of_version: BTreeMap<String, Manager> = BTreeMap::new();
        for (_, manager) in updaters {
            if left <= MAX_UPDATERS {
                break;
            }
            let Some(owned) = self.0.get(&manager).cloned() else { continue };
            let version = owned.api_version.clone();
            let Some(first) = first_of_version.get(&version) else {
                first_of_version.insert(version, manager);
                continue;
            };
            let bucket = Manager::new("ancient-changes", Operation::Update, &version, "");
            if !self.0.contains_key(&bucket)
                && let Some(first) = self.0.remove(first)
            {
                self.0.insert(bucket.clone(), first);
            }
            if bucket != manager {
                self.0.remove(&manager);
            }
            if let Some(bucket) = self.0.get_mut(&bucket) {
                bucket.set.extend(owned.set);
                bucket.time = owned.time;
            }
            left -= 1;
        }
    }
}

/// Formats a time as apimachinery's `Time`: RFC 3339 in whole seconds.
pub(super) fn format_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time that jiff cannot hold lies after all others.
fn seconds(time: Option<&str>) -> i64 {
    time.map_or(0, |time| time.parse().map_or(i64::MAX, Timestamp::as_second))
}

/// Removes `metadata.managedFields` from an object and returns it.
pub(super) fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

/// Puts the entries into an object.
pub(super) fn put(object: &mut Value, managed: &Managed) {
    let Some(object) = object.as_object_mut() else { return };
    match managed.encode() {
        Some(entries) => {
            if let Some(metadata) = object.entry("metadata").or_insert_with(|| json!({})).as_object_mut() {
                metadata.insert("managedFields".to_owned(), entries);
            }
        }
        None => {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
        }
    }
}

/// Returns whether a request asks to remove all entries: by a list of one empty entry, or by an empty list (which, for custom
/// resources, the decoder has already dropped).
pub(super) fn is_reset(entries: Option<&Value>, custom: bool) -> bool {
    match entries.and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => !custom,
        Some([entry]) => entry.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}
