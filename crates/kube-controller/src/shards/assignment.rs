//! Which member should own which shard.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the member that should own each shard, given who owns it now. `None`: there are no members.
///
/// It depends on nothing else, so that all members that see the same agree. A member keeps what it has, up to its part;
/// members with more shards have precedence for what remains of an uneven division.
pub(super) fn assign<'a>(members: &BTreeSet<&'a str>, owners: &[Option<&str>]) -> Vec<Option<&'a str>> {
    if members.is_empty() {
        return vec![None; owners.len()];
    }
    let owns = |member: &str| owners.iter().filter(|owner| **owner == Some(member)).count();
    let mut order: Vec<_> = members.iter().copied().collect();
    // Stable: equals stay in the order of their names.
    order.sort_by_key(|member| Reverse(owns(member)));
    let (part, remainder) = (owners.len() / members.len(), owners.len() % members.len());
    let mut room: BTreeMap<&str, usize> = order
        .iter()
        .enumerate()
        .map(|(place, member)| (*member, part + usize::from(place < remainder)))
        .collect();

    let mut assigned: Vec<Option<&str>> = owners
        .iter()
        .map(|owner| {
            let member = members.get((*owner)?).copied()?;
            let left = room.get_mut(member).filter(|left| **left > 0)?;
            *left -= 1;
            Some(member)
        })
        .collect();
    let mut free =
        order.iter().flat_map(|member| std::iter::repeat_n(*member, room.get(member).copied().unwrap_or(0)));
    for shard in assigned.iter_mut().filter(|shard| shard.is_none()) {
        *shard = free.next();
    }
    assigned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

    /// Some members, and owners of which some have left.
    fn world() -> impl Strategy<Value = (BTreeSet<&'static str>, Vec<Option<&'static str>>)> {
        let members = prop::collection::btree_set(prop::sample::select(&NAMES[..]), 1..6);
        let owners = prop::collection::vec(prop::option::of(prop::sample::select(&NAMES[..])), 1..40);
        (members, owners)
    }

    fn count(assigned: &[Option<&str>], member: &str) -> usize {
        assigned.iter().filter(|owner| **owner == Some(member)).count()
    }

    fn moved(owners: &[Option<&str>], assigned: &[Option<&str>]) -> usize {
        owners.iter().zip(assigned).filter(|(before, after)| before != after).count()
    }

    #[test]
    fn without_members_nobody_owns_a_shard() {
        assert_eq!(assign(&BTreeSet::new(), &[Some("a"), None]), [None, None]);
    }

    #[test]
    fn a_member_that_joins_gets_its_part_and_nothing_else_moves() {
        let owners = [Some("a"), Some("a"), Some("a"), Some("b"), Some("b"), Some("b")];
        let assigned = assign(&BTreeSet::from(["a", "b", "c"]), &owners);
        assert_eq!(assigned, [Some("a"), Some("a"), Some("c"), Some("b"), Some("b"), Some("c")]);
    }

    proptest! {
        #[test]
        fn every_shard_has_an_owner_and_no_member_two_more_than_another((members, owners) in world()) {
            let assigned = assign(&members, &owners);
            prop_assert!(assigned.iter().all(|owner| owner.is_some_and(|owner| members.contains(owner))));
            let counts: Vec<_> = members.iter().map(|member| count(&assigned, member)).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        }

        /// No balanced assignment moves fewer: each member keeps what it has, up to the part that it may have.
        #[test]
        fn as_few_shards_as_possible_move((members, owners) in world()) {
            let (part, remainder) = (owners.len() / members.len(), owners.len() % members.len());
            let held = |member: &&str| count(&owners, member);
            let kept: usize = members.iter().map(|member| held(member).min(part)).sum();
            let more = members.iter().filter(|member| held(member) > part).count().min(remainder);
            prop_assert_eq!(moved(&owners, &assign(&members, &owners)), owners.len() - kept - more);
        }

        #[test]
        fn what_is_assigned_stays((members, owners) in world()) {
            let assigned = assign(&members, &owners);
            prop_assert_eq!(&assign(&members, &assigned), &assigned);
        }

        /// Members act one at a time, each by what it sees then: give up a shard, or take a free one.
        #[test]
        fn it_settles_whoever_acts_first((members, owners) in world(), seed: u64) {
            let mut rng = fastrand::Rng::with_seed(seed);
            // Those that have left own nothing.
            let mut owners: Vec<_> = owners.iter().map(|owner| owner.filter(|it| members.contains(it))).collect();
            let mut steps = 0;
            loop {
                let assigned = assign(&members, &owners);
                let open: Vec<_> = (0..owners.len()).filter(|shard| owners[*shard] != assigned[*shard]).collect();
                let Some(shard) = rng.choice(open) else { break };
                owners[shard] = if owners[shard].is_some() { None } else { assigned[shard] };
                steps += 1;
                prop_assert!(steps <= 2 * owners.len(), "it does not settle: {owners:?}");
            }
        }
    }
}
