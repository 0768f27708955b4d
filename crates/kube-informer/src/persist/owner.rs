//! Which cluster and which user the objects on disk are from. The server is asked; nothing is guessed.
//!
//! A file is used only for the same cluster and the same user: name, uid and groups, because these decide what a user
//! may see. Extra fields of a user are ignored: for a ServiceAccount they identify the token, which is renewed.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use http::{Request, header};
use kube::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How long the server may take to answer. Meanwhile the informer has not started.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whose objects a file contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The uid of the namespace `kube-system`. `None` if the user may not read it.
    pub(crate) cluster_uid: Option<String>,
    pub(crate) user: User,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    username: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: BTreeSet<String>,
}

/// Why the owner or the version of the server is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("the server did not say who the user is")]
    User(#[source] kube::Error),
    #[error("the cluster cannot be recognized")]
    Cluster(#[source] kube::Error),
    #[error("the objects cannot be listed")]
    Version(#[source] kube::Error),
    #[error("the user may not read the namespace kube-system any more")]
    Lost,
    #[error("another cluster or another user has answered since the start")]
    Changed,
    #[error("the server did not answer within {} s", PATIENCE.as_secs())]
    Silent,
}

/// Asks a server for its owner.
pub(crate) struct Asked {
    client: Client,
    /// The first answer.
    owner: OnceCell<Owner>,
    /// Whether a later answer was another one. Then it is not known which objects are whose until the next start.
    changed: AtomicBool,
}

impl Asked {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, owner: OnceCell::new(), changed: AtomicBool::new(false) }
    }

    /// Returns the owner at the start. Asks for it unless it is known.
    pub(crate) async fn owner(&self) -> Result<&Owner, Unknown> {
        self.owner.get_or_try_init(|| self.ask()).await
    }

    /// Asks again, and returns the owner if it is still that of the start. The cluster behind an address can become
    /// another one, as in a failover.
    pub(crate) async fn confirmed(&self) -> Result<&Owner, Unknown> {
        let Some(first) = self.owner.get() else { return self.owner().await };
        let now = self.ask().await?;
        if now.cluster_uid.is_none() && first.cluster_uid.is_some() {
            return Err(Unknown::Lost);
        }
        if now != *first {
            self.changed.store(true, Ordering::Relaxed);
        }
        if self.changed.load(Ordering::Relaxed) { Err(Unknown::Changed) } else { Ok(first) }
    }

    async fn ask(&self) -> Result<Owner, Unknown> {
        let asking = async { tokio::try_join!(self.user(), self.cluster_uid()) };
        let asked = tokio::time::timeout(PATIENCE, asking).await.map_err(|_| Unknown::Silent)?;
        asked.map(|(user, cluster_uid)| Owner { cluster_uid, user })
    }

    /// Returns the present version of a collection.
    pub(crate) async fn version(&self, uri: String) -> Result<String, Unknown> {
        #[derive(Deserialize)]
        struct List {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            resource_version: String,
        }
        let asking = self.client.request::<List>(get(uri).map_err(Unknown::Version)?);
        let list = tokio::time::timeout(PATIENCE, asking).await.map_err(|_| Unknown::Silent)?;
        Ok(list.map_err(Unknown::Version)?.metadata.resource_version)
    }

    /// Every authenticated user may ask who they are (`system:basic-user`).
    async fn user(&self) -> Result<User, Unknown> {
        #[derive(Deserialize)]
        struct Review {
            status: Status,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            user_info: User,
        }
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header(header::CONTENT_TYPE, "application/json")
            .body(review.to_string().into_bytes())
            .map_err(|error| Unknown::User(kube::Error::HttpError(error)))?;
        let review = self.client.request::<Review>(request).await.map_err(Unknown::User)?;
        Ok(review.status.user_info)
    }

    async fn cluster_uid(&self) -> Result<Option<String>, Unknown> {
        let request = get("/api/v1/namespaces/kube-system".to_owned()).map_err(Unknown::Cluster)?;
        match self.client.request::<Value>(request).await {
            Ok(namespace) => Ok(namespace["metadata"]["uid"].as_str().map(str::to_owned)),
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
            Err(error) => Err(Unknown::Cluster(error)),
        }
    }
}

fn get(uri: String) -> Result<Request<Vec<u8>>, kube::Error> {
    Request::get(uri).body(Vec::new()).map_err(kube::Error::HttpError)
}
