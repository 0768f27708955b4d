//! The operator: what it does for a blog, and what makes it do so. To write your own, begin with a copy of this file.

use std::sync::Arc;

use blog_api::Blog;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kube::core::NamespaceResourceScope;
use kube_controller::{
    Action,
    ConditionStatus::{self, False, True},
    Context, Controller, EventType, Kind, Operator, terminal,
};
use kube_informer::Informer;

use crate::{check::Checks, page};

/// What all runs share.
pub struct State {
    /// The image of the servers: it serves the files of `/usr/share/nginx/html` on port 8080, as a user other than root.
    pub image: String,
    /// The checks of the blogs' addresses.
    pub checks: Checks,
}

/// Returns the controller of the blogs in a namespace. The empty name stands for all of them.
///
/// It has no finalizer, because there is nothing outside of the cluster to clean up: what it makes for a blog is owned by the
/// blog, and the cluster's garbage collector deletes it. A finalizer would only mean that no blog can be deleted while the
/// operator does not run.
pub fn controller(operator: &Operator, namespace: &str, state: State) -> Controller {
    let blogs = operator.informers().typed::<Blog>().namespace(namespace).start();
    Controller::new("blog", blogs)
        .owns(owned::<ConfigMap>(operator, namespace))
        .owns(owned::<Service>(operator, namespace))
        .owns(owned::<Deployment>(operator, namespace))
        // A check may take 10 s. Others do not wait for it.
        .concurrency(16)
        .reconciler(reconcile, state)
}

/// Sets up what serves a blog's page, checks the blog's address if that is due, and reports both.
async fn reconcile(blog: Arc<Blog>, cx: Context<Blog, State>) -> anyhow::Result<Action> {
    if let Err(invalid) = blog.spec.validate() {
        // The schema refuses such a blog, unless somebody has changed the schema. Trying again would not help.
        report(&blog, &cx, "Ready", False, "Invalid", &invalid.to_string());
        cx.status().observe_generation();
        return Err(terminal(invalid).into());
    }

    // Nothing is sent if all is as it should be. They are owned by the blog, so they go when it goes.
    cx.apply(&page::config_map(&blog)).await?;
    cx.apply(&page::service(&blog)).await?;
    let deployment = cx.apply(&page::deployment(&blog, &cx.state().image)).await?;
    if is_rolled_out(&deployment) {
        report(&blog, &cx, "Ready", True, "Served", "The page is served.");
    } else {
        report(&blog, &cx, "Ready", False, "RollingOut", "The server of the page is not available yet.");
    }

    let uid = blog.metadata.uid.as_deref().unwrap_or_default();
    let (found, next) = cx.state().checks.check(uid, &blog.spec.url, blog.spec.check_interval()?).await;
    report(&blog, &cx, "Reachable", found.reachable, found.reason, &found.message);
    cx.status().observe_generation();
    Ok(Action::requeue(next))
}

/// Sets a condition, and writes an Event if it is another one than before. The status is written once, after the run.
fn report(
    blog: &Blog,
    cx: &Context<Blog, State>,
    condition: &str,
    status: ConditionStatus,
    reason: &str,
    message: &str,
) {
    cx.conditions().set(condition, status, reason, message);
    let conditions = blog.status.iter().flat_map(|status| &status.conditions);
    let before = conditions.filter(|it| it.type_ == condition).map(|it| it.status.as_str()).next();
    if before != Some(&status.to_string()) {
        let type_ = if reason == "Invalid" { EventType::Warning } else { EventType::Normal };
        cx.event(type_, reason, format!("{condition} is {status}: {message}"));
    }
}

/// Whether the pods that a Deployment asks for, and no others, are there and available.
fn is_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let wanted = deployment.spec.replicas.unwrap_or(1);
    status.observed_generation >= deployment.metadata.generation
        && [status.replicas, status.updated_replicas, status.available_replicas] == [Some(wanted); 3]
}

/// Starts a cache of the objects that blogs own. It keeps managed fields: by them, `apply` knows what it applied.
fn owned<K: Kind + kube::Resource<Scope = NamespaceResourceScope>>(
    operator: &Operator,
    namespace: &str,
) -> Informer<K> {
    let objects = operator.informers().typed::<K>().namespace(namespace).label_selector(page::SELECTOR);
    objects.keep_managed_fields().start()
}
