//! What calls of webhooks give in a server that is built without them: an error, never silence.

use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::location::{Failure, Location};

/// A client that calls nobody.
#[derive(Debug)]
pub(crate) struct Client;

impl Client {
    pub(crate) fn new(_: CancellationToken) -> Self {
        Self
    }

    /// Fails.
    pub(crate) async fn post(&self, _: &Location, _: Bytes, _: Duration, _: usize) -> Result<Bytes, Failure> {
        let why = "the server is built without the feature `webhooks`";
        std::future::ready(Err(Failure::Unusable(why.to_owned()))).await
    }
}
