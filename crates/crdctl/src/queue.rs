//! `crdctl queue`: what an operator made with `kube-controller` is doing, from its `/debug/queue`.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kube_controller::inspect::{Key, Queues};
use tokio::{net::TcpStream, time::timeout};

use crate::{cli::QueueArgs, data, stdio};

/// How long the operator may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The maximum size of an answer: 1,000 keys of each controller are some MB at most.
const ANSWER: usize = 64 << 20;

const COLUMNS: [&str; 7] = ["CONTROLLER", "KEY", "STATE", "PRIORITY", "FAILURES", "NEXT", "WHY"];

/// Prints the queues.
pub(crate) async fn run(args: &QueueArgs) -> Result<ExitCode> {
    let address = address(&args.address)?;
    let asked = timeout(LIMIT, ask(&address)).await;
    let answer = asked.unwrap_or_else(|_| bail!("no answer within {} s", LIMIT.as_secs()));
    let queues = answer.with_context(|| format!("asking the operator at {address}"))?;
    match args.output {
        None => stdio::print(&text(&queues)),
        Some(format) => data::print(&queues, format),
    }
}

/// Returns host and port of an address with or without `http://`.
fn address(text: &str) -> Result<String> {
    let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let parsed: Option<Uri> = format!("http://{rest}/").parse().ok();
    let authority = parsed.as_ref().and_then(Uri::authority).filter(|it| it.port_u16().is_some());
    match authority {
        Some(authority) if authority.as_str() == rest && !rest.contains('@') => Ok(rest.to_owned()),
        _ => bail!("{:?} is no address such as localhost:8080", stdio::printable(text)),
    }
}

async fn ask(address: &str) -> Result<Queues> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/debug/queue").header(HOST, address).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        anyhow::Ok((status, body))
    };
    let (status, body) = tokio::select! {
        answer = answer => answer?,
        // It ends by itself only without an answer.
        Err(error) = connection => return Err(error.into()),
    };
    match status {
        StatusCode::OK => serde_json::from_slice(&body).context("it does not answer as an operator does"),
        StatusCode::NOT_FOUND => bail!("it has no /debug/queue: it is no operator of kube-controller"),
        status => {
            let text = String::from_utf8_lossy(&body);
            bail!("{}: {}", status.as_u16(), stdio::printable(text.trim()))
        }
    }
}

fn text(queues: &Queues) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for queue in &queues.controllers {
        rows.extend(queue.keys.iter().map(|key| row(&queue.controller, key)));
    }
    let mut text = if rows.len() > 1 { aligned(&rows) } else { "Nothing runs or waits.\n".to_owned() };
    for queue in queues.controllers.iter().filter(|queue| queue.omitted > 0) {
        text += &format!("{}: and {} more keys\n", stdio::printable(&queue.controller), queue.omitted);
    }
    for name in &queues.unanswered {
        text += &format!("{}: no answer\n", stdio::printable(name));
    }
    if !queues.leads {
        let holder = queues.holder.as_deref().map(|holder| format!("; {holder} leads")).unwrap_or_default();
        text += &format!("This replica stands by{}.\n", stdio::printable(&holder));
    }
    text
}

fn row(controller: &str, key: &Key) -> [String; 7] {
    let time = |ms: u64| match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..120_000 => format!("{}s", ms / 1_000),
        120_000..7_200_000 => format!("{}m", ms / 60_000),
        _ => format!("{}h", ms / 3_600_000),
    };
    let state = match key.for_ms {
        Some(ms) => format!("{} for {}", key.state, time(ms)),
        None => key.state.clone(),
    };
    let mut why = key.reasons.join(", ");
    if let Some(error) = &key.error {
        why = if why.is_empty() { error.clone() } else { format!("{error}; {why}") };
    }
    let next = key.next_in_ms.map(time).unwrap_or_default();
    let cells =
        [controller, &key.key, &state, &key.priority.to_string(), &key.failures.to_string(), &next, &why];
    cells.map(stdio::printable)
}

/// Aligns columns; the last one is not padded.
fn aligned(rows: &[[String; 7]]) -> String {
    let width = |cell: &String| cell.chars().count();
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().map(|row| width(&row[column]) + 3).max().unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, wide) in row.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', wide - width(cell)));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn queues() -> Queues {
        let keys = json!([
            {"key": "default/a", "state": "running", "priority": 0, "failures": 0, "forMs": 1500, "reasons": ["Blog default/a changed 1 -> 2"]},
            {"key": "default/b", "state": "waiting for retry", "priority": -100, "failures": 3, "nextInMs": 640,
                "reasons": [], "error": "no\u{9b}disk"},
        ]);
        let queue = json!({"controller": "blog", "concurrency": 4, "running": 1, "ready": 0, "omitted": 7, "keys": keys});
        serde_json::from_value(
            json!({"operator": "blogs", "leads": false, "holder": "other", "controllers": [queue]}),
        )
        .unwrap()
    }

    #[test]
    fn it_is_a_table() {
        assert_eq!(
            text(&queues()),
            "CONTROLLER   KEY         STATE               PRIORITY   FAILURES   NEXT    WHY\n\
             blog         default/a   running for 1s      0          0                  Blog default/a changed 1 -> 2\n\
             blog         default/b   waiting for retry   -100       3          640ms   no\\u{9b}disk\n\
             blog: and 7 more keys\n\
             This replica stands by; other leads.\n"
        );
    }

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(address("http://localhost:8080/").unwrap(), "localhost:8080");
        assert_eq!(address("[::1]:80").unwrap(), "[::1]:80");
        for wrong in ["localhost", "", "https://localhost:1", "a:b", "localhost:1/path", "u@h:1/"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn what_is_no_operator_is_said_in_one_line() {
        for (answer, said) in [
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "no operator"),
            ("HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\nno\n!\n", "403: no"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", "does not answer as an operator"),
            ("SSH-2.0\r\n", "asking the operator"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
            });
            let error = run(&QueueArgs { address, output: None }).await.unwrap_err();
            assert!(format!("{error:#}").contains(said), "{error:#}");
            server.abort();
        }
    }
}
