//! The manifest with which krew installs the program as the kubectl plugin `crd`: as a link with the name `kubectl-crd`.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::target::Target;

/// An archive of the release.
pub(crate) struct Download {
    pub(crate) target: Target,
    pub(crate) file: String,
    pub(crate) sha256: String,
}

/// The name of the plugin, and of its manifest's file.
pub(crate) const PLUGIN: &str = "crd";

/// krew makes no link for completion, and prints this after the installation.
const CAVEATS: &str = "\
To complete `kubectl crd` in the shell, with kubectl's own completion:
  ln -s kubectl-crd \"${KREW_ROOT:-$HOME/.krew}/bin/kubectl_complete-crd\"
";

/// Returns the plugin's manifest in YAML, which refers to the archives of the repository's release `vVERSION`. `name` is the
/// program's file in them.
pub(crate) fn manifest(
    name: &str,
    version: &str,
    description: &str,
    repository: &str,
    downloads: &[Download],
) -> Result<String> {
    let platform = |download: &Download| Platform {
        selector: Selector { match_labels: Labels { os: "linux", arch: download.target.architecture() } },
        uri: format!("{repository}/releases/download/v{version}/{}", download.file),
        sha256: download.sha256.clone(),
        bin: name.to_owned(),
        files: [name, "LICENSE", "THIRD-PARTY-LICENSES.txt"]
            .map(|file| Copied { from: format!("*/{file}"), to: "." })
            .to_vec(),
    };
    let plugin = Plugin {
        api_version: "krew.googlecontainertools.github.com/v1alpha2",
        kind: "Plugin",
        metadata: Metadata { name: PLUGIN },
        spec: Spec {
            version: format!("v{version}"),
            homepage: repository,
            short_description: "Watch any resource through a cache",
            description,
            caveats: CAVEATS,
            platforms: downloads.iter().map(platform).collect(),
        },
    };
    let yaml = serde_saphyr::to_string(&plugin).context("writing the krew manifest as YAML")?;
    Ok(format!("# Written by `cargo xtask dist`.\n{yaml}"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plugin<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    version: String,
    homepage: &'a str,
    short_description: &'a str,
    description: &'a str,
    caveats: &'a str,
    platforms: Vec<Platform>,
}

#[derive(Serialize)]
struct Platform {
    selector: Selector,
    uri: String,
    sha256: String,
    bin: String,
    files: Vec<Copied>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    match_labels: Labels,
}

#[derive(Serialize)]
struct Labels {
    os: &'static str,
    arch: &'static str,
}

/// A file of the archive, and the folder that it is installed to.
#[derive(Clone, Serialize)]
struct Copied {
    from: String,
    to: &'static str,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_manifest_names_each_archive_and_its_checksum() {
        let download = |target, file: &str, sha256: &str| Download {
            target,
            file: file.to_owned(),
            sha256: sha256.to_owned(),
        };
        let downloads = [
            download(Target::X86_64, "crdctl-1.2.3-x86_64-unknown-linux-musl.tar.gz", "aa"),
            download(Target::Aarch64, "crdctl-1.2.3-aarch64-unknown-linux-musl.tar.gz", "bb"),
        ];
        let yaml =
            manifest("crdctl", "1.2.3", "What it is", "https://example.com/owner/name", &downloads).unwrap();
        let manifest: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
        assert_eq!((&manifest["kind"], &manifest["metadata"]["name"]), (&json!("Plugin"), &json!("crd")));
        let spec = &manifest["spec"];
        assert_eq!((&spec["version"], &spec["description"]), (&json!("v1.2.3"), &json!("What it is")));
        assert!(spec["caveats"].as_str().unwrap().contains("kubectl_complete-crd"), "{spec}");
        // krew-index's limit for a short description.
        assert!(spec["shortDescription"].as_str().unwrap().len() < 50, "{spec}");
        let platforms = spec["platforms"].as_array().unwrap();
        for (platform, (arch, download)) in platforms.iter().zip(["amd64", "arm64"].iter().zip(&downloads)) {
            assert_eq!(platform["selector"]["matchLabels"], json!({"os": "linux", "arch": arch}));
            let uri = format!("https://example.com/owner/name/releases/download/v1.2.3/{}", download.file);
            assert_eq!((&platform["uri"], &platform["sha256"]), (&json!(uri), &json!(download.sha256)));
            assert_eq!(platform["bin"], "crdctl");
            assert_eq!(platform["files"][0], json!({"from": "*/crdctl", "to": "."}));
        }
        assert_eq!(platforms.len(), 2);
    }
}
