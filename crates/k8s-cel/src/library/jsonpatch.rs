//! Keys of JSON patches, for mutating policies: Kubernetes' `library.JSONPatch`.

use super::row::Row;

pub(super) const TABLE: &[Row] =
    &[("jsonpatch.escapeKey", "string_jsonpatch_escapeKey_string", "(string) -> string")];
