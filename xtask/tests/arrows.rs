//! Checks the arrows between the crates of the workspace, as ARCHITECTURE.md draws them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Returns the crates of the workspace that a member may use, apart from its tests. Members that are not listed may use none.
fn allowed(member: &str) -> &'static [&'static str] {
    match member {
        "kube-selectors" => &["kube-validation"],
        "kube-tables" => &["kube-selectors", "kube-validation"],
        "k8s-cel" | "kube-patch" => &["kube-validation"],
        "kube-schema" => &["k8s-cel", "kube-validation"],
        "kube-builtin" => &["kube-selectors", "kube-validation"],
        "kube-embedded" => &[
            "k8s-cel",
            "kube-builtin",
            "kube-patch",
            "kube-schema",
            "kube-selectors",
            "kube-tables",
            "kube-validation",
        ],
        // Embedded only for the simulation, a feature.
        "kube-controller" => &["kube-embedded", "kube-informer"],
        "blog-operator" => &["blog-api", "kube-controller", "kube-informer", "kubeconfig"],
        "crdctl" => &[
            "blog-api",
            "blog-operator",
            "kube-controller",
            "kube-embedded",
            "kube-informer",
            "kube-selectors",
            "kube-tables",
            "kubeconfig",
        ],
        "e2e" | "xtask" => &[
            "blog-api",
            "blog-operator",
            "crdctl",
            "e2e",
            "k8s-cel",
            "kube-embedded",
            "kube-informer",
            "kubeconfig",
        ],
        "bench" => &["blog-api", "e2e", "k8s-cel", "kube-controller", "kube-embedded", "kube-informer"],
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
    assert!(members.len() >= 13, "{:?}", members.keys());
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

/// Returns the dependency tree of a crate, without default features.
fn tree(package: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--no-default-features",
            "--edges=normal",
            "--prefix=none",
            "--format={p}",
        ])
        .args(["--package", package])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Crates without I/O stay light: they depend on neither a client nor a runtime.
#[test]
fn crates_of_data_have_no_client() {
    let crates = [
        ("blog-api", "kube-core"),
        ("k8s-cel", "kube-validation"),
        ("kube-builtin", "kube-validation"),
        ("kube-patch", "kube-validation"),
        ("kube-schema", "kube-validation"),
        ("kube-selectors", "kube-validation"),
        ("kube-tables", "kube-selectors"),
        ("kube-validation", "serde_json"),
    ];
    for (package, expected) in crates {
        let tree = tree(package);
        assert!(tree.contains(expected), "{tree}");
        for heavy in ["kube-client", "kube-runtime", "tokio ", "hyper "] {
            assert!(!tree.contains(heavy), "{package} depends on {heavy}:\n{tree}");
        }
    }
}

/// The crdctl that runs in a cluster contains no server.
#[test]
fn crdctl_is_built_without_its_server() {
    let tree = tree("crdctl");
    assert!(tree.contains("kube-informer"), "{tree}");
    for part in ["kube-embedded", "kube-schema", "kube-cel", "rcgen", "redb"] {
        assert!(!tree.contains(part), "crdctl has {part}:\n{tree}");
    }
}
