//! Cases 12 to 22, as far as they need no document: what is signed, whose word a run is, what a record is worth.

use std::collections::BTreeSet;

use aepoch::{
    id::{DocumentId, ReplicaId},
    tier::Tier,
    time::Hlc,
    trust::{
        binding::replica_of,
        cut::Cut,
        key::PrivateKey,
        policy::{PolicyHash, SwarmPolicy},
        record::{
            Circle, EquivocationProof, Holder, Invalid, Kind, Missing, NO_SEAT, PREIMAGE_BYTES, Preimage, ProofError,
            RecordId, Seal, ShownCredential, ShownCredentials, SignatureCache, Signed, SignedRecord, SignedRun,
            Verdict, judge, room_hash, stands_ahead,
        },
        succession::{InForce, Versions},
    },
};
use proptest::prelude::*;
use serde_json::json;

use crate::forge::{NOW, claims, issue, key, policy, signed, with};

const SALT: u64 = 7;

/// The planner's, to whom [`claims`] are bound.
fn planner() -> PrivateKey {
    key(21)
}

fn room() -> DocumentId {
    "band/stage".parse().unwrap()
}

fn at(seconds: u64) -> Hlc {
    Hlc((seconds * 1_000) << 16)
}

fn chain(versions: &[SwarmPolicy]) -> InForce {
    let versions = versions.iter().map(|version| signed(version.clone(), &[1, 2])).collect();
    Versions { versions }.in_force(&policy().hash()).unwrap()
}

/// A credential of the planner's, good from a minute before [`NOW`] to ten minutes after it.
fn credential() -> String {
    issue(&with(claims(), "/swm/rooms", json!([{ "p": "band/**", "a": ["write", "coordinate"] }])))
}

fn shown(chains: &[String]) -> ShownCredentials {
    let credentials = chains.iter().map(|chain| ShownCredential { policy: policy().hash(), chain: chain.clone() });
    ShownCredentials { salt: SALT, credentials: credentials.collect() }
}

fn writer() -> ReplicaId {
    replica_of(&planner().public(), SALT)
}

fn holder(in_force: &InForce) -> Holder {
    Holder::of(writer(), &shown(&[credential()]), &policy().hash(), in_force).unwrap()
}

fn record(kind: Kind, seq: u64, stamp: Hlc) -> Preimage {
    Preimage {
        kind,
        swarm: policy().hash(),
        room: room_hash(&room()),
        definition: [0; 32],
        generation: 0,
        seat: NO_SEAT,
        key: planner().public(),
        incarnation: SALT,
        seq,
        previous: RecordId::NONE,
        hlc: stamp,
        tier: Tier::BETA,
        policy: policy().hash(),
        body_len: 3,
        body_hash: [5; 32],
    }
}

fn verdict(preimage: &Preimage, circle: Option<Circle>, in_force: &InForce) -> Verdict {
    judge(preimage, &preimage.id(), &room(), circle, &holder(in_force), in_force)
}

/// Records that follow each other, from the first number given.
fn run(first: u64, len: usize, previous: RecordId) -> Vec<Signed> {
    let mut previous = previous;
    let mut run = Vec::new();
    for seq in (first..=u64::MAX).take(len) {
        let preimage = Preimage { previous, ..record(Kind::Register, seq, at(NOW)) };
        previous = preimage.id();
        run.push(Signed::new(preimage.clone(), &Seal::sign(&preimage, &planner())));
    }
    run
}

fn resealed(signed: &Signed, signature: [u8; 64]) -> Signed {
    let seal = Seal::sign(&signed.preimage, &planner());
    Signed::new(signed.preimage.clone(), &Seal { signature, ..seal })
}

#[test]
fn the_layout_is_frozen_and_comes_back() {
    let preimage = Preimage { generation: 1, seat: 2, seq: 3, ..record(Kind::Slot, 3, Hlc(4)) };
    let bytes = preimage.encode();
    assert_eq!((&bytes[..11], bytes.len()), (&b"swm/rec/1\0\x12"[..], PREIMAGE_BYTES));
    assert_eq!(Preimage::decode(&bytes), Ok(preimage.clone()));
    assert_eq!(preimage.id().to_string(), "OVBzSF4Ko5S47_YZNXsZQzFL7F649pFKcIOyWGm8QJo");
    let seal = Seal::sign(&preimage, &planner());
    assert_eq!(Seal::decode(&seal.encode()), Ok(seal));
    assert!(Seal::decode(&[seal.encode(), vec![0]].concat()).is_err());
    let longest = Seal { hlc: Hlc(u64::MAX), ..seal };
    assert!(longest.encode().len() <= aepoch::limits::SEAL_BYTES);
}

#[test]
fn case_12_and_13_a_record_moved_or_changed_anywhere_is_not_its_writers_word() {
    let honest = Preimage { generation: 4, seat: 5, ..record(Kind::Slot, 6, at(NOW)) };
    let seal = Seal::sign(&honest, &planner());
    let moves: [fn(&mut Preimage); 15] = [
        |copy| copy.kind = Kind::Payload,
        |copy| copy.swarm = PolicyHash::from_bytes([1; 32]),
        |copy| copy.room = room_hash(&"band/other".parse().unwrap()),
        |copy| copy.definition = [1; 32],
        |copy| copy.generation += 1,
        |copy| copy.seat += 1,
        |copy| copy.key = key(22).public(),
        |copy| copy.incarnation += 1,
        |copy| copy.seq += 1,
        |copy| copy.previous = RecordId::from_bytes([1; 32]),
        |copy| copy.hlc.0 += 1,
        |copy| copy.tier.0 ^= 1,
        |copy| copy.policy = PolicyHash::from_bytes([1; 32]),
        |copy| copy.body_len += 1,
        |copy| copy.body_hash = [1; 32],
    ];
    let proven = |preimage: Preimage| SignedRun(&[Signed::new(preimage, &seal)]).proven(&mut SignatureCache::default());
    assert_eq!(proven(honest.clone()), 1);
    for (number, spoil) in moves.into_iter().enumerate() {
        let mut copy = honest.clone();
        spoil(&mut copy);
        assert_eq!(proven(copy), 0, "change {number}");
    }
}

#[test]
fn a_runs_last_signature_proves_what_it_is_linked_to_and_a_gap_takes_its_own() {
    let long = run(1, 20, RecordId::NONE);
    let bad = |at: usize, records: &mut [Signed]| records[at] = resealed(&records[at], [9; 64]);
    let mut linked = long.clone();
    (0..19).for_each(|at| bad(at, &mut linked));
    let mut cache = SignatureCache::default();
    assert_eq!(SignedRun(&linked).checks(&cache).len(), 1, "the last one");
    assert_eq!(SignedRun(&linked).proven(&mut cache), 20);
    let gap = |mut records: Vec<Signed>| {
        records.remove(9);
        records
    };
    assert_eq!(SignedRun(&gap(long.clone())).checks(&SignatureCache::default()).len(), 2, "one on each side");
    let mut broken = long.clone();
    bad(8, &mut broken);
    assert_eq!(SignedRun(&broken).proven(&mut SignatureCache::default()), 20);
    assert_eq!(SignedRun(&gap(broken)).proven(&mut SignatureCache::default()), 8, "up to the one before the gap");
    let mut head = long.clone();
    bad(19, &mut head);
    assert_eq!(SignedRun(&head).proven(&mut SignatureCache::default()), 19, "the one before stands for itself");
    // A link is the id, not the number.
    let mut strangers = run(1, 3, RecordId::NONE);
    strangers.extend(run(4, 3, RecordId::from_bytes([7; 32])));
    bad(2, &mut strangers);
    assert_eq!(SignedRun(&strangers).proven(&mut SignatureCache::default()), 2);
}

#[test]
fn a_run_of_wrong_signatures_is_given_up_early() {
    let mut forged = run(1, 100, RecordId::NONE);
    for record in &mut forged {
        let preimage = Preimage { previous: RecordId::NONE, ..record.preimage.clone() };
        *record = resealed(&Signed::new(preimage.clone(), &Seal::sign(&preimage, &planner())), [9; 64]);
    }
    let mut cache = SignatureCache::default();
    let all = SignedRun(&forged).checks(&cache).len();
    assert_eq!(SignedRun(&forged).proven(&mut cache), 0);
    assert!(SignedRun(&forged).checks(&cache).len() + 3 >= all, "three were verified, not a hundred");
}

#[test]
fn a_verified_signature_is_remembered_with_its_bytes() {
    let records = run(1, 1, RecordId::NONE);
    let mut cache = SignatureCache::default();
    assert_eq!(SignedRun(&records).proven(&mut cache), 1);
    assert!(SignedRun(&records).checks(&cache).is_empty());
    let other = [resealed(&records[0], [9; 64])];
    assert_eq!(SignedRun(&other).proven(&mut cache), 0, "another signature of the same record is looked at");
}

#[test]
fn case_14_the_tier_is_that_of_the_seat_and_no_higher_than_the_credential() {
    let in_force = chain(&[policy()]);
    let slot = record(Kind::Slot, 1, at(NOW));
    let seated = |tier| Some(Circle { stamp: at(NOW), tier: Some(tier) });
    assert_eq!(verdict(&slot, seated(Tier::BETA), &in_force), Verdict::Valid);
    let wrong = Invalid::Tier { found: Tier::BETA, seat: Tier::GAMMA };
    assert_eq!(verdict(&slot, seated(Tier::GAMMA), &in_force), Verdict::Invalid(wrong));
    let alpha = Preimage { tier: Tier::ALPHA, ..slot };
    let above = Verdict::Pending(Missing::Credential);
    assert_eq!(verdict(&alpha, seated(Tier::ALPHA), &in_force), above, "its credential is a beta's");
}

#[test]
fn case_15_one_number_with_two_values_is_proof_and_the_lower_id_is_first() {
    let signed_as =
        |preimage: &Preimage, key: &PrivateKey| SignedRecord::new(preimage.clone(), &Seal::sign(preimage, key));
    let one = record(Kind::Register, 3, at(NOW));
    let other = Preimage { body_hash: [6; 32], ..one.clone() };
    let honest = |preimage: &Preimage| signed_as(preimage, &planner());
    let proof = EquivocationProof::new(honest(&one), honest(&other)).unwrap();
    assert_eq!(EquivocationProof::new(honest(&other), honest(&one)), Ok(proof.clone()));
    assert!(proof.first().preimage.id() < proof.second().preimage.id());
    let refused = |a, b| EquivocationProof::new(a, b).unwrap_err();
    assert_eq!(refused(honest(&one), honest(&one)), ProofError::Same);
    assert_eq!(refused(honest(&one), signed_as(&other, &key(22))), ProofError::Signature);
    for apart in [
        Preimage { seq: 4, ..other.clone() },
        Preimage { kind: Kind::Slot, ..other.clone() },
        Preimage { incarnation: 8, ..other.clone() },
        Preimage { room: [0; 32], ..other.clone() },
    ] {
        assert_eq!(refused(honest(&one), honest(&apart)), ProofError::Apart);
    }
    // One record signed twice is no contradiction.
    let twice = SignedRecord { signature: [9; 64], ..honest(&one) };
    assert_eq!(refused(honest(&one), twice), ProofError::Same);
}

#[test]
fn case_16_a_cut_leaves_what_it_names_and_nothing_stamped_back_gets_in() {
    let kept = record(Kind::Register, 3, at(NOW));
    let cut = |survivors: &[&Preimage]| {
        let survivors = survivors.iter().map(|record| record.id()).collect::<BTreeSet<_>>();
        [(planner().public(), Cut { survivors })].into()
    };
    let second = SwarmPolicy { cuts: cut(&[&kept]), ..policy().next() };
    let in_force = chain(&[policy(), second.clone()]);
    assert_eq!(verdict(&kept, None, &in_force), Verdict::Valid);
    // Before and after it by number and by stamp: what is not named is void.
    for (seq, stamp) in [(2, NOW - 30), (3, NOW - 30), (4, NOW), (9, NOW + 300)] {
        let stamped = record(Kind::Register, seq, at(stamp));
        assert_eq!(verdict(&stamped, None, &in_force), Verdict::Invalid(Invalid::Cut), "{seq} at {stamp}");
    }
    let counted = Some(Circle { stamp: at(NOW), tier: None });
    let vote = record(Kind::Slot, 4, at(NOW));
    assert_eq!(verdict(&vote, counted, &in_force), Verdict::Valid, "what was counted stays counted");
    // Later versions take no cut back, nor let more survive.
    let third = SwarmPolicy { cuts: cut(&[&record(Kind::Register, 4, at(NOW))]), ..second.next() };
    let none = SwarmPolicy { cuts: [].into(), ..third.next() };
    let in_force = chain(&[policy(), second, third, none]);
    assert_eq!(verdict(&kept, None, &in_force), Verdict::Invalid(Invalid::Cut));
}

#[test]
fn a_revoked_writers_records_are_tentative_until_they_are_cut() {
    let revoked = SwarmPolicy { revoked: [("planner".parse().unwrap(), NOW)].into(), ..policy().next() };
    let in_force = chain(&[policy(), revoked.clone()]);
    let open = record(Kind::Register, 3, at(NOW));
    assert_eq!(verdict(&open, None, &in_force), Verdict::Tentative);
    let circle = Some(Circle { stamp: at(NOW), tier: None });
    assert_eq!(verdict(&record(Kind::Slot, 3, at(NOW)), circle, &in_force), Verdict::Valid);
    let survivors = BTreeSet::from([open.id()]);
    let cut = SwarmPolicy { cuts: [(planner().public(), Cut { survivors })].into(), ..revoked.next() };
    assert_eq!(verdict(&open, None, &chain(&[policy(), revoked, cut])), Verdict::Valid);
}

#[test]
fn case_18_who_was_seated_before_its_credential_ended_counts_and_gets_no_next_seat() {
    let in_force = chain(&[policy()]);
    let late = record(Kind::Slot, 1, at(NOW + 5_000));
    let sealed = |stamp| Some(Circle { stamp: at(stamp), tier: Some(Tier::BETA) });
    assert_eq!(verdict(&late, sealed(NOW), &in_force), Verdict::Valid, "it ended in the middle");
    let next = verdict(&late, sealed(NOW + 700), &in_force);
    assert_eq!(next, Verdict::Pending(Missing::Credential), "it had ended when this was sealed");
    assert_eq!(verdict(&late, sealed(NOW - 9_000), &in_force), Verdict::Valid, "one issued later says no less");
}

#[test]
fn in_the_open_a_record_counts_within_the_window_of_a_credential() {
    let in_force = chain(&[policy()]);
    for (stamp, counts) in [(NOW - 100, false), (NOW - 60, true), (NOW + 599, true), (NOW + 640, false)] {
        let found = verdict(&record(Kind::Register, 1, at(stamp)), None, &in_force);
        let expected = if counts { Verdict::Valid } else { Verdict::Pending(Missing::Credential) };
        assert_eq!(found, expected, "{stamp}");
    }
    let mut elsewhere = record(Kind::Register, 1, at(NOW));
    let crew: DocumentId = "crew".parse().unwrap();
    elsewhere.room = room_hash(&crew);
    let found = judge(&elsewhere, &elsewhere.id(), &crew, None, &holder(&in_force), &in_force);
    assert_eq!(found, Verdict::Pending(Missing::Credential), "it grants nothing there");
}

#[test]
fn case_20_a_stamp_ahead_is_held_for_its_time_and_judged_alike() {
    let seal = Seal::sign(&record(Kind::Register, 1, at(NOW + 61)), &planner());
    assert!(stands_ahead(&seal, (NOW) * 1_000));
    assert!(!stands_ahead(&seal, (NOW + 1) * 1_000));
    let furthest = Seal { hlc: Hlc(u64::MAX), ..seal };
    assert!(stands_ahead(&furthest, 0) && !stands_ahead(&furthest, u64::MAX), "no number overflows");
}

#[test]
fn case_21_what_is_missing_may_come() {
    let in_force = chain(&[policy()]);
    let slot = record(Kind::Slot, 1, at(NOW));
    assert_eq!(verdict(&slot, None, &in_force), Verdict::Pending(Missing::Definition));
    let second = policy().next();
    let ahead = Preimage { policy: second.hash(), ..record(Kind::Register, 1, at(NOW)) };
    assert_eq!(verdict(&ahead, None, &in_force), Verdict::Pending(Missing::Policy(second.hash())));
    assert_eq!(verdict(&ahead, None, &chain(&[policy(), second])), Verdict::Valid);
}

#[test]
fn case_22_the_last_number_is_a_number() {
    let last = run(u64::MAX - 1, 2, RecordId::NONE);
    assert_eq!(SignedRun(&last).proven(&mut SignatureCache::default()), 2);
    // After it there is none that could follow.
    let twice = [run(u64::MAX, 1, RecordId::NONE), run(u64::MAX, 1, last[0].id)].concat();
    assert_eq!(SignedRun(&twice).proven(&mut SignatureCache::default()), 2);
    let in_force = chain(&[policy()]);
    let furthest = record(Kind::Register, u64::MAX, Hlc(u64::MAX));
    assert_eq!(verdict(&furthest, None, &in_force), Verdict::Pending(Missing::Credential));
}

#[test]
fn a_replica_id_belongs_to_one_key_and_what_is_shown_proves_it() {
    let in_force = chain(&[policy()]);
    let swarm = policy().hash();
    let of = |writer, shown: &ShownCredentials| Holder::of(writer, shown, &swarm, &in_force);
    assert_eq!(writer().get(), 6_830_550_934_936_721, "the derivation is frozen");
    assert_eq!(of(writer(), &shown(&[credential()])).unwrap().key, planner().public());
    assert_eq!(of(ReplicaId::from_bits(5), &shown(&[credential()])), None, "another writer");
    let salted = ShownCredentials { salt: 8, ..shown(&[credential()]) };
    assert_eq!(of(writer(), &salted), None, "another incarnation");
    let foreign = issue(&with(claims(), "/cnf/jwk/x", json!(key(22).public())));
    assert_eq!(of(writer(), &shown(&[foreign])), None, "another's credential");
    let mut unknown = shown(&[credential()]);
    unknown.credentials[0].policy = PolicyHash::from_bytes([1; 32]);
    assert_eq!(of(writer(), &unknown), None, "judged by a policy that is not known");
    let bytes = shown(&[credential(), credential()]).encode();
    assert_eq!(ShownCredentials::decode(&bytes).unwrap(), shown(&[credential(), credential()]));
    let many = shown(&[const { String::new() }; 5]).encode();
    assert!(ShownCredentials::decode(&many).unwrap_err().to_string().contains("5 credentials, must be 1 to 4"));
    assert!(ShownCredentials::decode(&[bytes, vec![0]].concat()).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_seal_and_no_credentials_and_never_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400)
    ) {
        let _ = (Seal::decode(&bytes), ShownCredentials::decode(&bytes));
        if let Some(preimage) = bytes.first_chunk::<PREIMAGE_BYTES>() {
            prop_assert!(Preimage::decode(preimage).is_err());
        }
    }
}
