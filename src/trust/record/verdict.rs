//! What a replica makes of a signed record, apart from whether the signature is right. Layer 1.
//!
//! The same arguments give the same verdict at every replica and at any time. What is missing may come, so a record
//! without it waits; nothing that could still come makes a record invalid.

use super::{Holder, Plane, Preimage, RecordId, Seal};
use crate::{
    id::DocumentId,
    limits,
    tier::Tier,
    time::Hlc,
    trust::{policy::PolicyHash, succession::InForce},
};

/// What has to come before a record can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// The writer has shown no credential that entitles it.
    #[error("its writer has shown no credential that entitles it")]
    Credential,
    /// The definition of its object is not here.
    #[error("the definition of its object is not here")]
    Definition,
    /// The policy it names is not on the chain known here.
    #[error("the policy {0} is not known here")]
    Policy(PolicyHash),
}

/// Why a record never counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The definition gives its writer another tier.
    #[error("it acts as {found}, its seat is {seat}")]
    Tier {
        /// The tier it was sealed with.
        found: Tier,
        /// That of the seat.
        seat: Tier,
    },
    /// The definition gives its writer no seat.
    #[error("its writer has no seat in the object")]
    Seat,
    /// It is its holder's to write.
    #[error("its writer does not hold the object")]
    Holder,
    /// The swarm has cut its writer's records off, and it is none that survives.
    #[error("the policy has cut its writer's records off")]
    Cut,
    /// It was written after it was sealed.
    #[error("it is stamped {written}, and was sealed at {sealed}")]
    Stamp {
        /// The record's own stamp.
        written: Hlc,
        /// The seal's.
        sealed: Hlc,
    },
}

/// What a replica makes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts, for good.
    Valid,
    /// It counts, but its writer's credentials were revoked and no cut says yet what survives: nothing that cannot be
    /// undone may depend on it.
    Tentative,
    /// It waits.
    Pending(Missing),
    /// It is stamped more than a minute ahead of this replica's clock, and waits for that. Says nothing of the record:
    /// see [`stands_ahead`].
    Held,
    /// It never counts.
    Invalid(Invalid),
}

/// What the definition of a record's object says, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circle {
    /// When the definition was sealed.
    pub stamp: Hlc,
    /// The tier of the writer's seat; `None` where seats have none.
    pub tier: Option<Tier>,
}

/// Judges a record whose signature is right. `circle` is what the definition says, for records of the roster's plane.
pub fn judge(
    preimage: &Preimage,
    id: &RecordId,
    room: &DocumentId,
    circle: Option<Circle>,
    holder: &Holder,
    in_force: &InForce,
) -> Verdict {
    let plane = preimage.kind.plane();
    if plane == Plane::Open && in_force.cuts.excludes(&preimage.key, id) {
        return Verdict::Invalid(Invalid::Cut);
    }
    if !in_force.chain.contains_key(&preimage.policy) {
        return Verdict::Pending(Missing::Policy(preimage.policy));
    }
    let stamp = match (plane, circle) {
        (Plane::Open, _) => preimage.hlc,
        (Plane::Roster, None) => return Verdict::Pending(Missing::Definition),
        (Plane::Roster, Some(Circle { stamp, tier })) => {
            if let Some(seat) = tier.filter(|seat| *seat != preimage.tier) {
                return Verdict::Invalid(Invalid::Tier { found: preimage.tier, seat });
            }
            stamp
        }
    };
    let mut entitling = holder.entitling(room, preimage.kind.right(), preimage.tier, plane, stamp).peekable();
    if entitling.peek().is_none() {
        return Verdict::Pending(Missing::Credential);
    }
    let revoked = &in_force.policy.revoked;
    let is_void = |issued: u64, agent| revoked.get(agent).is_some_and(|before| issued < *before);
    let is_open = plane == Plane::Open && !in_force.cuts.names(&preimage.key);
    if is_open && entitling.all(|vouched| is_void(vouched.issued, &vouched.admission.agent)) {
        return Verdict::Tentative;
    }
    Verdict::Valid
}

/// True when a stamp is further ahead of this replica's clock than clocks may differ. Such a record is held back here
/// until the time has come, and moves no clock.
pub fn stands_ahead(seal: &Seal, wall_ms: u64) -> bool {
    seal.hlc.wall_ms() > wall_ms.saturating_add(limits::HLC_AHEAD_MS)
}
