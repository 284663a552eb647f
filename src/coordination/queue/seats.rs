//! Who takes part in a queue: members push and claim, acceptors decide. Layer 3, pure.

use std::collections::BTreeMap;

use crate::{
    coordination::{
        claim::{ClaimMalformed, ClaimSlot, ClaimView, check, default_owner},
        kernel::Definition,
    },
    id::{AgentId, ObjectId, ReplicaId},
};

/// The seats of all registers of a queue: acceptors first, then members that are none.
#[derive(Debug)]
pub(super) struct Seats {
    replicas: Vec<ReplicaId>,
    agents: Vec<AgentId>,
    acceptors: usize,
    tolerate: usize,
    members: Vec<ReplicaId>,
    by_replica: BTreeMap<ReplicaId, u16>,
    me: Option<u16>,
}

impl Seats {
    /// The seats of a definition, which has been checked, seen by `replica`.
    pub(super) fn new(definition: &Definition, replica: ReplicaId) -> Self {
        let electors = &definition.electors;
        let acceptors = if electors.is_empty() { &definition.members } else { electors };
        let mut seats = Self {
            replicas: Vec::new(),
            agents: Vec::new(),
            acceptors: acceptors.len(),
            tolerate: definition.tolerate as usize,
            members: definition.members.iter().map(|seat| seat.replica).collect(),
            by_replica: BTreeMap::new(),
            me: None,
        };
        for seat in acceptors.iter().chain(&definition.members) {
            let number = u16::try_from(seats.replicas.len()).unwrap_or(u16::MAX);
            if let std::collections::btree_map::Entry::Vacant(free) = seats.by_replica.entry(seat.replica) {
                free.insert(number);
                seats.replicas.push(seat.replica);
                seats.agents.push(seat.agent.clone());
            }
        }
        seats.me = seats.seat_of(replica);
        seats
    }

    /// This replica's seat.
    pub(super) fn me(&self) -> Option<u16> {
        self.me
    }

    /// True when this replica's promises and accepts count.
    pub(super) fn accepts(&self) -> bool {
        self.me.is_some_and(|me| usize::from(me) < self.acceptors)
    }

    pub(super) fn seat_of(&self, replica: ReplicaId) -> Option<u16> {
        self.by_replica.get(&replica).copied()
    }

    pub(super) fn replica(&self, seat: u16) -> Option<ReplicaId> {
        self.replicas.get(usize::from(seat)).copied()
    }

    pub(super) fn agent(&self, replica: ReplicaId) -> Option<&AgentId> {
        self.agents.get(usize::from(self.seat_of(replica)?))
    }

    pub(super) fn members(&self) -> &[ReplicaId] {
        &self.members
    }

    pub(super) fn is_member(&self, replica: ReplicaId) -> bool {
        // Acceptors that are members share their seat, so a seat alone does not tell.
        self.by_replica.contains_key(&replica) && self.members.contains(&replica)
    }

    /// The member that may claim an item without promises. Members, not acceptors: an elector claims nothing. O(n).
    pub(super) fn owner_of(&self, item: ObjectId) -> u16 {
        self.heir_of(item, &self.members)
    }

    /// The same among some of the members.
    pub(super) fn heir_of(&self, item: ObjectId, among: &[ReplicaId]) -> u16 {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&item.holder.get().to_be_bytes());
        name[8..].copy_from_slice(&item.number.to_be_bytes());
        default_owner(&name, among).and_then(|at| self.seat_of(among[at])).unwrap_or_default()
    }

    /// An empty view of a register whose default owner is `owner`.
    pub(super) fn view(&self, owner: u16) -> ClaimView {
        ClaimView::new(self.acceptors, self.tolerate, usize::from(owner))
    }

    /// Checks a slot of a seat.
    pub(super) fn check(&self, slot: &ClaimSlot, seat: u16, owner: u16) -> Result<(), ClaimMalformed> {
        let is_voice = usize::from(seat) < self.acceptors;
        if !is_voice && (slot.promised.is_some() || slot.accepted.is_some()) {
            return Err(ClaimMalformed::Seat { seat, acceptors: self.acceptors });
        }
        check(slot, seat, owner, self.replicas.len())
    }
}
