//! The plugin ResourceQuota: a namespace does not use more than its ResourceQuotas allow.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use kube_validation::Quantity;
use serde_json::{Map, Value};

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::super::target::Target;
use super::super::work::Work;
use super::plugin::Plugin;
use super::resources::{self, ResourceList};
use super::usage::{Scope, Usage};
use crate::resource::{PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS, Resource, SERVICES};
use crate::status::Status;
use crate::store::Object;

/// A ResourceQuota.
struct Quota {
    stored: Arc<Object>,
    scopes: Vec<Scope>,
    /// What its controller has seen of `spec.hard`.
    hard: ResourceList,
    used: ResourceList,
}

impl Quota {
    fn parse(stored: Arc<Object>) -> Self {
        let quota = stored.value();
        Self {
            scopes: Scope::parse_all(&quota["spec"]),
            hard: resources::parse(&quota["status"]["hard"]),
            used: resources::parse(&quota["status"]["used"]),
            stored,
        }
    }

    /// Whether it limits something that an object counts for.
    fn concerns(&self, usage: &Usage<'_>, object: &Value) -> bool {
        self.hard.keys().any(|name| usage.counts(name)) && self.has_in_scope(usage, object)
    }

    fn has_in_scope(&self, usage: &Usage<'_>, object: &Value) -> bool {
        self.scopes.iter().all(|scope| usage.is_in(scope, object))
    }

    /// What a request adds to what is used. Empty if the quota has nothing to do with it.
    ///
    /// # Errors
    /// Fails if the quota does not allow it.
    fn added(
        &self,
        usage: &Usage<'_>,
        subresource: &str,
        new: &Value,
        old: Option<&Value>,
        now: Timestamp,
    ) -> Result<ResourceList, String> {
        if !self.concerns(usage, new) {
            return Ok(ResourceList::new());
        }
        let name = self.stored.name();
        if let Some(missing) = usage.missing(new, |name| self.hard.contains_key(name)) {
            return Err(format!("failed quota: {name}: {missing}"));
        }
        let limited: Vec<_> =
            self.hard.keys().filter(|name| usage.counts(name)).map(String::as_str).collect();
        if !limited.iter().all(|name| self.used.contains_key(*name)) {
            return Err(format!("status unknown for quota: {name}, resources: {}", limited.join(",")));
        }
        let mut added = usage.of_object(new, now);
        let negative: Vec<_> =
            added.iter().filter(|(_, it)| it.is_negative()).map(|(name, _)| name.as_str()).collect();
        if !negative.is_empty() {
            return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
        }
        if let Some(old) = old.filter(|old| self.concerns(usage, old)) {
            let before = usage.of_object(old, now);
            for (name, amount) in &mut added {
                *amount = *amount - before.get(name).copied().unwrap_or(Quantity::from(0));
            }
        }
        added.retain(|name, amount| {
            self.hard.contains_key(name) && !amount.is_zero() && !amount.is_negative()
        });
        let used = |name: &str| self.used.get(name).copied().unwrap_or(Quantity::from(0));
        let exceeded: Vec<_> =
            added.iter().filter(|(name, it)| used(name) + **it > self.hard[*name]).collect();
        if subresource == "status" || exceeded.is_empty() {
            return Ok(added);
        }
        let print = |amount: &dyn Fn(&str) -> Quantity| {
            let all = exceeded.iter().map(|(name, _)| format!("{name}={}", amount(name)));
            all.collect::<Vec<_>>().join(",")
        };
        Err(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            print(&|name| added[name]),
            print(&used),
            print(&|name| self.hard[name])
        ))
    }
}

impl Cluster {
    /// Writes an object, and counts it, if the quotas of its namespace allow it. `write` writes it, and says whether it was
    /// written; a dry run writes nothing.
    ///
    /// Nothing else is counted in the meantime: two requests do not use the same rest of a quota.
    pub(in super::super) fn within_quotas<T, E>(
        &self,
        request: &AdmissionRequest<'_>,
        new: &Value,
        old: Option<&Value>,
        write: impl FnOnce() -> Result<T, E>,
    ) -> Result<Result<T, E>, Status> {
        if !self.options.plugins.has(Plugin::ResourceQuota) {
            return Ok(write());
        }
        if !self.has_quotas(request.namespace) {
            let written = write();
            // A quota that has come meanwhile may have missed it.
            if written.is_ok() && !request.dry_run && self.has_quotas(request.namespace) {
                self.work.push(Work::Quotas(request.namespace.to_owned()));
            }
            return Ok(written);
        }
        let usage = Usage::of(request.resource);
        let usage = usage.filter(|usage| usage.is_changed_by(request.subresource, new, old));
        let Some(usage) = usage else { return Ok(write()) };
        let _counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let mut charges = Vec::new();
        for quota in self.quotas(request.namespace) {
            let added = quota.added(&usage, request.subresource, new, old, now);
            charges.push((added.map_err(|why| request.forbidden(new, &why))?, quota));
        }
        let written = write();
        if written.is_ok() && !request.dry_run {
            for (added, quota) in charges.into_iter().filter(|(added, _)| !added.is_empty()) {
                self.set_usage(&quota.stored, |_, used| resources::add(used, added.clone()));
            }
        }
        Ok(written)
    }

    /// Counts anew what a namespace uses, for the status of its quotas: what kube-controller-manager does when a quota is
    /// changed, or something was removed that it counts.
    pub(crate) fn recount_quotas(&self, namespace: &str) {
        let _counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        for quota in self.quotas(namespace) {
            let hard = resources::parse(&quota.stored.value()["spec"]["hard"]);
            let counted = self.count(namespace, &quota, &hard);
            self.set_usage(&quota.stored, |status_hard, used| {
                used.extend(counted.clone());
                used.retain(|name, _| hard.contains_key(name));
                status_hard.clone_from(&hard);
            });
        }
    }

    /// What the objects of a namespace use of what a quota limits.
    fn count(&self, namespace: &str, quota: &Quota, hard: &ResourceList) -> ResourceList {
        let mut counted = ResourceList::new();
        let now = self.clock.now();
        let scheme = self.scheme();
        let prefix = format!("{namespace}/");
        for resource in scheme.stored() {
            let Some(usage) = Usage::of(resource) else { continue };
            let names: Vec<_> = hard.keys().filter(|name| usage.counts(name)).cloned().collect();
            if names.is_empty() {
                continue;
            }
            if usage.is_plain() {
                let count =
                    if quota.scopes.is_empty() { self.store.count(&resource.collection, &prefix) } else { 0 };
                let count = Quantity::from(i64::try_from(count).unwrap_or(i64::MAX));
                counted.extend(names.into_iter().map(|name| (name, count)));
                continue;
            }
            counted.extend(names.iter().map(|name| (name.clone(), Quantity::from(0))));
            for object in self.store.all(&resource.collection, &prefix) {
                let object = object.value();
                if quota.has_in_scope(&usage, &object) {
                    let mut own = usage.of_object(&object, now);
                    own.retain(|name, _| names.contains(name));
                    resources::add(&mut counted, own);
                }
            }
        }
        counted
    }

    /// Whether a namespace has quotas.
    pub(in super::super) fn has_quotas(&self, namespace: &str) -> bool {
        !namespace.is_empty() && self.store.count(RESOURCE_QUOTAS.collection(), &format!("{namespace}/")) > 0
    }

    /// Whether the quotas of a namespace count the objects of a resource.
    pub(in super::super) fn is_counted(&self, resource: &Resource, namespace: &str) -> bool {
        self.has_quotas(namespace)
            && Usage::of(resource).is_some_and(|usage| {
                self.quotas(namespace).iter().any(|quota| quota.hard.keys().any(|name| usage.counts(name)))
            })
    }

    /// Whether an update changes what the quotas of a namespace count.
    pub(in super::super) fn changes_usage(&self, target: Target<'_>, new: &Value, old: &Value) -> bool {
        let Target { resource, namespace, .. } = target;
        if !matches!(resource.stored_as(), PODS | SERVICES | PERSISTENT_VOLUME_CLAIMS)
            || !self.has_quotas(namespace)
        {
            return false;
        }
        let now = self.clock.now();
        Usage::of(resource).is_some_and(|usage| {
            usage.is_moved(new, old) || usage.of_object(new, now) != usage.of_object(old, now)
        })
    }

    fn quotas(&self, namespace: &str) -> Vec<Quota> {
        let prefix = format!("{namespace}/");
        let page = self.store.all(RESOURCE_QUOTAS.collection(), &prefix);
        page.into_iter().map(Quota::parse).collect()
    }

    /// Changes `hard` and `used` in the status of a quota.
    fn set_usage(&self, quota: &Object, change: impl Fn(&mut ResourceList, &mut ResourceList)) {
        let scheme = self.scheme();
        let Some(resource) = scheme.by_collection(RESOURCE_QUOTAS.collection()) else { return };
        // A quota that no longer exists counts nothing.
        let _ = self.modify(Target::of(resource, quota), |quota| {
            let status = &mut quota["status"];
            let mut hard = resources::parse(&status["hard"]);
            let mut used = resources::parse(&status["used"]);
            change(&mut hard, &mut used);
            for (field, list) in [("hard", hard), ("used", used)] {
                if !list.is_empty() || !status[field].is_null() {
                    status[field] = print(&list);
                }
            }
            Ok(())
        });
    }
}

fn print(list: &BTreeMap<String, Quantity>) -> Value {
    let amounts = list.iter().map(|(name, amount)| (name.clone(), amount.to_string().into()));
    Value::Object(amounts.collect::<Map<_, _>>())
}
