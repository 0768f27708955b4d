//! Estimates of cel-go's extensions, by overloads: `ext/lists.go` and `ext/sets.go`. The versions of the others that
//! Kubernetes enables come without estimates.

use super::{
    estimate::{Estimate, NEW_LIST, PER_CHARACTER},
    walk::{Call, CallEstimate, Node, Walk},
};
use crate::syntax::{Kind, Literal};

impl<'a> Walk<'a> {
    pub(super) fn of_library(&self, call: &Call<'a, '_>) -> Option<CallEstimate> {
        let size = |node: &Node<'_>| self.size_of(node);
        let pairs = |list: &Node<'_>, factor| {
            let size = size(list);
            list_of(factor, size.times(size))
        };
        Some(match (call.overload, call.target, call.args) {
            ("list_sets_contains_list" | "list_sets_intersects_list", _, [left, right]) => {
                CallEstimate::new(size(left).times(size(right)).scaled(1.0).plus(Estimate::ONE))
            }
            ("list_sets_equivalent_list", _, [left, right]) => {
                CallEstimate::new(size(left).times(size(right)).scaled(2.0).plus(Estimate::ONE))
            }
            ("list_slice", Some(list), [start, end]) => {
                let start = number(start).unwrap_or(0);
                let end = number(end).unwrap_or_else(|| size(list).max);
                // A start behind the end wraps around there too.
                list_of(1.0, Estimate::fixed(end.wrapping_sub(start)))
            }
            ("lists_range", None, [count]) => {
                list_of(1.0, Estimate::fixed(number(count).unwrap_or(u64::MAX)))
            }
            ("list_reverse" | "list_flatten", Some(list), []) => list_of(1.0, size(list)),
            #[allow(clippy::cast_precision_loss)]
            ("list_flatten_int", Some(list), [depth]) => {
                list_of(number(depth).unwrap_or(u64::MAX) as f64, size(list))
            }
            ("list_distinct", Some(list), []) => pairs(list, 2.0),
            (overload, target, args) => {
                let (kind, list) = match (overload.strip_prefix("list_")?.rsplit_once('_')?, target, args) {
                    ((kind, "sort"), Some(list), []) => (kind, list),
                    ((kind, "sortByAssociatedKeys"), Some(_), [keys]) => (kind, keys),
                    _ => return None,
                };
                pairs(list, if matches!(kind, "string" | "bytes") { 2.0 + PER_CHARACTER } else { 2.0 })
            }
        })
    }
}

/// A call that creates a list of a size.
fn list_of(factor: f64, size: Estimate) -> CallEstimate {
    CallEstimate::sized(size.scaled(factor).plus(Estimate::ONE).plus(NEW_LIST), size)
}

/// The value of an integer that is written out. A negative one counts as 0.
fn number(node: &Node<'_>) -> Option<u64> {
    match &node.expr.kind {
        Kind::Literal(Literal::Int(value)) => Some(u64::try_from(*value).unwrap_or(0)),
        _ => None,
    }
}
