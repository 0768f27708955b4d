//! The answer of a webhook: `VerifyAdmissionResponse` of apiserver.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kube_validation::go::json_type;
use serde_json::Value;

use super::review::{check_exact_type, check_type, parse};

/// A valid answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// The operations of a JSON patch, undecoded. Empty: none.
    pub(super) patch: Vec<u8>,
    pub(super) patch_type: String,
    pub(super) status: Value,
    pub(super) warnings: Vec<String>,
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not a review.
    Undecodable(String),
    /// It is one, but not the expected one.
    Invalid(String),
}

/// Reads the answer to the review with a uid.
pub(super) fn read(body: &[u8], version: &str, uid: &str, mutating: bool) -> Result<Answer, Wrong> {
    let review = parse(body).map_err(Wrong::Undecodable)?;
    let text = |field: &str| review.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let expected = format!("admission.k8s.io/{version}");
    check_type(api_version, kind, &expected, "AdmissionReview").map_err(Wrong::Undecodable)?;
    let response = match review.get("response") {
        None | Some(Value::Null) => None,
        Some(response) => Some(Response::decode(response).map_err(Wrong::Undecodable)?),
    };
    let response = response.ok_or_else(|| Wrong::Invalid("webhook response was absent".to_owned()))?;
    match version {
        // Neither its uid nor its type was ever verified.
        "v1beta1" => Ok(response.beta(mutating)),
        _ if response.uid != uid => {
            Err(Wrong::Invalid(format!("expected response.uid={uid:?}, got {:?}", response.uid)))
        }
        _ => check_exact_type(api_version, kind, &expected, "AdmissionReview")
            .and_then(|()| response.verified(mutating))
            .map_err(Wrong::Invalid),
    }
}

/// An `AdmissionResponse`, before it is verified.
#[derive(Default)]
struct Response {
    uid: String,
    /// Whether a patch type was given, even an empty one.
    patch_type: Option<String>,
    answer: Answer,
}

impl Response {
    fn decode(response: &Value) -> Result<Self, String> {
        let wrong = |field: &str, value: &Value, expected: &str| {
            let found = json_type(value);
            let dot = if field.is_empty() { "" } else { "." };
            format!(
                "json: cannot unmarshal {found} into Go struct field AdmissionResponse.response{dot}{field} of type {expected}"
            )
        };
        let Value::Object(members) = response else {
            let found = json_type(response);
            return Err(format!(
                "json: cannot unmarshal {found} into Go struct field AdmissionReview.response of type v1.AdmissionResponse"
            ));
        };
        let member = |field: &str| members.get(field).filter(|value| !value.is_null());
        let text = |field: &str, expected: &str| match member(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong(field, other, expected)),
        };
        let allowed = match member("allowed") {
            None => false,
            Some(Value::Bool(allowed)) => *allowed,
            Some(other) => return Err(wrong("allowed", other, "bool")),
        };
        let patch = text("patch", "[]uint8")?.unwrap_or_default();
        let patch = BASE64_STANDARD
            .decode(patch.replace(['\r', '\n'], ""))
            .map_err(|_| kube_builtin::base64_error(&patch))?;
        let status = match member("status") {
            None => Value::Null,
            Some(status @ Value::Object(_)) => status.clone(),
            Some(other) => return Err(wrong("status", other, "v1.Status")),
        };
        let mut warnings = Vec::new();
        match member("warnings") {
            None => {}
            Some(Value::Array(all)) => {
                for warning in all {
                    let text = warning.as_str().ok_or_else(|| wrong("warnings", warning, "string"))?;
                    warnings.push(text.to_owned());
                }
            }
            Some(other) => return Err(wrong("warnings", other, "[]string")),
        }
        Ok(Self {
            uid: text("uid", "types.UID")?.unwrap_or_default(),
            patch_type: text("patchType", "v1.PatchType")?,
            answer: Answer { allowed, patch, patch_type: String::new(), status, warnings },
        })
    }

    fn verified(self, mutating: bool) -> Result<Answer, String> {
        let Self { patch_type, mut answer, .. } = self;
        let problem = match (mutating, answer.patch.is_empty(), &patch_type) {
            (true, false, None) => "webhook returned response.patch but not response.patchType",
            (true, true, Some(_)) => "webhook returned response.patchType but not response.patch",
            (true, false, Some(kind)) if kind.is_empty() => {
                r#"webhook returned invalid response.patchType of """#
            }
            (false, false, _) => "validating webhook may not return response.patch",
            (false, true, Some(_)) => "validating webhook may not return response.patchType",
            _ => {
                answer.patch_type = patch_type.unwrap_or_default();
                return Ok(answer);
            }
        };
        Err(problem.to_owned())
    }

    fn beta(self, mutating: bool) -> Answer {
        let mut answer = self.answer;
        if !mutating {
            answer.patch.clear();
        }
        answer.patch_type = "JSONPatch".to_owned();
        answer
    }
}
