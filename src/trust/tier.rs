//! Tiers as credentials name them, and which of several counts. Layer 3.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::limits;

/// How much an agent is trusted: 0 is alpha, the most; higher numbers are less. The numbers are those of coordination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tier(u8);

/// A tier that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no tier: alpha, beta, gamma, tier-3 to tier-{max}", max = limits::TRUST_TIERS - 1)]
pub struct TierError(String);

/// The tiers that have names, in order.
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

impl Tier {
    /// The most trusted.
    pub const ALPHA: Self = Self(0);

    /// The tier of a number; `None` at 16 and above.
    pub fn new(number: u8) -> Option<Self> {
        (number < limits::TRUST_TIERS).then_some(Self(number))
    }

    /// Its number: 0 is alpha.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The less trusted of two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// True when this tier may do whatever `other` may.
    pub const fn is_at_least(self, other: Self) -> bool {
        self.0 <= other.0
    }
}

/// The tier that counts: the lowest of what the issuer may give, what the credential says, what the room allows and
/// what the seat in the roster says.
pub fn effective_tier(issuer: Tier, credential: Tier, room: Tier, seat: Tier) -> Tier {
    issuer.min(credential).min(room).min(seat)
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "tier-{}", self.0),
        }
    }
}

impl FromStr for Tier {
    type Err = TierError;

    /// One spelling each: `alpha`, `beta`, `gamma`, then `tier-3` and so on.
    fn from_str(text: &str) -> Result<Self, TierError> {
        let tiers = (0..limits::TRUST_TIERS).map(Self);
        let found = tiers.into_iter().find(|tier| tier.to_string() == text);
        found.ok_or_else(|| TierError(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Tier {
    type Error = TierError;
    fn try_from(text: String) -> Result<Self, TierError> {
        text.parse()
    }
}

impl From<Tier> for String {
    fn from(tier: Tier) -> Self {
        tier.to_string()
    }
}
