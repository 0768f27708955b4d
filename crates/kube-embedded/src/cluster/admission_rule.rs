//! Which requests the rules of webhooks and policies are about: `predicates/rules` of apiserver.

use serde_json::Value;

use crate::resource::{NAMESPACES, Resource};
use crate::strategy::texts;

/// A `RuleWithOperations`.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// `RESOURCE` or `RESOURCE/SUBRESOURCE`, either of which may be `*`.
    resources: Vec<String>,
    /// Empty: all names. Webhooks have none.
    names: Vec<String>,
    scope: Scope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    All,
    Cluster,
    Namespaced,
}

impl Rule {
    pub(crate) fn parse(rule: &Value) -> Self {
        Self {
            operations: texts(&rule["operations"]),
            groups: texts(&rule["apiGroups"]),
            versions: texts(&rule["apiVersions"]),
            resources: texts(&rule["resources"]),
            names: texts(&rule["resourceNames"]),
            scope: match rule["scope"].as_str() {
                Some("Cluster") => Scope::Cluster,
                Some("Namespaced") => Scope::Namespaced,
                _ => Scope::All,
            },
        }
    }

    /// Whether the rule is about an operation on an object of a resource.
    pub(crate) fn matches(
        &self,
        operation: &str,
        resource: &Resource,
        subresource: &str,
        name: &str,
    ) -> bool {
        let any = |items: &[String], wanted: &str| items.iter().any(|item| item == "*" || item == wanted);
        // A Namespace is not in a namespace, although requests for it name one.
        let in_namespace = resource.namespaced && resource.stored_as() != NAMESPACES;
        let in_scope = match self.scope {
            Scope::All => true,
            Scope::Cluster => !in_namespace,
            Scope::Namespaced => in_namespace,
        };
        in_scope
            && any(&self.operations, operation)
            && any(&self.groups, &resource.group)
            && any(&self.versions, &resource.version)
            && self.resources.iter().any(|item| is_about(item, &resource.plural, subresource))
            && (self.names.is_empty() || self.names.iter().any(|own| own == name))
    }
}

fn is_about(item: &str, plural: &str, subresource: &str) -> bool {
    let (item, sub) = item.split_once('/').unwrap_or((item, ""));
    (item == "*" || item == plural) && (sub == "*" || sub == subresource)
}

#[cfg(test)]
mod tests {
    use super::is_about;

    #[test]
    fn resources_and_subresources_are_named_or_all() {
        for (item, plural, subresource, expected) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/status", "pods", "status", true),
            ("pods/*", "pods", "", true),
            ("pods/*", "pods", "status", true),
            ("*", "pods", "", true),
            ("*", "pods", "status", false),
            ("*/*", "pods", "status", true),
            ("*/scale", "pods", "scale", true),
            ("*/scale", "pods", "", false),
        ] {
            assert_eq!(is_about(item, plural, subresource), expected, "{item} {plural}/{subresource}");
        }
    }
}
