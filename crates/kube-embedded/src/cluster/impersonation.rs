//! Acting as another user, and the permissions that this requires.

use std::collections::BTreeMap;

use super::rbac::Rbac;
use super::rule::Attributes;
use crate::status::Status;
use crate::store::Store;
use crate::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User, service_account_of};

const AUTHENTICATION: &str = "authentication.k8s.io";

/// The user that a request asks to act as, according to its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Impersonation {
    /// Empty: not set.
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
    /// Empty: not set.
    pub(crate) uid: String,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// Returns the user that the request acts as, or `None` for its own user.
    ///
    /// The rules are those of `k8s.io/apiserver/pkg/endpoints/filters/impersonation`: each part requires a permission,
    /// and other parts without a user are refused.
    pub(crate) fn authorize(self, rbac: &Rbac, store: &Store, by: &User) -> Result<Option<User>, Status> {
        if self.user.is_empty() {
            if self == Self::default() {
                return Ok(None);
            }
            return Err(Status::bad_request(format!(
                "requested {} without impersonating a user name",
                self.go()
            )));
        }
        let account = service_account_of(&self.user);
        let require = |attributes: Attributes<'_>| {
            rbac.require(store, by, &Attributes { verb: "impersonate", ..attributes })
        };
        match account {
            Some((namespace, name)) => {
                require(Attributes {
                    resource: "serviceaccounts",
                    namespace,
                    name,
                    ..Attributes::default()
                })?;
            }
            None => require(Attributes { resource: "users", name: &self.user, ..Attributes::default() })?,
        }
        for group in &self.groups {
            require(Attributes { resource: "groups", name: group, ..Attributes::default() })?;
        }
        for (key, values) in &self.extra {
            for value in values {
                require(Attributes {
                    group: AUTHENTICATION,
                    resource: "userextras",
                    subresource: key,
                    name: value,
                    ..Attributes::default()
                })?;
            }
        }
        if !self.uid.is_empty() {
            require(Attributes {
                group: AUTHENTICATION,
                resource: "uids",
                name: &self.uid,
                ..Attributes::default()
            })?;
        }
        let mut groups = match account {
            Some((namespace, name)) if self.groups.is_empty() => {
                User::service_account(namespace, name).groups
            }
            _ => self.groups,
        };
        let has = |groups: &[String], name: &str| groups.iter().any(|group| group == name);
        if self.user == ANONYMOUS {
            if !has(&groups, UNAUTHENTICATED) {
                groups.push(UNAUTHENTICATED.to_owned());
            }
        } else if !has(&groups, AUTHENTICATED) && !has(&groups, UNAUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Ok(Some(User { name: self.user, uid: self.uid, groups, extra: self.extra }))
    }

    /// Formatted as Go's `%#v` does.
    fn go(&self) -> String {
        use kube_validation::go::quote;
        let texts = |texts: &[String]| {
            let quoted: Vec<String> = texts.iter().map(quote).collect();
            format!("[]string{{{}}}", quoted.join(", "))
        };
        let groups = if self.groups.is_empty() { "[]string(nil)".to_owned() } else { texts(&self.groups) };
        let extra: Vec<String> =
            self.extra.iter().map(|(key, values)| format!("{}:{}", quote(key), texts(values))).collect();
        let extra = match extra.is_empty() {
            true => "map[string][]string(nil)".to_owned(),
            false => format!("map[string][]string{{{}}}", extra.join(", ")),
        };
        format!("&user.DefaultInfo{{Name:\"\", UID:{}, Groups:{groups}, Extra:{extra}}}", quote(&self.uid))
    }
}
