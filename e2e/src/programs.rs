//! Runs programs against a test's cluster: kubectl, and the program in `e2e/go`.

use std::{ffi::OsStr, process::Stdio};

use anyhow::{Context as _, Result};
use tokio::process::{Child, Command};

use crate::{
    cluster::Cluster,
    go,
    program::{self, Output},
};

impl Cluster {
    /// Runs kubectl as the administrator, in the test's namespace. Only for tests that need [`crate::Need::Kubectl`].
    ///
    /// # Errors
    /// Fails if it cannot be run or takes longer than a minute. A kubectl that fails is not an error but an [`Output`].
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.kubectl_reading("", arguments).await
    }

    /// Runs kubectl with `input` as its stdin.
    ///
    /// # Errors
    /// Fails as [`Cluster::kubectl`] does.
    pub async fn kubectl_reading(&self, input: &str, arguments: &[&str]) -> Result<Output> {
        program::run(self.kubectl_command(arguments)?, input).await
    }

    /// Starts kubectl in the background, to read its output while it runs. It is killed when the handle is dropped.
    ///
    /// # Errors
    /// Fails if it cannot be run.
    pub fn kubectl_in_background(&self, arguments: &[&str]) -> Result<Child> {
        let mut command = self.kubectl_command(arguments)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("run kubectl")
    }

    fn kubectl_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(program::kubectl().context("there is no kubectl")?);
        let (kubeconfig, cache) = (self.kubeconfig_file()?, self.folder().join("kubectl-cache"));
        let common: [&OsStr; 6] = [
            "--kubeconfig".as_ref(),
            kubeconfig.as_os_str(),
            "--cache-dir".as_ref(),
            cache.as_os_str(),
            "--namespace".as_ref(),
            self.namespace().as_ref(),
        ];
        command.args(arguments).args(common).env("TMPDIR", self.folder()).kill_on_drop(true);
        Ok(command)
    }

    /// Runs a scenario of the program in `e2e/go`, as the administrator, in the test's namespace. Only for tests that need
    /// [`crate::Need::Go`].
    ///
    /// # Errors
    /// Fails if it cannot be run or takes longer than a minute. A scenario that fails is not an error but an [`Output`].
    pub async fn go(&self, scenario: &str) -> Result<Output> {
        program::run(self.go_command(scenario).await?, "").await
    }

    /// Prepares the same scenario to be run in another way.
    ///
    /// # Errors
    /// Fails if the program does not build.
    pub async fn go_command(&self, scenario: &str) -> Result<Command> {
        let program = go::clients().await?.map_err(|skipped| anyhow::anyhow!(skipped.0))?;
        let mut command = Command::new(program);
        command.arg(self.kubeconfig_file()?).args([self.namespace(), scenario]);
        Ok(command)
    }
}
