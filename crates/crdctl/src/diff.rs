//! The differences between two states of an object, field by field.
//!
//! Items of a list are compared by their keys if the list has keys: the merge keys of the type's schema, else `name`, `type`
//! and the like. Fields that change with every write (`managedFields`, `resourceVersion`, `generation`) are left out, and so is
//! the annotation in which `kubectl apply` repeats the object.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use crate::field_path::{FieldPath, Step};

/// The fields of the metadata that every write changes.
pub(crate) const ALWAYS_IGNORED: [&str; 3] = ["managedFields", "resourceVersion", "generation"];

/// The annotation in which `kubectl apply` repeats the object that it was given.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A field whose value differs. `None`: the field is absent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    pub(crate) path: FieldPath,
    pub(crate) old: Option<Value>,
    pub(crate) new: Option<Value>,
}

/// Knows the keys of lists.
pub(crate) trait MergeKeys {
    /// Returns the fields that distinguish the items of the list at a path. `None` if that is unknown; no fields if the list
    /// is compared as a whole.
    fn of(&self, list: &FieldPath) -> Option<Vec<String>>;
}

/// The keys of lists whose schema is unknown.
pub(crate) struct Guessed;

impl MergeKeys for Guessed {
    fn of(&self, _: &FieldPath) -> Option<Vec<String>> {
        None
    }
}

/// The keys that are tried for a list whose schema is unknown, in this order. Each alone distinguishes the items of many lists
/// of built-in types.
const USUAL_KEYS: [&str; 6] = ["name", "type", "uid", "key", "containerPort", "ip"];

/// Compares two states of an object.
pub(crate) fn compare(
    old: &Value,
    new: &Value,
    keys: &dyn MergeKeys,
    ignored: &[Pattern],
) -> Vec<Difference> {
    let mut comparison = Comparison { keys, ignored, found: Vec::new() };
    comparison.values(&FieldPath::default(), Some(old), Some(new));
    comparison.found
}

struct Comparison<'a> {
    keys: &'a dyn MergeKeys,
    ignored: &'a [Pattern],
    found: Vec<Difference>,
}

impl Comparison<'_> {
    fn values(&mut self, path: &FieldPath, old: Option<&Value>, new: Option<&Value>) {
        if old == new || is_always_ignored(path) || self.ignored.iter().any(|pattern| pattern.matches(path)) {
            return;
        }
        match (old, new) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => self.objects(path, old, new),
            (Some(Value::Array(old)), Some(Value::Array(new))) => self.lists(path, old, new),
            (Some(Value::Object(old)), None) if self.splits(path, old) => {
                self.objects(path, old, &Map::new());
            }
            (None, Some(Value::Object(new))) if self.splits(path, new) => {
                self.objects(path, &Map::new(), new);
            }
            (old, new) => {
                let (path, old, new) = (path.clone(), old.cloned(), new.cloned());
                self.found.push(Difference { path, old, new });
            }
        }
    }

    fn objects(&mut self, path: &FieldPath, old: &Map<String, Value>, new: &Map<String, Value>) {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            self.values(&path.join(Step::Field(name.clone())), old.get(name), new.get(name));
        }
    }

    fn lists(&mut self, path: &FieldPath, old: &[Value], new: &[Value]) {
        let keys = self.keys.of(path).or_else(|| usual_key(old, new));
        if let Some(keys) =
            keys.filter(|keys| !keys.is_empty() && are_unique(old, keys) && are_unique(new, keys))
        {
            self.keyed(path, old, new, &keys);
        } else if old.iter().chain(new).all(is_scalar) {
            self.sets(path, old, new);
        } else if old.len() == new.len() {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                self.values(&path.join(Step::Index(index)), Some(old), Some(new));
            }
        } else {
            let (old, new) = (Some(Value::from(old)), Some(Value::from(new)));
            self.found.push(Difference { path: path.clone(), old, new });
        }
    }

    /// Compares the items that have the same keys, in the new order, then those that are gone.
    fn keyed(&mut self, path: &FieldPath, old: &[Value], new: &[Value], keys: &[String]) {
        let find = |items: &[Value], key: &[(String, Value)]| {
            items.iter().find(|item| key_of(item, keys) == key).cloned()
        };
        for item in new {
            let key = key_of(item, keys);
            let before = find(old, &key);
            self.values(&path.join(Step::Item(key)), before.as_ref(), Some(item));
        }
        for item in old {
            let key = key_of(item, keys);
            if find(new, &key).is_none() {
                self.values(&path.join(Step::Item(key)), Some(item), None);
            }
        }
    }

    /// Compares lists of scalars: by index if as many, else what was added and removed. A list with repetitions, or in another
    /// order, is compared as a whole.
    fn sets(&mut self, path: &FieldPath, old: &[Value], new: &[Value]) {
        let text = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>();
        let (old_texts, new_texts) = (text(old), text(new));
        let (old_set, new_set): (HashSet<&String>, HashSet<&String>) =
            (old_texts.iter().collect(), new_texts.iter().collect());
        if old.len() == new.len() && old_set.intersection(&new_set).count() + 1 == old.len() {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                self.values(&path.join(Step::Index(index)), Some(old), Some(new));
            }
            return;
        }
        let unique = old_set.len() == old.len() && new_set.len() == new.len();
        if !unique || old_set == new_set || old_set.is_disjoint(&new_set) {
            let (old, new) = (Some(Value::from(old)), Some(Value::from(new)));
            self.found.push(Difference { path: path.clone(), old, new });
            return;
        }
        for (value, _) in new.iter().zip(&new_texts).filter(|(_, text)| !old_set.contains(text)) {
            self.values(&path.join(Step::Value(value.clone())), None, Some(value));
        }
        for (value, _) in old.iter().zip(&old_texts).filter(|(_, text)| !new_set.contains(text)) {
            self.values(&path.join(Step::Value(value.clone())), Some(value), None);
        }
    }

    /// Whether what appears or disappears at a path is shown field by field: a whole part of the object, such as its status,
    /// and what has ignored fields.
    fn splits(&self, path: &FieldPath, value: &Map<String, Value>) -> bool {
        path.0.len() < 2
            || value.contains_key(LAST_APPLIED)
            || self.ignored.iter().any(|pattern| pattern.is_below(path))
    }
}

fn is_always_ignored(path: &FieldPath) -> bool {
    let names: Vec<&str> = path
        .0
        .iter()
        .map_while(|step| if let Step::Field(name) = step { Some(&**name) } else { None })
        .collect();
    match names[..] {
        ["metadata", name] => ALWAYS_IGNORED.contains(&name),
        ["metadata", "annotations", name] => name == LAST_APPLIED,
        _ => false,
    }
}

fn is_scalar(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

/// Returns the first of the usual keys that every item has as a scalar, with a different value in each.
fn usual_key(old: &[Value], new: &[Value]) -> Option<Vec<String>> {
    let serves = |key: &str| {
        let all = old.iter().chain(new).all(|item| item.get(key).is_some_and(is_scalar));
        let keys = [key.to_owned()];
        all && are_unique(old, &keys) && are_unique(new, &keys)
    };
    USUAL_KEYS.into_iter().find(|key| serves(key)).map(|key| vec![key.to_owned()])
}

fn key_of(item: &Value, keys: &[String]) -> Vec<(String, Value)> {
    keys.iter().filter_map(|key| item.get(key).map(|value| (key.clone(), value.clone()))).collect()
}

fn are_unique(items: &[Value], keys: &[String]) -> bool {
    let mut seen = HashSet::new();
    items.iter().all(|item| {
        let key: Vec<String> =
            key_of(item, keys).iter().map(|(name, value)| format!("{name}={value}")).collect();
        !key.is_empty() && seen.insert(key)
    })
}

/// A path to ignore with everything below it, as `--ignore` takes it: `status.conditions[*].lastHeartbeatTime`,
/// `metadata.annotations["example.com/a"]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern(Vec<String>);

impl Pattern {
    /// Parses a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a path such as status.conditions or metadata.annotations[\"example.com/a\"]"
            )
        };
        let mut rest = text.trim().strip_prefix('.').unwrap_or(text.trim());
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = if let Some(inner) = rest.strip_prefix('[') {
                let (quote, inner) = match inner.chars().next() {
                    Some(quote @ ('"' | '\'')) => (Some(quote), &inner[1..]),
                    _ => (None, inner),
                };
                let end = quote.map_or_else(|| "]".to_owned(), |quote| format!("{quote}]"));
                inner.split_once(&end).ok_or_else(wrong)?
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                rest.split_at(end)
            };
            if step.is_empty() {
                return Err(wrong());
            }
            steps.push(step.to_owned());
            rest = match after.strip_prefix('.') {
                Some("") => return Err(wrong()),
                Some(after) => after,
                None if after.is_empty() || after.starts_with('[') => after,
                None => return Err(wrong()),
            };
        }
        if steps.is_empty() { Err(wrong()) } else { Ok(Self(steps)) }
    }

    /// Whether the pattern names this path.
    fn matches(&self, path: &FieldPath) -> bool {
        self.0.len() == path.0.len() && self.agrees(path)
    }

    /// Whether the pattern names something below this path.
    fn is_below(&self, path: &FieldPath) -> bool {
        self.0.len() > path.0.len() && self.agrees(path)
    }

    fn agrees(&self, path: &FieldPath) -> bool {
        self.0.iter().zip(&path.0).all(|(wanted, step)| {
            wanted == "*"
                || match step {
                    Step::Field(name) => wanted == name,
                    // The path of the step by itself is the bracket.
                    step => {
                        let shown = FieldPath(vec![step.clone()]).to_string();
                        shown.strip_prefix('[').and_then(|shown| shown.strip_suffix(']')) == Some(wanted)
                    }
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(old: &Value, new: &Value, ignored: &[&str]) -> Vec<String> {
        let ignored: Vec<Pattern> = ignored.iter().map(|path| Pattern::parse(path).unwrap()).collect();
        let text = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
        compare(old, new, &Guessed, &ignored)
            .iter()
            .map(|found| format!("{}: {} {}", found.path, text(&found.old), text(&found.new)))
            .collect()
    }

    #[test]
    fn each_field_that_differs_is_named_with_both_values() {
        let old = json!({"metadata": {"resourceVersion": "1", "generation": 1, "name": "a"}, "spec": {"url": "a", "size": 1}});
        let new = json!({"metadata": {"resourceVersion": "2", "generation": 2, "name": "a", "labels": {"example.com/a": "b"}}, "spec": {"url": "b", "more": {"x": 1}}});
        assert_eq!(
            shown(&old, &new, &[]),
            [
                "metadata.labels: - {\"example.com/a\":\"b\"}",
                "spec.more: - {\"x\":1}",
                "spec.size: 1 -",
                "spec.url: \"a\" \"b\"",
            ]
        );
        assert_eq!(shown(&old, &old, &[]), [""; 0]);
    }

    #[test]
    fn items_of_a_list_are_matched_by_their_keys() {
        let old = json!({"c": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "True"}]});
        let new = json!({"c": [{"type": "New", "status": "True"}, {"type": "Ready", "status": "False"}]});
        assert_eq!(
            shown(&old, &new, &[]),
            [
                "c[New]: - {\"status\":\"True\",\"type\":\"New\"}",
                "c[Ready].status: \"True\" \"False\"",
                "c[Old]: {\"status\":\"True\",\"type\":\"Old\"} -",
            ]
        );
        // Items without keys are compared by their index, or as a whole.
        let old = json!({"p": [{"a": 1}, {"a": 2}]});
        assert_eq!(shown(&old, &json!({"p": [{"a": 1}, {"a": 3}]}), &[]), ["p[1].a: 2 3"]);
        assert_eq!(shown(&old, &json!({"p": [{"a": 2}]}), &[]), ["p: [{\"a\":1},{\"a\":2}] [{\"a\":2}]"]);
        // Keys that repeat distinguish nothing.
        let old = json!({"p": [{"name": "a", "x": 1}, {"name": "a", "x": 2}]});
        let new = json!({"p": [{"name": "a", "x": 1}, {"name": "a", "x": 3}]});
        assert_eq!(shown(&old, &new, &[]), ["p[1].x: 2 3"]);
    }

    #[test]
    fn sets_show_what_was_added_and_removed() {
        let change = |old: Value, new: Value| shown(&json!({"f": old}), &json!({"f": new}), &[]);
        assert_eq!(change(json!(["a", "b"]), json!(["a", "b", "c"])), ["f[=c]: - \"c\""]);
        assert_eq!(change(json!(["a", "b"]), json!(["b"])), ["f[=a]: \"a\" -"]);
        assert_eq!(change(json!(["a", "b"]), json!(["a", "c"])), ["f[1]: \"b\" \"c\""]);
        assert_eq!(change(json!(["a", "b"]), json!(["b", "a"])), ["f: [\"a\",\"b\"] [\"b\",\"a\"]"]);
        assert_eq!(change(json!(["a"]), json!(["b", "c"])), ["f: [\"a\"] [\"b\",\"c\"]"]);
    }

    #[test]
    fn ignored_paths_are_left_out_with_all_below() {
        let old = json!({"metadata": {"annotations": {"a/b": "1"}}, "status": {"conditions": [{"type": "Ready", "at": 1, "n": 1}]}});
        let new = json!({"metadata": {"annotations": {"a/b": "2"}}, "status": {"conditions": [{"type": "Ready", "at": 2, "n": 2}], "phase": {"x": 1}}});
        assert_eq!(shown(&old, &new, &["status", ".metadata.annotations['a/b']"]), [""; 0]);
        assert_eq!(
            shown(&old, &new, &["metadata.annotations", "status.conditions[*].at", "status.phase"]),
            ["status.conditions[Ready].n: 1 2"]
        );
        // A part of what appeared as a whole.
        assert_eq!(
            shown(&json!({"a": {}}), &json!({"a": {"b": {"c": 1, "d": 2}}}), &["a.b.c"]),
            ["a.b.d: - 2"]
        );
        for wrong in ["", ".", "a..b", "a[", "a[\"b]", "a[]", "a.", "a[b]c"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
