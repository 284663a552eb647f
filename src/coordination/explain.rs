//! Why a barrier is not released yet: what a person, or a program, asks when it waits. Layer 3, pure.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    barrier::TieredBarrier,
    kernel::{Ballot, BitSet, Gate, OnShortfall, Tier, TierOutcome},
};
use crate::{
    id::{AgentId, ReplicaId},
    time::Monotonic,
};

/// One thing that keeps a tier from being decided or released, and thereby what would unblock it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "blocker")]
pub enum Blocker {
    /// A member's arrival is not here.
    NotArrived {
        /// Who.
        agent: AgentId,
    },
    /// A member has arrived, but too few have echoed it.
    EchoesMissing {
        /// Whom.
        agent: AgentId,
        /// Echoes here.
        have: usize,
        /// Echoes needed.
        need: usize,
        /// Who could still echo.
        from: Vec<AgentId>,
    },
    /// Nobody can be left out yet: this replica's timer is running.
    TimerRunning {
        /// For so many milliseconds.
        remaining_ms: u64,
    },
    /// Nobody can be left out yet, as far as an onlooker knows: it has no timer, and no member shows that its own has
    /// run out.
    TimersUnknown {
        /// How long members wait from the first arrival they hear of, in milliseconds.
        timeout_ms: u64,
    },
    /// Nobody can ever be left out: the definition tolerates no failure.
    Strict,
    /// Too few have arrived to leave the others out, and the tier waits for more.
    BelowMinimum {
        /// Arrivals here.
        have: usize,
        /// Fewest needed.
        min: usize,
    },
    /// The timer has run out; a ballot lacks promises.
    PromisesMissing {
        /// The ballot; 0: none is prepared.
        ballot: Ballot,
        /// Promises here.
        have: usize,
        /// Promises needed.
        need: usize,
        /// Who has not promised: unreachable, or its own timer is still running.
        from: Vec<AgentId>,
    },
    /// A ballot's value lacks accepts.
    AcceptsMissing {
        /// The ballot.
        ballot: Ballot,
        /// Accepts here.
        have: usize,
        /// Accepts needed.
        need: usize,
        /// Who has not accepted.
        from: Vec<AgentId>,
    },
    /// A higher tier comes first.
    Gated {
        /// The highest that is not released.
        tier: Tier,
    },
    /// A released member of a higher tier has not acknowledged.
    NotAcknowledged {
        /// Who.
        agent: AgentId,
    },
    /// A tier had too few: nothing unblocks this barrier.
    Broken {
        /// Which.
        tier: Tier,
    },
    /// The others have gone on.
    Superseded {
        /// The newest generation heard of.
        generation: u64,
    },
    /// An agent lost its log and came back as another replica, which has no seat in this generation.
    StaleIncarnation {
        /// Who.
        agent: AgentId,
        /// The replica that has the seat.
        seat: ReplicaId,
        /// The replica it is now.
        now: ReplicaId,
    },
    /// The link to an agent has ended.
    LinkDown {
        /// Who was at its other end.
        agent: AgentId,
        /// Why it ended.
        reason: String,
    },
    /// Too few of those who decide are within reach: this side decides nobody's absence.
    Minority {
        /// How many are within reach, this replica included.
        have: usize,
        /// How many it takes.
        need: usize,
        /// How many there are.
        all: usize,
    },
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotArrived { agent } => write!(f, "{agent} has not arrived"),
            Self::EchoesMissing { agent, have, need, from } => {
                write!(f, "{agent} has arrived, but {have} of {need} echoes are here; missing: {}", names(from))
            }
            Self::TimerRunning { remaining_ms } => {
                write!(f, "nobody is left out for another {:.1} s", Duration::from_millis(*remaining_ms).as_secs_f64())
            }
            Self::TimersUnknown { timeout_ms } => write!(
                f,
                "nobody is left out before {:.1} s have passed since the first arrival",
                Duration::from_millis(*timeout_ms).as_secs_f64()
            ),
            Self::Strict => f.write_str("tolerate is 0: nobody is ever left out, all have to arrive"),
            Self::BelowMinimum { have, min } => write!(f, "{have} of at least {min} have arrived; it waits for more"),
            Self::PromisesMissing { ballot: Ballot(0), .. } => {
                f.write_str("the time is up, and nobody has begun a ballot to leave the missing out")
            }
            Self::PromisesMissing { ballot, have, need, from } => {
                let from = names(from);
                write!(
                    f,
                    "ballot {} has {have} of {need} promises; missing (unreachable, or waiting): {from}",
                    ballot.0
                )
            }
            Self::AcceptsMissing { ballot, have, need, from } => {
                write!(f, "ballot {} has {have} of {need} accepts; missing: {}", ballot.0, names(from))
            }
            Self::Gated { tier } => write!(f, "{tier} comes first"),
            Self::NotAcknowledged { agent } => write!(f, "{agent} is released, but has not acknowledged"),
            Self::Broken { tier } => write!(f, "{tier} had too few: broken for good"),
            Self::Superseded { generation } => write!(f, "the others have gone on to generation {generation}"),
            Self::StaleIncarnation { agent, seat, now } => write!(
                f,
                "{agent} came back as a new incarnation ({now}): the seat of {seat} stays empty, and counts as failed"
            ),
            Self::LinkDown { agent, reason } => write!(f, "the link to {agent} is down: {reason}"),
            Self::Minority { have, need, all } => {
                write!(
                    f,
                    "this side reaches {have} of the {all} who decide, and {need} are needed to leave anybody out"
                )
            }
        }
    }
}

fn names(agents: &[AgentId]) -> String {
    agents.iter().map(AgentId::as_str).collect::<Vec<_>>().join(", ")
}

/// One tier of a barrier, as seen from one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TierStatus {
    /// Which.
    pub tier: Tier,
    /// `complete`, `degraded`, `shortfall` or `broken` once decided.
    pub outcome: Option<&'static str>,
    /// Who belongs to it.
    pub members: Vec<AgentId>,
    /// Who has arrived.
    pub arrived: Vec<AgentId>,
    /// Who has declined.
    pub declined: Vec<AgentId>,
    /// Who is in, once decided.
    pub released: Vec<AgentId>,
    /// Whether this replica's timer for it has run out.
    pub expired: bool,
    /// Those who decide and show that their timer for it has run out: they take part in a ballot.
    pub timed_out: Vec<AgentId>,
    /// What keeps it from being released; empty when it is.
    pub blockers: Vec<Blocker>,
}

/// A barrier, as seen from one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BarrierStatus {
    /// Its identity, as 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The generation.
    pub generation: u64,
    /// Failures it survives now; less than the definition's once members have gone.
    pub tolerate: usize,
    /// Its tiers, highest first.
    pub tiers: Vec<TierStatus>,
}

impl TieredBarrier {
    /// How it stands and what keeps each tier, as far as this replica knows. O(n²) at worst: for people, not for loops.
    pub fn status(&self, now: Monotonic) -> BarrierStatus {
        let roster = self.view().roster();
        BarrierStatus {
            id: self.id().to_string(),
            name: self.definition().name.clone(),
            generation: roster.generation(),
            tolerate: roster.rules().echoes - 1,
            tiers: (0..roster.tiers().len()).map(|tier| self.tier_status(tier, now)).collect(),
        }
    }

    fn tier_status(&self, tier: usize, now: Monotonic) -> TierStatus {
        let view = self.view();
        let seats = &view.roster().tiers()[tier];
        let outcome = view.outcome(tier).map(|outcome| match outcome {
            TierOutcome::Complete => "complete",
            TierOutcome::Degraded { .. } => "degraded",
            TierOutcome::Shortfall { .. } => "shortfall",
            TierOutcome::Broken { .. } => "broken",
        });
        TierStatus {
            tier: seats.tier,
            outcome,
            members: self.agents(&seats.members),
            arrived: self.agents(&view.arrived().intersection(&seats.members)),
            declined: self.agents(&view.declined().intersection(&seats.members)),
            released: self.agents(&view.resolved(tier).unwrap_or_default()),
            expired: self.expired(tier, now),
            timed_out: self.agents(&self.timed_out(tier)),
            blockers: self.blockers(tier, now),
        }
    }

    fn timed_out(&self, tier: usize) -> BitSet {
        let view = self.view();
        let ballots = |seat: usize| {
            let slot = view.current(seat).map(|slot| slot.tier(tier));
            slot.is_some_and(|state| state.promised > Ballot::ZERO || state.proposal.is_some())
        };
        view.roster().acceptors().iter().copied().filter(|seat| ballots(*seat)).collect()
    }

    fn agents(&self, seats: &BitSet) -> Vec<AgentId> {
        seats.iter().map(|seat| self.view().roster().seats()[seat].agent.clone()).collect()
    }

    fn agent(&self, seat: usize) -> AgentId {
        self.view().roster().seats()[seat].agent.clone()
    }

    fn blockers(&self, tier: usize, now: Monotonic) -> Vec<Blocker> {
        let view = self.view();
        let tiers = view.roster().tiers();
        if view.superseded() {
            return vec![Blocker::Superseded { generation: view.newest_generation() }];
        }
        let mut found = if view.resolved(tier).is_none() { self.undecided(tier, now) } else { Vec::new() };
        for (above, seats) in tiers.iter().enumerate().take(tier + 1) {
            match view.outcome(above) {
                Some(TierOutcome::Broken { .. }) => return vec![Blocker::Broken { tier: seats.tier }],
                Some(_) if above < tier && self.definition().gate == Gate::Acked => {
                    let waited = view.resolved(above).unwrap_or_default().difference(view.acked());
                    found.extend(waited.iter().map(|seat| Blocker::NotAcknowledged { agent: self.agent(seat) }));
                }
                Some(_) => {}
                None if above < tier => {
                    found.push(Blocker::Gated { tier: seats.tier });
                    break;
                }
                None => {}
            }
        }
        found
    }

    fn undecided(&self, tier: usize, now: Monotonic) -> Vec<Blocker> {
        let view = self.view();
        let roster = view.roster();
        let (seats, rules) = (&roster.tiers()[tier], roster.rules());
        let mut found = Vec::new();
        for seat in view.open(tier).iter() {
            if !view.arrived().contains(seat) {
                found.push(Blocker::NotArrived { agent: self.agent(seat) });
            } else if rules.ballots {
                let acceptors: BitSet = roster.acceptors().iter().copied().collect();
                let from = self.agents(&acceptors.difference(&view.echoed_by(seat)));
                let (have, need) = (view.echoes(seat), rules.echoes);
                found.push(Blocker::EchoesMissing { agent: self.agent(seat), have, need, from });
            }
        }
        let have = view.arrived().intersection(&seats.members).len();
        if !rules.ballots {
            found.push(Blocker::Strict);
        } else if let Some(deadline) = self.deadline(tier).filter(|deadline| *deadline > now && self.seat().is_some()) {
            let remaining_ms = u64::try_from(deadline.since(now).as_millis()).unwrap_or(u64::MAX);
            found.push(Blocker::TimerRunning { remaining_ms });
        } else if seats.on_shortfall == OnShortfall::Wait && have < seats.min {
            found.push(Blocker::BelowMinimum { have, min: seats.min });
        } else if self.expired(tier, now) && self.seat().is_some() || view.asked(tier) > Ballot::ZERO {
            found.push(self.ballot_blocker(tier));
        } else if self.seat().is_none() {
            let timeout = self.definition().tiers[tier].timeout;
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            found.push(Blocker::TimersUnknown { timeout_ms });
        }
        found
    }

    fn ballot_blocker(&self, tier: usize) -> Blocker {
        let view = self.view();
        let (roster, ballot) = (view.roster(), view.asked(tier));
        let acceptors: BitSet = roster.acceptors().iter().copied().collect();
        let holds =
            |reached: &dyn Fn(usize) -> bool| acceptors.iter().filter(|seat| reached(*seat)).collect::<BitSet>();
        if view.proposal(tier, ballot).is_some() {
            let accepted = holds(&|seat| {
                let accepted = view.current(seat).and_then(|slot| slot.tier(tier).accepted.as_ref());
                accepted.is_some_and(|accepted| accepted.ballot == ballot)
            });
            let (have, need) = (accepted.len(), roster.rules().accepts);
            return Blocker::AcceptsMissing { ballot, have, need, from: self.agents(&acceptors.difference(&accepted)) };
        }
        let promised = if ballot == Ballot::ZERO {
            BitSet::new()
        } else {
            view.promises(tier, ballot).map(|(seat, _)| seat).collect()
        };
        let (have, need) = (promised.len(), roster.rules().recovery);
        Blocker::PromisesMissing { ballot, have, need, from: self.agents(&acceptors.difference(&promised)) }
    }
}
