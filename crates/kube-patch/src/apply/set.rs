//! Sets of field paths (structured-merge-diff's `fieldpath.Set`) and their wire form, FieldsV1.
//!
//! A set is a tree: a path is in it if its last element is a member of the node that the preceding elements lead to. A path
//! is not in the set merely because its children are. Elements are ordered as in structured-merge-diff.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};
use smol_str::SmolStr;

use crate::types::{Atom, Type};

/// A step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathElement {
    /// A member of an object. Most names are short, and each path in a set has its own copy.
    Field(SmolStr),
    /// An item of a list, identified by the values of these fields, sorted by name.
    Key(Vec<(String, Ordered)>),
    /// An item of a set.
    Value(Ordered),
    /// An item of an atomic list.
    Index(i64),
}

/// A JSON value with a total order; numbers compare as numbers.
#[derive(Clone, Debug)]
pub(super) struct Ordered(pub(super) Value);

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    members: BTreeSet<PathElement>,
    children: BTreeMap<PathElement, Set>,
}

/// The error of a malformed `fieldsV1`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path element")]
pub(super) struct DecodeError(String);

impl Set {
    pub(super) fn insert(&mut self, path: &[PathElement]) {
        // The empty path is the whole object, which has no owner.
        let Some((last, parents)) = path.split_last() else {
            return;
        };
        let node =
            parents.iter().fold(self, |node, element| node.children.entry(element.clone()).or_default());
        node.members.insert(last.clone());
    }

    pub(super) fn has(&self, path: &[PathElement]) -> bool {
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        let node = parents.iter().try_fold(self, |node, element| node.children.get(element));
        node.is_some_and(|node| node.members.contains(last))
    }

    pub(super) fn has_member(&self, element: &PathElement) -> bool {
        self.members.contains(element)
    }

    pub(super) fn child(&self, element: &PathElement) -> Option<&Self> {
        self.children.get(element)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &PathElement> {
        self.members.iter()
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&PathElement, &Self)> {
        self.children.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    pub(super) fn union(mut self, other: Self) -> Self {
        self.extend(other);
        self
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.members.extend(other.members);
        for (element, child) in other.children {
            self.children.entry(element).or_default().extend(child);
        }
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, child)| {
            let both = child.intersection(other.children.get(element)?);
            (!both.is_empty()).then(|| (element.clone(), both))
        });
        Self {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: children.collect(),
        }
    }

    /// Returns the paths of `self` that are not in `other`. A parent in `other` does not remove its children.
    pub(super) fn difference(mut self, other: &Self) -> Self {
        self.subtract(other, false);
        self
    }

    /// Like `difference`, but a parent in `other` also removes its children.
    pub(super) fn recursive_difference(mut self, other: &Self) -> Self {
        self.subtract(other, true);
        self
    }

    fn subtract(&mut self, other: &Self, recursive: bool) {
        self.members.retain(|member| !other.members.contains(member));
        self.children.retain(|element, child| {
            if recursive && other.members.contains(element) {
                return false;
            }
            let Some(theirs) = other.children.get(element) else { return true };
            child.subtract(theirs, recursive);
            !child.is_empty()
        });
    }

    /// Adds the fields of structs as members; otherwise only their parts are members.
    pub(super) fn with_named_fields(&self, kind: Option<Type<'_>>) -> Self {
        let Atom { map, list, .. } = kind.map(Type::atom).unwrap_or_default();
        let mut members = self.members.clone();
        let children = self.children.iter().map(|(element, child)| {
            let kind = match element {
                PathElement::Field(name) => map.and_then(|map| map.member(name)),
                PathElement::Key(_) => list.map(|list| (list.element, false)),
                PathElement::Value(_) | PathElement::Index(_) => None,
            };
            if kind.is_some_and(|(_, named)| named) {
                members.insert(element.clone());
            }
            (element.clone(), child.with_named_fields(kind.map(|(kind, _)| kind)))
        });
        let children = children.collect();
        Self { members, children }
    }

    /// Returns all paths, parents before their children.
    pub(super) fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, paths: &mut Vec<Vec<PathElement>>) {
        for member in &self.members {
            paths.push(prefix.iter().chain([member]).cloned().collect());
        }
        for (element, child) in &self.children {
            prefix.push(element.clone());
            child.collect(prefix, paths);
            prefix.pop();
        }
    }

    /// Encodes the set as FieldsV1.
    pub(super) fn encode(&self) -> Value {
        let mut fields = Map::new();
        for member in &self.members {
            let mut below = self.children.get(member).map_or_else(Map::new, |child| match child.encode() {
                Value::Object(below) => below,
                _ => Map::new(),
            });
            // A member with children is marked by a dot; one without children is an empty object.
            if self
                .children
                .get(member)
                .is_some_and(|child| !child.members.is_empty() || !child.children.is_empty())
            {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            fields.insert(member.encode(), Value::Object(below));
        }
        for (element, child) in self.children.iter().filter(|(element, _)| !self.members.contains(element)) {
            fields.insert(element.encode(), child.encode());
        }
        Value::Object(fields)
    }

    /// Decodes FieldsV1. Elements of unknown kinds are skipped.
    pub(super) fn decode(fields: &Value) -> Result<Self, DecodeError> {
        Self::read(fields).map(|(set, _)| set.unwrap_or_default())
    }

    /// Returns the paths below, and whether the parent itself is a member.
    fn read(fields: &Value) -> Result<(Option<Self>, bool), DecodeError> {
        let Value::Object(fields) = fields else {
            return Err(DecodeError(fields.to_string()));
        };
        let (mut set, mut is_member) = (None, false);
        for (key, below) in fields {
            if key == "." {
                is_member = true;
                continue;
            }
            let Some(element) = PathElement::decode(key)? else { continue };
            let (children, member) = Self::read(below)?;
            let set: &mut Self = set.get_or_insert_default();
            if member {
                set.members.insert(element.clone());
            }
            if let Some(children) = children {
                set.children.insert(element, children);
            }
        }
        is_member |= set.is_none();
        Ok((set, is_member))
    }
}

/// Collects paths of field names into a set.
impl<'a> FromIterator<&'a [&'a str]> for Set {
    fn from_iter<I: IntoIterator<Item = &'a [&'a str]>>(paths: I) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<_> = path.iter().map(|name| PathElement::Field((*name).into())).collect();
            set.insert(&path);
        }
        set
    }
}

impl PathElement {
    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let fields =
                    fields.iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), value.0));
                format!("k:{{{}}}", fields.collect::<Vec<_>>().join(","))
            }
            Self::Value(value) => format!("v:{}", value.0),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// Decodes an element. `None` if its kind is unknown.
    fn decode(text: &str) -> Result<Option<Self>, DecodeError> {
        let error = || DecodeError(text.to_owned());
        let json = |json: &str| serde_json::from_str::<Value>(json).map_err(|_| error());
        let (kind, content) = text.split_once(':').ok_or_else(error)?;
        Ok(match kind {
            "f" => Some(Self::Field(content.into())),
            "v" => Some(Self::Value(Ordered(json(content)?))),
            "i" => Some(Self::Index(content.parse().map_err(|_| error())?)),
            "k" => match json(content)? {
                Value::Object(fields) => Some(Self::key(fields)),
                _ => return Err(error()),
            },
            _ if kind.len() == 1 => None,
            _ => return Err(error()),
        })
    }

    pub(super) fn key(fields: impl IntoIterator<Item = (String, Value)>) -> Self {
        let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, Ordered(value))).collect();
        fields.sort();
        Self::Key(fields)
    }
}

/// `.spec`, `[name="x"]`, `[="x"]`, `[0]`
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                let fields = fields.iter().map(|(name, value)| format!("{name}={}", value.0));
                write!(f, "[{}]", fields.collect::<Vec<_>>().join(","))
            }
            Self::Value(value) => write!(f, "[={}]", value.0),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Formats a path for messages: `.spec.ports[port=80].name`.
pub(super) fn display(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

/// Returns whether two values are equal; 1 and 1.0 are.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    compare(left, right).is_eq()
}

fn compare(left: &Value, right: &Value) -> Ordering {
    fn rank(value: &Value) -> u8 {
        match value {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left.as_f64().unwrap_or_default().total_cmp(&right.as_f64().unwrap_or_default()),
        },
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => {
            let first =
                left.iter().zip(right).map(|(left, right)| compare(left, right)).find(|order| order.is_ne());
            first.unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        (Value::Object(left), Value::Object(right)) => {
            let sorted = |map: &Map<String, Value>| {
                let mut entries: Vec<_> =
                    map.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                entries.sort_by(|(left, _), (right, _)| left.cmp(right));
                entries
            };
            // Most are equal, and then there is no need to sort.
            if left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, value)| right.get(name).is_some_and(|other| compare(value, other).is_eq()))
            {
                return Ordering::Equal;
            }
            let (left, right) = (sorted(left), sorted(right));
            let pairs = left.iter().zip(&right);
            let first = pairs
                .map(|((left, a), (right, b))| left.cmp(right).then_with(|| compare(a, b)))
                .find(|order| order.is_ne());
            first.unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        _ => rank(left).cmp(&rank(right)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn encodes_as_fields_v1() {
        let mut set = Set::default();
        let field = |name: &str| PathElement::Field(name.into());
        let port = PathElement::key([("protocol".to_owned(), json!("TCP")), ("port".to_owned(), json!(80))]);
        set.insert(&[field("spec"), field("url")]);
        set.insert(&[field("spec"), field("ports"), port.clone()]);
        set.insert(&[field("spec"), field("ports"), port, field("port")]);
        set.insert(&[field("spec"), field("tags"), PathElement::Value(Ordered(json!("a")))]);
        let fields = json!({"f:spec": {
            "f:url": {},
            "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
            "f:tags": {"v:\"a\"": {}},
        }});
        assert_eq!(set.encode(), fields);
        assert_eq!(Set::decode(&fields), Ok(set.clone()));
        let paths: Vec<_> = set.paths().iter().map(|path| display(path)).collect();
        let expected = [
            ".spec.url",
            ".spec.ports[port=80,protocol=\"TCP\"]",
            ".spec.ports[port=80,protocol=\"TCP\"].port",
            ".spec.tags[=\"a\"]",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn decoding_refuses_malformed_elements_and_skips_unknown_ones() {
        assert_eq!(Set::decode(&json!({"x:future": {}, "f:a": {}})), Set::decode(&json!({"f:a": {}})));
        for fields in [
            json!({"f": {}}),
            json!({"k:[]": {}}),
            json!({"v:x": {}}),
            json!({"i:x": {}}),
            json!([]),
            json!({"f:a": 1}),
        ] {
            assert!(Set::decode(&fields).is_err(), "{fields}");
        }
    }

    fn element() -> impl Strategy<Value = PathElement> {
        let scalar = prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            ".{0,3}".prop_map(Value::from)
        ];
        prop_oneof![
            "[a-d.:]{0,2}".prop_map(|name| PathElement::Field(name.into())),
            scalar.clone().prop_map(|value| PathElement::Value(Ordered(value))),
            prop::collection::btree_map("[a-c]", scalar, 1..3).prop_map(PathElement::key),
            (0..3_i64).prop_map(PathElement::Index),
        ]
    }

    fn any_set() -> impl Strategy<Value = Set> {
        prop::collection::vec(prop::collection::vec(element(), 1..5), 0..12).prop_map(|paths| {
            let mut set = Set::default();
            paths.iter().for_each(|path| set.insert(path));
            set
        })
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(set in any_set()) {
            prop_assert_eq!(Set::decode(&set.encode()), Ok(set));
        }

        #[test]
        fn sets_are_sets(a in any_set(), b in any_set()) {
            let both = a.intersection(&b);
            for path in a.clone().union(b.clone()).paths() {
                let (in_a, in_b) = (a.has(&path), b.has(&path));
                prop_assert!(in_a || in_b);
                prop_assert_eq!(both.has(&path), in_a && in_b);
                prop_assert_eq!(a.clone().difference(&b).has(&path), in_a && !in_b);
            }
            prop_assert!(a.clone().difference(&a).is_empty());
        }
    }
}
