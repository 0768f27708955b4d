//! Finds the resource type that a user means: `blogs`, `bl`, `Blog`, `blogs.web.helloworld`, `blogs.v1.web.helloworld`.
//!
//! The rules are kubectl's: `mappingFor` in cli-runtime's `resource/builder.go`, on top of apimachinery's
//! `DefaultRESTMapper` and client-go's shortcut expander. Resource names are matched in lower case, as plural, singular,
//! kind or short name; a group may be abbreviated to a prefix; of several matches, the first in the server's order of
//! groups and versions wins.

use anyhow::{Result, bail};
use blog_api::Blog;
use kube::{
    CustomResourceExt,
    core::discovery::{
        ApiResource,
        v2::{APIGroupDiscovery, APIGroupDiscoveryList, APIVersionDiscovery},
    },
};

/// The user's request: a resource type and, optionally, one object of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
}

impl Request {
    /// Parses `RESOURCE`, `RESOURCE NAME` or `RESOURCE/NAME`.
    pub(crate) fn parse(resource: &str, name: Option<&str>) -> Result<Self, String> {
        let (resource, name) = match (resource.split_once('/'), name) {
            (None, name) => (resource, name),
            (Some((resource, name)), None) => (resource, Some(name)),
            (Some(_), Some(name)) => {
                return Err(format!("`{resource}` names an object, and so does `{name}`"));
            }
        };
        if resource.is_empty() || name.is_some_and(|name| name.is_empty() || name.contains('/')) {
            return Err("a resource is written RESOURCE, RESOURCE NAME or RESOURCE/NAME".into());
        }
        // Characters that no object's name has (apimachinery's `ValidatePathSegmentName`), or that have a meaning in a
        // selector.
        let odd = |c: char| c.is_control() || c.is_whitespace() || "%,=\\".contains(c);
        if let Some(name) = name.filter(|name| name.contains(odd) || [".", ".."].contains(name)) {
            return Err(format!("`{name}` cannot be the name of an object"));
        }
        if resource.contains(',') {
            return Err(format!("`{resource}` names several resource types, but only one can be watched"));
        }
        Ok(Self { resource: resource.to_owned(), name: name.map(str::to_owned) })
    }
}

/// A resource type that the server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceType {
    pub(crate) api: ApiResource,
    pub(crate) namespaced: bool,
    singular: String,
    short_names: Vec<String>,
    verbs: Vec<String>,
}

impl ResourceType {
    /// Returns the type as kubectl prints it before an object's name: `blog.web.helloworld`, `pod`.
    pub(crate) fn qualified_singular(&self) -> String {
        let name =
            if self.singular.is_empty() { self.api.kind.to_lowercase() } else { self.singular.clone() };
        if self.api.group.is_empty() { name } else { format!("{name}.{}", self.api.group) }
    }

    /// Returns the plural name with its group: `blogs.web.helloworld`, `pods`.
    pub(crate) fn qualified_plural(&self) -> String {
        if self.api.group.is_empty() {
            self.api.plural.clone()
        } else {
            format!("{}.{}", self.api.plural, self.api.group)
        }
    }

    fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|have| have == verb)
    }
}

/// All resource types of a server, in its order of preference.
#[derive(Debug)]
pub(crate) struct Discovered {
    types: Vec<ResourceType>,
}

impl Discovered {
    /// Reads the aggregated discovery of `/api` and `/apis`.
    pub(crate) fn new(core: APIGroupDiscoveryList, groups: APIGroupDiscoveryList) -> Self {
        let types = core.items.into_iter().chain(groups.items).flat_map(types_of_group).collect();
        Self { types }
    }

    /// Returns the type that `asked` names. Fails if there is none, or if it cannot be listed and watched.
    pub(crate) fn watchable(&self, asked: &str) -> Result<&ResourceType> {
        let Some(found) = self.find(asked) else {
            bail!("the server doesn't have a resource type \"{asked}\"{}", self.advice(asked))
        };
        match ["list", "watch"].into_iter().find(|verb| !found.allows(verb)) {
            Some(verb) => bail!(
                "{} cannot be watched: the server does not allow {verb} on it",
                found.qualified_plural()
            ),
            None => Ok(found),
        }
    }

    fn find(&self, asked: &str) -> Option<&ResourceType> {
        // `blogs.v1.web.helloworld`, and `configmaps.v1.` with its empty group.
        if let [resource, version, group] = asked.splitn(3, '.').collect::<Vec<_>>()[..]
            && let Some(found) =
                self.first(|t| is_called(t, resource) && t.api.version == version && t.api.group == group)
        {
            return Some(found);
        }
        match asked.split_once('.') {
            None => self.first(|t| is_called(t, asked)),
            Some((resource, group)) => self
                .first(|t| is_called(t, resource) && t.api.group == group)
                .or_else(|| self.first(|t| is_called(t, resource) && t.api.group.starts_with(group))),
        }
    }

    fn first(&self, mut wanted: impl FnMut(&ResourceType) -> bool) -> Option<&ResourceType> {
        self.types.iter().find(|t| wanted(t))
    }

    /// Returns advice about a type that the server does not have.
    fn advice(&self, asked: &str) -> String {
        let resource = asked.split('.').next().unwrap_or(asked).to_lowercase();
        let distance = |name: &str| strsim::damerau_levenshtein(name, &resource);
        let close = |distance: &usize| *distance <= 1 + resource.len() / 4;
        let mut found: Vec<(usize, String)> = self
            .types
            .iter()
            .filter_map(|t| {
                let names = [&t.api.plural, &t.singular].into_iter().chain(&t.short_names);
                let distance = names.map(|name| distance(name)).min().filter(close)?;
                Some((distance, t.qualified_plural()))
            })
            .collect();
        found.sort();
        found.dedup_by(|a, b| a.1 == b.1);
        let blog = ["blogs", "blog", "bl"].map(distance).into_iter().min().filter(close);
        let has_blog = found.iter().any(|(_, name)| *name == Blog::crd_name());
        match (&found[..], blog) {
            (found, Some(blog)) if !has_blog && found.first().is_none_or(|(best, _)| blog <= *best) => {
                "; `crdctl crd install` installs Blog".into()
            }
            ([], _) => "; `kubectl api-resources` lists those that it has".into(),
            (found, _) => {
                let names: Vec<_> = found.iter().take(3).map(|(_, name)| name.as_str()).collect();
                format!("; did you mean {}?", names.join(" or "))
            }
        }
    }
}

fn is_called(t: &ResourceType, name: &str) -> bool {
    let name = name.to_lowercase();
    t.api.plural == name
        || t.singular == name
        || t.api.kind.to_lowercase() == name
        || t.short_names.contains(&name)
}

fn types_of_group(group: APIGroupDiscovery) -> impl Iterator<Item = ResourceType> {
    let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
    group.versions.into_iter().flat_map(move |version| types_of_version(&name, version))
}

fn types_of_version(group: &str, version: APIVersionDiscovery) -> Vec<ResourceType> {
    let version_name = version.version.unwrap_or_default();
    let api_version = if group.is_empty() { version_name.clone() } else { format!("{group}/{version_name}") };
    let type_of = |resource: kube::core::discovery::v2::APIResourceDiscovery| {
        Some(ResourceType {
            api: ApiResource {
                group: group.to_owned(),
                version: version_name.clone(),
                api_version: api_version.clone(),
                kind: resource.response_kind?.kind?,
                plural: resource.resource?,
            },
            namespaced: resource.scope.as_deref() == Some("Namespaced"),
            singular: resource.singular_resource.unwrap_or_default(),
            short_names: resource.short_names,
            verbs: resource.verbs,
        })
    };
    version.resources.into_iter().filter_map(type_of).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn discovered() -> Discovered {
        let resource = |plural: &str, kind: &str, short: &[&str], verbs: &[&str]| {
            json!({
                "resource": plural,
                "responseKind": {"group": "", "version": "", "kind": kind},
                "scope": "Namespaced",
                "singularResource": kind.to_lowercase(),
                "shortNames": short,
                "verbs": verbs,
            })
        };
        let all = ["get", "list", "watch"];
        let group = |name: &str, version: &str, resources: &[serde_json::Value]| json!({"metadata": {"name": name}, "versions": [{"version": version, "resources": resources}]});
        let list = |groups: &[serde_json::Value]| serde_json::from_value(json!({"items": groups})).unwrap();
        Discovered::new(
            list(&[group(
                "",
                "v1",
                &[
                    resource("configmaps", "ConfigMap", &["cm"], &all),
                    resource("events", "Event", &["ev"], &all),
                    resource("bindings", "Binding", &[], &["create"]),
                ],
            )]),
            list(&[
                group("events.k8s.io", "v1", &[resource("events", "Event", &["ev"], &all)]),
                group("web.helloworld", "v1", &[resource("blogs", "Blog", &["bl"], &all)]),
            ]),
        )
    }

    #[test]
    fn a_type_is_found_by_every_name_that_kubectl_accepts() {
        let discovered = discovered();
        for (asked, found) in [
            ("blogs", "blogs.web.helloworld"),
            ("blog", "blogs.web.helloworld"),
            ("bl", "blogs.web.helloworld"),
            ("Blog", "blogs.web.helloworld"),
            ("BLOGS", "blogs.web.helloworld"),
            ("blogs.web.helloworld", "blogs.web.helloworld"),
            ("blogs.web", "blogs.web.helloworld"),
            ("blogs.v1.web.helloworld", "blogs.web.helloworld"),
            ("Blog.v1.web.helloworld", "blogs.web.helloworld"),
            ("cm", "configmaps"),
            ("configmaps.v1.", "configmaps"),
            ("events", "events"),
            ("events.events.k8s.io", "events.events.k8s.io"),
            ("events.v1.events.k8s.io", "events.events.k8s.io"),
        ] {
            assert_eq!(discovered.watchable(asked).unwrap().qualified_plural(), found, "{asked}");
        }
    }

    #[test]
    fn similar_names_are_suggested_for_an_unknown_type() {
        let message = |asked| discovered().watchable(asked).unwrap_err().to_string();
        assert_eq!(
            message("configmap5"),
            "the server doesn't have a resource type \"configmap5\"; did you mean configmaps?"
        );
        assert_eq!(
            message("widgets"),
            "the server doesn't have a resource type \"widgets\"; `kubectl api-resources` lists those that it has"
        );
        assert!(message("blogs.v2.web.helloworld").ends_with("did you mean blogs.web.helloworld?"));
        assert!(message("blogs.web.hellowrld").ends_with("did you mean blogs.web.helloworld?"));

        let without = Discovered { types: Vec::new() };
        for asked in ["blogs", "blgs", "Blog", "blogs.v1.web.helloworld"] {
            let message = without.watchable(asked).unwrap_err().to_string();
            assert!(message.ends_with("`crdctl crd install` installs Blog"), "{message}");
        }
    }

    #[test]
    fn a_type_that_cannot_be_watched_is_refused() {
        let error = discovered().watchable("bindings").unwrap_err();
        assert_eq!(error.to_string(), "bindings cannot be watched: the server does not allow list on it");
    }

    #[test]
    fn an_object_is_named_after_a_slash_or_a_space() {
        let named =
            |resource: &str, name: &str| Request { resource: resource.into(), name: Some(name.into()) };
        assert_eq!(Request::parse("blog/a", None), Ok(named("blog", "a")));
        assert_eq!(Request::parse("blog", Some("a")), Ok(named("blog", "a")));
        for (resource, name) in [
            ("blog/a", Some("b")),
            ("/a", None),
            ("blog/", None),
            ("a,b", None),
            ("a/b/c", None),
            ("a", Some("b,c=d")),
            ("a", Some("ä ö")),
            ("a", Some("..")),
        ] {
            assert!(Request::parse(resource, name).is_err(), "{resource} {name:?}");
        }
    }
}
