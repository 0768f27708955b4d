//! What the macros of two variables expand to: cel-go's `TwoVarComprehensions`.

use super::row::Row;

pub(super) const TABLE: &[Row] = &[
    ("cel.@mapInsert", "@mapInsert_map_key_value", "(map(K, V), K, V) -> map(K, V)"),
    ("cel.@mapInsert", "@mapInsert_map_map", "(map(K, V), map(K, V)) -> map(K, V)"),
];
