//! ValidatingAdmissionPolicies: which requests they see, what they deny, and with which words.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{Http, MERGE_PATCH, Reply},
};
use serde_json::{Value, json};

use crate::widgets::{GROUP, widgets};

e2e::on_each_cluster! {
    messages, actions, variables_and_parameters, parameters_that_are_missing, selected_parameters, an_unknown_kind_of_parameters,
    match_conditions, failures, constraints, updates_and_deletions, custom_resources, the_user_and_the_namespace, several_policies, connections,
    types_are_checked [Controllers]
}

const PATIENCE: Duration = Duration::from_secs(30);
const API: &str = "/apis/admissionregistration.k8s.io/v1";

/// The policies of a test. They see only what happens in its namespace.
pub(crate) struct Policies {
    pub(crate) http: Http,
    pub(crate) namespace: String,
    unique: String,
    kind: &'static str,
}

/// A policy and its binding.
pub(crate) struct Installed {
    http: Http,
    pub(crate) name: String,
    kind: &'static str,
}

impl Policies {
    fn new(cluster: &Cluster) -> Policies {
        Self::of_kind(cluster, "ValidatingAdmissionPolicy")
    }

    pub(crate) fn of_kind(cluster: &Cluster, kind: &'static str) -> Policies {
        let namespace = cluster.namespace().to_owned();
        Policies { http: cluster.admin(), unique: cluster.unique(), namespace, kind }
    }

    pub(crate) fn maps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    pub(crate) fn map(name: &str, data: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
    }

    pub(crate) async fn post(&self, name: &str, data: &Value) -> Result<Reply> {
        self.http.post(&self.maps(), &Self::map(name, data)).await
    }

    /// Creates a policy for ConfigMaps with a binding, and waits until both have an effect.
    pub(crate) async fn install(&self, name: &str, spec: &Value, binding: &Value) -> Result<Installed> {
        let mut policy = json!({
            "matchConstraints": {"resourceRules": [rule(&["CREATE", "UPDATE"], "", "configmaps")]},
        });
        merge(&mut policy, spec);
        policy["matchConstraints"]["namespaceSelector"] = self.own();
        let installed = self.create(name, &policy, binding).await?;
        self.settle(name).await?;
        Ok(installed)
    }

    /// Selects the test's namespace.
    pub(crate) fn own(&self) -> Value {
        json!({"matchLabels": {"kubernetes.io/metadata.name": self.namespace}})
    }

    /// Waits until what was written before has an effect: a policy that is written now has one.
    pub(crate) async fn settle(&self, name: &str) -> Result<()> {
        let probe = format!("probe-{name}-{}", fastrand::u32(..));
        let rules = json!([rule(&["CREATE"], "", "configmaps")]);
        let annotations = format!("Object.metadata.annotations{{settled: '{probe}'}}");
        let configuration = format!("Object{{metadata: Object.metadata{{annotations: {annotations}}}}}");
        let does = match self.kind {
            "MutatingAdmissionPolicy" => {
                json!({"mutations": [apply(&configuration)], "reinvocationPolicy": "Never"})
            }
            _ => {
                let expression = format!("object.metadata.name != '{probe}'");
                json!({"validations": [{"expression": expression, "message": "settled"}]})
            }
        };
        let mut spec = json!({"matchConstraints": {"resourceRules": rules, "namespaceSelector": self.own()}});
        merge(&mut spec, &does);
        let second = self.create(&probe, &spec, &json!({"validationActions": ["Warn"]})).await?;
        eventually(PATIENCE, || async {
            let tried = format!("{}?dryRun=All", self.maps());
            let tried = self.http.post(&tried, &Self::map(&probe, &json!({}))).await?;
            let warned = tried.warnings().iter().any(|it| it.ends_with(": settled"));
            let mutated = tried.body["metadata"]["annotations"]["settled"] == probe;
            ensure!(warned || mutated, "not yet: {}", tried.body);
            Ok(())
        })
        .await?;
        second.delete().await
    }

    pub(crate) async fn remove(&self, installed: Installed) -> Result<()> {
        installed.delete().await?;
        self.settle("gone").await
    }

    pub(crate) async fn create(&self, name: &str, policy: &Value, binding: &Value) -> Result<Installed> {
        let name = format!("{name}.{}", self.unique);
        let kind = self.kind;
        let object = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let mut bound = json!({"policyName": name});
        if kind == "ValidatingAdmissionPolicy" {
            bound["validationActions"] = json!(["Deny"]);
        }
        merge(&mut bound, binding);
        let [policies, bindings] = paths(kind);
        self.http.post(&policies, &object(kind, policy.clone())).await?.code(201)?;
        self.http.post(&bindings, &object(&format!("{kind}Binding"), bound)).await?.code(201)?;
        Ok(Installed { http: self.http.clone(), name, kind })
    }
}

impl Installed {
    pub(crate) async fn delete(self) -> Result<()> {
        let [policies, bindings] = paths(self.kind);
        for path in [bindings, policies] {
            self.http.delete(&format!("{path}/{}", self.name)).await?.code(200)?;
        }
        Ok(())
    }

    /// The message of a denial.
    fn denied(&self, object: &str, why: &str) -> String {
        let name = &self.name;
        format!(
            "configmaps \"{object}\" is forbidden: ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {why}"
        )
    }
}

/// Where the policies and the bindings of a kind are.
fn paths(kind: &str) -> [String; 2] {
    let stem = kind.to_lowercase().replace("policy", "polic");
    [format!("{API}/{stem}ies"), format!("{API}/{stem}ybindings")]
}

/// A mutation by an expression of an `Object`.
pub(crate) fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

pub(crate) fn merge(into: &mut Value, from: &Value) {
    for (name, value) in from.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}

pub(crate) fn rule(operations: &[&str], group: &str, resource: &str) -> Value {
    json!({"operations": operations, "apiGroups": [group], "apiVersions": ["*"], "resources": [resource]})
}

async fn messages(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    let denies = |key: &str| format!("!has(object.data) || !('{key}' in object.data)");
    let policy = policies
        .install(
            "messages",
            &json!({"validations": [
                {"expression": denies("plain")},
                {"expression": denies("message"), "message": " no way "},
                {"expression": denies("expression"), "messageExpression": "'not ' + object.metadata.name"},
                {"expression": denies("empty"), "messageExpression": "'  '", "message": "instead"},
                {"expression": denies("lines"), "messageExpression": "'a\\nb'", "message": "one line"},
                {"expression": denies("failing"), "messageExpression": "string(object.nope)", "message": "fallback"},
                {"expression": denies("forbidden"), "reason": "Forbidden"},
                {"expression": denies("large"), "reason": "RequestEntityTooLarge"},
            ]}),
            &json!({}),
        )
        .await?;
    for (key, code, reason, why) in [
        ("plain", 422, "Invalid", "failed expression: !has(object.data) || !('plain' in object.data)"),
        ("message", 422, "Invalid", "no way"),
        ("expression", 422, "Invalid", "not expression"),
        ("empty", 422, "Invalid", "instead"),
        ("lines", 422, "Invalid", "one line"),
        ("failing", 422, "Invalid", "fallback"),
        (
            "forbidden",
            403,
            "Forbidden",
            "failed expression: !has(object.data) || !('forbidden' in object.data)",
        ),
        (
            "large",
            413,
            "RequestEntityTooLarge",
            "failed expression: !has(object.data) || !('large' in object.data)",
        ),
    ] {
        let message = policy.denied(key, why);
        let status = policies.post(key, &json!({key: "x"})).await?.refused(code, reason, &message)?;
        let cause = message.split_once(": ").map_or("", |(_, cause)| cause);
        let details = json!({"name": key, "kind": "configmaps", "causes": [{"message": cause}]});
        assert_eq!(status["details"], details);
    }
    policies.post("fine", &json!({"a": "b"})).await?.code(201)?;
    policies.remove(policy).await
}

async fn actions(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    let spec = json!({"validations": [{"expression": "object.data.a == 'b'", "message": "not b"}]});
    let policy = policies.install("warns", &spec, &json!({"validationActions": ["Warn", "Audit"]})).await?;
    let reply = policies.post("one", &json!({"a": "c"})).await?;
    let name = &policy.name;
    let warning =
        format!("Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{name}': not b");
    assert_eq!(reply.warnings(), [warning]);
    reply.code(201)?;
    policies.remove(policy).await
}

async fn variables_and_parameters(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    policies.post("limits", &json!({"max": "2"})).await?.code(201)?;
    let policy = policies
        .install(
            "variables",
            &json!({
                "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
                "variables": [
                    {"name": "most", "expression": "int(params.data.max)"},
                    {"name": "count", "expression": "has(object.data) ? size(object.data) : 0"},
                ],
                "validations": [{
                    "expression": "variables.count <= variables.most && params.kind == 'ConfigMap'",
                    "messageExpression": "string(variables.count) + ' of ' + params.data.max",
                }],
            }),
            &json!({"paramRef": {"name": "limits", "namespace": policies.namespace, "parameterNotFoundAction": "Deny"}}),
        )
        .await?;
    policies.post("two", &json!({"a": "1", "b": "2"})).await?.code(201)?;
    let three = policies.post("three", &json!({"a": "1", "b": "2", "c": "3"})).await?;
    three.refused(422, "Invalid", &policy.denied("three", "3 of 2"))?;
    policies.remove(policy).await
}

async fn parameters_that_are_missing(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "false"}],
    });
    let reference = |action: &str| json!({"paramRef": {"name": "none", "parameterNotFoundAction": action}});
    let allows = policies.install("allows", &spec, &reference("Allow")).await?;
    policies.post("one", &json!({})).await?.code(201)?;
    policies.remove(allows).await?;
    let denies = policies.install("denies", &spec, &reference("Deny")).await?;
    let why =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    policies.post("two", &json!({})).await?.refused(422, "Invalid", &denies.denied("two", why))?;
    policies.remove(denies).await?;
    // A binding may leave them out.
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "params != null", "message": "no parameters"}],
    });
    let without = policies.install("without", &spec, &json!({})).await?;
    policies.post("three", &json!({})).await?.refused(
        422,
        "Invalid",
        &without.denied("three", "no parameters"),
    )?;
    policies.remove(without).await
}

/// A policy is evaluated once with each parameter that is selected.
async fn selected_parameters(cluster: Cluster) -> Result<()> {
    let (policies, widgets) = (Policies::new(&cluster), widgets(&cluster).await?);
    for (name, forbidden) in [("p1", "x"), ("p2", "y")] {
        let mut param = widgets.draft(name, &json!({"size": forbidden}));
        param["metadata"]["labels"] = json!({"param": "yes"});
        widgets.http.post(&widgets.path, &param).await?.code(201)?;
    }
    // kube-apiserver looks for selected parameters in a cache only. That of a built-in kind stops for good when no policy has that
    // kind any more, as other tests may bring about.
    let policy = policies
        .install(
            "selected",
            &json!({
                "paramKind": {"apiVersion": format!("{GROUP}/v1"), "kind": "Widget"},
                "validations": [{
                    "expression": "!has(object.data) || !(params.spec.size in object.data)",
                    "messageExpression": "'not ' + params.spec.size",
                }],
            }),
            &json!({"paramRef": {"selector": {"matchLabels": {"param": "yes"}}, "parameterNotFoundAction": "Deny"}}),
        )
        .await?;
    for key in ["x", "y"] {
        let message = policy.denied(key, &format!("not {key}"));
        // That cache may be behind.
        eventually(PATIENCE, || async {
            policies.post(key, &json!({key: "1"})).await?.refused(422, "Invalid", &message)
        })
        .await?;
    }
    policies.post("z", &json!({"z": "1"})).await?.code(201)?;
    policies.remove(policy).await
}

async fn an_unknown_kind_of_parameters(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    let spec = json!({
        "paramKind": {"apiVersion": "nobody.example.com/v1", "kind": "Thing"},
        "validations": [{"expression": "true"}],
    });
    let reference = json!({"paramRef": {"name": "none", "parameterNotFoundAction": "Allow"}});
    let policy = policies.install("unknown", &spec, &reference).await?;
    let message = format!(
        "configmaps \"one\" is forbidden: ValidatingAdmissionPolicy '{}' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'nobody.example.com/v1, Kind=Thing'",
        policy.name
    );
    policies.post("one", &json!({})).await?.refused(422, "Invalid", &message)?;
    policies.remove(policy).await
}

async fn match_conditions(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    let condition = |expression: &str| json!([{"name": "c", "expression": expression}]);
    let spec = |conditions: &Value| json!({"matchConditions": conditions, "validations": [{"expression": "false", "message": "never"}]});
    let policy = policies
        .install("some", &spec(&condition("object.metadata.name.startsWith('no-')")), &json!({}))
        .await?;
    policies.post("yes-one", &json!({})).await?.code(201)?;
    policies.post("no-one", &json!({})).await?.refused(422, "Invalid", &policy.denied("no-one", "never"))?;
    policies.remove(policy).await?;
    // Conditions have no namespace.
    let policy =
        policies.install("namespace", &spec(&condition("namespaceObject == null")), &json!({})).await?;
    policies.post("one", &json!({})).await?.refused(422, "Invalid", &policy.denied("one", "never"))?;
    policies.remove(policy).await?;
    let policy = policies.install("error", &spec(&condition("object.nope == 1")), &json!({})).await?;
    let why = "expression 'object.nope == 1' resulted in error: no such key: nope";
    policies.post("two", &json!({})).await?.refused(422, "Invalid", &policy.denied("two", why))?;
    policies.remove(policy).await
}

async fn failures(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    let validations = json!([{"expression": "object.nope == 1"}, {"expression": "object.metadata.name != 'b'", "message": "not b"}]);
    let policy = policies.install("fails", &json!({"validations": validations}), &json!({})).await?;
    let why = "expression 'object.nope == 1' resulted in error: no such key: nope";
    policies.post("a", &json!({})).await?.refused(422, "Invalid", &policy.denied("a", why))?;
    policies.remove(policy).await?;
    // What has no value is ignored, and what is false is not.
    let spec = json!({"failurePolicy": "Ignore", "validations": validations});
    let policy = policies.install("ignores", &spec, &json!({})).await?;
    policies.post("a", &json!({})).await?.code(201)?;
    policies.post("b", &json!({})).await?.refused(422, "Invalid", &policy.denied("b", "not b"))?;
    policies.remove(policy).await?;
    // A variable is an error where it is used.
    let spec = json!({
        "variables": [{"name": "bad", "expression": "object.nope"}],
        "validations": [{"expression": "variables.bad == 1"}],
    });
    let policy = policies.install("variable", &spec, &json!({})).await?;
    let why = "expression 'variables.bad == 1' resulted in error: composited variable \"bad\" fails to evaluate: no such key: nope";
    policies.post("c", &json!({})).await?.refused(422, "Invalid", &policy.denied("c", why))?;
    policies.remove(policy).await
}

async fn constraints(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    let mut named = rule(&["CREATE"], "", "configmaps");
    named["resourceNames"] = json!(["named"]);
    let never = json!([{"expression": "false", "message": "never"}]);
    let spec = json!({"matchConstraints": {"resourceRules": [named]}, "validations": never});
    let policy = policies.install("names", &spec, &json!({})).await?;
    policies.post("other", &json!({})).await?.code(201)?;
    policies.post("named", &json!({})).await?.refused(422, "Invalid", &policy.denied("named", "never"))?;
    policies.remove(policy).await?;

    let mut excluded = rule(&["*"], "", "configmaps");
    excluded["resourceNames"] = json!(["excluded"]);
    let rules = json!([rule(&["*"], "", "*")]);
    let constraints = json!({"resourceRules": rules, "excludeResourceRules": [excluded]});
    let spec = json!({"matchConstraints": constraints, "validations": never});
    let policy = policies.install("excludes", &spec, &json!({})).await?;
    policies.post("excluded", &json!({})).await?.code(201)?;
    policies.post("included", &json!({})).await?.refused(
        422,
        "Invalid",
        &policy.denied("included", "never"),
    )?;
    policies.remove(policy).await?;

    let selector = json!({"matchLabels": {"strict": "yes"}});
    let constraints =
        json!({"resourceRules": [rule(&["CREATE"], "", "configmaps")], "objectSelector": selector});
    let spec = json!({"matchConstraints": constraints, "validations": never});
    let policy = policies.install("labels", &spec, &json!({})).await?;
    policies.post("free", &json!({})).await?.code(201)?;
    let mut strict = Policies::map("strict", &json!({}));
    strict["metadata"]["labels"] = json!({"strict": "yes"});
    let reply = policies.http.post(&policies.maps(), &strict).await?;
    reply.refused(422, "Invalid", &policy.denied("strict", "never"))?;
    policies.remove(policy).await
}

async fn updates_and_deletions(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    policies.post("one", &json!({"a": "1"})).await?.code(201)?;
    let spec = json!({
        "matchConstraints": {"resourceRules": [rule(&["UPDATE", "DELETE"], "", "configmaps")]},
        "validations": [
            {"expression": "request.operation == 'DELETE' || object.data.a >= oldObject.data.a", "message": "less"},
            {"expression": "request.operation != 'DELETE' || (object == null && oldObject.data.a == '3')", "message": "too early"},
        ],
    });
    let policy = policies.install("changes", &spec, &json!({})).await?;
    let path = format!("{}/one", policies.maps());
    let patch = async |a: &str| policies.http.patch(&path, MERGE_PATCH, &json!({"data": {"a": a}})).await;
    patch("2").await?.code(200)?;
    patch("1").await?.refused(422, "Invalid", &policy.denied("one", "less"))?;
    policies.http.delete(&path).await?.refused(422, "Invalid", &policy.denied("one", "too early"))?;
    patch("3").await?.code(200)?;
    policies.http.delete(&path).await?.code(200)?;
    policies.remove(policy).await
}

async fn custom_resources(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let policies = Policies::new(&cluster);
    let rules =
        json!([rule(&["CREATE", "UPDATE"], GROUP, "widgets"), rule(&["UPDATE"], GROUP, "widgets/status")]);
    let spec = json!({
        "matchConstraints": {"resourceRules": rules},
        "validations": [
            {"expression": "object.spec.size != 'large'", "message": "too large"},
            {"expression": "!has(request.subResource) || object.status.phase != 'Bad'", "message": "bad"},
        ],
    });
    let policy = policies.install("widgets", &spec, &json!({})).await?;
    let denied = |why: &str| policy.denied("one", why).replace("configmaps", &format!("widgets.{GROUP}"));
    widgets.create("one").await?;
    let large = widgets.merge("one", &json!({"spec": {"size": "large"}})).await?;
    large.refused(422, "Invalid", &denied("too large"))?;
    let status = json!({"status": {"phase": "Bad"}});
    let bad = widgets.http.patch(&widgets.at("one/status"), MERGE_PATCH, &status).await?;
    bad.refused(422, "Invalid", &denied("bad"))?;
    policies.remove(policy).await
}

async fn the_user_and_the_namespace(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    let namespace = &policies.namespace;
    let validations = json!([
        {"expression": format!("namespaceObject.metadata.name == '{namespace}'"), "message": "namespace"},
        {"expression": "namespaceObject.status.phase == 'Active'", "message": "phase"},
        {"expression": "'system:authenticated' in request.userInfo.groups", "message": "groups"},
        {"expression": "authorizer.group('').resource('configmaps').namespace(request.namespace).check('create').allowed()", "message": "authorizer"},
        {"expression": "authorizer.requestResource.check('frobnicate').allowed()", "message": "resource"},
        {"expression": "!authorizer.serviceAccount('default', 'nobody').group('').resource('pods').check('list').allowed()", "message": "account"},
    ]);
    let policy = policies.install("all", &json!({"validations": validations}), &json!({})).await?;
    policies.post("one", &json!({})).await?.code(201)?;
    policies.remove(policy).await
}

/// The first policy that denies is named.
async fn several_policies(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    let spec = |name: &str| json!({"validations": [{"expression": format!("object.metadata.name != '{name}'"), "message": name}]});
    let first = policies.install("first", &spec("a"), &json!({})).await?;
    let second = policies.install("second", &spec("b"), &json!({})).await?;
    policies.post("a", &json!({})).await?.refused(422, "Invalid", &first.denied("a", "a"))?;
    policies.post("b", &json!({})).await?.refused(422, "Invalid", &second.denied("b", "b"))?;
    policies.post("c", &json!({})).await?.code(201)?;
    policies.remove(first).await?;
    policies.remove(second).await
}

/// The status says which expressions do not fit the types that the rules name.
async fn types_are_checked(cluster: Cluster) -> Result<()> {
    let (http, name) = (cluster.admin(), cluster.unique());
    widgets(&cluster).await?;
    let rule = |group: &str, resources: &[&str]| json!({"operations": ["*"], "apiGroups": [group], "apiVersions": ["v1"], "resources": resources});
    let policy = |expressions: &[&str]| {
        let validations: Vec<_> = expressions.iter().map(|text| json!({"expression": text})).collect();
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
                "matchConstraints": {"resourceRules": [
                    rule("apps", &["deployments", "deployments/scale", "nothing"]),
                    rule(GROUP, &["widgets"]),
                    rule("*", &["pods"]),
                ]},
                "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
                "validations": validations,
            },
        })
    };
    let path = format!("{API}/validatingadmissionpolicies");
    let expressions = [
        "object.metadata.name == 'x' && object.spec == oldObject.spec",
        "object.spec.size == 'large'",
        "variables.replicas == 'x'",
        "params.data.x == 1",
        "object.metadata.labels.x == 1",
        "authorizer.requestResource.check('get').allowed()",
    ];
    http.post(&path, &policy(&expressions)).await?.code(201)?;
    let path = format!("{path}/{name}");
    // What the controller finds in the policy after a change.
    let checked = async |change: &Value| {
        let changed = http.patch(&path, MERGE_PATCH, change).await?.code(200)?;
        let generation = &changed["metadata"]["generation"];
        eventually(PATIENCE, || async {
            let mut policy = http.get(&path).await?.code(200)?;
            ensure!(policy["status"]["observedGeneration"] == *generation, "not yet: {policy}");
            Ok(policy["status"]["typeChecking"]["expressionWarnings"].take())
        })
        .await
    };
    let deployment = "apps/v1, Kind=Deployment";
    let widget = format!("{GROUP}/v1, Kind=Widget");
    let warning = |index: usize, problems: &[(&str, usize, &str)]| {
        let text = expressions[index];
        let lines: Vec<_> = problems
            .iter()
            .map(|(kind, column, why)| {
                let dots = ".".repeat(column - 1);
                format!("{kind}: ERROR: <input>:1:{column}: {why}\n | {text}\n | {dots}^\n")
            })
            .collect();
        json!({"fieldRef": format!("spec.validations[{index}].expression"), "warning": lines.join("\n")})
    };
    let mismatch = |types: &str| format!("found no matching overload for '_==_' applied to '({types})'");
    let (int, string) = (mismatch("int, string"), mismatch("string, int"));
    let unresolved = "unexpected failed resolution of 'kubernetes.authorization.Authorizer'";
    let expected = json!([
        warning(1, &[(deployment, 12, "undefined field 'size'")]),
        warning(2, &[(deployment, 20, &int), (&widget, 20, &int)]),
        warning(3, &[(deployment, 15, &string), (&widget, 15, &string)]),
        warning(4, &[(deployment, 26, &string), (&widget, 26, &string)]),
        warning(5, &[(deployment, 11, unresolved), (&widget, 11, unresolved)]),
    ]);
    // kube-controller-manager may not know the type of widgets yet. It looks for new ones twice a minute.
    let found = eventually(Duration::from_secs(90), || async {
        let mut validations = policy(&expressions)["spec"]["validations"].take();
        validations[0]["message"] = fastrand::u32(..).to_string().into();
        let found = checked(&json!({"spec": {"validations": validations}})).await?;
        ensure!(found.to_string().contains(&widget), "not yet: {found}");
        Ok(found)
    })
    .await?;
    assert_eq!(found, expected);
    let validations = policy(&["object.spec.replicas > 1"])["spec"]["validations"].take();
    assert_eq!(checked(&json!({"spec": {"validations": validations}})).await?, Value::Null);
    http.delete(&path).await?.code(200)?;
    Ok(())
}

async fn connections(cluster: Cluster) -> Result<()> {
    let policies = Policies::new(&cluster);
    let rules = json!([rule(&["CREATE"], "", "configmaps"), rule(&["CONNECT"], "", "pods/exec")]);
    let spec = json!({
        "matchConstraints": {"resourceRules": rules},
        "validations": [{
            "expression": "request.operation != 'CONNECT' || object.?command.orValue([]).all(it, it != 'rm')",
            "messageExpression": "request.subResource + ' of ' + string(size(object.command)) + ' in ' + request.name",
        }],
    });
    let policy = policies.install("connect", &spec, &json!({})).await?;
    let exec = format!("/api/v1/namespaces/{}/pods/none/exec", policies.namespace);
    let missing = "pods \"none\" not found";
    policies.http.get(&format!("{exec}?command=ls")).await?.refused(404, "NotFound", missing)?;
    // Without a command, it is null.
    let why = "expression 'request.operation != 'CONNECT' || object.?command.orValue([]).all(it, it != 'rm')' resulted in error: \
               got 'types.Null', expected iterable type";
    policies.http.get(&exec).await?.refused(
        422,
        "Invalid",
        &policy.denied("none", why).replace("configmaps", "pods"),
    )?;
    let denied = policy.denied("none", "exec of 2 in none").replace("configmaps", "pods");
    policies.http.get(&format!("{exec}?command=rm&command=-r")).await?.refused(422, "Invalid", &denied)?;
    policies.remove(policy).await
}
