//! `e2e-run`: the command ends with its run, however that ends, and nothing is left behind.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::program::{self, Output};
use rustix::process::Signal;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Prepares a run with its own temporary folder.
fn run(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e-run"));
    command.args(arguments).env("TMPDIR", temporary).env_remove("KUBECONFIG");
    command
}

fn is_empty(folder: &Path) -> Result<bool> {
    Ok(std::fs::read_dir(folder)?.next().is_none())
}

#[tokio::test]
async fn a_command_ends_with_its_run() -> Result<()> {
    let signals =
        [(Signal::HUP, Some(129)), (Signal::INT, Some(130)), (Signal::TERM, Some(143)), (Signal::KILL, None)];
    for (signal, code) in signals {
        let temporary = tempfile::tempdir()?;
        // The command starts a child process, as cargo starts the tests.
        let script = "touch $TMPDIR/left; sleep 1000 & echo started; wait";
        let mut running = run(temporary.path(), &["embedded", "--", "sh", "-c", script])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut printed = BufReader::new(running.stdout.take().context("stdout")?);
        let mut line = String::new();
        timeout(PATIENCE, printed.read_line(&mut line)).await.context("it prints nothing")??;
        assert_eq!(line, "started\n");
        assert!(!is_empty(temporary.path())?);

        program::signal(&running, signal)?;
        let status = timeout(PATIENCE, running.wait()).await.context("it still runs")??;
        assert_eq!(status.code(), code, "{signal:?}");
        // The output ends only once all processes have ended.
        let rest = timeout(PATIENCE, printed.read_to_string(&mut line)).await;
        rest.with_context(|| format!("the command still runs after {signal:?}"))??;
        if signal == Signal::KILL {
            run(temporary.path(), &["embedded", "--", "true"]).status().await?;
        }
        ensure!(is_empty(temporary.path())?, "something is left after {signal:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_exit_code_is_that_of_the_command() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    for (command, code) in [("true", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("no-such-program", 127)] {
        let output =
            program::run(run(temporary.path(), &["embedded", "--", "sh", "-c", command]), "").await?;
        assert_eq!(output.code, Some(code), "{command}");
    }
    let output = program::run(run(temporary.path(), &["embedded", "--", "no-such-program"]), "").await?;
    ensure!(output.code == Some(127) && output.stderr.contains("no-such-program"), "{output:?}");
    assert_eq!(program::run(run(temporary.path(), &["embedded"]), "").await?.code, Some(2));
    assert!(is_empty(temporary.path())?);
    Ok(())
}

#[tokio::test]
async fn a_remote_server_is_used_only_on_request() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    let tell = async |server: &str, arguments: &[&str]| -> Result<Output> {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "mine",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "mine", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&path, kubeconfig.to_string())?;
        let command = ["--", "sh", "-c", "cat $E2E_KUBECONFIG"];
        let arguments = [&["existing"], arguments, &command].concat();
        let mut command = run(temporary.path(), &arguments);
        command.env("KUBECONFIG", &path);
        program::run(command, "").await
    };
    let elsewhere = "https://cluster.example.com";
    let refused = tell(elsewhere, &[]).await?;
    assert_eq!((refused.code, &*refused.stdout), (Some(1), ""));
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    for part in ["\"mine\"", elsewhere, "--yes"] {
        ensure!(refused.stderr.contains(part), "no {part} in {}", refused.stderr);
    }
    for (server, arguments) in [(elsewhere, &["--yes"][..]), ("https://127.0.0.1:6443", &[])] {
        let handed: serde_json::Value = serde_json::from_str(&tell(server, arguments).await?.ok()?)?;
        assert_eq!(handed["clusters"][0]["cluster"]["server"], server);
        assert_eq!(handed["current-context"], "admin");
        assert_eq!(handed["users"][1]["user"]["as"], "nobody");
    }
    assert!(is_empty(temporary.path())?);
    Ok(())
}
