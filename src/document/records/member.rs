//! Membership: every replica's own entry about the agent it belongs to.

use serde::{Deserialize, Serialize};

use super::Lattice;
use crate::{
    document::RecordKind,
    id::{AgentId, ReplicaId},
    limits,
};

/// Bytes of one address, and addresses of one member: enough for a host behind several networks.
const ADDRESS_BYTES: usize = 512;
const ADDRESSES: usize = 16;

/// What an agent tells the others about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub agent: AgentId,
    /// Which life of the agent this is; a higher one takes the place of a lower one.
    pub incarnation: u64,
    /// What it does in the swarm; the application's word, one segment like a name.
    pub role: String,
    /// Wall time of joining in milliseconds since 1970, by its own clock.
    pub joined_ms: u64,
    /// Where it can be dialled, best first.
    pub addresses: Vec<String>,
}

impl Member {
    /// Checks lengths.
    pub(in crate::document) fn check(&self) -> Result<(), String> {
        if self.role.len() > limits::NAME_SEGMENT_BYTES {
            return Err(format!(
                "role of {} bytes is over the limit of {}",
                self.role.len(),
                limits::NAME_SEGMENT_BYTES
            ));
        }
        if self.addresses.len() > ADDRESSES {
            return Err(format!("{} addresses are over the limit of {ADDRESSES}", self.addresses.len()));
        }
        match self.addresses.iter().find(|address| address.len() > ADDRESS_BYTES) {
            Some(long) => Err(format!("address of {} bytes is over the limit of {ADDRESS_BYTES}", long.len())),
            None => Ok(()),
        }
    }
}

impl Lattice {
    /// The members, by agent, each with the replica that wrote the entry: of several incarnations the highest. An
    /// agent whose highest incarnation has left is not listed.
    pub(in crate::document) fn members(&self) -> Vec<(ReplicaId, Member)> {
        self.slots(RecordKind::Member).filter_map(|slot| self.member(slot)).collect()
    }
}
