//! The types of objects that caches are compared with.

use bytes::Bytes;
use clap::ValueEnum;
use serde_json::Value;

use crate::{blogs, pods};

/// The type of the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Kind {
    /// Custom resources of about 940 B
    #[default]
    Blogs,
    /// Pods of about 7 kB, with variety
    Pods,
}

impl Kind {
    /// Returns the name of the type, as in `100000 Blogs`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Blogs => "Blogs",
            Self::Pods => "Pods",
        }
    }

    /// Returns the path of the collection.
    pub fn path(self, namespace: &str) -> String {
        match self {
            Self::Blogs => format!("/apis/web.helloworld/v1/namespaces/{namespace}/blogs"),
            Self::Pods => format!("/api/v1/namespaces/{namespace}/pods"),
        }
    }

    /// Returns the name of the object with this number. Names sort like the numbers.
    pub fn name(self, number: usize) -> String {
        match self {
            Self::Blogs => blogs::name(number),
            Self::Pods => pods::name(number),
        }
    }

    /// Returns the object with this number as it is created.
    pub fn object(self, namespace: &str, number: usize) -> Value {
        match self {
            Self::Blogs => blogs::blog(namespace, number),
            Self::Pods => pods::pod(namespace, number),
        }
    }

    /// Returns a line of a watch, as a server writes it, with the object at this version.
    pub fn watch_line(self, kind: &str, namespace: &str, number: usize, version: usize) -> Bytes {
        match self {
            Self::Blogs => blogs::watch_line(kind, namespace, number, version),
            Self::Pods => pods::watch_line(kind, namespace, number, version),
        }
    }
}
