//! The bytes that are signed: fixed width, big-endian, so that two encoders cannot differ. Layer 1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    id::DocumentId,
    tier::Tier,
    time::Hlc,
    trust::{encoding, key::PublicKey, pattern::Right, policy::PolicyHash},
};

/// Keeps a signature over a record from being one over anything else. The number is that of the layout.
const DOMAIN: &[u8; 10] = b"swm/rec/1\0";
/// Bytes of the whole.
pub const PREIMAGE_BYTES: usize = 274;
/// The seat of a record that belongs to none.
pub const NO_SEAT: u16 = u16::MAX;

/// The SHA-256 of a record's preimage: its name everywhere. The signature is not part of it, because one message can have
/// several. Written as base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordId([u8; 32]);

impl RecordId {
    /// Of no record: before a writer's first.
    pub const NONE: Self = Self([0; 32]);

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encoding::encode(&self.0))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordId({self})")
    }
}

impl FromStr for RecordId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shown = || text.chars().take(80).collect::<String>();
        let bytes = encoding::decode_array(text).map(Self);
        bytes.ok_or_else(|| format!("`{}` is no record id: 43 characters of canonical base64url", shown()))
    }
}

impl TryFrom<String> for RecordId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> Self {
        id.to_string()
    }
}

/// When a writer's credential counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// At the record's own stamp. A [`Cut`](crate::trust::cut::Cut) applies.
    Open,
    /// Once, when the definition of the object was sealed: whoever was let in then stays in until it is over, and what
    /// was counted stays counted.
    Roster,
}

/// What a signed record is. The numbers are part of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A register's value.
    Register = 0,
    /// A share of a counter.
    Counter = 1,
    /// State of an agent.
    Agent = 2,
    /// An entry in the membership.
    Member = 3,
    /// Finished objects.
    Closed = 16,
    /// A definition.
    Definition = 17,
    /// A member's or elector's part.
    Slot = 18,
    /// What a member hands over.
    Payload = 19,
    /// An item of a queue.
    Item = 20,
    /// An acceptor's part in who holds an item.
    Claim = 21,
    /// What a member of a queue never writes below.
    Mark = 22,
    /// The credentials its writer shows.
    Credential = 23,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Register,
        Self::Counter,
        Self::Agent,
        Self::Member,
        Self::Closed,
        Self::Definition,
        Self::Slot,
        Self::Payload,
        Self::Item,
        Self::Claim,
        Self::Mark,
        Self::Credential,
    ];

    /// When the credential counts.
    pub const fn plane(self) -> Plane {
        match self {
            Self::Slot | Self::Payload | Self::Claim | Self::Mark => Plane::Roster,
            _ => Plane::Open,
        }
    }

    /// True when it is numbered among its writer's coordination records, which have numbers of their own.
    pub const fn is_coordination(self) -> bool {
        self as u8 >= Self::Closed as u8
    }

    /// The right it takes to write one; showing a credential takes none.
    pub const fn right(self) -> Option<Right> {
        match self {
            Self::Credential => None,
            _ if self.is_coordination() => Some(Right::Coordinate),
            _ => Some(Right::Write),
        }
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// Why bytes are no preimage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreimageError {
    /// Another domain, or another version of the layout.
    #[error("the bytes do not begin with `swm/rec/1`")]
    Domain,
    /// A kind that is not known.
    #[error("{0} is no kind of record")]
    Kind(u8),
    /// A key nobody could sign with safely.
    #[error("the key is refused: {0}")]
    Key(String),
}

/// All that is signed of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preimage {
    /// What it is.
    pub kind: Kind,
    /// The swarm.
    pub swarm: PolicyHash,
    /// [`room_hash`] of the room.
    pub room: [u8; 32],
    /// Of a slot, the SHA-256 of the definition it belongs to; else zeros: what the record is about is in the body.
    pub definition: [u8; 32],
    /// Of a slot, its generation; else 0.
    pub generation: u64,
    /// Of a slot, the seat in the definition; else, and for who came later, [`NO_SEAT`].
    pub seat: u16,
    /// Its writer's key.
    pub key: PublicKey,
    /// The incarnation: with the key it makes the writer's id, see [`replica_of`](crate::trust::binding::replica_of).
    pub incarnation: u64,
    /// Its number among its writer's records, or coordination records, in the room.
    pub seq: u64,
    /// The writer's record before; a commitment for audits, no condition for use. [`RecordId::NONE`] when it is unknown.
    pub previous: RecordId,
    /// When it was sealed.
    pub hlc: Hlc,
    /// The tier its writer acts at.
    pub tier: Tier,
    /// The policy its writer had in force.
    pub policy: PolicyHash,
    /// Bytes of the signed body.
    pub body_len: u32,
    /// SHA-256 of the signed body.
    pub body_hash: [u8; 32],
}

impl Preimage {
    /// The bytes.
    pub fn encode(&self) -> [u8; PREIMAGE_BYTES] {
        let mut out = [0; PREIMAGE_BYTES];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            out[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(DOMAIN);
        put(&[self.kind as u8]);
        put(self.swarm.as_bytes());
        put(&self.room);
        put(&self.definition);
        put(&self.generation.to_be_bytes());
        put(&self.seat.to_be_bytes());
        put(self.key.as_bytes());
        put(&self.incarnation.to_be_bytes());
        put(&self.seq.to_be_bytes());
        put(self.previous.as_bytes());
        put(&self.hlc.0.to_be_bytes());
        put(&[self.tier.0]);
        put(self.policy.as_bytes());
        put(&self.body_len.to_be_bytes());
        put(&self.body_hash);
        debug_assert_eq!(at, PREIMAGE_BYTES);
        out
    }

    /// Reads the bytes: for proofs that come from elsewhere.
    ///
    /// # Errors
    /// [`PreimageError`]; retrying does not help.
    pub fn decode(bytes: &[u8; PREIMAGE_BYTES]) -> Result<Self, PreimageError> {
        let mut rest = Fields(bytes);
        if rest.take::<10>() != *DOMAIN {
            return Err(PreimageError::Domain);
        }
        let [kind] = rest.take();
        Ok(Self {
            kind: Kind::of(kind).ok_or(PreimageError::Kind(kind))?,
            swarm: PolicyHash::from_bytes(rest.take()),
            room: rest.take(),
            definition: rest.take(),
            generation: u64::from_be_bytes(rest.take()),
            seat: u16::from_be_bytes(rest.take()),
            key: PublicKey::from_bytes(&rest.take()).map_err(|error| PreimageError::Key(error.to_string()))?,
            incarnation: u64::from_be_bytes(rest.take()),
            seq: u64::from_be_bytes(rest.take()),
            previous: RecordId(rest.take()),
            hlc: Hlc(u64::from_be_bytes(rest.take())),
            tier: Tier(rest.take::<1>()[0]),
            policy: PolicyHash::from_bytes(rest.take()),
            body_len: u32::from_be_bytes(rest.take()),
            body_hash: rest.take(),
        })
    }

    /// The record's name.
    pub fn id(&self) -> RecordId {
        RecordId(Sha256::digest(self.encode()).into())
    }
}

/// What is left to read. The caller takes exactly as much as there is.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk::<N>().expect("the widths add up to that of a preimage");
        self.0 = rest;
        *field
    }
}

/// A room in fixed width: the SHA-256 of a domain and its name.
pub fn room_hash(room: &DocumentId) -> [u8; 32] {
    Sha256::new().chain_update(b"swm/room/1\0").chain_update(room.as_str()).finalize().into()
}
