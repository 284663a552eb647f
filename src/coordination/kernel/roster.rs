//! Who sits where in one generation, and how many of them decide. Layer 3, pure.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Arrival, Ballot, BitSet, Definition, OnShortfall, Seat, Tier};
use crate::{
    id::{AgentId, ReplicaId},
    limits,
};

/// How many echoes, promises and accepts count as decided. Safe when any `recovery` acceptors meet any `echoes` and
/// any `accepts` of them: `echoes + recovery > n` and `accepts + recovery > n` (Howard et al., 2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Echoes that fix one arrival or refusal.
    pub echoes: usize,
    /// Promises a proposer needs.
    pub recovery: usize,
    /// Accepts at one ballot that choose its value.
    pub accepts: usize,
    /// Whether anybody may be left out at all. Without ballots an arrival counts by itself, without echoes: its writer
    /// writes it once, and nobody decides otherwise.
    pub ballots: bool,
}

impl Rules {
    /// The rules that survive `tolerate` unreachable ones among `acceptors`.
    pub const fn tolerating(tolerate: usize, acceptors: usize) -> Self {
        Self {
            echoes: tolerate + 1,
            recovery: acceptors.saturating_sub(tolerate),
            accepts: tolerate + 1,
            ballots: tolerate > 0,
        }
    }
}

/// How a generation's members differ from the definition's. Travels in every slot, so that a joiner or late reader can
/// tell what its bit sets mean without the generations in between; empty as long as nobody left or came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct RosterChange {
    /// Seats of the definition that are gone.
    pub removed: BitSet,
    /// Members that came later, in the order in which they came.
    pub added: Vec<Seat>,
}

/// One tier of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierSeats {
    /// Which one.
    pub tier: Tier,
    /// Its members' seats. None, where all have gone: such a tier is complete from the start.
    pub members: BitSet,
    /// Fewest that must take part: the policy's, or all where departures and refusals have left fewer than that. A
    /// tier that shrank could not be met any more otherwise, and would break or be skipped for ever.
    pub min: usize,
    /// What happens otherwise.
    pub on_shortfall: OnShortfall,
}

/// The seats of one generation: members first, then electors that are no members. Equal at all replicas that are in
/// this generation. Cheap to clone; generations with the same members share what says who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    generation: u64,
    seating: Arc<Seating>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seating {
    definition: Arc<Definition>,
    change: RosterChange,
    seats: Vec<Seat>,
    members: usize,
    all: BitSet,
    tiers: Vec<TierSeats>,
    names: Vec<Arc<[AgentId]>>,
    acceptors: Vec<usize>,
    is_acceptor: BitSet,
    rules: Rules,
    by_replica: Vec<(ReplicaId, usize)>,
}

impl Roster {
    /// The roster of generation 0. The definition has been checked.
    pub fn first(definition: Arc<Definition>) -> Self {
        Self::of(definition, 0, RosterChange::default())
    }

    /// The roster of a generation that differs from the definition by `change`. O(n log n).
    pub fn of(definition: Arc<Definition>, generation: u64, change: RosterChange) -> Self {
        let kept = definition.members.iter().enumerate().filter(|(seat, _)| !change.removed.contains(*seat));
        let mut seats: Vec<Seat> = kept.map(|(_, seat)| seat).chain(&change.added).cloned().collect();
        let members = seats.len();
        let known: BTreeSet<ReplicaId> = seats.iter().map(|seat| seat.replica).collect();
        seats.extend(definition.electors.iter().filter(|seat| !known.contains(&seat.replica)).cloned());
        let mut by_replica: Vec<_> = seats.iter().enumerate().map(|(seat, named)| (named.replica, seat)).collect();
        by_replica.sort_unstable();
        let seat_of = |replica| by_replica.binary_search_by_key(&replica, |(known, _)| *known).ok();
        let acceptors: Vec<usize> = if definition.electors.is_empty() {
            (0..members).collect()
        } else {
            definition.electors.iter().filter_map(|seat| seat_of(seat.replica)).map(|at| by_replica[at].1).collect()
        };
        let tiers = definition.tiers.iter().map(|policy| {
            let members: BitSet = (0..members).filter(|seat| seats[*seat].tier == policy.tier).collect();
            let min = members.len().min(policy.min as usize);
            TierSeats { tier: policy.tier, members, min, on_shortfall: policy.on_shortfall }
        });
        let tiers: Vec<_> = tiers.collect();
        let names = |tier: &TierSeats| tier.members.iter().map(|seat| seats[seat].agent.clone()).collect();
        let tolerate = (definition.tolerate as usize).min(acceptors.len().saturating_sub(1) / 2);
        let seating = Seating {
            members,
            all: BitSet::full(members),
            names: tiers.iter().map(names).collect(),
            tiers,
            is_acceptor: acceptors.iter().copied().collect(),
            rules: Rules {
                // Electors decide who is left out also when none of them may fail: members are not what they wait for.
                ballots: tolerate > 0 || !definition.electors.is_empty(),
                ..Rules::tolerating(tolerate, acceptors.len())
            },
            acceptors,
            by_replica,
            seats,
            change,
            definition,
        };
        Self { generation, seating: Arc::new(seating) }
    }

    /// The roster of the next generation, which differs from the definition by `change`. O(1) when that is what this
    /// one differs by.
    #[must_use]
    pub fn following(&self, change: RosterChange) -> Self {
        let generation = self.generation + 1;
        if change == self.seating.change {
            return Self { generation, seating: Arc::clone(&self.seating) };
        }
        Self::of(Arc::clone(&self.seating.definition), generation, change)
    }

    /// The same seats under other quorums. For model checkers: any rules but [`Rules::tolerating`] may be unsafe.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { generation: self.generation, seating: Arc::new(Seating { rules, ..(*self.seating).clone() }) }
    }

    /// What differs from the definition in the next generation, when `released` took part in this one: those left out
    /// or leaving are gone, those they sponsored have come. `None` while an arrival of those released is not here.
    pub fn change_after<'a>(
        &self,
        released: &BitSet,
        arrival: impl Fn(usize) -> Option<&'a Arrival>,
    ) -> Option<RosterChange> {
        let arrivals: Vec<(usize, &Arrival)> =
            released.iter().map(|seat| Some((seat, arrival(seat)?))).collect::<Option<_>>()?;
        let stays: BTreeSet<ReplicaId> = arrivals
            .iter()
            .filter(|(_, arrival)| !arrival.leave)
            .map(|(seat, _)| self.seating.seats[*seat].replica)
            .collect();
        let definition = self.seating.definition.members.iter().enumerate();
        let gone = |(seat, named): (usize, &Seat)| {
            let goes = self.seating.change.removed.contains(seat) || !stays.contains(&named.replica);
            goes.then_some(seat)
        };
        let removed = definition.filter_map(gone).collect();
        let mut added: Vec<Seat> =
            self.seating.change.added.iter().filter(|seat| stays.contains(&seat.replica)).cloned().collect();
        let mut known = stays;
        for seat in arrivals.iter().flat_map(|(_, arrival)| &arrival.sponsored) {
            // Above the limit the rest is left out everywhere alike: the order of sponsors is that of their seats.
            if known.len() + self.seating.definition.electors.len() < limits::COORDINATION_SEATS
                && known.insert(seat.replica)
            {
                added.push(seat.clone());
            }
        }
        Some(RosterChange { removed, added })
    }

    /// The definition it belongs to.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.seating.definition
    }

    /// Its number, from 0.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How it differs from the definition.
    pub fn change(&self) -> &RosterChange {
        &self.seating.change
    }

    /// All seats: members, then electors.
    pub fn seats(&self) -> &[Seat] {
        &self.seating.seats
    }

    /// How many of the seats are members'.
    pub fn members(&self) -> usize {
        self.seating.members
    }

    /// All of the members' seats.
    pub fn all_members(&self) -> &BitSet {
        &self.seating.all
    }

    /// The members of a tier by name, in the order of their seats.
    pub fn names(&self, tier: usize) -> &Arc<[AgentId]> {
        &self.seating.names[tier]
    }

    /// The tiers, highest first.
    pub fn tiers(&self) -> &[TierSeats] {
        &self.seating.tiers
    }

    /// The position in [`Self::tiers`] of a member's tier. Definitions have at most 16 tiers.
    pub fn tier_of(&self, member: usize) -> Option<usize> {
        self.seating.tiers.iter().position(|tier| tier.members.contains(member))
    }

    /// Who decides.
    pub fn acceptors(&self) -> &[usize] {
        &self.seating.acceptors
    }

    /// True when a seat's echoes, promises and accepts count.
    pub fn is_acceptor(&self, seat: usize) -> bool {
        self.seating.is_acceptor.contains(seat)
    }

    /// The quorums.
    pub fn rules(&self) -> Rules {
        self.seating.rules
    }

    /// The seat of a replica. O(log n).
    pub fn seat_of(&self, replica: ReplicaId) -> Option<usize> {
        let at = self.seating.by_replica.binary_search_by_key(&replica, |(known, _)| *known).ok()?;
        Some(self.seating.by_replica[at].1)
    }

    /// The only acceptor that may prepare and propose at a ballot; ballot 0 has none, as every member owns its own.
    pub fn owner(&self, ballot: Ballot) -> Option<usize> {
        let turn = ballot.0.checked_sub(1)? as usize;
        (!self.seating.acceptors.is_empty()).then(|| self.seating.acceptors[turn % self.seating.acceptors.len()])
    }

    /// The lowest ballot of `seat` above `above`; `None` for no acceptor, or above [`limits::BALLOT_MAX`].
    pub fn ballot_after(&self, seat: usize, above: Ballot) -> Option<Ballot> {
        let turn = u32::try_from(self.seating.acceptors.iter().position(|acceptor| *acceptor == seat)?).ok()?;
        let count = u32::try_from(self.seating.acceptors.len()).ok()?;
        let first = turn + 1;
        let ballot = if above.0 < first { first } else { first + ((above.0 - first) / count + 1) * count };
        (ballot <= limits::BALLOT_MAX).then_some(Ballot(ballot))
    }
}
