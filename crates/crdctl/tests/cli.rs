//! Tests that need no cluster. Everything else about the program is tested in `e2e/tests/suite`, on real clusters. This
//! file also makes `cargo test --workspace` build the program that those tests run.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::{Value, json};

fn crdctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crdctl")).args(arguments).output().expect("crdctl runs")
}

#[test]
fn its_help_goes_to_stdout_and_names_every_command() {
    let output = crdctl(&["--help"]);
    let help = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let lists = |command: &str| help.lines().any(|line| line.trim_start().starts_with(command));
    for command in ["watch", "crd", "config", "version", "completion", "help"] {
        assert!(lists(command), "{command} in {help}");
    }
    for command in ["demo", "serve"] {
        assert_eq!(lists(command), cfg!(feature = "server"), "{command} in {help}");
    }
}

#[test]
fn wrong_usage_is_reported_on_stderr_with_code_2() {
    let output = crdctl(&["watch", "--no-such-option"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(said.contains("--no-such-option"), "{said}");
}

/// Runs it with two kubeconfig files, of which the first has precedence, and one that does not exist.
fn with_files(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let one = write(
        "one",
        concat!(
            "current-context: prod\n",
            "contexts: [{name: prod, context: {cluster: c, user: u, namespace: web}}]\n",
            "clusters: [{name: c, cluster: {server: 'https://prod.example'}}]\n",
            "users: [{name: u, user: {token: hunter2}}]\n",
        ),
    );
    let two = write("two", "contexts: [{name: dev, context: {cluster: nowhere, user: nobody}}]\n");
    let list = std::env::join_paths([&one, &folder.path().join("missing"), &two]).expect("a list");
    let mut command = Command::new(env!("CARGO_BIN_EXE_crdctl"));
    command.args(arguments).env("KUBECONFIG", list).env("NAMESPACE", "from-variable");
    let output = command.output().expect("crdctl runs");
    let all = [output.stdout.clone(), output.stderr.clone()].concat();
    assert!(!String::from_utf8_lossy(&all).contains("hunter2"), "a secret was printed: {output:?}");
    output
}

#[test]
fn the_configuration_is_printed_as_data() {
    for format in ["json", "yaml"] {
        let output = with_files(&["config", "-o", format]);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
        let report: Value = serde_saphyr::from_slice(&output.stdout).expect("data");
        assert_eq!(report["server"]["value"], "https://prod.example");
        assert_eq!(report["context"]["value"], "prod");
        assert_eq!(report["files"][1]["found"], false);
        assert_eq!(report["auth"], json!([{"kind": "token"}]));
        // The report has the context's namespace, which the variable overrides in other commands.
        assert_eq!(report["namespace"]["value"], "web");
        let origin = json!({"kind": "variable", "value": "NAMESPACE"});
        assert_eq!(report["defaultNamespace"], json!({"value": "from-variable", "origin": origin}));
    }
}

#[test]
fn contexts_are_listed_as_kubectl_lists_them() {
    let printed = |arguments: &[&str]| {
        let output = with_files(&[&["config", "get-contexts"], arguments].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let all = concat!(
        "CURRENT   NAME   CLUSTER   AUTHINFO   NAMESPACE\n",
        "          dev    nowhere   nobody     \n",
        "*         prod   c         u          web\n",
    );
    assert_eq!(printed(&[]), (Some(0), all.into(), String::new()));
    assert_eq!(printed(&["-o", "name"]), (Some(0), "dev\nprod\n".into(), String::new()));
    // Narrow columns are six characters wide, too.
    let one = "*     prod   c     u     web\n";
    assert_eq!(printed(&["--no-headers", "prod"]), (Some(0), one.into(), String::new()));
    let (code, found, problem) = printed(&["--no-headers", "prod", "nope"]);
    assert_eq!((code, &*found, &*problem), (Some(1), one, "error: context nope not found\n"));

    let (_, listed, _) = printed(&["-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(
        listed[1],
        json!({"name": "prod", "cluster": "c", "user": "u", "namespace": "web", "current": true})
    );
    assert_eq!(with_files(&["config", "current-context"]).stdout, b"prod\n");
    let unset = crdctl(&["config", "current-context", "--kubeconfig", "/dev/null"]);
    assert_eq!((unset.status.code(), &*unset.stderr), (Some(1), &b"error: current-context is not set\n"[..]));
}

#[test]
fn the_version_is_printed_even_if_there_is_no_server() {
    let version = concat!("Client Version: v", env!("CARGO_PKG_VERSION"), "\n");
    let client = crdctl(&["version", "--client"]);
    assert_eq!((client.status.code(), &*client.stdout), (Some(0), version.as_bytes()));
    let data: Value =
        serde_json::from_slice(&crdctl(&["version", "--client", "-o", "json"]).stdout).expect("JSON");
    assert_eq!(data["clientVersion"]["gitVersion"], concat!("v", env!("CARGO_PKG_VERSION")));
    assert_eq!(data.get("serverVersion"), None);

    let nowhere = crdctl(&["version", "--kubeconfig", "/no/such/file"]);
    assert_eq!((nowhere.status.code(), &*nowhere.stdout), (Some(1), version.as_bytes()));
    let said = String::from_utf8_lossy(&nowhere.stderr);
    assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_plugin_of_kubectl_calls_itself_as_the_user_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = folder.path().join("kubectl-crd");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_crdctl"), &plugin).expect("a link");
    let said = |arguments: &[&str]| {
        let output = Command::new(&plugin).args(arguments).output().expect("crdctl runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert!(
        said(&["watch", "--help"]).contains("Usage: kubectl crd watch [OPTIONS]"),
        "{}",
        said(&["watch", "--help"])
    );
    for help in [&["--help"][..], &["help", "crd", "install"], &["completion", "-h"]] {
        let text = said(help);
        assert!(text.contains("\n  kubectl crd ") || text.contains("(kubectl crd "), "{text}");
        assert!(!text.contains("crdctl "), "{text}");
    }
    assert!(said(&["watch", "--nope"]).ends_with("see `kubectl crd --help`\n"));
    let problem = said(&["crd", "print", "--context", "x"]);
    assert!(problem.starts_with("error: `kubectl crd crd print` does not use --context"), "{problem}");
}

#[test]
fn a_manual_needs_an_existing_folder() {
    let output = crdctl(&["manual", "/no/such/folder"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(said.contains("/no/such/folder") && said.lines().count() == 1, "{said}");
}

/// A pipe stands for a file that cannot be read yet, as in a home folder that hangs.
#[test]
fn a_signal_ends_a_command_that_waits_for_its_kubeconfig() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("kubeconfig");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    for command in [&["version"][..], &["blame", "pod/a"], &["crd", "check"], &["watch", "pods"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_crdctl"))
            .args(command)
            .arg("--kubeconfig")
            .arg(&pipe)
            .spawn()
            .expect("crdctl runs");
        // Returns once crdctl has opened it, too.
        let writer = fs::File::options().write(true).open(&pipe).expect("the pipe opens");
        // Not SIGINT, which a shell that runs the tests in the background has set to be ignored.
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        assert!(!child.wait().expect("crdctl ends").success(), "{command:?}");
        drop(writer);
    }
}

#[cfg(feature = "server")]
#[test]
fn definitions_in_files_are_judged_without_a_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let definition = |name: &str, rule: &str| {
        format!(
            "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {name}.example.com}}\n\
             spec: {{group: example.com, scope: Cluster, names: {{plural: {name}, kind: {name}}}, versions: [{{name: v1, served: true, \
             storage: true, schema: {{openAPIV3Schema: {{type: object, properties: {{n: {{type: integer}}}}, \
             x-kubernetes-validations: [{{rule: {rule:?}}}]}}}}}}]}}\n"
        )
    };
    let good = folder.path().join("good.yaml");
    fs::write(&good, definition("goods", "!has(self.n) || self.n > 0")).expect("a file");
    let good = good.display().to_string();
    let output = crdctl(&["crd", "validate", &good]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "goods.example.com: valid\n");
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let bad = folder.path().join("bad.yaml");
    fs::write(&bad, definition("others", "self.n > 0") + &definition("bads", "self.n > 'a'"))
        .expect("a file");
    let output = crdctl(&["crd", "validate", &good, &bad.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(said.contains("\n     | self.n > 'a'\n     | .......^"), "{said}");
    assert!(
        lines[2].starts_with(
            "bads.example.com: spec.validation.openAPIV3Schema.x-kubernetes-validations[0].rule: "
        ),
        "{said}"
    );
    assert!(lines[2].contains("found no matching overload for '_>_' applied to '(int, string)'"), "{said}");
    assert_eq!(output.status.code(), Some(1));

    let output = crdctl(&["crd", "validate", &folder.path().join("none").display().to_string()]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
}
