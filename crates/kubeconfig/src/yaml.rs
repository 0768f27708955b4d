//! Parses YAML as kubectl does, into JSON values: the first document, the last of duplicate keys, YAML 1.1 booleans.
//!
//! Errors contain a line and a kind, but no part of the text, which may be a secret.

use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error as Saphyr, Options};

/// Why a text is not valid YAML.
#[derive(Debug)]
pub(crate) struct Invalid {
    /// Starts at 1.
    pub(crate) line: Option<u64>,
    pub(crate) problem: String,
}

/// Returns the first document of `text`, or `Null` if there is none.
pub(crate) fn parse(text: &[u8]) -> Result<Value, Invalid> {
    let documents: Vec<Value> =
        serde_saphyr::from_slice_multiple_with_options(text, options()).map_err(|error| Invalid {
            line: error.location().map(|at| at.line()).filter(|line| *line > 0),
            problem: problem(&error, text).to_owned(),
        })?;
    Ok(documents.into_iter().next().unwrap_or(Value::Null))
}

/// What kubectl's own parser (sigs.k8s.io/yaml, not strict) accepts.
fn options() -> Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        with_snippet: false,
        // Prevents small inputs from expanding to large values. Kubeconfigs hardly use aliases.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        // Enough for tens of thousands of clusters, which kubectl reads, too. The default limit on depth protects the
        // stack.
        //
        budget: serde_saphyr::budget! {
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_total_scalar_bytes: 256 * 1024 * 1024,
        },
    }
}

fn problem(error: &Saphyr, text: &[u8]) -> &'static str {
    if std::str::from_utf8(text).is_err() {
        return "it is not UTF-8 text";
    }
    match error.without_snippet() {
        Saphyr::Eof { .. } => "it ends unexpectedly",
        Saphyr::Budget { .. } => "it is too large or too deeply nested",
        _ => "it is not valid YAML",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_as_kubectl_reads_them() {
        for (text, want) in [
            ("", json!(null)),
            ("# nothing\n", json!(null)),
            ("---\n", json!(null)),
            ("a: 1\na: 2\n", json!({"a": 2})),
            ("a: on\nb: y\nc: 'on'\n", json!({"a": true, "b": true, "c": "on"})),
            ("a: 010\nb: 0x10\n", json!({"a": 8, "b": 16})),
            ("a: 2020-01-01\n", json!({"a": "2020-01-01"})),
            ("a: 1\n---\na: 2\n", json!({"a": 1})),
            ("x: &x {s: 1}\ny:\n  <<: *x\n", json!({"x": {"s": 1}, "y": {"s": 1}})),
            ("\u{feff}a: b\n", json!({"a": "b"})),
            (r#"{"a": "b\n"}"#, json!({"a": "b\n"})),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), want, "{text:?}");
        }
    }

    #[test]
    fn an_error_tells_the_line_and_nothing_of_the_text() {
        let error = parse(b"users:\n- name: a\n  user:\n\ttoken: hunter2\n").unwrap_err();
        assert_eq!(error.line, Some(4));
        assert!(!error.problem.contains("hunter2"));
        let error = parse(b"users: [\n").unwrap_err();
        assert!(error.line.is_some());
    }

    #[test]
    fn a_text_that_would_exhaust_the_stack_or_memory_is_refused() {
        let deep = format!("a: {}", "[".repeat(100_000));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        for text in [deep, bomb] {
            parse(text.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn many_entries_are_read() {
        let text = "- {name: n, cluster: {server: s, tls-server-name: t}}\n".repeat(30_000);
        assert_eq!(parse(text.as_bytes()).unwrap().as_array().map(Vec::len), Some(30_000));
    }

    #[test]
    fn text_that_is_not_utf8_is_told_as_such() {
        assert_eq!(parse(b"a: \xff\xff\n").unwrap_err().problem, "it is not UTF-8 text");
    }
}
