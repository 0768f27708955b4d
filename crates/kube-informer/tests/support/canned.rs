/// A client whose server has one ConfigMap and is idle otherwise. The examples of the documentation run against it.
fn canned_client() -> kube::Client {
    use futures_util::StreamExt as _;

    let lines = concat!(
        r#"{"type":"ADDED","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"default","#,
        r#""uid":"1","resourceVersion":"7","labels":{"app":"web"}}}}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","#,
        r#""annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        "\n",
    );
    let service = tower::service_fn(move |_: http::Request<kube::client::Body>| async move {
        let frame = http_body::Frame::data(bytes::Bytes::from_static(lines.as_bytes()));
        let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(frame)]);
        let body = http_body_util::StreamBody::new(stream.chain(futures_util::stream::pending()));
        Ok::<_, std::io::Error>(http::Response::new(body))
    });
    kube::Client::new(service, "default")
}
