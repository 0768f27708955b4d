//! The ownership of a run's files and containers. It distinguishes leftovers of a killed run from resources that another
//! run is using.
//!
//! An owner is a folder in the temporary folder, with a file that its process holds a lock on. A run writes its files to
//! this folder, and its containers carry the lock file's path as a label. The kernel releases the lock when the process
//! ends, however it ends: if an owner's file can be locked, or does not exist, its resources are leftovers. Process ids
//! would not work, because they are reused.

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
/// A folder that has no lock file after this time will not get one.
const YOUNG: Duration = Duration::from_secs(60);

/// This process as an owner. Its lock is released and its folder is removed on drop.
#[derive(Debug)]
pub struct Owner {
    folder: TempDir,
    _lock: File,
}

impl Owner {
    /// Creates an owner for this process. First removes the folders of owners that were killed.
    ///
    /// # Errors
    /// Fails if the temporary folder cannot be written to.
    pub fn new() -> Result<Owner> {
        sweep(&env::temp_dir());
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().context("make the run's folder")?;
        // The file gets its final name only once it is locked.
        let new = folder.path().join("new");
        let lock = File::create_new(&new).context("write the owner's file")?;
        lock.lock().context("lock the owner's file")?;
        fs::rename(&new, folder.path().join(LOCK)).context("name the owner's file")?;
        Ok(Owner { folder, _lock: lock })
    }

    /// Returns the owner that the tests of this process share while any of them needs it.
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

    /// Returns the folder for the run's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the value of a container's owner label.
    #[cfg(feature = "containers")]
    pub(crate) fn label(&self) -> String {
        self.folder.path().join(LOCK).display().to_string()
    }

    /// Removes the folder. Programs that were just killed may still write to it, so removal is retried. Servers that are
    /// still to be killed are waited for: they are gone when their folders are.
    ///
    /// # Errors
    /// Fails if the folder cannot be removed within 20 s.
    pub async fn close(self) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(10);
        let folder = self.folder.path();
        let servers = eventually(LIMIT, || async {
            ensure!(!has_servers(folder), "servers run");
            Ok(())
        });
        // If folders remain after this time, there is no shell left that would end their servers.
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

/// Reports whether the process that this label names has ended.
pub(crate) fn is_gone(label: &str) -> bool {
    match File::open(Path::new(label)) {
        Ok(file) => !matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Removes the folders of killed owners. A folder that cannot be removed stays: it belongs to another user.
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
    fn an_owner_exists_until_it_is_dropped() {
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
    fn only_leftovers_of_killed_owners_are_swept() {
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
