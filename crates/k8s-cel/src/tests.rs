//! What expressions of the specification's environment give; the answers are cel-go's.

use serde_json::{Value as Json, json};

use crate::{Declaration, Environment, Program, Value, Variables};

/// The value as typed JSON, or the text of the error.
fn run(environment: &Environment, text: &str, values: &[(&str, Json)]) -> Result<Json, String> {
    let program = Program::compile(text, environment).map_err(|error| error.to_string())?;
    let mut variables = Variables::new();
    for (name, value) in values {
        variables = variables.with_value(name, Value::from_typed_json(value).ok_or("no value")?);
    }
    let result = program.evaluate(&variables, u64::MAX).result;
    result.map(|value| value.to_typed_json()).map_err(|error| error.to_string())
}

fn assert_all<const N: usize>(cases: [(&str, Result<Json, &str>); N]) {
    let environment = Environment::specification();
    for (text, expected) in cases {
        assert_eq!(run(&environment, text, &[]), expected.map_err(str::to_owned), "{text}");
    }
}

fn string(text: &str) -> Result<Json, &'static str> {
    Ok(json!({"string": text}))
}

#[test]
fn numbers_of_any_type_have_a_least_and_a_greatest_one() {
    assert_all([
        ("math.greatest(1, 2u, 3.5)", Ok(json!({"double": "3.5"}))),
        ("math.least([1, 2.5, 0u])", Ok(json!({"uint": "0"}))),
        // The first of two that compare as equal.
        ("math.greatest(9007199254740993, 9007199254740992.0)", Ok(json!({"int": "9007199254740993"}))),
        ("math.greatest(dyn(1), double('NaN'))", Err("NaN values cannot be ordered: math.@max")),
        ("math.greatest(1.0, double('NaN'), 2.0)", Err("no such overload: math.@max")),
        ("math.greatest(dyn([]))", Err("math.@max(list) argument must not be empty")),
        ("math.least(dyn(['a']))", Err("no such overload: math.@min(list)")),
        (
            "math.least()",
            Err("ERROR: <input>:1:1: math.least() requires at least one argument\n | math.least()\n | ^"),
        ),
        (
            "math.least([1, 'a'])",
            Err(
                "ERROR: <input>:1:12: math.least() invalid single argument value\n | math.least([1, 'a'])\n | ...........^",
            ),
        ),
        (
            "math.least(1, 2, {})",
            Err(
                "ERROR: <input>:1:18: math.least() simple literal arguments must be numeric\n | math.least(1, 2, {})\n | .................^",
            ),
        ),
    ]);
}

#[test]
fn bits_and_signs_are_those_of_go() {
    assert_all([
        ("math.bitShiftRight(-1, 60)", Ok(json!({"int": "15"}))),
        ("math.bitShiftRight(-1, 64)", Ok(json!({"int": "0"}))),
        ("math.bitShiftLeft(1, 63)", Ok(json!({"int": "-9223372036854775808"}))),
        ("math.bitShiftLeft(1, 9223372036854775807)", Ok(json!({"int": "0"}))),
        ("math.bitShiftLeft(1, -1)", Err("math.bitShiftLeft() negative offset: -1")),
        ("math.abs(-9223372036854775807 - 1)", Err("integer overflow")),
        ("math.sign(-0.0)", Ok(json!({"double": "0"}))),
        ("math.round(-0.5)", Ok(json!({"double": "-1"}))),
        ("math.sqrt(-1)", Ok(json!({"double": "NaN"}))),
    ]);
}

#[test]
fn base64_is_decoded_with_and_without_padding() {
    let bytes = |text: &str| Ok(json!({"bytes": text}));
    assert_all([
        ("base64.decode('aGVsbG8=')", bytes("aGVsbG8=")),
        ("base64.decode('aGVsbG8')", bytes("aGVsbG8=")),
        ("base64.decode('aGVsbG8=\\n')", bytes("aGVsbG8=")),
        // The last bits belong to no byte.
        ("base64.decode('aGVsbG9=')", bytes("aGVsbG8=")),
        ("base64.decode('')", bytes("")),
        ("base64.decode('aGV$bG8=')", Err("illegal base64 data at input byte 3")),
        ("base64.decode('aGVsb')", Err("illegal base64 data at input byte 4")),
        ("base64.decode('aGVsbG8==')", Err("illegal base64 data at input byte 7")),
        ("base64.decode('aG\\r\\nVsb')", Err("illegal base64 data at input byte 6")),
        ("base64.decode('====')", Err("illegal base64 data at input byte 0")),
    ]);
}

#[test]
fn values_become_json_as_protobuf_maps_them() {
    assert_all([
        (
            "json.encode({'b': 1, 'a': [1.5, 2u, null, b'ab', 'x<y\\n', duration('1.5s')]})",
            string(r#"{"a":[1.5,2,null,"YWI=","x<y\n","1.5s"],"b":1}"#),
        ),
        (
            "json.encode([1e21, 1e-7, 100.0, 9007199254740991, 9007199254740992])",
            string(r#"[1e+21,1e-7,100,9007199254740991,"9007199254740992"]"#),
        ),
        ("json.encode({1: 1})", Err("unsupported type conversion from 'int' to string")),
        ("json.encode(optional.none())", Err("optional.none() dereference")),
        ("json.encode(int)", Err("type conversion not supported for 'type'")),
    ]);
}

#[test]
fn formats_of_the_specification_write_numbers_as_go_does() {
    assert_all([
        (
            "'%d %f %e %x'.format([1e21, 3, 4u, -255])",
            string("1000000000000000000000 3.000000 4.000000e+00 -ff"),
        ),
        ("'%e %.0e %.3e'.format([0.0, 15.0, -1e-300])", string("0.000000e+00 2e+01 -1.000e-300")),
        (
            "'%s %s %s'.format([timestamp('2020-01-01T00:00:00.5+01:00'), duration('1h30m0.1s'), {1: 'a', '0': [b'x']}])",
            string("2019-12-31T23:00:00.5Z 5400.1s {0: [x], 1: a}"),
        ),
        (
            "'%d'.format([dyn('a')])",
            Err(
                "error during formatting: decimal clause can only be used on ints, uints, and doubles, was given string",
            ),
        ),
        (
            "'%.101f'.format([1.0])",
            Err(
                "ERROR: <input>:1:16: could not parse formatting clause: error while parsing precision: precision 101 exceeds maximum allowed precision 100\n | '%.101f'.format([1.0])\n | ...............^",
            ),
        ),
        (
            "'%s'.format([1, 2])",
            Err(
                "ERROR: <input>:1:12: too many arguments supplied to string.format (expected 1, got 2)\n | '%s'.format([1, 2])\n | ...........^",
            ),
        ),
    ]);
}

#[test]
fn formats_of_kubernetes_have_the_limits_of_its_packages() {
    let kubernetes = Environment::kubernetes(37, crate::Origin::New);
    for (text, expected) in [
        ("'%.20e'.format([0.1])", "      1.000000×10⁻⁰¹"),
        ("'%.3e'.format([0.0])", "0.000000×10⁰⁰"),
        ("'%e|%.2e'.format(['NaN', 'Infinity'])", "   NaN| ∞"),
        ("'%.258f'.format([0.5])", "0.50"),
        ("'%.300f'.format([-6.37])", "-6.37000000000000010658141036401502788066864013671875"),
        ("'%.0f %.2f'.format([1234567.5, 1e22])", "1,234,568 10,000,000,000,000,000,000,000.00"),
        ("'%.99999999999f'.format([1.0])", "%!(NOVERB)"),
        ("'%s'.format([['\\u200b', 1.5, b'x']])", r#"["\u200b", 1.500000, b"x"]"#),
    ] {
        assert_eq!(run(&kubernetes, text, &[]), Ok(json!({"string": expected})), "{text}");
    }
}

#[test]
fn named_formats_and_quantities_are_those_of_apimachinery() {
    let kubernetes = Environment::kubernetes(37, crate::Origin::New);
    let long = "a".repeat(64);
    for (text, expected) in [
        (
            format!("format.dns1123Label().validate('{long}').value()[0]"),
            Ok(json!({"string": "must be no more than 63 characters"})),
        ),
        (
            "format.datetime().validate('2009-02-13T23:31:30ZT').hasValue()".to_owned(),
            Ok(json!({"bool": false})),
        ),
        (
            "format.datetime().validate('2009-02-13T23:31:30').hasValue()".to_owned(),
            Ok(json!({"bool": true})),
        ),
        (
            "quantity('-1').sub(quantity('-9223372036854775808')).asApproximateFloat() > 0.0".to_owned(),
            Ok(json!({"bool": true})),
        ),
        (
            "quantity('1').sub(quantity('-9223372036854775808')).asInteger()".to_owned(),
            Err("cannot convert value to integer".to_owned()),
        ),
    ] {
        assert_eq!(run(&kubernetes, &text, &[]), expected, "{text}");
    }
}

#[test]
fn literals_of_timestamps_are_within_their_range() {
    let kubernetes = Environment::kubernetes(37, crate::Origin::New);
    let text = "timestamp('0001-01-01T00:00:00+01:00')";
    let refused = run(&kubernetes, text, &[]).unwrap_err();
    assert!(refused.contains("<input>:1:11: invalid timestamp argument"), "{refused}");
}

#[test]
fn the_last_index_counts_characters() {
    assert_all([
        ("'ta©o©αT'.lastIndexOf('©', 3)", Ok(json!({"int": "2"}))),
        ("'ta©o©αT'.lastIndexOf('©', 4)", Ok(json!({"int": "4"}))),
        ("'ααα'.lastIndexOf('αα', 2)", Ok(json!({"int": "1"}))),
        ("'ααα'.lastIndexOf('αα', 0)", Ok(json!({"int": "0"}))),
    ]);
}

#[test]
fn expressions_of_blocks_refer_to_each_other() {
    let many = format!("cel.block([{}], 0)", vec!["1"; 65].join(", "));
    assert_all([
        ("cel.block([1, cel.index(0) + 1], cel.index(1) + cel.index(0))", Ok(json!({"int": "3"}))),
        (
            "[1, 2].map(cel.iterVar(0, 0), cel.iterVar(0, 0) * 2)",
            Ok(json!({"list": [{"int": "2"}, {"int": "4"}]})),
        ),
    ]);
    let refused = run(&Environment::specification(), &many, &[]).unwrap_err();
    assert!(refused.contains("more than 64 expressions in blocks"), "{refused}");
}

#[test]
fn a_name_without_the_checker_is_the_longest_variable_that_exists() {
    let two = json!({"int": "2"});
    let map = json!({"map": [[{"string": "b"}, {"int": "1"}]]});
    let variables = [("x.a", map), ("a.b", two.clone())];
    let plain = Environment::specification().without_checker();
    let inside = plain.clone().in_container("x.y");
    for text in ["a.b", "a['b']", "(true ? a : a).b", "a.?b"] {
        assert_eq!(run(&inside, text, &variables), Ok(two.clone()), "{text}");
    }
    assert_eq!(run(&inside, "x.a.b", &variables), Ok(json!({"int": "1"})));
    assert_eq!(run(&plain, "[1].map(a, a.b)", &variables), Err("no such key: b".to_owned()));
    assert_eq!(run(&inside, "c.d", &variables), Err("no such attribute(s): x.y.c.d, x.c.d, c.d".to_owned()));
    assert_eq!(run(&plain, "int.foo", &[]), Err("no such attribute(s): int.foo".to_owned()));
}

#[test]
fn functions_and_types_without_the_checker_are_found_in_the_container() {
    let inside = Environment::specification().without_checker().in_container("google.protobuf");
    let time = json!({"duration": "3000000000"});
    for (text, expected) in [
        ("Duration{seconds: 3}", Ok(time.clone())),
        ("google.protobuf.Duration{seconds: 3}", Ok(time)),
        ("type(duration('1s')) == Duration", Ok(json!({"bool": true}))),
        ("[1].map(math, math.abs(math))", Ok(json!({"list": [{"int": "1"}]}))),
        ("charAt('a', 0)", Ok(json!({"string": "a"}))),
        ("math.abs('a')", Err("no such overload: math.abs(string)")),
        ("unknown(1)", Err("no such overload: unknown")),
    ] {
        assert_eq!(run(&inside, text, &[]), expected.map_err(str::to_owned), "{text}");
    }
}

#[test]
fn numbers_have_no_fields_to_ask_for() {
    let kubernetes = Environment::kubernetes(37, crate::Origin::New);
    assert_all([("dyn(1).?a.hasValue()", Err("no such key: a")), ("has(dyn(1).a)", Err("no such key: a"))]);
    assert_eq!(run(&kubernetes, "dyn(1).?a.hasValue()", &[]), Ok(json!({"bool": false})));
}

#[test]
fn only_simple_values_are_between_brackets() {
    for (text, error) in [
        ("dyn({})[null]", "invalid qualifier type: types.Null"),
        ("[1][dyn(b'')]", "invalid qualifier type: types.Bytes"),
        ("dyn({})[true ? b'a' : b'b']", "invalid qualifier type: types.Bytes"),
        ("{}[dyn([1])]", "invalid qualifier type: *types.baseList"),
        ("[1][dyn('a')]", "unsupported index type 'string' in list"),
    ] {
        let kubernetes = Environment::kubernetes(37, crate::Origin::New);
        assert_eq!(run(&kubernetes, text, &[]), Err(error.to_owned()), "{text}");
    }
}

#[test]
fn durations_and_timestamps_are_keys_as_of_gos_maps() {
    let midnight = "timestamp('2020-01-01T00:00:00Z')";
    let kubernetes = Environment::kubernetes(37, crate::Origin::New);
    for (text, value) in [
        ("{duration('1h'): 1, duration('60m'): 2}.size() == 1".to_owned(), true),
        // One moment in two zones is two keys.
        (format!("{{{midnight}: 1, timestamp('2020-01-01T02:00:00+02:00'): 2}}.size() == 2"), true),
        ("{duration('1h'): 1} == {duration('60m'): 1}".to_owned(), true),
        ("duration('1h') in {duration('60m'): 1}".to_owned(), true),
        (format!("{{{midnight}: 1}}.all(at, at == {midnight})"), true),
        (format!("dyn({midnight}) in {{duration('1h'): 1}}"), false),
    ] {
        assert_eq!(run(&kubernetes, &text, &[]), Ok(json!({ "bool": value })), "{text}");
    }
    // Bytes are none.
    for text in [
        "dyn(b'a') in ['a'] || true",
        "{dyn(1): 1, dyn('a'.size() == 1 ? b'a' : b'b'): 1}.size() == 1 || true",
    ] {
        let panic = "internal error: runtime error: hash of unhashable type types.Bytes";
        assert_eq!(run(&kubernetes, text, &[]), Err(panic.to_owned()), "{text}");
    }
}

#[test]
fn functions_can_be_declared_for_the_checker() {
    let declared = Environment::specification().with_function("f", &[("f_int", "(int) -> list(string)")]);
    let environment = declared.unwrap();
    assert_eq!(Program::compile("f(1)", &environment).unwrap().result_type(), "list(string)");
    assert_eq!(run(&environment, "f(1)", &[]), Err("no such overload: f".to_owned()));
    assert!(Environment::specification().with_function("f", &[("f", "int")]).is_none());
}

#[test]
fn searches_with_patterns_are_work() {
    let environment = Environment::kubernetes(37, crate::Origin::Stored);
    let environment = environment.with_typed_variable("s", "string").unwrap();
    let is_over_limit = |text: &str, length: usize| {
        let program = Program::compile(text, &environment).unwrap();
        let value = Value::from_typed_json(&json!({"string": "a".repeat(length)})).unwrap();
        let evaluation = program.evaluate(&Variables::new().with_value("s", value), crate::COST_LIMIT);
        evaluation.result.is_err_and(|error| error.is_over_limit())
    };
    let label = "s.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')";
    for (text, length, expected) in [
        (r"s.matches('\\pL{300}b')", 1_000_000, true),
        (r"s.matches('\\pL{300}b')", 10_000, false),
        (label, 700_000, false),
        ("s.findAll('.*b|a').size() == 0", 100_000, true),
        ("s.findAll('.*b|a').size() == 0", 2_000, false),
        ("s.findAll('[a-z]{1,30}').size() == 0", 100_000, false),
        ("s.find('a+b') == ''", 1_000_000, false),
    ] {
        assert_eq!(is_over_limit(text, length), expected, "{text} {length}");
    }
}

#[test]
fn the_patterns_of_a_program_share_a_limit() {
    let environment = Environment::kubernetes(37, crate::Origin::Stored);
    let terms = |count: usize| {
        let terms = (0..count).map(|index| format!(r"'a'.matches('\\pL{{{}}}')", index + 60));
        terms.collect::<Vec<_>>().join(" || ")
    };
    assert_eq!(run(&environment, &terms(1), &[]), Ok(json!({"bool": false})));
    assert_eq!(
        run(&environment, &terms(6), &[]),
        Err(r"error parsing regexp: expression too large: `\pL{64}`".to_owned())
    );
    let small = vec!["'a'.matches('^[a-z0-9.-]+b$')"; 300].join(" || ");
    assert_eq!(run(&environment, &small, &[]), Ok(json!({"bool": false})));
}

#[test]
fn ranges_have_the_limit_of_cel_go() {
    let kubernetes = Environment::kubernetes(37, crate::Origin::Stored);
    let size = |count: &str| run(&kubernetes, &format!("lists.range({count}).size()"), &[]);
    assert_eq!(size("1000000"), Ok(json!({"int": "1000000"})));
    assert_eq!(
        size("1000001"),
        Err("lists.range: size 1000001 exceeds maximum allowed (1000000)".to_owned())
    );
    let program = Program::compile("lists.range(2000000).size()", &kubernetes).unwrap();
    let evaluation = program.evaluate(&Variables::new(), crate::COST_LIMIT);
    assert!(!evaluation.result.unwrap_err().is_over_limit());
    assert_eq!(evaluation.cost, 13);
}

#[test]
fn functions_name_what_they_do_not_take_as_in_cel_go() {
    let kubernetes = Environment::kubernetes(37, crate::Origin::Stored);
    for (text, expected) in [
        ("dyn(1).matches('a')", "no such overload"),
        ("dyn(1).matches(string(dyn('a') + 'b'))", "no such overload: matches"),
        ("dyn(timestamp(0)).matches(string(dyn('a') + 'b'))", "no such overload"),
        ("dyn(1).find('a')", "no such overload"),
        (
            "dyn([]).flatten(dyn('a'))",
            "internal error: interface conversion: ref.Val is types.String, not types.Int",
        ),
        ("dyn(1).flatten()", "no such overload: int.flatten()"),
        ("dyn({}).flatten(1)", "no such overload: map(dyn, dyn).flatten(int)"),
        ("dyn(1).sort()", "no such overload: sort"),
        ("dyn('a').sort()", "no such overload"),
    ] {
        assert_eq!(run(&kubernetes, text, &[]), Err(expected.to_owned()), "{text}");
    }
    // The name of a type is a string in Go.
    assert_eq!(run(&kubernetes, "dyn(int).matches('^int$')", &[]), Ok(json!({"bool": true})));
    assert_eq!(run(&kubernetes, "dyn(int).find('n')", &[]), string("n").map_err(str::to_owned));
}

#[test]
fn values_of_libraries_have_the_texts_of_go() {
    let kubernetes = Environment::kubernetes(37, crate::Origin::Stored);
    for (text, expected) in [
        ("quantity('1.5Gi')", "1536Mi"),
        ("quantity('-0')", "0"),
        ("quantity('1e3')", "1e3"),
        ("quantity('1E3')", "1E3"),
        ("quantity('1000000')", "1M"),
        ("quantity('0.5m')", "500u"),
        ("quantity('0.1n')", "1n"),
        ("quantity('1.23Ki')", "1259520m"),
        ("quantity('0.001Ki')", "1024m"),
        ("quantity('2048Ki')", "2Mi"),
        ("quantity('1023Ki').sub(quantity('1022Ki'))", "1Ki"),
        ("quantity('1Ki').sub(quantity('1'))", "1023"),
        ("quantity('1Ki').add(1024)", "2Ki"),
        ("quantity('0').add(1500)", "1500"),
        ("quantity('0').add(1000)", "1e3"),
        ("quantity('10E').add(quantity('990E'))", "1"),
        ("semver('1.2.3-alpha.1+b.2')", "1.2.3-alpha.1+b.2"),
        ("semver('v1.02', true)", "1.2.0"),
        ("url('https://a.example/?b')", "https://a.example/?b"),
        ("ip('::1')", "::1"),
        ("cidr('10.0.0.0/8')", "10.0.0.0/8"),
        // Go shows the inside of a struct with an address.
        ("format.uri()", "uri"),
    ] {
        let program = Program::compile(text, &kubernetes).unwrap();
        let value = program.evaluate(&Variables::new(), crate::COST_LIMIT).result.unwrap();
        assert_eq!(value.to_string(), expected, "{text}");
        assert_eq!(value.to_typed_json()["string"], expected, "{text}");
    }
}

#[test]
fn macros_of_two_variables_are_new_in_1_32() {
    use crate::Origin::{New, Stored};
    let at = |minor, origin| {
        let environment = Environment::kubernetes(minor, origin);
        Program::compile("{'a': 1}.all(k, v, k == 'a')", &environment).is_ok()
    };
    assert!(!at(32, New) && !at(31, Stored));
    assert!(at(32, Stored) && at(33, New));
}

#[test]
fn messages_of_protobuf_become_the_values_that_they_stand_for() {
    let kubernetes = Environment::kubernetes(37, crate::Origin::Stored);
    let conversion = |field: &str, error: &str| {
        Err(format!("field type conversion error for google.protobuf.{field} value type: {error}"))
    };
    for (text, expected) in [
        ("Value{}", Ok(json!({"null": null}))),
        ("Value{null_value: 0}", Ok(json!({"null": null}))),
        ("Value{number_value: 1.5}", Ok(json!({"double": "1.5"}))),
        ("Value{string_value: dyn(ip('::1'))}", Ok(json!({"string": "::1"}))),
        ("Value{?string_value: optional.none()}", Ok(json!({"null": null}))),
        ("Value{list_value: [b'a', b'b']}", Ok(json!({"list": [{"string": "YQ=="}, {"string": "Yg=="}]}))),
        ("ListValue{}", Ok(json!({"list": []}))),
        ("ListValue{values: [1]}", Ok(json!({"list": [{"double": "1"}]}))),
        (
            "ListValue{values: dyn({})}",
            Err("unsupported field type for google.protobuf.ListValue.values: map(dyn, dyn)".to_owned()),
        ),
        (
            "Struct{fields: {'a': google.protobuf.Value{bool_value: true}}}",
            Ok(json!({"map": [[{"string": "a"}, {"bool": true}]]})),
        ),
        // Too large for a double.
        (
            "Struct{fields: {'a': 9007199254740993}}",
            Ok(json!({"map": [[{"string": "a"}, {"string": "9007199254740993"}]]})),
        ),
        (
            "Struct{fields: {'a': quantity('1')}}",
            conversion("Struct.fields", "type conversion error from 'Quantity' to '*structpb.Value'"),
        ),
        ("Int32Value{value: 5000000000}", conversion("Int32Value.value", "integer overflow")),
        ("Duration{nanos: 5000000000}", conversion("Duration.nanos", "integer overflow")),
        (
            "Int64Value{value: dyn(1u)}",
            conversion("Int64Value.value", "unsupported type conversion from 'uint' to int64"),
        ),
        (
            "BytesValue{value: dyn('a')}",
            conversion("BytesValue.value", "unsupported native conversion from string to '[]uint8'"),
        ),
        (
            "StringValue{value: dyn(null)}",
            conversion("StringValue.value", "type conversion error from 'null_type' to 'string'"),
        ),
    ] {
        assert_eq!(run(&kubernetes, &format!("google.protobuf.{text}"), &[]), expected, "{text}");
    }
}

#[test]
fn variables_have_types_and_names_that_expressions_can_have() {
    let specification = Environment::specification();
    for declared in [
        "int",
        "map(string, list(dyn))",
        "optional_type(int)",
        "type(int)",
        "wrapper(int)",
        "google.protobuf.Struct",
    ] {
        assert!(specification.clone().with_typed_variable("x", declared).is_some(), "{declared}");
    }
    for declared in [
        "Map(string,int)",
        "bool | int",
        "int, int",
        "list(",
        "list",
        "list(foo)",
        "map(int)",
        "foo",
        "T",
        "a.b",
        "kubernetes.Quantity",
    ] {
        assert!(specification.clone().with_typed_variable("x", declared).is_none(), "{declared}");
        assert!(specification.clone().with_result(declared).is_none(), "{declared}");
    }
    for name in ["", "in", "a b", "1a", "a.", "a.if", "é", "a-b"] {
        assert!(specification.clone().with_typed_variable(name, "int").is_none(), "{name}");
        assert!(specification.clone().with_function(name, &[("x", "() -> int")]).is_none(), "{name}");
    }
    assert!(specification.with_typed_variable("_a.b1", "int").is_some());
    let kubernetes = Environment::kubernetes(37, crate::Origin::New);
    assert!(kubernetes.with_typed_variable("x", "list(kubernetes.Quantity)").is_some());
}

#[test]
fn values_are_made_of_rust_values_and_json() {
    let environment = Environment::specification();
    let environment = environment.with_typed_variable("x", "dyn").unwrap();
    let evaluate = |text: &str, value: Value<'_>| {
        let program = Program::compile(text, &environment).unwrap();
        let value = program.evaluate(&Variables::new().with_value("x", value), 1_000).result.unwrap();
        value.to_json().map_err(|error| error.to_string())
    };
    let data = json!({"a": [1, 2.5, "b", null, true], "n": 9_007_199_254_740_993_i64});
    assert_eq!(evaluate("x.a", Value::from_json(&data)), Ok(data["a"].clone()));
    assert_eq!(evaluate("type(x.a[0]) == int && x.n + 1 > x.a[1]", Value::from_json(&data)), Ok(json!(true)));
    assert_eq!(evaluate("x.n", Value::from_json(&data)), Ok(json!("9007199254740993")));
    assert_eq!(evaluate("[x, b'a']", 5_u64.into()), Ok(json!([5, "YQ=="])));
    assert_eq!(evaluate("x + 'b'", "a".into()), Ok(json!("ab")));
    assert_eq!(evaluate("x + 'b'", "a".to_owned().into()), Ok(json!("ab")));
    assert_eq!(evaluate("!x", true.into()), Ok(json!(false)));
    assert_eq!(
        evaluate("{x: 1}", 1_i64.into()),
        Err("unsupported type conversion from 'int' to string".to_owned())
    );
    assert_eq!((Value::from(3_i64).as_int(), Value::from(0.5).as_double()), (Some(3), Some(0.5)));
    assert_eq!((Value::from(3_i64).as_double(), Value::from(0.5).as_int()), (None, None));
}

#[test]
fn fields_that_are_null_or_not_declared_are_visited_as_by_kube_apiserver() {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "string", "nullable": true}, "list": {"type": "array", "items": {"type": "string", "nullable": true}},
    }});
    let declaration = Declaration::from_openapi(&schema, false);
    let environment = Environment::kubernetes(37, crate::Origin::New).with_variable("self", &declaration);
    let evaluate = |text: &str, object: &Json| {
        let program = Program::compile(text, &environment).unwrap();
        let evaluation = program.evaluate(&Variables::new().with("self", object, &declaration), 1_000_000);
        let result = evaluation.result.map(|value| value.to_typed_json()).map_err(|error| error.to_string());
        (result, evaluation.cost)
    };
    let plain = json!({"list": []});
    let (_, cost) = evaluate("[self].indexOf(self)", &plain);
    for (object, more) in
        [(json!({"list": [], "other": 1, "more": 2}), 4), (json!({"list": [], "a": null}), 1)]
    {
        assert_eq!(
            evaluate("[self].indexOf(self)", &object),
            (Ok(json!({"int": "0"})), cost + more),
            "{object}"
        );
    }
    let panicked = evaluate("'%s'.format([dyn(self)]) != '' || true", &json!({"other": 1}));
    let panic = "internal error: runtime error: invalid memory address or nil pointer dereference";
    // The list, the conversion and the variable; the call itself costs nothing.
    assert_eq!(panicked, (Err(panic.to_owned()), 12));
    // A value that is not printed does not matter.
    assert_eq!(
        evaluate("('a' + 'b').format([dyn(self)]) == 'ab'", &json!({"other": 1})).0,
        Ok(json!({"bool": true}))
    );
    let (missing, _) = evaluate("'%s'.format([dyn(self)])", &json!({"a": null}));
    assert_eq!(missing, Err("error during formatting: could not find key: \"a\"".to_owned()));
    let nulls = json!({"list": ["a", null]});
    for (text, object, expected) in [
        ("self.list.min()", &nulls, Err("no such overload")),
        ("self.list.join()", &nulls, Err("join: invalid input: 0")),
        // An empty list stays the one of the schema, which only equals lists.
        ("dyn(self.list.sort()) == 5", &plain, Err("no such overload")),
        ("dyn(self.list.sortBy(x, x)) == 5", &plain, Ok(json!({"bool": false}))),
        ("dyn(self.list.filter(x, false).sort()) == 5", &plain, Ok(json!({"bool": false}))),
    ] {
        assert_eq!(evaluate(text, object).0, expected.map_err(str::to_owned), "{text}");
    }
}

#[test]
fn a_set_of_times_in_odd_zones_does_not_equal_itself() {
    let schema = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "format": "date-time"}});
    let declaration = Declaration::from_openapi(&schema, false);
    let environment = Environment::kubernetes(37, crate::Origin::New).with_variable("self", &declaration);
    let program = Program::compile("self == self", &environment).unwrap();
    for (time, equal) in [
        ("2020-01-01T00:00:00Z", true),
        ("2020-01-01T00:00:00+02:00", true),
        ("2020-01-01T00:00:00+05:30", false),
        ("2020-01-01T00:00:00-13:00", false),
    ] {
        let value = json!([time]);
        let evaluation = program.evaluate(&Variables::new().with("self", &value, &declaration), 1_000);
        assert_eq!(
            evaluation.result.map(|value| value.to_typed_json()),
            Ok(json!({ "bool": equal })),
            "{time}"
        );
    }
}
