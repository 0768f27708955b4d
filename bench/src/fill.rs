//! Creates the objects in the server, and measures their size.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use blog_api::Blog;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use bench::blogs;

/// The benchmark's own namespace.
pub(crate) const NAMESPACE: &str = "blog-bench";

/// The number of requests in flight.
const IN_FLIGHT: usize = 64;

/// The sizes of one object as the server writes it, in bytes, without whitespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) object: usize,
    pub(crate) managed_fields: usize,
    pub(crate) last_applied: usize,
}

/// Ensures that the namespace holds exactly this number of Blogs. Existing ones are reused, so a persistent server is filled
/// only once.
///
/// # Errors
/// Fails if the server refuses, or if there are already more Blogs.
pub(crate) async fn fill(client: &Client, objects: usize) -> Result<()> {
    install(client).await?;
    let api: Api<Blog> = Api::namespaced(client.clone(), NAMESPACE);
    let held = count(&api).await?;
    ensure!(
        held <= objects,
        "namespace {NAMESPACE} holds {held} Blogs: use that number with --objects, or run `kubectl delete namespace {NAMESPACE}`"
    );
    if held == objects {
        return Ok(());
    }
    stream::iter(0..objects)
        .map(|number| create(client, number))
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<()>()
        .await?;
    let held = count(&api).await?;
    ensure!(held == objects, "namespace {NAMESPACE} holds {held} Blogs after filling, not {objects}");
    Ok(())
}

/// Measures the size of the server's objects, using the first one.
///
/// # Errors
/// Fails if the object has no managedFields or last-applied annotation: clients would have less to do than in a real cluster.
pub(crate) async fn size(client: &Client) -> Result<Size> {
    let path = format!("/apis/web.helloworld/v1/namespaces/{NAMESPACE}/blogs/{}", blogs::name(0));
    let text = client.request_text(Request::get(path).body(Vec::new())?).await?;
    let object: Value = serde_json::from_str(&text)?;
    let metadata = &object["metadata"];
    let managed_fields = &metadata["managedFields"];
    let last_applied = &metadata["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    for (what, value) in [("managedFields", managed_fields), ("last-applied annotation", last_applied)] {
        ensure!(!value.is_null(), "the server's objects have no {what}: {object}");
    }
    Ok(Size {
        object: object.to_string().len(),
        managed_fields: managed_fields.to_string().len(),
        last_applied: last_applied.to_string().len(),
    })
}

/// Installs the Blog CRD and creates the namespace.
///
/// # Errors
/// Fails if the server refuses, or does not serve Blogs within 30 s.
pub(crate) async fn install(client: &Client) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let apply = PatchParams::apply("bench").force();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    namespaces.patch(NAMESPACE, &apply, &Patch::Apply(namespace)).await.context("creating the namespace")?;
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.patch(Blog::crd_name(), &apply, &Patch::Apply(Blog::crd()))
        .await
        .context("installing the Blog CRD")?;
    let established = await_condition(crds, Blog::crd_name(), conditions::is_crd_established());
    timeout(Duration::from_secs(30), established).await.context("the Blog CRD is not established")??;
    Ok(())
}

async fn count(api: &Api<Blog>) -> Result<usize> {
    let list = api.list_metadata(&ListParams::default().limit(1)).await.context("counting the Blogs")?;
    let rest = list.metadata.remaining_item_count.unwrap_or(0);
    Ok(list.items.len() + usize::try_from(rest)?)
}

/// Creates the Blog with this number, unless it exists.
///
/// # Errors
/// Fails if the server refuses.
pub(crate) async fn create(client: &Client, number: usize) -> Result<()> {
    let path =
        format!("/apis/web.helloworld/v1/namespaces/{NAMESPACE}/blogs?fieldManager={}", blogs::FIELD_MANAGER);
    let body = blogs::blog(NAMESPACE, number).to_string().into_bytes();
    let request = Request::post(path).header("content-type", "application/json").body(body)?;
    match client.request_text(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("creating {}", blogs::name(number))),
    }
}
