//! Who the things of a run belong to, so that what a killed run left can be told from what another run uses.
//!
//! An owner is a folder in the temporary one, with a file that its process holds a lock on. What a run writes is in the
//! folder, and its containers carry the file's path as a label. The kernel lets go of the lock when the process ends,
//! however it ends: what belongs to an owner whose file can be locked, or is gone, is nobody's any more. Process ids
//! would not do: they are given again.

use std::{
    env, fs,
    fs::{File, TryLockError},
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{eventually, supervisor};

const PREFIX: &str = "e2e-run-";
const LOCK: &str = "owner";
/// After this time a folder without a lock is not about to get one.
const YOUNG: Duration = Duration::from_secs(60);

/// This process as an owner. Dropped, it owns nothing any more, and its folder is gone.
#[derive(Debug)]
pub struct Owner {
    folder: TempDir,
    _lock: File,
}

impl Owner {
    /// Of this process. First removes the folders of those that were killed.
    ///
    /// # Errors
    /// When the temporary folder cannot be written to.
    pub fn new() -> Result<Owner> {
        sweep(&env::temp_dir());
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().context("make the run's folder")?;
        // Under its name only once it is locked.
        let new = folder.path().join("new");
        let lock = File::create_new(&new).context("write the owner's file")?;
        lock.lock().context("lock the owner's file")?;
        fs::rename(&new, folder.path().join(LOCK)).context("name the owner's file")?;
        Ok(Owner { folder, _lock: lock })
    }

    /// The one that the tests of this process share for as long as one of them needs it.
    pub(crate) fn shared() -> Result<Arc<Owner>> {
        static SHARED: Mutex<Weak<Owner>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = shared.upgrade() {
            return Ok(owner);
        }
        let owner = Arc::new(Owner::new()?);
        *shared = Arc::downgrade(&owner);
        Ok(owner)
    }

    /// What it writes is in here.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a container's label says.
    #[cfg(feature = "containers")]
    pub(crate) fn label(&self) -> String {
        self.folder.path().join(LOCK).display().to_string()
    }

    /// Removes the folder, in which programs that were just killed may still write, and servers that are still to be
    /// killed: those end with their folders.
    ///
    /// # Errors
    /// When it does not go within 20 s.
    pub async fn close(self) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(10);
        let folder = self.folder.path();
        let servers = eventually(LIMIT, || async {
            ensure!(!has_servers(folder), "servers run");
            Ok(())
        });
        // Else they are not those of a shell that ends them.
        let _ = servers.await;
        eventually(LIMIT, || async {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        })
        .await
        .with_context(|| format!("remove {}", folder.display()))
    }
}

fn has_servers(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with(supervisor::PREFIX))
}

/// Whether the process that this label names has ended.
pub(crate) fn is_gone(label: &str) -> bool {
    match File::open(Path::new(label)) {
        Ok(file) => !matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Removes what killed owners have left in a folder. What cannot be removed is left: it is somebody else's.
fn sweep(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let owners = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for owner in owners.map(|entry| entry.path()).filter(|owner| is_left(owner)) {
        let _ = fs::remove_dir_all(owner);
    }
}

fn is_left(owner: &Path) -> bool {
    let lock = owner.join(LOCK);
    if lock.exists() {
        return is_gone(&lock.to_string_lossy());
    }
    let made = owner.metadata().and_then(|metadata| metadata.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > YOUNG))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn an_owner_is_there_until_it_is_dropped() {
        let owner = Owner::new().unwrap();
        let (folder, lock) = (owner.folder().to_owned(), owner.folder().join(LOCK));
        assert!(!is_gone(&lock.to_string_lossy()));
        drop(owner);
        assert!(is_gone(&lock.to_string_lossy()) && !folder.exists());
    }

    #[tokio::test]
    async fn a_closed_owner_leaves_nothing() {
        let owner = Owner::new().unwrap();
        let folder = owner.folder().to_owned();
        fs::write(folder.join("file"), "of the run").unwrap();
        owner.close().await.unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn what_killed_owners_left_is_swept_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = temporary.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let file = |folder: &Path| File::create_new(folder.join(LOCK)).unwrap();
        let (killed, living) = (folder("e2e-run-killed"), folder("e2e-run-living"));
        file(&killed);
        let lock = file(&living);
        lock.lock().unwrap();
        let (starting, never_locked, other) =
            (folder("e2e-run-starting"), folder("e2e-run-never"), folder("other"));
        let long_ago = SystemTime::now() - 2 * YOUNG;
        File::open(&never_locked).unwrap().set_modified(long_ago).unwrap();

        sweep(temporary.path());
        assert!(!killed.exists() && !never_locked.exists());
        assert!(living.exists() && starting.exists() && other.exists());
    }
}
