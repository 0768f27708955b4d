//! Asks the server for its resource types.

use anyhow::Result;

use crate::{connection::Connection, resource::Discovered};

/// Reads the aggregated discovery.
pub(crate) async fn discover(connection: &Connection) -> Result<Discovered> {
    let action = "discover the resource types";
    let client = &connection.client;
    let core = connection.ask(action, client.list_core_api_versions_aggregated()).await?;
    let groups = connection.ask(action, client.list_api_groups_aggregated()).await?;
    Ok(Discovered::new(core, groups))
}
