//! What the Leases say: who is there, and who owns what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use tokio::time::Instant;

use super::assignment::assign;
use crate::election::{Known, record};

/// How long a Lease that nobody needs any more is kept, at least.
const KEPT: Duration = Duration::from_secs(60);

/// What a Lease is for, which its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Shard { index: u32, count: u32 },
    Member { count: u32 },
}

/// The Leases as this member has seen them. It has no clock: times are when it learned of a change.
pub(super) struct View {
    name: String,
    count: u32,
    identity: String,
    /// For Leases that do not say how long they are valid.
    lease_duration: Duration,
    /// How old its own last sign of life may be, as it has seen it, for the view to be fresh.
    margin: Duration,
    leases: BTreeMap<String, Seen>,
}

struct Seen {
    role: Role,
    holder: Option<String>,
    spec: Option<LeaseSpec>,
    metadata: ObjectMeta,
    changed: Instant,
    expires: Instant,
    /// When to delete it, if nobody needs it.
    delete_at: Instant,
}

impl Role {
    /// Returns the name of the Lease. `identity`: of the member.
    pub(super) fn lease(self, name: &str, identity: &str) -> String {
        match self {
            Self::Shard { index, count } => format!("{name}-shard-{index}-of-{count}"),
            // An identity may contain what a name may not.
            Self::Member { count } => format!("{name}-member-of-{count}-{:016x}", hash(identity)),
        }
    }

    fn parse(name: &str, lease: &str) -> Option<Self> {
        let rest = lease.strip_prefix(name)?;
        if let Some(rest) = rest.strip_prefix("-shard-") {
            let (index, count) = rest.split_once("-of-")?;
            Some(Self::Shard { index: index.parse().ok()?, count: count.parse().ok()? })
        } else {
            let (count, _) = rest.strip_prefix("-member-of-")?.split_once('-')?;
            Some(Self::Member { count: count.parse().ok()? })
        }
    }
}

impl View {
    pub(super) fn new(
        name: String,
        count: u32,
        identity: String,
        lease_duration: Duration,
        margin: Duration,
    ) -> Self {
        Self { name, count, identity, lease_duration, margin, leases: BTreeMap::new() }
    }

    /// Takes the Leases as they are now.
    pub(super) fn update<'a>(&mut self, now: Instant, leases: impl Iterator<Item = &'a Lease>) {
        let mut before = std::mem::take(&mut self.leases);
        for lease in leases {
            let Some(name) = &lease.metadata.name else { continue };
            let Some(role) = Role::parse(&self.name, name) else { continue };
            let seen = match before.remove(name) {
                Some(seen) if seen.spec == lease.spec && seen.metadata.uid == lease.metadata.uid => {
                    Seen { metadata: lease.metadata.clone(), ..seen }
                }
                _ => {
                    let expires = now + record::duration(lease).unwrap_or(self.lease_duration);
                    Seen {
                        role,
                        holder: record::holder(lease).map(str::to_owned),
                        spec: lease.spec.clone(),
                        metadata: lease.metadata.clone(),
                        changed: now,
                        expires,
                        delete_at: expires + KEPT,
                    }
                }
            };
            self.leases.insert(name.clone(), seen);
        }
    }

    /// Returns the shards that this member should own. `None`: the view is too old to say.
    ///
    /// A view that shows its own last sign of life is at least as new as that. Every other member whose sign of life has
    /// run out in such a view has stopped taking shards before the view was made, and what it had taken is in the view.
    pub(super) fn plan(&self, now: Instant) -> Option<BTreeSet<u32>> {
        let members = || {
            self.held(now).filter_map(|(seen, holder)| match seen.role {
                Role::Member { count } => Some((seen, holder, count)),
                Role::Shard { .. } => None,
            })
        };
        let fresh = |seen: &Seen| now.saturating_duration_since(seen.changed) <= self.margin;
        members().find(|(seen, holder, _)| *holder == self.identity && fresh(seen))?;

        let (.., count) = members().min_by_key(|(seen, ..)| age(&seen.metadata))?;
        let foreign = |role: Role| matches!(role, Role::Shard { count, .. } if count != self.count);
        if count != self.count || self.held(now).any(|(seen, _)| foreign(seen.role)) {
            return Some(BTreeSet::new());
        }

        let alive: BTreeSet<_> =
            members().filter(|(.., count)| *count == self.count).map(|(_, holder, _)| holder).collect();
        let mut owners = vec![None; self.count as usize];
        for (seen, holder) in self.held(now) {
            if let Role::Shard { index, .. } = seen.role
                && let Some(owner) = owners.get_mut(index as usize)
            {
                *owner = Some(holder);
            }
        }
        let assigned = assign(&alive, &owners);
        let mine =
            (0..self.count).zip(assigned).filter(|(_, member)| *member == Some(self.identity.as_str()));
        Some(mine.map(|(index, _)| index).collect())
    }

    /// Returns what is known of shards that others own.
    pub(super) fn known(&self, shards: &BTreeSet<u32>) -> BTreeMap<u32, Known> {
        let of = |seen: &Seen| match seen.role {
            Role::Shard { index, count } if count == self.count && shards.contains(&index) => {
                seen.holder.as_ref().filter(|holder| **holder != self.identity)?;
                let lease = Lease { metadata: seen.metadata.clone(), spec: seen.spec.clone() };
                Some((index, Known { lease, taken_until: seen.expires }))
            }
            Role::Shard { .. } | Role::Member { .. } => None,
        };
        self.leases.values().filter_map(of).collect()
    }

    /// Returns when the plan may change although no Lease changes.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        self.leases.values().map(|seen| seen.expires).filter(|expires| *expires > now).min()
    }

    /// Returns the Leases to delete: those of members that are gone, and those of shards of another count. Each is returned
    /// again only after a while.
    pub(super) fn garbage(&mut self, now: Instant) -> Vec<ObjectMeta> {
        let count = self.count;
        let unused = |role: Role| !matches!(role, Role::Shard { count: of, .. } if of == count);
        let due = self.leases.values_mut().filter(|seen| unused(seen.role) && seen.delete_at <= now);
        let take = |seen: &mut Seen| {
            seen.delete_at = now + KEPT;
            seen.metadata.clone()
        };
        due.map(take).collect()
    }

    fn held(&self, now: Instant) -> impl Iterator<Item = (&Seen, &str)> {
        self.leases
            .values()
            .filter(move |seen| now < seen.expires)
            .filter_map(|seen| Some((seen, seen.holder.as_deref()?)))
    }
}

/// Orders members by when they joined, by the server's clock.
fn age(metadata: &ObjectMeta) -> (Option<&Time>, Option<&str>) {
    (metadata.creation_timestamp.as_ref(), metadata.uid.as_deref())
}

/// 64-bit FNV-1a: the same in every build.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A Lease that was renewed at a second.
    fn lease(role: Role, holder: &str, created: i64, renewed: i64) -> Lease {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut lease = record::held(None, &role.lease("x", holder), holder, 15 * SECOND, at(renewed));
        lease.metadata.creation_timestamp = Some(Time(at(created)));
        lease
    }

    fn member(count: u32, holder: &str, created: i64, renewed: i64) -> Lease {
        lease(Role::Member { count }, holder, created, renewed)
    }

    fn view(identity: &str, count: u32) -> View {
        View::new("x".to_owned(), count, identity.to_owned(), 15 * SECOND, 5 * SECOND)
    }

    #[test]
    fn names_of_leases_say_what_they_are_for() {
        for role in [Role::Shard { index: 3, count: 16 }, Role::Member { count: 16 }] {
            assert_eq!(Role::parse("a-shard-1", &role.lease("a-shard-1", "host_1")), Some(role));
        }
        assert_eq!(Role::Shard { index: 3, count: 16 }.lease("a", "me"), "a-shard-3-of-16");
        for other in ["a", "b-shard-1-of-2", "a-shard-1", "a-shard-x-of-2", "a-member-of-2", "a-leader"] {
            assert_eq!(Role::parse("a", other), None, "{other}");
        }
    }

    #[test]
    fn a_member_counts_until_it_gave_no_sign_of_life_for_the_duration() {
        let start = Instant::now();
        let mut view = view("a", 2);
        let other = member(2, "b", 2, 0);
        view.update(start, [&member(2, "a", 1, 0), &other].into_iter());
        assert_eq!(view.plan(start), Some(BTreeSet::from([0])));
        assert_eq!(view.next_change(start), Some(start + 15 * SECOND));
        for second in [4, 8, 12, 14] {
            let now = start + u32::try_from(second).unwrap() * SECOND;
            view.update(now, [&member(2, "a", 1, second), &other].into_iter());
            assert_eq!(view.plan(now), Some(BTreeSet::from([0])));
        }
        assert_eq!(view.plan(start + 15 * SECOND), Some(BTreeSet::from([0, 1])));
    }

    #[test]
    fn a_view_that_does_not_show_its_own_last_sign_of_life_says_nothing() {
        let start = Instant::now();
        let mut view = view("a", 2);
        view.update(start, [&member(2, "b", 1, 0)].into_iter());
        assert_eq!(view.plan(start), None);
        view.update(start, [&member(2, "a", 1, 0)].into_iter());
        assert!(view.plan(start + 5 * SECOND).is_some());
        assert_eq!(view.plan(start + 6 * SECOND), None);
    }

    #[test]
    fn members_with_another_count_wait_for_those_before_them() {
        let start = Instant::now();
        let (old, new) = (member(2, "old", 1, 0), member(3, "new", 2, 0));
        let shard = lease(Role::Shard { index: 0, count: 2 }, "old", 1, 0);
        let nothing = Some(BTreeSet::new());
        let mut of_new = view("new", 3);
        of_new.update(start, [&old, &new].into_iter());
        assert_eq!(of_new.plan(start), nothing);
        // The member has left, but a shard is still held.
        of_new.update(start, [&new, &shard].into_iter());
        assert_eq!(of_new.plan(start), nothing);
        of_new.update(start, [&new].into_iter());
        assert_eq!(of_new.plan(start), Some(BTreeSet::from([0, 1, 2])));

        let mut of_old = view("old", 2);
        of_old.update(start, [&old, &new, &shard].into_iter());
        assert_eq!(of_old.plan(start), Some(BTreeSet::from([0, 1])));
    }

    #[test]
    fn what_nobody_needs_is_deleted_after_a_while() {
        let start = Instant::now();
        let mut view = view("a", 2);
        let mine = lease(Role::Shard { index: 0, count: 2 }, "gone", 1, 0);
        let leases = [member(2, "gone", 1, 0), lease(Role::Shard { index: 0, count: 3 }, "gone", 1, 0), mine];
        view.update(start, leases.iter());
        assert!(view.garbage(start + 74 * SECOND).is_empty());
        let names =
            |garbage: Vec<ObjectMeta>| -> Vec<_> { garbage.into_iter().filter_map(|it| it.name).collect() };
        let member = Role::Member { count: 2 }.lease("x", "gone");
        let garbage = names(view.garbage(start + 75 * SECOND));
        assert_eq!(garbage, [member, "x-shard-0-of-3".to_owned()]);
        assert!(view.garbage(start + 76 * SECOND).is_empty());
    }
}
