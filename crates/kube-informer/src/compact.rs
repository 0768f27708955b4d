//! Objects that are held as bytes.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, LazyLock},
};

use memchr::memmem;
use serde::de::Error as _;
// One allocation, a thin pointer to it, and no count of weak references: of 100,000 small objects each word is seen.
use triomphe::ThinArc;

use crate::{
    Object,
    cached::{Cached, Opening, Sealed},
};

/// An object held as the JSON that the server sent, in one allocation, and decoded again each time it is read. Made by
/// [`InformerBuilder::compact`](crate::InformerBuilder::compact).
///
/// What the informer skips (`metadata.managedFields`, if not said otherwise) is not in it. Its type, which is that of every
/// object in the cache, is held once for all. It was decoded once when it arrived, to know that it can be. Cloning costs
/// two reference counts.
pub struct Compact<K> {
    /// What comes before the rest, if anything does.
    opening: Option<Arc<Opening>>,
    rest: ThinArc<Uid, u8>,
    _object: PhantomData<fn() -> K>,
}

/// Where the uid is in the bytes.
#[derive(Clone, Copy)]
struct Uid {
    place: u32,
    length: u8,
}

/// Where a server writes the uid, if it writes no blanks; prepared once.
static UID: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(br#""uid":""#));

impl<K> Clone for Compact<K> {
    fn clone(&self) -> Self {
        Self { opening: self.opening.clone(), rest: self.rest.clone(), _object: PhantomData }
    }
}

impl<K> fmt::Debug for Compact<K> {
    /// Its length, and nothing of what is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [opening, rest] = self.parts();
        write!(f, "Compact({} bytes)", opening.len() + rest.len())
    }
}

impl<K> Compact<K> {
    /// The object's JSON. Costs an allocation and copying it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        self.parts().concat()
    }

    /// Whether both are the same allocation: a relist keeps that of an object which did not change.
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
        // A uid is made by the server and needs no escapes; one that has them is refused. Wherever its text is found, be it
        // in a reference to the object itself, the text is the same.
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
    /// Decodes the object. Costs what decoding it from the server did, and [`Compact::to_json`].
    ///
    /// # Errors
    /// If the type decodes the same JSON differently from one time to the next: it was decoded once already.
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
        // The two words before it are its count and its length.
        Some(2 * size_of::<usize>() + size_of::<Uid>() + stored.rest.slice.len())
    }

    fn to_stored(object: K, json: &str, opening: &Arc<Opening>) -> Result<Self, serde_json::Error> {
        Self::new(json, object.meta().uid.as_deref().unwrap_or_default(), opening)
    }
}
