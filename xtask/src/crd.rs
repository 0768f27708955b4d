//! The CRD manifests in `deploy/crd/`, generated from the Rust types and committed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use blog_api::Blog;
use kube::CustomResourceExt;
use similar::TextDiff;

/// Writes every manifest that differs.
pub(crate) fn write() -> Result<()> {
    let (path, yaml) = blog_manifest()?;
    fs::create_dir_all(path.parent().unwrap_or(&path))
        .and_then(|()| fs::write(&path, yaml))
        .with_context(|| format!("writing {}", path.display()))
}

/// Fails if a manifest differs from its type, and names the command that fixes it.
pub(crate) fn check() -> Result<()> {
    let (path, wanted) = blog_manifest()?;
    let found = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("reading {}", path.display()))?,
    };
    if found != wanted {
        let diff = TextDiff::from_lines(&found, &wanted);
        bail!(
            "{} differs from the types of blog-api; run `cargo xtask crd`\n{}",
            path.display(),
            diff.unified_diff().header("committed", "from the types")
        );
    }
    Ok(())
}

fn blog_manifest() -> Result<(PathBuf, String)> {
    let crd = Blog::crd();
    let yaml = serde_saphyr::to_string(&crd).context("writing the CRD as YAML")?;
    let name = format!("{}.yaml", Blog::crd_name());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let header = "# Written by `cargo xtask crd` from crates/blog-api; do not edit.\n";
    Ok((root.join("deploy/crd").join(name), format!("{header}{yaml}")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_manifests_are_those_of_the_types() {
        super::check().unwrap_or_else(|error| panic!("{error:#}"));
    }
}
