//! Checks whether a tag can be released, before anything is built or published.

use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{MetadataCommand, Package};
use clap::Args;

/// The command's arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The tag, such as v0.1.0
    tag: String,
    /// The repository's URL [default: from GITHUB_SERVER_URL and GITHUB_REPOSITORY; without them, it is not checked]
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
}

/// Prints the release notes, or fails and lists everything that is missing.
#[expect(clippy::print_stdout, reason = "the notes are the command's result")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec().context("reading the workspace with cargo")?;
    let packages: Vec<Package> = metadata.packages.into_iter().filter(is_published).collect();
    let path = metadata.workspace_root.join("CHANGELOG.md");
    let changelog = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let repository = arguments.repository.clone().or_else(github);
    let problems = problems(&arguments.tag, &packages, &changelog, repository.as_deref());
    if !problems.is_empty() {
        bail!("{} cannot be released:\n- {}", arguments.tag, problems.join("\n- "));
    }
    let version = arguments.tag.trim_start_matches('v');
    println!("{}", notes(&changelog, version).unwrap_or_default());
    Ok(())
}

/// Returns the URL of the repository that a GitHub workflow runs for.
fn github() -> Option<String> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    Some(format!("{}/{}", variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?))
}

/// Whether the package is published; `publish = false` is an empty list of registries.
fn is_published(package: &Package) -> bool {
    package.publish.as_ref().is_none_or(|registries| !registries.is_empty())
}

fn problems(tag: &str, packages: &[Package], changelog: &str, repository: Option<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    for package in packages {
        let (name, version) = (&package.name, &package.version);
        if tag != format!("v{version}") {
            problems.push(format!("{name} has the version {version}"));
        }
        match (package.repository.as_deref(), repository) {
            (None, _) => problems.push(format!(
                "{name} has no repository: set `repository` in [workspace.package] of Cargo.toml, and \
                 `repository.workspace = true` in the package"
            )),
            (Some(found), Some(wanted)) if found.trim_end_matches('/') != wanted => {
                problems.push(format!("{name} has the repository {found}, but this is {wanted}"));
            }
            _ => {}
        }
    }
    if packages.is_empty() {
        problems.push("the workspace has no package to publish".to_owned());
    }
    let version = tag.trim_start_matches('v');
    match notes(changelog, version) {
        None => problems.push(format!("CHANGELOG.md has no heading `## {version}`")),
        Some(notes) if notes.is_empty() => {
            problems.push(format!("CHANGELOG.md has no entries below `## {version}`"));
        }
        Some(_) => {}
    }
    problems
}

/// Returns the changelog's lines about a version, which are between its heading and the next one.
fn notes(changelog: &str, version: &str) -> Option<String> {
    let is_heading = |line: &&str| line.starts_with("## ");
    // The version may be followed by a date.
    let is_ours = |line: &&str| line.split_whitespace().nth(1) == Some(version);
    let mut lines = changelog.lines().skip_while(|line| !(is_heading(line) && is_ours(line)));
    lines.next()?;
    let notes: Vec<&str> = lines.take_while(|line| !is_heading(line)).collect();
    Some(notes.join("\n").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CHANGELOG: &str = "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.2.0 (2026-10-01)\n\n- **breaking**: this\n- that\n\n\
                             ## 0.1.0\n";
    const URL: &str = "https://example.com/owner/name";

    fn package(version: &str, repository: Option<&str>) -> Package {
        serde_json::from_value(json!({
            "name": "thing", "version": version, "id": "thing", "dependencies": [], "targets": [], "features": {},
            "manifest_path": "/Cargo.toml", "repository": repository,
        }))
        .unwrap()
    }

    #[test]
    fn a_consistent_release_has_no_problems() {
        let packages = [package("0.2.0", Some(URL))];
        assert_eq!(problems("v0.2.0", &packages, CHANGELOG, Some(URL)), Vec::<String>::new());
        assert_eq!(problems("v0.2.0", &packages, CHANGELOG, None), Vec::<String>::new());
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let packages = [package("0.2.0", None), package("0.3.0", Some("https://example.com/else/where"))];
        let found = problems("v0.3.0", &packages, CHANGELOG, Some(URL));
        let expected = [
            "thing has the version 0.2.0",
            "thing has no repository",
            "thing has the repository https://example.com/else/where, but this is",
            "CHANGELOG.md has no heading `## 0.3.0`",
        ];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
        let found = problems("v0.1.0", &[package("0.1.0", Some(URL))], CHANGELOG, None);
        assert_eq!(found, ["CHANGELOG.md has no entries below `## 0.1.0`"]);
        assert_eq!(problems("v0.2.0", &[], CHANGELOG, None), ["the workspace has no package to publish"]);
    }

    #[test]
    fn notes_are_those_of_one_version() {
        assert_eq!(notes(CHANGELOG, "0.2.0").unwrap(), "- **breaking**: this\n- that");
        assert_eq!(notes(CHANGELOG, "0.2"), None);
        assert_eq!(notes(CHANGELOG, "Unreleased").unwrap(), "- new");
    }
}
