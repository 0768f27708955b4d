//! `tests/recorded.json` holds sequences of writes and the responses of kube-apiserver 1.37.2. The type is that of
//! `tests/schema.json`, with a status subresource. The tests repeat the writes, which must have the same results.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use kube_schema::Schema;

use super::*;
use crate::types::{Definitions, StructuralType};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::parse(&schema(), "").unwrap());
static BLOG: LazyLock<StructuralType> = LazyLock::new(|| StructuralType::from_schema(&schema()));
static BUILTIN: LazyLock<Definitions> =
    LazyLock::new(|| Definitions::on_demand(kube_builtin::schemas::texts()));

fn schema() -> Value {
    serde_json::from_str(include_str!("tests/schema.json")).unwrap()
}

fn builtin(api_version: &str, kind: &str) -> ObjectType<'static> {
    let name = kube_builtin::schemas::name(api_version, kind);
    name.and_then(|name| BUILTIN.get(name)).unwrap_or_else(ObjectType::deduced)
}

/// The steps of a server around an apply or another write of one object.
#[derive(Default)]
struct Server {
    live: Option<Value>,
}

impl Server {
    fn write(&mut self, step: &Value) -> Result<bool, ApplyError> {
        let text = |field: &str| step.get(field).and_then(Value::as_str).unwrap_or_default();
        let body = &step["body"];
        let (api_version, kind) = type_of(self.live.as_ref().unwrap_or(body));
        // A configuration may name a version other than its endpoint's.
        let custom = api_version.starts_with("web.helloworld/");
        let api_version = if custom { "web.helloworld/v1" } else { api_version }.to_owned();
        let types = if custom { BLOG.object() } else { builtin(&api_version, kind) };
        let reset: &[&[&str]] = match text("subresource") {
            "status" => &[&["metadata"], &["spec"]],
            _ => &[&["status"]],
        };
        let writer = Writer {
            manager: text("manager"),
            subresource: text("subresource"),
            api_version: &api_version,
            time: "2026-11-22T19:00:00Z".parse().unwrap(),
            reset,
            versions: &[],
            convert: None,
            is_convertible: true,
        };
        let finish = |object: &mut Value| {
            if custom {
                SCHEMA.apply_defaults(object);
            }
        };
        let live = self.live.as_ref();
        let mut new = if text("verb") == "apply" {
            if body["kind"] == "Other" {
                return Err(ApplyError::Invalid(wrong_type(body)));
            }
            let mut new = apply(types, live, body, &writer, step["force"] == true)?;
            finish(&mut new);
            new
        } else {
            let mut new = match live {
                Some(live) if custom => crate::merge_patch(live, body).unwrap(),
                // For built-in kinds, which a real server defaults, the recording has the object after the write.
                _ => body.clone(),
            };
            finish(&mut new);
            track(types, live, &mut new, &writer);
            new
        };
        // Each endpoint takes only its part of the object.
        let status = if text("subresource") == "status" {
            let status = new["status"].clone();
            let entries = new["metadata"].get("managedFields").cloned();
            new = live.cloned().unwrap_or_default();
            new["metadata"]["managedFields"] = entries.unwrap_or_default();
            Some(status)
        } else {
            live.and_then(|live| live.get("status").cloned())
        };
        match status.filter(|status| !status.is_null()) {
            Some(status) => new["status"] = status,
            None => {
                new.as_object_mut().unwrap().remove("status");
            }
        }
        let changed = self.live.as_ref() != Some(&new);
        self.live = Some(new);
        Ok(changed)
    }
}

/// Returns the entries without their times, in an order that does not depend on them.
fn entries(entries: &Value) -> Vec<Value> {
    let mut entries = entries.as_array().cloned().unwrap_or_default();
    for entry in &mut entries {
        if let Some(entry) = entry.as_object_mut() {
            let timed = entry.remove("time").is_some();
            entry.entry("timed").or_insert(timed.into());
        }
    }
    entries.sort_by_key(ToString::to_string);
    entries
}

/// Returns the parts of an object that the recording has.
fn object(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| {
        matches!(field.as_str(), "labels" | "annotations" | "finalizers" | "ownerReferences" | "generateName")
    });
    object
}

#[test]
fn writes_have_the_results_of_kube_apiserver() {
    let sequences: Vec<Value> = serde_json::from_str(include_str!("tests/recorded.json")).unwrap();
    let mut wrong = Vec::new();
    for sequence in &sequences {
        let name = sequence["name"].as_str().unwrap();
        let mut server = Server::default();
        for (index, step) in sequence["steps"].as_array().unwrap().iter().enumerate() {
            let already_exists = step["verb"] == "create" && server.live.is_some();
            if already_exists {
                continue;
            }
            let result = server.write(step);
            let mut differ = |what: &str, real: String, ours: String| {
                if real != ours {
                    wrong.push(format!("{name}, step {index}: {what}\n real {real}\n ours {ours}"));
                }
            };
            match (step.get("error"), result) {
                (None, Ok(changed)) => {
                    let live = server.live.as_ref().unwrap();
                    if let Some(real) = step.get("object") {
                        differ("object", real.to_string(), object(live).to_string());
                    }
                    let real = Value::from(entries(&step["managedFields"])).to_string();
                    differ(
                        "entries",
                        real,
                        Value::from(entries(&live["metadata"]["managedFields"])).to_string(),
                    );
                    differ("changed", step["changed"].to_string(), changed.to_string());
                }
                (Some(error), Err(ours)) => {
                    let (code, message) = match &ours {
                        ApplyError::Conflict(conflicts) => {
                            let causes = conflicts
                                .iter()
                                .map(|c| json!([format!("conflict with {}", c.manager), c.field]));
                            differ(
                                "causes",
                                error["causes"].to_string(),
                                Value::from(causes.collect::<Vec<_>>()).to_string(),
                            );
                            (409, conflict_message(conflicts))
                        }
                        ApplyError::Invalid(message) => (400, message.clone()),
                        ApplyError::Internal(message) => (500, message.clone()),
                    };
                    differ(
                        "error",
                        format!("{} {}", error["code"], error["message"]),
                        format!("{code} {}", Value::from(message)),
                    );
                }
                (error, result) => differ("outcome", format!("{error:?}"), format!("{result:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

fn writer<'a>(manager: &'a str, time: &str) -> Writer<'a> {
    Writer {
        manager,
        subresource: "",
        api_version: "web.helloworld/v1",
        time: time.parse().unwrap(),
        reset: &[&["status"]],
        versions: &[],
        convert: None,
        is_convertible: true,
    }
}

fn blog(spec: &Value) -> Value {
    json!({"apiVersion": "web.helloworld/v1", "kind": "Blog", "metadata": {"name": "b"}, "spec": spec})
}

#[test]
fn entries_are_in_the_order_of_kube_apiserver() {
    let types = BLOG.object();
    let at = |second: u32| format!("2026-11-22T19:00:0{second}Z");
    let mut live = blog(&json!({"url": "a"}));
    track(types, None, &mut live, &writer("z-creator", &at(5)));
    for (manager, second, field) in [("late", 9, "title"), ("second", 7, "d"), ("first", 7, "nul")] {
        let applied = blog(&json!({field: "x"}));
        live = apply(types, Some(&live), &applied, &writer(manager, &at(second)), false).unwrap();
    }
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    let managers: Vec<_> = entries.iter().map(|entry| entry["manager"].as_str().unwrap()).collect();
    assert_eq!(managers, ["first", "second", "late", "z-creator"]);
    assert_eq!(entries[0]["time"], "2026-11-22T19:00:07Z");
}

#[test]
fn who_scales_owns_the_replicas_without_a_time() {
    let types = BLOG.object();
    let mut live = blog(&json!({"url": "a", "f": 1}));
    track(types, None, &mut live, &writer("creator", "2026-11-22T19:00:00Z"));
    let owners = |object: &Value| -> Vec<Value> {
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        entries
            .iter()
            .map(|it| json!([it["manager"], it["subresource"], it["time"].is_string(), it["fieldsV1"]]))
            .collect()
    };
    let rest = json!(["creator", null, true, {"f:spec": {".": {}, "f:url": {}}}]);
    let own =
        |manager: &str, subresource: Value| json!([manager, subresource, false, {"f:spec": {"f:f": {}}}]);
    let scaler = Writer { subresource: "scale", ..writer("scaler", "2026-11-22T20:00:00Z") };
    let scaled = |replicas: i64| {
        let mut new = live.clone();
        new["spec"]["f"] = replicas.into();
        track_scale(&["spec", "f"], &live, &mut new, &scaler);
        owners(&new)
    };
    assert_eq!(scaled(3), [own("scaler", "scale".into()), rest.clone()]);
    assert_eq!(scaled(1), [own("creator", Value::Null), rest.clone()]);
    assert_eq!(scaled(0), [rest]);
}

#[test]
fn a_write_that_changes_nothing_keeps_the_times() {
    let types = BLOG.object();
    let (first, later) = (writer("m", "2026-11-22T19:00:00Z"), writer("m", "2026-11-22T20:00:00Z"));
    let applied = blog(&json!({"url": "a", "list": ["x"]}));
    let live = apply(types, None, &applied, &first, false).unwrap();
    assert_eq!(apply(types, Some(&live), &applied, &later, false), Ok(live.clone()));
    let mut again = live.clone();
    track(types, Some(&live), &mut again, &later);
    assert_eq!(again, live);

    // Values that defaulting restores are no change, either.
    let mut defaulted = live.clone();
    defaulted["spec"]["title"] = "untitled".into();
    let mut again = apply(types, Some(&live), &applied, &later, false).unwrap();
    again["metadata"]["managedFields"][0]["time"] = "2026-11-22T20:00:00Z".into();
    again["spec"]["title"] = "untitled".into();
    keep_times(&defaulted, &mut again);
    assert_eq!(again, defaulted);
}

/// A request can hold lists of 100,000 items.
#[test]
fn large_lists_are_merged_quickly() {
    let types = BLOG.object();
    let tags = |from: u32| (from..from + 20_000).map(|n| Value::from(n.to_string())).collect::<Vec<_>>();
    let start = std::time::Instant::now();
    let live =
        apply(types, None, &blog(&json!({"tags": tags(0)})), &writer("a", "2026-11-22T19:00:00Z"), false)
            .unwrap();
    let applied = blog(&json!({"tags": tags(10_000)}));
    let merged = apply(types, Some(&live), &applied, &writer("b", "2026-11-22T19:00:00Z"), false).unwrap();
    assert_eq!(merged["spec"]["tags"].as_array().unwrap().len(), 30_000);
    // Comparing all pairs of items would take minutes.
    assert!(start.elapsed().as_secs() < 20);
}

/// Generates configurations of the recorded type, with few names and values, so that they overlap.
fn spec(least: usize) -> impl Strategy<Value = Value> {
    let text = || prop::option::of(prop::sample::select(vec!["a", "b"]));
    let texts = || {
        prop::option::of(
            prop::collection::btree_set("[a-d]", least..4)
                .prop_map(|set| set.into_iter().collect::<Vec<_>>())
                .prop_shuffle(),
        )
    };
    let map = || prop::option::of(prop::collection::btree_map("[a-c]", "[12]", least..3));
    let ports = prop::collection::btree_map(1..4_i64, prop::option::of("[xy]"), least..3).prop_map(|ports| {
        ports
            .into_iter()
            .map(|(port, note)| {
                note.map_or(json!({"port": port}), |note| json!({"port": port, "note": note}))
            })
            .collect::<Vec<_>>()
    });
    (text(), texts(), texts(), map(), map(), prop::option::of(ports.prop_shuffle()), map()).prop_map(
        |(url, tags, list, labels, atomic, ports, free)| {
            let mut spec = json!({"url": url, "tags": tags, "list": list, "labels": labels, "atomic": atomic, "ports": ports, "free": free});
            spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            spec
        },
    )
}

/// Generates any JSON, with names and values that have a meaning here.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "Apply|Update|FieldsV1|web.helloworld/v1|Blog|m|[a-c]|k:\\{\\}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let keys = "spec|url|tags|ports|port|labels|free|any|atomic|metadata|finalizers|ownerReferences|uid|managedFields|manager|operation|apiVersion|fieldsType|fieldsV1|f:spec|f:url|v:1|k:\\{\"a\":1\\}|\\.";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn applying_is_idempotent(first in spec(0), second in spec(0)) {
        let types = BLOG.object();
        let (other, own) = (writer("other", "2026-11-22T19:00:00Z"), writer("own", "2026-11-22T19:00:01Z"));
        let live = apply(types, None, &blog(&first), &other, false).unwrap();
        let once = apply(types, Some(&live), &blog(&second), &own, true).unwrap();
        let later = writer("own", "2026-11-22T20:00:00Z");
        let twice = apply(types, Some(&once), &blog(&second), &later, true).unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn a_forced_apply_takes_effect(first in spec(0), second in spec(0)) {
        let types = BLOG.object();
        let live = apply(types, None, &blog(&first), &writer("other", "2026-11-22T19:00:00Z"), false).unwrap();
        let new = apply(types, Some(&live), &blog(&second), &writer("own", "2026-11-22T19:00:00Z"), true).unwrap();
        for name in ["url", "list", "atomic"] {
            prop_assert!(second.get(name).is_none_or(|value| new["spec"].get(name) == Some(value)), "{}", name);
        }
        for tag in second["tags"].as_array().into_iter().flatten() {
            prop_assert!(new["spec"]["tags"].as_array().unwrap().contains(tag));
        }
        for (name, value) in second["labels"].as_object().into_iter().flatten() {
            prop_assert_eq!(&new["spec"]["labels"][name], value);
        }
    }

    #[test]
    fn an_empty_apply_removes_fields_without_other_owners(first in spec(1), second in spec(1)) {
        // As in kube-apiserver, a container that is owned empty becomes null when it loses its last part.
        prop_assume!(first != json!({}));
        let types = BLOG.object();
        let (other, own) = (writer("other", "2026-11-22T19:00:00Z"), writer("own", "2026-11-22T19:00:00Z"));
        let alone = apply(types, None, &blog(&second), &own, false).unwrap();
        let empty = apply(types, Some(&alone), &blog(&json!({})), &own, false).unwrap();
        let spec = empty.get("spec").cloned().unwrap_or_default();
        prop_assert!(spec.as_object().is_none_or(Map::is_empty), "{}", spec);

        // The fields of the other manager are kept, even those that both own.
        let live = apply(types, None, &blog(&first), &other, false).unwrap();
        if let Ok(both) = apply(types, Some(&live), &blog(&second), &own, false) {
            let rest = apply(types, Some(&both), &blog(&json!({})), &own, false).unwrap();
            let kind = types.root;
            let lost = walk::field_set(kind, &blog(&first)).difference(&walk::field_set(kind, &rest));
            prop_assert!(lost.is_empty(), "{:?}", lost.paths());
            prop_assert!(apply(types, Some(&rest), &blog(&first), &other, false).is_ok());
        }
    }

    #[test]
    fn no_object_panics(live in any_json(), new in any_json(), manager in "m|kubectl|") {
        for types in [BLOG.object(), ObjectType::deduced(), builtin("v1", "Pod")] {
            let writer = writer(&manager, "2026-11-22T19:00:00Z");
            let mut typed = new.clone();
            if let Some(members) = typed.as_object_mut() {
                members.insert("apiVersion".to_owned(), "web.helloworld/v1".into());
                members.remove("kind");
            }
            let _ = apply(types, Some(&live), &typed, &writer, false);
            let _ = apply(types, None, &typed, &writer, true);
            track(types, Some(&live), &mut typed, &writer);
            track(types, None, &mut typed, &writer);
        }
    }
}
