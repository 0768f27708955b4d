//! The requests that a fault is for.

use serde::{Deserialize, Serialize};

use crate::cluster::RequestInfo;
use crate::resource::qualified;

/// The action of a request, by RBAC's verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Any verb.
    #[serde(rename = "*")]
    Any,
    /// Reads one object.
    Get,
    /// Reads a collection.
    List,
    /// Watches a collection or an object.
    Watch,
    /// `POST`
    Create,
    /// `PUT`
    Update,
    /// `PATCH`, including server-side apply.
    Patch,
    /// Deletes one object.
    Delete,
    /// Deletes a collection.
    DeleteCollection,
}

/// Selects requests.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) verb: Verb,
    pub(super) resource: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
}

impl Scope {
    pub(super) fn contains(&self, info: &RequestInfo) -> bool {
        let is = |asked: &Option<String>, it: &str| asked.as_ref().is_none_or(|asked| asked == it);
        (self.verb == Verb::Any || self.verb.as_str() == info.verb)
            && (self.resource == "*" || self.resource == resource(info))
            && is(&self.namespace, &info.namespace)
            && is(&self.name, &info.name)
    }
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Any => "*",
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

fn resource(info: &RequestInfo) -> String {
    let resource = qualified(&info.resource, &info.group);
    if info.subresource.is_empty() { resource } else { format!("{resource}/{}", info.subresource) }
}
