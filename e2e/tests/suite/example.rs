use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, WatchParams};
use kube_embedded::faults::{Fault, Verb};

#[tokio::test]
async fn a_watch_is_reset() {
    let server = kube_embedded::Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let reset = server.faults().on(Verb::Watch, "configmaps").times(1).inject(Fault::ResetAfter(0));
    assert!(maps.watch(&WatchParams::default(), "0").await.unwrap().boxed().try_next().await.is_err());
    assert_eq!(reset.hits(), 1);
}
