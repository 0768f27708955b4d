//! kube-builtin's data about the built-in kinds, generated from a running kube-apiserver and committed.
//!
//! The resources come from its discovery, the types of their fields from its OpenAPI v3 documents, and the objects that every
//! new cluster has from a freshly started server. The descriptions in the documents are omitted.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use e2e::{Cluster, Need, Provider, http::Http};
use serde_json::{Map, Value, json};

/// The folder of the files.
const FOLDER: &str = "crates/kube-builtin/data";
/// The groups, with their versions, resources and subresources.
const RESOURCES: &str = "resources.json";
/// The schemas of all types, by name.
const SCHEMAS: &str = "schemas.json";
/// The objects that a new cluster has, in order of creation.
const OBJECTS: &str = "objects.json";

const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const REFERENCE: &str = "#/components/schemas/";

/// The collections whose initial objects are the same in every cluster.
const COLLECTIONS: [&str; 5] = [
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/rbac.authorization.k8s.io/v1/roles",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
];

/// The command's arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail if a file differs from what the server publishes
    #[arg(long)]
    check: bool,
}

/// Writes the files, or checks them.
#[expect(clippy::print_stderr, reason = "tells the user why nothing was done")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting a runtime")?;
    let files = match runtime.block_on(ask())? {
        Ok(files) => files,
        Err(skipped) => {
            eprintln!("skipped: {}", skipped.0);
            return Ok(());
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    for (name, wanted) in files {
        let path: PathBuf = root.join(FOLDER).join(name);
        if arguments.check {
            let found = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            if found != wanted {
                bail!(
                    "{FOLDER}/{name} differs from what kube-apiserver publishes; run `cargo xtask builtin`"
                );
            }
        } else {
            fs::write(&path, wanted).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Returns the files' names and contents.
async fn ask() -> Result<Result<[(&'static str, String); 3], e2e::Skipped>> {
    // Uses a server of its own, because other tests create objects in a shared one.
    let cluster = match Cluster::start(Provider::Envtest, &[Need::Alone]).await? {
        Ok(cluster) => cluster,
        Err(skipped) => return Ok(Err(skipped)),
    };
    let server = cluster.admin();
    let resources = resources(&server).await.context("fetching the resources")?;
    let schemas = schemas(&server).await.context("fetching the schemas")?;
    let objects = objects(&server).await.context("fetching the objects")?;
    Ok(Ok([(RESOURCES, resources), (SCHEMAS, schemas), (OBJECTS, objects)]))
}

/// Returns the aggregated discovery, reduced to the fields that kube-builtin uses, with the priorities of the APIServices.
async fn resources(server: &Http) -> Result<String> {
    let services = server.get("/apis/apiregistration.k8s.io/v1/apiservices").await?.ok()?;
    let mut groups = Vec::new();
    for path in ["/api", "/apis"] {
        let list = server.get_as(path, DISCOVERY).await?.ok()?;
        groups.extend(array(&list["items"]).map(|it| group(it, &services)));
    }
    Ok(format!("[\n{}\n]\n", groups.join(",\n")))
}

fn group(group: &Value, services: &Value) -> String {
    let name = group["metadata"]["name"].as_str().unwrap_or_default();
    let priority = |version: &Value, field: &str| {
        let named = format!("{}.{name}", version["version"].as_str().unwrap_or_default());
        let service = array(&services["items"]).find(|it| it["metadata"]["name"] == named);
        service.map_or(Value::Null, |service| service["spec"][field].clone())
    };
    let versions = array(&group["versions"]).map(|version| {
        let resources: Vec<String> =
            array(&version["resources"]).map(|it| format!("  {}", resource(it))).collect();
        format!(
            "{{\"version\":{},\"priority\":{},\"resources\":[\n{}\n]}}",
            version["version"],
            priority(version, "versionPriority"),
            resources.join(",\n")
        )
    });
    let versions = versions.collect::<Vec<_>>().join(",");
    let priority = priority(&group["versions"][0], "groupPriorityMinimum");
    format!("{{\"group\":{},\"priority\":{priority},\"versions\":[{versions}]}}", json!(name))
}

fn resource(resource: &Value) -> Value {
    let or_empty = |value: &Value| if value.is_null() { json!([]) } else { value.clone() };
    let subresources = array(&resource["subresources"]).map(|it| {
        let of = &it["responseKind"];
        json!({"name": it["subresource"], "group": of["group"], "version": of["version"], "kind": of["kind"],
               "verbs": it["verbs"]})
    });
    json!({
        "plural": resource["resource"],
        "singular": resource["singularResource"],
        "kind": resource["responseKind"]["kind"],
        "namespaced": resource["scope"] == "Namespaced",
        "verbs": resource["verbs"],
        "shortNames": or_empty(&resource["shortNames"]),
        "categories": or_empty(&resource["categories"]),
        "subresources": subresources.collect::<Vec<_>>(),
    })
}

/// Returns the schemas of all documents.
async fn schemas(server: &Http) -> Result<String> {
    let index = server.get("/openapi/v3").await?.ok()?;
    let paths = index["paths"].as_object().context("an index has paths")?;
    let mut all = BTreeMap::new();
    for path in paths.keys().filter(|path| path.matches('/').count() >= 1 && !path.starts_with('.')) {
        let document = server.get(&format!("/openapi/v3/{path}")).await?.ok()?;
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            let mut schema = compact(schema, false);
            // Each group's document lists these types as its own.
            if schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.len() > 1)
                || name.ends_with("v1.WatchEvent")
                || name.ends_with("v1.DeleteOptions")
            {
                schema.as_object_mut().map(|schema| schema.remove("x-kubernetes-group-version-kind"));
            }
            if let Some(other) = all.insert(name.clone(), schema.clone())
                && other != schema
            {
                bail!("{name} is not the same in all documents");
            }
        }
    }
    let lines: Vec<String> = all.iter().map(|(name, schema)| format!("{}:{schema}", json!(name))).collect();
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}

/// Returns a schema without descriptions, in which references are only names.
fn compact(value: &Value, names: bool) -> Value {
    let Value::Object(members) = value else {
        return match value {
            Value::Array(items) => items.iter().map(|item| compact(item, false)).collect(),
            other => other.clone(),
        };
    };
    let mut out = Map::new();
    for (key, member) in members {
        match key.as_str() {
            "description" if !names && member.is_string() => {}
            "$ref" if !names => drop(out.insert(key.clone(), json!(target(member)))),
            // A reference with sibling fields is wrapped in an `allOf` of one.
            "allOf" if !names => drop(out.insert("$ref".to_owned(), json!(target(&member[0]["$ref"])))),
            "default" | "enum" if !names => drop(out.insert(key.clone(), member.clone())),
            _ => drop(out.insert(key.clone(), compact(member, key == "properties" && !names))),
        }
    }
    Value::Object(out)
}

fn target(reference: &Value) -> &str {
    let reference = reference.as_str().unwrap_or_default();
    reference.strip_prefix(REFERENCE).unwrap_or(reference)
}

/// Returns the objects that a new server has, without the fields that differ between servers.
async fn objects(server: &Http) -> Result<String> {
    let mut lines = Vec::new();
    for path in COLLECTIONS {
        let list = server.get(path).await?.ok()?;
        let kind = list["kind"].as_str().unwrap_or_default().trim_end_matches("List");
        for item in array(&list["items"]) {
            let mut object = item.clone();
            object["apiVersion"] = list["apiVersion"].clone();
            object["kind"] = kind.into();
            let metadata = object["metadata"].as_object_mut().context("an object has metadata")?;
            let kept = ["annotations", "labels", "managedFields", "name", "namespace"];
            metadata.retain(|key, _| kept.contains(&key.as_str()));
            for entry in metadata["managedFields"].as_array_mut().context("managed fields")? {
                entry.as_object_mut().context("an entry is an object")?.remove("time");
            }
            // The rules that aggregation writes are aggregated again.
            if !object["aggregationRule"].is_null() {
                object["rules"] = Value::Null;
            }
            lines.push(object.to_string());
        }
    }
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_facts_are_those_of_the_server() {
        run(&Arguments { check: true }).unwrap_or_else(|error| panic!("{error:#}"));
    }

    #[test]
    fn compact_schemas_have_no_descriptions() {
        let schema = json!({
            "description": "Prose.",
            "type": "object",
            "properties": {
                "description": {"type": "string", "description": "More."},
                "default": {"$ref": "#/components/schemas/a.b.Spec"},
                "spec": {"default": {}, "allOf": [{"$ref": "#/components/schemas/a.b.Spec"}]},
            },
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "description": {"type": "string"}, "default": {"$ref": "a.b.Spec"}, "spec": {"default": {}, "$ref": "a.b.Spec"},
            },
        });
        assert_eq!(compact(&schema, false), expected);
    }
}
