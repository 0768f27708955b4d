//! Compression of the objects of one cache: each against a dictionary of earlier ones, which resemble it.
//!
//! A dictionary is shared by the objects that were compressed against it, and freed with the last of them. When objects no
//! longer resemble it, a new one is made; the number of those in use is bounded.

use std::sync::{Arc, Mutex, PoisonError, Weak};

// LZ4: decompressing is as fast as copying, and with a few objects as dictionary it leaves little more than what differs.
// zstd leaves a third less of a Pod, but takes three times as long to read it back, and needs a C compiler.
use lz4_flex::block;

/// The maximum size of a dictionary. LZ4 reads all of it for each object, and refers back by at most 64 KiB.
const MAX_DICTIONARY: usize = 16 << 10;
/// A dictionary is this many times as long as the object that it was made for: room for objects of several shapes.
const OBJECTS: usize = 3;
/// The maximum number of dictionaries in use.
const MAX_IN_USE: usize = 8;
/// An object that is not compressed to this part of its size does not resemble the dictionary.
const GOOD_RATIO: usize = 4;
/// How many objects must not resemble the first dictionary, of twice as many, before there is a second one. Each further
/// one takes twice as many as the previous one, so that a few odd objects at the beginning of a list do not use them up.
const PATIENCE: u64 = 32;

/// What objects are compressed against: the JSON of others.
#[derive(Debug)]
pub(crate) struct Dictionary(Box<[u8]>);

impl Dictionary {
    /// Decompresses into `to`, which has the length of the result. Returns whether that succeeded.
    pub(crate) fn decompress(&self, compressed: &[u8], to: &mut [u8]) -> bool {
        block::decompress_into_with_dict(compressed, to, &self.0).is_ok_and(|length| length == to.len())
    }
}

/// Compresses the objects of one cache.
#[derive(Debug, Default)]
pub struct Compressor(Mutex<Current>);

#[derive(Debug, Default)]
struct Current {
    dictionary: Option<Arc<Dictionary>>,
    /// The dictionaries that objects may still need, with the current one.
    in_use: Vec<Weak<Dictionary>>,
    /// How many objects were compressed lately, and how many of them did not resemble the dictionary.
    objects: u64,
    poor: u64,
}

impl Compressor {
    /// Compresses an object, and appends it to `to`. Returns the dictionary that it takes to decompress it. Appends nothing
    /// if compressing it would save nothing.
    pub(crate) fn compress(&self, json: &[u8], to: &mut Vec<u8>) -> Option<Arc<Dictionary>> {
        let dictionary = self.current().dictionary(json);
        let start = to.len();
        to.resize(start + block::get_maximum_output_size(json.len()), 0);
        let compressed = block::compress_into_with_dict(json, to.get_mut(start..)?, &dictionary.0);
        let length = compressed.unwrap_or(json.len());
        self.current().record(json, length);
        let saves = length < json.len();
        to.truncate(start + if saves { length } else { 0 });
        saves.then_some(dictionary)
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    /// Returns the current dictionary. The first object becomes the first one.
    fn dictionary(&mut self, json: &[u8]) -> Arc<Dictionary> {
        if let Some(dictionary) = &self.dictionary {
            return Arc::clone(dictionary);
        }
        self.renew(json)
    }

    /// Makes a dictionary of an object and the end of the previous one.
    fn renew(&mut self, json: &[u8]) -> Arc<Dictionary> {
        let json = json.get(..MAX_DICTIONARY).unwrap_or(json);
        let room = (OBJECTS * json.len()).min(MAX_DICTIONARY) - json.len();
        let before = self.dictionary.as_ref().map_or(&[][..], |dictionary| &dictionary.0);
        let before = before.get(before.len().saturating_sub(room)..).unwrap_or_default();
        let dictionary = Arc::new(Dictionary([before, json].concat().into()));
        self.in_use.push(Arc::downgrade(&dictionary));
        self.dictionary = Some(Arc::clone(&dictionary));
        dictionary
    }

    /// Records how well an object was compressed, and renews the dictionary if that has been poor for a while.
    fn record(&mut self, json: &[u8], length: usize) {
        let poor = length > json.len() / GOOD_RATIO;
        self.objects += 1;
        self.poor += u64::from(poor);
        if !poor {
            return;
        }
        self.in_use.retain(|dictionary| dictionary.strong_count() > 0);
        let patience = PATIENCE << (self.in_use.len().max(1) - 1);
        if self.poor < patience {
            return;
        }
        if 2 * self.poor >= self.objects && self.in_use.len() < MAX_IN_USE {
            self.renew(json);
        }
        (self.objects, self.poor) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compresses an object and checks that it comes back. Returns its compressed size.
    fn round_trip(compressor: &Compressor, json: &[u8]) -> (usize, Option<Arc<Dictionary>>) {
        let mut compressed = b"before".to_vec();
        let dictionary = compressor.compress(json, &mut compressed);
        let compressed = compressed.strip_prefix(b"before").unwrap();
        match &dictionary {
            Some(dictionary) => {
                let mut back = vec![0; json.len()];
                assert!(dictionary.decompress(compressed, &mut back));
                assert_eq!(back, json);
                (compressed.len(), Some(Arc::clone(dictionary)))
            }
            None => {
                assert!(compressed.is_empty());
                (json.len(), None)
            }
        }
    }

    /// Bytes without any order.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    /// An object of a type, whose objects have most of their content in common.
    fn object(of_type: u64, number: u64) -> Vec<u8> {
        [&noise(of_type, 400)[..], format!("number {number}").as_bytes(), &noise(of_type + 1, 400)].concat()
    }

    #[test]
    fn the_dictionary_is_renewed_when_objects_no_longer_resemble_it() {
        let compressor = Compressor::default();
        for of_type in [10, 20, 30] {
            (0..400).for_each(|number| drop(round_trip(&compressor, &object(of_type, number))));
            let (size, _) = round_trip(&compressor, &object(of_type, 401));
            assert!(size < 60, "{size} bytes of 800");
        }
        // Nobody needs those of before.
        let mut current = compressor.current();
        current.in_use.retain(|dictionary| dictionary.strong_count() > 0);
        assert_eq!(current.in_use.len(), 1);
    }

    #[test]
    fn objects_of_several_shapes_share_a_dictionary() {
        let compressor = Compressor::default();
        (0..400).for_each(|number| drop(round_trip(&compressor, &object(10 * (number % 2), number))));
        let sizes = [0, 10].map(|of_type| round_trip(&compressor, &object(of_type, 401)).0);
        assert!(sizes.into_iter().all(|size| size < 60), "{sizes:?} bytes of 800");
    }

    #[test]
    fn the_memory_of_dictionaries_is_bounded_whatever_the_objects_are() {
        let compressor = Compressor::default();
        // No two objects resemble each other, but each compresses a little.
        let odd = |seed| [noise(seed, 1 << 10), vec![0; 200]].concat();
        let held: Vec<_> = (0..10_000).map(|seed| round_trip(&compressor, &odd(seed)).1).collect();
        assert!(held.iter().all(Option::is_some));
        let dictionaries: std::collections::BTreeMap<_, _> =
            held.iter().flatten().map(|dictionary| (Arc::as_ptr(dictionary), dictionary.0.len())).collect();
        assert!((2..=MAX_IN_USE).contains(&dictionaries.len()), "{}", dictionaries.len());
        assert!(dictionaries.values().all(|length| *length <= MAX_DICTIONARY));
    }

    #[test]
    fn an_object_of_any_size_comes_back() {
        let compressor = Compressor::default();
        for length in [0, 1, 3, 4, 12, 13, 100, 1 << 10, 1 << 16, 1 << 20] {
            assert_eq!(round_trip(&compressor, &noise(length as u64, length)).0.min(length), length);
            let (size, _) = round_trip(&compressor, &vec![b'a'; length]);
            assert!(size <= length.min(100 + length / 200), "{size} of {length}");
        }
    }

    #[test]
    fn bytes_that_are_not_compressed_are_an_error() {
        let compressor = Compressor::default();
        let (_, dictionary) = round_trip(&compressor, &object(1, 1));
        let dictionary = dictionary.unwrap();
        for seed in 0..2000 {
            let _ = dictionary.decompress(&noise(seed, (seed % 50) as usize), &mut [0; 300]);
        }
        let mut compressed = Vec::new();
        compressor.compress(&object(1, 2), &mut compressed).unwrap();
        for cut in 0..compressed.len() {
            assert!(!dictionary.decompress(&compressed[..cut], &mut vec![0; object(1, 2).len()]), "{cut}");
        }
    }
}
