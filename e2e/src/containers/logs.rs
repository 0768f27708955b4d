//! Collects a node's logs after a failed run.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::node::{Node, run};

/// The names of the files, and the commands whose output they contain.
const FILES: [(&str, &[&str]); 5] = [
    ("journal.log", &["journalctl", "--no-pager"]),
    ("kubelet.log", &["journalctl", "--no-pager", "--unit=kubelet.service"]),
    ("containerd.log", &["journalctl", "--no-pager", "--unit=containerd.service"]),
    ("pods.txt", &["kubectl", "get", "pods", "--all-namespaces", "--output=wide"]),
    ("events.txt", &["kubectl", "get", "events", "--all-namespaces", "--output=wide"]),
];

/// The folder with the logs of pods: one folder per pod, which contains one folder per container.
const PODS: &str = "/var/log/pods";

/// Writes the available logs to a new folder. Logs that cannot be read are left out: the node may have failed before they
/// existed.
///
/// # Errors
/// Fails if the folder cannot be written to.
pub(crate) async fn collect(node: &impl Node, folder: &Path) -> Result<()> {
    let write = |name: &str, content: &str| {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("write {}", path.display()))
    };
    for (name, command) in FILES {
        if let Ok(output) = node.exec(command).await {
            write(name, &(output.stdout + &output.stderr))?;
        }
    }
    let found = run(node, &["find", PODS, "-name", "*.log"]).await.unwrap_or_default();
    for path in found.lines() {
        if let Ok(log) = run(node, &["cat", path]).await {
            let name = path.trim_start_matches(PODS).trim_start_matches('/');
            write(&format!("pods/{name}"), &log)?;
        }
    }
    Ok(())
}
