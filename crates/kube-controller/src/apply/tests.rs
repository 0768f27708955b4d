//! The judgement is compared with what a server does: after a real apply, and of another one.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube_embedded::Server;
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Runtime;

use super::*;

const OURS: &str = "ours";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());

/// The object `a` of one kind on a server of its own.
struct Fixture {
    server: Server,
    api: Api<DynamicObject>,
}

impl Fixture {
    fn new(desired: &Value) -> Self {
        let server = Server::start();
        let text = |field: &str| desired[field].as_str().unwrap();
        let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("kind")));
        let api = Api::default_namespaced_with(server.client(), &resource);
        Self { server, api }
    }

    /// Returns a Deployment whose owner is on the server: others are deleted.
    async fn deployment() -> (Self, Value) {
        let fixture = Self::new(&deployment());
        let secrets = Api::<Secret>::default_namespaced(fixture.server.client());
        let owner = serde_json::from_value(json!({"metadata": {"name": "o"}})).unwrap();
        let owner = secrets.create(&PostParams::default(), &owner).await.unwrap();
        let desired = with(&deployment(), "/metadata/ownerReferences/0/uid", json!(owner.metadata.uid));
        (fixture, desired)
    }

    async fn apply(&self, desired: &Value, manager: &str) -> Value {
        let params = PatchParams::apply(manager).force();
        let live = self.api.patch("a", &params, &Patch::Apply(desired)).await;
        serde_json::to_value(live.unwrap_or_else(|error| panic!("{error:?}: {desired}"))).unwrap()
    }

    async fn merge(&self, patch: &Value, manager: &str) -> Value {
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        serde_json::to_value(self.api.patch("a", &params, &Patch::Merge(patch)).await.unwrap()).unwrap()
    }
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "a",
            "labels": {"app": "a", "a.b/c": "d"},
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Secret", "name": "o", "uid": "u", "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": "web:1",
                            "args": ["-a", "-b"],
                            "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}],
                            "env": [{"name": "A", "value": "1"}, {"name": "B"}],
                            "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
                        },
                        {"name": "side", "image": "side:1", "resources": {}},
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                    "tolerations": [{"key": "a", "operator": "Exists"}],
                },
            },
        },
    })
}

fn config_map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

/// Returns `object` with a value at a JSON pointer.
fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut object = object.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        parent => parent[name.replace("~1", "/")] = value,
    }
    object
}

/// Returns `object` without the value at a JSON pointer.
fn without(object: &Value, pointer: &str) -> Value {
    let mut object = object.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        Value::Object(members) => drop(members.remove(&name.replace("~1", "/")).unwrap()),
        other => panic!("{other}"),
    }
    object
}

#[tokio::test]
async fn a_quantity_in_another_form_is_not_taken_from_others_again_and_again() {
    let (fixture, ours) = Fixture::deployment().await;
    let requests = "/spec/template/spec/containers/0/resources/requests";
    let theirs = with(&ours, requests, json!({"cpu": "1", "memory": "1Gi"}));
    fixture.apply(&ours, OURS).await;
    let live = fixture.apply(&theirs, "theirs").await;
    assert!(is_applied(&live, &ours, OURS) && is_applied(&live, &theirs, "theirs"));
}

#[tokio::test]
async fn what_was_applied_is_applied() {
    let (fixture, desired) = Fixture::deployment().await;
    let live = fixture.apply(&desired, OURS).await;
    // The server has filled in defaults and rewritten quantities.
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"], "1Gi");
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"], "TCP");
    assert!(is_applied(&live, &desired, OURS));
    // A namespace that the configuration only implied.
    assert!(is_applied(&live, &with(&desired, "/metadata/namespace", json!("default")), OURS));
    // A version that is still current.
    let version = live["metadata"]["resourceVersion"].clone();
    assert!(is_applied(&live, &with(&desired, "/metadata/resourceVersion", version), OURS));
    // Other fields of others are not ours.
    let live = fixture
        .merge(&json!({"metadata": {"labels": {"theirs": "x"}}, "spec": {"paused": true}}), "theirs")
        .await;
    assert!(is_applied(&live, &desired, OURS));
}

#[tokio::test]
async fn any_change_of_the_configuration_is_not_applied_yet() {
    let (fixture, desired) = Fixture::deployment().await;
    let live = fixture.apply(&desired, OURS).await;
    let container = "/spec/template/spec/containers/0";
    let at = |path: &str| format!("{container}{path}");
    let changes = [
        with(&desired, "/metadata/labels/app", json!("b")),
        with(&desired, "/metadata/labels/new", json!("")),
        with(&desired, "/metadata/annotations", json!({"a": "b"})),
        with(&desired, "/metadata/ownerReferences/0/uid", json!("other")),
        with(&desired, "/metadata/ownerReferences/0/controller", json!(false)),
        with(&desired, "/metadata/namespace", json!("elsewhere")),
        with(&desired, "/metadata/uid", json!("other")),
        with(&desired, "/metadata/resourceVersion", json!("1")),
        with(&desired, "/spec/replicas", json!(1)),
        with(&desired, "/spec/selector/matchLabels/more", json!("b")),
        with(&desired, &at("/image"), json!("web:2")),
        with(&desired, &at("/args"), json!(["-b", "-a"])),
        with(&desired, &at("/args"), json!([])),
        with(&desired, &at("/ports/0/containerPort"), json!(81)),
        // The default, but now as ours.
        with(&desired, &at("/ports/0/protocol"), json!("TCP")),
        with(&desired, &at("/env/1/value"), json!("2")),
        with(&desired, &at("/env"), json!([{"name": "B"}, {"name": "A", "value": "1"}])),
        with(&desired, &at("/env"), json!([{"name": "A", "value": "1"}, {"name": "A", "value": "1"}])),
        with(&desired, &at("/resources/requests/cpu"), json!("1001m")),
        with(&desired, &at("/resources/limits"), json!({"cpu": "2"})),
        with(&desired, &at("/resources"), json!("none")),
        with(&desired, "/spec/template/spec/volumes/0/emptyDir", json!({"medium": "Memory"})),
        with(&desired, "/spec/template/spec/tolerations/0/operator", json!("Equal")),
        with(&desired, "/spec/template/spec/restartPolicy", json!("Always")),
        with(&desired, "/apiVersion", json!("apps/v2")),
        with(&desired, "/kind", json!("StatefulSet")),
        without(&desired, "/metadata/labels/a.b~1c"),
        without(&desired, "/metadata/labels"),
        without(&desired, "/metadata/ownerReferences"),
        without(&desired, "/spec/replicas"),
        without(&desired, &at("/args")),
        without(&desired, &at("/ports/1")),
        without(&desired, &at("/env/0")),
        without(&desired, "/spec/template/spec/containers/1"),
        without(&desired, "/spec/template/spec/containers/1/resources"),
        without(&desired, "/spec/template/spec/volumes"),
        json!(null),
    ];
    for changed in changes {
        assert!(!is_applied(&live, &changed, OURS), "{changed:#}");
    }
}

#[tokio::test]
async fn what_another_changed_is_not_applied() {
    let changes = [
        json!({"spec": {"replicas": 3}}),
        json!({"metadata": {"labels": {"app": null}}}),
        json!({"metadata": {"ownerReferences": null}}),
        json!({"spec": {"template": {"spec": {"tolerations": null}}}}),
    ];
    for change in changes {
        let (fixture, desired) = Fixture::deployment().await;
        fixture.apply(&desired, OURS).await;
        let live = fixture.merge(&change, "theirs").await;
        assert!(!is_applied(&live, &desired, OURS), "{change}");
        let live = fixture.apply(&desired, OURS).await;
        assert!(is_applied(&live, &desired, OURS), "{change}");
    }
}

#[tokio::test]
async fn another_manager_that_takes_a_field_is_noticed_also_if_the_value_is_back() {
    let desired = config_map(&json!({"a": "1", "b": "1"}));
    let fixture = Fixture::new(&desired);
    fixture.apply(&desired, OURS).await;
    fixture.apply(&config_map(&json!({"a": "2"})), "theirs").await;
    let live = fixture.apply(&config_map(&json!({"a": "1"})), "theirs").await;
    assert_eq!(live["data"], desired["data"]);
    assert!(!is_applied(&live, &desired, OURS));
}

#[tokio::test]
async fn only_the_entry_of_the_managers_own_applies_counts() {
    let desired = config_map(&json!({"a": "1"}));
    let fixture = Fixture::new(&desired);
    let live = fixture.apply(&desired, "theirs").await;
    assert!(!is_applied(&live, &desired, OURS));
    let live = fixture.merge(&json!({"data": {"b": "2"}}), OURS).await;
    assert!(!is_applied(&live, &config_map(&json!({"b": "2"})), OURS), "an update is no apply");
    let live = fixture.apply(&desired, OURS).await;
    assert!(is_applied(&live, &desired, OURS));
    let entry = |field: &str, value: &str| {
        let mut live = live.clone();
        for entry in live["metadata"]["managedFields"].as_array_mut().unwrap() {
            entry[field] = value.into();
        }
        live
    };
    assert!(!is_applied(&entry("apiVersion", "v2"), &desired, OURS));
    assert!(!is_applied(&entry("subresource", "status"), &desired, OURS));
    assert!(!is_applied(&entry("fieldsType", "FieldsV2"), &desired, OURS));
}

#[tokio::test]
async fn without_managed_fields_nothing_is_known() {
    let desired = config_map(&json!({"a": "1"}));
    let live = Fixture::new(&desired).apply(&desired, OURS).await;
    assert!(!is_applied(&without(&live, "/metadata/managedFields"), &desired, OURS));
    assert!(!is_applied(&Value::Null, &desired, OURS));
}

#[tokio::test]
async fn an_empty_value_that_the_server_drops_is_applied() {
    let (fixture, desired) = Fixture::deployment().await;
    let value = "/spec/template/spec/containers/0/env/1/value";
    let desired = with(&desired, value, json!(""));
    let live = fixture.apply(&desired, OURS).await;
    assert_eq!(live.pointer(value), None);
    assert!(is_applied(&live, &desired, OURS));
    assert!(!is_applied(&live, &with(&desired, value, json!("1")), OURS));
}

#[tokio::test]
async fn texts_of_other_kinds_are_no_quantities() {
    let desired = config_map(&json!({"requests": "1000m", "limits": "1024Mi"}));
    let live = Fixture::new(&desired).apply(&desired, OURS).await;
    assert!(is_applied(&live, &desired, OURS));
    assert!(!is_applied(&live, &config_map(&json!({"requests": "1", "limits": "1Gi"})), OURS));
}

#[tokio::test]
async fn the_data_of_a_secret_is_compared_and_its_string_data_always_sent() {
    let secret = |field: &str, value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, field: {"password": value}});
    let desired = secret("data", "YQ==");
    let fixture = Fixture::new(&desired);
    let live = fixture.apply(&desired, OURS).await;
    assert!(is_applied(&live, &desired, OURS));
    assert!(!is_applied(&live, &secret("data", "Yg=="), OURS));
    let live = fixture.apply(&secret("stringData", "a"), OURS).await;
    assert!(!is_applied(&live, &secret("stringData", ""), OURS));
}

/// A part of a Deployment in one of several forms. No value is one that the server rewrites.
fn any_deployment() -> impl Strategy<Value = Value> {
    let container = |name: &'static str| {
        (
            any::<bool>(),
            prop::option::of(prop::sample::subsequence(vec!["-a", "-b", "-c"], 0..=3).prop_shuffle()),
            prop::option::of(
                prop::sample::subsequence(
                    vec![
                        json!({"name": "A", "value": "1"}),
                        json!({"name": "B", "value": "2"}),
                        json!({"name": "A", "value": "3"}),
                        json!({"name": "C"}),
                    ],
                    1..=2,
                )
                .prop_filter("keys are unique", |env| env.len() < 2 || env[0]["name"] != env[1]["name"])
                .prop_shuffle(),
            ),
            prop::option::of(
                prop::sample::subsequence(
                    vec![
                        json!({"containerPort": 80}),
                        json!({"containerPort": 80, "protocol": "UDP"}),
                        json!({"containerPort": 81, "name": "b"}),
                    ],
                    1..=3,
                )
                .prop_shuffle(),
            ),
            prop::option::of(prop_oneof![
                Just(json!({})),
                Just(json!({"requests": {"cpu": "1"}})),
                Just(json!({"requests": {"cpu": "1000m"}})),
                Just(json!({"requests": {"cpu": "2"}}))
            ]),
        )
            .prop_map(move |(new, args, env, ports, resources)| {
                let mut container = json!({"name": name, "image": if new { "x:2" } else { "x:1" }});
                if let Some(args) = args {
                    container["args"] = json!(args);
                }
                if let Some(env) = env {
                    container["env"] = json!(env);
                }
                if let Some(ports) = ports {
                    container["ports"] = json!(ports);
                }
                if let Some(resources) = resources {
                    container["resources"] = resources;
                }
                container
            })
    };
    let labels = prop::option::of(prop::collection::btree_map("[a-c]", "[xy]?", 0..3));
    let volume = prop_oneof![Just(json!({})), Just(json!({"medium": "Memory"}))];
    (
        labels,
        prop::option::of(0..2_u8),
        container("one"),
        prop::option::of(container("two")),
        prop::option::of(volume),
        any::<bool>(),
        prop::option::of(prop_oneof![Just(json!({})), Just(json!({"type": "RollingUpdate"}))]),
    )
        .prop_map(|(labels, replicas, one, two, volume, swap, strategy)| {
            let mut containers: Vec<_> = [Some(one), two].into_iter().flatten().collect();
            if swap {
                containers.reverse();
            }
            let mut object = json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "a"},
                "spec": {
                    "selector": {"matchLabels": {"app": "a"}},
                    "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers}},
                },
            });
            if let Some(labels) = labels {
                object["metadata"]["labels"] = json!(labels);
            }
            if let Some(replicas) = replicas {
                object["spec"]["replicas"] = replicas.into();
            }
            if let Some(volume) = volume {
                object["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "emptyDir": volume}]);
            }
            if let Some(strategy) = strategy {
                object["spec"]["strategy"] = strategy;
            }
            object
        })
}

/// How the second configuration follows from the first and another.
#[derive(Clone, Copy, Debug)]
enum Then {
    Same,
    Other,
    /// One part of the other.
    Part(&'static str),
}

fn any_then() -> impl Strategy<Value = Then> {
    const PARTS: [&str; 9] = [
        "/metadata/labels",
        "/spec/replicas",
        "/spec/strategy",
        "/spec/template/spec/volumes",
        "/spec/template/spec/containers",
        "/spec/template/spec/containers/0/args",
        "/spec/template/spec/containers/0/env",
        "/spec/template/spec/containers/0/ports",
        "/spec/template/spec/containers/0/resources",
    ];
    prop_oneof![Just(Then::Same), Just(Then::Other), prop::sample::select(&PARTS[..]).prop_map(Then::Part)]
}

impl Then {
    fn from(self, first: &Value, other: Value) -> Value {
        let Self::Part(pointer) = self else {
            return if matches!(self, Self::Same) { first.clone() } else { other };
        };
        match (first.pointer(pointer), other.pointer(pointer)) {
            (_, Some(value)) => with(first, pointer, value.clone()),
            (Some(_), None) => without(first, pointer),
            (None, None) => first.clone(),
        }
    }
}

/// A type with a list or map of each sort. Its objects are not rewritten.
fn definition() -> Value {
    let text = json!({"type": "string"});
    let properties = json!({
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": text},
        "byKey": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name", "zone"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": text, "zone": {"type": "string", "default": "z"}, "value": {"type": "number"},
                },
            },
        },
        "atomic": {"type": "array", "items": {"type": "integer"}},
        "map": {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": {"a": text, "b": text}},
        },
        "atomicMap": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": text},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "defaulted": {"type": "string", "default": "d"},
    });
    json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {"type": "object", "properties": properties}},
                }},
            }],
        },
    })
}

fn any_thing() -> impl Strategy<Value = Value> {
    let items = vec![
        json!({"name": "a", "value": 1}),
        json!({"name": "a", "zone": "y"}),
        json!({"name": "b", "value": 1.5}),
        json!({"name": "b", "zone": "z", "value": 2.0}),
    ];
    let unique = |items: &Vec<Value>| {
        !["a", "b"].iter().any(|name| {
            let same = items
                .iter()
                .filter(|item| item["name"] == *name && (item["zone"].is_null() || item["zone"] == "z"));
            same.count() > 1
        })
    };
    let texts = || prop::collection::btree_map("[ab]", "[xy]?", 1..3);
    let free = prop_oneof![
        Just(json!({"a": [1, {"b": 2}]})),
        Just(json!({"a": [{"b": 2}, 1]})),
        Just(json!({"a": {"b": 2}})),
        Just(json!({"a": {"b": 2, "c": true}})),
    ];
    (
        prop::option::of(prop::sample::subsequence(vec!["a", "b", "c"], 1..=3).prop_shuffle()),
        prop::option::of(prop::sample::subsequence(items, 1..=3).prop_filter("keys are unique", unique).prop_shuffle()),
        prop::option::of(prop::collection::vec(0..2_i64, 1..3)),
        prop::option::of(prop::collection::btree_map("[ab]", texts(), 1..3)),
        prop::option::of(texts()),
        prop::option::of(free),
        prop::option::of("[de]"),
    )
        .prop_map(|(set, by_key, atomic, map, atomic_map, free, defaulted)| {
            let mut spec = json!({
                "set": set, "byKey": by_key, "atomic": atomic, "map": map, "atomicMap": atomic_map, "free": free,
                "defaulted": defaulted,
            });
            spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec})
        })
        // An apply that leaves nothing of what the last one had in an object makes it null, which the schema refuses.
        .prop_filter("the spec has fields", |thing| thing["spec"] != json!({}))
}

fn without_times(live: &Value) -> Value {
    let mut live = live.clone();
    live["metadata"]["resourceVersion"].take();
    for entry in live["metadata"]["managedFields"].as_array_mut().unwrap() {
        entry["time"].take();
    }
    live
}

fn without_owners(live: &Value) -> Value {
    let mut live = without_times(live);
    live["metadata"]["managedFields"].take();
    live
}

/// Returns whether a configuration has a quantity that the server would write in another form.
fn is_written_otherwise(value: &Value) -> bool {
    value.to_string().contains(r#""1000m""#)
}

/// Returns whether a configuration has `{}` or `[]`, of which the managed fields do not say what they mean.
fn has_empty(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.is_empty() || members.values().any(has_empty),
        Value::Array(items) => items.is_empty() || items.iter().any(has_empty),
        _ => false,
    }
}

/// Lets `first` and `theirs` be applied, compares the judgement of `then` with what its apply does, and judges again.
async fn check(
    fixture: &Fixture,
    first: &Value,
    theirs: Option<&Value>,
    then: &Value,
) -> Result<(), TestCaseError> {
    let mut live = fixture.apply(first, OURS).await;
    if let Some(theirs) = theirs {
        live = fixture.apply(theirs, "theirs").await;
    }
    let judged = is_applied(&live, then, OURS);
    let after = fixture.apply(then, OURS).await;
    let unchanged = without_times(&after) == without_times(&live);
    if theirs.is_some() && is_written_otherwise(then) {
        // The quantity may be taken from them, and only that.
        prop_assert!(!judged || without_owners(&after) == without_owners(&live), "{live:#}\n{then:#}");
        return Ok(());
    }
    prop_assert!(!judged || unchanged, "judged as applied, but changed\n{live:#}\n{then:#}");
    if !has_empty(then) {
        prop_assert_eq!(judged, unchanged, "{:#}\n{:#}", live, then);
        prop_assert!(is_applied(&after, then, OURS), "{after:#}\n{then:#}");
    }
    Ok(())
}

proptest! {
    // Each case has a server of its own.
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_is_applied_exactly_if_an_apply_changes_nothing(
        first in any_deployment(),
        theirs in prop::option::of(any_deployment()),
        other in any_deployment(),
        then in any_then(),
    ) {
        let then = then.from(&first, other);
        RUNTIME.block_on(async { check(&Fixture::new(&first), &first, theirs.as_ref(), &then).await })?;
    }

    #[test]
    fn lists_and_maps_of_all_sorts_are_judged_as_the_server_does(
        first in any_thing(),
        theirs in prop::option::of(any_thing()),
        other in any_thing(),
        again in any::<bool>(),
    ) {
        let then = if again { first.clone() } else { other };
        RUNTIME.block_on(async {
            let fixture = Fixture::new(&first);
            let definitions = Api::<CustomResourceDefinition>::all(fixture.server.client());
            let definition = serde_json::from_value(definition()).unwrap();
            definitions.create(&PostParams::default(), &definition).await.unwrap();
            check(&fixture, &first, theirs.as_ref(), &then).await
        })?;
    }
}
