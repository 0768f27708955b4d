//! What calls of webhooks give in a server that is built without them: an error, never silence.

use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::body::BoxBody;
use super::location::{Failure, Location};

const WHY: &str = "the server is built without the feature `webhooks`";

/// A client that calls nobody.
#[derive(Debug)]
pub(crate) struct Client;

impl Client {
    pub(crate) fn new(_: CancellationToken) -> Self {
        Self
    }

    /// Fails.
    pub(crate) async fn post(&self, _: &Location, _: Bytes, _: Duration, _: usize) -> Result<Bytes, Failure> {
        std::future::ready(Err(Failure::Unusable(WHY.to_owned()))).await
    }

    /// Fails.
    pub(crate) async fn forward(
        &self,
        _: &Location,
        _: http::Request<BoxBody>,
    ) -> Result<http::Response<BoxBody>, String> {
        std::future::ready(Err(WHY.to_owned())).await
    }
}
