//! Documents of OpenAPI version 2 of aggregated servers, as a part of this server's own: `pkg/aggregator` of kube-openapi.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

const DEFINITIONS: &str = "#/definitions/";
const PARAMETERS: &str = "#/parameters/";
const KINDS: &str = "x-kubernetes-group-version-kind";

/// The parts of a document that are merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Document {
    pub(crate) paths: Map<String, Value>,
    pub(crate) definitions: Map<String, Value>,
    /// What operations refer to, as far as they do.
    pub(crate) parameters: Map<String, Value>,
}

impl Document {
    /// Reads the paths of a document that begin with `prefix`, and the definitions that are not only used by other paths. What is
    /// not an object, or the document itself, is left out.
    pub(crate) fn read(mut document: Value, prefix: &str) -> Self {
        let mut take = |part: &str| match document.get_mut(part).map(Value::take) {
            Some(Value::Object(mut members)) => {
                members.retain(|_, member| member.is_object());
                members
            }
            _ => Map::new(),
        };
        let all =
            Self { paths: take("paths"), definitions: take("definitions"), parameters: take("parameters") };
        all.filtered(|path| path.starts_with(prefix))
    }

    fn filtered(mut self, keeps: impl Fn(&str) -> bool) -> Self {
        let used_before = self.used();
        self.paths.retain(|path, _| keeps(path));
        let used = self.used();
        self.definitions.retain(|name, _| used.contains(name) || !used_before.contains(name));
        self
    }

    /// The definitions that something refers to.
    fn used(&self) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        let mut open: Vec<&Value> = self.paths.values().chain(self.parameters.values()).collect();
        while let Some(value) = open.pop() {
            if let Some(name) = value["$ref"].as_str().and_then(|target| target.strip_prefix(DEFINITIONS))
                && used.insert(name.to_owned())
            {
                open.extend(self.definitions.get(name));
            }
            match value {
                Value::Object(members) => open.extend(members.values()),
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        used
    }

    /// Adds another document. Paths that are there already stay as they are; other definitions and parameters of the same name get
    /// other names.
    pub(crate) fn merge(&mut self, other: &Self) {
        let is_new = |path: &str| !self.paths.contains_key(path);
        if !other.paths.keys().any(|path| is_new(path)) {
            return;
        }
        let mut other = match other.paths.keys().all(|path| is_new(path)) {
            true => other.clone(),
            false => other.clone().filtered(is_new),
        };
        let renamed = other.renames(self);
        if !renamed.is_empty() {
            let values = other.paths.values_mut().chain(other.definitions.values_mut());
            values.chain(other.parameters.values_mut()).for_each(|value| rename(value, &renamed));
        }
        let new_name = |part: &str, name: String| match renamed.get(&format!("{part}{name}")) {
            Some(target) => target[part.len()..].to_owned(),
            None => name,
        };
        for (name, definition) in other.definitions {
            match self.definitions.get_mut(&new_name(DEFINITIONS, name.clone())) {
                Some(known) => add_kinds(known, &definition),
                None => _ = self.definitions.insert(new_name(DEFINITIONS, name), definition),
            }
        }
        for (name, parameter) in other.parameters {
            self.parameters.entry(new_name(PARAMETERS, name)).or_insert(parameter);
        }
        self.paths.extend(other.paths);
    }

    /// What has to be named differently in a document with others, as targets of references.
    fn renames(&self, into: &Self) -> BTreeMap<String, String> {
        let of_definitions =
            names(&self.definitions, &into.definitions, |a, b| without_kinds(a) == without_kinds(b));
        let of_parameters = names(&self.parameters, &into.parameters, |a, b| a == b);
        let target = |part: &'static str| move |(old, new)| (format!("{part}{old}"), format!("{part}{new}"));
        of_definitions.map(target(DEFINITIONS)).chain(of_parameters.map(target(PARAMETERS))).collect()
    }
}

/// The new names of those members that differ from members of the same name in `known`.
fn names<'a>(
    members: &'a Map<String, Value>,
    known: &'a Map<String, Value>,
    same: impl Fn(&Value, &Value) -> bool + 'a,
) -> impl Iterator<Item = (&'a str, String)> {
    let differs = |name: &str, value: &Value| known.get(name).filter(|it| !same(it, value)).is_some();
    let mut taken = BTreeSet::new();
    let mut renamed = Vec::new();
    for (name, value) in members.iter().filter(|(name, value)| differs(name, value)) {
        // What was named differently before keeps that name.
        let mut numbered = (2..).map(|number| format!("{name}_v{number}"));
        let free = numbered.find(|new| match known.get(new) {
            Some(it) => same(it, value),
            None => !taken.contains(new) && !members.contains_key(new),
        });
        if let Some(new) = free {
            taken.insert(new.clone());
            renamed.push((name.as_str(), new));
        }
    }
    renamed.into_iter()
}

fn rename(value: &mut Value, renamed: &BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => {
                        if let Some(new) = renamed.get(target.as_str()) {
                            target.clone_from(new);
                        }
                    }
                    member => rename(member, renamed),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        _ => {}
    }
}

fn without_kinds(definition: &Value) -> BTreeMap<&str, &Value> {
    let members = definition.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value)).filter(|(name, _)| *name != KINDS).collect()
}

/// Adds the kinds that have a definition in another document.
fn add_kinds(known: &mut Value, other: &Value) {
    let Some(others) = other[KINDS].as_array() else { return };
    if known[KINDS].is_null() {
        known[KINDS] = json!([]);
    }
    let Some(kinds) = known[KINDS].as_array_mut() else { return };
    let count = kinds.len();
    for kind in others {
        if !kinds.contains(kind) {
            kinds.push(kind.clone());
        }
    }
    if kinds.len() != count {
        let key = |kind: &Value| {
            let text = |field: &str| kind[field].as_str().unwrap_or_default().to_owned();
            format!("{}/{}.{}", text("group"), text("version"), text("kind"))
        };
        kinds.sort_by_cached_key(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(path: &str, schema: &Value) -> Document {
        let paths = json!({
            path: {"get": {"schema": {"$ref": "#/definitions/Thing"}}},
            "/apis/other/v1/": {"get": {"schema": {"$ref": "#/definitions/Other"}}},
        });
        let definitions = json!({
            "Thing": {"properties": {"part": {"$ref": "#/definitions/Part"}}},
            "Part": schema, "Other": {}, "Unused": {},
        });
        Document::read(json!({"paths": paths, "definitions": definitions}), path)
    }

    fn keys(members: &Map<String, Value>) -> Vec<&str> {
        members.keys().map(String::as_str).collect()
    }

    #[test]
    fn only_what_a_server_has_of_its_own_is_read() {
        let read = document("/apis/a/v1/", &json!({}));
        assert_eq!(keys(&read.paths), ["/apis/a/v1/"]);
        assert_eq!(keys(&read.definitions), ["Part", "Thing", "Unused"]);
    }

    #[test]
    fn nonsense_is_left_out() {
        for document in
            [json!([]), json!("ok"), json!(true), json!({"paths": [], "definitions": {"Thing": true}})]
        {
            assert_eq!(Document::read(document, "/apis/a/v1/"), Document::default());
        }
    }

    #[test]
    fn definitions_that_differ_are_named_differently() {
        let mut all = document("/apis/a/v1/", &json!({"type": "object", KINDS: [{"group": "a"}]}));
        all.merge(&document("/apis/b/v1/", &json!({"type": "object", KINDS: [{"group": "b"}]})));
        assert_eq!(all.definitions["Part"][KINDS], json!([{"group": "a"}, {"group": "b"}]));
        assert_eq!(keys(&all.definitions), ["Part", "Thing", "Unused"]);
        for _ in 0..2 {
            all.merge(&document("/apis/c/v1/", &json!({"type": "string"})));
        }
        all.merge(&document("/apis/d/v1/", &json!({"type": "string"})));
        assert_eq!(keys(&all.definitions), ["Part", "Part_v2", "Thing", "Unused"]);
        // kube-openapi compares one by one, too.
        assert_eq!(all.paths["/apis/d/v1/"]["get"]["schema"]["$ref"], "#/definitions/Thing");
    }
}
