//! Options are only offered after a `-`, as by kubectl: clap's engine also lists them all at the beginning of a word.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::Path,
};

use clap_complete::env::EnvCompleter;

/// A shell that is not offered options at the beginning of a word.
pub(super) struct WithoutOptions<S>(pub(super) S);

impl<S: EnvCompleter> EnvCompleter for WithoutOptions<S> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is(&self, name: &str) -> bool {
        self.0.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> io::Result<()> {
        self.0.write_registration(var, name, bin, completer, buf)
    }

    fn write_complete(
        &self,
        cmd: &mut clap::Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn Write,
    ) -> io::Result<()> {
        // zsh and elvish pass the index of the word at the cursor; for the others, it is the last one.
        let index = env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
        let word = args.get(index.unwrap_or(args.len().saturating_sub(1))).cloned();
        let mut all = Vec::new();
        self.0.write_complete(cmd, args, current_dir, &mut all)?;
        // Every shell gets a line for each candidate, with its value first.
        for line in String::from_utf8_lossy(&all).lines().filter(|line| !is_unasked(word.as_deref(), line)) {
            writeln!(buf, "{line}")?;
        }
        Ok(())
    }
}

/// Whether a candidate is an option, although nothing was typed of the word that is completed.
pub(super) fn is_unasked(word: Option<&OsStr>, candidate: &str) -> bool {
    word.is_none_or(OsStr::is_empty) && candidate.starts_with('-')
}
