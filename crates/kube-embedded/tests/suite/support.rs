//! What the modules share.

use std::time::Duration;

use kube::config::Kubeconfig;
use kube::{Client, Config};

/// How long anything may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for a future, and panics if it does not resolve in time.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

/// The HTTP status of an error response.
pub(crate) fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

/// Connects with a kubeconfig.
#[cfg(feature = "listen")]
pub(crate) async fn client(kubeconfig: Kubeconfig) -> Client {
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await;
    Client::try_from(config.expect("the kubeconfig is whole")).expect("its certificates are good")
}
