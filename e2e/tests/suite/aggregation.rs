//! API aggregation: APIServices, local ones and those of other servers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    front_proxy::FRONT_PROXY,
    http::{Http, MERGE_PATCH},
    webhook::{Answer, Webhook},
};
use http::{HeaderValue, Method};
use hyper_util::rt::TokioIo;
use kube_embedded::{Endpoint, RequestHeaders, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::widgets::{CRDS, crd, widgets_of_group};

e2e::on_each_cluster! {
    built_in_groups, groups_of_definitions, wrong_services, headers [Callbacks, Alone], unavailable [Callbacks, Alone],
    another_server [Callbacks, Alone, FrontProxy], order [Callbacks, Alone], upgrades [Callbacks, Alone],
    identity [Callbacks, Alone, FrontProxy], front_proxies [FrontProxy], trust [Alone, FrontProxy],
    namespaces [Callbacks, Alone, Controllers, FrontProxy]
}

/// A service is checked every 30 s, if nothing else happens.
const PATIENCE: Duration = Duration::from_secs(60);
const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

async fn built_in_groups(cluster: Cluster) -> Result<()> {
    let http = cluster.admin();
    for (name, group, version) in [
        ("v1.", 18000, 1),
        ("v1.apps", 17800, 15),
        ("v2.autoscaling", 17500, 30),
        ("v1.storage.k8s.io", 16800, 15),
    ] {
        let mut service = http.get(&format!("{SERVICES}/{name}")).await?.code(200)?;
        let condition = &mut service["status"]["conditions"][0];
        condition.as_object_mut().context("a condition")?.remove("lastTransitionTime").context("a time")?;
        assert_eq!(
            service["status"],
            json!({"conditions": [{
                "type": "Available", "status": "True", "reason": "Local",
                "message": "Local APIServices are always available",
            }]})
        );
        assert_eq!(service["metadata"]["labels"], json!({AUTOMANAGED: "onstart"}));
        assert_eq!(service["metadata"].get("generation"), None);
        let (of_version, of_group) = name.split_once('.').context("a name")?;
        let mut spec =
            json!({"version": of_version, "groupPriorityMinimum": group, "versionPriority": version});
        if !of_group.is_empty() {
            spec["group"] = of_group.into();
        }
        assert_eq!(service["spec"], spec);
    }
    let missing = http.get(&format!("{SERVICES}/v1.apiregistration.k8s.io")).await?;
    missing.refused(
        404,
        "NotFound",
        "apiservices.apiregistration.k8s.io \"v1.apiregistration.k8s.io\" not found",
    )?;
    let groups = http.get("/apis").await?.code(200)?;
    let groups = groups["groups"].as_array().context("groups")?;
    assert_eq!(groups[0]["name"], "apiregistration.k8s.io");
    assert_eq!(groups[1]["name"], "apps");
    Ok(())
}

async fn groups_of_definitions(cluster: Cluster) -> Result<()> {
    let (http, group) = (cluster.admin(), format!("{}.example.com", cluster.unique()));
    widgets_of_group(&cluster, &group).await?;
    let path = format!("{SERVICES}/v1.{group}");
    let made = async || {
        eventually(PATIENCE, || async {
            let service = http.get(&path).await?.code(200)?;
            let expected = json!({"group": group, "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 100});
            ensure!(service["spec"] == expected, "{service}");
            Ok(service)
        })
        .await
    };
    let first = made().await?;
    assert_eq!(first["metadata"]["labels"], json!({AUTOMANAGED: "true"}));
    let managed = first["metadata"]["managedFields"].as_array().context("managed fields")?;
    assert_eq!((managed.len(), &managed[0]["manager"]), (1, &json!("kube-apiserver")));
    let fields = managed[0]["fieldsV1"].as_object().context("fields")?;
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["f:metadata", "f:spec"]);
    // What somebody changes or deletes is restored.
    let changed = http.patch(&path, MERGE_PATCH, &json!({"spec": {"versionPriority": 7}})).await?;
    changed.code(200)?;
    made().await?;
    http.delete(&path).await?.code(200)?;
    let second = made().await?;
    assert_ne!(second["metadata"]["uid"], first["metadata"]["uid"]);
    // A version that is no longer served has none.
    let mut two = crd(&group);
    let mut other = two["spec"]["versions"][0].clone();
    (other["name"], other["storage"]) = (json!("v2"), json!(false));
    two["spec"]["versions"].as_array_mut().context("versions")?.push(other);
    let update = async |definition: &Value| {
        let of = format!("{CRDS}/widgets.{group}");
        let versions = json!({"spec": {"versions": definition["spec"]["versions"]}});
        http.patch(&of, MERGE_PATCH, &versions).await?.code(200)
    };
    let other_path = format!("{SERVICES}/v2.{group}");
    update(&two).await?;
    eventually(PATIENCE, || async { http.get(&other_path).await?.code(200) }).await?;
    two["spec"]["versions"][1]["served"] = false.into();
    update(&two).await?;
    eventually(PATIENCE, || async { http.get(&other_path).await?.code(404) }).await?;
    http.delete(&format!("{CRDS}/widgets.{group}")).await?.code(200)?;
    eventually(PATIENCE, || async { http.get(&path).await?.code(404) }).await?;
    Ok(())
}

async fn wrong_services(cluster: Cluster) -> Result<()> {
    let http = cluster.admin();
    let ca = "YWJj";
    let of = |spec: Value| {
        json!({"group": "a.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1})
            .as_object()
            .cloned()
            .map(|mut base| {
                base.extend(spec.as_object().cloned().unwrap_or_default());
                base
            })
    };
    let cases = [
        (
            "x",
            of(json!({})),
            r#"metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "v1.a.example.com""#,
        ),
        (
            "v2.",
            of(json!({"group": "", "version": "v2"})),
            "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
        ),
        (
            "v1.A",
            of(json!({"group": "A"})),
            r#"spec.group: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#,
        ),
        (
            "v1.a.example.com",
            of(json!({"groupPriorityMinimum": 0, "versionPriority": 1001})),
            "[spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000, spec.versionPriority: Invalid value: 1001: must be positive and less than 1000]",
        ),
        (
            "v1.a.example.com",
            of(json!({"caBundle": ca, "insecureSkipTLSVerify": true})),
            r#"[spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle, spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify]"#,
        ),
        (
            "v1.a.example.com",
            of(json!({"service": {}, "caBundle": ca, "insecureSkipTLSVerify": true})),
            "[spec.service.namespace: Required value, spec.service.name: Required value, spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present]",
        ),
        (
            "v1.a.example.com",
            of(json!({"service": {"namespace": "a", "name": "b", "port": 0}})),
            "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
        ),
    ];
    for (name, spec, errors) in cases {
        let service = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name}, "spec": spec,
        });
        let reply = http.post(&format!("{SERVICES}?dryRun=All"), &service).await?;
        let message = format!("APIService.apiregistration.k8s.io {name:?} is invalid: {errors}");
        assert_eq!((reply.code, reply.message()), (422, &*message));
    }
    let unstored = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.a.example.com"},
        "spec": of(json!({"service": {"namespace": "a", "name": "b"}})), "status": {"conditions": []},
    });
    let made = http.post(&format!("{SERVICES}?dryRun=All"), &unstored).await?.code(201)?;
    assert_eq!((&made["spec"]["service"]["port"], &made["status"]), (&json!(443), &json!({})));
    Ok(())
}

/// Registers a server for a group, and returns the path of an object of its own once it answers.
async fn thing_of(cluster: &Cluster, group: &str, server: &Webhook) -> Result<String> {
    let (http, ca) = (cluster.admin(), json!({"caBundle": server.authority()}));
    let path = register(cluster, group, "ext", server.port(), &ca).await?;
    available(&http, &path, "Passed").await?;
    let thing = format!("/apis/{group}/v1/namespaces/{}/things/a", cluster.namespace());
    eventually(PATIENCE, || async { http.get(&thing).await?.code(200) }).await?;
    Ok(thing)
}

/// Names a server of this machine in a Service and an APIService.
async fn register(cluster: &Cluster, group: &str, name: &str, port: u16, members: &Value) -> Result<String> {
    let (http, namespace) = (cluster.admin(), cluster.namespace());
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    });
    http.post(&format!("/api/v1/namespaces/{namespace}/services"), &service).await?.code(201)?;
    let mut service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": format!("v1.{group}")},
        "spec": {
            "group": group, "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 10,
            "service": {"namespace": namespace, "name": name, "port": port},
        },
    });
    for (name, value) in members.as_object().into_iter().flatten() {
        service["spec"][name] = value.clone();
    }
    http.post(SERVICES, &service).await?.code(201)?;
    Ok(format!("{SERVICES}/v1.{group}"))
}

/// Waits for the condition of an APIService.
async fn available(http: &Http, path: &str, reason: &str) -> Result<Value> {
    eventually(PATIENCE, || async {
        let service = http.get(path).await?.code(200)?;
        let condition = &service["status"]["conditions"][0];
        ensure!(condition["reason"] == reason, "{condition}");
        Ok(condition.clone())
    })
    .await
}

async fn headers(cluster: Cluster) -> Result<()> {
    let (http, namespace, group) = (cluster.admin(), cluster.namespace(), "headers.example.com");
    let server = Webhook::start(&[&format!("ext.{namespace}.svc")], |call| match call.uri.path() {
        "/apis/headers.example.com/v1" => Answer::json(&json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "headers.example.com/v1",
            "resources": [
                {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get", "list"]},
                {"name": "things/part", "singularName": "", "namespaced": true, "kind": "Part", "verbs": ["get"]},
            ],
        })),
        "/apis/headers.example.com/v1/gone" => {
            let mut answer = Answer::raw(302, "");
            answer.headers.push(("location", "https://example.com/".to_owned()));
            answer
        }
        path if path.contains("/things") => {
            let mut answer = Answer::raw(418, "{\"short\":\"stout\"}");
            answer.headers.push(("x-own", "yes".to_owned()));
            answer
        }
        _ => Answer::raw(404, ""),
    })
    .await?;
    let ca = json!({"caBundle": server.authority()});
    let path = register(&cluster, group, "ext", server.port(), &ca).await?;
    let condition = available(&http, &path, "Passed").await?;
    assert_eq!((&condition["status"], &condition["message"]), (&json!("True"), &json!("all checks passed")));
    let calls = server.calls();
    let check =
        calls.iter().find(|call| call.uri.path() == "/apis/headers.example.com/v1").context("a check")?;
    assert_eq!(check.headers["x-remote-user"], "system:kube-aggregator");

    let things = format!("/apis/{group}/v1/namespaces/{namespace}/things");
    eventually(PATIENCE, || async {
        let reply = http
            .send(
                Method::POST,
                &format!("{things}?a=b&c"),
                &[("content-type", "application/json"), ("x-remote-user", "forged")],
                "{\"spoon\": 1}".into(),
            )
            .await?;
        ensure!(reply.code == 418, "{}", reply.body);
        assert_eq!(
            (&reply.headers["x-own"], &reply.body),
            (&HeaderValue::from_static("yes"), &json!({"short": "stout"}))
        );
        Ok(())
    })
    .await?;
    let call = server.calls().into_iter().find(|call| call.method == "POST").context("the request")?;
    assert_eq!((call.uri.path(), call.uri.query()), (&*things, Some("a=b&c=")));
    assert_eq!(call.review, json!({"spoon": 1}));
    let all =
        |name: &str| call.headers.get_all(name).iter().filter_map(|it| it.to_str().ok()).collect::<Vec<_>>();
    assert_eq!(all("x-remote-user").len(), 1);
    assert_ne!(all("x-remote-user"), ["forged"]);
    assert!(all("x-remote-group").contains(&"system:masters"), "{:?}", call.headers);
    assert_eq!((all("authorization"), all("x-forwarded-uri")), (vec![], vec![&*things]));
    assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);

    // Whoever may not, is refused here, and is the user there.
    let nobody = cluster.nobody();
    nobody.get(&things).await?.code(403)?;
    assert!(server.calls().iter().all(|call| call.uri.path() != things));
    let longer = format!("{things}/a/part/b/c");
    nobody.get(&longer).await?.code(403)?;
    http.get(&longer).await?.code(418)?;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "things"},
        "rules": [{"apiGroups": [group], "resources": ["things"], "verbs": ["list"]}],
    });
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    http.post(&format!("{rbac}/clusterroles"), &role).await?.code(201)?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "things"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "things"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
    });
    http.post(&format!("{rbac}/namespaces/{namespace}/rolebindings"), &binding).await?.code(201)?;
    eventually(PATIENCE, || async { nobody.get(&things).await?.code(418) }).await?;
    let call = server.calls().into_iter().rfind(|call| call.uri.path() == things).context("the request")?;
    assert_eq!(call.headers["x-remote-user"], "nobody");

    let redirected = http.get(&format!("/apis/{group}/v1/gone")).await?;
    let why = "the backend attempted to redirect this request, which is not permitted";
    assert_eq!((redirected.code, redirected.text.as_str()), (502, why));

    // What the server says in a legacy list is in aggregated discovery.
    let resources = eventually(PATIENCE, || async {
        let all = http.get_as("/apis", AGGREGATED).await?.code(200)?;
        let found =
            all["items"].as_array().and_then(|all| all.iter().find(|it| it["metadata"]["name"] == group));
        let version = &found.context("the group")?["versions"][0];
        ensure!(version["freshness"] == "Current" && version["resources"].is_array(), "{version}");
        Ok(version["resources"].clone())
    })
    .await?;
    let kind = |kind: &str| json!({"group": "", "version": "", "kind": kind});
    assert_eq!(
        resources,
        json!([{
            "resource": "things", "responseKind": kind("Thing"), "scope": "Namespaced", "singularResource": "thing",
            "verbs": ["get", "list"],
            "subresources": [{"subresource": "part", "responseKind": kind("Part"), "verbs": ["get"]}],
        }])
    );
    Ok(())
}

async fn unavailable(cluster: Cluster) -> Result<()> {
    let (http, namespace) = (cluster.admin(), cluster.namespace());
    let group = "away.example.com";
    let service = |spec: Value| {
        let mut all = json!({
            "group": group, "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"namespace": namespace, "name": "away", "port": 443},
        });
        for (name, value) in spec.as_object().into_iter().flatten() {
            all["service"][name] = value.clone();
        }
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": format!("v1.{group}")},
            "spec": all,
        })
    };
    http.post(SERVICES, &service(json!({}))).await?.code(201)?;
    let path = format!("{SERVICES}/v1.{group}");
    let message = |condition: &Value| condition["message"].as_str().unwrap_or_default().to_owned();
    let condition = available(&http, &path, "ServiceNotFound").await?;
    assert_eq!(message(&condition), format!("service/away in {namespace:?} is not present"));
    let reply = eventually(PATIENCE, || async {
        let reply = http.get(&format!("/apis/{group}/v1/things")).await?;
        ensure!(reply.code == 503, "{}", reply.code);
        Ok(reply)
    })
    .await?;
    assert_eq!(reply.text, "service unavailable\n");
    // It is in discovery nevertheless.
    let of_group = http.get(&format!("/apis/{group}")).await?.code(200)?;
    assert_eq!(of_group["preferredVersion"]["groupVersion"], format!("{group}/v1"));
    eventually(PATIENCE, || async {
        let all = http.get_as("/apis", AGGREGATED).await?.code(200)?;
        let found =
            all["items"].as_array().and_then(|all| all.iter().find(|it| it["metadata"]["name"] == group));
        let versions = &found.context("the group")?["versions"];
        ensure!(*versions == json!([{"version": "v1", "freshness": "Stale"}]), "{versions}");
        Ok(())
    })
    .await?;

    let services = format!("/api/v1/namespaces/{namespace}/services");
    let cluster_ip = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "away"},
        "spec": {"ports": [{"name": "https", "port": 444}]},
    });
    http.post(&services, &cluster_ip).await?.code(201)?;
    let condition = available(&http, &path, "ServicePortError").await?;
    assert_eq!(message(&condition), format!("service/away in {namespace:?} is not listening on port 443"));
    let port = json!({"spec": {"service": {"port": 444}}});
    http.patch(&path, MERGE_PATCH, &port).await?.code(200)?;
    let condition = available(&http, &path, "EndpointsNotFound").await?;
    assert_eq!(message(&condition), format!("cannot find endpointslices for service/away in {namespace:?}"));
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "away", "labels": {"kubernetes.io/service-name": "away"}},
        "addressType": "IPv4", "endpoints": [], "ports": [{"name": "https", "port": 1}],
    });
    let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    http.post(&slices, &slice).await?.code(201)?;
    let condition = available(&http, &path, "MissingEndpoints").await?;
    let why = format!(
        "endpointslices for service/away in {namespace:?} have no addresses with port name \"https\""
    );
    assert_eq!(message(&condition), why);

    // A server that answers with an error.
    let server = Webhook::start(&["localhost"], |_| Answer::raw(500, "")).await?;
    http.delete(&format!("{services}/away")).await?.code(200)?;
    let external = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "away"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    });
    http.post(&services, &external).await?.code(201)?;
    let port = json!({"spec": {"service": {"port": server.port()}}});
    http.patch(&path, MERGE_PATCH, &port).await?.code(200)?;
    let url = format!("https://localhost:{}/apis/{group}/v1", server.port());
    let why = format!("failing or missing response from {url}: bad status from {url}: 500");
    eventually(PATIENCE, || async {
        let condition = available(&http, &path, "FailedDiscoveryCheck").await?;
        ensure!(condition["status"] == "False" && message(&condition) == why, "{condition}");
        Ok(())
    })
    .await?;

    http.delete(&path).await?.code(200)?;
    eventually(PATIENCE, || async {
        let reply = http.get(&format!("/apis/{group}/v1/things")).await?;
        ensure!(
            (reply.code, reply.text.as_str()) == (404, "404 page not found\n"),
            "{} {}",
            reply.code,
            reply.text
        );
        Ok(())
    })
    .await
}

/// An API server with the widgets of a group, for everybody.
async fn serve(cluster: &Cluster, group: &str, namespace: &str) -> Result<(Server, Endpoint)> {
    let authority = cluster.front_proxies()?.authority().as_bytes();
    let server =
        Server::builder().always_allow().front_proxies(authority, RequestHeaders::default())?.start()?;
    let http = Http::new(server.client());
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    http.post("/api/v1/namespaces", &space).await?.code(201)?;
    http.post(CRDS, &crd(group)).await?.code(201)?;
    let endpoint = server.listen("127.0.0.1:0").await?;
    Ok((server, endpoint))
}

async fn another_server(cluster: Cluster) -> Result<()> {
    let (http, namespace, group) = (cluster.admin(), cluster.namespace(), "other.example.com");
    let (_server, endpoint) = serve(&cluster, group, namespace).await?;
    let insecure = json!({"insecureSkipTLSVerify": true});
    let path = register(&cluster, group, "ext", endpoint.addr().port(), &insecure).await?;
    available(&http, &path, "Passed").await?;
    let widgets = format!("/apis/{group}/v1/namespaces/{namespace}/widgets");
    eventually(PATIENCE, || async { http.get(&widgets).await?.code(200) }).await?;
    // What is passed on is not collected to be indented.
    let mut watch = http.watch(&format!("{widgets}?watch=true&pretty=true")).await?;
    let widget = |name: &str| json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": name}, "spec": {"size": "s"}});
    for name in ["a", "b"] {
        http.post(&widgets, &widget(name)).await?.code(201)?;
        // Each event arrives when it happens.
        watch.expect("ADDED", name).await?;
    }
    let patch = json!({"spec": {"size": "m"}});
    let patched = http.patch(&format!("{widgets}/a"), MERGE_PATCH, &patch).await?.code(200)?;
    assert_eq!(patched["spec"]["size"], "m");
    watch.expect("MODIFIED", "a").await?;
    http.delete(&format!("{widgets}/a")).await?.code(200)?;
    watch.expect("DELETED", "a").await?;
    let missing = http.get(&format!("{widgets}/a")).await?;
    missing.refused(404, "NotFound", &format!("widgets.{group} \"a\" not found"))?;
    let list = http.get(&format!("/apis/{group}/v1")).await?.code(200)?;
    assert_eq!(list["resources"][0]["name"], "widgets");
    // The other server's own aggregated discovery is merged.
    eventually(PATIENCE, || async {
        let all = http.get_as("/apis", AGGREGATED).await?.code(200)?;
        let found =
            all["items"].as_array().and_then(|all| all.iter().find(|it| it["metadata"]["name"] == group));
        let resource = &found.context("the group")?["versions"][0]["resources"][0];
        ensure!(
            resource["responseKind"] == json!({"group": group, "version": "v1", "kind": "Widget"}),
            "{resource}"
        );
        Ok(())
    })
    .await?;
    eventually(PATIENCE, || async {
        let index = http.get("/openapi/v3").await?.code(200)?;
        let url = index["paths"][format!("apis/{group}/v1")]["serverRelativeURL"]
            .as_str()
            .context("a document")?
            .to_owned();
        let document = http.get(&url).await?.code(200)?;
        ensure!(
            document["paths"]
                .as_object()
                .is_some_and(|paths| paths.contains_key(&format!("/apis/{group}/v1/widgets")))
        );
        Ok(())
    })
    .await?;
    eventually(PATIENCE, || async {
        let document = http.get("/openapi/v2").await?.code(200)?;
        let paths = document["paths"].as_object().context("paths")?;
        ensure!(paths.contains_key(&format!("/apis/{group}/v1/widgets")), "no path of the other server");
        // Only its own group is taken from it.
        ensure!(paths.contains_key("/api/v1/namespaces"));
        let kind = json!([{"group": group, "version": "v1", "kind": "Widget"}]);
        let definitions = document["definitions"].as_object().context("definitions")?;
        ensure!(
            definitions.values().any(|it| it["x-kubernetes-group-version-kind"] == kind),
            "no definition"
        );
        Ok(())
    })
    .await?;
    endpoint.stop().await;
    let condition = available(&http, &path, "FailedDiscoveryCheck").await?;
    assert_eq!(condition["status"], "False");
    Ok(())
}

async fn upgrades(cluster: Cluster) -> Result<()> {
    let (http, namespace, group) = (cluster.admin(), cluster.namespace(), "upgrades.example.com");
    let server = Webhook::start(&[&format!("ext.{namespace}.svc")], |call| match call.uri.path() {
        "/apis/upgrades.example.com/v1" => Answer::json(&json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "upgrades.example.com/v1", "resources": [],
        })),
        path if path.ends_with("/echo") => {
            let mut answer = Answer::raw(101, "");
            answer.headers = vec![
                ("connection", "Upgrade".to_owned()),
                ("upgrade", "echo/1".to_owned()),
                ("x-own", "yes".to_owned()),
            ];
            answer
        }
        path if path.ends_with("/refused") => Answer::raw(409, "{\"no\":true}"),
        _ => Answer::json(&json!({})),
    })
    .await?;
    let thing = thing_of(&cluster, group, &server).await?;
    drop(server.calls());

    let request = http::Request::post(format!("{thing}/echo?command=a%20b"))
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "echo/1")
        .header("x-remote-user", "forged")
        .header("x-forwarded-for", "192.0.2.1")
        .body(kube::client::Body::empty())?;
    let response = cluster.client().send(request).await?;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-own"]),
        (101, &HeaderValue::from_static("yes"))
    );
    assert_eq!(response.headers()["upgrade"], "echo/1");
    let mut connection = TokioIo::new(hyper::upgrade::on(response).await?);
    for word in ["once", "twice"] {
        connection.write_all(word.as_bytes()).await?;
        let mut echoed = vec![0; word.len()];
        connection.read_exact(&mut echoed).await?;
        assert_eq!(echoed, word.as_bytes());
    }
    // The end of one side is that of the other.
    connection.shutdown().await?;
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).await?;
    assert!(rest.is_empty());

    let calls = server.calls();
    let call = calls.iter().find(|call| call.uri.path().ends_with("/echo")).context("the request")?;
    let all =
        |name: &str| call.headers.get_all(name).iter().filter_map(|it| it.to_str().ok()).collect::<Vec<_>>();
    assert_eq!((&call.method, call.uri.query()), (&Method::POST, Some("command=a+b")));
    assert_eq!((all("upgrade"), all("connection")), (vec!["echo/1"], vec!["keep-alive, Upgrade"]));
    assert_eq!((all("x-remote-user"), all("authorization")), (vec!["admin"], vec![]));
    assert_eq!((all("x-forwarded-for"), all("x-forwarded-uri")), (vec!["192.0.2.1, 127.0.0.1"], vec![]));

    let upgrade: &[(&str, &str)] = &[("connection", "upgrade"), ("upgrade", "websocket")];
    let send =
        async |part: &str| http.send(Method::GET, &format!("{thing}/{part}"), upgrade, Vec::new()).await;
    let refused = send("refused").await?;
    assert_eq!((refused.code, &refused.body), (409, &json!({"no": true})));
    let other = send("other").await?;
    assert_eq!((other.code, other.text.as_str()), (503, "invalid upgrade response: status code 200\n"));
    assert_eq!(
        cluster.nobody().send(Method::GET, &format!("{thing}/echo"), upgrade, Vec::new()).await?.code,
        403
    );
    drop(server);
    eventually(PATIENCE, || async {
        let gone = send("echo").await?;
        ensure!(
            gone.code == 503 && gone.text.starts_with("error dialing backend: dial tcp "),
            "{}",
            gone.text
        );
        ensure!(gone.text.ends_with(": connect: connection refused\n"), "{}", gone.text);
        Ok(())
    })
    .await
}

/// What aggregated servers have in a namespace is deleted with it, and it stays as long as nobody knows what they have.
async fn namespaces(cluster: Cluster) -> Result<()> {
    let (http, group) = (cluster.admin(), "contents.example.com");
    let namespace = format!("{}-contents", cluster.namespace());
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    http.post("/api/v1/namespaces", &space).await?.code(201)?;
    let (_server, endpoint) = serve(&cluster, group, &namespace).await?;
    let insecure = json!({"insecureSkipTLSVerify": true});
    let path = register(&cluster, group, "ext", endpoint.addr().port(), &insecure).await?;
    available(&http, &path, "Passed").await?;
    let widgets = format!("/apis/{group}/v1/namespaces/{namespace}/widgets");
    eventually(PATIENCE, || async { http.get(&widgets).await?.code(200) }).await?;
    for (name, finalizers) in [("kept", json!(["example.com/kept"])), ("free", json!([]))] {
        let widget = json!({
            "apiVersion": format!("{group}/v1"), "kind": "Widget",
            "metadata": {"name": name, "finalizers": finalizers}, "spec": {"size": "s"},
        });
        http.post(&widgets, &widget).await?.code(201)?;
    }
    let stale = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.stale.example.com"},
        "spec": {
            "group": "stale.example.com", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 10,
            "service": {"namespace": namespace, "name": "none"},
        },
    });
    http.post(SERVICES, &stale).await?.code(201)?;
    // What both servers have is in discovery.
    eventually(PATIENCE, || async {
        let all = http.get_as("/apis", AGGREGATED).await?.code(200)?;
        let freshness = |group: &str| {
            let found = all["items"].as_array()?.iter().find(|it| it["metadata"]["name"] == group)?;
            found["versions"][0]["freshness"].as_str().map(str::to_owned)
        };
        let both = (freshness(group), freshness("stale.example.com"));
        ensure!(both == (Some("Current".to_owned()), Some("Stale".to_owned())), "{both:?}");
        Ok(())
    })
    .await?;

    let path = format!("/api/v1/namespaces/{namespace}");
    http.delete(&path).await?.code(200)?;
    let stale = "stale.example.com/v1";
    let expected = [
        (
            "NamespaceDeletionDiscoveryFailure",
            "DiscoveryFailed",
            format!(
                "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: {stale}: stale GroupVersion discovery: {stale}"
            ),
        ),
        (
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            format!("Some resources are remaining: widgets.{group} has 1 resource instances"),
        ),
        (
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.com/kept in 1 resource instances".to_owned(),
        ),
    ];
    eventually(PATIENCE, || async {
        let namespace = http.get(&path).await?.code(200)?;
        let conditions = namespace["status"]["conditions"].as_array().context("conditions")?;
        for (kind, reason, message) in &expected {
            let condition = conditions.iter().find(|it| it["type"] == *kind).context("a condition")?;
            ensure!(condition["reason"] == *reason && condition["message"] == *message, "{condition}");
        }
        Ok(())
    })
    .await?;
    http.get(&format!("{widgets}/free")).await?.code(404)?;
    let done = json!({"metadata": {"finalizers": null}});
    http.patch(&format!("{widgets}/kept"), MERGE_PATCH, &done).await?.code(200)?;
    eventually(PATIENCE, || async {
        let namespace = http.get(&path).await?.code(200)?;
        let conditions = namespace["status"]["conditions"].as_array().context("conditions")?;
        let remaining = conditions.iter().find(|it| it["type"] == "NamespaceContentRemaining");
        ensure!(remaining.is_some_and(|it| it["status"] == "False"), "{remaining:?}");
        Ok(())
    })
    .await?;
    http.delete(&format!("{SERVICES}/v1.{}", "stale.example.com")).await?.code(200)?;
    eventually(PATIENCE, || async { http.get(&path).await?.code(404) }).await?;
    endpoint.stop().await;
    Ok(())
}

/// An aggregated server recognizes the API server by its certificate.
async fn identity(cluster: Cluster) -> Result<()> {
    let (http, namespace, group) = (cluster.admin(), cluster.namespace(), "identity.example.com");
    let authority = cluster.front_proxies()?.authority();
    let server = Webhook::start_for(authority, &[&format!("ext.{namespace}.svc")], |call| {
        if call.certificate.is_none() {
            return Answer::raw(401, "");
        }
        match call.uri.path().ends_with("/echo") {
            true => {
                let mut answer = Answer::raw(101, "");
                answer.headers = vec![("connection", "upgrade".to_owned()), ("upgrade", "echo/1".to_owned())];
                answer
            }
            false => Answer::json(&json!({"kind": "APIResourceList", "apiVersion": "v1", "resources": []})),
        }
    })
    .await?;
    let thing = thing_of(&cluster, group, &server).await?;
    let upgrade: &[(&str, &str)] = &[("connection", "upgrade"), ("upgrade", "echo/1")];
    let upgraded = http.send(Method::GET, &format!("{thing}/echo"), upgrade, Vec::new()).await?;
    assert_eq!(upgraded.code, 101);
    Ok(())
}

/// A front proxy names the user of its requests, and nobody else does.
async fn front_proxies(cluster: Cluster) -> Result<()> {
    let proxies = cluster.front_proxies()?;
    let (proxy, other) = (proxies.issue(FRONT_PROXY)?, proxies.issue("other")?);
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let named: &[(&str, &str)] = &[
        ("content-type", "application/json"),
        ("x-remote-user", "jane"),
        ("x-remote-uid", "7"),
        ("x-remote-group", "devs"),
        ("x-remote-group", "ops"),
        ("x-remote-extra-example.com%2fscopes", "read"),
    ];
    let ask = async |http: &Http, headers: &[(&str, &str)]| {
        http.send(Method::POST, reviews, headers, review.to_string().into()).await
    };
    let through = cluster.with_certificate(&proxy, None).await?;
    let user = ask(&through, named).await?.code(201)?["status"]["userInfo"].take();
    assert_eq!(
        user,
        json!({
            "username": "jane", "uid": "7", "groups": ["devs", "ops", "system:authenticated"],
            "extra": {"example.com/scopes": ["read"]},
        })
    );
    // Without a name, other credentials count, and nobody is anonymous.
    let unnamed = &named[..1];
    assert_eq!(ask(&through, unnamed).await?.code, 401);
    let token = cluster.user_token("nobody")?;
    let both = cluster.with_certificate(&proxy, Some(&token)).await?;
    let user = ask(&both, unnamed).await?.code(201)?;
    assert_eq!(user["status"]["userInfo"]["username"], "nobody");
    let user = ask(&both, named).await?.code(201)?;
    assert_eq!(user["status"]["userInfo"]["username"], "jane");
    // Others name nobody.
    let stranger = cluster.with_certificate(&other, None).await?;
    assert_eq!(ask(&stranger, named).await?.code, 401);
    let stranger = cluster.with_certificate(&other, Some(&token)).await?;
    let administrator = cluster.with_certificate(&cluster.certificate()?, None).await?;
    for (http, name) in [(stranger, "nobody"), (cluster.nobody(), "nobody"), (administrator, "admin")] {
        let user = ask(&http, named).await?.code(201)?;
        assert_eq!(user["status"]["userInfo"]["username"], name);
    }
    Ok(())
}

/// Whom the API server trusts is published for aggregated servers.
async fn trust(cluster: Cluster) -> Result<()> {
    let http = cluster.admin();
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let published = async || eventually(PATIENCE, || async { http.get(path).await?.code(200) }).await;
    let map = published().await?;
    let data = map["data"].as_object().context("data")?;
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "client-ca-file",
            "requestheader-allowed-names",
            "requestheader-client-ca-file",
            "requestheader-extra-headers-prefix",
            "requestheader-group-headers",
            "requestheader-uid-headers",
            "requestheader-username-headers",
        ]
    );
    let lines = |text: &Value| text.as_str().map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let authority = cluster.front_proxies()?.authority();
    assert_eq!(lines(&data["requestheader-client-ca-file"]), lines(&authority.into()));
    for (key, value) in [
        ("allowed-names", r#"["front-proxy"]"#),
        ("extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
        ("group-headers", r#"["X-Remote-Group"]"#),
        ("uid-headers", r#"["X-Remote-Uid"]"#),
        ("username-headers", r#"["X-Remote-User"]"#),
    ] {
        assert_eq!(data[&format!("requestheader-{key}")], value, "{key}");
    }
    let managed = map["metadata"]["managedFields"].as_array().context("managed fields")?;
    assert_eq!((managed.len(), &managed[0]["manager"]), (1, &json!("kube-apiserver")));
    assert_eq!(managed[0]["operation"], "Update");
    // Whoever has the role may read it.
    assert_eq!(cluster.nobody().get(path).await?.code, 403);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "trust"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
            "name": "extension-apiserver-authentication-reader",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings";
    http.post(bindings, &binding).await?.code(201)?;
    eventually(PATIENCE, || async { cluster.nobody().get(path).await?.code(200) }).await?;
    // It comes back.
    http.delete(path).await?.code(200)?;
    eventually(PATIENCE, || async {
        let again = http.get(path).await?.code(200)?;
        ensure!(again["metadata"]["uid"] != map["metadata"]["uid"]);
        assert_eq!(again["data"], map["data"]);
        Ok(())
    })
    .await
}

async fn order(cluster: Cluster) -> Result<()> {
    let http = cluster.admin();
    // Two groups, of which one is preferred to all but the first built-in ones, and a version of a built-in group.
    for (name, group, priority) in
        [("v1", "high.example.com", 17790), ("v1", "low.example.com", 5), ("v9", "batch", 9)]
    {
        let service = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": format!("{name}.{group}")},
            "spec": {
                "group": group, "version": name, "groupPriorityMinimum": priority, "versionPriority": 1,
                "service": {"namespace": cluster.namespace(), "name": "none"},
            },
        });
        http.post(SERVICES, &service).await?.code(201)?;
    }
    let names = |list: &Value, name: fn(&Value) -> &Value| -> Result<Vec<String>> {
        let all = list.as_array().context("a list")?;
        Ok(all.iter().filter_map(|it| name(it).as_str()).map(str::to_owned).collect())
    };
    eventually(PATIENCE, || async {
        let legacy = http.get("/apis").await?.code(200)?;
        let aggregated = http.get_as("/apis", AGGREGATED).await?.code(200)?;
        for (way, all) in [
            ("legacy", names(&legacy["groups"], |it| &it["name"])?),
            ("aggregated", names(&aggregated["items"], |it| &it["metadata"]["name"])?),
        ] {
            ensure!(all[..3] == ["apiregistration.k8s.io", "apps", "high.example.com"], "{way}: {all:?}");
            ensure!(all.last().is_some_and(|last| last == "low.example.com"), "{way}: {all:?}");
        }
        let batch = http.get("/apis/batch").await?.code(200)?;
        ensure!(names(&batch["versions"], |it| &it["version"])? == ["v1", "v9"], "{batch}");
        let items = aggregated["items"].as_array().context("items")?;
        let batch = items.iter().find(|it| it["metadata"]["name"] == "batch").context("batch")?;
        ensure!(names(&batch["versions"], |it| &it["version"])? == ["v1", "v9"], "{batch}");
        Ok(())
    })
    .await
}
