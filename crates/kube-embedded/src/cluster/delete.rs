//! Deletes an object, for a client or a controller.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::admission_request::{AdmissionRequest, Operation, RequestOptions};
use super::commit::Committed;
use super::deletion::{DeleteOptions, before_delete};
use super::state::Cluster;
use super::target::Target;
use crate::resource::{PODS, to_json};
use crate::status::Status;
use crate::store::{Error, Object};
use crate::strategy::is_finished;
use crate::user::User;
use crate::warnings::Warnings;

/// The result of a deletion.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// It was removed; this was its last state.
    Gone(Vec<u8>),
    /// It is marked as deleted, and waits for its finalizers or its grace period.
    Marked(Vec<u8>),
}

/// How long webhooks may take for one deletion in all, as for a client's.
const PATIENCE: Duration = Duration::from_secs(34);

impl Cluster {
    /// Deletes an object as a controller of kube-controller-manager does, whose ServiceAccount is named: admission may refuse it.
    /// `is_collection`: as a part of the deletion of a collection, in which reviews do not name the object.
    pub(crate) async fn delete_as(
        &self,
        account: &str,
        target: Target<'_>,
        options: &DeleteOptions,
        is_collection: bool,
    ) -> Result<Deleted, Status> {
        if !self.asks_about_deletions() {
            return self.delete(target, options, None).await;
        }
        let request = AdmissionRequest {
            operation: Operation::Delete,
            user: &User::service_account("kube-system", account),
            resource: target.resource,
            subresource: "",
            namespace: target.namespace,
            name: if is_collection { "" } else { target.name },
            options: RequestOptions::Delete(options),
            dry_run: false,
            warnings: &Warnings::default(),
            deadline: Instant::now() + PATIENCE,
        };
        self.delete_for(target, options, Some(&request), false).await
    }

    /// Deletes an object, or marks it as deleted if something has to be done first. `request`: what admission sees of it; `None`
    /// if it was asked about another request of which this is a part.
    pub(crate) async fn delete(
        &self,
        target: Target<'_>,
        options: &DeleteOptions,
        request: Option<&AdmissionRequest<'_>>,
    ) -> Result<Deleted, Status> {
        self.delete_for(target, options, request, request.is_some()).await
    }

    /// `is_client`: whether somebody reads the answer, in the version of the resource.
    async fn delete_for(
        &self,
        target: Target<'_>,
        options: &DeleteOptions,
        request: Option<&AdmissionRequest<'_>>,
        is_client: bool,
    ) -> Result<Deleted, Status> {
        self.protect(target)?;
        consume_budget().await;
        let Target { resource, namespace, name } = target;
        let shown = async |stored: Arc<Object>, is_wanted: bool| match is_wanted {
            true => self.conversions.shown_one(resource, stored).await,
            false => Ok(stored),
        };
        loop {
            let stored = self.object(resource, namespace, name)?;
            let old = resource.value(&stored);
            options.check(resource, name, &old)?;
            let seen = shown(Arc::clone(&stored), request.is_some()).await?;
            if let Some(request) = request {
                let converted = (!Arc::ptr_eq(&seen, &stored)).then(|| resource.value(&seen));
                self.admit_delete(request, converted.as_ref().unwrap_or(&old)).await?;
            }
            let mut new = old.clone();
            before_delete(resource, &mut new, options, self.clock.now());
            let finished = is_finished(resource, &new);
            if options.dry_run {
                return Ok(match finished {
                    true => Deleted::Gone(resource.bytes(&seen).into_owned()),
                    false => Deleted::Marked(to_json(&self.conversions.converted(resource, new).await?)),
                });
            }
            if !finished && new == old && resource.is_stored_as_read(&stored, &old) {
                return Ok(Deleted::Marked(resource.bytes(&seen).into_owned()));
            }
            // Watchers of a Pod see that it stops before they see that it is gone.
            let committed = if finished && resource.stored_as() == PODS && new != old {
                self.commit_stop(target, stored.revision, &old, &new, is_client).await
            } else {
                self.commit_update(target, stored.revision, &old, &new)
            };
            match committed {
                Ok(Committed::Removed(event)) => {
                    let event = match is_client {
                        true => self.conversions.shown_event(resource, event).await?,
                        false => event,
                    };
                    return Ok(Deleted::Gone(resource.last(&event).into_owned()));
                }
                Ok(Committed::Stored(stored)) => {
                    let shown = shown(stored, is_client).await?;
                    return Ok(Deleted::Marked(resource.bytes(&shown).into_owned()));
                }
                Err(Error::TooLarge) => return Err(Status::too_large_to_store()),
                // It has changed in the meantime. The request applies to the new state too.
                Err(_) => {}
            }
        }
    }
}
