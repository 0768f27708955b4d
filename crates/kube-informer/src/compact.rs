//! Objects stored as bytes.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, LazyLock},
};

use memchr::memmem;
use serde::de::Error as _;
// One allocation, a thin pointer to it, and no weak count: with 100,000 small objects every word shows.
use triomphe::ThinArc;

use crate::{
    Object,
    cached::{Cached, Opening, Sealed},
};

/// An object stored as the JSON that the server sent, in one allocation, and decoded again on each read. Made by
/// [`InformerBuilder::compact`](crate::InformerBuilder::compact).
///
/// The JSON lacks the fields that the informer skips (by default `metadata.managedFields`). Its `apiVersion` and
/// `kind`, which all objects of the cache have in common, are stored once. The object was decoded once on arrival to
/// verify that it can be. Cloning increments two reference counts.
pub struct Compact<K> {
    /// The shared beginning of the JSON, or `None` if this object begins differently.
    opening: Option<Arc<Opening>>,
    rest: ThinArc<Uid, u8>,
    _object: PhantomData<fn() -> K>,
}

/// The position of the uid in the bytes.
#[derive(Clone, Copy)]
struct Uid {
    place: u32,
    length: u8,
}

/// How the uid is written in JSON without whitespace. Prepared once.
static UID: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(br#""uid":""#));

impl<K> Clone for Compact<K> {
    fn clone(&self) -> Self {
        Self { opening: self.opening.clone(), rest: self.rest.clone(), _object: PhantomData }
    }
}

impl<K> fmt::Debug for Compact<K> {
    /// Formats the length only, never the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [opening, rest] = self.parts();
        write!(f, "Compact({} bytes)", opening.len() + rest.len())
    }
}

impl<K> Compact<K> {
    /// Returns the object's JSON. Costs one allocation and a copy.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        self.parts().concat()
    }

    /// Whether `a` and `b` are the same allocation. A relist keeps the allocation of an object that did not change.
    #[must_use]
    pub fn ptr_eq(a: &Self, b: &Self) -> bool {
        a.rest.ptr() == b.rest.ptr()
    }

    fn parts(&self) -> [&[u8]; 2] {
        [self.opening.as_ref().map_or(&[], |opening| opening.as_bytes()), &self.rest.slice]
    }

    fn new(json: &str, uid: &str, opening: &Arc<Opening>) -> Result<Self, serde_json::Error> {
        let (opening, rest) = match json.as_bytes().strip_prefix(opening.as_bytes()) {
            Some(rest) => (Some(Arc::clone(opening)), rest),
            None => (None, json.as_bytes()),
        };
        // The server generates uids without characters that need escapes; a uid that has them is refused. Any
        // occurrence of the text will do, even one in a reference to the object itself.
        let mut uids = UID.find_iter(rest).map(|at| at + UID.needle().len());
        let place = uids.find(|at| rest.get(*at..).is_some_and(|rest| rest.starts_with(uid.as_bytes())));
        let place = place.or_else(|| memmem::find(rest, uid.as_bytes()));
        let (Some(Ok(place)), Ok(length)) = (place.map(u32::try_from), u8::try_from(uid.len())) else {
            return Err(serde_json::Error::custom("metadata.uid is too long or has escapes"));
        };
        let rest = ThinArc::from_header_and_slice(Uid { place, length }, rest);
        Ok(Self { opening, rest, _object: PhantomData })
    }

    fn uid(&self) -> Option<&str> {
        let Uid { place, length } = self.rest.header.header;
        let uid = self.rest.slice.get(usize::try_from(place).ok()?..)?.get(..usize::from(length))?;
        str::from_utf8(uid).ok().filter(|uid| !uid.is_empty())
    }
}

impl<K: Object> Compact<K> {
    /// Decodes the object. Costs as much as decoding it on arrival did, plus [`Compact::to_json`].
    ///
    /// # Errors
    /// Fails only if `K` decodes the same JSON differently from one call to the next: it was decoded once already.
    pub fn decode(&self) -> Result<K, serde_json::Error> {
        serde_json::from_slice(&self.to_json())
    }
}

impl<K: Object> Sealed for Compact<K> {}

impl<K: Object> Cached for Compact<K> {
    type Stored = Self;
    type Object = K;

    fn uid(stored: &Self) -> Option<&str> {
        stored.uid()
    }

    fn same(a: &Self, b: &Self) -> bool {
        Self::ptr_eq(a, b)
    }

    #[cfg(feature = "metrics")]
    fn bytes(stored: &Self) -> Option<usize> {
        // Two words precede it: the reference count and the length.
        Some(2 * size_of::<usize>() + size_of::<Uid>() + stored.rest.slice.len())
    }

    fn to_stored(object: K, json: &str, opening: &Arc<Opening>) -> Result<Self, serde_json::Error> {
        Self::new(json, object.meta().uid.as_deref().unwrap_or_default(), opening)
    }
}
