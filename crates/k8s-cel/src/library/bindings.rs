//! Blocks of common subexpressions, which only conformance tests write: cel-go's `Bindings`.

use super::row::Row;

pub(super) const TABLE: &[Row] = &[("cel.@block", "cel_block_list", "(list(dyn), T) -> T")];
