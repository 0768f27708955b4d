//! Runs one test on one cluster.

use std::{io::Write as _, panic::resume_unwind, pin::pin, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    runtime,
    time::{Instant, timeout_at},
};

use crate::{
    cluster::{Cluster, Provider},
    crdctl,
    need::Need,
};

/// How long a test may take, so that one that hangs fails.
const LIMIT: Duration = Duration::from_secs(300);

/// Makes the tests `name::embedded` and `name::real` from each `async fn name(cluster: Cluster) -> Result<()>`. A test's
/// needs are listed in brackets:
///
/// ```
/// use anyhow::Result;
/// use e2e::Cluster;
///
/// async fn reads(cluster: Cluster) -> Result<()> {
///     cluster.admin().get("/readyz").await?.code(200)?;
///     Ok(())
/// }
///
/// async fn survives(cluster: Cluster) -> Result<()> {
///     cluster.restart().await
/// }
///
/// e2e::on_each_cluster! { reads, survives [Restart] }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! on_each_cluster {
    ($($test:ident $([$($need:ident),+])?),+ $(,)?) => {$(
        mod $test {
            const NEEDS: &[$crate::Need] = &[$($($crate::Need::$need),+)?];

            #[test]
            fn embedded() -> anyhow::Result<()> {
                $crate::run($crate::Provider::Embedded, module_path!(), NEEDS, super::$test)
            }

            #[test]
            fn real() -> anyhow::Result<()> {
                $crate::run($crate::Provider::real(), module_path!(), NEEDS, super::$test)
            }
        }
    )+};
}

/// Runs a test, or prints its name and why it is skipped.
///
/// # Errors
/// Fails if the cluster does not start, the test fails, or it takes longer than five minutes.
pub fn run<F, Fut>(provider: Provider, test: &str, needs: &[Need], body: F) -> Result<()>
where
    F: FnOnce(Cluster) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let cluster = match Cluster::start(provider, needs).await.context("start the cluster")? {
            Ok(cluster) => cluster,
            Err(reason) => {
                // This bypasses the test harness, which shows only the output of failed tests.
                let name = test.split_once("::").map_or(test, |(_, name)| name);
                writeln!(std::io::stderr(), "skipped: {name} on {provider:?}: {}", reason.0)?;
                return Ok(());
            }
        };
        let test = tokio::spawn(in_time(body(cluster.clone())));
        let outcome = test.await;
        let removed = cluster.remove_namespace().await;
        match outcome {
            Ok(outcome) => outcome.and(removed),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(failed) => Err(failed.into()),
            },
        }
    })
}

/// Ends a test that takes too long. The time to build crdctl, which a test may have to do first, does not count.
async fn in_time(test: impl Future<Output = Result<()>>) -> Result<()> {
    let begun = Instant::now();
    let mut test = pin!(test);
    loop {
        if let Ok(outcome) = timeout_at(begun + LIMIT + crdctl::build_time(), &mut test).await {
            return outcome;
        }
        ensure!(begun.elapsed() < LIMIT + crdctl::build_time(), "not done within {LIMIT:?}");
    }
}
