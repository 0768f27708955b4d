//! All policies with their bindings, parsed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::super::criteria::Criteria;
use super::super::derived::Derived;
use super::compiled::Evaluator;
use super::mutator::Mutator;
use super::validator::Validator;
use crate::resource::{
    GroupResource, MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS,
    VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS,
};
use crate::store::Store;
use crate::strategy::texts;

/// The policies as they are now, read again when one of their kind or a binding was written.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    validating: Derived<Vec<Policy<Validator>>, 2>,
    mutating: Derived<Vec<Policy<Mutator>>, 2>,
}

/// A ValidatingAdmissionPolicy or MutatingAdmissionPolicy.
#[derive(Debug)]
pub(super) struct Policy<E> {
    pub(super) name: String,
    pub(super) criteria: Criteria,
    pub(super) param_kind: Option<ParamKind>,
    /// `failurePolicy: Ignore`
    pub(super) ignores_failures: bool,
    /// `reinvocationPolicy: IfNeeded`, which only a mutating policy has.
    pub(super) reinvoked: bool,
    /// By name.
    pub(super) bindings: Vec<Binding>,
    spec: Value,
    evaluator: OnceLock<E>,
}

/// The type of a policy's parameters.
#[derive(Clone, Debug)]
pub(super) struct ParamKind {
    pub(super) api_version: String,
    pub(super) kind: String,
}

/// The binding of a policy.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    /// `None`: whatever the policy is about.
    pub(super) criteria: Option<Criteria>,
    /// `spec.paramRef`, or null.
    pub(super) param_ref: Value,
    /// Those of a mutating policy have none.
    pub(super) actions: Vec<String>,
}

impl Policies {
    /// The validating policies that have a binding as they are now, by name.
    pub(super) fn validating(&self, store: &Store) -> Arc<Vec<Policy<Validator>>> {
        let collections = [VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS];
        self.validating.current(store, collections, || read(store, collections))
    }

    /// The mutating policies that have a binding as they are now, by name.
    pub(super) fn mutating(&self, store: &Store) -> Arc<Vec<Policy<Mutator>>> {
        let collections = [MUTATING_ADMISSION_POLICIES, MUTATING_ADMISSION_POLICY_BINDINGS];
        self.mutating.current(store, collections, || read(store, collections))
    }
}

fn read<E: Evaluator>(store: &Store, [policies, bindings]: [GroupResource<'_>; 2]) -> Vec<Policy<E>> {
    let all = |of: GroupResource<'_>| {
        let page = store.all(of.collection(), "");
        page.into_iter().map(|object| (object.name().to_owned(), object.value()))
    };
    let mut by_policy: BTreeMap<String, Vec<Binding>> = BTreeMap::new();
    for (name, binding) in all(bindings) {
        let policy = binding["spec"]["policyName"].as_str().unwrap_or_default().to_owned();
        by_policy.entry(policy).or_default().push(Binding::parse(name, &binding["spec"]));
    }
    let bound = all(policies).filter_map(|(name, mut policy)| {
        let bindings = by_policy.remove(&name)?;
        Some(Policy::parse(name, policy["spec"].take(), bindings))
    });
    bound.collect()
}

impl<E: Evaluator> Policy<E> {
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
            reinvoked: spec["reinvocationPolicy"] == "IfNeeded",
            bindings,
            spec,
            evaluator: OnceLock::new(),
        }
    }

    /// Its expressions, compiled when they are first needed.
    pub(super) fn evaluator(&self) -> &E {
        self.evaluator.get_or_init(|| E::compile(&self.spec))
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
