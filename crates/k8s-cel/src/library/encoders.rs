//! Base64 and JSON: cel-go's `ext.Encoders`. Kubernetes does not have it.

use super::row::Row;

pub(super) const TABLE: &[Row] = &[
    ("base64.decode", "base64_decode_string", "(string) -> bytes"),
    ("base64.encode", "base64_encode_bytes", "(bytes) -> string"),
    ("json.encode", "json_encode_dyn", "(dyn) -> string"),
];
