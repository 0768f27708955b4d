//! Server-side apply, and the managedFields that every write updates.

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, http::APPLY_PATCH};
use http::Method;
use serde_json::{Value, json};

use crate::widgets::{GROUP, NOT_ALL_CHECKED, version, widgets};

e2e::on_each_cluster! {
    creates_then_nothing_changes, conflicts, force_takes_over, fields_given_up_are_removed, shared_fields,
    associative_lists, updates_own_fields, status_has_its_own_owners, wrong_requests, typed_problems, yaml,
    dry_run, nulls_are_values, the_result_has_the_name_of_its_path,
    empty_metadata_is_stored_until_another_write, an_outdated_version_conflicts, an_unknown_uid_conflicts
}

/// Returns the manager, operation and fields of each entry, without its time.
fn owners(object: &Value) -> Result<Vec<Value>> {
    let entries = object["metadata"]["managedFields"].as_array().context("managedFields")?;
    let owner = |entry: &Value| {
        ensure!(entry["fieldsType"] == "FieldsV1", "{entry}");
        let mut owner = json!({"manager": entry["manager"], "operation": entry["operation"], "fields": entry["fieldsV1"]});
        if let Some(subresource) = entry.get("subresource") {
            owner["subresource"] = subresource.clone();
        }
        Ok(owner)
    };
    entries.iter().map(owner).collect()
}

async fn creates_then_nothing_changes(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.draft("one", &json!({"size": "small", "mode": "fast"}));
    widget["metadata"]["labels"] = json!({"x": "1"});
    let path = format!("{}?fieldManager=ann", widgets.at("one"));
    let created = widgets.http.patch(&path, APPLY_PATCH, &widget).await?.code(201)?;
    // Defaulted fields have no owner.
    assert_eq!(created["spec"], json!({"size": "small", "mode": "fast", "replicas": 1}));
    assert_eq!(
        owners(&created)?,
        [json!({
            "manager": "ann", "operation": "Apply",
            "fields": {"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:mode": {}, "f:size": {}}},
        })]
    );
    assert!(created["metadata"]["managedFields"][0]["time"].is_string(), "{created}");
    let again = widgets.http.patch(&path, APPLY_PATCH, &widget).await?.code(200)?;
    assert_eq!(again, created);
    Ok(())
}

async fn conflicts(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.apply("one", "fieldManager=ann", &json!({"size": "small", "mode": "fast"})).await?.code(201)?;
    let reply = widgets.apply("one", "fieldManager=bob", &json!({"size": "large"})).await?;
    let status =
        reply.refused(409, "Conflict", "Apply failed with 1 conflict: conflict with \"ann\": .spec.size")?;
    let causes = json!([{"reason": "FieldManagerConflict", "message": "conflict with \"ann\"", "field": ".spec.size"}]);
    assert_eq!(status["details"], json!({"causes": causes}));
    let reply = widgets.apply("one", "fieldManager=bob", &json!({"size": "large", "mode": "slow"})).await?;
    let message = "Apply failed with 2 conflicts: conflicts with \"ann\":\n- .spec.mode\n- .spec.size";
    reply.refused(409, "Conflict", message)?;

    // A client that writes with PUT or PATCH is a manager too, named by `fieldManager` or after the program.
    widgets.merge("one?fieldManager=editor", &json!({"spec": {"replicas": 3}})).await?.code(200)?;
    let reply = widgets.apply("one", "fieldManager=bob", &json!({"replicas": 4})).await?;
    let message = reply.message().to_owned();
    ensure!(
        message
            .starts_with("Apply failed with 1 conflict: conflict with \"editor\" using suite.example.com/v1")
            && message.ends_with(": .spec.replicas"),
        "{message}"
    );
    reply.code(409)?;
    Ok(())
}

async fn force_takes_over(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.apply("one", "fieldManager=ann", &json!({"size": "small", "mode": "fast"})).await?.code(201)?;
    let forced =
        widgets.apply("one", "fieldManager=bob&force=true", &json!({"size": "large"})).await?.code(200)?;
    assert_eq!((&forced["spec"]["size"], &forced["metadata"]["generation"]), (&json!("large"), &json!(2)));
    assert_eq!(
        owners(&forced)?,
        [
            json!({"manager": "ann", "operation": "Apply", "fields": {"f:spec": {"f:mode": {}}}}),
            json!({"manager": "bob", "operation": "Apply", "fields": {"f:spec": {"f:size": {}}}}),
        ]
    );
    Ok(())
}

async fn fields_given_up_are_removed(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let all = json!({"size": "small", "replicas": 3, "extra": {"a": 1}});
    widgets.apply("one", "fieldManager=ann", &all).await?.code(201)?;
    widgets.apply("one", "fieldManager=bob", &json!({"size": "small"})).await?.code(200)?;
    // Fields that only ann owns are removed, and a default is restored. The field that bob also owns stays.
    let one = widgets.apply("one", "fieldManager=ann", &json!({})).await?.code(200)?;
    assert_eq!(one["spec"], json!({"size": "small", "replicas": 1}));
    Ok(())
}

async fn shared_fields(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.apply("one", "fieldManager=ann", &json!({"size": "small"})).await?.code(201)?;
    let one = widgets.apply("one", "fieldManager=bob", &json!({"size": "small"})).await?.code(200)?;
    let mut managers: Vec<Value> = owners(&one)?.iter().map(|owner| owner["manager"].clone()).collect();
    managers.sort_by_key(Value::to_string);
    assert_eq!(managers, ["ann", "bob"]);
    let reply = widgets.apply("one", "fieldManager=ann", &json!({"size": "large"})).await?;
    reply.refused(409, "Conflict", "Apply failed with 1 conflict: conflict with \"bob\": .spec.size")?;
    Ok(())
}

async fn associative_lists(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let spec = json!({"size": "small", "parts": [{"name": "a", "count": 1}], "tags": ["t1"]});
    widgets.apply("one", "fieldManager=ann", &spec).await?.code(201)?;
    let spec = json!({"parts": [{"name": "b", "count": 2}], "tags": ["t2"]});
    let one = widgets.apply("one", "fieldManager=bob", &spec).await?.code(200)?;
    assert_eq!(one["spec"]["parts"], json!([{"name": "a", "count": 1}, {"name": "b", "count": 2}]));
    assert_eq!(one["spec"]["tags"], json!(["t1", "t2"]));
    assert_eq!(
        owners(&one)?[1]["fields"],
        json!({"f:spec": {
            "f:parts": {"k:{\"name\":\"b\"}": {".": {}, "f:count": {}, "f:name": {}}},
            "f:tags": {"v:\"t2\"": {}},
        }})
    );
    let reply =
        widgets.apply("one", "fieldManager=bob", &json!({"parts": [{"name": "a", "count": 5}]})).await?;
    reply.refused(
        409,
        "Conflict",
        "Apply failed with 1 conflict: conflict with \"ann\": .spec.parts[name=\"a\"].count",
    )?;
    let one = widgets.apply("one", "fieldManager=bob", &json!({})).await?.code(200)?;
    assert_eq!(
        (&one["spec"]["parts"], &one["spec"]["tags"]),
        (&json!([{"name": "a", "count": 1}]), &json!(["t1"]))
    );
    Ok(())
}

async fn updates_own_fields(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let path = format!("{}?fieldManager=poster", widgets.path);
    let mut one =
        widgets.http.post(&path, &widgets.draft("one", &json!({"size": "small"}))).await?.code(201)?;
    assert_eq!(
        owners(&one)?,
        [json!({
            "manager": "poster", "operation": "Update",
            "fields": {"f:spec": {".": {}, "f:replicas": {}, "f:size": {}}},
        })]
    );
    one["spec"]["size"] = json!("large");
    let path = format!("{}?fieldManager=putter", widgets.at("one"));
    let one = widgets.http.put(&path, &one).await?.code(200)?;
    assert_eq!(
        owners(&one)?,
        [
            json!({
                "manager": "poster", "operation": "Update",
                "fields": {"f:spec": {".": {}, "f:replicas": {}}},
            }),
            json!({"manager": "putter", "operation": "Update", "fields": {"f:spec": {"f:size": {}}}}),
        ]
    );
    // Without `fieldManager`, the manager is named after the program.
    let headers = [("content-type", "application/merge-patch+json"), ("user-agent", "writer/v1.2 (linux)")];
    let patch = json!({"spec": {"size": "medium"}}).to_string().into_bytes();
    let one = widgets.http.send(Method::PATCH, &widgets.at("one"), &headers, patch).await?.code(200)?;
    assert_eq!(owners(&one)?[1]["manager"], "writer");
    Ok(())
}

async fn status_has_its_own_owners(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.apply("one", "fieldManager=ann", &json!({"size": "small"})).await?.code(201)?;
    let status = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "Widget", "metadata": {"name": "one"},
        "status": {"phase": "Done"},
    });
    let path = format!("{}/status?fieldManager=controller", widgets.at("one"));
    let one = widgets.http.patch(&path, APPLY_PATCH, &status).await?.code(200)?;
    assert_eq!(one["status"], json!({"phase": "Done"}));
    let entry = json!({
        "manager": "controller", "operation": "Apply", "subresource": "status",
        "fields": {"f:status": {"f:phase": {}}},
    });
    let owners = owners(&one)?;
    ensure!(owners.len() == 2 && owners.contains(&entry), "{owners:?}");
    Ok(())
}

async fn wrong_requests(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let invalid = |problem: &str| format!("PatchOptions.meta.k8s.io \"\" is invalid: {problem}");
    let spec = json!({"size": "small"});
    let reply = widgets.apply("one", "", &spec).await?;
    reply.refused(422, "Invalid", &invalid("fieldManager: Required value: is required for apply patch"))?;
    let reply = widgets.apply("one", &format!("fieldManager={}", "x".repeat(129)), &spec).await?;
    reply.refused(422, "Invalid", &invalid("fieldManager: Too long: may not be more than 128 bytes"))?;
    let reply = widgets.merge("one?force=true", &json!({})).await?;
    reply.refused(422, "Invalid", &invalid("force: Forbidden: may not be specified for non-apply patch"))?;

    let path = format!("{}?fieldManager=ann", widgets.at("one"));
    let apply = async |body: &Value| widgets.http.patch(&path, APPLY_PATCH, body).await;
    let mut body = widgets.draft("one", &spec);
    body["metadata"]["managedFields"] = json!([]);
    apply(&body).await?.refused(400, "BadRequest", "metadata.managedFields must be nil")?;
    let message = "the name of the object (other) does not match the name on the URL (one)";
    widgets.create("one").await?;
    apply(&widgets.draft("other", &spec)).await?.refused(400, "BadRequest", message)?;
    let reply = apply(&json!({})).await?;
    reply.refused(400, "BadRequest", "invalid object type: /, Kind=")?;
    Ok(())
}

async fn typed_problems(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let prefix = format!(
        "failed to create typed patch object ({}/one; {GROUP}/v1, Kind=Widget): ",
        cluster.namespace()
    );
    for (spec, problem) in [
        (json!({"size": "small", "nope": 1}), ".spec.nope: field not declared in schema"),
        (
            json!({"size": "small", "replicas": "x"}),
            ".spec.replicas: expected numeric (int or float), got string",
        ),
        (json!({"size": "small", "tags": ["a", "a"]}), ".spec.tags: duplicate entries for key [=\"a\"]"),
    ] {
        let mut widget = widgets.draft("one", &spec);
        widget["metadata"]["namespace"] = json!(cluster.namespace());
        let path = format!("{}?fieldManager=ann", widgets.at("one"));
        let reply = widgets.http.patch(&path, APPLY_PATCH, &widget).await?;
        ensure!(reply.message() == format!("{prefix}{problem}"), "{}", reply.message());
        reply.code(500)?;
    }
    let reply = widgets.apply("one", "fieldManager=ann", &json!({"size": ""})).await?;
    reply.code(422)?;
    Ok(())
}

/// A null is not removed from what is applied, and so refused where the schema does not allow it. It also remains of the
/// object whose last member was given up.
async fn nulls_are_values(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let full = json!({"size": "small", "mode": "fast", "tags": ["a"], "extra": {"a": 1}});
    widgets.apply("one", "fieldManager=ann", &full).await?.code(201)?;
    let refused = async |name: &str, spec: Value, field: &str, kind: &str| {
        let why = format!("Invalid value: \"null\": {field} in body must be of type {kind}: \"null\"");
        let message = format!("Widget.{GROUP} \"{name}\" is invalid: [{field}: {why}, {NOT_ALL_CHECKED}]");
        widgets.apply(name, "fieldManager=ann", &spec).await?.refused(422, "Invalid", &message).map(drop)
    };
    for name in ["one", "new"] {
        for (field, kind) in [("tags", "array"), ("extra", "object"), ("parts", "array")] {
            let mut spec = json!({"size": "small"});
            spec[field] = Value::Null;
            refused(name, spec, &format!("spec.{field}"), kind).await?;
        }
    }
    refused("one", json!({"size": "small", "extra": {}}), "spec.extra", "object").await?;
    let part = json!({"size": "small", "parts": [{"name": "a", "count": null}]});
    refused("one", part, "spec.parts[0].count", "integer").await?;
    // The status may be null as a whole.
    let path = format!("{}/status?fieldManager=ann", widgets.at("one"));
    let status = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "Widget", "metadata": {"name": "one"}, "status": null,
    });
    widgets.http.patch(&path, APPLY_PATCH, &status).await?.code(200)?;
    // A default takes the place of a null.
    let spec = json!({"size": "small", "mode": "fast", "replicas": null});
    let one = widgets.apply("one", "fieldManager=ann", &spec).await?.code(200)?;
    assert_eq!(one["spec"], json!({"size": "small", "mode": "fast", "replicas": 1}));
    Ok(())
}

/// A configuration of a new object has to name it, and none may name another object or namespace.
async fn the_result_has_the_name_of_its_path(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let maps = format!("/api/v1/namespaces/{}/configmaps/one", cluster.namespace());
    let unnamed = "the name of the object (one based on URL) was undeterminable: name must be provided";
    let elsewhere = "the namespace of the provided object does not match the namespace sent on the request";
    for (at, empty) in [
        (widgets.at("one"), widgets.draft("one", &json!({"size": "small"}))),
        (maps, json!({"apiVersion": "v1", "kind": "ConfigMap"})),
    ] {
        let apply = async |metadata: Value| {
            let mut object = empty.clone();
            object["metadata"] = metadata;
            widgets.http.patch(&format!("{at}?fieldManager=ann"), APPLY_PATCH, &object).await
        };
        apply(json!({})).await?.refused(400, "BadRequest", unnamed)?;
        apply(json!({"name": "one", "namespace": "other"})).await?.refused(400, "BadRequest", elsewhere)?;
        apply(json!({"name": "one"})).await?.code(201)?;
        apply(json!({})).await?.code(200)?;
        apply(json!({"name": ""})).await?.refused(400, "BadRequest", unnamed)?;
        apply(json!({"name": "one", "namespace": "other"})).await?.refused(400, "BadRequest", elsewhere)?;
        // The message shows what was sent.
        let reply = apply(json!({"name": 3})).await?;
        ensure!(
            reply.message().starts_with("failed to create typed patch object (/; "),
            "{}",
            reply.message()
        );
        reply.code(500)?;
        apply(json!("x")).await?.code(500)?;
    }
    Ok(())
}

/// Nobody sees that an apply has left empty labels, but for the versions: the next write of another kind, which changes nothing
/// else, removes them. (The same apply stores them again, in kube-apiserver unless its cache has not seen the object yet.)
async fn empty_metadata_is_stored_until_another_write(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    for (name, field, empty) in [
        ("labels", "labels", json!({})),
        ("annotations", "annotations", json!({})),
        ("owners", "ownerReferences", json!([])),
        ("null", "labels", Value::Null),
    ] {
        let mut widget = widgets.draft(name, &json!({"size": "small"}));
        widget["metadata"][field] = empty;
        let path = format!("{}?fieldManager=ann", widgets.at(name));
        let apply = || widgets.http.patch(&path, APPLY_PATCH, &widget);
        let dry = widgets.http.patch(&format!("{path}&dryRun=All"), APPLY_PATCH, &widget).await?.code(201)?;
        let created = apply().await?.code(201)?;
        let again = apply().await?.code(200)?;
        let merged = widgets.merge(name, &json!({})).await?.code(200)?;
        let merged_again = widgets.merge(name, &json!({})).await?.code(200)?;
        let applied = apply().await?.code(200)?;
        let read = widgets.http.get(&widgets.at(name)).await?.code(200)?;
        for object in [&dry, &created, &again, &merged, &merged_again, &applied, &read] {
            assert_eq!(object["metadata"].get(field), None, "{object}");
        }
        let versions = [&again, &merged, &merged_again, &applied, &read].map(version);
        let is_new: Vec<_> = versions.windows(2).map(|pair| pair[0] != pair[1]).collect();
        assert_eq!(is_new, [true, false, true, false], "{name}: {versions:?}");
    }
    Ok(())
}

async fn yaml(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let path = format!("{}?fieldManager=ann", widgets.at("one"));
    let headers = [("content-type", APPLY_PATCH)];
    let body = format!(
        "# a comment\napiVersion: {GROUP}/v1\nkind: Widget\nmetadata:\n  name: one\nspec:\n  size: small\n"
    );
    let one = widgets.http.send(Method::PATCH, &path, &headers, body.into_bytes()).await?.code(201)?;
    assert_eq!(one["spec"]["size"], "small");
    let reply = widgets.http.send(Method::PATCH, &path, &headers, b"not: [yaml".to_vec()).await?;
    ensure!(reply.message().starts_with("error encoding patch: yaml: "), "{}", reply.message());
    reply.code(400)?;
    Ok(())
}

async fn dry_run(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.apply("one", "fieldManager=ann&dryRun=All", &json!({"size": "small"})).await?.code(201)?;
    widgets.get("one").await?.code(404)?;
    let one = widgets.apply("one", "fieldManager=ann", &json!({"size": "small"})).await?.code(201)?;
    widgets.apply("one", "fieldManager=bob&dryRun=All", &json!({"size": "large"})).await?.code(409)?;
    let dry =
        widgets.apply("one", "fieldManager=ann&dryRun=All", &json!({"size": "large"})).await?.code(200)?;
    assert_eq!((&dry["spec"]["size"], version(&dry)), (&json!("large"), version(&one)));
    assert_eq!(widgets.get("one").await?.code(200)?, one);
    Ok(())
}

async fn an_outdated_version_conflicts(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.apply("one", "fieldManager=ann", &json!({"size": "small"})).await?.code(201)?;
    let mut widget = widgets.draft("one", &json!({"size": "large"}));
    widget["metadata"]["resourceVersion"] = json!("1");
    let path = format!("{}?fieldManager=ann", widgets.at("one"));
    let message = format!(
        "Operation cannot be fulfilled on widgets.{GROUP} \"one\": the object has been modified; please apply your changes to the latest version and try again"
    );
    widgets.http.patch(&path, APPLY_PATCH, &widget).await?.refused(409, "Conflict", &message)?;
    assert_eq!(widgets.get("one").await?.code(200)?, one);
    Ok(())
}

async fn an_unknown_uid_conflicts(cluster: Cluster) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}/configmaps/c?fieldManager=ann", cluster.namespace());
    let map = |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let message = "Operation cannot be fulfilled on configmaps \"c\": uid mismatch: the provided object specified uid u, and no existing object was found";
    let named = map(json!({"name": "c", "uid": "u"}));
    cluster.admin().patch(&path, APPLY_PATCH, &named).await?.refused(409, "Conflict", message)?;
    let versioned = map(json!({"name": "c", "resourceVersion": "5"}));
    cluster.admin().patch(&path, APPLY_PATCH, &versioned).await?.code(201)?;
    Ok(())
}
