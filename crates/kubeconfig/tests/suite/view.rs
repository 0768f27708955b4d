//! The merged files are the same as kubectl's, for a table of odd cases.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

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
    one("an empty first document", "---\n---\ncurrent-context: b\n"),
    one("a broken second document", "current-context: a\n---\n}{:\n"),
    one("an end of the first document", "current-context: a\n...\n]\n"),
    one("NEL, LS and PS", "current-context: a\u{85}preferences:\u{2028}  colors: true\u{2029}"),
    one("CR and CR LF", "current-context: a\rpreferences:\r\n  colors: true"),
    one("a timestamp", "current-context: !!timestamp 2020-1-2T3:4:5Z\n"),
    one("a timestamp without a tag", "current-context: 2020-01-02\n"),
    one("a string that looks like a number", "current-context: !!str 12\n"),
    one("binary", "current-context: !!binary aGVsbG8=\n"),
    one("a tag that nobody defines", "current-context: !mine a\n"),
    one("YAML 1.1", "%YAML 1.1\n---\ncurrent-context: a\n"),
    one(
        "merge keys after the key",
        "x: &x {server: b}\nclusters: [{name: c, cluster: {server: a, <<: *x}}]\n",
    ),
    one(
        "a list of merge keys",
        "x: &x {server: x}\ny: &y {server: y, tls-server-name: y}\nclusters: [{name: c, cluster: {<<: [*x, *y]}}]\n",
    ),
    one("a merge key in quotes", "extensions: [{name: e, extension: {'<<': {a: 1}, !!merge <<: {b: 1}}}]\n"),
    one("a block scalar without a line end", "users:\n- name: u\n  user:\n    token: |\n      a"),
    one("a folded scalar", "users:\n- name: u\n  user:\n    token: >-\n      a\n      b\n\n"),
    one(
        "numbers",
        concat!(
            "extensions: [{name: e, extension: [0, -0, 08, 017, 0o17, 0x1F, 0b11, 1_000, 1__0, 1e3, 1.0, .5, -.5, 1., 1.5e-7,",
            " 1e21, 1844674407370955161.015, 9223372036854775807, 18446744073709551615, -9223372036854775808, +1, 1:30, 1.2.3,",
            " !!float 1, !!int '1', !!bool 'on', !!null '', y, N, ~]}]\n"
        ),
    ),
    one("keys that are not strings", "extensions: [{name: e, extension: {1: a, 1.5: b, on: c, 0x10: d}}]\n"),
    one("escapes", r#"{"current-context": "\x41\u00e9\U0001F600\t\e\0\_\N"}"#),
    one("a comma after an exclamation mark", "current-context: a !b,c\nx: '!d,e'\n# !f,g\n"),
    // kubectl refuses everything from here on.
    one("null that is something", "current-context: !!null abc\n"),
    one("a timestamp that is none", "current-context: !!timestamp abc\n"),
    one("a number with underscores", "current-context: 1__0\n"),
    one("infinity", "extensions: [{name: e, extension: .inf}]\n"),
    one("YAML 1.2", "%YAML 1.2\n---\ncurrent-context: a\n"),
    one("an escaped slash", r#"{"clusters": [{"name": "c", "cluster": {"server": "https:\/\/c"}}]}"#),
    one("a surrogate pair", r#"{"current-context": "\ud83d\ude00"}"#),
    one("a tab on a blank line", "current-context: a\n\t\npreferences: {}\n"),
    one("a question mark in braces", "clusters: [{name: c, cluster: {server: https://c/?a=b}}]\n"),
    one("an alias of nothing", "current-context: *a\n"),
    one("an anchor that contains itself", "x: &x [*x]\n"),
    one("a merge key with a string", "x: {<<: a}\n"),
    one("a list as a key", "? [a]\n: b\n"),
    one("a tag with a comma", "x: [!!str,a]\n"),
    one("a control character", "current-context: a\u{1}\n"),
    one("an escape at the end", "current-context: \"\\"),
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

/// Writes a file as an editor does that does not use UTF-8.
fn encoded(text: &str, mark: &[u8], unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    mark.iter().copied().chain(text.encode_utf16().flat_map(unit)).collect()
}

/// Compares one sandbox. `None` if a side refuses it.
fn views(kubectl: &PathBuf, sandbox: &Sandbox) -> (Option<Value>, Option<Value>, String) {
    let output = Command::new(kubectl)
        .args(["config", "view", "--merge", "--flatten", "--raw", "-o", "json"])
        .env_clear()
        .envs(sandbox.variables().iter().map(|(name, value)| (name, value)))
        .current_dir(sandbox.path(""))
        .output()
        .unwrap();
    let theirs = output.status.success().then(|| {
        let mut view: Value = serde_json::from_slice(&output.stdout).unwrap();
        // Older kubectls print it even if it is empty.
        if view["preferences"] == json!({}) {
            view.as_object_mut().unwrap().remove("preferences");
        }
        view
    });
    (sandbox.options().view().ok(), theirs, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn difference(name: &str, kubectl: &PathBuf, sandbox: &Sandbox) -> Option<String> {
    let (ours, theirs, said) = views(kubectl, sandbox);
    let text = |view: &Option<Value>| view.as_ref().map_or("refused".to_owned(), ToString::to_string);
    (ours != theirs).then(|| format!("{name}:\n  ours   {}\n  theirs {} {said}", text(&ours), text(&theirs)))
}

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
        differing.extend(difference(case.name, &kubectl, &sandbox));
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn encodings_and_sizes_are_the_same_as_kubectls() {
    let Some(kubectl) = kubectl() else {
        println!("skipped: no kubectl on PATH to compare with");
        return;
    };
    let text = "current-context: \u{e9}\u{1f600}\r\nusers: [{name: u, user: {token: t}}]\r\n";
    let mut half = encoded(text, b"\xff\xfe", u16::to_le_bytes);
    half.push(b'a');
    let nested =
        |depth| format!("extensions: [{{name: e, extension: {}{}}}]", "[".repeat(depth), "]".repeat(depth));
    let bomb = |levels: usize| {
        let level = |n: usize| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
        format!("a0: &a0 [x, x, x, x, x]\n{}", (1..levels).map(level).collect::<String>())
    };
    let files: [(&str, Vec<u8>); 13] = [
        ("UTF-16, little endian", encoded(text, b"\xff\xfe", u16::to_le_bytes)),
        ("UTF-16, big endian", encoded(text, b"\xfe\xff", u16::to_be_bytes)),
        ("UTF-8 with a mark", [b"\xef\xbb\xbf", text.as_bytes()].concat()),
        ("UTF-16 without a mark", encoded(text, b"", u16::to_le_bytes)),
        ("half a unit", half),
        ("half a pair", encoded("a: ", b"\xff\xfe\x3d\xd8", u16::to_le_bytes)),
        ("only a mark", b"\xff\xfe".to_vec()),
        ("Latin-1", b"current-context: \xe9\n".to_vec()),
        ("nested 90 times", nested(90).into_bytes()),
        ("nested 110 times", nested(110).into_bytes()),
        ("nested 20,000 times", nested(20_000).into_bytes()),
        ("aliases", bomb(4).into_bytes()),
        ("a bomb of aliases", bomb(9).into_bytes()),
    ];
    let mut differing = Vec::new();
    for (name, content) in files {
        let sandbox = Sandbox::new();
        sandbox.write("home/.kube/config", content);
        differing.extend(difference(name, &kubectl, &sandbox));
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// The first file wins, as in the merged files, and nothing that an entry refers to is read or checked.
#[test]
fn the_entries_of_all_files_are_listed_by_name_and_without_secrets() {
    let mut sandbox = Sandbox::new();
    sandbox.write(
        "a",
        concat!(
            "current-context: two\n",
            "contexts: [{name: two, context: {cluster: nowhere}}, {name: one, context: {cluster: c, user: u, namespace: n1}}]\n",
            "users: [{name: u, user: {token: hunter2, client-key: missing}}]\n",
        ),
    );
    sandbox.write(
        "b",
        concat!(
            "current-context: one\n",
            "contexts: [{name: two, context: {cluster: hidden}}]\n",
            "clusters: [{name: c, cluster: {server: 'https://c', certificate-authority: missing}}]\n",
        ),
    );
    sandbox.kubeconfig(&["a", "missing", "b"]);
    let entries = serde_json::to_value(sandbox.options().entries().unwrap()).unwrap();
    let want = serde_json::json!({
        "currentContext": "two",
        "contexts": [
            {"name": "one", "cluster": "c", "user": "u", "namespace": "n1", "current": false},
            {"name": "two", "cluster": "nowhere", "user": "", "namespace": "", "current": true},
        ],
        "clusters": ["c"],
        "users": ["u"],
    });
    assert_eq!(entries, want);

    sandbox.kubeconfig(&["missing"]);
    let entries = sandbox.options().entries().unwrap();
    assert!(entries.contexts.is_empty() && entries.current_context.is_none());
}

pub(crate) fn kubectl() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|file| file.is_file())
}
