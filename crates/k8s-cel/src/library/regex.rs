//! Regular expressions: Kubernetes' `library.Regex`.

use super::row::Row;

pub(super) const TABLE: &[Row] = &[
    ("find", "string_find_string", "string.(string) -> string"),
    ("findAll", "string_find_all_string", "string.(string) -> list(string)"),
    ("findAll", "string_find_all_string_int", "string.(string, int) -> list(string)"),
];
