//! What client-go makes of the status code and the body of an answer.

use serde_json::Value;

/// How much of an answer in plain text is shown.
const SHOWN: usize = 2048;

/// The error for an answer with another status code than those of success: the message of the `Status` in its body, or a
/// text about its code. `is_text`: the body is plain text rather than JSON.
///
/// `NewGenericServerResponse` of `k8s.io/apimachinery/pkg/api/errors`, with client-go's `transformResponse`.
pub(super) fn error(code: u16, body: &[u8], is_text: bool) -> String {
    if let Ok(status) = serde_json::from_slice::<Value>(body)
        && status["kind"] == "Status"
        && status["apiVersion"] == "v1"
        && status["status"] != "Success"
    {
        return status["message"].as_str().unwrap_or("unknown").to_owned();
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    let message = if is_text { text.trim() } else { "unknown" };
    match code {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 | 406 => message.to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        409 => "the server reported a conflict".to_owned(),
        415 => "the body of the request was in an unknown format - accepted media types include: ".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the \
                request"
            .to_owned(),
        500.. => format!("an error on the server ({message:?}) has prevented the request from succeeding"),
        other => {
            format!("the server responded with the status code {other} but did not return more information")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::error;

    #[test]
    fn an_answer_says_what_went_wrong() {
        let status = br#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "too late"}"#;
        assert_eq!(error(500, status, false), "too late");
        let unknown = r#"an error on the server ("unknown") has prevented the request from succeeding"#;
        assert_eq!(error(500, b"oops", false), unknown);
        let shown = r#"an error on the server ("<p>no</p>") has prevented the request from succeeding"#;
        assert_eq!(error(502, b" <p>no</p>\n", true), shown);
        assert_eq!(error(404, b"", true), "the server could not find the requested resource");
        let other = "the server responded with the status code 418 but did not return more information";
        assert_eq!(error(418, b"", true), other);
    }
}
