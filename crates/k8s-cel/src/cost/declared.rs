//! The sizes of values with a declaration.

use super::Sizes;
use crate::schema::{Declaration, Shape};

/// The declaration of `self` and `oldSelf`. As in Kubernetes, the name of the variable is not looked at: a path that starts at
/// another name is taken to start at `self`.
impl Sizes for Declaration {
    fn max_size(&self, path: &[&str]) -> Option<u64> {
        let mut found = self;
        for (index, step) in path.iter().enumerate().skip(1) {
            found = match (*step, found.shape()) {
                ("@items" | "@values", _) => found.element().filter(|element| element.is_exposed())?,
                // The declaration of keys is a string without a size, inside of which there is nothing.
                ("@keys", Shape::Map(_)) => return (index + 1 == path.len()).then_some(0),
                (name, _) => &found.field(name).filter(|field| field.declaration.is_exposed())?.declaration,
            };
        }
        // Overflown numbers count as Go converts them.
        Some(found.max_elements().cast_unsigned())
    }
}
