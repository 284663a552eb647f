//! Which of several tiers counts, and how credentials spell them. Layer 1.

use crate::tier::Tier;

/// The tier that counts: the lowest (that of the highest number) of what the issuer may give, what the credential says,
/// what the room allows and what the seat in the roster says.
pub fn effective_tier(issuer: Tier, credential: Tier, room: Tier, seat: Tier) -> Tier {
    issuer.max(credential).max(room).max(seat)
}

/// A tier by its name, for people who read credentials and policies.
pub(crate) mod spelled {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::tier::Tier;

    pub(crate) fn serialize<S: Serializer>(tier: &Tier, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(tier)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tier, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
