//! Why an object stands as it does: its barrier, and what around this replica explains it. Layer 3, pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    epoch::Phases,
    explain::{BarrierStatus, Blocker},
    meeting::Meeting,
    object::Purpose,
    poll::PollOutcome,
    standing::Standing,
};
use crate::{
    document::Document,
    id::{AgentId, ReplicaId},
    time::Monotonic,
};

/// What a replica knows of the world around it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Agents whose link has ended and not come back, and why.
    pub down: BTreeMap<AgentId, String>,
    /// Whom it can reach, itself included, when it knows: with a relay in between it does not.
    pub reachable: Option<BTreeSet<ReplicaId>>,
    /// The present incarnation of each agent of the swarm, as far as known.
    pub incarnations: BTreeMap<AgentId, ReplicaId>,
}

/// An object, as seen from one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectStatus {
    /// Which it is: its holder and number.
    pub object: String,
    /// `barrier`, `epoch`, `poll`, `decision` or `queue`.
    pub kind: &'static str,
    /// The phase an epoch is in, by name.
    pub phase: Option<String>,
    /// How a poll stands: `approved`, `failed` or `pending`.
    pub poll: Option<&'static str>,
    /// The option a poll has approved.
    pub approved: Option<String>,
    /// Whether a poll or a decision has its result: nobody waits for it, whoever has not come.
    pub settled: bool,
    /// Where this replica stands in the present generation.
    pub standing: Standing,
    /// Milliseconds since its definition was first seen here.
    pub age_ms: u64,
    /// When the first of those who have arrived in the present generation did, by its own clock, in milliseconds since
    /// 1970.
    pub first_arrival_ms: Option<u64>,
    /// Its members and tiers.
    pub barrier: BarrierStatus,
    /// What keeps it, each once, in plain sentences; empty when nothing does.
    pub why: Vec<String>,
}

impl ObjectStatus {
    /// The status of a meeting. O(n²) at worst: for people, not for loops.
    pub fn of(meeting: &Meeting, document: &Document, around: &Surroundings, now: Monotonic) -> Self {
        let mut barrier = meeting.barrier().status(now);
        for tier in &mut barrier.tiers {
            if meeting.is_queue() {
                // Nobody is waited for at a queue.
                tier.blockers.clear();
            }
            around.add_to(meeting, &mut tier.blockers);
        }
        let mut why = Vec::new();
        for tier in &barrier.tiers {
            for blocker in &tier.blockers {
                let sentence = format!("{}: {blocker}", tier.tier);
                if !why.contains(&sentence) {
                    why.push(sentence);
                }
            }
        }
        let purpose = &meeting.plan().purpose;
        let generation = meeting.barrier().generation();
        let phase = match purpose {
            Purpose::Epoch { phases } => Phases::new(phases.clone())
                .ok()
                .and_then(|phases| phases.name(phases.position(generation)).map(str::to_owned)),
            _ => None,
        };
        let poll = meeting.poll_outcome();
        Self {
            object: meeting.object().to_string(),
            kind: purpose.kind(),
            phase,
            poll: poll.map(|outcome| match outcome {
                PollOutcome::Approved(_) => "approved",
                PollOutcome::Failed => "failed",
                PollOutcome::Pending => "pending",
            }),
            approved: match poll {
                Some(PollOutcome::Approved(option)) => meeting.plan().option(option).map(str::to_owned),
                _ => None,
            },
            settled: meeting.decided().is_some() || poll.is_some_and(|outcome| outcome != PollOutcome::Pending),
            standing: meeting.standing(document, generation, now),
            age_ms: u64::try_from(now.since(meeting.began()).as_millis()).unwrap_or(u64::MAX),
            first_arrival_ms: first_arrival(meeting),
            barrier,
            why,
        }
    }

    /// True when nothing is decided yet, or somebody still waits.
    pub fn is_open(&self) -> bool {
        !self.settled && self.barrier.tiers.iter().any(|tier| tier.outcome.is_none())
    }
}

fn first_arrival(meeting: &Meeting) -> Option<u64> {
    let view = meeting.barrier().view();
    let stamps = view.arrived().iter().filter_map(|seat| Some(view.arrival(seat)?.hlc.wall_ms()));
    stamps.min()
}

impl Surroundings {
    /// Adds to the blockers of a tier what explains them: links that are down, seats of earlier incarnations, too few
    /// within reach.
    fn add_to(&self, meeting: &Meeting, blockers: &mut Vec<Blocker>) {
        let mut missed: BTreeSet<AgentId> = BTreeSet::new();
        for blocker in blockers.iter() {
            match blocker {
                Blocker::NotArrived { agent } | Blocker::NotAcknowledged { agent } => {
                    missed.insert(agent.clone());
                }
                Blocker::EchoesMissing { from, .. }
                | Blocker::PromisesMissing { from, .. }
                | Blocker::AcceptsMissing { from, .. } => missed.extend(from.iter().cloned()),
                _ => {}
            }
        }
        let roster = meeting.barrier().view().roster();
        for agent in &missed {
            let seat = roster.seats().iter().find(|seat| seat.agent == *agent);
            let now = self.incarnations.get(agent);
            if let (Some(seat), Some(now)) = (seat, now)
                && seat.replica != *now
            {
                blockers.push(Blocker::StaleIncarnation { agent: agent.clone(), seat: seat.replica, now: *now });
            }
            if let Some(reason) = self.down.get(agent) {
                blockers.push(Blocker::LinkDown { agent: agent.clone(), reason: reason.clone() });
            }
        }
        let undecided = !missed.is_empty() && roster.rules().ballots;
        if let Some(reachable) = self.reachable.as_ref().filter(|_| undecided) {
            let deciders = roster.acceptors().iter().map(|seat| roster.seats()[*seat].replica);
            let have = deciders.filter(|replica| reachable.contains(replica)).count();
            let need = roster.rules().recovery;
            if have < need {
                blockers.push(Blocker::Minority { have, need, all: roster.acceptors().len() });
            }
        }
    }
}
