//! Which version of a policy is in force, given all that have been seen. Layer 1.
//!
//! A version is followed by one that names it, is signed by enough of its roots, and by enough of the follower's own
//! (as in The Update Framework, section 5.3). Of several followers the one with the lowest hash counts. So whoever has
//! seen the same versions has the same one in force, in whatever order they came.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    cut::Cuts,
    dial::Dial,
    encoding, json,
    key::{PrivateKey, PublicKey},
    policy::{PolicyError, PolicyHash, Roots, SwarmPolicy},
};
use crate::{id::DocumentId, limits};

/// 64 bytes, written as base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature([u8; 64]);

impl TryFrom<String> for Signature {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bytes = encoding::decode_array(&text).map(Self);
        bytes.ok_or_else(|| "a signature is 86 characters of canonical base64url".to_owned())
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        encoding::encode(&signature.0)
    }
}

/// A version with the signatures it has so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedPolicy {
    /// The version.
    pub policy: SwarmPolicy,
    /// By key.
    pub signatures: BTreeMap<PublicKey, Signature>,
}

impl SignedPolicy {
    /// Without a signature.
    pub const fn unsigned(policy: SwarmPolicy) -> Self {
        Self { policy, signatures: BTreeMap::new() }
    }

    /// Adds a signature, in place of an earlier one of the same key.
    pub fn sign(&mut self, key: &PrivateKey) {
        self.signatures.insert(key.public(), Signature(key.sign(&self.policy.encode())));
    }

    /// How many of `roots` have signed, rightly.
    pub fn signed_by(&self, roots: &Roots) -> u64 {
        let mut copies = Copies::new(&self.policy);
        copies.add(self);
        copies.signed_by(roots)
    }
}

/// Versions as they are kept in a file or sent: in any order, with or without gaps and signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The versions.
    pub versions: Vec<SignedPolicy>,
}

impl Versions {
    /// Reads JSON, strictly, and checks the bounds of every version; believes nothing.
    ///
    /// # Errors
    /// [`PolicyError`]; retrying does not help.
    pub fn read(bytes: &[u8]) -> Result<Self, PolicyError> {
        let unreadable = |error: serde_json::Error| PolicyError::Json(error.to_string());
        let found: Self = serde_json::from_value(json::parse(bytes).map_err(unreadable)?).map_err(unreadable)?;
        found.versions.iter().try_for_each(|version| version.policy.check())?;
        Ok(found)
    }

    /// The swarm the first version names; `None` without one. Whoever wrote the versions chose it: compare it with the name
    /// that came by other means.
    pub fn swarm(&self) -> Option<PolicyHash> {
        self.versions.iter().find(|version| version.policy.version == 1).map(|version| version.policy.hash())
    }

    /// The version in force of the swarm that is called `swarm`.
    ///
    /// Versions that are malformed, do not belong or lack signatures are passed over. Signatures that came with
    /// different copies of one version count together. O(versions × log versions), and a few signatures for each.
    ///
    /// # Errors
    /// [`PolicyError::NoGenesis`] when the first version is missing or unsigned; [`PolicyError::TooMany`].
    pub fn in_force(&self, swarm: &PolicyHash) -> Result<InForce, PolicyError> {
        if self.versions.len() > limits::POLICY_VERSIONS {
            return Err(PolicyError::TooMany { count: self.versions.len() });
        }
        let mut followers: BTreeMap<Option<PolicyHash>, BTreeMap<PolicyHash, Copies<'_>>> = BTreeMap::new();
        for version in self.versions.iter().filter(|version| version.policy.check().is_ok()) {
            let copies = followers.entry(version.policy.previous).or_default();
            copies.entry(version.policy.hash()).or_insert_with(|| Copies::new(&version.policy)).add(version);
        }
        let genesis = followers.get(&None).and_then(|first| first.get(swarm));
        let genesis = genesis.filter(|first| first.has_enough(&first.policy.roots));
        let mut current = genesis.ok_or(PolicyError::NoGenesis(*swarm))?.policy;
        let (mut hash, mut siblings) = (*swarm, Vec::new());
        let mut chain = BTreeMap::from([(*swarm, current.clone())]);
        while let Some(candidates) = followers.get(&Some(hash)) {
            let follows = |next: &Copies<'_>| {
                next.policy.version == current.version + 1
                    && next.has_enough(&current.roots)
                    && next.has_enough(&next.policy.roots)
            };
            let mut valid = candidates.iter().filter(|(_, next)| follows(next));
            let Some((lowest, next)) = valid.next() else { break };
            siblings.extend(valid.map(|(other, _)| *other));
            (current, hash) = (next.policy, *lowest);
            chain.insert(hash, current.clone());
        }
        let mut cuts = Cuts::default();
        chain.values().for_each(|version| cuts.join(&version.cuts));
        Ok(InForce { policy: current.clone(), hash, siblings, chain, cuts })
    }
}

/// One version, with the signatures of all its copies.
struct Copies<'a> {
    policy: &'a SwarmPolicy,
    encoded: Vec<u8>,
    signatures: BTreeMap<&'a PublicKey, BTreeSet<&'a Signature>>,
}

impl<'a> Copies<'a> {
    fn new(policy: &'a SwarmPolicy) -> Self {
        Self { policy, encoded: policy.encode(), signatures: BTreeMap::new() }
    }

    fn add(&mut self, copy: &'a SignedPolicy) {
        for (key, signature) in &copy.signatures {
            self.signatures.entry(key).or_default().insert(signature);
        }
    }

    fn has_enough(&self, roots: &Roots) -> bool {
        self.signed_by(roots) >= roots.needed
    }

    fn signed_by(&self, roots: &Roots) -> u64 {
        let right = |key: &PublicKey, signature: &Signature| key.verify(&self.encoded, &signature.0);
        let signed = |key: &&PublicKey| {
            self.signatures.get(*key).is_some_and(|by| by.iter().any(|signature| right(key, signature)))
        };
        roots.keys.iter().filter(signed).count() as u64
    }
}

/// The version in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The version.
    pub policy: SwarmPolicy,
    /// Its hash.
    pub hash: PolicyHash,
    /// Versions that were as well signed and lost to a lower hash: root keys were used twice, and people have to look.
    pub siblings: Vec<PolicyHash>,
    /// All versions that led to it, and it.
    pub chain: BTreeMap<PolicyHash, SwarmPolicy>,
    /// The cuts of all of them.
    pub cuts: Cuts,
}

impl InForce {
    /// How much is signed in a room: the highest that any version on the chain has said of it.
    pub fn dial(&self, room: &DocumentId) -> Dial {
        self.chain.values().map(|version| version.dial(room)).max().unwrap_or_default()
    }
}
