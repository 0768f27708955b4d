//! Whatever a client sends, it gets a response, and the server keeps running.

use std::sync::LazyLock;

use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use kube_embedded::Server;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::support::DEADLINE;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Valid bodies to damage: input that is wrong by a few bytes finds more bugs than noise does.
const TEXTS: &[&str] = &[
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m","labels":{"a":"b"}},"data":{"x":"y"}}"#,
    "apiVersion: v1\nkind: ConfigMap\nmetadata: &m\n  name: m\n  labels: {a: b}\ndata: {x: 'y'}\n",
    r#"[{"op":"add","path":"/data/x","value":1},{"op":"copy","from":"/metadata","path":"/data/y"},{"op":"test","path":"/","value":{}}]"#,
    r#"{"data":{"x":null},"metadata":{"$patch":"merge","finalizers":["a"],"$setElementOrder/finalizers":["a"]}}"#,
    "k8s\0\n\u{f}\n\u{2}v1\u{12}\tConfigMap\u{12}\u{9}\n\u{3}\n\u{1}m\u{12}\u{2}\n\0",
];
const TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const SELECTORS: &[&str] =
    &["a=b,c!=d", "a in (b,c),d notin (e)", "!a,b", "metadata.name=m", "a > 1,,(", "a\\=b"];
const TOKEN: &str = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiJtXHUwMDAwIn0";

/// Replaces bytes at arbitrary places.
fn damaged(whole: &[u8]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let whole = whole.to_vec();
    let cut = (any::<Index>(), 0..8_usize, proptest::collection::vec(any::<u8>(), 0..8));
    proptest::collection::vec(cut, 0..4).prop_map(move |cuts| {
        let mut bytes = whole.clone();
        for (at, length, new) in cuts {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, new);
        }
        bytes
    })
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    select(TEXTS).prop_flat_map(|text| damaged(text.as_bytes()))
}

fn texts(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    let damaged = select(of).prop_flat_map(|text| damaged(text.as_bytes()));
    damaged.prop_map(|bytes| form_urlencoded::byte_serialize(&bytes).collect())
}

/// One server for all cases, which also shows whether it survives them.
static SERVER: LazyLock<(Runtime, Server)> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let server = runtime.block_on(async { Server::start() });
    (runtime, server)
});

/// Sends requests, and checks that each is answered.
fn answered(requests: Vec<Request<Vec<u8>>>) {
    let (runtime, server) = &*SERVER;
    runtime.block_on(async {
        for request in requests {
            let shown = format!("{request:?}");
            let answer = async {
                let answer = server.service().oneshot(request.map(Body::from)).await.expect("it cannot fail");
                let code = answer.status();
                answer.into_body().collect().await.expect("a whole body");
                code
            };
            let code = tokio::time::timeout(DEADLINE, answer).await.expect("an answer");
            assert!(code.as_u16() != 501, "{code}: {shown}");
        }
        server.client().apiserver_version().await.expect("the server keeps running");
    });
}

fn request(method: &str, path: &str, kind: &str, body: Vec<u8>) -> Request<Vec<u8>> {
    Request::builder().method(method).uri(path).header("content-type", kind).body(body).expect("a path")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn bodies_are_answered(kind in select(TYPES), body in bodies(), other in bodies()) {
        let made = br#"{"metadata":{"name":"m","finalizers":["a"]},"data":{"x":"y"}}"#.to_vec();
        let one = format!("{MAPS}/m?fieldManager=test");
        answered(vec![
            request("POST", MAPS, kind, body.clone()),
            request("POST", MAPS, "application/json", made),
            request("PUT", &one, kind, body.clone()),
            request("PATCH", &one, kind, body),
            request("PATCH", &one, kind, other.clone()),
            request("DELETE", &one, kind, other),
            request("PATCH", &one, "application/merge-patch+json", br#"{"metadata":{"finalizers":null}}"#.to_vec()),
            request("DELETE", &one, "application/json", Vec::new()),
        ]);
    }

    #[test]
    fn queries_are_answered(
        labels in texts(SELECTORS),
        fields in texts(SELECTORS),
        token in texts(&[TOKEN]),
        version in texts(&["0", "12", "18446744073709551616"]),
    ) {
        answered(vec![
            request("GET", &format!("{MAPS}?labelSelector={labels}&fieldSelector={fields}"), "", Vec::new()),
            request("GET", &format!("{MAPS}?limit=1&continue={token}"), "", Vec::new()),
            request("GET", &format!("{MAPS}?limit={version}&resourceVersionMatch={labels}"), "", Vec::new()),
            request("DELETE", &format!("{MAPS}?labelSelector={labels}"), "application/json", Vec::new()),
        ]);
    }
}
