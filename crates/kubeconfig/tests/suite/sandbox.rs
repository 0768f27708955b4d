//! A temporary folder for a test, and an environment that goes with it.

use std::path::{Path, PathBuf};

use kubeconfig::{Environment, Options, ResolvedConfig};

/// Deleted with the test.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let mut sandbox = Self { dir: tempfile::tempdir().unwrap(), variables: Vec::new() };
        sandbox.set("HOME", &sandbox.path("home").display().to_string());
        // Where the scripts that act as exec plugins find sh and echo.
        sandbox.set("PATH", &std::env::var("PATH").unwrap());
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        // Canonical, because a temporary folder may lie behind a symbolic link.
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes a shell script. Each run adds a line to `<name>.calls`.
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let calls = self.path(&format!("{name}.calls"));
        let path = self.write(name, format!("#!/bin/sh\necho call >> '{}'\n{body}\n", calls.display()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    /// How often a script has run.
    pub(crate) fn calls(&self, name: &str) -> usize {
        self.read(&format!("{name}.calls")).lines().count()
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Puts these files, by name, into `KUBECONFIG`.
    pub(crate) fn kubeconfig(&mut self, names: &[&str]) {
        let paths: Vec<_> = names.iter().map(|name| self.path(name)).collect();
        let value = std::env::join_paths(paths).unwrap().into_string().unwrap();
        self.set("KUBECONFIG", &value);
    }

    /// Makes this a pod, with `token`, `ca.crt` and `namespace` in `serviceaccount/`.
    pub(crate) fn pod(&mut self, host: &str, port: u16) {
        self.set("KUBERNETES_SERVICE_HOST", host);
        self.set("KUBERNETES_SERVICE_PORT", &port.to_string());
        self.write("serviceaccount/token", "pod-token\n");
    }

    pub(crate) fn environment(&self) -> Environment {
        let start = Environment::new(self.path("")).with_service_account_dir(self.path("serviceaccount"));
        self.variables.iter().fold(start, |environment, (name, value)| environment.with_variable(name, value))
    }

    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    pub(crate) fn options(&self) -> Options {
        Options::default().environment(self.environment())
    }

    pub(crate) fn load(&self) -> Result<ResolvedConfig, kubeconfig::Error> {
        self.options().load()
    }
}

/// A complete kubeconfig with one context `ctx`, whose cluster and user have these fields.
pub(crate) fn one(cluster: &str, user: &str) -> String {
    format!(
        "current-context: ctx\n\
         clusters: [{{name: cl, cluster: {{{cluster}}}}}]\n\
         users: [{{name: me, user: {{{user}}}}}]\n\
         contexts: [{{name: ctx, context: {{cluster: cl, user: me}}}}]\n"
    )
}

pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
