//! Properties that hold for any bytes that claim to be an object of a built-in kind. `fuzz/README.md` in the repository
//! describes who calls these functions.

use serde_json::Value;

use crate::{apply_defaults, decode, protobuf, validate};

/// A body is refused, or decoded to an object that satisfies its type.
pub fn protobuf(input: &[u8]) {
    let Ok(object) = protobuf::decode(input, "v1", "ConfigMap") else { return };
    known(&object);
}

/// An object in JSON is refused, or decoding and defaulting it are idempotent.
pub fn object(input: &[u8]) {
    if let Ok(object) = serde_json::from_slice(input) {
        known(&object);
    }
}

fn known(object: &Value) {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let Some(Ok(decoded)) = decode(api_version, kind, object) else { return };
    let mut object = decoded.object;
    apply_defaults(group, kind, &mut object);
    let again = decode(api_version, kind, &object).expect("the kind is known");
    let mut again = again.expect("the types of what was decoded fit");
    assert_eq!(again.unknown, [] as [String; 0]);
    apply_defaults(group, kind, &mut again.object);
    assert_eq!(again.object, object);
    validate::create(group, kind, &object);
    validate::update(group, kind, &object, &again.object);
    validate::update_status(group, kind, &object, &again.object);
}

#[cfg(test)]
mod tests {
    #[test]
    fn bodies_in_protobuf() {
        fuzz::check("protobuf", 256, super::protobuf);
    }

    #[test]
    fn objects() {
        fuzz::check("object", 256, super::object);
    }
}
