//! Requests with protobuf bodies, as client-go's typed clients send them.

use kube::Client;
use kube_embedded::Server;
use serde_json::{Value, json};

/// Encodes a length-delimited field of fewer than 128 bytes.
fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [&[number << 3 | 2, u8::try_from(value.len()).expect("a short value")], value].concat()
}

/// Wraps an encoded object in apimachinery's protobuf envelope.
fn body(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let types = [field(1, api_version), field(2, kind)].concat();
    [b"k8s\0".to_vec(), field(1, types), field(2, object)].concat()
}

/// Sends a request. Returns the response's body, or the code and message of the error.
async fn send(client: &Client, method: &str, path: &str, body: Vec<u8>) -> Result<Value, (u16, String)> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/vnd.kubernetes.protobuf")
        .header("accept", "application/vnd.kubernetes.protobuf,application/json")
        .body(body)
        .expect("a request");
    client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("{other:?}"),
    })
}

#[tokio::test]
async fn an_object_is_created_scaled_and_deleted() {
    let server = Server::start();
    let client = server.client();
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    // Labels: `matchLabels` of the selector, and field 11 of the template's metadata; a container with name and image.
    let label = [field(1, "a"), field(2, "b")].concat();
    let selector = field(2, field(1, &label));
    let pod = field(2, field(2, [field(1, "a"), field(2, "b")].concat()));
    let template = field(3, [field(1, field(11, &label)), pod].concat());
    let spec = field(2, [vec![0x08, 2], selector, template].concat());
    let deployment = body("apps/v1", "Deployment", &[field(1, field(1, "d")), spec].concat());
    let created = send(&client, "POST", deployments, deployment).await.unwrap();
    assert_eq!(created["spec"]["replicas"], 2);
    assert_eq!(created["spec"]["selector"], json!({"matchLabels": {"a": "b"}}));
    assert_eq!(created["spec"]["template"]["metadata"]["labels"], json!({"a": "b"}));

    let one = format!("{deployments}/d");
    let scale = [field(1, field(1, "d")), field(2, [0x08, 5])].concat();
    let scale = body("autoscaling/v1", "Scale", &scale);
    let scaled = send(&client, "PUT", &format!("{one}/scale"), scale).await.unwrap();
    assert_eq!(scaled["spec"]["replicas"], 5);

    let other = body("apps/v1", "DeleteOptions", &field(2, field(1, "other")));
    let (code, message) = send(&client, "DELETE", &one, other).await.unwrap_err();
    assert_eq!(code, 409);
    assert!(message.contains("the UID in the precondition (other) does not match"), "{message}");
    let deleted = send(&client, "DELETE", &one, body("apps/v1", "DeleteOptions", &[])).await.unwrap();
    assert_eq!(deleted["status"], "Success");
}

/// Each message is the one that kube-apiserver 1.37 sends for the same bytes, except for the last case, where it drops
/// the connection.
#[tokio::test]
async fn malformed_bodies_are_refused_in_kube_apiservers_words() {
    let server = Server::start();
    let client = server.client();
    let maps = "/api/v1/namespaces/default/configmaps";
    for (bytes, wanted) in [
        (
            b"hello".to_vec(),
            "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a \
             protobuf message, expected prefix [107 56 115 0] (68656c6c6f)",
        ),
        (
            b"k8s\0\xff\xff".to_vec(),
            "the object provided is unrecognized (must be of type ConfigMap): unexpected EOF (6b387300ffff)",
        ),
        (
            body("v1", "ConfigMap", b"\x08\x01"),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: proto: wrong wireType = 0 for field ObjectMeta",
        ),
        (
            body("v1", "Nope", b""),
            "Nope in version \"v1\" cannot be handled as a ConfigMap: no kind \"Nope\" is registered for version \"v1\" \
             in scheme \"pkg/runtime/scheme.go:111\"",
        ),
    ] {
        assert_eq!(send(&client, "POST", maps, bytes).await.unwrap_err(), (400, wanted.to_owned()));
    }
    let options = body("v1", "DeleteOptions", b"\xff\xff");
    let refused = send(&client, "DELETE", &format!("{maps}/m"), options).await.unwrap_err();
    assert_eq!(refused, (400, "unexpected EOF".to_owned()));

    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    });
    let request = http::Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        .body(definition.to_string().into_bytes())
        .unwrap();
    client.request::<Value>(request).await.unwrap();
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    let refused = send(&client, "POST", widgets, body("example.com/v1", "Widget", b"")).await.unwrap_err();
    assert_eq!(refused.0, 415);
}
