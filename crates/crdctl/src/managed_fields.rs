//! Reads `metadata.managedFields`: who owns which field of an object, and since when.
//!
//! The format of `fieldsV1` is structured-merge-diff's (`fieldpath/serialize.go`): an object whose keys are steps of paths.
//! A step without steps below it is an owned field; `.` marks a field that is owned besides the fields below it.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::field_path::{FieldPath, Step};

/// An entry of the managed fields, without its fields.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Writer {
    pub(crate) manager: String,
    /// The subresource that was written, such as `status`. `None`: the object itself.
    pub(crate) subresource: Option<String>,
    /// `Apply` or `Update`.
    pub(crate) operation: String,
    /// When the manager last changed a field. `None` if the entry has no time, or one that cannot be represented.
    pub(crate) time: Option<Timestamp>,
}

/// A manager and the fields that it owns.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) writer: Writer,
    fields: Map<String, Value>,
}

/// How well an entry's fields match a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owned {
    /// The entry owns a field around the path, such as an atomic list whose item changed.
    Around,
    /// The entry owns the path or fields below it.
    Exactly,
}

/// Reads the entries, in the server's order. Skips entries without a manager and fields that are not understood.
pub(crate) fn entries(managed_fields: &Value) -> Vec<Entry> {
    let text =
        |entry: &Value, key: &str| entry[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let read = |entry: &Value| {
        Some(Entry {
            writer: Writer {
                manager: text(entry, "manager")?,
                subresource: text(entry, "subresource"),
                operation: text(entry, "operation").unwrap_or_default(),
                time: entry["time"].as_str().and_then(|time| time.parse().ok()),
            },
            fields: entry["fieldsV1"].as_object().cloned().unwrap_or_default(),
        })
    };
    managed_fields.as_array().into_iter().flatten().filter_map(read).collect()
}

/// Returns the writer of a change from the managed fields before and after it (`Null` if there were none): that of the newest
/// entry that owns one of the changed paths, or else the newest entry that is new or whose time is.
///
/// The latter finds who removed a field by an apply. An update that only removes fields of others leaves no trace
/// (apimachinery's `managedfieldsupdater.go`): its writer is unknown.
pub(crate) fn writer_of_change<'a>(
    old: &Value,
    new: &Value,
    changed: impl IntoIterator<Item = &'a FieldPath>,
) -> Option<Writer> {
    let (known, entries) = (entries(old), entries(new));
    let is_new = |entry: &Entry| known.iter().all(|before| before.writer != entry.writer);
    last_writer(&entries, changed, is_new).or_else(|| {
        let touched = entries.iter().filter(|entry| is_new(entry));
        touched.max_by_key(|entry| entry.writer.time).map(|entry| entry.writer.clone())
    })
}

/// Returns the writer of the newest entry that owns one of the changed paths; of entries with the same time, the last one.
///
/// An entry owns a path if the path or a field below it is in its set; or if an atomic field around it is, and the entry is new:
/// one that is the same as before did not write. Entries that own a path itself take precedence over those that own a field
/// around it. A removed field is in no entry's set.
fn last_writer<'a>(
    entries: &[Entry],
    changed: impl IntoIterator<Item = &'a FieldPath>,
    is_new: impl Fn(&Entry) -> bool,
) -> Option<Writer> {
    let changed: Vec<&FieldPath> = changed.into_iter().collect();
    let best = |entry: &Entry| {
        let owned = changed.iter().filter_map(|path| entry.owned(path)).max();
        owned.filter(|owned| *owned == Owned::Exactly || is_new(entry))
    };
    let owners = entries.iter().filter_map(|entry| Some((best(entry)?, entry)));
    let newest = owners.max_by_key(|(owned, entry)| (*owned, entry.writer.time));
    newest.map(|(_, entry)| entry.writer.clone())
}

/// Returns the entries that own a field without fields below it. If none owns the field itself, returns those that own a
/// field around it: the owner of an atomic list owns its items.
pub(crate) fn owners<'a>(entries: &'a [Entry], path: &FieldPath) -> Vec<&'a Writer> {
    let owned: Vec<_> =
        entries.iter().filter_map(|entry| Some((entry.owned(path)?, &entry.writer))).collect();
    let best = owned.iter().map(|(owned, _)| *owned).max();
    owned.into_iter().filter(|(owned, _)| Some(*owned) == best).map(|(_, writer)| writer).collect()
}

/// Returns the step to an item of the list at `path`, as the entries name it: by its keys, by its value, or else by its
/// index.
pub(crate) fn step_to_item(entries: &[Entry], path: &FieldPath, index: usize, item: &Value) -> Step {
    let lists = entries.iter().flat_map(|entry| below(&entry.fields, &path.0));
    let steps = lists.flat_map(|list| list.keys()).filter_map(|key| step(key));
    for named in steps {
        match named {
            Step::Item(key)
                if !key.is_empty() && key.iter().all(|(name, value)| item.get(name) == Some(value)) =>
            {
                return Step::Item(key);
            }
            Step::Value(value) if value == *item => return Step::Value(value),
            _ => {}
        }
    }
    Step::Index(index)
}

impl Entry {
    fn owned(&self, path: &FieldPath) -> Option<Owned> {
        if !path.0.is_empty() && !below(&self.fields, &path.0).is_empty() {
            return Some(Owned::Exactly);
        }
        let around = |length: usize| {
            let list = matches!(path.0[length], Step::Item(_) | Step::Value(_) | Step::Index(_));
            let found = below(&self.fields, &path.0[..length]);
            // A list item that has no step of its own: the path may name it by another key than the entry, so whoever
            // owns something in the list may own the item, too.
            found.iter().any(|fields| fields.is_empty() || list)
        };
        (1..path.0.len()).rev().any(around).then_some(Owned::Around)
    }
}

/// Returns the fields below a path. There may be several, if a list item is named by only some of its keys.
fn below<'a>(fields: &'a Map<String, Value>, path: &[Step]) -> Vec<&'a Map<String, Value>> {
    let Some((first, rest)) = path.split_first() else { return vec![fields] };
    let children = fields.iter().filter(|(key, _)| step(key).is_some_and(|named| is_same(&named, first)));
    children.filter_map(|(_, child)| child.as_object()).flat_map(|child| below(child, rest)).collect()
}

fn is_same(named: &Step, asked: &Step) -> bool {
    match (named, asked) {
        (Step::Item(named), Step::Item(asked)) => asked.iter().all(|pair| named.contains(pair)),
        _ => named == asked,
    }
}

/// Reads a step of `fieldsV1`: `f:name`, `k:{"name":"a"}`, `v:"a"` or `i:0`. `None` for anything else, such as `.`.
fn step(text: &str) -> Option<Step> {
    let (kind, content) = text.split_once(':')?;
    match kind {
        "f" => Some(Step::Field(content.to_owned())),
        "k" => {
            Some(Step::Item(serde_json::from_str::<Map<String, Value>>(content).ok()?.into_iter().collect()))
        }
        "v" => serde_json::from_str(content).ok().map(Step::Value),
        "i" => content.parse().ok().map(Step::Index),
        _ => None,
    }
}

/// `kubectl-patch`, `blog-controller (status)`
impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subresource {
            Some(subresource) => write!(f, "{} ({subresource})", self.manager),
            None => f.write_str(&self.manager),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the last writer if all entries are new.
    fn last_writer<'a>(managed: &Value, changed: impl IntoIterator<Item = &'a FieldPath>) -> Option<Writer> {
        super::last_writer(&entries(managed), changed, |_| true)
    }

    fn field(name: &str) -> Step {
        Step::Field(name.to_owned())
    }

    fn fields(names: &str) -> FieldPath {
        FieldPath(names.split('.').map(field).collect())
    }

    fn item(key: Value) -> Step {
        Step::Item(serde_json::from_value::<Map<String, Value>>(key).unwrap().into_iter().collect())
    }

    fn condition(kind: &str) -> FieldPath {
        fields("status.conditions").join(item(json!({"type": kind}))).join(field("status"))
    }

    fn blog() -> Value {
        json!([
            {"manager": "kubectl-create", "operation": "Update", "time": "2026-11-28T03:00:00Z", "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {".": {}, "f:url": {}, "f:tags": {}, "f:ports": {
                    ".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}},
            {"manager": "kubectl-patch", "operation": "Update", "time": "2026-11-28T03:47:20Z", "fieldsV1": {
                "f:metadata": {"f:finalizers": {".": {}, "v:\"a/b\"": {}}},
                "f:spec": {"f:url": {}}}},
            {"manager": "blog-controller", "operation": "Apply", "subresource": "status",
             "time": "2026-11-28T03:47:31Z", "fieldsV1": {"f:status": {"f:conditions": {
                "k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}, "f:type": {}}}}}},
        ])
    }

    fn last(changed: &[FieldPath]) -> Option<String> {
        last_writer(&blog(), changed).map(|writer| writer.to_string())
    }

    #[test]
    fn the_newest_owner_of_a_changed_field_wrote_it() {
        assert_eq!(last(&[fields("spec.url")]).as_deref(), Some("kubectl-patch"));
        assert_eq!(last(&[fields("metadata.labels.app")]).as_deref(), Some("kubectl-create"));
        assert_eq!(last(&[condition("Ready")]).as_deref(), Some("blog-controller (status)"));
        // A whole tree that was added has fields below it.
        assert_eq!(last(&[fields("status")]).as_deref(), Some("blog-controller (status)"));
        assert_eq!(
            last(&[fields("metadata.labels.app"), fields("spec.url")]).as_deref(),
            Some("kubectl-patch")
        );
        let finalizer = fields("metadata.finalizers").join(Step::Value(json!("a/b")));
        assert_eq!(last(&[finalizer]).as_deref(), Some("kubectl-patch"));
    }

    #[test]
    fn items_without_a_set_of_their_own_belong_to_the_owner_of_the_list() {
        let tags = fields("spec.tags");
        assert_eq!(last(&[tags.join(Step::Index(1))]).as_deref(), Some("kubectl-create"));
        assert_eq!(
            last(&[tags.join(item(json!({"name": "x"}))).join(field("y"))]).as_deref(),
            Some("kubectl-create")
        );
        // Named by one of two keys, and by another key.
        let ports = fields("spec.ports");
        let by_port = ports.join(item(json!({"containerPort": 80}))).join(field("containerPort"));
        assert_eq!(last(&[by_port]).as_deref(), Some("kubectl-create"));
        assert_eq!(last(&[ports.join(item(json!({"name": "http"})))]).as_deref(), Some("kubectl-create"));
    }

    #[test]
    fn an_owner_of_the_field_itself_takes_precedence_over_a_newer_owner_around_it() {
        let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": {"f:spec": fields}});
        let managed = json!([
            entry("exact", "2026-01-01T00:00:00Z", json!({"f:map": {"f:a": {}}})),
            entry("around", "2026-01-02T00:00:00Z", json!({"f:map": {}})),
        ]);
        let writer = |path: &str| last_writer(&managed, [&fields(path)]).unwrap().manager;
        assert_eq!(writer("spec.map.a"), "exact");
        assert_eq!(writer("spec.map.b"), "around");
        assert_eq!(owners(&entries(&managed), &fields("spec.map.a")).len(), 1);
    }

    #[test]
    fn of_entries_with_the_same_time_the_last_one_counts() {
        let entry = |manager: &str| json!({"manager": manager, "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {"f:a": {}}}});
        let writer = last_writer(&json!([entry("a"), entry("b")]), [&fields("data.a")]).unwrap();
        assert_eq!(writer.manager, "b");
    }

    #[test]
    fn who_removed_a_field_is_known_only_if_an_entry_changed() {
        let removed = [fields("spec.title")];
        assert_eq!(last(&removed), None);
        let (old, mut new) = (blog(), blog());
        assert_eq!(writer_of_change(&old, &new, &removed), None);
        new[1]["time"] = json!("2026-11-28T04:00:00Z");
        assert_eq!(writer_of_change(&old, &new, &removed).unwrap().manager, "kubectl-patch");
    }

    #[test]
    fn odd_times_and_fields_do_not_fail() {
        for time in [
            json!("9999-12-31T23:59:59Z"),
            json!("29999-12-31T23:59:59Z"),
            json!("yesterday"),
            json!(7),
            json!(null),
        ] {
            let managed = json!([{"manager": "m", "time": time, "fieldsV1": {"f:a": {}, "x:b": {}, "k:[": {}, "f:c": 1}}]);
            assert_eq!(last_writer(&managed, [&fields("a")]).unwrap().manager, "m", "{time}");
            assert_eq!(last_writer(&managed, [&fields("b")]), None);
            assert_eq!(last_writer(&managed, [&fields("c")]), None);
        }
        for managed in [json!(null), json!({}), json!([1, {}, {"manager": "m"}])] {
            assert_eq!(last_writer(&managed, [&fields("a")]), None, "{managed}");
        }
        assert_eq!(last_writer(&blog(), [&FieldPath::default()]), None);
    }

    #[test]
    fn items_are_named_as_the_entries_name_them() {
        let entries = entries(&blog());
        let ready = json!({"type": "Ready", "status": "True"});
        let conditions = fields("status.conditions");
        assert_eq!(step_to_item(&entries, &conditions, 0, &ready), item(json!({"type": "Ready"})));
        assert_eq!(step_to_item(&entries, &conditions, 1, &json!({"type": "Other"})), Step::Index(1));
        let finalizers = fields("metadata.finalizers");
        assert_eq!(step_to_item(&entries, &finalizers, 0, &json!("a/b")), Step::Value(json!("a/b")));
        assert_eq!(step_to_item(&entries, &fields("spec.tags"), 0, &json!("x")), Step::Index(0));
    }

    #[test]
    fn an_owner_of_what_is_around_a_removed_field_did_not_remove_it() {
        let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields});
        let applier = || entry("kubectl-client-side-apply", json!({"f:data": {}}));
        let old = json!([applier(), entry("bob", json!({"f:data": {"f:k": {}, "f:n": {}}}))]);
        let new = json!([applier(), entry("bob", json!({"f:data": {"f:k": {}}}))]);
        let removed = FieldPath(vec![Step::Field("data".into()), Step::Field("n".into())]);
        assert_eq!(writer_of_change(&old, &new, [&removed]), None);
    }
}
