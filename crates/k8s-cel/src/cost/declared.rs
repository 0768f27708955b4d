//! The sizes of values with a declaration.

use super::sizes::Sizes;
use crate::schema::{Declaration, Shape};

/// The declaration of `self` and `oldSelf`. As in Kubernetes, the name of the variable is ignored: every path is taken to
/// start at `self`.
impl Sizes for Declaration {
    fn max_size(&self, path: &[&str]) -> Option<u64> {
        let mut found = self;
        for (index, step) in path.iter().enumerate().skip(1) {
            found = match (*step, found.shape()) {
                ("@items" | "@values", _) => found.element().filter(|element| element.is_exposed())?,
                // Keys are declared as strings without a size, and have nothing inside.
                ("@keys", Shape::Map(_)) => return (index + 1 == path.len()).then_some(0),
                (name, _) => &found.field(name).filter(|field| field.declaration.is_exposed())?.declaration,
            };
        }
        // A maximum that overflowed counts as Go converts it.
        Some(found.max_elements().cast_unsigned())
    }
}
