//! What kubelets answer, put over HTTP by clients in other processes. [`PATH`] exists only if the server was started with this
//! option, and only for users in `system:masters`.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::Body;
use super::control::{authorize, json_response};
use super::render::Response;
use crate::kubelet::{Content, Kubelet, Process, Run, Runs, Stdin, What};
use crate::status::Status;
use crate::user::User;

/// The path of what was put.
pub(super) const PATH: &str = "/kube-embedded/kubelet";

/// What a client puts: exactly one of the last four.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Put {
    namespace: String,
    pod: String,
    container: Option<String>,
    log: Option<LogPut>,
    exec: Option<ProcessPut>,
    attach: Option<ProcessPut>,
    port_forward: Option<ForwardPut>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct LogPut {
    previous: bool,
    lines: Vec<LinePut>,
    ended: bool,
}

/// More of a log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MorePut {
    #[serde(default)]
    lines: Vec<LinePut>,
    #[serde(default)]
    ended: bool,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum LinePut {
    Now(String),
    At { time: Timestamp, text: String },
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct ProcessPut {
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    stdout: String,
    stderr: String,
    exit_code: u8,
    stdin: Stdin,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ForwardPut {
    port: u16,
    address: SocketAddr,
}

/// Answers a request about what was put.
pub(super) async fn answer(
    kubelet: &Kubelet,
    user: &User,
    method: &Method,
    id: &str,
    body: Body,
) -> Result<Response, Status> {
    authorize(user, method, PATH)?;
    let body = body.collect_request().await?;
    if id.is_empty() { answer_all(kubelet, method, &body) } else { answer_one(kubelet, method, id, &body) }
}

fn answer_all(kubelet: &Kubelet, method: &Method, body: &[u8]) -> Result<Response, Status> {
    match *method {
        Method::GET => {
            let items: Vec<Value> = kubelet.all().iter().map(|content| show(content, false)).collect();
            Ok(json_response(StatusCode::OK, &json!({"items": items})))
        }
        Method::POST => {
            let content = put(kubelet, read(body)?)?;
            Ok(json_response(StatusCode::CREATED, &show(&content, true)))
        }
        Method::DELETE => {
            kubelet.clear();
            Ok(json_response(StatusCode::OK, &json!({"items": []})))
        }
        _ => Err(Status::method_not_allowed()),
    }
}

fn answer_one(kubelet: &Kubelet, method: &Method, id: &str, body: &[u8]) -> Result<Response, Status> {
    let missing = || Status::not_found("", "kubelet", id);
    let number = id.parse().map_err(|_| missing())?;
    let shown = match *method {
        Method::GET => show(&kubelet.get(number).ok_or_else(missing)?, true),
        Method::POST => {
            let content = kubelet.get(number).ok_or_else(missing)?;
            let What::Log { log, .. } = &content.what else {
                return Err(Status::bad_request("only logs can have more"));
            };
            let more: MorePut = read(body)?;
            log.extend(lines(&more.lines, kubelet.now()), more.ended);
            json!({"id": number})
        }
        Method::DELETE => show(&kubelet.remove(number).ok_or_else(missing)?, true),
        _ => return Err(Status::method_not_allowed()),
    };
    Ok(json_response(StatusCode::OK, &shown))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Status> {
    serde_json::from_slice(body)
        .map_err(|error| Status::bad_request(format!("this is nothing that a kubelet answers: {error}")))
}

fn put(kubelet: &Kubelet, asked: Put) -> Result<Content, Status> {
    let mut pod = kubelet.pod(&asked.namespace, &asked.pod);
    if let Some(container) = &asked.container {
        pod = pod.container(container);
    }
    let id = match (asked.log, asked.exec, asked.attach, asked.port_forward) {
        (Some(given), None, None, None) => {
            pod.put_log(given.previous, lines(&given.lines, kubelet.now()), given.ended).1
        }
        (None, Some(mut given), None, None) => pod.put_exec(given.command.take(), process(given)).1,
        (None, None, Some(given), None) if given.command.is_none() => pod.put_attach(process(given)).1,
        (None, None, None, Some(given)) => pod.put(What::Forward { port: given.port, to: given.address }),
        _ => {
            let why =
                "one of `log`, `exec`, `attach` and `portForward` is required; only `exec` has a command";
            return Err(Status::bad_request(why));
        }
    };
    // Another client may have put something in its place already.
    kubelet.get(id).ok_or_else(|| Status::not_found("", "kubelet", &id.to_string()))
}

fn lines(put: &[LinePut], now: Timestamp) -> impl Iterator<Item = (Timestamp, &str)> {
    put.iter().map(move |line| match line {
        LinePut::Now(text) => (now, &**text),
        LinePut::At { time, text } => (*time, &**text),
    })
}

fn process(given: ProcessPut) -> Process {
    Process {
        stdout: given.stdout.into(),
        stderr: given.stderr.into(),
        exit_code: given.exit_code,
        stdin: given.stdin,
    }
}

/// `with_stdin`: runs with what was sent to them, which may be much.
fn show(content: &Content, with_stdin: bool) -> Value {
    let place = &content.place;
    let mut shown = json!({"id": content.id, "namespace": place.namespace, "pod": place.pod});
    if let Some(container) = &place.container {
        shown["container"] = container.as_str().into();
    }
    match &content.what {
        What::Log { previous, log } => {
            let (lines, ended) = log.snapshot();
            let lines = lines.into_iter().map(|(time, text)| LinePut::At { time, text }).collect();
            shown["log"] = json!(LogPut { previous: *previous, lines, ended });
        }
        What::Exec { command, process, runs } => {
            shown["exec"] = json!(show_process(command.clone(), process));
            shown["runs"] = show_runs(runs, with_stdin);
        }
        What::Attach { process, runs } => {
            shown["attach"] = json!(show_process(None, process));
            shown["runs"] = show_runs(runs, with_stdin);
        }
        What::Forward { port, to } => {
            shown["portForward"] = json!(ForwardPut { port: *port, address: *to });
        }
    }
    shown
}

fn show_process(command: Option<Vec<String>>, process: &Process) -> ProcessPut {
    ProcessPut {
        command,
        stdout: String::from_utf8_lossy(&process.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&process.stderr).into_owned(),
        exit_code: process.exit_code,
        stdin: process.stdin,
    }
}

fn show_runs(runs: &Runs, with_stdin: bool) -> Value {
    let show = |run: &Run| {
        let mut shown = json!({
            "container": run.container,
            "command": run.command,
            "tty": run.tty,
            "sizes": run.sizes,
            "over": run.is_over,
        });
        if with_stdin {
            shown["stdin"] = String::from_utf8_lossy(&run.stdin).into();
        }
        shown
    };
    runs.map(show).into()
}
