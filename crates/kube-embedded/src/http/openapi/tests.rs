//! Compares with the OpenAPI document that a real kube-apiserver (1.37.2) published for one CustomResourceDefinition,
//! without the parts that ours omits on purpose: descriptions of parameters and of apimachinery's types, and the groups
//! that have `DeleteOptions`.

use kube_schema::crd::apply_defaults;
use serde_json::Value;

use super::v3;

#[test]
fn the_document_is_kube_apiservers() {
    let mut recorded: Value = serde_json::from_str(include_str!("tests.json")).unwrap();
    apply_defaults(&mut recorded["crd"]);
    let document = v3::document("oa.example.com", "v1", [], [&recorded["crd"]]);
    let mut wrong = Vec::new();
    compare("", &recorded["document"], &document, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_version_that_is_not_served_has_no_document() {
    let mut recorded: Value = serde_json::from_str(include_str!("tests.json")).unwrap();
    recorded["crd"]["spec"]["versions"][0]["served"] = false.into();
    let document = v3::document("oa.example.com", "v1", [], [&recorded["crd"]]);
    assert_eq!(document["paths"], serde_json::json!({}));
}

/// Collects the paths that differ.
fn compare(path: &str, real: &Value, ours: &Value, wrong: &mut Vec<String>) {
    if let (Value::Object(real), Value::Object(ours)) = (real, ours) {
        let names: std::collections::BTreeSet<_> = real.keys().chain(ours.keys()).collect();
        for name in names {
            let value = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
            compare(&format!("{path}/{name}"), &value(real), &value(ours), wrong);
        }
    } else if real != ours {
        wrong.push(format!("{path}\n  real: {real}\n  ours: {ours}"));
    }
}
