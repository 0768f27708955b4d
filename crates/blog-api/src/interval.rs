//! The validation of a blog's check interval, written twice: in CEL for the API server, in Rust for everybody else.
//! A property test keeps the two in agreement.

use std::time::Duration;

use thiserror::Error;

/// The interval of a blog that names none.
pub(crate) const DEFAULT: &str = "1m";

/// The shortest interval at which a blog may ask to be checked.
pub const MIN_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The longest interval at which a blog may ask to be checked.
pub const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The number of characters of the longest duration that [`CEL_RULE`] accepts. It bounds the cost of the rule.
pub(crate) const MAX_CHARS: usize = NUMBERS * (DIGITS + 1);

/// How many numbers with units a duration may have, and how many digits each of them.
const NUMBERS: usize = 3;
const DIGITS: usize = 5;

/// The API server's message for an interval that [`CEL_RULE`] rejects.
pub(crate) const MESSAGE: &str = "must be a duration from 5s to 24h, such as 30s, 5m or 1h30m";

/// One to three whole numbers with a unit, which are added up: durations as Go writes them, without signs, fractions and units
/// below a second. The pattern comes first, because `duration` fails on what is no duration, and `false && error` is `false`.
pub(crate) const CEL_RULE: &str = "self.matches(r'^([0-9]{1,5}[hms]){1,3}$') && \
                                   duration(self) >= duration('5s') && duration(self) <= duration('24h')";

/// The reason why a check interval is not valid: it is no such duration, or less than [`MIN_CHECK_INTERVAL`], or more than
/// [`MAX_CHECK_INTERVAL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("spec.checkInterval {MESSAGE}")]
pub struct InvalidCheckInterval;

/// Checks an interval as the CRD's schema does, and returns it.
pub(crate) fn parse(text: &str) -> Result<Duration, InvalidCheckInterval> {
    let interval = sum(text).map(Duration::from_secs);
    interval.filter(|it| (MIN_CHECK_INTERVAL..=MAX_CHECK_INTERVAL).contains(it)).ok_or(InvalidCheckInterval)
}

/// Returns the seconds of a text that the rule's pattern matches. They fit: each number has at most [`DIGITS`] digits.
fn sum(text: &str) -> Option<u64> {
    let mut seconds = 0;
    let mut rest = text;
    for number in 0.. {
        if rest.is_empty() && number > 0 {
            break;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit = match rest.as_bytes().get(digits)? {
            b'h' => 60 * 60,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        if digits > DIGITS || number >= NUMBERS {
            return None;
        }
        seconds += rest[..digits].parse::<u64>().ok()? * unit;
        rest = &rest[digits + 1..];
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use k8s_cel::{COST_LIMIT, Declaration, Environment, Origin, Program, Variables};
    use kube::CustomResourceExt;
    use proptest::prelude::*;

    use super::*;
    use crate::Blog;

    /// Validates an interval with the published CRD, as an API server would.
    fn schema_accepts(interval: &str) -> bool {
        static RULE: std::sync::LazyLock<(Program, Declaration, u64)> = std::sync::LazyLock::new(|| {
            let crd = serde_json::to_value(Blog::crd()).unwrap();
            let field = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
                ["checkInterval"];
            assert_eq!(field["default"], DEFAULT);
            let rule = field["x-kubernetes-validations"][0]["rule"].as_str().unwrap();
            let declaration = Declaration::from_openapi(field, false);
            let environment = Environment::kubernetes(37, Origin::New).with_variable("self", &declaration);
            let program = Program::compile(rule, &environment).unwrap();
            (program, declaration, field["maxLength"].as_u64().unwrap())
        });
        let (rule, declaration, max_length) = &*RULE;
        let value = serde_json::Value::from(interval);
        let variables = Variables::new().with("self", &value, declaration);
        let accepts = || rule.evaluate(&variables, COST_LIMIT).result.unwrap().as_bool().unwrap();
        interval.chars().count() as u64 <= *max_length && accepts()
    }

    #[test]
    fn an_interval_is_the_sum_of_its_parts() {
        for (text, seconds) in [
            ("5s", 5),
            ("30s", 30),
            (DEFAULT, 60),
            ("1h30m", 5400),
            ("1m30m", 1860),
            ("00005s", 5),
            ("23h59m60s", 86_400),
            ("24h", 86_400),
            ("86400s", 86_400),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert!(schema_accepts(text), "the schema on {text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "", "0", "5", "s", "4s", "0s", "-5s", "+5s", "5 s", "5s ", "5S", "1.5m", "500ms", "1d", "24h1s",
            "86401s", "000005s", "1m1m1m1m", "99999h", "5s\n", "٥s",
        ] {
            assert_eq!(parse(text), Err(InvalidCheckInterval), "{text:?}");
            assert!(!schema_accepts(text), "the schema on {text:?}");
        }
    }

    proptest! {
        #[test]
        fn rust_and_the_schema_agree(
            interval in prop_oneof![
                any::<String>(),
                r"([0-9]{0,6}[hms]){0,4}",
                r"[0-9]{1,3}[hms][0-9]{0,2}[hms. +-]?",
            ]
        ) {
            prop_assert_eq!(parse(&interval).is_ok(), schema_accepts(&interval), "{:?}", interval);
        }
    }
}
