//! The rows of the tables of libraries.

/// A declaration: the function's name, cel-go's name of the overload, and the signature.
pub(super) type Row = (&'static str, &'static str, &'static str);
