//! Small rosters.

use std::{sync::Arc, time::Duration};

use aepoch::{
    coordination::kernel::{Definition, Gate, OnShortfall, Roster, Seat, Tier, TierPolicy},
    id::{AgentId, DocumentId, ObjectId, ReplicaId},
};

pub(crate) fn seat(number: usize, tier: Tier) -> Seat {
    let agent = AgentId::new(&format!("agent-{number}")).unwrap();
    Seat { agent, replica: ReplicaId::from_bits(number as u64 + 1), tier }
}

pub(crate) fn policy(tier: Tier, min: u32, on_shortfall: OnShortfall) -> TierPolicy {
    TierPolicy { tier, timeout: Duration::from_secs(15), min, on_shortfall }
}

/// A definition over `tiers`, the number of members of each, with `acceptors` electors: the members come first among
/// them.
pub(crate) fn definition(tiers: &[usize], acceptors: usize, tolerate: u32) -> Definition {
    let ranks = tiers.iter().enumerate().flat_map(|(rank, count)| vec![Tier(u8::try_from(rank).unwrap()); *count]);
    let members: Vec<Seat> = ranks.enumerate().map(|(number, tier)| seat(number, tier)).collect();
    let electors =
        (members.len() < acceptors).then(|| (0..acceptors).map(|number| seat(number, Tier::ALPHA)).collect());
    let definition = Definition {
        document: DocumentId::new("model").unwrap(),
        name: "model".to_owned(),
        creator: AgentId::new("agent-0").unwrap(),
        origin: ObjectId { holder: ReplicaId::from_bits(1), number: 1 },
        members,
        electors: electors.unwrap_or_default(),
        tolerate,
        tiers: (0..tiers.len())
            .map(|rank| policy(Tier(u8::try_from(rank).unwrap()), 0, OnShortfall::Proceed))
            .collect(),
        gate: Gate::Decided,
        fence: true,
    };
    definition.check().unwrap();
    definition
}

/// `members` members of one tier among `acceptors` seats that decide.
pub(crate) fn roster(members: usize, acceptors: usize, tolerate: u32) -> Roster {
    Roster::first(Arc::new(definition(&[members], acceptors, tolerate)))
}

/// One member, and `electors` others that decide. Nothing tells the electors apart.
pub(crate) fn elected(electors: usize, tolerate: u32) -> Roster {
    let electors = (1..=electors).map(|number| seat(number, Tier::ALPHA)).collect();
    let definition = Definition { tolerate, electors, ..definition(&[1], 1, 0) };
    definition.check().unwrap();
    Roster::first(Arc::new(definition))
}
