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
    api::{DynamicObject, ObjectList, Patch, PatchParams},
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use bench::{blogs, kind::Kind};

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

/// Ensures that the namespace holds exactly this number of objects. Existing ones are reused, so a persistent server is filled
/// only once.
///
/// # Errors
/// Fails if the server refuses, or if there are already more of them.
pub(crate) async fn fill(client: &Client, kind: Kind, objects: usize) -> Result<()> {
    install(client).await?;
    let held = count(client, kind).await?;
    let plural = kind.plural();
    ensure!(
        held <= objects,
        "namespace {NAMESPACE} holds {held} {plural}: use that number with --objects, or run `kubectl delete namespace {NAMESPACE}`"
    );
    if held == objects {
        return Ok(());
    }
    stream::iter(0..objects)
        .map(|number| create(client, kind, number))
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<()>()
        .await?;
    let held = count(client, kind).await?;
    ensure!(held == objects, "namespace {NAMESPACE} holds {held} {plural} after filling, not {objects}");
    Ok(())
}

/// Measures the size of the server's objects, using the first one.
///
/// # Errors
/// Fails if the object has no managedFields, or if a Blog has no last-applied annotation: clients would have less to do than in
/// a real cluster.
pub(crate) async fn size(client: &Client, kind: Kind) -> Result<Size> {
    let path = format!("{}/{}", kind.path(NAMESPACE), kind.name(0));
    let text = client.request_text(Request::get(path).body(Vec::new())?).await?;
    let object: Value = serde_json::from_str(&text)?;
    let metadata = &object["metadata"];
    let managed_fields = &metadata["managedFields"];
    let last_applied = &metadata["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    ensure!(!managed_fields.is_null(), "the server's objects have no managedFields: {object}");
    ensure!(
        kind != Kind::Blogs || !last_applied.is_null(),
        "the server's objects have no last-applied annotation: {object}"
    );
    let length = |value: &Value| if value.is_null() { 0 } else { value.to_string().len() };
    Ok(Size {
        object: object.to_string().len(),
        managed_fields: length(managed_fields),
        last_applied: length(last_applied),
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

async fn count(client: &Client, kind: Kind) -> Result<usize> {
    let request = Request::get(format!("{}?limit=1", kind.path(NAMESPACE))).body(Vec::new())?;
    let list: ObjectList<DynamicObject> = client.request(request).await.context("counting the objects")?;
    let rest = list.metadata.remaining_item_count.unwrap_or(0);
    Ok(list.items.len() + usize::try_from(rest)?)
}

/// Creates the object with this number, unless it exists, and writes its status.
///
/// # Errors
/// Fails if the server refuses.
pub(crate) async fn create(client: &Client, kind: Kind, number: usize) -> Result<()> {
    let collection = kind.path(NAMESPACE);
    let object = kind.object(NAMESPACE, number);
    let path = format!("{collection}?fieldManager={}", blogs::FIELD_MANAGER);
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())?;
    match client.request_text(request).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => return Err(error).with_context(|| format!("creating {}", kind.name(number))),
    }
    if let Some(status) = object.get("status") {
        // A status that is sent with a new object is ignored.
        let path = format!("{collection}/{}/status?fieldManager=kubelet", kind.name(number));
        let body = json!({"status": status}).to_string().into_bytes();
        let request =
            Request::patch(path).header("content-type", "application/merge-patch+json").body(body)?;
        client.request_text(request).await.with_context(|| format!("status of {}", kind.name(number)))?;
    }
    Ok(())
}
