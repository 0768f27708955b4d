use std::convert::Infallible;

use kube::Client;
use kube_embedded::Server;
use kube_embedded::faults::{Fault, Verb};
use tokio::time::sleep;

use super::*;
use crate::fence::Fenced;

const SECOND: Duration = Duration::from_secs(1);

fn start(server: &Server, identity: &str) -> Campaign {
    campaign(server.client(), &Election::new("a").identity(identity), fastrand::Rng::with_seed(1)).unwrap()
}

fn leases(server: &Server) -> Api<Lease> {
    Api::default_namespaced(server.client())
}

/// Waits until it leads.
async fn lead(campaign: &Campaign) -> Fence {
    let mut leadership = campaign.leadership();
    let leads = |leadership: &Leadership| matches!(leadership, Leadership::Leading { .. });
    match &*leadership.wait_for(leads).await.unwrap() {
        Leadership::Leading { fence } => fence.clone(),
        Leadership::Standby { .. } => unreachable!("it leads"),
    }
}

/// Waits until it is in standby and knows that this candidate leads.
async fn follow(campaign: &Campaign, leader: &str) {
    let mut leadership = campaign.leadership();
    let follows = |leadership: &Leadership| match leadership {
        Leadership::Standby { holder } => holder.as_deref() == Some(leader),
        Leadership::Leading { .. } => false,
    };
    leadership.wait_for(follows).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_other_takes_over_when_the_lease_has_run_out() {
    let server = Server::start();
    let first = start(&server, "first");
    let fence = lead(&first).await;
    let second = start(&server, "second");
    follow(&second, "first").await;
    sleep(60 * SECOND).await;
    assert_eq!(fence.check(Instant::now()), Ok(()));
    assert!(first.status().leads() && !second.status().leads());
    assert_eq!(second.status().holder().as_deref(), Some("first"));
    assert_eq!(first.status().holder().as_deref(), Some("first"));

    // Dropped without a release, like a process that is killed.
    let killed = Instant::now();
    drop(first);
    lead(&second).await;
    let took = killed.elapsed();
    assert!(13 * SECOND <= took && took <= 15 * SECOND, "{took:?}");
    assert_eq!(fence.check(Instant::now()), Err(Fenced));
    let spec = leases(&server).get("a").await.unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("second"), Some(1)));
}

// Rule 22: once the caller has said so, another leads at once.
#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_by_the_other_at_once() {
    let server = Server::start();
    let first = start(&server, "first");
    let fence = lead(&first).await;
    let second = start(&server, "second");
    follow(&second, "first").await;
    let released = Instant::now();
    first.release().await;
    assert_eq!(fence.check(Instant::now()), Err(Fenced));
    lead(&second).await;
    assert!(released.elapsed() < SECOND, "{:?}", released.elapsed());
}

// Without the right to watch, it takes until the next poll.
#[tokio::test(start_paused = true)]
async fn a_released_lease_is_also_found_by_polling() {
    let server = Server::start();
    let forbidden = Fault::InternalError { retry_after: None };
    let _no_watch = server.faults().on(Verb::Watch, "leases.coordination.k8s.io").inject(forbidden);
    let first = start(&server, "first");
    lead(&first).await;
    let second = start(&server, "second");
    follow(&second, "first").await;
    let released = Instant::now();
    first.release().await;
    lead(&second).await;
    assert!(released.elapsed() < 5 * SECOND, "{:?}", released.elapsed());
}

// Rules 23 and 24; kubernetes#44887, JOSDK #2056
#[tokio::test(start_paused = true)]
async fn a_renewal_that_hangs_closes_the_fence_at_the_deadline() {
    let server = Server::start();
    let campaign = start(&server, "me");
    let fence = lead(&campaign).await;
    let silence = server.faults().on(Verb::Any, "leases.coordination.k8s.io").inject(Fault::Silence);
    let deadline = fence.deadline().unwrap();
    fence.closed_wait().await;
    assert_eq!(Instant::now(), deadline);
    follow(&campaign, "me").await;
    assert!(deadline.elapsed() < SECOND, "the state follows the fence");
    assert!(silence.hits() >= 2, "each request times out: {}", silence.hits());
    assert_eq!(campaign.status().error().as_deref(), Some("no answer within 5s"));

    silence.remove();
    let again = lead(&campaign).await;
    assert_eq!(again.check(Instant::now()), Ok(()));
    assert_eq!(fence.check(Instant::now()), Err(Fenced), "the fence of the first term stays closed");
    assert_eq!(campaign.status().error(), None);
}

// kubernetes#23731
#[tokio::test(start_paused = true)]
async fn a_lease_that_another_took_is_noticed_at_the_next_renewal() {
    let server = Server::start();
    let campaign = start(&server, "me");
    let fence = lead(&campaign).await;
    let mut lease = leases(&server).get("a").await.unwrap();
    lease.spec.get_or_insert_default().holder_identity = Some("thief".to_owned());
    leases(&server).replace("a", &PostParams::default(), &lease).await.unwrap();
    let stolen = Instant::now();
    follow(&campaign, "thief").await;
    assert!(stolen.elapsed() < 3 * SECOND);
    assert_eq!(fence.check(Instant::now()), Err(Fenced));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_shown_and_retried() {
    let server = Server::start();
    let refusal = Fault::ServiceUnavailable { retry_after: None };
    let refused = server.faults().on(Verb::Create, "leases.coordination.k8s.io").inject(refusal);
    let campaign = start(&server, "me");
    refused.wait_for_hits(3).await;
    // client-go#1187: it never led, so nothing was lost.
    assert!(!campaign.leadership().has_changed().unwrap());
    assert!(!campaign.status().leads());
    assert!(campaign.status().error().is_some());
    refused.remove();
    lead(&campaign).await;
    assert_eq!(campaign.status().error(), None);
}

// Rule 22; JOSDK #1614
#[tokio::test(start_paused = true)]
async fn a_release_ends_although_the_server_hangs() {
    let server = Server::start();
    let (leader, standby) = (start(&server, "leader"), start(&server, "standby"));
    lead(&leader).await;
    follow(&standby, "leader").await;
    let _silence = server.faults().on(Verb::Any, "leases.coordination.k8s.io").inject(Fault::Silence);
    sleep(3 * SECOND).await;
    let begun = Instant::now();
    tokio::join!(leader.release(), standby.release());
    assert!(begun.elapsed() <= 10 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_candidate_in_standby_releases_nothing() {
    let server = Server::start();
    let (leader, standby) = (start(&server, "leader"), start(&server, "standby"));
    lead(&leader).await;
    follow(&standby, "leader").await;
    standby.release().await;
    let spec = leases(&server).get("a").await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("leader"));
}

// linkerd2#15506
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_task_closes_the_fence_and_is_reported() {
    let server = Server::start();
    let panics = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let service = tower::service_fn({
        let (server, panics) = (server.service(), Arc::clone(&panics));
        move |request: http::Request<kube::client::Body>| {
            let (server, panics) = (server.clone(), Arc::clone(&panics));
            async move {
                assert!(!panics.load(std::sync::atomic::Ordering::Relaxed), "the client panics");
                let answer = tower::ServiceExt::oneshot(server, request).await;
                Ok::<_, Infallible>(answer.unwrap_or_else(|error| match error {}))
            }
        }
    });
    let client = Client::new(service, "default");
    let election = Election::new("a").identity("me");
    let mut campaign = campaign(client, &election, fastrand::Rng::with_seed(1)).unwrap();
    let fence = lead(&campaign).await;
    panics.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = campaign.ended().await;
    assert_eq!(error.to_string(), "the task of the leader election has ended");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("panic"));
    assert_eq!(fence.check(Instant::now()), Err(Fenced));
    assert!(!campaign.status().leads());
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    let server = Server::start();
    let error = campaign(server.client(), &Election::new(""), fastrand::Rng::new()).unwrap_err();
    assert_eq!(error, InvalidElection::Lease);
}
