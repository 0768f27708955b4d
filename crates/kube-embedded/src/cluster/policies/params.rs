//! The parameters that a binding gives to a policy: `CollectParams` of apiserver.

use kube_selectors::LabelSelector;
use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::configured::{Binding, ParamKind};

impl Cluster {
    /// The parameters with which a policy is evaluated, once with each; null stands for none. Without any, it is not evaluated.
    ///
    /// # Errors
    /// Fails if there are none although the binding denies that, or if they cannot be looked up.
    pub(super) async fn params(
        &self,
        kind: Option<&ParamKind>,
        binding: &Binding,
        request: &AdmissionRequest<'_>,
        with_types: bool,
    ) -> Result<Vec<Value>, String> {
        let reference = &binding.param_ref;
        let Some(kind) = kind.filter(|_| reference.is_object()) else { return Ok(vec![Value::Null]) };
        let scheme = self.scheme();
        let resource = scheme.by_kind(&kind.api_version, &kind.kind).ok_or_else(|| kind.unknown())?;
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let namespace = match (resource.namespaced, text("namespace"), request.namespace()) {
            (false, "", _) => "",
            (false, _, _) => {
                return Err(
                    "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()
                );
            }
            (true, "", "") => {
                let why =
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
                return Err(why.to_owned());
            }
            (true, "", own) => own,
            (true, given, _) => given,
        };
        let found = match text("name") {
            "" => {
                let selector = LabelSelector::from_object(&reference["selector"]);
                let selector = selector.map_err(|error| error.to_string())?;
                let prefix = if resource.namespaced { format!("{namespace}/") } else { String::new() };
                let all = self.store.all(&resource.collection, &prefix);
                all.into_iter().filter(|object| selector.matches(&object.labels())).collect()
            }
            name => {
                let found = self.store.get(&resource.collection, &resource.key(namespace, name));
                found.into_iter().collect::<Vec<_>>()
            }
        };
        if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
        }
        let shown = self.conversions.shown(resource, found).await.map_err(|error| error.message)?;
        let params = shown.iter().map(|object| {
            let mut param = resource.value(object);
            resource.set_type(&mut param);
            if !with_types
                && resource.custom.is_none()
                && let Some(members) = param.as_object_mut()
            {
                members.retain(|member, _| !matches!(member.as_str(), "apiVersion" | "kind"));
            }
            param
        });
        Ok(params.collect())
    }
}

impl ParamKind {
    /// The error if it is not served.
    pub(super) fn unknown(&self) -> String {
        let Self { api_version, kind } = self;
        format!("failed to find resource referenced by paramKind: '{api_version}, Kind={kind}'")
    }
}
