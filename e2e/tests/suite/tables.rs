//! The representations that kubectl requests instead of objects: Table and PartialObjectMetadata.

use anyhow::{Context as _, Result, ensure};
use e2e::Cluster;
use serde_json::{Value, json};

use crate::widgets::{version, widgets};

e2e::on_each_cluster! {
    of_a_list, of_one, objects_in_rows, built_in, of_the_cluster [NoControllers], watch, falls_back,
    errors_are_not_tables, partial_metadata, component_statuses
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Returns the name, type, format and priority of each column.
fn columns(table: &Value) -> Result<Vec<Value>> {
    let columns = table["columnDefinitions"].as_array().context("columnDefinitions")?;
    Ok(columns
        .iter()
        .map(|column| json!([column["name"], column["type"], column["format"], column["priority"]]))
        .collect())
}

async fn of_a_list(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.post("one", &json!({"size": "small", "replicas": 3})).await?.code(201)?;
    widgets.create("two").await?;
    let table = widgets.http.get_as(&widgets.path, TABLE).await?.code(200)?;
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(
        columns(&table)?,
        [
            json!(["Name", "string", "name", 0]),
            json!(["Size", "string", "", 0]),
            json!(["Replicas", "integer", "", 1]),
            json!(["Age", "date", "", 0]),
        ]
    );
    let description =
        |index: usize| table["columnDefinitions"][index]["description"].as_str().unwrap_or_default();
    assert_eq!(description(2), "How many.");
    assert_eq!(description(1), "Custom resource definition column (in JSONPath format): .spec.size");
    let rows = table["rows"].as_array().context("rows")?;
    assert_eq!(rows.len(), 2);
    let cells = rows[0]["cells"].as_array().context("cells")?;
    assert_eq!(cells[..3], [json!("one"), json!("small"), json!(3)]);
    ensure!(cells[3].as_str().is_some_and(|age| age.ends_with('s')), "{cells:?}");
    assert!(version(&table).parse::<u64>().is_ok());
    Ok(())
}

async fn of_one(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let table = widgets.http.get_as(&widgets.at("one"), TABLE).await?.code(200)?;
    assert_eq!(version(&table), version(&one));
    assert_eq!(table["rows"][0]["cells"][0], "one");
    Ok(())
}

async fn objects_in_rows(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let object = async |query: &str| {
        let table = widgets.http.get_as(&format!("{}?{query}", widgets.path), TABLE).await?.code(200)?;
        anyhow::Ok(table["rows"][0]["object"].clone())
    };
    let metadata =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": one["metadata"]});
    assert_eq!(object("").await?, metadata);
    assert_eq!(object("includeObject=Metadata").await?, metadata);
    assert_eq!(object("includeObject=None").await?, Value::Null);
    assert_eq!(object("includeObject=Object").await?, one);
    Ok(())
}

async fn built_in(cluster: Cluster) -> Result<()> {
    let maps = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace());
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1", "b": "2"}});
    cluster.admin().post(&maps, &map).await?.code(201)?;
    let table = cluster.admin().get_as(&format!("{maps}/m"), TABLE).await?.code(200)?;
    let names: Vec<_> = columns(&table)?.iter().map(|column| column[0].clone()).collect();
    assert_eq!(names, ["Name", "Data", "Age"]);
    // What kubectl shows of a column are the field's own words.
    let descriptions =
        |index: usize| table["columnDefinitions"][index]["description"].as_str().unwrap_or_default();
    ensure!(descriptions(0).starts_with("Name must be unique within a namespace."), "{}", descriptions(0));
    ensure!(descriptions(2).starts_with("CreationTimestamp is a timestamp"), "{}", descriptions(2));
    assert_eq!(
        table["rows"][0]["cells"].as_array().map(|cells| &cells[..2]),
        Some(&[json!("m"), json!(2)][..])
    );
    Ok(())
}

async fn of_the_cluster(cluster: Cluster) -> Result<()> {
    let (admin, name) = (cluster.admin(), cluster.namespace());
    // The path, an object with its status, and its cells without its name and age.
    let cases = [
        (
            "/api/v1/nodes",
            json!({
                "kind": "Node", "apiVersion": "v1",
                "metadata": {"name": name, "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}},
                "spec": {"unschedulable": true},
                "status": {
                    "conditions": [{"type": "Ready", "status": "False"}],
                    "addresses": [{"type": "InternalIP", "address": "10.0.0.7"}],
                    "nodeInfo": {
                        "kubeletVersion": "v1.37.2", "osImage": "", "kernelVersion": "6.1", "containerRuntimeVersion": "cri://1",
                        "architecture": "amd64", "bootID": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "linux",
                        "systemUUID": "",
                    },
                },
            }),
            json!([
                "NotReady,SchedulingDisabled",
                "edge,worker",
                "v1.37.2",
                "10.0.0.7",
                "<none>",
                "<unknown>",
                "6.1 (amd64)",
                "cri://1"
            ]),
        ),
        (
            "/api/v1/persistentvolumes",
            json!({
                "kind": "PersistentVolume", "apiVersion": "v1", "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
                    "hostPath": {"path": "/tmp"}, "claimRef": {"namespace": "ns", "name": "claim"}, "storageClassName": "slow",
                },
                "status": {"phase": "Failed", "reason": "Why"},
            }),
            json!(["5Gi", "RWO,ROX", "Retain", "Failed", "ns/claim", "slow", "<unset>", "Why", "Filesystem"]),
        ),
        (
            "/apis/storage.k8s.io/v1/csidrivers",
            json!({
                "kind": "CSIDriver", "apiVersion": "storage.k8s.io/v1", "metadata": {"name": name},
                "spec": {"attachRequired": false, "tokenRequests": [{"audience": "a"}, {"audience": "b"}]},
            }),
            json!([false, false, false, "a,b", false, "Persistent"]),
        ),
        (
            "/apis/storage.k8s.io/v1/csinodes",
            json!({
                "kind": "CSINode", "apiVersion": "storage.k8s.io/v1", "metadata": {"name": name},
                "spec": {"drivers": [{"name": "d", "nodeID": "n", "topologyKeys": null}]},
            }),
            json!([1]),
        ),
    ];
    for (path, object, expected) in cases {
        let table = async {
            let mut made = admin.post(path, &object).await?.code(201)?;
            if object["status"].is_object() {
                made["status"] = object["status"].clone();
                admin.put(&format!("{path}/{name}/status"), &made).await?.ok()?;
            }
            admin.get_as(&format!("{path}/{name}"), TABLE).await?.code(200)
        };
        let table = table.await;
        admin.delete(&format!("{path}/{name}")).await?.ok()?;
        let table = table?;
        let columns = table["columnDefinitions"].as_array().context("columns")?;
        let cells = table["rows"][0]["cells"].as_array().context("cells")?;
        assert_eq!(columns.len(), cells.len(), "{table}");
        let told = columns.iter().zip(cells).skip(1).filter(|(column, _)| column["name"] != "Age");
        assert_eq!(Value::Array(told.map(|(_, cell)| cell.clone()).collect()), expected, "{path}");
    }
    Ok(())
}

async fn watch(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let path = format!("{}?watch=true", widgets.path);
    let mut watch = widgets.http.watch_as(&path, TABLE).await?;
    let event = watch.next().await?;
    assert_eq!((&*event.kind, &event.object["kind"]), ("ADDED", &json!("Table")));
    assert_eq!(columns(&event.object)?.len(), 4);
    assert_eq!(version(&event.object), version(&one));
    assert_eq!(event.object["rows"][0]["cells"][1], "small");
    // The columns are sent only with the first event.
    widgets.merge("one", &json!({"spec": {"size": "large"}})).await?.code(200)?;
    let event = watch.next().await?;
    assert_eq!((&*event.kind, &event.object["rows"][0]["cells"][1]), ("MODIFIED", &json!("large")));
    ensure!(event.object["columnDefinitions"].as_array().is_none_or(Vec::is_empty), "{}", event.object);
    widgets.delete("one").await?.code(200)?;
    let event = watch.next().await?;
    assert_eq!(
        (&*event.kind, &event.object["rows"][0]["object"]["metadata"]["name"]),
        ("DELETED", &json!("one"))
    );
    Ok(())
}

async fn falls_back(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let unknown = "application/json;as=Nope;v=v1;g=meta.k8s.io";
    let reply = widgets.http.get_as(&widgets.at("one"), &format!("{unknown},application/json")).await?;
    assert_eq!(reply.code(200)?, one);
    widgets.http.get_as(&widgets.at("one"), unknown).await?.refused(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    )?;
    Ok(())
}

async fn errors_are_not_tables(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let reply = widgets.http.get_as(&widgets.at("none"), TABLE).await?;
    reply.refused(404, "NotFound", "widgets.suite.example.com \"none\" not found")?;
    Ok(())
}

async fn partial_metadata(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let expected =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": one["metadata"]});
    assert_eq!(widgets.http.get_as(&widgets.at("one"), partial).await?.code(200)?, expected);
    let list = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = widgets.http.get_as(&widgets.path, list).await?.code(200)?;
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("PartialObjectMetadataList"), &json!("meta.k8s.io/v1"))
    );
    assert_eq!(list["items"][0]["metadata"], one["metadata"]);
    assert!(list["items"][0].get("spec").is_none(), "{list}");
    Ok(())
}

/// ComponentStatuses are not stored.
async fn component_statuses(cluster: Cluster) -> Result<()> {
    let (admin, path) = (cluster.admin(), "/api/v1/componentstatuses");
    let table = admin.get_as(path, TABLE).await?.code(200)?;
    let names: Vec<Value> = columns(&table)?.into_iter().map(|column| column[0].clone()).collect();
    assert_eq!(names, ["Name", "Status", "Message", "Error"]);
    let list = admin.get(path).await?.code(200)?;
    for component in list["items"].as_array().context("items")? {
        let name = component["metadata"]["name"].as_str().context("a name")?;
        let one = admin.get(&format!("{path}/{name}")).await?.code(200)?;
        assert_eq!(one["conditions"][0]["type"], "Healthy");
        let row = table["rows"].as_array().context("rows")?.iter().find(|row| row["cells"][0] == name);
        let healthy = one["conditions"][0]["status"] == "True";
        let status = &row.context("a row")?["cells"][1];
        assert_eq!(status, if healthy { "Healthy" } else { "Unhealthy" }, "{name}");
    }
    let message = "componentstatus \"nothing\" not found";
    admin.get(&format!("{path}/nothing")).await?.refused(404, "NotFound", message)?;
    Ok(())
}
