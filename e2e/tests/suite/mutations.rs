//! MutatingAdmissionPolicies: which requests they see, what they change, what happens if they cannot, and in which order.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{APPLY_PATCH, MERGE_PATCH, Reply},
    webhook::{Answer, NAMES, Webhook},
};
use serde_json::{Value, json};

use crate::policies::{Installed, Policies, apply, merge, rule};
use crate::widgets::{GROUP, widgets};

e2e::on_each_cluster! {
    apply_configurations, json_patches, one_after_the_other, failures, ignored_failures, parameters, match_conditions,
    reinvocation, webhooks [Callbacks], updates_and_deletions, subresources, custom_resources, webhook_configurations
}

const PATIENCE: Duration = Duration::from_secs(30);

/// The policies of a test. Each sees only ConfigMaps with a label that has its name.
struct Mutations(Policies);

impl Mutations {
    fn new(cluster: &Cluster) -> Mutations {
        Mutations(Policies::of_kind(cluster, "MutatingAdmissionPolicy"))
    }

    /// Creates policies by their names, with what differs from the others, and waits until they have an effect.
    async fn install(&self, policies: &[(&str, Value, Value)]) -> Result<Vec<Installed>> {
        let mut installed = Vec::new();
        for (name, spec, binding) in policies {
            let case = name.split('.').next().unwrap_or_default();
            let mut policy = json!({
                "matchConstraints": {
                    "resourceRules": [rule(&["CREATE", "UPDATE"], "", "configmaps")],
                    "objectSelector": {"matchLabels": {"case": case}},
                },
                "reinvocationPolicy": "Never",
            });
            merge(&mut policy, spec);
            policy["matchConstraints"]["namespaceSelector"] = self.0.own();
            installed.push(self.0.create(name, &policy, binding).await?);
        }
        self.0.settle("mutations").await?;
        Ok(installed)
    }

    /// Creates a ConfigMap that the policy of a name sees.
    async fn post(&self, case: &str, data: &Value) -> Result<Reply> {
        self.0.http.post(&format!("{}?dryRun=All", self.0.maps()), &map(case, data)).await
    }

    /// The data of a ConfigMap that a policy has seen.
    async fn data(&self, case: &str, data: &Value) -> Result<Value> {
        Ok(self.post(case, data).await?.code(201)?["data"].clone())
    }

    /// What policies with one mutation each make of a ConfigMap: data or the error.
    async fn table(&self, cases: &[(&str, Value, Result<Value, &str>)]) -> Result<()> {
        let all: Vec<_> = cases
            .iter()
            .map(|(name, mutation, _)| (*name, json!({"mutations": [mutation]}), json!({})))
            .collect();
        let installed = self.install(&all).await?;
        for (policy, (case, _, expected)) in installed.iter().zip(cases) {
            let reply = self.post(case, &json!({"a": "b"})).await?;
            match expected {
                Ok(data) => assert_eq!(reply.code(201)?["data"], *data, "{case}"),
                Err(why) => drop(reply.refused(403, "Invalid", &denied(policy, why))?),
            }
        }
        self.remove(installed).await
    }

    async fn remove(&self, installed: Vec<Installed>) -> Result<()> {
        for policy in installed {
            policy.delete().await?;
        }
        Ok(())
    }
}

fn map(case: &str, data: &Value) -> Value {
    let mut map = Policies::map(case, data);
    map["metadata"]["labels"] = json!({"case": case});
    map
}

/// The message of a denial.
fn denied(policy: &Installed, why: &str) -> String {
    format!("policy '{0}' with binding '{0}' denied request: {why}", policy.name)
}

fn patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

/// Appends a letter to an entry of a ConfigMap.
fn append(key: &str) -> Value {
    patch(&format!(
        "[JSONPatch{{op: 'add', path: '/data/{key}', value: ('{key}' in object.data ? object.data.{key} : '') + 'x'}}]"
    ))
}

async fn apply_configurations(cluster: Cluster) -> Result<()> {
    let owners = "[Object.metadata.ownerReferences{uid: 'u', name: 'n', kind: 'K', apiVersion: 'v1'}]";
    Mutations::new(&cluster)
        .table(&[
            (
                "object",
                apply("Object{data: Object.data{x: object.data.a + request.operation}}"),
                Ok(json!({"a": "b", "x": "bCREATE"})),
            ),
            ("map", apply("Object{data: {'x.y': 'z'}}"), Ok(json!({"a": "b", "x.y": "z"}))),
            ("optional", apply("Object{?data: optional.none()}"), Ok(json!({"a": "b"}))),
            ("type", apply("Object{apiVersion: 'v2', kind: 'Nothing'}"), Ok(json!({"a": "b"}))),
            (
                "unknown",
                apply("Object{nope: 'a'}"),
                Err(
                    "error applying patch: failed to convert patch object to typed object: .nope: field not declared in schema",
                ),
            ),
            (
                "wrong",
                apply("Object{data: Object.data{x: 1}}"),
                Err(
                    "error applying patch: failed to convert patch object to typed object: .data.x: expected string, got &value.valueUnstructured{Value:1}",
                ),
            ),
            (
                "atomic",
                apply(&format!("Object{{metadata: Object.metadata{{ownerReferences: {owners}}}}}")),
                Err(
                    "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .metadata.ownerReferences[0]",
                ),
            ),
            (
                "names",
                apply("Object{data: Object.other{x: 'y'}}"),
                Err(
                    "type mismatch: unexpected type name \"Object.other\", expected \"Object.data\", which matches field name path from root Object type",
                ),
            ),
            (
                "error",
                apply("Object{data: Object.data{x: object.nope}}"),
                Err(
                    "expression 'Object{data: Object.data{x: object.nope}}' resulted in error: no such key: nope",
                ),
            ),
        ])
        .await
}

async fn json_patches(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let test = |path: &str, value: &str| {
        patch(&format!(
            "[JSONPatch{{op: 'test', path: '{path}', value: {value}}}, JSONPatch{{op: 'add', path: '/data/x', value: 'y'}}]"
        ))
    };
    mutations
        .table(&[
            (
                "add",
                patch("[JSONPatch{op: 'add', path: '/data/x', value: jsonpatch.escapeKey('y/z')}]"),
                Ok(json!({"a": "b", "x": "y~1z"})),
            ),
            ("move", patch("[JSONPatch{op: 'move', from: '/data/a', path: '/data/z'}]"), Ok(json!({"z": "b"}))),
            (
                "object",
                patch("[JSONPatch{op: 'replace', path: '/data', value: Object.data{c: 'd'}}]"),
                Ok(json!({"c": "d"})),
            ),
            ("test", test("/data/a", "'b'"), Ok(json!({"a": "b", "x": "y"}))),
            // A test that fails is no error.
            ("fails", test("/data/a", "'c'"), Ok(json!({"a": "b"}))),
            (
                "missing",
                test("/nope/a", "'c'"),
                Err("JSON Patch: test operation does not apply: is missing path: /nope/a: missing value"),
            ),
            (
                "remove",
                patch("[JSONPatch{op: 'remove', path: '/data/zz'}]"),
                Err(
                    "JSON Patch: error in remove for path: '/data/zz': Unable to remove nonexistent key: zz: missing value",
                ),
            ),
            (
                "operation",
                patch("[JSONPatch{op: 'frob', path: '/data/x'}]"),
                Err("JSON Patch: Unexpected kind: frob"),
            ),
        ])
        .await?;
    // What is no ConfigMap any more is an error whatever the failurePolicy is.
    let spec = |expression: &str| json!({"failurePolicy": "Ignore", "mutations": [patch(expression)]});
    let installed = mutations
        .install(&[
            (
                "field",
                spec(
                    "[JSONPatch{op: 'add', path: '/more', value: 1}, JSONPatch{op: 'add', path: '/less', value: 1}]",
                ),
                json!({}),
            ),
            ("type", spec("[JSONPatch{op: 'add', path: '/data/x', value: 1}]"), json!({})),
        ])
        .await?;
    for (case, why) in [
        ("field", "strict decoding error: unknown field \"less\", unknown field \"more\""),
        ("type", "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"),
    ] {
        let message = format!("Internal error occurred: {why}");
        mutations.post(case, &json!({"a": "b"})).await?.refused(500, "InternalError", &message)?;
    }
    mutations.remove(installed).await
}

/// Each mutation sees what the former ones have made, also by variables.
async fn one_after_the_other(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let spec = json!({
        "variables": [{"name": "count", "expression": "string(size(object.data))"}],
        "mutations": [
            apply("Object{data: Object.data{x: variables.count}}"),
            patch("[JSONPatch{op: 'copy', from: '/data/x', path: '/data/y'}]"),
            apply("Object{data: Object.data{z: variables.count + object.data.y}}"),
        ],
    });
    let installed = mutations.install(&[("order", spec, json!({}))]).await?;
    let data = mutations.data("order", &json!({"a": "b"})).await?;
    assert_eq!(data, json!({"a": "b", "x": "1", "y": "1", "z": "31"}));
    mutations.remove(installed).await
}

async fn failures(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let fails = |field: &str| apply(&format!("Object{{data: Object.data{{x: object.{field}}}}}"));
    let works = apply("Object{data: Object.data{y: 'z'}}");
    let spec = json!({"mutations": [fails("no"), works, fails("none")]});
    let installed = mutations.install(&[("fails", spec, json!({}))]).await?;
    let message = |field: &str| {
        let expression = format!("Object{{data: Object.data{{x: object.{field}}}}}");
        denied(&installed[0], &format!("expression '{expression}' resulted in error: no such key: {field}"))
    };
    let causes = json!([{"message": message("no")}, {"message": message("none")}]);
    for (metadata, name) in [
        (json!({"name": "fails"}), "fails"),
        (json!({"generateName": "gen-"}), "gen-"),
        (json!({}), "Unknown"),
    ] {
        let mut map = map("fails", &json!({}));
        map["metadata"] = metadata;
        map["metadata"]["labels"] = json!({"case": "fails"});
        let reply = mutations.0.http.post(&mutations.0.maps(), &map).await?;
        let status = reply.refused(403, "Invalid", &message("no"))?;
        assert_eq!(status["details"], json!({"name": name, "kind": "configmaps", "causes": causes}));
    }
    mutations.remove(installed).await
}

/// What can be changed is changed.
async fn ignored_failures(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let fails = apply("Object{data: Object.data{x: object.nope}}");
    let works = apply("Object{data: Object.data{y: 'z'}}");
    let spec = json!({"failurePolicy": "Ignore", "mutations": [fails, works]});
    let installed = mutations.install(&[("ignores", spec, json!({}))]).await?;
    assert_eq!(mutations.data("ignores", &json!({"a": "b"})).await?, json!({"a": "b", "y": "z"}));
    mutations.remove(installed).await
}

async fn parameters(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let widgets = widgets(&cluster).await?;
    for name in ["p1", "p2"] {
        widgets.create_labelled(name, &json!({"param": "yes"})).await?;
    }
    let param = Policies::map("p1", &json!({"key": "p1"}));
    mutations.0.http.post(&mutations.0.maps(), &param).await?.code(201)?;
    let adds = patch("[JSONPatch{op: 'add', path: '/data/' + params.data.key, value: 'yes'}]");
    let adds_size =
        patch("[JSONPatch{op: 'add', path: '/data/' + params.metadata.name, value: params.spec.size}]");
    let group = format!("{GROUP}/v1");
    let of_kind = |api_version: &str, kind: &str, mutation: &Value| json!({"paramKind": {"apiVersion": api_version, "kind": kind}, "mutations": [mutation]});
    let by =
        |name: &str, action: &str| json!({"paramRef": {"name": name, "parameterNotFoundAction": action}});
    let selector = json!({"matchLabels": {"param": "yes"}});
    let selected = json!({"paramRef": {"selector": selector, "parameterNotFoundAction": "Deny"}});
    let unbound = apply("Object{data: Object.data{none: string(params == null)}}");
    let installed = mutations
        .install(&[
            ("named", of_kind("v1", "ConfigMap", &adds), by("p1", "Deny")),
            ("selected", of_kind(&group, "Widget", &adds_size), selected),
            ("allowed", of_kind("v1", "ConfigMap", &adds), by("nope", "Allow")),
            ("denied", of_kind("v1", "ConfigMap", &adds), by("nope", "Deny")),
            ("unbound", of_kind("v1", "ConfigMap", &unbound), json!({})),
            ("unknown", of_kind("nobody.example.com/v1", "Thing", &adds), by("nope", "Allow")),
        ])
        .await?;
    let given = json!({"a": "b"});
    // kube-apiserver fills its cache of parameters only now, and looks for selected ones nowhere else.
    eventually(PATIENCE, || async {
        let data = mutations.data("named", &given).await?;
        ensure!(data == json!({"a": "b", "p1": "yes"}), "{data}");
        Ok(())
    })
    .await?;
    eventually(PATIENCE, || async {
        let data = mutations.data("selected", &given).await?;
        ensure!(data == json!({"a": "b", "p1": "small", "p2": "small"}), "{data}");
        Ok(())
    })
    .await?;
    assert_eq!(mutations.data("allowed", &given).await?, given);
    assert_eq!(mutations.data("unbound", &given).await?, json!({"a": "b", "none": "true"}));
    let why =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    let reply = mutations.post("denied", &given).await?;
    reply.refused(403, "Forbidden", &denied(&installed[3], why))?;
    let message = format!(
        "policy \"{}\" denied request: failed to configure policy: failed to find resource referenced by paramKind: 'nobody.example.com/v1, Kind=Thing'",
        installed[5].name
    );
    mutations.post("unknown", &given).await?.refused(403, "Forbidden", &message)?;
    mutations.remove(installed).await
}

async fn match_conditions(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let spec = |expression: &str| {
        json!({
            "matchConditions": [{"name": "c", "expression": expression}],
            "mutations": [apply("Object{data: Object.data{home: namespaceObject.metadata.name}}")],
        })
    };
    let installed = mutations
        .install(&[
            ("true", spec("request.name == 'true'"), json!({})),
            ("false", spec("request.name == 'true'"), json!({})),
            // Conditions have no namespace.
            ("namespace", spec("namespaceObject == null"), json!({})),
            ("error", spec("object.nope == 1"), json!({})),
        ])
        .await?;
    let given = json!({"a": "b"});
    let changed = json!({"a": "b", "home": cluster.namespace()});
    for (case, data) in [("true", &changed), ("false", &given), ("namespace", &changed)] {
        assert_eq!(mutations.data(case, &given).await?, *data, "{case}");
    }
    let why = "expression 'object.nope == 1' resulted in error: no such key: nope";
    mutations.post("error", &given).await?.refused(403, "Invalid", &denied(&installed[3], why))?;
    mutations.remove(installed).await
}

/// If a policy changes an object, those that want it are invoked once more, also that one.
async fn reinvocation(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let spec =
        |policy: &str, mutation: &Value| json!({"reinvocationPolicy": policy, "mutations": [mutation]});
    let never_true = json!({
        "reinvocationPolicy": "IfNeeded", "mutations": [append("c")],
        "matchConditions": [{"name": "c", "expression": "false"}],
    });
    let once = json!({
        "reinvocationPolicy": "IfNeeded",
        "mutations": [append("a"), patch("[JSONPatch{op: 'remove', path: '/data/once'}]")],
        "matchConditions": [{"name": "c", "expression": "'once' in object.data"}],
    });
    let installed = mutations
        .install(&[
            ("alone", spec("IfNeeded", &append("a")), json!({})),
            ("both.a", spec("IfNeeded", &append("a")), json!({})),
            ("both.b", spec("Never", &append("b")), json!({})),
            ("both.c", never_true, json!({})),
            ("never.a", spec("Never", &append("a")), json!({})),
            ("never.b", spec("Never", &append("b")), json!({})),
            // Conditions are asked again.
            ("once.a", once, json!({})),
            ("once.b", spec("IfNeeded", &append("b")), json!({})),
        ])
        .await?;
    for (case, expected) in [
        ("alone", json!({"once": "1", "a": "xx"})),
        ("both", json!({"once": "1", "a": "xx", "b": "x"})),
        ("never", json!({"once": "1", "a": "x", "b": "x"})),
        ("once", json!({"a": "x", "b": "xx"})),
    ] {
        assert_eq!(mutations.data(case, &json!({"once": "1"})).await?, expected, "{case}");
    }
    mutations.remove(installed).await
}

/// Webhooks see what policies have made, and policies are invoked once more after webhooks.
async fn webhooks(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let hook = Webhook::start(NAMES, |call| {
        let data = &call.review["request"]["object"]["data"];
        let seen = data["a"].as_str().unwrap_or_default();
        let before = data["seen"].as_str().unwrap_or_default();
        Answer::patch(
            call,
            &json!([{"op": "add", "path": "/data/seen", "value": format!("{before}{seen},")}]),
        )
    })
    .await?;
    let name = cluster.unique();
    let webhook = |case: &str, policy: &str| {
        json!({
            "name": format!("{case}.mutations.test"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": hook.at("/"), "rules": [rule(&["CREATE"], "", "configmaps")], "reinvocationPolicy": policy,
            "objectSelector": {"matchLabels": {"case": case}},
            "namespaceSelector": mutations.0.own(),
        })
    };
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook("never", "Never"), webhook("needed", "IfNeeded"), webhook("condition", "IfNeeded")],
    });
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    mutations.0.http.post(path, &configuration).await?.code(201)?;
    let given = json!({"given": "1"});
    eventually(PATIENCE, || async {
        let data = mutations.data("never", &given).await?;
        ensure!(data["seen"] == ",", "not yet: {data}");
        Ok(())
    })
    .await?;
    let spec = |expression: &str| {
        json!({
            "reinvocationPolicy": "IfNeeded", "mutations": [append("a")],
            "matchConditions": [{"name": "c", "expression": expression}],
        })
    };
    let installed = mutations
        .install(&[
            ("never", spec("true"), json!({})),
            ("needed", spec("true"), json!({})),
            // What was not invoked before is not invoked after the webhooks.
            ("condition", spec("'seen' in object.data"), json!({})),
        ])
        .await?;
    for (case, expected) in [
        ("never", json!({"given": "1", "a": "xx", "seen": "x,"})),
        ("needed", json!({"given": "1", "a": "xx", "seen": "x,xx,"})),
        ("condition", json!({"given": "1", "seen": ","})),
    ] {
        assert_eq!(mutations.data(case, &given).await?, expected, "{case}");
    }
    mutations.0.http.delete(&format!("{path}/{name}")).await?.code(200)?;
    mutations.remove(installed).await
}

async fn updates_and_deletions(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let spec = json!({"mutations": [
        apply("Object{metadata: Object.metadata{annotations: Object.metadata.annotations{was: oldObject == null ? 'nothing' : oldObject.data.a}}}"),
    ]});
    let installed = mutations
        .install(&[(
            "all",
            {
                let mut all = spec.clone();
                let selector = json!({"matchLabels": {"case": "all"}});
                all["matchConstraints"] =
                    json!({"resourceRules": [rule(&["*"], "", "*")], "objectSelector": selector});
                all
            },
            json!({}),
        )])
        .await?;
    let http = &mutations.0.http;
    let was = |object: &Value| object["metadata"]["annotations"]["was"].clone();
    let created = http.post(&mutations.0.maps(), &map("all", &json!({"a": "b"}))).await?.code(201)?;
    assert_eq!(was(&created), "nothing");
    let path = format!("{}/all", mutations.0.maps());
    let data = json!({"data": {"a": "c"}});
    let dry = http.patch(&format!("{path}?dryRun=All"), MERGE_PATCH, &data).await?.code(200)?;
    assert_eq!(was(&dry), "b");
    assert_eq!(was(&http.get(&path).await?.code(200)?), "nothing");
    http.patch(&path, MERGE_PATCH, &data).await?.code(200)?;
    assert_eq!(was(&http.patch(&path, MERGE_PATCH, &json!({"data": {"a": "d"}})).await?.code(200)?), "c");
    // In a deletion there is nothing to change, and no policy is asked.
    http.delete(&path).await?.code(200)?;
    mutations.remove(installed).await
}

async fn subresources(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let http = &mutations.0.http;
    let deployments = format!("/apis/apps/v1/namespaces/{}/deployments", cluster.namespace());
    let deployment = |name: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        })
    };
    for name in ["one", "two"] {
        http.post(&deployments, &deployment(name)).await?.code(201)?;
    }
    let about = |subresource: &str, name: &str, mutation: Value| {
        let mut rule = rule(&["UPDATE"], "apps", &format!("deployments/{subresource}"));
        rule["resourceNames"] = json!([name]);
        json!({"matchConstraints": {"resourceRules": [rule]}, "mutations": [mutation]})
    };
    let installed = mutations
        .install(&[
            (
                "status",
                about(
                    "status",
                    "one",
                    apply("Object{spec: Object.spec{replicas: 9}, status: Object.status{replicas: 3}}"),
                ),
                json!({}),
            ),
            (
                "patch",
                about("scale", "one", patch("[JSONPatch{op: 'replace', path: '/spec/replicas', value: 4}]")),
                json!({}),
            ),
            ("apply", about("scale", "two", apply("Object{spec: Object.spec{replicas: 4}}")), json!({})),
        ])
        .await?;
    let status = json!({"status": {"observedGeneration": 1}});
    let one = http.patch(&format!("{deployments}/one/status"), MERGE_PATCH, &status).await?.code(200)?;
    assert_eq!((&one["status"]["replicas"], &one["spec"]["replicas"]), (&json!(3), &json!(1)));
    let replicas = json!({"spec": {"replicas": 2}});
    let scale = http.patch(&format!("{deployments}/one/scale"), MERGE_PATCH, &replicas).await?.code(200)?;
    assert_eq!(scale["spec"]["replicas"], 4);
    assert_eq!(http.get(&format!("{deployments}/one")).await?.code(200)?["spec"]["replicas"], 4);
    let why = "error applying patch: failed to convert patch object to typed object: no corresponding type for autoscaling/v1, Kind=Scale";
    let reply = http.patch(&format!("{deployments}/two/scale"), MERGE_PATCH, &replicas).await?;
    reply.refused(403, "Invalid", &denied(&installed[2], why))?;
    mutations.remove(installed).await
}

async fn custom_resources(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mutations = Mutations::new(&cluster);
    let about = |case: &str, resource: &str, mutation: Value| {
        let constraints = json!({
            "resourceRules": [rule(&["CREATE", "UPDATE"], GROUP, resource)],
            "objectSelector": {"matchLabels": {"case": case}},
        });
        json!({"matchConstraints": constraints, "mutations": [mutation]})
    };
    let mut scaled = rule(&["UPDATE"], GROUP, "widgets/scale");
    scaled["resourceNames"] = json!(["parts"]);
    let scale = patch("[JSONPatch{op: 'replace', path: '/spec/replicas', value: 4}]");
    let scale = json!({"matchConstraints": {"resourceRules": [scaled]}, "mutations": [scale]});
    let parts =
        apply("Object{spec: Object.spec{size: 'xl', parts: [Object.spec.parts{name: 'b', count: 2}]}}");
    let installed = mutations
        .install(&[
            ("parts", about("parts", "widgets", parts), json!({})),
            ("unknown", about("unknown", "widgets", apply("Object{spec: Object.spec{nope: 1}}")), json!({})),
            (
                "removed",
                about("removed", "widgets", patch("[JSONPatch{op: 'add', path: '/spec/nope', value: 1}]")),
                json!({}),
            ),
            (
                "invalid",
                about("invalid", "widgets", apply("Object{spec: Object.spec{size: 'XL'}}")),
                json!({}),
            ),
            (
                "status",
                about("parts", "widgets/status", apply("Object{status: Object.status{phase: 'Mutated'}}")),
                json!({}),
            ),
            ("scale", scale, json!({})),
        ])
        .await?;
    let draft = |case: &str| {
        let mut draft = widgets.draft(case, &json!({"size": "small", "parts": [{"name": "a"}]}));
        draft["metadata"]["labels"] = json!({"case": case});
        draft
    };
    let create = async |case: &str| widgets.http.post(&widgets.path, &draft(case)).await;
    // kube-apiserver looks for new schemas every five seconds.
    eventually(PATIENCE, || async {
        let tried = widgets.http.post(&format!("{}?dryRun=All", widgets.path), &draft("parts")).await?;
        ensure!(tried.code == 201, "not yet: {}", tried.body);
        Ok(())
    })
    .await?;
    // The fields that an apply has set are its own, with other values.
    let applied = format!("{}?fieldManager=me", widgets.at("parts"));
    let parts = widgets.http.patch(&applied, APPLY_PATCH, &draft("parts")).await?.code(201)?;
    let expected = json!({"size": "xl", "replicas": 1, "parts": [{"name": "a"}, {"name": "b", "count": 2}]});
    assert_eq!(parts["spec"], expected);
    let managers = parts["metadata"]["managedFields"].as_array().map_or(0, Vec::len);
    let owned = &parts["metadata"]["managedFields"][0];
    assert_eq!((managers, &owned["manager"], &owned["operation"]), (1, &json!("me"), &json!("Apply")));
    assert_eq!(owned["fieldsV1"]["f:spec"]["f:parts"].as_object().map_or(0, serde_json::Map::len), 1);
    let why = "error applying patch: failed to convert patch object to typed object: .spec.nope: field not declared in schema";
    create("unknown").await?.refused(403, "Invalid", &denied(&installed[1], why))?;
    assert_eq!(create("removed").await?.code(201)?["spec"].get("nope"), None);
    let message = format!(
        "Widget.{GROUP} \"invalid\" is invalid: spec.size: Invalid value: \"XL\": spec.size in body should match '^[a-z]+$'"
    );
    create("invalid").await?.refused(422, "Invalid", &message)?;
    let status = json!({"status": {"replicas": 2}});
    let status = widgets.http.patch(&widgets.at("parts/status"), MERGE_PATCH, &status).await?.code(200)?;
    assert_eq!(status["status"], json!({"replicas": 2, "phase": "Mutated"}));
    // kube-apiserver has no way to change a Scale of a custom resource.
    let replicas = json!({"spec": {"replicas": 3}});
    let scale = widgets.http.patch(&widgets.at("parts/scale"), MERGE_PATCH, &replicas).await?;
    let why = "request to convert CR to an invalid group/version: autoscaling/v1";
    scale.refused(403, "Invalid", &denied(&installed[5], why))?;
    mutations.remove(installed).await
}

/// Policies are not about policies, but about webhooks.
async fn webhook_configurations(cluster: Cluster) -> Result<()> {
    let mutations = Mutations::new(&cluster);
    let (http, name) = (&mutations.0.http, cluster.unique());
    let spec = json!({
        "matchConstraints": {
            "resourceRules": [rule(&["CREATE"], "admissionregistration.k8s.io", "*")],
            "objectSelector": {"matchLabels": {"about": name}},
        },
        "mutations": [apply("Object{metadata: Object.metadata{labels: Object.metadata.labels{mutated: 'yes'}}}")],
    });
    let installed = mutations.install(&[("configurations", spec, json!({}))]).await?;
    let mutated = async |kind: &str, spec: &Value| -> Result<Value> {
        let mut object = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": name, "labels": {"about": name}},
        });
        merge(&mut object, spec);
        let path = format!("/apis/admissionregistration.k8s.io/v1/{}s?dryRun=All", kind.to_lowercase());
        Ok(http.post(&path, &object).await?.code(201)?["metadata"]["labels"]["mutated"].clone())
    };
    assert_eq!(mutated("ValidatingWebhookConfiguration", &json!({})).await?, "yes");
    let bound = json!({"spec": {"policyName": "none"}});
    assert_eq!(mutated("MutatingAdmissionPolicyBinding", &bound).await?, Value::Null);
    mutations.remove(installed).await
}
