//! Owner references: which dependents are deleted, which stay, and what happens if it is not known whether an owner exists.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{Http, MERGE_PATCH},
};
use serde_json::{Value, json};

use crate::widgets::{CRDS, GROUP, crd, widgets_of_existing, widgets_of_group};

e2e::on_each_cluster! {
    stays_while_its_owners_version_is_not_served [Controllers],
    stays_while_its_owners_type_is_unknown [Controllers],
    stays_if_it_names_a_version_that_is_not_served [Controllers],
    stays_if_its_owners_namespace_is_unknown [Controllers],
    stays_if_its_owners_name_cannot_be_looked_up [Controllers],
    is_deleted_with_its_owners_type [Controllers],
    is_deleted_with_an_owning_definition [Controllers],
    is_deleted_with_an_owning_namespace [Controllers],
    is_deleted_with_its_last_owner [Controllers],
    owners_are_looked_up_in_the_dependents_namespace [Controllers],
    foreground_keeps_dependents_with_other_owners [Controllers],
    foreground_waits_for_dependents_that_block [Controllers],
    foreground_resolves_cycles [Controllers],
    orphans_stay [Controllers],
    repeated_owners_are_removed,
}

/// The real controllers refresh their list of types only twice a minute, and begin anew if a type vanishes meanwhile.
const SOON: Duration = Duration::from_secs(240);

/// The ConfigMaps of the test's namespace.
struct Maps {
    http: Http,
    path: String,
}

impl Maps {
    fn of(cluster: &Cluster) -> Self {
        Self { http: cluster.admin(), path: format!("/api/v1/namespaces/{}/configmaps", cluster.namespace()) }
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    async fn create(&self, name: &str, metadata: &Value) -> Result<Value> {
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        map["metadata"]["name"] = name.into();
        self.http.post(&self.path, &map).await?.code(201)
    }

    /// Creates a ConfigMap with owners.
    async fn owned(&self, name: &str, owners: &[Value]) -> Result<Value> {
        self.create(name, &json!({"ownerReferences": owners})).await
    }

    /// Returns the UIDs of a ConfigMap's owners. Fails if it was deleted or is being deleted.
    async fn owners(&self, name: &str) -> Result<Vec<Value>> {
        let map = self.http.get(&self.at(name)).await?.code(200)?;
        ensure!(map["metadata"]["deletionTimestamp"].is_null(), "it is being deleted: {map}");
        let owners = map["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        Ok(owners.map(|owner| owner["uid"].clone()).collect())
    }

    async fn goes(&self, name: &str) -> Result<Value> {
        eventually(SOON, || async { self.http.get(&self.at(name)).await?.code(404) }).await
    }

    /// Waits for the Event which says that a dependent's owner is not in its namespace.
    async fn warned_of_the_namespace(&self, dependent: &Value, owner: &Value, namespace: &str) -> Result<()> {
        let text =
            |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let selector =
            format!("involvedObject.uid={},reason=OwnerRefInvalidNamespace", text(dependent, "uid"));
        let path = format!("/api/v1/namespaces/{namespace}/events?fieldSelector={selector}");
        let event = eventually(SOON, || async {
            let events = self.http.get(&path).await?.code(200)?;
            events["items"].get(0).cloned().context("no Event")
        })
        .await?;
        let within = text(dependent, "namespace");
        let message = format!(
            "ownerRef [v1/ConfigMap, namespace: {within}, name: {}, uid: {}] does not exist in namespace {within:?}",
            text(owner, "name"),
            text(owner, "uid"),
        );
        assert_eq!((&event["message"], &event["type"]), (&json!(message), &json!("Warning")));
        let mut object = json!({
            "apiVersion": dependent["apiVersion"], "kind": dependent["kind"], "name": text(dependent, "name"),
            "namespace": within, "uid": text(dependent, "uid"),
        });
        if within.is_empty() {
            object.as_object_mut().context("an object")?.remove("namespace");
        }
        assert_eq!(event["involvedObject"], object);
        assert_eq!(event["source"], json!({"component": "garbage-collector-controller"}));
        Ok(())
    }

    /// Waits for the garbage collector, after which all objects whose owners are known to be gone are deleted.
    async fn collected(&self) -> Result<()> {
        for number in [1, 2] {
            let marker = format!("marker-{number}");
            self.owned(&marker, &[reference("v1", "ConfigMap", "never", &json!(unused_uid(number)))]).await?;
            self.goes(&marker).await?;
        }
        Ok(())
    }
}

/// Returns a UID that no object has.
fn unused_uid(number: u32) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

fn reference(api_version: &str, kind: &str, name: &str, uid: &Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid})
}

fn to(owner: &Value) -> Value {
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    let name = owner["metadata"]["name"].as_str().unwrap_or_default();
    reference(text("apiVersion"), text("kind"), name, &owner["metadata"]["uid"])
}

fn blocking(owner: &Value) -> Value {
    let mut reference = to(owner);
    reference["blockOwnerDeletion"] = true.into();
    reference
}

/// Changes an object, so that the controllers process it.
async fn touch(maps: &Maps, name: &str) -> Result<()> {
    let patch = json!({"metadata": {"labels": {"touched": "yes"}}});
    maps.http.patch(&maps.at(name), MERGE_PATCH, &patch).await?.code(200)?;
    Ok(())
}

async fn stays_while_its_owners_version_is_not_served(cluster: Cluster) -> Result<()> {
    let (maps, group) = (Maps::of(&cluster), cluster.unique());
    let mut definition = crd(&group);
    let mut old = definition["spec"]["versions"][0].clone();
    old["name"] = "v1beta1".into();
    old["storage"] = false.into();
    definition["spec"]["versions"].as_array_mut().into_iter().for_each(|all| all.push(old.clone()));
    maps.http.post(CRDS, &definition).await?.code(201)?;
    let widgets = widgets_of_existing(&cluster, &group).await?;
    let owner = widgets.create("owner").await?;
    let uid = &owner["metadata"]["uid"];
    let reference = reference(&format!("{group}/v1beta1"), "Widget", "owner", uid);
    maps.owned("child", &[reference]).await?;

    let path = format!("{CRDS}/widgets.{group}");
    let serve = async |served: bool| {
        let mut versions = definition["spec"]["versions"].clone();
        versions[1]["served"] = served.into();
        let patch = json!({"spec": {"versions": versions}});
        maps.http.patch(&path, MERGE_PATCH, &patch).await?.code(200)
    };
    serve(false).await?;
    let beta = format!("/apis/{group}/v1beta1/widgets");
    eventually(SOON, || async { maps.http.get(&beta).await?.code(404) }).await?;
    touch(&maps, "child").await?;
    maps.collected().await?;
    assert_eq!(maps.owners("child").await?, std::slice::from_ref(uid));

    serve(true).await?;
    eventually(SOON, || async { maps.http.get(&beta).await?.code(200) }).await?;
    maps.collected().await?;
    assert_eq!(maps.owners("child").await?, std::slice::from_ref(uid));
    widgets.delete("owner").await?.code(200)?;
    maps.goes("child").await?;
    Ok(())
}

/// A reference in an unknown version is not to the owner that was deleted, even with its uid.
async fn stays_if_it_names_a_version_that_is_not_served(cluster: Cluster) -> Result<()> {
    let (maps, group) = (Maps::of(&cluster), cluster.unique());
    let widgets = widgets_of_group(&cluster, &group).await?;
    let owner = widgets.create("owner").await?;
    let reference = reference(&format!("{group}/v9"), "Widget", "owner", &owner["metadata"]["uid"]);
    maps.owned("child", &[reference]).await?;
    maps.owned("other", &[to(&owner)]).await?;
    widgets.http.delete(&format!("{}/owner", widgets.path)).await?.code(200)?;
    maps.goes("other").await?;
    maps.collected().await?;
    maps.owners("child").await?;
    Ok(())
}

async fn stays_while_its_owners_type_is_unknown(cluster: Cluster) -> Result<()> {
    let (maps, group) = (Maps::of(&cluster), cluster.unique());
    let gone = json!(unused_uid(3));
    let unknown = reference(&format!("{group}/v1"), "Widget", "owner", &gone);
    maps.owned("child", std::slice::from_ref(&unknown)).await?;
    let known = maps.create("known", &json!({})).await?;
    let both = [unknown, to(&known)];
    maps.owned("half", &both).await?;
    maps.http.delete(&maps.at("known")).await?.code(200)?;
    maps.collected().await?;
    assert_eq!(maps.owners("child").await?, std::slice::from_ref(&gone));
    assert_eq!(maps.owners("half").await?, [gone, known["metadata"]["uid"].clone()]);

    // Once the type is served, it is known that the owner does not exist.
    widgets_of_group(&cluster, &group).await?;
    maps.goes("child").await?;
    maps.goes("half").await?;
    Ok(())
}

async fn stays_if_its_owners_namespace_is_unknown(cluster: Cluster) -> Result<()> {
    let (maps, roles) = (Maps::of(&cluster), "/apis/rbac.authorization.k8s.io/v1/clusterroles");
    let name = cluster.unique();
    let owner = maps.create("owner", &json!({})).await?;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "ownerReferences": [to(&owner)]}, "rules": [],
    });
    let dependent = maps.http.post(roles, &role).await?.code(201)?;
    let warned = maps.warned_of_the_namespace(&dependent, &owner, "default").await;
    maps.http.delete(&maps.at("owner")).await?.code(200)?;
    let collected = maps.collected().await;
    let role = maps.http.get(&format!("{roles}/{name}")).await?.code(200)?;
    maps.http.delete(&format!("{roles}/{name}")).await?.code(200)?;
    assert_eq!(role["metadata"]["ownerReferences"][0]["uid"], owner["metadata"]["uid"]);
    warned.and(collected)
}

async fn stays_if_its_owners_name_cannot_be_looked_up(cluster: Cluster) -> Result<()> {
    let maps = Maps::of(&cluster);
    let escaped = reference("v1", "ConfigMap", "a%2fb", &json!(unused_uid(4)));
    maps.owned("child", &[escaped]).await?;
    maps.collected().await?;
    assert_eq!(maps.owners("child").await?, [unused_uid(4)]);
    Ok(())
}

/// Equal references are removed before and after admission changes the object; those of a patch only after it.
async fn repeated_owners_are_removed(cluster: Cluster) -> Result<()> {
    let (maps, widgets) = (Maps::of(&cluster), widgets_of_group(&cluster, GROUP).await?);
    let a = reference("example.com/v1", "Unknown", "a", &json!(unused_uid(5)));
    let mut other = a.clone();
    other["controller"] = false.into();
    let warning = |when: &str| {
        format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may \
             reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uid}, {uid}",
            uid = unused_uid(5)
        )
    };
    let (first, later) = (warning(""), warning(" after mutating admission happens"));
    let repeated = json!([a, other, a, other]);
    for (path, empty) in [
        (&maps.path, json!({"apiVersion": "v1", "kind": "ConfigMap"})),
        (&widgets.path, widgets.draft("one", &json!({"size": "small"}))),
    ] {
        let mut object = empty;
        object["metadata"] = json!({"name": "one", "ownerReferences": repeated});
        let created = maps.http.post(path, &object).await?;
        assert_eq!(created.warnings(), std::slice::from_ref(&first));
        let created = created.code(201)?;
        assert_eq!(created["metadata"]["ownerReferences"], json!([a, other]));
        object["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"].clone();
        let at = format!("{path}/one");
        let replaced = maps.http.put(&at, &object).await?;
        assert_eq!(replaced.warnings(), std::slice::from_ref(&first));
        assert_eq!(replaced.code(200)?["metadata"]["ownerReferences"], json!([a, other]));
        let patch = json!({"metadata": {"ownerReferences": repeated}});
        let patched = maps.http.patch(&at, MERGE_PATCH, &patch).await?;
        assert_eq!(patched.warnings(), std::slice::from_ref(&later));
        assert_eq!(patched.code(200)?["metadata"]["ownerReferences"], json!([a, other]));
    }
    Ok(())
}

async fn is_deleted_with_its_owners_type(cluster: Cluster) -> Result<()> {
    let (maps, group) = (Maps::of(&cluster), cluster.unique());
    let widgets = widgets_of_group(&cluster, &group).await?;
    // The real garbage collector takes a while to watch a new type.
    maps.owned("probe", &[to(&widgets.create("watched").await?)]).await?;
    widgets.delete("watched").await?.code(200)?;
    maps.goes("probe").await?;
    let owners = [to(&widgets.create("one").await?), to(&widgets.create("two").await?)];
    maps.owned("child", &owners).await?;
    maps.http.delete(&format!("{CRDS}/widgets.{group}")).await?.code(200)?;
    maps.goes("child").await?;
    Ok(())
}

async fn is_deleted_with_an_owning_definition(cluster: Cluster) -> Result<()> {
    let (maps, group) = (Maps::of(&cluster), cluster.unique());
    let widgets = widgets_of_group(&cluster, &group).await?;
    widgets.create("one").await?;
    let path = format!("{CRDS}/widgets.{group}");
    let definition = maps.http.get(&path).await?.code(200)?;
    maps.owned("child", &[to(&definition)]).await?;
    maps.collected().await?;
    assert_eq!(maps.owners("child").await?.len(), 1);
    maps.http.delete(&path).await?.code(200)?;
    maps.goes("child").await?;
    Ok(())
}

async fn is_deleted_with_an_owning_namespace(cluster: Cluster) -> Result<()> {
    let (maps, namespace) = (Maps::of(&cluster), format!("{}-owner", cluster.namespace()));
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let owner = maps.http.post("/api/v1/namespaces", &body).await?.code(201)?;
    maps.owned("child", &[to(&owner)]).await?;
    maps.collected().await?;
    assert_eq!(maps.owners("child").await?.len(), 1);
    maps.http.delete(&format!("/api/v1/namespaces/{namespace}")).await?.code(200)?;
    maps.goes("child").await?;
    Ok(())
}

async fn is_deleted_with_its_last_owner(cluster: Cluster) -> Result<()> {
    let maps = Maps::of(&cluster);
    let (one, two) = (maps.create("one", &json!({})).await?, maps.create("two", &json!({})).await?);
    maps.owned("child", &[to(&one), to(&two)]).await?;
    maps.http.delete(&maps.at("one")).await?.code(200)?;
    eventually(SOON, || async {
        let owners = maps.owners("child").await?;
        ensure!(owners == [two["metadata"]["uid"].clone()], "{owners:?}");
        Ok(())
    })
    .await?;
    maps.http.delete(&maps.at("two")).await?.code(200)?;
    maps.goes("child").await?;
    Ok(())
}

async fn owners_are_looked_up_in_the_dependents_namespace(cluster: Cluster) -> Result<()> {
    let maps = Maps::of(&cluster);
    let elsewhere = Maps { http: cluster.admin(), path: "/api/v1/namespaces/default/configmaps".to_owned() };
    let name = cluster.namespace();
    let owner = elsewhere.create(name, &json!({})).await?;
    let child = maps.owned("child", &[to(&owner)]).await?;
    let gone = maps.goes("child").await;
    let warned = maps.warned_of_the_namespace(&child, &owner, name).await;
    elsewhere.http.delete(&elsewhere.at(name)).await?.code(200)?;
    gone.and(warned)
}

async fn foreground_keeps_dependents_with_other_owners(cluster: Cluster) -> Result<()> {
    let maps = Maps::of(&cluster);
    let (one, two) = (maps.create("one", &json!({})).await?, maps.create("two", &json!({})).await?);
    maps.owned("shared", &[blocking(&one), to(&two)]).await?;
    maps.owned("own", &[blocking(&one)]).await?;
    let options = json!({"propagationPolicy": "Foreground"});
    maps.http.delete_with(&maps.at("one"), &options).await?.code(200)?;
    maps.goes("own").await?;
    maps.goes("one").await?;
    assert_eq!(maps.owners("shared").await?, [two["metadata"]["uid"].clone()]);
    Ok(())
}

async fn foreground_waits_for_dependents_that_block(cluster: Cluster) -> Result<()> {
    let maps = Maps::of(&cluster);
    let owner = maps.create("owner", &json!({})).await?;
    let held = |owner: Value| json!({"ownerReferences": [owner], "finalizers": ["example.com/hold"]});
    maps.create("blocks", &held(blocking(&owner))).await?;
    maps.create("does-not", &held(to(&owner))).await?;
    let options = json!({"propagationPolicy": "Foreground"});
    maps.http.delete_with(&maps.at("owner"), &options).await?.code(200)?;
    eventually(SOON, || async {
        let marked = maps.http.get(&maps.at("blocks")).await?.code(200)?;
        ensure!(marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
        Ok(())
    })
    .await?;
    maps.collected().await?;
    maps.http.get(&maps.at("owner")).await?.code(200)?;
    // It still exists, but no longer blocks.
    let patch = json!({"metadata": {"ownerReferences": [to(&owner)]}});
    maps.http.patch(&maps.at("blocks"), MERGE_PATCH, &patch).await?.code(200)?;
    maps.goes("owner").await?;
    for name in ["blocks", "does-not"] {
        let patch = json!({"metadata": {"finalizers": null}});
        maps.http.patch(&maps.at(name), MERGE_PATCH, &patch).await?.code(200)?;
        maps.goes(name).await?;
    }
    Ok(())
}

async fn foreground_resolves_cycles(cluster: Cluster) -> Result<()> {
    let maps = Maps::of(&cluster);
    let one = maps.create("one", &json!({})).await?;
    let two = maps.owned("two", &[blocking(&one)]).await?;
    let patch = json!({"metadata": {"ownerReferences": [blocking(&two)]}});
    maps.http.patch(&maps.at("one"), MERGE_PATCH, &patch).await?.code(200)?;
    maps.collected().await?;
    assert_eq!(maps.owners("two").await?.len(), 1);
    let options = json!({"propagationPolicy": "Foreground"});
    maps.http.delete_with(&maps.at("one"), &options).await?.code(200)?;
    maps.goes("one").await?;
    maps.goes("two").await?;
    Ok(())
}

async fn orphans_stay(cluster: Cluster) -> Result<()> {
    let maps = Maps::of(&cluster);
    let owner = maps.create("owner", &json!({})).await?;
    maps.owned("child", &[to(&owner)]).await?;
    maps.collected().await?;
    let options = json!({"propagationPolicy": "Orphan"});
    maps.http.delete_with(&maps.at("owner"), &options).await?.code(200)?;
    maps.goes("owner").await?;
    maps.collected().await?;
    assert_eq!(maps.owners("child").await?, [] as [Value; 0]);
    Ok(())
}
