//! Finds the resource type that a user means: `blogs`, `bl`, `Blog`, `blogs.web.helloworld`, `blogs.v1.web.helloworld`.
//!
//! The rules are kubectl's: `mappingFor` in cli-runtime's `resource/builder.go`, on top of apimachinery's
//! `DefaultRESTMapper` and client-go's shortcut expander. Resource names are matched in lower case, as plural, singular,
//! kind or short name; a group may be abbreviated to a prefix; of several matches, the first in the server's order of
//! groups and versions wins.

use anyhow::{Context as _, Result, bail};
use blog_api::Blog;
use kube::{
    CustomResourceExt,
    core::discovery::{
        ApiResource,
        v2::{APIGroupDiscovery, APIGroupDiscoveryList, APIVersionDiscovery},
    },
};

/// A part of the user's request: a resource type or category and, optionally, one object of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
}

impl Request {
    /// Parses what kubectl takes: `TYPE[,TYPE...]`, `TYPE[,TYPE...] NAME...` or `TYPE/NAME...`.
    pub(crate) fn parse(arguments: &[String]) -> Result<Vec<Self>, String> {
        const FORMS: &str = "a resource is written TYPE[,TYPE...], TYPE NAME... or TYPE/NAME...";
        let new = |resource: &str, name: Option<&str>| {
            let name = name.map(object_name).transpose()?;
            let resource = resource.to_owned();
            if resource.is_empty() || resource.contains('/') {
                Err(FORMS.to_owned())
            } else {
                Ok(Self { resource, name })
            }
        };
        let mut requests = Vec::new();
        if arguments.iter().any(|argument| argument.contains('/')) {
            for argument in arguments {
                let Some((resource, name)) = argument.split_once('/') else {
                    return Err(format!("`{argument}` names no object, but others do; {FORMS}"));
                };
                if resource.contains(',') {
                    return Err(FORMS.to_owned());
                }
                requests.push(new(resource, Some(name))?);
            }
        } else if let Some((resources, names)) = arguments.split_first() {
            for resource in resources.split(',') {
                if names.is_empty() {
                    requests.push(new(resource, None)?);
                }
                for name in names {
                    requests.push(new(resource, Some(name))?);
                }
            }
        }
        let mut unique: Vec<Self> = Vec::new();
        for request in requests {
            if !unique.contains(&request) {
                unique.push(request);
            }
        }
        Ok(unique)
    }
}

fn object_name(name: &str) -> Result<String, String> {
    // Characters that no object's name has (apimachinery's `ValidatePathSegmentName`), or that have a meaning in a selector.
    let odd = |c: char| c.is_control() || c.is_whitespace() || "%,=\\/".contains(c);
    if name.is_empty() || name.contains(odd) || [".", ".."].contains(&name) {
        return Err(format!("`{name}` cannot be the name of an object"));
    }
    Ok(name.to_owned())
}

/// Returns the path of a group and version: `/api/v1`, `/apis/apps/v1`.
pub(crate) fn group_version_path(api: &ApiResource) -> String {
    match api.group.as_str() {
        "" => format!("/api/{}", api.version),
        group => format!("/apis/{group}/{}", api.version),
    }
}

/// A resource type that the server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceType {
    pub(crate) api: ApiResource,
    pub(crate) namespaced: bool,
    singular: String,
    short_names: Vec<String>,
    categories: Vec<String>,
    verbs: Vec<String>,
}

impl ResourceType {
    /// The Events about other objects.
    pub(crate) fn events() -> Self {
        Self {
            api: ApiResource {
                group: String::new(),
                version: "v1".into(),
                api_version: "v1".into(),
                kind: "Event".into(),
                plural: "events".into(),
            },
            namespaced: true,
            singular: "event".into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            verbs: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(group: &str, version: &str, kind: &str) -> Self {
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let (group, version, kind) = (group.to_owned(), version.to_owned(), kind.to_owned());
        let singular = kind.to_lowercase();
        let api = ApiResource { group, version, api_version, kind, plural: format!("{singular}s") };
        Self { api, singular, ..Self::events() }
    }

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

    /// Returns its kind and its short names, such as `Blog (bl)`.
    pub(crate) fn summary(&self) -> String {
        match &self.short_names[..] {
            [] => self.api.kind.clone(),
            short => format!("{} ({})", self.api.kind, short.join(", ")),
        }
    }

    /// Returns a verb that a watch needs and the server does not allow.
    fn unwatchable(&self) -> Option<&'static str> {
        ["list", "watch"].into_iter().find(|verb| !self.verbs.iter().any(|have| have == verb))
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

    /// Returns the type that `asked` names, or the types of the category. Fails if there is none, or if it cannot be listed
    /// and watched.
    pub(crate) fn all_watchable(&self, asked: &str) -> Result<Vec<&ResourceType>> {
        let category = asked.to_lowercase();
        let is_in =
            |found: &&ResourceType| found.categories.contains(&category) && found.unwatchable().is_none();
        let mut types: Vec<&ResourceType> = Vec::new();
        if self.find(asked).is_none() {
            for found in self.types.iter().filter(is_in) {
                // A type is served in several versions; the first is preferred.
                let is_same = |known: &&ResourceType| {
                    (&known.api.group, &known.api.plural) == (&found.api.group, &found.api.plural)
                };
                if !types.iter().any(is_same) {
                    types.push(found);
                }
            }
        }
        if types.is_empty() { self.watchable(asked).map(|found| vec![found]) } else { Ok(types) }
    }

    /// Returns the type that `asked` names. Fails if there is none, or if it cannot be listed and watched.
    pub(crate) fn watchable(&self, asked: &str) -> Result<&ResourceType> {
        let found = self.get(asked)?;
        match found.unwatchable() {
            Some(verb) => bail!(
                "{} cannot be watched: the server does not allow {verb} on it",
                found.qualified_plural()
            ),
            None => Ok(found),
        }
    }

    /// Returns each type that can be listed and watched, with the shortest name that finds it: its plural, with its group
    /// if another type takes precedence. A type with several versions is returned once.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, &ResourceType)> {
        self.types.iter().filter(|t| t.unwatchable().is_none()).filter_map(|t| {
            let names = [t.api.plural.clone(), t.qualified_plural()];
            let finds = |name: &String| self.find(name).is_some_and(|found| found.api == t.api);
            Some((names.into_iter().find(finds)?, t))
        })
    }

    /// Returns the type that `asked` names. Fails if there is none.
    pub(crate) fn get(&self, asked: &str) -> Result<&ResourceType> {
        self.find(asked).with_context(|| {
            format!("the server doesn't have a resource type \"{asked}\"{}", self.advice(asked))
        })
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
            categories: resource.categories,
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
                "categories": if plural == "blogs" || plural == "configmaps" { vec!["all"] } else { vec![] },
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
    fn a_category_is_all_its_types() {
        let discovered = discovered();
        let all = discovered.all_watchable("all").unwrap();
        assert_eq!(
            all.iter().map(|t| t.qualified_plural()).collect::<Vec<_>>(),
            ["configmaps", "blogs.web.helloworld"]
        );
    }

    #[test]
    fn a_type_has_a_short_name_unless_it_is_ambiguous() {
        let discovered = discovered();
        let named: Vec<_> = discovered.named().map(|(name, t)| (name, t.summary())).collect();
        let want = [
            ("configmaps", "ConfigMap (cm)"),
            ("events", "Event (ev)"),
            ("events.events.k8s.io", "Event (ev)"),
            ("blogs", "Blog (bl)"),
        ];
        assert_eq!(named, want.map(|(name, summary)| (name.to_owned(), summary.to_owned())));
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
    fn resources_and_names_are_written_as_for_kubectl() {
        let parse = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
            let requests = Request::parse(&arguments)?;
            let shown = |request: &Request| match &request.name {
                Some(name) => format!("{}/{name}", request.resource),
                None => request.resource.clone(),
            };
            Ok::<_, String>(requests.iter().map(shown).collect::<Vec<_>>().join(" "))
        };
        for (arguments, requests) in [
            (&["blogs"][..], "blogs"),
            (&["blogs,cm"], "blogs cm"),
            (&["blog", "a"], "blog/a"),
            (&["blog", "a", "b", "a"], "blog/a blog/b"),
            (&["blogs,cm", "a"], "blogs/a cm/a"),
            (&["blog/a"], "blog/a"),
            (&["blog/a", "cm/b"], "blog/a cm/b"),
        ] {
            assert_eq!(parse(arguments).as_deref(), Ok(requests), "{arguments:?}");
        }
        for wrong in [
            &["blog/a", "b"][..],
            &["/a"],
            &["blog/"],
            &["a,"],
            &["a/b/c"],
            &["a,b/c"],
            &["a", ""],
            &["a", "b,c=d"],
            &["a", "ä ö"],
            &["a", ".."],
            &[""],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
