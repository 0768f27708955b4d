//! The costs of functions and the sizes of their results, for the functions of cel-go and of Kubernetes.

use std::rc::Rc;

use kube_cel::cel::common::ast::{CallExpr, Expr, LiteralValue};

use super::node::{Entry, NEW_LIST, Node, Size, Type};
use crate::cel::declared::Declared;

/// The cost of reading one character.
const PER_CHARACTER: f64 = 0.1;
/// The cost of one character of a regular expression.
const PER_PATTERN_CHARACTER: f64 = 0.25;
/// The maximum length of a named format's pattern.
const FORMAT_PATTERN_MAX: f64 = 128.0;

/// A call. Its cost does not include those of its target and arguments.
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) call: &'a CallExpr,
    pub(super) target: Option<&'a Node>,
    pub(super) args: &'a [Node],
}

impl Function<'_> {
    /// Estimates the call.
    pub(super) fn node(&self, root: &Rc<Declared>) -> Node {
        let kind = self.kind();
        if let Some(node) = self.of_kubernetes(&kind) {
            return node;
        }
        let made = |cost: u64, size: Size| Node { size: Some(size), ..Node::new(cost, kind.clone()) };
        let plain = || Node::new(1, kind.clone());
        match (self.name, self.target, self.args) {
            ("_&&_" | "_||_", ..) => Node::new(0, kind.clone()),
            ("_?_:_", _, [_, yes, no]) => Node {
                size: Some(yes.size_or_unknown().union(no.size_or_unknown())),
                entry: Entry::union(yes.entry, no.entry),
                ..Node::new(0, kind.clone())
            },
            ("_[_]", _, [operand, _]) => {
                let place = operand.place.within(root, Declared::element);
                let node = Node::new(1, kind.clone()).at(place);
                Node { size: operand.entry.map(|entry| entry.value).or(node.size), ..node }
            }
            ("_+_", _, [left, right]) => {
                let size = left.size_or_unknown().plus(right.size_or_unknown());
                let entry = Entry::union(left.entry, right.entry);
                match (&left.kind, &right.kind) {
                    (Type::List(_), _) | (_, Type::List(_)) => Node { entry, ..made(1, size) },
                    (Type::Scalar, _) | (_, Type::Scalar) => plain(),
                    // Strings and bytes, or values that may be either.
                    _ => Node { entry, ..made(size.cost(PER_CHARACTER).max(1), size) },
                }
            }
            ("_==_" | "_!=_", _, [left, right]) => Node::new(compare(left, right), kind.clone()),
            ("_<_" | "_<=_" | "_>_" | "_>=_", _, [left, right]) => match (&left.kind, &right.kind) {
                (Type::Scalar, _) | (_, Type::Scalar) => plain(),
                (Type::Dyn, Type::Dyn) => Node::new(compare(left, right).max(1), kind.clone()),
                _ => Node::new(compare(left, right), kind.clone()),
            },
            ("@in", _, [_, range]) => match &range.kind {
                Type::Map(..) => plain(),
                Type::List(_) => Node::new(range.size_or_unknown().max, kind.clone()),
                _ => Node::new(range.size_or_unknown().max.max(1), kind.clone()),
            },
            ("startsWith" | "endsWith", Some(_), [part]) => {
                Node::new(part.size_or_unknown().cost(PER_CHARACTER), kind.clone())
            }
            ("contains", Some(text), [part]) => {
                let cost = |node: &Node| node.size_or_unknown().cost(PER_CHARACTER);
                Node::new(cost(text).saturating_mul(cost(part)), kind.clone())
            }
            ("matches", Some(text), [pattern]) | ("matches", None, [text, pattern]) => {
                Node::new(matching(text, pattern), kind.clone())
            }
            ("format", Some(text), _) => Node::new(text.size_or_unknown().cost(PER_CHARACTER), kind.clone()),
            ("strings.quote", None, [text]) => {
                let size = text.size_or_unknown();
                let quoted = Size {
                    min: size.min.saturating_add(2),
                    max: size.max.saturating_mul(2).saturating_add(2),
                };
                made(size.cost(PER_CHARACTER), quoted)
            }
            ("string", None, [value]) => {
                let size = value.size_or_unknown();
                match value.kind {
                    Type::Bytes => made(size.cost(PER_CHARACTER), Size { min: size.min / 4, max: size.max }),
                    Type::Dyn => {
                        made(size.cost(PER_CHARACTER).max(1), Size { min: size.min / 4, max: size.max })
                    }
                    _ => plain(),
                }
            }
            ("bytes", None, [value]) if !matches!(value.kind, Type::Bytes) => {
                let size = value.size_or_unknown();
                made(size.cost(PER_CHARACTER), Size { min: size.min, max: size.max.saturating_mul(4) })
            }
            ("sets.contains" | "sets.intersects", None, [left, right]) => {
                let pairs = left.size_or_unknown().times(right.size_or_unknown());
                Node::new(pairs.max.saturating_add(1), kind.clone())
            }
            ("sets.equivalent", None, [left, right]) => {
                let pairs = left.size_or_unknown().times(right.size_or_unknown());
                Node::new(pairs.cost(2.0).saturating_add(1), kind.clone())
            }
            ("distinct" | "sort" | "reverse" | "flatten", Some(list), []) => {
                let size = list.size_or_unknown();
                let (factor, size) = match (self.name, &list.kind) {
                    ("reverse" | "flatten", _) => (1.0, size),
                    ("sort", Type::List(item)) if matches!(**item, Type::String | Type::Bytes) => {
                        (2.0 + PER_CHARACTER, size.times(size))
                    }
                    _ => (2.0, size.times(size)),
                };
                made(size.cost(factor).saturating_add(1 + NEW_LIST), size)
            }
            _ => plain(),
        }
    }

    /// Estimates a call for which Kubernetes overrides CEL's cost.
    fn of_kubernetes(&self, kind: &Type) -> Option<Node> {
        let fixed = |cost: u64| Some(Node::new(cost, kind.clone()));
        let sized = |cost: u64, size: Size| Some(Node { size: Some(size), ..Node::new(cost, kind.clone()) });
        match (self.name, self.target, self.args) {
            (
                "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes",
                Some(target),
                _,
            ) => {
                let size = target.size_or_unknown();
                let item = match &target.kind {
                    Type::List(item) | Type::Map(item, _) | Type::Optional(item) => item,
                    _ if self.name == "includes" => return fixed(size.max),
                    _ => return fixed(size.cost(PER_CHARACTER)),
                };
                let each = match **item {
                    Type::String | Type::Bytes => 1u64.saturating_add(target.items().cost(PER_CHARACTER)),
                    _ => 1,
                };
                fixed(size.max.saturating_mul(each))
            }
            ("url" | "jsonpatch.escapeKey", None, [text]) => {
                sized(text.size_or_unknown().cost(PER_CHARACTER), text.size_or_unknown())
            }
            ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(text), _) => {
                sized(text.size_or_unknown().cost(PER_CHARACTER), text.size_or_unknown())
            }
            ("replace", Some(text), [old, new, ..]) => {
                let size = text.size_or_unknown();
                let replaced = size.replaced(old.size_or_unknown(), new.size_or_unknown());
                sized(size.cost(2.0 * PER_CHARACTER), replaced)
            }
            ("split", Some(text), _) => {
                let size = text.size_or_unknown();
                let limit = match self.call.args.get(1).map(|limit| &limit.expr) {
                    Some(Expr::Literal(LiteralValue::Int(limit))) => u64::try_from(*limit.inner()).ok(),
                    _ => None,
                };
                sized(size.cost(2.0 * PER_CHARACTER), Size { min: 0, max: limit.unwrap_or(size.max) })
            }
            ("join", Some(list), separator) => {
                let count = list.size_or_unknown();
                let mut size = match &list.kind {
                    Type::List(_) | Type::Map(..) => count.times(list.items()),
                    _ => Size::fixed(0),
                };
                if let [separator, ..] = separator {
                    let between = Size { min: count.min.saturating_sub(1), max: count.max.saturating_sub(1) };
                    size = size.plus(separator.size_or_unknown().times(between));
                }
                sized(size.cost(PER_CHARACTER), size)
            }
            ("find" | "findAll", Some(text), [pattern, ..]) => {
                sized(matching(text, pattern), Size { min: 0, max: text.size_or_unknown().max })
            }
            ("ip", Some(_), _) => fixed(1),
            (
                "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver",
                _,
                [text, ..],
            ) => fixed(text.size_or_unknown().cost(PER_CHARACTER)),
            ("ip.isCanonical", _, [text, ..]) => fixed(text.size_or_unknown().cost(2.0 * PER_CHARACTER)),
            ("containsIP" | "containsCIDR", _, [other, ..]) => {
                // An address takes up to 16 bytes.
                let own = if self.name == "containsIP" { 4 } else { 4 + 2 + 1 };
                let text = match other.kind {
                    Type::Opaque(_) => 0,
                    _ => other.size_or_unknown().cost(PER_CHARACTER),
                };
                fixed(text.saturating_add(own))
            }
            ("validate", _, [text, ..]) => {
                let pattern = (FORMAT_PATTERN_MAX * PER_PATTERN_CHARACTER).ceil();
                let cost = Size::fixed(text.size_or_unknown().cost(PER_CHARACTER));
                fixed(cost.cost(pattern))
            }
            ("_==_", _, [left, right]) => match (&left.kind, &right.kind) {
                (Type::Opaque("url"), Type::Opaque("url")) => {
                    fixed(right.size.map_or(1, |size| size.max).max(1))
                        .map(|node| Node { cost: Size::fixed(node.cost).cost(PER_CHARACTER), ..node })
                }
                (Type::Opaque("format"), Type::Opaque("format")) => fixed(7),
                (Type::Opaque(left), Type::Opaque(right)) if left == right && *left != "type" => fixed(1),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the type of the result.
    fn kind(&self) -> Type {
        let list = |item: Type| Type::List(item.into());
        match (self.name, self.target, self.args) {
            ("_?_:_", _, [_, yes, no]) => Type::joined(&yes.kind, &no.kind),
            ("_[_]", _, [operand, _]) => operand.kind.element(),
            ("_+_", _, [left, right]) => Type::joined(&left.kind, &right.kind),
            ("_-_" | "_*_" | "_/_" | "_%_" | "-_", _, [first, ..]) => first.kind.clone(),
            ("sum" | "min" | "max", Some(target), _) => target.kind.element(),
            ("distinct" | "sort" | "reverse" | "slice", Some(target), _) => target.kind.clone(),
            ("orValue", _, [other]) => other.kind.clone(),
            ("value", Some(Node { kind: Type::Optional(inner), .. }), _) => (**inner).clone(),
            ("optional.of" | "optional.ofNonZeroValue", _, [value]) => {
                Type::Optional(value.kind.clone().into())
            }
            (
                "string" | "lowerAscii" | "upperAscii" | "trim" | "substring" | "replace" | "join" | "charAt"
                | "format" | "strings.quote" | "find" | "getScheme" | "getHost" | "getHostname" | "getPort"
                | "getEscapedPath",
                ..,
            ) => Type::String,
            ("split" | "findAll", ..) => list(Type::String),
            ("getQuery", ..) => Type::Map(Type::String.into(), list(Type::String).into()),
            ("bytes", ..) => Type::Bytes,
            ("type", ..) => Type::Opaque("type"),
            ("url", ..) => Type::Opaque("url"),
            ("ip", ..) => Type::Opaque("ip"),
            ("cidr" | "masked", ..) => Type::Opaque("cidr"),
            ("quantity" | "add" | "sub", ..) => Type::Opaque("quantity"),
            ("semver", ..) => Type::Opaque("semver"),
            (
                "optional.none" | "_?._" | "_[?_]" | "validate" | "format.named" | "or" | "timestamp.none"
                | "flatten" | "value",
                ..,
            ) => Type::Dyn,
            // Comparisons, conversions to numbers and times, and predicates.
            _ => Type::Scalar,
        }
    }
}

/// Returns the cost of a comparison, which reads the shorter value.
fn compare(left: &Node, right: &Node) -> u64 {
    Size::fixed(left.size_or_unknown().max.min(right.size_or_unknown().max)).cost(PER_CHARACTER)
}

/// Returns the cost of matching a regular expression: proportional to the lengths of the text and the pattern.
fn matching(text: &Node, pattern: &Node) -> u64 {
    let text = text.size_or_unknown().plus(Size::fixed(1)).cost(PER_CHARACTER);
    text.saturating_mul(pattern.size_or_unknown().cost(PER_PATTERN_CHARACTER))
}
