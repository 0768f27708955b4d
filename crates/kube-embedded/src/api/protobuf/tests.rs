use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A field with bytes.
fn bytes(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut field = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    field.extend_from_slice(content);
    field
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn body(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, api_version), bytes(2, kind)].concat();
    [MAGIC.to_vec(), bytes(1, meta), bytes(2, object)].concat()
}

#[test]
fn a_config_map_is_read_as_its_json() {
    let metadata = [
        bytes(1, "m"),
        bytes(2, ""),
        number(7, 0),
        bytes(8, ""),
        bytes(11, [bytes(1, "a"), bytes(2, "b")].concat()),
    ];
    let map = [
        bytes(1, metadata.concat()),
        bytes(2, [bytes(1, "k"), bytes(2, "v")].concat()),
        bytes(3, [bytes(1, "b"), bytes(2, [0, 255])].concat()),
        number(4, 0),
    ];
    let expected = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "labels": {"a": "b"}},
        "data": {"k": "v"}, "binaryData": {"b": "AP8="}, "immutable": false,
    });
    assert_eq!(decode(&body("v1", "ConfigMap", &map.concat())).unwrap(), expected);
}

#[test]
fn inlined_structs_and_special_types_are_read() {
    let volume = [bytes(1, "v"), bytes(2, bytes(2, b""))].concat();
    let pod = bytes(2, bytes(1, volume));
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod", "spec": {"volumes": [{"name": "v", "emptyDir": {}}]},
    });
    assert_eq!(decode(&body("v1", "Pod", &pod)).unwrap(), expected);

    let time = [number(1, 100), number(2, 0)].concat();
    let lease = bytes(2, [bytes(1, "me"), number(2, 15), bytes(3, time)].concat());
    let expected = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "spec": {
            "holderIdentity": "me", "leaseDurationSeconds": 15, "acquireTime": "1970-01-01T00:01:40.000000Z",
        },
    });
    assert_eq!(decode(&body("coordination.k8s.io/v1", "Lease", &lease)).unwrap(), expected);
}

#[test]
fn every_type_is_known_or_special() {
    let special = ["meta/v1.Time", "meta/v1.MicroTime", "meta/v1.FieldsV1", "meta/v1.Duration"];
    let known = |kind: &str| {
        let name = kind.trim_start_matches('*').trim_start_matches("[]");
        let name = name.rsplit_once(']').map_or(name, |(_, value)| value);
        !name.contains("/v1.")
            || special.contains(&name)
            || TYPES.structs.contains_key(name)
            || TYPES.aliases.contains_key(name)
    };
    let unknown: Vec<&String> =
        TYPES.structs.values().flat_map(HashMap::values).map(|it| &it.kind).filter(|it| !known(it)).collect();
    assert_eq!(unknown, Vec::<&String>::new());
}

proptest! {
    #[test]
    fn no_body_panics(garbage in proptest::collection::vec(any::<u8>(), 0..100), kind in "Pod|ConfigMap|Lease|DeleteOptions") {
        let _ = decode(&garbage);
        let _ = decode(&body("v1", &kind, &garbage));
    }
}
