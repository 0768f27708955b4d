//! The rules in which kube 5.0 differs from kubectl, and those of files and in-cluster, each as in kubectl.

use crate::sandbox::{Sandbox, one, text};
use kubeconfig::{AuthMethod, Origin};

const CA: &str = include_str!("ca.pem");

fn named(context: &str, server: &str) -> String {
    format!(
        "clusters: [{{name: cl-{context}, cluster: {{server: '{server}'}}}}]\n\
         contexts: [{{name: {context}, context: {{cluster: cl-{context}}}}}]\n"
    )
}

/// A proxy that kube's `NO_PROXY` rule refuses where kubectl's accepts it, or the other way round.
const PROXY: &str = "http://proxy.example:3128";

#[test]
fn row_01_a_missing_file_in_kubeconfig_is_skipped() {
    let mut sandbox = Sandbox::new();
    sandbox.write("b", format!("current-context: b\n{}", named("b", "https://b")));
    sandbox.write("c", named("c", "https://c"));
    sandbox.kubeconfig(&["missing", "b", "c"]);
    let loaded = sandbox.load().unwrap();
    assert_eq!(loaded.report().server.value, "https://b");
    let found: Vec<bool> = loaded.report().files.iter().map(|file| file.found).collect();
    assert_eq!(found, [false, true, true]);
    assert_eq!(sandbox.options().context("c").load().unwrap().report().server.value, "https://c");
}

#[test]
fn row_02_a_broken_kubeconfig_is_an_error_also_in_a_pod() {
    let mut sandbox = Sandbox::new();
    sandbox.pod("10.0.0.1", 443);
    for broken in ["users: [", "current-context: missing\n", "contexts: [{name: a}, {name: a}]\n"] {
        sandbox.write("home/.kube/config", broken);
        sandbox.load().expect_err(broken);
    }
    sandbox.write("home/.kube/config", one("server: https://outside", ""));
    assert!(!sandbox.load().unwrap().report().in_cluster);
}

#[test]
fn row_02_an_empty_configuration_in_a_pod_is_the_pods_cluster() {
    let mut sandbox = Sandbox::new();
    sandbox.pod("10.0.0.1", 443);
    // No file, an empty file, and one without a current context: client-go treats all of them as empty.
    for content in [None, Some(String::new()), Some(named("a", "https://a"))] {
        if let Some(content) = content {
            sandbox.write("home/.kube/config", content);
        }
        let loaded = sandbox.load().unwrap();
        assert!(loaded.report().in_cluster);
        assert_eq!(loaded.config().cluster_url, "https://10.0.0.1:443/");
        assert_eq!(loaded.report().auth, [AuthMethod::TokenFile(sandbox.path("serviceaccount/token"))]);
    }
    // A context that the caller selects is not empty.
    assert!(sandbox.options().context("missing").load().unwrap_err().is_not_defined());
}

#[test]
fn row_02_a_pod_on_ip_version_6() {
    let mut sandbox = Sandbox::new();
    sandbox.pod("fd00::1", 6443);
    assert_eq!(sandbox.load().unwrap().config().cluster_url, "https://[fd00::1]:6443/");
}

#[test]
fn row_03_a_kubeconfig_of_empty_entries_is_an_empty_configuration() {
    let mut sandbox = Sandbox::new();
    sandbox.write("home/.kube/config", one("server: https://home", ""));
    sandbox.set("KUBECONFIG", ":");
    assert!(sandbox.load().unwrap_err().is_empty_configuration());
    // An empty variable counts as unset.
    sandbox.set("KUBECONFIG", "");
    assert_eq!(sandbox.load().unwrap().report().server.value, "https://home");
}

#[test]
fn row_04_an_empty_current_context_does_not_win() {
    let mut sandbox = Sandbox::new();
    sandbox.write("a", "current-context: ''\n");
    sandbox.write("b", format!("current-context: b\n{}", named("b", "https://b")));
    sandbox.kubeconfig(&["a", "b"]);
    let loaded = sandbox.load().unwrap();
    let context = loaded.report().context.clone().unwrap();
    assert_eq!((context.value.as_str(), context.origin), ("b", Origin::File(sandbox.path("b"))));
}

#[test]
fn row_05_an_empty_namespace_is_default() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "home/.kube/config",
        "current-context: a\nclusters: [{name: c, cluster: {server: 'https://c'}}]\n\
         contexts: [{name: a, context: {cluster: c, namespace: ''}}, {name: b, context: {cluster: c, namespace: team}}]\n",
    );
    let loaded = sandbox.load().unwrap();
    assert_eq!((loaded.namespace(), loaded.config().default_namespace.as_str()), ("default", "default"));
    assert_eq!(loaded.report().namespace.origin, Origin::Default);
    assert_eq!(sandbox.options().context("b").load().unwrap().namespace(), "team");
}

#[test]
fn row_06_a_name_that_is_there_twice_is_an_error() {
    let sandbox = Sandbox::new();
    for list in ["clusters", "users", "contexts"] {
        sandbox.write("home/.kube/config", format!("{list}: [{{name: twin}}, {{name: twin}}]\n"));
        let error = sandbox.load().unwrap_err().to_string();
        assert!(error.contains(list) && error.contains("\"twin\""), "{error}");
    }
}

#[test]
fn row_07_a_broken_context_harms_only_its_user() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "home/.kube/config",
        "current-context: good\nclusters: [{name: c, cluster: {server: 'https://c'}}, {name: bad}]\n\
         users: [{name: bad, user: {exec: {}}}]\n\
         contexts:\n- {name: no-cluster, context: {user: u}}\n- {name: empty}\n\
         - {name: good, context: {cluster: c}}\n- {name: bad, context: {cluster: bad, user: bad}}\n",
    );
    assert_eq!(sandbox.load().unwrap().report().server.value, "https://c");
    let error = sandbox.options().context("no-cluster").load().unwrap_err().to_string();
    assert!(error.contains("context \"no-cluster\"") && error.contains("does not name a cluster"), "{error}");
}

#[test]
fn row_08_an_empty_token_is_unset() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("token", "from-file");
    sandbox.write(
        "home/.kube/config",
        one("server: https://c", &format!("token: '', tokenFile: '{}'", text(&file))),
    );
    assert_eq!(sandbox.load().unwrap().report().auth, [AuthMethod::TokenFile(file)]);
}

#[test]
fn row_09_empty_certificate_data_does_not_hide_the_file() {
    let sandbox = Sandbox::new();
    sandbox.write("home/.kube/ca.pem", CA);
    sandbox.write(
        "home/.kube/config",
        one("server: https://c, certificate-authority: ca.pem, certificate-authority-data: ''", ""),
    );
    assert_eq!(sandbox.load().unwrap().config().root_cert.as_ref().map(Vec::len), Some(1));
}

#[test]
fn row_10_of_token_and_token_file_the_file_is_used() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("token", "from-file");
    sandbox.write(
        "home/.kube/config",
        one("server: https://c", &format!("token: static, tokenFile: '{}'", text(&file))),
    );
    assert_eq!(sandbox.load().unwrap().report().auth, [AuthMethod::TokenFile(file)]);
}

#[test]
fn row_12_an_authority_that_is_not_checked_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("home/.kube/ca.pem", CA);
    sandbox.write(
        "home/.kube/config",
        one("server: https://c, certificate-authority: ca.pem, insecure-skip-tls-verify: true", ""),
    );
    let error = sandbox.load().unwrap_err().to_string();
    assert!(error.contains("cluster \"cl\"") && error.contains("insecure-skip-tls-verify"), "{error}");
}

#[test]
fn row_13_no_proxy_is_matched_against_the_requests_host() {
    let mut sandbox = Sandbox::new();
    sandbox.write("home/.kube/config", one("server: https://api.example", ""));
    sandbox.set("HTTPS_PROXY", PROXY);
    for (no_proxy, proxied) in [("proxy.example", true), ("api.example", false), ("", true)] {
        sandbox.set("NO_PROXY", no_proxy);
        let loaded = sandbox.load().unwrap();
        assert_eq!(loaded.config().proxy_url.is_some(), proxied, "{no_proxy}");
        assert_eq!(
            loaded.report().proxy.as_ref().map(|proxy| proxy.origin.clone()),
            proxied.then(|| Origin::Variable("HTTPS_PROXY".to_owned()))
        );
    }
}

#[test]
fn row_14_proxy_url_holds_whatever_no_proxy_says() {
    let mut sandbox = Sandbox::new();
    sandbox
        .write("home/.kube/config", one(&format!("server: https://api.example, proxy-url: '{PROXY}'"), ""));
    sandbox.set("NO_PROXY", "*");
    let loaded = sandbox.load().unwrap();
    assert_eq!(loaded.config().proxy_url.as_ref().unwrap(), PROXY);
    assert_eq!(loaded.report().proxy.as_ref().unwrap().value, PROXY);
}

#[test]
fn row_15_the_namespace_of_a_pod() {
    let mut sandbox = Sandbox::new();
    sandbox.pod("10.0.0.1", 443);
    let namespace = |sandbox: &Sandbox| sandbox.load().unwrap().report().namespace.clone();
    assert_eq!(namespace(&sandbox).value, "default");
    sandbox.write("serviceaccount/namespace", " \n");
    assert_eq!(namespace(&sandbox).value, "default");
    let file = sandbox.write("serviceaccount/namespace", "team\n");
    let found = namespace(&sandbox);
    assert_eq!((found.value.as_str(), found.origin), ("team", Origin::ServiceAccount(file)));
    sandbox.set("POD_NAMESPACE", "given");
    let found = namespace(&sandbox);
    assert_eq!((found.value.as_str(), found.origin), ("given", Origin::Variable("POD_NAMESPACE".into())));
}

#[test]
fn row_15_a_pods_namespace_also_serves_a_context_without_one() {
    let mut sandbox = Sandbox::new();
    sandbox.write("home/.kube/config", one("server: https://c", ""));
    sandbox.set("POD_NAMESPACE", "given");
    // The variable has no effect outside of a pod.
    assert_eq!(sandbox.load().unwrap().namespace(), "default");
    sandbox.pod("10.0.0.1", 443);
    assert_eq!(sandbox.load().unwrap().namespace(), "given");
}

#[test]
fn row_17_extensions_are_merged_by_name() {
    let mut sandbox = Sandbox::new();
    sandbox.write("a", "extensions: [{name: first, extension: 1}, {name: both, extension: 1}]\n");
    sandbox.write("b", "extensions: [{name: both, extension: 2}, {name: second, extension: 2}]\n");
    sandbox.kubeconfig(&["a", "b"]);
    let view = sandbox.options().view().unwrap();
    let want = serde_json::json!([
        {"name": "both", "extension": 1}, {"name": "first", "extension": 1}, {"name": "second", "extension": 2}
    ]);
    assert_eq!(view["extensions"], want);
}

#[test]
fn row_18_relative_paths_start_at_their_own_file() {
    let mut sandbox = Sandbox::new();
    sandbox.write(
        "one/config",
        one("server: https://c, certificate-authority: ../pki/ca.pem", "tokenFile: token"),
    );
    sandbox.write("pki/ca.pem", CA);
    let token = sandbox.write("one/token", "t");
    // Relative to the working directory, which is the sandbox.
    sandbox.set("KUBECONFIG", "one/config");
    let loaded = sandbox.load().unwrap();
    assert_eq!(loaded.report().auth, [AuthMethod::TokenFile(token)]);
    assert_eq!(loaded.config().root_cert_file.as_deref(), Some(sandbox.path("pki/ca.pem").as_path()));
    assert_eq!(loaded.report().files[0].path, sandbox.path("one/config"));
}

#[test]
fn row_18_an_exec_command_with_a_slash_is_a_path_and_a_name_is_not() {
    let sandbox = Sandbox::new();
    let exec = |command: &str| {
        one(
            "server: https://c",
            &format!("exec: {{apiVersion: client.authentication.k8s.io/v1beta1, command: {command}}}"),
        )
    };
    sandbox.write("home/.kube/config", exec("bin/plugin"));
    let path = text(&sandbox.path("home/.kube/bin/plugin"));
    assert_eq!(sandbox.load().unwrap().report().auth, [AuthMethod::Exec(path)]);
    sandbox.write("home/.kube/config", exec("plugin"));
    assert_eq!(sandbox.load().unwrap().report().auth, [AuthMethod::Exec("plugin".to_owned())]);
}

#[test]
fn the_first_file_that_defines_a_name_provides_the_whole_entry() {
    let mut sandbox = Sandbox::new();
    sandbox.write(
        "a",
        "users: [{name: me, user: {token: t}}]\nclusters: [{name: cl, cluster: {server: 'https://a'}}]\n",
    );
    sandbox.write("b", one("server: https://b, tls-server-name: b", "username: me, password: p"));
    sandbox.kubeconfig(&["a", "b"]);
    let loaded = sandbox.load().unwrap();
    assert_eq!(loaded.report().server.value, "https://a");
    assert_eq!(loaded.config().tls_server_name, None);
    // Merged field by field, this user would have two ways to authenticate, which is an error.
    assert_eq!(loaded.report().auth, [AuthMethod::Token]);
}

#[test]
fn only_an_explicit_file_is_read() {
    let mut sandbox = Sandbox::new();
    let alone = sandbox.write("alone", one("server: https://alone", ""));
    sandbox.write("other", one("server: https://other", ""));
    sandbox.kubeconfig(&["other"]);
    let loaded = sandbox.options().kubeconfig(&alone).load().unwrap();
    assert_eq!(loaded.report().server.value, "https://alone");
    assert_eq!(loaded.report().files.len(), 1);
    assert_eq!(sandbox.options().kubeconfig("").load().unwrap().report().server.value, "https://other");
}

#[test]
fn a_server_without_a_scheme_is_http_and_gets_no_credentials() {
    let sandbox = Sandbox::new();
    for server in ["c.example:8080", "localhost:8080", "http://c.example"] {
        sandbox.write("home/.kube/config", one(&format!("server: '{server}'"), "token: t"));
        let loaded = sandbox.load().unwrap();
        assert_eq!(loaded.config().cluster_url.scheme_str(), Some("http"), "{server}");
        assert!(loaded.report().credentials_withheld);
        assert!(loaded.config().auth_info.token.is_none());
    }
}

#[test]
fn a_path_in_the_servers_address_stays() {
    let sandbox = Sandbox::new();
    sandbox.write("home/.kube/config", one("server: 'https://c.example/k8s/clusters/c-1?x=y'", ""));
    assert_eq!(sandbox.load().unwrap().config().cluster_url, "https://c.example/k8s/clusters/c-1");
}
