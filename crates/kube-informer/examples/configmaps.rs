//! Follows the ConfigMaps of a cluster: `cargo run -p kube-informer --example configmaps [NAMESPACE]`.
//!
//! Finds the cluster as `kube::Client::try_default` does. Press Ctrl-C to stop.

#![allow(clippy::print_stdout, reason = "an example prints")]

use k8s_openapi::api::core::v1::ConfigMap;
use kube_informer::{Change, Event, Informers};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();

    let informers = Informers::new(kube::Client::try_default().await?);
    let mut builder = informers.typed::<ConfigMap>();
    if let Some(namespace) = std::env::args().nth(1) {
        builder = builder.namespace(&namespace);
    }
    let configmaps = builder.start();
    configmaps.synced().await?;

    let mut events = configmaps.subscribe();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        };
        match event {
            Some(Event::Change(Change::Added { key, .. })) => println!("added    {key}"),
            Some(Event::Change(Change::Updated { key, .. })) => println!("updated  {key}"),
            Some(Event::Change(Change::Deleted { key, reason, .. })) => {
                println!("deleted  {key} ({reason:?})");
            }
            Some(Event::Synced { count, .. }) => println!("synced   {count} objects"),
            Some(_) => {}
            None => return Ok(()),
        }
    }
}
