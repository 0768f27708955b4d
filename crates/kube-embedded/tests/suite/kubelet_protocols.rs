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
use tokio::net::TcpListener;
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
    web.port_forward(80, "127.0.0.1:1".parse().expect("an address"));
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

/// A client that speaks SPDY.
struct Spdy {
    io: TokioIo<Upgraded>,
    /// Whether it has opened a stream before.
    has_opened: bool,
}

impl Spdy {
    async fn connect(server: &Server, path: &str, protocol: &str) -> Self {
        Self { io: upgrade(server, path, SPDY, Some(protocol)).await, has_opened: false }
    }

    async fn frame(&mut self, word: u32, flags: u8, body: &[u8]) {
        let [_, length @ ..] = (body.len() as u32).to_be_bytes();
        let frame = [&word.to_be_bytes(), &[flags][..], &length, body].concat();
        self.io.write_all(&frame).await.expect("the server reads");
    }

    async fn open(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let mut block = (headers.len() as u32).to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend((text.len() as u32).to_be_bytes());
            block.extend(text.as_bytes());
        }
        // The head of a compressed stream, a block that is stored as it is, and an empty one.
        let head: &[u8] = if self.has_opened { &[] } else { &[0x78, 0x01] };
        self.has_opened = true;
        let length = block.len() as u16;
        let sizes = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
        let body =
            [&stream.to_be_bytes(), &[0; 6][..], head, &[0], &sizes, &block, &[0, 0, 0, 0xff, 0xff]].concat();
        self.frame(0x8003_0001, 0, &body).await;
    }

    /// Opens the streams of a connection with a port.
    async fn forward(&mut self, error: u32, port: &str) {
        for (stream, kind) in [(error, "error"), (error + 2, "data")] {
            self.open(stream, &[("streamtype", kind), ("port", port), ("requestid", &error.to_string())])
                .await;
        }
    }

    /// What the server sends on a stream, to its end. `None`: it has refused the stream.
    async fn read(&mut self, wanted: u32) -> Option<String> {
        let mut received = Vec::new();
        loop {
            let word = self.io.read_u32().await.expect("the server sends");
            let head = self.io.read_u32().await.expect("a frame has a head");
            let mut body = vec![0; (head & 0xff_ffff) as usize];
            self.io.read_exact(&mut body).await.expect("a frame has a body");
            if word == 0x8003_0003 && body[..4] == wanted.to_be_bytes() {
                return None;
            }
            if word == wanted {
                received.extend(body);
                if head >> 24 == 1 {
                    return Some(String::from_utf8(received).expect("it is text"));
                }
            }
        }
    }
}

/// Listens, and answers each connection with this.
async fn listen(answer: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(answer.as_bytes()).await.expect("it is read");
        }
    });
    address
}

#[tokio::test]
async fn stdin_may_precede_other_streams_over_spdy() {
    let server = serve().await;
    let runs = server.kubelet().pod("default", "web").exec(Process::new().stdin(Stdin::Read));
    let mut client = Spdy::connect(&server, EXEC, "v4.channel.k8s.io").await;
    client.frame(0, 1, b"of no stream").await;
    client.open(1, &[("streamtype", "stdin")]).await;
    client.frame(1, 0, b"hel").await;
    client.frame(1, 1, b"lo").await;
    for (stream, kind) in [(3, "stdout"), (5, "stderr"), (7, "error")] {
        client.open(stream, &[("streamtype", kind)]).await;
    }
    let status = in_time(client.read(7)).await.expect("it is not refused");
    assert!(status.contains("Success"), "{status}");
    assert_eq!(runs.all()[0].stdin, b"hello");
}

#[tokio::test]
async fn ports_are_looked_up_for_each_connection() {
    let server = serve().await;
    let web = server.kubelet().pod("default", "web");
    let mut client = Spdy::connect(&server, FORWARD, "portforward.k8s.io").await;
    let refused = "error forwarding port 81 to pod web, uid : connection refused";
    client.forward(1, "81").await;
    assert_eq!(in_time(client.read(1)).await.as_deref(), Some(refused));
    for (number, answer) in [(5, "put"), (9, "replaced")] {
        web.port_forward(81, listen(answer).await);
        client.forward(number, "81").await;
        assert_eq!(in_time(client.read(number + 2)).await.as_deref(), Some(answer));
    }
    server.kubelet().clear();
    client.forward(13, "81").await;
    assert_eq!(in_time(client.read(13)).await.as_deref(), Some(refused));
}

#[tokio::test]
async fn connections_with_odd_streams_over_spdy() {
    let server = serve().await;
    server.kubelet().pod("default", "web").port_forward(81, listen("hello").await);
    let mut client = Spdy::connect(&server, FORWARD, "portforward.k8s.io").await;
    let long = "1".repeat(65);
    for (stream, headers) in [
        (1, [("streamtype", "error"), ("port", "0"), ("requestid", "1")]),
        (3, [("streamtype", "nonsense"), ("port", "81"), ("requestid", "1")]),
        (5, [("streamtype", "error"), ("port", "81"), ("requestid", &long)]),
    ] {
        client.open(stream, &headers).await;
        assert_eq!(in_time(client.read(stream)).await, None, "{headers:?}");
    }
    // A stream that is closed before its counterpart is opened leaves its place to others.
    for stream in (7..1000).step_by(2) {
        let number = stream.to_string();
        client.open(stream, &[("streamtype", "error"), ("port", "81"), ("requestid", &number)]).await;
        client.frame(0x8003_0003, 0, &[stream.to_be_bytes(), 5_u32.to_be_bytes()].concat()).await;
    }
    client.forward(1001, "81").await;
    assert_eq!(in_time(client.read(1003)).await.as_deref(), Some("hello"));
}

// The clock jumps to the time at which the server gives up.
#[tokio::test(start_paused = true)]
async fn a_listener_that_does_not_read_does_not_hold_up_other_ports() {
    let server = serve().await;
    let web = server.kubelet().pod("default", "web");
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    web.port_forward(80, deaf.local_addr().unwrap());
    web.port_forward(81, listen("hello").await);
    let much = vec![7; 32 * 1024];
    let said = "error forwarding port 80 to pod web, uid : timed out";

    let mut client = Spdy::connect(&server, FORWARD, "portforward.k8s.io").await;
    client.forward(1, "80").await;
    let _stream = deaf.accept().await.unwrap();
    for _ in 0..2000 {
        client.frame(3, 0, &much).await;
    }
    client.forward(5, "81").await;
    assert_eq!(client.read(1).await.as_deref(), Some(said));
    assert_eq!(client.read(7).await.as_deref(), Some("hello"));

    let path = "portforward?ports=80&ports=81";
    let io = upgrade(&server, path, WEBSOCKET, Some("v4.channel.k8s.io")).await;
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
    let _stream = deaf.accept().await.unwrap();
    for _ in 0..2000 {
        socket.send(Message::binary([&[0], &much[..]].concat())).await.unwrap();
    }
    let wanted = Message::binary([&[1], said.as_bytes()].concat());
    while socket.next().await.unwrap().unwrap() != wanted {}
}
