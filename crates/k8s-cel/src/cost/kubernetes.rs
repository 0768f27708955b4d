//! Estimates of Kubernetes' libraries, and of functions whose estimates it replaces.

use super::{
    builtin::matching,
    estimate::{Estimate, NEW_LIST, NEW_STRUCT, PER_CHARACTER, PER_PATTERN_CHARACTER},
    walk::{Call, CallEstimate, Node, Walk},
};
use crate::{
    syntax::{Kind, Literal},
    types::Type,
};

/// The cost of an authorization check: two fit into an expression.
const CHECK: Estimate = Estimate::fixed(350_000);
/// The maximum length of a named format's pattern.
const FORMAT_PATTERN_MAX: f64 = 128.0;
/// The maximum length of the name of a format.
const FORMAT_MAX: u64 = 64;
/// The size of an address in bytes.
const ADDRESS: Estimate = Estimate { min: 4, max: 16 };

impl<'a> Walk<'a> {
    pub(super) fn of_kubernetes(&self, call: &Call<'a, '_>) -> Option<CallEstimate> {
        let size = |node: &Node<'_>| self.size_of(node);
        let reading = |node: &Node<'_>| size(node).scaled(PER_CHARACTER);
        let reading_twice = |node: &Node<'_>| size(node).scaled(2.0 * PER_CHARACTER);
        let new = CallEstimate::new;
        Some(match (call.function, call.target, call.args) {
            ("check", ..) => new(CHECK),
            ("fieldSelector" | "labelSelector", _, [selector]) => new(selecting(size(selector))),
            (
                "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes",
                Some(target),
                _,
            ) => new(match element_type(target) {
                Some(Type::String | Type::Bytes) => {
                    let element = self.size_of_elements(target).scaled(PER_CHARACTER);
                    size(target).times(element.plus(Estimate::ONE))
                }
                Some(_) => size(target),
                None if call.function == "includes" => size(target),
                None => reading(target),
            }),
            ("url" | "jsonpatch.escapeKey", _, [text])
            | ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(text), _) => {
                CallEstimate::sized(reading(text), size(text))
            }
            ("replace", Some(text), [old, new, ..]) => {
                CallEstimate::sized(reading_twice(text), replaced(size(text), size(old), size(new)))
            }
            ("split", Some(text), args) => {
                // At most each character becomes an element.
                let max = args.get(1).and_then(limit).unwrap_or_else(|| size(text).max);
                CallEstimate::sized(reading_twice(text), Estimate { min: 0, max })
            }
            ("join", Some(list), args) => {
                let size = self.joined(list, args.first());
                CallEstimate::sized(size.scaled(PER_CHARACTER), size)
            }
            ("find" | "findAll", Some(text), [pattern, ..]) => {
                let text = size(text);
                CallEstimate::sized(matching(text, size(pattern)), Estimate { min: 0, max: text.max })
            }
            ("ip", ..) if call.overload == "cidr_ip" => new(Estimate::ONE),
            (
                "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver",
                _,
                [text, ..],
            ) => new(reading(text)),
            ("ip.isCanonical", _, [text, ..]) => new(reading_twice(text)),
            ("containsIP", _, [other, ..]) => {
                let compare = ADDRESS.plus(ADDRESS).scaled(PER_CHARACTER);
                let parses = call.overload == "cidr_contains_ip_string";
                new(if parses { compare.plus(reading(other)) } else { compare })
            }
            ("containsCIDR", _, [other, ..]) => {
                let compare = ADDRESS.plus(ADDRESS).scaled(PER_CHARACTER);
                let compare = compare.plus(ADDRESS.scaled(PER_CHARACTER)).plus(Estimate::ONE);
                let parses = call.overload == "cidr_contains_cidr_string";
                new(if parses { compare.plus(reading(other)) } else { compare })
            }
            ("validate", _, [text, ..]) => {
                new(reading(text).scaled(FORMAT_PATTERN_MAX * PER_PATTERN_CHARACTER))
            }
            ("_==_", _, [left, right]) => new(equality(left, right)?),
            (function, ..) if is_accessor(function) => new(Estimate::ONE),
            _ => return None,
        })
    }

    /// The size of a list of texts that are joined.
    fn joined(&self, list: &Node<'a>, separator: Option<&Node<'a>>) -> Estimate {
        let count = self.size_of(list);
        let size = match element_type(list) {
            Some(_) => count.times(self.size_of_elements(list)),
            None => Estimate::ZERO,
        };
        let between = Estimate { min: count.min.saturating_sub(1), max: count.max.saturating_sub(1) };
        separator.map_or(size, |separator| size.plus(self.size_of(separator).times(between)))
    }
}

/// Functions that read something out of a value, or build a request for authorization.
fn is_accessor(function: &str) -> bool {
    matches!(
        function,
        "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name"
        | "allowed" | "reason" | "error" | "errored"
        // Addresses.
        | "masked" | "prefixLength" | "family" | "isUnspecified" | "isLoopback" | "isLinkLocalMulticast"
        | "isLinkLocalUnicast" | "isGlobalUnicast"
        // Quantities and versions.
        | "sign" | "asInteger" | "isInteger" | "asApproximateFloat" | "isGreaterThan" | "isLessThan"
        | "compareTo" | "add" | "sub" | "major" | "minor" | "patch"
        // URLs.
        | "getScheme" | "getHostname" | "getHost" | "getPort" | "getEscapedPath" | "getQuery"
        | "format.named"
    )
}

/// The type of the elements of a list. For other types, what cel-go has in its place: the first parameter.
fn element_type<'a>(list: &Node<'a>) -> Option<&'a Type> {
    let element = match list.kind {
        Type::List(element) => element,
        Type::Map(entry) => &entry.0,
        Type::Meta(inner) => inner.as_deref()?,
        Type::Opaque(_, parameters) => parameters.first()?,
        _ => return None,
    };
    Some(match element {
        Type::Nullable(inner) => inner,
        other => other,
    })
}

/// The cost of parsing a selector: the list of requirements, and for each (two characters, `k,`) a struct with a list.
fn selecting(size: Estimate) -> Estimate {
    #[allow(clippy::cast_precision_loss)]
    let requirement = (NEW_LIST.max + NEW_STRUCT.max) as f64;
    NEW_LIST.plus(size.scaled(PER_CHARACTER)).plus(size.scaled(0.5).scaled(requirement))
}

/// The limit of `split` if it is written out; a negative one is no limit.
fn limit(node: &Node<'_>) -> Option<u64> {
    match &node.expr.kind {
        Kind::Literal(Literal::Int(limit)) => Some(limit.cast_unsigned()),
        _ => None,
    }
}

/// The size of a text after `old` is replaced by `new`.
fn replaced(text: Estimate, old: Estimate, new: Estimate) -> Estimate {
    // An empty text is found before, between and after all characters.
    let max = if old.min == 0 {
        text.max.saturating_add(1).saturating_mul(new.max).saturating_add(text.max)
    } else if new.max <= old.min {
        text.max
    } else {
        quotient(text.max, old.min).saturating_mul(new.max)
    };
    let min = if old.max == 0 {
        text.min.saturating_add(1).saturating_mul(new.min).saturating_add(text.min)
    } else if old.max <= new.min {
        text.min
    } else {
        quotient(text.min, old.max).saturating_mul(new.min)
    };
    Estimate { min, max }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn quotient(size: u64, by: u64) -> u64 {
    (size as f64 / by as f64).ceil() as u64
}

/// The cost of comparing values of the libraries' types.
fn equality(left: &Node<'_>, right: &Node<'_>) -> Option<Estimate> {
    if left.kind != right.kind {
        return None;
    }
    match left.kind {
        Type::Opaque(name, _) if matches!(&**name, "net.IP" | "net.CIDR") => Some(Estimate::ONE),
        Type::Object(name) => match &**name {
            "kubernetes.Quantity"
            | "kubernetes.Semver"
            | "kubernetes.authorization.Authorizer"
            | "kubernetes.authorization.PathCheck"
            | "kubernetes.authorization.GroupCheck"
            | "kubernetes.authorization.ResourceCheck"
            | "kubernetes.authorization.Decision" => Some(Estimate::ONE),
            "kubernetes.NamedFormat" => Some(Estimate { min: 1, max: FORMAT_MAX }.scaled(PER_CHARACTER)),
            "kubernetes.URL" => {
                let max = right.size.map_or(1, |size| size.max);
                Some(Estimate { min: 1, max }.scaled(PER_CHARACTER))
            }
            _ => None,
        },
        _ => None,
    }
}
