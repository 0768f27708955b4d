//! Discovery: how clients find the resources of a server.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, eventually};
use http::Method;
use kube::Discovery;
use serde_json::{Value, json};

use crate::widgets::{GROUP, widgets};

e2e::on_each_cluster! {
    group, resources, aggregated, kube_client, core_and_version, unknown_paths, odd_paths, head, indented_documents,
    storage_versions, verbs_alone, openapi_types
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The hash of the version in which widgets are stored.
const HASH: &str = "Wy8yA/Uw05s=";

async fn group(cluster: Cluster) -> Result<()> {
    widgets(&cluster).await?;
    let version = json!({"groupVersion": format!("{GROUP}/v1"), "version": "v1"});
    let expected = json!({"name": GROUP, "versions": [version], "preferredVersion": version});
    eventually(Duration::from_secs(10), || async {
        let groups = cluster.admin().get("/apis").await?.code(200)?;
        ensure!(groups["kind"] == "APIGroupList", "{groups}");
        let groups = groups["groups"].as_array().context("groups")?.clone();
        ensure!(groups.contains(&expected), "{groups:?}");
        Ok(())
    })
    .await?;
    let mut alone = cluster.admin().get(&format!("/apis/{GROUP}")).await?.code(200)?;
    assert_eq!(alone["kind"], "APIGroup");
    for field in ["kind", "apiVersion"] {
        alone.as_object_mut().context("an object")?.remove(field);
    }
    assert_eq!(alone, expected);
    Ok(())
}

async fn resources(cluster: Cluster) -> Result<()> {
    widgets(&cluster).await?;
    let list = cluster.admin().get(&format!("/apis/{GROUP}/v1")).await?.code(200)?;
    assert_eq!(
        (&list["kind"], &list["groupVersion"]),
        (&json!("APIResourceList"), &json!(format!("{GROUP}/v1")))
    );
    assert_eq!(
        list["resources"],
        json!([
            {
                "name": "widgets", "singularName": "widget", "namespaced": true, "kind": "Widget",
                "verbs": ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
                "shortNames": ["wd"], "storageVersionHash": HASH,
            },
            {
                "name": "widgets/status", "singularName": "", "namespaced": true, "kind": "Widget",
                "verbs": ["get", "patch", "update"],
            },
            {
                "name": "widgets/scale", "singularName": "", "namespaced": true, "group": "autoscaling",
                "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"],
            },
        ])
    );
    Ok(())
}

async fn aggregated(cluster: Cluster) -> Result<()> {
    widgets(&cluster).await?;
    let list = eventually(Duration::from_secs(10), || async {
        let reply = cluster.admin().get_as("/apis", &format!("{AGGREGATED},application/json")).await?;
        let content_type = reply.headers.get("content-type").context("content-type")?.to_str()?.to_owned();
        ensure!(content_type == AGGREGATED, "{content_type}");
        let list = reply.code(200)?;
        ensure!(list["kind"] == "APIGroupDiscoveryList" && list["apiVersion"] == "apidiscovery.k8s.io/v2");
        let items = list["items"].as_array().context("items")?;
        let group = items.iter().find(|item| item["metadata"]["name"] == GROUP);
        Ok(group.context("the group is not there yet")?.clone())
    })
    .await?;
    let widget = &list["versions"][0];
    assert_eq!(widget["version"], "v1");
    let resource = &widget["resources"][0];
    assert_eq!(resource["resource"], "widgets");
    assert_eq!(resource["responseKind"], json!({"group": GROUP, "version": "v1", "kind": "Widget"}));
    assert_eq!((&resource["scope"], &resource["shortNames"]), (&json!("Namespaced"), &json!(["wd"])));
    let subresources: Vec<&Value> = resource["subresources"]
        .as_array()
        .context("subresources")?
        .iter()
        .map(|subresource| &subresource["subresource"])
        .collect();
    assert_eq!(subresources, ["status", "scale"]);

    let core = cluster.admin().get_as("/api", AGGREGATED).await?.code(200)?;
    assert_eq!(core["items"][0]["metadata"], json!({}));
    let resources = core["items"][0]["versions"][0]["resources"].as_array().context("resources")?;
    assert!(resources.iter().any(|resource| resource["resource"] == "configmaps"), "{resources:?}");
    Ok(())
}

async fn kube_client(cluster: Cluster) -> Result<()> {
    widgets(&cluster).await?;
    for way in ["aggregated", "legacy"] {
        eventually(Duration::from_secs(10), || async {
            let discovery = Discovery::new(cluster.client());
            let discovery =
                if way == "legacy" { discovery.run().await? } else { discovery.run_aggregated().await? };
            let group = discovery.get(GROUP).with_context(|| format!("{way}: no group yet"))?;
            let (resource, capabilities) = group.recommended_kind("Widget").context("no widget")?;
            ensure!(resource.plural == "widgets" && resource.version == "v1", "{resource:?}");
            ensure!(capabilities.supports_operation("watch"), "{capabilities:?}");
            ensure!(
                discovery.has_group("apps") && discovery.has_group(""),
                "{way}: built-in groups are missing"
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn core_and_version(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let api = admin.get("/api").await?.code(200)?;
    assert_eq!((&api["kind"], &api["versions"]), (&json!("APIVersions"), &json!(["v1"])));
    let core = admin.get("/api/v1").await?.code(200)?;
    let resources = core["resources"].as_array().context("resources")?;
    let config_maps =
        resources.iter().find(|resource| resource["name"] == "configmaps").context("configmaps")?;
    assert_eq!(config_maps["shortNames"], json!(["cm"]));
    let version = admin.get("/version").await?.code(200)?;
    assert_eq!(version["major"], "1");
    assert!(version["gitVersion"].as_str().is_some_and(|version| version.starts_with("v1.")), "{version}");
    for path in ["/healthz", "/readyz", "/livez"] {
        assert_eq!(admin.get(path).await?.code(200)?, "ok");
    }
    Ok(())
}

async fn unknown_paths(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    for path in [
        "/nowhere".to_owned(),
        "/apis/unknown.example.com".to_owned(),
        format!("/apis/{GROUP}/v2"),
        format!("/apis/{GROUP}/v1/namespaces/{}/gadgets", cluster.namespace()),
        "/api/v1/nothings".to_owned(),
    ] {
        let reply = cluster.admin().get(&path).await?;
        let (code, body) = (reply.code, reply.body);
        ensure!(code == 404, "{path}: {code}");
        // Outside of the server's own groups, a plain text body rather than a Status tells clients that the type is missing.
        ensure!(body == "404 page not found\n" || body["reason"] == "NotFound", "{path}: {body}");
    }
    let reply =
        widgets.http.get(&format!("/apis/{GROUP}/v2/namespaces/{}/widgets", cluster.namespace())).await?;
    assert_eq!((reply.code, reply.body), (404, json!("404 page not found\n")));
    // For the server's own groups, unknown versions get a Status.
    for path in ["/api/v2/pods", "/apis/apps/v9/deployments"] {
        let reply = cluster.admin().get(path).await?;
        reply.refused(404, "NotFound", "the server could not find the requested resource")?;
    }
    Ok(())
}

/// Empty and surplus segments are part of what is authorized, before anything is looked up.
async fn odd_paths(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let (admin, nobody, namespace) = (cluster.admin(), cluster.nobody(), cluster.namespace());
    let pods = cluster.path("pods");
    let in_namespace = format!("in the namespace {namespace:?}");
    let forbidden = async |path: &str, what: &str, place: &str| {
        let user = nobody.get("/api/v1/nodes").await?;
        let user = user.message().split('"').nth(1).context("a user")?.to_owned();
        let message = format!("{what}forbidden: User {user:?} cannot get resource {place}");
        nobody.get(path).await?.refused(403, "Forbidden", &message).map(drop)
    };
    let not_found = "the server could not find the requested resource";
    for (path, what, resource, place) in [
        (format!("{pods}/x/status/y/z"), "pods \"x\" is ", "pods/status", &*in_namespace),
        ("/api/v1/nodes/a/b/c".to_owned(), "nodes \"a\" is ", "nodes/b", "at the cluster scope"),
        ("/api/v1//nodes".to_owned(), "", "", "at the cluster scope"),
        (format!("/api/v1/namespaces/{namespace}//pods"), "", "", &*in_namespace),
    ] {
        forbidden(&path, what, &format!("{resource:?} in API group \"\" {place}")).await?;
        admin.get(&path).await?.refused(404, "NotFound", not_found)?;
    }
    for path in ["//api/v1/nodes", "/apis//apps/v1", "/apis//", "/healthz/"] {
        assert_eq!(admin.get(path).await?.text, "404 page not found\n", "{path}");
    }
    assert_eq!(nobody.get("//api/v1/nodes").await?.code, 403);
    // Of a custom resource, what follows is ignored.
    assert_eq!(admin.get(&format!("{}/status/more", widgets.at("one"))).await?.code(200)?["kind"], "Widget");
    for path in ["/api/v1/nodes/", "/api/v1/nodes//", "/apis/apps/v1/", "/apis/"] {
        admin.get(path).await?.code(200)?;
    }
    Ok(())
}

/// Built-in resources have no `HEAD`, custom ones do.
async fn head(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let pods = cluster.path("pods");
    for (path, code) in [
        (&*pods, 405),
        (&*format!("{pods}/missing"), 405),
        ("/api/v1/namespaces/default", 405),
        ("/api/v1", 405),
        ("/apis/apps/v1", 405),
        ("/version", 405),
        ("/api/v1/nothings", 404),
        ("/nowhere", 404),
        ("/apis", 200),
        ("/healthz", 200),
        (&widgets.path, 200),
        (&widgets.at("one"), 200),
        (&widgets.at("missing"), 404),
    ] {
        let reply = cluster.admin().send(Method::HEAD, path, &[], Vec::new()).await?;
        assert_eq!((reply.code, &*reply.text), (code, ""), "{path}");
    }
    Ok(())
}

async fn indented_documents(cluster: Cluster) -> Result<()> {
    for (path, beginning) in [
        ("/version", "{\n  \"major\": \"1\",\n  \"minor\": "),
        ("/", "{\n  \"paths\": [\n    \"/.well-known/"),
    ] {
        let reply = cluster.admin().get(path).await?;
        ensure!(reply.text.starts_with(beginning) && reply.text.ends_with("\n}"), "{}", reply.text);
    }
    Ok(())
}

async fn storage_versions(cluster: Cluster) -> Result<()> {
    for (path, name, hash) in [
        ("/api/v1", "pods", Some("xPOwRZ+Yhw8=")),
        ("/api/v1", "events", Some("r2yiGXH7wu8=")),
        ("/api/v1", "bindings", None),
        ("/api/v1", "componentstatuses", None),
        ("/api/v1", "pods/status", None),
        ("/apis/events.k8s.io/v1", "events", Some("r2yiGXH7wu8=")),
        ("/apis/autoscaling/v1", "horizontalpodautoscalers", Some("qwQve8ut294=")),
        ("/apis/certificates.k8s.io/v1", "clustertrustbundles", Some("v5yhuVertL4=")),
        ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", Some("jfWCUB31mvA=")),
        ("/apis/apiregistration.k8s.io/v1", "apiservices", Some("InPBPD7+PqM=")),
    ] {
        let list = cluster.admin().get(path).await?.code(200)?;
        let resource = list["resources"].as_array().and_then(|all| all.iter().find(|it| it["name"] == name));
        let found = resource.with_context(|| format!("{path} {name}"))?.get("storageVersionHash");
        assert_eq!(found.and_then(Value::as_str), hash, "{path} {name}");
    }
    Ok(())
}

async fn verbs_alone(cluster: Cluster) -> Result<()> {
    let why = "failed to create RequestInfo: unable to determine kind and namespace from url";
    for path in ["/api/v1/watch", "/apis/apps/v1/watch/?a=b&c", "/api/v1/proxy"] {
        let shown = path.replace('&', "&amp;");
        let expected = format!("Internal Server Error: {shown:?}: {why}, {shown}\n");
        for http in [cluster.admin(), cluster.nobody()] {
            let reply = http.get(path).await?;
            assert_eq!((reply.code, &*reply.text), (500, &*expected));
            assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
        }
    }
    Ok(())
}

async fn openapi_types(cluster: Cluster) -> Result<()> {
    for accept in ["application/json", "text/html"] {
        let index = cluster.admin().get_as("/openapi/v3", accept).await?;
        assert_eq!((index.code, index.body["paths"].is_object()), (200, true));
        assert_eq!(index.headers["content-type"], "text/plain; charset=utf-8");
    }
    for path in ["/openapi/v2", "/openapi/v3/apis/apps/v1"] {
        let refused = cluster.admin().get_as(path, "text/html").await?;
        assert_eq!((refused.code, &*refused.text, refused.headers.get("content-type")), (406, "", None));
        let document = cluster.admin().get_as(path, "application/json").await?;
        assert_eq!(
            (document.code, &document.headers["content-type"]),
            (200, &http::HeaderValue::from_static("application/json"))
        );
    }
    Ok(())
}
