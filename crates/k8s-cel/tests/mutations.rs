//! Expressions of mutating policies; the answers and the costs are those of apiserver 0.37.2.

use std::sync::Arc;

use k8s_cel::{
    Authorizer, COST_LIMIT, Check, Decision, Declaration, Environment, Origin, Program, Value, Variables,
};
use serde_json::{Value as Json, json};

#[derive(Debug)]
struct Nobody;

impl Authorizer for Nobody {
    fn authorize(&self, _: &Check) -> Decision {
        Decision::default()
    }
}

fn environment() -> Environment {
    Environment::mutating_policy(37, Origin::Stored).with_authorizer()
}

/// What is made of the value or the error, and the cost.
fn run<T>(text: &str, read: impl Fn(&Value<'_>) -> Result<T, String>) -> (Result<T, String>, u64) {
    let program = match Program::compile(text, &environment()) {
        Ok(program) => program,
        Err(error) => return (Err(error.to_string()), 0),
    };
    let dynamic = Declaration::dynamic();
    let object =
        json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {"list": [1, 2], "nul": null}});
    let variables =
        Variables::new().with("object", &object, &dynamic).with_authorizer("authorizer", Arc::new(Nobody));
    let evaluation = program.evaluate(&variables, COST_LIMIT);
    let result = match &evaluation.result {
        Ok(value) => read(value),
        Err(error) => Err(error.to_string()),
    };
    (result, evaluation.cost)
}

fn assert_values<const N: usize>(cases: [(&str, Result<Json, &str>, u64); N]) {
    for (text, expected, cost) in cases {
        let found = run(text, |value| Ok(value.to_typed_json()));
        assert_eq!(found, (expected.map_err(str::to_owned), cost), "{text}");
    }
}

fn bool(value: bool) -> Result<Json, &'static str> {
    Ok(json!({"bool": value}))
}

#[test]
fn fields_of_objects_are_seen_where_the_checker_knows_the_type() {
    let nothing = || Ok(json!({"null": null}));
    let none = || Ok(json!({"optional": null}));
    let one = || Ok(json!({"int": "1"}));
    assert_values([
        ("Object{a: 1}.a", one(), 42),
        ("Object{a: Object.a{b: 1}}.a", Ok(json!({"map": [[{"string": "b"}, {"int": "1"}]]})), 82),
        ("Object{a: Object.a{b: 1}}.a.b", one(), 83),
        ("type(Object{a: Object.a{}})", Ok(json!({"type": "type"})), 81),
        ("Object{}.missing", nothing(), 42),
        ("Object{}.?missing", none(), 41),
        ("Object{a: 1}.?a", none(), 41),
        ("has(Object{}.a)", bool(false), 41),
        ("has(Object{a: 1}.a)", bool(true), 41),
        ("has(Object{a: 1}.a.b)", bool(false), 42),
        ("Object{}.a.b", Err("no such key: b"), 43),
        ("dyn(Object{a: 1}).a", Err("no such key: a"), 43),
        ("has(dyn(Object{a: 1}).a)", bool(false), 42),
        ("dyn(Object{a: 1})['a']", Err("no such key: a"), 43),
        ("size(dyn(Object{a: 1}))", Err("no such overload: size"), 42),
        ("dyn(Object{a: 1}).map(x, x)", Err("got '*dynamic.ObjectVal', expected iterable type"), 41),
        ("string(dyn(Object{}))", Err("no such overload: string(Object)"), 42),
        ("dyn(Object{}) + dyn(Object{})", Err("no such overload: _+_"), 83),
        ("optional.ofNonZeroValue(Object{}).hasValue()", bool(false), 42),
        ("optional.ofNonZeroValue(Object{a: 1}).hasValue()", bool(true), 42),
        ("Object{?a: optional.of(1), ?b: optional.none()} == Object{a: 1}", bool(true), 83),
    ]);
}

#[test]
fn fields_of_patches_are_empty_texts_where_they_are_not_given() {
    assert_values([
        ("JSONPatch{op: 'add'}.op", Ok(json!({"string": "add"})), 42),
        ("JSONPatch{op: 'add'}.path", Ok(json!({"string": ""})), 42),
        ("JSONPatch{op: 'add'}.value", Ok(json!({"null": null})), 42),
        ("has(JSONPatch{op: 'add'}.op)", bool(true), 41),
        ("has(JSONPatch{op: ''}.op)", bool(false), 41),
        ("JSONPatch{op: 'add'}.?path", Ok(json!({"optional": null})), 41),
        ("JSONPatch{op: 'add'}.?op", Ok(json!({"optional": {"string": "add"}})), 42),
        ("dyn(JSONPatch{}).foo", Err("unsupported indexer: foo"), 43),
        ("has(dyn(JSONPatch{}).foo)", Err("unsupported field: foo"), 42),
        ("JSONPatch{op: dyn(1)}", Err("unexpected type int64 for JSONPatchType 'op' field"), 40),
        (
            "JSONPatch{path: dyn(null)}",
            Err("unexpected type structpb.NullValue for JSONPatchType 'path' field"),
            40,
        ),
        ("JSONPatch{from: dyn([1])}", Err("unexpected type []ref.Val for JSONPatchType 'from' field"), 40),
        ("JSONPatch{op: dyn(int)}.op", Ok(json!({"string": "int"})), 42),
        ("jsonpatch.escapeKey('~/~1')", Ok(json!({"string": "~0~1~01"})), 1),
        ("optional.ofNonZeroValue(JSONPatch{}).hasValue()", bool(true), 42),
    ]);
}

#[test]
fn objects_are_equal_as_go_compares_them() {
    for (expression, expected) in [
        ("Object{a: 1} == Object{a: 1}", true),
        ("Object{a: 1} == Object{a: 1.0}", false),
        ("Object{a: 1} == dyn(Object.a{a: 1})", false),
        ("Object{a: [1]} == Object{a: [1]}", false),
        ("Object{a: {'x': 1}} == Object{a: {'x': 1}}", true),
        ("Object{a: {'x': [1]}} == Object{a: {'x': [1]}}", false),
        ("Object{a: object.metadata.labels} == Object{a: object.metadata.labels}", true),
        ("Object{a: object.spec.list} == Object{a: object.spec.list}", false),
        ("Object{a: {'a': 'b'}} == Object{a: object.metadata.labels}", false),
        ("[[1, 2]].all(x, Object{a: x} == Object{a: x})", true),
        ("Object{a: optional.of(1)} == Object{a: optional.of(1)}", true),
        ("Object{a: b'x'} == Object{a: b'x'}", true),
        (
            "Object{a: timestamp('2020-01-01T00:00:00Z')} == Object{a: timestamp('2020-01-01T01:00:00+01:00')}",
            false,
        ),
        ("Object{a: duration('1s')} == Object{a: duration('1000ms')}", true),
        ("Object{a: int} == Object{a: int}", true),
        ("Object{a: double('NaN')} == Object{a: double('NaN')}", false),
        ("Object{a: null} == Object{a: null}", true),
        ("Object{a: null} == Object{}", false),
        ("Object{a: Object.a{b: 1}} == Object{a: Object.a{b: 1}}", true),
        ("Object{a: Object.a{b: 1}} == Object{a: Object.b{b: 1}}", false),
        ("Object{a: quantity('1')} == Object{a: quantity('1')}", true),
        ("Object{a: authorizer} == Object{a: authorizer}", true),
        ("Object{} == null", false),
        ("dyn(Object{}) == dyn(1)", false),
        ("dyn(1) == dyn(Object{})", false),
        ("Object{a: 1} in [Object{a: 1}]", true),
        ("JSONPatch{op: 'a', value: 1} == JSONPatch{op: 'a', value: 1.0}", true),
        ("JSONPatch{op: 'a', value: [1]} == JSONPatch{op: 'a', value: [1]}", true),
        ("JSONPatch{op: 'a'} == JSONPatch{op: 'a', value: null}", false),
        ("JSONPatch{op: 'a'} == JSONPatch{op: 'b'}", false),
        ("dyn(JSONPatch{}) == dyn(1)", false),
    ] {
        let found = run(expression, |value| Ok(value.as_bool())).0;
        assert_eq!(found, Ok(Some(expected)), "{expression}");
    }
    let authorizers = "JSONPatch{value: authorizer} == JSONPatch{value: authorizer}";
    assert_values([(authorizers, Err("no such overload"), 83)]);
}

#[test]
fn types_of_mutations_are_known_to_mutating_policies_only() {
    for (text, expected) in [
        ("Invalid{}", "undeclared reference to 'Invalid'"),
        ("JSONPatch{op: 1}", "expected type of field 'op' is 'string' but provided type is 'int'"),
        ("JSONPatch{foo: 1}", "undefined field 'foo'"),
        ("Object{a: [Object.a{}, Object.b{}]}", "expected type 'Object.a' but found 'Object.b'"),
        ("Object{?a: 1}", "expected type 'optional_type(int)' but found 'int'"),
        ("Object{a: 1}['a']", "found no matching overload for '_[_]' applied to '(Object, string)'"),
        ("type(Object{}) == Object", "reference to undefined type: Object"),
    ] {
        let error = Program::compile(text, &environment()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    for text in ["Object{}", "JSONPatch{}", "jsonpatch.escapeKey('a')"] {
        assert!(Program::compile(text, &Environment::policy(37, Origin::Stored)).is_err(), "{text}");
    }
    let environment = environment().with_result("list(JSONPatch)").unwrap();
    assert!(Program::compile("[JSONPatch{op: 'remove', path: '/x'}]", &environment).is_ok());
    assert!(Program::compile("[1]", &environment).is_err());
}

#[test]
fn an_object_is_an_apply_configuration() {
    let read =
        |text: &str| run(text, |value| value.to_apply_configuration().map_err(|error| error.to_string())).0;
    for (text, expected) in [
        (
            "Object{spec: Object.spec{replicas: 9007199254740993}}",
            json!({"spec": {"replicas": 9_007_199_254_740_993_i64}}),
        ),
        ("Object{a: [Object.a{x: 1}]}", json!({"a": [{"x": 1}]})),
        ("Object{a: {'k': 1.5}}", json!({"a": {"k": 1.5}})),
        ("Object{a: [1, 2].map(x, x + 1)}", json!({"a": [2, 3]})),
        ("Object{a: object.metadata}", json!({"a": {"name": "x", "labels": {"a": "b"}}})),
        ("Object{a: [object.spec]}", json!({"a": [{"list": [1, 2], "nul": null}]})),
        ("Object{a: [], b: {}}", json!({"a": [], "b": {}})),
        ("Object{a: b'xyz', b: int, c: optional.of(1)}", json!({"a": "eHl6", "b": "int", "c": 1})),
        ("Object{a: optional.of(Object.b{})}", json!({"a": {}})),
    ] {
        assert_eq!(read(text), Ok(expected), "{text}");
    }
    let type_names = "type mismatch: unexpected type name \"Object.b\", expected \"Object.a\", which matches field name path \
                      from root Object type";
    let both = format!(
        "{type_names}\nunexpected type name \"Object.b.c\", expected \"Object.a.c\", which matches field name path from root \
         Object type"
    );
    for (text, expected) in [
        ("Object{a: Object.b{}}", type_names),
        ("Object{a: {'k': [Object.b{}]}}", type_names),
        ("Object{a: [1].map(x, Object.b{})}", type_names),
        ("Object{a: Object.b{c: Object.b.c{}}}", &both),
        (
            "Object{a: {1: 2}}",
            "fail to convert field \"a\": map key '\\x01' is of type types.Int, not string",
        ),
        (
            "Object{a: Object.a{b: {true: 2}}}",
            "fail to convert field \"a\": fail to convert field \"b\": map key %!q(types.Bool=true) is of type types.Bool, not \
             string",
        ),
        ("Object{a: null}", "proto: invalid type: structpb.NullValue"),
        ("Object{a: duration('90s')}", "proto: invalid type: time.Duration"),
        ("Object{a: {'b': {'c': 2}}}", "proto: invalid type: map[ref.Val]ref.Val"),
        ("Object{a: [[1]]}", "proto: invalid type: []ref.Val"),
        ("object", "unsupported return type from ApplyConfiguration expression: map"),
    ] {
        assert_eq!(read(text), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn patches_are_operations() {
    let read = |text: &str| run(text, |value| value.to_json_patch().map_err(|error| error.to_string())).0;
    let value = |text: &str| {
        let operations = read(&format!("[JSONPatch{{op: 'add', path: '/a', value: {text}}}]"));
        operations.map(|operations| operations[0]["value"].clone())
    };
    assert_eq!(
        read("[JSONPatch{op: 'add', path: '/labels/' + jsonpatch.escapeKey('a/b~c'), value: 'x'}]"),
        Ok(vec![json!({"op": "add", "path": "/labels/a~1b~0c", "value": "x"})])
    );
    assert_eq!(
        read("[JSONPatch{op: 'move', from: '/a', path: '/b'}, JSONPatch{op: 'remove', path: '/c'}]"),
        Ok(vec![json!({"op": "move", "from": "/a", "path": "/b"}), json!({"op": "remove", "path": "/c"})])
    );
    for (text, expected) in [
        ("9007199254740991", json!(9_007_199_254_740_991_i64)),
        ("9007199254740993", json!("9007199254740993")),
        ("Object.a{b: 9007199254740993}", json!({"b": 9_007_199_254_740_992_i64})),
        ("Object.x.y{a: 1}", json!({"a": 1})),
        ("[Object.a{b: 1}]", json!([{"b": 1}])),
        ("Object.a{b: b'x', c: 1u}", json!({"b": "eA==", "c": 1})),
        ("object.spec", json!({"list": [1, 2], "nul": null})),
        ("[[1]]", json!([[1]])),
        ("duration('90s')", json!("90s")),
        ("null", Json::Null),
        ("optional.of(1)", json!(1)),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
    for (text, expected) in [
        ("optional.none()", "optional.none() dereference"),
        ("{1: 2}", "unsupported type conversion from 'int' to string"),
        ("{true: 2}", "type conversion error from bool to 'string'"),
        ("{1.5: 2}", "type conversion error from Double to 'string'"),
        ("int", "type conversion not supported for 'type'"),
        ("quantity('1')", "type conversion error from 'Quantity' to '*structpb.Value'"),
        ("ip('1.2.3.4')", "type conversion error from 'IP' to '*structpb.Value'"),
        (
            "authorizer",
            "type conversion error from 'kubernetes.authorization.Authorizer' to '*structpb.Value'",
        ),
        ("JSONPatch{}", "cannot convert to native type: *structpb.Value"),
        ("Object.a{b: object.spec}", "proto: invalid type: structpb.NullValue"),
        ("Object.a{b: timestamp(0)}", "proto: invalid type: time.Time"),
    ] {
        let expected = format!(
            "JSONPath valueExpression evaluated to a type that could not marshal to JSON: {expected}"
        );
        assert_eq!(value(text), Err(expected), "{text}");
    }
    assert_eq!(
        value("Object.x{a: Object.z{}}").unwrap_err(),
        "type mismatch: unexpected type name \"Object.z\", expected \"Object.x.a\", which matches field name path from root \
         Object type"
    );
    assert_eq!(
        read("Object{}").unwrap_err(),
        "type mismatch: JSONPatchType.expression should evaluate to array"
    );
}
