//! Credentials and policy files of a stranger: a verdict, never a panic; and no more than the policy gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use aepoch::trust::{
    credential::admit,
    delegation::{pass_on, unverified},
    jws,
    key::PrivateKey,
    policy::{Issuer, Lives, PolicyHash, Roots, SwarmPolicy},
    succession::{SignedPolicy, Versions},
};
use serde_json::{Value, json};

/// First byte of an input that is a credential as it is presented.
const PRESENTED: u8 = 0;
/// First byte of one that is a policy file.
const POLICY: u8 = 1;
/// Any other: claims that the issuer signs, so that what comes after the signature is reached.
const CLAIMS: u8 = 2;
/// Seconds since 1970.
const NOW: u64 = 1_800_000_000;

static POLICY_IN_FORCE: LazyLock<(PolicyHash, SwarmPolicy)> = LazyLock::new(|| (policy().hash(), policy()));

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

/// One root, one issuer of betas.
fn policy() -> SwarmPolicy {
    let issuer = Issuer {
        key: key(2).public(),
        max_tier: "beta".parse().expect("a tier"),
        rooms: BTreeSet::from(["**".parse().expect("a pattern")]),
    };
    SwarmPolicy {
        version: 1,
        previous: None,
        roots: Roots { needed: 1, keys: BTreeSet::from([key(1).public()]) },
        issuers: BTreeMap::from([("betas".to_owned(), issuer)]),
        allow: None,
        revoked: BTreeMap::new(),
        cuts: BTreeMap::new(),
        trust: BTreeSet::new(),
        limits: Lives::default(),
        quotas: Default::default(),
    }
}

/// Judges what the first byte says the rest is.
pub fn fuzz_one(data: &[u8]) -> String {
    let Some((&mode, rest)) = data.split_first() else { return "nothing".to_owned() };
    let text = String::from_utf8_lossy(rest);
    match mode {
        PRESENTED => judge(&text),
        POLICY => match Versions::read(rest) {
            Ok(versions) => {
                let in_force = versions.in_force(&POLICY_IN_FORCE.0).map(|found| found.policy.version);
                in_force.map_or("no policy in force".to_owned(), |version| format!("version {version} in force"))
            }
            Err(error) => kind(&error),
        },
        _ => match serde_json::from_str::<Value>(&text) {
            Ok(claims) => jws::sign(jws::Kind::Agent, &claims, "betas", &key(2))
                .map_or_else(|error| kind(&error), |token| judge(&token)),
            Err(_) => "no claims".to_owned(),
        },
    }
}

fn judge(presented: &str) -> String {
    let (swarm, policy) = &*POLICY_IN_FORCE;
    let shown = unverified(presented);
    match admit(presented, swarm, policy, NOW) {
        Ok(admitted) => {
            assert!(shown.is_ok(), "what is admitted can be shown");
            assert!(admitted.tier.0 >= 1, "an issuer of betas made an alpha");
            assert!(admitted.expires > NOW - 60, "an expired credential was admitted");
            format!("admitted as tier {}", admitted.tier.0)
        }
        Err(error) => kind(&error),
    }
}

/// The name of an error's variant, and of the one inside: its text holds the input.
fn kind(error: &dyn std::fmt::Debug) -> String {
    format!("{error:?}").chars().take_while(|c| c.is_alphanumeric() || *c == '(').collect()
}

fn claims(subject: &str, issuer: &str, tier: &str, holder: u8, passed_on: u8) -> Value {
    json!({
        "iss": issuer, "sub": subject, "aud": POLICY_IN_FORCE.0,
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 600, "jti": "1",
        "cnf": { "jwk": { "kty": "OKP", "crv": "Ed25519", "x": key(holder).public() } },
        "swm": { "tier": tier, "rooms": [{ "p": "band/**", "a": ["read", "write"] }], "inc": 1, "del": passed_on },
    })
}

fn with_mode(mode: u8, text: &str) -> Vec<u8> {
    [&[mode], text.as_bytes()].concat()
}

/// A credential, one passed on, claims of a beta and of an alpha, a policy in force and one without signatures.
pub fn seeds() -> Vec<Vec<u8>> {
    let sign = |claims: &Value, kid: &str, by: u8| {
        jws::sign(jws::Kind::Agent, claims, kid, &key(by)).expect("a token within its bounds")
    };
    let token = sign(&claims("planner", "betas", "beta", 3, 1), "betas", 2);
    let link = sign(&claims("worker", "planner", "gamma", 4, 0), &key(3).public().thumbprint(), 3);
    let mut version = SignedPolicy::unsigned(policy());
    let file = |version: &SignedPolicy| {
        serde_json::to_string(&Versions { versions: vec![version.clone()] }).expect("a policy is JSON")
    };
    let unsigned = file(&version);
    version.sign(&key(1));
    vec![
        with_mode(PRESENTED, &token),
        with_mode(PRESENTED, &pass_on(&token, &link)),
        with_mode(CLAIMS, &claims("planner", "betas", "gamma", 3, 1).to_string()),
        with_mode(CLAIMS, &claims("planner", "betas", "alpha", 3, 1).to_string()),
        with_mode(POLICY, &file(&version)),
        with_mode(POLICY, &unsigned),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_reaches_its_end() {
        let outcomes: Vec<String> = seeds().iter().map(|seed| fuzz_one(seed)).collect();
        let tiers = [1, 2, 2, 1].map(|tier| format!("admitted as tier {tier}"));
        assert_eq!(outcomes[..4], tiers);
        assert_eq!(outcomes[4..], ["version 1 in force", "no policy in force"]);
    }
}
