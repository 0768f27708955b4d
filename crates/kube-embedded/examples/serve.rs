//! Runs an API server until ctrl-c, and writes a kubeconfig for it:
//!
//! ```text
//! cargo run -p kube-embedded --example serve -- 127.0.0.1:6443 /tmp/kubeconfig
//! kubectl --kubeconfig /tmp/kubeconfig get namespaces
//! ```
//!
//! With a second file name, it also writes a kubeconfig for `nobody`, a user without rights.

use std::error::Error;
use std::path::Path;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, kubeconfig, rest @ ..] = &arguments[..] else {
        return Err("usage: serve ADDRESS KUBECONFIG [KUBECONFIG_OF_NOBODY]".into());
    };
    let server = kube_embedded::Server::start();
    let endpoint = server.listen(address).await?;
    if let [nobody, ..] = rest {
        let token = server.add_user("nobody", &[]);
        write(nobody, &endpoint.kubeconfig_with("nobody", &token))?;
    }
    write(kubeconfig, &endpoint.kubeconfig())?;
    tokio::signal::ctrl_c().await?;
    endpoint.stop().await;
    Ok(())
}

/// Writes a kubeconfig atomically, readable only by its owner.
fn write(path: &str, kubeconfig: &kube::config::Kubeconfig) -> Result<(), Box<dyn Error>> {
    let folder = Path::new(path).parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_saphyr::to_io_writer(&mut file, kubeconfig)?;
    file.persist(path)?;
    Ok(())
}
