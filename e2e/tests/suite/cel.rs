//! k8s-cel beside the cases of cel-spec, which come from its Go module, and beside the libraries of kube-apiserver.

use std::{
    collections::BTreeMap,
    io::{Write as _, stderr},
};

use anyhow::{Context as _, Result, ensure};
use e2e::cel::{Questions, Referee};
use k8s_cel::{Environment, Program, Value, Variables};
use serde_json::{Value as Json, json};

/// The cases that fail, with the reason. Cases with messages and enums of protobuf are not here: Kubernetes has neither.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("fields/qualified_identifier_resolution/map_key_float", "cel-go has doubles as keys, too"),
    (
        "fields/qualified_identifier_resolution/map_value_repeat_key",
        "cel-go lets the last entry of a key win",
    ),
    (
        "fields/qualified_identifier_resolution/map_value_repeat_key_heterogeneous",
        "to cel-go the keys 0 and 0u of a literal are two",
    ),
    (
        "optionals/optionals/map_optional_select_has",
        "cel-go fails: it asks the empty optional itself for a field",
    ),
    ("string_ext/value_errors/indexof_out_of_range", "cel-go returns -1"),
    ("string_ext/value_errors/lastindexof_out_of_range", "cel-go returns -1"),
    (
        "type_deduction/legacy_nullable_types/null_assignable_to_abstract_parameter_candidate",
        "to cel-go the type of the list's elements is the one of null",
    ),
];

/// The referee; without it, says that a test is skipped.
async fn referee(test: &str) -> Result<Option<Referee>> {
    match Referee::build().await? {
        Ok(referee) => Ok(Some(referee)),
        Err(skipped) => {
            writeln!(stderr(), "skipped: cel::{test}: {}", skipped.0)?;
            Ok(None)
        }
    }
}

#[tokio::test]
async fn conformance() -> Result<()> {
    let Some(referee) = referee("conformance").await? else { return Ok(()) };
    let mut exceptions: BTreeMap<_, _> = EXCEPTIONS.iter().copied().collect();
    let (mut passed, mut wrong) = (0, Vec::new());
    for case in referee.conformance().await? {
        if case["protobuf"] == json!(true) {
            continue;
        }
        let name = format!("{}/{}/{}", text(&case["file"]), text(&case["section"]), text(&case["name"]));
        let answer = answer(&case).with_context(|| name.clone())?;
        match (is_expected(&case, &answer), exceptions.remove(name.as_str())) {
            (true, None) => passed += 1,
            (false, Some(_)) => {}
            (true, Some(reason)) => wrong.push(format!("{name} passes, although {reason}")),
            (false, None) => wrong.push(format!("{name} gives {answer}: {case}")),
        }
    }
    wrong.extend(exceptions.keys().map(|name| format!("{name} does not exist")));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Fewer would mean that most cases were taken for those of protobuf.
    ensure!(passed > 1_600, "only {passed} cases");
    Ok(())
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

fn is_expected(case: &Json, answer: &Json) -> bool {
    // The words of errors are those of cel-go, which differ from cel-spec's.
    let fails = case.get("errors").is_some();
    let value = case.get("value").is_none_or(|value| answer["value"] == *value);
    let of_type = case.get("type").is_none_or(|expected| answer["type"] == *expected);
    if fails { answer.get("error").is_some() } else { answer.get("error").is_none() && value && of_type }
}

/// What our engine says: the type and the value, or an error.
fn answer(case: &Json) -> Result<Json> {
    let program = match Program::compile(text(&case["expr"]), &environment(case)?) {
        Ok(program) => program,
        Err(error) => return Ok(json!({"error": error.to_string()})),
    };
    if case["check_only"] == json!(true) {
        return Ok(json!({"type": program.result_type()}));
    }
    let mut variables = Variables::new();
    for (name, value) in case["bindings"].as_object().into_iter().flatten() {
        variables = variables.with_value(name, Value::from_typed_json(value).context("a value")?);
    }
    Ok(match program.evaluate(&variables, u64::MAX).result {
        Ok(value) => json!({"type": program.result_type(), "value": value.to_typed_json()}),
        Err(error) => json!({"error": error.to_string()}),
    })
}

fn environment(case: &Json) -> Result<Environment> {
    let mut environment = Environment::specification().in_container(text(&case["container"]));
    if case["disable_check"] == json!(true) {
        environment = environment.without_checker();
    }
    if case["disable_macros"] == json!(true) {
        environment = environment.without_macros();
    }
    for variable in case["type_env"].as_array().into_iter().flatten() {
        let declared = environment.with_typed_variable(text(&variable["name"]), text(&variable["type"]));
        environment = declared.context("a type")?;
    }
    for function in case["functions"].as_array().into_iter().flatten() {
        let overloads = function["overloads"].as_array().context("overloads")?.iter();
        let overloads: Vec<_> =
            overloads.map(|overload| (text(&overload["id"]), text(&overload["signature"]))).collect();
        let declared = environment.with_function(text(&function["name"]), &overloads);
        environment = declared.context("a signature")?;
    }
    Ok(environment)
}

/// Rules of generated schemas, with generated objects: whether they compile and why not, what they may cost, and for each value
/// what they give and what that costs.
#[tokio::test]
async fn rules_are_judged_as_by_kube_apiserver() -> Result<()> {
    let Some(referee) = referee("rules_are_judged_as_by_kube_apiserver").await? else { return Ok(()) };
    let cases: Vec<_> = (1_000..1_200).map(e2e::cel::case).collect();
    let answers = referee.ask(Questions::Rules, &cases).await?;
    let mut wrong = Vec::new();
    for (case, answer) in cases.iter().zip(answers) {
        let mut found = e2e::cel::differences(case, &answer);
        // Go goes through maps in a new order each time, so that an answer can be another one.
        for _ in 0..5 {
            if found.is_empty() {
                break;
            }
            let again = referee.ask(Questions::Rules, std::slice::from_ref(case)).await?;
            found = again.first().map_or_else(Vec::new, |again| e2e::cel::differences(case, again));
        }
        wrong.extend(found);
    }
    ensure!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
    Ok(())
}
