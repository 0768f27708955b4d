//! `crdctl version`: the versions of the program and of the API server, in the form of `kubectl version` (kubectl's
//! `pkg/cmd/version/version.go`).

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    cli::{Cluster, VersionArgs},
    connection::Connection,
    data, stdio,
};

/// Prints the versions. If the server's cannot be read, prints the program's, and fails.
pub(crate) async fn run(cluster: &Cluster, args: &VersionArgs) -> Result<ExitCode> {
    let server = if args.client { Ok(None) } else { of_server(cluster).await.map(Some) };
    let known = server.as_ref().ok().and_then(Option::as_ref);
    match args.output {
        None => stdio::print(&text(known))?,
        Some(format) => data::print(&versions(known), format)?,
    };
    server.map(|_| ExitCode::SUCCESS)
}

async fn of_server(cluster: &Cluster) -> Result<Value> {
    let connection = Connection::new(cluster)?;
    let request = http::Request::get("/version").body(Vec::new()).context("preparing a request")?;
    connection.ask("read the server's version", connection.client.request(request)).await
}

fn text(server: Option<&Value>) -> String {
    let client = format!("Client Version: v{}\n", env!("CARGO_PKG_VERSION"));
    match server {
        None => client,
        Some(server) => {
            let version = server["gitVersion"].as_str().unwrap_or("unknown");
            format!("{client}Server Version: {}\n", stdio::printable(version))
        }
    }
}

fn versions(server: Option<&Value>) -> Value {
    let mut versions = json!({"clientVersion": {
        "major": env!("CARGO_PKG_VERSION_MAJOR"),
        "minor": env!("CARGO_PKG_VERSION_MINOR"),
        "gitVersion": concat!("v", env!("CARGO_PKG_VERSION")),
    }});
    if let Some(server) = server {
        versions["serverVersion"] = server.clone();
    }
    versions
}
