//! Authorization, and the messages of refused requests.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Cluster, eventually,
    http::{Http, MERGE_PATCH, Reply},
};
use http::Method;
use serde_json::json;

use crate::widgets::{GROUP, widgets};

e2e::on_each_cluster! {
    forbidden_by_verb, selecting_one_name_is_authorized_for_that_name, unknown_token, everybody_may_use_discovery,
    a_role_allows, impersonation,
    each_part_of_an_impersonation_is_granted [NoControllers]
}

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
    // A user without permission to list does not learn which types exist.
    nobody.get("/apis/unknown.example.com/v1/things").await?.refused(
        403,
        "Forbidden",
        "things.unknown.example.com is forbidden: User \"nobody\" cannot list resource \"things\" in API group \"unknown.example.com\" at the cluster scope",
    )?;
    Ok(())
}

/// A user that may list one object by name may select it from its collection.
async fn selecting_one_name_is_authorized_for_that_name(cluster: Cluster) -> Result<()> {
    let widgets = widgets(&cluster).await?;
    widgets.create("one").await?;
    let (admin, nobody) = (cluster.admin(), cluster.nobody());
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", cluster.namespace());
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "one"},
        "rules": [{
            "apiGroups": [GROUP], "resources": ["widgets"], "resourceNames": ["one"],
            "verbs": ["get", "list", "watch", "deletecollection"],
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "one"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "one"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
    });
    admin.post(&format!("{rbac}/roles"), &role).await?.code(201)?;
    admin.post(&format!("{rbac}/rolebindings"), &binding).await?.code(201)?;
    let path = &widgets.path;
    let one = format!("{path}?fieldSelector=metadata.name%3Done");
    eventually(Duration::from_secs(10), || async { nobody.get(&one).await?.code(200) }).await?;
    nobody.watch(&format!("{one}&watch=true")).await?;
    // A GET of a single object is not a watch, whatever its query contains.
    let object = nobody.get(&format!("{path}/one?watch=true")).await?.code(200)?;
    assert_eq!(object["metadata"]["name"], "one");
    for other in [path.clone(), format!("{path}?fieldSelector=metadata.name%3Dtwo"), format!("{one}x")] {
        nobody.get(&other).await?.code(403)?;
    }
    nobody.delete(&one).await?.code(403)?;
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

async fn everybody_may_use_discovery(cluster: Cluster) -> Result<()> {
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

    // A real server's authorizer reads from a cache.
    eventually(Duration::from_secs(10), || async { nobody.get(&widgets.path).await?.code(200) }).await?;
    assert_eq!(nobody.get(&format!("{}?watch=true", widgets.path)).await?.code, 403);
    assert_eq!(nobody.send(Method::DELETE, &widgets.path, &[], Vec::new()).await?.code, 403);

    admin.delete(&format!("{rbac}/rolebindings/reader")).await?.code(200)?;
    eventually(Duration::from_secs(10), || async { nobody.get(&widgets.path).await?.code(403) }).await?;
    Ok(())
}

/// Asks the server which user it takes for the sender of a request with these headers.
async fn whoami(http: &Http, headers: &[(&str, &str)]) -> Result<Reply> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let headers = [&[("content-type", "application/json")], headers].concat();
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    http.send(Method::POST, path, &headers, review.to_string().into()).await
}

async fn impersonation(cluster: Cluster) -> Result<()> {
    let admin = cluster.admin();
    let user = async |headers: &[(&str, &str)]| {
        anyhow::Ok(whoami(&admin, headers).await?.code(201)?["status"]["userInfo"].clone())
    };
    let bob = json!({"username": "bob", "groups": ["system:authenticated"]});
    assert_eq!(user(&[("impersonate-user", "bob")]).await?, bob);
    assert_eq!(user(&[("impersonate-user", "żaneta")]).await?["username"], "żaneta");
    // An empty header is ignored.
    let own = user(&[]).await?;
    assert_eq!(user(&[("impersonate-user", "")]).await?, own);
    let whole = [
        ("impersonate-user", "bob"),
        ("impersonate-group", "one"),
        ("impersonate-group", "two"),
        ("impersonate-uid", "u-1"),
        ("impersonate-extra-example.com%2fscopes", "read"),
        ("impersonate-extra-example.com%2fscopes", "write"),
    ];
    let expected = json!({
        "username": "bob", "uid": "u-1", "groups": ["one", "two", "system:authenticated"],
        "extra": {"example.com/scopes": ["read", "write"]},
    });
    assert_eq!(user(&whole).await?, expected);

    let account = user(&[("impersonate-user", "system:serviceaccount:web:bot")]).await?;
    let groups = ["system:serviceaccounts", "system:serviceaccounts:web", "system:authenticated"];
    assert_eq!(account["groups"], json!(groups));
    // The anonymous user is not in `system:authenticated`, and may not create this review.
    let anonymous = whoami(&admin, &[("impersonate-user", "system:anonymous")]).await?;
    let message = "selfsubjectreviews.authentication.k8s.io is forbidden: User \"system:anonymous\" cannot create resource \
                   \"selfsubjectreviews\" in API group \"authentication.k8s.io\" at the cluster scope";
    anonymous.refused(403, "Forbidden", message)?;

    // A group, UID or extra without a user must not be ignored: the request would get the rights of its own user.
    for (header, shown) in [
        ("impersonate-group", r#"UID:"", Groups:[]string{"x"}, Extra:map[string][]string(nil)"#),
        ("impersonate-uid", r#"UID:"x", Groups:[]string(nil), Extra:map[string][]string(nil)"#),
        (
            "impersonate-extra-a",
            r#"UID:"", Groups:[]string(nil), Extra:map[string][]string{"a":[]string{"x"}}"#,
        ),
    ] {
        let message =
            format!("requested &user.DefaultInfo{{Name:\"\", {shown}}} without impersonating a user name");
        whoami(&admin, &[(header, "x")]).await?.refused(400, "BadRequest", &message)?;
    }
    let headers = [("impersonate-user", "bob")];
    assert_eq!(whoami(&cluster.nobody(), &headers).await?.code, 403);
    Ok(())
}

async fn each_part_of_an_impersonation_is_granted(cluster: Cluster) -> Result<()> {
    let (admin, namespace) = (cluster.admin(), cluster.namespace());
    let (name, user) = (cluster.unique(), format!("system:serviceaccount:{namespace}:actor"));
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "actor"}});
    admin.post(&accounts, &account).await?.code(201)?;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let token = admin.post(&format!("{accounts}/actor/token"), &request).await?.code(201)?;
    let actor = cluster.with_token(token["status"]["token"].as_str().context("a token")?).await?;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rule = |group: &str, resource: &str, value: &str| json!({"apiGroups": [group], "resources": [resource], "resourceNames": [value], "verbs": ["impersonate"]});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
        "rules": [
            rule("", "users", "bob"),
            rule("", "groups", "devs"),
            rule("authentication.k8s.io", "userextras/scopes", "read"),
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "actor"}],
    });
    admin.post(&format!("{rbac}/clusterroles"), &role).await?.code(201)?;
    admin.post(&format!("{rbac}/clusterrolebindings"), &binding).await?.code(201)?;

    let bob = ("impersonate-user", "bob");
    let (devs, read) = (("impersonate-group", "devs"), ("impersonate-extra-scopes", "read"));
    eventually(Duration::from_secs(10), || async {
        whoami(&actor, &[bob, devs, read]).await?.code(201).map(drop)
    })
    .await?;
    let cannot = |what: &str, value: &str, group: &str| {
        let (plural, _) = what.split_once('/').unwrap_or((what, ""));
        let qualified = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        format!(
            "{qualified} {value:?} is forbidden: User {user:?} cannot impersonate resource {what:?} in API group {group:?} at the \
             cluster scope"
        )
    };
    let refused = async |headers: &[(&str, &str)], message: String| {
        whoami(&actor, headers).await?.refused(403, "Forbidden", &message)
    };
    let authentication = "authentication.k8s.io";
    refused(&[("impersonate-user", "alice")], cannot("users", "alice", "")).await?;
    refused(&[bob, devs, ("impersonate-group", "ops")], cannot("groups", "ops", "")).await?;
    refused(&[bob, ("impersonate-uid", "u-1")], cannot("uids", "u-1", authentication)).await?;
    refused(
        &[bob, read, ("impersonate-extra-scopes", "write")],
        cannot("userextras/scopes", "write", authentication),
    )
    .await?;
    let message = cannot("userextras/other", "read", authentication);
    refused(&[bob, ("impersonate-extra-other", "read")], message).await?;
    // A ServiceAccount is not a user of that name.
    let reply = whoami(&actor, &[("impersonate-user", "system:serviceaccount:web:bot")]).await?;
    let message = format!(
        "serviceaccounts \"bot\" is forbidden: User {user:?} cannot impersonate resource \"serviceaccounts\" in API group \"\" in \
         the namespace \"web\""
    );
    ensure!(reply.code == 403 && reply.message() == message, "{reply:?}");
    for kind in ["clusterrolebindings", "clusterroles"] {
        admin.delete(&format!("{rbac}/{kind}/{name}")).await?.code(200)?;
    }
    Ok(())
}
