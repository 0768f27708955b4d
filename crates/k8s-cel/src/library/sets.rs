//! Lists as sets: cel-go's `ext.Sets`.

use super::row::Row;

pub(super) const TABLE: &[Row] = &[
    ("sets.contains", "list_sets_contains_list", "(list(T), list(T)) -> bool"),
    ("sets.equivalent", "list_sets_equivalent_list", "(list(T), list(T)) -> bool"),
    ("sets.intersects", "list_sets_intersects_list", "(list(T), list(T)) -> bool"),
];
