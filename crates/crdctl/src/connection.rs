//! The connection of a command to its cluster, and how long it waits for responses.

use std::time::Duration;

use anyhow::Result;
use kube::Client;
use kube_informer::{Cached, Informer};
use kubeconfig::ExecPlugin;
use tokio::time::{sleep, timeout};

use crate::{cli::Cluster, config, explain, stdio::say};

/// How long an answer may take without `--request-timeout`. A first list only has to begin within it.
const START_LIMIT: Duration = Duration::from_secs(5);

/// How long an exec plugin may run before the user learns what the command waits for.
const PLUGIN_NOTICE: Duration = Duration::from_secs(2);

/// A cluster, ready for requests.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Its URL, for messages.
    pub(crate) server: String,
    /// The default namespace.
    pub(crate) namespace: String,
    /// The name of its context. `None` in a pod.
    pub(crate) context: Option<String>,
    limit: Limit,
    plugin: Option<ExecPlugin>,
}

/// How long to wait for an answer.
#[derive(Clone, Copy)]
enum Limit {
    /// [`START_LIMIT`].
    Start,
    /// The value of `--request-timeout`, for the complete answer.
    Chosen(Duration),
    /// `--request-timeout 0`
    Never,
}

impl Connection {
    /// Prepares a client for the cluster that the command line and the environment choose. Sends nothing yet.
    pub(crate) fn new(cluster: &Cluster) -> Result<Self> {
        let resolved = config::load(cluster)?;
        let plugin = resolved.exec_plugin();
        if let Some(plugin) = &plugin {
            let user = resolved.report().user.as_ref().map_or("", |user| &user.value);
            let line = format!("waiting for exec plugin {} (user {user})", plugin.command());
            plugin.on_wait(PLUGIN_NOTICE, move || say(&line));
        }
        Ok(Self {
            client: resolved.client().map_err(explain::configuration)?,
            server: resolved.report().server.value.clone(),
            namespace: config::namespace(resolved.report()),
            context: resolved.report().context.as_ref().map(|context| context.value.clone()),
            limit: match cluster.request_timeout.and_then(|chosen| chosen.0) {
                None => Limit::Start,
                Some(Duration::ZERO) => Limit::Never,
                Some(limit) => Limit::Chosen(limit),
            },
            plugin,
        })
    }

    /// Prepares a client for each of the contexts that `--context a,b` names.
    pub(crate) fn each(cluster: &Cluster) -> Result<Vec<Self>> {
        match &cluster.context {
            Some(names) if names.contains(',') => {
                let with =
                    |name: &str| Self::new(&Cluster { context: Some(name.to_owned()), ..cluster.clone() });
                names.split(',').filter(|name| !name.is_empty()).map(with).collect()
            }
            _ => Ok(vec![Self::new(cluster)?]),
        }
    }

    /// Awaits a request within the limit, and explains its error.
    pub(crate) async fn ask<T>(
        &self,
        action: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T> {
        let answer = match self.limit {
            Limit::Never => request.await,
            Limit::Start => self.within(START_LIMIT, action, request).await?,
            Limit::Chosen(limit) => self.within(limit, action, request).await?,
        };
        answer.map_err(|error| explain::request(&self.server, action, &error))
    }

    async fn within<T>(&self, limit: Duration, action: &str, answer: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            () = self.spent(limit) => Err(explain::too_slow(&self.server, action, limit)),
        }
    }

    /// Completes when the server has had this much time. While an exec plugin runs, nothing has been sent to it.
    pub(crate) async fn spent(&self, limit: Duration) {
        let Some(plugin) = &self.plugin else { return sleep(limit).await };
        loop {
            plugin.ended().await;
            if timeout(limit, plugin.started()).await.is_err() {
                return;
            }
        }
    }

    /// Waits for the first list of an informer. While the server is busy, the informer retries, within the limit: a
    /// kube-apiserver answers 429 for a second or two after a CRD was installed.
    pub(crate) async fn first_list<K: Cached>(&self, action: &str, informer: &Informer<K>) -> Result<()> {
        let mut status = informer.watch_status();
        let settled = async {
            loop {
                match informer.synced().await {
                    // `synced` reports a 429 only after a while. If `changed` fails, the informer has ended, and `synced`
                    // returns that.
                    Err(error) if error.code() == Some(503) => drop(status.changed().await),
                    settled => return settled,
                }
            }
        };
        let explained = |error: &kube_informer::Error| explain::request(&self.server, action, error);
        tokio::select! {
            settled = settled => settled.map(|_| ()).map_err(|error| explained(&error)),
            limit = self.overdue(informer) => Err(match informer.status().error() {
                Some(error) => explained(error),
                None => explain::too_slow(&self.server, action, limit),
            }),
        }
    }

    /// Completes when the first list has taken too long, and returns the limit.
    async fn overdue<K: Cached>(&self, informer: &Informer<K>) -> Duration {
        match self.limit {
            Limit::Never => std::future::pending().await,
            Limit::Chosen(limit) => {
                self.spent(limit).await;
                limit
            }
            Limit::Start => {
                self.spent(START_LIMIT).await;
                // A list that has begun may take longer.
                if informer.status().last_contact.is_some() {
                    std::future::pending::<()>().await;
                }
                START_LIMIT
            }
        }
    }
}
