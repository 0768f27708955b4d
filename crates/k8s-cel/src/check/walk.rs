//! Visits the expressions of a tree without recursion: trees may be deep.

use crate::syntax::{Expr, Kind};

/// All expressions of a tree, each after those in it.
pub(crate) fn inner_first(root: &Expr) -> impl Iterator<Item = &Expr> {
    inner_first_in(root, |_| true)
}

/// The same, but only what is inside of expressions that are `entered`.
pub(super) fn inner_first_in(root: &Expr, entered: impl Fn(&Expr) -> bool) -> impl Iterator<Item = &Expr> {
    let mut found = Vec::new();
    let mut rest = vec![root];
    while let Some(expr) = rest.pop() {
        found.push(expr);
        if entered(expr) {
            push_children(expr, &mut rest);
        }
    }
    found.into_iter().rev()
}

/// Expressions before those in them.
pub(super) fn outer_first_in(root: &Expr, entered: impl Fn(&Expr) -> bool) -> impl Iterator<Item = &Expr> {
    let mut rest = vec![root];
    std::iter::from_fn(move || {
        let expr = rest.pop()?;
        if entered(expr) {
            let start = rest.len();
            push_children(expr, &mut rest);
            rest.get_mut(start..).unwrap_or_default().reverse();
        }
        Some(expr)
    })
}

/// How many expressions are in one another at most.
pub(crate) fn depth(root: &Expr) -> usize {
    let mut deepest = 0;
    let mut rest = vec![(root, 1)];
    let mut children = Vec::new();
    while let Some((expr, depth)) = rest.pop() {
        deepest = deepest.max(depth);
        push_children(expr, &mut children);
        rest.extend(children.drain(..).map(|child| (child, depth + 1)));
    }
    deepest
}

fn push_children<'a>(expr: &'a Expr, rest: &mut Vec<&'a Expr>) {
    match &expr.kind {
        Kind::Literal(_) | Kind::Ident(_) => {}
        Kind::Select { operand, .. } => rest.push(operand),
        Kind::Call { target, args, .. } => rest.extend(target.as_deref().into_iter().chain(args)),
        Kind::List { elements, .. } => rest.extend(elements),
        Kind::Map(entries) => rest.extend(entries.iter().flat_map(|entry| [&entry.key, &entry.value])),
        Kind::Struct { fields, .. } => rest.extend(fields.iter().map(|field| &field.value)),
        Kind::Comprehension(of) => {
            rest.extend([&of.iter_range, &of.accu_init, &of.loop_condition, &of.loop_step, &of.result]);
        }
    }
}

/// Changes each expression of a tree, before those that are in it afterwards.
pub(super) fn change(root: &mut Expr, mut change: impl FnMut(&mut Expr)) {
    let mut rest = vec![root];
    while let Some(expr) = rest.pop() {
        change(expr);
        match &mut expr.kind {
            Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => rest.push(operand),
            Kind::Call { target, args, .. } => rest.extend(target.as_deref_mut().into_iter().chain(args)),
            Kind::List { elements, .. } => rest.extend(elements),
            Kind::Map(entries) => {
                rest.extend(entries.iter_mut().flat_map(|entry| [&mut entry.key, &mut entry.value]));
            }
            Kind::Struct { fields, .. } => rest.extend(fields.iter_mut().map(|field| &mut field.value)),
            Kind::Comprehension(of) => rest.extend([
                &mut of.iter_range,
                &mut of.accu_init,
                &mut of.loop_condition,
                &mut of.loop_step,
                &mut of.result,
            ]),
        }
    }
}
