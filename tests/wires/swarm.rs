//! A swarm whose issuer gives passes to guests.

use std::collections::{BTreeMap, BTreeSet};

use aepoch::trust::{
    authority::Authority,
    key::PrivateKey,
    pass::{PassAllowance, PassClaims},
    pattern::{Grant, Right},
    policy::{Issuer, Lives, Roots, SwarmPolicy},
    succession::{SignedPolicy, Versions},
};

/// When it all begins, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

fn root() -> PrivateKey {
    PrivateKey::from_seed(&[1; 32])
}

pub(crate) fn issuer() -> PrivateKey {
    PrivateKey::from_seed(&[2; 32])
}

fn policy() -> SwarmPolicy {
    let rooms = ["band/**", "swarm/**"].map(|rooms| rooms.parse().unwrap()).into();
    SwarmPolicy {
        version: 1,
        previous: None,
        roots: Roots { needed: 1, keys: BTreeSet::from([root().public()]) },
        issuers: BTreeMap::from([(
            "gates".to_owned(),
            Issuer { key: issuer().public(), max_tier: "gamma".parse().unwrap(), rooms },
        )]),
        allow: None,
        revoked: BTreeMap::new(),
        cuts: BTreeMap::new(),
        trust: BTreeSet::new(),
        limits: Lives::default(),
        quotas: Default::default(),
    }
}

/// The swarm's first version.
pub(crate) fn authority() -> Authority {
    succeeded(|_| {}, false)
}

/// The swarm by a second version, which `change` makes of the first.
pub(crate) fn changed(change: impl FnOnce(&mut SwarmPolicy)) -> Authority {
    succeeded(change, true)
}

fn succeeded(change: impl FnOnce(&mut SwarmPolicy), has_second: bool) -> Authority {
    let signed = |policy: SwarmPolicy| {
        let mut version = SignedPolicy::unsigned(policy);
        version.sign(&root());
        version
    };
    let first = policy();
    let swarm = first.hash();
    let mut versions = vec![signed(first.clone())];
    if has_second {
        let mut second = SwarmPolicy { version: 2, previous: Some(swarm), ..first };
        change(&mut second);
        versions.push(signed(second));
    }
    Authority::new(swarm, &Versions { versions }).unwrap()
}

pub(crate) fn claims(subject: &str, grants: &[(&str, &[Right])]) -> PassClaims {
    let grant = |(rooms, rights): &(&str, &[Right])| Grant {
        rooms: rooms.parse().unwrap(),
        rights: rights.to_vec(),
        keys: None,
    };
    PassClaims {
        iss: "gates".to_owned(),
        sub: subject.parse().unwrap(),
        aud: policy().hash(),
        iat: NOW - 60,
        nbf: NOW - 60,
        exp: NOW + 600,
        jti: format!("pass-of-{subject}"),
        swm: PassAllowance { rooms: grants.iter().map(grant).collect() },
    }
}

/// A pass, as a client shows it.
pub(crate) fn pass(subject: &str, grants: &[(&str, &[Right])]) -> String {
    claims(subject, grants).sign("gates", &issuer()).unwrap()
}
