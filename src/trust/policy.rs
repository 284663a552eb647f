//! The swarm's policy: who may change it, who may issue credentials, what is revoked. Layer 1.
//!
//! Canonical encoding, which is what is hashed and signed: the domain, then the fields in the order of the structs.
//! Integers are 8 bytes, big-endian; a text or list has its length before it; lists are sorted and hold nothing twice;
//! what may be absent has one byte before it, 0 or 1.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    cut::Cut,
    dial::{Dial, DialRule},
    encoding,
    key::PublicKey,
    pattern::RoomPattern,
    quota::Quotas,
    tier::spelled,
};
use crate::{
    error::Fault,
    id::{AgentId, DocumentId},
    limits,
    tier::Tier,
};

/// Keeps a signature over a policy from being one over anything else. The number is that of the encoding.
const DOMAIN: &[u8] = b"swm/pol/1\0";

/// Why a policy was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It cannot be read: no JSON, a key twice, an unknown field, a wrong type.
    #[error("the policy cannot be read: {0}")]
    Json(String),
    /// A number or a list outside its bounds.
    #[error("{what}: {value}, must be {min} to {max}")]
    Bounds {
        /// What is counted.
        what: &'static str,
        /// The value given.
        value: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// The first version has a predecessor, or a later one has none.
    #[error("version {0}: version 1 has no predecessor, every other has one")]
    Predecessor(u64),
    /// A root key signs policies only: one that also issues credentials is exposed every day.
    #[error("the root key {0} is an issuer too")]
    RootIssues(String),
    /// No version 1 whose hash is the swarm's name and that is signed by its own roots.
    #[error("no signed first version of the swarm {0}")]
    NoGenesis(PolicyHash),
    /// More versions than are looked at.
    #[error("{count} versions are over the limit of {max}", max = limits::POLICY_VERSIONS)]
    TooMany {
        /// Versions given.
        count: usize,
    },
}

impl PolicyError {
    /// Whoever wrote the policy.
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

/// The SHA-256 of a policy's canonical encoding. That of the first version is the swarm's name. Written as base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyHash([u8; 32]);

impl PolicyHash {
    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encoding::encode(&self.0))
    }
}

impl fmt::Debug for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyHash({self})")
    }
}

impl FromStr for PolicyHash {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = encoding::decode_array(text).map(Self);
        let shown = || text.chars().take(80).collect::<String>();
        bytes.ok_or_else(|| format!("`{}` is no swarm id: 43 characters of canonical base64url", shown()))
    }
}

impl TryFrom<String> for PolicyHash {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PolicyHash> for String {
    fn from(hash: PolicyHash) -> Self {
        hash.to_string()
    }
}

/// The keys that may change the policy, and how many of them it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roots {
    /// Signatures needed, of different keys.
    pub needed: u64,
    /// The keys.
    pub keys: BTreeSet<PublicKey>,
}

/// A key that may issue credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The key.
    pub key: PublicKey,
    /// The highest tier it can give: a credential that says more counts as this.
    #[serde(with = "spelled")]
    pub max_tier: Tier,
    /// The rooms it can give rights in.
    pub rooms: BTreeSet<RoomPattern>,
}

/// How long credentials may live, from `iat` to `exp`, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lives {
    /// Of an alpha.
    pub alpha_seconds: u64,
    /// Of anybody else.
    pub other_seconds: u64,
}

impl Default for Lives {
    fn default() -> Self {
        Self { alpha_seconds: limits::ALPHA_LIFE_SECONDS, other_seconds: limits::WORKER_LIFE_SECONDS }
    }
}

impl Lives {
    /// The longest life at a tier, in seconds.
    pub fn life(self, tier: Tier) -> u64 {
        if tier == Tier::ALPHA { self.alpha_seconds } else { self.other_seconds }
    }
}

/// One version of a swarm's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwarmPolicy {
    /// From 1.
    #[serde(rename = "ver")]
    pub version: u64,
    /// The version it replaces; none for the first.
    #[serde(rename = "prev")]
    pub previous: Option<PolicyHash>,
    /// Who may replace it.
    pub roots: Roots,
    /// Who may issue credentials, by the name (`kid`) of the key. A key that is not here is retired.
    pub issuers: BTreeMap<String, Issuer>,
    /// When given, nobody else takes part.
    pub allow: Option<BTreeSet<AgentId>>,
    /// What was issued to an agent before this time, in seconds since 1970, is void. An entry can go once the longest
    /// life has passed since.
    pub revoked: BTreeMap<AgentId, u64>,
    /// What survives of the records of stolen keys. Holds in every later version too.
    pub cuts: BTreeMap<PublicKey, Cut>,
    /// How much is signed in which rooms. Holds in every later version too, which can only raise it.
    pub trust: BTreeSet<DialRule>,
    /// How long credentials may live.
    pub limits: Lives,
    /// Bounds that are lower in this swarm.
    #[serde(default, skip_serializing_if = "Quotas::is_empty")]
    pub quotas: Quotas,
}

impl SwarmPolicy {
    /// Checks the bounds of everything in it.
    ///
    /// # Errors
    /// [`PolicyError`] with the first field at fault.
    pub fn check(&self) -> Result<(), PolicyError> {
        bounds("version", self.version, 1, u64::MAX - 1)?;
        if (self.version == 1) != self.previous.is_none() {
            return Err(PolicyError::Predecessor(self.version));
        }
        count("root keys", self.roots.keys.len(), 1, limits::POLICY_ROOTS)?;
        bounds("signatures needed", self.roots.needed, 1, self.roots.keys.len() as u64)?;
        count("issuers", self.issuers.len(), 0, limits::POLICY_ISSUERS)?;
        for (kid, issuer) in &self.issuers {
            count("bytes in the name of an issuer's key", kid.len(), 1, limits::KEY_NAME_BYTES)?;
            bounds("the highest tier of an issuer", issuer.max_tier.0.into(), 0, limits::TIERS as u64 - 1)?;
            count("room patterns of an issuer", issuer.rooms.len(), 1, limits::ISSUER_PATTERNS)?;
            if self.roots.keys.contains(&issuer.key) {
                return Err(PolicyError::RootIssues(issuer.key.to_string()));
            }
        }
        count("names on the list", self.allow.as_ref().map_or(0, BTreeSet::len), 0, limits::POLICY_NAMES)?;
        count("revoked names", self.revoked.len(), 0, limits::POLICY_NAMES)?;
        count("keys cut off", self.cuts.len(), 0, limits::POLICY_CUTS)?;
        for cut in self.cuts.values() {
            count("records that survive a cut", cut.survivors.len(), 0, limits::CUT_SURVIVORS)?;
        }
        count("rules of the trust dial", self.trust.len(), 0, limits::POLICY_DIALS)?;
        for (quota, lower) in &self.quotas {
            bounds(quota.name(), *lower, 1, quota.most())?;
        }
        let times = self.revoked.values().chain([&self.limits.alpha_seconds, &self.limits.other_seconds]);
        times.copied().try_for_each(|time| bounds("a time in seconds", time, 1, limits::TIME_MAX_SECONDS))
    }

    /// The name of an issuer's key; `None` where it is no issuer's.
    pub fn kid_of(&self, key: &PublicKey) -> Option<&str> {
        self.issuers.iter().find(|(_, issuer)| issuer.key == *key).map(|(kid, _)| kid.as_str())
    }

    /// The canonical encoding: what is hashed and signed.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Canonical(DOMAIN.to_vec());
        out.number(self.version);
        out.optional(self.previous.as_ref(), |out, hash| out.0.extend(hash.0));
        out.number(self.roots.needed);
        out.list(&self.roots.keys, |out, key| out.0.extend(key.as_bytes()));
        out.list(&self.issuers, |out, (kid, issuer)| {
            out.text(kid);
            out.0.extend(issuer.key.as_bytes());
            out.0.push(issuer.max_tier.0);
            // As text: the order of patterns is that of their spelling, whatever the order in memory.
            let spelled: BTreeSet<String> = issuer.rooms.iter().map(ToString::to_string).collect();
            out.list(&spelled, |out, rooms| out.text(rooms));
        });
        out.optional(self.allow.as_ref(), |out, names| out.list(names, |out, name| out.text(name.as_str())));
        out.list(&self.revoked, |out, (name, before)| {
            out.text(name.as_str());
            out.number(*before);
        });
        out.list(&self.cuts, |out, (key, cut)| {
            out.0.extend(key.as_bytes());
            out.list(&cut.survivors, |out, id| out.0.extend(id.as_bytes()));
        });
        let spelled: BTreeSet<(String, Dial)> =
            self.trust.iter().map(|rule| (rule.rooms.to_string(), rule.dial)).collect();
        out.list(&spelled, |out, (rooms, dial)| {
            out.text(rooms);
            out.0.push(*dial as u8);
        });
        out.number(self.limits.alpha_seconds);
        out.number(self.limits.other_seconds);
        out.list(&self.quotas, |out, (quota, lower)| {
            out.text(quota.name());
            out.number(*lower);
        });
        out.0
    }

    /// The hash of the canonical encoding.
    pub fn hash(&self) -> PolicyHash {
        PolicyHash(Sha256::digest(self.encode()).into())
    }

    /// What this version alone says of a room: the highest of the rules that match it, and [`Dial::Relay`] without any.
    pub fn dial(&self, room: &DocumentId) -> Dial {
        let matching = self.trust.iter().filter(|rule| rule.rooms.matches(room));
        matching.map(|rule| rule.dial).max().unwrap_or(Dial::Relay)
    }

    /// The version after this one, the same in all else.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { version: self.version + 1, previous: Some(self.hash()), ..self.clone() }
    }
}

fn bounds(what: &'static str, value: u64, min: u64, max: u64) -> Result<(), PolicyError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(PolicyError::Bounds { what, value, min, max }) }
}

fn count(what: &'static str, value: usize, min: usize, max: usize) -> Result<(), PolicyError> {
    bounds(what, value as u64, min as u64, max as u64)
}

/// Bytes in the making. Every variable part has its length before it, so no two policies share an encoding.
struct Canonical(Vec<u8>);

impl Canonical {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn list<I: IntoIterator<IntoIter: ExactSizeIterator>>(
        &mut self,
        items: I,
        mut each: impl FnMut(&mut Self, I::Item),
    ) {
        let items = items.into_iter();
        self.number(items.len() as u64);
        items.for_each(|item| each(self, item));
    }

    fn optional<T>(&mut self, item: Option<T>, each: impl FnOnce(&mut Self, T)) {
        self.0.push(u8::from(item.is_some()));
        if let Some(item) = item {
            each(self, item);
        }
    }
}
