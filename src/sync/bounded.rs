//! Deserializers that stop at a limit, for everything in a message that a peer can count. Layer 3, pure.
//!
//! A list of empty strings takes one byte each on the wire and 24 in memory: checking the count after decoding would
//! be too late. The bytes are those of the derived forms; the golden vectors keep it so.

use std::{fmt, marker::PhantomData};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};

use crate::{
    document::{Frontier, Seen, Subscription, Version},
    id::ReplicaId,
    limits,
};

/// Grown from here on as elements really arrive: a declared length alone allocates no more than this.
const FIRST_ELEMENTS: usize = 16;

/// A list of at most `MAX` elements.
pub(super) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::with_capacity(elements.size_hint().unwrap_or(0).min(FIRST_ELEMENTS));
            while let Some(element) = elements.next_element()? {
                if list.len() == MAX {
                    return Err(A::Error::custom(format_args!("a list is over the limit of {MAX}")));
                }
                list.push(element);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
}

/// A version vector of at most `DOCUMENT_WRITERS` entries.
fn seen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Seen, D::Error> {
    struct SeenVisitor;

    impl<'de> Visitor<'de> for SeenVisitor {
        type Value = Seen;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a version vector of at most {} writers", limits::DOCUMENT_WRITERS)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Seen, A::Error> {
            let mut seen = Seen::default();
            let mut count = 0;
            while let Some((writer, upto)) = entries.next_entry::<ReplicaId, u64>()? {
                // Counted as declared, so that endless repetitions of one writer end here too.
                if count == limits::DOCUMENT_WRITERS {
                    let max = limits::DOCUMENT_WRITERS;
                    return Err(A::Error::custom(format_args!("a version vector is over the limit of {max} writers")));
                }
                count += 1;
                seen.raise(writer, upto);
            }
            Ok(seen)
        }
    }

    deserializer.deserialize_map(SeenVisitor)
}

/// A version of bounded size.
pub(super) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(deserialize_with = "seen")]
        content: Seen,
        #[serde(deserialize_with = "seen")]
        records: Seen,
        #[serde(deserialize_with = "seen")]
        slots: Seen,
    }

    let Form { content, records, slots } = Form::deserialize(deserializer)?;
    Ok(Version { content, records, slots })
}

/// A frontier of bounded size.
pub(super) fn frontier<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Frontier, D::Error> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(deserialize_with = "version")]
        version: Version,
        engine: Bytes,
    }

    let Form { version, engine } = Form::deserialize(deserializer)?;
    Ok(Frontier { version, engine })
}

/// A subscription of bounded size.
pub(super) fn subscription<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Subscription, D::Error> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(deserialize_with = "list::<_, _, { limits::SUBSCRIPTION_PREFIXES }>")]
        prefixes: Vec<String>,
    }

    let Form { prefixes } = Form::deserialize(deserializer)?;
    Ok(Subscription { prefixes })
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, MapDeserializer, SeqDeserializer};

    use super::*;

    #[test]
    fn an_endless_list_ends_at_its_limit() {
        let endless = SeqDeserializer::<_, Error>::new(std::iter::repeat(1_u8));
        let refused = list::<_, u8, 64>(endless).unwrap_err();
        assert_eq!(refused.to_string(), "a list is over the limit of 64");
        let full = SeqDeserializer::<_, Error>::new(std::iter::repeat_n(1_u8, 64));
        assert_eq!(list::<_, u8, 64>(full).unwrap().len(), 64);
    }

    #[test]
    fn an_endless_version_vector_ends_at_its_limit_even_when_it_repeats_itself() {
        let endless = MapDeserializer::<_, Error>::new(std::iter::repeat((7_u64, 1_u64)));
        assert!(seen(endless).unwrap_err().to_string().contains("over the limit of 4096 writers"));
    }
}
