//! A request for a resource, parsed.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use kube_tables::IncludeObject;
use tokio::time::Instant;

use super::holds::Holds;
use super::negotiate::Accept;
use super::query::{Query, WriteOptions};
use super::render::View;
use crate::cluster::{
    AdmissionRequest, Cluster, Operation, RequestInfo, RequestOptions, Target, Write, WriteMethod,
};
use crate::kubelet::Kubelet;
use crate::resource::Resource;
use crate::status::Status;
use crate::user::User;
use crate::warnings::Warnings;

/// A request for a served resource, by a user who is authorized to make it.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) user: &'a User,
    pub(super) method: &'a Method,
    pub(super) info: &'a RequestInfo,
    pub(super) query: &'a Query,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    pub(super) resource: &'a Arc<Resource>,
    pub(super) accept: &'a Accept,
    pub(super) holds: &'a Holds,
    pub(super) kubelet: &'a Kubelet,
    /// When a write ends at the latest.
    pub(super) deadline: Instant,
    /// The warnings of its answer.
    pub(super) warnings: &'a Warnings,
}

impl<'a> Request<'a> {
    /// How its objects are shown.
    pub(super) fn view(&self) -> Result<View<'a>, Status> {
        let include = IncludeObject::parse(self.query.get("includeObject"));
        Ok(View {
            resource: self.resource,
            accept: self.accept,
            include: include.map_err(|error| Status::bad_request(error.to_string()))?,
            now: self.cluster.clock.now(),
        })
    }

    /// The object that its path names.
    pub(super) fn target(&self) -> Target<'a> {
        Target { resource: self.resource, namespace: &self.info.namespace, name: &self.info.name }
    }

    /// The write that it requests.
    pub(super) fn write(&self, method: WriteMethod, options: &'a WriteOptions) -> Write<'a> {
        Write {
            user: self.user,
            method,
            resource: self.resource,
            namespace: &self.info.namespace,
            name: &self.info.name,
            subresource: &self.info.subresource,
            manager: self.manager(&options.manager),
            options: RequestOptions::Write {
                manager: &options.manager,
                validation: &options.given_validation,
            },
            dry_run: options.dry_run,
            deadline: self.deadline,
            warnings: self.warnings,
        }
    }

    /// What admission sees of it, if it is a POST to a subresource.
    pub(super) fn posted(&self, name: &'a str, options: &'a WriteOptions) -> AdmissionRequest<'a> {
        let given =
            RequestOptions::Write { manager: &options.manager, validation: &options.given_validation };
        self.admission(Operation::Create, name, given, options.dry_run)
    }

    /// What admission sees of it.
    pub(super) fn admission(
        &self,
        operation: Operation,
        name: &'a str,
        options: RequestOptions<'a>,
        dry_run: bool,
    ) -> AdmissionRequest<'a> {
        AdmissionRequest {
            operation,
            user: self.user,
            resource: self.resource,
            subresource: &self.info.subresource,
            namespace: &self.info.namespace,
            name,
            options,
            dry_run,
            warnings: self.warnings,
            deadline: self.deadline,
        }
    }

    /// `fieldManager`, or the part of the client's user agent before its version.
    fn manager(&self, given: &'a str) -> &'a str {
        if !given.is_empty() {
            return given;
        }
        let agent = self.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        agent.and_then(|agent| agent.split('/').next()).filter(|agent| !agent.is_empty()).unwrap_or("unknown")
    }
}
