use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube_embedded::Server;
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::*;
use crate::lock::lock;

const SECOND: Duration = Duration::from_secs(1);

fn start(server: &Server, identity: &str, count: u32) -> ShardSet {
    Shards::new(server.client(), "x", count).identity(identity).seed(1).start().unwrap()
}

async fn acquired(set: &mut ShardSet) -> OwnedShard {
    match set.next().await.unwrap().unwrap() {
        ShardEvent::Acquired(shard) => shard,
        ShardEvent::Revoked(shard) => panic!("shard {} was revoked", shard.index()),
    }
}

async fn revoked(set: &mut ShardSet) -> RevokedShard {
    match set.next().await.unwrap().unwrap() {
        ShardEvent::Revoked(shard) => shard,
        ShardEvent::Acquired(shard) => panic!("shard {} was acquired", shard.index()),
    }
}

/// Acquires this many shards and returns their numbers.
async fn acquire(set: &mut ShardSet, shards: usize) -> Vec<u32> {
    let mut indices = Vec::new();
    for _ in 0..shards {
        indices.push(acquired(set).await.index());
    }
    indices.sort_unstable();
    indices
}

#[test]
fn options_that_cannot_work_are_named() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    let server = Server::start();
    let error =
        |name: &str, count| Shards::new(server.client(), name, count).start().err().unwrap().to_string();
    assert_eq!(error("x", 0), "0 shards: there must be 1 to 1024");
    assert_eq!(error("x", 1025), "1025 shards: there must be 1 to 1024");
    for name in ["", "-x", "x-", "x.y", "X", &"x".repeat(41)] {
        assert!(error(name, 1).contains("lower case letters"), "{name}");
    }
    let error = Shards::new(server.client(), "x", 1).identity("").start().err();
    assert_eq!(error, Some(InvalidShards::Election(InvalidElection::Identity)));
}

#[tokio::test(start_paused = true)]
async fn a_single_member_owns_every_namespace_once() {
    let server = Server::start();
    let mut set = start(&server, "a", 3);
    let mut shards = Vec::new();
    for _ in 0..3 {
        shards.push(acquired(&mut set).await);
    }
    for namespace in ["", "default", "kube-system", "a"] {
        let of: Vec<_> = shards.iter().filter(|shard| shard.contains(namespace)).collect();
        assert_eq!(of.len(), 1, "{namespace}");
        assert!(of[0].is_owned() && of[0].count() == 3);
        assert!(of[0].informer_shard().contains(namespace));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_handed_over_only_after_it_was_acknowledged() {
    let server = Server::start();
    let mut first = start(&server, "first", 2);
    assert_eq!(acquire(&mut first, 2).await, [0, 1]);
    let mut second = start(&server, "second", 2);
    let leaving = revoked(&mut first).await;
    assert_eq!(leaving.index(), 1);
    {
        let mut taken = std::pin::pin!(acquired(&mut second));
        tokio::select! {
            shard = &mut taken => panic!("shard {} is still worked on", shard.index()),
            () = sleep(100 * SECOND) => {}
        }
        // It still may write, in order to end its work.
        assert!(leaving.is_owned());
        let acknowledged = Instant::now();
        leaving.ack();
        assert_eq!(taken.await.index(), 1);
        assert!(acknowledged.elapsed() < SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stops_is_replaced_at_once() {
    let server = Server::start();
    let (mut first, mut second) = (start(&server, "first", 4), start(&server, "second", 4));
    let (mut of_first, mut of_second) = (0, 0);
    let settle = async {
        loop {
            tokio::select! {
                event = first.next() => match event.unwrap().unwrap() {
                    ShardEvent::Acquired(_) => of_first += 1,
                    ShardEvent::Revoked(_) => of_first -= 1,
                },
                event = second.next() => match event.unwrap().unwrap() {
                    ShardEvent::Acquired(_) => of_second += 1,
                    ShardEvent::Revoked(_) => of_second -= 1,
                },
            }
        }
    };
    let _ = tokio::time::timeout(30 * SECOND, settle).await;
    assert_eq!((of_first, of_second), (2, 2));

    let stopped = Instant::now();
    first.stop();
    for _ in 0..2 {
        revoked(&mut first).await.ack();
    }
    acquire(&mut second, 2).await;
    assert!(stopped.elapsed() < SECOND, "{:?}", stopped.elapsed());
    assert!(first.next().await.unwrap().is_none());
    assert!(first.next().await.unwrap().is_none(), "and again");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_dies_is_replaced_when_its_leases_have_run_out() {
    let server = Server::start();
    let mut first = start(&server, "first", 2);
    let shard = acquired(&mut first).await;
    acquired(&mut first).await;
    let mut second = start(&server, "second", 2);
    let died = Instant::now();
    drop(first);
    shard.lost().await;
    assert_eq!(acquire(&mut second, 2).await, [0, 1]);
    let took = died.elapsed();
    assert!(13 * SECOND <= took && took <= 17 * SECOND, "{took:?}");

    // What is left of it goes, too.
    sleep(100 * SECOND).await;
    let leases: Api<Lease> = Api::default_namespaced(server.client());
    let names: Vec<_> = leases.list(&Default::default()).await.unwrap().items;
    assert_eq!(names.len(), 3, "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn members_of_another_count_wait_until_those_before_them_are_gone() {
    let server = Server::start();
    let mut old = start(&server, "old", 2);
    acquire(&mut old, 2).await;
    // Times of creation are in seconds, of the system's clock: the order of the uids decides, which is random.
    let mut new = start(&server, "new", 3);
    tokio::select! {
        event = new.next() => {
            // The new one is the elder by chance: the old one must have ended before.
            assert!(matches!(event.unwrap().unwrap(), ShardEvent::Acquired(_)));
            panic!("the old one did not acknowledge");
        }
        () = sleep(100 * SECOND) => {}
    }
    old.stop();
    let end = async { while let Some(_event) = old.next().await.unwrap() {} };
    let (shards, ()) = tokio::join!(acquire(&mut new, 3), end);
    assert_eq!(shards, [0, 1, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, ..ProptestConfig::default() })]

    #[test]
    fn a_shard_never_has_two_owners_and_each_has_one_in_the_end(seed: u64, members in 2_usize..5, count in 1_u32..7) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(world(seed, members, count));
    }
}

/// Who owns what, as the members say.
type Board = Arc<Mutex<Vec<Option<(usize, OwnedShard)>>>>;

/// Members that are started, stopped, killed and cut off from the server, and that take their time for work that ends.
async fn world(seed: u64, members: usize, count: u32) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let server = Server::start();
    let board: Board = Arc::new(Mutex::new(vec![None; count as usize]));
    let mut tasks = JoinSet::new();
    let faults_end = Instant::now() + 120 * SECOND;
    for member in 0..members {
        tasks.spawn(live(server.service(), member, count, rng.fork(), Arc::clone(&board), faults_end));
    }
    tokio::select! {
        Some(ended) = tasks.join_next() => panic!("a member has ended: {ended:?}"),
        () = sleep_until(faults_end + 90 * SECOND) => {}
    }
    let board = lock(&board);
    let mut counts = vec![0; members];
    for owner in board.iter() {
        let (member, shard) = owner.as_ref().expect("each shard has an owner in the end");
        assert!(shard.is_owned());
        counts[*member] += 1;
    }
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 1, "{counts:?}");
}

/// A replica, whose process is restarted from time to time.
async fn live(
    server: kube_embedded::Service,
    member: usize,
    count: u32,
    mut rng: fastrand::Rng,
    board: Board,
    faults_end: Instant,
) {
    for process in 0.. {
        sleep(SECOND.mul_f64(10.0 * rng.f64())).await;
        let cut = Arc::new(AtomicBool::new(false));
        let client = client(server.clone(), Arc::clone(&cut));
        let identity = format!("{member}-{process}");
        let mut set = Shards::new(client, "x", count).identity(identity).seed(rng.u64(..)).start().unwrap();
        let mut work = JoinSet::new();
        while let Some(ended) = work.try_join_next() {
            ended.unwrap();
        }
        let mut fault = Box::pin(sleep(SECOND.mul_f64(60.0 * rng.f64())));
        let mut killed = false;
        while !killed {
            tokio::select! {
                event = set.next() => match event.unwrap() {
                    Some(ShardEvent::Acquired(shard)) => {
                        let owner = &mut lock(&board)[shard.index() as usize];
                        if let Some((other, owned)) = owner {
                            assert!(!owned.is_owned(), "{other} and {member} own shard {}", shard.index());
                        }
                        *owner = Some((member, shard));
                    }
                    Some(ShardEvent::Revoked(shard)) => {
                        let (board, drain) = (Arc::clone(&board), SECOND.mul_f64(3.0 * rng.f64()));
                        work.spawn(async move {
                            sleep(drain).await;
                            if shard.is_owned() {
                                lock(&board)[shard.index() as usize] = None;
                            }
                            shard.ack();
                        });
                    }
                    None => break,
                },
                () = &mut fault => {
                    fault.as_mut().reset(Instant::now() + SECOND.mul_f64(40.0 * rng.f64()));
                    let cut_off = cut.swap(false, Ordering::Relaxed);
                    if Instant::now() < faults_end && !cut_off {
                        match rng.u32(0..4) {
                            0 => set.stop(),
                            1 => killed = true,
                            _ => cut.store(true, Ordering::Relaxed),
                        }
                    }
                }
            }
        }
    }
}

/// A client whose requests hang while it is cut off: some before the server does them, some after.
fn client(server: kube_embedded::Service, cut: Arc<AtomicBool>) -> kube::Client {
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (server, cut) = (server.clone(), Arc::clone(&cut));
        async move {
            let hang = std::future::pending::<()>;
            if cut.load(Ordering::Relaxed) {
                hang().await;
            }
            let answer = tower::ServiceExt::oneshot(server, request).await;
            if cut.load(Ordering::Relaxed) {
                hang().await;
            }
            Ok::<_, Infallible>(answer.unwrap_or_else(|error| match error {}))
        }
    });
    kube::Client::new(service, "default")
}
