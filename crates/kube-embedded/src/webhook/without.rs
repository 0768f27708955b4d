//! What calls of webhooks give in a server that is built without them: an error, never silence.

use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::body::BoxBody;
use super::location::{Failure, Location, NoAnswer};

const WHY: &str = "the server is built without the feature `webhooks`";

/// There is nobody to recognize this server.
#[derive(Clone, Debug)]
pub(crate) enum Identity {}

/// A client that calls nobody.
#[derive(Debug)]
pub(crate) struct Client;

impl Client {
    pub(crate) fn new(_: CancellationToken, _: Option<Identity>) -> Self {
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
    ) -> Result<http::Response<BoxBody>, NoAnswer> {
        std::future::ready(Err(NoAnswer::NotConnected(WHY.to_owned()))).await
    }
}
