//! The plugin DefaultIngressClass: an Ingress without a class gets the default one.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::newest::newest;
use crate::resource::{INGRESS_CLASSES, INGRESSES};
use crate::status::Status;

/// Marks the default IngressClass.
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
/// Names the class of an old Ingress.
const CLASS: &str = "kubernetes.io/ingress.class";

/// Gives a new Ingress without a class the default class.
pub(super) fn set(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    ingress: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let has_class = !ingress["spec"]["ingressClassName"].is_null()
        || !ingress["metadata"]["annotations"][CLASS].is_null();
    if request.is_for(INGRESSES) && old.is_none() && !has_class {
        let is_default = |class: &Value| class["metadata"]["annotations"][IS_DEFAULT] == "true";
        if let Some(name) = newest(&cluster.store, INGRESS_CLASSES, is_default) {
            ingress["spec"]["ingressClassName"] = name.into();
        }
    }
    Ok(())
}
