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
use serde_json::json;
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

/// A blog is created, moves, and loses its Service; another one is deleted.
async fn scenario(user: Client) {
    let blogs: Api<Blog> = Api::namespaced(user.clone(), "default");
    let services: Api<Service> = Api::namespaced(user, "default");
    for name in ["a", "b"] {
        let blog = Blog::new(name, BlogSpec::new("https://example.com"));
        blogs.create(&PostParams::default(), &blog).await.unwrap();
    }
    sleep(Duration::from_secs(20)).await;
    let moved = json!({"spec": {"url": "https://gone.example", "checkInterval": "2m"}});
    blogs.patch("a", &PatchParams::default(), &Patch::Merge(moved)).await.unwrap();
    let _ = services.delete("blog-a", &DeleteParams::default()).await;
    blogs.delete("b", &DeleteParams::default()).await.unwrap();
    sleep(Duration::from_secs(60)).await;
}

fn simulation() -> Simulation {
    Simulation::new(controllers)
        .crd(&Blog::crd())
        .scenario(scenario)
        .world(World::new().deployments_become_available())
}

#[test]
fn the_sample_survives_every_fault() {
    simulation()
        .leader_election()
        // What the cluster counts and allots.
        .ignore(|object| {
            for (of, field) in
                [("status", "observedGeneration"), ("spec", "clusterIP"), ("spec", "clusterIPs")]
            {
                let is_blog = object["kind"] == "Blog";
                if let Some(part) = object[of].as_object_mut().filter(|_| !is_blog) {
                    part.remove(field);
                }
            }
        })
        .invariant("what is ready has a page", |state| {
            let ready = |blog: &serde_json::Value| {
                let conditions = blog["status"]["conditions"].as_array();
                conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
            };
            for blog in state.of_kind("Blog").filter(|blog| ready(blog)) {
                let name = format!("blog-{}", blog["metadata"]["name"].as_str().unwrap_or_default());
                if !state.of_kind("ConfigMap").any(|map| map["metadata"]["name"] == name.as_str()) {
                    return Err(format!("{name} has none"));
                }
            }
            Ok(())
        })
        // There are some 400. All of them take minutes in a debug build.
        .at_most(40)
        .random(4)
        .check();
}

/// The invariants of the simulation see the blogs at all, and the world makes them ready.
#[test]
fn a_blog_becomes_ready_and_reachable() {
    let report = simulation()
        .random(0)
        .invariant("no blog is ready", |state| {
            let ready = |blog: &serde_json::Value| blog["status"].to_string().contains("Served");
            if state.of_kind("Blog").any(ready) { Err("one is".to_owned()) } else { Ok(()) }
        })
        .run();
    assert!(!report.is_ok(), "{report}");
}
