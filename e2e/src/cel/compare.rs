//! Compares what our engine says about a case with what kube-apiserver's libraries said.

use std::collections::BTreeMap;

use k8s_cel::{COST_LIMIT, CompileError, Declaration, Environment, Origin, Program, Variables};
use serde_json::{Value, json};

/// The kube-apiserver of the Go modules: 1.`MINOR`.
const MINOR: u32 = 37;

/// What differs between our answer to a case and the one of `cel rules`.
///
/// Rules whose answer depends on the order in which Go goes through a map may differ in one run and not in the next.
#[must_use]
pub fn differences(case: &Value, answer: &Value) -> Vec<String> {
    // cel-go panics where an optional element of a literal has no type, and the server with it; we go on.
    if answer.get("panic").is_some() {
        return Vec::new();
    }
    let mut compared = Comparison {
        stored: case["stored"] == json!(true),
        rules: BTreeMap::new(),
        evaluations: BTreeMap::new(),
        found: Vec::new(),
    };
    for rule in answer["rules"].as_array().into_iter().flatten() {
        compared.rules.insert(rule["path"].as_str().unwrap_or_default().to_owned(), rule);
    }
    for one in answer["validate"]["evaluations"].as_array().into_iter().flatten() {
        let place =
            (one["path"].as_str().unwrap_or_default().to_owned(), one["rule"].as_u64().unwrap_or_default());
        compared.evaluations.insert(place, one);
    }
    let declaration = Declaration::from_openapi(&case["schema"], true);
    let place = Place {
        schema: &case["schema"],
        declaration: &declaration,
        path: "spec.validation.openAPIV3Schema".to_owned(),
    };
    let object = At {
        path: String::new(),
        value: &case["object"],
        old: Some(&case["oldObject"]).filter(|old| !old.is_null()),
    };
    compared.node(&place, &[object]);
    compared.found
}

struct Comparison<'a> {
    /// Whether the rules are stored already.
    stored: bool,
    rules: BTreeMap<String, &'a Value>,
    evaluations: BTreeMap<(String, u64), &'a Value>,
    found: Vec<String>,
}

struct Place<'a> {
    schema: &'a Value,
    declaration: &'a Declaration,
    path: String,
}

/// A value in the object, with the old one that it correlates with.
struct At<'a> {
    path: String,
    value: &'a Value,
    old: Option<&'a Value>,
}

impl Comparison<'_> {
    fn node(&mut self, place: &Place<'_>, values: &[At<'_>]) {
        let values: Vec<_> = values.iter().filter(|at| !at.value.is_null()).collect();
        let rules = place.schema["x-kubernetes-validations"].as_array();
        if place.declaration.is_exposed() {
            for (index, rule) in (0..).zip(rules.into_iter().flatten()) {
                self.rule(place, index, rule, &values);
            }
        }
        for (name, property) in place.schema["properties"].as_object().into_iter().flatten() {
            let Some(declaration) = place.declaration.property(name) else { continue };
            let path = format!("{}.properties[{name}]", place.path);
            let inside: Vec<_> = values
                .iter()
                .filter_map(|at| {
                    let path = if at.path.is_empty() { name.clone() } else { format!("{}.{name}", at.path) };
                    Some(At { path, value: at.value.get(name)?, old: at.old.and_then(|old| old.get(name)) })
                })
                .collect();
            self.node(&Place { schema: property, declaration, path }, &inside);
        }
        let Some(declaration) = place.declaration.element() else { return };
        if place.schema["additionalProperties"].is_object() {
            let path = format!("{}.additionalProperties", place.path);
            let inside: Vec<_> = values
                .iter()
                .flat_map(|at| {
                    at.value.as_object().into_iter().flatten().map(move |(key, value)| (at, key, value))
                })
                .map(|(at, key, value)| At {
                    path: format!("{}[{key}]", at.path),
                    value,
                    old: at.old.and_then(|old| old.get(key)),
                })
                .collect();
            self.node(&Place { schema: &place.schema["additionalProperties"], declaration, path }, &inside);
        }
        if place.schema["items"].is_object() {
            let path = format!("{}.items", place.path);
            let inside: Vec<_> = values
                .iter()
                .flat_map(|at| {
                    at.value.as_array().into_iter().flatten().enumerate().map(move |item| (at, item))
                })
                .map(|(at, (index, value))| At {
                    path: format!("{}[{index}]", at.path),
                    value,
                    old: at.old.and_then(|old| counterpart(place.schema, value, old)),
                })
                .collect();
            self.node(&Place { schema: &place.schema["items"], declaration, path }, &inside);
        }
    }

    fn rule(&mut self, place: &Place<'_>, index: u64, rule: &Value, values: &[&At<'_>]) {
        let path = format!("{}.x-kubernetes-validations[{index}].rule", place.path);
        let Some(expected) = self.rules.get(&path).copied() else { return };
        // Rules without text are skipped, as by kube-apiserver.
        let Some(text) = rule["rule"].as_str().filter(|text| !text.trim().is_empty()) else { return };
        let program = self.compile("rule", text, rule, place, &expected["error"], &expected["max_cost"]);
        let message = rule["messageExpression"].as_str().filter(|text| !text.is_empty() && program.is_some());
        let message = message.and_then(|text| {
            self.compile(
                "messageExpression",
                text,
                rule,
                place,
                &expected["message_error"],
                &expected["message_max_cost"],
            )
        });
        let Some(program) = program else { return };
        for at in values {
            let Some(expected) = self.evaluations.get(&(at.path.clone(), index)).copied() else { continue };
            let mut variables = Variables::new().with("self", at.value, place.declaration);
            let old = at.old.filter(|old| !old.is_null());
            if rule["optionalOldSelf"] == json!(true) {
                variables = variables.with_optional("oldSelf", old, place.declaration);
            } else if let Some(old) = old {
                variables = variables.with("oldSelf", old, place.declaration);
            }
            self.evaluate(&program, &variables, text, at, expected, ["value", "error", "cost"]);
            if let Some(message) = &message {
                let text = rule["messageExpression"].as_str().unwrap_or_default();
                self.evaluate(
                    message,
                    &variables,
                    text,
                    at,
                    expected,
                    ["message", "message_error", "message_cost"],
                );
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn compile(
        &mut self,
        what: &str,
        text: &str,
        rule: &Value,
        place: &Place<'_>,
        error: &Value,
        cost: &Value,
    ) -> Option<Program> {
        let origin = if self.stored { Origin::Stored } else { Origin::New };
        let environment = Environment::kubernetes(MINOR, origin).with_variable("self", place.declaration);
        let environment = if rule["optionalOldSelf"] == json!(true) {
            environment.with_optional_variable("oldSelf", place.declaration)
        } else {
            environment.with_variable("oldSelf", place.declaration)
        };
        let is_message = what == "messageExpression";
        let result = if is_message { "string" } else { "bool" };
        let environment = environment.clone().with_result(result).unwrap_or(environment);
        let compiled = Program::compile(text, &environment);
        let prefix = if is_message { "messageExpression " } else { "" };
        let ours = match &compiled {
            Ok(_) => String::new(),
            Err(CompileError::Result(_)) if is_message => {
                "messageExpression must evaluate to a string".to_owned()
            }
            Err(CompileError::Result(_)) => "cel expression must evaluate to a bool".to_owned(),
            Err(CompileError::Instantiation(error)) if is_message => {
                format!("{prefix}instantiation failed: {error}")
            }
            Err(CompileError::Instantiation(error)) => format!("program instantiation failed: {error}"),
            Err(error) => format!("{prefix}compilation failed: {error}").replace("selfType", "selfType0"),
        };
        let theirs = error.as_str().unwrap_or_default();
        if ours != theirs {
            self.found.push(format!("{what} {text}\n  real: {theirs}\n  ours: {ours}"));
            return None;
        }
        let program = compiled.ok().filter(|_| ours.is_empty())?;
        let ours = program.max_cost().to_string();
        if let Some(theirs) = cost.as_str()
            && theirs != ours
        {
            self.found.push(format!("cost of {what} {text}\n  real: {theirs}\n  ours: {ours}"));
        }
        Some(program)
    }

    fn evaluate(
        &mut self,
        program: &Program,
        variables: &Variables<'_>,
        text: &str,
        at: &At<'_>,
        expected: &Value,
        names: [&str; 3],
    ) {
        let [value, error, cost] = names.map(|name| &expected[name]);
        let evaluation = program.evaluate(variables, COST_LIMIT);
        let ours = match &evaluation.result {
            Ok(value) => value.to_typed_json().to_string(),
            Err(error) => format!("error: {error}"),
        };
        let theirs = match error.as_str() {
            Some(error) if !error.is_empty() => format!("error: {error}"),
            _ => value.to_string(),
        };
        let ours = format!("{ours} for {}", evaluation.cost);
        let theirs = format!("{theirs} for {}", cost.as_str().unwrap_or("0"));
        if ours != theirs {
            let at = &at.path;
            self.found.push(format!("evaluation at {at} of {text}\n  real: {theirs}\n  ours: {ours}"));
        }
    }
}

/// The item of an old list that has the keys of a new one.
fn counterpart<'a>(schema: &Value, item: &Value, old: &'a Value) -> Option<&'a Value> {
    let keys = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .filter(|_| schema["x-kubernetes-list-type"] == "map")?;
    let scalar = |value: &Value| matches!(value, Value::String(_) | Value::Bool(_) | Value::Number(_));
    let fits = |old: &&Value| {
        keys.iter().filter_map(Value::as_str).all(|key| {
            matches!((item.get(key), old.get(key)), (Some(new), Some(old)) if scalar(new) && new == old)
        })
    };
    old.as_array()?.iter().find(fits)
}
