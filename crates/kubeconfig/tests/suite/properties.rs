//! Properties that hold for any content of the files.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, one};

const SECRET: &str = "hunter2-hunter2";

/// A kubeconfig with a secret in every field that may contain one.
fn full() -> String {
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: x, \
         env: [{{name: A, value: {SECRET}}}]}}"
    );
    one(
        "server: 'https://c'",
        &format!("token: {SECRET}, username: me, password: {SECRET}, client-key-data: {SECRET}, {exec}"),
    )
}

/// Changes to a text: each replaces one byte or none at a position. Too small to turn a name into a secret.
fn edits() -> impl Strategy<Value = Vec<(usize, usize, String)>> {
    let text =
        prop_oneof![Just(String::new()), "[\\-\\[\\]{}:,'\"&*!|>#%@ \\t\\n0-9a-z]{0,3}", any::<String>()];
    prop::collection::vec((any::<prop::sample::Index>().prop_map(|at| at.index(900)), 0..2_usize, text), 0..6)
}

/// The names in one list of a file.
fn names() -> impl Strategy<Value = BTreeMap<String, ()>> {
    prop::collection::btree_map("[a-d]", Just(()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_a_file_holds_no_secret_is_told_and_nothing_panics(edits in edits()) {
        let mut content = full().into_bytes();
        for (at, length, text) in edits {
            let start = at.min(content.len());
            let end = (start + length).min(content.len());
            content.splice(start..end, text.bytes());
        }
        let sandbox = Sandbox::new();
        sandbox.write("home/.kube/config", content);
        let output = match sandbox.load() {
            Ok(loaded) => format!("{loaded:?} {}", loaded.report()),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!output.contains(SECRET), "{}", output);
    }

    #[test]
    fn the_first_file_that_defines_a_name_wins_it(
        files in prop::collection::vec((names(), prop::option::of("[a-d]")), 0..5)
    ) {
        let mut sandbox = Sandbox::new();
        let mut want: BTreeMap<String, Value> = BTreeMap::new();
        let mut current = String::new();
        let mut paths = Vec::new();
        for (index, (names, chosen)) in files.iter().enumerate() {
            let path = format!("file-{index}");
            let clusters: Vec<Value> = names
                .keys()
                .map(|name| json!({"name": name, "cluster": {"server": path}}))
                .collect();
            sandbox.write(&path, json!({"clusters": clusters, "current-context": chosen}).to_string());
            for name in names.keys() {
                want.entry(name.clone()).or_insert_with(|| json!({"name": name, "cluster": {"server": path}}));
            }
            if current.is_empty() {
                current = chosen.clone().unwrap_or_default();
            }
            paths.push(path);
        }
        sandbox.kubeconfig(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let view = sandbox.options().view().unwrap();
        let want: Vec<Value> = want.into_values().collect();
        prop_assert_eq!(&view["clusters"], &if want.is_empty() { Value::Null } else { json!(want) });
        prop_assert_eq!(&view["current-context"], &json!(current));
    }
}
