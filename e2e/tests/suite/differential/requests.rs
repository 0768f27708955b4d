//! Random requests.

use std::fmt;

use e2e::http::{APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH};
use fastrand::Rng;
use http::Method;
use serde_json::{Map, Value, json};

use crate::widgets::GROUP;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigMap,
    Deployment,
    Widget,
}

pub(super) const KINDS: [Kind; 3] = [Kind::ConfigMap, Kind::Deployment, Kind::Widget];
/// The object that is created last.
pub(super) const LAST: &str = "last";
const NAMES: [&str; 3] = ["a", "b", "c"];
const FINALIZER: &str = "example.com/hold";

/// A request. In its texts, `$uid:KIND/NAME` and `$version:KIND/NAME` stand for what the server has given to an object.
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) method: Method,
    /// What follows the path of the kind's objects.
    pub(super) path: String,
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Option<Value>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}{}", self.method, self.kind, self.path)?;
        if let Some(content_type) = self.content_type {
            write!(f, " {content_type}")?;
        }
        self.body.as_ref().map_or(Ok(()), |body| write!(f, " {body}"))
    }
}

impl Request {
    fn new(kind: Kind, method: Method, path: String) -> Request {
        Request { kind, method, path, content_type: None, body: None }
    }

    fn with(mut self, content_type: &'static str, body: Value) -> Request {
        self.content_type = Some(content_type);
        self.body = Some(body);
        self
    }

    /// A list of all objects of a kind.
    pub(super) fn list(kind: Kind) -> Request {
        Request::new(kind, Method::GET, String::new())
    }

    /// Creates the last object of a kind, which all watches see.
    pub(super) fn last(kind: Kind) -> Request {
        let mut body = kind.minimal(LAST);
        body["metadata"]["labels"] = json!({"app": "a"});
        Request::new(kind, Method::POST, String::new()).with("application/json", body)
    }

    pub(super) fn random(rng: &mut Rng) -> Request {
        let kind = any(rng, &KINDS);
        let name = any(rng, &NAMES);
        let object = format!("/{name}");
        match rng.u8(..100) {
            0..16 => {
                let body = kind.whole(rng, name);
                Request::new(kind, Method::POST, query(rng, "")).with("application/json", body)
            }
            16..28 => {
                let mut body = kind.whole(rng, name);
                match rng.u8(..10) {
                    0..6 => body["metadata"]["resourceVersion"] = json!(format!("$version:{kind:?}/{name}")),
                    6 => body["metadata"]["resourceVersion"] = "1".into(),
                    _ => {}
                }
                if rng.u8(..10) == 0 {
                    body["metadata"]["uid"] = json!(format!("$uid:{kind:?}/{}", any(rng, &NAMES)));
                }
                Request::new(kind, Method::PUT, query(rng, &object)).with("application/json", body)
            }
            28..36 => {
                let patch = kind.json_patch(rng);
                Request::new(kind, Method::PATCH, query(rng, &object)).with(JSON_PATCH, patch)
            }
            36..45 => {
                let partial = kind.partial(rng, name);
                let patch = with_nulls(rng, partial);
                Request::new(kind, Method::PATCH, query(rng, &object)).with(MERGE_PATCH, patch)
            }
            45..52 => {
                let partial = kind.partial(rng, name);
                let patch = with_nulls(rng, partial);
                Request::new(kind, Method::PATCH, query(rng, &object)).with(STRATEGIC_PATCH, patch)
            }
            52..72 => {
                let mut body = if rng.bool() { kind.whole(rng, name) } else { kind.partial(rng, name) };
                body["apiVersion"] = kind.api_version().into();
                body["kind"] = kind.name().into();
                body["metadata"]["name"] = name.into();
                let force = rng.u8(..10) < 4;
                let manager = any(rng, &["one", "two", "three"]);
                let mut path = format!("{object}?fieldManager={manager}&force={force}");
                if rng.u8(..10) == 0 {
                    path.push_str("&dryRun=All");
                }
                Request::new(kind, Method::PATCH, path).with(APPLY_PATCH, body)
            }
            72..78 => kind.status(rng, name),
            78..83 => kind.scale(rng, name),
            83..92 => Request::new(kind, Method::DELETE, object)
                .with("application/json", delete_options(rng, kind, name)),
            92..94 => {
                let selector =
                    ["?labelSelector=app%3Da", "?labelSelector=app%3Db", "?fieldSelector=metadata.name%3Da"];
                Request::new(kind, Method::DELETE, any(rng, &selector).to_owned())
            }
            _ => {
                let queries = [
                    "?labelSelector=app%3Da",
                    "?labelSelector=app%21%3Da",
                    "?labelSelector=app+in+%28a%2Cb%29%2C%21tier",
                    "?fieldSelector=metadata.name%21%3Da",
                    "?fieldSelector=spec.size%3Dsmall",
                    "?limit=2",
                ];
                Request::new(kind, Method::GET, any(rng, &queries).to_owned())
            }
        }
    }

    /// Whether controllers may have something to do afterwards.
    pub(super) fn settles(&self) -> bool {
        let text = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        self.method == Method::DELETE
            || text.contains("ownerReferences")
            || text.contains("inalizers")
            || self.method == Method::PUT
            || self.content_type == Some(APPLY_PATCH)
    }

    /// A request for the object that this one is about.
    pub(super) fn object(&self) -> Option<Request> {
        let name = self.path.split(['/', '?']).find(|part| NAMES.contains(part)).or_else(|| {
            let created = self.body.as_ref().filter(|_| self.method == Method::POST)?;
            created["metadata"]["name"].as_str()
        })?;
        Some(Request::new(self.kind, Method::GET, format!("/{name}")))
    }

    /// The name of the object, if the request is to read it.
    pub(super) fn plain_name(&self) -> Option<&str> {
        let name = self.path.strip_prefix('/').filter(|_| self.method == Method::GET)?;
        NAMES.contains(&name).then_some(name)
    }
}

/// One of these.
fn any<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())].clone()
}

/// A path with a random query for a write.
fn query(rng: &mut Rng, path: &str) -> String {
    let mut query = Vec::new();
    if rng.u8(..10) < 7 {
        query.push(format!("fieldManager={}", any(rng, &["one", "two", "three"])));
    }
    if rng.u8(..10) == 0 {
        query.push("dryRun=All".to_owned());
    }
    match rng.u8(..10) {
        0..3 => query.push("fieldValidation=Strict".to_owned()),
        3 => query.push("fieldValidation=Ignore".to_owned()),
        _ => {}
    }
    format!("{path}?{}", query.join("&"))
}

fn delete_options(rng: &mut Rng, kind: Kind, name: &str) -> Value {
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    match rng.u8(..6) {
        0 => options["propagationPolicy"] = "Background".into(),
        1 => options["propagationPolicy"] = "Foreground".into(),
        2 => options["propagationPolicy"] = "Orphan".into(),
        _ => {}
    }
    if rng.u8(..5) == 0 {
        options["gracePeriodSeconds"] = rng.u8(..2).into();
    }
    match rng.u8(..10) {
        0 => options["preconditions"] = json!({"uid": format!("$uid:{kind:?}/{}", any(rng, &NAMES))}),
        1 => options["preconditions"] = json!({"resourceVersion": format!("$version:{kind:?}/{name}")}),
        2 => options["preconditions"] = json!({"resourceVersion": "1"}),
        3 => options["dryRun"] = json!(["All"]),
        _ => {}
    }
    options
}

/// Metadata with a random subset of what a client sets.
fn metadata(rng: &mut Rng) -> Value {
    let mut metadata = json!({});
    if rng.bool() {
        metadata["labels"] = subset(rng, &[("app", &["a", "b"]), ("tier", &["x", "y"])]);
    }
    if rng.u8(..10) < 3 {
        metadata["annotations"] =
            subset(rng, &[("note", &["1", "2"]), ("example.com/why", &["", "because"])]);
    }
    if rng.u8(..10) == 0 {
        metadata["finalizers"] = json!([FINALIZER]);
    }
    if rng.u8(..10) == 0 {
        let (kind, name) = (any(rng, &KINDS), any(rng, &NAMES));
        metadata["ownerReferences"] = json!([{
            "apiVersion": kind.api_version(), "kind": kind.name(), "name": name, "uid": format!("$uid:{kind:?}/{name}"),
            "blockOwnerDeletion": rng.bool(),
        }]);
    }
    metadata
}

/// Some of these members, each with one of its values.
fn subset(rng: &mut Rng, members: &[(&str, &[&str])]) -> Value {
    let mut chosen = Map::new();
    for (name, values) in members {
        if rng.bool() {
            chosen.insert((*name).to_owned(), any(rng, values).into());
        }
    }
    Value::Object(chosen)
}

/// Some members become null, which removes them in a patch.
fn with_nulls(rng: &mut Rng, mut value: Value) -> Value {
    for member in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if rng.u8(..12) == 0 {
            *member = Value::Null;
        } else if member.is_object() {
            *member = with_nulls(rng, member.take());
        }
    }
    value
}

impl Kind {
    /// The path of its objects in a namespace.
    pub(super) fn collection(self, namespace: &str) -> String {
        match self {
            Kind::ConfigMap => format!("/api/v1/namespaces/{namespace}/configmaps"),
            Kind::Deployment => format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
            Kind::Widget => format!("/apis/{GROUP}/v1/namespaces/{namespace}/widgets"),
        }
    }

    /// The name of the kind.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::ConfigMap => "ConfigMap",
            Kind::Deployment => "Deployment",
            Kind::Widget => "Widget",
        }
    }

    pub(super) fn api_version(self) -> String {
        match self {
            Kind::ConfigMap => "v1".to_owned(),
            Kind::Deployment => "apps/v1".to_owned(),
            Kind::Widget => format!("{GROUP}/v1"),
        }
    }

    /// An object with what it must have.
    fn minimal(self, name: &str) -> Value {
        let mut object =
            json!({"apiVersion": self.api_version(), "kind": self.name(), "metadata": {"name": name}});
        match self {
            Kind::ConfigMap => {}
            Kind::Deployment => {
                object["spec"] = json!({
                    "selector": {"matchLabels": {"of": "deployment"}},
                    "template": {
                        "metadata": {"labels": {"of": "deployment"}},
                        "spec": {"containers": [{"name": "main", "image": "example.com/main:1"}]},
                    },
                });
            }
            Kind::Widget => object["spec"] = json!({"size": "small"}),
        }
        object
    }

    /// A whole object, most often a valid one.
    fn whole(self, rng: &mut Rng, name: &str) -> Value {
        let mut object = self.minimal(name);
        let random = self.partial(rng, name);
        merge(&mut object, random);
        object
    }

    /// Some fields of an object.
    fn partial(self, rng: &mut Rng, name: &str) -> Value {
        let mut object = json!({});
        if rng.u8(..10) < 6 {
            object["metadata"] = metadata(rng);
        }
        match self {
            Kind::ConfigMap => {
                if rng.u8(..10) < 8 {
                    object["data"] =
                        subset(rng, &[("x", &["1", "2"]), ("y", &["1", "2"]), ("z", &["", "3"])]);
                }
                match rng.u8(..20) {
                    0 => object["binaryData"] = json!({"x": "AAEC"}),
                    1 => object["immutable"] = rng.bool().into(),
                    2 => object["unknown"] = "field".into(),
                    3 => object["data"] = json!({"bad key": "1"}),
                    _ => {}
                }
            }
            Kind::Deployment => deployment(rng, &mut object),
            Kind::Widget => widget(rng, name, &mut object),
        }
        object
    }

    fn json_patch(self, rng: &mut Rng) -> Value {
        let paths: &[(&str, Value)] = match self {
            Kind::ConfigMap => &[
                ("/metadata/labels/app", json!("a")),
                ("/metadata/labels", json!({"app": "b"})),
                ("/metadata/finalizers", json!([FINALIZER])),
                ("/data/x", json!("9")),
                ("/data/y", json!("8")),
                ("/data", json!({"x": "7"})),
            ],
            Kind::Deployment => &[
                ("/metadata/labels/app", json!("a")),
                ("/metadata/annotations", json!({"note": "3"})),
                ("/spec/replicas", json!(2)),
                ("/spec/template/spec/containers/0/image", json!("example.com/main:9")),
                ("/spec/template/spec/containers/-", json!({"name": "side", "image": "example.com/side:1"})),
                ("/spec/template/spec/containers/1", json!({"name": "side", "image": "example.com/side:2"})),
                ("/spec/paused", json!(true)),
            ],
            Kind::Widget => &[
                ("/metadata/labels/app", json!("b")),
                ("/metadata/finalizers", json!([FINALIZER])),
                ("/spec/size", json!("large")),
                ("/spec/replicas", json!(3)),
                ("/spec/tags/-", json!("d")),
                ("/spec/tags/0", json!("e")),
                ("/spec/parts/0/count", json!(4)),
                ("/spec/mode", json!("slow")),
                ("/spec/extra/deep", json!({"er": [1, 2]})),
            ],
        };
        let mut operations = Vec::new();
        for _ in 0..=rng.u8(..2) {
            let (path, value) = &any(rng, paths);
            operations.push(match rng.u8(..10) {
                0..6 => json!({"op": "add", "path": path, "value": value}),
                6 | 7 => json!({"op": "replace", "path": path, "value": value}),
                8 => json!({"op": "remove", "path": path}),
                _ => json!({"op": "test", "path": path, "value": value}),
            });
        }
        Value::Array(operations)
    }

    fn status(self, rng: &mut Rng, name: &str) -> Request {
        let path = query(rng, &format!("/{name}/status"));
        let status = match self {
            Kind::ConfigMap => json!({"phase": "None"}),
            Kind::Deployment => json!({"replicas": rng.u8(..3), "observedGeneration": rng.u8(1..3)}),
            Kind::Widget => json!({"phase": any(rng, &["Ready", "Broken"]), "replicas": rng.u8(..3)}),
        };
        if rng.u8(..3) == 0 {
            let mut body = self.whole(rng, name);
            body["status"] = status;
            return Request::new(self, Method::PUT, path).with("application/json", body);
        }
        let mut patch = json!({"status": status});
        if rng.bool() {
            merge(&mut patch, self.partial(rng, name));
        }
        if rng.u8(..4) == 0 {
            patch["apiVersion"] = self.api_version().into();
            patch["kind"] = self.name().into();
            patch["metadata"]["name"] = name.into();
            let path = format!("/{name}/status?fieldManager=status&force={}", rng.bool());
            return Request::new(self, Method::PATCH, path).with(APPLY_PATCH, patch);
        }
        Request::new(self, Method::PATCH, path).with(MERGE_PATCH, patch)
    }

    fn scale(self, rng: &mut Rng, name: &str) -> Request {
        let path = format!("/{name}/scale");
        match rng.u8(..3) {
            0 => Request::new(self, Method::GET, path),
            1 => {
                let mut scale = json!({
                    "apiVersion": "autoscaling/v1", "kind": "Scale",
                    "metadata": {"name": name, "namespace": "$namespace"}, "spec": {"replicas": rng.i8(-1..4)},
                });
                if rng.bool() {
                    scale["metadata"]["resourceVersion"] = json!(format!("$version:{self:?}/{name}"));
                }
                Request::new(self, Method::PUT, query(rng, &path)).with("application/json", scale)
            }
            _ => {
                let patch = json!({"spec": {"replicas": rng.u8(..4)}});
                Request::new(self, Method::PATCH, query(rng, &path)).with(MERGE_PATCH, patch)
            }
        }
    }
}

fn deployment(rng: &mut Rng, object: &mut Value) {
    if rng.u8(..10) < 5 {
        object["spec"]["replicas"] = rng.u8(..4).into();
    }
    if rng.u8(..10) < 6 {
        let mut containers = Vec::new();
        for name in ["main", "side"] {
            if name == "side" && rng.bool() {
                continue;
            }
            let mut container =
                json!({"name": name, "image": format!("example.com/{name}:{}", rng.u8(1..3))});
            if rng.bool() {
                let value = rng.u8(..3).to_string();
                container["env"] = json!([{"name": any(rng, &["A", "B"]), "value": value}]);
            }
            if rng.u8(..3) == 0 {
                container["ports"] = json!([{"containerPort": if name == "main" { 80 } else { 81 }}]);
            }
            if rng.u8(..4) == 0 {
                container["resources"] = json!({"limits": {"cpu": any(rng, &["100m", "0.1", "1"])}});
            }
            containers.push(container);
        }
        object["spec"]["template"]["spec"]["containers"] = json!(containers);
    }
    match rng.u8(..20) {
        0 => object["spec"]["strategy"] = json!({"type": "Recreate"}),
        1 => object["spec"]["minReadySeconds"] = rng.u8(..3).into(),
        2 => object["spec"]["unknown"] = 1.into(),
        3 => object["spec"]["replicas"] = json!(-1),
        4 => object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5.into(),
        _ => {}
    }
}

fn widget(rng: &mut Rng, name: &str, object: &mut Value) {
    let spec = &mut object["spec"];
    if rng.u8(..10) < 4 {
        spec["size"] = ["small", "large", "huge", "Bad"][usize::from(rng.u8(..20).saturating_sub(16))].into();
    }
    if rng.u8(..10) < 4 {
        spec["replicas"] = rng.u8(..7).into();
    }
    if rng.u8(..10) < 3 {
        spec["mode"] = any(rng, &["fast", "slow", "fast", "wrong"]).into();
    }
    if rng.u8(..10) < 3 {
        let tags: Vec<&str> = ["p", "q", "r"].into_iter().filter(|_| rng.bool()).collect();
        spec["tags"] = json!(tags);
    }
    if rng.u8(..10) < 3 {
        let names = ["p", "q", "r"].into_iter().filter(|_| rng.bool()).collect::<Vec<_>>();
        let parts: Vec<Value> =
            names.into_iter().map(|part| json!({"name": part, "count": rng.u8(..3)})).collect();
        spec["parts"] = json!(parts);
    }
    match rng.u8(..16) {
        0 => spec["extra"] = json!({"any": [1, {"b": null}], "of": name}),
        1 => spec["port"] = 80.into(),
        2 => spec["port"] = "http".into(),
        3 => spec["unknown"] = true.into(),
        4 => spec["replicas"] = "three".into(),
        5 => spec["extra"] = json!({"other": 1.5}),
        _ => {}
    }
    if object["spec"].is_null() {
        object["spec"] = json!({});
    }
}

/// Puts the members of a value into another.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
