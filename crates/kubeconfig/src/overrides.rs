//! Values that the caller gives, as with kubectl's flags, and how they replace those of the files. Source: client-go
//! `tools/clientcmd/overrides.go`, and `getCluster` and `getAuthInfo` in `client_config.go`.

use std::fmt;
use std::path::Path;

use crate::environment::Environment;
use crate::model::{Cluster, User};

/// The given values. As in client-go, an empty one is unset.
#[derive(Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) context: String,
    pub(crate) cluster_name: String,
    pub(crate) user_name: String,
    pub(crate) namespace: String,
    pub(crate) cluster: Cluster,
    pub(crate) user: User,
}

impl Overrides {
    /// Makes the given paths absolute.
    pub(crate) fn resolve_paths(mut self, environment: &Environment) -> Self {
        let user = &mut self.user;
        for path in
            [&mut self.cluster.certificate_authority, &mut user.client_certificate, &mut user.client_key]
        {
            if !path.is_empty() {
                *path = environment.absolute(Path::new(&*path)).to_string_lossy().into_owned();
            }
        }
        self
    }

    /// Whether a cluster is given, so that no context has to be selected.
    pub(crate) fn has_cluster(&self) -> bool {
        !self.cluster_name.is_empty() || !self.cluster.server.is_empty()
    }

    pub(crate) fn changes_cluster(&self) -> bool {
        self.cluster != Cluster::default()
    }

    /// Whether the caller says how to authenticate.
    pub(crate) fn has_credentials(&self) -> bool {
        let user = &self.user;
        [&user.token, &user.username, &user.password, &user.client_certificate]
            .into_iter()
            .any(|value| !value.is_empty())
    }

    /// Returns the cluster of the files with the given values.
    pub(crate) fn cluster(&self, defined: Option<&Cluster>) -> Cluster {
        let (given, mut merged) = (&self.cluster, defined.cloned().unwrap_or_default());
        replace(&mut merged.server, &given.server);
        replace(&mut merged.proxy_url, &given.proxy_url);
        merged.disable_compression |= given.disable_compression;
        // Trust is given as a whole: neither setting is combined with what a file says.
        if given.insecure_skip_tls_verify || !given.certificate_authority.is_empty() {
            merged.insecure_skip_tls_verify = given.insecure_skip_tls_verify;
            merged.certificate_authority.clone_from(&given.certificate_authority);
            merged.certificate_authority_data.clear();
        }
        // The name belongs to the server, so it does not outlive it.
        if !given.server.is_empty() || !given.tls_server_name.is_empty() {
            merged.tls_server_name.clone_from(&given.tls_server_name);
        }
        merged
    }

    /// Returns the user of the files with the given values.
    pub(crate) fn user(&self, defined: Option<&User>) -> User {
        let (given, mut merged) = (&self.user, defined.cloned().unwrap_or_default());
        replace(&mut merged.token, &given.token);
        if !given.token.is_empty() {
            // kubectl keeps the file, which then hides the given token.
            merged.token_file.clear();
        }
        replace(&mut merged.username, &given.username);
        replace(&mut merged.password, &given.password);
        if !given.client_certificate.is_empty() {
            merged.client_certificate.clone_from(&given.client_certificate);
            merged.client_certificate_data.clear();
        }
        if !given.client_key.is_empty() {
            merged.client_key.clone_from(&given.client_key);
            merged.client_key_data.clear();
        }
        replace(&mut merged.impersonate, &given.impersonate);
        replace(&mut merged.impersonate_uid, &given.impersonate_uid);
        if !given.impersonate_groups.is_empty() {
            merged.impersonate_groups.clone_from(&given.impersonate_groups);
        }
        merged.impersonate_user_extra.extend(given.impersonate_user_extra.clone());
        merged
    }
}

fn replace(value: &mut String, given: &str) {
    if !given.is_empty() {
        given.clone_into(value);
    }
}

impl fmt::Debug for Overrides {
    /// Formats the names only, because the rest may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overrides")
            .field("context", &self.context)
            .field("cluster_name", &self.cluster_name)
            .field("user_name", &self.user_name)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
