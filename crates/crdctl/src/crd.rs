//! `crdctl crd`: the Blog CustomResourceDefinition, here and in a cluster.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use blog_api::Blog;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, CustomResourceExt,
    api::{Patch, PatchParams},
    core::{DynamicObject, discovery::ApiResource},
    runtime::wait::{await_condition, conditions},
};
use serde_json::{Value, json};
use similar::TextDiff;

#[cfg(feature = "server")]
use crate::validate;
use crate::{
    cli::{Cluster, CrdCommand},
    connection::Connection,
    explain,
    stdio::print,
};

/// The field manager that owns the fields crdctl applies.
const FIELD_MANAGER: &str = "crdctl";
/// How long a new CRD may take to be established.
const ESTABLISHED_LIMIT: Duration = Duration::from_secs(30);

/// Runs `crdctl crd`.
pub(crate) async fn run(cluster: &Cluster, command: CrdCommand) -> Result<ExitCode> {
    match command {
        CrdCommand::Print => {
            let yaml = serde_saphyr::to_string(&Blog::crd()).context("writing the CRD as YAML")?;
            print(&yaml)
        }
        CrdCommand::Install { force_conflicts } => {
            let connection = Connection::new(cluster)?;
            install(&connection, force_conflicts).await?;
            print(&format!(
                "customresourcedefinition.apiextensions.k8s.io/{} established\n",
                Blog::crd_name()
            ))
        }
        CrdCommand::Check => check(&Connection::new(cluster)?).await,
        #[cfg(feature = "server")]
        CrdCommand::Validate { files } => validate::run(&files).await,
    }
}

/// Applies the CRD and waits until the server serves it.
pub(crate) async fn install(connection: &Connection, force: bool) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(connection.client.clone());
    let name = Blog::crd_name();
    let params = PatchParams { force, ..PatchParams::apply(FIELD_MANAGER) };
    let action = format!("install {name}");
    connection.ask(&action, crds.patch(name, &params, &Patch::Apply(Blog::crd()))).await?;
    let established = await_condition(crds, name, conditions::is_crd_established());
    tokio::select! {
        established = established => {
            let explained = |error| explain::request(&connection.server, &format!("wait for {name}"), &error);
            established.map(|_| ()).map_err(explained)
        }
        () = connection.spent(ESTABLISHED_LIMIT) => bail!(
            "{name} was applied, but is not established after {ESTABLISHED_LIMIT:?}; `kubectl describe crd {name}` shows why"
        ),
    }
}

/// Compares the cluster's CRD with ours. If they differ, prints a diff and fails.
async fn check(connection: &Connection) -> Result<ExitCode> {
    let name = Blog::crd_name();
    let crds: Api<DynamicObject> =
        Api::all_with(connection.client.clone(), &ApiResource::erase::<CustomResourceDefinition>(&()));
    let Some(theirs) = connection.ask(&format!("read {name}"), crds.get_opt(name)).await? else {
        bail!("{name} is not installed in {}; `crdctl crd install` installs it", connection.server)
    };
    let ours = serde_json::to_value(Blog::crd()).context("writing the CRD as JSON")?;
    let (theirs, ours) = (comparable(&theirs.data["spec"])?, comparable(&ours["spec"])?);
    if theirs == ours {
        return print(&format!("{name} matches the CRD of this crdctl\n"));
    }
    let diff = TextDiff::from_lines(&theirs, &ours);
    print(&diff.unified_diff().header("in the cluster", "in crdctl").to_string())?;
    bail!("{name} in {} differs from crdctl's; `crdctl crd install` updates it", connection.server)
}

/// Writes a CRD's spec as YAML, with the defaults that the API server fills in (apiextensions' `v1/defaults.go`), so that
/// only real differences show.
fn comparable(spec: &Value) -> Result<String> {
    let mut spec = spec.clone();
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    let default = |place: &mut Value, value: Value| {
        if place.is_null() {
            *place = value;
        }
    };
    default(&mut spec["names"]["listKind"], json!(format!("{kind}List")));
    default(&mut spec["names"]["singular"], json!(kind.to_lowercase()));
    default(&mut spec["conversion"], json!({"strategy": "None"}));
    serde_saphyr::to_string(&spec).context("writing a CRD as YAML")
}
