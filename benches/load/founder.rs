//! A swarm with keys of its own, for relays that ask for credentials.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use aepoch::{
    id::AgentId,
    tier::Tier,
    trust::{
        credential::{Allowance, Claims, Confirmation},
        key::PrivateKey,
        pattern::{Grant, Right},
        policy::{Issuer, Lives, Roots, SwarmPolicy},
        possession::Holder,
        succession::{SignedPolicy, Versions},
    },
};

fn secret(kind: u8, number: u16) -> PrivateKey {
    let mut seed = [kind; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    PrivateKey::from_seed(&seed)
}

/// The key of a client.
pub(crate) fn key(writer: u16) -> PrivateKey {
    secret(3, writer)
}

pub(crate) fn name(writer: u16) -> AgentId {
    AgentId::new(&format!("load-{writer}")).unwrap()
}

fn policy() -> SwarmPolicy {
    let issuer =
        Issuer { key: secret(2, 0).public(), max_tier: Tier::ALPHA, rooms: BTreeSet::from(["**".parse().unwrap()]) };
    SwarmPolicy {
        version: 1,
        previous: None,
        roots: Roots { needed: 1, keys: BTreeSet::from([secret(1, 0).public()]) },
        issuers: BTreeMap::from([("issuer".to_owned(), issuer)]),
        allow: None,
        revoked: BTreeMap::new(),
        cuts: BTreeMap::new(),
        trust: BTreeSet::new(),
        limits: Lives::default(),
        quotas: Default::default(),
    }
}

/// Writes the policy's file beside a store.
pub(crate) fn write_policy(store: &Path) -> PathBuf {
    let mut version = SignedPolicy::unsigned(policy());
    version.sign(&secret(1, 0));
    let path = store.with_extension("policy");
    std::fs::write(&path, serde_json::to_vec(&Versions { versions: vec![version] }).unwrap()).unwrap();
    path
}

/// What a client shows; good for ten minutes, in every room.
pub(crate) fn holder(writer: u16, salt: u64) -> Holder {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = key(writer);
    let claims = Claims {
        iss: "load".to_owned(),
        sub: name(writer),
        aud: policy().hash(),
        iat: now,
        nbf: now,
        exp: now + 600,
        jti: format!("load-{writer}"),
        cnf: Confirmation { jwk: key.public().into() },
        swm: Allowance {
            tier: Tier::ALPHA,
            rooms: vec![Grant { rooms: "**".parse().unwrap(), rights: Right::ALL.to_vec(), keys: None }],
            inc: 1,
            del: 0,
        },
    };
    Holder::new(&claims.sign("issuer", &secret(2, 0)).unwrap(), key, salt)
}
