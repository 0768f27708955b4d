//! What a file contains, and whose it is. Everything that decides which objects are cached, and how, is part of it.

use std::{fmt::Write as _, fs::File, io, sync::OnceLock};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::owner::Owner;
use crate::{
    Cached,
    protocol::{Settings, Target},
};

/// The first block of a file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) contents: Contents,
    pub(crate) owner: Owner,
    /// The version up to which the objects are complete.
    pub(crate) resource_version: String,
}

/// What is cached. Known before the server is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// The name that the user gave to the cluster.
    cluster: Option<String>,
    resource: [String; 5],
    metadata_only: bool,
    /// The Rust type, and whether it is compact.
    object: String,
    /// The executable, if only the same one can read the objects.
    program: Option<String>,
    namespace: Option<String>,
    selectors: [String; 2],
    shard: Option<String>,
    skipped: String,
}

impl Contents {
    /// Describes an informer.
    pub(crate) fn new<K: Cached>(target: &Target, settings: &Settings, cluster: Option<&str>) -> Self {
        // Without `..`: a new field is either part of the identity or ignored on purpose.
        let Target {
            group,
            version,
            plural,
            api_version,
            kind,
            metadata_only,
            namespace,
            label_selector,
            field_selector,
            shard,
        } = target;
        let Settings {
            skip,
            list_semantic: _,
            stale_after: _,
            watch_list: _,
            page_size: _,
            watch_timeout: _,
            // What is polled or transformed is not persisted.
            poll_every: _,
            transform: _,
        } = settings;
        Self {
            cluster: cluster.map(str::to_owned),
            resource: [group, version, plural, api_version, kind].map(Clone::clone),
            metadata_only: *metadata_only,
            object: std::any::type_name::<K>().to_owned(),
            program: None,
            namespace: namespace.clone(),
            selectors: [label_selector, field_selector].map(Clone::clone),
            shard: shard.as_ref().map(|shard| format!("{shard:?}")),
            skipped: format!("{skip:?}"),
        }
    }

    /// Adds the running executable: another one cannot read the objects. `None` if it cannot be identified. Reads the
    /// executable the first time, some tens of megabytes.
    pub(crate) fn with_program(&self) -> Option<Self> {
        Some(Self { program: Some(program()?.to_owned()), ..self.clone() })
    }

    /// Returns the name of the file: the same for every version of the program, so that old files are replaced.
    pub(crate) fn file_name(&self) -> String {
        let [group, _, plural, ..] = &self.resource;
        let dot = if group.is_empty() { "" } else { "." };
        let mut name: String = [plural.as_str(), dot, group.as_str()]
            .iter()
            .flat_map(|part| part.chars())
            .filter(|char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-'))
            .take(100)
            .collect();
        let identity = Self { program: None, ..self.clone() };
        // Writing to a string does not fail.
        let hash = XxHash3_128::oneshot(format!("{identity:?}").as_bytes());
        let _ = write!(name, "-{hash:032x}.cache");
        name
    }

    /// Says in what two informers differ, if they do.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let differences = [
            (self.cluster != other.cluster, "cluster"),
            (self.resource != other.resource || self.metadata_only != other.metadata_only, "resource"),
            (self.object != other.object, "type"),
            (self.program != other.program, "program"),
            (self.namespace != other.namespace, "namespace"),
            (self.selectors != other.selectors, "selector"),
            (self.shard != other.shard, "shard"),
            (self.skipped != other.skipped, "set of skipped fields"),
        ];
        differences.iter().find(|(differ, _)| *differ).map(|(_, what)| *what)
    }

    /// Whether the cluster can be recognized.
    pub(crate) fn names_cluster(&self, owner: &Owner) -> bool {
        self.cluster.is_some() || owner.cluster_uid.is_some()
    }
}

/// Returns a hash of the running executable, or `None` if it cannot be read. Reads it once.
fn program() -> Option<&'static str> {
    static PROGRAM: OnceLock<Option<String>> = OnceLock::new();
    PROGRAM.get_or_init(|| hash_of_executable().ok()).as_deref()
}

fn hash_of_executable() -> io::Result<String> {
    let mut hash = XxHash3_128::new();
    let mut executable = File::open(std::env::current_exe()?)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match io::Read::read(&mut executable, &mut buffer)? {
            0 => return Ok(format!("{:032x}", hash.finish_128())),
            read => hash.write(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};

    use super::*;
    use crate::Compact;

    fn contents<K: Cached>(change: impl FnOnce(&mut Target, &mut Settings)) -> Contents {
        let mut target = Target::new::<ConfigMap>(&());
        let mut settings = Settings::default();
        change(&mut target, &mut settings);
        Contents::new::<K>(&target, &settings, Some("one"))
    }

    #[test]
    fn each_part_of_an_identity_is_compared_and_named() {
        let same = contents::<ConfigMap>(|_, _| {});
        assert_eq!(same.difference(&contents::<ConfigMap>(|_, settings| settings.page_size = None)), None);
        let differences: [(Contents, &str); 8] = [
            (Contents { cluster: None, ..same.clone() }, "cluster"),
            (contents::<ConfigMap>(|target, _| target.plural = "pods".to_owned()), "resource"),
            (contents::<Compact<ConfigMap>>(|_, _| {}), "type"),
            (contents::<Pod>(|_, _| {}), "type"),
            (contents::<ConfigMap>(|target, _| target.namespace = Some("a".to_owned())), "namespace"),
            (contents::<ConfigMap>(|target, _| target.label_selector = "a=b".to_owned()), "selector"),
            (contents::<ConfigMap>(|target, _| target.field_selector = "a=b".to_owned()), "selector"),
            (contents::<ConfigMap>(|_, settings| settings.skip.last_applied()), "set of skipped fields"),
        ];
        for (other, what) in differences {
            assert_eq!(same.difference(&other), Some(what));
            assert_ne!(same.file_name(), other.file_name(), "{what}");
        }
        // A new version of the program replaces the file of the old one.
        let upgraded = same.with_program().unwrap();
        assert_eq!(same.difference(&upgraded), Some("program"));
        assert_eq!(same.file_name(), upgraded.file_name());
    }

    #[test]
    fn a_file_name_stays_in_its_folder() {
        let odd = contents::<ConfigMap>(|target, _| target.plural = "../../etc/passwd\0".to_owned());
        assert!(odd.file_name().starts_with("....etcpasswd-"), "{}", odd.file_name());
    }
}
