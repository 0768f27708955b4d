//! Splits received bytes into what is decoded: the lines of a watch, the items of a list.
//!
//! A piece that arrives in one chunk is a slice of that chunk; only a piece that spans chunks is copied to a buffer.
//! No body is buffered as a whole, and the length of a piece is bounded.

use bytes::{Buf, Bytes};

/// The maximum length of a piece. etcd's default limit for a request is 1.5 MiB; anything far beyond that is not an
/// object.
const LONGEST_PIECE: usize = 64 << 20;

/// The received bytes are not framed as the Kubernetes API frames them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("an object is longer than {} MiB", LONGEST_PIECE >> 20)]
    TooLong,
    #[error("a list is not a JSON object with items")]
    NotAList,
}

/// The lines of a watch.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    chunk: Bytes,
    partial: Vec<u8>,
}

impl Lines {
    /// Adds a chunk. The previous one must have been consumed: `next` has returned `None`.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.chunk = chunk;
    }

    /// Whether a JSON value without a line break was received since the last line.
    pub(crate) fn holds_value(&self) -> bool {
        serde_json::from_slice::<serde::de::IgnoredAny>(&self.partial).is_ok()
    }

    /// Returns the next complete line that is not blank.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let next = self.next_line();
        free_if_read(&mut self.chunk, &next);
        next
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.partial.capacity() + self.chunk.len()
    }

    fn next_line(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.chunk.is_empty() {
            let Some(end) = memchr::memchr(b'\n', &self.chunk) else {
                check(self.partial.len() + self.chunk.len())?;
                self.partial.extend_from_slice(&std::mem::take(&mut self.chunk));
                return Ok(None);
            };
            check(self.partial.len() + end)?;
            let line = self.chunk.split_to(end);
            self.chunk.advance(1);
            let line = join(&mut self.partial, line);
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }
}

/// A piece of a list's body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Item(Bytes),
    /// The list is complete. This is its `metadata`.
    End(Bytes),
}

/// The items of a list. Members may come in any order: lists of custom resources have their metadata at the end.
#[derive(Debug)]
pub(crate) struct List {
    chunk: Bytes,
    partial: Vec<u8>,
    place: Place,
    metadata: Bytes,
    /// Whether there was a member `items`, possibly null. An object without one is not a list.
    has_items: bool,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Start,
    /// Before a key of the list, or its end.
    Member,
    Key(Scan),
    Colon(Member),
    Value(Member),
    InValue(Member, Scan),
    /// Before an item, or the end of the items.
    Items,
    Item(Scan),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Items,
    Metadata,
    Other,
}

impl List {
    pub(crate) fn new() -> Self {
        Self {
            chunk: Bytes::new(),
            partial: Vec::new(),
            place: Place::Start,
            metadata: Bytes::new(),
            has_items: false,
        }
    }

    /// Adds a chunk. The previous one must have been consumed: `next` has returned `None`.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.chunk = chunk;
    }

    /// Returns the next complete piece.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, Error> {
        let next = self.next_piece();
        free_if_read(&mut self.chunk, &next);
        next
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.partial.capacity() + self.chunk.len()
    }

    fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            // Between pieces, whitespace and commas are insignificant.
            if !matches!(self.place, Place::Key(_) | Place::InValue(..) | Place::Item(_)) {
                let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
                let start = self.chunk.iter().position(|byte| !blank(byte)).unwrap_or(self.chunk.len());
                self.chunk.advance(start);
            }
            let Some(&first) = self.chunk.first() else { return Ok(None) };
            match (self.place, first) {
                (Place::Start, b'{') => self.step(Place::Member),
                (Place::Member, b'"') => self.place = Place::Key(Scan::default()),
                (Place::Member, b'}') if self.has_items => {
                    self.step(Place::End);
                    return Ok(Some(Piece::End(std::mem::take(&mut self.metadata))));
                }
                (Place::Key(scan), _) => {
                    let Some(key) = self.take(scan, Place::Key, true)? else { return Ok(None) };
                    self.place = Place::Colon(match &key[..] {
                        br#""items""# => Member::Items,
                        br#""metadata""# => Member::Metadata,
                        _ => Member::Other,
                    });
                }
                (Place::Colon(member), b':') => self.step(Place::Value(member)),
                (Place::Value(Member::Items), b'[') => {
                    self.has_items = true;
                    self.step(Place::Items);
                }
                (Place::Value(member), _) => self.place = Place::InValue(member, Scan::default()),
                (Place::InValue(member, scan), _) => {
                    let keep = member != Member::Other;
                    let within = |scan| Place::InValue(member, scan);
                    let Some(value) = self.take(scan, within, keep)? else { return Ok(None) };
                    match member {
                        // Copied, because it is held until the end of the list, and a slice would hold its chunk.
                        Member::Metadata => self.metadata = Bytes::copy_from_slice(&value),
                        Member::Items if &value[..] == b"null" => self.has_items = true,
                        Member::Items => return Err(Error::NotAList),
                        Member::Other => {}
                    }
                    self.place = Place::Member;
                }
                (Place::Items, b']') => self.step(Place::Member),
                (Place::Items, _) => self.place = Place::Item(Scan::default()),
                (Place::Item(scan), _) => {
                    let Some(item) = self.take(scan, Place::Item, true)? else { return Ok(None) };
                    self.place = Place::Items;
                    return Ok(Some(Piece::Item(item)));
                }
                _ => return Err(Error::NotAList),
            }
        }
    }

    fn step(&mut self, place: Place) {
        self.chunk.advance(1);
        self.place = place;
    }

    /// Returns the current value if it ends in this chunk. A value that is not kept is only skipped.
    fn take(
        &mut self,
        mut scan: Scan,
        within: impl Fn(Scan) -> Place,
        keep: bool,
    ) -> Result<Option<Bytes>, Error> {
        let end = scan.end(&self.chunk);
        let part = self.chunk.split_to(end.unwrap_or(self.chunk.len()));
        check(self.partial.len() + part.len())?;
        match (end, keep) {
            (Some(_), true) => Ok(Some(join(&mut self.partial, part))),
            (Some(_), false) => Ok(Some(Bytes::new())),
            (None, keep) => {
                if keep {
                    self.partial.extend_from_slice(&part);
                }
                self.place = within(scan);
                Ok(None)
            }
        }
    }
}

/// Finds the end of a JSON value, chunk by chunk. It counts brackets and skips strings; validating the value is up to
/// the decoder.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scan {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// A number, `true`, `false` or `null`, which ends where something else begins.
    bare: bool,
}

impl Scan {
    /// Returns the index past the last byte of the value, if the value ends in `bytes`.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.in_string {
                if std::mem::take(&mut self.escaped) {
                    at += 1;
                    continue;
                }
                at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
                self.escaped = bytes[at] == b'\\';
                self.in_string = self.escaped;
                at += 1;
                if !self.in_string && self.depth == 0 {
                    return Some(at);
                }
                continue;
            }
            match bytes[at] {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth <= 1 => return Some(if self.bare { at } else { at + 1 }),
                b'}' | b']' => self.depth -= 1,
                _ if self.depth > 0 => {}
                b',' => return Some(at),
                byte if byte.is_ascii_whitespace() => return Some(at),
                _ => self.bare = true,
            }
            at += 1;
        }
        None
    }
}

/// Frees a chunk in which no further piece ends. Even an empty slice of it would hold the whole buffer of the connection.
fn free_if_read<T>(chunk: &mut Bytes, next: &Result<Option<T>, Error>) {
    if matches!(next, Ok(None)) {
        *chunk = Bytes::new();
    }
}

fn check(length: usize) -> Result<(), Error> {
    if length > LONGEST_PIECE { Err(Error::TooLong) } else { Ok(()) }
}

/// Returns the piece that ends with `rest`.
fn join(partial: &mut Vec<u8>, rest: Bytes) -> Bytes {
    if partial.is_empty() {
        return rest;
    }
    let mut whole = std::mem::take(partial);
    whole.extend_from_slice(&rest);
    whole.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Splits the text into chunks at these positions.
    fn chunks(text: &[u8], cuts: &[usize]) -> Vec<Bytes> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut from = 0;
        let cut = |to: usize| Bytes::copy_from_slice(&text[std::mem::replace(&mut from, to)..to]);
        cuts.into_iter().map(cut).collect()
    }

    fn read_list(chunks: Vec<Bytes>) -> Result<Vec<Piece>, Error> {
        let mut list = List::new();
        let mut pieces = Vec::new();
        for chunk in chunks {
            list.push(chunk);
            while let Some(piece) = list.next()? {
                pieces.push(piece);
            }
        }
        Ok(pieces)
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            r#"[a-z"\\\[\]{},: é\n]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(r#"[a-z"\\]{0,4}"#, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_list_gives_its_items_however_it_is_chunked(
            items in prop::collection::vec(json_value(), 0..6),
            other in json_value(),
            metadata_first: bool,
            pretty: bool,
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let metadata = json!({"resourceVersion": "7", "continue": "a]}\""});
            // serde_json sorts the members of a map, so the name determines the order.
            let name = if metadata_first { "zother" } else { "aother" };
            let list = json!({"items": items, "metadata": metadata, "kind": "XList", name: other});
            let text = if pretty { serde_json::to_vec_pretty(&list) } else { serde_json::to_vec(&list) }.unwrap();
            let pieces = read_list(chunks(&text, &cuts)).unwrap();
            let (end, found) = pieces.split_last().unwrap();
            let read = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).unwrap();
            let found: Vec<Value> = found
                .iter()
                .map(|piece| match piece {
                    Piece::Item(item) => read(item),
                    Piece::End(_) => panic!("an end before the end"),
                })
                .collect();
            prop_assert_eq!(found, items);
            prop_assert!(matches!(end, Piece::End(bytes) if read(bytes) == metadata));
        }

        #[test]
        fn lines_come_out_whole_however_they_are_chunked(
            lines in prop::collection::vec("[a-z ]{0,5}[a-z]", 0..8),
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut framer = Lines::default();
            let mut found = Vec::new();
            for chunk in chunks(text.as_bytes(), &cuts) {
                framer.push(chunk);
                while let Some(line) = framer.next().unwrap() {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            prop_assert_eq!(found, lines);
        }

        #[test]
        fn no_bytes_make_a_list_panic(bytes: Vec<u8>, cuts in prop::collection::vec(any::<usize>(), 0..4)) {
            let _ = read_list(chunks(&bytes, &cuts));
        }
    }

    #[test]
    fn an_item_within_a_chunk_is_not_copied() {
        let chunk = Bytes::from_static(br#"{"metadata":{},"items":[{"a":1},{"b":2}]}"#);
        let range = chunk.as_ptr() as usize..chunk.as_ptr() as usize + chunk.len();
        let pieces = read_list(vec![chunk]).unwrap();
        assert!(pieces.iter().all(|piece| match piece {
            Piece::Item(bytes) => range.contains(&(bytes.as_ptr() as usize)),
            Piece::End(_) => true,
        }));
        let chunk = Bytes::from_static(b"one\ntwo\n");
        let start = chunk.as_ptr();
        let mut lines = Lines::default();
        lines.push(chunk);
        assert_eq!(lines.next().unwrap().unwrap().as_ptr(), start);
    }

    #[test]
    fn what_is_not_a_list_is_refused_and_null_items_are_none() {
        for text in ["[]", "null", "<html>", r#"{"items" 1}"#, r#"{"items":{}}"#, r#"{"metadata":{}}"#, "{}"]
        {
            let read = read_list(vec![Bytes::copy_from_slice(text.as_bytes())]);
            assert_eq!(read, Err(Error::NotAList), "{text}");
        }
        let empty = read_list(vec![Bytes::from_static(br#"{"items":null,"metadata":{}}"#)]).unwrap();
        assert_eq!(empty, [Piece::End(Bytes::from_static(b"{}"))]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::default();
        let chunk = Bytes::from(vec![b'a'; LONGEST_PIECE / 2]);
        for _ in 0..2 {
            lines.push(chunk.clone());
            assert_eq!(lines.next(), Ok(None));
        }
        lines.push(chunk);
        assert_eq!(lines.next(), Err(Error::TooLong));
    }
}
