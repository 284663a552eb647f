//! A swarm whose rooms below `band` are end to end: its policy, and replicas with keys and credentials.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aepoch::{
    coordination::{
        kernel::{Definition, Gate, OnShortfall, Own, Seat, Slot, Tier, TierPolicy},
        object::{Plan, Purpose, encode_slot},
        seating::Seats,
    },
    document::{
        AppliedDeltas, Delta, Document, DocumentError, Incoming, Seating, Signer, Signing, SlotKey, SlotPart,
        Transaction,
    },
    engine::EngineKind,
    id::{DocumentId, ObjectId, ReplicaId},
    trust::{
        binding::replica_of,
        credential::Claims,
        dial::{Dial, DialRule},
        key::{PrivateKey, PublicKey},
        policy::{Issuer, Lives, Roots, SwarmPolicy},
        succession::{InForce, SignedPolicy, Versions},
    },
};
use serde_json::json;

/// When everything happens, in milliseconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000_000;
pub(crate) const SALT: u64 = 3;

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

pub(crate) fn policy() -> SwarmPolicy {
    let issuer =
        Issuer { key: key(200).public(), max_tier: Tier::ALPHA, rooms: BTreeSet::from(["**".parse().unwrap()]) };
    SwarmPolicy {
        version: 1,
        previous: None,
        roots: Roots { needed: 1, keys: BTreeSet::from([key(100).public()]) },
        issuers: BTreeMap::from([("issuer".to_owned(), issuer)]),
        allow: None,
        revoked: BTreeMap::new(),
        cuts: BTreeMap::new(),
        trust: BTreeSet::from([DialRule { rooms: "band/**".parse().unwrap(), dial: Dial::EndToEnd }]),
        limits: Lives::default(),
        quotas: Default::default(),
    }
}

pub(crate) fn chain(versions: &[SwarmPolicy]) -> Arc<InForce> {
    let signed = versions.iter().map(|policy| {
        let mut version = SignedPolicy::unsigned(policy.clone());
        version.sign(&key(100));
        version
    });
    Arc::new(Versions { versions: signed.collect() }.in_force(&policy().hash()).unwrap())
}

/// A credential of agent `seed`, in seconds around [`NOW`].
pub(crate) fn credential(seed: u8, tier: Tier, from: i64, to: i64) -> String {
    let at = |seconds: i64| (NOW / 1_000).checked_add_signed(seconds).unwrap();
    let claims = json!({
        "iss": "issuer", "sub": format!("agent-{seed}"), "aud": policy().hash(), "iat": at(from), "nbf": at(from),
        "exp": at(to), "jti": "1", "cnf": { "jwk": { "kty": "OKP", "crv": "Ed25519", "x": key(seed).public() } },
        "swm": { "tier": tier.to_string(), "rooms": [{ "p": "**", "a": ["write", "coordinate"] }], "inc": 1 },
    });
    let claims: Claims = serde_json::from_value(claims).unwrap();
    claims.sign("issuer", &key(200)).unwrap()
}

pub(crate) fn writer(seed: u8) -> ReplicaId {
    replica_of(&key(seed).public(), SALT)
}

pub(crate) fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

/// What agent `seed` signs with, good from ten minutes ago and for ten more.
pub(crate) fn signer(seed: u8) -> Signer {
    renewed(seed, credential(seed, Tier::BETA, -600, 600))
}

pub(crate) fn renewed(seed: u8, credential: String) -> Signer {
    Signer::new(writer(seed), key(seed), SALT, credential, Tier::BETA).unwrap()
}

pub(crate) fn authority(signer: Option<Signer>, in_force: &Arc<InForce>) -> Arc<Signing> {
    seated_by(&Seats, signer, in_force)
}

pub(crate) fn seated_by(
    seating: &'static dyn Seating,
    signer: Option<Signer>,
    in_force: &Arc<InForce>,
) -> Arc<Signing> {
    Arc::new(Signing { swarm: policy().hash(), in_force: in_force.clone(), signer, seating })
}

/// A replica of `band/stage` that has shown its credential, and the delta by which it did.
pub(crate) fn replica(kind: EngineKind, seed: u8) -> (Document, Delta) {
    replica_in("band/stage", kind, seed)
}

pub(crate) fn replica_in(room: &str, kind: EngineKind, seed: u8) -> (Document, Delta) {
    let mut document = Document::new(DocumentId::new(room).unwrap(), kind, writer(seed)).unwrap();
    document.set_signing(&authority(Some(signer(seed)), &chain(&[policy()]))).unwrap();
    let shown = document.uphold(NOW).unwrap().delta;
    (document, shown)
}

pub(crate) fn set(document: &mut Document, register: &str, value: u64) -> Delta {
    write(document, |tx| tx.register(register).set(&value))
}

pub(crate) fn write(
    document: &mut Document,
    plan: impl FnOnce(&mut Transaction<'_>) -> Result<(), DocumentError>,
) -> Delta {
    document.transact(NOW, false, plan).unwrap().1.delta
}

pub(crate) fn give(document: &mut Document, delta: &Delta) -> AppliedDeltas {
    give_at(document, delta, NOW)
}

pub(crate) fn give_at(document: &mut Document, delta: &Delta, wall_ms: u64) -> AppliedDeltas {
    let incoming = Incoming::decode(delta.encode().unwrap(), 9, None).unwrap();
    document.apply(vec![incoming], wall_ms, false).unwrap()
}

/// The reasons for which something was refused.
pub(crate) fn refusals(applied: &AppliedDeltas) -> Vec<String> {
    applied.refused.iter().map(|(_, error)| error.to_string()).collect()
}

pub(crate) fn voids(applied: &AppliedDeltas) -> Vec<String> {
    applied.void.iter().map(|(_, error)| error.to_string()).collect()
}

/// A strict barrier of these agents, all betas, held by the first.
pub(crate) fn plan(holder: u8, members: &[u8]) -> Plan {
    let seat =
        |seed: &u8| Seat { agent: format!("agent-{seed}").parse().unwrap(), replica: writer(*seed), tier: Tier::BETA };
    let tier = TierPolicy {
        tier: Tier::BETA,
        timeout: std::time::Duration::from_secs(15),
        min: 1,
        on_shortfall: OnShortfall::Wait,
    };
    Plan {
        definition: Definition {
            document: DocumentId::new("band/stage").unwrap(),
            name: "chorus".to_owned(),
            creator: format!("agent-{holder}").parse().unwrap(),
            origin: ObjectId { holder: writer(holder), number: 1 },
            members: members.iter().map(seat).collect(),
            electors: Vec::new(),
            tolerate: 0,
            tiers: vec![tier],
            gate: Gate::Decided,
            fence: false,
        },
        purpose: Purpose::Barrier { once: true },
    }
}

pub(crate) fn define(document: &mut Document, plan: &Plan) -> Delta {
    let key = SlotKey::Of(plan.object(), SlotPart::Definition);
    document.write_slots(vec![(key, plan.encode().into())], NOW).unwrap()
}

/// The agent of `document` arrives.
pub(crate) fn arrive(document: &mut Document, plan: &Plan, wall_ms: u64) -> Delta {
    let slot = Slot { own: Own::Arrived(Default::default()), ..Slot::default() };
    let key = SlotKey::Of(plan.object(), SlotPart::Slot);
    document.write_slots(vec![(key, encode_slot(plan.fingerprint(), &slot).into())], wall_ms).unwrap()
}

/// True when the arrival of agent `seed` is here.
pub(crate) fn has_arrived(document: &Document, plan: &Plan, seed: u8) -> bool {
    document.slot(SlotKey::Of(plan.object(), SlotPart::Slot), writer(seed)).is_some()
}
