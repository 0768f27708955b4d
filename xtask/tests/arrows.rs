//! The arrows between the crates of the workspace, as ARCHITECTURE.md draws them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Who may use which crate of the workspace. What is not here may use none, tests aside.
fn allowed(member: &str) -> &'static [&'static str] {
    match member {
        "kube-selectors" => &["kube-validation"],
        "kube-tables" => &["kube-selectors", "kube-validation"],
        "kube-schema" | "kube-patch" => &["kube-validation"],
        "kube-builtin" => &["kube-selectors", "kube-validation"],
        "kube-embedded" => {
            &["kube-builtin", "kube-patch", "kube-schema", "kube-selectors", "kube-tables", "kube-validation"]
        }
        "crdctl" => {
            &["blog-api", "kube-embedded", "kube-informer", "kube-selectors", "kube-tables", "kubeconfig"]
        }
        "e2e" | "xtask" => &["blog-api", "crdctl", "e2e", "kube-embedded", "kube-informer", "kubeconfig"],
        "bench" => &["blog-api", "e2e", "kube-embedded", "kube-informer"],
        _ => &[],
    }
}

#[test]
fn arrows_point_down_only() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();

    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let members: BTreeMap<String, &Value> =
        metadata["packages"].as_array().unwrap().iter().map(|package| (name(package), package)).collect();
    assert!(members.len() >= 7, "{:?}", members.keys());
    for (member, package) in &members {
        let used: BTreeSet<String> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(name)
            .filter(|dependency| members.contains_key(dependency))
            .collect();
        let forbidden: Vec<_> =
            used.iter().filter(|used| !allowed(member).contains(&used.as_str())).collect();
        assert!(forbidden.is_empty(), "{member} must not depend on {forbidden:?}: see ARCHITECTURE.md");
    }
}

/// What keeps the data types light: no client, no runtime.
#[test]
fn blog_api_has_no_client() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package=blog-api", "--edges=normal", "--prefix=none", "--format={p}"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("kube-core"), "{tree}");
    for heavy in ["kube-client", "kube-runtime", "tokio ", "hyper "] {
        assert!(!tree.contains(heavy), "blog-api depends on {heavy}:\n{tree}");
    }
}
