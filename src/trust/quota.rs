//! Bounds that a policy may lower for its swarm. Layer 1.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::{self, Rates};

/// A bound that relays keep, and a policy may lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quota {
    /// Connections from one address.
    AddressConnections,
    /// Connections of one agent.
    AgentConnections,
    /// Bytes in a second that one connection is read.
    BytesPerSecond,
    /// Documents one connection may join.
    ConnectionDocuments,
    /// Bytes of one presence entry.
    PresenceBytes,
    /// Bytes of one delta.
    UpdateBytes,
    /// Deltas, presence and messages in a second that one connection is read.
    UpdatesPerSecond,
}

impl Quota {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 7] = [
        Self::AddressConnections,
        Self::AgentConnections,
        Self::BytesPerSecond,
        Self::ConnectionDocuments,
        Self::PresenceBytes,
        Self::UpdateBytes,
        Self::UpdatesPerSecond,
    ];

    /// Its name, as policies spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AddressConnections => "address_connections",
            Self::AgentConnections => "agent_connections",
            Self::BytesPerSecond => "bytes_per_second",
            Self::ConnectionDocuments => "connection_documents",
            Self::PresenceBytes => "presence_bytes",
            Self::UpdateBytes => "update_bytes",
            Self::UpdatesPerSecond => "updates_per_second",
        }
    }

    /// What holds unless a policy lowers it: the library's own limit.
    pub const fn most(self) -> u64 {
        match self {
            Self::AddressConnections => limits::ADDRESS_LINKS as u64,
            Self::AgentConnections => limits::AGENT_LINKS as u64,
            Self::BytesPerSecond => Rates::ADMITTED.bytes_per_second,
            Self::ConnectionDocuments => limits::LINK_DOCUMENTS as u64,
            Self::PresenceBytes => limits::PRESENCE_BYTES as u64,
            Self::UpdateBytes => limits::BULK_BYTES as u64,
            Self::UpdatesPerSecond => Rates::ADMITTED.updates_per_second,
        }
    }
}

impl std::str::FromStr for Quota {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|quota| quota.name() == text);
        let shown = || text.chars().take(80).collect::<String>();
        found.ok_or_else(|| format!("`{}` is no quota: {}", shown(), Self::ALL.map(Self::name).join(", ")))
    }
}

/// What a policy lowers.
pub type Quotas = BTreeMap<Quota, u64>;

/// What holds of `quota`, where it is `most` otherwise.
pub fn lowered(quotas: &Quotas, quota: Quota, most: u64) -> u64 {
    quotas.get(&quota).map_or(most, |lower| most.min(*lower))
}
