//! Properties that hold for any text a client sends as a selector or a path. `fuzz/README.md` in the repository describes
//! who calls these functions.

use serde_json::{Map, Value, json};

use crate::{FieldSelector, JsonPath, JsonPathTemplate, LabelSelector};

/// A label selector prints as text that parses to the same selector, whether it was read from text or from JSON.
pub fn label_selector(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(selector) = LabelSelector::parse(&text) {
        assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector.clone()));
        let twice = LabelSelector::parse(&format!("{text},{text}"));
        for labels in [json!({}), json!({"app": "a", "tier": "1"}), json!({"app": "b", "x/y": ""})] {
            let labels = labels.as_object();
            if let Ok(twice) = &twice {
                assert_eq!(selector.matches(&labels), twice.matches(&labels));
            }
        }
    }
    if let Ok(object) = serde_json::from_slice::<Value>(input)
        && let Ok(selector) = LabelSelector::from_object(&object)
    {
        let printed = LabelSelector::parse(&selector.to_string()).expect("a printed selector parses");
        for labels in [json!({}), json!({"app": "a", "tier": "1"}), json!({"app": "b,c"})] {
            assert_eq!(selector.matches(&labels.as_object()), printed.matches(&labels.as_object()));
        }
    }
}

/// Empty terms around a field selector change nothing, and matching reads only the fields that it lists.
pub fn field_selector(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(selector) = FieldSelector::parse(&text) else { return };
    assert_eq!(FieldSelector::parse(&format!(",{text},")), Ok(selector.clone()));
    let fields: Vec<&str> = selector.fields().collect();
    selector.matches(|field| {
        assert!(fields.contains(&field));
        Some(String::new())
    });
}

/// A path or a template (the first line) has the same results each time it is evaluated, in any JSON.
pub fn json_path(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (text, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let value = serde_json::from_str(rest).unwrap_or(Value::Object(Map::new()));
    if let Ok(path) = JsonPath::parse(text) {
        assert_eq!(path.find(&value), path.find(&value));
    }
    if let Ok(path) = JsonPath::parse_relaxed(text) {
        assert_eq!(JsonPath::parse_relaxed(&path.to_string()), Ok(path));
    }
    if let Ok(template) = JsonPathTemplate::parse(text) {
        assert_eq!(template.print(&value), template.print(&value));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn label_selectors() {
        fuzz::check("label_selector", 256, super::label_selector);
    }

    #[test]
    fn field_selectors() {
        fuzz::check("field_selector", 256, super::field_selector);
    }

    #[test]
    fn json_paths() {
        fuzz::check("json_path", 256, super::json_path);
    }
}
