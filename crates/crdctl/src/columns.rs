//! The columns of a resource type: its CRD's printer columns, rendered as kube-apiserver does for `kubectl get`.

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};

use crate::{connection::Connection, resource::ResourceType};

/// The columns shown in addition to an object's namespace and name.
pub(crate) struct Columns {
    columns: kube_tables::Columns,
    /// The index and the name of each column that is shown.
    shown: Vec<(usize, String)>,
}

impl Columns {
    /// Reads the columns from the resource's CRD. The age is appended unless one of them shows it, and is the only column
    /// if there is no CRD or the user may not read it.
    pub(crate) async fn of(connection: &Connection, resource: &ResourceType, wide: bool) -> Result<Self> {
        let printer_columns = match resource.api.group.as_str() {
            "" => Vec::new(),
            _ => printer_columns(connection, resource).await?,
        };
        Ok(Self::new(printer_columns, wide))
    }

    pub(crate) fn new(mut printer_columns: Vec<Value>, wide: bool) -> Self {
        let is_age = |column: &Value| column["jsonPath"] == ".metadata.creationTimestamp";
        if !printer_columns.iter().any(is_age) {
            printer_columns
                .push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
        }
        let columns = kube_tables::Columns::custom(Some(&Value::Array(printer_columns)));
        // The first column is the name, which every line has anyway.
        let shown = columns.headers().enumerate().skip(1).filter(|(_, column)| wide || column.priority == 0);
        let shown = shown.map(|(place, column)| (place, column.name.to_owned())).collect();
        Self { columns, shown }
    }

    /// Returns the names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.shown.iter().map(|(_, name)| name.as_str())
    }

    /// Returns an object's cells, in the order of the names. A cell is empty if the object has no such value.
    pub(crate) fn cells(&self, object: &DynamicObject, now: Timestamp) -> Vec<String> {
        // A DynamicObject was decoded from JSON, so it can be encoded again.
        let cells = self.columns.cells(&serde_json::to_value(object).unwrap_or_default(), now);
        let text = |cell: &Value| match cell {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.shown.iter().map(|(place, _)| cells.get(*place).map(text).unwrap_or_default()).collect()
    }
}

/// Reads the `additionalPrinterColumns` of the resource's version from its CRD.
async fn printer_columns(connection: &Connection, resource: &ResourceType) -> Result<Vec<Value>> {
    let crd = ApiResource::erase::<CustomResourceDefinition>(&());
    let crds: Api<DynamicObject> = Api::all_with(connection.client.clone(), &crd);
    let name = resource.qualified_plural();
    let asked = async {
        match crds.get_opt(&name).await {
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
            answer => answer,
        }
    };
    let found = connection.ask(&format!("read the CRD {name}"), asked).await?;
    let version = found.and_then(|crd| {
        let versions = crd.data["spec"]["versions"].as_array()?;
        versions.iter().find(|version| version["name"] == resource.api.version.as_str()).cloned()
    });
    Ok(version
        .and_then(|version| version["additionalPrinterColumns"].as_array().cloned())
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(columns: &Value, wide: bool) -> Columns {
        Columns::new(columns.as_array().unwrap().clone(), wide)
    }

    fn blog() -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "web.helloworld/v1", "kind": "Blog",
            "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"url": "https://example.com", "posts": 3},
        }))
        .unwrap()
    }

    #[test]
    fn the_age_is_appended_to_a_crds_columns() {
        let columns = json!([
            {"name": "URL", "type": "string", "jsonPath": ".spec.url"},
            {"name": "Posts", "type": "integer", "jsonPath": ".spec.posts", "priority": 1},
            {"name": "Missing", "type": "string", "jsonPath": ".spec.nothing"},
        ]);
        let now = "2026-01-03T00:00:00Z".parse().unwrap();

        let table = of(&columns, false);
        assert_eq!(table.names().collect::<Vec<_>>(), ["URL", "Missing", "Age"]);
        assert_eq!(table.cells(&blog(), now), ["https://example.com", "", "2d"]);

        let wide = of(&columns, true);
        assert_eq!(wide.names().collect::<Vec<_>>(), ["URL", "Posts", "Missing", "Age"]);
        assert_eq!(wide.cells(&blog(), now), ["https://example.com", "3", "", "2d"]);
    }

    #[test]
    fn a_type_without_columns_shows_its_age() {
        assert_eq!(of(&json!([]), false).names().collect::<Vec<_>>(), ["Age"]);
    }

    #[test]
    fn the_age_is_not_shown_twice() {
        let columns = json!([{"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]);
        assert_eq!(of(&columns, false).names().collect::<Vec<_>>(), ["Since"]);
    }
}
