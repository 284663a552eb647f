//! What a document is told of its swarm: who signs here, and by what policy others are judged.

use std::{fmt, sync::Arc};

use crate::{
    id::{ObjectId, ReplicaId},
    limits,
    tier::Tier,
    trust::{binding::replica_of, key::PrivateKey, policy::PolicyHash, succession::InForce},
};

/// Why a signer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The replica id is not made from the key and the salt.
    #[error("replica {found} is not that of the key with salt {salt}: {wanted}")]
    Replica {
        /// Who writes.
        found: ReplicaId,
        /// The salt given.
        salt: u64,
        /// Who would.
        wanted: ReplicaId,
    },
    /// The credential is longer than any.
    #[error("a credential of {len} bytes is over the limit of {max}", max = limits::CREDENTIAL_BYTES)]
    Length {
        /// Its bytes.
        len: usize,
    },
}

/// With what a replica signs.
#[derive(Debug, Clone)]
pub struct Signer {
    pub(super) key: PrivateKey,
    pub(super) salt: u64,
    pub(super) credential: String,
    pub(super) tier: Tier,
}

impl Signer {
    /// The signer of `replica`, which must be that of the key and the salt. `credential` is the newest one, a token or
    /// the chain it was passed on by; `tier` that of records which belong to no seat, no higher than the credential's.
    ///
    /// # Errors
    /// [`SignerError`]; retrying does not help.
    pub fn new(
        replica: ReplicaId,
        key: PrivateKey,
        salt: u64,
        credential: String,
        tier: Tier,
    ) -> Result<Self, SignerError> {
        if credential.len() > limits::CREDENTIAL_BYTES {
            return Err(SignerError::Length { len: credential.len() });
        }
        let signer = Self { key, salt, credential, tier };
        signer.check(replica).map(|()| signer)
    }

    pub(super) fn check(&self, replica: ReplicaId) -> Result<(), SignerError> {
        let (salt, wanted) = (self.salt, replica_of(&self.key.public(), self.salt));
        if wanted == replica { Ok(()) } else { Err(SignerError::Replica { found: replica, salt, wanted }) }
    }
}

/// Who sits where by a definition: what a signature over a slot has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSeats {
    /// Tells definitions under one number apart: the slots of each carry it.
    pub fingerprint: u64,
    /// Writer, seat, tier where seats have one; sorted by writer.
    pub seats: Vec<(ReplicaId, u16, Option<Tier>)>,
}

/// What a slot says of its own place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPlace {
    /// Of the definition it belongs to.
    pub fingerprint: u64,
    /// Its generation.
    pub generation: u64,
    /// Those who came after the definition, with their tiers.
    pub added: Vec<(ReplicaId, Tier)>,
}

/// Reads coordination records for those who sign and judge them: only `coordination` knows what they say.
pub trait Seating: fmt::Debug + Send + Sync {
    /// The seats of the definition of `object`; `None` when it is none.
    fn seats(&self, object: ObjectId, definition: &[u8]) -> Option<SealedSeats>;

    /// The place of a slot; `None` when it is none.
    fn place(&self, slot: &[u8]) -> Option<SlotPlace>;

    /// The queue an item is in; `None` when it is no item.
    fn queue(&self, item: &[u8]) -> Option<ObjectId>;
}

/// What a document has to know to sign and to judge.
#[derive(Debug, Clone)]
pub struct Signing {
    /// The name of the swarm.
    pub swarm: PolicyHash,
    /// The version in force, and those that led to it.
    pub in_force: Arc<InForce>,
    /// With what this replica signs; a replica without one writes nothing where records are signed.
    pub signer: Option<Signer>,
    /// Reads coordination records.
    pub seating: &'static dyn Seating,
}
