//! How much of a room is signed: the trust dial. Layer 1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::pattern::RoomPattern;

/// Whom those in a room have to trust. Ordered: a room's dial can be raised, never lowered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dial {
    /// Everybody who reaches it.
    #[default]
    Open,
    /// The relays: they ask for credentials, and what they pass on is believed.
    Relay,
    /// Nobody: every record is signed by its writer, and each replica checks.
    EndToEnd,
}

impl Dial {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Open, Self::Relay, Self::EndToEnd];

    /// Its name, as policies spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Relay => "relay",
            Self::EndToEnd => "end-to-end",
        }
    }
}

impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dial {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|dial| dial.name() == text);
        let shown = || text.chars().take(80).collect::<String>();
        found.ok_or_else(|| format!("`{}` is no dial: {}", shown(), Self::ALL.map(Self::name).join(", ")))
    }
}

/// What one version of a policy says of the rooms of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialRule {
    /// The rooms.
    #[serde(rename = "p")]
    pub rooms: RoomPattern,
    /// Their dial, at least.
    pub dial: Dial,
}
