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
mod walk;

pub(crate) use estimate::Estimate;

use crate::check::Checked;

/// The cost of reading one character.
const PER_CHARACTER: f64 = 0.1;
/// The cost of one character of a regular expression, for one unit of the cost of reading the text.
const PER_PATTERN_CHARACTER: f64 = 0.25;

const NEW_LIST: Estimate = Estimate::fixed(10);
const NEW_MAP: Estimate = Estimate::fixed(30);
const NEW_STRUCT: Estimate = Estimate::fixed(40);

/// Knows the maximum sizes of the values of variables.
pub(crate) trait Sizes {
    /// The maximum number of characters, bytes, elements or entries of the value at a path; `None` if it is not declared.
    ///
    /// The first step is the name of a variable. The others are names of fields, `@items` for the elements of a list,
    /// `@indices` for their indices, and `@keys` and `@values` for those of a map.
    fn max_size(&self, path: &[&str]) -> Option<u64>;
}

/// Estimates the cost of an expression.
pub(crate) fn estimate(checked: &Checked, sizes: &dyn Sizes) -> Estimate {
    walk::Walk::new(checked, sizes).cost(&checked.ast.root)
}
