//! Properties that hold for any expression that a client sends. `fuzz/README.md` in the repository describes who calls these
//! functions.

use std::{
    slice,
    sync::LazyLock,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};

use crate::{COST_LIMIT, Declaration, Environment, Origin, Program, Variables};

/// The longest that an expression may take to compile, or an evaluation to reach [`COST_LIMIT`]: generous, for builds
/// without optimization on busy machines.
const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });

/// Any text is an expression, or is refused.
pub fn expression(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        check(text);
    }
}

/// The same for a text that the grammar below builds from the input, so that most of them compile.
pub fn evaluation(input: &[u8]) {
    let mut builder = Builder { choices: input.iter(), text: String::new() };
    builder.write(BOOLS, 0);
    check(&builder.text);
}

/// What the expressions are about.
struct Fixture {
    declaration: Declaration,
    objects: [Json; 2],
    new: Environment,
    stored: Environment,
    specification: Environment,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let schema = json!({"type": "object", "properties": {
        "i": {"type": "integer"},
        "s": {"type": "string"},
        "l": {"type": "array", "items": {"type": "integer"}},
        "t": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
        "k": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
            "type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
        }},
        "p": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "q": {"x-kubernetes-int-or-string": true},
        "z": {"type": "string", "nullable": true},
    }});
    let nested = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let large = json!({
        "i": 7,
        "s": "aé/".repeat(30_000),
        "l": (0..3_000).collect::<Vec<_>>(),
        "t": (0..1_000).map(|index| format!("{index}.{}", "x".repeat(50))).collect::<Vec<_>>(),
        "m": (0..500).map(|index| (format!("k{index}"), json!("v"))).collect::<serde_json::Map<_, _>>(),
        "k": (0..300).map(|index| json!({"k": format!("k{index}"), "v": index})).collect::<Vec<_>>(),
        "p": {"any": nested},
        "q": "50%",
        "z": null,
    });
    // Not what the schema says.
    let wrong = json!({"i": "a", "s": 1, "l": ["a", null], "t": [[]], "m": [], "k": [{}, {"k": 1}], "p": 1, "q": true});
    let declaration = Declaration::from_openapi(&schema, true);
    let with_variables = |environment: Environment| {
        let environment = environment.with_variable("self", &declaration);
        environment.with_optional_variable("oldSelf", &declaration)
    };
    Fixture {
        objects: [large, wrong],
        new: with_variables(Environment::kubernetes(37, Origin::New)),
        stored: with_variables(Environment::kubernetes(37, Origin::Stored)),
        specification: with_variables(Environment::specification()),
        declaration,
    }
});

fn check(text: &str) {
    let fixture = &*FIXTURE;
    let start = Instant::now();
    let program = match Program::compile(text, &fixture.stored) {
        Ok(program) => program,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            // What is not known to be stored is no new expression either.
            assert!(Program::compile(text, &fixture.new).is_err(), "{text}");
            if let Ok(program) = Program::compile(text, &fixture.specification) {
                evaluate(text, &program);
            }
            return;
        }
    };
    let took = start.elapsed();
    assert!(took < LONGEST || !cfg!(fuzzing), "{took:?}: {text}");
    evaluate(text, &program);
}

fn evaluate(text: &str, program: &Program) {
    let Fixture { declaration, objects, .. } = &*FIXTURE;
    for (object, old) in [(&objects[0], Some(&objects[0])), (&objects[1], None)] {
        let variables = Variables::new().with("self", object, declaration);
        let variables = variables.with_optional("oldSelf", old, declaration);
        let start = Instant::now();
        let full = program.evaluate(&variables, COST_LIMIT);
        let shown = match &full.result {
            Ok(value) => value.to_string() + &value.to_typed_json().to_string(),
            Err(error) => error.to_string(),
        };
        let took = start.elapsed();
        assert!(took < LONGEST || !cfg!(fuzzing), "{took:?}: {text}");
        let is_over = full.result.as_ref().is_err_and(crate::EvaluationError::is_over_limit);
        assert!(is_over || full.cost <= COST_LIMIT, "{text}");
        // A limit that suffices changes nothing.
        if !is_over {
            let again = program.evaluate(&variables, full.cost);
            assert_eq!(again.cost, full.cost, "{text}");
            let again = match &again.result {
                Ok(value) => value.to_string() + &value.to_typed_json().to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(again, shown, "{text}");
        }
    }
}

/// The forms of expressions of a type. The first one has no parts: it ends a text whose input has ended. A part is a letter
/// between `<` and `>`.
type Forms = &'static [&'static str];

const BOOLS: Forms = &[
    "true",
    "has(self.z)",
    "<b> && <b>",
    "<b> || <b>",
    "!(<b>)",
    "<i> < <i>",
    "<s> == <s>",
    "<d> == <d>",
    "<d> != <d>",
    "<d> in <l>",
    "<s> in self.m",
    "<i> in <d>",
    "<l>.all(x, <b>)",
    "<l>.exists(y, <b>)",
    "<l>.exists_one(x, <b>)",
    "self.m.all(x, y, <b>)",
    "<s>.contains(<s>)",
    "<s>.startsWith(<s>)",
    "<s>.matches(<r>)",
    "sets.contains(<l>, <l>)",
    "sets.equivalent(<l>, <l>)",
    "sets.intersects(<l>, <l>)",
    "<l>.isSorted()",
    "(<b> ? <b> : <b>)",
    "isURL(<s>)",
    "isIP(<s>)",
    "isQuantity(<s>)",
    "isSemver(<s>)",
    "quantity(<s>).isLessThan(quantity(<s>))",
    "cidr(<s>).containsIP(ip(<s>))",
    "oldSelf.hasValue()",
    "!format.dns1123Label().validate(<s>).hasValue()",
];

const INTS: Forms = &[
    "1",
    "self.i",
    "-1",
    "9223372036854775807",
    "size(<s>)",
    "size(<l>)",
    "<i> + <i>",
    "<i> * <i>",
    "<i> % <i>",
    "int(<s>)",
    "<l>[<i>]",
    "<l>.sum()",
    "<l>.max()",
    "<l>.indexOf(<i>)",
    "<s>.indexOf(<s>)",
    "<s>.lastIndexOf(<s>, <i>)",
    "timestamp(<i>).getSeconds()",
    "(<b> ? <i> : <i>)",
    "int(duration(<s>).getHours())",
    "self.k[<i>].v",
    "3000",
    "2",
];

const STRINGS: Forms = &[
    "''",
    "self.s",
    "'aé/'",
    "'10.0.0.0/8'",
    "'5Gi'",
    "self.z",
    "string(<i>)",
    "<s> + <s>",
    "<s>.replace(<s>, <s>)",
    "<s>.replace('', <s>)",
    "<s>.substring(<i>)",
    "<s>.upperAscii()",
    "<s>.trim()",
    "<s>.charAt(<i>)",
    "<s>.find(<r>)",
    "'%s %s'.format([<d>, <d>])",
    "'%.100f'.format([double(<i>)])",
    "'%s%s%s%s%s%s%s%s'.format([<s>, <s>, <s>, <d>, <s>, <s>, <d>, <d>])",
    "'%b %x'.format([<i>, <s>])",
    "<t>.join(<s>)",
    "<t>[<i>]",
    "strings.quote(<s>)",
    "self.m[<s>]",
    "dyn(<d>)",
    "url(<s>).getHost()",
    "string(timestamp(<i>))",
    "string(type(<d>))",
    "json.encode(<d>)",
    "base64.encode(bytes(<s>))",
];

const LISTS: Forms = &[
    "[1]",
    "self.l",
    "[<i>, <i>]",
    "<l> + <l>",
    "<l>.map(x, <i>)",
    "<l>.map(x, <b>, <i>)",
    "<l>.filter(x, <b>)",
    "lists.range(<i>)",
    "lists.range(1000000)",
    "<l>.reverse()",
    "<l>.distinct()",
    "<l>.sort()",
    "<l>.sortBy(x, <i>)",
    "<l>.slice(<i>, <i>)",
    "<l>.map(x, <l>).flatten()",
    "dyn(<d>).flatten(<i>)",
    "self.k.map(x, x.v)",
    "cel.bind(x, <l>, <l>)",
];

const TEXTS: Forms = &[
    "['']",
    "self.t",
    "[<s>, <s>]",
    "<s>.split(<s>)",
    "<s>.split('')",
    "<s>.findAll(<r>)",
    "<t> + <t>",
    "<l>.map(x, <s>)",
    "<t>.distinct()",
    "<t>.sort()",
    "<t>.sortBy(x, <i>)",
    "self.m.map(x, x)",
    "self.m.transformList(x, y, <s>)",
];

const OTHERS: Forms = &[
    "null",
    "self",
    "oldSelf",
    "self.p",
    "self.q",
    "self.k",
    "self.m",
    "dyn(<i>)",
    "dyn(<s>)",
    "dyn(<b>)",
    "dyn(<l>)",
    "dyn(<t>)",
    "[<d>, <d>].map(x, [x, x]).map(x, [x, x]).map(x, [x, x])",
    "[<d>].map(x, {1: x, 2: x}).map(x, {1: x, 2: x}).map(x, {1: x, 2: x})",
    "dyn([<d>]).map(x, [x, x])",
    "{<s>: <d>}",
    "{<i>: <d>, <s>: <d>}",
    "self.m.transformMap(x, y, <d>)",
    "self.?z",
    "[?self.?z]",
    "optional.of(<d>)",
    "optional.of(<d>).optMap(x, <d>)",
    "<l>.map(x, <d>)",
    "x",
    "1.5",
    "2u",
    "b'\\xff'",
    "duration('1h')",
    "type(<d>)",
    "quantity('5Gi')",
];

const PATTERNS: Forms = &[
    "'a'",
    "'(a|é)*/'",
    "'\\\\pL{250}x'",
    "'(\\\\w{0,30}){0,30}$'",
    "'.*'",
    "'a{1000}{1}'",
    "<s>",
    "('\\\\pL{0,250}' + <s>)",
    "'('",
    "''",
];

/// Writes an expression, whose forms the bytes of the input choose.
struct Builder<'i> {
    choices: slice::Iter<'i, u8>,
    text: String,
}

/// How deep forms are in one another at most.
const DEPTH_MAX: u32 = 40;

impl Builder<'_> {
    fn write(&mut self, forms: Forms, depth: u32) {
        let choice = self.choices.next().filter(|_| depth < DEPTH_MAX).map_or(0, |byte| usize::from(*byte));
        let mut rest = forms.get(choice % forms.len()).copied().unwrap_or_default();
        while let Some((before, after)) = rest.split_once('<') {
            self.text.push_str(before);
            let parts = match after.get(..2) {
                Some("b>") => BOOLS,
                Some("i>") => INTS,
                Some("s>") => STRINGS,
                Some("l>") => LISTS,
                Some("t>") => TEXTS,
                Some("d>") => OTHERS,
                Some("r>") => PATTERNS,
                // An operator.
                _ => {
                    self.text.push('<');
                    rest = after;
                    continue;
                }
            };
            self.write(parts, depth + 1);
            rest = after.get(2..).unwrap_or_default();
        }
        self.text.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        fuzz::check("expression", 256, super::expression);
    }

    #[test]
    fn evaluations() {
        fuzz::check("evaluation", 256, super::evaluation);
    }

    #[test]
    fn calls_that_cost_less_than_their_work_end() {
        let doubled = |times: usize| format!("[1]{}", ".map(x, [x, x])".repeat(times));
        let deep = doubled(60);
        for hostile in [
            format!("{deep} == {deep}"),
            format!("{deep} in [{deep}]"),
            format!("{deep}.flatten(1000).size() == 1"),
            format!("'%s'.format([{deep}]) == ''"),
            format!("sets.contains({deep}, {deep})"),
            format!("dyn({deep}).join() == ''"),
            format!("[{deep}].distinct().size() > 0"),
            deep.clone(),
            format!("json.encode({deep})"),
            format!("[1]{} == dyn([2])", ".map(x, {1: x, 2: x})".repeat(60)),
            "self.s.replace('a', self.s).replace('a', self.s).size() > 5".to_owned(),
            "self.l.all(x, self.s.replace('a', self.s).size() > 5)".to_owned(),
            "self.l.all(x, self.s.size() > 5 && self.s.size() > 5 && self.s != self.s + 'a')".to_owned(),
            "self.l.all(x, self.s == self.s && self.l + self.l != self.l)".to_owned(),
            "self.l.all(x, self == oldSelf.value())".to_owned(),
            "self.l.map(x, self.l).flatten().map(x, self.l).flatten().size() > 5".to_owned(),
            "self.l.map(x, self.s).join(self.s) == ''".to_owned(),
            "self.l.all(x, self.l.map(y, self.s).join().size() > 0)".to_owned(),
            format!("'{}'.format([{}]) == ''", "%s".repeat(2_000), vec!["self.s"; 2_000].join(", ")),
            "self.l.all(x, '%.100f'.format([1.0]).size() > 0)".to_owned(),
            r"self.l.all(x, 'ab'.matches('\\pL{250}' + string(x)))".to_owned(),
            r"self.l.all(x, self.s.matches('(\\pL{0,50}/){0,20}' + string(x)))".to_owned(),
            "self.l.all(x, self.t.isSorted() && self.t.max() != '')".to_owned(),
            "lists.range(1000000).size() > 0".to_owned(),
            format!("dyn([self.p]){} == dyn(self.p)", ".map(x, [x])".repeat(200)),
            format!("{}true{}", "[1].all(x, ".repeat(120), ")".repeat(120)),
            format!("{}[]{}", "[".repeat(240), "]".repeat(240)),
        ] {
            let Fixture { declaration, objects, specification, stored, .. } = &*FIXTURE;
            // Some functions are cel-go's, others are Kubernetes'.
            let program = Program::compile(&hostile, specification);
            let program =
                program.or_else(|_| Program::compile(&hostile, stored)).map_err(|error| error.to_string());
            let program = program.unwrap_or_else(|error| panic!("{error}"));
            let variables = Variables::new().with("self", &objects[0], declaration).with_optional(
                "oldSelf",
                Some(&objects[0]),
                declaration,
            );
            // Without the allowance of work, many of these would not end within a day.
            let evaluation = program.evaluate(&variables, COST_LIMIT);
            let _ = evaluation.result.map(|value| value.to_string());
        }
    }

    #[test]
    fn most_of_the_built_expressions_compile() {
        let inputs =
            (0..=255_u8).map(|first| [first; 40].map(|byte| byte.wrapping_mul(31).wrapping_add(first)));
        let texts = inputs.map(|input| {
            let mut builder = super::Builder { choices: input.iter(), text: String::new() };
            builder.write(super::BOOLS, 0);
            builder.text
        });
        let compiles = |text: &String| crate::Program::compile(text, &super::FIXTURE.specification).is_ok();
        let count = texts.filter(compiles).count();
        assert!(count > 128, "{count}");
    }
}
