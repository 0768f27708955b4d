//! Whether the fields that a manager owns are those of a configuration, with its values.

use serde_json::{Map, Value};

use super::element::Element;
use super::quantity;
use crate::differences::equal;

/// What is known about the place of a value in its object.
pub(super) struct Place<'a> {
    /// What other managers own here.
    pub(super) others: Vec<&'a Value>,
    /// Whether the object is of a built-in kind that has quantities.
    pub(super) has_quantities: bool,
    /// Whether the texts below are quantities.
    pub(super) is_quantity: bool,
}

impl Place<'_> {
    /// Returns the place of a part, by its key in `fieldsV1`.
    pub(super) fn inside(&self, key: &str) -> Self {
        Self {
            others: self.others.iter().filter_map(|owned| owned.get(key)).collect(),
            has_quantities: self.has_quantities,
            is_quantity: self.is_quantity,
        }
    }

    /// Returns whether others own parts of the value here: then it is no value that is owned as a whole.
    fn is_granular(&self) -> bool {
        self.others
            .iter()
            .any(|owned| owned.as_object().is_some_and(|owned| owned.keys().any(|key| key != ".")))
    }
}

/// Returns whether exactly the members of `desired`, but `except`, are owned, and `live` has them.
pub(super) fn fields(
    owned: &Map<String, Value>,
    desired: &Map<String, Value>,
    live: Option<&Value>,
    place: &Place<'_>,
    except: &[&str],
) -> bool {
    let is_wanted = |key: &String| match Element::parse(key) {
        Some(Element::This) => true,
        Some(Element::Field(name)) => except.contains(&name) || desired.contains_key(name),
        _ => false,
    };
    owned.keys().all(is_wanted)
        && desired.iter().filter(|(name, _)| !except.contains(&name.as_str())).all(|(name, desired)| {
            let key = format!("f:{name}");
            let Some(owned) = owned.get(&key) else { return false };
            let mut place = place.inside(&key);
            place.is_quantity |= place.has_quantities && desired.is_object() && has_quantities(name);
            part(owned, desired, live.and_then(|live| live.get(name)), &place)
        })
}

/// Maps with these names have quantities in all built-in kinds.
fn has_quantities(name: &str) -> bool {
    ["capacity", "hard", "limits", "overhead", "podFixed", "requests"].contains(&name)
}

fn part(owned: &Value, desired: &Value, live: Option<&Value>, place: &Place<'_>) -> bool {
    let Some(owned) = owned.as_object() else { return false };
    if owned.keys().all(|key| key == ".") {
        return whole(desired, live, place);
    }
    match desired {
        Value::Object(desired) => fields(owned, desired, live, place, &[]),
        Value::Array(desired) => items(owned, desired, live, place),
        _ => false,
    }
}

/// Compares a value that is owned as a whole: a scalar, an atomic object or list, or an empty object.
fn whole(desired: &Value, live: Option<&Value>, place: &Place<'_>) -> bool {
    match (desired, live) {
        // The server drops empty values of many fields. Had the last applied value been another, it would be here, or the
        // one who removed it would have taken the field from its owners.
        (desired, None | Some(Value::Null)) => is_empty(desired),
        // The members are those of others, and `{}` takes nothing from them.
        (Value::Object(desired), Some(Value::Object(_))) if place.is_granular() => desired.is_empty(),
        (Value::String(desired), Some(Value::String(live))) if place.is_quantity => {
            desired == live || quantity::same(desired, live)
        }
        (desired, Some(live)) => equal(desired, live),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// Compares the items of a list that are owned one by one. Which fields identify an item is known from the keys that
/// are owned.
fn items(owned: &Map<String, Value>, desired: &[Value], live: Option<&Value>, place: &Place<'_>) -> bool {
    let Some(live) = live.and_then(Value::as_array) else { return false };
    let mut elements = Vec::new();
    for (key, owned) in owned {
        match Element::parse(key) {
            Some(Element::This) => {}
            Some(element) => elements.push((key, element, owned)),
            None => return false,
        }
    }
    if elements.len() != desired.len() {
        return false;
    }
    // Where each desired item is in the live list. An apply moves items into its own order.
    let mut positions = Vec::with_capacity(desired.len());
    // Items that have all fields of their keys are found first: the others have defaults in them.
    for is_exact in [true, false] {
        for (index, desired) in desired.iter().enumerate() {
            let is_it = |(_, element, _): &(_, Element<'_>, _)| identifies(element, desired, is_exact);
            let mut found = elements.iter().enumerate().filter(|(_, element)| is_it(element));
            let (at, None) = (found.next(), found.next()) else { return false };
            let Some((at, _)) = at else { continue };
            if positions.iter().any(|(other, _)| *other == index) {
                return false;
            }
            let (key, element, owned) = elements.swap_remove(at);
            let mut found = live.iter().enumerate().filter(|(_, live)| identifies(&element, live, true));
            let (Some((position, live)), None) = (found.next(), found.next()) else { return false };
            positions.push((index, position));
            if !part(owned, desired, Some(live), &place.inside(key)) {
                return false;
            }
        }
    }
    positions.sort_unstable();
    positions.len() == desired.len() && positions.is_sorted_by_key(|(_, position)| position)
}

/// Returns whether an item is the one that an element names. If it need not be exact, fields of the key may be absent,
/// because they have defaults.
fn identifies(element: &Element<'_>, item: &Value, is_exact: bool) -> bool {
    match element {
        Element::Key(key) => {
            let same = |name: &str, value: &Value| match item.get(name) {
                Some(item) => equal(item, value),
                None => !is_exact,
            };
            item.is_object() && key.iter().all(|(name, value)| same(name, value))
        }
        Element::Item(value) => equal(item, value),
        Element::This | Element::Field(_) => false,
    }
}
