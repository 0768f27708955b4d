//! Custom columns and the order of `--sort-by` are as by kubectl 1.37, whose output is in `kubectl/`.
//!
//! It is recorded by `kubectl/record.sh`, in one command that is in its header. To add a case, append its input to
//! `columns.json` or `sort.json`, and record again.

use kube_tables::{CustomColumns, SortBy};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Compares each case with what a function makes of it. Where kubectl exits by klog, any error will do.
fn compare(cases: &str, at_least: usize, run: impl Fn(&Value) -> Result<String, String>) {
    let cases: Vec<Value> = serde_json::from_str(cases).expect("the cases are JSON");
    assert!(cases.len() >= at_least);
    let differences: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let done = run(case);
            let (key, text) = match &done {
                Ok(output) => ("output", output),
                Err(error) => ("error", error),
            };
            let is_same = case[key] == text.as_str() || done.is_err() && case["fatal"].is_string();
            (!is_same).then(|| format!("{case}\n  here: {done:?}"))
        })
        .collect();
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), cases.len(), differences.join("\n"));
}

/// Prints rows as kubectl's tabwriter does.
fn table(rows: &[Vec<String>]) -> String {
    let mut out = String::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            let width =
                rows.iter().map(|row| row[index].chars().count() + 3).max().unwrap_or_default().max(6);
            let is_last = index + 1 == row.len();
            let padding = if is_last { 0 } else { width - cell.chars().count() };
            out.push_str(cell);
            out.push_str(&" ".repeat(padding));
        }
        out.push('\n');
    }
    out
}

#[test]
fn custom_columns_are_kubectls() {
    let object: Value = serde_json::from_str(include_str!("kubectl/object.json")).unwrap();
    compare(include_str!("kubectl/columns.json"), 60, |case| {
        let columns = match case["columns"].as_str() {
            Some(columns) => CustomColumns::parse(columns),
            None => CustomColumns::from_file_text(case["file"].as_str().unwrap_or_default()),
        };
        let columns = columns.map_err(|error| error.to_string())?;
        let cells = columns.cells(&object).map_err(|error| error.to_string())?;
        Ok(table(&[columns.headers().map(str::to_owned).collect(), cells]))
    });
}

#[test]
fn no_columns_are_refused() {
    let error = CustomColumns::parse("").unwrap_err().to_string();
    assert_eq!(error, "custom-columns format specified but no custom columns given");
}

#[test]
fn objects_are_sorted_as_by_kubectl() {
    compare(include_str!("kubectl/sort.json"), 40, |case| {
        let objects = case["fields"].as_array().unwrap().iter().enumerate();
        let mut objects: Vec<(String, Value)> = objects
            .map(|(index, fields)| {
                let name = format!("thing-{index}");
                let mut object = fields.clone();
                object["metadata"]["name"] = name.clone().into();
                (name, object)
            })
            .collect();
        let by = SortBy::parse(case["by"].as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
        by.sort(&mut objects, |(_, object)| object).map_err(|error| error.to_string())?;
        let names: Vec<String> = objects.into_iter().map(|(name, _)| name).collect();
        Ok(names.join(" "))
    });
}

#[test]
fn nothing_is_sorted_by_any_field() {
    let mut nothing: [Value; 0] = [];
    SortBy::parse(".nope").unwrap().sort(&mut nothing, |object| object).unwrap();
}

#[test]
fn integers_are_compared_with_fractions() {
    let mut values = [json!({"v": 2}), json!({"v": 1.5}), json!({"v": 1})];
    SortBy::parse("v").unwrap().sort(&mut values, |object| object).unwrap();
    assert_eq!(values, [json!({"v": 1}), json!({"v": 1.5}), json!({"v": 2})]);
}

#[test]
fn what_has_no_order_keeps_it_and_is_named() {
    for (values, expected) in [
        (json!([true, false]), "field {.v} is of an unsortable type: bool"),
        (json!(["b", 1, "a"]), "field {.v} has values of different types: string and number"),
    ] {
        let mut objects: Vec<Value> = values.as_array().unwrap().iter().map(|v| json!({"v": v})).collect();
        let before = objects.clone();
        let error = SortBy::parse("v").unwrap().sort(&mut objects, |object| object).unwrap_err();
        assert_eq!((error.to_string().as_str(), objects), (expected, before));
    }
}

proptest! {
    #[test]
    fn any_strings_can_be_sorted(texts in proptest::collection::vec("[0-9a-z.]{0,3}(k|m|Ki)?", 0..40)) {
        let mut objects: Vec<Value> = texts.iter().map(|text| json!({"v": text})).collect();
        SortBy::parse("v").unwrap().sort(&mut objects, |object| object).unwrap();
        let mut sorted: Vec<&str> = objects.iter().filter_map(|object| object["v"].as_str()).collect();
        let mut before: Vec<&str> = texts.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        before.sort_unstable();
        prop_assert_eq!(sorted, before);
    }
}
