//! What clients of `pods/exec`, `pods/attach` and `pods/portforward` are connected with.

use std::io;

use serde_json::Value;

use super::render::Response;
use super::request::Request;
use super::upgrade::Wanted;
use crate::kubelet::{Process, Run, Runs, What};
use crate::status::Status;
use crate::streams::{
    Codec, Job, Ports, ProcessChannels, ProcessStreams, Streams, Version, forward_channels, forward_streams,
    run, through_websocket,
};

/// Protocols of a process over WebSocket.
const CHANNELS: &[(&str, (Version, Codec))] = &[
    ("v5.channel.k8s.io", (Version::V5, Codec::Binary)),
    ("v4.channel.k8s.io", (Version::V4, Codec::Binary)),
    ("v4.base64.channel.k8s.io", (Version::V4, Codec::Base64)),
    ("base64.channel.k8s.io", (Version::V1, Codec::Base64)),
    ("channel.k8s.io", (Version::V1, Codec::Binary)),
];

/// Protocols of a process over SPDY, and whether they have sizes of a terminal.
const STREAMS: &[(&str, (Version, bool))] = &[
    ("v4.channel.k8s.io", (Version::V4, true)),
    ("v3.channel.k8s.io", (Version::V1, true)),
    ("v2.channel.k8s.io", (Version::V1, false)),
    ("channel.k8s.io", (Version::V1, false)),
];

/// Ports over SPDY in a WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Protocols of ports over WebSocket without SPDY.
const PORT_CHANNELS: &[(&str, Codec)] =
    &[("v4.base64.channel.k8s.io", Codec::Base64), ("v4.channel.k8s.io", Codec::Binary)];

/// Protocols of ports over SPDY.
const PORT_STREAMS: &[(&str, ())] = &[("portforward.k8s.io", ())];

/// Answers a request that may connect, with these options.
pub(super) fn open(request: Request<'_>, options: &Value, container: String) -> Result<Response, Status> {
    match request.info.subresource.as_str() {
        "portforward" => forward(request, options),
        _ => process(request, options, container),
    }
}

fn process(request: Request<'_>, options: &Value, container: String) -> Result<Response, Status> {
    let is_exec = request.info.subresource == "exec";
    let command = crate::strategy::texts(&options["command"]);
    let (process, runs) = find_process(request, is_exec, &command, &container)?;
    let wanted = Wanted::of(request.headers)?;
    let flag = |name: &str| options[name] == true;
    let streams = Streams {
        stdin: flag("stdin"),
        stdout: flag("stdout"),
        stderr: flag("stderr") && !flag("tty"),
        tty: flag("tty"),
    };
    if !streams.stdin && !streams.stdout && !streams.stderr {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let is_tty = streams.tty;
    let begin = move || {
        let run = Run { container, command: command.clone(), tty: is_tty, ..Run::default() };
        Job { process, is_attached: !is_exec, command, streams, recorder: runs.begin(run) }
    };
    let left = |error: io::Error| tracing::debug!(%error, "a client has left before its process began");
    Ok(match wanted {
        Wanted::WebSocket => {
            wanted.upgrade(request.headers, CHANNELS, move |io, (version, codec)| async move {
                match ProcessChannels::open(io, version, codec, streams).await {
                    Ok(client) => run(client, begin()).await,
                    Err(error) => left(error),
                }
            })
        }
        Wanted::Spdy => wanted.upgrade(request.headers, STREAMS, move |io, (version, resizes)| async move {
            match ProcessStreams::open(io, version, streams, resizes).await {
                Ok(client) => run(client, begin()).await,
                Err(error) => left(error),
            }
        }),
    })
}

fn find_process(
    request: Request<'_>,
    is_exec: bool,
    wanted: &[String],
    container: &str,
) -> Result<(Process, Runs), Status> {
    let info = request.info;
    let find = |what: &What| match what {
        What::Exec { command, process, runs }
            if is_exec && command.as_ref().is_none_or(|command| command == wanted) =>
        {
            Some((process.clone(), runs.clone()))
        }
        What::Attach { process, runs } if !is_exec => Some((process.clone(), runs.clone())),
        _ => None,
    };
    let found = request.kubelet.latest(&info.namespace, &info.name, Some(container), find);
    found.ok_or_else(|| match is_exec {
        true => {
            Status::not_implemented(&format!("pods/exec of {wanted:?}, for which a test has put no process"))
        }
        false => Status::not_implemented("pods/attach without a process that a test has put"),
    })
}

fn forward(request: Request<'_>, options: &Value) -> Result<Response, Status> {
    let info = request.info;
    let find = |what: &What| matches!(what, What::Forward { .. }).then_some(());
    if request.kubelet.latest(&info.namespace, &info.name, None, find).is_none() {
        return Err(Status::not_implemented("pods/portforward without a port that a test has put"));
    }
    let ports =
        Ports { kubelet: request.kubelet.clone(), namespace: info.namespace.clone(), pod: info.name.clone() };
    let wanted = Wanted::of(request.headers)?;
    let over = |error: io::Error| tracing::debug!(%error, "the forwarding of ports has ended");
    Ok(match wanted {
        Wanted::WebSocket if wanted.offers(request.headers, TUNNEL) => {
            wanted.upgrade(request.headers, &[(TUNNEL, ())], move |io, ()| async move {
                through_websocket(io, |io| forward_streams(io, ports)).await.unwrap_or_else(over);
            })
        }
        Wanted::WebSocket => {
            let named = named_ports(options)?;
            wanted.upgrade(request.headers, PORT_CHANNELS, move |io, codec| async move {
                forward_channels(io, codec, ports, named).await.unwrap_or_else(over);
            })
        }
        Wanted::Spdy => wanted.upgrade(request.headers, PORT_STREAMS, move |io, ()| async move {
            forward_streams(io, ports).await.unwrap_or_else(over);
        }),
    })
}

/// The ports that a client names in its query. Each needs two of the 256 channels.
fn named_ports(options: &Value) -> Result<Vec<u16>, Status> {
    let ports = options["ports"].as_array().into_iter().flatten();
    let ports: Vec<u16> =
        ports.filter_map(Value::as_u64).filter_map(|port| u16::try_from(port).ok()).collect();
    if ports.contains(&0) {
        return Err(Status::bad_request("port \"0\" must be > 0"));
    }
    match ports.len() {
        0 => Err(Status::bad_request("query parameter \"ports\" is required")),
        // More than that, and counting their channels would overflow.
        1..=127 => Ok(ports),
        _ => Err(Status::bad_request("too many ports")),
    }
}
