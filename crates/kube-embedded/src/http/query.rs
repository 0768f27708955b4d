//! The options in a request's query: `ListOptions`, `CreateOptions` and similar types of meta/v1.

use std::time::Duration;

use kube_validation::FieldError;
use serde_json::Value;

use crate::status::Status;

/// A query, with decoded names and values.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// How to treat unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FieldValidation {
    Ignore,
    /// kube-apiserver's default.
    #[default]
    Warn,
    Strict,
}

impl FieldValidation {
    /// The warnings about fields that occur twice or are not known, or the error that `refuse` makes of them. `duplicates` are
    /// warnings, and `unknown` are quoted paths, as from [`normalize`](crate::strategy::normalize).
    pub(super) fn warnings(
        self,
        duplicates: Vec<String>,
        unknown: &[String],
        refuse: impl Fn(&str) -> Status,
    ) -> Result<Vec<String>, Status> {
        let mut problems = duplicates;
        problems.extend(unknown.iter().map(|path| format!("unknown field {path}")));
        match self {
            Self::Ignore => Ok(Vec::new()),
            Self::Strict if !problems.is_empty() => {
                Err(refuse(&format!("strict decoding error: {}", problems.join(", "))))
            }
            Self::Warn | Self::Strict => Ok(problems),
        }
    }
}

/// `resourceVersionMatch`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Exact,
    NotOlderThan,
}

/// Options of lists and watches.
#[derive(Clone, Debug, Default)]
pub(super) struct ListOptions {
    pub(super) labels: String,
    pub(super) fields: String,
    /// `None`: not set.
    pub(super) resource_version: Option<u64>,
    pub(super) version_match: Option<Match>,
    pub(super) limit: Option<usize>,
    pub(super) token: String,
    pub(super) watch: bool,
    pub(super) bookmarks: bool,
    pub(super) initial_events: Option<bool>,
    /// Zero, if it is negative.
    pub(super) timeout: Option<Duration>,
}

/// Options of creates, updates and patches.
#[derive(Clone, Debug, Default)]
pub(super) struct WriteOptions {
    pub(super) dry_run: bool,
    pub(super) manager: String,
    pub(super) validation: FieldValidation,
    /// `fieldValidation` as the client gave it. Empty: not at all.
    pub(super) given_validation: String,
    pub(super) force: bool,
}

impl Query {
    /// Parses the part of a URL after `?`. A parameter with a semicolon does not count, as in Go's `url.ParseQuery`: others may take
    /// it for a separator.
    pub(super) fn parse(query: Option<&str>) -> Self {
        let parameters = query.unwrap_or_default().split('&').filter(|parameter| !parameter.contains(';'));
        Self(parameters.flat_map(|it| form_urlencoded::parse(it.as_bytes()).into_owned()).collect())
    }

    /// The parameters as Go writes them: by name.
    pub(super) fn canonical(&self) -> String {
        // Go's escapes differ from those of forms in these two characters.
        let escape = |text: &str| {
            let escaped: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            escaped.replace('*', "%2A").replace("%7E", "~")
        };
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        let pairs = sorted.into_iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// The first value of a parameter, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// A boolean, as apimachinery parses it: true if present and neither `false` nor `0`.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let (_, value) = self.0.iter().find(|(it, _)| it == name)?;
        Some(!matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    /// Whether a watch is requested.
    pub(super) fn watch(&self) -> bool {
        self.flag("watch").unwrap_or(false)
    }

    /// `dryRun`, whose only value is `All`.
    pub(super) fn dry_run(&self, options: &str) -> Result<bool, Status> {
        let values: Vec<_> =
            self.0.iter().filter(|(name, _)| name == "dryRun").map(|(_, value)| value).collect();
        match &values[..] {
            [] => Ok(false),
            all if all.iter().all(|it| it.is_empty()) => Ok(false),
            [one] if one.as_str() == "All" => Ok(true),
            other => Err(invalid_dry_run(options, &Value::from_iter(other.iter().map(|it| it.as_str())))),
        }
    }

    /// Options of a list or a watch.
    pub(super) fn list_options(&self) -> Result<ListOptions, Status> {
        let text = |name| self.get(name).unwrap_or_default().to_owned();
        let watch = self.watch();
        let version = self.get("resourceVersion").map(resource_version).transpose();
        let version = version.map_err(|error| match watch {
            true => Status::internal(error),
            false => Status::bad_request(format!("invalid resource version: {error}")),
        })?;
        let asked_match = self.get("resourceVersionMatch");
        let version_match = match asked_match {
            Some("Exact") if !watch => Some(Match::Exact),
            Some("NotOlderThan") => Some(Match::NotOlderThan),
            _ => None,
        };
        let options = ListOptions {
            labels: text("labelSelector"),
            fields: text("fieldSelector"),
            resource_version: version,
            version_match,
            limit: self.int("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|it| *it > 0),
            token: text("continue"),
            watch,
            bookmarks: self.flag("allowWatchBookmarks").unwrap_or(false),
            initial_events: self.flag("sendInitialEvents"),
            timeout: self
                .int("timeoutSeconds")?
                .filter(|seconds| *seconds != 0)
                .map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
        };
        let errors = options.problems(asked_match);
        if errors.is_empty() { Ok(options) } else { Err(invalid_options("ListOptions", errors)) }
    }

    /// Options of a write. Errors name their kind.
    pub(super) fn write_options(&self, kind: &str) -> Result<WriteOptions, Status> {
        let mut errors = Vec::new();
        let manager = self.get("fieldManager").unwrap_or_default();
        if manager.len() > 128 {
            errors.push(FieldError::too_long("fieldManager", 128));
        }
        if let Some((at, odd)) = manager.char_indices().find(|(_, char)| char.is_control()) {
            let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(odd));
            errors.push(FieldError::invalid("fieldManager", &manager.into(), &detail));
        }
        let validation = match self.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", &other.into(), &supported));
                FieldValidation::Warn
            }
        };
        if !errors.is_empty() {
            return Err(invalid_options(kind, errors));
        }
        Ok(WriteOptions {
            dry_run: self.dry_run(kind)?,
            manager: manager.to_owned(),
            validation,
            given_validation: self.get("fieldValidation").unwrap_or_default().to_owned(),
            force: self.flag("force").unwrap_or(false),
        })
    }

    /// All values of a parameter, also empty ones.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// A number that may be absent, but not empty.
    pub(super) fn optional_int(&self, name: &str) -> Result<Option<i64>, Status> {
        let wrong = |text: &str| format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
        let parse = |text: &str| text.parse().map_err(|_| Status::bad_request(wrong(text)));
        self.all(name).next().map(parse).transpose()
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = |_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(wrong)
    }
}

impl ListOptions {
    /// Checks the rules of apimachinery's `ValidateListOptions`, in its order.
    fn problems(&self, asked_match: Option<&str>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut forbid = |when: bool, field: &str, why: &str| {
            if when {
                errors.push(FieldError::forbidden(field, why));
            }
        };
        let field = "resourceVersionMatch";
        let with_match = asked_match.is_some();
        let supported: &[&str] = if self.watch { &["NotOlderThan"] } else { &["Exact", "NotOlderThan", ""] };
        let unsupported = asked_match
            .filter(|asked| !supported.contains(asked))
            .map(|asked| FieldError::not_supported(field, &asked.into(), supported));
        let with_token = with_match && !self.token.is_empty();
        let token = "resourceVersionMatch is forbidden when continue is provided";
        if self.watch {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            forbid(self.initial_events.is_some() && self.version_match.is_none(), field, why);
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            forbid(with_match && self.initial_events.is_none(), field, why);
            errors.extend(unsupported);
            if with_token {
                errors.push(FieldError::forbidden(field, token));
            }
            return errors;
        }
        let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        forbid(with_match && self.resource_version.is_none(), field, why);
        forbid(with_token, field, token);
        errors.extend(unsupported);
        if self.version_match == Some(Match::Exact) && self.resource_version == Some(0) {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::forbidden(field, why));
        }
        if self.initial_events.is_some() {
            errors
                .push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        errors
    }
}

/// Parses a resourceVersion in a query. Errors have kube-apiserver's wording.
pub(super) fn resource_version(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        )
    })
}

/// 422 for options.
pub(super) fn invalid_options(kind: &str, errors: Vec<FieldError>) -> Status {
    Status::invalid("meta.k8s.io", kind, "", errors)
}

/// 422 for a `dryRun` that is not `All`.
pub(super) fn invalid_dry_run(kind: &str, value: &Value) -> Status {
    invalid_options(kind, vec![FieldError::not_supported("dryRun", value, &["All"])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_with_a_semicolon_does_not_count() {
        let query =
            Query::parse(Some("watch=1;&fieldSelector=metadata.name=a,metadata.uid!=;&limit=5&b=~*%20"));
        assert_eq!((query.get("fieldSelector"), query.watch()), (None, false));
        assert_eq!(query.canonical(), "b=~%2A+&limit=5");
    }
}
