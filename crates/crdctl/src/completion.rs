//! Completion in a shell. The script of `crdctl completion` calls the program for each request, with the words of the
//! command line, by the protocol of clap's dynamic engine. kubectl calls a plugin's program for completions instead.
//!
//! A request writes nothing but candidates, has no terminal, and takes little more than [`candidates::LIMIT`].

mod bash;
mod candidates;
mod unasked;

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap_complete::{
    CompleteEnv, Shell,
    engine::{self, CompletionCandidate},
    env::{Elvish, Fish, Powershell, Shells, Zsh},
};

use self::{bash::Bash, unasked::WithoutOptions};
use crate::{cli, program, stdio};

/// The environment variable in which a script names its shell.
const VARIABLE: &str = "CRDCTL_COMPLETE";

const SHELLS: Shells<'static> = Shells(&[
    &Bash,
    &WithoutOptions(Elvish),
    &WithoutOptions(Fish),
    &WithoutOptions(Powershell),
    &WithoutOptions(Zsh),
]);

/// Answers a request for completions, if this process was started for one. Reports whether it was.
///
/// Whatever fails, nothing is offered and nothing is written: the user is in the middle of a line.
pub(crate) fn respond() -> bool {
    let shell = env::var(VARIABLE).ok().filter(|shell| !shell.is_empty());
    let answered = match shell {
        None if !program::completes_for_kubectl() => return false,
        None => without_terminal().and_then(|()| for_kubectl()),
        Some(shell) => without_terminal().and_then(|()| for_shell(&shell)),
    };
    // An error is the same as no candidates.
    drop(answered);
    true
}

/// Prints the script that registers the program with a shell.
pub(crate) fn print_script(shell: Shell) -> Result<ExitCode> {
    let name = shell.to_string();
    let file = program::file();
    let mut script = Vec::new();
    SHELLS
        .completer(&name)
        .with_context(|| format!("no completion for {name}"))?
        .write_registration(VARIABLE, &file, &file, &file, &mut script)
        .context("writing the script")?;
    let mut script = String::from_utf8(script).context("writing the script")?;
    if shell == Shell::Zsh {
        script += &zsh_autoload(&file);
    }
    stdio::print(&script)
}

/// zsh reads a script in `fpath` as the body of the function that completes, and clap's only defines that function.
fn zsh_autoload(file: &str) -> String {
    let name = file.replace('-', "_");
    format!("if [[ $funcstack[1] == _{file} ]]; then\n    _clap_dynamic_completer_{name} \"$@\"\nfi\n")
}

/// Detaches the process from its terminal, so that no credential plugin can ask a question there, and discards what is
/// written to stderr, also by plugins.
fn without_terminal() -> io::Result<()> {
    rustix::process::setsid()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

fn for_shell(shell: &str) -> io::Result<()> {
    // The words follow `--`.
    let words: Vec<OsString> = env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let words = if shell == "bash" { bash::Line::new(words).words } else { words };
    CompleteEnv::with_factory(|| candidates::offer(cli::command(), &words))
        .var(VARIABLE)
        .shells(SHELLS)
        .try_complete(env::args_os(), env::current_dir().ok().as_deref())
        .map_err(io::Error::other)?;
    Ok(())
}

/// Answers kubectl, which passes the words after the plugin's name, and reads a line for each candidate with a tab before
/// its description, then flags of cobra's `ShellCompDirective` (kubectl's `pkg/cmd/plugin/plugin_completion.go`).
fn for_kubectl() -> io::Result<()> {
    let name = OsString::from(env!("CARGO_BIN_NAME"));
    let words: Vec<OsString> = [name].into_iter().chain(env::args_os().skip(1)).collect();
    let last = words.len() - 1;
    let mut command = candidates::offer(cli::command(), &words);
    let word = words[last].clone();
    let mut found = engine::complete(&mut command, words, last, env::current_dir().ok().as_deref())?;
    found.retain(|found| !unasked::is_unasked(Some(&word), &found.get_value().to_string_lossy()));
    let mut text: String = found.iter().map(line_for_kubectl).collect();
    let (no_space, no_files) = (2, 4);
    let continues = |found: &CompletionCandidate| found.get_value().to_string_lossy().ends_with('/');
    let flags = if found.iter().any(continues) { no_space | no_files } else { no_files };
    text += &format!(":{flags}\n");
    io::stdout().write_all(text.as_bytes())
}

fn line_for_kubectl(candidate: &CompletionCandidate) -> String {
    let value = candidate.get_value().to_string_lossy();
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    match help.lines().next() {
        Some(help) => format!("{value}\t{help}\n"),
        None => format!("{value}\n"),
    }
}
