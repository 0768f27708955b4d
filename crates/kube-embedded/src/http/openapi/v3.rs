//! The OpenAPI v3 document of one version of a group, as served at `/openapi/v3/apis/GROUP/VERSION`.
//!
//! Clients read the fields of a kind from it (`kubectl explain`), the parameters of requests (`fieldValidation`), and
//! the types for server-side apply. It has the same paths, types and extensions as kube-apiserver's; the descriptions
//! of parameters, of built-in types and of the fields of `ObjectMeta` and similar types are omitted.

use kube_builtin::schemas;
use serde_json::{Map, Value, json};

use crate::resource::{self, Resource};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

const CONVENTIONS: &str =
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
const LIST_PARAMETERS: [&str; 10] = [
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];

/// The document for `version` of `group`, with the built-in resources and those of the CustomResourceDefinitions that
/// serve it.
pub(super) fn document<'a>(
    group: &str,
    version: &str,
    resources: impl IntoIterator<Item = &'a Resource>,
    crds: impl IntoIterator<Item = &'a Value>,
) -> Value {
    let mut document = Document { paths: Map::new(), schemas: Map::new() };
    for name in [OBJECT_META, LIST_META, STATUS, DELETE_OPTIONS, PATCH] {
        schemas::expand(name, &mut document.schemas);
    }
    for resource in resources {
        document.add_builtin(resource);
    }
    for crd in crds {
        let spec = &crd["spec"];
        let served = spec["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|served| served["name"] == version && served["served"] == true);
        if let (true, Some(version)) = (spec["group"] == group, served) {
            document.add(&Kind::of(spec, version));
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"},
        "paths": document.paths,
        "components": {"schemas": document.schemas},
    })
}

struct Document {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

/// A kind in one version.
struct Kind<'a> {
    group: &'a str,
    version: &'a str,
    plural: &'a str,
    kind: &'a str,
    list_kind: &'a str,
    namespaced: bool,
    /// The version in its CustomResourceDefinition. Null for a built-in kind.
    definition: &'a Value,
}

impl<'a> Kind<'a> {
    fn of(spec: &'a Value, definition: &'a Value) -> Self {
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        Self {
            group: text(&spec["group"]),
            version: text(&definition["name"]),
            plural: text(&spec["names"]["plural"]),
            kind: text(&spec["names"]["kind"]),
            list_kind: text(&spec["names"]["listKind"]),
            namespaced: spec["scope"] == "Namespaced",
            definition,
        }
    }

    fn of_builtin(resource: &'a Resource) -> Self {
        Self {
            group: &resource.group,
            version: &resource.version,
            plural: &resource.plural,
            kind: &resource.kind,
            list_kind: &resource.list_kind,
            namespaced: resource.namespaced,
            definition: &Value::Null,
        }
    }

    fn is_builtin(&self) -> bool {
        self.definition.is_null()
    }

    /// The path of its objects in all namespaces, and the path where they are written.
    fn roots(&self) -> (String, String) {
        let base = match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        let all = format!("{base}/{}", self.plural);
        let root = if self.namespaced {
            format!("{base}/namespaces/{{namespace}}/{}", self.plural)
        } else {
            all.clone()
        };
        (all, root)
    }

    /// The group as named in operations.
    fn group_name(&self) -> &'a str {
        match self.group {
            "" => "core",
            group if self.is_builtin() => group.trim_end_matches(".k8s.io"),
            group => group,
        }
    }

    /// The name of a schema: `com.example.v1.Thing`.
    fn schema_name(&self, kind: &str) -> String {
        if let Some(name) = schemas::name(&resource::api_version(self.group, self.version), kind) {
            return name.to_owned();
        }
        let group: Vec<_> = self.group.rsplit('.').collect();
        format!("{}.{}.{kind}", group.join("."), self.version)
    }

    fn selectable_fields(&self) -> Option<Value> {
        let fields = self.definition["selectableFields"].as_array()?;
        let path = |field: &Value| json!({"fieldPath": field["jsonPath"].as_str().unwrap_or_default().trim_start_matches('.')});
        Some(fields.iter().map(path).collect())
    }
}

impl Document {
    fn add(&mut self, kind: &Kind<'_>) {
        let (one, many) = (kind.schema_name(kind.kind), kind.schema_name(kind.list_kind));
        self.schemas.insert(one.clone(), object_schema(kind));
        self.schemas.insert(many.clone(), list_schema(kind, &one));
        self.add_paths(kind, &one, &many);
        let root = kind.roots().1;
        let subresources = &kind.definition["subresources"];
        if subresources["status"].is_object() {
            let status = item(kind, &one, "status of", "Status");
            self.paths.insert(format!("{root}/{{name}}/status"), status);
        }
        if subresources["scale"].is_object() {
            schemas::expand(SCALE, &mut self.schemas);
            let scale = item(kind, SCALE, "scale of", "Scale");
            self.paths.insert(format!("{root}/{{name}}/scale"), scale);
        }
    }

    fn add_builtin(&mut self, resource: &Resource) {
        let kind = Kind::of_builtin(resource);
        let (one, many) = (kind.schema_name(kind.kind), kind.schema_name(kind.list_kind));
        for name in [&one, &many] {
            schemas::expand(name, &mut self.schemas);
        }
        self.add_paths(&kind, &one, &many);
        let (all, root) = kind.roots();
        let has = |verb: &str| resource.verbs.iter().any(|it| it == verb);
        for (path, method, verb) in [
            (all.clone(), "get", "list"),
            (root.clone(), "get", "list"),
            (root.clone(), "post", "create"),
            (root.clone(), "delete", "deletecollection"),
            (format!("{root}/{{name}}"), "get", "get"),
            (format!("{root}/{{name}}"), "put", "update"),
            (format!("{root}/{{name}}"), "patch", "patch"),
            (format!("{root}/{{name}}"), "delete", "delete"),
        ] {
            if !has(verb)
                && let Some(operations) = self.paths.get_mut(&path).and_then(Value::as_object_mut)
            {
                operations.remove(method);
            }
        }
        let operated =
            |item: &Value| item.as_object().is_some_and(|it| it.keys().any(|key| key != "parameters"));
        self.paths.retain(|_, item| operated(item));
        for subresource in &resource.subresources {
            let api_version = match subresource.version.as_str() {
                "" => resource.api_version(),
                version => resource::api_version(&subresource.group, version),
            };
            let Some(schema) = schemas::name(&api_version, &subresource.kind) else { continue };
            schemas::expand(schema, &mut self.schemas);
            let has = |verb: &str| subresource.verbs.iter().any(|it| it == verb);
            let part = format!("{} of", subresource.name);
            let mut item = item(&kind, schema, &part, &capitalized(&subresource.name));
            for (method, verb) in [("get", "get"), ("put", "update"), ("patch", "patch")] {
                if let Some(operations) = item.as_object_mut().filter(|_| !has(verb)) {
                    operations.remove(method);
                }
            }
            if has("create") {
                let name = format!("createNamespaced{}{}", kind.kind, subresource.kind);
                let queries = ["dryRun", "fieldManager", "fieldValidation"];
                item["post"] = operation(&kind, &format!("create {part}"), &name, "post", schema, &queries);
                item["post"]["requestBody"] = body(schema, &["application/json", "application/yaml"]);
            }
            if operated(&item) {
                self.paths.insert(format!("{root}/{{name}}/{}", subresource.name), item);
            }
        }
    }

    /// Adds the paths of a kind. `one` is the schema of an object, `many` that of a list.
    fn add_paths(&mut self, kind: &Kind<'_>, one: &str, many: &str) {
        let (all, root) = kind.roots();
        let prefix = if kind.namespaced { "Namespaced" } else { "" };
        if kind.namespaced {
            let name = format!("list{}ForAllNamespaces", kind.kind);
            let mut listed =
                json!({"get": operation(kind, "list objects of kind", &name, "list", many, &[])});
            let mut names: Vec<_> = LIST_PARAMETERS.iter().chain(&["pretty"]).collect();
            names.sort_unstable();
            listed["parameters"] = parameters(names);
            self.paths.insert(all, listed);
        }
        let name = |verb: &str| format!("{verb}{prefix}{}", kind.kind);
        let is_vowel = |c: char| matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u');
        let article = if kind.kind.starts_with(is_vowel) { "an" } else { "a" };
        let mut collection = json!({
            "get": operation(kind, "list objects of kind", &name("list"), "list", many, &LIST_PARAMETERS),
            "post": operation(kind, &format!("create {article}"), &name("create"), "post", one, &["dryRun", "fieldManager", "fieldValidation"]),
            "delete": operation(kind, "delete collection of", &format!("deleteCollection{prefix}{}", kind.kind), "deletecollection", STATUS, &LIST_PARAMETERS),
        });
        collection["post"]["requestBody"] = body(one, &["application/json", "application/yaml"]);
        collection["parameters"] = path_parameters(kind, false);
        self.paths.insert(root.clone(), collection);

        let mut item = item(kind, one, "", "");
        item["delete"] = operation(
            kind,
            &format!("delete {article}"),
            &name("delete"),
            "delete",
            STATUS,
            &[
                "dryRun",
                "gracePeriodSeconds",
                "ignoreStoreReadErrorWithClusterBreakingPotential",
                "orphanDependents",
                "propagationPolicy",
            ],
        );
        item["delete"]["requestBody"] = body(DELETE_OPTIONS, &["application/json", "application/yaml"]);
        item["delete"]["requestBody"]["required"].take();
        self.paths.insert(format!("{root}/{{name}}"), item);
    }
}

/// Reading and writing an object or a subresource.
fn item(kind: &Kind<'_>, schema: &str, part: &str, suffix: &str) -> Value {
    let prefix = if kind.namespaced { "Namespaced" } else { "" };
    let name = |verb: &str| format!("{verb}{prefix}{}{suffix}", kind.kind);
    let describe =
        |verb: &str| format!("{verb} {part}{}the specified", if part.is_empty() { "" } else { " " });
    let mut item = json!({
        "get": operation(kind, &describe("read"), &name("read"), "get", schema, &["resourceVersion"]),
        "put": operation(kind, &describe("replace"), &name("replace"), "put", schema, &["dryRun", "fieldManager", "fieldValidation"]),
        "patch": operation(kind, &describe("partially update"), &name("patch"), "patch", schema, &["dryRun", "fieldManager", "fieldValidation", "force"]),
    });
    item["put"]["requestBody"] = body(schema, &["application/json", "application/yaml"]);
    let patches = [
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];
    item["patch"]["requestBody"] = body(PATCH, if kind.is_builtin() { &patches } else { &patches[..3] });
    item["parameters"] = path_parameters(kind, true);
    item
}

fn operation(kind: &Kind<'_>, verb: &str, name: &str, action: &str, schema: &str, queries: &[&str]) -> Value {
    let group: String = kind.group_name().split('.').map(capitalized).collect();
    let version = capitalized(kind.version);
    // `listThing` becomes `listExampleComV1Thing`: the verb is the part in lower case.
    let verb_end = name.find(|c: char| c.is_ascii_uppercase()).unwrap_or(name.len());
    let (lower, rest) = name.split_at(verb_end);
    let responses = match action {
        "post" => {
            json!({"200": answer(schema, "OK"), "201": answer(schema, "Created"), "202": answer(schema, "Accepted")})
        }
        "put" => json!({"200": answer(schema, "OK"), "201": answer(schema, "Created")}),
        "delete" => json!({"200": answer(schema, "OK"), "202": answer(schema, "Accepted")}),
        _ => json!({"200": answer(schema, "OK")}),
    };
    let mut tag = group.clone();
    if let Some(first) = tag.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let mut operation = json!({
        "tags": [format!("{tag}_{}", kind.version)],
        "description": format!("{verb} {}", kind.kind),
        "operationId": format!("{lower}{group}{version}{rest}"),
        "responses": responses,
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    });
    operation["responses"]["401"] = json!({"description": "Unauthorized"});
    if !queries.is_empty() {
        operation["parameters"] = parameters(queries);
    }
    operation
}

fn answer(schema: &str, description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/json": {"schema": reference(schema)}, "application/yaml": {"schema": reference(schema)}},
    })
}

fn body(schema: &str, types: &[&str]) -> Value {
    let content: Map<_, _> =
        types.iter().map(|media| ((*media).to_owned(), json!({"schema": reference(schema)}))).collect();
    json!({"content": content, "required": true})
}

fn parameters<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> Value {
    let parameter = |name: &&str| {
        let kind = match *name {
            "allowWatchBookmarks"
            | "force"
            | "ignoreStoreReadErrorWithClusterBreakingPotential"
            | "orphanDependents"
            | "sendInitialEvents"
            | "watch" => "boolean",
            "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
            _ => "string",
        };
        json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
    };
    names.into_iter().map(parameter).collect()
}

fn path_parameters(kind: &Kind<'_>, named: bool) -> Value {
    let mut names = Vec::new();
    if named {
        names.push(("name", "path"));
    }
    if kind.namespaced {
        names.push(("namespace", "path"));
    }
    names.push(("pretty", "query"));
    let parameter = |(name, place): (&str, &str)| {
        let mut parameter =
            json!({"name": name, "in": place, "schema": {"type": "string", "uniqueItems": true}});
        if place == "path" {
            parameter["required"] = true.into();
        }
        parameter
    };
    names.into_iter().map(parameter).collect()
}

/// The CRD's schema, with the fields that every resource has.
fn object_schema(kind: &Kind<'_>) -> Value {
    let mut schema = kind.definition["schema"]["openAPIV3Schema"].clone();
    if !schema.is_object() {
        schema = json!({"type": "object"});
    }
    embed(&mut schema);
    schema["properties"]["apiVersion"] = api_version();
    schema["properties"]["kind"] = kind_field();
    schema["properties"]["metadata"] = object_meta();
    schema["x-kubernetes-group-version-kind"] =
        json!([{"group": kind.group, "kind": kind.kind, "version": kind.version}]);
    if let Some(fields) = kind.selectable_fields() {
        schema["x-kubernetes-selectable-fields"] = fields;
    }
    schema
}

fn list_schema(kind: &Kind<'_>, item: &str) -> Value {
    let mut schema = json!({
        "description": format!("{} is a list of {}", kind.list_kind, kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": api_version(),
            "items": {
                "description": format!("List of {}. More info: {CONVENTIONS}", kind.plural),
                "type": "array",
                "items": reference(item),
            },
            "kind": kind_field(),
            "metadata": {
                "description": format!("Standard list metadata. More info: {CONVENTIONS}#types-kinds"),
                "allOf": [reference(LIST_META)],
            },
        },
        "x-kubernetes-group-version-kind": [{"group": kind.group, "kind": kind.list_kind, "version": kind.version}],
    });
    if let Some(fields) = kind.selectable_fields() {
        schema["x-kubernetes-selectable-fields"] = fields;
    }
    schema
}

/// Adds the fields of embedded resources, and expands `x-kubernetes-int-or-string`. The depth is the schema's, which is
/// bounded.
fn embed(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for below in ["items", "additionalProperties"] {
        if let Some(inside) = map.get_mut(below) {
            embed(inside);
        }
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(embed);
    }
    let is = |map: &Map<String, Value>, name: &str| map.get(name) == Some(&Value::Bool(true));
    if is(map, "x-kubernetes-int-or-string") {
        map.remove("type");
        let types = json!([{"type": "integer"}, {"type": "string"}]);
        let in_all_of = map
            .get("allOf")
            .and_then(Value::as_array)
            .is_some_and(|parts| parts.iter().any(|part| part["anyOf"] == types));
        if !in_all_of {
            map.entry("anyOf").or_insert(types);
        }
    }
    if is(map, "x-kubernetes-embedded-resource") {
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        properties["apiVersion"] = json!({
            "description": format!("apiVersion defines the versioned schema of this representation of an object. More info: {CONVENTIONS}#resources"),
            "type": "string",
        });
        properties["kind"] = json!({
            "description": format!("kind is a string value representing the type of this object. In CamelCase. More info: {CONVENTIONS}#types-kinds"),
            "type": "string",
        });
        properties["metadata"] = object_meta();
        let mut required = map.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for field in ["kind", "apiVersion"] {
            if !required.iter().any(|name| name == field) {
                required.push(field.into());
            }
        }
        map.insert("required".to_owned(), required.into());
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn api_version() -> Value {
    json!({
        "description": format!(
            "APIVersion defines the versioned schema of this representation of an object. Servers should convert \
             recognized schemas to the latest internal value, and may reject unrecognized values. More info: \
             {CONVENTIONS}#resources"
        ),
        "type": "string",
    })
}

fn kind_field() -> Value {
    json!({
        "description": format!(
            "Kind is a string value representing the REST resource this object represents. Servers may infer this from \
             the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: \
             {CONVENTIONS}#types-kinds"
        ),
        "type": "string",
    })
}

fn object_meta() -> Value {
    json!({
        "description": format!("Standard object's metadata. More info: {CONVENTIONS}#metadata"),
        "allOf": [reference(OBJECT_META)],
    })
}

fn capitalized(word: &str) -> String {
    word.split('-')
        .map(|part| {
            let mut chars = part.chars();
            chars
                .next()
                .map(|first| first.to_uppercase().chain(chars).collect::<String>())
                .unwrap_or_default()
        })
        .collect()
}
