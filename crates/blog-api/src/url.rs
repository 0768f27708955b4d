//! The validation of a blog's URL, written twice: in CEL for the API server, in Rust for everybody else.
//! A property test keeps the two in agreement.

use thiserror::Error;

/// The maximum number of characters (Unicode scalar values) of a blog's URL.
pub const MAX_CHARS: usize = 2048;

/// The API server's message for a URL that [`CEL_RULE`] rejects.
pub(crate) const MESSAGE: &str = "must be an absolute http or https URL, such as https://example.com/blog";

/// `scheme://[user@]host[:port][/path][?query][#fragment]`, with no white space and no control characters.
///
/// It is a pattern rather than CEL's `isURL`, so that every language agrees on it, and a CEL rule rather than the schema's
/// `pattern`, whose message would be the pattern itself. The scheme's letters are listed in both cases because `(?i)` would
/// also accept the long s of `httpſ`.
pub(crate) const CEL_RULE: &str = concat!(
    r"self.matches(r'^[hH][tT][tT][pP][sS]?://([^\x00-\x20\x7f/?#@]*@)?",
    r"(\[[0-9a-fA-F:.]+\]|[^\x00-\x20\x7f/?#@:\[\]]+)(:[0-9]{1,5})?([/?#][^\x00-\x20\x7f]*)?$')"
);

/// The reason why a URL is not valid for a blog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidUrl {
    /// Longer than [`MAX_CHARS`].
    #[error("spec.url has {chars} characters, at most {MAX_CHARS} are allowed")]
    TooLong {
        /// The number of characters of the URL.
        chars: usize,
    },
    /// Empty, relative, malformed, or with a scheme other than http and https.
    #[error("spec.url {MESSAGE}")]
    NotAbsoluteHttp,
}

/// Checks a URL as the CRD's schema does.
pub(crate) fn validate(url: &str) -> Result<(), InvalidUrl> {
    let chars = url.chars().count();
    if chars > MAX_CHARS {
        return Err(InvalidUrl::TooLong { chars });
    }
    if is_absolute_http(url) { Ok(()) } else { Err(InvalidUrl::NotAbsoluteHttp) }
}

fn is_absolute_http(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    if !(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) {
        return false;
    }
    if rest.chars().any(|c| c.is_ascii_control() || c == ' ') {
        return false;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = match authority.split_once('@') {
        Some((_user, after)) => after,
        None => authority,
    };
    let (host_is_good, port) = match host_and_port.strip_prefix('[') {
        Some(literal) => {
            let Some((address, after)) = literal.split_once(']') else { return false };
            let hex = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
            (!address.is_empty() && address.chars().all(hex), after)
        }
        None => {
            let end = host_and_port.find(':').unwrap_or(host_and_port.len());
            let (host, after) = host_and_port.split_at(end);
            (!host.is_empty() && !host.contains(['@', '[', ']']), after)
        }
    };
    host_is_good && is_port(port)
}

/// Whether `port` is empty, or a colon and one to five digits.
fn is_port(port: &str) -> bool {
    match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_cel::{COST_LIMIT, Declaration, Environment, Origin, Program, Variables};
    use kube::CustomResourceExt;
    use proptest::prelude::*;

    use super::*;
    use crate::Blog;

    /// Validates a URL with the published CRD, as an API server would.
    fn schema_accepts(url: &str) -> bool {
        static RULE: std::sync::LazyLock<(Program, Declaration, u64)> = std::sync::LazyLock::new(|| {
            let crd = serde_json::to_value(Blog::crd()).unwrap();
            let field = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
                ["url"];
            let rule = field["x-kubernetes-validations"][0]["rule"].as_str().unwrap();
            let declaration = Declaration::from_openapi(field, false);
            let environment = Environment::kubernetes(37, Origin::New).with_variable("self", &declaration);
            let program = Program::compile(rule, &environment).unwrap();
            (program, declaration, field["maxLength"].as_u64().unwrap())
        });
        let (rule, declaration, max_length) = &*RULE;
        let value = serde_json::Value::from(url);
        let variables = Variables::new().with("self", &value, declaration);
        let accepts = || rule.evaluate(&variables, COST_LIMIT).result.unwrap().as_bool().unwrap();
        url.chars().count() as u64 <= *max_length && accepts()
    }

    fn check(url: &str, good: bool) {
        assert_eq!(validate(url).is_ok(), good, "Rust on {url:?}");
        assert_eq!(schema_accepts(url), good, "the schema on {url:?}");
    }

    #[test]
    fn absolute_http_urls_are_valid() {
        for url in [
            "http://a",
            "https://example.com/blog",
            "HTTPS://Example.com",
            "https://user:secret@example.com:8443/a?b=c#d",
            "https://example.com?q",
            "http://[::1]:80/",
            "https://münchen.example/über",
            "https://example.com/a@b:c",
        ] {
            check(url, true);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for url in [
            "",
            "http",
            "http:",
            "http://",
            "https:///path",
            "//example.com",
            "example.com",
            "/blog",
            "ftp://example.com",
            "javascript:alert(1)",
            "https://exa mple.com",
            " https://example.com",
            "https://example.com\n",
            "https://example.com:",
            "https://example.com:port",
            "https://example.com:123456",
            "https://@",
            "https://:80",
            "https://a@b@c",
            "http://[::1",
            "http://[]",
            "http://[::1]x",
            "http\u{17f}://example.com",
        ] {
            check(url, false);
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        let of = |chars: usize| format!("https://{}", "ü".repeat(chars - "https://".len()));
        check(&of(MAX_CHARS), true);
        check(&of(MAX_CHARS + 1), false);
        assert_eq!(validate(&of(MAX_CHARS + 1)), Err(InvalidUrl::TooLong { chars: MAX_CHARS + 1 }));
    }

    proptest! {
        #[test]
        fn rust_and_the_schema_agree(
            url in prop_oneof![
                any::<String>(),
                r"[hH]t{1,3}[pP][sSſ]?:?/{0,3}[a-z0-9:@/?#\[\]. \t\x00\x7f%ü-]{0,24}",
                r"https?://([a-z:@]{0,4}@)?(\[[0-9a-fg:.]{0,8}\]|[a-z.]{0,6})(:[0-9]{0,6})?([/?#].{0,6})?",
            ]
        ) {
            prop_assert_eq!(validate(&url).is_ok(), schema_accepts(&url), "{:?}", url);
        }
    }
}
