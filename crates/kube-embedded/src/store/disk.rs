//! The store's copy on disk: a redb database with one writer thread.
//!
//! Invariants:
//! - the database contains the store's writes in their order, up to one of them;
//! - writes that wait while others are synced are synced together, so that many writers share one fsync;
//! - no write is acknowledged before it is synced: [`Store::settled`](super::Store::settled) waits, and the
//!   notifications that come with the records are sent afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::log::{Change, Log, Progress, Record};
use super::object::Object;

/// The file in the data folder.
const FILE: &str = "store.redb";
/// The JSON of each object, by collection and key.
const OBJECTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("objects");
/// What the server keeps in addition to objects, and metadata of the store itself.
const SERVER: TableDefinition<&str, &[u8]> = TableDefinition::new("server");
const FORMAT: &str = "store/format";
const FORMAT_1: &[u8] = b"kube-embedded 1";
const REVISION: &str = "store/revision";
/// Most of a store is in memory anyway.
const CACHE: usize = 16 * 1024 * 1024;
/// The maximum number of records that are synced together.
const BATCH: usize = 4096;

/// Why a store could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Another server has it open.
    InUse(PathBuf),
    /// It is not in the state in which this server left it.
    Damaged(PathBuf, Box<dyn std::error::Error + Send + Sync>),
    /// The system does not allow reading or writing it.
    Unusable(PathBuf, Box<dyn std::error::Error + Send + Sync>),
}

/// The store that was found.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) revision: u64,
    pub(super) objects: Vec<(Box<str>, Object)>,
    pub(super) kept: BTreeMap<String, Vec<u8>>,
}

/// Opens the store in a folder, which is created if it does not exist, and starts the thread that writes to it.
///
/// Reads and checks the whole store.
pub(super) fn open(
    folder: &Path,
    progress: Arc<tokio::sync::watch::Sender<Progress>>,
) -> Result<(Loaded, Log), OpenError> {
    let path = folder.join(FILE);
    make_private(folder, &path).map_err(|error| OpenError::Unusable(folder.to_owned(), error.into()))?;
    let mut builder = Database::builder();
    // Without this check, redb trusts a file that was closed, and may panic if somebody has changed it since.
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    let database = builder.create(&path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(folder.to_owned()),
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            OpenError::Unusable(path.clone(), error.into())
        }
        other => OpenError::Damaged(path.clone(), other.into()),
    })?;
    let loaded = load(&database).map_err(|error| OpenError::Damaged(path.clone(), error))?;
    let (records, todo) = channel();
    let thread = std::thread::Builder::new()
        .name("kube-embedded-store".to_owned())
        .spawn(move || run(&database, &todo, &progress))
        .map_err(|error| OpenError::Unusable(path, error.into()))?;
    Ok((loaded, Log { records, thread }))
}

/// Creates the folder and an empty file, accessible only to this user.
fn make_private(folder: &Path, path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        builder.mode(0o700);
        options.mode(0o600);
    }
    builder.recursive(true).create(folder)?;
    options.open(path)?;
    // The name of the file has to survive a crash, too.
    fs::File::open(folder)?.sync_all()
}

fn load(database: &Database) -> Result<Loaded, Box<dyn std::error::Error + Send + Sync>> {
    let read = database.begin_read()?;
    if read.list_tables()?.next().is_none() {
        // The file is new, or nothing was ever written to it.
        return Ok(Loaded { revision: 1, ..Loaded::default() });
    }
    let server = read.open_table(SERVER)?;
    match server.get(FORMAT)? {
        Some(format) if format.value() == FORMAT_1 => {}
        _ => return Err("it is not in the format of this version".into()),
    }
    let mut loaded = Loaded::default();
    for entry in server.iter()? {
        let (name, value) = entry?;
        match name.value() {
            FORMAT => {}
            REVISION => loaded.revision = u64::from_le_bytes(value.value().try_into()?),
            name => {
                loaded.kept.insert(name.to_owned(), value.value().to_vec());
            }
        }
    }
    for entry in read.open_table(OBJECTS)?.iter()? {
        let (place, bytes) = entry?;
        let (collection, key) = place.value();
        let object = Object::load(key, bytes.value())
            .ok_or_else(|| format!("{key:?} in {collection:?} is not an object"))?;
        loaded.objects.push((collection.into(), object));
    }
    Ok(loaded)
}

/// Writes records until their senders are dropped, or a write fails.
fn run(database: &Database, records: &Receiver<Record>, progress: &tokio::sync::watch::Sender<Progress>) {
    let _end = EndGuard(progress);
    while let Ok(first) = records.recv() {
        let batch: Vec<Record> = std::iter::once(first).chain(records.try_iter()).take(BATCH).collect();
        if let Err(error) = write(database, &batch) {
            tracing::error!(
                error = &*error,
                "the store cannot be written: each request is answered with 500 from now on"
            );
            return;
        }
        if let Some(last) = batch.last() {
            progress.send_modify(|progress| progress.revision = last.revision);
        }
        for (signal, new) in batch.into_iter().filter_map(|record| record.notify) {
            signal.send_replace(new);
        }
    }
}

/// Records that nothing more will be written, for whatever reason.
struct EndGuard<'a>(&'a tokio::sync::watch::Sender<Progress>);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|progress| progress.ended = true);
    }
}

/// Writes records in one transaction. It is synced when this returns.
fn write(database: &Database, batch: &[Record]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut server = transaction.open_table(SERVER)?;
        for record in batch {
            match &record.change {
                Change::Put(collection, object) => {
                    objects.insert((&**collection, &*object.key), &*object.bytes)?;
                }
                Change::Remove(collection, key) => {
                    objects.remove((&**collection, &**key))?;
                }
                Change::Keep(name, value) => {
                    server.insert(&**name, &**value)?;
                }
                Change::None => {}
            }
        }
        server.insert(FORMAT, FORMAT_1)?;
        if let Some(last) = batch.last() {
            server.insert(REVISION, &last.revision.to_le_bytes()[..])?;
        }
    }
    transaction.commit()?;
    Ok(())
}
