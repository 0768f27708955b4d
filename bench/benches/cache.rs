//! `cargo bench -p bench`: the cost of single operations of the cache.

use std::{
    hint::black_box,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bench::{blogs, feed};
use blog_api::Blog;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::StreamExt as _;
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _, reflector,
        watcher::{self, watcher},
    },
};
use kube_informer::{Cached, Index, Informer, InformerBuilder, Informers};
use tokio::runtime::Runtime;

/// The number of cached objects in the benchmarks of updates.
const OBJECTS: usize = 10_000;
/// The number of updates.
const UPDATES: usize = 10_000;
/// The number of cached objects in the benchmarks of reads.
const READ: usize = 100_000;

criterion_group! {
    name = cache;
    // A sample covers tens of thousands of events, so few samples are enough.
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_secs(1));
    targets = updates, decode, reads
}
criterion_main!(cache);

/// Decodes and applies 10,000 updates of a watch stream on one thread. They arrive in bursts.
fn updates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode and apply 10,000 updates");
    group.throughput(Throughput::Elements(UPDATES as u64)).measurement_time(Duration::from_secs(8));
    group.bench_function("kube-informer, typed", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| informer(|builder| builder)).sum());
    });
    group.bench_function("kube-informer, typed, last-applied skipped", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| informer(InformerBuilder::skip_last_applied)).sum());
    });
    group.bench_function("kube-informer, compact", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| informer(InformerBuilder::compact)).sum());
    });
    group.bench_function("kube-runtime, typed", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| reflect()).sum());
    });
    group.finish();
}

/// Decodes one object from the bytes of an event: the cost of each read of a compact object, and of kube-runtime's decoding.
fn decode(criterion: &mut Criterion) {
    let runtime = single_thread();
    let compact = runtime.block_on(synced(1, InformerBuilder::compact));
    let line = blogs::watch_line("ADDED", "default", 0, 1);
    let mut group = criterion.benchmark_group("decode one object");
    group.bench_function("kube-informer, compact, on read", |bencher| {
        let snapshot = compact.snapshot().expect("it is synced");
        let object = snapshot.get("default", &blogs::name(0)).expect("it is cached");
        bencher.iter(|| object.decode());
    });
    group.bench_function("kube-runtime, typed, on arrival", |bencher| {
        bencher.iter(|| serde_json::from_slice::<kube::core::WatchEvent<Blog>>(&line));
    });
    group.finish();
}

/// Reads from a cache of 100,000 objects.
fn reads(criterion: &mut Criterion) {
    let runtime = single_thread();
    let informer = runtime.block_on(synced(READ, |builder| builder));
    let by_url: Index<Blog, String> = informer.index(|blog: &Arc<Blog>| [blog.spec.url.clone()]);
    let snapshot = informer.snapshot().expect("it is synced");
    let mut number = 0;
    // Consecutive lookups are far apart.
    let mut next = || {
        number = (number + 7919) % READ;
        number
    };
    let mut group = criterion.benchmark_group("of 100,000 objects");
    group.bench_function("take a snapshot", |bencher| bencher.iter(|| informer.snapshot()));
    group.bench_function("find one by name", |bencher| {
        let name = || blogs::name(next());
        bencher.iter_batched(
            name,
            |name| black_box(snapshot.get("default", &name)).is_some(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("find one in an index", |bencher| {
        let url = || {
            let number = next();
            format!("https://{number:06}.example.com/{}", number + 1)
        };
        bencher.iter_batched(
            url,
            |url| assert!(snapshot.by_index(&by_url, &url).next().is_some()),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

async fn synced<K: Cached>(
    objects: usize,
    choose: impl FnOnce(InformerBuilder<Blog>) -> InformerBuilder<K>,
) -> Informer<K> {
    let informer = choose(Informers::new(feed::churn(objects, 0, true).client).typed()).start();
    informer.synced().await.expect("it syncs");
    informer
}

/// Measures the time from the first update to the last.
fn informer<K: Cached>(choose: impl FnOnce(InformerBuilder<Blog>) -> InformerBuilder<K>) -> Duration {
    single_thread().block_on(async {
        let feed = feed::churn(OBJECTS, UPDATES, true);
        let informer = choose(Informers::new(feed.client).typed()).start();
        informer.synced().await.expect("it syncs");
        let start = Instant::now();
        feed.open.send(()).expect("it watches");
        feed.done.await.expect("it goes on watching");
        start.elapsed()
    })
}

/// Measures the same for kube-runtime: a stream that fills its store.
fn reflect() -> Duration {
    single_thread().block_on(async {
        let feed = feed::churn(OBJECTS, UPDATES, true);
        let (store, writer) = reflector::store();
        let events = watcher(Api::<Blog>::all(feed.client), watcher::Config::default().streaming_lists());
        let driver = tokio::spawn(async {
            let mut events = pin!(events.default_backoff().reflect(writer));
            while let Some(_event) = events.next().await {}
        });
        store.wait_until_ready().await.expect("it syncs");
        let start = Instant::now();
        feed.open.send(()).expect("it watches");
        feed.done.await.expect("it goes on watching");
        let elapsed = start.elapsed();
        driver.abort();
        elapsed
    })
}

fn single_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
