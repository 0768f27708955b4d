//! What admission sees of a request: `Attributes` of `k8s.io/apiserver/pkg/admission`, without the objects.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::deletion::{DeleteOptions, Propagation};
use super::target::Target;
use crate::resource::{GroupResource, NAMESPACES, Resource};
use crate::status::Status;
use crate::user::User;
use crate::warnings::Warnings;

/// A request that wants to write an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdmissionRequest<'a> {
    pub(crate) operation: Operation,
    pub(crate) user: &'a User,
    pub(crate) resource: &'a Arc<Resource>,
    /// Empty: the object itself.
    pub(crate) subresource: &'a str,
    /// From the request's path. Empty for a cluster-scoped object.
    pub(crate) namespace: &'a str,
    /// Empty if it is generated, and in the deletion of a collection.
    pub(crate) name: &'a str,
    pub(crate) options: RequestOptions<'a>,
    pub(crate) dry_run: bool,
    pub(crate) warnings: &'a Warnings,
    /// When the client's patience ends.
    pub(crate) deadline: Instant,
}

/// What a request does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    /// To a process or the ports of a Pod.
    Connect,
}

/// The options of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestOptions<'a> {
    /// `CreateOptions`, `UpdateOptions` and `PatchOptions`, as the client gave them.
    Write {
        manager: &'a str,
        validation: &'a str,
    },
    Delete(&'a DeleteOptions),
    /// None: what a client wants to connect to is the object.
    Connect,
}

impl Operation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

impl AdmissionRequest<'_> {
    /// The namespace, which for a Namespace is its name.
    pub(crate) fn namespace(&self) -> &str {
        if self.resource.stored_as() == NAMESPACES { self.name } else { self.namespace }
    }

    /// The object that it is for.
    pub(super) fn target(&self) -> Target<'_> {
        Target { resource: self.resource, namespace: self.namespace, name: self.name }
    }

    /// The object that it is for, by the name for an error.
    pub(super) fn target_named<'b>(&'b self, object: &'b Value) -> Target<'b> {
        Target { name: self.name_of(object), ..self.target() }
    }

    /// Whether it is for a whole object of a resource, not for a subresource.
    pub(super) fn is_for(&self, resource: GroupResource<'_>) -> bool {
        self.subresource.is_empty() && self.resource.stored_as() == resource
    }

    /// The name for an error: that of the object, or what it will be generated from.
    pub(super) fn name_of<'b>(&'b self, object: &'b Value) -> &'b str {
        let metadata = &object["metadata"];
        let names = [Some(self.name), metadata["name"].as_str(), metadata["generateName"].as_str()];
        names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or("Unknown")
    }

    /// The error of a plugin that refuses the request.
    pub(super) fn forbidden(&self, object: &Value, why: &str) -> Status {
        Status::forbidden(&self.resource.group, &self.resource.plural, self.name_of(object), why)
    }

    /// The request as an `AdmissionRequest`, without its objects. `matched` is the resource that a rule is about, perhaps in another
    /// version.
    pub(super) fn to_value(self, matched: &Resource) -> Value {
        let kind = |resource: &Resource| {
            let (group, version, kind) = resource.kind_of(self.subresource);
            json!({"group": group, "version": version, "kind": kind})
        };
        let resource =
            |it: &Resource| json!({"group": it.group, "version": it.version, "resource": it.plural});
        let mut value = json!({
            "kind": kind(matched),
            "resource": resource(matched),
            "requestKind": kind(self.resource),
            "requestResource": resource(self.resource),
            "operation": self.operation.as_str(),
            "userInfo": self.user.info(),
            "dryRun": self.dry_run,
            "options": self.options(),
        });
        // Go omits these if they are empty.
        for (field, text) in [
            ("subResource", self.subresource),
            ("requestSubResource", self.subresource),
            ("name", self.name),
            ("namespace", self.namespace()),
        ] {
            if !text.is_empty() {
                value[field] = text.into();
            }
        }
        value
    }

    /// The options as an object. Null: none.
    pub(crate) fn options(&self) -> Value {
        let kind = match self.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
            Operation::Connect => return Value::Null,
        };
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        match self.options {
            RequestOptions::Write { manager, validation } => {
                for (name, given) in [("fieldManager", manager), ("fieldValidation", validation)] {
                    if !given.is_empty() {
                        options[name] = given.into();
                    }
                }
            }
            RequestOptions::Delete(given) => set_delete_options(&mut options, given),
            RequestOptions::Connect => {}
        }
        options
    }
}

fn set_delete_options(options: &mut Value, given: &DeleteOptions) {
    if let Some(seconds) = given.grace {
        options["gracePeriodSeconds"] = seconds.into();
    }
    match given.propagation {
        Propagation::Collected | Propagation::Unset => {}
        Propagation::Background => options["propagationPolicy"] = "Background".into(),
        Propagation::Foreground => options["propagationPolicy"] = "Foreground".into(),
        Propagation::Orphan => options["propagationPolicy"] = "Orphan".into(),
    }
    for (name, value) in [("uid", &given.uid), ("resourceVersion", &given.resource_version)] {
        if let Some(value) = value {
            options["preconditions"][name] = value.clone().into();
        }
    }
}
