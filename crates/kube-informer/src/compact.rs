//! Objects that are held as bytes.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, LazyLock},
};

use memchr::memmem;
use serde::de::Error as _;

use crate::{
    Object,
    cached::{Cached, Sealed},
};

/// An object held as the JSON that the server sent, in one allocation, and decoded again each time it is read. Made by
/// [`Builder::compact`](crate::Builder::compact).
///
/// What the informer skips (`metadata.managedFields`, if not said otherwise) is not in it. It was decoded once when it
/// arrived, to know that it can be. Cloning costs a reference count.
pub struct Compact<K> {
    /// Place (4 bytes) and length (1 byte) of the uid in the JSON, then the JSON.
    buffer: Arc<[u8]>,
    _object: PhantomData<fn() -> K>,
}

/// Where a server writes the uid, if it writes no blanks; prepared once.
static UID: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(br#""uid":""#));

/// How long the part before the JSON is.
const HEAD: usize = 5;

impl<K> Clone for Compact<K> {
    fn clone(&self) -> Self {
        Self { buffer: Arc::clone(&self.buffer), _object: PhantomData }
    }
}

impl<K> fmt::Debug for Compact<K> {
    /// Its length, and nothing of what is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compact({} bytes)", self.as_json().len())
    }
}

impl<K> Compact<K> {
    /// The object's JSON.
    #[must_use]
    pub fn as_json(&self) -> &[u8] {
        self.buffer.get(HEAD..).unwrap_or_default()
    }

    /// Whether both are the same allocation: a relist keeps that of an object which did not change.
    #[must_use]
    pub fn ptr_eq(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.buffer, &b.buffer)
    }

    fn new(json: &str, uid: &str) -> Result<Self, serde_json::Error> {
        // A uid is made by the server and needs no escapes; one that has them is refused. Wherever its text is found, be it
        // in a reference to the object itself, the text is the same.
        let mut uids = UID.find_iter(json.as_bytes()).map(|at| at + UID.needle().len());
        let place = uids.find(|at| json.get(*at..).is_some_and(|rest| rest.starts_with(uid)));
        let place = place.or_else(|| memmem::find(json.as_bytes(), uid.as_bytes()));
        let (Some(Ok(place)), Ok(length)) = (place.map(u32::try_from), u8::try_from(uid.len())) else {
            return Err(serde_json::Error::custom("metadata.uid is too long or has escapes"));
        };
        let head = place.to_le_bytes().into_iter().chain([length]);
        // Of a length that is known, and so in one allocation.
        let mut buffer: Arc<[u8]> = std::iter::repeat_n(0, HEAD + json.len()).collect();
        if let Some(bytes) = Arc::get_mut(&mut buffer) {
            bytes[HEAD..].copy_from_slice(json.as_bytes());
            bytes.iter_mut().zip(head).for_each(|(to, byte)| *to = byte);
        }
        Ok(Self { buffer, _object: PhantomData })
    }

    fn uid(&self) -> Option<&str> {
        let (place, length) = (self.buffer.first_chunk()?, *self.buffer.get(4)?);
        let place = usize::try_from(u32::from_le_bytes(*place)).ok()?;
        let uid = self.as_json().get(place..)?.get(..usize::from(length))?;
        str::from_utf8(uid).ok().filter(|uid| !uid.is_empty())
    }
}

impl<K: Object> Compact<K> {
    /// Decodes the object. Costs what decoding it from the server did.
    ///
    /// # Errors
    /// If the type decodes the same JSON differently from one time to the next: it was decoded once already.
    pub fn decode(&self) -> Result<K, serde_json::Error> {
        serde_json::from_slice(self.as_json())
    }
}

impl<K: Object> Sealed for Compact<K> {}

impl<K: Object> Cached for Compact<K> {
    type Held = Self;
    type Object = K;

    fn uid(held: &Self) -> Option<&str> {
        held.uid()
    }

    fn same(a: &Self, b: &Self) -> bool {
        Self::ptr_eq(a, b)
    }

    fn hold(object: K, json: &str) -> Result<Self, serde_json::Error> {
        Self::new(json, object.meta().uid.as_deref().unwrap_or_default())
    }
}
