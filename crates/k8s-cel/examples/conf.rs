use k8s_cel::{Environment, Program, Variables};
use serde_json::{Value as Json, json};
use std::io::{BufRead, stdin};
fn main() {
    let (mut pass, mut fail) = (0, 0);
    for line in stdin().lock().lines() {
        let case: Json = serde_json::from_str(&line.unwrap()).unwrap();
        if case["protobuf"] == json!(true) {
            continue;
        }
        let mut env = Environment::specification();
        if let Some(c) = case["container"].as_str() {
            env = env.in_container(c);
        }
        if case["disable_check"] == json!(true) {
            env = env.without_checker();
        }
        if case["disable_macros"] == json!(true) {
            env = env.without_macros();
        }
        for v in case["type_env"].as_array().into_iter().flatten() {
            env = env
                .with_typed_variable(v["name"].as_str().unwrap(), v["type"].as_str().unwrap())
                .expect("type");
        }
        for f in case["functions"].as_array().into_iter().flatten() {
            let o: Vec<_> = f["overloads"]
                .as_array()
                .unwrap()
                .iter()
                .map(|o| (o["id"].as_str().unwrap(), o["signature"].as_str().unwrap()))
                .collect();
            env = env.with_function(f["name"].as_str().unwrap(), &o).expect("function");
        }
        let text = case["expr"].as_str().unwrap();
        let name = format!(
            "{}/{}/{}: {text}",
            case["file"].as_str().unwrap(),
            case["section"].as_str().unwrap(),
            case["name"].as_str().unwrap()
        );
        let got = (|| {
            let program = match Program::compile(text, &env) {
                Ok(p) => p,
                Err(e) => return json!({"error": e.to_string()}),
            };
            if case["check_only"] == json!(true) {
                return json!({"type": program.result_type()});
            }
            let names: Vec<(String, Json)> = case["bindings"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            let mut vars = Variables::new();
            for (k, v) in &names {
                vars = vars.with_value(k, k8s_cel::Value::from_typed_json(v).expect("value"));
            }
            match program.evaluate(&vars, u64::MAX).result {
                Ok(v) => v.to_typed_json(),
                Err(e) => json!({"error": e.to_string()}),
            }
        })();
        let ok = if case["check_only"] == json!(true) {
            got["type"] == case["type"]
        } else if case.get("errors").is_some() {
            got.get("error").is_some()
        } else {
            got == case["value"]
        };
        if ok {
            pass += 1
        } else {
            fail += 1;
            println!("{name}\n   want {} {}\n   got  {got}", case["value"], case["errors"]);
        }
    }
    println!("pass {pass} fail {fail}");
}
