//! How credentials and policies spell tiers. Layer 1.

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
