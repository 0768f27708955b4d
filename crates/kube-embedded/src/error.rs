//! What can go wrong when a server starts or opens a socket.

#[cfg(feature = "listen")]
use std::io;
#[cfg(feature = "disk")]
use std::path::PathBuf;

/// Any error that caused one of a server.
#[cfg(any(feature = "disk", feature = "listen"))]
type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a server could not start, or an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process listens there already.
    #[cfg(feature = "listen")]
    #[error("cannot listen on {address}: the port is taken")]
    Taken {
        /// The address as it was given.
        address: String,
        /// What the system reported.
        source: io::Error,
    },
    /// The address is not one of this machine's, or may not be used.
    #[cfg(feature = "listen")]
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as it was given.
        address: String,
        /// What the system reported.
        source: io::Error,
    },
    /// A key or a certificate could not be made.
    #[cfg(feature = "listen")]
    #[error("cannot make a certificate")]
    Certificate(#[source] Source),
    /// The certificate could not be used.
    #[cfg(feature = "listen")]
    #[error("cannot set up TLS")]
    Tls(#[source] Source),
    /// Another server, in this process or in another one, uses the data folder.
    #[cfg(feature = "disk")]
    #[error("the data folder {} is in use by another server", path.display())]
    DataInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file in the data folder is another program's, or is not as a server left it. It is left as it is.
    #[cfg(feature = "disk")]
    #[error("{} is not a store of this version of kube-embedded, or it is damaged", path.display())]
    DataDamaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        source: Source,
    },
    /// The data folder, or the file in it, cannot be made, read or written.
    #[cfg(feature = "disk")]
    #[error("cannot use {} for data", path.display())]
    Data {
        /// The folder or the file.
        path: PathBuf,
        /// What the system reported.
        source: Source,
    },
}

#[cfg(feature = "disk")]
impl From<crate::store::OpenError> for Error {
    fn from(error: crate::store::OpenError) -> Self {
        use crate::store::OpenError;
        match error {
            OpenError::InUse(path) => Self::DataInUse { path },
            OpenError::Damaged(path, source) => Self::DataDamaged { path, source },
            OpenError::Unusable(path, source) => Self::Data { path, source },
        }
    }
}
