//! `crdctl demo`: an API server in this process, with the Blog CRD and a blog on it, watched.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use blog_api::{Blog, BlogSpec};
use kube::{Api, CustomResourceExt, api::PostParams, config::Kubeconfig};
use kube_embedded::{Endpoint, Server};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Cluster, DemoArgs},
    connection::Connection,
    crd,
    resource::Request,
    shutdown,
    stdio::say,
    watch::{self, Target},
};

/// The namespace of the demo's blog.
const NAMESPACE: &str = "default";
/// The first line of a kubeconfig that the demo wrote. Only a file that is as the demo wrote it is ever replaced or
/// removed: the line has a hash of what follows it.
fn mark(yaml: &str) -> String {
    let mut hash = DefaultHasher::new();
    yaml.hash(&mut hash);
    format!("# Written by `crdctl demo` ({:016x}), which removes it when it ends.\n", hash.finish())
}

/// Runs `crdctl demo`.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode> {
    let stop = CancellationToken::new();
    shutdown::until_signal(stop.clone(), demo(args, stop)).await
}

async fn demo(args: DemoArgs, stop: CancellationToken) -> Result<ExitCode> {
    let server = Server::start();
    let endpoint = listen(&server, args.port).await?;
    let file = KubeconfigFile::write(args.kubeconfig_out, &endpoint.kubeconfig())?;
    // The way of every user of that file, from here on.
    let connection = Connection::new(&Cluster {
        kubeconfig: Some(file.path.clone()),
        context: None,
        request_timeout: None,
    })?;
    welcome(&connection.server, &file.path);
    crd::install(&connection, false).await?;
    if !args.empty {
        let blog = Blog::new("blog-sample", BlogSpec { url: "https://example.com/blog".into() });
        let blogs: Api<Blog> = Api::namespaced(connection.client.clone(), NAMESPACE);
        connection.ask("create blog-sample", blogs.create(&PostParams::default(), &blog)).await?;
    }
    let target = Target {
        request: Request { resource: Blog::crd_name().into(), name: None },
        namespace: Some(NAMESPACE.into()),
        labels: None,
        fields: None,
        every: Some(args.every),
        output: args.output,
    };
    let code = watch::watch(connection, target, stop).await;
    endpoint.stop().await;
    code
}

async fn listen(server: &Server, port: Option<u16>) -> Result<Endpoint> {
    server.listen(&format!("127.0.0.1:{}", port.unwrap_or(0))).await.with_context(|| match port {
        Some(port) => format!("--port {port} cannot be used, another one or none may do"),
        None => "no free port can be used".into(),
    })
}

fn welcome(server: &str, kubeconfig: &Path) {
    let path = kubeconfig.display().to_string();
    say(&format!("API server: {server}"));
    say(&format!("kubeconfig: {path}"));
    say(&format!("try, in another terminal: kubectl --kubeconfig {} get blogs", quoted(&path)));
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// A kubeconfig that lives as long as the demo.
struct KubeconfigFile {
    path: PathBuf,
    content: String,
}

impl KubeconfigFile {
    /// Writes the file in one step, readable by its owner alone.
    fn write(path: Option<PathBuf>, kubeconfig: &Kubeconfig) -> Result<Self> {
        let yaml = serde_saphyr::to_string(kubeconfig).context("writing the kubeconfig as YAML")?;
        let content = mark(&yaml) + &yaml;
        let path = match path {
            Some(path) => {
                let path = std::path::absolute(&path)
                    .with_context(|| format!("cannot write --kubeconfig-out {}", path.display()))?;
                let failed = || format!("cannot write --kubeconfig-out {}", path.display());
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
        Ok(Self { path, content })
    }
}

impl Drop for KubeconfigFile {
    /// Removes the file, unless somebody else has written it since.
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).is_ok_and(|found| found == self.content) {
            // It can no longer be told to anybody; a stale file is replaced by the next demo.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn written(folder: &Path, content: &str) -> io::Result<NamedTempFile> {
    let mut file =
        tempfile::Builder::new().prefix("crdctl-demo-").suffix(".kubeconfig").tempfile_in(folder)?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Whether `path` is a file as a demo wrote it, left behind by one that was killed; an error when it is another one.
fn is_ours(path: &Path) -> Result<bool> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Ok(found) if found.split_once('\n').is_some_and(|(first, yaml)| mark(yaml).trim_end() == first) => {
            Ok(true)
        }
        Err(error) if error.kind() != io::ErrorKind::InvalidData => {
            Err(error).with_context(|| format!("cannot look at --kubeconfig-out {}", path.display()))
        }
        _ => bail!("--kubeconfig-out {} exists and is not the demo's; name another file", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_path_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("/tmp/a-b.c_d"), "/tmp/a-b.c_d");
        assert_eq!(quoted("/my dir/it's"), r"'/my dir/it'\''s'");
    }

    #[test]
    fn the_kubeconfig_is_private_replaces_only_a_demos_own_and_goes_with_the_demo() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let write = || KubeconfigFile::write(Some(path.clone()), &Kubeconfig::default());

        let first = write().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // A second demo takes over a file that a killed one left.
        let second = write().unwrap();
        std::mem::forget(first);
        drop(second);
        assert!(!path.exists());

        fs::write(&path, "apiVersion: v1\n").unwrap();
        let Err(error) = write() else { panic!("replaced somebody's file") };
        assert!(error.to_string().contains("is not the demo's"), "{error:#}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "apiVersion: v1\n");

        // A file that was edited since is left alone, by this demo and by the next.
        fs::remove_file(&path).unwrap();
        let third = write().unwrap();
        let edited = fs::read_to_string(&path).unwrap() + "# mine\n";
        fs::write(&path, &edited).unwrap();
        drop(third);
        assert!(write().is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), edited);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }
}
