//! What calls cost at run time: cel-go's `interpreter/runtimecost.go` and apiserver's `pkg/cel/library/cost.go`.

use crate::value::{Evaluated, Value, work};

/// The cost of creating a list, a map and an object.
pub(super) const LIST: u64 = 10;
pub(super) const MAP: u64 = 30;
pub(super) const STRUCT: u64 = 40;

/// The cost of an authorization check: two fit into one expression.
const CHECK: u64 = 350_000;

/// How the cost of a call depends on its arguments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum CallCost {
    Fixed(u64),
    /// Of reading the argument once.
    Scan(usize),
    /// Of reading the first argument and writing something of its size.
    ScanTwice,
    /// Of comparing two values.
    Shorter,
    /// The same; but values of libraries are compared at once.
    Equal,
    Sum,
    /// Of comparing with each element of the second argument.
    Elements,
    Regex,
    Contains,
    /// Of visiting everything inside the first argument.
    Traversal,
    Join,
    /// Of reading the pattern, unless kube-apiserver panics.
    Format,
    Selector,
    ContainsIp {
        parses: bool,
    },
    ContainsCidr {
        parses: bool,
    },
    Validate,
    /// Of allocating the list that is the result.
    Output,
    Flatten,
    /// Of comparing each element of the argument with each.
    Pairs(usize),
    Sets(u64),
}

impl CallCost {
    /// `overload` is empty if the checker left more than one.
    pub(super) fn of(function: &str, overload: &str) -> Self {
        match overload {
            "list_slice" | "lists_range" | "list_reverse" => return Self::Output,
            "list_flatten" | "list_flatten_int" => return Self::Flatten,
            "list_distinct" => return Self::Pairs(0),
            "list_sets_contains_list" | "list_sets_intersects_list" => return Self::Sets(1),
            "list_sets_equivalent_list" => return Self::Sets(2),
            _ if overload.starts_with("list_") && overload.ends_with("_sort") => return Self::Pairs(0),
            _ if overload.ends_with("_sortByAssociatedKeys") => return Self::Pairs(1),
            _ => {}
        }
        match function {
            "check" => return Self::Fixed(CHECK),
            "fieldSelector" | "labelSelector" => return Self::Selector,
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
                return Self::Traversal;
            }
            "url"
            | "lowerAscii"
            | "upperAscii"
            | "substring"
            | "trim"
            | "jsonpatch.escapeKey"
            | "cidr"
            | "isIP"
            | "isCIDR"
            | "quantity"
            | "isQuantity"
            | "semver"
            | "isSemver" => return Self::Scan(0),
            "ip" => return if overload == "cidr_ip" { Self::Fixed(1) } else { Self::Scan(0) },
            "replace" | "split" | "ip.isCanonical" => return Self::ScanTwice,
            "join" => return Self::Join,
            "find" | "findAll" => return Self::Regex,
            "containsIP" => return Self::ContainsIp { parses: overload == "cidr_contains_ip_string" },
            "containsCIDR" => return Self::ContainsCidr { parses: overload == "cidr_contains_cidr_string" },
            "validate" => return Self::Validate,
            _ => {}
        }
        match overload {
            "starts_with_string" | "ends_with_string" => Self::Scan(1),
            "string_format" | "string_format_v4" => Self::Format,
            "string_to_bytes" | "bytes_to_string" | "strings_quote" => Self::Scan(0),
            "in_list" => Self::Elements,
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes" => Self::Shorter,
            "add_string" | "add_bytes" => Self::Sum,
            "matches" | "matches_string" => Self::Regex,
            "contains_string" => Self::Contains,
            _ => Self::Fixed(1),
        }
    }

    /// The cost of a call. Arguments that failed count as 1.
    pub(super) fn charge(self, args: &[Evaluated<'_>], result: Option<&Evaluated<'_>>) -> u64 {
        let size = |index: usize| args.get(index).map_or(1, size_of);
        match self {
            Self::Fixed(cost) => cost,
            Self::Scan(index) => scaled(size(index), 0.1),
            Self::Format => Self::Scan(0).charge(args, result),
            Self::ScanTwice => ceil(float(size(0)) * 2.0 * 0.1),
            Self::Shorter => scaled(size(0).min(size(1)), 0.1),
            Self::Equal => match args.first() {
                Some(Ok(Value::Opaque(_))) => 1,
                _ => scaled(size(0).min(size(1)), 0.1),
            },
            Self::Sum => scaled(size(0) + size(1), 0.1),
            Self::Elements => size(1),
            Self::Regex => ceil((1.0 + float(size(0))) * 0.1) * scaled(size(1), 0.25),
            Self::Contains => scaled(size(0), 0.1) * scaled(size(1), 0.1),
            Self::Traversal => args.first().map_or(0, |arg| arg.as_ref().map_or(1, traversal)),
            Self::Join => ceil(float(result.map_or(1, size_of)) * 2.0 * 0.1),
            Self::Selector => {
                LIST + scaled(size(1), 0.1) + scaled(ceil(float(size(1)) * 0.5), float(LIST + STRUCT))
            }
            Self::ContainsIp { parses } => {
                scaled(size(0) * 2, 0.1) + if parses { scaled(size(1), 0.1) } else { 0 }
            }
            Self::ContainsCidr { parses } => {
                scaled(size(0) * 2, 0.1)
                    + scaled(size(0), 0.1)
                    + 1
                    + if parses { scaled(size(1), 0.1) } else { 0 }
            }
            Self::Validate => match args.first() {
                Some(Ok(Value::Opaque(format))) => {
                    ceil((1.0 + float(size(1))) * 0.1) * scaled(format.regex_size(), 0.25)
                }
                _ => 1,
            },
            Self::Output => allocation(1.0, result.map_or(1, size_of)),
            Self::Flatten => {
                #[allow(clippy::cast_precision_loss)]
                let depth = match args.get(1) {
                    Some(Ok(Value::Int(depth))) => *depth as f64,
                    _ => 1.0,
                };
                allocation(depth, size(0))
            }
            Self::Pairs(index) => {
                let Some(Ok(Value::List(list))) = args.get(index) else { return 1 };
                let texts = matches!(list.get(0), Some(Ok(Value::String(_) | Value::Bytes(_))));
                let size = list.len() as u64;
                allocation(if texts { 2.1 } else { 2.0 }, size.saturating_mul(size))
            }
            Self::Sets(factor) => size(0).saturating_mul(size(1)).saturating_mul(factor).saturating_add(1),
        }
    }
}

fn size_of(value: &Evaluated<'_>) -> u64 {
    value.as_ref().map_or(1, Value::cost_size)
}

#[allow(clippy::cast_precision_loss)]
fn float(size: u64) -> f64 {
    size as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn ceil(cost: f64) -> u64 {
    cost.ceil() as u64
}

fn scaled(size: u64, factor: f64) -> u64 {
    ceil(float(size) * factor)
}

/// A call that makes a list: its elements by a factor, the call and the list.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn allocation(factor: f64, size: u64) -> u64 {
    let factor = if factor < 0.0 { 1.0 } else { factor };
    ((float(size) * factor) as u64).saturating_add(1 + LIST)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn traversal(value: &Value<'_>) -> u64 {
    if work(16).is_err() {
        return u64::MAX;
    }
    match value {
        Value::String(text) => (float(text.len() as u64) * 0.1) as u64,
        Value::Bytes(bytes) => (float(bytes.len() as u64) * 0.1) as u64,
        Value::List(list) => {
            let elements = list.iter().map(|element| element.as_ref().map_or(1, traversal));
            elements.fold(0, u64::saturating_add)
        }
        Value::Map(map) => {
            let (mut cost, mut visited) = (0_u64, 0);
            for key in map.keys() {
                // A field that is null has a key, but no value.
                let value = map.find(&key).ok().flatten().and_then(Result::ok);
                cost =
                    cost.saturating_add(traversal(&key)).saturating_add(value.as_ref().map_or(1, traversal));
                visited += 1;
            }
            // kube-apiserver visits a nil for each field that the schema does not declare, and finds no value for it.
            cost.saturating_add(2 * map.len().saturating_sub(visited) as u64)
        }
        _ => 1,
    }
}
