//! What can go wrong when a server opens a socket.

use std::io;

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process listens there already.
    #[error("cannot listen on {address}: the port is taken")]
    Taken {
        /// As it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The address is none of this machine's, or may not be used.
    #[error("cannot listen on {address}")]
    Listen {
        /// As it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A key or a certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// The certificate could not be used.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}
