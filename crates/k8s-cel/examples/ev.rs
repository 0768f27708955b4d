use k8s_cel::*;
fn main() {
    let json: serde_json::Value = serde_json::json!({"a": 1});
    let d = Declaration::from_openapi(
        &serde_json::json!({"type":"object","properties":{"a":{"type":"integer"}}}),
        false,
    );
    for text in std::env::args().skip(1) {
        let env = Environment::kubernetes(37, Origin::Stored).with_variable("self", &d);
        match Program::compile(&text, &env) {
            Err(e) => println!("{e}"),
            Ok(p) => {
                let v = Variables::new().with("self", &json, &d);
                let e = p.evaluate(&v, u64::MAX);
                println!(
                    "{} {:?} max {}",
                    e.cost,
                    e.result.map(|v| v.to_typed_json().to_string()).map_err(|e| e.to_string()),
                    p.max_cost()
                );
            }
        }
    }
}
