//! The decisions of `crdctl wait`: what was seen of each object, and whether that is enough. No I/O, no clock.

use std::{collections::BTreeMap, time::Instant};

use kube_informer::ObjectKey;
use serde_json::Value;

use super::condition::{Condition, existence};

/// What is waited for.
#[derive(Debug)]
pub(super) struct Plan {
    /// Any of these is enough.
    goals: Vec<Goal>,
    /// Any of these ends the wait as failed. They take precedence over the goals.
    fail_on: Vec<Condition>,
}

/// Conditions that have to hold of one and the same state of the object, after which it may have to be deleted.
#[derive(Debug)]
struct Goal {
    /// Without deletion.
    conditions: Vec<Condition>,
    deleted: bool,
    text: String,
}

/// What happened to an object.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome<'a> {
    /// It met the goal of this text.
    Met(&'a str),
    /// It met a condition of `--fail-on`.
    Failed(&'a Condition),
}

/// What was seen of an object.
#[derive(Debug, Default)]
struct Progress {
    last: Option<Seen>,
    /// Whether the object exists now.
    exists: bool,
    /// For each goal, whether its conditions have held, so that only the deletion is waited for.
    held: Vec<bool>,
    met: bool,
}

#[derive(Debug)]
struct Seen {
    object: Value,
    at: Instant,
}

/// The objects of one argument: a single one that was named, or those that are selected.
#[derive(Debug)]
pub(super) struct Target {
    /// The name of the single object, which may not exist.
    name: Option<String>,
    objects: BTreeMap<ObjectKey, Progress>,
    /// Whether everything that existed at first was seen.
    synced: bool,
}

impl Plan {
    /// Parses the conditions of `--for`, which all have to hold, of `--or`, each of which is enough, and of `--fail-on`.
    pub(super) fn parse(all: &[String], or: &[String], fail_on: &[String]) -> Result<Self, String> {
        let parse =
            |texts: &[String]| texts.iter().map(|text| Condition::parse(text)).collect::<Result<Vec<_>, _>>();
        let alternatives = parse(or)?.into_iter().map(|condition| Goal::new(vec![condition]));
        let goals = [Goal::new(parse(all)?)].into_iter().chain(alternatives).collect();
        Ok(Self { goals, fail_on: parse(fail_on)? })
    }

    /// Whether an object that never existed has met a goal: one that has to be deleted, but not to be created first.
    pub(super) fn is_met_by_absence(&self) -> bool {
        self.absent().is_some()
    }

    /// Whether several goals are possible.
    pub(super) fn has_alternatives(&self) -> bool {
        self.goals.len() > 1
    }

    fn absent(&self) -> Option<&Goal> {
        self.goals.iter().find(|goal| goal.deleted && !goal.conditions.iter().any(Condition::is_creation))
    }
}

impl Goal {
    fn new(conditions: Vec<Condition>) -> Self {
        let text = conditions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        let deleted = conditions.iter().any(Condition::is_deletion);
        let conditions = conditions.into_iter().filter(|condition| !condition.is_deletion()).collect();
        Self { conditions, deleted, text }
    }

    fn holds(&self, object: &Value) -> Result<bool, String> {
        self.conditions.iter().try_fold(true, |all, condition| Ok(condition.holds(object)? && all))
    }

    /// Describes what an object lacks.
    fn lacks(&self, object: &Value, held: bool) -> String {
        let unmet = self.conditions.iter().filter(|condition| !held && condition.holds(object) != Ok(true));
        let unmet: Vec<String> = unmet.map(|condition| condition.state(object)).collect();
        if unmet.is_empty() { existence(object) } else { unmet.join(" and ") }
    }
}

impl Progress {
    /// The object exists, in this state.
    fn exists<'a>(
        &mut self,
        plan: &'a Plan,
        object: Value,
        at: Instant,
    ) -> Result<Option<Outcome<'a>>, String> {
        let Seen { object, .. } = self.last.insert(Seen { object, at });
        self.exists = true;
        for condition in &plan.fail_on {
            if condition.holds(object)? {
                return Ok(Some(Outcome::Failed(condition)));
            }
        }
        self.held.resize(plan.goals.len(), false);
        for (goal, held) in plan.goals.iter().zip(&mut self.held) {
            *held |= goal.holds(object)?;
            if *held && !goal.deleted {
                self.met = true;
                return Ok(Some(Outcome::Met(&goal.text)));
            }
        }
        Ok(None)
    }

    /// The object does not exist, or no longer.
    fn absent<'a>(&mut self, plan: &'a Plan) -> Option<Outcome<'a>> {
        self.exists = false;
        if self.last.is_some()
            && let Some(condition) = plan.fail_on.iter().find(|condition| condition.is_deletion())
        {
            return Some(Outcome::Failed(condition));
        }
        let goal = match &self.last {
            None => plan.absent(),
            Some(_) => {
                let mut goals = plan.goals.iter().zip(&self.held);
                goals.find(|(goal, held)| goal.deleted && **held).map(|(goal, _)| goal)
            }
        };
        self.met = goal.is_some();
        goal.map(|goal| Outcome::Met(&goal.text))
    }

    /// Describes the state that was seen last.
    fn state(&self, plan: &Plan, now: Instant) -> String {
        let Some(Seen { object, at }) = &self.last else { return "does not exist".to_owned() };
        let age =
            kube_tables::human_duration(now.duration_since(*at).as_secs().try_into().unwrap_or(i64::MAX));
        let goals = plan.goals.iter().enumerate();
        let lacks =
            goals.map(|(place, goal)| goal.lacks(object, self.held.get(place).copied().unwrap_or_default()));
        let mut lacks: Vec<String> = lacks.collect();
        lacks.dedup();
        let deleted = if self.exists { "" } else { "was deleted; before, " };
        format!("{deleted}{}, last seen {age} ago", lacks.join("; "))
    }
}

impl Target {
    /// Waits for the object of this name, or else for those that are selected.
    pub(super) fn new(name: Option<&str>) -> Self {
        Self { name: name.map(str::to_owned), objects: BTreeMap::new(), synced: false }
    }

    /// An object exists, in this state.
    pub(super) fn exists<'a>(
        &mut self,
        plan: &'a Plan,
        key: ObjectKey,
        object: Value,
        at: Instant,
    ) -> Result<Option<Outcome<'a>>, String> {
        // Of a selection that should be gone, only the first objects count: they may be replaced.
        let joins = self.name.is_some() || !self.synced || !plan.is_met_by_absence();
        if !joins && !self.objects.contains_key(&key) {
            return Ok(None);
        }
        let progress = self.objects.entry(key).or_default();
        if progress.met { Ok(None) } else { progress.exists(plan, object, at) }
    }

    /// An object was deleted, or is no longer selected.
    pub(super) fn gone<'a>(&mut self, plan: &'a Plan, key: &ObjectKey) -> Option<Outcome<'a>> {
        let progress = self.objects.get_mut(key).filter(|progress| !progress.met)?;
        let outcome = progress.absent(plan);
        // Nobody waits for an object that was not named and is gone: it may have been replaced.
        if outcome.is_none() && self.name.is_none() {
            self.objects.remove(key);
        }
        outcome
    }

    /// Everything that exists was seen. `namespace` is that of the named object.
    pub(super) fn synced<'a>(
        &mut self,
        plan: &'a Plan,
        namespace: Option<&str>,
    ) -> Option<(ObjectKey, Outcome<'a>)> {
        self.synced = true;
        let key = ObjectKey::new(namespace, self.name.as_deref()?);
        let progress = self.objects.entry(key.clone()).or_default();
        if progress.last.is_some() { None } else { progress.absent(plan).map(|outcome| (key, outcome)) }
    }

    /// Whether everything that exists was seen.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// Whether any object was named or selected.
    pub(super) fn has_objects(&self) -> bool {
        !self.objects.is_empty()
    }

    /// Describes each object that has not met a goal.
    pub(super) fn unmet<'a>(
        &'a self,
        plan: &'a Plan,
        now: Instant,
    ) -> impl Iterator<Item = (&'a ObjectKey, String)> {
        let unmet = self.objects.iter().filter(|(_, progress)| !progress.met);
        unmet.map(move |(key, progress)| (key, progress.state(plan, now)))
    }

    /// Returns the last state of an object.
    pub(super) fn last(&self, key: &ObjectKey) -> Option<&Value> {
        self.objects.get(key)?.last.as_ref().map(|seen| &seen.object)
    }
}

/// Whether every object has met a goal. At least one has to be selected, unless they should be deleted.
pub(super) fn all_met<'a>(plan: &Plan, targets: impl IntoIterator<Item = &'a Target>) -> bool {
    let mut enough = plan.is_met_by_absence();
    for target in targets {
        if !target.synced || target.objects.values().any(|progress| !progress.met) {
            return false;
        }
        enough |= target.has_objects();
    }
    enough
}

#[cfg(test)]
mod tests;
