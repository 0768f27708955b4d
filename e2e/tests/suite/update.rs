//! PUT, the status and scale subresources, generation, and writes that change nothing.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster,
    http::{APPLY_PATCH, JSON_PATCH, MERGE_PATCH},
};
use serde_json::{Value, json};

use crate::widgets::{CRDS, GROUP, NOT_ALL_CHECKED, Widgets, crd, version, widgets, widgets_of_existing};

e2e::on_each_cluster! {
    needs_a_version, conflicts, unconditional_for_config_maps, never_creates, generation, status, scale,
    no_change_no_version, wrong_targets, zero_and_malformed_versions, scale_contains_the_selector,
    scale_is_validated, scale_of_no_replicas, scale_of_wrong_types,
    status_with_a_default,
    status_of_workloads [NoControllers]
}

const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

async fn needs_a_version(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut one = widgets.create("one").await?;
    let written = version(&one).to_owned();
    one["spec"]["size"] = json!("large");
    one["metadata"]["resourceVersion"] = json!("");
    let message = format!(
        "widgets.{GROUP} \"one\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    );
    widgets.http.put(&widgets.at("one"), &one).await?.refused(422, "Invalid", &message)?;
    one["metadata"]["resourceVersion"] = json!(written);
    let updated = widgets.http.put(&widgets.at("one"), &one).await?.code(200)?;
    assert_eq!(updated["spec"]["size"], "large");
    ensure!(version(&updated).parse::<u64>()? > written.parse::<u64>()?);
    Ok(())
}

async fn conflicts(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let old = widgets.create("one").await?;
    widgets.merge("one", &json!({"spec": {"size": "large"}})).await?.code(200)?;
    let message = format!("Operation cannot be fulfilled on widgets.{GROUP} \"one\": {MODIFIED}");
    let status = widgets.http.put(&widgets.at("one"), &old).await?.refused(409, "Conflict", &message)?;
    assert_eq!(status["details"], json!({"name": "one", "group": GROUP, "kind": "widgets"}));
    let patch = json!({"metadata": {"resourceVersion": version(&old)}, "spec": {"size": "medium"}});
    widgets.merge("one", &patch).await?.refused(409, "Conflict", &message)?;
    assert_eq!(widgets.get("one").await?.code(200)?["spec"]["size"], "large");
    Ok(())
}

async fn unconditional_for_config_maps(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let path = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace());
    let mut map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}});
    let created = admin.post(&path, &map).await?.code(201)?;
    assert!(created["metadata"].get("generation").is_none(), "{created}");
    map["data"] = json!({"b": "2"});
    let updated = admin.put(&format!("{path}/m"), &map).await?.code(200)?;
    assert_eq!(updated["data"], json!({"b": "2"}));
    assert_eq!(updated["metadata"]["uid"], created["metadata"]["uid"]);
    let message = format!("Operation cannot be fulfilled on configmaps \"m\": {MODIFIED}");
    admin.put(&format!("{path}/m"), &created).await?.refused(409, "Conflict", &message)?;
    Ok(())
}

async fn never_creates(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let message = format!("widgets.{GROUP} \"one\" not found");
    let absent = widgets.draft("one", &json!({"size": "small"}));
    widgets.http.put(&widgets.at("one"), &absent).await?.refused(404, "NotFound", &message)?;
    widgets.merge("one", &json!({})).await?.refused(404, "NotFound", &message)?;
    widgets.get("one").await?.code(404)?;
    // A PUT does create a Lease: nodes and controllers write theirs without reading it first.
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/l", cluster.namespace());
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}});
    cluster.admin().put(&leases, &lease).await?.code(201)?;
    Ok(())
}

async fn generation(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    assert_eq!(widgets.create("one").await?["metadata"]["generation"], 1);
    for (patch, generation) in [
        (json!({"metadata": {"labels": {"a": "b"}}}), 1),
        (json!({"metadata": {"generation": 99}}), 1),
        (json!({"status": {"phase": "Ignored"}}), 1),
        (json!({"spec": {"size": "large"}}), 2),
        (json!({"spec": {"size": "large"}}), 2),
    ] {
        let one = widgets.merge("one", &patch).await?.code(200)?;
        ensure!(one["metadata"]["generation"] == generation, "{patch}: {}", one["metadata"]);
    }
    let path = format!("{}/status", widgets.at("one"));
    let one = widgets.http.patch(&path, MERGE_PATCH, &json!({"status": {"phase": "X"}})).await?.code(200)?;
    assert_eq!(one["metadata"]["generation"], 2);
    Ok(())
}

async fn status(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let created = widgets.create("one").await?;
    let path = format!("{}/status", widgets.at("one"));
    let patch =
        json!({"metadata": {"labels": {"c": "d"}}, "spec": {"size": "large"}, "status": {"phase": "Done"}});
    let patched = widgets.http.patch(&path, MERGE_PATCH, &patch).await?.code(200)?;
    assert_eq!((&patched["status"], &patched["spec"]), (&json!({"phase": "Done"}), &created["spec"]));
    assert!(patched["metadata"].get("labels").is_none(), "{patched}");

    let mut replaced = patched.clone();
    replaced["status"] = json!({"phase": "Gone"});
    replaced["spec"]["size"] = json!("medium");
    let kept = widgets.http.put(&widgets.at("one"), &replaced).await?.code(200)?;
    assert_eq!((&kept["status"], &kept["spec"]["size"]), (&json!({"phase": "Done"}), &json!("medium")));
    replaced["metadata"]["resourceVersion"] = kept["metadata"]["resourceVersion"].clone();
    replaced["spec"]["size"] = json!("tiny");
    let kept = widgets.http.put(&path, &replaced).await?.code(200)?;
    assert_eq!((&kept["status"], &kept["spec"]["size"]), (&json!({"phase": "Gone"}), &json!("medium")));
    assert_eq!(widgets.http.get(&path).await?.code(200)?, kept);
    widgets.http.patch(&path, MERGE_PATCH, &json!({"status": {"phase": 5}})).await?.code(422)?;
    Ok(())
}

/// A create leaves the status out, and reads fill in its default, which nobody has set.
async fn status_with_a_default(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let mut definition = crd(&group);
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["default"] =
        json!({"phase": "New"});
    cluster.admin().post(CRDS, &definition).await?.code(201)?;
    let widgets = widgets_of_existing(&cluster, &group).await?;
    let status = json!({"phase": "New"});
    assert_eq!(widgets.create("one").await?["status"], status);
    assert_eq!(widgets.get("one").await?.code(200)?["status"], status);
    let list = widgets.http.get(&widgets.path).await?.code(200)?;
    assert_eq!(list["items"][0]["status"], status);
    let one = widgets.merge("one", &json!({"spec": {"size": "large"}})).await?.code(200)?;
    assert_eq!((&one["status"], &one["metadata"]["generation"]), (&status, &json!(2)));
    widgets.create("two").await?;
    let path = format!("{}/status", widgets.at("two"));
    let two =
        widgets.http.patch(&path, MERGE_PATCH, &json!({"status": {"phase": "Old"}})).await?.code(200)?;
    let fields = two["metadata"]["managedFields"].as_array().into_iter().flatten();
    let fields: Vec<_> =
        fields.filter(|it| it["subresource"] == "status").map(|it| &it["fieldsV1"]).collect();
    assert_eq!(fields, [&json!({"f:status": {"f:phase": {}}})]);
    cluster.admin().delete(&format!("{CRDS}/widgets.{group}")).await?.code(200)?;
    Ok(())
}

async fn scale(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let path = format!("{}/scale", widgets.at("one"));
    let scale = widgets.http.get(&path).await?.code(200)?;
    let metadata = &one["metadata"];
    assert_eq!(
        scale,
        json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {
                "name": "one", "namespace": cluster.namespace(), "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
            },
            "spec": {"replicas": 1}, "status": {"replicas": 0},
        })
    );
    widgets.http.patch(&path, MERGE_PATCH, &json!({"spec": {"replicas": 3}})).await?.code(200)?;
    let one = widgets.get("one").await?.code(200)?;
    assert_eq!((&one["spec"]["replicas"], &one["metadata"]["generation"]), (&json!(3), &json!(2)));
    widgets.http.patch(&path, MERGE_PATCH, &json!({"spec": {"replicas": 9}})).await?.code(422)?;
    Ok(())
}

async fn scale_contains_the_selector(cluster: Cluster) -> Result<()> {
    let (admin, namespace) = (cluster.admin(), cluster.namespace());
    let pod = json!({"metadata": {"labels": {"a": "b", "c": "d"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let expressions = json!([{"key": "a", "operator": "In", "values": ["x", "b"]}]);
    let selector = json!({"matchLabels": {"c": "d"}, "matchExpressions": expressions});
    for (group, plural, selector, text) in [
        ("apis/apps", "deployments", selector, "a in (b,x),c=d"),
        ("api", "replicationcontrollers", json!({"a": "b", "c": "d"}), "a=b,c=d"),
    ] {
        let path = format!("/{group}/v1/namespaces/{namespace}/{plural}");
        let object = json!({"metadata": {"name": "one"}, "spec": {"replicas": 0, "selector": selector, "template": pod}});
        admin.post(&path, &object).await?.code(201)?;
        let scale = admin.get(&format!("{path}/one/scale")).await?.code(200)?;
        assert_eq!(scale["status"]["selector"], text);
    }
    Ok(())
}

/// Widgets with a scale whose schema allows anything.
async fn open_widgets(cluster: &Cluster) -> Result<Widgets> {
    let group = cluster.unique();
    let mut crd = crd(&group);
    let version = &mut crd["spec"]["versions"][0];
    version["selectableFields"].take();
    version["subresources"]["scale"]["labelSelectorPath"] = json!(".status.selector");
    let open = json!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true});
    version["schema"]["openAPIV3Schema"] = json!({
        "type": "object", "properties": {"spec": open, "status": open},
        "x-kubernetes-validations": [{"rule": "true"}],
    });
    cluster.admin().post(CRDS, &crd).await?.code(201)?;
    widgets_of_existing(cluster, &group).await
}

async fn scale_is_validated(cluster: Cluster) -> Result<()> {
    let widgets = open_widgets(&cluster).await?;
    let invalid = |problem: &str| format!("Widget.{} \"one\" is invalid: {problem}", widgets.group);
    let cases = [
        (json!({"replicas": -1}), ".spec.replicas: Invalid value: -1: should be a non-negative integer"),
        (
            json!({"replicas": 2_147_483_648_i64}),
            ".spec.replicas: Invalid value: 2147483648: should be less than or equal to 2147483647",
        ),
        (
            json!({"replicas": {"a": [1, null, "b"]}}),
            ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: map[a:[1 <nil> b]] is of the type \
             map[string]interface {}, expected int64",
        ),
        (
            json!({"replicas": null}),
            ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: <nil> is of the type <nil>, expected int64",
        ),
    ];
    for (spec, problem) in cases {
        widgets.post("one", &spec).await?.refused(422, "Invalid", &invalid(problem))?;
    }
    let problems = format!(
        "[spec: Invalid value: \"array\": spec in body must be of type object: \"array\", .spec.replicas: Invalid value: 0: \
         .spec.replicas accessor error: [] is of the type []interface {{}}, expected map[string]interface{{}}, \
         {NOT_ALL_CHECKED}]"
    );
    widgets.post("one", &json!([])).await?.refused(422, "Invalid", &invalid(&problems))?;

    widgets.post("one", &json!(null)).await?.code(201)?;
    let status = format!("{}/status", widgets.at("one"));
    let problems = "[.status.replicas: Invalid value: -2: should be a non-negative integer, .status.selector: \
                    Invalid value: \"\": .status.selector accessor error: 5 is of the type int64, expected string]";
    let wrong = json!({"status": {"replicas": -2, "selector": 5}});
    widgets.http.patch(&status, MERGE_PATCH, &wrong).await?.refused(422, "Invalid", &invalid(problems))?;
    Ok(())
}

async fn scale_of_no_replicas(cluster: Cluster) -> Result<()> {
    let widgets = open_widgets(&cluster).await?;
    widgets.post("one", &json!({"a": 1})).await?.code(201)?;
    let path = format!("{}/scale", widgets.at("one"));
    let message = "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist";
    widgets.http.get(&path).await?.refused(500, "InternalError", message)?;
    let message = "the spec replicas field \".spec.replicas\" cannot be empty";
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    widgets.http.patch(&path, MERGE_PATCH, &labels).await?.refused(400, "BadRequest", message)?;
    let scale = widgets.http.patch(&path, MERGE_PATCH, &json!({"spec": {"replicas": 5}})).await?.code(200)?;
    assert_eq!((&scale["spec"], &scale["status"]), (&json!({"replicas": 5}), &json!({"replicas": 0})));
    let scale =
        widgets.http.patch(&path, MERGE_PATCH, &json!({"spec": {"replicas": null}})).await?.code(200)?;
    assert_eq!(scale["spec"], json!({}));
    // The scale has no replicas now, but a JSON patch can replace them.
    let replace = json!([{"op": "replace", "path": "/spec/replicas", "value": 7}]);
    let scale = widgets.http.patch(&path, JSON_PATCH, &replace).await?.code(200)?;
    assert_eq!(scale["spec"], json!({"replicas": 7}));
    // Nobody was the owner of the replicas, and nobody becomes it.
    let one = widgets.get("one").await?.code(200)?;
    assert_eq!(one["metadata"]["managedFields"].as_array().map(Vec::len), Some(1), "{one}");
    widgets.merge("one", &json!({"spec": {"replicas": 8}})).await?.code(200)?;
    widgets.http.patch(&path, MERGE_PATCH, &json!({"spec": {"replicas": 9}})).await?.code(200)?;
    let one = widgets.get("one").await?.code(200)?;
    let entries = one["metadata"]["managedFields"].as_array().context("entries")?;
    let scaled = entries.iter().find(|entry| entry["subresource"] == "scale").context("an entry")?;
    assert_eq!(scaled["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    let status = json!({"status": {"replicas": 2, "selector": "a=b"}});
    widgets.http.patch(&format!("{}/status", widgets.at("one")), MERGE_PATCH, &status).await?.code(200)?;
    let scale = widgets.http.get(&path).await?.code(200)?;
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
    Ok(())
}

async fn scale_of_wrong_types(cluster: Cluster) -> Result<()> {
    let widgets = open_widgets(&cluster).await?;
    widgets.post("one", &json!({"replicas": 1})).await?.code(201)?;
    let path = format!("{}/scale", widgets.at("one"));
    let mut scale = widgets.http.get(&path).await?.code(200)?;
    scale["metadata"].take();
    scale["metadata"]["name"] = json!("one");
    let with = |spec: Value| {
        let mut scale = scale.clone();
        scale["spec"] = spec;
        scale
    };
    let unregistered = "no kind is registered for the type v1.Scale in scheme \"pkg/runtime/scheme.go:111\"";
    for wrong in [json!({"replicas": "x"}), json!({"replicas": 3_000_000_000_i64}), json!({"replicas": 1.5})]
    {
        widgets.http.put(&path, &with(wrong)).await?.refused(400, "BadRequest", unregistered)?;
    }
    let negative = with(json!({"replicas": -1}));
    let problem = ".spec.replicas: Invalid value: -1: should be a non-negative integer";
    let message = format!("Widget.{} \"one\" is invalid: {problem}", widgets.group);
    widgets.http.put(&path, &negative).await?.refused(422, "Invalid", &message)?;
    let text = json!({"spec": {"replicas": "x"}});
    let message = "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32";
    let reply = widgets.http.patch(&path, MERGE_PATCH, &text).await?;
    ensure!(reply.code == 422 && reply.message().ends_with(message), "{}", reply.message());
    // kube-apiserver cannot convert a Scale to the custom resource.
    let apply = format!("{path}?fieldManager=x&force=true");
    let failed = |what: &str, name: &str| {
        format!(
            "{what} (/{name}; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid \
             group/version: autoscaling/v1"
        )
    };
    let message = failed("failed to convert new object", "one");
    widgets
        .http
        .patch(&apply, APPLY_PATCH, &with(json!({"replicas": 2})))
        .await?
        .refused(500, "", &message)?;
    let orphan = widgets.post("two", &json!({"a": 1})).await?.code(201)?;
    let path = format!("{}/scale", widgets.at("two"));
    let mut other = scale.clone();
    other["metadata"]["name"] = orphan["metadata"]["name"].clone();
    let message = failed("failed to create manager for existing fields: failed to convert live object", "");
    let apply = format!("{path}?fieldManager=x");
    widgets.http.patch(&apply, APPLY_PATCH, &other).await?.refused(500, "", &message)?;

    let deployments = format!("/apis/apps/v1/namespaces/{}/deployments", cluster.namespace());
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let selector = json!({"matchLabels": {"a": "b"}});
    let deployment = json!({"metadata": {"name": "one"}, "spec": {"replicas": 0, "selector": selector, "template": template}});
    let admin = cluster.admin();
    admin.post(&deployments, &deployment).await?.code(201)?;
    let path = format!("{deployments}/one/scale");
    let message = "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal string into Go \
                   struct field ScaleSpec.spec.replicas of type int32";
    admin.put(&path, &with(json!({"replicas": "x"}))).await?.refused(400, "BadRequest", message)?;
    let message = "Scale.autoscaling \"one\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
    admin.put(&path, &negative).await?.refused(422, "Invalid", message)?;
    Ok(())
}

async fn no_change_no_version(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let one = widgets.create("one").await?;
    let mut watch =
        widgets.http.watch(&format!("{}?watch=true&resourceVersion={}", widgets.path, version(&one))).await?;
    let put = widgets.http.put(&widgets.at("one"), &one).await?.code(200)?;
    let patched = widgets.merge("one", &json!({"spec": {"size": "small"}})).await?.code(200)?;
    let tested = widgets.json_patch("one", &json!([])).await?.code(200)?;
    for same in [put, patched, tested] {
        assert_eq!(version(&same), version(&one));
    }
    // The next event is the next real change.
    widgets.create("two").await?;
    watch.expect("ADDED", "two").await?;
    Ok(())
}

async fn wrong_targets(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut one = widgets.create("one").await?;
    let other = widgets.draft("other", &json!({"size": "small"}));
    let message = "the name of the object (other) does not match the name on the URL (one)";
    widgets.http.put(&widgets.at("one"), &other).await?.refused(400, "BadRequest", message)?;
    widgets.merge("one", &json!({"metadata": {"name": "other"}})).await?.refused(
        400,
        "BadRequest",
        message,
    )?;
    widgets.http.put(&widgets.path, &one).await?.refused(400, "BadRequest", "name must be provided")?;

    let uid = one["metadata"]["uid"].clone();
    one["metadata"]["uid"] = json!("other");
    let reply = widgets.http.put(&widgets.at("one"), &one).await?;
    let precondition = format!(
        "Precondition failed: UID in precondition: other, UID in object meta: {}",
        uid.as_str().unwrap_or_default()
    );
    ensure!(reply.message().ends_with(&precondition), "{}", reply.message());
    reply.code(409)?;
    let reply = widgets.merge("one", &json!({"metadata": {"namespace": "other"}})).await?;
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    reply.refused(400, "BadRequest", message)?;
    Ok(())
}

async fn zero_and_malformed_versions(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let maps = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace());
    admin.post(&maps, &json!({"metadata": {"name": "c"}})).await?.code(201)?;
    let map =
        |version: &str| json!({"metadata": {"name": "c", "resourceVersion": version}, "data": {"a": "b"}});
    let put = async |version: &str| admin.put(&format!("{maps}/c"), &map(version)).await;
    let patch = async |version: &str| admin.patch(&format!("{maps}/c"), MERGE_PATCH, &map(version)).await;
    // "0" is treated as no version.
    put("0").await?.code(200)?;
    patch("0").await?.code(200)?;
    let message = "strconv.ParseUint: parsing \"abc\": invalid syntax";
    put("abc").await?.refused(500, "", message)?;
    patch("abc").await?.refused(500, "", message)?;

    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.create("one").await?;
    widget["metadata"]["resourceVersion"] = "0".into();
    let message = format!(
        "widgets.{GROUP} \"one\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    );
    widgets.http.put(&widgets.at("one"), &widget).await?.refused(422, "Invalid", &message)?;
    widget["metadata"]["resourceVersion"] = "abc".into();
    let reply = widgets.http.put(&widgets.at("one"), &widget).await?;
    reply.refused(500, "", "strconv.ParseUint: parsing \"abc\": invalid syntax")?;
    Ok(())
}

async fn status_of_workloads(cluster: Cluster) -> Result<()> {
    let (admin, root) = (cluster.admin(), format!("/apis/apps/v1/namespaces/{}", cluster.namespace()));
    let pod =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": pod});
    for (plural, kind, status, problem) in [
        (
            "deployments",
            "Deployment",
            json!({"replicas": 1, "readyReplicas": 2, "availableReplicas": -1}),
            "[status.availableReplicas: Invalid value: -1: must be greater than or equal to 0, status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas]",
        ),
        (
            "deployments",
            "Deployment",
            json!({"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}),
            "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas",
        ),
        (
            "replicasets",
            "ReplicaSet",
            json!({"replicas": 1, "fullyLabeledReplicas": 2}),
            "status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas",
        ),
        (
            "statefulsets",
            "StatefulSet",
            json!({"replicas": 1, "availableReplicas": 1}),
            "status.availableReplicas: Invalid value: 1: cannot be greater than status.readyReplicas",
        ),
        (
            "daemonsets",
            "DaemonSet",
            json!({"numberReady": -3, "collisionCount": 1}),
            "status.numberReady: Invalid value: -3: must be greater than or equal to 0",
        ),
    ] {
        // In the second case of a kind, the object already exists.
        admin.post(&format!("{root}/{plural}"), &json!({"metadata": {"name": "one"}, "spec": spec})).await?;
        let path = format!("{root}/{plural}/one/status");
        let message = format!("{kind}.apps \"one\" is invalid: {problem}");
        let reply = admin.patch(&path, MERGE_PATCH, &json!({"status": status})).await?;
        reply.refused(422, "Invalid", &message)?;
    }
    let path = format!("{root}/deployments/one/status");
    let status = |count: i32| json!({"status": {"replicas": 1, "readyReplicas": 1, "collisionCount": count}});
    admin.patch(&path, MERGE_PATCH, &status(2)).await?.code(200)?;
    let message =
        "Deployment.apps \"one\" is invalid: status.collisionCount: Invalid value: 1: cannot be decremented";
    admin.patch(&path, MERGE_PATCH, &status(1)).await?.refused(422, "Invalid", message)?;
    Ok(())
}
