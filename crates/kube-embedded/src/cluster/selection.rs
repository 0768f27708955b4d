//! Which objects of a resource a request selects.

use kube_selectors::{FieldSelector, LabelSelector};
use serde_json::Value;

use crate::resource::Resource;
use crate::status::Status;
use crate::store::Object;

/// A label selector and a field selector, both of which must match.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// Parses a label selector and a field selector.
    pub(crate) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Status> {
        let refused = |error: kube_selectors::ParseError| Status::bad_request(error.to_string());
        let labels = LabelSelector::parse(labels).map_err(refused)?;
        let fields = FieldSelector::parse(fields).map_err(refused)?;
        let known = builtin_fields(&resource.group, &resource.kind);
        let unsupported = fields.fields().find(|field| {
            let selectable = match &resource.custom {
                Some(custom) => custom.selectable.iter().any(|it| it == field),
                None => known.contains(field),
            };
            !selectable && !matches!(*field, "metadata.name" | "metadata.namespace")
        });
        match unsupported {
            None => Ok(Self { labels, fields }),
            // Kinds without fields of their own have no conversion function, so the message is the default one.
            Some(field) if resource.custom.is_none() && known.is_empty() => {
                Err(Status::bad_request(format!(
                    "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                    kube_validation::go::quote(field)
                )))
            }
            Some(field) => Err(Status::bad_request(format!("field label not supported: {field}"))),
        }
    }

    /// Whether it selects everything.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The only name that it selects, if it requires one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// Whether it selects an object of a resource. Without field selectors, the object is not parsed.
    pub(crate) fn matches(&self, resource: &Resource, object: &Object) -> bool {
        if !self.labels.is_empty() && !self.labels.matches(&object.labels()) {
            return false;
        }
        if self.fields.is_empty() {
            return true;
        }
        let parsed = std::cell::OnceCell::new();
        self.fields.matches(|field| match field {
            "metadata.name" => Some(object.name().to_owned()),
            "metadata.namespace" => Some(object.namespace().to_owned()),
            other => {
                // An Event can be selected by the field names of both of its groups.
                let events = other.starts_with("regarding.") || other == "reportingController";
                let version = if events { "events.k8s.io/v1" } else { "v1" };
                let value = || {
                    let mut value = resource.value(object);
                    kube_builtin::convert(&mut value, version);
                    value
                };
                let value = parsed.get_or_init(value);
                match resource.custom {
                    Some(_) => text_at(value, other),
                    None => builtin_text(&resource.kind, value, other),
                }
            }
        })
    }
}

/// The text of a field such as `spec.nodeName`; numbers and booleans in their JSON form.
fn text_at(object: &Value, field: &str) -> Option<String> {
    match field.split('.').try_fold(object, |value, part| value.get(part))? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// The text by which a built-in kind is selected. Absent fields have Go's zero value, and some names differ from those
/// of the object.
fn builtin_text(kind: &str, object: &Value, field: &str) -> Option<String> {
    let or = |field: &str, zero: &str| Some(text_at(object, field).unwrap_or_else(|| zero.to_owned()));
    match (kind, field) {
        ("Node", "spec.unschedulable") | ("Pod", "spec.hostNetwork") => or(field, "false"),
        ("ReplicationController" | "ReplicaSet", "status.replicas") => or(field, "0"),
        ("Job", "status.successful") => or("status.succeeded", "0"),
        ("Event", "source") => text_at(object, "source.component")
            .filter(|component| !component.is_empty())
            .or_else(|| text_at(object, "reportingComponent")),
        _ => text_at(object, field),
    }
}

/// The fields by which a built-in kind can be selected, in addition to its name and namespace.
fn builtin_fields(group: &str, kind: &str) -> &'static [&'static str] {
    match kind {
        "Event" if group == "events.k8s.io" => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Node" => &["spec.unschedulable"],
        "Namespace" => &["status.phase"],
        "Secret" => &["type"],
        "Service" => &["spec.clusterIP", "spec.type"],
        "Job" => &["status.successful"],
        "ReplicationController" | "ReplicaSet" => &["status.replicas"],
        "CertificateSigningRequest" => &["spec.signerName"],
        _ => &[],
    }
}
