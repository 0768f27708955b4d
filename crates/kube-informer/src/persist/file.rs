//! Files that are always whole: written to a temporary file, synced, and renamed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const TEMPORARY: &str = ".tmp";
/// The age from which a temporary file counts as left behind by a process that died.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// A file whose content others may have read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the file cannot be opened")]
    Io(#[from] io::Error),
    #[error("the file is not private: its mode permits others to read or write it")]
    NotPrivate,
}

/// Opens a file, and returns its length. `None` if there is no such file.
pub(crate) fn open(path: &Path) -> Result<Option<(File, u64)>, OpenError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let metadata = file.metadata()?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return Err(OpenError::NotPrivate);
    }
    Ok(Some((file, metadata.len())))
}

/// Replaces a file as a whole, or leaves it as it was. Creates its folder if necessary.
pub(crate) fn replace<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_folder(folder)?;
    remove_left_behind(path);
    let temporary = Temporary(temporary_path(path));
    let mut to = BufWriter::with_capacity(1 << 20, create(&temporary.0)?);
    fill(&mut to)?;
    to.flush()?;
    to.get_ref().sync_all()?;
    fs::rename(&temporary.0, path)?;
    // So that the rename, too, survives a crash of the machine. Not every system can sync a folder.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// A temporary file, removed unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}{TEMPORARY}", fastrand::u64(..)));
    name.into()
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Removes temporary files of processes that died while they wrote this file. Those of living ones are young.
fn remove_left_behind(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let file = file.as_encoded_bytes();
        let ours = file.starts_with(name.as_encoded_bytes()) && file.ends_with(TEMPORARY.as_bytes());
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if ours && age.is_some_and(|age| age > LEFT_BEHIND) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, content: &[u8]) -> io::Result<()> {
        replace(path, |to| to.write_all(content))
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_that_fails_leaves_the_whole_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cache");
        write(&path, b"whole").unwrap();
        let failed = replace(&path, |to| {
            to.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        failed.unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(folder.path()), ["a.cache"]);
    }

    #[test]
    fn temporary_files_of_dead_processes_are_removed_and_those_of_living_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cache");
        let (dead, living) = (temporary_path(&path), temporary_path(&path));
        let other = folder.path().join("b.cache.1.tmp");
        let old = SystemTime::now() - LEFT_BEHIND * 2;
        File::create(&dead).unwrap().set_modified(old).unwrap();
        File::create(&other).unwrap().set_modified(old).unwrap();
        File::create(&living).unwrap();
        write(&path, b"whole").unwrap();
        assert!(!dead.exists() && living.exists() && other.exists());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_file_and_folder() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made").join("a.cache");
        write(&path, b"whole").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(open(&path).unwrap().is_some());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(open(&path).unwrap_err(), OpenError::NotPrivate));
    }

    #[test]
    fn of_two_writers_one_is_the_last_and_every_reader_sees_a_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cache");
        let contents = [vec![1; 300_000], vec![2; 200_000]];
        write(&path, &contents[0]).unwrap();
        std::thread::scope(|scope| {
            let path = &path;
            let writers = contents
                .each_ref()
                .map(|content| scope.spawn(move || (0..20).for_each(|_| write(path, content).unwrap())));
            while writers.iter().any(|writer| !writer.is_finished()) {
                let read = fs::read(path).unwrap();
                assert!(contents.contains(&read), "{} bytes", read.len());
            }
        });
        assert_eq!(names(folder.path()), ["a.cache"]);
    }
}
