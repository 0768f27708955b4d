use std::fmt::Write as _;

use super::{Ast, Expr, Extension, Id, Kind, Literal, Options, parse};

const KUBERNETES: Options =
    Options::STANDARD.with(Extension::OptionalTypes).with(Extension::TwoVariables).with(Extension::SortBy);

/// An expression with the numbers and offsets of all its parts, as the Go program that gave the expected values prints it.
struct Dump<'a> {
    ast: &'a Ast,
    out: String,
}

impl Dump<'_> {
    fn of(ast: &Ast) -> String {
        let mut dump = Dump { ast, out: String::new() };
        dump.expr(&ast.root);
        dump.out
    }

    fn id(&mut self, id: Id) {
        let offset = usize::try_from(id).ok().and_then(|id| self.ast.offsets.get(id)).copied();
        write!(self.out, "{id}@{}", offset.unwrap_or_default()).unwrap_or_default();
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn expr(&mut self, expr: &Expr) {
        self.push("(");
        self.id(expr.id);
        self.push(" ");
        match &expr.kind {
            Kind::Literal(literal) => self.push(&match literal {
                Literal::Null => "null".to_owned(),
                Literal::Bool(value) => format!("bool {value}"),
                Literal::Int(value) => format!("int {value}"),
                Literal::Uint(value) => format!("uint {value}"),
                Literal::Double(value) => format!("double {:016x}", value.to_bits()),
                Literal::String(value) => {
                    format!("string {:?}", value.chars().map(u32::from).collect::<Vec<_>>())
                }
                Literal::Bytes(value) => format!("bytes {value:?}"),
            }),
            Kind::Ident(name) => self.push(&format!("ident {name}")),
            Kind::Select { operand, field, test_only } => {
                self.push(&format!("select {test_only} {field} "));
                self.expr(operand);
            }
            Kind::Call { function, target, args } => {
                self.push(&format!("call {function}"));
                if let Some(target) = target {
                    self.push(" on ");
                    self.expr(target);
                }
                for arg in args {
                    self.push(" ");
                    self.expr(arg);
                }
            }
            Kind::List { elements, optional } => {
                self.push(&format!("list {optional:?}"));
                for element in elements {
                    self.push(" ");
                    self.expr(element);
                }
            }
            Kind::Map(entries) => {
                self.push("map");
                for entry in entries {
                    self.push(" [");
                    self.id(entry.id);
                    self.push(&format!(" {} ", entry.optional));
                    self.expr(&entry.key);
                    self.expr(&entry.value);
                    self.push("]");
                }
            }
            Kind::Struct { type_name, fields } => {
                self.push(&format!("struct {type_name}"));
                for field in fields {
                    self.push(" [");
                    self.id(field.id);
                    self.push(&format!(" {} {} ", field.optional, field.key));
                    self.expr(&field.value);
                    self.push("]");
                }
            }
            Kind::Comprehension(c) => {
                let second = c.iter_var2.as_deref().unwrap_or_default();
                self.push(&format!("loop {},{second},{} ", c.iter_var, c.accu_var));
                for part in [&c.iter_range, &c.accu_init, &c.loop_condition, &c.loop_step, &c.result] {
                    self.expr(part);
                }
            }
        }
        self.push(")");
    }
}

/// The dump of an expression, or its errors as cel-go prints them.
fn outcome(text: &str, options: Options) -> String {
    match parse(text, options) {
        Ok(ast) => format!("OK {}", Dump::of(&ast)),
        Err((source, issues)) => format!("ERR {}", source.display(&issues)),
    }
}

#[test]
fn operators_selectors_and_literals_have_the_numbers_and_places_of_cel_go() {
    for (text, expected) in [
        (
            "a && b && c && d || e",
            "OK (9@17 call _||_ (5@7 call _&&_ (3@2 call _&&_ (1@0 ident a) (2@5 ident b)) (7@12 call _&&_ (4@10 ident c) (6@15 ident d))) (8@20 ident e))",
        ),
        (
            "-1 + a < 2 * (3 - b) % 4 ? !c : --d",
            "OK (12@25 call _?_:_ (4@7 call _<_ (2@3 call _+_ (1@0 int -1) (3@5 ident a)) (10@21 call _%_ (6@11 call _*_ (5@9 int 2) (8@16 call _-_ (7@14 int 3) (9@18 ident b))) (11@23 int 4))) (13@27 call !_ (14@28 ident c)) (15@34 ident d))",
        ),
        (
            "a.?b[?0].`c-d`",
            "OK (6@8 select false c-d (4@4 call _[?_] (3@1 call _?._ (1@0 ident a) (2@3 string [98])) (5@6 int 0)))",
        ),
        (
            ".a.b{c: 1, ?d: {?e: 2u}}",
            "OK (1@4 struct .a.b [2@6 false c (3@8 int 1)] [4@13 true d (5@15 map [6@18 true (7@17 ident e)(8@20 uint 2)])])",
        ),
        (
            r#"[b'\xff\101', 0x1F, -9223372036854775808, 1.5e3, null]"#,
            "OK (1@0 list [] (2@1 bytes [255, 65]) (3@14 int 31) (4@20 int -9223372036854775808) (5@42 double 4097700000000000) (6@49 null))",
        ),
        (
            "'é\\u00e9\\x41' + r'\\n' + '''a\r\nb'''",
            "OK (4@22 call _+_ (2@14 call _+_ (1@0 string [233, 233, 65]) (3@16 string [92, 110])) (5@24 string [97, 10, 98]))",
        ),
        (
            "f(a, [b, ?c]).g(.h)",
            "OK (6@15 call g on (1@1 call f (2@2 ident a) (3@5 list [1] (4@6 ident b) (5@10 ident c))) (7@17 ident .h))",
        ),
    ] {
        assert_eq!(outcome(text, KUBERNETES), expected, "{text}");
    }
}

#[test]
fn macros_expand_with_the_numbers_and_places_of_cel_go() {
    for (text, expected) in [
        (
            "[1].all(x, x > has(a.b))",
            "OK (17@7 loop x,,@result (1@0 list [] (2@1 int 1))(11@7 bool true)(13@7 call @not_strictly_false (12@7 ident @result))(15@7 call _&&_ (14@7 ident @result) (6@13 call _>_ (5@11 ident x) (10@18 select true b (8@19 ident a))))(16@7 ident @result))",
        ),
        (
            "a.exists(x, x)",
            "OK (12@8 loop x,,@result (1@0 ident a)(5@8 bool false)(8@8 call @not_strictly_false (7@8 call !_ (6@8 ident @result)))(10@8 call _||_ (9@8 ident @result) (4@12 ident x))(11@8 ident @result))",
        ),
        (
            "a.exists_one(x, y, x)",
            "OK (16@12 loop x,y,@result (1@0 ident a)(6@12 int 0)(7@12 bool true)(12@12 call _?_:_ (5@19 ident x) (10@12 call _+_ (8@12 ident @result) (9@12 int 1)) (11@12 ident @result))(15@12 call _==_ (13@12 ident @result) (14@12 int 1)))",
        ),
        (
            "a.map(x, x > 0, -x).sortBy(y, y)",
            "OK (34@26 loop #unused,,@__sortBy_input__ (32@26 list [])(17@5 loop x,,@result (1@0 ident a)(9@5 list [])(10@5 bool true)(15@5 call _?_:_ (5@11 call _>_ (4@9 ident x) (6@13 int 0)) (13@5 call _+_ (11@5 ident @result) (12@5 list [] (7@16 call -_ (8@17 ident x)))) (14@5 ident @result))(16@5 ident @result))(33@26 bool false)(21@26 ident @__sortBy_input__)(31@26 call @sortByAssociatedKeys on (30@26 ident @__sortBy_input__) (29@26 loop y,,@result (22@26 ident @__sortBy_input__)(23@26 list [])(24@26 bool true)(27@26 call _+_ (25@26 ident @result) (26@26 list [] (20@30 ident y)))(28@26 ident @result))))",
        ),
        (
            "a.filter(x, x)",
            "OK (13@8 loop x,,@result (1@0 ident a)(5@8 list [])(6@8 bool true)(11@8 call _?_:_ (4@12 ident x) (9@8 call _+_ (7@8 ident @result) (8@8 list [] (3@9 ident x))) (10@8 ident @result))(12@8 ident @result))",
        ),
        (
            "a.optMap(x, x + 1)",
            "OK (16@8 call _?_:_ (7@8 call hasValue on (1@0 ident a)) (14@8 call optional.of (13@8 loop #unused,,x (8@8 list [])(10@8 call value on (9@0 ident a))(11@8 bool false)(12@8 ident x)(5@14 call _+_ (4@12 ident x) (6@16 int 1)))) (15@8 call optional.none))",
        ),
        (
            "a[{b: c}].optFlatMap(x, x)",
            "OK (23@20 call _?_:_ (10@20 call hasValue on (2@1 call _[_] (1@0 ident a) (3@2 map [4@4 false (5@3 ident b)(6@6 ident c)]))) (21@20 loop #unused,,x (11@20 list [])(18@20 call value on (12@1 call _[_] (13@0 ident a) (14@2 map [15@20 false (16@3 ident b)(17@6 ident c)])))(19@20 bool false)(20@20 ident x)(9@24 ident x)) (22@20 call optional.none))",
        ),
        (
            "a.transformList(i, v, i > 0, v)",
            "OK (17@15 loop i,v,@result (1@0 ident a)(14@15 list [])(15@15 bool true)(13@15 call _?_:_ (6@24 call _>_ (5@22 ident i) (7@26 int 0)) (11@15 call _+_ (9@15 ident @result) (10@15 list [] (8@29 ident v))) (12@15 ident @result))(16@15 ident @result))",
        ),
        (
            "a.transformMap(k, v, v)",
            "OK (12@14 loop k,v,@result (1@0 ident a)(9@14 map)(10@14 bool true)(8@14 call cel.@mapInsert (6@14 ident @result) (7@14 ident k) (5@21 ident v))(11@14 ident @result))",
        ),
        (
            "a.transformMapEntry(k, v, {v: k})",
            "OK (14@19 loop k,v,@result (1@0 ident a)(11@19 map)(12@19 bool true)(10@19 call cel.@mapInsert (9@19 ident @result) (5@26 map [6@28 false (7@27 ident v)(8@30 ident k)]))(13@19 ident @result))",
        ),
    ] {
        assert_eq!(outcome(text, KUBERNETES), expected, "{text}");
    }
}

#[test]
fn a_token_that_does_not_fit_is_reported_as_antlr_does() {
    for (text, expected) in [
        (
            "1 +",
            "ERR ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^",
        ),
        (
            "a.true",
            "ERR ERROR: <input>:1:3: Syntax error: mismatched input 'true' expecting IDENTIFIER\n | a.true\n | ..^",
        ),
        ("a b", "ERR ERROR: <input>:1:3: Syntax error: extraneous input 'b' expecting <EOF>\n | a b\n | ..^"),
        (
            "[1, 2",
            "ERR ERROR: <input>:1:6: Syntax error: mismatched input '<EOF>' expecting {']', ','}\n | [1, 2\n | .....^",
        ),
        ("(1", "ERR ERROR: <input>:1:3: Syntax error: missing ')' at '<EOF>'\n | (1\n | ..^"),
        (
            "- *",
            "ERR ERROR: <input>:1:3: Syntax error: no viable alternative at input '- *'\n | - *\n | ..^\nERROR: <input>:1:3: Syntax error: mismatched input '*' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | - *\n | ..^\nERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | - *\n | ...^",
        ),
        (
            "[1, , 2]",
            "ERR ERROR: <input>:1:5: Syntax error: mismatched input ',' expecting ']'\n | [1, , 2]\n | ....^",
        ),
        (
            "!*a",
            "ERR ERROR: <input>:1:2: Syntax error: extraneous input '*' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | !*a\n | .^",
        ),
        (
            "f(a.b.c d)",
            "ERR ERROR: <input>:1:9: Syntax error: extraneous input 'd' expecting ')'\n | f(a.b.c d)\n | ........^",
        ),
        (
            "a = 1",
            "ERR ERROR: <input>:1:3: Syntax error: token recognition error at: '= '\n | a = 1\n | ..^\nERROR: <input>:1:5: Syntax error: extraneous input '1' expecting <EOF>\n | a = 1\n | ....^",
        ),
        (
            "{1: 2, 3}",
            "ERR ERROR: <input>:1:9: Syntax error: mismatched input '}' expecting ':'\n | {1: 2, 3}\n | ........^",
        ),
        (
            "x{?: 1}",
            "ERR ERROR: <input>:1:3: unsupported ident kind\n | x{?: 1}\n | ..^\nERROR: <input>:1:4: Syntax error: mismatched input ':' expecting {IDENTIFIER, ESC_IDENTIFIER}\n | x{?: 1}\n | ...^",
        ),
        (
            r#"é + "日" +

  *"#,
            r#"ERR ERROR: <input>:1:1: Syntax error: token recognition error at: 'é'
 | é + "日" +
 | ＾
ERROR: <input>:1:3: Syntax error: extraneous input '+' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
 | é + "日" +
 | ．.^
ERROR: <input>:3:3: Syntax error: mismatched input '*' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
 |   *
 | ..^
ERROR: <input>:3:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
 |   *
 | ...^"#,
        ),
        (
            "",
            "ERR ERROR: <input>:1:0: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
        ),
    ] {
        assert_eq!(outcome(text, KUBERNETES), expected, "{text}");
    }
}

#[test]
fn what_is_no_token_is_reported_and_skipped() {
    for (text, expected) in [
        ("a.#b", "ERR ERROR: <input>:1:3: Syntax error: token recognition error at: '#'\n | a.#b\n | ..^"),
        (
            r#""abc"#,
            r#"ERR ERROR: <input>:1:1: Syntax error: token recognition error at: '"abc'
 | "abc
 | ^
ERROR: <input>:1:5: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
 | "abc
 | ....^"#,
        ),
        (
            r#"'a\qb'"#,
            r#"ERR ERROR: <input>:1:1: Syntax error: token recognition error at: ''a\q'
 | 'a\qb'
 | ^
ERROR: <input>:1:6: Syntax error: token recognition error at: '''
 | 'a\qb'
 | .....^"#,
        ),
        (
            "`a",
            "ERR ERROR: <input>:1:1: Syntax error: token recognition error at: '`a'\n | `a\n | ^\nERROR: <input>:1:3: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | `a\n | ..^",
        ),
        (
            "a & b",
            "ERR ERROR: <input>:1:3: Syntax error: token recognition error at: '& '\n | a & b\n | ..^\nERROR: <input>:1:5: Syntax error: extraneous input 'b' expecting <EOF>\n | a & b\n | ....^",
        ),
    ] {
        assert_eq!(outcome(text, KUBERNETES), expected, "{text}");
    }
}

#[test]
fn names_and_macros_that_are_misused_are_reported() {
    for (text, expected) in [
        (
            "a.all(x.y, true)",
            "ERR ERROR: <input>:1:8: argument must be a simple name\n | a.all(x.y, true)\n | .......^",
        ),
        ("a.map(1, 2)", "ERR ERROR: <input>:1:7: argument is not an identifier\n | a.map(1, 2)\n | ......^"),
        ("has(a)", "ERR ERROR: <input>:1:5: invalid argument to has() macro\n | has(a)\n | ....^"),
        (
            "a.all(__result__, true)",
            "ERR ERROR: <input>:1:7: iteration variable overwrites accumulator variable\n | a.all(__result__, true)\n | ......^",
        ),
        (
            "a.all(x, x, true)",
            "ERR ERROR: <input>:1:10: duplicate variable name: x\n | a.all(x, x, true)\n | .........^",
        ),
        (
            "a.optMap(1, 2)",
            "ERR ERROR: <input>:1:10: optMap() variable name must be a simple identifier\n | a.optMap(1, 2)\n | .........^",
        ),
        (
            "1.sortBy(x, x)",
            "ERR ERROR: <input>:1:1: sortBy can only be applied to a list, identifier, comprehension, call or select expression\n | 1.sortBy(x, x)\n | ^",
        ),
        (
            "if + for",
            "ERR ERROR: <input>:1:1: reserved identifier: if\n | if + for\n | ^\nERROR: <input>:1:6: reserved identifier: for\n | if + for\n | .....^",
        ),
        (
            "[1].all(x, ) + *",
            "ERR ERROR: <input>:1:12: Syntax error: mismatched input ')' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | [1].all(x, ) + *\n | ...........^\nERROR: <input>:1:16: Syntax error: mismatched input '*' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | [1].all(x, ) + *\n | ...............^\nERROR: <input>:1:17: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | [1].all(x, ) + *\n | ................^",
        ),
    ] {
        assert_eq!(outcome(text, KUBERNETES), expected, "{text}");
    }
}

#[test]
fn literals_without_a_value_are_reported() {
    for (text, expected) in [
        (
            r#"b'\u00e9'"#,
            r#"ERR ERROR: <input>:1:1: unable to unescape string
 | b'\u00e9'
 | ^"#,
        ),
        (
            r#"'\ud800'"#,
            r#"ERR ERROR: <input>:1:1: invalid unicode code point
 | '\ud800'
 | ^"#,
        ),
        (
            "99999999999999999999 + 1e999",
            "ERR ERROR: <input>:1:1: invalid int literal\n | 99999999999999999999 + 1e999\n | ^\nERROR: <input>:1:24: invalid double literal\n | 99999999999999999999 + 1e999\n | .......................^",
        ),
        (
            "18446744073709551616u",
            "ERR ERROR: <input>:1:1: invalid uint literal\n | 18446744073709551616u\n | ^",
        ),
    ] {
        assert_eq!(outcome(text, KUBERNETES), expected, "{text}");
    }
}

#[test]
fn extensions_are_off_until_they_are_asked_for() {
    for (text, expected) in [
        ("a.?b", "ERR ERROR: <input>:1:2: unsupported syntax '.?'\n | a.?b\n | .^"),
        ("a[?b]", "ERR ERROR: <input>:1:2: unsupported syntax '[?'\n | a[?b]\n | .^"),
        ("[?a]", "ERR ERROR: <input>:1:2: unsupported syntax '?'\n | [?a]\n | .^"),
        ("a.sortBy(b, c)", "OK (2@8 call sortBy on (1@0 ident a) (3@9 ident b) (4@12 ident c))"),
    ] {
        assert_eq!(outcome(text, Options::STANDARD), expected);
    }
    let bound = outcome("cel.bind(x, 1, x)", KUBERNETES.with(Extension::Bind));
    assert_eq!(
        bound,
        "OK (9@8 loop #unused,,x (6@8 list [])(4@12 int 1)(7@8 bool false)(8@8 ident x)(5@15 ident x))"
    );
    assert!(outcome("cel.bind(x, 1, x)", KUBERNETES).starts_with("OK (2@8 call bind on (1@0 ident cel)"));
}

#[test]
fn expressions_nest_as_deep_as_the_limits_of_cel_go() {
    for (open, close, fits, message) in [
        ("(", ")", 249, "expression recursion limit exceeded: 250"),
        ("[", "]", 249, "expression recursion limit exceeded: 250"),
        ("f(a || b && !g(", "))", 124, "expression recursion limit exceeded: 250"),
        ("[1].all(x, ", ")", 249, "expression recursion limit exceeded: 250"),
        ("1 + ", "", 250, "max recursion depth exceeded"),
        ("", ".a", 250, "max recursion depth exceeded"),
    ] {
        let nested = |depth: usize| outcome(&(open.repeat(depth) + "a" + &close.repeat(depth)), KUBERNETES);
        assert_eq!(nested(fits).get(..3), Some("OK "), "{open}");
        let refused = nested(fits + 1);
        assert_eq!(refused, format!("ERR ERROR: <input>:-1:0: {message}"));
    }
}

#[test]
fn an_expression_may_have_a_hundred_thousand_characters() {
    assert!(parse(&"é".repeat(100_000), KUBERNETES).is_err_and(|(_, issues)| issues.len() == 100 + 1));
    assert_eq!(
        outcome(&"é".repeat(100_001), KUBERNETES),
        "ERR ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100001, limit 100000"
    );
    let chain = "a && ".repeat(19_999) + "a";
    assert!(outcome(&chain, KUBERNETES).starts_with("OK"));
}

#[test]
fn recovery_from_errors_is_limited() {
    let attempts = outcome(&"+ ".repeat(60), KUBERNETES);
    assert!(attempts.contains("Syntax error: error recovery attempt limit exceeded: 30"), "{attempts}");
    let skipped = outcome(&("a ".to_owned() + &"b ".repeat(258)), KUBERNETES);
    assert!(
        skipped.contains("<input>:-1:0: error recovery token lookahead limit exceeded: 256"),
        "{skipped}"
    );
    let errors = outcome(&"# ".repeat(102), KUBERNETES);
    assert!(errors.ends_with("\n1 more errors were truncated"), "{errors}");
}

#[test]
fn macros_that_copy_their_operand_do_not_grow_without_bound() {
    let chain = "a".to_owned() + &".optMap(x, x)".repeat(200);
    assert!(outcome(&chain, KUBERNETES).contains("too large once its macros are expanded"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in r#"([\[\](){}.,:?!*/%<>=&|+-]|[a-c]|in|null|[0-9]{1,2}|u|"|'|`|\\|\n|é| |has\(|\.map\(){0,40}"#) {
        let _ = outcome(&text, KUBERNETES);
    }
}
