//! The report shows how the cluster was chosen, and no secret.

use crate::sandbox::{Sandbox, one, text};

#[test]
fn it_shows_where_each_part_came_from() {
    let mut sandbox = Sandbox::new();
    sandbox.write("a", "current-context: dev\nusers: [{name: me, user: {token: hunter2}}]\n");
    sandbox.write("c", "clusters: [{name: prod, cluster: {server: 'https://prod'}}]\n");
    sandbox.write("b", "contexts: [{name: dev, context: {cluster: prod, user: me, namespace: team}}]\n");
    sandbox.kubeconfig(&["a", "gone", "b", "c"]);
    let report = sandbox.load().unwrap().report().clone();
    let root = text(&sandbox.path(""));
    let shown = report.to_string().replace(&root, "/");
    assert_eq!(
        shown,
        "file       /a\n\
         file       /gone (missing)\n\
         file       /b\n\
         file       /c\n\
         in-cluster no\n\
         context    dev (/a), defined in /b\n\
         cluster    prod (/c)\n\
         server     https://prod (/c)\n\
         user       me (/a)\n\
         auth       token\n\
         namespace  team (/b)\n"
    );
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains(r#""inCluster":false"#) && json.contains(r#""auth":[{"kind":"token"}]"#), "{json}");
    assert!(!json.contains("hunter2"));
}

#[test]
fn it_shows_a_pod() {
    let mut sandbox = Sandbox::new();
    sandbox.pod("10.0.0.1", 443);
    let root = text(&sandbox.path(""));
    assert_eq!(
        sandbox.load().unwrap().report().to_string().replace(&root, "/"),
        "file       /home/.kube/config (missing)\n\
         in-cluster yes\n\
         server     https://10.0.0.1:443 (variable KUBERNETES_SERVICE_HOST)\n\
         auth       token file /serviceaccount/token\n\
         namespace  default (default)\n"
    );
}

#[test]
fn it_shows_unusual_settings() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "home/.kube/config",
        one(
            "server: 'http://c', insecure-skip-tls-verify: true, proxy-url: 'http://me:hunter2@proxy:1'",
            "username: me, password: hunter2, as: boss",
        ),
    );
    let shown = sandbox.options().context("ctx").load().unwrap().report().to_string();
    for line in [
        "context    ctx (given), defined in ",
        "proxy      http://proxy:1 (",
        "tls        the server's certificate is not checked\n",
        "auth       user name and password (withheld: the server is not https)\n",
        "as         boss\n",
    ] {
        assert!(shown.contains(line), "no {line:?} in:\n{shown}");
    }
    assert!(!shown.contains("hunter2"));
}

#[test]
fn debug_output_contains_no_secret() {
    let mut sandbox = Sandbox::new();
    sandbox.set("PASSWORD", "hunter2");
    sandbox.write(
        "home/.kube/config",
        one("server: 'https://c', proxy-url: 'http://me:hunter2@proxy:1'", "token: hunter2"),
    );
    let options = sandbox.options();
    let debug = format!("{options:?} {:?}", options.load().unwrap());
    assert!(!debug.contains("hunter2"), "{debug}");
}
