//! Estimates of the functions of the language.

use super::{
    estimate::{Estimate, PER_CHARACTER, PER_PATTERN_CHARACTER},
    walk::{Call, CallEstimate, Entry, Node, Walk},
};

impl<'a> Walk<'a> {
    pub(super) fn of_language(&mut self, call: &Call<'a, '_>) -> CallEstimate {
        let args: Estimate = call.costs.iter().copied().sum();
        let new = |cost: Estimate| CallEstimate::new(cost.plus(args));
        let sized = |cost: Estimate, min, max| CallEstimate::sized(cost.plus(args), Estimate { min, max });
        match (call.overload, call.target, call.args) {
            ("string_format", Some(text), _) => new(reading(text)),
            ("string_to_bytes", _, [text]) => {
                let size = size(text);
                // A character takes up to four bytes. Go's product wraps around, here and below.
                sized(reading(text), size.min, size.max.wrapping_mul(4))
            }
            ("bytes_to_string", _, [bytes]) => {
                let size = size(bytes);
                sized(reading(bytes), size.min / 4, size.max)
            }
            ("strings_quote", _, [text]) => {
                let size = size(text);
                sized(reading(text), size.min.wrapping_add(2), size.max.wrapping_mul(2).wrapping_add(2))
            }
            ("starts_with_string" | "ends_with_string", _, [part]) => new(reading(part)),
            ("in_list", _, [_, list]) => new(size(list).scaled(1.0)),
            ("matches_string", Some(text), [pattern]) | ("matches", None, [text, pattern]) => {
                new(matching(size(text), size(pattern)))
            }
            ("contains_string", Some(text), [part]) => new(reading(text).times(reading(part))),
            ("logical_or" | "logical_and", _, _) => match call.costs {
                [left, right, ..] => {
                    CallEstimate::new(Estimate { min: left.min, max: left.plus(*right).max })
                }
                _ => new(Estimate::ZERO),
            },
            ("conditional", _, [_, yes, no]) => {
                let entry = Entry::union(self.entry(yes.expr), self.entry(no.expr));
                self.set_entry_by_id(call.id, entry);
                let cost = match call.costs {
                    [condition, yes, no] => condition.plus(yes.union(*no)),
                    _ => args,
                };
                CallEstimate::sized(cost, size(yes).union(size(no)))
            }
            ("add_string" | "add_bytes" | "add_list", _, [left, right]) => {
                let entry = Entry::union(self.entry(left.expr), self.entry(right.expr));
                self.set_entry_by_id(call.id, entry);
                let size = size(left).plus(size(right));
                // Lists are joined without a copy.
                let cost =
                    if call.overload == "add_list" { Estimate::ONE } else { size.scaled(PER_CHARACTER) };
                CallEstimate::sized(cost.plus(args), size)
            }
            (
                "less_string"
                | "greater_string"
                | "less_equals_string"
                | "greater_equals_string"
                | "less_bytes"
                | "greater_bytes"
                | "less_equals_bytes"
                | "greater_equals_bytes"
                | "equals"
                | "not_equals",
                _,
                [left, right, ..],
            ) => {
                // As many characters as the shorter one has.
                let max = size(left).max.min(size(right).max);
                new(Estimate { min: max.min(1), max }.scaled(PER_CHARACTER))
            }
            _ => new(Estimate::ONE),
        }
    }
}

fn size(node: &Node<'_>) -> Estimate {
    node.size.unwrap_or(Estimate::UNKNOWN)
}

fn reading(node: &Node<'_>) -> Estimate {
    size(node).scaled(PER_CHARACTER)
}

/// The cost of matching a text against a regular expression, in proportion to both lengths. An empty text counts as one
/// character.
pub(super) fn matching(text: Estimate, pattern: Estimate) -> Estimate {
    let text = text.plus(Estimate::ONE).scaled(PER_CHARACTER);
    text.times(pattern.scaled(PER_PATTERN_CHARACTER))
}
