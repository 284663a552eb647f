//! Seats that follow the kernel, and a network that delivers what it is told to.

use std::{sync::Arc, time::Duration};

use aepoch::{
    coordination::kernel::{
        Arrival, BitSet, Definition, Gate, OnShortfall, Roster, Seat, Slot, Tier, TierPolicy, View, Wanted, arrive,
        check_slot, contradiction, step,
    },
    id::{AgentId, DocumentId, ObjectId, ReplicaId},
};

pub(crate) fn seat(number: usize, tier: Tier) -> Seat {
    let agent = AgentId::new(&format!("agent-{number}")).unwrap();
    Seat { agent, replica: ReplicaId::from_bits(number as u64 + 1), tier }
}

/// A definition with so many members in each tier, alpha first.
pub(crate) fn definition(tiers: &[usize], tolerate: u32) -> Definition {
    let rank = |rank| Tier(u8::try_from(rank).unwrap());
    let tier_of = tiers.iter().enumerate().flat_map(|(at, count)| vec![rank(at); *count]);
    let policy = |at| TierPolicy {
        tier: rank(at),
        timeout: Duration::from_secs(15),
        min: 1,
        on_shortfall: OnShortfall::Proceed,
    };
    Definition {
        document: DocumentId::new("band/stage").unwrap(),
        name: "flash".to_owned(),
        creator: AgentId::new("agent-0").unwrap(),
        origin: ObjectId { holder: ReplicaId::from_bits(1), number: 1 },
        members: tier_of.enumerate().map(|(number, tier)| seat(number, tier)).collect(),
        electors: Vec::new(),
        tolerate,
        tiers: (0..tiers.len()).map(policy).collect(),
        gate: Gate::Decided,
        fence: true,
    }
}

pub(crate) fn roster(definition: Definition) -> Arc<Roster> {
    definition.check().unwrap();
    Arc::new(Roster::first(Arc::new(definition)))
}

/// One seat: its durable slot and what it knows.
pub(crate) struct Node {
    pub(crate) slot: Arc<Slot>,
    pub(crate) view: View,
}

pub(crate) struct Swarm {
    pub(crate) nodes: Vec<Node>,
    /// Published slots on their way: receiver, sender, slot.
    pub(crate) network: Vec<(usize, usize, Arc<Slot>)>,
}

impl Swarm {
    pub(crate) fn new(roster: &Arc<Roster>) -> Self {
        let node = |_| Node { slot: Arc::default(), view: View::new(Arc::clone(roster)) };
        Self { nodes: (0..roster.seats().len()).map(node).collect(), network: Vec::new() }
    }

    /// Makes a slot durable, publishes it, and puts it into the seat's own view. Every slot written anywhere is
    /// checked here: it is well formed, follows the one before, and survives its encoding.
    pub(crate) fn publish(&mut self, me: usize, slot: Slot) {
        let roster = Arc::clone(self.nodes[me].view.roster());
        assert_eq!(check_slot(&roster, me, &slot), Ok(()));
        assert_eq!(contradiction(&roster, &self.nodes[me].slot, &slot), None);
        assert_eq!(Slot::decode(&slot.encode()).unwrap(), slot);
        let slot = Arc::new(slot);
        self.nodes[me].slot = Arc::clone(&slot);
        self.nodes[me].view.put(me, Arc::clone(&slot));
        for to in (0..self.nodes.len()).filter(|to| *to != me) {
            self.network.push((to, me, Arc::clone(&slot)));
        }
    }

    pub(crate) fn arrive(&mut self, me: usize) {
        let node = &self.nodes[me];
        let slot = arrive(&node.view, me, &node.slot, Arrival::default()).unwrap();
        self.publish(me, slot);
    }

    /// Applies what applies at one seat; false when nothing did.
    pub(crate) fn step(&mut self, me: usize, wanted: &Wanted) -> bool {
        let node = &self.nodes[me];
        let next = step(&node.view, me, &node.slot, wanted);
        next.map(|slot| self.publish(me, slot)).is_some()
    }

    /// Delivers the message at a position of the list.
    pub(crate) fn deliver(&mut self, at: usize) -> usize {
        let (to, from, slot) = self.network.swap_remove(at);
        self.nodes[to].view.put(from, slot);
        to
    }

    /// Delivers everything published so far among `alive`, then lets each of them act once: one message delay.
    pub(crate) fn round(&mut self, alive: &[usize], wanted: impl Fn(usize) -> Wanted) {
        for (to, from, slot) in std::mem::take(&mut self.network) {
            if alive.contains(&to) && alive.contains(&from) {
                self.nodes[to].view.put(from, slot);
            }
        }
        for me in alive {
            self.step(*me, &wanted(*me));
        }
    }

    /// What each seat may act on: the outcome in its durable slot.
    pub(crate) fn released(&self, me: usize, tier: usize) -> Option<BitSet> {
        let slot = &self.nodes[me].slot;
        let members = &self.nodes[me].view.roster().tiers()[tier].members;
        slot.latched.tiers.contains(tier).then(|| slot.latched.released.intersection(members))
    }
}
