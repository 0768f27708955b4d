//! Paths and templates; `tests/json_path.rs` compares them with kubectl.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{JsonPath, JsonPathTemplate};

fn find(path: &str, value: &Value) -> Result<Value, String> {
    let path = JsonPath::parse(path).map_err(|error| error.to_string())?;
    let found = path.find(value).map_err(|error| error.to_string())?;
    Ok(found.into_iter().cloned().collect())
}

fn print(template: &str, value: &Value) -> Result<String, String> {
    let template = JsonPathTemplate::parse(template).map_err(|error| error.to_string())?;
    template.print(value).map_err(|error| error.to_string())
}

#[test]
fn a_path_leads_to_values() {
    let value = json!({"a": {"b": 1, "x.y/z": 2}, "list": [10, 20, 30]});
    for (path, expected) in [
        (".a.b", json!([1])),
        (".a.none.deeper", json!([])),
        (r"['a']['x\.y/z']", json!([2])),
        (".list[0,2]", json!([10, 30])),
        // kube-apiserver evaluates what follows the first action of a printer column, and ignores it.
        (".a.b}{.list", json!([1])),
        ("", json!([value])),
    ] {
        assert_eq!(find(path, &value), Ok(expected), "{path}");
    }
    for path in [".list[3]", ".a[0]", ".list[", "[?(@.a", ".list[x]", "a"] {
        assert!(find(path, &value).is_err(), "{path}");
    }
}

#[test]
fn relaxed_paths_need_no_braces_and_no_dot() {
    for (path, expected) in [
        ("spec.url", "{.spec.url}"),
        (".spec.url", "{.spec.url}"),
        ("{spec.url}", "{.spec.url}"),
        ("{.spec.url}", "{.spec.url}"),
        ("..url", "{..url}"),
        ("{..url}", "{..url}"),
        (".", "{..}"),
        ("[0]", "{.[0]}"),
        ("", ""),
    ] {
        assert_eq!(JsonPath::parse_relaxed(path).unwrap().to_string(), expected, "{path}");
    }
    for bad in ["{}", "{.a", ".a}", "{.a}{.b}", "a{b}", "{{.a}}", ".a[?(@.b=='}')]"] {
        let error = JsonPath::parse_relaxed(bad).unwrap_err().to_string();
        assert!(error.starts_with("unexpected path string, expected a 'name1.name2'"), "{bad}: {error}");
    }
    assert_eq!(JsonPath::parse_relaxed(".a[").unwrap_err().to_string(), "unterminated array");
    let nothing = JsonPath::parse_relaxed("").unwrap();
    assert_eq!(nothing.find(&json!({"a": 1})), Ok(Vec::new()));
}

#[test]
fn a_template_can_be_printed_again() {
    let template = JsonPathTemplate::parse("{.name}:{range .list[*]} {@}{end};").unwrap();
    for (value, expected) in [
        (json!({"name": "a", "list": [1, 2]}), "a: 1 2;"),
        (json!({"name": "b", "list": []}), "b:;"),
        (json!({"name": "c", "list": [3]}), "c: 3;"),
    ] {
        assert_eq!(template.print(&value).as_deref(), Ok(expected));
    }
}

#[test]
fn an_empty_range_may_have_indexes() {
    assert_eq!(
        print("{range .list[*]}{[0]}{range @}{.a[1]}{end}{end}.", &json!({"list": []})),
        Ok(".".to_owned())
    );
}

#[test]
fn an_evaluation_has_a_limit() {
    let mut deep = json!({});
    for _ in 0..60 {
        deep = json!({"a": deep});
    }
    let limit = Err("too many results".to_owned());
    assert_eq!(print(&format!("{{{}}}", "['a','a']".repeat(60)), &deep), limit);
    // Without an end, the rest of the template is evaluated for the items and once more.
    assert_eq!(print(&"{range @}".repeat(60), &deep), limit);
    let nested = print(&"{range @}".repeat(100_000), &deep);
    assert_eq!(nested, Err("ranges are nested too deep".to_owned()));
}

proptest! {
    #[test]
    fn no_template_panics(
        template in r#"([.@$\[\]?()='"<*:,0-9 -]|\.\.|a|\\|\{|\}|\{range |\{end\}){0,24}|.*"#,
    ) {
        let value = json!({"a": [{"a": 1}, [2], "s", null], "": {"a": null}});
        if let Ok(path) = JsonPath::parse(&template) {
            let _ = path.find(&value);
        }
        if let Ok(template) = JsonPathTemplate::parse(&template) {
            let _ = template.print(&value);
        }
    }

    #[test]
    fn text_without_braces_prints_itself(text in "[^{]*") {
        prop_assert_eq!(print(&text, &json!({})), Ok(text));
    }

    #[test]
    fn a_quoted_text_prints_itself(text in r#"[^\\"\n]*"#) {
        prop_assert_eq!(print(&format!("{{\"{text}\"}}"), &json!({})), Ok(text));
    }
}
