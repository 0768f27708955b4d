//! POST: names, generated names, dry runs, and malformed bodies.

use anyhow::{Result, ensure};
use e2e::Cluster;
use http::Method;
use serde_json::{Value, json};

use crate::widgets::{CRDS, GROUP, crd, widgets, widgets_of_existing};

e2e::on_each_cluster! {
    server_fills_in_metadata, already_exists, generate_name, names, labels, dry_run, wrong_bodies,
    wrong_types, yaml_in_and_out, wrong_namespaces, secret_string_data, with_a_version, too_large, cluster_scope_has_no_namespace,
    texts_and_numbers_are_written_as_by_go, answers_are_lines, yaml_is_that_of_go,
    metadata_is_decoded, patched_metadata_is_decoded, embedded_metadata_is_decoded
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

async fn server_fills_in_metadata(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.draft("one", &json!({"size": "small"}));
    widget["metadata"]["uid"] = json!("mine");
    widget["metadata"]["generation"] = json!(7);
    widget["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    widget["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
    widget["status"] = json!({"phase": "Mine"});
    let created = widgets.http.post(&widgets.path, &widget).await?.code(201)?;
    let metadata = &created["metadata"];
    assert_eq!(metadata["namespace"], cluster.namespace());
    assert_eq!(metadata["generation"], 1);
    assert_ne!(metadata["uid"], "mine");
    assert_eq!(metadata["uid"].as_str().map(str::len), Some(36));
    assert!(metadata["creationTimestamp"].as_str().is_some_and(|time| time > "2020" && time.ends_with('Z')));
    assert!(metadata["resourceVersion"].as_str().is_some_and(|version| version.parse::<u64>().is_ok()));
    assert!(metadata.get("deletionTimestamp").is_none() && created.get("status").is_none(), "{created}");
    assert_eq!(widgets.get("one").await?.code(200)?, created);
    Ok(())
}

/// Go escapes more characters than JSON asks for, and its floats have neither `.0` nor an exponent below 1e21.
async fn texts_and_numbers_are_written_as_by_go(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let text = "<a>&\u{2028}\u{2029}é";
    let escaped = r"\u003ca\u003e\u0026\u2028\u2029é";
    let extra = r#"{"a":1.0,"b":1e2,"c":0.000001,"d":1e-7,"e":1e20,"f":1e21,"g":9223372036854775808,"h":-0}"#;
    let written = r#"{"a":1,"b":100,"c":0.000001,"d":1e-7,"e":100000000000000000000,"f":1e+21,"g":9223372036854776000,"h":0}"#;
    let body = format!(
        r#"{{"apiVersion":"{GROUP}/v1","kind":"Widget","metadata":{{"name":"one","annotations":{{"a":"{text}"}}}},
            "spec":{{"size":"small","extra":{extra}}}}}"#
    );
    let headers = [("content-type", "application/json")];
    let send = async |method: Method, path: &str, body: &str| {
        widgets.http.send(method, path, &headers, body.as_bytes().to_vec()).await
    };
    let created = send(Method::POST, &widgets.path, &body).await?;
    let (one, list) = (widgets.get("one").await?, widgets.http.get(&widgets.path).await?);
    for reply in [&created, &one, &list] {
        for expected in [escaped, written] {
            ensure!(reply.text.contains(expected), "{}: {}", reply.request, reply.text);
        }
    }
    created.code(201)?;
    // A number with a fraction is another value than the integer that is stored, although both are written alike.
    let again = br#"{"spec":{"extra":{"a":1.0}}}"#.to_vec();
    let merge = [("content-type", "application/merge-patch+json")];
    let again = widgets.http.send(Method::PATCH, &widgets.at("one"), &merge, again).await?.code(200)?;
    assert_eq!(again["metadata"]["generation"], 2);

    let maps = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace());
    let map = format!(r#"{{"metadata":{{"name":"one"}},"data":{{"a<":"{text}"}}}}"#);
    let refused = send(Method::POST, &maps, &map).await?;
    ensure!(refused.text.contains(r"a\u003c"), "{}", refused.text);
    refused.code(422)?;
    let created = send(Method::POST, &maps, &map.replace("a<", "a")).await?;
    ensure!(created.text.contains(escaped), "{}", created.text);
    created.code(201)?;
    Ok(())
}

async fn answers_are_lines(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let group = format!("/apis/{GROUP}");
    for path in [
        &widgets.path,
        &widgets.at("one"),
        &widgets.at("two"),
        &group,
        &format!("{group}/v1"),
        "/api/v1/namespaces",
        "/api/v1/namespaces/default",
        "/apis",
        "/api",
    ] {
        for accept in ["application/json", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"] {
            let reply = widgets.http.get_as(path, accept).await?;
            ensure!(reply.text.ends_with("}\n") && !reply.text.ends_with("\n\n"), "{path}: {:?}", reply.text);
        }
    }
    for document in ["/version", "/openapi/v3", "/.well-known/openid-configuration"] {
        let reply = widgets.http.get(document).await?;
        ensure!(reply.text.ends_with('}'), "{document}: {:?}", reply.text);
    }
    Ok(())
}

/// YAML 1.1: what is a boolean or a number, and what `<<` does. Of several documents only the first counts.
async fn yaml_is_that_of_go(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let head = format!("apiVersion: {GROUP}/v1\nkind: Widget\nmetadata: {{name: one}}\n");
    let spec = "base: &base {a: 1, b: 2}\n    merged: {<<: *base, b: 3}\n    octal: 010\n    hex: 0x1F\n    \
                separated: 1_000\n    float: 1.0\n    yes: Off\n    date: 2001-01-01\n    12: key\n    quoted: 'yes'\n";
    let body = format!("{head}spec:\n  size: small\n  extra:\n    {spec}---\nnot: [read\n");
    let expected = json!({
        "base": {"a": 1, "b": 2}, "merged": {"a": 1, "b": 3}, "octal": 8, "hex": 31, "separated": 1000, "float": 1,
        "true": false, "date": "2001-01-01", "12": "key", "quoted": "yes",
    });
    let send = async |method: Method, path: &str, kind: &str, body: &str| {
        widgets.http.send(method, path, &[("content-type", kind)], body.as_bytes().to_vec()).await
    };
    let (yaml, apply) = ("application/yaml", "application/apply-patch+yaml");
    let created = send(Method::POST, &widgets.path, yaml, &body).await?.code(201)?;
    assert_eq!(created["spec"]["extra"], expected);
    let path = format!("{}?fieldManager=ann", widgets.at("one"));
    let applied = send(Method::PATCH, &path, apply, &body.replace("large", "small")).await?.code(200)?;
    assert_eq!(applied["spec"]["extra"], expected);

    // A key that is there twice.
    let body = format!("{head}spec:\n  size: small\n  size: large\n");
    let warning = r#"line 6: key "size" already set in map"#;
    let strict = format!("yaml: unmarshal errors:\n  {warning}");
    let reply = send(Method::POST, &widgets.path, yaml, &body.replace("one", "two")).await?;
    assert_eq!(reply.warnings(), [warning]);
    assert_eq!(reply.code(201)?["spec"]["size"], "large");
    let reply = send(Method::PATCH, &path, apply, &body.replace("large", "small")).await?;
    assert_eq!(reply.warnings(), [warning]);
    let path = format!("{path}&fieldValidation=Strict");
    let message = format!("error strict decoding patch: error converting YAML to JSON: {strict}");
    send(Method::PATCH, &path, apply, &body.replace("large", "small")).await?.refused(
        400,
        "BadRequest",
        &message,
    )?;

    for (body, message) in [
        ("", "invalid object type: /, Kind="),
        ("apiVersion: a/b/c\nkind: Widget\n", "invalid object type: /, Kind="),
        ("x: a: b", "error encoding patch: yaml: mapping values are not allowed in this context"),
        ("x:\n  - @a\n", "error encoding patch: yaml: line 2: found character that cannot start any token"),
        (
            "{\"a\":1",
            "error decoding patch: error converting YAML to JSON: yaml: line 1: did not find expected ',' or '}'",
        ),
        (
            "[]",
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of \
             type map[string]interface {}",
        ),
    ] {
        send(Method::PATCH, &path, apply, body).await?.refused(400, "BadRequest", message)?;
    }
    Ok(())
}

async fn already_exists(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let message = format!("widgets.{GROUP} \"one\" already exists");
    let reply = widgets.post("one", &json!({"size": "small"})).await?;
    let status = reply.refused(409, "AlreadyExists", &message)?;
    assert_eq!(status["details"], json!({"name": "one", "group": GROUP, "kind": "widgets"}));
    // Invalid fields are reported first.
    widgets.post("one", &json!({"size": ""})).await?.code(422)?;
    Ok(())
}

async fn generate_name(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.draft("", &json!({"size": "small"}));
    widget["metadata"] = json!({"generateName": "gen-"});
    let mut names = Vec::new();
    for _ in 0..2 {
        let created = widgets.http.post(&widgets.path, &widget).await?.code(201)?;
        assert_eq!(created["metadata"]["generateName"], "gen-");
        let name = created["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        // client-go's alphabet has no vowels and no characters that are easily confused.
        let suffix = name.strip_prefix("gen-").unwrap_or_default();
        ensure!(
            suffix.len() == 5 && suffix.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)),
            "{name}"
        );
        names.push(name);
    }
    assert_ne!(names[0], names[1]);
    Ok(())
}

async fn names(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let reply = widgets.post("Bad_Name", &json!({"size": "small"})).await?;
    let message = format!(
        "Widget.{GROUP} \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": {SUBDOMAIN}"
    );
    reply.refused(422, "Invalid", &message)?;

    let config_maps = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace());
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Bad_Name"}});
    let message =
        format!("ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": {SUBDOMAIN}");
    let status = cluster.admin().post(&config_maps, &config_map).await?.refused(422, "Invalid", &message)?;
    assert_eq!(
        (&status["details"]["name"], &status["details"]["kind"]),
        (&json!("Bad_Name"), &json!("ConfigMap"))
    );

    let long = "x".repeat(254);
    let reply = widgets.post(&long, &json!({"size": "small"})).await?;
    ensure!(reply.message().ends_with("must be no more than 253 characters"), "{}", reply.message());
    let mut labelled = widgets.draft("labelled", &json!({"size": "small"}));
    labelled["metadata"]["labels"] = json!({"a": long});
    let reply = widgets.http.post(&widgets.path, &labelled).await?;
    ensure!(reply.message().ends_with("must be no more than 63 bytes"), "{}", reply.message());

    let reply = widgets.post("", &json!({"size": "small"})).await?;
    ensure!(
        reply.message().contains("metadata.name: Required value: name or generateName is required"),
        "{}",
        reply.message()
    );
    reply.code(422)?;
    widgets.post(&"x".repeat(253), &json!({"size": "small"})).await?.code(201)?;
    widgets.post(&"x".repeat(254), &json!({"size": "small"})).await?.code(422)?;
    Ok(())
}

async fn labels(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.draft("one", &json!({"size": "small"}));
    widget["metadata"]["labels"] = json!({"a": "not ok"});
    let message = format!(
        "Widget.{GROUP} \"one\" is invalid: metadata.labels: Invalid value: \"not ok\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    );
    widgets.http.post(&widgets.path, &widget).await?.refused(422, "Invalid", &message)?;
    widget["metadata"]["labels"] = json!({"a b": "c"});
    let reply = widgets.http.post(&widgets.path, &widget).await?;
    ensure!(
        reply
            .message()
            .contains("metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric"),
        "{}",
        reply.message()
    );
    reply.code(422)?;
    widget["metadata"]["labels"] = json!({"a": 5});
    widgets.http.post(&widgets.path, &widget).await?.refused(
        400,
        "BadRequest",
        "Widget in version \"v1\" cannot be handled as a Widget: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string",
    )?;
    Ok(())
}

async fn dry_run(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let path = format!("{}?dryRun=All", widgets.path);
    let dry = widgets.http.post(&path, &widgets.draft("one", &json!({"size": "small"}))).await?.code(201)?;
    assert_eq!(dry["spec"]["replicas"], 1);
    assert!(dry["metadata"]["uid"].is_string() && dry["metadata"].get("resourceVersion").is_none(), "{dry}");
    widgets.get("one").await?.code(404)?;
    widgets.http.post(&path, &widgets.draft("one", &json!({"size": ""}))).await?.code(422)?;
    let path = format!("{}?dryRun=Some", widgets.path);
    widgets.http.post(&path, &widgets.draft("one", &json!({"size": "small"}))).await?.refused(
        422,
        "Invalid",
        "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"",
    )?;

    widgets.create("one").await?;
    let patch = json!({"spec": {"size": "large"}});
    let patched = widgets.merge("one?dryRun=All", &patch).await?.code(200)?;
    assert_eq!((&patched["spec"]["size"], &patched["metadata"]["generation"]), (&json!("large"), &json!(2)));
    assert_eq!(widgets.get("one").await?.code(200)?["spec"]["size"], "small");
    widgets.delete("one?dryRun=All").await?.code(200)?;
    widgets.get("one").await?.code(200)?;
    let message = format!("widgets.{GROUP} \"one\" already exists");
    let again = widgets.draft("one", &json!({"size": "small"}));
    let path = format!("{}?dryRun=All", widgets.path);
    widgets.http.post(&path, &again).await?.refused(409, "AlreadyExists", &message)?;
    Ok(())
}

/// The store refuses a resourceVersion, after all other checks.
async fn with_a_version(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let create = async |name: &str, size: &str, version: &str, query: &str| {
        let mut widget = widgets.draft(name, &json!({"size": size}));
        widget["metadata"]["resourceVersion"] = version.into();
        widgets.http.post(&format!("{}{query}", widgets.path), &widget).await
    };
    let message = "resourceVersion should not be set on objects to be created";
    create("one", "small", "5", "").await?.refused(500, "", message)?;
    create("one", "", "5", "").await?.code(422)?;
    create("one", "small", "5", "?dryRun=All").await?.code(201)?;
    // Neither of these values is a version.
    create("one", "small", "0", "").await?.code(201)?;
    create("two", "small", "abc", "").await?.code(201)?;
    create("one", "small", "5", "").await?.refused(500, "", message)?;
    // PUT ignores the version of an object that it creates.
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "resourceVersion": "5"}});
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/l", cluster.namespace());
    cluster.admin().put(&path, &lease).await?.code(201)?;
    Ok(())
}

async fn wrong_bodies(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let post = async |body: &str, content_type: &str| {
        let headers = [("content-type", content_type)];
        widgets.http.send(Method::POST, &widgets.path, &headers, body.as_bytes().to_vec()).await
    };
    for body in ["not json", "{\"a\":", "[]", "\"\"", "", "{}"] {
        let reply = post(body, "application/json").await?;
        let message = reply.message();
        ensure!(
            message.starts_with("the object provided is unrecognized (must be of type Widget): "),
            "{body}: {message}"
        );
        ensure!(reply.body["reason"] == "BadRequest", "{}", reply.body);
        reply.code(400)?;
    }
    post("{}", "application/json").await?.refused(
        400,
        "BadRequest",
        "the object provided is unrecognized (must be of type Widget): Object 'Kind' is missing in '{}' ({})",
    )?;
    post("{}", "text/plain").await?.refused(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    )?;
    Ok(())
}

async fn wrong_types(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.draft("one", &json!({"size": "small"}));
    widget["apiVersion"] = json!("suite.example.com/v2");
    widgets.http.post(&widgets.path, &widget).await?.refused(
        400,
        "BadRequest",
        "the API version in the data (suite.example.com/v2) does not match the expected API version (suite.example.com/v1)",
    )?;
    widget["apiVersion"] = json!("suite.example.com/v1");
    widget["kind"] = json!("Gadget");
    let message =
        format!("Gadget.{GROUP} \"one\" is invalid: kind: Invalid value: \"Gadget\": must be Widget");
    widgets.http.post(&widgets.path, &widget).await?.refused(422, "Invalid", &message)?;
    widget["kind"] = json!("Widget");
    widget["metadata"]["resourceVersion"] = json!("5");
    let reply = widgets.http.post(&widgets.path, &widget).await?;
    assert_eq!(reply.message(), "resourceVersion should not be set on objects to be created");
    reply.code(500)?;
    Ok(())
}

async fn yaml_in_and_out(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let yaml =
        format!("apiVersion: {GROUP}/v1\nkind: Widget\nmetadata: {{name: one}}\nspec:\n  size: small\n");
    let headers = [("content-type", "application/yaml")];
    widgets.http.send(Method::POST, &widgets.path, &headers, yaml.into_bytes()).await?.code(201)?;
    let reply = widgets.http.get_as(&widgets.at("one"), "application/yaml").await?;
    let content_type = reply.headers.get("content-type").cloned();
    assert_eq!(content_type.as_ref().map(http::HeaderValue::as_bytes), Some(&b"application/yaml"[..]));
    let body = reply.body.as_str().unwrap_or_default();
    assert!(body.contains("\nspec:\n  replicas: 1\n  size: small\n"), "{body}");
    widgets.http.get_as(&widgets.at("one"), "text/html").await?.refused(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    )?;
    Ok(())
}

async fn wrong_namespaces(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut widget = widgets.draft("one", &json!({"size": "small"}));
    widget["metadata"]["namespace"] = json!("other");
    widgets.http.post(&widgets.path, &widget).await?.refused(
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    )?;
    let nowhere = format!("/apis/{GROUP}/v1/namespaces/nowhere/widgets");
    let reply = widgets.http.post(&nowhere, &widgets.draft("one", &json!({"size": "small"}))).await?;
    let status = reply.refused(404, "NotFound", "namespaces \"nowhere\" not found")?;
    assert_eq!(status["details"], json!({"name": "nowhere", "kind": "namespaces"}));
    // Reading is not refused: the list is empty.
    assert_eq!(widgets.http.get(&nowhere).await?.code(200)?["items"], json!([]));
    Ok(())
}

async fn secret_string_data(cluster: Cluster) -> Result<()> {
    let secrets = format!("/api/v1/namespaces/{}/secrets", cluster.namespace());
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}});
    let created = cluster.admin().post(&secrets, &secret).await?.code(201)?;
    assert_eq!(created["data"], json!({"a": "Yg=="}));
    assert_eq!(created["type"], "Opaque");
    assert!(created.get("stringData").is_none());
    Ok(())
}

/// etcd's limit of a request, below kube-apiserver's.
async fn too_large(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let mut large = widgets.draft("large", &json!({"size": "small"}));
    large["metadata"]["annotations"] = json!({"a": "x".repeat(200_000)});
    large["spec"]["extra"] = json!({"a": "x".repeat(1_400_000)});
    let reply = widgets.http.post(&widgets.path, &large).await?;
    assert_eq!((reply.code, reply.message()), (500, "etcdserver: request is too large"));
    assert!(reply.body.get("reason").is_none(), "{}", reply.body);
    Ok(())
}

/// The namespace of an object of the whole cluster is ignored.
async fn cluster_scope_has_no_namespace(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": cluster.unique(), "namespace": "default"},
    });
    let mut definition = crd(&cluster.unique());
    definition["metadata"]["namespace"] = json!("default");
    for (path, object) in [("/apis/rbac.authorization.k8s.io/v1/clusterroles", role), (CRDS, definition)] {
        let object = admin.post(&format!("{path}?dryRun=All"), &object).await?.code(201)?;
        assert!(object["metadata"].get("namespace").is_none(), "{object}");
    }
    Ok(())
}

/// The metadata of a custom resource is read into Go's type and written again.
async fn metadata_is_decoded(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let path = format!("{}?dryRun=All", widgets.path);
    let post = async |field: &str, value: &Value| {
        let mut widget = widgets.draft("one", &json!({"size": "small"}));
        match field {
            "" => widget["metadata"] = value.clone(),
            field => widget["metadata"][field] = value.clone(),
        }
        widgets.http.post(&path, &widget).await
    };
    let field =
        |what: &str| format!("json: cannot unmarshal {what}").replace("FIELD", "Go struct field ObjectMeta");
    let time = "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"";
    for (name, value, why) in [
        ("", json!("x"), field("string into Go value of type v1.ObjectMeta")),
        ("name", json!({}), field("object into FIELD.name of type string")),
        ("labels", json!([]), field("array into FIELD.labels of type map[string]string")),
        ("generation", json!("x"), field("string into FIELD.generation of type int64")),
        ("finalizers", json!("x"), field("string into FIELD.finalizers of type []string")),
        ("creationTimestamp", json!("x"), time.to_owned()),
    ] {
        let message = format!("Widget in version \"v1\" cannot be handled as a Widget: {why}");
        post(name, &value).await?.refused(400, "BadRequest", &message)?;
    }
    for (field, value) in [
        ("labels", json!(null)),
        ("labels", json!({})),
        ("annotations", json!(null)),
        ("finalizers", json!([])),
        ("ownerReferences", json!(null)),
    ] {
        let one = post(field, &value).await?.code(201)?;
        assert!(one["metadata"].get(field).is_none(), "{one}");
    }
    let one = post("annotations", &json!({"a": null})).await?.code(201)?;
    assert_eq!(one["metadata"]["annotations"], json!({"a": ""}));
    let reply = post("foo", &json!(1)).await?;
    assert_eq!(reply.warnings(), ["unknown field \"metadata.foo\""]);
    assert!(reply.code(201)?["metadata"].get("foo").is_none());
    Ok(())
}

/// The error of a patch whose result cannot be decoded shows the result.
async fn patched_metadata_is_decoded(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let reply = widgets.merge("one", &json!({"metadata": {"labels": {"a": 5}}})).await?;
    let message = reply.message();
    ensure!(message.starts_with(" \"\" is invalid: patch: Invalid value: \"{\\\"apiVersion"), "{message}");
    ensure!(
        message
            .ends_with("json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"),
        "{message}"
    );
    reply.code(422)?;
    let removal = json!([{"op": "replace", "path": "/metadata", "value": {}}]);
    let message = "the name of the object (one based on URL) was undeterminable: name must be provided";
    widgets.json_patch("one", &removal).await?.refused(400, "BadRequest", message)?;
    Ok(())
}

async fn embedded_metadata_is_decoded(cluster: Cluster) -> Result<()> {
    let group = cluster.unique();
    let mut definition = crd(&group);
    let spec = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["properties"]["embedded"] = json!({
        "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
    });
    cluster.admin().post(CRDS, &definition).await?.code(201)?;
    let widgets = widgets_of_existing(&cluster, &group).await?;
    let embedded = |field: &str, value: &Value| {
        let mut embedded = json!({"apiVersion": "v1", "kind": "Pod"});
        embedded[field] = value.clone();
        json!({"size": "small", "embedded": embedded})
    };
    for (field, value, why) in [
        ("apiVersion", json!(1), "1: must be a string"),
        ("metadata", json!("x"), "\"x\": json: cannot unmarshal string into Go value of type v1.ObjectMeta"),
        (
            "metadata",
            json!({"labels": []}),
            "{\"labels\":[]}: json: cannot unmarshal array into Go struct field ObjectMeta.labels of type map[string]string",
        ),
    ] {
        let message = format!(
            "Widget in version \"v1\" cannot be handled as a Widget: spec.embedded.{field}: Invalid value: {why}"
        );
        widgets.post("one", &embedded(field, &value)).await?.refused(400, "BadRequest", &message)?;
    }
    let one = widgets.post("one", &embedded("metadata", &json!({"labels": null}))).await?.code(201)?;
    assert_eq!(one["spec"]["embedded"]["metadata"], json!({}));
    cluster.admin().delete(&format!("{CRDS}/widgets.{group}")).await?.code(200)?;
    Ok(())
}
