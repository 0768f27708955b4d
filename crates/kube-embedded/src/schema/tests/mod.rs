//! Behaviour of schemas, each topic a file.

mod answers;
mod openapi;
mod properties;
