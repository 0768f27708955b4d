//! Objects stored as compressed bytes.

use std::{
    fmt,
    marker::PhantomData,
    num::NonZeroU16,
    sync::{Arc, LazyLock},
};

use memchr::memmem;
use serde::de::Error as _;
// One allocation, a thin pointer to it, and no weak count: with 100,000 small objects every word shows.
use triomphe::ThinArc;

use crate::{
    Object,
    cached::{Cached, Sealed},
    compress::{Compressor, Dictionary},
    uid::{self, Uid},
};

/// An object stored as the JSON that the server sent, compressed, in one allocation, and decoded again on each read. Made
/// by [`InformerBuilder::compact`](crate::InformerBuilder::compact).
///
/// The JSON lacks the fields that the informer skips (by default `metadata.managedFields`). It is compressed against other
/// objects of the cache, which share most of it; objects that compressing would not make smaller are stored as they are.
/// The object was decoded once on arrival to verify that it can be. Cloning increments a reference count.
pub struct Compact<K> {
    object: ThinArc<Header, u8>,
    _object: PhantomData<fn() -> K>,
}

/// The bytes that follow it are the uid and then the JSON without it: the uid is what is asked for most often, and what
/// compresses least.
#[derive(Clone)]
struct Header {
    /// What the JSON was compressed against, or `None` if it is not compressed.
    dictionary: Option<Arc<Dictionary>>,
    /// The length of the JSON that is compressed.
    length: u32,
    /// Where the uid was cut out of it. `None` if it was not, because it comes late, or is written with escapes.
    uid_at: Option<NonZeroU16>,
    /// The length of the uid, or [`PACKED`].
    uid_length: u8,
}

/// Stands for a uid of 16 bytes that is written as 36.
const PACKED: u8 = u8::MAX;

/// How the uid is written in JSON without whitespace. Prepared once.
static UID: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(br#""uid":""#));

impl<K> Clone for Compact<K> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), _object: PhantomData }
    }
}

impl<K> fmt::Debug for Compact<K> {
    /// Formats the length only, never the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compact({} bytes)", self.object.slice.len())
    }
}

impl<K> Compact<K> {
    /// Returns the object's JSON. Costs an allocation, and about as much as copying it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let Header { dictionary, length, uid_at, .. } = &self.object.header.header;
        let (uid, rest) = self.parts();
        let Some(length) = usize::try_from(*length).ok() else { return Vec::new() };
        let mut json = Vec::with_capacity(length + uid.len().max(uid::LENGTH));
        match dictionary {
            None => json.extend_from_slice(rest),
            Some(dictionary) => {
                json.resize(length, 0);
                // Nothing but `new` writes these bytes, so this cannot fail. If it did, no wrong object may come of it.
                if !dictionary.decompress(rest, &mut json) {
                    return Vec::new();
                }
            }
        }
        if let Some(at) = uid_at.map(|at| usize::from(at.get())).filter(|at| *at <= json.len()) {
            match self.uid() {
                Some(Uid::Packed(packed)) => drop(json.splice(at..at, uid::unpack(packed))),
                Some(Uid::Text(text)) => drop(json.splice(at..at, text.bytes())),
                None => {}
            }
        }
        json
    }

    /// Whether `a` and `b` are the same allocation. A relist keeps the allocation of an object that did not change.
    #[must_use]
    pub fn ptr_eq(a: &Self, b: &Self) -> bool {
        a.object.ptr() == b.object.ptr()
    }

    /// Returns the uid, and what is stored of the rest.
    fn parts(&self) -> (&[u8], &[u8]) {
        let length = match self.object.header.header.uid_length {
            PACKED => size_of::<[u8; 16]>(),
            length => usize::from(length),
        };
        self.object.slice.split_at_checked(length).unwrap_or_default()
    }

    fn new(json: &str, uid: &str, compressor: &Compressor) -> Result<Self, serde_json::Error> {
        let too_long = |_| serde_json::Error::custom("metadata.uid or the object is too long");
        // One more, which is `PACKED`, would be too long.
        u8::try_from(uid.len() + 1).map_err(too_long)?;
        let packed = uid::pack(uid);
        let (mut bytes, uid_length) = match &packed {
            Some(packed) => (packed.to_vec(), PACKED),
            None => (uid.as_bytes().to_vec(), u8::try_from(uid.len()).map_err(too_long)?),
        };
        let uid_at = place_of(uid, json).and_then(|at| NonZeroU16::new(u16::try_from(at).ok()?));
        let rest = without_uid(json.as_bytes(), uid_at, uid.len());
        let length = u32::try_from(rest.len()).map_err(too_long)?;
        let dictionary = compressor.compress(&rest, &mut bytes);
        if dictionary.is_none() {
            bytes.extend_from_slice(&rest);
        }
        let header = Header { dictionary, length, uid_at, uid_length };
        Ok(Self { object: ThinArc::from_header_and_slice(header, &bytes), _object: PhantomData })
    }

    fn uid(&self) -> Option<Uid<'_>> {
        let (uid, _) = self.parts();
        match self.object.header.header.uid_length {
            0 => None,
            PACKED => uid.try_into().ok().map(Uid::Packed),
            _ => str::from_utf8(uid).ok().map(Uid::Text),
        }
    }
}

fn without_uid(json: &[u8], uid_at: Option<NonZeroU16>, uid_length: usize) -> Vec<u8> {
    let at = uid_at.map(|at| usize::from(at.get()));
    match at.and_then(|at| Some((json.get(..at)?, json.get(at + uid_length..)?))) {
        Some((before, after)) => [before, after].concat(),
        None => json.to_vec(),
    }
}

/// Finds the uid in the JSON. Any occurrence will do, even one in a reference to the object itself.
fn place_of(uid: &str, json: &str) -> Option<usize> {
    if uid.is_empty() {
        return None;
    }
    let json = json.as_bytes();
    let mut places = UID.find_iter(json).map(|at| at + UID.needle().len());
    let place = places.find(|at| json.get(*at..).is_some_and(|rest| rest.starts_with(uid.as_bytes())));
    place.or_else(|| memmem::find(json, uid.as_bytes()))
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
    const AS_JSON: bool = true;

    fn uid(stored: &Self) -> Option<Uid<'_>> {
        stored.uid()
    }

    fn same(a: &Self, b: &Self) -> bool {
        Self::ptr_eq(a, b)
    }

    #[cfg(feature = "metrics")]
    fn bytes(stored: &Self) -> Option<usize> {
        // Two words precede it: the reference count and the length.
        Some(2 * size_of::<usize>() + size_of::<Header>() + stored.object.slice.len())
    }

    fn to_stored(object: K, json: &str, compressor: &Compressor) -> Result<Self, serde_json::Error> {
        Self::new(json, object.meta().uid.as_deref().unwrap_or_default(), compressor)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use proptest::prelude::*;

    use super::*;

    fn compact(json: &str, uid: &str, compressor: &Compressor) -> Compact<ConfigMap> {
        Compact::new(json, uid, compressor).unwrap()
    }

    #[test]
    fn an_object_takes_a_fraction_of_its_json() {
        let compressor = Compressor::default();
        let uid = |number: u32| format!("0d7c1c2e-5d3b-4b0a-9c1e-{number:012x}");
        let json = |number: u32| {
            format!(
                r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"creationTimestamp":"2026-11-22T19:00:00Z","labels":{{"app.kubernetes.io/name":"web","team":"team-{:02}"}},"name":"config-{number:06}","namespace":"default","resourceVersion":"{number}","uid":"{}"}},"data":{{"config.yaml":"listen: 8080\nmetrics: true\nurl: https://{number}.example.com\n"}}}}"#,
                number % 50,
                uid(number)
            )
        };
        for number in 1..100 {
            let object = compact(&json(number), &uid(number), &compressor);
            assert_eq!(String::from_utf8(object.to_json()).unwrap(), json(number));
            assert!(object.uid() == Some(Uid::Text(&uid(number))));
            let size = object.object.slice.len();
            assert!(size < 90, "{size} of {} bytes", json(number).len());
        }
    }

    proptest! {
        #[test]
        fn every_object_comes_back_whatever_it_was_compressed_against(
            objects in prop::collection::vec(("[a-f\"\\\\{}:,é]{0,40}", "[a-f\\\\]{0,3}", 0_usize..60), 1..80),
        ) {
            let compressor = Compressor::default();
            let held: Vec<_> = objects
                .iter()
                .map(|(text, uid, repeated)| {
                    let json = text.repeat(*repeated);
                    (compact(&json, uid, &compressor), json, uid)
                })
                .collect();
            for (object, json, uid) in held {
                prop_assert_eq!(object.to_json(), json.into_bytes());
                prop_assert!(object.uid().unwrap_or(Uid::Text("")) == Uid::Text(uid));
            }
        }
    }
}
