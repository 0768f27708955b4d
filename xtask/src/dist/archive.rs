//! Reproducible archives, which depend only on their contents: sorted, with one timestamp, and without an owner.

use std::{collections::BTreeMap, io};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// A `.tar.gz` with one top-level folder.
pub(crate) struct Archive {
    top: String,
    time: u64,
    files: BTreeMap<String, (u32, Vec<u8>)>,
}

impl Archive {
    /// Creates an empty archive. Its folder and everything in it have this time, in seconds since 1970.
    pub(crate) fn new(top: &str, time: u64) -> Self {
        Self { top: top.to_owned(), time, files: BTreeMap::new() }
    }

    pub(crate) fn file(&mut self, path: &str, contents: Vec<u8>) {
        self.files.insert(path.to_owned(), (0o644, contents));
    }

    pub(crate) fn executable(&mut self, path: &str, contents: Vec<u8>) {
        self.files.insert(path.to_owned(), (0o755, contents));
    }

    /// Returns the bytes of the archive.
    pub(crate) fn pack(&self) -> io::Result<Vec<u8>> {
        // gzip's header has neither a name nor a time.
        let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        let mut tar = Builder::new(gzip);
        let mut folders = vec![String::new()];
        folders.extend(self.files.keys().flat_map(|path| parents(path)));
        folders.sort();
        folders.dedup();
        for folder in folders {
            let path = format!("{}/{folder}", self.top);
            self.append(&mut tar, &path, EntryType::Directory, 0o755, &[])?;
        }
        for (path, (mode, contents)) in &self.files {
            self.append(&mut tar, &format!("{}/{path}", self.top), EntryType::Regular, *mode, contents)?;
        }
        tar.into_inner()?.finish()
    }

    fn append(
        &self,
        tar: &mut Builder<impl io::Write>,
        path: &str,
        kind: EntryType,
        mode: u32,
        contents: &[u8],
    ) -> io::Result<()> {
        // User and group have numbers, but no names.
        let mut header = Header::new_ustar();
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(self.time);
        header.set_size(contents.len() as u64);
        tar.append_data(&mut header, path, contents)
    }
}

/// Returns the parent folders of a file, outermost first, each with a trailing slash.
fn parents(path: &str) -> impl Iterator<Item = String> {
    path.match_indices('/').map(|(end, _)| path[..=end].to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn packed(paths: &[&str]) -> Vec<u8> {
        let mut archive = Archive::new("top-1.0", 1_700_000_000);
        for path in paths {
            archive.file(path, path.as_bytes().to_vec());
        }
        archive.executable("program", b"\x7fELF".to_vec());
        archive.pack().unwrap()
    }

    #[test]
    fn the_order_of_adding_does_not_matter() {
        assert_eq!(packed(&["b", "man/man1/a.1", "a"]), packed(&["man/man1/a.1", "a", "b"]));
    }

    #[test]
    fn entries_are_sorted_and_have_one_time_and_no_owner() {
        let packed = packed(&["man/man1/a.1", "LICENSE"]);
        assert_eq!(packed[4..8], [0; 4], "gzip's own time");
        let mut archive = tar::Archive::new(GzDecoder::new(packed.as_slice()));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(header.mtime().unwrap(), 1_700_000_000);
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
            let mode = header.mode().unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = Vec::new();
            entry.read_to_end(&mut text).unwrap();
            found.push((path, mode, String::from_utf8(text).unwrap()));
        }
        let expected = [
            ("top-1.0/", 0o755, ""),
            ("top-1.0/man/", 0o755, ""),
            ("top-1.0/man/man1/", 0o755, ""),
            ("top-1.0/LICENSE", 0o644, "LICENSE"),
            ("top-1.0/man/man1/a.1", 0o644, "man/man1/a.1"),
            ("top-1.0/program", 0o755, "\u{7f}ELF"),
        ];
        let found: Vec<_> =
            found.iter().map(|(path, mode, text)| (path.as_str(), *mode, text.as_str())).collect();
        assert_eq!(found, expected);
    }
}
