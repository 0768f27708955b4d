//! Walks over typed values: structured-merge-diff's `typed` package.
//!
//! Each walk follows the type and the value together. The values have been checked by [`validate`], but a walk must not panic
//! if one does not fit its type.

use std::collections::BTreeMap;
use std::fmt;

use kube_validation::go::{self, unstructured_type};
use serde_json::{Map, Value};

use super::set::{Ordered, PathElement, Set, equal};
use crate::types::{Atom, List, Relation, Scalar, Type};

/// The differences between two values. No path is in more than one of the sets.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub(super) removed: Set,
    pub(super) modified: Set,
    pub(super) added: Set,
}

impl Comparison {
    /// Removes these fields, with everything inside them.
    pub(super) fn without(self, fields: &Set) -> Self {
        Self {
            removed: self.removed.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            added: self.added.recursive_difference(fields),
        }
    }
}

/// Returns the element that identifies an item of a set or map list.
pub(super) fn element_of(list: &List<'_>, item: &Value) -> Result<PathElement, String> {
    match list.relation {
        Relation::Atomic => Err("invalid indexing of non-associative list".to_owned()),
        Relation::Set => match item {
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => {
                Err("associative list without keys has an element that's an explicit null".to_owned())
            }
            scalar => Ok(PathElement::Value(Ordered(scalar.clone()))),
        },
        Relation::Map(keys) => {
            let members = match item {
                Value::Object(members) => members,
                Value::Null => {
                    return Err("associative list with keys may not have a null element".to_owned());
                }
                _ => return Err("associative list with keys may not have non-map elements".to_owned()),
            };
            let map = list.element.atom().map;
            let fields = keys.iter().filter_map(|key| {
                let value = members.get(key).cloned().or_else(|| map?.default_of(key))?;
                Some((key.clone(), value))
            });
            let fields: Vec<_> = fields.collect();
            if fields.is_empty() && !keys.is_empty() {
                let keys = keys
                    .iter()
                    .map(|key| Value::from(key.as_str()).to_string())
                    .collect::<Vec<_>>()
                    .join(" ");
                return Err(format!(
                    "associative list with keys has an element that omits all key fields [{keys}] (and doesn't have default values for any key fields)"
                ));
            }
            Ok(PathElement::key(fields))
        }
    }
}

/// Returns the errors of a value that does not fit the type, as `.path: message`.
pub(super) fn validate(kind: Type<'_>, value: &Value, allow_duplicates: bool) -> Vec<String> {
    let mut errors = Vec::new();
    check(kind, value, allow_duplicates, None, &mut errors);
    errors
}

/// Where a value is, for the errors: made of references, because most values have none.
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Field(&'a str),
    Item(PathElement),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match &self.step {
            Step::Field(name) => write!(f, ".{name}"),
            Step::Item(element) => write!(f, "{element}"),
        }
    }
}

/// Formats the errors of [`validate`] as Go does. `None` if there are none.
pub(super) fn describe_errors(errors: &[String]) -> Option<String> {
    match errors {
        [] => None,
        [error] => Some(error.clone()),
        errors => Some(format!("errors:\n  {}", errors.join("\n  "))),
    }
}

fn check(
    kind: Type<'_>,
    value: &Value,
    duplicates: bool,
    place: Option<&Place<'_>>,
    errors: &mut Vec<String>,
) {
    if value.is_null() {
        return;
    }
    let atom = kind.atom_of(Some(value));
    if let Some(map) = atom.map {
        let Value::Object(members) = value else {
            return errors.push(prefixed(place, format!("expected map, got {}", go_value(value))));
        };
        for (name, member) in members {
            let here = Place { parent: place, step: Step::Field(name) };
            match map.member(name) {
                Some((kind, _)) => check(kind, member, duplicates, Some(&here), errors),
                None => errors.push(format!("{here}: field not declared in schema")),
            }
        }
    } else if let Some(scalar) = atom.scalar {
        let fits = match scalar {
            Scalar::Number => value.is_number(),
            Scalar::String => value.is_string(),
            Scalar::Boolean => value.is_boolean(),
            Scalar::Any => !value.is_array() && !value.is_object(),
        };
        if !fits {
            let wanted = match scalar {
                Scalar::Number => {
                    let got = unstructured_type(value);
                    return errors
                        .push(prefixed(place, format!("expected numeric (int or float), got {got}")));
                }
                Scalar::String => "string",
                Scalar::Boolean => "boolean",
                Scalar::Any => "any scalar",
            };
            let got = if scalar == Scalar::String { go_syntax(value) } else { go_value(value) };
            errors.push(prefixed(place, format!("expected {wanted}, got {got}")));
        }
    } else if let Some(list) = atom.list {
        let Value::Array(items) = value else {
            return errors.push(prefixed(place, format!("expected list, got {}", go_value(value))));
        };
        let mut seen = Set::default();
        for (index, item) in items.iter().enumerate() {
            let element = if list.relation == Relation::Atomic {
                PathElement::Index(i64::try_from(index).unwrap_or(i64::MAX))
            } else {
                match element_of(&list, item) {
                    Ok(element) => element,
                    Err(message) => {
                        return errors.push(prefixed(place, format!("element {index}: {message}")));
                    }
                }
            };
            if !duplicates && list.relation != Relation::Atomic {
                if seen.has_member(&element) {
                    errors.push(prefixed(place, format!("duplicate entries for key {element}")));
                }
                seen.insert(std::slice::from_ref(&element));
            }
            let here = Place { parent: place, step: Step::Item(element) };
            check(list.element, item, duplicates, Some(&here), errors);
        }
    }
}

fn prefixed(place: Option<&Place<'_>>, message: String) -> String {
    match place {
        Some(place) => format!("{place}: {message}"),
        None => message,
    }
}

/// Formats a value as Go's `%#v` prints structured-merge-diff's wrapper of it.
fn go_syntax(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{}}}", go::syntax(value))
}

/// Formats a value as Go's `%v` prints the wrapper.
fn go_value(value: &Value) -> String {
    format!("&{{{}}}", go::value(value))
}

/// Returns the paths of all leaves and items of a value.
pub(super) fn field_set(kind: Type<'_>, value: &Value) -> Set {
    let mut set = Set::default();
    mention(kind, value, &mut Vec::new(), &mut set);
    set
}

fn mention(kind: Type<'_>, value: &Value, path: &mut Vec<PathElement>, set: &mut Set) {
    let atom = kind.atom_of(Some(value));
    if let Some(map) = atom.map {
        if map.atomic {
            return set.insert(path);
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let (kind, named) = map.member(name).unwrap_or((Type::deduced(), false));
            path.push(PathElement::Field(name.into()));
            mention(kind, member, path, set);
            if !named || member.is_null() || member.as_object().is_some_and(Map::is_empty) {
                set.insert(path);
            }
            path.pop();
        }
    } else if atom.scalar.is_some() {
        set.insert(path);
    } else if let Some(list) = atom.list {
        if list.relation == Relation::Atomic {
            return set.insert(path);
        }
        let Ok(items) = Index::new(&list, Some(value)) else { return };
        for element in items.by_element.keys() {
            path.push(element.clone());
            // Of duplicate items, only the existence is owned.
            if let Some(item) = items.once(element) {
                mention(list.element, item, path, set);
            }
            set.insert(path);
            path.pop();
        }
    }
}

/// The items of a list, each with the element that identifies it.
struct Index<'v> {
    items: Vec<(PathElement, &'v Value)>,
    by_element: BTreeMap<PathElement, Vec<&'v Value>>,
}

impl<'v> Index<'v> {
    fn new(list: &List<'_>, value: Option<&'v Value>) -> Result<Self, String> {
        let values = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut items = Vec::with_capacity(values.len());
        let mut by_element: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (index, item) in values.iter().enumerate() {
            let element = element_of(list, item).map_err(|message| format!("element {index}: {message}"))?;
            by_element.entry(element.clone()).or_default().push(item);
            items.push((element, item));
        }
        Ok(Self { items, by_element })
    }

    fn has(&self, element: &PathElement) -> bool {
        self.by_element.contains_key(element)
    }

    fn all(&self, element: &PathElement) -> &[&'v Value] {
        self.by_element.get(element).map_or(&[], Vec::as_slice)
    }

    /// Returns an item that occurs exactly once.
    fn once(&self, element: &PathElement) -> Option<&'v Value> {
        match self.all(element) {
            [item] => Some(item),
            _ => None,
        }
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        _ => true,
    }
}

/// Returns the forms in which two values are walked together: the left one's if they differ, and the right one's.
fn forms<'a>(kind: Type<'a>, left: Option<&Value>, right: Option<&Value>) -> (Option<Atom<'a>>, Atom<'a>) {
    let form = |value: Option<&Value>| match value {
        Some(Value::Object(_)) => 0,
        Some(Value::Array(_)) => 1,
        Some(Value::Null) => 2,
        _ => 3,
    };
    match (left, right) {
        (left, None) => (None, kind.atom_of(left)),
        (None, right) => (None, kind.atom_of(right)),
        _ if form(left) == form(right) => (None, kind.atom_of(right)),
        _ => (Some(kind.atom_of(left)), kind.atom_of(right)),
    }
}

/// Merges `right` into `left`; nothing is removed. `None` if both are empty.
pub(super) fn merge(
    kind: Type<'_>,
    left: Option<&Value>,
    right: Option<&Value>,
) -> Result<Option<Value>, String> {
    let keep_right = || right.or(left).cloned();
    // If the two differ in form, the right one's form determines the result.
    let (_, atom) = forms(kind, left, right);
    if let Some(map) = atom.map {
        if map.atomic || (is_empty(left) && is_empty(right)) {
            return Ok(keep_right());
        }
        let (left, right) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
        let mut merged = Map::new();
        let names = left.into_iter().flatten().chain(right.into_iter().flatten()).map(|(name, _)| name);
        for name in names {
            if merged.contains_key(name) {
                continue;
            }
            let (kind, _) = map.member(name).unwrap_or((Type::deduced(), false));
            let both =
                merge(kind, left.and_then(|left| left.get(name)), right.and_then(|right| right.get(name)))
                    .map_err(|error| format!(".{name}{error}"))?;
            merged.extend(both.map(|value| (name.clone(), value)));
        }
        return Ok((!merged.is_empty()).then_some(Value::Object(merged)));
    }
    match atom.list {
        Some(list) if atom.scalar.is_none() && list.relation != Relation::Atomic => {
            if is_empty(left) && is_empty(right) {
                return Ok(keep_right());
            }
            merge_items(&list, left, right)
        }
        _ => Ok(keep_right()),
    }
}

/// Merges the items of both lists: the shared ones in the order of `right`, the others at their previous places.
fn merge_items(
    list: &List<'_>,
    left: Option<&Value>,
    right: Option<&Value>,
) -> Result<Option<Value>, String> {
    let error = |message: String| format!(": {message}");
    let (lefts, rights) = (Index::new(list, left).map_err(error)?, Index::new(list, right).map_err(error)?);
    if let Some((element, _)) = rights.by_element.iter().find(|(_, items)| items.len() > 1) {
        return Err(error(format!("duplicate entries for key {element}")));
    }
    let item = |element: &PathElement, left: Option<&Value>, right: Option<&Value>| {
        merge(list.element, left, right).map_err(|error| format!("{element}{error}"))
    };
    let mut shared = rights.items.iter().map(|(element, _)| element).filter(|element| lefts.has(element));
    let mut next_shared = shared.next();
    let mut merged = Set::default();
    let mut out = Vec::with_capacity(lefts.items.len().max(rights.items.len()));
    let (mut l, mut r) = (0, 0);
    while l < lefts.items.len() || r < rights.items.len() {
        if let (Some((element, _)), Some((other, value))) = (lefts.items.get(l), rights.items.get(r)) {
            if element == other {
                merged.insert(std::slice::from_ref(element));
                out.extend(item(element, lefts.once(element), Some(value))?);
                l += 1;
                r += 1;
                next_shared = shared.next();
                continue;
            }
            if rights.has(element) && next_shared.is_some_and(|next| next != element) {
                // Both have it, but it is not its turn.
                l += 1;
                continue;
            }
        }
        if let Some((element, value)) = lefts.items.get(l) {
            if !rights.has(element) {
                out.extend(item(element, Some(value), None)?);
                l += 1;
                continue;
            }
            if merged.has_member(element) {
                l += 1;
            }
        }
        if let Some((element, value)) = rights.items.get(r) {
            merged.insert(std::slice::from_ref(element));
            out.extend(item(element, lefts.once(element), Some(value))?);
            r += 1;
            if next_shared == Some(element) {
                next_shared = shared.next();
            }
        }
    }
    Ok((!out.is_empty()).then_some(Value::Array(out)))
}

/// Returns the changes from `left` to `right`.
pub(super) fn compare(kind: Type<'_>, left: &Value, right: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    difference(kind, Some(left), Some(right), &mut Vec::new(), &mut comparison);
    comparison
}

fn difference(
    kind: Type<'_>,
    left: Option<&Value>,
    right: Option<&Value>,
    path: &mut Vec<PathElement>,
    out: &mut Comparison,
) {
    let leaf = |path: &[PathElement], out: &mut Comparison| match (left, right) {
        (None, _) => out.added.insert(path),
        (_, None) => out.removed.insert(path),
        (Some(left), Some(right)) if !equal(left, right) => out.modified.insert(path),
        _ => {}
    };
    let mut is_leaf = false;
    let (before, after) = forms(kind, left, right);
    for atom in before.into_iter().chain([after]) {
        if let Some(map) = atom.map {
            if map.atomic || (is_empty(left) && is_empty(right)) {
                leaf(path, out);
                is_leaf = true;
                continue;
            }
            let (lefts, rights) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
            let only_right = rights
                .into_iter()
                .flatten()
                .filter(|(name, _)| lefts.is_none_or(|left| !left.contains_key(*name)));
            for (name, _) in lefts.into_iter().flatten().chain(only_right) {
                let (kind, _) = map.member(name).unwrap_or((Type::deduced(), false));
                path.push(PathElement::Field(name.into()));
                difference(
                    kind,
                    lefts.and_then(|left| left.get(name)),
                    rights.and_then(|right| right.get(name)),
                    path,
                    out,
                );
                path.pop();
            }
        } else if atom.scalar.is_some() {
            leaf(path, out);
            is_leaf = true;
        } else if let Some(list) = atom.list {
            if list.relation == Relation::Atomic || (is_empty(left) && is_empty(right)) {
                leaf(path, out);
                is_leaf = true;
                continue;
            }
            compare_items(&list, left, right, path, out);
        }
    }
    if !is_leaf {
        if left.is_none() {
            out.added.insert(path);
        } else if right.is_none() {
            out.removed.insert(path);
        }
    }
}

fn compare_items(
    list: &List<'_>,
    left: Option<&Value>,
    right: Option<&Value>,
    path: &mut Vec<PathElement>,
    out: &mut Comparison,
) {
    let (Ok(lefts), Ok(rights)) = (Index::new(list, left), Index::new(list, right)) else {
        return;
    };
    let only_right = rights.by_element.keys().filter(|element| !lefts.has(element));
    for element in lefts.by_element.keys().chain(only_right) {
        path.push(element.clone());
        // Duplicate items are compared as one.
        match (lefts.all(element), rights.all(element)) {
            (left @ ([] | [_]), right @ ([] | [_])) => {
                difference(list.element, left.first().copied(), right.first().copied(), path, out);
            }
            (left @ [_, _, ..], right @ [_, _, ..]) => {
                if left.len() != right.len()
                    || left.iter().zip(right).any(|(left, right)| !equal(left, right))
                {
                    out.modified.insert(path);
                }
            }
            ([_, _, ..], right) => {
                if let Some(right) = right.first() {
                    difference(list.element, None, Some(right), path, out);
                }
                out.removed.insert(path);
            }
            (left, _) => {
                if let Some(left) = left.first() {
                    difference(list.element, Some(left), None, path, out);
                }
                out.added.insert(path);
            }
        }
        path.pop();
    }
}

/// Removes the items and members in the set from a value. A value that loses all of its parts becomes null.
pub(super) fn remove(kind: Type<'_>, value: &Value, set: &Set) -> Value {
    let atom = kind.atom_of(Some(value));
    match value {
        Value::Object(members) => {
            let Some(map) = atom.map.filter(|map| !map.atomic) else {
                return Value::Null;
            };
            let kept = members.iter().filter_map(|(name, member)| {
                let element = PathElement::Field(name.into());
                if set.has_member(&element) {
                    return None;
                }
                let (kind, _) = map.member(name).unwrap_or((Type::deduced(), false));
                let member = match set.child(&element).filter(|below| !below.is_empty()) {
                    Some(below) => remove(kind, member, below),
                    None => member.clone(),
                };
                Some((name.clone(), member))
            });
            let kept: Map<_, _> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        Value::Array(items) => {
            let Some(list) = atom.list.filter(|list| list.relation != Relation::Atomic) else {
                return Value::Null;
            };
            let kept = items.iter().filter_map(|item| {
                let Ok(element) = element_of(&list, item) else {
                    return Some(item.clone());
                };
                if set.has_member(&element) {
                    return None;
                }
                Some(match set.child(&element).filter(|below| !below.is_empty()) {
                    Some(below) => remove(list.element, item, below),
                    None => item.clone(),
                })
            });
            let kept: Vec<_> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        scalar => scalar.clone(),
    }
}

/// Adapts a set that was written under an older schema: the owner of parts of a value that is atomic now owns it whole.
pub(super) fn reconcile(kind: Type<'_>, set: Set) -> Set {
    let (mut gone, mut whole) = (Set::default(), Set::default());
    reconcile_below(kind, Some(&set), false, &mut Vec::new(), (&mut gone, &mut whole));
    if whole.is_empty() { set } else { set.recursive_difference(&gone).union(whole) }
}

fn reconcile_below(
    kind: Type<'_>,
    set: Option<&Set>,
    was_atomic: bool,
    path: &mut Vec<PathElement>,
    (gone, whole): (&mut Set, &mut Set),
) {
    let atom = kind.atom();
    let (atomic, map, list) = match (atom.map, atom.scalar, atom.list) {
        (Some(map), ..) if map.is_untyped() => return,
        (Some(map), ..) => (map.atomic, Some(map), None),
        (None, Some(_), _) | (None, None, None) => return,
        (None, None, Some(list)) => (list.relation == Relation::Atomic, None, Some(list)),
    };
    if atomic {
        let had_parts = set.is_some_and(|set| !set.is_empty());
        if !was_atomic && (list.is_some() || had_parts) {
            gone.insert(path);
            whole.insert(path);
        }
        return;
    }
    let Some(set) = set else { return };
    let only_children = set.children().map(|(element, _)| element).filter(|element| !set.has_member(element));
    for element in only_children.chain(set.members()) {
        let kind = match (map, list, element) {
            (Some(map), _, PathElement::Field(name)) => map.member(name).map(|(kind, _)| kind),
            (_, Some(list), _) => Some(list.element),
            _ => None,
        };
        let Some(kind) = kind else { continue };
        let child = set.child(element);
        path.push(element.clone());
        let was_atomic = set.has_member(element) && child.is_none();
        reconcile_below(kind, child, was_atomic, path, (&mut *gone, &mut *whole));
        path.pop();
    }
}
