//! The files in an archive in addition to the program: completion scripts, manual pages, and licence texts.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{Metadata, Package};

use super::packages::Packages;

/// Paths in the archive, and the files' contents.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// The names of the shells, and the file name that each uses for a command's script.
const SCRIPTS: [(&str, &str); 5] = [
    ("bash", "crdctl.bash"),
    ("elvish", "crdctl.elv"),
    ("fish", "crdctl.fish"),
    ("powershell", "_crdctl.ps1"),
    ("zsh", "_crdctl"),
];

/// Prefixes of the names of licence files in a package, in lower case.
const LICENCES: [&str; 5] = ["license", "licence", "copying", "notice", "unlicense"];

/// Returns the files that the program itself generates.
pub(crate) fn generated(program: &Path) -> Result<Files> {
    let mut files = Files::new();
    for (shell, file) in SCRIPTS {
        let script = output(Command::new(program).args(["completion", shell]))?.stdout;
        ensure!(!script.is_empty(), "the completion script for {shell} is empty");
        files.push((format!("completions/{file}"), script));
    }
    let folder = tempfile::tempdir().context("creating a folder for the manual pages")?;
    output(Command::new(program).arg("manual").arg(folder.path()))?;
    for entry in fs::read_dir(folder.path()).context("reading the manual pages")? {
        let path = entry.context("reading the manual pages")?.path();
        let name = path.file_name().unwrap_or_default().display().to_string();
        let page = fs::read(&path).with_context(|| format!("reading {name}"))?;
        files.push((format!("man/man1/{name}"), page));
    }
    ensure!(files.len() > SCRIPTS.len(), "there are no manual pages");
    Ok(files)
}

/// Returns the files that are written by hand, or by the authors of dependencies.
pub(crate) fn documents(metadata: &Metadata, package: &Package, packages: &Packages<'_>) -> Result<Files> {
    let readme = package.readme().with_context(|| format!("{} has no readme", package.name))?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    Ok(vec![
        ("LICENSE".to_owned(), read(metadata.workspace_root.join("LICENSE").as_std_path())?),
        ("README.md".to_owned(), read(readme.as_std_path())?),
        ("THIRD-PARTY-LICENSES.txt".to_owned(), third_parties(packages)?.into_bytes()),
    ])
}

/// Returns the licences of all third-party packages. Most require that their text is distributed with a binary; the MPL also
/// requires information on where to get the source.
fn third_parties(packages: &Packages<'_>) -> Result<String> {
    let mut list = String::from(
        "This program contains the following packages, unmodified, as published in their registry. Each is listed with its \
         licence, its source and its authors; the texts of the licences follow.\n\n",
    );
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((name, version), part) in packages.parts.iter().filter(|(_, part)| part.package.source.is_some()) {
        let license = part.package.license.as_deref().unwrap_or("see its text");
        let source = part.package.repository.iter().map(String::as_str);
        let authors = part.package.authors.iter().map(String::as_str);
        let line: Vec<&str> = [license].into_iter().chain(source).chain(authors).collect();
        writeln!(list, "{name} {version}: {}", line.join("; ")).context("writing the list")?;
        let folder = part.package.manifest_path.parent().context("a manifest is in a folder")?;
        for text in licences(folder.as_std_path())? {
            texts.entry(text).or_default().push(format!("{name} {version}"));
        }
    }
    // Sorted by package, not by text.
    let mut texts: Vec<_> = texts.into_iter().map(|(text, users)| (users, text)).collect();
    texts.sort();
    for (users, text) in texts {
        let rule = "-".repeat(80);
        write!(list, "\n{rule}\n{}\n{rule}\n\n{text}\n", users.join(", ")).context("writing the texts")?;
    }
    Ok(list)
}

/// Returns the licence texts in a package's own folder, ordered by file name.
fn licences(folder: &Path) -> Result<Vec<String>> {
    let context = || format!("reading {}", folder.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && LICENCES.iter().any(|start| name.starts_with(start)) {
            let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            found.insert(name, String::from_utf8_lossy(&text).replace("\r\n", "\n").trim().to_owned());
        }
    }
    Ok(found.into_values().collect())
}

fn output(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::{super::script, *};

    #[test]
    fn licences_are_found_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["LICENSE-MIT", "license-apache.txt", "UNLICENSE", "COPYING", "README.md", "lib.rs"] {
            fs::write(folder.path().join(name), format!("the text of {name}\r\n")).unwrap();
        }
        fs::create_dir(folder.path().join("LICENSES")).unwrap();
        let found = licences(folder.path()).unwrap();
        let expected = ["COPYING", "license-apache.txt", "LICENSE-MIT", "UNLICENSE"];
        assert_eq!(found, expected.map(|name| format!("the text of {name}")));
    }

    #[test]
    fn a_program_that_fails_is_named_with_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crdctl");
        script::write(&path, "#!/bin/sh\necho no such command >&2\nexit 2\n");
        let error = format!("{:#}", generated(&path).unwrap_err());
        assert!(error.contains("crdctl") && error.contains("no such command"), "{error}");
    }
}
