//! The merged files are the same as kubectl's, for a table of odd cases.

use std::path::PathBuf;
use std::process::Command;

use crate::sandbox::Sandbox;

/// The content of the files `a` and `b`, if they exist.
struct Case {
    name: &'static str,
    a: Option<&'static str>,
    b: Option<&'static str>,
}

const fn one(name: &'static str, a: &'static str) -> Case {
    Case { name, a: Some(a), b: None }
}

const fn two(name: &'static str, a: &'static str, b: &'static str) -> Case {
    Case { name, a: Some(a), b: Some(b) }
}

const CASES: &[Case] = &[
    Case { name: "no file at all", a: None, b: None },
    one("empty file", ""),
    one("only a comment", "# nothing\n"),
    one("only a document start", "---\n"),
    one("json", r#"{"current-context": "a", "clusters": null}"#),
    one("byte order mark", "\u{feff}current-context: a\n"),
    one("two documents", "current-context: a\n---\ncurrent-context: b\n"),
    one("a key that is there twice", "current-context: a\ncurrent-context: b\n"),
    one("keys in other cases", "current-context: a\nCurrent-Context: b\nClusters: 1\n"),
    one("unknown fields", "hello: world\nclusters: [{name: c, cluster: {server: s, more: 1}, more: 2}]\n"),
    one("nulls", "clusters: [{name: c, cluster: null}, {name: d}, {cluster: {server: s}}]\nusers: null\n"),
    one("anchors", "x: &x {server: s}\nclusters: [{name: c, cluster: {<<: *x, tls-server-name: t}}]\n"),
    one(
        "booleans of YAML 1.1",
        "clusters: [{name: c, cluster: {insecure-skip-tls-verify: yes, disable-compression: On}}]\n",
    ),
    one("strings like booleans", "contexts: [{name: 'on', context: {cluster: \"yes\", user: 'null'}}]\n"),
    one(
        "preferences",
        "preferences: {colors: true, extensions: [{name: e, extension: {a: [1, null, x]}}]}\n",
    ),
    one(
        "every field of a user",
        concat!(
            "users: [{name: u, user: {client-certificate: a, client-key: b, token: t, tokenFile: f, as: me, as-uid: '7',",
            " as-groups: [g, h], as-user-extra: {k: [v, w]}, username: n, password: p,",
            " auth-provider: {name: gcp, config: {k: v}}, extensions: [{name: e, extension: 1}]}}]\n"
        ),
    ),
    one(
        "exec",
        concat!(
            "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: bin/x, args: [a, ''],",
            " env: [{name: N, value: V}], installHint: 'get it', provideClusterInfo: true, interactiveMode: Never}}},",
            " {name: v, user: {exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: x, args: []}}},",
            " {name: w, user: {exec: {}}}]\n"
        ),
    ),
    one("empty auth-provider", "users: [{name: u, user: {auth-provider: {name: gcp}}}]\n"),
    one("empty lists", "clusters: []\nusers: []\nextensions: []\npreferences: {}\n"),
    one("base64 with line ends", "users: [{name: u, user: {client-certificate-data: \"aGVs\\nbG8=\"}}]\n"),
    one(
        "relative paths",
        "users: [{name: u, user: {tokenFile: sub/../token}}]\nclusters: [{name: c, cluster: {certificate-authority: ca}}]\n",
    ),
    one("extension null", "extensions: [{name: e, extension: null}, {name: f}, {name: e, extension: 1}]\n"),
    two("first current-context", "current-context: ''\n", "current-context: b\n"),
    two(
        "first wins by name",
        "clusters: [{name: c, cluster: {server: a}}]\n",
        "clusters: [{name: c, cluster: {server: b, tls-server-name: b}}, {name: d, cluster: {server: d}}]\n",
    ),
    two(
        "extensions by name",
        "extensions: [{name: first, extension: 1}, {name: both, extension: {a: 1}}]\n",
        "extensions: [{name: both, extension: {b: 1}}, {name: second, extension: 2}]\n",
    ),
    two(
        "preferences of both",
        "preferences: {extensions: [{name: first, extension: 1}]}\n",
        "preferences: {colors: true}\n",
    ),
    Case { name: "first file missing", a: None, b: Some("current-context: b\n") },
    // kubectl refuses everything from here on.
    one("number for a string", "users: [{name: u, user: {token: 123}}]\n"),
    one("boolean for a string", "contexts: [{name: c, context: {user: on}}]\n"),
    one("number for a name", "users: [{name: 12}]\n"),
    one("name that is there twice", "contexts: [{name: c}, {name: c}]\n"),
    one("extension that is there twice", "extensions: [{name: e, extension: 1}, {name: e, extension: 1}]\n"),
    one("map for a list", "users: {}\n"),
    one("string for a map", "users: [u]\n"),
    one("list", "[]\n"),
    one("scalar", "hello\n"),
    one("broken yaml", "users: [\n"),
    one("tab", "users:\n\t- u\n"),
    one("other kind", "apiVersion: v1\nkind: Pod\n"),
    one("other version", "apiVersion: v2\nkind: Config\n"),
    one("broken base64", "users: [{name: u, user: {client-key-data: '!'}}]\n"),
    one("base64 without padding", "users: [{name: u, user: {client-key-data: aGVsbG8}}]\n"),
    one("certificate that is not there", "users: [{name: u, user: {client-certificate: missing}}]\n"),
    one(
        "certificate twice",
        "users: [{name: u, user: {client-certificate: a, client-certificate-data: aGVsbG8=}}]\n",
    ),
    two("second file broken", "current-context: a\n", "users: [\n"),
];

#[test]
fn the_merged_files_are_the_same_as_kubectls() {
    let Some(kubectl) = kubectl() else {
        println!("skipped: no kubectl on PATH to compare with");
        return;
    };
    let mut differing = Vec::new();
    for case in CASES {
        let mut sandbox = Sandbox::new();
        for (name, content) in [("dir-a/config", case.a), ("dir-b/config", case.b)] {
            if let Some(content) = content {
                sandbox.write(name, content);
            }
        }
        for name in ["dir-a/a", "dir-a/b", "dir-a/ca"] {
            sandbox.write(name, name);
        }
        sandbox.kubeconfig(&["dir-a/config", "dir-b/config"]);
        let output = Command::new(&kubectl)
            .args(["config", "view", "--merge", "--flatten", "--raw", "-o", "json"])
            .env_clear()
            .envs(sandbox.variables().iter().map(|(name, value)| (name, value)))
            .current_dir(sandbox.path(""))
            .output()
            .unwrap();
        let theirs = output.status.success().then(|| {
            let mut view: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            // Older kubectls print it even if it is empty.
            //
            if view["preferences"] == serde_json::json!({}) {
                view.as_object_mut().unwrap().remove("preferences");
            }
            view
        });
        let ours: Option<serde_json::Value> = sandbox.options().view().ok();
        if ours != theirs {
            let text = |view: &Option<serde_json::Value>| {
                view.as_ref().map_or("refused".to_owned(), ToString::to_string)
            };
            let said = String::from_utf8_lossy(&output.stderr);
            differing.push(format!(
                "{}:\n  ours   {}\n  theirs {} {said}",
                case.name,
                text(&ours),
                text(&theirs)
            ));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

pub(crate) fn kubectl() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|file| file.is_file())
}
