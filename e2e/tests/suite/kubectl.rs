//! kubectl commands and their output, which must be the same on either server.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Cluster, eventually};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::timeout,
};

use crate::widgets::{GROUP, condition, widgets};

e2e::on_each_cluster! {
    reads [Kubectl], writes [Kubectl], server_side_apply [Kubectl], refusals [Kubectl], diff [Kubectl],
    waits [Kubectl], watch [Kubectl], explain [Kubectl], discovery [Kubectl],
    built_in_kinds [Kubectl],
    protobuf_bodies [Kubectl]
}

const SMALL: &str = "
apiVersion: suite.example.com/v1
kind: Widget
metadata:
  name: one
  labels: {app: x}
spec:
  size: small
";

/// Installs the type, and waits until kubectl finds it, because discovery lags behind the CRD.
async fn ready(cluster: &Cluster) -> Result<()> {
    widgets(cluster).await?;
    eventually(Duration::from_secs(20), || async { cluster.kubectl(&["get", "wd"]).await?.ok() }).await?;
    Ok(())
}

/// Normalizes the lines of a text: single spaces between words, ages as `AGE`, the namespace as `NS`.
fn normal(cluster: &Cluster, text: &str) -> Vec<String> {
    let is_age = |word: &str| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        word.strip_suffix('s').is_some_and(|word| word.split('m').all(digits))
    };
    let word =
        |word: &str| if is_age(word) { "AGE".to_owned() } else { word.replace(cluster.namespace(), "NS") };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect()
}

/// Runs commands, and compares the exit code and the whole output of each, with lines joined by ` | `.
async fn session(cluster: &Cluster, steps: &[(&str, &str, i32, &str)]) -> Result<()> {
    for (input, command, code, expected) in steps {
        let arguments: Vec<&str> = command.split(' ').map(|word| word.trim_matches('\'')).collect();
        let output = cluster.kubectl_reading(input, &arguments).await?;
        let printed = normal(cluster, &format!("{}{}", output.stdout, output.stderr)).join(" | ");
        ensure!(
            output.code == Some(*code) && printed == *expected,
            "kubectl {command}\n expected {code}: {expected}\n got      {:?}: {printed}",
            output.code
        );
    }
    Ok(())
}

async fn reads(cluster: Cluster) -> Result<()> {
    ready(&cluster).await?;
    session(
        &cluster,
        &[
            ("", "get wd", 0, "No resources found in NS namespace."),
            (SMALL, "create -f -", 0, "widget.suite.example.com/one created"),
            ("", "get wd", 0, "NAME SIZE AGE | one small AGE"),
            ("", "get widget.suite.example.com one -o wide", 0, "NAME SIZE REPLICAS AGE | one small 1 AGE"),
            ("", "get widgets.suite.example.com -o name", 0, "widget.suite.example.com/one"),
            ("", "get wd -l app=x --show-labels", 0, "NAME SIZE AGE LABELS | one small AGE app=x"),
            ("", "get wd -l app!=x", 0, "No resources found in NS namespace."),
            ("", "get wd --field-selector spec.size=small -o name", 0, "widget.suite.example.com/one"),
            ("", "get wd --no-headers -o custom-columns=N:.metadata.name,S:.spec.size", 0, "one small"),
            ("", "get wd one -o jsonpath={.spec}", 0, "{\"replicas\":1,\"size\":\"small\"}"),
            ("", "get wd --chunk-size=1", 0, "NAME SIZE AGE | one small AGE"),
            (
                "",
                "get wd nothing",
                1,
                "Error from server (NotFound): widgets.suite.example.com \"nothing\" not found",
            ),
            ("", "get nothing", 1, "error: the server doesn't have a resource type \"nothing\""),
        ],
    )
    .await
}

async fn writes(cluster: Cluster) -> Result<()> {
    ready(&cluster).await?;
    let large = SMALL.replace("small", "large");
    let one = "widget.suite.example.com/one";
    session(
        &cluster,
        &[
            (SMALL, "apply -f -", 0, &format!("{one} created")),
            (SMALL, "apply -f -", 0, &format!("{one} unchanged")),
            (&large, "apply -f -", 0, &format!("{one} configured")),
            ("", "label wd one tier=1", 0, &format!("{one} labeled")),
            ("", "annotate wd one note=hello", 0, &format!("{one} annotated")),
            ("", "patch wd one --type merge -p {\"spec\":{\"replicas\":3}}", 0, &format!("{one} patched")),
            ("", "patch wd one --type merge -p {\"spec\":{\"replicas\":3}}", 0, &format!("{one} patched (no change)")),
            (
                "",
                "patch wd one --type json -p [{\"op\":\"replace\",\"path\":\"/spec/size\",\"value\":\"tiny\"}]",
                0,
                &format!("{one} patched"),
            ),
            ("", "scale wd one --replicas=2", 0, &format!("{one} scaled")),
            ("", "get wd one -o wide", 0, "NAME SIZE REPLICAS AGE | one tiny 2 AGE"),
            (SMALL, "create -f -", 1, &format!("Error from server (AlreadyExists): error when creating \"STDIN\": widgets.{GROUP} \"one\" already exists")),
            (&large, "replace -f -", 0, &format!("{one} replaced")),
            ("", "delete wd one --dry-run=server", 0, "widget.suite.example.com \"one\" deleted from NS namespace (server dry run)"),
            ("", "delete wd one", 0, "widget.suite.example.com \"one\" deleted from NS namespace"),
            ("", "delete wd one --ignore-not-found", 0, ""),
            ("", "delete wd one", 1, &format!("Error from server (NotFound): widgets.{GROUP} \"one\" not found")),
        ],
    )
    .await
}

async fn server_side_apply(cluster: Cluster) -> Result<()> {
    ready(&cluster).await?;
    let large = SMALL.replace("small", "large");
    let applied = "widget.suite.example.com/one serverside-applied";
    session(
        &cluster,
        &[
            (SMALL, "apply --server-side --field-manager=ann -f -", 0, applied),
            (SMALL, "apply --server-side --field-manager=ann -f -", 0, applied),
        ],
    )
    .await?;
    let refused = cluster
        .kubectl_reading(&large, &["apply", "--server-side", "--field-manager=bob", "-f", "-"])
        .await?;
    ensure!(
        refused.code == Some(1)
            && refused.stderr.starts_with(
                "error: Apply failed with 1 conflict: conflict with \"ann\": .spec.size\nPlease review the fields above"
            ),
        "{refused:?}"
    );
    session(
        &cluster,
        &[(&large, "apply --server-side --field-manager=bob --force-conflicts -f -", 0, applied)],
    )
    .await
}

async fn refusals(cluster: Cluster) -> Result<()> {
    ready(&cluster).await?;
    session(
        &cluster,
        &[
            (
                &SMALL.replace("small", "UPPER"),
                "create -f -",
                1,
                "The Widget \"one\" is invalid: spec.size: Invalid value: \"UPPER\": spec.size in body should match '^[a-z]+$'",
            ),
            (
                &format!("{SMALL}  nope: 1\n"),
                "create -f -",
                1,
                "Error from server (BadRequest): error when creating \"STDIN\": Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.nope\"",
            ),
            (
                &format!("{SMALL}  nope: 1\n"),
                "create --validate=warn -f -",
                0,
                "widget.suite.example.com/one created | Warning: unknown field \"spec.nope\"",
            ),
            (
                "apiVersion: example.com/v1\nkind: Nothing\nmetadata: {name: one}\n",
                "create -f -",
                1,
                "error: resource mapping not found for name: \"one\" namespace: \"\" from \"STDIN\": no matches for kind \"Nothing\" in version \"example.com/v1\" | ensure CRDs are installed first",
            ),
            (
                "",
                "patch wd one -p {}",
                1,
                "error: application/strategic-merge-patch+json is not supported by suite.example.com/v1, Kind=Widget: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            ),
            (
                "",
                "get wd --context nobody",
                1,
                "Error from server (Forbidden): widgets.suite.example.com is forbidden: User \"nobody\" cannot list resource \"widgets\" in API group \"suite.example.com\" in the namespace \"NS\"",
            ),
        ],
    )
    .await
}

async fn diff(cluster: Cluster) -> Result<()> {
    ready(&cluster).await?;
    cluster.kubectl_reading(SMALL, &["apply", "-f", "-"]).await?.ok()?;
    let same = cluster.kubectl_reading(SMALL, &["diff", "-f", "-"]).await?;
    ensure!(same.code == Some(0) && same.stdout.is_empty(), "{same:?}");
    let other = cluster.kubectl_reading(&SMALL.replace("small", "large"), &["diff", "-f", "-"]).await?;
    let changed =
        |line: &&str| line.starts_with(['-', '+']) && !line.starts_with("---") && !line.starts_with("+++");
    let lines: Vec<&str> = other.stdout.lines().filter(changed).collect();
    assert_eq!(lines, ["-  generation: 1", "+  generation: 2", "-  size: small", "+  size: large"]);
    assert_eq!(other.code, Some(1));
    Ok(())
}

async fn waits(cluster: Cluster) -> Result<()> {
    ready(&cluster).await?;
    let met = "widget.suite.example.com/one condition met";
    session(
        &cluster,
        &[
            (
                "",
                "wait crd/widgets.suite.example.com --for=condition=Established --timeout=10s",
                0,
                "customresourcedefinition.apiextensions.k8s.io/widgets.suite.example.com condition met",
            ),
            (SMALL, "create -f -", 0, "widget.suite.example.com/one created"),
            ("", "wait wd/one --for=jsonpath={.spec.size}=small --timeout=10s", 0, met),
            (
                "",
                "wait wd/one --for=jsonpath={.status.phase}=Ready --timeout=1s",
                1,
                "error: timed out waiting for the condition on widgets/one",
            ),
        ],
    )
    .await?;
    let patch = [
        "patch",
        "wd",
        "one",
        "--subresource=status",
        "--type=merge",
        "-p",
        "{\"status\":{\"phase\":\"Ready\"}}",
    ];
    let wait = ["wait", "wd/one", "--for=jsonpath={.status.phase}=Ready", "--timeout=30s"];
    let (patched, waited) = tokio::join!(cluster.kubectl(&patch), cluster.kubectl(&wait));
    patched?.ok()?;
    assert_eq!(normal(&cluster, &waited?.ok()?), [met]);
    let wait = ["wait", "wd/one", "--for=delete", "--timeout=30s"];
    let (deleted, waited) = tokio::join!(cluster.kubectl(&["delete", "wd", "one"]), cluster.kubectl(&wait));
    deleted?.ok()?;
    waited?.ok()?;
    Ok(())
}

async fn watch(cluster: Cluster) -> Result<()> {
    ready(&cluster).await?;
    cluster.kubectl_reading(SMALL, &["create", "-f", "-"]).await?.ok()?;
    let mut watching = cluster.kubectl_in_background(&["get", "wd", "--watch", "--output-watch-events"])?;
    let mut lines = BufReader::new(watching.stdout.take().context("stdout")?).lines();
    let mut expect = async |expected: &str| {
        let line =
            timeout(Duration::from_secs(20), lines.next_line()).await.context(expected.to_owned())??;
        let line = normal(&cluster, &line.context("it ended")?).join("");
        ensure!(line == expected, "{line}, not {expected}");
        Ok(())
    };
    expect("EVENT NAME SIZE AGE").await?;
    expect("ADDED one small AGE").await?;
    let patch = ["patch", "wd", "one", "--type=merge", "-p", "{\"spec\":{\"size\":\"large\"}}"];
    cluster.kubectl(&patch).await?.ok()?;
    expect("MODIFIED one large AGE").await?;
    cluster.kubectl_reading(&SMALL.replace("name: one", "name: two"), &["create", "-f", "-"]).await?.ok()?;
    expect("ADDED two small AGE").await?;
    cluster.kubectl(&["delete", "wd", "one"]).await?.ok()?;
    expect("DELETED one large AGE").await
}

async fn explain(cluster: Cluster) -> Result<()> {
    ready(&cluster).await?;
    // A real server builds the OpenAPI documents in the background.
    eventually(Duration::from_secs(30), || async {
        cluster.kubectl(&["explain", "wd.spec.size"]).await?.ok()
    })
    .await?;
    session(
        &cluster,
        &[
            (
                "",
                "explain wd.spec.mode",
                0,
                "GROUP: suite.example.com | KIND: Widget | VERSION: v1 |  | FIELD: mode <string> | ENUM: | fast | slow |  | DESCRIPTION: | <empty> | ",
            ),
            (
                "",
                "explain wd.status",
                0,
                "GROUP: suite.example.com | KIND: Widget | VERSION: v1 |  | FIELD: status <Object> |  |  | DESCRIPTION: | <empty> | FIELDS: | phase <string> | <no description> |  | replicas <integer> | <no description> |  | ",
            ),
        ],
    )
    .await
}

async fn discovery(cluster: Cluster) -> Result<()> {
    ready(&cluster).await?;
    session(
        &cluster,
        &[(
            "",
            "api-resources --api-group=suite.example.com",
            0,
            "NAME SHORTNAMES APIVERSION NAMESPACED KIND | widgets wd suite.example.com/v1 true Widget",
        )],
    )
    .await?;
    let versions = cluster.kubectl(&["api-versions"]).await?.ok()?;
    for version in ["v1", "apps/v1", "apiextensions.k8s.io/v1", "suite.example.com/v1"] {
        ensure!(versions.lines().any(|line| line == version), "{version} is not in {versions}");
    }
    let crd = cluster.kubectl(&["get", "crd", "widgets.suite.example.com", "-o", "json"]).await?.ok()?;
    ensure!(condition(&serde_json::from_str(&crd)?, "Established") == "True", "{crd}");
    Ok(())
}

const MAP: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}}";
const SECRET: &str = "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: b}}";

async fn built_in_kinds(cluster: Cluster) -> Result<()> {
    session(
        &cluster,
        &[
            (MAP, "create -f -", 0, "configmap/c created"),
            ("", "get cm c", 0, "NAME DATA AGE | c 1 AGE"),
            ("", "patch cm c -p {\"data\":{\"d\":\"e\"}}", 0, "configmap/c patched"),
            ("", "get cm c -o jsonpath={.data}", 0, "{\"a\":\"b\",\"d\":\"e\"}"),
            (SECRET, "create -f -", 0, "secret/s created"),
            ("", "get secret s", 0, "NAME TYPE DATA AGE | s Opaque 1 AGE"),
            (
                "",
                "delete cm/c secret/s",
                0,
                "configmap \"c\" deleted from NS namespace | secret \"s\" deleted from NS namespace",
            ),
        ],
    )
    .await
}

/// Commands that send built-in kinds through client-go's typed clients.
async fn protobuf_bodies(cluster: Cluster) -> Result<()> {
    session(
        &cluster,
        &[
            ("", "create configmap c --from-literal=a=b", 0, "configmap/c created"),
            ("", "create secret generic s --from-literal=a=b", 0, "secret/s created"),
            ("", "auth can-i list configmaps", 0, "yes"),
            ("", "auth can-i list configmaps --context nobody", 1, "no"),
        ],
    )
    .await
}
