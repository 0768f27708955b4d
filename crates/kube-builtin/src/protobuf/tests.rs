//! Compares with objects that Go's own serializers encoded, and decodes damaged bytes.

use std::collections::HashSet;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::decode::MAX_VALUES;
use super::{decode, delete_options};

/// An object as apimachinery's serializers encode it in protobuf and in JSON.
#[derive(Deserialize)]
struct Recorded {
    protobuf: String,
    json: Value,
}

/// Returns the empty object of each kind, and enough others that each field occurs in one.
fn recorded() -> &'static [(Vec<u8>, Value)] {
    static RECORDED: LazyLock<Vec<(Vec<u8>, Value)>> = LazyLock::new(|| {
        let lines = include_str!("tests/recorded.jsonl").lines();
        let pairs = lines.map(|line| serde_json::from_str::<Recorded>(line).unwrap());
        pairs.map(|it| (BASE64_STANDARD.decode(it.protobuf).unwrap(), it.json)).collect()
    });
    &RECORDED
}

/// Encodes a field of bytes.
fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut bytes = vec![number << 3 | 2];
    let mut length = value.len();
    while length > 0x7f {
        bytes.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(value);
    bytes
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let types = [field(1, api_version), field(2, kind)].concat();
    [b"k8s\0".to_vec(), field(1, types), field(2, raw)].concat()
}

fn config_map(raw: &[u8]) -> Result<Value, String> {
    decode(&body("v1", "ConfigMap", raw), "v1", "ConfigMap").map_err(|error| error.problem.to_string())
}

#[test]
fn decodes_to_the_json_that_go_writes() {
    for (protobuf, json) in recorded() {
        let decoded = decode(protobuf, "", "").unwrap_or_else(|error| panic!("{error:?} in {json}"));
        assert_eq!(decoded, *json);
    }
}

#[test]
fn every_built_in_kind_is_recorded() {
    let recorded: HashSet<_> = recorded()
        .iter()
        .map(|(_, json)| (json["apiVersion"].to_string(), json["kind"].to_string()))
        .collect();
    for group in crate::resources::groups() {
        for version in &group.versions {
            let api_version = match group.name.as_str() {
                "" => version.name.clone(),
                name => format!("{name}/{}", version.name),
            };
            for resource in &version.resources {
                let wanted = (json!(api_version).to_string(), json!(resource.kind).to_string());
                assert!(recorded.contains(&wanted), "{wanted:?}");
            }
        }
    }
}

#[test]
fn a_body_may_leave_its_type_to_the_request() {
    let raw = field(1, field(1, "a"));
    let wanted = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    for version in ["", "a/b/c"] {
        assert_eq!(decode(&body(version, "", &raw), "v1", "ConfigMap").unwrap(), wanted);
    }
    assert_eq!(
        decode(&body("apps/v1", "DeleteOptions", &[]), "", "").unwrap(),
        json!({"apiVersion": "apps/v1", "kind": "DeleteOptions"})
    );
}

#[test]
fn the_body_of_a_delete_is_delete_options() {
    let options = field(2, field(1, "uid"));
    let decoded = delete_options(&body("", "", &options)).unwrap();
    assert_eq!(decoded["preconditions"], json!({"uid": "uid"}));
    let error = delete_options(&body("v1", "ConfigMap", &[])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no kind \"ConfigMap\" is registered for version \"v1\" in scheme \"pkg/runtime/scheme.go:111\""
    );
}

#[test]
fn parts_of_a_message_are_merged() {
    let raw = [field(1, field(1, "a")), field(1, field(3, "b")), field(1, field(1, "c"))].concat();
    assert_eq!(config_map(&raw).unwrap()["metadata"], json!({"name": "c", "namespace": "b"}));
}

#[test]
fn unknown_fields_are_left_out() {
    // A number, a text, and a group with a number in it.
    let raw = [vec![0x78, 1], field(14, "x"), vec![0x7b, 0x78, 1, 0x7c], field(1, field(1, "a"))].concat();
    assert_eq!(config_map(&raw).unwrap()["metadata"], json!({"name": "a"}));
}

#[test]
fn text_that_is_not_utf_8_is_replaced() {
    let entry = [field(1, "k"), field(2, [0xff, 0xfe])].concat();
    assert_eq!(config_map(&field(2, entry)).unwrap()["data"], json!({"k": "\u{fffd}\u{fffd}"}));
}

/// The messages are the responses of kube-apiserver 1.37 to the same bytes.
#[test]
fn errors_have_the_messages_of_kube_apiserver() {
    let envelope = |bytes: &[u8]| {
        let error = decode(bytes, "v1", "ConfigMap").unwrap_err();
        assert!(error.type_meta.is_none());
        error.problem.to_string()
    };
    assert_eq!(envelope(b""), "empty data");
    assert_eq!(
        envelope(b"hello"),
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    );
    assert_eq!(envelope(b"k8s\0"), "empty body");
    assert_eq!(envelope(b"k8s\0\xff\xff"), "unexpected EOF");

    let raw = |bytes: &[u8]| config_map(bytes).unwrap_err();
    assert_eq!(raw(b"\xff\xff"), "unexpected EOF");
    assert_eq!(raw(&[0xff; 12]), "proto: integer overflow");
    assert_eq!(raw(b"\x08\x01"), "proto: wrong wireType = 0 for field ObjectMeta");
    assert_eq!(raw(b"\x0c"), "proto: ConfigMap: wiretype end group for non-group");
    assert_eq!(raw(b"\x02\x00"), "proto: ConfigMap: illegal tag 0 (wire type 2)");
    assert_eq!(raw(b"\xff\x01"), "proto: illegal wireType 7");
    assert_eq!(raw(b"\x0a\x7f"), "unexpected EOF");
    let negative = b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_eq!(raw(negative), "proto: negative length found during unmarshaling");

    let error = decode(&body("v9", "Nope", &[]), "v1", "ConfigMap").unwrap_err();
    assert_eq!(error.type_meta, Some(("v9".to_owned(), "Nope".to_owned())));
    assert_eq!(
        error.problem.to_string(),
        "no kind \"Nope\" is registered for version \"v9\" in scheme \"pkg/runtime/scheme.go:111\""
    );
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let mut schema = Vec::new();
    for _ in 0..200 {
        // `not`: field 28, of two bytes.
        let inner = field(0, &schema);
        schema = [vec![0xe2, 0x01], inner[1..].to_vec()].concat();
    }
    let version = field(7, field(4, field(1, schema)));
    let crd = body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &field(2, version));
    let error = decode(&crd, "", "").unwrap_err();
    assert_eq!(error.problem.to_string(), "messages are nested more than 100 levels deep");

    let many = field(2, [0x12, 0].repeat(MAX_VALUES));
    let error = decode(&body("v1", "Pod", &many), "", "").unwrap_err();
    assert_eq!(error.problem.to_string(), "more than 500000 values");

    let parts = [field(1, field(1, vec![b'a'; MAX_VALUES])), field(1, [])].concat();
    assert_eq!(config_map(&parts).unwrap_err(), "more than 500000 values");
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), enveloped: bool) {
        let bytes = if enveloped { body("v1", "Pod", &bytes) } else { [b"k8s\0".to_vec(), bytes].concat() };
        let _ = decode(&bytes, "v1", "Pod");
    }

    #[test]
    fn damaged_objects_never_panic(
        which: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end: prop::sample::Index,
    ) {
        let mut bytes = which.get(recorded()).0.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode(&bytes, "v1", "Pod");
        let _ = decode(&bytes[..end.index(bytes.len())], "v1", "Pod");
    }
}
