//! Which files are read, and how they are merged into one configuration. Source: client-go
//! `tools/clientcmd/loader.go` and `merge.go`.
//!
//! The first file that defines a name provides the whole entry. Of single values the first that is not empty wins.
//! Extensions are merged by name. Every entry remembers its file, to which its relative paths refer.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::environment::{Environment, clean};
use crate::error::Error;
use crate::model::{self, Cluster, Context, Kubeconfig, User};
use crate::node::Extensions;
use crate::report::FileReport;
use crate::yaml;

/// A value, and the kubeconfig file that defines it.
pub(crate) struct Entry<T> {
    pub(crate) value: T,
    pub(crate) file: PathBuf,
}

/// All files, merged.
#[derive(Default)]
pub(crate) struct Merged {
    /// In order of precedence.
    pub(crate) files: Vec<FileReport>,
    pub(crate) clusters: BTreeMap<String, Entry<Cluster>>,
    pub(crate) users: BTreeMap<String, Entry<User>>,
    pub(crate) contexts: BTreeMap<String, Entry<Context>>,
    pub(crate) current_context: Option<Entry<String>>,
    colors: bool,
    preferences_extensions: Extensions,
    extensions: Extensions,
}

impl Merged {
    /// Reads the files. A missing file is skipped, unless it is `explicit`.
    pub(crate) fn read(environment: &Environment, explicit: Option<&Path>) -> Result<Self, Error> {
        let mut merged = Self::default();
        for path in paths(environment, explicit) {
            let content = match std::fs::read(&path) {
                Ok(content) => content,
                Err(error) if error.kind() == io::ErrorKind::NotFound && explicit.is_none() => {
                    merged.files.push(FileReport { path, found: false });
                    continue;
                }
                Err(source) => return Err(Error::Read { path, source }),
            };
            let malformed = |line, problem| Error::Malformed { path: path.clone(), line, problem };
            let document =
                yaml::parse(&content).map_err(|invalid| malformed(invalid.line, invalid.problem))?;
            let file = Kubeconfig::decode(&document).map_err(|problem| malformed(None, problem))?;
            merged.add(file, &path);
            merged.files.push(FileReport { path, found: true });
        }
        Ok(merged)
    }

    fn add(&mut self, file: Kubeconfig, path: &Path) {
        add_entries(&mut self.clusters, file.clusters, path);
        add_entries(&mut self.users, file.users, path);
        add_entries(&mut self.contexts, file.contexts, path);
        if self.current_context.is_none() && !file.current_context.is_empty() {
            self.current_context = Some(Entry { value: file.current_context, file: path.to_owned() });
        }
        self.colors |= file.colors;
        add_extensions(&mut self.preferences_extensions, file.preferences_extensions);
        add_extensions(&mut self.extensions, file.extensions);
    }

    /// Makes the paths in all entries absolute. `kubectl config view` shows them as written.
    pub(crate) fn resolve_paths(mut self) -> Self {
        for entry in self.clusters.values_mut() {
            resolve(&mut entry.value.certificate_authority, &entry.file);
        }
        for entry in self.users.values_mut() {
            let user = &mut entry.value;
            for path in [&mut user.client_certificate, &mut user.client_key, &mut user.token_file] {
                resolve(path, &entry.file);
            }
            // A bare name is looked up in PATH.
            if let Some(exec) = &mut user.exec
                && exec.command.contains(std::path::MAIN_SEPARATOR)
            {
                resolve(&mut exec.command, &entry.file);
            }
        }
        self
    }

    /// Whether no file has a cluster, user, context or current-context.
    pub(crate) fn is_empty(&self) -> bool {
        self.clusters.is_empty()
            && self.users.is_empty()
            && self.contexts.is_empty()
            && self.current_context.is_none()
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    /// Returns the files that exist.
    pub(crate) fn found(&self) -> Vec<PathBuf> {
        self.files.iter().filter(|file| file.found).map(|file| file.path.clone()).collect()
    }

    /// Returns what `kubectl config view --merge --flatten --raw -o json` prints, with certificates and keys in place
    /// of their paths.
    pub(crate) fn flatten(&self) -> Result<Value, Error> {
        let clusters = named(&self.clusters, "cluster", |name, entry| {
            let (mut cluster, of) = (entry.value.clone(), format!("cluster {name:?}"));
            let at = (of.as_str(), entry.file.as_path());
            inline(
                &mut cluster.certificate_authority,
                &mut cluster.certificate_authority_data,
                "certificate-authority",
                at,
            )?;
            Ok(cluster.to_json())
        })?;
        let users = named(&self.users, "user", |name, entry| {
            let (mut user, of) = (entry.value.clone(), format!("user {name:?}"));
            let at = (of.as_str(), entry.file.as_path());
            inline(
                &mut user.client_certificate,
                &mut user.client_certificate_data,
                "client-certificate",
                at,
            )?;
            inline(&mut user.client_key, &mut user.client_key_data, "client-key", at)?;
            Ok(user.to_json())
        })?;
        let contexts = named(&self.contexts, "context", |_, entry| Ok(entry.value.to_json()))?;
        let current = self.current_context.as_ref().map_or("", |entry| &entry.value);
        let mut view = json!({
            "kind": "Config", "apiVersion": "v1",
            "clusters": clusters, "users": users, "contexts": contexts, "current-context": current,
        });
        let mut preferences = Map::new();
        if self.colors {
            preferences.insert("colors".to_owned(), json!(true));
        }
        if !self.preferences_extensions.is_empty() {
            preferences.insert("extensions".to_owned(), model::extensions_json(&self.preferences_extensions));
        }
        if !preferences.is_empty() {
            view["preferences"] = Value::Object(preferences);
        }
        if !self.extensions.is_empty() {
            view["extensions"] = model::extensions_json(&self.extensions);
        }
        Ok(view)
    }
}

/// Returns the files to try as absolute paths, in order of precedence.
fn paths(environment: &Environment, explicit: Option<&Path>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    if let Some(path) = explicit {
        paths.push(path.to_owned());
    } else if let Some(list) = environment.var_os("KUBECONFIG") {
        for path in std::env::split_paths(list) {
            if !path.as_os_str().is_empty() && !paths.contains(&path) {
                paths.push(path);
            }
        }
    } else {
        // Even without HOME, client-go tries a path, below the working directory.
        let home = environment.var_os("HOME").unwrap_or_default();
        paths.push(Path::new(home).join(".kube/config"));
    }
    paths.iter().map(|path| environment.absolute(path)).collect()
}

fn add_entries<T>(entries: &mut BTreeMap<String, Entry<T>>, more: BTreeMap<String, T>, file: &Path) {
    for (name, value) in more {
        entries.entry(name).or_insert_with(|| Entry { value, file: file.to_owned() });
    }
}

fn add_extensions(extensions: &mut Extensions, more: Extensions) {
    for (name, value) in more {
        extensions.entry(name).or_insert(value);
    }
}

/// Resolves `reference` against the folder of `file`, which is absolute.
fn resolve(reference: &mut String, file: &Path) {
    if !reference.is_empty() && Path::new(reference.as_str()).is_relative() {
        let base = file.parent().unwrap_or(Path::new("/"));
        *reference = clean(&base.join(reference.as_str())).to_string_lossy().into_owned();
    }
}

/// Go encodes a nil slice as null.
fn named<T>(
    entries: &BTreeMap<String, Entry<T>>,
    field: &str,
    to_json: impl Fn(&str, &Entry<T>) -> Result<Value, Error>,
) -> Result<Value, Error> {
    if entries.is_empty() {
        return Ok(Value::Null);
    }
    entries.iter().map(|(name, entry)| Ok(json!({"name": name, field: to_json(name, entry)?}))).collect()
}

fn inline(
    path: &mut String,
    data: &mut Vec<u8>,
    field: &'static str,
    (entry, file): (&str, &Path),
) -> Result<(), Error> {
    if path.is_empty() {
        return Ok(());
    }
    if !data.is_empty() {
        return Err(Error::InvalidEntry {
            entry: entry.to_owned(),
            file: file.to_owned(),
            problem: format!("{field} and {field}-data are both set"),
        });
    }
    resolve(path, file);
    *data = std::fs::read(&*path).map_err(|source| Error::ReadReferenced {
        field,
        path: PathBuf::from(&*path),
        entry: entry.to_owned(),
        file: file.to_owned(),
        source,
    })?;
    path.clear();
    Ok(())
}
