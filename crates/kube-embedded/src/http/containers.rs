//! Which container of a Pod a request is for, and whether it has a node: `LogLocation` and its siblings of kubernetes'
//! `pkg/registry/core/pod`.

use serde_json::Value;

use super::request::Request;
use crate::status::Status;

/// The Pod of a request for a subresource.
pub(super) struct Located {
    pod: Value,
}

impl Located {
    /// Finds the Pod.
    ///
    /// # Errors
    /// Fails with 404 if there is none.
    pub(super) fn of(request: Request<'_>) -> Result<Self, Status> {
        let info = request.info;
        let pod = request.cluster.object(request.resource, &info.namespace, &info.name)?;
        Ok(Self { pod: pod.value() })
    }

    /// The name of a container, which a Pod with only one does not need.
    ///
    /// # Errors
    /// Fails with 400 if there is no such container, or if several could be meant.
    pub(super) fn container(&self, asked: &str) -> Result<String, Status> {
        let pod = self.name();
        let names = |field: &str| {
            let containers = self.pod["spec"][field].as_array();
            containers.into_iter().flatten().filter_map(|it| it["name"].as_str())
        };
        let all: Vec<&str> =
            ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(names).collect();
        if !asked.is_empty() {
            return match all.contains(&asked) {
                true => Ok(asked.to_owned()),
                false => Err(Status::bad_request(format!("container {asked} is not valid for pod {pod}"))),
            };
        }
        let mut own = names("containers");
        match (own.next(), own.next()) {
            (Some(only), None) => Ok(only.to_owned()),
            _ => Err(Status::bad_request(format!(
                "a container name must be specified for pod {pod}, choose one of: [{}]",
                all.join(" ")
            ))),
        }
    }

    /// Whether the Pod is assigned to a node.
    pub(super) fn has_host(&self) -> bool {
        self.pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty())
    }

    /// The error for a Pod that is not.
    pub(super) fn no_host(&self) -> Status {
        Status::bad_request(format!("pod {} does not have a host assigned", self.name()))
    }

    fn name(&self) -> &str {
        self.pod["metadata"]["name"].as_str().unwrap_or_default()
    }
}
