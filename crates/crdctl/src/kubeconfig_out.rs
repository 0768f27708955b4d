//! The kubeconfig that `crdctl demo` and `crdctl serve` write for their server. It is secret. A file is only ever replaced
//! or removed if it is exactly as crdctl wrote it: its first line contains a hash of the rest.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use kube::config::Kubeconfig;
use tempfile::NamedTempFile;

/// How long a kubeconfig is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Until the command ends, which removes the file.
    Command,
    /// As long as the data folder, that is, also for the next server that uses it.
    Data,
}

/// A kubeconfig in a file.
pub(crate) struct KubeconfigFile {
    path: PathBuf,
    content: String,
    lifetime: Lifetime,
}

impl KubeconfigFile {
    /// Writes the file atomically, readable only by its owner. Without a path, it is a temporary file.
    pub(crate) fn write(path: Option<PathBuf>, kubeconfig: &Kubeconfig, lifetime: Lifetime) -> Result<Self> {
        let yaml = yaml(kubeconfig)?;
        let content = mark(&yaml) + &yaml;
        let path = match path {
            Some(path) => {
                let path = std::path::absolute(&path)
                    .with_context(|| format!("cannot write the kubeconfig {}", path.display()))?;
                let failed = || format!("cannot write the kubeconfig {}", path.display());
                let file = written(path.parent().unwrap_or(&path), &content).with_context(failed)?;
                if is_ours(&path)? {
                    file.persist(&path).map_err(|error| error.error).with_context(failed)?;
                } else {
                    file.persist_noclobber(&path).map_err(|error| error.error).with_context(failed)?;
                }
                path
            }
            None => {
                let file = written(&std::env::temp_dir(), &content)
                    .context("cannot write a temporary kubeconfig")?;
                let (_, path) = file.keep().context("cannot keep the temporary kubeconfig")?;
                path
            }
        };
        Ok(Self { path, content, lifetime })
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for KubeconfigFile {
    /// Removes a file that is no longer valid, unless it was changed in the meantime.
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Command
            && fs::read_to_string(&self.path).is_ok_and(|found| found == self.content)
        {
            // It is too late to report an error. A file that stays is replaced by the next command.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes each value on the line of its key, however long it is, because scripts read kubeconfigs with grep and awk.
pub(crate) fn yaml(kubeconfig: &Kubeconfig) -> Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(kubeconfig, options).context("writing the kubeconfig as YAML")
}

/// Returns the first line of a file. It must never change, because other versions of crdctl have to recognize it, built
/// with whatever compiler.
fn mark(yaml: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, yaml.as_bytes());
    let hash: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("# Written by crdctl ({hash}), which replaces it unless it is edited.\n")
}

fn written(folder: &Path, content: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("crdctl-").suffix(".kubeconfig").tempfile_in(folder)?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Whether `path` exists and is exactly as an earlier crdctl wrote it. Fails if it is any other file.
fn is_ours(path: &Path) -> Result<bool> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Ok(found) if found.split_once('\n').is_some_and(|(first, yaml)| mark(yaml).trim_end() == first) => {
            Ok(true)
        }
        Err(error) if error.kind() != io::ErrorKind::InvalidData => {
            Err(error).with_context(|| format!("cannot read {}", path.display()))
        }
        _ => bail!("{} exists and was not written by crdctl; choose another file", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_mark_is_the_same_in_every_version() {
        let expected = "# Written by crdctl (5d060abdde881925), which replaces it unless it is edited.\n";
        assert_eq!(mark("apiVersion: v1\nkind: Config\n"), expected);
    }

    /// As `awk '/certificate-authority-data/ {print $2}'` reads it.
    #[test]
    fn each_value_is_on_the_line_of_its_key() {
        let long = format!("{}==", "QUJD".repeat(1000));
        let kubeconfig: Kubeconfig = serde_json::from_value(serde_json::json!({
            "current-context": "c",
            "clusters": [{"name": "n", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": long}}],
            "users": [{"name": "u", "user": {"token": long, "client-key-data": long}}],
        }))
        .unwrap();
        let yaml = yaml(&kubeconfig).unwrap();
        let read = |key: &str| {
            let line = yaml.lines().find(|line| line.contains(key)).unwrap();
            line.split_whitespace().nth(1).unwrap_or_default().to_owned()
        };
        for key in ["certificate-authority-data:", "token:", "client-key-data:"] {
            assert_eq!(read(key), long, "{key}");
        }
        assert_eq!(
            (read("server:"), read("current-context:")),
            ("https://127.0.0.1:6443".into(), "c".into())
        );
        assert_eq!(
            serde_saphyr::from_str::<serde_json::Value>(&yaml).unwrap()["users"][0]["user"]["token"],
            long
        );
    }

    #[test]
    fn the_kubeconfig_is_private_replaces_only_our_own_and_is_removed_with_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let write_for =
            |lifetime| KubeconfigFile::write(Some(path.clone()), &Kubeconfig::default(), lifetime);
        let write = || write_for(Lifetime::Command);

        let first = write().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // A second command takes over a file that a killed one left.
        let second = write().unwrap();
        std::mem::forget(first);
        drop(second);
        assert!(!path.exists());

        // One that is valid for longer stays.
        drop(write_for(Lifetime::Data).unwrap());
        assert!(path.exists());

        fs::write(&path, "apiVersion: v1\n").unwrap();
        let Err(error) = write() else { panic!("replaced a file of the user") };
        assert!(error.to_string().contains("was not written by crdctl"), "{error:#}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "apiVersion: v1\n");

        // A file that was edited in the meantime is left alone, by this command and by the next.
        fs::remove_file(&path).unwrap();
        let third = write().unwrap();
        let edited = fs::read_to_string(&path).unwrap() + "# mine\n";
        fs::write(&path, &edited).unwrap();
        drop(third);
        assert!(write().is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), edited);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left behind");
    }
}
