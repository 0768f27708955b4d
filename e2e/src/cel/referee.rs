//! The program in `e2e/cel`, which answers as cel-go and kube-apiserver do.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::{go, need::Skipped, program};

/// The program, which is built.
#[derive(Debug, Clone)]
pub struct Referee(PathBuf);

/// A kind of questions; `e2e/cel` describes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Questions {
    /// About CRDs' rules, such as [`super::case`] makes them.
    Rules,
    /// About single expressions.
    Expressions,
}

impl Referee {
    /// Builds the program, or returns why that is not possible.
    ///
    /// # Errors
    /// Fails if it does not compile.
    pub async fn build() -> Result<Result<Self, Skipped>> {
        Ok(go::cel().await?.map(Self))
    }

    /// Asks questions, and returns an answer to each.
    ///
    /// # Errors
    /// Fails if the program fails or takes longer than a minute. A question that it does not understand is an answer.
    pub async fn ask(&self, kind: Questions, questions: &[Value]) -> Result<Vec<Value>> {
        let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
        let command = match kind {
            Questions::Rules => "rules",
            Questions::Expressions => "expr",
        };
        let answers = self.run(command, &lines).await?;
        ensure!(
            answers.len() == questions.len(),
            "{} answers to {} questions",
            answers.len(),
            questions.len()
        );
        Ok(answers)
    }

    /// The cases of cel-spec, as `e2e/cel/conformance.go` describes them.
    ///
    /// # Errors
    /// Fails if the program fails.
    pub async fn conformance(&self) -> Result<Vec<Value>> {
        self.run("conformance", "").await
    }

    async fn run(&self, subcommand: &str, input: &str) -> Result<Vec<Value>> {
        let mut command = Command::new(&self.0);
        // cel-spec's cases are found from the folder of the Go module.
        command.arg(subcommand).current_dir(go::folder("cel"));
        go::offline(&mut command);
        let output = program::run(command, input).await?.ok()?;
        output.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }
}
