//! Where the sizes of variables come from.

/// Knows the maximum sizes of the values of variables.
pub(crate) trait Sizes {
    /// The maximum number of characters, bytes, elements or entries of the value at a path; `None` if it is not declared.
    ///
    /// The first step is the name of a variable. The others are names of fields, `@items` for the elements of a list,
    /// `@indices` for their indices, and `@keys` and `@values` for those of a map.
    fn max_size(&self, path: &[&str]) -> Option<u64>;
}
