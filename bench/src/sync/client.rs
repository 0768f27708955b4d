//! One client until it has synced, in a process that is measured.

use std::{path::PathBuf, pin::pin};

use anyhow::{Context as _, Result, bail, ensure};
use bench::kind::Kind;
use blog_api::Blog;
use clap::Args;
use futures_util::{Stream, StreamExt as _};
use http::Request;
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject},
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        watcher::{self, watcher},
    },
};
use kube_informer::{Cached, InformerBuilder, Informers};
use memchr::{memchr_iter, memmem};
use serde::de::DeserializeOwned;

use super::Row;
use crate::{
    fill::NAMESPACE,
    usage::{Sample, Start, print},
};

/// The annotation of the bookmark that ends the initial events (KEP-3157).
const INITIAL_EVENTS_END: &[u8] = b"k8s.io/initial-events-end";

#[derive(Args)]
pub(crate) struct Arguments {
    client: Row,
    kubeconfig: PathBuf,
    #[arg(long = "type", default_value = "blogs")]
    kind: Kind,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    match arguments.kind {
        Kind::Blogs => sync::<Blog>(&arguments).await,
        Kind::Pods => sync::<Pod>(&arguments).await,
    }
}

async fn sync<K>(arguments: &Arguments) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let kubeconfig = Kubeconfig::read_from(&arguments.kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.disable_compression = true;

    let start = Start::now()?;
    let client = Client::try_from(config)?;
    let resource = ApiResource::erase::<K>(&());
    let watch_list = watcher::Config::default().streaming_lists();
    let sample = match arguments.client {
        Row::Raw => raw(start, client, &arguments.kind.path(NAMESPACE)).await,
        Row::Informer => informer(start, typed::<K>(client)).await,
        Row::InformerSkipping => informer(start, typed::<K>(client).skip_last_applied()).await,
        Row::InformerCompact => informer(start, typed::<K>(client).compact()).await,
        Row::InformerCompactSkipping => {
            informer(start, typed::<K>(client).skip_last_applied().compact()).await
        }
        Row::InformerDynamic => {
            informer(start, Informers::new(client).dynamic(&resource).namespace(NAMESPACE)).await
        }
        Row::Runtime => {
            let api: Api<K> = Api::namespaced(client, NAMESPACE);
            reflect(start, watcher(api, watch_list), &()).await
        }
        Row::RuntimeStripped => {
            let api: Api<K> = Api::namespaced(client, NAMESPACE);
            let stripped = watcher(api, watch_list).modify(|object| object.managed_fields_mut().clear());
            reflect(start, stripped, &()).await
        }
        Row::RuntimeDynamic => {
            let api: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &resource);
            reflect(start, watcher(api, watch_list), &resource).await
        }
        Row::RuntimePages => {
            let api: Api<K> = Api::namespaced(client, NAMESPACE);
            reflect(start, watcher(api, watcher::Config::default()), &()).await
        }
        Row::Go | Row::GoStripped | Row::GoDynamic => bail!("bench/peers is the program for that"),
    }?;
    print(&sample)
}

/// Reads and drops the bytes of a watch-list, which is the least that every client has to do.
async fn raw(start: Start, client: Client, collection: &str) -> Result<Sample> {
    let path = format!(
        "{collection}?watch=true&allowWatchBookmarks=true\
         &sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    );
    let response = client.send(Request::get(path).body(Body::empty())?).await?;
    ensure!(response.status().is_success(), "the server answered {}", response.status());
    let mut body = response.into_body();
    let mut ending = Ending::new();
    let mut lines = 0;
    loop {
        let frame = body.frame().await.context("the stream ended before its initial events did")??;
        let Ok(data) = frame.into_data() else { continue };
        let end = ending.find(&data);
        lines += memchr_iter(b'\n', &data[..end.unwrap_or(data.len())]).count();
        if end.is_some() {
            break;
        }
    }
    start.synced(|| Ok(lines)).await
}

/// Finds the end of the initial events, even if it is split between two chunks.
struct Ending {
    finder: memmem::Finder<'static>,
    /// The end of the previous data.
    tail: Vec<u8>,
}

impl Ending {
    fn new() -> Ending {
        Ending { finder: memmem::Finder::new(INITIAL_EVENTS_END), tail: Vec::new() }
    }

    /// How many bytes of the data precede it.
    fn find(&mut self, data: &[u8]) -> Option<usize> {
        let length = INITIAL_EVENTS_END.len();
        self.tail.extend_from_slice(&data[..data.len().min(length)]);
        if self.finder.find(&self.tail).is_some() {
            return Some(0);
        }
        if let Some(before) = self.finder.find(data) {
            return Some(before);
        }
        match data.len().checked_sub(length) {
            Some(cut) => {
                self.tail.clear();
                self.tail.extend_from_slice(&data[cut..]);
            }
            None => {
                self.tail.drain(..self.tail.len().saturating_sub(length));
            }
        }
        None
    }
}

pub(crate) fn typed<K>(client: Client) -> InformerBuilder<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Send + Sync + 'static,
{
    Informers::new(client).typed().namespace(NAMESPACE)
}

pub(crate) async fn informer<K: Cached>(start: Start, builder: InformerBuilder<K>) -> Result<Sample> {
    let informer = builder.start();
    informer.synced().await?;
    start.synced(|| Ok(informer.snapshot()?.len())).await
}

/// Fills kube-runtime's store by driving its stream in a task.
pub(crate) async fn reflect<K>(
    start: Start,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    dynamic_type: &K::DynamicType,
) -> Result<Sample>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    K::DynamicType: Clone + Eq + std::hash::Hash + Send + Sync,
{
    let writer = reflector::store::Writer::new(dynamic_type.clone());
    let store: Store<K> = writer.as_reader();
    let mut driver = tokio::spawn(async move {
        let mut stream = pin!(events.default_backoff().reflect(writer));
        // The stream retries after an error; the command limits the time.
        while let Some(_event) = stream.next().await {}
    });
    tokio::select! {
        ready = store.wait_until_ready() => ready?,
        ended = &mut driver => bail!("the watch ended: {ended:?}"),
    }
    let sample = start.synced(|| Ok(store.len())).await;
    driver.abort();
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_wherever_it_is_cut() {
        let text = br#"{"type":"ADDED"} {"annotations":{"k8s.io/initial-events-end":"true"}}"#;
        for size in 1..=text.len() {
            let mut ending = Ending::new();
            let found = text.chunks(size).any(|data| ending.find(data).is_some());
            assert!(found, "in pieces of {size}");
        }
        let mut ending = Ending::new();
        assert!(!text.split_last().unwrap().1[..40].chunks(3).any(|data| ending.find(data).is_some()));
    }
}
