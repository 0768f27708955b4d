//! Keeps the file of an informer: reads it at the start, and writes it at intervals and at the end.
//!
//! Writing works on a snapshot, on a thread where blocking is allowed, so it delays neither the informer nor a reader.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    runtime::Handle,
    sync::Mutex as AsyncMutex,
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    file,
    format::{Record, Writer},
    identity::{Contents, Header},
    load::{Ignored, Loaded, load},
    options::{Persist, Persistable},
    owner::{Asked, Owner, Unknown},
};
use crate::{
    Cached, ResourceVersion, Snapshot,
    decode::Decoder,
    error::in_one_line,
    protocol::{ListVersion, Request, Settings, Target},
    scope::{At, Scope},
    state::State,
    store::Store,
};

/// How an informer of `K` is persisted.
pub(crate) struct Plan<K: Cached> {
    pub(crate) options: Persist,
    verbatim: bool,
    write_json: WriteJson<K>,
}

type WriteJson<K> = fn(&<K as Cached>::Stored, &mut Vec<u8>) -> Result<(), serde_json::Error>;

impl<K: Cached> Clone for Plan<K> {
    fn clone(&self) -> Self {
        Self { options: self.options.clone(), verbatim: self.verbatim, write_json: self.write_json }
    }
}

impl<K: Persistable> Plan<K> {
    pub(crate) fn new(options: Persist) -> Self {
        Self { options, verbatim: K::VERBATIM, write_json: K::write_json }
    }
}

/// Why a cache was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The informer was started without [`InformerBuilder::persist`](crate::InformerBuilder::persist).
    #[error("the informer is not persisted")]
    NotPersisted,
    /// The server has not confirmed the cache yet: there is no complete list, or the state from disk is all there is.
    #[error("the cache is not confirmed by the server yet")]
    Unconfirmed,
    /// A list is being received or broke off, so the cache is between two versions.
    #[error("a list is being received")]
    Listing,
    /// Objects are quarantined, so the cache is not what the server has. The file, if there is one, stays as it is.
    #[error("objects that fail to decode cannot be persisted")]
    Quarantined,
    /// It is not known whose objects these are.
    #[error("the owner of the objects is not known")]
    Owner(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// An object cannot be serialized.
    #[error("an object cannot be serialized")]
    Json(#[from] serde_json::Error),
    /// The file cannot be written.
    #[error("the file cannot be written")]
    Io(#[from] io::Error),
}

impl SaveError {
    /// Whether the next attempt may succeed without anybody's doing.
    fn is_temporary(&self) -> bool {
        matches!(self, Self::Unconfirmed | Self::Listing)
    }
}

/// Persists the scopes of one informer.
pub(crate) struct Persister<K: Cached> {
    plan: Plan<K>,
    target: Target,
    settings: Settings,
    asked: Arc<Asked>,
    state: Arc<State<K>>,
    /// Where the last write happens, from wherever the last handle is dropped.
    runtime: Handle,
    /// The file of each scope that is watched.
    files: Mutex<BTreeMap<Option<Arc<str>>, Arc<SavedFile>>>,
}

/// The file of one scope.
struct SavedFile {
    scope: Scope,
    path: PathBuf,
    /// Without the executable.
    contents: Contents,
    /// Whether only the same executable can read the objects.
    bound: bool,
    /// The state in the file. Locked while it is written, so that an older one never replaces a newer one.
    written: Arc<AsyncMutex<Option<At>>>,
    /// Whether a failure was logged.
    failing: AtomicBool,
}

impl<K: Cached> Persister<K> {
    /// Must be called in a runtime.
    pub(crate) fn new(
        plan: Plan<K>,
        target: Target,
        settings: Settings,
        asked: Arc<Asked>,
        state: Arc<State<K>>,
    ) -> Self {
        Self { plan, target, settings, asked, state, runtime: Handle::current(), files: Mutex::default() }
    }

    /// Reads the file of a scope, if there is one that can be used.
    pub(crate) async fn resume(&self, scope: &Scope) -> Option<(Store<K>, ResourceVersion)> {
        let target = self.target_of(scope);
        let resource = target.path();
        match self.load(scope, target).await {
            Ok(loaded) => {
                let (mut store, version) = loaded?;
                let count = store.objects().len();
                info!(resource, count, resource_version = %version, "resuming from disk");
                Some((store, version))
            }
            Err(ignored) => {
                let reason = in_one_line(&ignored);
                if ignored.is_fault() {
                    warn!(resource, reason, "ignoring the cache on disk");
                } else {
                    info!(resource, reason, "ignoring the cache on disk");
                }
                None
            }
        }
    }

    async fn load(
        &self,
        scope: &Scope,
        target: Target,
    ) -> Result<Option<(Store<K>, ResourceVersion)>, Ignored> {
        let file = self.file(scope, &target).await;
        // The usual case of a first start. The server need not be asked.
        if !file.exists().await {
            return Ok(None);
        }
        // With the selectors: a user may be permitted to list with them only.
        let uri =
            target.uri(&Request::List { version: ListVersion::Latest, limit: Some(1), continue_token: None });
        let (loaded, owner, version) = tokio::join!(
            self.read(Arc::clone(&file), target),
            self.asked.confirmed(),
            self.asked.version(uri)
        );
        let Some(loaded) = loaded? else { return Ok(None) };
        let (owner, current) = (owner?, version?.parse::<ResourceVersion>()?);
        if !file.contents.names_cluster(owner) {
            return Err(Ignored::NoCluster);
        }
        if owner.cluster_uid != loaded.header.owner.cluster_uid {
            return Err(Ignored::Other("cluster"));
        }
        if owner.user != loaded.header.owner.user {
            return Err(Ignored::Other("user"));
        }
        // Such a server would take the version for one to come and send nothing, not even bookmarks.
        if current < loaded.version {
            return Err(Ignored::Newer(current));
        }
        *file.written.lock().await = Some(At::start(loaded.version));
        Ok(Some((loaded.store, loaded.version)))
    }

    async fn read(&self, file: Arc<SavedFile>, target: Target) -> Result<Option<Loaded<K>>, Ignored> {
        let cancelled = CancellationToken::new();
        let _guard = cancelled.clone().drop_guard();
        let skip = self.settings.skip.clone();
        let compressor = Arc::clone(self.state.compressor());
        let decoder = move || {
            let Target { api_version, kind, .. } = target.clone();
            Decoder::new(skip.clone(), api_version, kind, Arc::clone(&compressor))
        };
        let reading = spawn_blocking(move || {
            let contents = file.contents().ok_or(Ignored::NoProgram)?;
            load(&file.path, &contents, decoder, &cancelled)
        });
        // It panics if the user's `Deserialize` does.
        reading.await.unwrap_or(Err(Ignored::Undecodable))
    }

    /// Writes the file of a scope at intervals.
    pub(crate) async fn run(&self, scope: &Scope) {
        let interval = self.plan.options.interval;
        let mut ticks = interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // As soon as possible, so that another cluster that answers later is noticed.
            let owner = self.asked.owner().await;
            let Some(file) = self.known_file(scope) else { return };
            if let Some(error) = file.whose(owner).err() {
                file.report(Err(&error), &self.target);
            }
            ticks.tick().await;
            let _ = self.save_file(&file).await;
        }
    }

    /// Writes the files of all scopes. If some cannot be written, writes the others and returns the first error.
    pub(crate) async fn save(&self) -> Result<(), SaveError> {
        let files = self.files();
        // The others are not listed yet, and neither are their files read.
        let unknown = self.state.change(|store| {
            let mut watched = store.scopes().watched();
            watched.any(|namespace| !files.iter().any(|file| file.scope.namespace == *namespace))
        });
        let mut result = if unknown { Err(SaveError::Unconfirmed) } else { Ok(()) };
        for file in files {
            result = result.and(self.save_file(&file).await);
        }
        result
    }

    /// Begins to write the files of all scopes, and does not wait for them. The server must still answer, so this fails
    /// in a runtime that is being shut down.
    pub(crate) fn save_at_end(&self) {
        for file in self.files() {
            let Ok(write) = self.write(&file) else { continue };
            let target = self.target.clone();
            self.runtime.spawn(async move { file.report(write.await.as_ref(), &target) });
        }
    }

    async fn save_file(&self, file: &Arc<SavedFile>) -> Result<(), SaveError> {
        let saved = match self.write(file) {
            Ok(write) => write.await,
            Err(error) => Err(error),
        };
        file.report(saved.as_ref(), &self.target);
        saved
    }

    /// Returns the work of writing the present state of a scope.
    fn write(
        &self,
        file: &Arc<SavedFile>,
    ) -> Result<impl Future<Output = Result<(), SaveError>> + Send + use<K>, SaveError> {
        let namespace = file.scope.namespace.clone();
        let (snapshot, quarantined) =
            self.state.change(|store| (store.snapshot(), store.is_quarantining(namespace.as_deref())));
        let snapshot = snapshot.ok_or(SaveError::Unconfirmed)?;
        let at = snapshot.scopes.confirmed(namespace.as_ref()).ok_or(SaveError::Unconfirmed)?;
        if snapshot.scopes.is_relisting(namespace.as_ref()) {
            return Err(SaveError::Listing);
        }
        let version = at.version;
        if quarantined {
            return Err(SaveError::Quarantined);
        }
        let (asked, file, write_json) = (Arc::clone(&self.asked), Arc::clone(file), self.plan.write_json);
        Ok(async move {
            let mut written = Arc::clone(&file.written).lock_owned().await;
            if file.scope.is_removed() {
                return Err(SaveError::Unconfirmed);
            }
            if *written >= Some(at) && file.exists().await {
                return Ok(());
            }
            // After the snapshot was taken: an answer from before says nothing about what came since.
            let owner = file.whose(asked.confirmed().await)?.clone();
            let writing = spawn_blocking(move || {
                let contents = file
                    .contents()
                    .ok_or_else(|| io::Error::other("the program's own file cannot be read"))?;
                let header = Header { contents, owner, resource_version: version.to_string() };
                let header = serde_json::to_vec(&header)?;
                write_file(&file.path, &header, &snapshot, namespace.as_deref(), version, write_json)?;
                debug!(path = %file.path.display(), resource_version = %version, "cache written");
                *written = Some(at);
                Ok(())
            });
            writing.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
        })
    }

    fn files(&self) -> Vec<Arc<SavedFile>> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.values().filter(|file| !file.scope.is_removed()).cloned().collect()
    }

    fn known_file(&self, scope: &Scope) -> Option<Arc<SavedFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(&scope.namespace).cloned()
    }

    /// Returns the file of a scope, which is known from now on.
    async fn file(&self, scope: &Scope, target: &Target) -> Arc<SavedFile> {
        let options = &self.plan.options;
        let contents = Contents::new::<K>(target, &self.settings, options.cluster.as_deref());
        // A namespace that was removed and added again has the same file, which may be being written still. What it then
        // has is not compared with the new lists.
        let written = self.known_file(scope).map(|file| Arc::clone(&file.written)).unwrap_or_default();
        *written.lock().await = None;
        let file = Arc::new(SavedFile {
            scope: scope.clone(),
            path: options.folder.join(contents.file_name()),
            contents,
            bound: !self.plan.verbatim,
            written,
            failing: AtomicBool::new(false),
        });
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(scope.namespace.clone(), Arc::clone(&file));
        file
    }

    fn target_of(&self, scope: &Scope) -> Target {
        Target { namespace: scope.namespace.as_deref().map(str::to_owned), ..self.target.clone() }
    }
}

impl SavedFile {
    async fn exists(&self) -> bool {
        let path = self.path.clone();
        spawn_blocking(move || path.exists()).await.unwrap_or_default()
    }

    /// Returns what the file contains. `None` if the executable cannot be identified. Blocks.
    fn contents(&self) -> Option<Contents> {
        if self.bound { self.contents.with_program() } else { Some(self.contents.clone()) }
    }

    /// Returns the owner, provided that it also shows which cluster this is.
    fn whose<'a>(&self, owner: Result<&'a Owner, Unknown>) -> Result<&'a Owner, SaveError> {
        let owner = owner.map_err(|error| SaveError::Owner(Arc::new(error)))?;
        if self.contents.names_cluster(owner) {
            Ok(owner)
        } else {
            Err(SaveError::Owner(Arc::new(Ignored::NoCluster)))
        }
    }

    /// Logs the first of several failures, and the recovery.
    fn report(&self, saved: Result<&(), &SaveError>, target: &Target) {
        let resource = target.path();
        let path = self.path.display();
        match saved {
            Ok(&()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    info!(resource, %path, "the cache is written again");
                }
            }
            Err(error) if error.is_temporary() || self.failing.swap(true, Ordering::Relaxed) => {
                debug!(resource, %path, error = in_one_line(error), "cache not written");
            }
            Err(error) => {
                warn!(resource, %path, error = in_one_line(error), "cache not written");
            }
        }
    }
}

fn write_file<K: Cached>(
    path: &Path,
    header: &[u8],
    snapshot: &Snapshot<K>,
    namespace: Option<&str>,
    version: ResourceVersion,
    write_json: WriteJson<K>,
) -> Result<(), SaveError> {
    file::replace(path, |to| {
        let mut writer = Writer::new(to, header)?;
        let mut json = Vec::new();
        for (key, entry) in snapshot.entries_of(namespace) {
            // Taken between an event and the record of its version.
            if entry.version > version {
                return Err(SaveError::Listing);
            }
            json.clear();
            write_json(&entry.object, &mut json)?;
            let uid = K::uid(&entry.object).map(|uid| uid.to_string());
            writer.add(&Record {
                namespace: key.namespace().unwrap_or_default(),
                name: key.name(),
                uid: uid.as_deref().unwrap_or_default(),
                resource_version: &entry.version.to_string(),
                json: &json,
            })?;
        }
        writer.finish()?;
        Ok(())
    })
}
