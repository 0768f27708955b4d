//! What can go wrong when a server starts or opens a socket.

use std::io;
use std::path::PathBuf;

use crate::store;

/// Why a server could not start, or an endpoint could not be opened.
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
    /// Another server, in this process or in another one, uses the data folder.
    #[error("the data folder {} is in use by another server", path.display())]
    DataInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file in the data folder is another program's, or is not as a server left it. It is left as it is.
    #[error("{} is no store of this version of kube-embedded, or it is damaged", path.display())]
    DataDamaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The data folder, or the file in it, cannot be made, read or written.
    #[error("cannot use {} for data", path.display())]
    Data {
        /// The folder or the file.
        path: PathBuf,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<store::OpenError> for Error {
    fn from(error: store::OpenError) -> Self {
        match error {
            store::OpenError::InUse(path) => Self::DataInUse { path },
            store::OpenError::Damaged(path, source) => Self::DataDamaged { path, source },
            store::OpenError::Unusable(path, source) => Self::Data { path, source },
        }
    }
}
