//! A part of a collection, selected by a hash (KEP-5866).

use serde::Deserialize;

use crate::{
    ResourceVersion,
    decode::{self, Malformed},
};

/// A shard of a collection: the objects whose uid, or whose namespace, hashes into one of several equal ranges. Several
/// processes can thus share the work on a type, each with a cache of its part.
///
/// The hash is 64-bit FNV-1a of the text, as in Kubernetes' `k8s.io/apimachinery/pkg/sharding`. An object never moves
/// to another shard.
///
/// A server that supports [KEP-5866] (alpha since Kubernetes 1.36, feature gate `ShardedListAndWatch`) sends only the
/// objects of the shard. From any other server all objects are received, and those of other shards are dropped before they
/// are decoded. That does not save network traffic, but memory and most of the CPU time.
///
/// [KEP-5866]: https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/5866-server-side-sharded-list-and-watch
///
/// ```
/// # use k8s_openapi::api::core::v1::Pod;
/// # use kube_informer::{Informer, Informers, InvalidShard, Shard};
/// fn third_of_four(informers: &Informers) -> Result<Informer<Pod>, InvalidShard> {
///     Ok(informers.typed::<Pod>().shard(Shard::by_uid(2, 4)?).start())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shard {
    field: Field,
    /// The first hash.
    start: u64,
    /// The last hash.
    last: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Field {
    Uid,
    Namespace,
}

/// There is no such shard: shards are numbered from 0, and there is at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no shard {index} of {count}; the first is 0")]
pub struct InvalidShard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Returns shard `index`, counted from 0, of `count` by the hash of `metadata.uid`. These shards are of about equal
    /// size.
    ///
    /// # Errors
    /// Fails unless `index` is less than `count`.
    pub fn by_uid(index: u32, count: u32) -> Result<Self, InvalidShard> {
        Self::new(Field::Uid, index, count)
    }

    /// Returns shard `index`, counted from 0, of `count` by the hash of `metadata.namespace`. The objects of a namespace
    /// stay together, also those of different types. Objects of cluster-scoped types are all in one shard.
    ///
    /// # Errors
    /// Fails unless `index` is less than `count`.
    pub fn by_namespace(index: u32, count: u32) -> Result<Self, InvalidShard> {
        Self::new(Field::Namespace, index, count)
    }

    fn new(field: Field, index: u32, count: u32) -> Result<Self, InvalidShard> {
        if index >= count {
            return Err(InvalidShard { index, count });
        }
        let bound = |index: u32| (u128::from(index) << 64) / u128::from(count);
        // Both fit: the last bound is 2^64.
        Ok(Self { field, start: bound(index) as u64, last: (bound(index + 1) - 1) as u64 })
    }

    /// Returns whether an object of this uid, or of this namespace, belongs to this shard: the uid for
    /// [`by_uid`](Self::by_uid), the namespace for [`by_namespace`](Self::by_namespace). The namespace of an object of a
    /// cluster-scoped type is empty.
    #[must_use]
    pub fn contains(&self, uid_or_namespace: &str) -> bool {
        (self.start..=self.last).contains(&fnv1a(uid_or_namespace.as_bytes()))
    }

    /// Returns the value of the parameter `shardSelector`.
    pub(crate) fn selector(&self) -> String {
        let Self { field, start, last } = self;
        let field = match field {
            Field::Uid => "uid",
            Field::Namespace => "namespace",
        };
        let end = u128::from(*last) + 1;
        format!("shardRange(object.metadata.{field}, '0x{start:016x}', '0x{end:016x}')")
    }

    /// Returns the version of an object that belongs to another shard, or `None` for one that belongs to this shard. An
    /// object without the field, or that is not JSON, is left to the decoder.
    pub(crate) fn elsewhere(&self, object: &[u8]) -> Result<Option<ResourceVersion>, Malformed> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            uid: String,
            #[serde(default)]
            namespace: String,
            resource_version: String,
        }
        let Ok(Object { metadata }) = serde_json::from_slice(object) else { return Ok(None) };
        let text = match self.field {
            Field::Uid => &metadata.uid,
            Field::Namespace => &metadata.namespace,
        };
        if self.contains(text) {
            return Ok(None);
        }
        decode::version(&metadata.resource_version).map(Some)
    }
}

/// 64-bit FNV-1a, as Go's `hash/fnv` computes it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_selector_is_written_as_the_server_wants_it() {
        assert_eq!(
            Shard::by_uid(0, 2).unwrap().selector(),
            "shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')"
        );
        assert_eq!(
            Shard::by_namespace(3, 4).unwrap().selector(),
            "shardRange(object.metadata.namespace, '0xc000000000000000', '0x10000000000000000')"
        );
        assert_eq!(Shard::by_uid(2, 2), Err(InvalidShard { index: 2, count: 2 }));
        assert!(Shard::by_uid(0, 0).is_err());
    }

    /// The values are Go's: `fnv.New64a()`.
    #[test]
    fn the_hash_is_that_of_the_server() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"abc"), 0xe71f_a219_0541_574b);
    }

    #[test]
    fn a_text_belongs_to_the_shard_of_its_hash() {
        // The hash of "abc" is 0xe71f..., that of the empty text 0xcbf2...: both in the last quarter.
        for (text, shard) in [("abc", 3), ("", 3)] {
            for index in 0..4 {
                assert_eq!(Shard::by_namespace(index, 4).unwrap().contains(text), index == shard);
                assert_eq!(Shard::by_uid(index, 4).unwrap().contains(text), index == shard);
            }
        }
        assert!(Shard::by_namespace(1, 2).unwrap().contains("abc"));
    }

    proptest! {
        #[test]
        fn an_object_is_in_exactly_one_shard(uid in "[0-9a-f-]{1,36}", count in 1_u32..40) {
            let object = serde_json::json!({"metadata": {"uid": uid, "resourceVersion": "7"}}).to_string();
            let held = (0..count).filter(|index| {
                Shard::by_uid(*index, count).unwrap().elsewhere(object.as_bytes()).unwrap().is_none()
            });
            prop_assert_eq!(held.count(), 1);
            let holding = (0..count).filter(|index| Shard::by_uid(*index, count).unwrap().contains(&uid));
            prop_assert_eq!(holding.count(), 1);
        }
    }
}
