//! A node that records the steps performed on it, and fails where a test wants it to.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use super::node::Node;
use crate::program::Output;

/// The recording node.
#[derive(Default)]
pub(crate) struct Recording {
    answers: Vec<(&'static str, String)>,
    fails: Option<(String, &'static str)>,
    steps: Mutex<Vec<Step>>,
}

/// A recorded step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Exec(String),
    Upload { path: String, content: String },
}

impl Recording {
    /// Makes commands that begin with `command` print `answer`. Other commands print nothing.
    pub(crate) fn answering(mut self, command: &'static str, answer: &str) -> Recording {
        self.answers.push((command, answer.to_owned()));
        self
    }

    /// Makes the step of this name fail each time.
    pub(crate) fn failing(self, step: &str) -> Recording {
        self.failing_with(step, "first line\nwhat is wrong\n")
    }

    /// Makes the step of this name fail each time, and print `said`.
    pub(crate) fn failing_with(mut self, step: &str, said: &'static str) -> Recording {
        self.fails = Some((step.to_owned(), said));
        self
    }

    /// Returns the names of the steps: commands verbatim, files as `upload PATH`. Retries are not repeated.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.steps().iter().map(Step::name).collect();
        names.dedup();
        names
    }

    /// Returns the content of an uploaded file.
    pub(crate) fn uploaded(&self, wanted: &str) -> String {
        let found = self.steps().into_iter().find_map(|step| match step {
            Step::Upload { path, content } if path == wanted => Some(content),
            _ => None,
        });
        found.unwrap_or_default()
    }

    fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records a step. Returns what it prints if it is to fail.
    fn record(&self, step: Step) -> Option<&'static str> {
        let fails = self.fails.as_ref().filter(|(fails, _)| *fails == step.name()).map(|(_, said)| *said);
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        fails
    }
}

impl Step {
    fn name(&self) -> String {
        match self {
            Step::Exec(command) => command.clone(),
            Step::Upload { path, .. } => format!("upload {path}"),
        }
    }
}

impl Node for Recording {
    async fn exec(&self, command: &[&str]) -> Result<Output> {
        let text = command.join(" ");
        if let Some(said) = self.record(Step::Exec(text.clone())) {
            return Ok(Output { code: Some(1), stdout: String::new(), stderr: said.to_owned() });
        }
        let answer = self.answers.iter().find(|(command, _)| text.starts_with(command));
        let stdout = answer.map(|(_, answer)| answer.clone()).unwrap_or_default();
        Ok(Output { code: Some(0), stdout, stderr: String::new() })
    }

    async fn upload(&self, path: &str, content: &[u8]) -> Result<()> {
        let content = String::from_utf8_lossy(content).into_owned();
        if self.record(Step::Upload { path: path.to_owned(), content }).is_some() {
            bail!("the engine refuses")
        }
        Ok(())
    }
}
