//! Tiers: how members of a barrier, items of a queue and agents are ranked. Layer 0.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::limits;

/// A rank: 0 is alpha, released and trusted before all others. Lower tiers have higher numbers, up to
/// [`limits::TIERS`] - 1. Encoded as its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tier(pub u8);

/// A text that names no tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no tier: alpha, beta, gamma, tier-3 to tier-{max}", max = limits::TIERS - 1)]
pub struct TierError(String);

impl Tier {
    /// The first.
    pub const ALPHA: Self = Self(0);
    /// After alpha.
    pub const BETA: Self = Self(1);
    /// After beta.
    pub const GAMMA: Self = Self(2);
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALPHA => f.write_str("alpha"),
            Self::BETA => f.write_str("beta"),
            Self::GAMMA => f.write_str("gamma"),
            Self(rank) => write!(f, "tier-{rank}"),
        }
    }
}

impl FromStr for Tier {
    type Err = TierError;

    /// Reads what `Display` writes: every tier has one spelling.
    fn from_str(text: &str) -> Result<Self, TierError> {
        let found = (0_u8..).map(Self).take(limits::TIERS).find(|tier| tier.to_string() == text);
        found.ok_or_else(|| TierError(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_has_one_spelling_and_no_other_is_read() {
        for rank in 0..16 {
            assert_eq!(Tier(rank).to_string().parse(), Ok(Tier(rank)));
        }
        for other in ["", "Alpha", "tier-0", "tier-2", "tier-03", "tier-16", "tier-256", "delta"] {
            assert_eq!(other.parse::<Tier>(), Err(TierError(other.to_owned())));
        }
    }
}
