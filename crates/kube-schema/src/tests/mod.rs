//! Behaviour of schemas, each topic a file.

mod answers;
mod properties;
