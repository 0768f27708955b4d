//! Who may do what, and what the refusals say.

use anyhow::Result;
use e2e::{Cluster, eventually, http::MERGE_PATCH};
use http::Method;
use serde_json::json;
use std::time::Duration;

use crate::widgets::{GROUP, widgets};

e2e::on_each_cluster! { forbidden_by_verb, unknown_token, discovery_is_for_everybody, a_role_allows }

async fn forbidden_by_verb(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let (nobody, namespace, path) = (cluster.nobody(), cluster.namespace(), &widgets.path);
    let refused = |verb: &str, resource: &str, name: &str, scope: &str| {
        format!(
            "widgets.{GROUP} {name}is forbidden: User \"nobody\" cannot {verb} resource \"{resource}\" in API group \"{GROUP}\" {scope}"
        )
    };
    let here = format!("in the namespace \"{namespace}\"");

    let reply = nobody.get(path).await?;
    let status = reply.refused(403, "Forbidden", &refused("list", "widgets", "", &here))?;
    assert_eq!(status["details"], json!({"group": GROUP, "kind": "widgets"}));
    let reply = nobody.get(&format!("{path}?watch=true")).await?;
    reply.refused(403, "Forbidden", &refused("watch", "widgets", "", &here))?;
    let reply = nobody.get(&format!("{path}/one")).await?;
    let status = reply.refused(403, "Forbidden", &refused("get", "widgets", "\"one\" ", &here))?;
    assert_eq!(status["details"], json!({"name": "one", "group": GROUP, "kind": "widgets"}));
    let reply = nobody.post(path, &widgets.draft("one", &json!({"size": "small"}))).await?;
    reply.refused(403, "Forbidden", &refused("create", "widgets", "", &here))?;
    let reply = nobody.put(&format!("{path}/one"), &json!({})).await?;
    reply.refused(403, "Forbidden", &refused("update", "widgets", "\"one\" ", &here))?;
    let reply = nobody.patch(&format!("{path}/one/status"), MERGE_PATCH, &json!({})).await?;
    reply.refused(403, "Forbidden", &refused("patch", "widgets/status", "\"one\" ", &here))?;
    let reply = nobody.delete(&format!("{path}/one")).await?;
    reply.refused(403, "Forbidden", &refused("delete", "widgets", "\"one\" ", &here))?;
    let reply = nobody.delete(path).await?;
    reply.refused(403, "Forbidden", &refused("deletecollection", "widgets", "", &here))?;
    let reply = nobody.get(&format!("/apis/{GROUP}/v1/widgets")).await?;
    reply.refused(403, "Forbidden", &refused("list", "widgets", "", "at the cluster scope"))?;

    let reply = nobody.get("/api/v1/nodes").await?;
    reply.refused(
        403,
        "Forbidden",
        "nodes is forbidden: User \"nobody\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
    )?;
    let reply = nobody.get(&format!("/api/v1/namespaces/{namespace}")).await?;
    reply.refused(
        403,
        "Forbidden",
        &format!(
            "namespaces \"{namespace}\" is forbidden: User \"nobody\" cannot get resource \"namespaces\" in API group \"\" {here}"
        ),
    )?;
    nobody.get("/metrics").await?.refused(
        403,
        "Forbidden",
        "forbidden: User \"nobody\" cannot get path \"/metrics\"",
    )?;
    // Who may not even list learns nothing about which types there are.
    nobody.get("/apis/unknown.example.com/v1/things").await?.refused(
        403,
        "Forbidden",
        "things.unknown.example.com is forbidden: User \"nobody\" cannot list resource \"things\" in API group \"unknown.example.com\" at the cluster scope",
    )?;
    Ok(())
}

async fn unknown_token(cluster: Cluster) -> Result<()> {
    let stranger = cluster.with_token("not-a-token").await?;
    for path in ["/api/v1/namespaces", "/apis", "/version", "/nowhere"] {
        let status = stranger.get(path).await?.refused(401, "Unauthorized", "Unauthorized")?;
        assert!(status.get("details").is_none(), "{status}");
    }
    Ok(())
}

async fn discovery_is_for_everybody(cluster: Cluster) -> Result<()> {
    for path in ["/api", "/apis", "/api/v1", "/apis/apps/v1", "/version", "/healthz", "/readyz", "/livez"] {
        cluster.nobody().get(path).await?.code(200)?;
    }
    Ok(())
}

async fn a_role_allows(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    let (admin, nobody) = (cluster.admin(), cluster.nobody());
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", cluster.namespace());
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [GROUP], "resources": ["widgets"], "verbs": ["get", "list"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
    });
    admin.post(&format!("{rbac}/roles"), &role).await?.code(201)?;
    admin.post(&format!("{rbac}/rolebindings"), &binding).await?.code(201)?;

    // The authorizer reads its own cache.
    eventually(Duration::from_secs(10), || async { nobody.get(&widgets.path).await?.code(200) }).await?;
    assert_eq!(nobody.get(&format!("{}?watch=true", widgets.path)).await?.code, 403);
    assert_eq!(nobody.send(Method::DELETE, &widgets.path, &[], Vec::new()).await?.code, 403);

    admin.delete(&format!("{rbac}/rolebindings/reader")).await?.code(200)?;
    eventually(Duration::from_secs(10), || async { nobody.get(&widgets.path).await?.code(403) }).await?;
    Ok(())
}
