//! Who may do what, and what the refusals say.

use anyhow::Result;
use e2e::Cluster;

e2e::on_each_cluster! { forbidden }

async fn forbidden(cluster: Cluster) -> Result<()> {
    let reply = cluster.nobody().get("/api/v1/namespaces/default/configmaps").await?;
    reply.refused(
        403,
        "Forbidden",
        "configmaps is forbidden: User \"nobody\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"",
    )?;
    Ok(())
}
