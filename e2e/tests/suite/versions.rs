//! A custom resource in several versions with the conversion strategy None: each version shows only those fields of an object
//! that both its own schema and the storage version's schema have.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{APPLY_PATCH, Http, MERGE_PATCH, Reply},
};
use serde_json::{Value, json};

use crate::widgets::{CRDS, names, version};

e2e::on_each_cluster! {
    discovered_in_order, written_in_one_and_read_in_another, watched, applied, deprecated, storage_version_moves,
    stored_versions_stay, a_new_schema_shows_in_stored_objects, a_change_ends_watches, unserved_and_served_again,
    managers_of_a_version_that_is_gone, managers_of_other_versions
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Gadgets in a group of their own: `v1beta1` is the storage version, `v1` is preferred, and `v2alpha1` is not served.
struct Gadgets {
    http: Http,
    group: String,
    namespace: String,
}

async fn gadgets(cluster: &Cluster) -> Result<Gadgets> {
    let gadgets =
        Gadgets { http: cluster.admin(), group: cluster.unique(), namespace: cluster.namespace().to_owned() };
    let own = |field: &str| {
        json!({"openAPIV3Schema": {
            "type": "object",
            "properties": {"spec": {"type": "object", "properties": {
                "both": {"type": "string"},
                field: {"type": "string", "maxLength": 5},
                format!("{field}Default"): {"type": "string", "default": field},
            }}},
        }})
    };
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gadgets.{}", gadgets.group)},
        "spec": {
            "group": gadgets.group,
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
            "versions": [
                {"name": "v1beta1", "served": true, "storage": true, "deprecated": true, "schema": own("old")},
                {"name": "v1", "served": true, "storage": false, "schema": own("new")},
                {"name": "v2alpha1", "served": false, "storage": false, "schema": own("next")},
            ],
        },
    });
    gadgets.http.post(CRDS, &crd).await?.code(201)?;
    gadgets.served("v1").await?;
    Ok(gadgets)
}

impl Gadgets {
    fn path(&self, version: &str) -> String {
        format!("/apis/{}/{version}/namespaces/{}/gadgets", self.group, self.namespace)
    }

    fn at(&self, version: &str, name: &str) -> String {
        format!("{}/{name}", self.path(version))
    }

    fn draft(&self, version: &str, name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": format!("{}/{version}", self.group), "kind": "Gadget",
            "metadata": {"name": name}, "spec": spec,
        })
    }

    async fn served(&self, version: &str) -> Result<()> {
        eventually(PATIENCE, || async { self.http.get(&self.path(version)).await?.code(200) }).await?;
        Ok(())
    }

    async fn post(&self, version: &str, name: &str, spec: &Value) -> Result<Reply> {
        self.http.post(&self.path(version), &self.draft(version, name, spec)).await
    }

    async fn spec(&self, version: &str, name: &str) -> Result<Value> {
        Ok(self.http.get(&self.at(version, name)).await?.code(200)?["spec"].clone())
    }

    async fn apply(&self, version: &str, manager: &str, spec: &Value) -> Result<Reply> {
        let path = format!("{}?fieldManager={manager}", self.at(version, "one"));
        self.http.patch(&path, APPLY_PATCH, &self.draft(version, "one", spec)).await
    }

    fn definition(&self) -> String {
        format!("{CRDS}/gadgets.{}", self.group)
    }

    /// Changes the definition.
    async fn redefine(&self, change: impl Fn(&mut Value)) -> Result<Reply> {
        let mut definition = self.http.get(&self.definition()).await?.code(200)?;
        change(&mut definition);
        self.http.put(&self.definition(), &definition).await
    }
}

async fn discovered_in_order(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    let group = &gadgets.group;
    let version = |name: &str| json!({"groupVersion": format!("{group}/{name}"), "version": name});
    eventually(PATIENCE, || async {
        let found = gadgets.http.get(&format!("/apis/{group}")).await?.code(200)?;
        ensure!(found["versions"] == json!([version("v1"), version("v1beta1")]), "{found}");
        ensure!(found["preferredVersion"] == version("v1"), "{found}");
        Ok(())
    })
    .await?;
    gadgets.http.get(&format!("/apis/{group}/v1beta1")).await?.code(200)?;
    gadgets.http.get(&format!("/apis/{group}/v2alpha1")).await?.code(404)?;
    gadgets.http.get(&gadgets.path("v2alpha1")).await?.code(404)?;
    Ok(())
}

async fn written_in_one_and_read_in_another(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    // Fields that the storage version does not have are dropped, including defaults.
    let one = gadgets.post("v1", "one", &json!({"both": "x", "new": "n", "junk": "j"})).await?;
    assert_eq!(one.warnings(), ["unknown field \"spec.junk\""]);
    let one = one.code(201)?;
    assert_eq!(one["spec"], json!({"both": "x"}));
    assert_eq!(one["apiVersion"], format!("{}/v1", gadgets.group));
    assert_eq!(gadgets.spec("v1beta1", "one").await?, json!({"both": "x", "oldDefault": "old"}));
    let dry = format!("{}?dryRun=All", gadgets.path("v1"));
    let dry = gadgets.http.post(&dry, &gadgets.draft("v1", "dry", &json!({"new": "n"}))).await?.code(201)?;
    assert_eq!(dry["spec"], json!({}));

    let two = gadgets.post("v1beta1", "two", &json!({"both": "x", "old": "o"})).await?.code(201)?;
    assert_eq!(two["spec"], json!({"both": "x", "old": "o", "oldDefault": "old"}));
    assert_eq!(gadgets.spec("v1", "two").await?, json!({"both": "x"}));

    // A write in the other version drops fields that only the storage version has.
    let patch = json!({"spec": {"both": "y"}});
    let two = gadgets.http.patch(&gadgets.at("v1", "two"), MERGE_PATCH, &patch).await?.code(200)?;
    assert_eq!((&two["spec"], &two["metadata"]["generation"]), (&json!({"both": "y"}), &json!(2)));
    assert_eq!(gadgets.spec("v1beta1", "two").await?, json!({"both": "y", "oldDefault": "old"}));

    // Each version has its own schema.
    let message = format!(
        "Gadget.{} \"bad\" is invalid: spec.new: Too long: may not be more than 5 bytes",
        gadgets.group
    );
    gadgets.post("v1", "bad", &json!({"new": "toolong"})).await?.refused(422, "Invalid", &message)?;

    for (version, spec) in
        [("v1", json!({"both": "y"})), ("v1beta1", json!({"both": "y", "oldDefault": "old"}))]
    {
        let list = gadgets.http.get(&gadgets.path(version)).await?.code(200)?;
        assert_eq!(names(&list), ["one", "two"]);
        assert_eq!(list["apiVersion"], format!("{}/{version}", gadgets.group));
        assert_eq!(list["items"][1]["apiVersion"], list["apiVersion"]);
        assert_eq!(list["items"][1]["spec"], spec);
    }
    Ok(())
}

async fn watched(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    let list = gadgets.http.get(&gadgets.path("v1")).await?.code(200)?;
    let path = format!("{}?watch=true&resourceVersion={}", gadgets.path("v1"), version(&list));
    let mut watch = gadgets.http.watch(&path).await?;
    gadgets.post("v1beta1", "one", &json!({"both": "x", "old": "o"})).await?.code(201)?;
    let patch = json!({"spec": {"old": "p"}});
    gadgets.http.patch(&gadgets.at("v1beta1", "one"), MERGE_PATCH, &patch).await?.code(200)?;
    gadgets.http.delete(&gadgets.at("v1beta1", "one")).await?.code(200)?;
    for kind in ["ADDED", "MODIFIED", "DELETED"] {
        let event = watch.try_next().await?.context("an event")?;
        assert_eq!(event.kind, kind);
        assert_eq!(event.object["apiVersion"], format!("{}/v1", gadgets.group));
        assert_eq!(event.object["spec"], json!({"both": "x"}));
    }
    Ok(())
}

async fn applied(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    let one = gadgets.apply("v1beta1", "first", &json!({"both": "x"})).await?.code(201)?;
    assert_eq!(one["metadata"]["managedFields"][0]["apiVersion"], format!("{}/v1beta1", gadgets.group));
    let message = "Apply failed with 1 conflict: conflict with \"first\": .spec.both";
    gadgets.apply("v1", "second", &json!({"both": "y"})).await?.refused(409, "Conflict", message)?;
    // The owner applies the object again in another version.
    let one = gadgets.apply("v1", "first", &json!({"both": "y"})).await?.code(200)?;
    assert_eq!(one["spec"], json!({"both": "y"}));
    let entries = one["metadata"]["managedFields"].as_array().context("managedFields")?;
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["apiVersion"], format!("{}/v1", gadgets.group));
    Ok(())
}

async fn deprecated(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    let group = &gadgets.group;
    let warning = format!("{group}/v1beta1 Gadget is deprecated; use {group}/v1 Gadget");
    let one = gadgets.post("v1beta1", "one", &json!({"junk": "j"})).await?;
    assert_eq!(one.warnings(), [warning.as_str(), "unknown field \"spec.junk\""]);
    let missing = gadgets.http.get(&gadgets.at("v1beta1", "missing")).await?;
    assert_eq!((missing.code, missing.warnings()), (404, vec![warning]));
    assert!(gadgets.http.get(&gadgets.at("v1", "one")).await?.warnings().is_empty());
    Ok(())
}

async fn storage_version_moves(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    gadgets.post("v1beta1", "one", &json!({"both": "x", "old": "o"})).await?.code(201)?;
    let store = |name: &'static str| {
        move |definition: &mut Value| {
            for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten() {
                version["storage"] = (version["name"] == name).into();
            }
        }
    };
    let definition = gadgets.redefine(store("v1")).await?.code(200)?;
    assert_eq!(definition["status"]["storedVersions"], json!(["v1beta1", "v1"]));
    eventually(PATIENCE, || async {
        // An object that is written in the new storage version keeps the fields of that version.
        let two = gadgets.post("v1", "two", &json!({"new": "n"})).await?;
        gadgets.http.delete(&gadgets.at("v1", "two")).await?;
        ensure!(two.body["spec"] == json!({"new": "n", "newDefault": "new"}), "{}", two.body);
        Ok(())
    })
    .await?;
    // An object that has not been written since is unchanged.
    let old = gadgets.spec("v1beta1", "one").await?;
    assert_eq!(old, json!({"both": "x", "old": "o", "oldDefault": "old"}));
    assert_eq!(gadgets.spec("v1", "one").await?, json!({"both": "x"}));
    // Any write moves it, even if it writes what was read.
    let before = gadgets.http.get(&gadgets.at("v1", "one")).await?.code(200)?;
    let one = gadgets.http.put(&gadgets.at("v1", "one"), &before).await?.code(200)?;
    assert_ne!(version(&one), version(&before));
    assert_eq!(one["spec"], json!({"both": "x", "newDefault": "new"}));
    assert_eq!(gadgets.spec("v1beta1", "one").await?, json!({"both": "x"}));
    let same = gadgets.http.put(&gadgets.at("v1", "one"), &one).await?.code(200)?;
    assert_eq!(version(&same), version(&one));
    Ok(())
}

async fn stored_versions_stay(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    let only_v1 = |definition: &mut Value| {
        if let Some(versions) = definition["spec"]["versions"].as_array_mut() {
            versions.retain(|version| version["name"] == "v1");
            versions.iter_mut().for_each(|version| version["storage"] = true.into());
        }
    };
    let refused = gadgets.redefine(only_v1).await?;
    let message = format!(
        "CustomResourceDefinition.apiextensions.k8s.io \"gadgets.{}\" is invalid: status.storedVersions[0]: Invalid value: \"v1beta1\": missing from spec.versions; v1beta1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1beta1 and removes v1beta1 from status.storedVersions",
        gadgets.group
    );
    refused.refused(422, "Invalid", &message)?;
    // A client that has rewritten all objects records that in the status.
    let mut definition = gadgets.http.get(&gadgets.definition()).await?.code(200)?;
    definition["status"]["storedVersions"] = json!(["v1"]);
    let status = format!("{}/status", gadgets.definition());
    gadgets.http.put(&status, &definition).await?.code(200)?;
    gadgets.redefine(only_v1).await?.code(200)?;
    eventually(PATIENCE, || async { gadgets.http.get(&gadgets.path("v1beta1")).await?.code(404) }).await?;
    Ok(())
}

async fn a_new_schema_shows_in_stored_objects(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    gadgets.post("v1beta1", "one", &json!({"both": "x", "old": "o"})).await?.code(201)?;
    let with = |properties: Value| {
        move |definition: &mut Value| {
            definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"] =
                properties.clone();
        }
    };
    let shows = async |expected: Value| {
        eventually(PATIENCE, || async {
            let spec = gadgets.spec("v1beta1", "one").await?;
            ensure!(spec == expected, "{spec}");
            let list = gadgets.http.get(&gadgets.path("v1beta1")).await?.code(200)?;
            ensure!(list["items"][0]["spec"] == expected, "{list}");
            Ok(())
        })
        .await
    };
    let added = json!({"old": {"type": "string"}, "added": {"type": "string", "default": "a"}});
    gadgets.redefine(with(added)).await?.code(200)?;
    shows(json!({"old": "o", "added": "a"})).await?;
    // A field that the schema no longer has stays stored only until the object is written.
    gadgets.redefine(with(json!({"both": {"type": "string"}}))).await?.code(200)?;
    shows(json!({"both": "x"})).await?;
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let one = gadgets.http.patch(&gadgets.at("v1beta1", "one"), MERGE_PATCH, &labels).await?.code(200)?;
    assert_eq!(one["metadata"]["generation"], 1);
    gadgets
        .redefine(with(json!({"both": {"type": "string"}, "old": {"type": "string"}})))
        .await?
        .code(200)?;
    shows(json!({"both": "x"})).await?;
    Ok(())
}

async fn a_change_ends_watches(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    let one = gadgets.post("v1", "one", &json!({})).await?.code(201)?;
    let path = format!("{}?watch=true&resourceVersion={}", gadgets.path("v1"), version(&one));
    let mut watch = gadgets.http.watch(&path).await?;
    let column = json!([{"name": "Both", "type": "string", "jsonPath": ".spec.both"}]);
    let changed = gadgets.redefine(|definition| {
        definition["spec"]["versions"][1]["additionalPrinterColumns"] = column.clone();
    });
    changed.await?.code(200)?;
    assert_eq!(watch.try_next().await?, None);
    // No watch can start before the change: its client has to list again.
    eventually(PATIENCE, || async {
        let event = gadgets.http.watch(&path).await?.try_next().await?.context("an event")?;
        ensure!(event.kind == "ERROR" && event.object["reason"] == "Expired", "{event:?}");
        Ok(())
    })
    .await?;

    // A change of the metadata does not end watches.
    let list = gadgets.http.get(&gadgets.path("v1")).await?.code(200)?;
    let path = format!("{}?watch=true&resourceVersion={}", gadgets.path("v1"), version(&list));
    let mut watch = gadgets.http.watch(&path).await?;
    let changed = gadgets.redefine(|definition| definition["metadata"]["labels"] = json!({"a": "b"}));
    changed.await?.code(200)?;
    gadgets.post("v1", "two", &json!({})).await?.code(201)?;
    let event = watch.try_next().await?.context("an event")?;
    assert_eq!((event.kind.as_str(), &event.object["metadata"]["name"]), ("ADDED", &json!("two")));
    Ok(())
}

async fn unserved_and_served_again(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    gadgets.post("v1beta1", "one", &json!({"old": "o"})).await?.code(201)?;
    let serve = |served: bool| {
        move |definition: &mut Value| {
            for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten() {
                version["served"] = (served && version["name"] != "v2alpha1").into();
            }
        }
    };
    gadgets.redefine(serve(false)).await?.code(200)?;
    eventually(PATIENCE, || async { gadgets.http.get(&gadgets.path("v1beta1")).await?.code(404) }).await?;
    gadgets.redefine(serve(true)).await?.code(200)?;
    gadgets.served("v1beta1").await?;
    assert_eq!(gadgets.spec("v1beta1", "one").await?["old"], "o");
    Ok(())
}

async fn managers_of_a_version_that_is_gone(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    gadgets.apply("v1", "early", &json!({"both": "x"})).await?.code(201)?;
    let without_v1 = |definition: &mut Value| {
        if let Some(versions) = definition["spec"]["versions"].as_array_mut() {
            versions.retain(|version| version["name"] != "v1");
        }
    };
    gadgets.redefine(without_v1).await?.code(200)?;
    let gone = format!("request to convert CR to an invalid group/version: {}/v1", gadgets.group);
    for manager in ["late", "early"] {
        // kube-apiserver may know the version for a moment longer.
        eventually(PATIENCE, || async {
            let refused = gadgets.apply("v1beta1", manager, &json!({"old": "o"})).await?;
            ensure!((refused.code, &refused.body["message"]) == (500, &json!(gone)), "{}", refused.body);
            ensure!(refused.body.get("reason").is_none(), "{}", refused.body);
            Ok(())
        })
        .await?;
    }
    // Other writes are not tracked.
    let at = gadgets.at("v1beta1", "one");
    let managers = |object: &Value| object["metadata"]["managedFields"].clone();
    let before = gadgets.http.get(&at).await?.code(200)?;
    let patched = gadgets.http.patch(&at, MERGE_PATCH, &json!({"spec": {"old": "o"}})).await?.code(200)?;
    assert_eq!(managers(&patched), managers(&before));
    let mut next = patched;
    next["spec"]["old"] = "p".into();
    next["metadata"]["managedFields"] = Value::Null;
    let replaced = gadgets.http.put(&at, &next).await?.code(200)?;
    assert_eq!((managers(&replaced), &replaced["spec"]["old"]), (managers(&before), &json!("p")));
    let mut last = replaced;
    last["metadata"]["managedFields"] = json!([{}]);
    let emptied = gadgets.http.put(&at, &last).await?.code(200)?;
    assert_eq!(managers(&emptied), Value::Null);
    gadgets.apply("v1beta1", "late", &json!({"old": "o"})).await?.code(409)?;
    // A new object has no managers if one is of another version.
    let mut two = gadgets.draft("v1beta1", "two", &json!({"both": "x"}));
    two["metadata"]["managedFields"] = managers(&before);
    let two = gadgets.http.post(&gadgets.path("v1beta1"), &two).await?.code(201)?;
    assert_eq!(managers(&two), Value::Null);
    Ok(())
}

/// What a manager owns is compared in its own version, so that version must have every field of the object. An apply fails
/// otherwise, and other writes leave the owners as they are.
async fn managers_of_other_versions(cluster: Cluster) -> Result<()> {
    let gadgets = gadgets(&cluster).await?;
    // Of the fields, the objects in v1 have only those of v1beta1, too: they are stored in that version.
    gadgets.apply("v1", "ann", &json!({"both": "a"})).await?.code(201)?;
    gadgets.apply("v1beta1", "bob", &json!({"both": "a", "old": "b"})).await?.refused(500, "", UNDECLARED)?;
    let owners = async || {
        let one = gadgets.http.get(&gadgets.at("v1beta1", "one")).await?.code(200)?;
        anyhow::Ok(one["metadata"]["managedFields"].as_array().map_or(0, Vec::len))
    };
    let update = async |version: &str, spec: Value| {
        let path = format!("{}?fieldManager=eve", gadgets.at(version, "one"));
        gadgets.http.patch(&path, MERGE_PATCH, &json!({"spec": spec})).await?.code(200)
    };
    let changed = update("v1beta1", json!({"old": "b"})).await?;
    assert_eq!((&changed["spec"]["old"], owners().await?), (&json!("b"), 1));
    Ok(())
}

const UNDECLARED: &str = ".spec.oldDefault: field not declared in schema";
