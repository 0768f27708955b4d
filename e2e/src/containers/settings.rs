//! How a container is started: everything that is passed to the engine, as plain data.

use std::collections::BTreeMap;

/// The label of a container that its owner removes. Its value is the path of [`crate::Owner`]'s lock file.
pub(crate) const OWNER_LABEL: &str = "e2e.owner";

/// A privileged container with one port, published only on 127.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `name:tag`, `name@digest`, or `name:tag@digest`.
    pub(crate) image: String,
    /// The container's name and host name.
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) env: Vec<(String, String)>,
    /// Arguments for the image's entrypoint.
    pub(crate) arguments: Vec<String>,
    /// Folders in memory.
    pub(crate) tmpfs: Vec<String>,
    /// Folders on anonymous volumes, which are removed with the container.
    pub(crate) volumes: Vec<String>,
    /// Folders of the host, mounted read-only under the same path.
    pub(crate) host_folders: Vec<String>,
    pub(crate) security: Vec<String>,
    /// The container's port.
    pub(crate) port: u16,
}

/// Whether the cluster outlives the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep<'a> {
    /// It stays, and other tools may find it.
    Kept,
    /// It is removed with this owner.
    Owned(&'a str),
}

impl Keep<'_> {
    /// Returns the owner's label, or the labels by which a tool finds a kept cluster.
    pub(crate) fn labels(self, of_kept: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        match self {
            Keep::Owned(owner) => BTreeMap::from([own((OWNER_LABEL, owner))]),
            Keep::Kept => of_kept.iter().copied().map(own).collect(),
        }
    }
}

/// Splits `name:tag` or `name@digest` into the two parts that testcontainers joins with a colon.
pub(crate) fn split_image(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once("@sha256:") {
        return (&image[..name.len() + "@sha256".len()], digest);
    }
    match image.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_split_at_their_tag_or_digest() {
        for (image, name, tag) in [
            ("kindest/node:v1.37.0", "kindest/node", "v1.37.0"),
            ("localhost:5000/node", "localhost:5000/node", "latest"),
            ("localhost:5000/node:x", "localhost:5000/node", "x"),
            ("kindest/node:v1.37.0@sha256:ab12", "kindest/node:v1.37.0@sha256", "ab12"),
            ("kindest/node@sha256:ab12", "kindest/node@sha256", "ab12"),
        ] {
            assert_eq!(split_image(image), (name, tag), "{image}");
        }
    }

    #[test]
    fn a_cluster_has_an_owner_or_is_kept() {
        let kept = [("io.x-k8s.kind.cluster", "e2e")];
        assert_eq!(
            Keep::Owned("/tmp/o").labels(&kept),
            BTreeMap::from([("e2e.owner".into(), "/tmp/o".into())])
        );
        assert_eq!(
            Keep::Kept.labels(&kept),
            BTreeMap::from([("io.x-k8s.kind.cluster".into(), "e2e".into())])
        );
    }
}
