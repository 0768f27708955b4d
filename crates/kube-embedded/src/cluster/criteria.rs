//! What says which requests a webhook or a policy is about, parsed.

use kube_selectors::LabelSelector;
use serde_json::Value;

use super::admission_rule::Rule;

/// The `MatchResources` of a policy, or what a webhook has in its place.
#[derive(Debug)]
pub(super) struct Criteria {
    /// Errors are kept until they matter: requests that are not selected anyway succeed.
    pub(super) namespaces: Result<LabelSelector, String>,
    pub(super) objects: Result<LabelSelector, String>,
    /// Empty: all requests, if `needs_rule` is not set.
    pub(super) rules: Vec<Rule>,
    pub(super) excluded: Vec<Rule>,
    pub(super) needs_rule: bool,
    /// `matchPolicy: Equivalent`
    pub(super) equivalent: bool,
}

impl Criteria {
    /// Those of a webhook, which has at least one rule if it is called at all.
    pub(super) fn of_webhook(webhook: &Value) -> Self {
        let rules = parse(&webhook["rules"]);
        Self { rules, needs_rule: true, ..Self::new(webhook) }
    }

    /// A `MatchResources`.
    #[cfg(feature = "cel")]
    pub(super) fn of_policy(resources: &Value) -> Self {
        let rules = parse(&resources["resourceRules"]);
        Self { rules, excluded: parse(&resources["excludeResourceRules"]), ..Self::new(resources) }
    }

    fn new(from: &Value) -> Self {
        let selector =
            |field: &str| LabelSelector::from_object(&from[field]).map_err(|error| error.to_string());
        Self {
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            rules: Vec::new(),
            excluded: Vec::new(),
            needs_rule: false,
            equivalent: from["matchPolicy"] != "Exact",
        }
    }
}

fn parse(rules: &Value) -> Vec<Rule> {
    rules.as_array().into_iter().flatten().map(Rule::parse).collect()
}
