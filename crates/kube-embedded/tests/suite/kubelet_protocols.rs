//! The protocols in which clients run processes and forward ports, older ones included, and clients that do not keep to them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kube_embedded::kubelet::{Process, Stdin};
use kube_embedded::{Body, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tower::ServiceExt as _;

use crate::support::in_time;

const EXEC: &str = "exec?command=tee&stdin=1&stdout=1&stderr=1";
const FORWARD: &str = "portforward?ports=80";
const WEBSOCKET: &[(&str, &str)] = &[
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];
const SPDY: &[(&str, &str)] = &[("upgrade", "SPDY/3.1")];

/// A server with a Pod `web`, in which each command echoes its stdin and fails, and whose port 80 leads nowhere.
async fn serve() -> Server {
    let server = Server::start();
    let pods: Api<Pod> = Api::default_namespaced(server.client());
    let spec = json!({"nodeName": "node", "containers": [{"name": "app", "image": "image"}]});
    let pod =
        serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).expect("it is a Pod");
    pods.create(&PostParams::default(), &pod).await.expect("it can be created");
    let web = server.kubelet().pod("default", "web");
    web.exec(Process::new().stdin(Stdin::Echo).exit_code(1));
    web.forward(80, "127.0.0.1:1".parse().expect("an address"));
    server
}

async fn request(server: &Server, path: &str, headers: &[(&str, &str)]) -> http::Response<Body> {
    let mut request = http::Request::get(format!("/api/v1/namespaces/default/pods/web/{path}"));
    request = request.header("host", "localhost");
    if !headers.is_empty() {
        request = request.header("connection", "Upgrade");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from("")).expect("the headers are valid");
    server.service().oneshot(request).await.expect("it never fails")
}

/// A connection that is upgraded with a protocol, which the server confirms.
async fn upgrade(
    server: &Server,
    path: &str,
    kind: &[(&str, &str)],
    protocol: Option<&str>,
) -> TokioIo<Upgraded> {
    let name = match kind[0].1 {
        "websocket" => "sec-websocket-protocol",
        _ => "x-stream-protocol-version",
    };
    let headers: Vec<_> = kind.iter().copied().chain(protocol.map(|protocol| (name, protocol))).collect();
    let response = request(server, path, &headers).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{protocol:?}");
    let confirmed = response.headers().get(name).map(|it| it.to_str().expect("it is ASCII"));
    assert_eq!(confirmed, protocol);
    TokioIo::new(hyper::upgrade::on(response).await.expect("it is upgraded"))
}

#[tokio::test]
async fn processes_over_each_version_of_channels() {
    let server = serve().await;
    for (protocol, is_base64, has_status, closes) in [
        (None, false, false, false),
        (Some("channel.k8s.io"), false, false, false),
        (Some("base64.channel.k8s.io"), true, false, false),
        (Some("v4.channel.k8s.io"), false, true, false),
        (Some("v4.base64.channel.k8s.io"), true, true, false),
        (Some("v5.channel.k8s.io"), false, true, true),
    ] {
        let io = upgrade(&server, EXEC, WEBSOCKET, protocol).await;
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
        let encode = |channel: u8, data: &str| match is_base64 {
            true => Message::text(format!("{channel}{}", BASE64_STANDARD.encode(data))),
            false => Message::binary([&[channel], data.as_bytes()].concat()),
        };
        assert_eq!(in_time(socket.next()).await.unwrap().unwrap(), encode(1, ""), "{protocol:?}");
        socket.send(encode(9, "no such channel")).await.unwrap();
        socket.send(encode(0, "hello")).await.unwrap();
        assert_eq!(in_time(socket.next()).await.unwrap().unwrap(), encode(1, "hello"));
        if !closes {
            // The older ones cannot tell the end of stdin from the end of the connection.
            socket.close(None).await.unwrap();
            continue;
        }
        socket.send(Message::binary(vec![255, 0])).await.unwrap();
        let end = in_time(socket.next()).await.unwrap().unwrap().into_data();
        let status: Value = serde_json::from_slice(&end[1..]).unwrap();
        assert!(has_status && end[0] == 3 && status["reason"] == "NonZeroExitCode", "{status}");
        assert!(matches!(in_time(socket.next()).await, Some(Ok(Message::Close(Some(_))))));
    }
    // A command that is empty is still a command, whose client receives its exit code.
    let io = upgrade(&server, "exec?stdout=1", WEBSOCKET, Some("v4.channel.k8s.io")).await;
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
    in_time(socket.next()).await.unwrap().unwrap();
    let end = in_time(socket.next()).await.unwrap().unwrap().into_data();
    assert!(String::from_utf8_lossy(&end).contains("NonZeroExitCode"), "{end:?}");
    // Without stdin, also the older ones see the end.
    for (protocol, is_text) in [("v4.channel.k8s.io", false), ("channel.k8s.io", true)] {
        let io = upgrade(&server, "exec?command=tee&stdout=1", WEBSOCKET, Some(protocol)).await;
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
        let first = in_time(socket.next()).await.unwrap().unwrap();
        assert_eq!(first, Message::binary(vec![1]));
        let end = in_time(socket.next()).await.unwrap().unwrap().into_data();
        let said = "command terminated with non-zero exit code: error executing command [tee], exit code 1";
        let text = String::from_utf8(end[1..].to_vec()).unwrap();
        assert!(if is_text { text == said } else { text.contains(said) && text.starts_with('{') }, "{text}");
    }
}

#[tokio::test]
async fn handshakes_that_fail() {
    let server = serve().await;
    let said = async |response: http::Response<Body>| {
        let (head, body) = response.into_parts();
        let bytes = in_time(http_body_util::BodyExt::collect(body)).await.unwrap().to_bytes();
        let status: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        (head.status.as_u16(), head.headers, status["message"].as_str().unwrap_or_default().to_owned())
    };
    let of = |headers: &HeaderMap, name: &str| headers.get_all(name).iter().count();
    for path in [EXEC, FORWARD] {
        let (code, _, message) = said(request(&server, path, &[]).await).await;
        assert_eq!((code, &*message), (400, "Upgrade request required"));
        let (code, ..) = said(request(&server, path, &[("upgrade", "h2c")]).await).await;
        assert_eq!(code, 400);
        let odd: Vec<_> = [WEBSOCKET, &[("sec-websocket-protocol", "v9.channel.k8s.io, soap")]].concat();
        assert_eq!(said(request(&server, path, &odd).await).await.0, 403);
        let keyless = &WEBSOCKET[..2];
        assert_eq!(said(request(&server, path, keyless).await).await.0, 400);
        let odd: Vec<_> = [SPDY, &[("x-stream-protocol-version", "v9.channel.k8s.io")]].concat();
        let (code, headers, _) = said(request(&server, path, &odd).await).await;
        assert!(code == 403 && of(&headers, "x-accepted-stream-protocol-versions") > 0);
    }
    let (code, _, message) = said(request(&server, "exec?command=ls", WEBSOCKET).await).await;
    assert_eq!((code, &*message), (400, "you must specify at least 1 of stdin, stdout, stderr"));
    let (code, _, message) = said(request(&server, "portforward", WEBSOCKET).await).await;
    assert_eq!((code, &*message), (400, "query parameter \"ports\" is required"));
    let syntax = "cannot convert to []int32: strconv.ParseUint: parsing \"+80\": invalid syntax";
    for (ports, refused) in [("0", "port \"0\" must be > 0"), ("%2B80", syntax)] {
        let path = format!("portforward?ports={ports}");
        let (code, _, message) = said(request(&server, &path, WEBSOCKET).await).await;
        assert_eq!((code, &*message), (400, refused));
    }
}

#[tokio::test]
async fn garbage_ends_a_connection() {
    let server = serve().await;
    let random: Vec<u8> = (0..70_000_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let large = [&[0x82, 0xff][..], &[0x7f; 8], &[0; 1024]].concat();
    let open = [&[0x80, 3, 0, 1, 0, 0, 0, 20][..], &[0xff; 20]].concat();
    for (path, kind, protocol) in [
        (EXEC, WEBSOCKET, Some("v5.channel.k8s.io")),
        (EXEC, WEBSOCKET, Some("base64.channel.k8s.io")),
        (EXEC, SPDY, Some("v4.channel.k8s.io")),
        (EXEC, SPDY, None),
        (FORWARD, WEBSOCKET, Some("SPDY/3.1+portforward.k8s.io")),
        (FORWARD, WEBSOCKET, Some("v4.channel.k8s.io")),
        (FORWARD, SPDY, Some("portforward.k8s.io")),
    ] {
        for garbage in [&random[..], &large, &open, b"GET / HTTP/1.1\r\n\r\n", b""] {
            let io = upgrade(&server, path, kind, protocol).await;
            let (mut reader, mut writer) = tokio::io::split(io);
            let sending = async {
                // The server may be gone before all of it is sent.
                let _ = writer.write_all(garbage).await;
                let _ = writer.shutdown().await;
            };
            let mut received = Vec::new();
            let (_, read) = in_time(async { tokio::join!(sending, reader.read_to_end(&mut received)) }).await;
            // Either end is fine, as long as there is one.
            drop(read);
        }
    }
    let runs = server.kubelet().pod("default", "web").exec(Process::new());
    assert_eq!(runs.all(), []);
    let io = upgrade(&server, "exec?stdout=1", WEBSOCKET, Some("v5.channel.k8s.io")).await;
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
    assert!(in_time(socket.next()).await.is_some(), "the server still answers");
}
