//! A swarm with one root key, one issuer, and credentials that are good now.
#![allow(clippy::disallowed_methods, reason = "credentials have to be good at the time of the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use aepoch::{
    tier::Tier,
    trust::{
        authority::Authority,
        credential::{Allowance, Claims, Confirmation},
        key::PrivateKey,
        pattern::{Grant, Right},
        policy::{Issuer, Lives, PolicyHash, Roots, SwarmPolicy},
        succession::{SignedPolicy, Versions},
    },
};

/// All that an agent of a test may want to do.
pub(crate) const ALL: &[Right] = &[Right::Read, Right::Write, Right::Presence, Right::Coordinate];

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Whoever founded the swarm.
pub(crate) struct Founder {
    root: PrivateKey,
    issuer: PrivateKey,
    versions: Vec<SignedPolicy>,
}

/// The key of an agent: the same for the same name.
pub(crate) fn key_of(agent: &str) -> PrivateKey {
    let mut seed = [7; 32];
    seed[..agent.len()].copy_from_slice(agent.as_bytes());
    PrivateKey::from_seed(&seed)
}

pub(crate) fn grant(rooms: &str, rights: &[Right]) -> Grant {
    Grant { rooms: rooms.parse().unwrap(), rights: rights.to_vec(), keys: None }
}

impl Founder {
    pub(crate) fn new() -> Self {
        let (root, issuer) = (PrivateKey::from_seed(&[1; 32]), PrivateKey::from_seed(&[2; 32]));
        let rooms = BTreeSet::from(["**".parse().unwrap()]);
        let policy = SwarmPolicy {
            version: 1,
            previous: None,
            roots: Roots { needed: 1, keys: BTreeSet::from([root.public()]) },
            issuers: BTreeMap::from([(
                "issuer".to_owned(),
                Issuer { key: issuer.public(), max_tier: Tier::ALPHA, rooms },
            )]),
            allow: None,
            revoked: BTreeMap::new(),
            cuts: BTreeMap::new(),
            trust: BTreeSet::new(),
            limits: Lives::default(),
            quotas: Default::default(),
        };
        let mut founder = Self { root, issuer, versions: Vec::new() };
        founder.enact(policy);
        founder
    }

    fn enact(&mut self, policy: SwarmPolicy) {
        let mut version = SignedPolicy::unsigned(policy);
        version.sign(&self.root);
        self.versions.push(version);
    }

    /// Makes the next version of the policy.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut SwarmPolicy)) -> Authority {
        let mut next = self.authority().policy().next();
        change(&mut next);
        self.enact(next);
        self.authority()
    }

    pub(crate) fn swarm(&self) -> PolicyHash {
        self.versions[0].policy.hash()
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::new(self.swarm(), &Versions { versions: self.versions.clone() }).unwrap()
    }

    /// A credential of `agent`, good for ten minutes.
    pub(crate) fn issue(&self, agent: &str, grants: &[Grant]) -> String {
        self.issue_until(agent, grants, now() + 600)
    }

    pub(crate) fn issue_until(&self, agent: &str, grants: &[Grant], exp: u64) -> String {
        self.issue_at(Tier::ALPHA, agent, grants, exp)
    }

    pub(crate) fn issue_at(&self, tier: Tier, agent: &str, grants: &[Grant], exp: u64) -> String {
        let claims = Claims {
            iss: "founder".to_owned(),
            sub: agent.parse().unwrap(),
            aud: self.swarm(),
            iat: now() - 5,
            nbf: now() - 5,
            exp,
            jti: format!("{agent}-{exp}"),
            cnf: Confirmation { jwk: key_of(agent).public().into() },
            swm: Allowance { tier, rooms: grants.to_vec(), inc: 1, del: 0 },
        };
        claims.sign("issuer", &self.issuer).unwrap()
    }
}
