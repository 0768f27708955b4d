//! Templates print `json_path/object.json` as by kubectl 1.37, whose output and errors are in `json_path/kubectl.json`.
//!
//! They are recorded by `json_path/record.sh`, in one command that is in its header. To add a case, append its template to
//! the file, and record again.

use kube_selectors::JsonPathTemplate;
use serde_json::Value;

fn print(case: &Value, object: &Value) -> Result<String, String> {
    let template = case["template"].as_str().unwrap_or_default();
    let parsed = JsonPathTemplate::parse(template)
        .map_err(|error| format!("error parsing jsonpath {template}, {error}"))?;
    let printed = match case["format"].as_str() {
        Some("jsonpath-as-json") => parsed.print_as_json(object),
        _ => parsed.print(object),
    };
    printed.map_err(|error| error.to_string())
}

#[test]
fn templates_print_as_by_kubectl() {
    let object = serde_json::from_str(include_str!("json_path/object.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(include_str!("json_path/kubectl.json")).unwrap();
    assert!(cases.len() > 300);
    let mut differences = Vec::new();
    for case in &cases {
        let text = |key: &str| case[key].as_str().map(str::to_owned);
        let expected = text("output").ok_or_else(|| text("error").unwrap_or_default());
        let printed = print(case, &object);
        if printed != expected {
            differences
                .push(format!("{}\n  kubectl: {expected:?}\n  printed: {printed:?}", case["template"]));
        }
    }
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), cases.len(), differences.join("\n"));
}
