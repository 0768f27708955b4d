//! Where another server is, and why it did not answer.

use std::fmt;

/// Where another server is, and which one may answer for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    /// `https://HOST[:PORT][PATH]`, as errors show it.
    pub(crate) url: String,
    /// The `HOST:PORT` to connect to, if it is not that of the URL, or why there is none. The certificate must have the name
    /// of the URL.
    pub(crate) address: Result<Option<String>, String>,
    /// The authorities that may have issued the server's certificate, in PEM. Empty: those of the system.
    pub(crate) authorities: Vec<u8>,
    /// Whether any certificate is trusted.
    pub(crate) is_insecure: bool,
}

/// Why a webhook did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing was sent, because the configuration cannot be used.
    Unusable(String),
    /// The call failed.
    #[cfg_attr(not(feature = "webhooks"), expect(dead_code, reason = "nothing is called"))]
    Failed(String),
}

/// Why a request that was passed on has no answer, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The server was not connected.
    NotConnected(String),
    /// The connection ended before the answer began.
    Lost(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NotConnected(why) | Self::Lost(why)) = self;
        f.write_str(why)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(why) => write!(f, "could not get REST client: {why}"),
            Self::Failed(why) => write!(f, "failed to call webhook: {why}"),
        }
    }
}
