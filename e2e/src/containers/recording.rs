//! A node that writes down what is done to it, and fails where a test wants it to.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use super::node::Node;
use crate::program::Output;

/// The tests' node.
#[derive(Default)]
pub(crate) struct Recording {
    answers: Vec<(&'static str, String)>,
    fails: Option<(String, &'static str)>,
    steps: Mutex<Vec<Step>>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Exec(String),
    Upload { path: String, content: String },
}

impl Recording {
    /// A command that begins like this prints that; others print nothing.
    pub(crate) fn answering(mut self, command: &'static str, answer: &str) -> Recording {
        self.answers.push((command, answer.to_owned()));
        self
    }

    /// A step of this name fails, each time.
    pub(crate) fn failing(self, step: &str) -> Recording {
        self.failing_with(step, "first line\nwhat is wrong\n")
    }

    /// A step of this name fails, each time, and says this.
    pub(crate) fn failing_with(mut self, step: &str, said: &'static str) -> Recording {
        self.fails = Some((step.to_owned(), said));
        self
    }

    /// The names of what was done: a command as it is, a file as `upload PATH`. What was tried again is there once.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.steps().iter().map(Step::name).collect();
        names.dedup();
        names
    }

    /// What a file was given.
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

    /// Writes it down; what it says if it fails.
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
