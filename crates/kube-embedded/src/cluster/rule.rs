//! Rules of Roles and ClusterRoles, parsed.

use serde_json::{Map, Value};

use crate::strategy;

/// What a user wants to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// The path of a non-resource request; the fields about resources are then empty.
    pub(crate) path: Option<&'a str>,
}

/// A `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) verbs: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) resources: Vec<String>,
    /// `resourceNames`. Empty: all names.
    pub(super) names: Vec<String>,
    /// `nonResourceURLs`
    pub(super) paths: Vec<String>,
}

impl Rule {
    /// Parses the `rules` of a role. Values of other types than a rule has are ignored.
    pub(super) fn parse_all(rules: &Value) -> Vec<Self> {
        rules.as_array().into_iter().flatten().map(Self::parse).collect()
    }

    fn parse(rule: &Value) -> Self {
        let texts = |field: &str| strategy::texts(&rule[field]);
        Self {
            verbs: texts("verbs"),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            paths: texts("nonResourceURLs"),
        }
    }

    /// Its JSON form, without empty fields.
    pub(super) fn to_value(&self) -> Value {
        let fields = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ];
        let fields = fields.into_iter().filter(|(_, values)| !values.is_empty());
        Value::Object(
            fields.map(|(name, values)| (name.to_owned(), values.clone().into())).collect::<Map<_, _>>(),
        )
    }

    /// Whether it allows an action: `RuleAllows` of kube-apiserver's RBAC authorizer.
    pub(super) fn allows(&self, wanted: &Attributes<'_>) -> bool {
        if !has_or_all(&self.verbs, wanted.verb) {
            return false;
        }
        if let Some(wanted) = wanted.path {
            return self.paths.iter().any(|path| path_covers(path, wanted));
        }
        let resource = match wanted.subresource {
            "" => self.has_resource(wanted.resource, None),
            subresource => {
                self.has_resource(&format!("{}/{subresource}", wanted.resource), Some(subresource))
            }
        };
        resource && has_or_all(&self.groups, wanted.group) && self.has_name(Some(wanted.name))
    }

    /// Whether it applies to a resource, or a subresource of one (`pods/log`), which is also given by itself.
    pub(super) fn has_resource(&self, resource: &str, subresource: Option<&str>) -> bool {
        has_or_all(&self.resources, resource)
            || subresource.is_some_and(|subresource| has(&self.resources, &format!("*/{subresource}")))
    }

    /// Whether it covers a name, or all names.
    pub(super) fn has_name(&self, name: Option<&str>) -> bool {
        self.names.is_empty() || name.is_some_and(|name| has(&self.names, name))
    }
}

fn has(values: &[String], value: &str) -> bool {
    values.iter().any(|it| it == value)
}

pub(super) fn has_or_all(values: &[String], value: &str) -> bool {
    values.iter().any(|it| it == "*" || it == value)
}

pub(super) fn path_covers(own: &str, path: &str) -> bool {
    own == path || own.ends_with('*') && path.starts_with(own.trim_end_matches('*'))
}
