//! `crdctl demo`: an embedded API server with the Blog CRD and a blog, and a watch of its blogs; with `--operator`, also the
//! sample operator.

use std::{net::Ipv4Addr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use blog_api::{Blog, BlogSpec};
use blog_operator::{Checks, HttpCheck, Reach, State};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, CustomResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use kube_controller::Operator;
use kube_embedded::Server;
use kube_informer::{Change, Event, Informers};
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    cli::{Cluster, DemoArgs},
    connection::Connection,
    crd,
    kubeconfig_out::{KubeconfigFile, Lifetime},
    output::Output,
    resource::Request,
    serve::{listen, welcome},
    shutdown,
    terminal::Terminal,
    watch::{self, Target},
};

/// The namespace of the demo's blog.
const NAMESPACE: &str = "default";

/// Runs `crdctl demo`.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode> {
    let stop = CancellationToken::new();
    shutdown::until_signal(stop.clone(), demo(args, stop)).await
}

async fn demo(args: DemoArgs, stop: CancellationToken) -> Result<ExitCode> {
    let server = Server::start();
    let endpoint = listen(&server, (Ipv4Addr::LOCALHOST, args.port.unwrap_or(0)).into()).await?;
    let file = KubeconfigFile::write(args.kubeconfig_out, &endpoint.kubeconfig(), Lifetime::Command)?;
    // From here on, the demo connects as every other user of that file does.
    let connection = Connection::new(&Cluster {
        kubeconfig: Some(file.path().to_owned()),
        namespace: Some(NAMESPACE.into()),
        ..Cluster::default()
    })?;
    welcome(&connection.server, file.path(), "get blogs");
    crd::install(&connection, false).await?;
    if !args.empty {
        let blog = Blog::new("blog-sample", BlogSpec::new("https://example.com/blog"));
        let blogs: Api<Blog> = Api::namespaced(connection.client.clone(), NAMESPACE);
        connection.ask("create blog-sample", blogs.create(&PostParams::default(), &blog)).await?;
    }
    let client = connection.client.clone();
    let operator = args.operator.then(|| {
        let nodes = AbortOnDropHandle::new(tokio::spawn(nodes(client.clone())));
        (tokio::spawn(operate(client, stop.clone())), nodes)
    });
    let terminal = Terminal::stdout(args.output.color);
    let target = Target {
        requests: vec![Request { resource: Blog::crd_name().into(), name: None }],
        all_namespaces: false,
        labels: None,
        fields: None,
        events: false,
        sort_by: None,
        every: Some(args.every),
        health: None,
        output: Arc::new(Output::new(args.output, terminal)),
    };
    let code = watch::watch(vec![connection], target, stop.clone()).await;
    // Not only a signal ends the watch.
    stop.cancel();
    if let Some((operator, _nodes)) = operator {
        operator.await.context("running the operator")??;
    }
    endpoint.stop().await;
    code
}

/// How long the operator may take to end.
const GRACE: Duration = Duration::from_millis(500);

/// Runs the sample operator.
async fn operate(client: Client, stop: CancellationToken) -> Result<()> {
    let operator = Operator::new(client, blog_operator::NAME).shutdown_on(stop, GRACE);
    let check = HttpCheck::new(Reach::Public);
    let state = State {
        image: blog_operator::IMAGE.to_owned(),
        checks: Checks::new(move |url| check.clone().check(url)),
    };
    let blogs = blog_operator::controller(&operator, NAMESPACE, state);
    operator.run([blogs]).await.context("running the operator")?;
    Ok(())
}

/// Says of each Deployment that its pods are available, as if there were nodes.
async fn nodes(client: Client) {
    let deployments = Informers::new(client.clone()).typed::<Deployment>().namespace(NAMESPACE).start();
    let mut events = deployments.subscribe();
    let api: Api<Deployment> = Api::namespaced(client, NAMESPACE);
    while let Some(event) = events.next().await {
        let Event::Change(Change::Added { object, .. } | Change::Updated { new: object, .. }) = event else {
            continue;
        };
        let generation = object.metadata.generation;
        if object.status.as_ref().is_some_and(|status| status.observed_generation == generation) {
            continue;
        }
        let pods = object.spec.replicas;
        let status = json!({
            "observedGeneration": generation, "replicas": pods, "updatedReplicas": pods, "readyReplicas": pods,
            "availableReplicas": pods,
        });
        let patch = Patch::Merge(json!({"status": status}));
        let name = object.metadata.name.as_deref().unwrap_or_default();
        if let Err(error) = api.patch_status(name, &PatchParams::default(), &patch).await {
            tracing::debug!(%error, "the Deployment {name} does not become available");
        }
    }
}
