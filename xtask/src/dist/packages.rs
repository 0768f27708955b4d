//! The packages that are compiled into a binary.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{Metadata, Package};
use serde::Deserialize;

use super::target::Target;

/// A name and a version, which identify a package, because `deny.toml` allows only one source.
pub(crate) type Id = (String, String);

/// A package of the binary.
pub(crate) struct Part<'a> {
    pub(crate) package: &'a Package,
    /// The SHA-256 of the package in the registry. `None` for a package of the workspace.
    pub(crate) checksum: Option<String>,
    /// The other parts that it uses.
    pub(crate) uses: BTreeSet<Id>,
}

/// The binary's own package, and all packages that are compiled into it.
pub(crate) struct Packages<'a> {
    pub(crate) root: Id,
    pub(crate) parts: BTreeMap<Id, Part<'a>>,
}

impl<'a> Packages<'a> {
    /// Returns the packages in this package's binary for the target, with the features that are enabled there, and without
    /// those that only run during the build (build scripts, procedural macros).
    pub(crate) fn of_binary(metadata: &'a Metadata, name: &str, target: Target) -> Result<Self> {
        // `cargo metadata` unifies the features of the whole workspace; `cargo tree` uses those of one package.
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["tree", "--locked", "--package", name, "--target", target.triple()]);
        cargo.args(["--edges=normal,no-proc-macro", "--prefix=depth", "--format= {p}"]);
        let output = cargo.current_dir(&metadata.workspace_root).output().context("starting cargo")?;
        ensure!(
            output.status.success(),
            "cargo tree ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let tree = String::from_utf8(output.stdout).context("reading what cargo tree prints")?;
        let (root, edges) = edges(&tree)?;
        let checksums = checksums(metadata.workspace_root.join("Cargo.lock").as_std_path())?;
        let known: BTreeMap<Id, &Package> = metadata
            .packages
            .iter()
            .map(|package| ((package.name.to_string(), package.version.to_string()), package))
            .collect();
        let mut parts = BTreeMap::new();
        for (id, uses) in edges {
            let package =
                known.get(&id).with_context(|| format!("cargo metadata has no {} {}", id.0, id.1))?;
            parts.insert(id.clone(), Part { package, checksum: checksums.get(&id).cloned(), uses });
        }
        Ok(Self { root, parts })
    }
}

/// Returns the root package of a tree, and the dependencies of each package. Each line has a depth and a package; the
/// dependencies of a package are listed only once.
fn edges(tree: &str) -> Result<(Id, BTreeMap<Id, BTreeSet<Id>>)> {
    let mut edges: BTreeMap<Id, BTreeSet<Id>> = BTreeMap::new();
    let mut above: Vec<Id> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let mut word = || words.next().with_context(|| format!("cargo tree prints {line:?}"));
        let depth: usize = word()?.parse().with_context(|| format!("cargo tree prints {line:?}"))?;
        let name = word()?.to_owned();
        let version = word()?.trim_start_matches('v').to_owned();
        let id = (name, version);
        above.truncate(depth);
        edges.entry(id.clone()).or_default();
        if let Some(user) = above.last() {
            edges.entry(user.clone()).or_default().insert(id.clone());
        }
        above.push(id);
    }
    let root = above.into_iter().next().context("cargo tree prints nothing")?;
    Ok((root, edges))
}

/// The relevant fields of `Cargo.lock`.
#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

fn checksums(lock: &Path) -> Result<BTreeMap<Id, String>> {
    let text = fs::read_to_string(lock).with_context(|| format!("reading {}", lock.display()))?;
    let lock: Lock = toml::from_str(&text).with_context(|| format!("reading {}", lock.display()))?;
    let all = lock.package.into_iter();
    Ok(all.filter_map(|locked| Some(((locked.name, locked.version), locked.checksum?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, version: &str) -> Id {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn a_tree_is_parsed_by_its_depths() {
        let tree =
            "0 top v0.1.0 (/somewhere/top)\n1 a v1.0.0\n2 b v2.0.0+build\n1 b v2.0.0+build (*)\n1 c v3.0.0\n";
        let (root, edges) = edges(tree).unwrap();
        assert_eq!(root, id("top", "0.1.0"));
        let all = [id("a", "1.0.0"), id("b", "2.0.0+build"), id("c", "3.0.0")];
        let [a, b, c] = all.clone();
        let expected = BTreeMap::from([
            (root, BTreeSet::from(all)),
            (a, BTreeSet::from([b.clone()])),
            (b, BTreeSet::new()),
            (c, BTreeSet::new()),
        ]);
        assert_eq!(edges, expected);
    }

    #[test]
    fn an_invalid_tree_is_an_error() {
        assert!(edges("").is_err());
        assert!(edges("top v0.1.0\n").is_err());
    }
}
