//! `crdctl serve`: an embedded API server that runs until a signal.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use kube_embedded::{Endpoint, Server};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::ServeArgs,
    kubeconfig_out::{KubeconfigFile, Lifetime, yaml},
    shutdown,
    stdio::{in_quotes, print, say},
};

/// Runs `crdctl serve`.
pub(crate) async fn run(args: ServeArgs) -> Result<ExitCode> {
    let stop = CancellationToken::new();
    shutdown::until_signal(stop.clone(), serve(args, stop)).await
}

async fn serve(args: ServeArgs, stop: CancellationToken) -> Result<ExitCode> {
    let mut builder = Server::builder();
    if let Some(folder) = &args.data_dir {
        builder = builder.data_dir(folder);
    }
    if args.faults {
        builder = builder.faults_over_http();
    }
    for name in &args.tls_san {
        builder = builder.serving_name(name);
    }
    if args.kubelet {
        builder = builder.kubelet_over_http();
    }
    let server = builder.start()?;
    let endpoint = listen(&server, SocketAddr::new(args.bind_address, args.port)).await?;
    let address = format!("https://{}", endpoint.addr());
    if args.kubeconfig_out.as_deref() == Some(Path::new("-")) {
        print(&yaml(&endpoint.kubeconfig())?)?;
        say(&format!("API server: {address}"));
        stop.cancelled().await;
    } else {
        let (path, lifetime) = match args.data_dir {
            None => (args.kubeconfig_out, Lifetime::Command),
            Some(folder) => (args.kubeconfig_out.or_else(|| Some(folder.join("kubeconfig"))), Lifetime::Data),
        };
        let file = KubeconfigFile::write(path, &endpoint.kubeconfig(), lifetime)?;
        welcome(&address, file.path(), "get namespaces");
        stop.cancelled().await;
    }
    endpoint.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Listens on an address; port 0 picks a free one.
pub(crate) async fn listen(server: &Server, address: SocketAddr) -> Result<Endpoint> {
    server.listen(&address.to_string()).await.with_context(|| match (address.ip(), address.port()) {
        (_, 0) => "cannot listen on a free port".into(),
        (ip, port) if ip == Ipv4Addr::LOCALHOST => {
            format!("cannot listen on --port {port}; try another port, or 0 for a free one")
        }
        (ip, port) => format!("cannot listen on --bind-address {ip} and --port {port}"),
    })
}

/// Prints the server's address, the kubeconfig's path, and a command to try.
pub(crate) fn welcome(server: &str, kubeconfig: &Path, command: &str) {
    let path = kubeconfig.display().to_string();
    say(&format!("API server: {server}"));
    say(&format!("kubeconfig: {path}"));
    say(&format!("try, in another terminal: kubectl --kubeconfig {} {command}", quoted(&path)));
}

/// Quotes a word for a POSIX shell, if necessary.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { in_quotes(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("/tmp/a-b.c_d"), "/tmp/a-b.c_d");
        assert_eq!(quoted("/my dir/it's"), r"'/my dir/it'\''s'");
    }
}
