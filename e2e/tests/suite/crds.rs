//! The lifecycle of a CustomResourceDefinition.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{JSON_PATCH, MERGE_PATCH},
};
use serde_json::{Value, json};

use crate::widgets::{CRDS, condition, crd, names, version, widgets_of_existing, widgets_of_group};

e2e::on_each_cluster! {
    established, name_conflict, removal, removal_waits_for_finalizers, comes_back, invalid,
    no_status_subresource, columns_change, protected_group, approval, cluster_scope, expensive_rules,
    kinds_of_any_name, the_last_of_many_updates_is_served, names_of_an_unserved_definition_stay_taken,
    names_are_passed_on, removal_without_a_served_version, warnings
}

const PATIENCE: Duration = Duration::from_secs(30);

async fn established(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    let path = format!("{CRDS}/widgets.{group}");
    let crd = widgets.http.get(&path).await?.code(200)?;
    let summary: Vec<Value> = crd["status"]["conditions"]
        .as_array()
        .context("conditions")?
        .iter()
        .map(|condition| {
            json!([condition["type"], condition["status"], condition["reason"], condition["message"]])
        })
        .collect();
    assert_eq!(
        summary,
        [
            json!(["NamesAccepted", "True", "NoConflicts", "no conflicts found"]),
            json!(["Established", "True", "InitialNamesAccepted", "the initial names have been accepted"]),
        ]
    );
    assert_eq!(crd["status"]["acceptedNames"], crd["spec"]["names"]);
    assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(crd["metadata"]["generation"], 1);
    widgets.create("one").await?;
    Ok(())
}

async fn name_conflict(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    let mut other = crd(&group);
    other["metadata"]["name"] = json!(format!("others.{group}"));
    other["spec"]["names"] =
        json!({"plural": "others", "singular": "other", "kind": "Widget", "listKind": "OtherList"});
    widgets.http.post(CRDS, &other).await?.code(201)?;
    eventually(PATIENCE, || async {
        let other = widgets.http.get(&format!("{CRDS}/others.{group}")).await?.code(200)?;
        ensure!(condition(&other, "NamesAccepted") == "False", "{}", other["status"]);
        ensure!(condition(&other, "Established") == "False", "{}", other["status"]);
        let conditions = other["status"]["conditions"].as_array().context("conditions")?;
        let accepted = conditions.iter().find(|condition| condition["type"] == "NamesAccepted");
        let accepted = accepted.context("NamesAccepted")?;
        ensure!(accepted["reason"] == "KindConflict", "{accepted}");
        ensure!(accepted["message"] == "\"Widget\" is already in use", "{accepted}");
        Ok(())
    })
    .await?;
    let others = format!("/apis/{group}/v1/namespaces/{}/others", cluster.namespace());
    widgets.http.get(&others).await?.code(404)?;
    Ok(())
}

async fn removal(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    widgets.create("one").await?;
    let two = widgets.create("two").await?;
    let mut watch =
        widgets.http.watch(&format!("{}?watch=true&resourceVersion={}", widgets.path, version(&two))).await?;
    widgets.http.delete(&format!("{CRDS}/widgets.{group}")).await?.code(200)?;
    // The watch sends the deletion of each object, and then ends.
    let mut deleted = Vec::new();
    while let Some(event) = watch.try_next().await? {
        ensure!(event.kind == "DELETED", "{event:?}");
        deleted.push(event.object["metadata"]["name"].as_str().unwrap_or_default().to_owned());
    }
    deleted.sort();
    assert_eq!(deleted, ["one", "two"]);
    eventually(PATIENCE, || async {
        widgets.http.get(&format!("{CRDS}/widgets.{group}")).await?.code(404)?;
        for path in [&widgets.path, &format!("/apis/{group}/v1"), &format!("/apis/{group}")] {
            let reply = widgets.http.get(path).await?;
            ensure!(reply.body == "404 page not found\n", "{path}: {}", reply.body);
        }
        let groups = widgets.http.get("/apis").await?.code(200)?;
        ensure!(
            groups["groups"]
                .as_array()
                .is_some_and(|groups| groups.iter().all(|found| found["name"] != group))
        );
        Ok(())
    })
    .await?;
    Ok(())
}

async fn removal_waits_for_finalizers(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    let path = format!("{CRDS}/widgets.{group}");
    let mut held = widgets.draft("held", &json!({"size": "small"}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    widgets.http.post(&widgets.path, &held).await?.code(201)?;
    widgets.create("free").await?;

    let crd = widgets.http.delete(&path).await?.code(200)?;
    assert!(crd["metadata"]["deletionTimestamp"].is_string(), "{crd}");
    assert_eq!(crd["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    eventually(PATIENCE, || async {
        let crd = widgets.http.get(&path).await?.code(200)?;
        ensure!(condition(&crd, "Terminating") == "True", "{}", crd["status"]);
        ensure!(names(&widgets.http.get(&widgets.path).await?.code(200)?) == ["held"]);
        Ok(())
    })
    .await?;
    let message = format!(
        "widgets.{group} \"late\" is forbidden: create not allowed while custom resource definition is terminating"
    );
    widgets.post("late", &json!({"size": "small"})).await?.refused(403, "Forbidden", &message)?;
    widgets.merge("held", &json!({"metadata": {"finalizers": null}})).await?.code(200)?;
    eventually(PATIENCE, || async { widgets.http.get(&path).await?.code(404) }).await?;
    Ok(())
}

async fn comes_back(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    widgets.create("one").await?;
    let path = format!("{CRDS}/widgets.{group}");
    widgets.http.delete(&path).await?.code(200)?;
    eventually(PATIENCE, || async { widgets.http.get(&path).await?.code(404) }).await?;
    let widgets = widgets_of_group(&cluster, &group).await?;
    assert!(widgets.names("").await?.is_empty());
    widgets.create("one").await?;
    Ok(())
}

async fn invalid(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let name = format!("widgets.{group}");
    let refused = async |crd: Value, problem: &str| {
        let reply = cluster.admin().post(CRDS, &crd).await?;
        ensure!(reply.message().contains(problem), "expected {problem}\ngot {}", reply.message());
        reply.code(422)
    };
    let mut wrong_name = crd(&group);
    wrong_name["metadata"]["name"] = json!("widgets");
    refused(
        wrong_name,
        "metadata.name: Invalid value: \"widgets\": must be spec.names.plural+\".\"+spec.group",
    )
    .await?;
    let mut no_storage = crd(&group);
    no_storage["spec"]["versions"][0]["storage"] = json!(false);
    refused(no_storage, "must have exactly one version marked as storage version").await?;
    for none in [json!(null), json!([])] {
        let mut no_versions = crd(&group);
        let why = format!(
            "spec.versions: Invalid value: {none}: must have exactly one version marked as storage version"
        );
        no_versions["spec"]["versions"] = none;
        refused(no_versions, &why).await?;
    }
    let mut scope = crd(&group);
    scope["spec"]["scope"] = json!("Everywhere");
    refused(
        scope,
        "spec.scope: Unsupported value: \"Everywhere\": supported values: \"Cluster\", \"Namespaced\"",
    )
    .await?;
    let mut not_structural = crd(&group);
    not_structural["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"properties": {"spec": {"type": "object"}}});
    refused(not_structural, "type: Required value: must not be empty at the root").await?;
    let mut no_schema = crd(&group);
    no_schema["spec"]["versions"][0].as_object_mut().context("a version")?.remove("schema");
    refused(no_schema, "spec.versions[0].schema.openAPIV3Schema: Required value").await?;
    let mut rule = crd(&group);
    rule["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["x-kubernetes-validations"] =
        json!([{"rule": "self.bogus("}]);
    refused(rule, "x-kubernetes-validations[0].rule: Invalid value: ").await?;
    cluster.admin().get(&format!("{CRDS}/{name}")).await?.code(404)?;
    Ok(())
}

async fn expensive_rules(cluster: Cluster) -> Result<()> {
    const ADVICE: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    let group = cluster.unique();
    let path = "spec.validation.openAPIV3Schema";
    let with = |schema: &Value| {
        let mut crd = crd(&group);
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({
            "type": "object", "properties": {"size": {"type": "string"}, "rated": schema},
        });
        crd
    };
    let refused = async |schema: Value, problems: &[String]| {
        let reply = cluster.admin().post(&format!("{CRDS}?dryRun=All"), &with(&schema)).await?;
        let joined = problems.join(", ");
        let problems = if problems.len() == 1 { joined } else { format!("[{joined}]") };
        let message = format!(
            "CustomResourceDefinition.apiextensions.k8s.io \"widgets.{group}\" is invalid: {problems}"
        );
        reply.refused(422, "Invalid", &message)
    };
    let at = format!("{path}.properties[spec].properties[rated]");
    let rule = |at: &str, factor: &str| {
        format!(
            "{at}.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of {factor} {ADVICE}"
        )
    };
    let total = |factor: &str| {
        format!(
            "{path}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of {factor} {ADVICE}"
        )
    };
    let contributed = |at: &str| {
        format!(
            "{at}.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        )
    };
    let unique = json!([{"rule": "self.all(x, self.exists_one(y, x == y))"}]);
    let list = |limit: Option<u64>| {
        let mut list = json!({
            "type": "array", "items": {"type": "string", "maxLength": 10}, "x-kubernetes-validations": unique,
        });
        if let Some(limit) = limit {
            list["maxItems"] = limit.into();
        }
        list
    };
    // The list has no limit.
    refused(list(None), &[rule(&at, "more than 100x"), contributed(&at), total("more than 100x")]).await?;
    // A limit bounds the cost, which must be low enough.
    refused(list(Some(1200)), &[rule(&at, "1.152720x")]).await?;
    cluster.admin().post(&format!("{CRDS}?dryRun=All"), &with(&list(Some(100)))).await?.code(201)?;
    // The cost counts how often a value may occur.
    let rated = json!({
        "type": "array", "maxItems": 2000,
        "items": {"type": "string", "maxLength": 1000, "x-kubernetes-validations": [{"rule": "self.contains('abcdefghij' + self)"}]},
    });
    refused(
        rated,
        &[rule(&format!("{at}.items"), "32.2x"), contributed(&format!("{at}.items")), total("3.2x")],
    )
    .await?;
    // A messageExpression also has a cost.
    let message = json!({
        "type": "string",
        "x-kubernetes-validations": [{"rule": "self == 'a'", "messageExpression": "self.contains(self) ? self : 'b'"}],
    });
    let of_message = |problem: String| {
        problem
            .replace(".rule:", ".messageExpression:")
            .replace("rule cost exceeds", "messageExpression cost exceeds")
    };
    let problems =
        [of_message(rule(&at, "more than 100x")), of_message(contributed(&at)), total("more than 100x")];
    refused(message, &problems).await?;
    Ok(())
}

async fn warnings(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let mut crd = crd(&group);
    let path = format!("{CRDS}/widgets.{group}");
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    crd.pointer_mut(spec).context("properties")?["odd"] = json!({"type": "string", "format": "odd"});
    let created = cluster.admin().post(CRDS, &crd).await?;
    assert_eq!(created.warnings(), [r#"unrecognized format "odd""#]);
    created.code(201)?;
    let set = json!([{"op": "add", "path": format!("{spec}/set"), "value": {
        "type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object", "x-kubernetes-map-type": "atomic"},
    }}]);
    // The format was warned about before.
    let patched = cluster.admin().patch(&path, JSON_PATCH, &set).await?;
    assert_eq!(
        patched.warnings(),
        [
            r#"x-kubernetes-list-type: set for items of type "object" is not supported by server-side apply or CEL validation rules"#
        ]
    );
    patched.code(200)?;
    Ok(())
}

async fn no_status_subresource(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let mut crd = crd(&group);
    crd["spec"]["versions"][0].as_object_mut().context("a version")?.remove("subresources");
    cluster.admin().post(CRDS, &crd).await?.code(201)?;
    let widgets = widgets_of_existing(&cluster, &group).await?;
    let mut widget = widgets.draft("one", &json!({"size": "small"}));
    widget["status"] = json!({"phase": "Kept"});
    let one = widgets.http.post(&widgets.path, &widget).await?.code(201)?;
    assert_eq!(one["status"], json!({"phase": "Kept"}));
    // Without the subresource, the status is an ordinary field.
    let one = widgets.merge("one", &json!({"status": {"phase": "Changed"}})).await?.code(200)?;
    assert_eq!((&one["status"]["phase"], &one["metadata"]["generation"]), (&json!("Changed"), &json!(2)));
    widgets.http.get(&format!("{}/status", widgets.at("one"))).await?.code(404)?;
    Ok(())
}

async fn columns_change(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    widgets.create("one").await?;
    let columns = json!([{"name": "How big", "type": "string", "jsonPath": ".spec.size"}]);
    let patch =
        json!([{"op": "replace", "path": "/spec/versions/0/additionalPrinterColumns", "value": columns}]);
    let path = format!("{CRDS}/widgets.{group}");
    let patched = widgets.http.patch(&path, JSON_PATCH, &patch).await?.code(200)?;
    assert_eq!(patched["metadata"]["generation"], 2);
    eventually(PATIENCE, || async {
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let table = widgets.http.get_as(&widgets.path, accept).await?.code(200)?;
        ensure!(table["rows"][0]["cells"] == json!(["one", "small"]), "{table}");
        ensure!(table["columnDefinitions"][1]["name"] == "How big", "{table}");
        Ok(())
    })
    .await?;
    Ok(())
}

async fn protected_group(cluster: Cluster) -> Result<()> {
    let group = format!("{}.k8s.io", cluster.namespace());
    let message = format!(
        "CustomResourceDefinition.apiextensions.k8s.io \"widgets.{group}\" is invalid: metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111"
    );
    cluster.admin().post(CRDS, &crd(&group)).await?.refused(422, "Invalid", &message)?;
    Ok(())
}

/// A condition tells whether a definition in one of Kubernetes' own groups was approved.
async fn approval(cluster: Cluster) -> Result<()> {
    let group = format!("{}.k8s.io", cluster.namespace());
    let annotation = |value: Value| json!({"annotations": {"api-approved.kubernetes.io": value}});
    let mut definition = crd(&group);
    definition["metadata"]["annotations"] = annotation(json!("https://example.com/1"))["annotations"].take();
    let admin = cluster.admin();
    admin.post(CRDS, &definition).await?.code(201)?;
    let path = format!("{CRDS}/widgets.{group}");
    let reported = async |expected: [&str; 3]| {
        eventually(PATIENCE, || async {
            let definition = admin.get(&path).await?.code(200)?;
            let conditions = definition["status"]["conditions"].as_array().context("conditions")?;
            let found = conditions.iter().find(|it| it["type"] == "KubernetesAPIApprovalPolicyConformant");
            let found = found.context("no condition yet")?;
            ensure!(["status", "reason", "message"].map(|field| found[field].clone()) == expected, "{found}");
            Ok(())
        })
        .await
    };
    reported(["True", "ApprovedAnnotation", "approved in https://example.com/1"]).await?;
    let patch = json!({"metadata": annotation(json!("unapproved, \"yet\""))});
    admin.patch(&path, MERGE_PATCH, &patch).await?.code(200)?;
    reported(["False", "UnapprovedAnnotation", "not approved: \"unapproved, \\\"yet\\\"\""]).await?;
    let removal = json!({"metadata": annotation(Value::Null)});
    let removed = admin.patch(&path, MERGE_PATCH, &removal).await?;
    ensure!(
        removed.message().contains("Required value: protected groups must have"),
        "{}",
        removed.message()
    );
    removed.code(422)?;
    admin.delete(&path).await?.code(200)?;
    Ok(())
}

async fn cluster_scope(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let mut crd = crd(&group);
    crd["spec"]["scope"] = json!("Cluster");
    let admin = cluster.admin();
    admin.post(CRDS, &crd).await?.code(201)?;
    let path = format!("/apis/{group}/v1/widgets");
    eventually(PATIENCE, || async { admin.get(&path).await?.code(200) }).await?;
    let widget = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "one"},
        "spec": {"size": "small"},
    });
    let one = admin.post(&path, &widget).await?.code(201)?;
    assert!(one["metadata"].get("namespace").is_none(), "{one}");
    admin.get(&format!("/apis/{group}/v1/namespaces/{}/widgets", cluster.namespace())).await?.code(404)?;
    let forbidden = format!(
        "widgets.{group} \"one\" is forbidden: User \"nobody\" cannot get resource \"widgets\" in API group \"{group}\" at the cluster scope"
    );
    cluster.nobody().get(&format!("{path}/one")).await?.refused(403, "Forbidden", &forbidden)?;
    admin.delete(&format!("{CRDS}/widgets.{group}")).await?.code(200)?;
    Ok(())
}

/// A custom kind may have the name of a built-in kind of another group.
async fn kinds_of_any_name(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    for kind in ["CustomResourceDefinition", "Namespace", "Pod", "Service", "Event", "Scale"] {
        let (singular, group) =
            (kind.to_lowercase(), format!("{}.{}", kind.to_lowercase(), cluster.unique()));
        let plural = format!("{singular}s");
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"plural": plural, "singular": singular, "kind": kind, "listKind": format!("{kind}List")},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                    "subresources": {"status": {}},
                }],
            },
        });
        admin.post(CRDS, &definition).await?.code(201)?;
        let path = format!("/apis/{group}/v1/namespaces/{}/{plural}", cluster.namespace());
        eventually(PATIENCE, || async { admin.get(&path).await?.code(200) }).await?;
        let object = json!({
            "apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "one"}, "spec": {"a": 1},
        });
        let created = admin.post(&path, &object).await?.code(201).context(kind)?;
        assert_eq!((&created["spec"], &created["status"]), (&json!({"a": 1}), &Value::Null), "{kind}");
        assert_eq!(created["metadata"]["labels"], Value::Null, "{kind}");
        let one = format!("{path}/one");
        let patch = json!({"spec": {"a": 2}, "status": {"b": 1}});
        let patched = admin.patch(&one, e2e::http::MERGE_PATCH, &patch).await?.code(200)?;
        assert_eq!((&patched["spec"], &patched["status"]), (&json!({"a": 2}), &Value::Null), "{kind}");
        admin.delete(&one).await?.code(200)?;
        admin.get(&one).await?.code(404)?;
        admin.delete(&format!("{CRDS}/{plural}.{group}")).await?.code(200)?;
    }
    Ok(())
}

/// When several clients change a definition concurrently, its last state is the one that is served.
async fn the_last_of_many_updates_is_served(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    let path = format!("{CRDS}/widgets.{group}");
    for round in 0..10 {
        let patches = (0..8).map(|writer| {
            let (http, path) = (widgets.http.clone(), path.clone());
            let columns = json!([{"name": format!("c{round}-{writer}"), "type": "string", "jsonPath": ".spec.size"}]);
            let patch = json!([{"op": "replace", "path": "/spec/versions/0/additionalPrinterColumns", "value": columns}]);
            tokio::spawn(async move { http.patch(&path, JSON_PATCH, &patch).await?.code(200) })
        });
        for patched in patches.collect::<Vec<_>>() {
            patched.await??;
        }
        let stored = widgets.http.get(&path).await?.code(200)?;
        let last = &stored["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"];
        eventually(PATIENCE, || async {
            let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
            let table = widgets.http.get_as(&widgets.path, accept).await?.code(200)?;
            ensure!(table["columnDefinitions"][1]["name"] == *last, "{last} is stored: {table}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Creates a definition of `plural.group` with other names, and returns its path.
async fn define(cluster: &Cluster, group: &str, plural: &str, kind: &str, short: &str) -> Result<String> {
    let mut definition = crd(group);
    definition["metadata"]["name"] = json!(format!("{plural}.{group}"));
    definition["spec"]["names"] = json!({
        "plural": plural, "singular": plural.trim_end_matches('s'), "kind": kind, "listKind": format!("{kind}List"),
        "shortNames": [short],
    });
    cluster.admin().post(CRDS, &definition).await?.code(201)?;
    Ok(format!("{CRDS}/{plural}.{group}"))
}

/// Waits until the condition NamesAccepted has a reason and a message.
async fn names_accepted(cluster: &Cluster, path: &str, reason: &str, message: &str) -> Result<Value> {
    eventually(PATIENCE, || async {
        let definition = cluster.admin().get(path).await?.code(200)?;
        let conditions = definition["status"]["conditions"].as_array().context("conditions")?;
        let accepted = conditions.iter().find(|it| it["type"] == "NamesAccepted").context("NamesAccepted")?;
        ensure!(accepted["reason"] == reason && accepted["message"] == message, "{accepted}");
        Ok(definition["status"]["acceptedNames"].clone())
    })
    .await
}

async fn names_of_an_unserved_definition_stay_taken(cluster: Cluster) -> Result<()> {
    let (admin, group) = (cluster.admin(), cluster.unique());
    // Without an established definition, kube-apiserver would list the group and not serve it, which other clients'
    // discovery fails on.
    let others = define(&cluster, &group, "others", "Other", "o").await?;
    names_accepted(&cluster, &others, "NoConflicts", "no conflicts found").await?;
    let foos = define(&cluster, &group, "foos", "Foo", "f").await?;
    names_accepted(&cluster, &foos, "NoConflicts", "no conflicts found").await?;
    let unserved = json!([{"op": "replace", "path": "/spec/versions/0/served", "value": false}]);
    admin.patch(&foos, JSON_PATCH, &unserved).await?.code(200)?;

    let bars = define(&cluster, &group, "bars", "Foo", "b").await?;
    // The last conflict is reported, and the other names are accepted.
    let accepted =
        names_accepted(&cluster, &bars, "ListKindConflict", "\"FooList\" is already in use").await?;
    assert_eq!(accepted, json!({"kind": "", "plural": "bars", "singular": "bar", "shortNames": ["b"]}));
    Ok(())
}

/// A definition that gets its name may give up another one, for which a third definition waits.
async fn names_are_passed_on(cluster: Cluster) -> Result<()> {
    let (admin, group) = (cluster.admin(), cluster.unique());
    let short_names = async |path: &str, names: &[&str]| {
        let patch = json!({"spec": {"names": {"shortNames": names}}});
        admin.patch(path, e2e::http::MERGE_PATCH, &patch).await?.code(200)
    };
    // In the order of their names, the one that waits last comes first.
    let holder = define(&cluster, &group, "cs", "C", "x").await?;
    let next = define(&cluster, &group, "bs", "B", "p").await?;
    for path in [&holder, &next] {
        names_accepted(&cluster, path, "NoConflicts", "no conflicts found").await?;
    }
    short_names(&next, &["x"]).await?;
    names_accepted(&cluster, &next, "ShortNamesConflict", "\"x\" is already in use").await?;
    let last = define(&cluster, &group, "as", "A", "p").await?;
    names_accepted(&cluster, &last, "ShortNamesConflict", "\"p\" is already in use").await?;

    short_names(&holder, &["y"]).await?;
    for (path, name) in [(&holder, "y"), (&next, "x"), (&last, "p")] {
        eventually(PATIENCE, || async {
            let accepted = names_accepted(&cluster, path, "NoConflicts", "no conflicts found").await?;
            ensure!(accepted["shortNames"] == json!([name]), "{accepted}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// The instances of a definition are removed with it even if no version is served.
async fn removal_without_a_served_version(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let widgets = widgets_of_group(&cluster, &group).await?;
    widgets.create("one").await?;
    let path = format!("{CRDS}/widgets.{group}");
    let unserved = json!([{"op": "replace", "path": "/spec/versions/0/served", "value": false}]);
    widgets.http.patch(&path, JSON_PATCH, &unserved).await?.code(200)?;
    eventually(PATIENCE, || async { widgets.http.get(&widgets.path).await?.code(404) }).await?;
    widgets.http.delete(&path).await?.code(200)?;
    eventually(PATIENCE, || async { widgets.http.get(&path).await?.code(404) }).await?;

    widgets.http.post(CRDS, &crd(&group)).await?.code(201)?;
    let widgets = widgets_of_existing(&cluster, &group).await?;
    assert!(widgets.names("").await?.is_empty());
    Ok(())
}
