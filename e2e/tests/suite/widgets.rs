//! A custom resource that uses a bit of everything, for all tests in their own namespaces.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{APPLY_PATCH, Http, JSON_PATCH, MERGE_PATCH, Reply},
};
use serde_json::{Value, json};

pub(crate) const GROUP: &str = "suite.example.com";

/// The error that the server adds when it could not check all CEL rules of a schema.
pub(crate) const NOT_ALL_CHECKED: &str = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// The widgets of one namespace, accessed as the administrator.
pub(crate) struct Widgets {
    pub(crate) http: Http,
    /// The path of the collection.
    pub(crate) path: String,
    pub(crate) group: String,
}

/// Installs the type in the group that all tests share, and returns the widgets of the test's namespace.
pub(crate) async fn widgets(cluster: &Cluster) -> Result<Widgets> {
    widgets_of_group(cluster, GROUP).await
}

/// Installs the type in a group that the test may remove, and returns the widgets of the test's namespace.
pub(crate) async fn widgets_of_group(cluster: &Cluster, group: &str) -> Result<Widgets> {
    let path = format!("{CRDS}/widgets.{group}?fieldManager=suite");
    cluster.admin().patch(&path, APPLY_PATCH, &crd(group)).await?.ok()?;
    widgets_of_existing(cluster, group).await
}

/// Waits until the CRD that the test has created in a group is served, and returns the widgets of the test's namespace.
pub(crate) async fn widgets_of_existing(cluster: &Cluster, group: &str) -> Result<Widgets> {
    let http = cluster.admin();
    let path = format!("/apis/{group}/v1/namespaces/{}/widgets", cluster.namespace());
    eventually(Duration::from_secs(20), || async {
        let crd = http.get(&format!("{CRDS}/widgets.{group}")).await?.ok()?;
        ensure!(condition(&crd, "Established") == "True", "not established: {}", crd["status"]);
        http.get(&path).await?.ok()
    })
    .await?;
    Ok(Widgets { http, path, group: group.to_owned() })
}

pub(crate) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Returns the status of a condition, or an empty string if the object does not have it.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}

/// Returns the CRD for any group. Only the shared group has the short name, because kubectl warns about ambiguous ones.
pub(crate) fn crd(group: &str) -> Value {
    let short_names: &[&str] = if group == GROUP { &["wd"] } else { &[] };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList",
                "shortNames": short_names,
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "string", "jsonPath": ".spec.size"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1,
                     "description": "How many."},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "selectableFields": [{"jsonPath": ".spec.size"}],
                "schema": {"openAPIV3Schema": schema()},
            }],
        },
    })
}

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {
                        "type": "string", "minLength": 1, "maxLength": 10, "pattern": "^[a-z]+$",
                        "x-kubernetes-validations": [{"rule": "self != 'huge'", "message": "huge is too big"}],
                    },
                    "replicas": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 5, "default": 1},
                    "mode": {"type": "string", "enum": ["fast", "slow"]},
                    "tags": {
                        "type": "array", "maxItems": 3, "items": {"type": "string"},
                        "x-kubernetes-list-type": "set",
                    },
                    "parts": {
                        "type": "array",
                        "items": {
                            "type": "object", "required": ["name"],
                            "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
                        },
                        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    },
                    "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "port": {"x-kubernetes-int-or-string": true},
                },
                "x-kubernetes-validations": [
                    {"rule": "!has(oldSelf.mode) || has(self.mode)", "message": "mode cannot be removed"},
                ],
            },
            "status": {
                "type": "object",
                "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"}},
            },
        },
    })
}

impl Widgets {
    /// Returns the path of a widget.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Returns a widget that is not on the server yet.
    pub(crate) fn draft(&self, name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": format!("{}/v1", self.group), "kind": "Widget",
            "metadata": {"name": name}, "spec": spec,
        })
    }

    /// Sends a request to create a widget.
    pub(crate) async fn post(&self, name: &str, spec: &Value) -> Result<Reply> {
        self.http.post(&self.path, &self.draft(name, spec)).await
    }

    /// Creates a small widget.
    pub(crate) async fn create(&self, name: &str) -> Result<Value> {
        self.post(name, &json!({"size": "small"})).await?.code(201)
    }

    /// Creates a small widget with labels.
    pub(crate) async fn create_labelled(&self, name: &str, labels: &Value) -> Result<Value> {
        let mut widget = self.draft(name, &json!({"size": "small"}));
        widget["metadata"]["labels"] = labels.clone();
        self.http.post(&self.path, &widget).await?.code(201)
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Reply> {
        self.http.get(&self.at(name)).await
    }

    pub(crate) async fn merge(&self, name: &str, patch: &Value) -> Result<Reply> {
        self.http.patch(&self.at(name), MERGE_PATCH, patch).await
    }

    pub(crate) async fn json_patch(&self, name: &str, patch: &Value) -> Result<Reply> {
        self.http.patch(&self.at(name), JSON_PATCH, patch).await
    }

    /// Applies a spec with server-side apply.
    pub(crate) async fn apply(&self, name: &str, query: &str, spec: &Value) -> Result<Reply> {
        self.http.patch(&format!("{}?{query}", self.at(name)), APPLY_PATCH, &self.draft(name, spec)).await
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<Reply> {
        self.http.delete(&self.at(name)).await
    }

    /// Lists widgets with a query, and returns their names.
    pub(crate) async fn names(&self, query: &str) -> Result<Vec<String>> {
        Ok(names(&self.http.get(&format!("{}?{query}", self.path)).await?.code(200)?))
    }
}

/// Returns the names in a list, in its order.
pub(crate) fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

pub(crate) fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
}
