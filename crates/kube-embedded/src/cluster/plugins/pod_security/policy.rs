//! What the labels of a namespace demand: `k8s.io/pod-security-admission/api`.

use std::fmt;

use kube_validation::FieldError;
use serde_json::Value;

/// The start of the labels' names.
const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much is forbidden, from little to much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A minor version of Kubernetes, whose checks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32);

/// A level in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standard {
    pub(super) level: Level,
    pub(super) version: Version,
}

/// The standards of a namespace: what is refused, and what its users are warned of. What is only audited is not looked at,
/// because there is no audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: Standard,
    pub(super) warn: Standard,
}

impl Version {
    const LATEST: Self = Self(u32::MAX);

    fn parse(text: &str) -> Result<Self, &'static str> {
        const WHY: &str = "must be \"latest\" or \"v1.x\"";
        if text == "latest" {
            return Ok(Self::LATEST);
        }
        let minor = text.strip_prefix("v1.").filter(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()));
        let minor = minor.filter(|minor| *minor == "0" || !minor.starts_with('0'));
        minor.and_then(|minor| minor.parse().ok()).map(Self).ok_or(WHY)
    }
}

impl Level {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "privileged" => Ok(Self::Privileged),
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err("must be one of privileged, baseline, restricted"),
        }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        })?;
        match self.version {
            Version::LATEST => f.write_str(":latest"),
            Version(minor) => write!(f, ":v1.{minor}"),
        }
    }
}

impl Policy {
    /// The policy of a namespace, and what is wrong with its labels. Where one is wrong, `enforce` is strict and `warn` silent.
    pub(super) fn of(namespace: &Value) -> (Self, Vec<FieldError>) {
        let labels = &namespace["metadata"]["labels"];
        let mut errors = Vec::new();
        let mut of = |mode: &str, otherwise: Level| {
            let name = format!("{PREFIX}{mode}");
            let level = read(labels, &name, Level::parse, otherwise, &mut errors);
            let name = format!("{name}-version");
            let version = read(labels, &name, Version::parse, Version::LATEST, &mut errors);
            (level, version.map(|(version, _)| version))
        };
        let (enforce_level, enforce_version) = of("enforce", Level::Restricted);
        of("audit", Level::Privileged);
        let (warn_level, warn_version) = of("warn", Level::Privileged);
        let standard = |level: Option<(Level, bool)>, version: Option<Version>| Standard {
            level: level.map_or(Level::Privileged, |(level, _)| level),
            version: version.unwrap_or(Version::LATEST),
        };
        let enforce = standard(enforce_level, enforce_version);
        let mut warn = standard(warn_level, warn_version);
        // What is refused in a Pod is warned of in a Deployment.
        if warn_level.is_none() && enforce_level.is_some_and(|(level, valid)| valid && level > warn.level) {
            warn.level = enforce.level;
            warn.version = warn_version.unwrap_or(enforce.version);
        }
        (Self { enforce, warn }, errors)
    }
}

/// What a label says, or `otherwise` if it is wrong, and whether it is right. `None` if there is none.
fn read<T>(
    labels: &Value,
    name: &str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
    otherwise: T,
    errors: &mut Vec<FieldError>,
) -> Option<(T, bool)> {
    let text = labels.get(name)?.as_str()?;
    Some(match parse(text) {
        Ok(parsed) => (parsed, true),
        Err(why) => {
            errors.push(FieldError::invalid(format!("metadata.labels[{name}]"), &text.into(), why));
            (otherwise, false)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn policy(labels: &[(&str, &str)]) -> (String, String, Vec<String>) {
        let labels: Map<_, _> =
            labels.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).into())).collect();
        let (policy, errors) = Policy::of(&json!({"metadata": {"labels": labels}}));
        let fields = errors.into_iter().map(|error| error.field.replace(PREFIX, "")).collect();
        (policy.enforce.to_string(), policy.warn.to_string(), fields)
    }

    #[test]
    fn a_namespace_warns_of_what_it_refuses() {
        let is = |labels: &[(&str, &str)], enforce: &str, warn: &str| {
            assert_eq!(policy(labels), (enforce.to_owned(), warn.to_owned(), vec![]), "{labels:?}");
        };
        is(&[], "privileged:latest", "privileged:latest");
        is(&[("enforce", "baseline")], "baseline:latest", "baseline:latest");
        is(&[("enforce", "baseline"), ("enforce-version", "v1.20")], "baseline:v1.20", "baseline:v1.20");
        is(&[("enforce", "baseline"), ("warn", "privileged")], "baseline:latest", "privileged:latest");
        is(&[("warn", "restricted"), ("warn-version", "v1.0")], "privileged:latest", "restricted:v1.0");
    }

    #[test]
    fn wrong_labels_are_strict_in_what_they_refuse() {
        let (enforce, warn, errors) = policy(&[
            ("enforce", "x"),
            ("enforce-version", "1.20"),
            ("warn", "y"),
            ("audit-version", "v1.01"),
        ]);
        assert_eq!((enforce.as_str(), warn.as_str()), ("restricted:latest", "privileged:latest"));
        let fields = ["enforce", "enforce-version", "audit-version", "warn"];
        assert_eq!(errors, fields.map(|label| format!("metadata.labels[{label}]")));
    }
}
