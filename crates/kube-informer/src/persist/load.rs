//! Reads a file into a store. Blocks are decoded on several threads while the file is read.
//!
//! Invariant: each object is decoded as on arrival and must be the one that was written. If one is not, the whole file
//! is ignored.

use std::{
    collections::BTreeMap,
    num::NonZero,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use tokio_util::sync::CancellationToken;

use super::{
    file::{self, OpenError},
    format::{self, Block, Damaged, Reader},
    identity::{Contents, Header},
    owner::Unknown,
};
use crate::{
    Cached, InvalidResourceVersion, ResourceVersion,
    decode::{Decoded, Decoder},
    store::{Freshness, Item, Store},
    uid::Uid,
};

/// The number of threads that decode. More would wait for the one that fills the store.
const MAX_THREADS: usize = 4;

/// A cache as it was written.
pub(crate) struct Loaded<K: Cached> {
    pub(crate) header: Header,
    pub(crate) version: ResourceVersion,
    pub(crate) store: Store<K>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ignored {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("the file is of another {0}")]
    Other(&'static str),
    #[error("an object in it does not decode")]
    Undecodable,
    #[error(transparent)]
    Unknown(#[from] Unknown),
    #[error(transparent)]
    Version(#[from] InvalidResourceVersion),
    #[error("the cluster is known neither by the uid of its namespace kube-system nor by a given name")]
    NoCluster,
    #[error("the server is at version {0} only, so it was restored from a backup or is another one")]
    Newer(ResourceVersion),
    #[error("the informer was stopped")]
    Stopped,
    #[error("the program's own file cannot be read")]
    NoProgram,
}

impl Ignored {
    /// Whether the file or the program is at fault, rather than a change that is expected at times.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Damaged(_) | Self::Undecodable | Self::Newer(_))
    }
}

/// Reads the file of an informer. `None` if there is none. Blocks, except that it ends early if it is cancelled.
pub(crate) fn load<K: Cached>(
    path: &Path,
    contents: &Contents,
    decoder: impl Fn() -> Decoder + Sync,
    cancelled: &CancellationToken,
) -> Result<Option<Loaded<K>>, Ignored> {
    let Some((file, length)) = file::open(path)? else { return Ok(None) };
    let (reader, header) = Reader::new(std::io::BufReader::new(file), length)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| Damaged::Altered)?;
    if let Some(difference) = contents.difference(&header.contents) {
        return Err(Ignored::Other(difference));
    }
    let version = header.resource_version.parse()?;
    let store = objects(reader, decoder, cancelled)?;
    Ok(Some(Loaded { header, version, store }))
}

type Decode<K> = Result<Vec<Item<K>>, Ignored>;

fn objects<K: Cached, R: std::io::Read + Send>(
    reader: Reader<R>,
    decoder: impl Fn() -> Decoder + Sync,
    cancelled: &CancellationToken,
) -> Result<Store<K>, Ignored> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let (send_blocks, blocks) = sync_channel(threads);
    let (send_items, items) = sync_channel(threads);
    thread::scope(|scope| {
        let reading = scope.spawn(move || read(reader, &send_blocks, cancelled));
        // Dropped with the last thread that decodes, which then ends the reading, too.
        let blocks = Arc::new(Mutex::new(blocks));
        for _ in 0..threads {
            let (blocks, send_items, decoder) = (Arc::clone(&blocks), send_items.clone(), decoder());
            scope.spawn(move || decode_blocks::<K>(&blocks, &send_items, decoder));
        }
        drop((blocks, send_items));
        let store = collect(items);
        // A fault of the file explains any other.
        let count = reading.join().map_err(|_| Ignored::Stopped)??;
        let mut store = store?;
        if store.objects().len() as u64 != count {
            return Err(Damaged::Altered.into());
        }
        Ok(store)
    })
}

/// Reads all blocks. Returns the number of objects according to the file, or 0 if nobody wants the rest.
fn read<R: std::io::Read>(
    mut reader: Reader<R>,
    blocks: &SyncSender<(usize, Vec<u8>)>,
    cancelled: &CancellationToken,
) -> Result<u64, Ignored> {
    for at in 0.. {
        if cancelled.is_cancelled() {
            return Err(Ignored::Stopped);
        }
        match reader.next()? {
            Block::End { count } => return Ok(count),
            Block::Objects(block) => {
                if blocks.send((at, block)).is_err() {
                    break;
                }
            }
        }
    }
    Ok(0)
}

fn decode_blocks<K: Cached>(
    blocks: &Mutex<Receiver<(usize, Vec<u8>)>>,
    items: &SyncSender<(usize, Decode<K>)>,
    mut decoder: Decoder,
) {
    let next = || blocks.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok((at, block)) = next() {
        if items.send((at, decode_block(&mut decoder, &block))).is_err() {
            return;
        }
    }
}

fn decode_block<K: Cached>(decoder: &mut Decoder, block: &[u8]) -> Decode<K> {
    format::records(block)
        .map(|record| {
            let record = record?;
            let Ok(Decoded::Item(item)) = decoder.object::<K>(record.json) else {
                return Err(Ignored::Undecodable);
            };
            let same = item.key.namespace().unwrap_or_default() == record.namespace
                && item.key.name() == record.name
                && K::uid(&item.object).unwrap_or(Uid::Text("")) == Uid::Text(record.uid)
                && item.version.to_string() == record.resource_version;
            if same { Ok(item) } else { Err(Ignored::Undecodable) }
        })
        .collect()
}

/// Fills a store in the order of the file, which is the order of the keys.
fn collect<K: Cached>(items: Receiver<(usize, Decode<K>)>) -> Result<Store<K>, Ignored> {
    let (mut store, mut next) = (Store::new(), 0);
    let mut early = BTreeMap::new();
    for (at, decoded) in items {
        early.insert(at, decoded?);
        while let Some(block) = early.remove(&next) {
            next += 1;
            for item in block {
                // A list that is consistent is never lagging.
                let _ = store.list_item(0, item, Freshness::Consistent);
            }
        }
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::{
        super::format::{Record, Writer},
        *,
    };
    use crate::protocol::{Settings, Target};

    const JSON: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"default","uid":"1","resourceVersion":"7"}}"#;

    const RECORD: Record<'_> =
        Record { namespace: "default", name: "a", uid: "1", resource_version: "7", json: JSON.as_bytes() };

    fn contents() -> Contents {
        Contents::new::<ConfigMap>(&Target::new::<ConfigMap>(&()), &Settings::default(), None)
    }

    fn file(records: &[Record<'_>]) -> Vec<u8> {
        let owner = serde_json::json!({"cluster_uid": "one", "user": {"username": "me"}});
        let owner = serde_json::from_value(owner).unwrap();
        let header = Header { contents: contents(), owner, resource_version: "9".to_owned() };
        let mut writer = Writer::new(Vec::new(), &serde_json::to_vec(&header).unwrap()).unwrap();
        records.iter().for_each(|record| writer.add(record).unwrap());
        writer.finish().unwrap()
    }

    /// Loads a file with these bytes.
    fn loaded(bytes: &[u8], cancelled: &CancellationToken) -> Result<Loaded<ConfigMap>, Ignored> {
        // Made by this crate, because only private files are read.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cache");
        file::replace(&path, |to| std::io::Write::write_all(to, bytes)).unwrap();
        let skip = Settings::default().skip;
        let decoder =
            || Decoder::new(skip.clone(), "v1".to_owned(), "ConfigMap".to_owned(), std::sync::Arc::default());
        load(&path, &contents(), decoder, cancelled).map(Option::unwrap)
    }

    fn reason(bytes: &[u8]) -> String {
        loaded(bytes, &CancellationToken::new()).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_file_is_loaded() {
        let mut loaded = loaded(&file(&[RECORD]), &CancellationToken::new()).unwrap();
        assert_eq!((loaded.version.to_string().as_str(), loaded.store.objects().len()), ("9", 1));
    }

    #[test]
    fn a_file_that_is_cut_or_altered_anywhere_is_ignored() {
        let whole = file(&[RECORD]);
        for at in 0..whole.len() {
            assert_eq!(reason(&whole[..at]), "the file is truncated");
            let mut altered = whole.clone();
            altered[at] ^= 0x20;
            reason(&altered);
        }
    }

    #[test]
    fn one_object_that_is_not_what_was_written_spoils_the_file() {
        let undecodable = "an object in it does not decode";
        let records = [
            Record { json: br#"{"metadata":{"name":"a","namespace":"default","uid":"1","resourceVersion":"7"},"data":5}"#, ..RECORD },
            Record { json: b"{}", ..RECORD },
            Record { json: b"", ..RECORD },
            Record { name: "b", ..RECORD },
            Record { namespace: "", ..RECORD },
            Record { uid: "2", ..RECORD },
            Record { resource_version: "8", ..RECORD },
        ];
        for record in records {
            assert_eq!(reason(&file(&[RECORD, record])), undecodable, "{record:?}");
        }
        assert_eq!(reason(&file(&[RECORD, RECORD])), "the file is damaged");
    }

    #[test]
    fn loading_ends_when_nobody_waits_for_it() {
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        assert!(matches!(loaded(&file(&[RECORD]), &cancelled), Err(Ignored::Stopped)));
    }
}
