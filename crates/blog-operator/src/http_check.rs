//! The check of an address: one HTTP request, within bounds.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use kube_controller::ConditionStatus::{False, Unknown};
use rustls::{ClientConfig, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::{address::Reach, check::Outcome};

/// How long a check may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How many bytes of an answer are read at most. Its body is not needed.
const ANSWER: usize = 16 * 1024;

/// Checks addresses by a GET request. An answer with a status of 2xx or 3xx means that the address can be reached; redirects
/// are not followed. It takes at most 10 s, and reads at most 16 KiB. User name and password of an address are not sent.
#[derive(Clone)]
pub struct HttpCheck {
    reach: Reach,
    tls: Result<TlsConnector, rustls::Error>,
}

impl HttpCheck {
    /// Prepares checks, which trust the certificate authorities of the system.
    pub fn new(reach: Reach) -> Self {
        Self { reach, tls: tls() }
    }

    /// Checks an address.
    pub async fn check(self, url: String) -> Outcome {
        let answered = timeout(LIMIT, self.ask(&url)).await;
        match answered.unwrap_or(Err(Problem::TimedOut)) {
            Ok(status) => answer(status),
            Err(problem) => problem.outcome(),
        }
    }

    async fn ask(&self, url: &str) -> Result<StatusCode, Problem> {
        let url = Url::parse(url).map_err(|_| Problem::NotAUrl)?;
        let host = url.host().ok_or(Problem::NotAUrl)?;
        let port = url.port_or_known_default().ok_or(Problem::NotAUrl)?;
        let stream = self.connect(&host, port).await?;
        match url.scheme() {
            "https" => {
                let tls = self.tls.as_ref().map_err(|error| Problem::Tls(error.to_string()))?;
                let stream = tls.connect(server_name(&host)?, stream).await;
                request(stream.map_err(|error| Problem::Tls(error.to_string()))?, &url).await
            }
            _ => request(stream, &url).await,
        }
    }

    /// Connects to the first address that answers. They are checked after names were resolved, and used as they are: a name
    /// that resolves to another address a moment later makes no difference.
    async fn connect(&self, host: &Host<&str>, port: u16) -> Result<TcpStream, Problem> {
        let addresses: Vec<SocketAddr> = match *host {
            Host::Ipv4(address) => vec![(IpAddr::V4(address), port).into()],
            Host::Ipv6(address) => vec![(IpAddr::V6(address), port).into()],
            Host::Domain(name) => {
                lookup_host((name, port)).await.map_err(|_| Problem::NotResolved)?.collect()
            }
        };
        let mut last = Problem::NotResolved;
        for address in addresses {
            if !self.reach.allows(address.ip()) {
                last = Problem::NotAllowed;
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Problem::Connect(error.kind()),
            }
        }
        Err(last)
    }
}

fn tls() -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new(provider.clone())?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

fn server_name(host: &Host<&str>) -> Result<ServerName<'static>, Problem> {
    match *host {
        Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(|_| Problem::NotAUrl),
        Host::Ipv4(address) => Ok(ServerName::from(IpAddr::V4(address))),
        Host::Ipv6(address) => Ok(ServerName::from(IpAddr::V6(address))),
    }
}

/// Sends a request, and returns the status of the answer. Its body is not read: the connection ends with this function.
async fn request<S>(stream: S, url: &Url) -> Result<StatusCode, Problem>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = Request::get(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(header::HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
        .header(header::USER_AGENT, concat!("blog-operator/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Problem::NotAUrl)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ANSWER);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|_| Problem::NoAnswer)?;
    let mut response = std::pin::pin!(sender.send_request(request));
    let answered = tokio::select! {
        response = &mut response => response,
        // It may end with the same bytes that complete the answer's head.
        _ = connection => response.await,
    };
    Ok(answered.map_err(|_| Problem::NoAnswer)?.status())
}

fn answer(status: StatusCode) -> Outcome {
    let reachable = status.is_success() || status.is_redirection();
    Outcome {
        reachable: reachable.into(),
        reason: if reachable { "Answered" } else { "ErrorAnswered" },
        message: format!("The server answered with {status}."),
    }
}

/// Why there is no answer.
enum Problem {
    NotAUrl,
    NotResolved,
    NotAllowed,
    Connect(io::ErrorKind),
    Tls(String),
    NoAnswer,
    TimedOut,
}

impl Problem {
    fn outcome(self) -> Outcome {
        let (reachable, reason, message) = match self {
            Problem::NotAUrl => {
                (False, "NotAnAddress", "The address has no host that can be asked.".to_owned())
            }
            Problem::NotResolved => (False, "NotResolved", "The host's name cannot be resolved.".to_owned()),
            // Neither is known, nor is it said which address it was.
            Problem::NotAllowed => {
                (Unknown, "NotAllowed", "The host is in a private network, which is not checked.".to_owned())
            }
            Problem::Connect(kind) => {
                (False, "NotConnected", format!("The server cannot be connected to: {kind}."))
            }
            Problem::Tls(error) => (False, "TlsFailed", format!("TLS failed: {error}.")),
            Problem::NoAnswer => (False, "NoAnswer", "The server sent no valid answer.".to_owned()),
            Problem::TimedOut => {
                (False, "TimedOut", format!("There was no answer within {} s.", LIMIT.as_secs()))
            }
        };
        Outcome { reachable, reason, message }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinHandle,
    };

    use super::*;

    /// Starts a server that reads one request, and sends `answer`. Returns its port, and the task that ends with the request.
    async fn server(answer: impl Into<Vec<u8>>) -> (u16, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = answer.into();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                request.push(byte[0]);
            }
            // The client does not wait for the rest.
            let _ = stream.write_all(&answer).await;
            let _ = stream.read(&mut [0]).await;
            String::from_utf8(request).unwrap()
        });
        (port, task)
    }

    async fn check(url: String) -> Outcome {
        HttpCheck::new(Reach::Private).check(url).await
    }

    #[tokio::test]
    async fn an_answer_says_whether_an_address_can_be_reached() {
        for (status, reachable, reason) in [
            ("200 OK", true, "Answered"),
            ("204 No Content", true, "Answered"),
            ("301 Moved Permanently\r\nLocation: http://127.0.0.1:1/", true, "Answered"),
            ("404 Not Found", false, "ErrorAnswered"),
            ("503 Service Unavailable", false, "ErrorAnswered"),
        ] {
            let (port, request) = server(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).await;
            let outcome = check(format!("http://user:secret@127.0.0.1:{port}/a?b=c#d")).await;
            assert_eq!((outcome.reachable, outcome.reason), (reachable.into(), reason), "{outcome:?}");
            let request = request.await.unwrap();
            assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
            assert!(request.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{request}");
            assert!(!request.contains("secret") && !request.contains("authorization"), "{request}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read() {
        let endless = ["HTTP/1.1 200 OK\r\n\r\n".as_bytes(), &vec![b'x'; 1 << 24]].concat();
        let (port, _request) = server(endless).await;
        assert_eq!(check(format!("http://127.0.0.1:{port}")).await.reason, "Answered");
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(ANSWER));
        let (port, _request) = server(long).await;
        assert_eq!(check(format!("http://127.0.0.1:{port}")).await.reason, "NoAnswer");
    }

    #[tokio::test]
    async fn what_is_no_answer_has_a_reason() {
        let (port, _request) = server("SSH-2.0-x\r\n").await;
        assert_eq!(check(format!("http://127.0.0.1:{port}")).await.reason, "NoAnswer");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let not_tls = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream
        };
        assert_eq!(tokio::join!(check(url), not_tls).0.reason, "TlsFailed");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let refused = check(format!("http://127.0.0.1:{port}")).await;
        assert_eq!((refused.reachable, refused.reason), (False, "NotConnected"), "{refused:?}");
        assert_eq!(check("http://does-not-exist.invalid".into()).await.reason, "NotResolved");
        assert_eq!(check("http://a..b:80".into()).await.reason, "NotResolved");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_silent_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let outcome = check(format!("http://127.0.0.1:{port}")).await;
        assert_eq!((outcome.reachable, outcome.reason), (False, "TimedOut"));
    }

    #[tokio::test]
    async fn private_networks_are_not_checked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "2130706433",
            "0x7f.1",
            "169.254.169.254",
        ] {
            let outcome = HttpCheck::new(Reach::Public).check(format!("http://{host}:{port}/")).await;
            assert_eq!((outcome.reachable, outcome.reason), (Unknown, "NotAllowed"), "{host}: {outcome:?}");
        }
        assert!(timeout(Duration::ZERO, listener.accept()).await.is_err(), "nothing was connected to");
    }
}
