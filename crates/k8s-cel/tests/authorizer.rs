//! Checks of authorization in expressions; the answers and the costs are those of apiserver 0.37.2.

use std::sync::Arc;

use k8s_cel::{
    Authorizer, COST_LIMIT, Check, Decision, Environment, Origin, Program, ResourceAttributes, Target,
    Variables,
};
use serde_json::{Value as Json, json};

/// Allows everything, and says what it was asked.
#[derive(Debug)]
struct Echo;

impl Authorizer for Echo {
    fn authorize(&self, check: &Check) -> Decision {
        let user =
            check.user.as_ref().map_or_else(String::new, |user| user.namespace.clone() + ":" + &user.name);
        let target = match &check.target {
            Target::Path(path) => path.clone(),
            Target::Resource(at) => [
                &at.group,
                &at.resource,
                &at.subresource,
                &at.namespace,
                &at.name,
                &at.field_selector,
                &at.label_selector,
            ]
            .map(String::as_str)
            .join("|"),
        };
        Decision { allowed: true, reason: format!("{user} {} {target}", check.verb), error: None }
    }
}

/// Fails.
#[derive(Debug)]
struct Broken;

impl Authorizer for Broken {
    fn authorize(&self, _: &Check) -> Decision {
        Decision { allowed: false, reason: "no opinion".to_owned(), error: Some("broken".to_owned()) }
    }
}

/// The value as typed JSON or the error, and the cost.
fn run(text: &str, authorizer: &Arc<dyn Authorizer>) -> (Result<Json, String>, u64) {
    let environment = Environment::policy(37, Origin::Stored).with_authorizer();
    let program = Program::compile(text, &environment).unwrap_or_else(|error| panic!("{text}: {error}"));
    let request = ResourceAttributes {
        group: "g".to_owned(),
        resource: "things".to_owned(),
        subresource: "sub".to_owned(),
        namespace: "ns".to_owned(),
        name: "n".to_owned(),
        ..ResourceAttributes::default()
    };
    let variables = Variables::new().with_authorizer("authorizer", Arc::clone(authorizer));
    let variables =
        variables.with_resource_check("authorizer.requestResource", Arc::clone(authorizer), request);
    let evaluation = program.evaluate(&variables, COST_LIMIT);
    let result = evaluation.result.map(|value| value.to_typed_json()).map_err(|error| error.to_string());
    (result, evaluation.cost)
}

fn assert_all<const N: usize>(authorizer: &Arc<dyn Authorizer>, cases: [(&str, Result<Json, &str>, u64); N]) {
    for (text, expected, cost) in cases {
        assert_eq!(run(text, authorizer), (expected.map_err(str::to_owned), cost), "{text}");
    }
}

fn string(text: &str) -> Result<Json, &'static str> {
    Ok(json!({"string": text}))
}

#[test]
fn a_check_has_what_the_expression_says() {
    assert_all(
        &(Arc::new(Echo) as Arc<dyn Authorizer>),
        [
            ("authorizer.path('/healthz').check('get').reason()", string(" get /healthz"), 350_003),
            (
                "authorizer.group('').resource('pods').check('list').reason()",
                string(" list |pods|||||"),
                350_004,
            ),
            (
                "authorizer.group('apps').resource('deployments').subresource('status').namespace('ns').name('n')\
             .fieldSelector('a=b').labelSelector('c in (d)').check('update').reason()",
                string(" update apps|deployments|status|ns|n|a=b|c in (d)"),
                350_329,
            ),
            (
                "authorizer.serviceAccount('ns', 'a.b').path('/x').check('get').reason()",
                string("ns:a.b get /x"),
                350_004,
            ),
            ("authorizer.requestResource.check('get').reason()", string(" get g|things|sub|ns|n||"), 350_002),
            (
                "authorizer.requestResource.name('other').check('get').reason()",
                string(" get g|things|sub|ns|other||"),
                350_003,
            ),
            (
                "authorizer.group('').resource('pods').labelSelector('abc').check('list').allowed()",
                Ok(json!({"bool": true})),
                350_115,
            ),
        ],
    );
}

#[test]
fn a_check_that_failed_is_a_decision() {
    assert_all(
        &(Arc::new(Broken) as Arc<dyn Authorizer>),
        [
            ("authorizer.requestResource.check('x').error()", string("broken"), 350_002),
            ("authorizer.requestResource.check('x').errored()", Ok(json!({"bool": true})), 350_002),
            ("authorizer.requestResource.check('x').allowed()", Ok(json!({"bool": false})), 350_002),
            ("authorizer.requestResource.check('x').reason()", string("no opinion"), 350_002),
        ],
    );
    let fine = run("authorizer.requestResource.check('x').error()", &(Arc::new(Echo) as Arc<dyn Authorizer>));
    assert_eq!(fine.0, Ok(json!({"string": ""})));
}

#[test]
fn names_must_be_valid_and_not_empty() {
    let account = |namespace, name| {
        format!("authorizer.serviceAccount('{namespace}', '{name}').path('/x').check('get').allowed()")
    };
    assert_all(
        &(Arc::new(Echo) as Arc<dyn Authorizer>),
        [
            ("authorizer.path(' \\u00a0').check('get').allowed()", Err("path must not be empty"), 350_003),
            (
                "authorizer.group('').resource('').check('get').allowed()",
                Err("resource must not be empty"),
                350_004,
            ),
            (&account("ns", "A"), Err("Invalid service account name"), 350_004),
            (&account("n.s", "a"), Err("Invalid service account namespace"), 350_004),
            (&account("", "a"), Err("Invalid service account namespace"), 350_004),
            (&account("N", ""), Err("Invalid service account name"), 350_004),
        ],
    );
}

#[test]
fn an_authorizer_equals_nothing() {
    let overload = Err("no such overload");
    let bool = |value: bool| Ok(json!({"bool": value}));
    assert_all(
        &(Arc::new(Echo) as Arc<dyn Authorizer>),
        [
            ("authorizer == authorizer", overload.clone(), 3),
            ("authorizer != authorizer", bool(true), 3),
            ("authorizer == null", bool(false), 2),
            ("dyn(authorizer) == dyn(1)", overload.clone(), 3),
            ("dyn(1) == dyn(authorizer)", bool(false), 3),
            (
                "authorizer.requestResource.check('x') == authorizer.requestResource.check('x')",
                overload,
                700_003,
            ),
            ("authorizer in [authorizer]", bool(false), 13),
            ("[authorizer] == [authorizer]", bool(true), 23),
            ("[authorizer].indexOf(authorizer)", Ok(json!({"int": "-1"})), 13),
        ],
    );
}

#[test]
fn an_authorizer_has_methods_only() {
    assert_all(
        &(Arc::new(Echo) as Arc<dyn Authorizer>),
        [
            ("type(authorizer)", Ok(json!({"type": "kubernetes.authorization.Authorizer"})), 2),
            ("dyn(authorizer).foo", Err("no such key: foo"), 4),
            ("has(dyn(authorizer).foo)", Ok(json!({"bool": false})), 3),
            ("dyn(1).path('x')", Err("no such overload: path(int, string)"), 1),
            (
                "authorizer.path(dyn(1))",
                Err("no such overload: path(kubernetes.authorization.Authorizer, int)"),
                2,
            ),
            ("dyn({})[dyn(authorizer)]", Err("invalid qualifier type: library.authorizerVal"), 4),
            ("dyn(authorizer).all(x, true)", Err("got 'library.authorizerVal', expected iterable type"), 2),
        ],
    );
}

#[test]
fn an_expression_can_pay_for_two_checks() {
    let check = |count: usize| vec!["authorizer.requestResource.check('a').allowed()"; count].join(" && ");
    assert_all(
        &(Arc::new(Echo) as Arc<dyn Authorizer>),
        [
            (&check(2), Ok(json!({"bool": true})), 700_004),
            (&check(3), Err("operation cancelled: actual cost limit exceeded"), 1_050_005),
            ("true || authorizer.path('').check('get').allowed()", Ok(json!({"bool": true})), 0),
        ],
    );
}
