//! The name by which the user called the program: `crdctl`, or `kubectl crd` as a plugin of kubectl.
//!
//! kubectl runs a plugin by a file name such as `kubectl-crd`, and asks `kubectl_complete-crd` for completions (kubectl's
//! `pkg/cmd/plugin`). Both may be links to this program.

use std::{borrow::Cow, env, path::Path, sync::OnceLock};

/// The program's own name.
const NAME: &str = env!("CARGO_BIN_NAME");

/// Returns the name to write in messages: `crdctl`, or `kubectl crd`.
pub(crate) fn name() -> &'static str {
    static CALLED: OnceLock<String> = OnceLock::new();
    CALLED.get_or_init(|| plugin(&called()).unwrap_or_else(|| NAME.to_owned()))
}

/// Returns the name of the file that a shell finds: `crdctl`, or `kubectl-crd`.
pub(crate) fn file() -> String {
    let called = called();
    if called.starts_with("kubectl-") { called } else { NAME.to_owned() }
}

/// Whether kubectl runs the program to complete a command line of the plugin.
pub(crate) fn completes_for_kubectl() -> bool {
    called().starts_with("kubectl_complete-")
}

/// Replaces the program's own name in the commands that a text quotes.
pub(crate) fn named(text: &str) -> Cow<'_, str> {
    match name() {
        NAME => Cow::Borrowed(text),
        called => Cow::Owned(text.replace(&format!("`{NAME} "), &format!("`{called} "))),
    }
}

/// Puts the name by which the program was called in a command's usage and help.
pub(crate) fn renamed(command: clap::Command) -> clap::Command {
    let command = command.bin_name(name());
    if name() == NAME { command } else { with_name(command) }
}

fn with_name(mut command: clap::Command) -> clap::Command {
    if let Some(about) = command.get_about() {
        let about = named(&about.to_string()).into_owned();
        command = command.about(about);
    }
    command
        .mut_args(|arg| match arg.get_help() {
            Some(help) => {
                let help = named(&help.to_string()).into_owned();
                arg.help(help)
            }
            None => arg,
        })
        .mut_subcommands(with_name)
}

/// Returns the name of the file by which the program was called.
pub(crate) fn called() -> String {
    let path = env::args_os().next().unwrap_or_default();
    Path::new(&path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the command that runs a plugin with this file name. kubectl reads `-` as a space, and `_` as `-`.
fn plugin(file: &str) -> Option<String> {
    let words = file.strip_prefix("kubectl-").or_else(|| file.strip_prefix("kubectl_complete-"))?;
    Some(format!("kubectl {}", words.replace('-', " ").replace('_', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_named_as_kubectl_names_it() {
        let named = |file| plugin(file);
        assert_eq!(named("kubectl-crd").as_deref(), Some("kubectl crd"));
        assert_eq!(named("kubectl_complete-crd").as_deref(), Some("kubectl crd"));
        assert_eq!(named("kubectl-my_crd-watch").as_deref(), Some("kubectl my-crd watch"));
        assert_eq!(named("crdctl"), None);
    }
}
