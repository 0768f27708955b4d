//! Why an informer cannot list or watch.
//!
//! An [`Error`] is cheap to clone: all waiters and observers of the status get the same one.

use std::{error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use http::StatusCode;
use kube::core::Status;

/// A cause that several holders share.
pub type SharedCause = Arc<dyn StdError + Send + Sync>;

/// Why an attempt to list or watch failed. `resource` in each variant is the path of the request, such as
/// `/apis/web.helloworld/v1/namespaces/default/blogs`.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection: refused, no route, the name does not resolve, or a timeout.
    #[error("cannot reach the API server for {resource}")]
    Unreachable {
        /// The path of the request.
        resource: Arc<str>,
        /// The transport's error.
        source: SharedCause,
    },
    /// The TLS handshake failed, usually because the server's certificate is not trusted.
    #[error("cannot establish a trusted TLS connection for {resource}")]
    Tls {
        /// The path of the request.
        resource: Arc<str>,
        /// The TLS stack's error.
        source: SharedCause,
    },
    /// The client failed before sending the request: an exec plugin, a token file or another layer.
    #[error("the client failed to send the request for {resource}")]
    Client {
        /// The path of the request.
        resource: Arc<str>,
        /// The client's error.
        source: SharedCause,
    },
    /// The server responded with an error: its `Status`, or one made from the HTTP status code.
    #[error("{resource}: {message}", message = message_of(status))]
    Api {
        /// The path of the request.
        resource: Arc<str>,
        /// The status. Its `code` is never 0.
        status: Arc<Status>,
    },
    /// The type is cluster-scoped, so it cannot be watched in a namespace. Discovery says so. The informer asks again
    /// now and then, because a CustomResourceDefinition can be replaced.
    #[error("{resource}: the type is cluster-scoped, and cannot be watched in a namespace")]
    NotNamespaced {
        /// The path of the request.
        resource: Arc<str>,
    },
    /// The server can list the type but not watch it, according to discovery. So it is with `componentstatuses` and
    /// `metrics.k8s.io`. [`InformerBuilder::poll_every`](crate::InformerBuilder::poll_every) follows such a type by
    /// lists.
    #[error("{resource}: the server does not support watching this type")]
    NotWatchable {
        /// The path of the request.
        resource: Arc<str>,
    },
    /// The stream broke off, or the server closed it before sending anything.
    #[error("the connection for {resource} ended early")]
    Interrupted {
        /// The path of the request.
        resource: Arc<str>,
        /// The transport's error, or `None` if the server closed the stream cleanly.
        source: Option<SharedCause>,
    },
    /// The server sent nothing for too long: no response headers, or no part of the body.
    #[error("the API server sent nothing for {} s on {resource}", waited.as_secs())]
    Silent {
        /// The path of the request.
        resource: Arc<str>,
        /// How long nothing was received.
        waited: Duration,
    },
    /// The response does not follow the Kubernetes API: it is not JSON, has no metadata, has a resource version that
    /// is not decimal, or has a line without end.
    #[error("malformed response for {resource}: {problem}")]
    Malformed {
        /// The path of the request.
        resource: Arc<str>,
        /// What is wrong. Never contains any part of an object.
        problem: Arc<str>,
    },
    /// [`Informer::synced_within`](crate::Informer::synced_within) gave up, and no attempt had failed.
    #[error("the first list was not complete after {} s", waited.as_secs())]
    NotInTime {
        /// How long it waited.
        waited: Duration,
    },
    /// The informer was stopped.
    #[error("the informer was stopped")]
    Stopped,
}

impl Error {
    /// Returns the server's `Status`, if it responded with one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Returns the HTTP status code of the server's response, if there was one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// Whether this is a 401: the credentials are missing, wrong or expired.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.code() == Some(StatusCode::UNAUTHORIZED.as_u16())
    }

    /// Whether this is a 403: the user may not list or watch this. The message of [`status`](Self::status) names
    /// verb, resource and namespace.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(StatusCode::FORBIDDEN.as_u16())
    }

    /// Whether this is a 404: the server does not serve this resource type.
    #[must_use]
    pub fn is_unknown_type(&self) -> bool {
        self.code() == Some(StatusCode::NOT_FOUND.as_u16())
    }

    /// Whether this is a 429: the server asks to come back later. A kube-apiserver also responds like this for a
    /// resource whose definition was just installed.
    #[must_use]
    pub fn is_too_many_requests(&self) -> bool {
        self.code() == Some(StatusCode::TOO_MANY_REQUESTS.as_u16())
    }

    /// Classifies an error of [`kube::Client::send`]. Errors that a user can act on are found by their type in the
    /// chain of causes. TLS errors have no type that all TLS stacks share, so they are found by where they sit in the
    /// chain.
    pub(crate) fn from_send(resource: &Arc<str>, error: kube::Error) -> Self {
        let resource = Arc::clone(resource);
        if chain(&error).any(<dyn StdError>::is::<kube::client::AuthError>) {
            return Self::Client { resource, source: cause_of(error) };
        }
        let tls = chain(&error).any(is_tls);
        let transport = chain(&error).any(|error| error.is::<io::Error>() || is_broken_off(error))
            || matches!(error, kube::Error::HyperError(_));
        let source = cause_of(error);
        if tls {
            Self::Tls { resource, source }
        } else if transport {
            Self::Unreachable { resource, source }
        } else {
            Self::Client { resource, source }
        }
    }
}

/// Unwraps what kube's client wraps, because the wrapper's message repeats that of its cause.
pub(crate) fn cause_of(error: kube::Error) -> SharedCause {
    match error {
        kube::Error::Service(cause) => Arc::from(cause),
        kube::Error::HyperError(cause) => Arc::new(cause),
        error => Arc::new(error),
    }
}

/// Formats an error with its causes in one line.
pub(crate) fn in_one_line(error: &(dyn StdError + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| StdError::source(*error));
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// Iterates over an error and its causes, outermost first.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    // The `source` of an `io::Error` that wraps another error is that error's source, not the error itself.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// Whether a server accepted the connection, but did not respond, or not in HTTP.
fn is_broken_off(error: &(dyn StdError + 'static)) -> bool {
    let error = error.downcast_ref::<hyper::Error>();
    error.is_some_and(|error| error.is_incomplete_message() || error.is_parse() || error.is_canceled())
}

fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    // rustls and openssl return their errors inside an `io::Error` of kind InvalidData or Other.
    let text = error.to_string();
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
        || text.contains("certificate")
        || text.contains("received fatal alert")
}

fn message_of(status: &Status) -> impl fmt::Display {
    if status.message.is_empty() {
        format!("the server responded with {}", status.code)
    } else {
        status.message.clone()
    }
}
