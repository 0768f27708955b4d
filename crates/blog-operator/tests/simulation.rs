//! Every fault, against the sample.

#![allow(clippy::unwrap_used, reason = "a scenario panics if something is wrong with it")]

use std::future::ready;

use blog_api::{Blog, BlogSpec};
use blog_operator::{Checks, Outcome, State, controller};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, CustomResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use kube_controller::{
    Operator,
    simulation::{Simulation, World},
};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

fn controllers(operator: &Operator) -> Vec<kube_controller::Controller> {
    let reachable = |url: String| {
        let reachable = !url.contains("gone");
        let reason = if reachable { "Answered" } else { "NotConnected" };
        ready(Outcome { reachable: reachable.into(), reason, message: String::new() })
    };
    let state = State { image: "example.com/server:1".into(), checks: Checks::new(reachable) };
    vec![controller(operator, "default", state)]
}

fn blogs(user: &Client) -> Api<Blog> {
    Api::namespaced(user.clone(), "default")
}

async fn create(user: &Client) {
    let blog = Blog::new("a", BlogSpec::new("https://example.com"));
    blogs(user).create(&PostParams::default(), &blog).await.unwrap();
}

/// A blog moves, and loses its Service.
async fn moves(user: Client) {
    create(&user).await;
    sleep(Duration::from_secs(20)).await;
    let moved = json!({"spec": {"url": "https://gone.example", "checkInterval": "5m"}});
    blogs(&user).patch("a", &PatchParams::default(), &Patch::Merge(moved)).await.unwrap();
    let services: Api<Service> = Api::namespaced(user, "default");
    // It may not be there yet.
    let _ = services.delete("blog-a", &DeleteParams::default()).await;
    sleep(Duration::from_secs(300)).await;
}

/// A blog is deleted, and created again by the same name.
async fn returns(user: Client) {
    create(&user).await;
    sleep(Duration::from_secs(20)).await;
    blogs(&user).delete("a", &DeleteParams::default()).await.unwrap();
    create(&user).await;
}

fn simulation() -> Simulation {
    Simulation::new(controllers)
        .crd(&Blog::crd())
        .world(World::new().deployments_become_available())
        .random(4)
        // What the cluster counts and allots.
        .ignore(|object| {
            let is_blog = object["kind"] == "Blog";
            for (of, field) in
                [("status", "observedGeneration"), ("spec", "clusterIP"), ("spec", "clusterIPs")]
            {
                if let Some(part) = object[of].as_object_mut().filter(|_| !is_blog) {
                    part.remove(field);
                }
            }
        })
        .invariant("what is ready has a page", |state| {
            for blog in state.of_kind("Blog").filter(|blog| is_ready(blog)) {
                let name = format!("blog-{}", blog["metadata"]["name"].as_str().unwrap_or_default());
                if !state.of_kind("ConfigMap").any(|map| map["metadata"]["name"] == name.as_str()) {
                    return Err(format!("{name} is missing"));
                }
            }
            Ok(())
        })
}

fn is_ready(blog: &Value) -> bool {
    let conditions = blog["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

#[test]
fn a_blog_that_moves_survives_every_fault() {
    simulation().leader_election().scenario(moves).check();
}

#[test]
fn a_blog_that_returns_survives_every_fault() {
    simulation().scenario(returns).check();
}

/// Or else the others would prove nothing.
#[test]
fn blogs_become_ready_and_unreachable() {
    let has = |condition: &'static str| {
        let simulation = simulation().scenario(moves).replay("");
        let never = simulation.invariant("never", move |state| {
            let found = state.of_kind("Blog").any(|blog| blog["status"].to_string().contains(condition));
            if found { Err("it was".to_owned()) } else { Ok(()) }
        });
        !never.run().is_ok()
    };
    assert!(has("Served") && has("NotConnected") && !has("TimedOut"));
}
