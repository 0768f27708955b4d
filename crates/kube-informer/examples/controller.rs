//! kube's `Controller` driven by informers: maintains a ConfigMap with the URL of each blog.
//!
//! To run it against the demo server, use two terminals, and a third one for kubectl:
//!
//! ```text
//! cargo run -p crdctl -- demo
//! KUBECONFIG=/tmp/crdctl-demo-….kubeconfig cargo run -p kube-informer --features runtime --example controller
//! kubectl --kubeconfig /tmp/crdctl-demo-….kubeconfig delete configmap blog-sample
//! ```
//!
//! The deleted ConfigMap is recreated, and the ConfigMap of a deleted blog is deleted. Press Ctrl-C to stop.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, CustomResource, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{Controller, controller::Action, reflector},
};
use kube_informer::{Informers, SharedObject, reflect, touched_objects};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(CustomResource, Serialize, Deserialize, Clone, Debug)]
#[kube(group = "web.helloworld", version = "v1", kind = "Blog", namespaced, schema = "disabled")]
struct BlogSpec {
    url: String,
}

/// The label of the ConfigMaps that this controller creates, so that it watches no others.
const LABEL: &str = "web.helloworld/blog";

async fn reconcile(blog: Arc<SharedObject<Blog>>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let (namespace, name) = (blog.namespace().unwrap_or_default(), blog.name_any());
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": {LABEL: name},
            "ownerReferences": blog.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
        },
        "data": {"url": blog.spec.url},
    });
    let maps: Api<ConfigMap> = Api::namespaced(Client::clone(&client), &namespace);
    let params = PatchParams::apply("kube-informer-example").force();
    let applied = maps.patch(&name, &params, &Patch::Apply(map)).await?;
    println!("{namespace}/{name}: ConfigMap at version {}", applied.resource_version().unwrap_or_default());
    Ok(Action::await_change())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();

    let client = Client::try_default().await?;
    let informers = Informers::new(client.clone());
    let blogs = informers.typed::<Blog>().start();
    let maps = informers.typed::<ConfigMap>().label_selector(LABEL).start();
    println!("{} blogs, {} ConfigMaps", blogs.synced().await?.count, maps.synced().await?.count);

    let on_error = |blog: Arc<SharedObject<Blog>>, error: &kube::Error, _: Arc<Client>| {
        println!("{}: {error}, trying again in 5 s", blog.name_any());
        Action::requeue(Duration::from_secs(5))
    };
    let (reader, writer) = reflector::store();
    Controller::for_stream(reflect(blogs.subscribe(), writer), reader)
        .owns_stream(touched_objects(maps.subscribe()))
        .shutdown_on_signal()
        .run(reconcile, on_error, Arc::new(client))
        .for_each(|_| std::future::ready(()))
        .await;
    Ok(())
}
