//! Plugins about certificates: CertificateApproval, CertificateSigning, ClusterTrustBundleAttest and
//! CertificateSubjectRestriction.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kube_validation::go::quote;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

use super::super::admission_request::AdmissionRequest;
use super::super::escalation::changes_only_what_collection_needs;
use super::super::state::Cluster;
use crate::resource::{CERTIFICATE_SIGNING_REQUESTS, CLUSTER_TRUST_BUNDLES};
use crate::status::Status;

/// The signer of certificates of clients of the API server.
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";
/// The group whose members may do everything.
const MASTERS: &str = "system:masters";

/// Refuses a decision about a request by a user who may not make it.
pub(super) fn approve(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    confirm_signer(cluster, request, "approval", new, old)
}

/// Refuses a certificate from a user who may not issue it.
pub(super) fn sign(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    confirm_signer(cluster, request, "status", new, old)
}

fn confirm_signer(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    subresource: &str,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    match old.filter(|_| request.subresource == subresource) {
        Some(old) => cluster.confirm_signer(request.user, request.target(), subresource, new, old),
        None => Ok(()),
    }
}

/// Refuses the trust bundle of a signer that the user may not speak for.
pub(super) fn attest(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    bundle: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let signer = bundle["spec"]["signerName"].as_str().unwrap_or_default();
    if request.resource.stored_as() != CLUSTER_TRUST_BUNDLES
        || signer.is_empty()
        || old.is_some_and(|old| changes_only_what_collection_needs(bundle, old))
        || cluster.may_use_signer(request.user, "attest", signer)
    {
        return Ok(());
    }
    Err(request.forbidden(bundle, &format!("user not permitted to attest for signerName {}", quote(signer))))
}

/// Refuses to request a certificate of a client that may do everything.
pub(super) fn restrict_subject(
    _: &Cluster,
    request: &AdmissionRequest<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let spec = &object["spec"];
    if !request.is_for(CERTIFICATE_SIGNING_REQUESTS) || old.is_some() || spec["signerName"] != CLIENTS {
        return Ok(());
    }
    let why = match organizations(spec["request"].as_str().unwrap_or_default()) {
        None => "failed to parse CSR: PEM block type must be CERTIFICATE REQUEST".to_owned(),
        Some(groups) if groups.iter().any(|group| group == MASTERS) => {
            format!("use of {CLIENTS} signer with {MASTERS} group is not allowed")
        }
        Some(_) => return Ok(()),
    };
    Err(request.forbidden(object, &why))
}

/// The organizations in the subject of a request, which are the groups of its user. `None` if it is not a request.
fn organizations(request: &str) -> Option<Vec<String>> {
    let pem = BASE64_STANDARD.decode(request).ok()?;
    let (_, pem) = parse_x509_pem(&pem).ok()?;
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).ok()?;
    let subject = &request.certification_request_info.subject;
    // What is not text is not the name of a group.
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok().map(str::to_owned));
    Some(groups.collect())
}
