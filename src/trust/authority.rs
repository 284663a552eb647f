//! What a node judges credentials by: the policy of its swarm, as far as it has seen versions of it. Layer 1.

use std::sync::Arc;

use super::{
    credential::{Admission, CredentialError, admit},
    policy::{PolicyError, PolicyHash, SwarmPolicy},
    succession::{InForce, Versions},
};

/// A swarm and the version of its policy that is in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authority {
    swarm: PolicyHash,
    current: Arc<InForce>,
}

impl Authority {
    /// The authority of the swarm called `swarm`, by these versions.
    ///
    /// # Errors
    /// [`PolicyError`] when none of them is in force.
    pub fn new(swarm: PolicyHash, versions: &Versions) -> Result<Self, PolicyError> {
        Ok(Self { swarm, current: Arc::new(versions.in_force(&swarm)?) })
    }

    /// The swarm's name.
    pub const fn swarm(&self) -> PolicyHash {
        self.swarm
    }

    /// The version in force.
    pub fn current(&self) -> &InForce {
        &self.current
    }

    /// The version in force, shared.
    pub fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.current)
    }

    /// The policy in force.
    pub fn policy(&self) -> &SwarmPolicy {
        &self.current.policy
    }

    /// Judges a credential at the time `now` (seconds since 1970): see [`admit`].
    ///
    /// # Errors
    /// [`CredentialError`] with the first rule it breaks.
    pub fn admit(&self, presented: &str, now: u64) -> Result<Admission, CredentialError> {
        admit(presented, &self.swarm, &self.current.policy, now)
    }
}
