//! Goal: where a room is end to end, nodes believe nobody but a record's writer. Method: a policy whose rooms below
//! `swarm` are, hosts with keys and credentials, a relay that checks or cannot, and hosts that sign nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use aepoch::{
    coordination::{kernel::Tier, object::Purpose, seating::Seats},
    document::{Document, Incoming, Signer, Signing},
    engine::EngineKind,
    id::{ObjectId, ReplicaId},
    node::Event,
    trust::{
        binding::replica_of,
        credential::Claims,
        cut::Cut,
        dial::{Dial, DialRule},
        key::PrivateKey,
        policy::{Issuer, Lives, Roots, SwarmPolicy},
        succession::{InForce, SignedPolicy, Versions},
    },
};
use serde_json::json;

use crate::{
    coordination::plan,
    world::{World, document, tuning},
};

const NOW: u64 = 1_800_000_000_000;
const SALT: u64 = 1;

fn key(host: usize) -> PrivateKey {
    PrivateKey::from_seed(&[u8::try_from(host).unwrap(); 32])
}

fn policy() -> SwarmPolicy {
    let rooms = BTreeSet::from(["**".parse().unwrap()]);
    SwarmPolicy {
        version: 1,
        previous: None,
        roots: Roots { needed: 1, keys: BTreeSet::from([key(100).public()]) },
        issuers: BTreeMap::from([(
            "issuer".to_owned(),
            Issuer { key: key(200).public(), max_tier: Tier::ALPHA, rooms },
        )]),
        allow: None,
        revoked: BTreeMap::new(),
        cuts: BTreeMap::new(),
        trust: BTreeSet::from([DialRule { rooms: "swarm/**".parse().unwrap(), dial: Dial::EndToEnd }]),
        limits: Lives::default(),
        quotas: Default::default(),
    }
}

fn chain(versions: &[SwarmPolicy]) -> Arc<InForce> {
    let signed = versions.iter().map(|policy| {
        let mut version = SignedPolicy::unsigned(policy.clone());
        version.sign(&key(100));
        version
    });
    Arc::new(Versions { versions: signed.collect() }.in_force(&policy().hash()).unwrap())
}

fn writer(host: usize) -> ReplicaId {
    replica_of(&key(host).public(), SALT)
}

fn signer(host: usize) -> Signer {
    let now = NOW / 1_000;
    let claims = json!({
        "iss": "issuer", "sub": format!("host-{host}"), "aud": policy().hash(), "iat": now, "nbf": now,
        "exp": now + 900, "jti": "1", "cnf": { "jwk": { "kty": "OKP", "crv": "Ed25519", "x": key(host).public() } },
        "swm": { "tier": "alpha", "rooms": [{ "p": "**", "a": ["write", "coordinate"] }], "inc": 1 },
    });
    let claims: Claims = serde_json::from_value(claims).unwrap();
    let credential = claims.sign("issuer", &key(200)).unwrap();
    Signer::new(writer(host), key(host), SALT, credential, Tier::ALPHA).unwrap()
}

fn authority(signer: Option<Signer>, versions: &[SwarmPolicy]) -> Arc<Signing> {
    Arc::new(Signing { swarm: policy().hash(), in_force: chain(versions), signer, seating: &Seats })
}

/// The relay checks and writes nothing; everybody else signs.
fn all_sign(host: usize) -> (ReplicaId, Option<Arc<Signing>>) {
    let signer = (host > 0).then(|| signer(host));
    (writer(host), Some(authority(signer, &[policy()])))
}

/// A relay without a policy.
fn relay_cannot_check(host: usize) -> (ReplicaId, Option<Arc<Signing>>) {
    if host == 0 { (writer(host), None) } else { all_sign(host) }
}

/// Host 1 knows nothing of keys.
fn first_signs_nothing(host: usize) -> (ReplicaId, Option<Arc<Signing>>) {
    if host == 1 { (writer(host), None) } else { all_sign(host) }
}

/// Nor does the relay.
fn first_and_relay_know_nothing(host: usize) -> (ReplicaId, Option<Arc<Signing>>) {
    if host <= 1 { (writer(host), None) } else { all_sign(host) }
}

fn world(who: crate::world::Who, agents: usize) -> World {
    let mut world = World::of(who, NOW, agents, &tuning());
    world.pass(Duration::from_millis(50));
    world
}

fn offences(world: &World, host: usize) -> Vec<String> {
    let said = world.hosts[host].events.iter().filter_map(|event| match event {
        Event::Offence { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    said.collect()
}

#[test]
fn signed_records_pass_a_relay_whether_or_not_it_can_check() {
    for who in [all_sign, relay_cannot_check] {
        let mut world = world(who, 3);
        world.set(1, "song", 7);
        world.put(2, "key", "c");
        world.pass(Duration::from_millis(100));
        for host in 1..=3 {
            assert_eq!(world.get(host, "register/song"), Some(json!(7)));
            assert_eq!(world.get(host, "map/m/key"), Some(json!("c")));
            assert_eq!(offences(&world, host), Vec::<String>::new());
        }
        // One who comes later is told everything by the relay.
        let late = world.join(&tuning());
        world.pass(Duration::from_millis(100));
        assert_eq!(world.get(late, "register/song"), Some(json!(7)));
        world.assert_equal();
    }
}

#[test]
fn what_is_not_signed_is_refused_by_a_relay_that_checks_and_by_everybody_behind_one_that_cannot() {
    let mut checked = world(first_signs_nothing, 2);
    checked.set(1, "song", 7);
    checked.pass(Duration::from_millis(100));
    assert!(offences(&checked, 0).concat().contains("it is not signed"), "{:?}", offences(&checked, 0));
    assert_eq!(checked.get(2, "register/song"), None);

    let mut passed_on = world(first_and_relay_know_nothing, 2);
    passed_on.set(1, "song", 7);
    passed_on.pass(Duration::from_millis(100));
    assert_eq!(passed_on.get(0, "register/song"), Some(json!(7)));
    let said = offences(&passed_on, 2).concat();
    assert!(said.contains("register/song number 1") && said.contains(&writer(1).to_string()), "{said}");
    assert_eq!(passed_on.get(2, "register/song"), None);
}

#[test]
fn a_barrier_of_signed_arrivals_releases_everybody_and_outlives_a_restart() {
    for tolerate in [0, 1] {
        let mut world = world(all_sign, 4);
        let unsealed = plan("chorus", &[&[1, 2], &[3, 4]], tolerate, Purpose::Barrier { once: false });
        let sealed = move |origin: ObjectId| {
            let mut plan = unsealed(origin);
            for (seat, host) in plan.definition.members.iter_mut().zip(1..) {
                seat.replica = writer(host);
            }
            plan
        };
        let object = world.define(1, sealed);
        for generation in 0..3 {
            for host in [3, 1, 4, 2] {
                assert_eq!(world.arrive(host, object), generation);
            }
            world.pass(Duration::from_millis(200));
            let outcomes: BTreeSet<_> =
                (1..=4).map(|host| format!("{:?}", world.outcome(host, object, generation))).collect();
            assert!(!outcomes.is_empty());
            world.restart(3);
            world.pass(Duration::from_millis(200));
        }
        for host in 0..=4 {
            assert_eq!(offences(&world, host), Vec::<String>::new());
        }
        world.assert_equal();
    }
}

#[test]
fn many_signatures_are_verified_outside_of_the_node() {
    let mut world = world(all_sign, 2);
    world.hosts[2].hold_work = true;
    world.cut_off(2);
    for number in 0..40 {
        world.set(1, &format!("song-{number}"), number);
    }
    world.pass(Duration::from_millis(50));
    world.cut_off_no_more(2);
    world.pass(Duration::from_millis(50));
    assert_eq!(world.hosts[2].work.len(), 1, "the document is out with its signatures");
    world.hosts[2].hold_work = false;
    world.pass(Duration::from_millis(50));
    assert_eq!(world.get(2, "register/song-39"), Some(json!(39)));
    world.assert_equal();
}

#[test]
fn a_cut_that_comes_later_takes_what_the_thief_wrote_and_what_survives_comes_back() {
    let mut world = world(all_sign, 3);
    world.set(1, "song", 1);
    world.pass(Duration::from_millis(100));
    // The third hears nothing of what the thief writes with the first one's key.
    world.cut_off(3);
    let honest = world.hosts[3].node.read(&document(), Document::snapshot).unwrap();
    let mut known = Document::new(document(), EngineKind::Yrs, ReplicaId::from_bits(9)).unwrap();
    known.set_signing(&authority(None, &[policy()])).unwrap();
    known.apply(vec![Incoming::decode(honest.encode().unwrap(), 0, None).unwrap()], NOW, false).unwrap();
    let survivors: BTreeSet<_> = known.record_ids(&key(1).public()).into_iter().map(|(_, id)| id).collect();
    assert_eq!(survivors.len(), 1);
    world.set(1, "song", 666);
    world.set(1, "lyrics", 666);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.get(2, "register/song"), Some(json!(666)));
    let cut = SwarmPolicy { cuts: [(key(1).public(), Cut { survivors })].into(), ..policy().next() };
    world.cut_off(1);
    for host in [0, 2, 3] {
        let signer = (host > 0).then(|| signer(host));
        let now = world.now;
        world.hosts[host].node.set_signing(authority(signer, &[policy(), cut.clone()]), now);
        world.pass(Duration::from_millis(50));
    }
    for register in ["register/song", "register/lyrics"] {
        assert_eq!(world.get(2, register), None, "nobody who is here has what it replaced");
    }
    world.cut_off_no_more(3);
    world.cut_off_no_more(1);
    world.pass(Duration::from_millis(300));
    for host in [0, 2, 3] {
        assert_eq!(world.get(host, "register/song"), Some(json!(1)), "host {host}");
        assert_eq!(world.get(host, "register/lyrics"), None);
    }
}

#[test]
fn what_was_stamped_ahead_counts_when_its_time_has_come() {
    let mut world = world(all_sign, 2);
    let honest = world.now;
    world.now.wall_ms += 180_000;
    let ahead = world.now;
    let plan = |tx: &mut aepoch::document::Transaction<'_>| tx.register("song").set(&1);
    world.hosts[1].node.transact(&document(), plan, ahead).unwrap();
    world.now = honest;
    world.pass(Duration::from_millis(100));
    assert_eq!(world.get(2, "register/song"), None);
    world.now.wall_ms += 121_000;
    world.pass(Duration::from_secs(121));
    assert_eq!(world.get(2, "register/song"), Some(json!(1)));
}
