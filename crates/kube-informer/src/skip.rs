//! Fields that are not cached: a set of JSON paths, and copying an object's JSON without them.
//!
//! Skipped values are neither decoded nor copied; only their brackets and strings are scanned. Everything else is
//! copied verbatim, so invalid JSON in it surfaces when it is decoded.

use std::{borrow::Cow, collections::BTreeMap};

use crate::frame::Scan;

/// Where `kubectl apply` stores the whole applied object.
const LAST_APPLIED: [&str; 3] =
    ["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"];

const MANAGED_FIELDS: [&str; 2] = ["metadata", "managedFields"];

/// The fields that the cache itself reads.
const NEEDED: [&[&str]; 7] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "resourceVersion"],
    &["metadata", "uid"],
];

/// A path that [`InformerBuilder::skip`](crate::InformerBuilder::skip) rejects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} cannot be skipped: {problem}")]
pub struct InvalidPath {
    path: String,
    problem: &'static str,
}

/// What to skip below one value. Two sets that skip the same fields are equal, however they were built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Skip {
    members: BTreeMap<Vec<u8>, Fate>,
    /// What to skip below each element of an array.
    elements: Option<Box<Skip>>,
}

/// What to do with a member of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Fate {
    Skipped,
    Within(Skip),
}

/// The JSON is truncated, or is obviously not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotJson;

impl Skip {
    /// The default of every informer: skips `metadata.managedFields`.
    pub(crate) fn managed_fields() -> Self {
        let mut skip = Self::default();
        skip.add(&MANAGED_FIELDS.map(Step::Member));
        skip
    }

    pub(crate) fn keep_managed_fields(&mut self) {
        if let Some(Fate::Within(metadata)) = self.members.get_mut(&b"metadata"[..]) {
            metadata.members.remove(&b"managedFields"[..]);
        }
        // An empty part would make two equal informers differ.
        self.members.retain(|_, fate| *fate != Fate::Within(Self::default()));
    }

    pub(crate) fn last_applied(&mut self) {
        self.add(&LAST_APPLIED.map(Step::Member));
    }

    /// Adds a path in the syntax of [`InformerBuilder::skip`](crate::InformerBuilder::skip).
    pub(crate) fn path(&mut self, path: &str) -> Result<(), InvalidPath> {
        let invalid = |problem| InvalidPath { path: path.to_owned(), problem };
        let steps = steps(path).map_err(invalid)?;
        if matches!(steps.last(), Some(Step::Elements)) {
            return Err(invalid("it ends with `[*]`; an array is skipped by its name"));
        }
        if NEEDED.iter().any(|needed| needed.iter().copied().map(Step::Member).eq(steps.iter().copied())) {
            return Err(invalid("the cache needs it"));
        }
        self.add(&steps);
        Ok(())
    }

    fn add(&mut self, steps: &[Step<'_>]) {
        match steps {
            [] | [Step::Elements] => {}
            [Step::Member(name)] => {
                self.members.insert(name.as_bytes().to_vec(), Fate::Skipped);
            }
            [Step::Member(name), rest @ ..] => {
                let fate = self.members.entry(name.as_bytes().to_vec());
                if let Fate::Within(inner) = fate.or_insert_with(|| Fate::Within(Self::default())) {
                    inner.add(rest);
                }
            }
            [Step::Elements, rest @ ..] => self.elements.get_or_insert_default().add(rest),
        }
    }

    /// Copies an object without the skipped fields, and appends those of `defaults` that it lacks.
    pub(crate) fn copy(
        &self,
        json: &[u8],
        mut defaults: [Option<(&str, &str)>; 2],
        to: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        let mut copy = Copy { json, at: 0, to };
        if copy.peek()? != b'{' {
            return Err(NotJson);
        }
        copy.object(self, &mut defaults)?;
        if copy.peek().is_ok() { Err(NotJson) } else { Ok(()) }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Step<'a> {
    Member(&'a str),
    Elements,
}

/// Parses a path: `a.b`, `a['b']` and `a[*]`.
fn steps(path: &str) -> Result<Vec<Step<'_>>, &'static str> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() || steps.is_empty() {
        if let Some(after) = rest.strip_prefix("[*]") {
            if steps.is_empty() {
                return Err("an object has no elements");
            }
            steps.push(Step::Elements);
            rest = after;
        } else if let Some(quoted) = rest.strip_prefix("['") {
            let (name, after) = quoted.split_once("']").ok_or("`['` without `']`")?;
            steps.push(Step::Member(name));
            rest = after;
        } else {
            let name = match (rest.strip_prefix('.'), steps.is_empty()) {
                (Some(name), false) => name,
                (None, true) => rest,
                (Some(_), true) => return Err("it begins with a dot"),
                (None, false) => return Err("a name is followed by `.name`, `['name']` or `[*]`"),
            };
            let (name, after) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
            if name.contains([']', '\'', '*', '$']) {
                return Err("a name with ] ' * or $ is written as `['name']`");
            }
            steps.push(Step::Member(name));
            rest = after;
        }
        if let Some(Step::Member("")) = steps.last() {
            return Err("a name is empty");
        }
    }
    Ok(steps)
}

/// A copy in progress.
struct Copy<'a> {
    json: &'a [u8],
    at: usize,
    to: &'a mut Vec<u8>,
}

impl<'a> Copy<'a> {
    /// Copies the object that starts here. Appends those of `defaults` that it lacks.
    fn object(&mut self, skip: &Skip, defaults: &mut [Option<(&str, &str)>]) -> Result<(), NotJson> {
        self.step();
        let mut before = b'{';
        let mut byte = self.peek()?;
        while byte != b'}' {
            if byte != b'"' {
                return Err(NotJson);
            }
            let start = self.at;
            let key = self.pass()?;
            if self.peek()? != b':' {
                return Err(NotJson);
            }
            self.step();
            let first = self.peek()?;
            let key = unescaped(key)?;
            let fate = skip.members.get(&*key);
            if matches!(fate, Some(Fate::Skipped)) {
                self.pass()?;
            } else {
                for default in defaults.iter_mut() {
                    default.take_if(|(name, _)| name.as_bytes() == &*key);
                }
                self.to.push(std::mem::replace(&mut before, b','));
                match fate {
                    Some(Fate::Within(skip)) if matches!(first, b'{' | b'[') => {
                        self.to.extend_from_slice(&self.json[start..self.at]);
                        self.value(skip)?;
                    }
                    _ => {
                        self.pass()?;
                        self.to.extend_from_slice(&self.json[start..self.at]);
                    }
                }
            }
            byte = self.peek()?;
            if byte == b',' {
                self.step();
                byte = self.peek()?;
                // A comma must be followed by a member.
                if byte == b'}' {
                    return Err(NotJson);
                }
            } else if byte != b'}' {
                return Err(NotJson);
            }
        }
        self.step();
        for (name, value) in defaults.iter().flatten() {
            self.to.push(std::mem::replace(&mut before, b','));
            self.text(name)?;
            self.to.push(b':');
            self.text(value)?;
        }
        if before == b'{' {
            self.to.push(b'{');
        }
        self.to.push(b'}');
        Ok(())
    }

    fn array(&mut self, skip: &Skip) -> Result<(), NotJson> {
        self.step();
        self.to.push(b'[');
        let mut byte = self.peek()?;
        while byte != b']' {
            self.value(skip)?;
            byte = self.peek()?;
            if byte == b',' {
                self.step();
                self.to.push(b',');
                byte = self.peek()?;
                if byte == b']' {
                    return Err(NotJson);
                }
            } else if byte != b']' {
                return Err(NotJson);
            }
        }
        self.step();
        self.to.push(b']');
        Ok(())
    }

    fn value(&mut self, skip: &Skip) -> Result<(), NotJson> {
        match (self.peek()?, &skip.elements) {
            (b'{', _) => self.object(skip, &mut []),
            (b'[', Some(elements)) => self.array(elements),
            _ => {
                let value = self.pass()?;
                self.to.extend_from_slice(value);
                Ok(())
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<(), NotJson> {
        serde_json::to_writer(&mut *self.to, text).map_err(|_| NotJson)
    }

    /// Skips the value that starts here, and returns it.
    fn pass(&mut self) -> Result<&'a [u8], NotJson> {
        let rest = &self.json[self.at..];
        match Scan::default().end(rest) {
            Some(length) if length > 0 => {
                self.at += length;
                Ok(&rest[..length])
            }
            _ => Err(NotJson),
        }
    }

    /// Returns the next byte that is not whitespace.
    fn peek(&mut self) -> Result<u8, NotJson> {
        while let Some(byte) = self.json.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Ok(*byte);
            }
            self.step();
        }
        Err(NotJson)
    }

    fn step(&mut self) {
        self.at += 1;
    }
}

/// Returns the text of a JSON string.
fn unescaped(quoted: &[u8]) -> Result<Cow<'_, [u8]>, NotJson> {
    match quoted {
        [b'"', text @ .., b'"'] if memchr::memchr(b'\\', text).is_none() => Ok(Cow::Borrowed(text)),
        _ => {
            let text: String = serde_json::from_slice(quoted).map_err(|_| NotJson)?;
            Ok(Cow::Owned(text.into_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn skip(paths: &[&str]) -> Skip {
        let mut skip = Skip::default();
        paths.iter().for_each(|path| skip.path(path).unwrap());
        skip
    }

    fn copied(skip: &Skip, json: &[u8]) -> Result<Value, NotJson> {
        let mut to = Vec::new();
        skip.copy(json, [None, None], &mut to)?;
        Ok(serde_json::from_slice(&to).unwrap())
    }

    /// The obvious implementation.
    fn remove(from: &mut Value, steps: &[Step<'_>]) {
        match (from, steps) {
            (Value::Object(members), [Step::Member(name)]) => {
                members.remove(*name);
            }
            (Value::Object(members), [Step::Member(name), rest @ ..]) => {
                if let Some(inner) = members.get_mut(*name) {
                    remove(inner, rest);
                }
            }
            (Value::Array(elements), [Step::Elements, rest @ ..]) => {
                elements.iter_mut().for_each(|element| remove(element, rest));
            }
            _ => {}
        }
    }

    #[test]
    fn a_path_is_names_and_elements() {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": 1, "d": 2}, "labels": {"a.b/c": 3}},
            "spec": {"containers": [{"env": [1], "name": "a"}, {"name": "b"}, 7]},
            "status": {"conditions": [], "phase": "Running"},
        });
        let skip = skip(&["metadata.annotations['a.b/c']", "spec.containers[*].env", "status.conditions"]);
        let expected = json!({
            "metadata": {"annotations": {"d": 2}, "labels": {"a.b/c": 3}},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}, 7]},
            "status": {"phase": "Running"},
        });
        assert_eq!(copied(&skip, object.to_string().as_bytes()), Ok(expected));
    }

    #[test]
    fn a_path_that_is_none_is_refused_with_what_is_wrong() {
        for (path, problem) in [
            ("", "a name is empty"),
            (".status", "it begins with a dot"),
            ("status.", "a name is empty"),
            ("status..conditions", "a name is empty"),
            ("$.status", "a name with ] ' * or $ is written as `['name']`"),
            ("spec.*", "a name with ] ' * or $ is written as `['name']`"),
            ("spec['a", "`['` without `']`"),
            ("spec['a']b", "a name is followed by `.name`, `['name']` or `[*]`"),
            ("spec[0]", "a name is followed by `.name`, `['name']` or `[*]`"),
            ("[*].a", "an object has no elements"),
            ("spec.list[*]", "it ends with `[*]`; an array is skipped by its name"),
            ("metadata", "the cache needs it"),
            ("metadata['uid']", "the cache needs it"),
            ("kind", "the cache needs it"),
        ] {
            let error = Skip::default().path(path).unwrap_err();
            assert_eq!(error.to_string(), format!("{path:?} cannot be skipped: {problem}"));
        }
    }

    #[test]
    fn what_skips_the_same_is_equal() {
        assert_eq!(skip(&["a.b", "c", "c.d"]), skip(&["c", "a['b']"]));
        let mut kept = Skip::managed_fields();
        kept.keep_managed_fields();
        assert_eq!(kept, Skip::default());
        let mut both = Skip::managed_fields();
        both.last_applied();
        let by_path = "metadata.annotations['kubectl.kubernetes.io/last-applied-configuration']";
        assert_eq!(both, skip(&[by_path, "metadata.managedFields"]));
    }

    #[test]
    fn defaults_are_added_where_they_are_missing() {
        let copied = |json: &str| {
            let mut to = Vec::new();
            let defaults = [Some(("apiVersion", "v1")), Some(("kind", "a\"b"))];
            skip(&["status"]).copy(json.as_bytes(), defaults, &mut to).unwrap();
            String::from_utf8(to).unwrap()
        };
        assert_eq!(copied("{}"), r#"{"apiVersion":"v1","kind":"a\"b"}"#);
        assert_eq!(copied(r#"{"status":1}"#), r#"{"apiVersion":"v1","kind":"a\"b"}"#);
        assert_eq!(
            copied(r#"{"kind":"X" , "status":1,"a":{ }}"#),
            r#"{"kind":"X","a":{ },"apiVersion":"v1"}"#
        );
    }

    #[test]
    fn a_name_with_escapes_is_the_same_name() {
        assert_eq!(copied(&skip(&["a<b"]), br#"{"a\u003cb":1,"c":2}"#), Ok(json!({"c": 2})));
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for text in [
            "",
            "[]",
            "5",
            "{",
            "{}}",
            "{} {}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            "{1:1}",
        ] {
            assert_eq!(copied(&skip(&["a"]), text.as_bytes()), Err(NotJson), "{text}");
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            r#"[a-z"\\\[\]{},: é\n]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                members(inner).prop_map(Value::from),
            ]
        })
    }

    /// Few names, so that paths match often.
    fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = serde_json::Map<String, Value>> {
        prop::collection::btree_map(r#"[ab"<]{1,2}"#, value, 0..5).prop_map(|map| map.into_iter().collect())
    }

    fn path() -> impl Strategy<Value = String> {
        let step = prop_oneof![3 => r#"\['[ab"<]{1,2}'\]"#, 1 => Just("[*]".to_owned())];
        (r#"[ab"<]{1,2}"#, prop::collection::vec(step, 0..4))
            .prop_map(|(first, rest)| format!("{first}{}", rest.concat()))
            .prop_filter("ends with a name", |path| !path.ends_with("[*]"))
    }

    proptest! {
        #[test]
        fn what_is_copied_is_what_is_left_when_the_paths_are_removed(
            object in members(json_value()),
            paths in prop::collection::vec(path(), 0..5),
            pretty: bool,
        ) {
            let object = Value::from(object);
            let text = if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) }.unwrap();
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let mut expected = object;
            paths.iter().for_each(|path| remove(&mut expected, &steps(path).unwrap()));
            prop_assert_eq!(copied(&skip(&paths), &text), Ok(expected));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut: prop::sample::Index) {
            let text = br#"{"a":[{"b":"\"}",1.5e3],"b":null}"#;
            for bytes in [&bytes[..], &text[..cut.index(text.len())]] {
                let _ = skip(&["a", "b.a", "a[*].b"]).copy(bytes, [None, None], &mut Vec::new());
            }
        }

        #[test]
        fn no_path_makes_it_panic(path: String) {
            let _ = Skip::default().path(&path);
        }
    }
}
