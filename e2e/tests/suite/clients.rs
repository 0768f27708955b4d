//! Third-party clients: the scenarios of `e2e/go`, which define what each of them expects.

use anyhow::Result;
use e2e::Cluster;

use crate::widgets::widgets;

macro_rules! scenarios {
    ($($name:ident $scenario:literal [$($need:ident),+]),+ $(,)?) => {
        $(
            async fn $name(cluster: Cluster) -> Result<()> {
                widgets(&cluster).await?;
                cluster.go($scenario).await?.ok().map(drop)
            }
        )+
        e2e::on_each_cluster! { $($name [$($need),+]),+ }
    };
}

scenarios! {
    typed_informer "typed-informer" [Go, WatchLists],
    dynamic_informer "dynamic-informer" [Go, WatchLists],
    metadata_informer "metadata-informer" [Go, WatchLists],
    retry_watcher "retry-watcher" [Go, NoControllers],
    leader_election "leader-election" [Go],
    expired_lease "expired-lease" [Go],
    workloads "workloads" [Go, NoControllers],
    writes "writes" [Go, NoControllers],
    conflicts "conflicts" [Go],
    pager "pager" [Go],
    apply "apply" [Go, NoControllers],
    discovery "discovery" [Go],
    new_type "new-type" [Go],
    scale "scale" [Go, NoControllers],
    events "events" [Go],
    subresources "subresources" [Go, NoControllers],
    namespace_end "namespace-end" [Go, Controllers],
    controller "controller" [Go, Controllers],
    controller_leaders "controller-leaders" [Go],
    controller_client "controller-client" [Go],
}
