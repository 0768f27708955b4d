//! An upper bound of the number of steps that an expression takes for an object.
//!
//! It is coarse: each comprehension counts as if it iterated over the largest list, map or string of the object.

use kube_cel::cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr},
};
use serde_json::Value;

/// Returns the bound; it saturates.
pub(super) fn bound(expression: &IdedExpr, new: &Value, old: Option<&Value>) -> u64 {
    // Literals, and strings created by functions, are taken to be no longer than this.
    let literal = steps(expression, 1);
    if !has_comprehension(expression) {
        return literal;
    }
    let largest = largest(new).max(old.map_or(0, largest)).max(literal);
    steps(expression, largest)
}

fn steps(expression: &IdedExpr, times: u64) -> u64 {
    let all = |list: &[IdedExpr]| list.iter().map(|item| steps(item, times)).fold(0, u64::saturating_add);
    let inside = match &expression.expr {
        Expr::Call(call) => {
            call.target.as_deref().map_or(0, |target| steps(target, times)).saturating_add(all(&call.args))
        }
        Expr::Comprehension(comprehension) => {
            let each = steps(&comprehension.loop_cond, times)
                .saturating_add(steps(&comprehension.loop_step, times))
                .saturating_mul(times);
            each.saturating_add(steps(&comprehension.iter_range, times))
                .saturating_add(steps(&comprehension.accu_init, times))
                .saturating_add(steps(&comprehension.result, times))
        }
        Expr::List(list) => all(&list.elements),
        Expr::Map(map) => {
            map.entries.iter().map(|entry| entry_steps(&entry.expr, times)).fold(0, u64::saturating_add)
        }
        Expr::Struct(made) => {
            made.entries.iter().map(|entry| entry_steps(&entry.expr, times)).fold(0, u64::saturating_add)
        }
        Expr::Select(select) => steps(&select.operand, times),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
    };
    inside.saturating_add(1)
}

fn entry_steps(entry: &EntryExpr, times: u64) -> u64 {
    match entry {
        EntryExpr::StructField(field) => steps(&field.value, times),
        EntryExpr::MapEntry(entry) => steps(&entry.key, times).saturating_add(steps(&entry.value, times)),
    }
}

/// Returns whether there is a comprehension, which is the only loop: without one, the steps do not depend on `times`.
fn has_comprehension(expression: &IdedExpr) -> bool {
    steps(expression, 2) != steps(expression, 1)
}

/// Returns the size of the largest list, map or string inside.
fn largest(value: &Value) -> u64 {
    let (size, inside) = match value {
        Value::String(text) => (text.len(), 0),
        Value::Array(list) => (list.len(), list.iter().map(largest).max().unwrap_or_default()),
        Value::Object(map) => (map.len(), map.values().map(largest).max().unwrap_or_default()),
        _ => (0, 0),
    };
    inside.max(size as u64)
}
