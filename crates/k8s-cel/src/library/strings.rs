//! Strings: cel-go's `ext.Strings`.

use super::row::Row;

/// Version 0.
pub(super) const V0: &[Row] = &[
    ("charAt", "string_char_at_int", "string.(int) -> string"),
    ("indexOf", "string_index_of_string", "string.(string) -> int"),
    ("indexOf", "string_index_of_string_int", "string.(string, int) -> int"),
    ("join", "list_join", "list(string).() -> string"),
    ("join", "list_join_string", "list(string).(string) -> string"),
    ("lastIndexOf", "string_last_index_of_string", "string.(string) -> int"),
    ("lastIndexOf", "string_last_index_of_string_int", "string.(string, int) -> int"),
    ("lowerAscii", "string_lower_ascii", "string.() -> string"),
    ("replace", "string_replace_string_string", "string.(string, string) -> string"),
    ("replace", "string_replace_string_string_int", "string.(string, string, int) -> string"),
    ("split", "string_split_string", "string.(string) -> list(string)"),
    ("split", "string_split_string_int", "string.(string, int) -> list(string)"),
    ("substring", "string_substring_int", "string.(int) -> string"),
    ("substring", "string_substring_int_int", "string.(int, int) -> string"),
    ("trim", "string_trim", "string.() -> string"),
    ("upperAscii", "string_upper_ascii", "string.() -> string"),
];

/// What version 1 adds. Version 2 has the same functions.
pub(super) const V1: &[Row] = &[("strings.quote", "strings_quote", "(string) -> string")];

/// The function of versions 1 to 3.
pub(super) const FORMAT: &[Row] = &[("format", "string_format", "string.(list(dyn)) -> string")];

/// The function of version 4. cel-go's name of the overload is the same.
pub(super) const FORMAT_V4: &[Row] = &[("format", "string_format_v4", "string.(list(dyn)) -> string")];

/// What version 3 adds.
pub(super) const V3: &[Row] = &[("reverse", "string_reverse", "string.() -> string")];
