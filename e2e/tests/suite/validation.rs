//! Schemas: validation with its exact messages, defaults, and pruning.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster,
    http::{MERGE_PATCH, Reply},
};
use serde_json::{Value, json};

use crate::widgets::{CRDS, GROUP, NOT_ALL_CHECKED, Widgets, crd, widgets};

e2e::on_each_cluster! {
    one_field, types, several_fields, lists, rules, transition_rules, causes, defaults, pruning,
    field_validation, strict_patches, many_warnings, errors_keep_warnings, blocked_by_metadata,
    causes_of_metadata, special_paths, finalizers
}

/// Checks that each spec is refused with these problems. `*` stands for the remark that some rules were not checked.
async fn refuses(widgets: &Widgets, cases: &[(Value, &[&str])]) -> Result<()> {
    for (spec, problems) in cases {
        let problems: Vec<&str> =
            problems.iter().map(|&problem| if problem == "*" { NOT_ALL_CHECKED } else { problem }).collect();
        let message = match problems.as_slice() {
            [problem] => (*problem).to_owned(),
            problems => format!("[{}]", problems.join(", ")),
        };
        let message = format!("Widget.{GROUP} \"bad\" is invalid: {message}");
        widgets.post("bad", spec).await?.refused(422, "Invalid", &message)?;
    }
    widgets.get("bad").await?.code(404)?;
    Ok(())
}

async fn one_field(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    refuses(
        &widgets,
        &[
            (json!({}), &["spec.size: Required value", "*"]),
            (json!({"size": null}), &["spec.size: Required value", "*"]),
            (
                json!({"size": ""}),
                &["spec.size: Invalid value: \"\": spec.size in body should be at least 1 chars long"],
            ),
            (
                json!({"size": "UPPER"}),
                &["spec.size: Invalid value: \"UPPER\": spec.size in body should match '^[a-z]+$'"],
            ),
            (
                json!({"size": "waytoolongvalue"}),
                &["spec.size: Too long: may not be more than 10 bytes", "*"],
            ),
            (
                json!({"size": "a", "replicas": 6}),
                &["spec.replicas: Invalid value: 6: spec.replicas in body should be less than or equal to 5"],
            ),
            (
                json!({"size": "a", "mode": "other"}),
                &["spec.mode: Unsupported value: \"other\": supported values: \"fast\", \"slow\"", "*"],
            ),
        ],
    )
    .await
}

async fn types(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    refuses(
        &widgets,
        &[
            (
                json!({"size": 5}),
                &["spec.size: Invalid value: \"integer\": spec.size in body must be of type string: \"integer\"", "*"],
            ),
            (
                json!({"size": "a", "mode": {}}),
                &[
                    "spec.mode: Invalid value: \"object\": spec.mode in body must be of type string: \"object\"",
                    "spec.mode: Unsupported value: {}: supported values: \"fast\", \"slow\"",
                    "*",
                ],
            ),
            (
                json!({"size": "a", "tags": "x"}),
                &["spec.tags: Invalid value: \"string\": spec.tags in body must be of type array: \"string\"", "*"],
            ),
            (
                json!({"size": "a", "port": true}),
                &[
                    "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
                    "*",
                ],
            ),
        ],
    )
    .await
}

async fn several_fields(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let spec = json!({"size": "UPPERUPPERUPPER", "mode": "x", "replicas": 9});
    let reply = widgets.post("bad", &spec).await?;
    // kube-apiserver checks the properties in the order of a Go map, which is random.
    for part in [
        "spec.replicas: Invalid value: 9: spec.replicas in body should be less than or equal to 5",
        "spec.size: Too long: may not be more than 10 bytes",
        "spec.mode: Unsupported value: \"x\": supported values: \"fast\", \"slow\"",
    ] {
        ensure!(reply.message().contains(part), "{}", reply.message());
    }
    reply.code(422)?;
    Ok(())
}

async fn lists(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    refuses(
        &widgets,
        &[
            (json!({"size": "a", "tags": ["a", "a"]}), &["spec.tags[1]: Duplicate value: \"a\""]),
            (
                json!({"size": "a", "tags": ["a", "b", "c", "d"]}),
                &["spec.tags: Too many: 4: must have at most 3 items", "*"],
            ),
            (
                json!({"size": "a", "parts": [{"name": "x"}, {"name": "x"}]}),
                &["spec.parts[1]: Duplicate value: {\"name\":\"x\"}"],
            ),
            (json!({"size": "a", "parts": [{"count": 1}]}), &["spec.parts[0].name: Required value", "*"]),
        ],
    )
    .await
}

async fn rules(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    refuses(&widgets, &[(json!({"size": "huge"}), &["spec.size: Invalid value: \"huge\": huge is too big"])])
        .await
}

async fn transition_rules(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.post("one", &json!({"size": "a", "mode": "fast"})).await?.code(201)?;
    let reply = widgets.merge("one", &json!({"spec": {"mode": null}})).await?;
    let message = reply.message().to_owned();
    ensure!(
        message.ends_with("mode cannot be removed") && message.contains("is invalid: spec: "),
        "{message}"
    );
    reply.code(422)?;
    widgets.merge("one", &json!({"spec": {"mode": "slow"}})).await?.code(200)?;
    Ok(())
}

async fn causes(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let message = format!(
        "Widget.{GROUP} \"bad\" is invalid: spec.size: Invalid value: \"\": spec.size in body should be at least 1 chars long"
    );
    let status = widgets.post("bad", &json!({"size": ""})).await?.refused(422, "Invalid", &message)?;
    assert_eq!(
        status["details"],
        json!({
            "name": "bad", "group": GROUP, "kind": "Widget",
            "causes": [{
                "reason": "FieldValueInvalid", "field": "spec.size",
                "message": "Invalid value: \"\": spec.size in body should be at least 1 chars long",
            }],
        })
    );
    Ok(())
}

async fn defaults(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    assert_eq!(widgets.create("one").await?["spec"], json!({"size": "small", "replicas": 1}));
    // A removed field is absent, so it gets its default.
    let one = widgets.merge("one", &json!({"spec": {"replicas": 3}})).await?.code(200)?;
    assert_eq!(one["spec"]["replicas"], 3);
    let one = widgets.merge("one", &json!({"spec": {"replicas": null}})).await?.code(200)?;
    assert_eq!(one["spec"]["replicas"], 1);
    Ok(())
}

async fn pruning(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let spec =
        json!({"size": "small", "unknown": 1, "extra": {"any": {"thing": [1, null, "x"]}}, "port": "http"});
    let reply = widgets.post("one", &spec).await?;
    assert_eq!(reply.warnings(), ["unknown field \"spec.unknown\""]);
    let kept =
        json!({"size": "small", "replicas": 1, "extra": {"any": {"thing": [1, null, "x"]}}, "port": "http"});
    assert_eq!(reply.code(201)?["spec"], kept);
    assert_eq!(widgets.get("one").await?.code(200)?["spec"], kept);
    Ok(())
}

async fn field_validation(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let post = async |query: &str, body: &str| {
        let path = format!("{}?{query}", widgets.path);
        let headers = [("content-type", "application/json")];
        widgets.http.send(http::Method::POST, &path, &headers, body.as_bytes().to_vec()).await
    };
    let widget = |spec: &str| {
        format!(
            r#"{{"apiVersion":"{GROUP}/v1","kind":"Widget","metadata":{{"generateName":"x-"}},"spec":{spec}}}"#
        )
    };
    let unknown = widget(r#"{"size":"small","unknown":1,"other":2}"#);
    let twice = widget(r#"{"size":"small","size":"large"}"#);

    post("fieldValidation=Strict", &unknown).await?.refused(
        400,
        "BadRequest",
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.other\", unknown field \"spec.unknown\"",
    )?;
    post("fieldValidation=Strict", &twice).await?.refused(
        400,
        "BadRequest",
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: duplicate field \"spec.size\"",
    )?;
    for query in ["", "fieldValidation=Warn"] {
        let reply = post(query, &unknown).await?;
        assert_eq!(reply.warnings(), ["unknown field \"spec.other\"", "unknown field \"spec.unknown\""]);
        reply.code(201)?;
    }
    let reply = post("fieldValidation=Warn", &twice).await?;
    assert_eq!(reply.warnings(), ["duplicate field \"spec.size\""]);
    assert_eq!(reply.code(201)?["spec"]["size"], "large");
    let reply = post("fieldValidation=Ignore", &unknown).await?;
    assert!(reply.warnings().is_empty());
    reply.code(201)?;
    post("fieldValidation=Nope", &unknown).await?.refused(
        422,
        "Invalid",
        "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Nope\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
    )?;
    Ok(())
}

async fn strict_patches(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let reply = widgets.merge("one", &json!({"spec": {"unknown": 1}})).await?;
    assert_eq!(reply.warnings(), ["unknown field \"spec.unknown\""]);
    reply.code(200)?;
    let reply = widgets.merge("one?fieldValidation=Strict", &json!({"spec": {"unknown": 1}})).await?;
    ensure!(
        reply.message().ends_with("strict decoding error: unknown field \"spec.unknown\""),
        "{}",
        reply.message()
    );
    reply.code(422)?;
    Ok(())
}

/// Long warnings are cut, and then left out.
async fn many_warnings(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.draft("long", &json!({"size": "small"}));
    (0..20).for_each(|number| widget[format!("unknown{number:03}{}", "x".repeat(400))] = 1.into());
    let reply = widgets.http.post(&widgets.path, &widget).await?;
    assert_eq!(reply.warnings().len(), 16);
    assert!(reply.warnings().iter().all(|it| it.chars().count() == 256));
    Ok(())
}

/// An answer has the warnings of the steps before the one that failed.
async fn errors_keep_warnings(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    for (name, spec, code) in
        [("two", json!({"size": 5, "unknown": 1}), 422), ("one", json!({"size": "small", "unknown": 1}), 409)]
    {
        let reply = widgets.post(name, &spec).await?;
        assert_eq!(reply.warnings(), ["unknown field \"spec.unknown\""]);
        reply.code(code)?;
    }
    let reply = widgets.merge("one", &json!({"spec": {"size": 5, "unknown": 1}})).await?;
    assert_eq!(reply.warnings(), ["unknown field \"spec.unknown\""]);
    reply.code(422)?;
    let job = format!("/apis/batch/v1/namespaces/{}/jobs/none", cluster.namespace());
    let reply = cluster.admin().delete(&job).await?;
    assert_eq!((reply.code, reply.warnings().len()), (404, 1));
    Ok(())
}

/// Rules do not run if the metadata lacks something.
async fn blocked_by_metadata(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.draft("one", &json!({"size": "huge"}));
    widget["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "A", "name": "b"}]);
    let message = format!(
        "Widget.{GROUP} \"one\" is invalid: [metadata.ownerReferences[0].uid: Required value: must not be empty, {NOT_ALL_CHECKED}]"
    );
    widgets.http.post(&widgets.path, &widget).await?.refused(422, "Invalid", &message)?;
    widgets.create("one").await?;
    let owners = &widget["metadata"]["ownerReferences"];
    let patch = json!({"metadata": {"ownerReferences": owners}, "spec": {"size": "huge"}});
    widgets.merge("one", &patch).await?.refused(422, "Invalid", &message)?;
    Ok(())
}

/// The metadata of some kinds is checked more than once, and the errors are repeated.
async fn causes_of_metadata(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let admin = cluster.admin();
    let causes = |reply: Reply| -> Result<Vec<Value>> {
        let status = reply.code(422)?;
        let causes = status["details"]["causes"].as_array().context("causes")?;
        Ok(causes.iter().map(|cause| cause["field"].clone()).collect())
    };
    let wrong = json!({"metadata": {"labels": {"a": "b c"}}});
    let mut definition = crd(&cluster.unique());
    definition["metadata"]["labels"] = wrong["metadata"]["labels"].clone();
    assert_eq!(causes(admin.post(CRDS, &definition).await?)?, ["metadata.labels"]);
    widgets.create("one").await?;
    assert_eq!(causes(widgets.merge("one", &wrong).await?)?, ["metadata.labels"; 3]);
    let path = format!("{CRDS}/widgets.{GROUP}");
    assert_eq!(causes(admin.patch(&path, MERGE_PATCH, &wrong).await?)?, ["metadata.labels"; 3]);
    let path = format!("/api/v1/namespaces/{}", cluster.namespace());
    assert_eq!(causes(admin.patch(&path, MERGE_PATCH, &wrong).await?)?, ["metadata.labels"]);
    let wrong = json!({"metadata": {"finalizers": ["a b"]}});
    assert_eq!(causes(widgets.merge("one", &wrong).await?)?, ["metadata.finalizers"]);
    Ok(())
}

/// The paths of custom resources are not escaped, so that some cannot be in a header.
async fn special_paths(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let config_maps = format!("/api/v1/namespaces/{}/configmaps?dryRun=All", cluster.namespace());
    for (name, custom, builtin) in [
        ("a\"b", Some("a\"b"), "\"a\\\"b\""),
        ("a\nb", None, "\"a\\nb\""),
        ("a\u{85}b", None, "\"a\\u0085b\""),
    ] {
        // Warnings are quoted in a header.
        let header = |path: &str| format!("unknown field {}", path.replace('\\', "\\\\"));
        let mut widget = widgets.draft("one", &json!({"size": "small"}));
        widget["spec"][name] = json!(1);
        let reply = widgets.http.post(&format!("{}?dryRun=All", widgets.path), &widget).await?;
        assert_eq!(reply.warnings(), Vec::from_iter(custom.map(|path| header(&format!("\"spec.{path}\"")))));
        reply.code(201)?;
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}});
        map[name] = json!(1);
        assert_eq!(cluster.admin().post(&config_maps, &map).await?.warnings(), [header(builtin)]);
    }
    Ok(())
}

/// New finalizers should have a domain and a path.
async fn finalizers(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let warning = |name: &str, path: &str| {
        format!(
            "metadata.finalizers: \"{name}\": prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
        )
    };
    let (a, b) = (warning("a", ""), warning("b.c", " including a path (/)"));
    for (finalizers, warnings) in [
        (json!(["b.c", "a", "x.y/z", "orphan"]), vec![a, b]),
        (json!(["a", "b.c", "d"]), vec![warning("d", "")]),
        (json!([]), vec![]),
    ] {
        let reply = widgets.merge("one", &json!({"metadata": {"finalizers": finalizers}})).await?;
        assert_eq!(reply.warnings(), warnings);
        let patched = reply.code(200)?;
        // kube-apiserver first tries a patch on the object in its cache. If that is outdated, it tries once more, and adds
        // the warnings of both attempts. A read at a version waits for the cache.
        let version = patched["metadata"]["resourceVersion"].as_str().context("a version")?;
        widgets.http.get(&format!("{}?resourceVersion={version}", widgets.at("one"))).await?.code(200)?;
    }
    Ok(())
}
