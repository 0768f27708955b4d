//! The order of `kubectl get --sort-by`.

use std::cmp::Ordering;

use kube_selectors::{EvaluateError, JsonPath, ParseError};
use kube_validation::{Quantity, go};
use serde_json::Value;

/// The order of objects by one of their fields: `--sort-by=.metadata.creationTimestamp`.
///
/// Objects without the field come first, then those where it is null. Numbers are compared by value, strings by their bytes,
/// except that two [`Quantity`]s are compared by value (`"9"` is before `"10"`, `"900m"` before `"1"`). Times in RFC 3339 are
/// ordered as such by their bytes. Objects of the same rank keep their order.
///
/// The rules are those of `k8s.io/kubectl/pkg/cmd/get/sorter.go` for unstructured objects, except that integers can be
/// compared with fractions, where kubectl gives up.
#[derive(Clone, Debug, PartialEq)]
pub struct SortBy(JsonPath);

/// The reason why objects cannot be sorted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SortError {
    /// The path does not fit an object.
    #[error(transparent)]
    Path(#[from] EvaluateError),
    /// No object has the field. The message is kubectl's.
    #[error("couldn't find any field with path {} in the list of objects", go::quote(.0))]
    NotFound(String),
    /// The field has values without an order: booleans, arrays or objects.
    #[error("field {path} is of an unsortable type: {kind}")]
    Unsortable {
        /// The path, in braces.
        path: String,
        /// The JSON type.
        kind: &'static str,
    },
    /// The field has values of different types.
    #[error("field {path} has values of different types: {} and {}", kinds[0], kinds[1])]
    Mixed {
        /// The path, in braces.
        path: String,
        /// The JSON types.
        kinds: [&'static str; 2],
    },
}

/// What an object is sorted by.
enum Key<'a> {
    Missing,
    Null,
    Number { integer: Option<i64>, float: f64 },
    Text { text: &'a str, quantity: Option<Quantity> },
    Unsortable(&'static str),
}

impl SortBy {
    /// Parses the value of `--sort-by`, a [relaxed](JsonPath::parse_relaxed) path.
    ///
    /// # Errors
    /// Fails if the path is malformed.
    pub fn parse(path: &str) -> Result<Self, ParseError> {
        JsonPath::parse_relaxed(path).map(Self)
    }

    /// Sorts items, each of which has an object.
    ///
    /// # Errors
    /// Fails if no object has the field (unless there are no objects), if the path does not fit an object, or if the values
    /// have no order. The items then keep their order.
    pub fn sort<T>(&self, items: &mut [T], object: impl Fn(&T) -> &Value) -> Result<(), SortError> {
        let keys: Vec<Key<'_>> = items.iter().map(|item| self.key(object(item))).collect::<Result<_, _>>()?;
        self.check(&keys)?;
        let mut place = vec![0; keys.len()];
        for (to, from) in merge_sort(&(0..keys.len()).collect::<Vec<_>>(), &keys).into_iter().enumerate() {
            place[from] = to;
        }
        drop(keys);
        for index in 0..place.len() {
            while place[index] != index {
                let to = place[index];
                items.swap(index, to);
                place.swap(index, to);
            }
        }
        Ok(())
    }

    fn key<'a>(&'a self, object: &'a Value) -> Result<Key<'a>, EvaluateError> {
        Ok(match self.0.find(object)?.first() {
            None => Key::Missing,
            Some(Value::Null) => Key::Null,
            Some(Value::Number(number)) => {
                Key::Number { integer: number.as_i64(), float: number.as_f64().unwrap_or_default() }
            }
            Some(Value::String(text)) => Key::Text { text, quantity: text.parse().ok() },
            Some(other) => Key::Unsortable(go::json_type(other)),
        })
    }

    /// Checks that some object has the field, and that any two values can be compared.
    fn check(&self, keys: &[Key<'_>]) -> Result<(), SortError> {
        if !keys.is_empty() && keys.iter().all(|key| matches!(key, Key::Missing)) {
            return Err(SortError::NotFound(self.0.to_string()));
        }
        let mut kinds = keys.iter().filter_map(Key::kind);
        let Some(first) = kinds.next() else { return Ok(()) };
        for kind in kinds {
            let path = self.0.to_string();
            match kind {
                _ if kind != first => return Err(SortError::Mixed { path, kinds: [first, kind] }),
                "number" | "string" => {}
                kind => return Err(SortError::Unsortable { path, kind }),
            }
        }
        Ok(())
    }
}

impl Key<'_> {
    /// Returns the JSON type of a value.
    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::Null => None,
            Self::Number { .. } => Some("number"),
            Self::Text { .. } => Some("string"),
            Self::Unsortable(kind) => Some(kind),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number { integer: Some(a), .. }, Self::Number { integer: Some(b), .. }) => a.cmp(b),
            (Self::Number { float: a, .. }, Self::Number { float: b, .. }) => a.total_cmp(b),
            (Self::Text { quantity: Some(a), .. }, Self::Text { quantity: Some(b), .. }) => a.cmp(b),
            (Self::Text { text: a, .. }, Self::Text { text: b, .. }) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Null => 1,
            Self::Number { .. } | Self::Text { .. } | Self::Unsortable(_) => 2,
        }
    }
}

/// Sorts indexes by their keys. kubectl's comparison is not transitive if only some strings are quantities (`"10"`, `"1x"`,
/// `"9"`), which the standard library's sort does not allow.
fn merge_sort(indexes: &[usize], keys: &[Key<'_>]) -> Vec<usize> {
    let (left, right) = indexes.split_at(indexes.len() / 2);
    if left.is_empty() {
        return right.to_vec();
    }
    let mut left = merge_sort(left, keys).into_iter().peekable();
    let mut right = merge_sort(right, keys).into_iter().peekable();
    let mut sorted = Vec::with_capacity(indexes.len());
    while let (Some(&a), Some(&b)) = (left.peek(), right.peek()) {
        let first = if keys[b].compare(&keys[a]).is_lt() { &mut right } else { &mut left };
        sorted.extend(first.next());
    }
    sorted.extend(left.chain(right));
    sorted
}
