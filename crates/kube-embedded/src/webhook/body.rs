//! The bodies of requests to other servers, and of their answers.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// A body of any origin.
pub(crate) type BoxBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
