//! Which permissions of some rules others cover: `k8s.io/component-helpers/auth/rbac/validation`.

use std::collections::{BTreeMap, BTreeSet};

use kube_validation::go::quote_all;

use super::rule::{Rule, has_or_all, path_covers};

/// How many single permissions are compared one by one. A rule is a product of its lists, so that a body of 3 MiB can
/// contain 10^16 of them.
const LIMIT: usize = 100_000;

/// A rule with one verb, and one resource with at most one name, or one path.
#[derive(Clone, Copy)]
enum Permission<'a> {
    Resource { verb: &'a str, group: &'a str, resource: &'a str, name: Option<&'a str> },
    Path { verb: &'a str, path: &'a str },
}

/// Permissions that are not covered, formatted as in kube-apiserver's message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Uncovered {
    Permissions(BTreeSet<String>),
    /// There are too many to compare.
    TooMany,
}

impl Rule {
    /// `ruleCovers` of `k8s.io/component-helpers/auth/rbac/validation`.
    fn covers(&self, permission: Permission<'_>) -> bool {
        match permission {
            Permission::Resource { verb, group, resource, name } => {
                has_or_all(&self.verbs, verb)
                    && has_or_all(&self.groups, group)
                    && self.has_name(name)
                    && self.has_resource(resource, subresource_of(resource))
            }
            Permission::Path { verb, path } => {
                has_or_all(&self.verbs, verb)
                    && self.names.is_empty()
                    && self.paths.iter().any(|own| path_covers(own, path))
            }
        }
    }

    /// Whether it covers all permissions of another rule. `false` does not mean that it covers none.
    fn covers_all(&self, other: &Self) -> bool {
        let names = match other.names.is_empty() || !other.paths.is_empty() {
            true => self.names.is_empty(),
            false => other.names.iter().all(|name| self.has_name(Some(name))),
        };
        names
            && other.verbs.iter().all(|verb| has_or_all(&self.verbs, verb))
            && other.groups.iter().all(|group| has_or_all(&self.groups, group))
            && other.resources.iter().all(|resource| self.has_resource(resource, subresource_of(resource)))
            && other.paths.iter().all(|path| self.paths.iter().any(|own| path_covers(own, path)))
    }

    /// `BreakdownRule` of `k8s.io/component-helpers/auth/rbac/validation`.
    fn permissions(&self) -> impl Iterator<Item = Permission<'_>> {
        let names = move || {
            let all = self.names.is_empty().then_some(None);
            all.into_iter().chain(self.names.iter().map(|name| Some(name.as_str())))
        };
        let of_resource = move |group, resource| {
            self.verbs.iter().flat_map(move |verb| {
                names().map(move |name| Permission::Resource { verb, group, resource, name })
            })
        };
        let resources = self.groups.iter().flat_map(move |group| {
            self.resources.iter().flat_map(move |resource| of_resource(group.as_str(), resource.as_str()))
        });
        let paths = self
            .paths
            .iter()
            .flat_map(|path| self.verbs.iter().map(move |verb| Permission::Path { verb, path }));
        resources.chain(paths)
    }
}

fn subresource_of(resource: &str) -> Option<&str> {
    resource.split_once('/').map(|(_, subresource)| subresource)
}

/// The rules that allow everything.
pub(super) fn full_authority() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), paths: all(), ..Rule::default() },
    ]
}

/// Checks that `owned` covers each permission of `wanted`: `Covers` of `k8s.io/component-helpers/auth/rbac/validation`.
///
/// # Errors
/// Fails with the permissions that are not covered, or if too many would have to be compared one by one. A rule that a
/// single one of `owned` covers need not be.
pub(super) fn covers(owned: &[&Rule], wanted: &[&[Rule]]) -> Result<(), Uncovered> {
    let mut compared = 0_usize;
    // The verbs by group, resource and name: kube-apiserver's `CompactRules`.
    let mut resources: BTreeMap<(&str, &str, Option<&str>), Vec<&str>> = BTreeMap::new();
    let mut uncovered = BTreeSet::new();
    for rule in wanted.iter().copied().flatten().filter(|rule| !owned.iter().any(|own| own.covers_all(rule)))
    {
        for permission in rule.permissions() {
            compared += 1;
            if compared > LIMIT {
                return Err(Uncovered::TooMany);
            }
            if owned.iter().any(|own| own.covers(permission)) {
                continue;
            }
            match permission {
                Permission::Resource { verb, group, resource, name } => {
                    resources.entry((group, resource, name)).or_default().push(verb);
                }
                Permission::Path { verb, path } => {
                    uncovered.insert(format!(
                        "{{NonResourceURLs:{}, Verbs:{}}}",
                        quote_all(&[path]),
                        quote_all(&[verb])
                    ));
                }
            }
        }
    }
    uncovered.extend(resources.iter().map(|((group, resource, name), verbs)| {
        let name = name.map(|name| format!(", ResourceNames:{}", quote_all(&[name]))).unwrap_or_default();
        format!(
            "{{APIGroups:{}, Resources:{}{name}, Verbs:{}}}",
            quote_all(&[group]),
            quote_all(&[resource]),
            quote_all(verbs)
        )
    }));
    if uncovered.is_empty() { Ok(()) } else { Err(Uncovered::Permissions(uncovered)) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rule(rule: &Value) -> Rule {
        Rule::parse_all(&json!([rule])).remove(0)
    }

    fn resource(groups: &[&str], resources: &[&str], names: &[&str], verbs: &[&str]) -> Rule {
        rule(&json!({"apiGroups": groups, "resources": resources, "resourceNames": names, "verbs": verbs}))
    }

    fn path(paths: &[&str], verbs: &[&str]) -> Rule {
        rule(&json!({"nonResourceURLs": paths, "verbs": verbs}))
    }

    fn missing(owned: &[Rule], wanted: &[Rule]) -> Vec<String> {
        match covers(&owned.iter().collect::<Vec<_>>(), &[wanted]) {
            Ok(()) => Vec::new(),
            Err(Uncovered::Permissions(missing)) => missing.into_iter().collect(),
            Err(Uncovered::TooMany) => vec!["too many".to_owned()],
        }
    }

    /// The cases of `policy_comparator_test.go`, in short.
    #[test]
    fn rules_cover_others_as_in_kubernetes() {
        let covered = [
            (resource(&["*"], &["*"], &[], &["*"]), resource(&["a"], &["b", "c/d"], &["e"], &["get"])),
            (
                resource(&[""], &["*/scale"], &[], &["get"]),
                resource(&[""], &["a/scale", "*/scale"], &[], &["get"]),
            ),
            (resource(&[""], &["a"], &["x", "y"], &["get"]), resource(&[""], &["a"], &["y"], &["get"])),
            (resource(&[""], &["a"], &[], &["get"]), resource(&[""], &["a"], &["y"], &["get"])),
            (path(&["/a/*"], &["*"]), path(&["/a/b", "/a/*", "/a/"], &["get"])),
            (path(&["*"], &["get"]), path(&["/", "*"], &["get"])),
            // Without a verb or a group, it allows nothing.
            (Rule::default(), resource(&[], &["a"], &[], &["get"])),
            (Rule::default(), resource(&[""], &["a"], &[], &[])),
        ];
        for (owned, wanted) in covered {
            assert_eq!(
                missing(std::slice::from_ref(&owned), std::slice::from_ref(&wanted)),
                [""; 0],
                "{owned:?} {wanted:?}"
            );
        }
        let uncovered = [
            (resource(&[""], &["a"], &[], &["get"]), resource(&[""], &["*"], &[], &["get"])),
            (resource(&[""], &["a"], &[], &["get"]), resource(&["*"], &["a"], &[], &["get"])),
            (resource(&[""], &["a"], &[], &["get"]), resource(&[""], &["a"], &[], &["*"])),
            (resource(&[""], &["a"], &[], &["get"]), resource(&[""], &["a/b"], &[], &["get"])),
            (resource(&[""], &["a/*"], &[], &["get"]), resource(&[""], &["a/b"], &[], &["get"])),
            (resource(&[""], &["a"], &["x"], &["get"]), resource(&[""], &["a"], &[], &["get"])),
            (resource(&[""], &["a"], &["x"], &["get"]), resource(&[""], &["a"], &["y"], &["get"])),
            (resource(&["*"], &["*"], &[], &["*"]), path(&["/a"], &["get"])),
            (path(&["/a/*"], &["*"]), path(&["/a"], &["get"])),
            (path(&["/a/*"], &["*"]), path(&["/*"], &["get"])),
        ];
        for (owned, wanted) in uncovered {
            assert_eq!(missing(std::slice::from_ref(&owned), &[wanted]).len(), 1, "{owned:?}");
        }
    }

    #[test]
    fn several_rules_cover_one_together() {
        let owned = [
            resource(&["", "apps"], &["a"], &[], &["get"]),
            resource(&["", "apps"], &["b"], &[], &["get", "list"]),
            resource(&[""], &["a"], &[], &["list"]),
        ];
        let wanted = [resource(&["", "apps"], &["a", "b"], &[], &["list", "get", "watch"])];
        let expected = [
            r#"{APIGroups:[""], Resources:["a"], Verbs:["watch"]}"#,
            r#"{APIGroups:[""], Resources:["b"], Verbs:["watch"]}"#,
            r#"{APIGroups:["apps"], Resources:["a"], Verbs:["list" "watch"]}"#,
            r#"{APIGroups:["apps"], Resources:["b"], Verbs:["watch"]}"#,
        ];
        assert_eq!(missing(&owned, &wanted), expected);
    }

    #[test]
    fn what_is_missing_is_described_as_by_kube_apiserver() {
        let wanted =
            [path(&["/a", "/b"], &["get", "put"]), resource(&["x"], &["y"], &["n", "m"], &["get", "put"])];
        let expected = [
            r#"{APIGroups:["x"], Resources:["y"], ResourceNames:["m"], Verbs:["get" "put"]}"#,
            r#"{APIGroups:["x"], Resources:["y"], ResourceNames:["n"], Verbs:["get" "put"]}"#,
            r#"{NonResourceURLs:["/a"], Verbs:["get"]}"#,
            r#"{NonResourceURLs:["/a"], Verbs:["put"]}"#,
            r#"{NonResourceURLs:["/b"], Verbs:["get"]}"#,
            r#"{NonResourceURLs:["/b"], Verbs:["put"]}"#,
        ];
        assert_eq!(missing(&[], &wanted), expected);
    }

    /// A thousand values in each of four lists are 10^12 permissions.
    #[test]
    fn a_large_product_is_not_multiplied_out() {
        let many: Vec<String> = (0..1000).map(|it| it.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let wanted = [resource(&many, &many, &many, &many)];
        assert_eq!(missing(&[], &wanted), ["too many"]);
        assert_eq!(missing(&[resource(&["*"], &["*"], &[], &["*"])], &wanted), [""; 0]);
    }
}
