//! Which requests a webhook or a policy is about: `matching` and the predicates of `k8s.io/apiserver/pkg/admission/plugin`.

use std::borrow::Cow;
use std::sync::Arc;

use kube_selectors::LabelSelector;
use serde_json::{Map, Value};

use super::admission_request::{AdmissionRequest, Operation};
use super::admission_rule::Rule;
use super::criteria::Criteria;
use super::state::Cluster;
use crate::resource::{NAMESPACES, Resource};
use crate::status::Status;

impl Cluster {
    /// The version of the request's resource that criteria are about, if they select the request.
    pub(super) fn matched(
        &self,
        criteria: &Criteria,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Option<Arc<Resource>>, Status> {
        let in_namespace = self.selects_namespace(criteria, request, object);
        if matches!(in_namespace, Ok(false)) {
            return Ok(None);
        }
        let selected = selects_object(criteria, object, old);
        if matches!(selected, Ok(false)) {
            return Ok(None);
        }
        if self.about(&criteria.excluded, criteria, request).is_some() {
            return Ok(None);
        }
        let resource = match criteria.rules.is_empty() && !criteria.needs_rule {
            true => Some(Arc::clone(request.resource)),
            false => self.about(&criteria.rules, criteria, request),
        };
        if resource.is_some() {
            in_namespace?;
            selected?;
        }
        Ok(resource)
    }

    /// The version of the request's resource that one of these rules is about.
    fn about(
        &self,
        rules: &[Rule],
        criteria: &Criteria,
        request: &AdmissionRequest<'_>,
    ) -> Option<Arc<Resource>> {
        let matches = |rule: &Rule, resource: &Resource| {
            rule.matches(request.operation.as_str(), resource, request.subresource, request.name)
        };
        if rules.iter().any(|rule| matches(rule, request.resource)) {
            return Some(Arc::clone(request.resource));
        }
        if rules.is_empty() || !criteria.equivalent {
            return None;
        }
        let others = self.scheme().versions_of(request.resource);
        let earliest = rules.iter().find_map(|rule| others.iter().find(|other| matches(rule, other)));
        earliest.cloned()
    }

    /// An object of a request as a webhook or a policy sees it that is about another version.
    pub(super) async fn seen_as<'a>(
        &self,
        resource: &Resource,
        request: &AdmissionRequest<'_>,
        object: Option<&'a Value>,
    ) -> Result<Option<Cow<'a, Value>>, Status> {
        let Some(object) = object else { return Ok(None) };
        if is_of_kind(resource, request) {
            return Ok(Some(Cow::Borrowed(object)));
        }
        let converted = self.conversions.converted(resource, object.clone()).await;
        converted
            .map(|object| Some(Cow::Owned(object)))
            .map_err(|error| Status::internal_error(error.message))
    }

    fn selects_namespace(
        &self,
        criteria: &Criteria,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
    ) -> Result<bool, Status> {
        let is_namespace = request.resource.stored_as() == NAMESPACES;
        let name = request.namespace();
        if name.is_empty() && !is_namespace {
            return Ok(true);
        }
        let selector = parsed(&criteria.namespaces)?;
        if selector.is_empty() {
            return Ok(true);
        }
        if is_namespace && request.subresource.is_empty() && request.operation != Operation::Delete {
            return Ok(selects(selector, object));
        }
        let namespace = self.store.get(NAMESPACES.collection(), name);
        let namespace = namespace.ok_or_else(|| Status::not_found("", "namespaces", name))?;
        Ok(selector.matches(&namespace.labels()))
    }
}

/// Whether the objects of a request are those of a resource as they are: of its version, or of a subresource whose type has
/// only one.
pub(super) fn is_of_kind(resource: &Resource, request: &AdmissionRequest<'_>) -> bool {
    resource.kind_of(request.subresource) == request.resource.kind_of(request.subresource)
}

/// Whether webhooks have no say: one that forbids its own change could not be removed.
pub(super) fn is_exempt(resource: &Resource) -> bool {
    is_exempt_from_policies(resource)
        || resource.group == "admissionregistration.k8s.io"
            && matches!(&*resource.kind, "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration")
}

/// Whether policies have no say. Webhooks they may restrict.
pub(super) fn is_exempt_from_policies(resource: &Resource) -> bool {
    resource.group == "admissionregistration.k8s.io"
        && matches!(
            &*resource.kind,
            "MutatingAdmissionPolicy"
                | "MutatingAdmissionPolicyBinding"
                | "ValidatingAdmissionPolicy"
                | "ValidatingAdmissionPolicyBinding"
        )
}

fn parsed(selector: &Result<LabelSelector, String>) -> Result<&LabelSelector, Status> {
    selector.as_ref().map_err(|why| Status::internal_error(why.clone()))
}

fn selects_object(criteria: &Criteria, object: Option<&Value>, old: Option<&Value>) -> Result<bool, Status> {
    let selector = parsed(&criteria.objects)?;
    Ok(selector.is_empty() || selects(selector, object) || selects(selector, old))
}

fn selects(selector: &LabelSelector, object: Option<&Value>) -> bool {
    let none = Map::new();
    object.is_some_and(|object| selector.matches(object["metadata"]["labels"].as_object().unwrap_or(&none)))
}
