//! What an expression can cost, for any object that fits its schema: cel-go's `checker/cost.go` with the estimates of its
//! `ext` package and of apiserver's `pkg/cel/library/cost.go`.
//!
//! The unit is cel-go's: about one step. `has` itself costs nothing: Kubernetes configures it so.

mod builtin;
mod declared;
mod estimate;
mod kubernetes;
mod library;
mod path;
mod sizes;
mod walk;

pub(crate) use estimate::Estimate;
pub(crate) use sizes::Sizes;

use crate::check::Checked;

/// Estimates the cost of an expression.
pub(crate) fn estimate(checked: &Checked, sizes: &dyn Sizes) -> Estimate {
    walk::Walk::new(checked, sizes).cost(&checked.ast.root)
}
