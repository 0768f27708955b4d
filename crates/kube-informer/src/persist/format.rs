//! The format of a cache on disk: what a file consists of, and how a damaged one is recognized.
//!
//! A file is [`MAGIC`], the [`VERSION`] and a sequence of blocks: a header, any number of blocks of objects, an end.
//! The checksum of a block covers its kind, its length, its content and the checksum of the block before it, so blocks
//! cannot be altered, dropped, repeated or moved to another file unnoticed. A file without its end is truncated.
//! Numbers are little-endian.
//!
//! Invariant: a length in a file is believed only up to the length of the file itself and [`MAX_BLOCK`].

use std::io::{self, Read, Write};

use twox_hash::XxHash3_64;

const MAGIC: [u8; 8] = *b"informer";
/// Raised with every change of the format, or of what is stored. Files of another version are ignored.
const VERSION: u32 = 1;
/// Kind, length and checksum of a block.
const BLOCK_HEAD: usize = 1 + 4 + 8;
/// The size from which a block of objects is written. Large enough to be decoded on its own, small enough that a few
/// of them in memory do not matter.
const BLOCK: usize = 256 << 10;
/// The maximum size of a block, and so of an object. A kube-apiserver accepts objects of a few megabytes.
const MAX_BLOCK: usize = 64 << 20;

const HEADER: u8 = 1;
const OBJECTS: u8 = 2;
const END: u8 = 3;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damaged {
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
    #[error("the file is not a cache")]
    NotACache,
    #[error("the file has format version {0}, not {VERSION}")]
    Version(u32),
    #[error("the file is truncated")]
    Truncated,
    #[error("the file is damaged")]
    Altered,
}

impl From<io::Error> for Damaged {
    fn from(error: io::Error) -> Self {
        // The length of the file was checked before, so it became shorter while it was read.
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

/// One object, as the cache has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Empty for an object without a namespace.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// Empty for an object without a uid.
    pub(crate) uid: &'a str,
    pub(crate) resource_version: &'a str,
    pub(crate) json: &'a [u8],
}

/// Writes a file.
pub(crate) struct Writer<W: Write> {
    to: W,
    checksum: u64,
    /// The objects of the next block.
    block: Vec<u8>,
    count: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file with this header.
    pub(crate) fn new(mut to: W, header: &[u8]) -> io::Result<Self> {
        to.write_all(&MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        let mut writer = Self { to, checksum: 0, block: Vec::new(), count: 0 };
        writer.write(HEADER, header)?;
        Ok(writer)
    }

    /// Adds an object.
    pub(crate) fn add(&mut self, record: &Record<'_>) -> io::Result<()> {
        let Record { namespace, name, uid, resource_version, json } = *record;
        for part in [namespace.as_bytes(), name.as_bytes(), uid.as_bytes(), resource_version.as_bytes(), json]
        {
            let length = u32::try_from(part.len()).map_err(io::Error::other)?;
            self.block.extend_from_slice(&length.to_le_bytes());
            self.block.extend_from_slice(part);
        }
        self.count += 1;
        if self.block.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    /// Ends the file. Returns what was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        self.write(END, &self.count.to_le_bytes())?;
        Ok(self.to)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.block);
        let written = self.write(OBJECTS, &block);
        block.clear();
        self.block = block;
        written
    }

    fn write(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        if content.len() > MAX_BLOCK {
            return Err(io::Error::other("an object is too large"));
        }
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        self.checksum = checksum(self.checksum, kind, length, content);
        self.to.write_all(&[kind])?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(&self.checksum.to_le_bytes())?;
        self.to.write_all(content)
    }
}

/// Reads a file.
pub(crate) struct Reader<R: Read> {
    from: R,
    /// How many bytes of the file are left.
    left: u64,
    checksum: u64,
}

/// What follows the header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Objects, which [`records`] takes apart.
    Objects(Vec<u8>),
    /// The end of the file, with the number of its objects.
    End { count: u64 },
}

impl<R: Read> Reader<R> {
    /// Begins to read a file of this length. Returns its header as well.
    pub(crate) fn new(from: R, length: u64) -> Result<(Self, Vec<u8>), Damaged> {
        let mut reader = Self { from, left: length, checksum: 0 };
        if reader.array()? != MAGIC {
            return Err(Damaged::NotACache);
        }
        let version = u32::from_le_bytes(reader.array()?);
        if version != VERSION {
            return Err(Damaged::Version(version));
        }
        match reader.block()? {
            (HEADER, header) => Ok((reader, header)),
            _ => Err(Damaged::Altered),
        }
    }

    /// Reads the next block. Nothing follows [`Block::End`].
    pub(crate) fn next(&mut self) -> Result<Block, Damaged> {
        match self.block()? {
            (OBJECTS, objects) => Ok(Block::Objects(objects)),
            (END, count) if self.left == 0 => {
                let count = count.try_into().map_err(|_| Damaged::Altered)?;
                Ok(Block::End { count: u64::from_le_bytes(count) })
            }
            _ => Err(Damaged::Altered),
        }
    }

    fn block(&mut self) -> Result<(u8, Vec<u8>), Damaged> {
        let head: [u8; BLOCK_HEAD] = self.array()?;
        let [kind, l0, l1, l2, l3, expected @ ..] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if u64::from(length) > self.left {
            return Err(Damaged::Truncated);
        }
        let size = usize::try_from(length).ok().filter(|size| *size <= MAX_BLOCK).ok_or(Damaged::Altered)?;
        let mut content = vec![0; size];
        self.from.read_exact(&mut content)?;
        self.left -= u64::from(length);
        self.checksum = checksum(self.checksum, kind, length, &content);
        if self.checksum != u64::from_le_bytes(expected) {
            return Err(Damaged::Altered);
        }
        Ok((kind, content))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.left = self.left.checked_sub(N as u64).ok_or(Damaged::Truncated)?;
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Iterates over the objects of a block.
pub(crate) fn records(mut block: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Damaged>> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        let record = record(&mut block).ok_or(Damaged::Altered);
        if record.is_err() {
            block = &[];
        }
        Some(record)
    })
}

fn record<'a>(block: &mut &'a [u8]) -> Option<Record<'a>> {
    Some(Record {
        namespace: str::from_utf8(part(block)?).ok()?,
        name: str::from_utf8(part(block)?).ok()?,
        uid: str::from_utf8(part(block)?).ok()?,
        resource_version: str::from_utf8(part(block)?).ok()?,
        json: part(block)?,
    })
}

fn part<'a>(block: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = block.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    *block = rest;
    Some(part)
}

fn checksum(before: u64, kind: u8, length: u32, content: &[u8]) -> u64 {
    let seed = before ^ (u64::from(kind) << 32) ^ u64::from(length);
    XxHash3_64::oneshot_with_seed(seed, content)
}

#[cfg(test)]
mod tests;
