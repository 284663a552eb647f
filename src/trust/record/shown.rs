//! The credentials a writer shows in a room, so that whoever reads its records needs nobody else. Layer 1.

use serde::{Deserialize, Serialize};

use super::Plane;
use crate::{
    id::{AgentId, DocumentId, ReplicaId},
    limits,
    tier::Tier,
    time::Hlc,
    trust::{
        binding::replica_of,
        credential::{Vouched, vouch},
        key::PublicKey,
        pattern::Right,
        policy::PolicyHash,
        succession::InForce,
    },
};

/// Why what a writer shows is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShownError {
    /// It cannot be read.
    #[error("unreadable credentials: {0}")]
    Unreadable(String),
    /// None, or more than one shows at a time.
    #[error("{count} credentials, must be 1 to {max}", max = limits::CREDENTIALS_SHOWN)]
    Count {
        /// How many.
        count: usize,
    },
    /// Longer than a credential passed on as often as may be.
    #[error("a credential of {len} bytes is over the limit of {max}", max = limits::CREDENTIAL_BYTES)]
    Length {
        /// Its bytes.
        len: usize,
    },
}

/// One credential, with the version of the policy it is judged by: that which was in force when it was first shown.
/// What a later version retires or revokes does not undo what was signed before; see [`Cut`](crate::trust::cut::Cut).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCredential {
    /// The version.
    pub policy: PolicyHash,
    /// The token, or the chain it was passed on by.
    pub chain: String,
}

/// What a writer publishes once, and anew with every renewal. postcard: the salt, then a list of 32 bytes and a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShownCredentials {
    /// Makes the writer's id, with the key.
    pub salt: u64,
    /// Newest last, at most [`limits::CREDENTIALS_SHOWN`].
    pub credentials: Vec<ShownCredential>,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    salt: u64,
    #[serde(borrow)]
    credentials: Vec<([u8; 32], &'a str)>,
}

impl ShownCredentials {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let credentials = self.credentials.iter().map(|shown| (*shown.policy.as_bytes(), &*shown.chain)).collect();
        postcard::to_stdvec(&Wire { salt: self.salt, credentials }).expect("every field has an encoding")
    }

    /// Reads its bytes within bounds; believes nothing.
    ///
    /// # Errors
    /// [`ShownError`]; retrying does not help.
    pub fn decode(bytes: &[u8]) -> Result<Self, ShownError> {
        let (wire, rest): (Wire<'_>, _) =
            postcard::take_from_bytes(bytes).map_err(|error| ShownError::Unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(ShownError::Unreadable(format!("{} bytes follow them", rest.len())));
        }
        let count = wire.credentials.len();
        if count == 0 || count > limits::CREDENTIALS_SHOWN {
            return Err(ShownError::Count { count });
        }
        if let Some((_, long)) = wire.credentials.iter().find(|(_, chain)| chain.len() > limits::CREDENTIAL_BYTES) {
            return Err(ShownError::Length { len: long.len() });
        }
        let shown = |(policy, chain): ([u8; 32], &str)| ShownCredential {
            policy: PolicyHash::from_bytes(policy),
            chain: chain.to_owned(),
        };
        Ok(Self { salt: wire.salt, credentials: wire.credentials.into_iter().map(shown).collect() })
    }
}

/// Who a writer is, by what it has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its key.
    pub key: PublicKey,
    /// Its incarnation.
    pub salt: u64,
    vouched: Vec<Vouched>,
}

impl Holder {
    /// Judges what `writer` shows, each credential by the version it names. Those that are refused, or name a version
    /// that is not on the chain, count for nothing; so do those of a key that does not make the writer's id. `None` when
    /// none is left. A few signatures for each credential.
    pub fn of(writer: ReplicaId, shown: &ShownCredentials, swarm: &PolicyHash, in_force: &InForce) -> Option<Self> {
        let judged = shown.credentials.iter().filter_map(|one| {
            let policy = in_force.chain.get(&one.policy)?;
            let vouched = vouch(&one.chain, swarm, policy).ok()?;
            (replica_of(&vouched.admission.key, shown.salt) == writer).then_some(vouched)
        });
        let vouched: Vec<Vouched> = judged.collect();
        let key = vouched.first()?.admission.key;
        Some(Self { key, salt: shown.salt, vouched })
    }

    /// The agent whose credentials they are.
    pub fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.vouched.iter().map(|vouched| &vouched.admission.agent)
    }

    /// The credentials by which it may act so: those that grant the right in the room, allow the tier, and count at
    /// `stamp`. In the roster's plane, that of the definition: it must not have ended by then; one issued later says no
    /// less of its holder.
    pub(super) fn entitling(
        &self,
        room: &DocumentId,
        right: Option<Right>,
        tier: Tier,
        plane: Plane,
        stamp: Hlc,
    ) -> impl Iterator<Item = &Vouched> {
        let at = stamp.wall_ms() / 1_000;
        self.vouched.iter().filter(move |vouched| {
            let admission = &vouched.admission;
            let over = at >= admission.expires.saturating_add(limits::CLOCK_LEEWAY_SECONDS);
            let early = vouched.begins > at.saturating_add(limits::CLOCK_LEEWAY_SECONDS);
            !over
                && (plane == Plane::Roster || !early)
                && admission.tier <= tier
                && right.is_none_or(|right| admission.allows(room, right))
        })
    }
}
