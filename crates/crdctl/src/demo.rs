//! `crdctl demo`: an embedded API server with the Blog CRD and a blog, and a watch of its blogs.

use std::{process::ExitCode, sync::Arc};

use anyhow::Result;
use blog_api::{Blog, BlogSpec};
use kube::{Api, CustomResourceExt, api::PostParams};
use kube_embedded::Server;
use tokio_util::sync::CancellationToken;

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
    let endpoint = listen(&server, args.port.unwrap_or(0)).await?;
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
    let code = watch::watch(vec![connection], target, stop).await;
    endpoint.stop().await;
    code
}
