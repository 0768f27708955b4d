//! Errors of starting a server or opening a socket.

#[cfg(feature = "listen")]
use std::io;
#[cfg(feature = "disk")]
use std::path::PathBuf;

/// The source of an error.
#[cfg(any(feature = "disk", feature = "listen"))]
type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a server could not be started, or an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process is already listening on the address.
    #[cfg(feature = "listen")]
    #[error("cannot listen on {address}: the port is taken")]
    Taken {
        /// The address as it was given.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The address is not a local one, or may not be used.
    #[cfg(feature = "listen")]
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as it was given.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// A key or a certificate could not be created.
    #[cfg(feature = "listen")]
    #[error("cannot make a certificate")]
    Certificate(#[source] Source),
    /// The certificate could not be used.
    #[cfg(any(feature = "listen", feature = "webhooks"))]
    #[error("cannot set up TLS")]
    Tls(#[source] Source),
    /// A file in PEM has none of what it should have, or something of an unknown kind.
    #[cfg(feature = "listen")]
    #[error("no {0} in PEM")]
    Pem(&'static str),
    /// The range of the addresses of Services cannot be used.
    #[error("{range:?} cannot be the addresses of Services: {why}")]
    ServiceRange {
        /// The range as it was given.
        range: String,
        /// What is wrong with it.
        why: String,
    },
    /// An admission plugin is unknown, or is both enabled and disabled. The message is kube-apiserver's.
    #[error("{0}")]
    AdmissionPlugins(String),
    /// The data folder is in use by another server, in this or another process.
    #[cfg(feature = "disk")]
    #[error("the data folder {} is in use by another server", path.display())]
    DataInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file in the data folder was not written by this version, or it is damaged. It is left unchanged.
    #[cfg(feature = "disk")]
    #[error("{} is not a store of this version of kube-embedded, or it is damaged", path.display())]
    DataDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Source,
    },
    /// The data folder, or the file in it, cannot be created, read or written.
    #[cfg(feature = "disk")]
    #[error("cannot use {} for data", path.display())]
    Data {
        /// The folder or the file.
        path: PathBuf,
        /// The system's error.
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
