//! Every invalid configuration gets an error that names the file and the entry, and contains no secret.

use std::error::Error as _;

use crate::sandbox::{Sandbox, one, text};
use kubeconfig::Error;

/// The message with its causes, as a command prints it.
fn message(error: &Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

#[track_caller]
fn assert_message(error: &Error, parts: &[&str]) {
    let message = message(error);
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
    assert!(!message.contains("localhost:8080") && !message.contains("hunter2"), "{message}");
}

#[test]
fn no_configuration_names_the_files_tried() {
    let mut sandbox = Sandbox::new();
    let error = sandbox.load().unwrap_err();
    assert!(error.is_empty_configuration());
    assert_message(&error, &["no configuration found", &text(&sandbox.path("home/.kube/config"))]);
    sandbox.kubeconfig(&["a", "b"]);
    assert_message(&sandbox.load().unwrap_err(), &[&text(&sandbox.path("a")), &text(&sandbox.path("b"))]);
}

#[test]
fn an_explicit_file_that_is_missing_is_named() {
    let sandbox = Sandbox::new();
    let error = sandbox.options().kubeconfig("missing").load().unwrap_err();
    assert!(!error.is_empty_configuration());
    assert_message(&error, &["cannot read kubeconfig", &text(&sandbox.path("missing")), "No such file"]);
}

#[test]
fn a_folder_in_kubeconfig_is_named() {
    let mut sandbox = Sandbox::new();
    sandbox.write("dir/file", "");
    sandbox.kubeconfig(&["dir"]);
    assert_message(&sandbox.load().unwrap_err(), &[&text(&sandbox.path("dir")), "directory"]);
}

#[test]
fn a_missing_context_is_reported_with_those_that_are_defined() {
    let sandbox = Sandbox::new();
    let file = text(&sandbox.path("home/.kube/config"));
    let contexts = "contexts: [{name: blue, context: {}}, {name: red, context: {}}]\n";
    sandbox.write("home/.kube/config", contexts);
    let error = sandbox.load().unwrap_err();
    assert!(error.is_not_defined() && !error.is_empty_configuration());
    assert_message(&error, &["no context chosen", "current-context", &file, "blue, red"]);
    sandbox.write("home/.kube/config", format!("current-context: green\n{contexts}"));
    assert_message(&sandbox.load().unwrap_err(), &["context \"green\" is not defined", &file, "blue, red"]);
    assert_message(
        &sandbox.options().context("grey").load().unwrap_err(),
        &["context \"grey\" is not defined", "blue, red"],
    );
}

#[test]
fn a_cluster_or_user_that_is_not_defined_is_named() {
    let sandbox = Sandbox::new();
    let file = text(&sandbox.path("home/.kube/config"));
    sandbox.write(
        "home/.kube/config",
        "current-context: a\ncontexts: [{name: a, context: {cluster: gone}}, {name: b, context: {cluster: c, user: lost}}]\n\
         clusters: [{name: c, cluster: {server: 'https://c'}}]\n",
    );
    let error = sandbox.load().unwrap_err();
    assert!(error.is_not_defined());
    assert_message(&error, &["cluster \"gone\"", "context \"a\"", &file, "defined: c"]);
    let error = sandbox.options().context("b").load().unwrap_err();
    assert_message(&error, &["user \"lost\"", "context \"b\"", &file, "no user is defined"]);
}

#[test]
fn a_malformed_file_is_named_with_the_line_or_the_entry() {
    let sandbox = Sandbox::new();
    let file = text(&sandbox.path("home/.kube/config"));
    for (content, parts) in [
        ("users:\n- name: a\n  user: }hunter2\n", vec!["line 3", "not valid YAML"]),
        (
            "users: [{name: me, user: {token: 1234}}]\n",
            vec!["users[0] (\"me\").user.token", "a string", "a number"],
        ),
        ("users: [{name: me, user: hunter2}]\n", vec!["users[0] (\"me\").user", "a map"]),
        ("clusters: hunter2\n", vec!["clusters", "a list"]),
        ("users: [{name: me, user: {client-key-data: 'hunter2!'}}]\n", vec!["client-key-data", "base64"]),
        ("kind: Secret\napiVersion: v1\n", vec!["\"Secret\"", "Config"]),
    ] {
        sandbox.write("home/.kube/config", content);
        let error = sandbox.load().unwrap_err();
        assert_message(&error, &[&[file.as_str(), "malformed"], parts.as_slice()].concat());
        assert!(!message(&error).contains("1234"));
    }
}

#[test]
fn an_entry_that_cannot_be_used_is_named() {
    let sandbox = Sandbox::new();
    let file = text(&sandbox.path("home/.kube/config"));
    let exec = |fields: &str| format!("exec: {{command: x, {fields}}}");
    let v1 = "apiVersion: client.authentication.k8s.io/v1";
    for (cluster, user, parts) in [
        ("", "", vec!["cluster \"cl\"", "no server"]),
        ("server: 'ftp://c'", "", vec!["cluster \"cl\"", "\"ftp\""]),
        ("server: 'a b'", "", vec!["cluster \"cl\"", "neither a URL"]),
        ("server: 'host:1/path'", "", vec!["cluster \"cl\"", "neither a URL"]),
        ("server: 'https://me:hunter2@c'", "", vec!["cluster \"cl\"", "password"]),
        (
            "server: 'https://c', proxy-url: 'ftp://me:hunter2@p'",
            "",
            vec!["cluster \"cl\"", "proxy-url", "\"ftp\""],
        ),
        ("server: 'https://c', proxy-url: 'p:3128'", "", vec!["proxy-url", "unsupported scheme"]),
        (
            "server: 'https://c', certificate-authority: gone",
            "",
            vec!["cluster \"cl\"", "certificate-authority", "/gone", "No such file"],
        ),
        (
            "server: 'https://c', certificate-authority-data: aGVsbG8=",
            "",
            vec!["cluster \"cl\"", "no PEM certificate"],
        ),
        (
            "server: 'https://c', certificate-authority: x, certificate-authority-data: aGVsbG8=",
            "",
            vec!["both set"],
        ),
        ("server: 'https://c'", "token: hunter2, username: me", vec!["user \"me\"", "only one"]),
        ("server: 'https://c'", "tokenFile: gone", vec!["user \"me\"", "tokenFile", "/gone", "No such file"]),
        ("server: 'https://c'", "token: \"hunter2\\n\"", vec!["user \"me\"", "token contains"]),
        (
            "server: 'https://c'",
            "client-certificate: gone, client-key: gone",
            vec!["client-certificate", "/gone"],
        ),
        ("server: 'https://c'", "client-certificate-data: aGVsbG8=", vec!["user \"me\"", "client-key"]),
        ("server: 'https://c'", "as-groups: [a]", vec!["user \"me\"", "without as"]),
        (
            "server: 'https://c'",
            "auth-provider: {name: gcp}",
            vec!["user \"me\"", "auth-provider \"gcp\"", "gke-gcloud-auth-plugin"],
        ),
        (
            "server: 'https://c'",
            "auth-provider: {name: gcp}, exec: {command: x}",
            vec!["auth-provider and exec"],
        ),
        ("server: 'https://c'", "exec: {}", vec!["user \"me\"", "command is not set"]),
        ("server: 'https://c'", &exec("args: []"), vec!["apiVersion is not set"]),
        (
            "server: 'https://c'",
            &exec("apiVersion: client.authentication.k8s.io/v1alpha1"),
            vec!["v1alpha1", "v1beta1"],
        ),
        ("server: 'https://c'", &exec(v1), vec!["interactiveMode is not set"]),
        ("server: 'https://c'", &exec(&format!("{v1}, interactiveMode: Maybe")), vec!["\"Maybe\""]),
        (
            "server: 'https://c'",
            &exec(&format!("{v1}, interactiveMode: Never, env: [{{value: hunter2}}]")),
            vec!["env"],
        ),
    ] {
        sandbox.write("home/.kube/config", one(cluster, user));
        let error = sandbox.load().unwrap_err();
        assert_message(&error, &[&[file.as_str()], parts.as_slice()].concat());
        assert!(!error.is_empty_configuration() && !error.is_not_defined());
    }
}

#[test]
fn a_token_file_without_a_token_is_reported() {
    let sandbox = Sandbox::new();
    sandbox.write("home/.kube/empty", "\n");
    sandbox.write("home/.kube/config", one("server: 'https://c'", "tokenFile: empty"));
    assert_message(&sandbox.load().unwrap_err(), &["user \"me\"", "tokenFile is empty"]);
}

#[test]
fn a_pod_whose_token_is_empty_is_reported() {
    let mut sandbox = Sandbox::new();
    sandbox.pod("10.0.0.1", 443);
    let token = sandbox.write("serviceaccount/token", "");
    assert_message(&sandbox.load().unwrap_err(), &["service account", &text(&token), "empty"]);
}
