//! Why an informer cannot list or watch.
//!
//! An [`Error`] is cheap to clone: every waiter and every observer of the status gets the same one.

use std::{error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use http::StatusCode;
use kube::core::Status;

/// A cause that several waiters share.
pub type SharedCause = Arc<dyn StdError + Send + Sync>;

/// Why the last attempt to list or to watch failed. `resource` in each variant is the request's path, such as
/// `/apis/web.helloworld/v1/namespaces/default/blogs`.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection: refused, no route, the name does not resolve, or it took too long.
    #[error("cannot reach the API server for {resource}")]
    Unreachable {
        /// The request's path.
        resource: Arc<str>,
        /// What the transport said.
        source: SharedCause,
    },
    /// The TLS handshake failed; most often the server's certificate is not trusted.
    #[error("no trusted TLS connection for {resource}")]
    Tls {
        /// The request's path.
        resource: Arc<str>,
        /// What the TLS stack said.
        source: SharedCause,
    },
    /// The client could not prepare the request: an exec plugin, a token file or another layer of it failed.
    #[error("the client cannot send the request for {resource}")]
    Client {
        /// The request's path.
        resource: Arc<str>,
        /// What the client said.
        source: SharedCause,
    },
    /// The server answered with an error: its `Status`, or one made from the HTTP status alone.
    #[error("{resource}: {message}", message = message_of(status))]
    Api {
        /// The request's path.
        resource: Arc<str>,
        /// What the server answered. `code` is never 0.
        status: Arc<Status>,
    },
    /// The stream broke off, or the server closed it before it brought anything.
    #[error("the connection for {resource} ended early")]
    Interrupted {
        /// The request's path.
        resource: Arc<str>,
        /// What the transport said; none when the server closed the stream cleanly.
        source: Option<SharedCause>,
    },
    /// Nothing came for too long: no answer to the request, or no byte of its body.
    #[error("the API server was silent for {} s on {resource}", waited.as_secs())]
    Silent {
        /// The request's path.
        resource: Arc<str>,
        /// How long nothing came.
        waited: Duration,
    },
    /// The server sent what is not the Kubernetes API: no JSON, no metadata, a resource version that is not
    /// decimal, a line without end.
    #[error("the answer for {resource} is not understood: {problem}")]
    Malformed {
        /// The request's path.
        resource: Arc<str>,
        /// What is wrong with it; never a part of an object.
        problem: Arc<str>,
    },
    /// The informer was stopped.
    #[error("the informer was stopped")]
    Stopped,
}

impl Error {
    /// The server's `Status`, if it answered with one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { status, .. } => Some(status),
            _ => None,
        }
    }

    /// The HTTP status of the server's answer, if there was one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// 401: the credentials are missing, wrong or expired.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.code() == Some(StatusCode::UNAUTHORIZED.as_u16())
    }

    /// 403: the user may not list or watch this. The message of [`status`](Self::status) names verb, resource and
    /// namespace.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(StatusCode::FORBIDDEN.as_u16())
    }

    /// 404: the server does not serve this resource type.
    #[must_use]
    pub fn is_unknown_type(&self) -> bool {
        self.code() == Some(StatusCode::NOT_FOUND.as_u16())
    }

    /// 429: the server asks to come back later. A kube-apiserver says so, too, about a resource whose definition was
    /// installed a moment ago.
    #[must_use]
    pub fn is_too_many_requests(&self) -> bool {
        self.code() == Some(StatusCode::TOO_MANY_REQUESTS.as_u16())
    }

    /// Sorts what [`kube::Client::send`] said. The cases that a user can act on are found by their type in the chain
    /// of causes; a TLS error has no type that is the same for each TLS stack, so it is known by where it sits.
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

/// What kube's client wraps: the text of its wrapper repeats that of its cause.
pub(crate) fn cause_of(error: kube::Error) -> SharedCause {
    match error {
        kube::Error::Service(cause) => Arc::from(cause),
        kube::Error::HyperError(cause) => Arc::new(cause),
        error => Arc::new(error),
    }
}

/// An error and its causes, outermost first.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    // An `io::Error` that wraps another error gives that one's source, not the error itself.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// Whether a server took the connection and then did not answer, or not in HTTP.
fn is_broken_off(error: &(dyn StdError + 'static)) -> bool {
    let error = error.downcast_ref::<hyper::Error>();
    error.is_some_and(|error| error.is_incomplete_message() || error.is_parse() || error.is_canceled())
}

fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    // rustls and openssl hand their error up inside an `io::Error` of kind InvalidData or Other.
    let text = error.to_string();
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
        || text.contains("certificate")
        || text.contains("received fatal alert")
}

fn message_of(status: &Status) -> impl fmt::Display {
    if status.message.is_empty() {
        format!("the server answered {}", status.code)
    } else {
        status.message.clone()
    }
}
