//! Admission plugins that are switched on or off, and without controllers.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ResourceQuota};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube_embedded::{Error, Server, ServerBuilder};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::support::code;

fn without(plugins: &[&str]) -> Server {
    let builder = Server::builder().disable_admission_plugins(plugins.iter().copied());
    builder.and_then(ServerBuilder::start).expect("the plugins exist")
}

fn typed<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("the object is one of its kind")
}

async fn create(server: &Server, api_version: &str, kind: &str, plural: &str, mut object: Value) {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let resource = ApiResource {
        group: group.to_owned(),
        version: api_version.rsplit('/').next().unwrap_or_default().to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    let objects: Api<DynamicObject> = Api::all_with(server.client(), &resource);
    objects.create(&PostParams::default(), &typed(object)).await.expect("it is created");
}

async fn create_map(server: &Server, namespace: &str) -> Result<(), u16> {
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), namespace);
    let map = typed(json!({"metadata": {"name": "a"}}));
    maps.create(&PostParams::default(), &map).await.map(drop).map_err(|error| code(&error))
}

#[tokio::test]
async fn without_namespace_lifecycle_nothing_depends_on_a_namespace() {
    assert_eq!(create_map(&Server::start(), "nowhere").await, Err(404));
    let server = without(&["NamespaceLifecycle"]);
    assert_eq!(create_map(&server, "nowhere").await, Ok(()));
    let namespaces: Api<Namespace> = Api::all(server.client());
    namespaces.delete("default", &DeleteParams::default()).await.expect("it is not protected");
}

#[tokio::test]
async fn without_their_plugins_pods_get_no_priority_and_tolerations() {
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    for (off, prioritized, tolerant) in
        [(&[][..], true, true), (&["Priority"], false, true), (&["DefaultTolerationSeconds"], true, false)]
    {
        let pods: Api<Pod> = Api::default_namespaced(without(off).client());
        let pod = pods.create(&PostParams::default(), &typed(pod.clone())).await.unwrap().spec.unwrap();
        assert_eq!(pod.priority.is_some(), prioritized, "{off:?}");
        assert_eq!(pod.tolerations.is_some_and(|all| !all.is_empty()), tolerant, "{off:?}");
    }
}

#[cfg(feature = "webhooks")]
#[tokio::test]
async fn without_their_plugins_webhooks_are_not_called() {
    let webhook = json!({"metadata": {"name": "a"}, "webhooks": [{
        "name": "a.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        // Nobody is there.
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps"]}],
    }]});
    for (kind, plural, plugin) in [
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "MutatingAdmissionWebhook"),
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "ValidatingAdmissionWebhook"),
    ] {
        for (off, expected) in [(&[][..], Err(500)), (&[plugin], Ok(()))] {
            let server = without(off);
            create(&server, "admissionregistration.k8s.io/v1", kind, plural, webhook.clone()).await;
            assert_eq!(create_map(&server, "default").await, expected, "{plugin}");
        }
    }
}

#[cfg(feature = "cel")]
#[tokio::test]
async fn without_their_plugin_policies_deny_nothing() {
    for (off, expected) in [(&[][..], Err(422)), (&["ValidatingAdmissionPolicy"], Ok(()))] {
        let server = without(off);
        let api_version = "admissionregistration.k8s.io/v1";
        let rule = json!({
            "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
        });
        let policy = json!({"metadata": {"name": "a"}, "spec": {
            "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "false"}],
        }});
        let (kind, plural) = ("ValidatingAdmissionPolicy", "validatingadmissionpolicies");
        create(&server, api_version, kind, plural, policy).await;
        let binding = json!({
            "metadata": {"name": "a"}, "spec": {"policyName": "a", "validationActions": ["Deny"]},
        });
        let (kind, plural) = ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings");
        create(&server, api_version, kind, plural, binding).await;
        assert_eq!(create_map(&server, "default").await, expected);
    }
}

#[tokio::test]
async fn unknown_plugins_and_contradictions_are_refused() {
    let unknown = Server::builder().enable_admission_plugins(["Magic"]).map(drop).unwrap_err();
    assert!(matches!(unknown, Error::AdmissionPlugins(_)), "{unknown:?}");
    assert_eq!(unknown.to_string(), "enable-admission-plugins plugin \"Magic\" is unknown");
    let both = Server::builder()
        .enable_admission_plugins(["Priority"])
        .and_then(|builder| builder.disable_admission_plugins(["Priority"]));
    assert!(both.is_err());
    // It exists, and does nothing here.
    Server::builder().enable_admission_plugins(["NodeRestriction"]).unwrap().start().unwrap();
}

/// What the server answers a user who may write ConfigMaps and delete none.
async fn as_jane(server: &Server, method: &str, path: &str, body: &Value) -> Result<(), String> {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("/api/v1/namespaces/default/configmaps{path}"))
        .header(
            "content-type",
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
        )
        .header("impersonate-user", "jane")
        .body(body.to_string().into_bytes());
    match server.client().request_text(request.expect("a request")).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn whoever_sets_an_owner_may_need_permission() {
    // Nothing collects what has no owner.
    let builder = Server::builder().without_controllers();
    let builder = builder.enable_admission_plugins(["OwnerReferencesPermissionEnforcement"]);
    let server = builder.and_then(ServerBuilder::start).expect("the plugin exists");
    let rules =
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "patch"]}]);
    let rbac = "rbac.authorization.k8s.io/v1";
    create(&server, rbac, "ClusterRole", "clusterroles", json!({"metadata": {"name": "a"}, "rules": rules}))
        .await;
    let binding = json!({
        "metadata": {"name": "a"}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "a"},
    });
    create(&server, rbac, "ClusterRoleBinding", "clusterrolebindings", binding).await;
    let owned = |name: &str, blocks: bool, kind: &str| {
        let owner =
            json!({"apiVersion": "v1", "kind": kind, "name": "o", "uid": "1", "blockOwnerDeletion": blocks});
        json!({"metadata": {"name": name, "ownerReferences": [owner]}})
    };
    // Whoever creates an object may say whose it is, but not keep the owner.
    assert_eq!(as_jane(&server, "POST", "", &owned("a", false, "Secret")).await, Ok(()));
    assert_eq!(
        as_jane(&server, "POST", "", &owned("b", true, "Secret")).await,
        Err("configmaps \"b\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set \
             finalizers on: , <nil>"
            .to_owned())
    );
    assert_eq!(
        as_jane(&server, "POST", "", &owned("b", true, "Nothing")).await,
        Err("configmaps \"b\" is forbidden: cannot set blockOwnerDeletion in this case because cannot find RESTMapping for \
             APIVersion v1 Kind Nothing: no matches for kind \"Nothing\" in version \"v1\""
            .to_owned())
    );
    let change = json!({"metadata": {"ownerReferences": null}});
    assert_eq!(
        as_jane(&server, "PATCH", "/a", &change).await,
        Err("configmaps \"a\" is forbidden: cannot set an ownerRef on a resource you can't delete: , <nil>"
            .to_owned())
    );
    assert_eq!(as_jane(&server, "PATCH", "/a", &json!({"data": {"a": "b"}})).await, Ok(()));
    let off = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(off.client());
    maps.create(&PostParams::default(), &typed(owned("b", true, "Nothing")))
        .await
        .expect("it is off by default");
}

#[tokio::test]
async fn without_controllers_quotas_have_no_effect_until_they_have_a_status() {
    let server = Server::builder().without_controllers().start().expect("it starts");
    let quotas: Api<ResourceQuota> = Api::default_namespaced(server.client());
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "0"}}});
    quotas.create(&PostParams::default(), &typed(quota)).await.unwrap();
    assert_eq!(create_map(&server, "default").await, Ok(()));
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let create = async |status: Value| {
        let patch = Patch::Merge(json!({"status": status}));
        quotas.patch_status("q", &PatchParams::default(), &patch).await.unwrap();
        match maps.create(&PostParams::default(), &typed(json!({"metadata": {"name": "b"}}))).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.message),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(
        create(json!({"hard": {"configmaps": "1"}})).await,
        Err("configmaps \"b\" is forbidden: status unknown for quota: q, resources: configmaps".to_owned())
    );
    assert_eq!(create(json!({"used": {"configmaps": "0"}})).await, Ok(()));
    let quota = quotas.get("q").await.unwrap();
    let used = quota.status.unwrap().used.unwrap();
    assert_eq!(used["configmaps"].0, "1");
}

/// A server on which these plugins are on, too.
fn with(plugins: &[&str]) -> Server {
    let builder = Server::builder().enable_admission_plugins(plugins.iter().copied());
    builder.and_then(ServerBuilder::start).expect("the plugins exist")
}

/// What the server makes of an object, or says against it.
async fn post(server: &Server, path: &str, object: &Value) -> Result<Value, String> {
    let request = http::Request::builder().method("POST").uri(path);
    let request = request.header("content-type", "application/json").body(object.to_string().into_bytes());
    match server.client().request_text(request.expect("a request")).await {
        Ok(text) => Ok(serde_json::from_str(&text).expect("an object")),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{error}"),
    }
}

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(spec: &Value) -> Value {
    let mut pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

#[tokio::test]
async fn a_pod_runs_as_a_service_account_and_gets_a_token() {
    let server = Server::start();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let missing = pod(&json!({"serviceAccountName": "robot"}));
    assert_eq!(
        post(&server, PODS, &missing).await,
        Err("pods \"a\" is forbidden: error looking up service account default/robot: serviceaccount \"robot\" not found"
            .to_owned())
    );
    let robot = json!({
        "metadata": {"name": "robot", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "imagePullSecrets": [{"name": "registry"}],
    });
    post(&server, accounts, &robot).await.unwrap();
    let secret = json!({
        "serviceAccountName": "robot", "volumes": [{"name": "v", "secret": {"secretName": "other"}}],
    });
    assert_eq!(
        post(&server, PODS, &pod(&secret)).await,
        Err("pods \"a\" is forbidden: volume with secret.secretName=\"other\" is not allowed because service account robot does \
             not reference that secret"
            .to_owned())
    );
    let created = post(&server, PODS, &missing).await.unwrap();
    let spec = &created["spec"];
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
    let mount = &spec["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["name"], spec["volumes"][0]["name"]);
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    let token = &spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token, &json!({"path": "token", "expirationSeconds": 3607}));
}

#[tokio::test]
async fn the_default_account_exists_once_its_namespace_does() {
    let server = Server::start();
    for name in ["x", "y", "z"] {
        let namespace = json!({"metadata": {"name": name}});
        post(&server, "/api/v1/namespaces", &namespace).await.unwrap();
        let created = post(&server, &format!("/api/v1/namespaces/{name}/pods"), &pod(&json!({}))).await;
        assert_eq!(created.unwrap()["spec"]["serviceAccountName"], "default");
    }
    // Nobody creates it.
    let server = Server::builder().without_controllers().start().expect("it starts");
    assert_eq!(
        post(&server, PODS, &pod(&json!({}))).await,
        Err("pods \"a\" is forbidden: error looking up service account default/default: serviceaccount \"default\" not found"
            .to_owned())
    );
}

#[tokio::test]
async fn plugins_that_are_off_change_and_refuse_pods_once_they_are_on() {
    let server = with(&[
        "AlwaysPullImages",
        "ExtendedResourceToleration",
        "LimitPodHardAntiAffinityTopology",
        "PodNodeSelector",
        "PodTolerationRestriction",
    ]);
    let namespace = json!({"metadata": {"name": "x", "annotations": {
        "scheduler.alpha.kubernetes.io/node-selector": "disk=fast",
        "scheduler.alpha.kubernetes.io/defaultTolerations": r#"[{"key": "a", "operator": "Exists"}]"#,
        "scheduler.alpha.kubernetes.io/tolerationsWhitelist":
            r#"[{"key": "a", "operator": "Exists"}, {"operator": "Exists", "effect": "NoExecute"}]"#,
    }}});
    post(&server, "/api/v1/namespaces", &namespace).await.unwrap();
    let pods = "/api/v1/namespaces/x/pods";
    let created = post(&server, pods, &pod(&json!({}))).await.unwrap();
    let spec = &created["spec"];
    assert_eq!(spec["nodeSelector"], json!({"disk": "fast"}));
    assert_eq!(spec["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(spec["tolerations"][2], json!({"key": "a", "operator": "Exists"}));
    let affinity = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {}},
    ]}});
    for (spec, why) in [
        (
            json!({"nodeSelector": {"disk": "slow"}}),
            "pods \"a\" is forbidden: pod node label selector conflicts with its namespace node label selector",
        ),
        (
            json!({"tolerations": [{"key": "b", "operator": "Exists"}]}),
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist",
        ),
        (
            json!({"affinity": affinity}),
            "pods \"a\" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key \
             kubernetes.io/hostname is allowed",
        ),
    ] {
        assert_eq!(post(&server, pods, &pod(&spec)).await, Err(why.to_owned()));
    }
    let device = json!({"containers": [
        {"name": "a", "image": "a:1", "resources": {"limits": {"example.com/device": "1"}}},
    ]});
    let created = post(&server, PODS, &pod(&device)).await.unwrap();
    let toleration = json!({"key": "example.com/device", "operator": "Exists", "effect": "NoSchedule"});
    assert_eq!(created["spec"]["tolerations"][2], toleration);
}

#[tokio::test]
async fn namespaces_are_made_as_they_are_needed() {
    let map = json!({"metadata": {"name": "a"}});
    let server = with(&["NamespaceAutoProvision"]);
    post(&server, "/api/v1/namespaces/fresh/configmaps?dryRun=All", &map).await.unwrap_err();
    post(&server, "/api/v1/namespaces/fresh/configmaps", &map).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(server.client());
    namespaces.get("fresh").await.unwrap();
    assert_eq!(
        post(&server, "/api/v1/namespaces/not_a_name/configmaps", &map).await.unwrap_err(),
        "configmaps \"a\" is forbidden: Namespace \"not_a_name\" is invalid: metadata.name: Invalid value: \"not_a_name\": a \
         lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
         alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    );
    let builder = Server::builder().disable_admission_plugins(["NamespaceLifecycle"]).unwrap();
    let server = builder.enable_admission_plugins(["NamespaceExists"]).unwrap().start().unwrap();
    assert_eq!(create_map(&server, "nowhere").await, Err(404));
}

#[tokio::test]
async fn external_addresses_of_services_can_be_denied() {
    let server = with(&["DenyServiceExternalIPs"]);
    let service =
        json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["192.0.2.1"]}});
    assert_eq!(
        post(&server, "/api/v1/namespaces/default/services", &service).await,
        Err("services \"a\" is forbidden: Use of external IPs is denied by admission control".to_owned())
    );
}
