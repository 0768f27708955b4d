//! The plugin OwnerReferencesPermissionEnforcement: whoever makes others wait for an object has to have a say in it.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::rule::Attributes;
use super::super::state::Cluster;
use crate::resource::PODS;
use crate::status::Status;
use crate::strategy::owner_references;

impl Cluster {
    /// Refuses new owner references by a user who may not delete the object, and those that keep an owner from being deleted
    /// by a user who may not set the owner's finalizers.
    pub(super) fn check_owner_references(
        &self,
        request: &AdmissionRequest<'_>,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        self.may_set_owners(request, new, old).map_err(|why| request.forbidden(new, &why))
    }

    fn may_set_owners(
        &self,
        request: &AdmissionRequest<'_>,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), String> {
        let AdmissionRequest { user, resource, subresource, namespace, name, .. } = *request;
        let (owners, before) = (owner_references(new), old.map_or(&[][..], owner_references));
        // The strategy keeps the owners of a Pod in an update of its status.
        if owners == before || resource.stored_as() == PODS && subresource == "status" {
            return Ok(());
        }
        let allows = |wanted: &Attributes<'_>| self.rbac.allows(&self.store, user, wanted);
        let (group, plural) = (resource.group.as_str(), resource.plural.as_str());
        // Whoever creates an object might as well not have done so.
        let delete =
            Attributes { verb: "delete", group, resource: plural, subresource, namespace, name, path: None };
        if old.is_some() && !allows(&delete) {
            return Err("cannot set an ownerRef on a resource you can't delete: , <nil>".to_owned());
        }
        let was_blocking = |owner: &Value| {
            before.iter().any(|old| old["uid"] == owner["uid"] && old["blockOwnerDeletion"] == true)
        };
        let blocking = owners.iter().filter(|it| it["blockOwnerDeletion"] == true && !was_blocking(it));
        let update = Attributes { verb: "update", subresource: "finalizers", ..Attributes::default() };
        let anything = Attributes { group: "*", resource: "*", name: "*", ..update };
        let mut blocking = blocking.peekable();
        if blocking.peek().is_none() || allows(&anything) {
            return Ok(());
        }
        let scheme = self.scheme();
        for owner in blocking {
            let text = |field: &str| owner[field].as_str().unwrap_or_default();
            let (api_version, kind) = (text("apiVersion"), text("kind"));
            let Some(owners) = scheme.by_kind(api_version, kind) else {
                return Err(format!(
                    "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {api_version} \
                     Kind {kind}: no matches for kind {kind:?} in version {api_version:?}"
                ));
            };
            let finalizers = Attributes {
                group: &owners.group,
                resource: &owners.plural,
                namespace: if owners.namespaced { namespace } else { "" },
                name: text("name"),
                ..update
            };
            if !allows(&finalizers) {
                return Err(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }
}
