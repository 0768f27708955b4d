//! All policies with their bindings, parsed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::super::criteria::Criteria;
use super::super::derived::Derived;
use super::compiled::Compiled;
use crate::resource::{GroupResource, VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS};
use crate::store::{Range, Store};
use crate::strategy::texts;

/// The policies as they are now, read again when one of them or a binding was written.
#[derive(Debug, Default)]
pub(crate) struct Policies(Derived<Vec<Policy>, 2>);

/// A ValidatingAdmissionPolicy.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) criteria: Criteria,
    pub(super) param_kind: Option<ParamKind>,
    /// `failurePolicy: Ignore`
    pub(super) ignores_failures: bool,
    /// By name.
    pub(super) bindings: Vec<Binding>,
    spec: Value,
    compiled: OnceLock<Compiled>,
}

/// The type of a policy's parameters.
#[derive(Clone, Debug)]
pub(super) struct ParamKind {
    pub(super) api_version: String,
    pub(super) kind: String,
}

/// A ValidatingAdmissionPolicyBinding.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    /// `None`: whatever the policy is about.
    pub(super) criteria: Option<Criteria>,
    /// `spec.paramRef`, or null.
    pub(super) param_ref: Value,
    pub(super) actions: Vec<String>,
}

impl Policies {
    /// The policies that have a binding as they are now, by name.
    pub(super) fn current(&self, store: &Store) -> Arc<Vec<Policy>> {
        let collections = [VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS];
        self.0.current(store, collections, || read(store))
    }
}

fn read(store: &Store) -> Vec<Policy> {
    let all = |of: GroupResource<'_>| {
        let page = store.list(of.collection(), Range::default(), None).unwrap_or_default();
        page.objects.into_iter().map(|object| (object.name().to_owned(), object.value()))
    };
    let mut bindings: BTreeMap<String, Vec<Binding>> = BTreeMap::new();
    for (name, binding) in all(VALIDATING_ADMISSION_POLICY_BINDINGS) {
        let policy = binding["spec"]["policyName"].as_str().unwrap_or_default().to_owned();
        bindings.entry(policy).or_default().push(Binding::parse(name, &binding["spec"]));
    }
    let bound = all(VALIDATING_ADMISSION_POLICIES).filter_map(|(name, mut policy)| {
        let bindings = bindings.remove(&name)?;
        Some(Policy::parse(name, policy["spec"].take(), bindings))
    });
    bound.collect()
}

impl Policy {
    fn parse(name: String, spec: Value, bindings: Vec<Binding>) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = &spec["paramKind"];
        let param_kind = kind
            .is_object()
            .then(|| ParamKind { api_version: text(&kind["apiVersion"]), kind: text(&kind["kind"]) });
        Self {
            name,
            criteria: Criteria::of_policy(&spec["matchConstraints"]),
            param_kind,
            ignores_failures: spec["failurePolicy"] == "Ignore",
            bindings,
            spec,
            compiled: OnceLock::new(),
        }
    }

    /// Its expressions, compiled when they are first needed.
    pub(super) fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| Compiled::new(&self.spec))
    }
}

impl Binding {
    fn parse(name: String, spec: &Value) -> Self {
        let resources = &spec["matchResources"];
        Self {
            name,
            criteria: resources.is_object().then(|| Criteria::of_policy(resources)),
            param_ref: spec["paramRef"].clone(),
            actions: texts(&spec["validationActions"]),
        }
    }
}
