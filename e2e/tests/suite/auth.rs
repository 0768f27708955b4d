//! Authorization, and the messages of refused requests.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use e2e::{
    Cluster, eventually,
    http::{APPLY_PATCH, Http, MERGE_PATCH, Reply},
};
use http::Method;
use serde_json::{Value, json};

use crate::widgets::{GROUP, widgets};

e2e::on_each_cluster! {
    forbidden_by_verb, selecting_one_name_is_authorized_for_that_name, unknown_token, everybody_may_use_discovery,
    a_role_allows, impersonation, roles_grant_what_their_author_may_do, cluster_roles_grant_what_their_author_may_do,
    bindings_grant_what_their_author_may_do, missing_roles_are_named, a_write_that_creates_takes_create,
    a_namespace_is_selected_in_the_whole_cluster, access_reviews, certificates_are_approved_by_those_who_may,
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
    let bob = ("impersonate-user", "bob");
    // Not `nobody`: in a cluster of somebody else's, that is itself a user that the administrator impersonates.
    whoami(&actor, &[bob]).await?.code(403)?;
    admin.post(&format!("{rbac}/clusterroles"), &role).await?.code(201)?;
    admin.post(&format!("{rbac}/clusterrolebindings"), &binding).await?.code(201)?;

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

const RBAC: &str = "rbac.authorization.k8s.io";

/// A user with permissions of a test's own, who sends requests by impersonation.
struct Actor {
    admin: Http,
    name: String,
}

impl Actor {
    /// A user of the test's own, without any permission.
    fn new(cluster: &Cluster, name: &str) -> Actor {
        Actor { admin: cluster.admin(), name: format!("{name}.{}", cluster.unique()) }
    }

    async fn send(&self, method: Method, path: &str, content_type: &str, body: &Value) -> Result<Reply> {
        let headers = [("impersonate-user", self.name.as_str()), ("content-type", content_type)];
        self.admin.send(method, path, &headers, body.to_string().into()).await
    }

    async fn get(&self, path: &str) -> Result<Reply> {
        self.admin.send(Method::GET, path, &[("impersonate-user", &self.name)], Vec::new()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send(Method::POST, path, "application/json", body).await
    }

    async fn put(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send(Method::PUT, path, "application/json", body).await
    }

    async fn merge(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send(Method::PATCH, path, MERGE_PATCH, body).await
    }

    /// Gives the user a role of its own name: a Role in a namespace, or a ClusterRole (`""`). Returns once the server's
    /// authorizer, which reads from a cache, allows what the last rule does.
    async fn is_granted(&self, namespace: &str, rules: &Value) -> Result<()> {
        let (kind, prefix) = match namespace {
            "" => ("ClusterRole", "cluster"),
            _ => ("Role", ""),
        };
        let path = scope(namespace);
        let metadata = json!({"name": self.name});
        let role = json!({"metadata": metadata, "rules": rules});
        self.admin.post(&format!("{path}/{prefix}roles"), &role).await?.code(201)?;
        let binding = json!({
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": self.name},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": self.name}],
        });
        self.admin.post(&format!("{path}/{prefix}rolebindings"), &binding).await?.code(201)?;
        let last = rules.as_array().and_then(|rules| rules.last()).context("a rule")?;
        let resource = last["resources"][0].as_str().context("a resource")?;
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let wanted = json!({
            "namespace": namespace, "verb": last["verbs"][0], "group": last["apiGroups"][0], "resource": resource,
            "subresource": subresource, "name": last["resourceNames"][0],
        });
        let review = json!({"spec": {"user": self.name, "resourceAttributes": wanted}});
        eventually(Duration::from_secs(10), || async {
            let answer = self.admin.post(REVIEWS, &review).await?.code(201)?;
            ensure!(answer["status"]["allowed"] == true, "{answer}");
            Ok(())
        })
        .await
    }

    /// Removes what `is_granted` made outside of a namespace.
    async fn is_removed(&self) -> Result<()> {
        for plural in ["clusterrolebindings", "clusterroles"] {
            self.admin.delete(&format!("{}/{plural}/{}", scope(""), self.name)).await?.code(200)?;
        }
        Ok(())
    }

    /// The reason of a refusal to grant permissions.
    fn lacks(&self, permissions: &[&str]) -> String {
        format!(
            "user {:?} (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{}",
            self.name,
            permissions.join("\n")
        )
    }
}

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// The path of RBAC's resources in a namespace, or outside of one (`""`).
fn scope(namespace: &str) -> String {
    match namespace {
        "" => format!("/apis/{RBAC}/v1"),
        namespace => format!("/apis/{RBAC}/v1/namespaces/{namespace}"),
    }
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

/// A user can write roles, but not give them permissions that it does not have.
async fn roles_grant_what_their_author_may_do(cluster: Cluster) -> Result<()> {
    let (actor, admin, namespace) = (Actor::new(&cluster, "author"), cluster.admin(), cluster.namespace());
    let writes = ["create", "update", "patch"];
    actor
        .is_granted(
            namespace,
            &json!([
                rule("", &["configmaps", "*/status"], &["get", "list"]),
                rule(RBAC, &["roles"], &writes)
            ]),
        )
        .await?;
    let path = format!("{}/roles", scope(namespace));
    let role = |name: &str, rules: Value| json!({"metadata": {"name": name}, "rules": rules});
    let refused = |name: &str, permissions: &[&str]| {
        format!("roles.{RBAC} {name:?} is forbidden: {}", actor.lacks(permissions))
    };

    let mine = json!([
        rule("", &["configmaps", "pods/status"], &["list"]),
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get"]},
    ]);
    actor.post(&path, &role("mine", mine.clone())).await?.code(201)?;
    let more = json!([
        rule("", &["secrets", "configmaps"], &["list", "get", "watch"]),
        {"apiGroups": ["", "*"], "resources": ["pods"], "resourceNames": ["b", "a"], "verbs": ["get"]},
    ]);
    let missing = [
        r#"{APIGroups:[""], Resources:["configmaps"], Verbs:["watch"]}"#,
        r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["get"]}"#,
        r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}"#,
        r#"{APIGroups:[""], Resources:["secrets"], Verbs:["list" "get" "watch"]}"#,
        r#"{APIGroups:["*"], Resources:["pods"], ResourceNames:["a"], Verbs:["get"]}"#,
        r#"{APIGroups:["*"], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}"#,
    ];
    let reply = actor.post(&path, &role("more", more.clone())).await?;
    let status = reply.refused(403, "Forbidden", &refused("more", &missing))?;
    assert_eq!(status["details"], json!({"name": "more", "group": RBAC, "kind": "roles"}));
    let generated = json!({"metadata": {"generateName": "more-"}, "rules": more});
    let message = format!("roles.{RBAC} is forbidden: {}", actor.lacks(&missing));
    actor.post(&path, &generated).await?.refused(403, "Forbidden", &message)?;

    // The same for each other way of writing a role; an old version is not what is reported.
    let secrets = json!([rule("", &["secrets"], &["get"])]);
    let missing = [r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#];
    let old = json!({"metadata": {"name": "mine", "resourceVersion": "1"}, "rules": secrets});
    let reply = actor.put(&format!("{path}/mine"), &old).await?;
    reply.refused(403, "Forbidden", &refused("mine", &missing))?;
    let reply = actor.put(&format!("{path}/new"), &role("new", secrets.clone())).await?;
    reply.refused(403, "Forbidden", &refused("new", &missing))?;
    let reply = actor.merge(&format!("{path}/mine"), &json!({"rules": secrets})).await?;
    reply.refused(403, "Forbidden", &refused("mine", &missing))?;
    let applied = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": {"name": "applied"}, "rules": secrets,
    });
    let reply =
        actor.send(Method::PATCH, &format!("{path}/applied?fieldManager=m"), APPLY_PATCH, &applied).await?;
    reply.refused(403, "Forbidden", &refused("applied", &missing))?;
    actor
        .merge(&format!("{path}/mine"), &json!({"rules": [rule("", &["configmaps"], &["get"])]}))
        .await?
        .code(200)?;

    // Of a role with more permissions, it can only change what garbage collection needs.
    admin.post(&path, &role("theirs", secrets)).await?.code(201)?;
    let theirs = format!("{path}/theirs");
    for finalizers in [json!(["example.com/f"]), json!([])] {
        actor.merge(&theirs, &json!({"metadata": {"finalizers": finalizers}})).await?.code(200)?;
    }
    let reply = actor.merge(&theirs, &json!({"metadata": {"labels": {"a": "b"}}})).await?;
    reply.refused(403, "Forbidden", &refused("theirs", &missing))?;

    // The verb `escalate` is for a role by its name, which a POST does not have.
    let other = Actor::new(&cluster, "escalating");
    let mut escalate = rule(RBAC, &["roles"], &["escalate"]);
    escalate["resourceNames"] = json!(["theirs"]);
    other.is_granted(namespace, &json!([rule(RBAC, &["roles"], &writes), escalate])).await?;
    other.merge(&theirs, &json!({"rules": [rule("*", &["*"], &["*"])]})).await?.code(200)?;
    other.put(&format!("{path}/mine"), &role("mine", mine)).await?.code(403)?;
    Ok(())
}

/// A ClusterRole also has paths, and may select other roles, whatever their permissions.
async fn cluster_roles_grant_what_their_author_may_do(cluster: Cluster) -> Result<()> {
    let actor = Actor::new(&cluster, "author");
    let paths = json!({"nonResourceURLs": ["/a/*"], "verbs": ["get"]});
    actor.is_granted("", &json!([paths, rule(RBAC, &["clusterroles"], &["create", "patch"])])).await?;
    let (admin, path) = (cluster.admin(), format!("{}/clusterroles", scope("")));
    let name = format!("mine.{}", cluster.unique());
    let role = |rules: Value| json!({"metadata": {"name": name}, "rules": rules});
    let refused = |why: &str| format!("clusterroles.{RBAC} {name:?} is forbidden: {why}");

    let paths = json!([{"nonResourceURLs": ["/a/b", "/b", "*"], "verbs": ["get"]}]);
    let missing = [r#"{NonResourceURLs:["*"], Verbs:["get"]}"#, r#"{NonResourceURLs:["/b"], Verbs:["get"]}"#];
    let reply = actor.post(&path, &role(paths)).await?;
    reply.refused(403, "Forbidden", &refused(&actor.lacks(&missing)))?;
    let why = refused("must have cluster-admin privileges to use the aggregationRule");
    let mut selecting = role(json!([]));
    selecting["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"nobody": "has"}}]});
    actor.post(&path, &selecting).await?.refused(403, "Forbidden", &why)?;
    actor.post(&path, &role(json!([{"nonResourceURLs": ["/a/b"], "verbs": ["get"]}]))).await?.code(201)?;
    // Not selecting any more is an act of selecting, too.
    let mine = format!("{path}/{name}");
    let selectors = json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"nobody": "has"}}]}, "rules": null});
    actor.merge(&mine, &selectors).await?.refused(403, "Forbidden", &why)?;
    admin.patch(&mine, MERGE_PATCH, &selectors).await?.code(200)?;
    actor.merge(&mine, &json!({"aggregationRule": null})).await?.refused(403, "Forbidden", &why)?;
    admin.delete(&mine).await?.code(200)?;
    actor.is_removed().await
}

/// A user can bind roles whose permissions it has, or those that it may `bind`.
async fn bindings_grant_what_their_author_may_do(cluster: Cluster) -> Result<()> {
    let (actor, admin, namespace) = (Actor::new(&cluster, "author"), cluster.admin(), cluster.namespace());
    let mut bind = rule(RBAC, &["clusterroles"], &["bind"]);
    bind["resourceNames"] = json!(["cluster-admin"]);
    let rules = json!([
        rule("", &["configmaps"], &["get"]),
        rule(RBAC, &["rolebindings"], &["create", "update", "patch"]),
        bind,
    ]);
    actor.is_granted(namespace, &rules).await?;
    let (roles, path) = (format!("{}/roles", scope(namespace)), format!("{}/rolebindings", scope(namespace)));
    for (name, resource) in [("less", "configmaps"), ("more", "secrets")] {
        let role = json!({"metadata": {"name": name}, "rules": [rule("", &[resource], &["get"])]});
        admin.post(&roles, &role).await?.code(201)?;
    }
    let binding = |name: &str, kind: &str, role: &str| json!({"metadata": {"name": name}, "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role}});
    let secrets = [r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#];
    let refused =
        |name: &str| format!("rolebindings.{RBAC} {name:?} is forbidden: {}", actor.lacks(&secrets));

    actor.post(&path, &binding("less", "Role", "less")).await?.code(201)?;
    actor.post(&path, &binding("admins", "ClusterRole", "cluster-admin")).await?.code(201)?;
    let reply = actor.post(&path, &binding("more", "Role", "more")).await?;
    reply.refused(403, "Forbidden", &refused("more"))?;
    let reply = actor.put(&format!("{path}/more"), &binding("more", "Role", "more")).await?;
    reply.refused(403, "Forbidden", &refused("more"))?;
    admin.post(&path, &binding("more", "Role", "more")).await?.code(201)?;
    let me = json!({"subjects": [{"apiGroup": RBAC, "kind": "User", "name": actor.name}]});
    let reply = actor.merge(&format!("{path}/more"), &me).await?;
    reply.refused(403, "Forbidden", &refused("more"))?;
    actor.merge(&format!("{path}/less"), &me).await?.code(200)?;

    // What cannot be resolved cannot be compared.
    for kind in ["Role", "ClusterRole"] {
        let reply = actor.post(&path, &binding("none", kind, "none")).await?;
        reply.refused(404, "NotFound", &format!("rolebindings.{RBAC} \"none\" not found"))?;
    }
    let reply = actor.post(&path, &binding("none", "Rule", "none")).await?;
    reply.refused(500, "", "unsupported role reference kind: \"Rule\"")?;
    admin.post(&path, &binding("none", "Role", "none")).await?.code(201)?;

    // The permission to bind a ClusterRole in a namespace is none to bind it in all of them.
    let wide = Actor::new(&cluster, "wide");
    wide.is_granted("", &json!([rule(RBAC, &["clusterrolebindings"], &["create"])])).await?;
    let (bindings, name) = (format!("{}/clusterrolebindings", scope("")), cluster.unique());
    let reply = wide.post(&bindings, &binding(&name, "ClusterRole", "cluster-admin")).await?;
    let everything =
        [r#"{APIGroups:["*"], Resources:["*"], Verbs:["*"]}"#, r#"{NonResourceURLs:["*"], Verbs:["*"]}"#];
    let why = format!("clusterrolebindings.{RBAC} {name:?} is forbidden: {}", wide.lacks(&everything));
    reply.refused(403, "Forbidden", &why)?;
    let reply = wide.post(&bindings, &binding(&name, "Role", "less")).await?;
    reply.refused(400, "BadRequest", "Namespace parameter required.")?;
    wide.is_removed().await
}

/// A role that does not exist is named wherever its permissions are missed.
async fn missing_roles_are_named(cluster: Cluster) -> Result<()> {
    let (actor, namespace) = (Actor::new(&cluster, "author"), cluster.namespace());
    actor.is_granted(namespace, &json!([rule(RBAC, &["roles"], &["create"])])).await?;
    let binding = json!({
        "metadata": {"name": "none"}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "none.example.com"},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": actor.name}],
    });
    cluster.admin().post(&format!("{}/rolebindings", scope(namespace)), &binding).await?.code(201)?;
    let message = format!(
        "secrets is forbidden: User {:?} cannot list resource \"secrets\" in API group \"\" in the namespace \"{namespace}\": rbac: \
         RBAC: clusterrole.{RBAC} \"none.example.com\" not found",
        actor.name
    );
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    eventually(Duration::from_secs(10), || async {
        actor.get(&secrets).await?.refused(403, "Forbidden", &message).map(drop)
    })
    .await?;
    let role = json!({"metadata": {"name": "more"}, "rules": [rule("", &["secrets"], &["get"])]});
    let reply = actor.post(&format!("{}/roles", scope(namespace)), &role).await?;
    let missing = [r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#];
    let why = format!(
        "roles.{RBAC} \"more\" is forbidden: {}; resolution errors: [roles.{RBAC} \"none.example.com\" not found]",
        actor.lacks(&missing)
    );
    reply.refused(403, "Forbidden", &why)?;
    Ok(())
}

/// Deciding about a certificate takes a permission for its signer.
async fn certificates_are_approved_by_those_who_may(cluster: Cluster) -> Result<()> {
    let (actor, admin) = (Actor::new(&cluster, "approver"), cluster.admin());
    let group = "certificates.k8s.io";
    let subresources = ["certificatesigningrequests/approval", "certificatesigningrequests/status"];
    let mut approve = rule(group, &["signers"], &["approve", "sign"]);
    approve["resourceNames"] = json!(["example.com/mine", "example.org/*"]);
    actor.is_granted("", &json!([rule(group, &subresources, &["update", "patch"]), approve])).await?;
    let path = format!("/apis/{group}/v1/certificatesigningrequests");
    let key = rcgen::KeyPair::generate()?;
    let pem = rcgen::CertificateParams::default().serialize_request(&key)?.pem()?;
    let condition =
        |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "True", "reason": "Test"}]}});
    for (at, (signer, allowed)) in
        [("example.com/mine", true), ("example.org/any", true), ("example.com/other", false)]
            .into_iter()
            .enumerate()
    {
        let name = format!("r{at}.{}", cluster.unique());
        let request = json!({
            "metadata": {"name": name},
            "spec": {"request": BASE64_STANDARD.encode(&pem), "signerName": signer, "usages": ["client auth"]},
        });
        admin.post(&path, &request).await?.code(201)?;
        let (approval, status) = (format!("{path}/{name}/approval"), format!("{path}/{name}/status"));
        let refused = |verb: &str| {
            format!(
                "certificatesigningrequests.{group} {name:?} is forbidden: user not permitted to {verb} requests with signerName \
                 {signer:?}"
            )
        };
        // Labels are nobody's decision.
        actor.merge(&status, &json!({"metadata": {"labels": {"a": "b"}}})).await?.code(200)?;
        if allowed {
            actor.merge(&status, &condition("Failed")).await?.code(200)?;
            let both = json!([
                condition("Failed")["status"]["conditions"][0],
                condition("Denied")["status"]["conditions"][0]
            ]);
            actor.merge(&approval, &json!({"status": {"conditions": both}})).await?.code(200)?;
        } else {
            actor.merge(&status, &condition("Failed")).await?.refused(403, "Forbidden", &refused("sign"))?;
            actor.merge(&approval, &condition("Approved")).await?.refused(
                403,
                "Forbidden",
                &refused("approve"),
            )?;
            actor.merge(&approval, &json!({})).await?.refused(403, "Forbidden", &refused("approve"))?;
        }
        admin.delete(&format!("{path}/{name}")).await?.code(200)?;
    }
    actor.is_removed().await
}

/// A PUT or an apply that makes an object takes the verb `create` too, once the object is known to be valid.
async fn a_write_that_creates_takes_create(cluster: Cluster) -> Result<()> {
    let (actor, admin, namespace) = (Actor::new(&cluster, "updater"), cluster.admin(), cluster.namespace());
    let group = "coordination.k8s.io";
    let verbs = ["update", "patch"];
    actor
        .is_granted(namespace, &json!([rule("", &["configmaps"], &verbs), rule(group, &["leases"], &verbs)]))
        .await?;
    let refused = |group: &str, resource: &str| {
        let qualified = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        format!(
            "{qualified} \"one\" is forbidden: User {:?} cannot create resource {resource:?} in API group {group:?} in the namespace \
             {namespace:?}",
            actor.name
        )
    };
    let leases = format!("/apis/{group}/v1/namespaces/{namespace}/leases");
    let lease =
        |seconds: i64| json!({"metadata": {"name": "one"}, "spec": {"leaseDurationSeconds": seconds}});
    let reply = actor.put(&format!("{leases}/one"), &lease(1)).await?;
    let status = reply.refused(403, "Forbidden", &refused(group, "leases"))?;
    assert_eq!(status["details"], json!({"name": "one", "group": group, "kind": "leases"}));
    actor.put(&format!("{leases}/one"), &lease(-1)).await?.code(422)?;
    let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}});
    for query in ["fieldManager=m", "fieldManager=m&dryRun=All"] {
        let reply = actor.send(Method::PATCH, &format!("{maps}/one?{query}"), APPLY_PATCH, &applied).await?;
        reply.refused(403, "Forbidden", &refused("", "configmaps"))?;
    }
    let mut lease = admin.post(&leases, &lease(1)).await?.code(201)?;
    lease["spec"]["leaseDurationSeconds"] = 2.into();
    admin.post(&maps, &applied).await?.code(201)?;
    actor.put(&format!("{leases}/one"), &lease).await?.code(200)?;
    let reply =
        actor.send(Method::PATCH, &format!("{maps}/one?fieldManager=m"), APPLY_PATCH, &applied).await?;
    reply.code(200)?;
    Ok(())
}

/// A permission for a namespace, in the namespace, does not allow to select it from all namespaces.
async fn a_namespace_is_selected_in_the_whole_cluster(cluster: Cluster) -> Result<()> {
    let (actor, namespace) = (Actor::new(&cluster, "reader"), cluster.namespace());
    actor.is_granted(namespace, &json!([rule("", &["namespaces"], &["get", "list", "watch"])])).await?;
    actor.get(&format!("/api/v1/namespaces/{namespace}")).await?.code(200)?;
    for (query, verb) in [("", "list"), ("&watch=true", "watch")] {
        let reply = actor
            .get(&format!("/api/v1/namespaces?fieldSelector=metadata.name%3D{namespace}{query}"))
            .await?;
        let message = format!(
            "namespaces {namespace:?} is forbidden: User {:?} cannot {verb} resource \"namespaces\" in API group \"\" at the cluster \
             scope",
            actor.name
        );
        reply.refused(403, "Forbidden", &message)?;
    }
    Ok(())
}

/// A review is about exactly the user and the groups in it.
async fn access_reviews(cluster: Cluster) -> Result<()> {
    let (actor, admin, namespace) = (Actor::new(&cluster, "reader"), cluster.admin(), cluster.namespace());
    actor.is_granted(namespace, &json!([rule("", &["configmaps"], &["get"])])).await?;
    let allowed = async |path: &str, spec: Value| {
        let answer = admin.post(path, &json!({"spec": spec})).await?.code(201)?;
        anyhow::Ok(answer["status"]["allowed"] == true)
    };
    let discovery = json!({"path": "/apis", "verb": "get"});
    assert!(!allowed(REVIEWS, json!({"user": "x", "nonResourceAttributes": discovery})).await?);
    for group in ["system:authenticated", "system:masters"] {
        assert!(
            allowed(REVIEWS, json!({"groups": [group], "nonResourceAttributes": discovery})).await?,
            "{group}"
        );
    }

    let base = "/apis/authorization.k8s.io/v1";
    let local = format!("{base}/namespaces/{namespace}/localsubjectaccessreviews");
    let maps = json!({"namespace": namespace, "verb": "get", "resource": "configmaps"});
    let of_actor = json!({"user": actor.name, "resourceAttributes": maps});
    assert!(allowed(REVIEWS, of_actor.clone()).await?);
    assert!(allowed(&local, of_actor.clone()).await?);
    let answer = admin.post(&local, &json!({"spec": of_actor})).await?.code(201)?;
    assert_eq!(answer["metadata"]["namespace"], *namespace);

    let refused = async |path: &str, review: Value, message: &str| {
        let message = format!(".authorization.k8s.io \"\" is invalid: {message}");
        admin.post(path, &review).await?.refused(422, "Invalid", &message).map(drop)
    };
    let mut elsewhere = of_actor.clone();
    elsewhere["resourceAttributes"]["namespace"] = "default".into();
    let why = "spec.resourceAttributes.namespace: Invalid value: \"default\": must match metadata.namespace";
    refused(&local, json!({"spec": elsewhere}), why).await?;
    let other = json!({"metadata": {"namespace": "default"}, "spec": elsewhere});
    let why = "the namespace of the provided object does not match the namespace sent on the request";
    admin.post(&local, &other).await?.refused(400, "BadRequest", why)?;
    let everywhere = json!({"verb": "get", "resource": "configmaps"});
    let why = "spec.resourceAttributes.namespace: Invalid value: \"\": must match metadata.namespace";
    refused(&local, json!({"spec": {"user": "x", "resourceAttributes": everywhere}}), why).await?;
    let why = "spec.nonResourceAttributes: Invalid value: {\"Path\":\"/apis\",\"Verb\":\"get\"}: disallowed on this kind of request";
    refused(&local, json!({"spec": {"user": "x", "nonResourceAttributes": discovery}}), why).await?;

    let one_of = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    refused(REVIEWS, json!({"spec": {"user": "x"}}), &format!("spec: Invalid value: null: {one_of}")).await?;
    let both = json!({"spec": {"nonResourceAttributes": discovery, "resourceAttributes": maps}});
    let why = format!(
        "[spec: Invalid value: {{\"Path\":\"/apis\",\"Verb\":\"get\"}}: {one_of}, spec.user: Invalid value: \"\": at least one of user \
         or group must be specified]"
    );
    refused(REVIEWS, both, &why).await?;
    let own = format!("{base}/selfsubjectaccessreviews");
    let named = json!({"metadata": {"name": "x"}, "spec": {}});
    let why = format!(
        "[spec: Invalid value: null: {one_of}, metadata: Invalid value: {{\"name\":\"x\"}}: must be empty]"
    );
    refused(&own, named, &why).await?;
    let reply = admin.post(&format!("{base}/selfsubjectrulesreviews"), &json!({"spec": {}})).await?;
    reply.refused(400, "BadRequest", "no namespace on request")?;
    // The rules of a user who may do everything include those of everybody.
    let asked = json!({"spec": {"namespace": "default"}});
    let rules = admin.post(&format!("{base}/selfsubjectrulesreviews"), &asked).await?.code(201)?;
    let has = |kind: &str, field: &str, value: &str| {
        let rules = rules["status"][kind].as_array().into_iter().flatten();
        rules.filter_map(|rule| rule[field].as_array()).flatten().any(|it| it == value)
    };
    ensure!(
        has("resourceRules", "resources", "*") && has("resourceRules", "resources", "selfsubjectreviews")
    );
    ensure!(
        has("nonResourceRules", "nonResourceURLs", "*")
            && has("nonResourceRules", "nonResourceURLs", "/version")
    );
    Ok(())
}
