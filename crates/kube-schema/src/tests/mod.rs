//! Tests of schemas, one file per topic.

mod answers;
mod properties;
