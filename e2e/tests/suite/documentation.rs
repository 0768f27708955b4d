//! The documentation's examples that are tests themselves.

/// The example in Rust is the module `example`, which runs with the tests.
#[test]
fn the_example_in_rust_is_tested() {
    let documented = include_str!("../../../docs/testing-with-kube-embedded.md");
    let block = documented.split_once("```rust\n").and_then(|(_, rest)| rest.split_once("```"));
    let (_dependencies, example) = block.and_then(|(block, _)| block.split_once('\n')).unwrap_or_default();
    assert_eq!(example, include_str!("example.rs"));
}
