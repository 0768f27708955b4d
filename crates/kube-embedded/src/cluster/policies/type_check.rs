//! Whether the expressions of a ValidatingAdmissionPolicy fit the types that it is about: the type checker of apiserver's
//! `pkg/admission/plugin/policy/validating`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_cel::{CompileError, Declaration, Environment, Origin, Program};
use serde_json::{Map, Value, json};

use super::super::state::Cluster;
use super::compiled::{declared, items};
use crate::resource::{CUSTOM_RESOURCE_DEFINITIONS, Resource};
use crate::scheme::Scheme;
use crate::strategy::expression::MINOR;
use crate::strategy::texts;

/// How many types of one rule are checked.
const TYPES_MAX: usize = 10;

/// A type, and an environment in which `object` has it.
struct Checked {
    name: String,
    environment: Environment,
}

impl Cluster {
    /// The `expressionWarnings` of a policy: how its expressions do not fit the types that its rules name. Rules with wildcards
    /// and types that are not served are passed over.
    pub(crate) fn type_warnings(&self, spec: &Value) -> Vec<Value> {
        let types: Vec<_> = self
            .types_of(spec)
            .into_values()
            .filter_map(|resource| self.environment_of(&resource, spec))
            .collect();
        let mut warnings = Vec::new();
        for (index, validation) in items(&spec["validations"]).iter().enumerate() {
            for field in ["expression", "messageExpression"] {
                let text = validation[field].as_str().unwrap_or_default();
                let problems: Vec<_> = types.iter().filter_map(|it| it.problem(text)).collect();
                if !text.is_empty() && !problems.is_empty() {
                    let path = format!("spec.validations[{index}].{field}");
                    warnings.push(json!({"fieldRef": path, "warning": problems.join("\n")}));
                }
            }
        }
        warnings
    }

    /// The types that a policy is about, by group, version and kind.
    fn types_of(&self, spec: &Value) -> BTreeMap<(String, String, String), Arc<Resource>> {
        let scheme = self.scheme();
        let mut types = BTreeMap::new();
        for rule in items(&spec["matchConstraints"]["resourceRules"]) {
            let named: Vec<_> = resources(&scheme, rule).into_iter().take(TYPES_MAX).collect();
            let is_full = named.len() == TYPES_MAX;
            for resource in named {
                let Resource { group, version, kind, .. } = &*resource;
                types.insert((group.clone(), version.clone(), kind.clone()), resource);
            }
            if is_full {
                break;
            }
        }
        types
    }

    /// `None` if the type has no schema.
    fn environment_of(&self, resource: &Resource, spec: &Value) -> Option<Checked> {
        let object = self.declaration(resource)?;
        let mut environment = Environment::policy(MINOR, Origin::Stored)
            .with_policy_variables()
            .with_variable("object", &object)
            .with_variable("oldObject", &object)
            // Here kube-apiserver has no `authorizer.requestResource`, and warns if it is used.
            .with_typed_variable("authorizer", "kubernetes.authorization.Authorizer")?;
        let param_kind = &spec["paramKind"];
        if param_kind.is_object() {
            let text = |field: &str| param_kind[field].as_str().unwrap_or_default();
            let scheme = self.scheme();
            let resource = scheme.by_kind(text("apiVersion"), text("kind"));
            environment = match resource.and_then(|resource| self.declaration(resource)) {
                Some(params) => environment.with_variable("params", &params),
                None => environment.with_params(),
            };
        }
        let (environment, _) = declared(environment, spec);
        let Resource { group, version, kind, .. } = resource;
        Some(Checked { name: format!("{group}/{version}, Kind={kind}"), environment })
    }

    /// The type of a resource's objects, from its OpenAPI schema.
    fn declaration(&self, resource: &Resource) -> Option<Declaration> {
        let Some(custom) = &resource.custom else {
            let name = kube_builtin::schemas::name(&resource.api_version(), &resource.kind)?;
            let mut definitions = Map::new();
            kube_builtin::schemas::expand(name, &mut definitions);
            return Declaration::from_definitions(name, &definitions, true).ok();
        };
        let definition = self.store.get(CUSTOM_RESOURCE_DEFINITIONS.collection(), &custom.definition)?;
        let mut definition = definition.value();
        let mut versions = definition["spec"]["versions"].as_array_mut()?.iter_mut();
        let version = versions.find(|version| version["name"] == resource.version.as_str())?;
        let mut schema = version["schema"]["openAPIV3Schema"].take();
        // As it is published.
        let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        for field in ["apiVersion", "kind"] {
            schema["properties"][field] = json!({"type": "string"});
        }
        schema["properties"]["metadata"] = json!({"$ref": metadata});
        let mut definitions = Map::new();
        kube_builtin::schemas::expand(metadata, &mut definitions);
        definitions.insert(resource.kind.clone(), schema);
        Declaration::from_definitions(&resource.kind, &definitions, true).ok()
    }
}

impl Checked {
    fn problem(&self, text: &str) -> Option<String> {
        match Program::compile(text, &self.environment) {
            Ok(_) | Err(CompileError::Instantiation(_)) => None,
            Err(error) => Some(format!("{}: {error}\n", self.name)),
        }
    }
}

/// The resources that a rule names. In the empty group, those of all groups that have the version.
fn resources(scheme: &Scheme, rule: &Value) -> Vec<Arc<Resource>> {
    let sorted = |field: &str| {
        let mut texts = texts(&rule[field]);
        texts.sort_unstable();
        texts
    };
    let (groups, versions, mut resources) = (sorted("apiGroups"), sorted("apiVersions"), sorted("resources"));
    if groups.iter().chain(&versions).any(|it| it.contains('*')) {
        return Vec::new();
    }
    resources.retain(|resource| !resource.contains(['*', '/']));
    let mut found = Vec::new();
    for group in &groups {
        let served = scheme.groups().iter().filter(|it| group.is_empty() || it.name == *group);
        let served: Vec<_> = served.flat_map(|group| &group.versions).collect();
        for version in &versions {
            for plural in &resources {
                let of_version = served.iter().filter(|it| it.name == *version);
                let all = of_version.flat_map(|it| &it.resources);
                found.extend(all.filter(|it| it.plural == *plural).cloned());
            }
        }
    }
    found
}
