//! Liveness: once all faults have healed, whatever can be decided is, in time; then everything is cleaned up.

use super::world::World;
use crate::{
    coordination::{
        kernel::{Gate, OnShortfall},
        meeting::Meeting,
    },
    id::{ObjectId, ReplicaId},
};

/// The longest timeout of any tier, in microseconds.
const TIMEOUT_MAX: u64 = 3_300_000;
/// From one member's disk to another's by the relay: twice the slowest link with its jitter, and four commits.
const DELTA: u64 = 2 * 90_000 + 4 * 5_000;
/// How long proposers of lower rank wait for those above them, and for each other: see `barrier`.
const RANKS: u64 = 4_000_000;

/// How far a world without faults has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Faults are on, or not all agree yet on what came of them.
    #[default]
    Healing,
    /// Members have come, or not; by then all that can be decided is.
    Resolving { until: u64 },
    /// Everything is being cleaned up.
    Closing,
}

impl World {
    /// Why coordination is not at rest; `None` when it is. Called while all replicas agree.
    pub(super) fn unresolved(&mut self) -> Option<String> {
        match self.phase {
            _ if !self.plan.coordination => None,
            Phase::Healing => {
                if self.connections.values().any(|connection| connection.lags(self.now)) {
                    return Some("something is still on its way through a slow link".to_owned());
                }
                self.gather();
                self.phase = Phase::Resolving { until: self.now + TIMEOUT_MAX + 10 * DELTA + RANKS };
                Some("members are given time to decide".to_owned())
            }
            Phase::Resolving { .. } => Some("members are given time to decide".to_owned()),
            Phase::Closing => {
                let pairs = (0..self.hosts.len()).flat_map(|host| (0..self.documents.len()).map(move |at| (host, at)));
                let mut open =
                    pairs.flat_map(|(host, at)| self.objects_at(host, at).into_iter().map(move |it| (host, it)));
                let (host, object) = open.next()?;
                Some(format!("{} still holds {object}, which is finished", self.hosts[host].agent))
            }
        }
    }

    /// Everybody comes to about half of the objects.
    fn gather(&mut self) {
        let begun = self.told.iter().enumerate();
        let begun = begun.flat_map(|(document, told)| told.objects.keys().map(move |object| (document, *object)));
        for (document, object) in begun.collect::<Vec<(usize, ObjectId)>>() {
            if self.dice.chance(50) {
                for host in 0..self.hosts.len() {
                    self.attend(host, document, object);
                }
            }
        }
    }

    /// While members are given time they act on their releases; when it is over, all that can be decided is.
    pub(super) fn judge_resolved(&mut self) {
        let Phase::Resolving { until } = self.phase else { return };
        for host in 0..self.hosts.len() {
            for document in 0..self.documents.len() {
                for object in self.objects_at(host, document) {
                    self.acknowledge(host, document, object);
                }
            }
        }
        if self.now < until {
            return;
        }
        let living: Vec<ReplicaId> = self.hosts.iter().map(super::host::Host::replica).collect();
        for host in 0..self.hosts.len() {
            let Some(node) = &self.hosts[host].node else { continue };
            let found = self.documents.iter().find_map(|id| {
                let open = node.meetings(id, |all, _| all.filter_map(|meeting| overdue(meeting, &living)).next());
                open.ok().flatten()
            });
            if let Some(what) = found {
                return self.fail(format!("{}: L2: {what}", self.hosts[host].agent));
            }
        }
        self.phase = Phase::Closing;
        for document in 0..self.documents.len() {
            for host in 1..self.hosts.len() {
                for object in self.objects_at(host, document) {
                    self.clean_up(host, document, object);
                }
            }
        }
    }
}

/// What is not decided at a member, or an elector, although enough of those who decide are there.
fn overdue(meeting: &Meeting, living: &[ReplicaId]) -> Option<String> {
    let barrier = meeting.barrier();
    let view = barrier.view();
    let roster = view.roster();
    let acceptors = roster.acceptors().iter().map(|seat| roster.seats()[*seat].replica);
    let core = acceptors.filter(|replica| living.contains(replica)).count() >= roster.rules().recovery;
    let spoken = view.arrived().union(view.declined());
    let dead = roster.seats().iter().any(|seat| !living.contains(&seat.replica));
    // One that died before it acknowledged holds the gate shut for good: see `Gate::Acked`.
    let shut = meeting.plan().definition.gate == Gate::Acked && dead;
    if barrier.seat().is_none() || spoken.is_empty() || shut {
        return None;
    }
    for (tier, seats) in roster.tiers().iter().enumerate() {
        let enough = view.arrived().intersection(&seats.members).len() >= seats.min.min(seats.members.len());
        let may = core && roster.rules().ballots && (enough || seats.on_shortfall != OnShortfall::Wait);
        let all = seats.members.is_subset(&spoken) && (core || !roster.rules().ballots);
        if (may || all) && view.resolved(tier).is_none() {
            let (object, generation) = (meeting.object(), roster.generation());
            return Some(format!(
                "tier {tier} of generation {generation} of {object} is not decided: {}",
                explain(meeting)
            ));
        }
    }
    None
}

/// What every seat is known to have written, for whoever looks into it.
fn explain(meeting: &Meeting) -> String {
    let view = meeting.barrier().view();
    let seats = view.roster().seats().iter().enumerate();
    let slots = seats.map(|(seat, named)| format!("{} {:?}", named.agent, view.slot(seat)));
    format!("{:?}, {}", meeting.plan().definition, slots.collect::<Vec<_>>().join("; "))
}
