//! Manual pages, generated from the definition of the command line so that they always match the help.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::cli;

/// Writes a page for the program and one for each of its commands: `crdctl.1`, `crdctl-watch.1`, `crdctl-crd-print.1`.
pub(crate) fn manual(folder: &Path) -> Result<ExitCode> {
    clap_mangen::generate_to(cli::command(), folder)
        .with_context(|| format!("writing the manual pages to {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    /// Collects the names of the pages for a command and all its visible subcommands.
    fn pages(command: &clap::Command, name: &str, names: &mut BTreeSet<String>) {
        names.insert(format!("{name}.1"));
        for below in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            pages(below, &format!("{name}-{}", below.get_name()), names);
        }
    }

    #[test]
    fn each_command_has_a_manual_page_that_names_its_options() {
        let folder = tempfile::tempdir().unwrap();
        manual(folder.path()).unwrap();
        let mut expected = BTreeSet::new();
        pages(&cli::command(), "crdctl", &mut expected);
        let written: BTreeSet<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(written, expected);
        assert!(written.contains("crdctl-crd-install.1"), "{written:?}");

        let watch = fs::read_to_string(folder.path().join("crdctl-watch.1")).unwrap();
        for option in ["all\\-namespaces", "kubeconfig", "blogs,pods"] {
            assert!(watch.contains(option), "{option} in {watch}");
        }
    }
}
