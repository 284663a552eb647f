//! A small swarm with its keys, and tokens the library would refuse to write.

use std::collections::{BTreeMap, BTreeSet};

use aepoch::trust::{
    credential::{Admission, Claims, CredentialError, admit},
    key::PrivateKey,
    policy::{Issuer, Lives, PolicyHash, Roots, SwarmPolicy},
    succession::{SignedPolicy, Versions},
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// When everything happens, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

/// Issues alphas.
pub(crate) fn alpha_issuer() -> PrivateKey {
    key(11)
}

/// Issues betas at most, and only below `band`.
pub(crate) fn beta_issuer() -> PrivateKey {
    key(12)
}

/// Two of three roots, two issuers.
pub(crate) fn policy() -> SwarmPolicy {
    let issuer = |key: PrivateKey, max_tier: &str, rooms: &str| Issuer {
        key: key.public(),
        max_tier: max_tier.parse().unwrap(),
        rooms: BTreeSet::from([rooms.parse().unwrap()]),
    };
    SwarmPolicy {
        version: 1,
        previous: None,
        roots: roots(2, &[1, 2, 3]),
        issuers: BTreeMap::from([
            ("alphas".to_owned(), issuer(alpha_issuer(), "alpha", "**")),
            ("betas".to_owned(), issuer(beta_issuer(), "beta", "band/**")),
        ]),
        allow: None,
        revoked: BTreeMap::new(),
        cuts: BTreeMap::new(),
        trust: BTreeSet::new(),
        limits: Lives::default(),
        quotas: Default::default(),
    }
}

pub(crate) fn roots(needed: u64, seeds: &[u8]) -> Roots {
    Roots { needed, keys: seeds.iter().map(|seed| key(*seed).public()).collect() }
}

pub(crate) fn signed(policy: SwarmPolicy, seeds: &[u8]) -> SignedPolicy {
    let mut version = SignedPolicy::unsigned(policy);
    seeds.iter().for_each(|seed| version.sign(&key(*seed)));
    version
}

pub(crate) fn in_force(swarm: &PolicyHash, versions: &[SignedPolicy]) -> SwarmPolicy {
    Versions { versions: versions.to_vec() }.in_force(swarm).unwrap().policy
}

/// Claims of a beta called `planner`, good for half an hour, as JSON to be spoiled.
pub(crate) fn claims() -> Value {
    json!({
        "iss": "https://issuer.example", "sub": "planner", "aud": policy().hash(),
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 600, "jti": "1",
        "cnf": { "jwk": { "kty": "OKP", "crv": "Ed25519", "x": key(21).public() } },
        "swm": { "tier": "beta", "rooms": [{ "p": "band/**", "a": ["read", "write"] }], "inc": 1, "del": 2 },
    })
}

/// The claims with one value replaced, found by its JSON pointer.
pub(crate) fn with(mut claims: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    claims.pointer_mut(parent).unwrap()[name] = value;
    claims
}

pub(crate) fn header(kid: &str) -> String {
    json!({ "alg": "EdDSA", "kid": kid, "typ": "agent+jwt" }).to_string()
}

/// Signs any two texts.
pub(crate) fn forge(header: &str, payload: &str, key: &PrivateKey) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    format!("{signed}.{}", b64(key.sign(signed.as_bytes())))
}

/// Signs claims as the issuer of alphas.
pub(crate) fn issue(claims: &Value) -> String {
    forge(&header("alphas"), &claims.to_string(), &alpha_issuer())
}

/// Judges at [`NOW`] by [`policy`].
pub(crate) fn judge(presented: &str) -> Result<Admission, CredentialError> {
    admit(presented, &policy().hash(), &policy(), NOW)
}

/// The text of the refusal.
pub(crate) fn refusal(presented: &str) -> String {
    judge(presented).unwrap_err().to_string()
}

/// What the library itself writes for such claims.
pub(crate) fn written(claims: Value) -> Claims {
    serde_json::from_value(claims).unwrap()
}
