//! Answers of cel-go v0.29.2 in kube-apiserver's environment, if nothing else is said.

use std::{collections::HashMap, sync::Arc};

use super::{Checked, Environment, Parsers, Reference, check, validate};
use crate::{
    library::{Level, Libraries, functions},
    syntax::{Kind, Literal, parse},
    types::{Provider, Type},
};

/// The types of a schema with an object in an object.
#[derive(Debug)]
struct Schema;

impl Provider for Schema {
    fn has_type(&self, name: &str) -> bool {
        matches!(name, "Self" | "Self.o" | "duration" | "timestamp")
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        Type::parse(match (type_name, field) {
            ("Self", "i") | ("Self.o", "x") => "int",
            ("Self" | "Self.o", "s") => "string",
            ("Self", "l") => "list(int)",
            ("Self", "m") => "map(string, string)",
            ("Self", "o") => "Self.o",
            ("Self", "lo") => "list(Self.o)",
            ("Self", "ts") => "timestamp",
            ("Self", "dur") => "duration",
            ("Self", "any") => "dyn",
            ("Self", "anys") => "list(any)",
            _ => return None,
        })
    }
}

fn environment(libraries: Libraries, container: &str, variables: &[(&str, &str)]) -> Environment {
    let variables = variables
        .iter()
        .map(|(name, of)| ((*name).into(), Type::parse(of).unwrap()))
        .collect::<HashMap<_, _>>();
    Environment {
        container: container.into(),
        functions: functions(libraries),
        variables,
        provider: Arc::new(Schema),
    }
}

const KUBERNETES: Libraries = Libraries::Kubernetes(Level::LATEST);

fn kubernetes() -> Environment {
    let mut environment = environment(
        KUBERNETES,
        "",
        &[
            ("i", "int"),
            ("s", "string"),
            ("dy", "dyn"),
            ("wi", "wrapper(int)"),
            ("opt", "optional_type(string)"),
            ("nested.name", "string"),
        ],
    );
    environment.variables.insert("self".into(), Type::object("Self"));
    environment
}

/// The checked expression, or the errors as cel-go prints them, without the source below each.
fn checked_in(environment: &Environment, libraries: Libraries, text: &str) -> Result<Checked, Vec<String>> {
    let ast = parse(text, libraries.syntax()).unwrap();
    let source = Arc::clone(&ast.source);
    let parsers = Parsers {
        is_duration: |text| text == "1h",
        is_timestamp: |text| text == "2020-01-01T00:00:00Z",
        is_regex: |text| text != "[",
    };
    let checked = check(ast, environment).and_then(|checked| {
        let issues =
            if libraries == Libraries::Conformance { Vec::new() } else { validate(&checked, &parsers) };
        if issues.is_empty() { Ok(checked) } else { Err(issues) }
    });
    checked.map_err(|issues| {
        let shown = source.display(&issues).to_string();
        shown.lines().filter_map(|line| line.strip_prefix("ERROR: <input>:")).map(str::to_owned).collect()
    })
}

/// The type of an expression and what its outermost call or name refers to, or its errors.
fn outcome_in(environment: &Environment, libraries: Libraries, text: &str) -> Vec<String> {
    let checked = match checked_in(environment, libraries, text) {
        Ok(checked) => checked,
        Err(errors) => return errors,
    };
    let root = &checked.ast.root;
    let of = checked.types[&root.id].to_string();
    let refers = match checked.references.get(&root.id) {
        Some(Reference::Overloads(ids)) => ids.iter().map(ToString::to_string).collect(),
        Some(Reference::Name { name, .. }) => vec![name.to_string()],
        None => Vec::new(),
    };
    std::iter::once(of).chain(refers).collect()
}

fn outcome(text: &str) -> Vec<String> {
    outcome_in(&kubernetes(), KUBERNETES, text)
}

fn assert_outcomes(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(outcome(text), *expected, "{text}");
    }
}

#[test]
fn operators_take_the_types_that_they_are_declared_for() {
    assert_outcomes(&[
        ("self.i > 5", &["bool", "greater_int64"]),
        ("1 < 1.5", &["bool", "less_int64_double"]),
        ("self.lo[0].x + wi", &["int", "add_int64"]),
        ("self.s > 5", &["1:8: found no matching overload for '_>_' applied to '(string, int)'"]),
        ("1 == 1.0", &["1:3: found no matching overload for '_==_' applied to '(int, double)'"]),
        ("'x' in self.i", &["1:5: found no matching overload for '@in' applied to '(string, int)'"]),
        ("opt.size()", &["1:9: found no matching overload for 'size' applied to 'optional_type(string).()'"]),
    ]);
}

#[test]
fn each_side_of_a_logical_operator_must_be_a_bool() {
    assert_outcomes(&[
        ("self.i && true", &["1:5: expected type 'bool' but found 'int'"]),
        (
            "[] && 1",
            &[
                "1:1: expected type 'bool' but found 'list(_var0)'",
                "1:7: expected type 'bool' but found 'int'",
            ],
        ),
        ("true || dy", &["bool", "logical_or"]),
    ]);
}

#[test]
fn null_is_compared_with_objects_but_not_with_numbers() {
    assert_outcomes(&[
        ("self.o == null", &["bool", "equals"]),
        ("self.ts == null", &["bool", "equals"]),
        ("wi == null", &["bool", "equals"]),
        ("self.i == null", &["1:8: found no matching overload for '_==_' applied to '(int, null)'"]),
    ]);
}

#[test]
fn all_errors_are_reported_in_the_order_of_their_places() {
    assert_outcomes(&[
        (
            "self.s > 5 && self.nope == 1",
            &[
                "1:8: found no matching overload for '_>_' applied to '(string, int)'",
                "1:19: undefined field 'nope'",
            ],
        ),
        (
            "a.b.c()",
            &[
                "1:1: undeclared reference to 'a' (in container '')",
                "1:6: undeclared reference to 'c' (in container '')",
            ],
        ),
    ]);
}

#[test]
fn dynamic_values_take_every_overload_that_fits() {
    assert_outcomes(&[
        ("dyn(1) < 2u", &["bool", "less_int64_uint64", "less_uint64", "less_double_uint64"]),
        ("size(dy)", &["int", "size_bytes", "size_list", "size_map", "size_string"]),
        (
            "dy.a.b[0]",
            &["dyn", "index_list", "index_map", "optional_list_index_int", "optional_map_index_value"],
        ),
        ("dy.indexOf(dy)", &["int", "string_index_of_string", "list_a_index_of_int"]),
        ("dy + 1", &["int", "add_int64"]),
    ]);
}

#[test]
fn fields_are_those_of_the_type() {
    assert_outcomes(&[
        ("self.any.foo.bar", &["dyn"]),
        ("self.m.k", &["string"]),
        ("has(self.o.s)", &["bool"]),
        ("has(self.o.nope)", &["1:4: undefined field 'nope'"]),
        ("self.s.x", &["1:7: type 'string' does not support field selection"]),
        ("quantity('1k').sign", &["1:15: unexpected failed resolution of 'kubernetes.Quantity'"]),
    ]);
}

#[test]
fn optional_values_stay_optional() {
    assert_outcomes(&[
        ("self.?o.s", &["optional_type(string)"]),
        ("self.?o", &["optional_type(Self.o)", "select_optional_field"]),
        ("self.?o.s.orValue('')", &["string", "optional_orValue_value"]),
        ("self.m[?'a']", &["optional_type(string)", "map_optindex_optional_value"]),
        ("optional.none().optMap(x, [x])", &["optional_type(list(dyn))", "conditional"]),
        ("[?optional.of(1), 2]", &["list(int)"]),
        ("[?1]", &["1:3: expected type 'optional_type(int)' but found 'int'"]),
    ]);
}

#[test]
fn empty_lists_have_the_types_that_their_use_gives_them() {
    assert_outcomes(&[
        ("[]", &["list(dyn)"]),
        ("[].map(x, x + 1)", &["list(int)"]),
        ("[[]].map(x, x.map(y, y))", &["list(list(dyn))"]),
        ("[] + ['a']", &["list(string)", "add_list"]),
        ("[[], ['a'], []]", &["list(list(string))"]),
    ]);
}

#[test]
fn comprehensions_have_variables_of_their_own() {
    assert_outcomes(&[
        ("self.lo.map(x, x.s).exists(s, s == self.s)", &["bool"]),
        ("self.m.all(k, v, k == v)", &["bool"]),
        ("self.l.transformMap(i, x, x > i)", &["map(int, bool)"]),
        (
            "['a'].all(i, i == .i)",
            &["1:16: found no matching overload for '_==_' applied to '(string, int)'"],
        ),
        (
            "self.i.all(x, true)",
            &[
                "1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
            ],
        ),
    ]);
}

#[test]
fn a_shadowed_name_keeps_its_dot() {
    let names = |text| -> Vec<String> {
        let checked = checked_in(&kubernetes(), KUBERNETES, text).unwrap();
        let names = super::walk::inner_first(&checked.ast.root).filter_map(|expr| match &expr.kind {
            Kind::Ident(name) if !name.starts_with('@') => Some(name.to_string()),
            _ => None,
        });
        names.collect()
    };
    assert_eq!(names("[1].all(i, .i == i)"), [".i", "i"]);
    assert_eq!(names(".i == 1"), ["i"]);
    assert_eq!(names("nested.name == s"), ["nested.name", "s"]);
}

#[test]
fn a_qualified_name_is_one_name() {
    assert_outcomes(&[
        ("nested.name", &["string", "nested.name"]),
        ("nested.other", &["1:1: undeclared reference to 'nested' (in container '')"]),
        ("google.protobuf.NullValue.NULL_VALUE", &["int", "google.protobuf.NullValue.NULL_VALUE"]),
        ("ip.isCanonical('1.2.3.4')", &["bool", "ip_is_canonical"]),
        ("lists.range(3)", &["list(int)", "lists_range"]),
    ]);
    let checked = checked_in(&kubernetes(), KUBERNETES, "ip.isCanonical('1.2.3.4')").unwrap();
    assert!(
        matches!(&checked.ast.root.kind, Kind::Call { function, target: None, .. } if &**function == "ip.isCanonical")
    );
    let checked = checked_in(&kubernetes(), KUBERNETES, "google.protobuf.NullValue.NULL_VALUE").unwrap();
    let value = Some(Literal::Int(0));
    let name = "google.protobuf.NullValue.NULL_VALUE".into();
    assert_eq!(checked.references[&checked.ast.root.id], Reference::Name { name, value });
}

#[test]
fn names_of_types_are_types() {
    assert_outcomes(&[
        ("type", &["type(type)", "type"]),
        ("type(1) == int", &["bool", "equals"]),
        ("type(self.ts) == google.protobuf.Timestamp", &["bool", "equals"]),
        // As a name of a schema's type.
        ("duration == type(self.dur)", &["bool", "equals"]),
    ]);
}

#[test]
fn messages_of_protobuf_can_be_made() {
    assert_outcomes(&[
        ("google.protobuf.Int64Value{value: 1} == 1", &["bool", "equals"]),
        ("list{values: [1]}", &["list(dyn)", "list"]),
        (
            "google.protobuf.Timestamp{seconds: 'x', foo: 1}",
            &[
                "1:34: expected type of field 'seconds' is 'int' but provided type is 'string'",
                "1:44: undefined field 'foo'",
            ],
        ),
        ("Nope{a: b}", &["1:5: undeclared reference to 'Nope' (in container '')"]),
        ("int{x: 1}", &["1:4: 'int' is not a message type", "1:6: unexpected failed resolution of 'int'"]),
    ]);
}

#[test]
fn names_are_looked_up_in_the_container_first() {
    let environment = environment(
        Libraries::Conformance,
        "c.d",
        &[("x", "int"), ("c.d.x", "string"), ("c.y", "bool"), ("z", "uint")],
    );
    let outcome = |text| outcome_in(&environment, Libraries::Conformance, text);
    assert_eq!(outcome("x"), ["string", "c.d.x"]);
    assert_eq!(outcome(".x"), ["int", "x"]);
    assert_eq!(outcome("d.x"), ["string", "c.d.x"]);
    assert_eq!(outcome("y"), ["bool", "c.y"]);
    assert_eq!(outcome("z"), ["uint", "z"]);
    assert_eq!(outcome("w"), ["1:1: undeclared reference to 'w' (in container 'c.d')"]);
    assert_eq!(outcome("cel.bind(a, 1, a)"), ["int"]);
}

#[test]
fn lists_and_maps_have_one_type_of_values() {
    assert_outcomes(&[
        ("[1, 'a', b'x']", &["1:5: expected type 'int' but found 'string'"]),
        (
            "{'a': 1, 2: 'b'}",
            &["1:10: expected type 'string' but found 'int'", "1:13: expected type 'int' but found 'string'"],
        ),
        ("[1, dyn('a')]", &["1:8: expected type 'int' but found 'dyn'"]),
        ("'%s %s'.format([1, 'a'])", &["string", "string_format"]),
    ]);
    let environment = environment(Libraries::Conformance, "", &[]);
    assert_eq!(outcome_in(&environment, Libraries::Conformance, "[1, 'a']"), ["list(dyn)"]);
}

#[test]
fn literals_of_durations_timestamps_and_patterns_are_checked() {
    assert_outcomes(&[
        ("duration('1d')", &["1:10: invalid duration argument"]),
        ("timestamp('x')", &["1:11: invalid timestamp argument"]),
        ("timestamp(253402300800)", &["1:11: invalid timestamp argument"]),
        ("timestamp(253402300799)", &["timestamp", "int64_to_timestamp"]),
        ("self.s.matches('[')", &["1:16: invalid matches argument"]),
        // The text, not the pattern.
        ("matches('[', 'a')", &["1:9: invalid matches argument"]),
        ("matches('a', '[')", &["bool", "matches"]),
        // Errors of types come alone.
        (
            "duration('1d') == self.s",
            &["1:16: found no matching overload for '_==_' applied to '(duration, string)'"],
        ),
    ]);
}

#[test]
fn format_strings_fit_their_arguments() {
    let precision = "could not parse formatting clause: error while parsing precision: error while converting precision to \
                     integer: strconv.Atoi: parsing \"\": invalid syntax";
    let quantity = "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, \
                    lists, types, durations, and timestamps, was given kubernetes.Quantity";
    assert_outcomes(&[
        (
            "'%d'.format(['a'])",
            &["1:14: error during formatting: decimal clause can only be used on integers, was given string"],
        ),
        (
            "'%.2f %x'.format([1.0, [1]])",
            &[
                "1:24: error during formatting: only integers, byte buffers, and strings can be formatted as hex, was given \
               list",
            ],
        ),
        ("'%s'.format([{'a': [quantity('1')]}])", &[&format!("1:29: {quantity}")]),
        ("'%s %s'.format([1])", &["1:15: index 1 out of range"]),
        (
            "'%s'.format([1, 'a'])",
            &["1:12: too many arguments supplied to string.format (expected 1, got 2)"],
        ),
        ("'%'.format([])", &["1:11: unexpected end of string"]),
        (
            "'%é'.format([1])",
            &["1:12: could not parse formatting clause: unrecognized formatting clause \"Ã\""],
        ),
        ("'%.f'.format([1.0])", &[&format!("1:13: {precision}")]),
        ("self.s.format([quantity('1')])", &["string", "string_format"]),
    ]);
}

#[test]
fn errors_at_one_place_come_from_the_inner_call_first() {
    assert_eq!(
        outcome("'%b'.format(['%s'.format([1, 2])])"),
        [
            "1:25: too many arguments supplied to string.format (expected 1, got 2)",
            "1:25: error during formatting: only integers and bools can be formatted as binary, was given string"
        ]
    );
}

#[test]
fn functions_that_the_server_does_not_have_are_undeclared() {
    assert_outcomes(&[
        (
            "math.abs(1)",
            &[
                "1:1: undeclared reference to 'math' (in container '')",
                "1:9: undeclared reference to 'abs' (in container '')",
            ],
        ),
        ("'x'.reverse()", &["1:12: found no matching overload for 'reverse' applied to 'string.()'"]),
        ("_in_(1, [1])", &["1:5: undeclared reference to '_in_' (in container '')"]),
    ]);
    let old = Libraries::Kubernetes(Level::of_new_expressions(34));
    let environment = Environment { functions: functions(old), ..kubernetes() };
    assert_eq!(
        outcome_in(&environment, old, "[1].distinct()"),
        ["1:13: undeclared reference to 'distinct' (in container '')"]
    );
}

#[test]
fn types_that_double_with_each_level_end_the_check() {
    let open: String =
        (0..60).map(|level| format!("[{{x{level}: x{level}}}].all(x{}, ", level + 1)).collect();
    let text = format!("[1].all(x0, {open}true{}", ")".repeat(61));
    assert_eq!(outcome(&text), ["1:8: the types of the expression are too complex"]);
    // The same, hidden in the types that the elements of empty lists stand for.
    let chain = |name: char| -> String {
        let levels = (0..25).map(|level| {
            let (this, next) = (format!("{name}{level}"), format!("{name}{}", level + 1));
            format!("[[]].all({next}, [{this}, [{{{next}: {next}}}]] != [] && ")
        });
        format!("[[]].all({name}0, ") + &levels.collect::<String>()
    };
    let text = format!("{}{}a0 == b0{}", chain('a'), chain('b'), ")".repeat(52));
    assert_eq!(outcome(&text), ["1:9: the types of the expression are too complex"]);
}

#[test]
fn an_expression_with_thousands_of_calls_is_checked() {
    let text = format!("[{}] == []", vec!["self.i < 1 ? 'a' : self.s"; 3_000].join(", "));
    assert_eq!(outcome(&text), ["bool", "equals"]);
}
