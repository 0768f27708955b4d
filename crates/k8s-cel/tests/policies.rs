//! Expressions of policies; the answers and the costs are those of apiserver 0.37.2.

use k8s_cel::{
    COST_LIMIT, CompileError, Declaration, Environment, Origin, PolicyVariables, Program, Variables,
};
use serde_json::{Value as Json, json};

struct Inputs {
    dynamic: Declaration,
    object: Json,
    request: Json,
    namespace: Json,
}

impl Inputs {
    fn new() -> Self {
        Self {
            dynamic: Declaration::dynamic(),
            object: json!({
                "apiVersion": "v1", "kind": "Thing",
                "metadata": {"name": "x", "labels": {"a": "b"}, "annotations": {}},
                "spec": {"n": 3, "f": 1.5, "list": [1, 2], "empty": [], "nul": null, "s": "t"},
            }),
            request: json!({
                "kind": {"group": "g", "version": "v1", "kind": "Thing"},
                "name": "x", "operation": "CREATE", "userInfo": {"username": "joe", "groups": ["a"]}, "options": null,
            }),
            namespace: json!({
                "metadata": {"name": "ns", "labels": {"a": "b"}, "creationTimestamp": "1970-01-01T00:00:00Z"},
                "spec": {}, "status": {},
            }),
        }
    }

    fn variables(&self) -> Variables<'_> {
        Variables::new()
            .with("object", &self.object, &self.dynamic)
            .with("oldObject", &Json::Null, &self.dynamic)
            .with("params", &Json::Null, &self.dynamic)
            .with("request", &self.request, &self.dynamic)
            .with("namespaceObject", &self.namespace, &self.dynamic)
    }
}

fn environment() -> Environment {
    Environment::policy(37, Origin::Stored).with_params().with_authorizer().with_policy_variables()
}

/// The value as typed JSON or the error, and the cost, of an expression with variables.
fn run(variables: &[(&str, &str)], text: &str) -> (Result<Json, String>, u64) {
    let mut environment = environment();
    let mut compiled = Vec::new();
    for (name, text) in variables {
        let program = Program::compile(text, &environment);
        environment = environment.with_policy_variable(name, program.as_ref());
        compiled.push((*name, program));
    }
    let program = match Program::compile(text, &environment) {
        Ok(program) => program,
        Err(error) => return (Err(error.to_string()), 0),
    };
    let inputs = Inputs::new();
    let mut policy = PolicyVariables::new(inputs.variables());
    for (name, program) in &compiled {
        policy = policy.with(name, program.as_ref());
    }
    let evaluation = program.evaluate_policy(&mut policy, COST_LIMIT);
    let result = evaluation.result.map(|value| value.to_typed_json()).map_err(|error| error.to_string());
    (result, evaluation.cost)
}

fn assert_all<const N: usize>(cases: [(&str, Result<Json, &str>, u64); N]) {
    for (text, expected, cost) in cases {
        assert_eq!(run(&[], text), (expected.map_err(str::to_owned), cost), "{text}");
    }
}

fn bool(value: bool) -> Result<Json, &'static str> {
    Ok(json!({"bool": value}))
}

fn int(value: &str) -> Result<Json, &'static str> {
    Ok(json!({"int": value}))
}

#[test]
fn objects_are_data_without_a_schema() {
    assert_all([
        ("object.spec.n", int("3"), 3),
        ("object.metadata == 1", bool(false), 3),
        ("object.spec.list == 1", bool(false), 4),
        ("object.spec.list + [3] == [1, 2, 3]", bool(true), 5),
        ("object.spec.list[1u]", int("2"), 4),
        ("object.spec.list[1.0]", int("2"), 4),
        ("object.spec.list['a']", Err("unsupported index type 'string' in list"), 4),
        ("object[1]", Err("no such key: 1"), 2),
        ("object.spec.missing", Err("no such key: missing"), 3),
        ("has(object.spec.nul)", bool(true), 2),
        ("object.spec.nul == null", bool(true), 4),
        ("optional.ofNonZeroValue(object.metadata.annotations).hasValue()", bool(false), 5),
        ("optional.ofNonZeroValue(object.spec.empty).hasValue()", bool(false), 5),
        ("object.metadata.labels == {'a': 'b'}", bool(true), 4),
        ("1 in object.metadata.labels", bool(false), 4),
        ("1 in object.spec.list", bool(true), 4),
        ("object == oldObject", bool(false), 3),
        ("oldObject == null", bool(true), 2),
        ("oldObject.spec", Err("no such key: spec"), 2),
        ("object.spec.list.map(x, x * 2) == [2, 4]", bool(true), 33),
        ("type(request)", Ok(json!({"type": "map"})), 2),
        ("request.namespace", Err("no such key: namespace"), 2),
        ("has(request.dryRun)", bool(false), 1),
        ("'a' in request.userInfo.groups", bool(true), 4),
        (
            "namespaceObject.metadata.creationTimestamp < timestamp('2021-01-01T00:00:00Z')",
            Err("no such overload"),
            4,
        ),
        ("namespaceObject.status.conditions.all(c, c.type == 'x')", Err("no such key: conditions"), 3),
    ]);
}

#[test]
fn the_request_and_the_namespace_have_types() {
    let type_of = |text| Program::compile(text, &environment()).map(|program| program.result_type());
    assert_eq!(type_of("request").as_deref(), Ok("kubernetes.AdmissionRequest"));
    assert_eq!(type_of("request.userInfo.extra").as_deref(), Ok("map(string, list(string))"));
    assert_eq!(
        type_of("namespaceObject.status.conditions[0].lastTransitionTime").as_deref(),
        Ok("timestamp")
    );
    for (text, expected) in [
        ("request.object", "undefined field 'object'"),
        ("namespaceObject.metadata.uid", "undefined field 'uid'"),
        ("variables.a", "undefined field 'a'"),
        ("authorizer.foo", "unexpected failed resolution of 'kubernetes.authorization.Authorizer'"),
        ("kubernetes.Namespace", "reference to undefined type: kubernetes.Namespace"),
    ] {
        let error = type_of(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert_all([("kubernetes.Namespace{}", Err("unknown type 'kubernetes.Namespace'"), 40)]);
}

#[test]
fn params_variables_and_the_authorizer_are_declared_where_they_exist() {
    let plain = Environment::policy(37, Origin::Stored);
    for text in ["params", "authorizer.path('/')", "variables"] {
        assert!(Program::compile(text, &plain).is_err(), "{text}");
        assert!(Program::compile(text, &environment()).is_ok(), "{text}");
    }
}

#[test]
fn a_variable_is_evaluated_once_and_only_if_it_is_needed() {
    for (variables, text, expected, cost) in [
        (&[("a", "1 + 1")][..], "variables.a + variables.a", int("4"), 6),
        (&[("a", "1 + 1")], "false && variables.a == 2", bool(false), 0),
        (&[("a", "1 + 1")], "has(variables.a)", bool(true), 2),
        (&[("a", "1 + 1")], "variables.?a.hasValue()", bool(true), 4),
        (&[("a", "1 + 1")], "dyn(variables)['a']", int("2"), 5),
        (&[("a", "1 + 1")], "dyn(variables)['b']", Err("no such key: b"), 4),
        (&[("a", "1 + 1")], "variables == variables", bool(true), 3),
        (&[("a", "1 + 1")], "dyn(variables) == 1", Err("no such overload"), 3),
        (&[("a", "{'x': 1}")], "variables.a.x", int("1"), 3),
        (&[("a", "[1, 2]")], "variables.a.all(x, x > 0)", bool(true), 13),
        (&[("a", "object.spec.n")], "variables.a > 2", bool(true), 6),
        (&[("a", "1"), ("a", "'x'")], "variables.a", Ok(json!({"string": "x"})), 2),
        (&[("a", "dyn(variables)['a']")], "variables.a == 1 || true", bool(true), 7),
    ] {
        assert_eq!(run(variables, text), (expected.map_err(str::to_owned), cost), "{text}");
    }
}

#[test]
fn a_variable_that_fails_is_an_error_where_it_is_used() {
    let division = "composited variable \"a\" fails to evaluate: division by zero";
    let syntax = "composited variable \"a\" fails to compile: compilation failed: ERROR: <input>:1:4: Syntax error: \
                  mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, \
                  NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^";
    let nested = format!("composited variable \"b\" fails to evaluate: {division}");
    for (variables, text, expected, cost) in [
        (&[("a", "1 / 0")][..], "variables.a == 2", Err(division), 4),
        (&[("a", "1 / 0")], "variables.a == 2 || true", bool(true), 4),
        (&[("a", "1 / 0"), ("b", "variables.a")], "variables.b == 2", Err(&*nested), 6),
        (&[("a", "1 +")], "variables.a", Err(syntax), 2),
    ] {
        assert_eq!(run(variables, text), (expected.map_err(str::to_owned), cost), "{text}");
    }
}

#[test]
fn a_variable_that_costs_too_much_does_not_end_the_expression() {
    let loops = ["a", "b", "c", "d", "e"].map(|name| format!("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all({name}, "));
    let expensive = format!("{}a + b + c + d + e > 0)))))", loops.concat());
    let (result, cost) = run(&[("a", &expensive)], "variables.a || true");
    assert_eq!(result, Ok(json!({"bool": true})));
    assert!(cost > COST_LIMIT, "{cost}");
}

#[test]
fn objects_and_values_of_libraries_are_dynamic_as_variables() {
    let environment = environment();
    for (text, expected) in [
        ("1", "int"),
        ("null", "null"),
        ("b'1'", "bytes"),
        ("timestamp(0)", "timestamp"),
        ("[1]", "list(int)"),
        ("{1: [b'1']}", "map(int, list(bytes))"),
        ("[quantity('1')]", "list(dyn)"),
        ("quantity('1')", "dyn"),
        ("optional.of(1)", "dyn"),
        ("type(1)", "dyn"),
        ("google.protobuf.Int64Value{value: 1}", "dyn"),
        ("request", "dyn"),
    ] {
        let variable = Program::compile(text, &environment);
        let environment = environment.clone().with_policy_variable("a", variable.as_ref());
        let program = Program::compile("variables.a", &environment).unwrap();
        assert_eq!(program.result_type(), expected, "{text}");
    }
}

#[test]
fn long_chains_of_variables_end() {
    let names: Vec<_> = (0..2_000).map(|index| format!("v{index}")).collect();
    let mut environment = environment();
    let mut compiled: Vec<Result<Program, CompileError>> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let text = match index {
            0 => "1".to_owned(),
            _ => format!("variables.{} + 1", names[index - 1]),
        };
        let program = Program::compile(&text, &environment);
        environment = environment.with_policy_variable(name, program.as_ref());
        compiled.push(program);
    }
    let inputs = Inputs::new();
    let evaluate = |last: usize| {
        let mut policy = PolicyVariables::new(inputs.variables());
        for (name, program) in names.iter().zip(&compiled) {
            policy = policy.with(name, program.as_ref());
        }
        let program = compiled[last].as_ref().unwrap();
        let result = program.evaluate_policy(&mut policy, COST_LIMIT).result;
        result.map(|value| value.to_string()).map_err(|error| error.to_string())
    };
    assert_eq!(evaluate(40).as_deref(), Ok("41"));
    assert!(evaluate(1_999).unwrap_err().ends_with("too many variables refer to each other"));
}

#[test]
fn deep_variables_end() {
    let nested = |inner: &str| format!("{}{inner}{}", "[1].all(x, ".repeat(80), ")".repeat(80));
    let (outer, inner) = (nested("variables.b"), nested("variables.a"));
    let (result, _) = run(&[("a", &nested("true")), ("b", &inner)], &outer);
    let error = result.unwrap_err();
    assert!(error.ends_with("too many variables refer to each other"), "{error}");
    let (result, _) = run(&[("a", &nested("true"))], &inner);
    assert_eq!(result, Ok(json!({"bool": true})));
}

#[test]
fn an_object_can_have_a_type() {
    let schema = Declaration::from_openapi(
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}}}),
        true,
    );
    let typed = environment().with_variable("object", &schema).with_variable("oldObject", &schema);
    assert!(Program::compile("object.spec.n == oldObject.spec.n && object == oldObject", &typed).is_ok());
    assert!(Program::compile("object.metadata.name == request.name", &typed).is_ok());
    let error = Program::compile("object.spec.m == 1", &typed).unwrap_err();
    assert!(error.to_string().contains("undefined field 'm'"), "{error}");
    let error = Program::compile("object.spec.n == '1'", &typed).unwrap_err();
    assert!(error.to_string().contains("applied to '(int, string)'"), "{error}");
}
