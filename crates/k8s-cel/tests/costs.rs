//! Estimates, compared with those of `EstimateCost` in apiextensions-apiserver 0.37.2.

use k8s_cel::{Declaration, Environment, Origin, Program};
use serde_json::Value as Json;

#[test]
fn costs_are_kube_apiservers() {
    let cases: Vec<Json> = serde_json::from_str(include_str!("costs.json")).unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let declaration = Declaration::from_openapi(&case["schema"], case["root"] == true);
        assert_eq!(declaration.max_cardinality(), case["times"], "{}", case["schema"]);
        let environment = Environment::kubernetes(37, Origin::Stored)
            .with_variable("self", &declaration)
            .with_variable("oldSelf", &declaration);
        for cost in case["costs"].as_array().unwrap() {
            let (rule, cost) = (cost[0].as_str().unwrap(), cost[1].as_u64().unwrap());
            let found =
                Program::compile(rule, &environment).unwrap_or_else(|error| panic!("{rule}: {error}"));
            if found.max_cost() != cost {
                wrong.push(format!("{rule}: {cost}, not {}", found.max_cost()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
