//! The expected cells are responses of kube-apiserver 1.37.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-11-22T18:57:16Z".parse().unwrap()
}

fn cells(columns: &Columns, object: &Value) -> Value {
    columns.cells(object, now()).into()
}

#[test]
fn custom_cells_are_as_apiextensions_converts_them() {
    let column = |kind: &str, path: &str| json!({"name": path, "type": kind, "jsonPath": path});
    let columns = Columns::custom(Some(&json!([
        column("string", ".spec.url"),
        column("number", ".spec.f"),
        column("boolean", ".spec.b"),
        column("date", ".spec.d"),
        column("string", ".status.conditions[?(@.type==\"Ready\")].status"),
        column("string", ".spec.labels"),
        column("string", ".spec.tags"),
        column("string", ".spec.tags[*]"),
        column("string", r".metadata.labels.a\.b/c"),
        column("string", ".spec.tags[1]"),
        column("string", ".spec.f"),
        column("string", ".spec.b"),
        column("integer", ".spec.url"),
        column("integer", ".spec.n"),
        column("string", ".spec.free"),
        column("date", ".metadata.creationTimestamp"),
        column("date", ".spec.url"),
    ])));
    let blog = json!({
        "metadata": {"name": "t1", "labels": {"a.b/c": "dot"}, "creationTimestamp": "2026-11-22T18:57:14Z"},
        "spec": {
            "url": "https://x/?a=<b>&c", "n": 5, "f": 1.5, "b": true, "d": "2020-01-01T00:00:00Z",
            "labels": {"z": "1", "a": "<"}, "tags": ["p", "q"],
            "free": {"a": [1, "s", null, {"b": 1.0}], "n1": null, "t": true, "big": 1_234_567_890_123_i64, "f": 1.25e30},
        },
    });
    let expected = json!([
        "t1",
        "https://x/?a=<b>&c",
        1.5,
        true,
        "6y327d",
        null,
        "{\"a\":\"\\u003c\",\"z\":\"1\"}",
        "[\"p\",\"q\"]",
        "p",
        "dot",
        "q",
        "1.5",
        "true",
        null,
        5,
        "{\"a\":[1,\"s\",null,{\"b\":1}],\"big\":1234567890123,\"f\":1.25e+30,\"n1\":null,\"t\":true}",
        "2s",
        "<invalid>",
    ]);
    assert_eq!(cells(&columns, &blog), expected);
    let nothing: Vec<Value> =
        std::iter::once("t2".into()).chain(std::iter::repeat_n(Value::Null, 17)).collect();
    assert_eq!(cells(&columns, &json!({"metadata": {"name": "t2"}})), Value::from(nothing));
}

#[test]
fn custom_cells_print_numbers_and_null_as_a_template_does() {
    let column = |kind: &str, path: &str| json!({"name": path, "type": kind, "jsonPath": path});
    let columns = Columns::custom(Some(&json!([
        column("string", ".null"),
        column("string", ".f"),
        column("number", ".f"),
        column("string", ".s.*"),
        column("string", ".l[?(@.n==2)].n"),
        column("string", ".l[?(@.x[5])].n"),
        column("string", ".a}{.f"),
    ])));
    let col = json!({"metadata": {"name": "x"}, "null": null, "f": 1_234_567.5, "s": "abc", "l": [{"n": 2, "x": []}]});
    let expected = json!(["x", "<no value>", "1.2345675e+06", 1_234_567.5, "97", "2", "2", null]);
    assert_eq!(cells(&columns, &col), expected);
}

#[test]
fn a_custom_resource_without_columns_shows_its_age() {
    let columns = Columns::custom(None);
    assert_eq!(columns.definitions()[1]["name"], "Age");
    assert_eq!(columns.definitions()[1]["type"], "date");
    let blog = json!({"metadata": {"name": "b", "creationTimestamp": "2026-11-22T18:55:00Z"}});
    assert_eq!(cells(&columns, &blog), json!(["b", "2m16s"]));
}

#[test]
fn definitions_have_the_fields_of_their_column() {
    let columns = Columns::custom(Some(&json!([
        {"name": "URL", "type": "string", "jsonPath": ".spec.url"},
        {"name": "N", "type": "integer", "format": "int32", "jsonPath": ".spec.n", "priority": 1, "description": "some"},
    ])));
    let definitions = columns.definitions();
    assert_eq!(definitions[0]["format"], "name");
    let url = json!({"name": "URL", "type": "string", "format": "", "priority": 0, "description": "Custom resource definition column (in JSONPath format): .spec.url"});
    assert_eq!(definitions[1], url);
    assert_eq!(
        definitions[2],
        json!({"name": "N", "type": "integer", "format": "int32", "priority": 1, "description": "some"})
    );
}

#[test]
fn a_row_carries_what_was_asked_for() {
    let columns = Columns::custom(None);
    let blog = json!({"apiVersion": "a/v1", "kind": "Blog", "metadata": {"name": "b"}, "spec": {}});
    let row = |include| {
        let options = TableOptions { include, group_version: "meta.k8s.io/v1beta1", now: now() };
        columns.table([blog.clone()], json!({}), options)["rows"][0]["object"].take()
    };
    assert_eq!(row(IncludeObject::parse(Some("None")).unwrap()), Value::Null);
    assert_eq!(row(IncludeObject::parse(Some("Object")).unwrap()), blog);
    let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1beta1", "metadata": {"name": "b"}});
    assert_eq!(row(IncludeObject::parse(None).unwrap()), partial);
    let error = IncludeObject::parse(Some("Foo")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Unable to convert to Table as requested: includeObject: Invalid value: \"Foo\": must be 'Metadata', 'Object', 'None', or empty"
    );
}

#[test]
fn builtin_cells_are_as_kube_apiserver_prints_them() {
    let metadata = json!({"name": "x", "creationTimestamp": "2026-11-22T18:57:15Z"});
    let container = |state: Value| json!({"name": "c", "restartCount": 2, "ready": true, "state": state, "lastState": {"terminated": {"finishedAt": "2026-11-22T18:50:16Z"}}});
    for (group, kind, object, expected) in [
        (
            "",
            "ConfigMap",
            json!({"metadata": metadata, "data": {"a": ""}, "binaryData": {"b": ""}}),
            json!(["x", 2, "1s"]),
        ),
        (
            "",
            "Secret",
            json!({"metadata": metadata, "type": "Opaque", "data": {"a": ""}}),
            json!(["x", "Opaque", 1, "1s"]),
        ),
        (
            "",
            "Namespace",
            json!({"metadata": metadata, "status": {"phase": "Active"}}),
            json!(["x", "Active", "1s"]),
        ),
        ("", "ServiceAccount", json!({"metadata": {"name": "x"}}), json!(["x", "<unknown>"])),
        (
            "coordination.k8s.io",
            "Lease",
            json!({"metadata": metadata, "spec": {"holderIdentity": "me"}}),
            json!(["x", "me", "1s"]),
        ),
        (
            "rbac.authorization.k8s.io",
            "Role",
            json!({"metadata": metadata}),
            json!(["x", "2026-11-22T18:57:15Z"]),
        ),
        (
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            json!({"metadata": metadata, "spec": {"scope": "Namespaced", "group": "g", "names": {"kind": "K", "shortNames": ["k", "kk"]}, "versions": [{"name": "v1", "served": true, "storage": true}, {"name": "v2", "served": true}, {"name": "v0"}]}, "status": {"conditions": [{"type": "Established", "status": "True"}]}}),
            json!(["x", "Namespaced", "v1(storage),v2", "2026-11-22T18:57:15Z", "g", "K", "k,kk", true]),
        ),
        (
            "apps",
            "Deployment",
            json!({"metadata": metadata, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "d1"}}, "template": {"spec": {"containers": [{"name": "n", "image": "i"}]}}}}),
            json!(["x", "0/1", 0, 0, "1s", "n", "i", "app=d1"]),
        ),
        (
            "",
            "Event",
            json!({"metadata": metadata, "involvedObject": {"kind": "Pod", "name": "pod1"}, "reason": "R", "message": "M ", "type": "Normal", "source": {"component": "c"}, "firstTimestamp": "2026-11-22T18:00:00Z", "lastTimestamp": "2026-11-22T18:01:00Z", "count": 3}),
            json!(["56m", "Normal", "R", "pod/pod1", "", "c", "M", "57m", 3, "x"]),
        ),
        (
            "events.k8s.io",
            "Event",
            json!({"metadata": metadata, "regarding": {"kind": "Pod", "name": "pod1"}, "reason": "R", "note": "M", "type": "Normal", "reportingController": "c", "reportingInstance": "i", "eventTime": "2026-11-22T18:57:06.000000Z"}),
            json!(["10s", "Normal", "R", "pod/pod1", "", "c, i", "M", "10s", 1, "x"]),
        ),
        (
            "",
            "Pod",
            json!({"metadata": metadata, "spec": {"containers": [{}]}, "status": {"phase": "Pending"}}),
            json!(["x", "0/1", "Pending", "0", "1s", "<none>", "<none>", "<none>", "<none>"]),
        ),
        (
            "",
            "Pod",
            json!({"metadata": metadata, "spec": {"containers": [{}], "nodeName": "n"}, "status": {"phase": "Running", "podIPs": [{"ip": "1.2.3.4"}], "containerStatuses": [container(json!({"running": {}}))]}}),
            json!(["x", "1/1", "Running", "2 (7m ago)", "1s", "1.2.3.4", "n", "<none>", "<none>"]),
        ),
        (
            "",
            "Pod",
            json!({"metadata": metadata, "spec": {"containers": [{}]}, "status": {"phase": "Running", "containerStatuses": [container(json!({"waiting": {"reason": "CrashLoopBackOff"}}))]}}),
            json!([
                "x",
                "0/1",
                "CrashLoopBackOff",
                "2 (7m ago)",
                "1s",
                "<none>",
                "<none>",
                "<none>",
                "<none>"
            ]),
        ),
    ] {
        let columns = Columns::builtin(group, kind);
        let cells = cells(&columns, &object);
        assert_eq!(cells, expected, "{kind}");
        assert_eq!(columns.definitions().len(), cells.as_array().unwrap().len(), "{kind}");
    }
}

#[test]
fn a_pod_that_ended_is_marked() {
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Failed"}});
    let options = TableOptions { include: IncludeObject::None, group_version: "meta.k8s.io/v1", now: now() };
    let row = &Columns::builtin("", "Pod").table([pod], json!({}), options)["rows"][0];
    assert_eq!(row["conditions"][0]["type"], "Completed");
}

#[test]
fn durations_are_human_readable() {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    for (seconds, expected) in [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (9 * MINUTE + 59, "9m59s"),
        (10 * MINUTE + 30, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (7 * HOUR + 59 * MINUTE, "7h59m"),
        (8 * HOUR + 59 * MINUTE, "8h"),
        (47 * HOUR, "47h"),
        (2 * DAY, "2d"),
        (7 * DAY + 23 * HOUR, "7d23h"),
        (8 * DAY + 5 * HOUR, "8d"),
        (729 * DAY, "729d"),
        (2 * 365 * DAY, "2y"),
        (2 * 365 * DAY + 3 * DAY, "2y3d"),
        (9 * 365 * DAY, "9y"),
        // As long as a duration of Go can be.
        (2026 * 365 * DAY, "292y"),
        (i64::MAX, "292y"),
        (i64::MIN, "<invalid>"),
    ] {
        assert_eq!(human_duration(seconds), expected, "{seconds}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,4}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keys = "metadata|name|spec|status|phase|containers|conditions|versions|data|containerStatuses|state|terminated|[a-c]";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_panics(object in any_json(), columns in any_json()) {
        for (group, kind) in [("", "Pod"), ("", "Event"), ("", "Secret"), ("apps", "Deployment"), ("apiextensions.k8s.io", "CustomResourceDefinition")] {
            cells(&Columns::builtin(group, kind), &object);
        }
        cells(&Columns::custom(Some(&columns)), &object);
    }
}
