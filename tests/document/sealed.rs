//! Cases 12 to 22 on documents: what is signed, what is taken in of what others bring, and that replicas agree.

use aepoch::{
    coordination::{kernel::Tier, seating::Seats},
    document::{Delta, Document, DocumentError, Incoming, SealedSeats, Seating, SlotPlace},
    engine::EngineKind,
    id::{DocumentId, ObjectId, ReplicaId},
    limits,
    trust::{cut::Cut, policy::SwarmPolicy, record::Seal},
};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use crate::{
    peer::kinds,
    signers::{
        NOW, SALT, arrive, authority, chain, credential, define, give, give_at, has_arrived, plan, policy, public,
        refusals, renewed, replica, replica_in, seated_by, set, signer, voids, write, writer,
    },
};

fn kind() -> EngineKind {
    kinds()[0]
}

fn get(document: &Document, path: &str) -> Option<serde_json::Value> {
    document.get_path(path).ok()
}

/// Changes the seal of the last record in a delta.
fn reseal(delta: &Delta, change: impl FnOnce(&mut Seal)) -> Delta {
    let mut delta = delta.clone();
    let records = delta.records.iter_mut().flat_map(|run| &mut run.records).map(|record| &mut record.signature);
    let slots = delta.slots.iter_mut().flat_map(|run| &mut run.records).map(|record| &mut record.signature);
    let bytes = records.chain(slots).last().unwrap();
    let mut seal = Seal::decode(bytes.as_ref().unwrap()).unwrap();
    change(&mut seal);
    *bytes = Some(seal.encode().into());
    delta
}

fn spoiled(seal: &mut Seal) {
    seal.signature[5] ^= 1;
}

#[test]
fn what_is_written_in_a_sealed_room_is_signed_and_counts_elsewhere() {
    for kind in kinds() {
        let (mut one, shown) = replica(kind, 1);
        let (mut other, _) = replica(kind, 2);
        assert!(refusals(&give(&mut other, &shown)).is_empty());
        let first = write(&mut one, |tx| {
            tx.counter("takes").add(3)?;
            tx.list("songs").push(&"intro")?;
            tx.register("key").set(&"c")
        });
        assert!(first.records[0].records.iter().all(|record| record.signature.is_some()));
        let applied = give(&mut other, &first);
        assert_eq!((applied.landed.len(), refusals(&applied)), (1, vec![]));
        assert_eq!(applied.landed[0].encoded, first.encode().unwrap(), "nothing was taken away");
        for path in ["counter/takes", "list/songs", "register/key"] {
            assert_eq!(get(&one, path), get(&other, path));
        }
        // All at once, for one who comes late.
        let (mut late, _) = replica(kind, 3);
        let applied = give(&mut late, &other.snapshot());
        assert_eq!((refusals(&applied), get(&late, "register/key")), (vec![], Some(json!("c"))));
    }
}

#[test]
fn rooms_that_are_not_end_to_end_carry_no_seals() {
    let (mut document, shown) = replica_in("crew", kind(), 1);
    assert!(!document.is_sealed() && shown.is_empty());
    let delta = set(&mut document, "key", 1);
    assert!(delta.records[0].records[0].signature.is_none());
    let mut plain = Document::new(DocumentId::new("crew").unwrap(), kind(), writer(1)).unwrap();
    assert_eq!(set(&mut plain, "key", 1), delta, "not a byte more");
}

#[test]
fn nothing_unsigned_gets_in_and_the_true_record_still_comes() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut other, _) = replica(kind(), 2);
    give(&mut other, &shown);
    let honest = set(&mut one, "key", 1);
    let mut stripped = honest.clone();
    stripped.records[0].records[0].signature = None;
    let mut junk = honest.clone();
    junk.records[0].records[0].signature = Some(Bytes::from_static(&[7; 80]));
    for (delta, reason) in [
        (&stripped, "it is not signed"),
        (&junk, "unreadable seal"),
        (&reseal(&honest, spoiled), "the signature is not its writer's"),
    ] {
        let applied = give(&mut other, delta);
        let said = refusals(&applied).concat();
        assert!(said.contains(reason) && said.contains("register/key number 1"), "{said}");
        assert!(said.contains(&writer(1).to_string()), "{said}");
        assert!(applied.landed.is_empty() && get(&other, "register/key").is_none());
    }
    assert!(refusals(&give(&mut other, &honest)).is_empty());
    assert_eq!(get(&other, "register/key"), Some(json!(1)));
}

#[test]
fn of_a_run_with_a_forged_record_what_comes_before_it_counts() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut other, _) = replica(kind(), 2);
    give(&mut other, &shown);
    let honest: Vec<Delta> = (1..=3).map(|number| set(&mut one, &format!("r{number}"), number)).collect();
    let mut run = honest[0].clone();
    run.records[0].span.upto = 3;
    run.records[0].records.extend([1, 2].map(|at| honest[at].records[0].records[0].clone()));
    let applied = give(&mut other, &reseal(&run, spoiled));
    assert_eq!(refusals(&applied).len(), 1);
    assert_eq!(other.version().records.get(writer(1)), 2, "the third may still come");
    assert!(refusals(&give(&mut other, &honest[2])).is_empty());
    assert_eq!(get(&other, "register/r3"), Some(json!(3)));
}

#[test]
fn case_12_a_record_copied_to_another_room_writer_or_object_is_refused() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut two, shown_two) = replica(kind(), 2);
    let record = set(&mut one, "key", 1);
    let (mut elsewhere, _) = replica_in("band/other", kind(), 3);
    let (_, shown_there) = replica_in("band/other", kind(), 1);
    give(&mut elsewhere, &shown_there);
    assert!(refusals(&give(&mut elsewhere, &record))[0].contains("not its writer's"), "another room");

    let (mut reader, _) = replica(kind(), 3);
    give(&mut reader, &shown);
    give(&mut reader, &shown_two);
    let mut copied = record.clone();
    copied.records[0].span.writer = writer(2);
    assert!(refusals(&give(&mut reader, &copied))[0].contains("not its writer's"), "another writer");
    let mut renamed = record.clone();
    renamed.records[0].records[0].key = "other".into();
    assert!(refusals(&give(&mut reader, &renamed))[0].contains("not its writer's"), "another key");

    // A slot under another definition of the same number, and of another generation.
    let plan = plan(1, &[1, 2]);
    let mut other_plan = plan.clone();
    other_plan.definition.name = "bridge".to_owned();
    let defined = define(&mut one, &plan);
    give(&mut reader, &defined);
    give(&mut two, &shown);
    give(&mut two, &defined);
    let arrival = arrive(&mut two, &plan, NOW);
    let change = |change: fn(&mut aepoch::coordination::kernel::Slot)| {
        let mut copy = arrival.clone();
        let body = &copy.slots[0].records[0].body;
        let mut slot = aepoch::coordination::object::decode_slot(plan.fingerprint(), body).unwrap().unwrap();
        change(&mut slot);
        copy.slots[0].records[0].body = aepoch::coordination::object::encode_slot(plan.fingerprint(), &slot).into();
        copy
    };
    assert!(refusals(&give(&mut reader, &change(|slot| slot.generation = 1)))[0].contains("not its writer's"));
    let (mut misled, _) = replica(kind(), 4);
    give(&mut misled, &shown_two);
    let (mut liar, shown_liar) = replica(kind(), 1);
    give(&mut misled, &shown_liar);
    give(&mut misled, &define(&mut liar, &other_plan));
    let applied = give(&mut misled, &arrival);
    assert!(!has_arrived(&misled, &plan, 2), "it waits for the definition it was signed under");
    assert!(applied.waiting_on.is_some() && refusals(&applied).is_empty());
    assert!(refusals(&give(&mut reader, &arrival)).is_empty());
    assert!(has_arrived(&reader, &plan, 2));
}

#[test]
fn case_13_a_flipped_tier_is_refused() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut reader, _) = replica(kind(), 2);
    give(&mut reader, &shown);
    let honest = set(&mut one, "key", 1);
    let flipped = reseal(&honest, |seal| seal.tier = Tier::GAMMA);
    assert!(refusals(&give(&mut reader, &flipped))[0].contains("not its writer's"));
}

/// Seats everybody as a gamma.
#[derive(Debug)]
struct Lowered;

impl Seating for Lowered {
    fn seats(&self, object: ObjectId, definition: &[u8]) -> Option<SealedSeats> {
        let mut found = Seats.seats(object, definition)?;
        found.seats.iter_mut().for_each(|(_, _, tier)| *tier = Some(Tier::GAMMA));
        Some(found)
    }
    fn place(&self, slot: &[u8]) -> Option<SlotPlace> {
        Seats.place(slot)
    }
    fn queue(&self, item: &[u8]) -> Option<ObjectId> {
        Seats.queue(item)
    }
}

#[test]
fn case_14_an_honest_signature_with_another_tier_than_the_seats_is_left_out_and_told() {
    let (mut holder, shown) = replica(kind(), 1);
    let plan = plan(1, &[1, 2]);
    let defined = define(&mut holder, &plan);
    let mut member = Document::new(DocumentId::new("band/stage").unwrap(), kind(), writer(2)).unwrap();
    member.set_signing(&seated_by(&Lowered, Some(signer(2)), &chain(&[policy()]))).unwrap();
    let shown_two = member.uphold(NOW).unwrap().delta;
    give(&mut member, &shown);
    give(&mut member, &defined);
    let arrival = arrive(&mut member, &plan, NOW);
    let (mut reader, _) = replica(kind(), 3);
    for delta in [&shown, &shown_two, &defined] {
        give(&mut reader, delta);
    }
    let applied = give(&mut reader, &arrival);
    assert!(voids(&applied).concat().contains("it acts as gamma, its seat is beta"), "{:?}", voids(&applied));
    assert!(refusals(&applied).is_empty(), "who brings it is not at fault");
    assert!(!has_arrived(&reader, &plan, 2));
    assert_eq!(reader.version().slots.get(writer(2)), 2, "what comes after it is not held up");
    // A seat above the credential's tier waits for a better credential.
    let mut alphas = plan.clone();
    alphas.definition.members[1].tier = Tier::ALPHA;
    let mut alpha_tier = alphas.definition.tiers[0].clone();
    alpha_tier.tier = Tier::ALPHA;
    alphas.definition.tiers.insert(0, alpha_tier);
    alphas.definition.origin.number = 2;
    let (mut two, shown_two) = replica(kind(), 2);
    let defined = define(&mut holder, &alphas);
    give(&mut two, &shown);
    give(&mut two, &define(&mut replica(kind(), 1).0, &plan));
    give(&mut two, &defined);
    let arrival = arrive(&mut two, &alphas, NOW);
    let (mut reader, _) = replica(kind(), 3);
    for delta in [&shown, &shown_two, &define(&mut replica(kind(), 1).0, &plan), &defined] {
        give(&mut reader, delta);
    }
    assert!(give(&mut reader, &arrival).waiting_on.is_some());
    assert!(!has_arrived(&reader, &alphas, 2), "a beta does not count as alpha");
}

#[test]
fn a_writer_without_a_seat_and_a_definition_of_anothers_object_are_left_out() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut stranger, shown_three) = replica(kind(), 3);
    let plan = plan(1, &[1, 2]);
    let defined = define(&mut one, &plan);
    give(&mut stranger, &shown);
    let (mut reader, _) = replica(kind(), 2);
    give(&mut reader, &shown);
    give(&mut reader, &shown_three);
    let stolen = define(&mut stranger, &plan);
    assert!(voids(&give(&mut reader, &stolen)).concat().contains("does not hold the object"));
    give(&mut stranger, &defined);
    give(&mut reader, &defined);
    let arrival = arrive(&mut stranger, &plan, NOW);
    assert!(voids(&give(&mut reader, &arrival)).concat().contains("has no seat"));
}

#[test]
fn case_15_of_two_records_with_one_number_the_same_wins_everywhere_and_the_proof_is_kept() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut twin, _) = replica(kind(), 1);
    let values = [set(&mut one, "key", 1), set(&mut twin, "key", 2)];
    let plans = [plan(1, &[1, 2]), plan(1, &[1, 3])];
    let slots = [define(&mut one, &plans[0]), define(&mut twin, &plans[1])];
    let mut found = Vec::new();
    for order in [[0, 1], [1, 0]] {
        let (mut reader, _) = replica(kind(), 2);
        give(&mut reader, &shown);
        for at in order {
            assert!(refusals(&give(&mut reader, &values[at])).is_empty());
            assert!(refusals(&give(&mut reader, &slots[at])).is_empty());
        }
        let proofs = reader.equivocation_proofs();
        assert_eq!(proofs.len(), 2);
        assert_eq!(reader.equivocations().1, 2);
        // What readers see is what the proof says counts.
        let mut other = reader.record_ids(&public(1));
        other.sort();
        for proof in &proofs {
            assert!(other.iter().any(|(_, id)| *id == proof.first().preimage.id()), "{other:?}");
            assert!(other.iter().all(|(_, id)| *id != proof.second().preimage.id()));
        }
        // The same after a restart.
        let log = order.iter().flat_map(|at| [&values[*at], &slots[*at]]);
        let log: Vec<Bytes> = [&shown].into_iter().chain(log).map(|delta| delta.encode().unwrap()).collect();
        let (id, by) = (reader.id().clone(), authority(Some(signer(2)), &chain(&[policy()])));
        let mut again = Document::load_sealed(id, kind(), writer(2), None, &log, &by).unwrap();
        let mut known = again.record_ids(&public(1));
        known.sort();
        assert_eq!(known, other);
        found.push((get(&reader, "register/key"), other, proofs));
    }
    assert_eq!(found[0], found[1]);
}

#[test]
fn one_record_with_two_signatures_is_no_equivocation() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut reader, _) = replica(kind(), 2);
    give(&mut reader, &shown);
    let first = set(&mut one, "a", 1);
    let second = set(&mut one, "b", 2);
    // The first is proven by the second's link to it, whatever its own signature.
    let mut run = reseal(&first, spoiled);
    run.records[0].span.upto = 2;
    run.records[0].records.push(second.records[0].records[0].clone());
    assert!(refusals(&give(&mut reader, &run)).is_empty());
    give(&mut reader, &first);
    assert_eq!(reader.equivocations().1, 0);
}

#[test]
fn case_17_what_is_stamped_back_into_a_finished_barrier_changes_nothing() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut two, shown_two) = replica(kind(), 2);
    let (mut reader, _) = replica(kind(), 3);
    let plan = plan(1, &[1, 2]);
    let defined = define(&mut one, &plan);
    let own = arrive(&mut one, &plan, NOW);
    for delta in [&shown, &shown_two, &defined, &own] {
        give(&mut reader, delta);
    }
    let mut closed = aepoch::document::Closed::default();
    closed.insert(plan.object());
    let over = one.write_slots(vec![(aepoch::document::SlotKey::Closed, closed.encode().into())], NOW).unwrap();
    give(&mut reader, &over);
    let before = reader.root_digest().unwrap();
    give(&mut two, &shown);
    give(&mut two, &defined);
    let late = arrive(&mut two, &plan, NOW - 300_000);
    let applied = give(&mut reader, &late);
    assert!(refusals(&applied).is_empty() && voids(&applied).is_empty());
    assert!(!has_arrived(&reader, &plan, 2));
    assert_eq!(reader.root_digest().unwrap(), before);
}

#[test]
fn case_18_who_was_let_in_counts_after_its_credential_has_ended_and_is_not_let_in_again() {
    let (mut one, shown) = replica(kind(), 1);
    let mut two = Document::new(DocumentId::new("band/stage").unwrap(), kind(), writer(2)).unwrap();
    let short = renewed(2, credential(2, Tier::BETA, -600, 100));
    two.set_signing(&authority(Some(short), &chain(&[policy()]))).unwrap();
    let shown_two = two.uphold(NOW).unwrap().delta;
    let (mut reader, _) = replica(kind(), 3);
    let first = plan(1, &[1, 2]);
    let mut second = first.clone();
    second.definition.origin.number = 2;
    let defined = define(&mut one, &first);
    let key = aepoch::document::SlotKey::Of(second.object(), aepoch::document::SlotPart::Definition);
    let later = NOW + 200_000;
    let defined_later = one.write_slots(vec![(key, second.encode().into())], later).unwrap();
    for delta in [&shown, &shown_two, &defined, &defined_later] {
        assert!(refusals(&give_at(&mut reader, delta, later)).is_empty());
        give_at(&mut two, delta, later);
    }
    let applied = give_at(&mut reader, &arrive(&mut two, &first, later), later);
    assert!(refusals(&applied).is_empty() && has_arrived(&reader, &first, 2), "sealed before it ended");
    let applied = give_at(&mut reader, &arrive(&mut two, &second, later), later);
    assert!(applied.waiting_on.is_some() && !has_arrived(&reader, &second, 2), "sealed after it had ended");
}

#[test]
fn case_20_a_stamp_ahead_waits_for_its_time_within_bounds_and_moves_no_clock() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut reader, _) = replica(kind(), 2);
    give(&mut reader, &shown);
    let ahead = NOW + limits::HLC_AHEAD_MS + 120_000;
    let delta = one.transact::<_, DocumentError>(ahead, false, |tx| tx.register("key").set(&1)).unwrap().1.delta;
    let applied = give(&mut reader, &delta);
    assert_eq!((refusals(&applied), applied.landed.len(), applied.waiting_on), (vec![], 0, None));
    assert!(get(&reader, "register/key").is_none());
    let own = set(&mut reader, "own", 1);
    assert_eq!(own.records[0].records[0].hlc.wall_ms(), NOW, "its own clock has not moved");
    assert!(reader.apply(Vec::new(), NOW + 119_000, false).unwrap().landed.is_empty());
    assert_eq!(reader.apply(Vec::new(), NOW + 121_000, false).unwrap().landed.len(), 1);
    assert_eq!(get(&reader, "register/key"), Some(json!(1)));

    let (mut reader, _) = replica(kind(), 2);
    give(&mut reader, &shown);
    for number in 0..=limits::HELD_AHEAD as u64 {
        let plan = |tx: &mut aepoch::document::Transaction<'_>| tx.register(&format!("r{number}")).set(&1);
        let delta = one.transact::<_, DocumentError>(ahead, false, plan).unwrap().1.delta;
        give(&mut reader, &delta);
    }
    give(&mut reader, &delta);
    let landed = reader.apply(Vec::new(), ahead, false).unwrap().landed.len();
    assert!(landed <= limits::HELD_AHEAD, "{landed}");
}

#[test]
fn case_21_records_wait_for_their_writers_credential_and_their_definition() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut two, shown_two) = replica(kind(), 2);
    let (mut reader, _) = replica(kind(), 3);
    let record = set(&mut two, "key", 1);
    let applied = give(&mut reader, &record);
    assert_eq!((refusals(&applied), applied.waiting_on), (vec![], Some(9)));
    assert!(get(&reader, "register/key").is_none());
    give(&mut reader, &shown_two);
    assert_eq!(get(&reader, "register/key"), Some(json!(1)));
    let plan = plan(1, &[1, 2]);
    let defined = define(&mut one, &plan);
    give(&mut two, &shown);
    give(&mut two, &defined);
    assert!(give(&mut reader, &arrive(&mut two, &plan, NOW)).waiting_on.is_some());
    give(&mut reader, &shown);
    give(&mut reader, &defined);
    assert!(has_arrived(&reader, &plan, 2) && !reader.is_waiting());
    // A policy that is not here yet.
    let second = policy().next();
    two.set_signing(&authority(Some(signer(2)), &chain(&[policy(), second.clone()]))).unwrap();
    let ahead = set(&mut two, "key", 2);
    assert!(give(&mut reader, &ahead).waiting_on.is_some());
    reader.set_signing(&authority(Some(signer(3)), &chain(&[policy(), second]))).unwrap();
    reader.apply(Vec::new(), NOW, false).unwrap();
    assert_eq!(get(&reader, "register/key"), Some(json!(2)));
}

#[test]
fn seals_survive_a_restart_and_the_chain_goes_on() {
    let (mut one, shown) = replica(kind(), 1);
    let first = set(&mut one, "a", 1);
    let entries: Vec<Bytes> = [&shown, &first].iter().map(|delta| delta.encode().unwrap()).collect();
    let id = || DocumentId::new("band/stage").unwrap();
    let authority = authority(Some(signer(1)), &chain(&[policy()]));
    let mut again = Document::load_sealed(id(), kind(), writer(1), None, &entries, &authority).unwrap();
    assert!(again.uphold(NOW).unwrap().delta.is_empty(), "nothing is shown twice");
    let second = set(&mut again, "b", 2);
    let seal = |delta: &Delta| Seal::decode(delta.records[0].records[0].signature.as_ref().unwrap()).unwrap();
    let ids = again.record_ids(&public(1));
    let id_of = |path: &str| ids.iter().find(|(known, _)| known == path).unwrap().1;
    assert_eq!(seal(&second).previous, id_of("register/a"), "it names the one before the restart");
    let snapshot = again.snapshot().encode().unwrap();
    let whole = Document::load_sealed(id(), kind(), writer(1), Some(&snapshot), &[], &authority).unwrap();
    let (mut reader, _) = replica(kind(), 2);
    assert!(refusals(&give(&mut reader, &whole.snapshot())).is_empty());
    assert_eq!(get(&reader, "register/b"), Some(json!(2)));
}

#[test]
fn without_a_key_nothing_is_written_and_everything_is_checked() {
    let (mut one, shown) = replica(kind(), 1);
    let mut reader = Document::new(DocumentId::new("band/stage").unwrap(), kind(), ReplicaId::from_bits(5)).unwrap();
    reader.set_signing(&authority(None, &chain(&[policy()]))).unwrap();
    let refused = reader.transact::<_, DocumentError>(NOW, false, |tx| tx.register("key").set(&1)).unwrap_err();
    assert!(refused.to_string().contains("`band/stage` are signed end to end"), "{refused}");
    give(&mut reader, &shown);
    let honest = set(&mut one, "key", 1);
    assert_eq!(refusals(&give(&mut reader, &reseal(&honest, spoiled))).len(), 1);
    give(&mut reader, &honest);
    assert_eq!(get(&reader, "register/key"), Some(json!(1)));
    let other = authority(Some(signer(2)), &chain(&[policy()]));
    assert!(reader.set_signing(&other).unwrap_err().to_string().contains("is not that of the key with salt 3"));
}

#[test]
fn a_dial_that_is_raised_has_everybody_seal_what_they_wrote() {
    let (mut one, _) = replica_in("crew", kind(), 1);
    set(&mut one, "key", 1);
    let mut raised = policy().next();
    raised.trust.insert(aepoch::trust::dial::DialRule {
        rooms: "crew".parse().unwrap(),
        dial: aepoch::trust::dial::Dial::EndToEnd,
    });
    let in_force = chain(&[policy(), raised]);
    one.set_signing(&authority(Some(signer(1)), &in_force)).unwrap();
    one.uphold(NOW).unwrap();
    let mut reader = Document::new(DocumentId::new("crew").unwrap(), kind(), writer(2)).unwrap();
    reader.set_signing(&authority(Some(signer(2)), &in_force)).unwrap();
    assert!(refusals(&give(&mut reader, &one.snapshot())).is_empty());
    assert_eq!(get(&reader, "register/key"), Some(json!(1)));
}

#[test]
fn renewals_are_shown_within_bounds_and_what_loses_its_credential_is_sealed_anew() {
    let (mut one, _) = replica(kind(), 1);
    set(&mut one, "kept", 1);
    set(&mut one, "lost", 1);
    let (mut two, shown_two) = replica(kind(), 2);
    give(&mut two, &one.snapshot());
    give(&mut one, &shown_two);
    let over = set(&mut two, "lost", 2);
    give(&mut one, &over);
    let stamp = |document: &Document| document.register_values("kept")[0].hlc;
    let before = stamp(&one);
    for hour in 1..=6_i64 {
        let from = hour * 3_000 - 600;
        let renewal = renewed(1, credential(1, Tier::BETA, from, from + 3_600));
        one.set_signing(&authority(Some(renewal), &chain(&[policy()]))).unwrap();
        one.uphold(NOW + hour.unsigned_abs() * 3_000_000).unwrap();
    }
    let late = NOW + 6 * 3_000_000;
    let (mut reader, _) = replica(kind(), 3);
    let applied = give_at(&mut reader, &one.snapshot(), late);
    assert_eq!((refusals(&applied), applied.waiting_on), (vec![], None), "all it stands on is shown");
    assert_eq!(get(&reader, "register/kept"), Some(json!(1)));
    assert_eq!(get(&reader, "register/lost"), Some(json!(2)));
    assert_eq!(reader.register_values("lost").len(), 1, "what was overridden stays so");
    assert_eq!(stamp(&reader), before, "it has become no newer");
    let shown = one.slot(aepoch::document::SlotKey::Credential, writer(1)).unwrap();
    let shown = aepoch::trust::record::ShownCredentials::decode(shown).unwrap();
    assert_eq!((shown.credentials.len(), shown.salt), (limits::CREDENTIALS_SHOWN, SALT));
}

/// What agent 1 wrote before its key was stolen, and what the thief adds: stamped back, numbered on and over again.
struct Theft {
    shown: Delta,
    deltas: Vec<Delta>,
    cut: SwarmPolicy,
}

fn theft() -> Theft {
    let (mut one, shown) = replica(kind(), 1);
    let mut deltas: Vec<Delta> = (1..=3).map(|number| set(&mut one, &format!("r{number}"), number)).collect();
    let survivors = one.record_ids(&public(1)).into_iter().map(|(_, id)| id).collect();
    let cut = SwarmPolicy { cuts: [(public(1), Cut { survivors })].into(), ..policy().next() };
    // The thief has the key and all that was written with it.
    let stolen = |one: &mut Document, register: &str, value: u64, back: u64| {
        one.transact::<_, DocumentError>(NOW - back, false, |tx| tx.register(register).set(&value)).unwrap().1.delta
    };
    deltas.push(stolen(&mut one, "r1", 100, 0));
    deltas.push(stolen(&mut one, "r4", 100, 300_000));
    let (mut fork, _) = replica(kind(), 1);
    deltas.push(stolen(&mut fork, "r2", 200, 500_000));
    // Merged states jump over what lies between.
    deltas.push(Delta { slots: Vec::new(), ..one.snapshot() });
    Theft { shown, deltas, cut }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Case 16 and 19: whatever a replica has seen, in whatever order, before or after it hears of the cut, and whatever
    /// its clock says: once all has come, it holds what survives and nothing else.
    #[test]
    fn case_16_and_19_what_survives_a_cut_is_the_same_in_every_order_and_by_every_clock(
        order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
        heard in 0_usize..=7,
        hours in 0_u64..3,
        seen in proptest::collection::vec(proptest::bool::weighted(0.7), 7),
    ) {
        let theft = theft();
        let wall_ms = NOW + hours * 3_600_000;
        let (mut reader, _) = replica(kind(), 2);
        let after = chain(&[policy(), theft.cut.clone()]);
        let give = |reader: &mut Document, delta: &Delta| give_at(reader, delta, wall_ms);
        give(&mut reader, &theft.shown);
        for (step, at) in order.iter().enumerate() {
            if step == heard {
                reader.set_signing(&authority(Some(signer(2)), &after)).unwrap();
            }
            if seen[*at] {
                give(&mut reader, &theft.deltas[*at]);
            }
        }
        reader.set_signing(&authority(Some(signer(2)), &after)).unwrap();
        // Somebody who has what survives is asked for what is wanting.
        let (mut holder, _) = replica(kind(), 3);
        for delta in [&theft.shown, &theft.deltas[0], &theft.deltas[1], &theft.deltas[2]] {
            give(&mut holder, delta);
        }
        holder.set_signing(&authority(Some(signer(3)), &after)).unwrap();
        let wanting = reader.wanting();
        let lacking = holder.delta_since(&wanting, None, &Default::default()).unwrap();
        let applied = give(&mut reader, &lacking);
        prop_assert_eq!(refusals(&applied), Vec::<String>::new());
        // The thief's once more, from one who has not heard.
        for delta in &theft.deltas[3..] {
            give(&mut reader, delta);
        }
        let found: Vec<_> = (1..=4).map(|number| get(&reader, &format!("register/r{number}"))).collect();
        prop_assert_eq!(found, vec![Some(json!(1)), Some(json!(2)), Some(json!(3)), None]);
    }

    /// Cases 12 to 22 at large: replicas that were given any parts of an honest history in any order, by clocks hours
    /// apart, agree once they have exchanged what they have.
    #[test]
    fn replicas_with_different_views_and_clocks_agree_once_they_are_joined(
        left in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
        right in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
        cut_left in 0_usize..12,
        cut_right in 0_usize..12,
    ) {
        let (mut one, shown_one) = replica(kind(), 1);
        let (mut two, shown_two) = replica(kind(), 2);
        let plan = plan(1, &[1, 2]);
        let mut deltas = vec![shown_one.clone(), shown_two.clone()];
        give(&mut two, &shown_one);
        give(&mut one, &shown_two);
        deltas.push(define(&mut one, &plan));
        give(&mut two, &deltas[2]);
        deltas.push(arrive(&mut two, &plan, NOW));
        for number in 0..4 {
            deltas.push(set(&mut one, "shared", number));
            deltas.push(write(&mut two, |tx| tx.counter("takes").add(1)));
        }
        let mut views: Vec<Document> = Vec::new();
        for (seed, order, few, clock) in [(3, &left, cut_left, NOW), (4, &right, cut_right, NOW + 3_600_000)] {
            let (mut reader, _) = replica(kind(), seed);
            for at in &order[..few] {
                prop_assert_eq!(refusals(&give_at(&mut reader, &deltas[*at], clock)), Vec::<String>::new());
            }
            views.push(reader);
        }
        for _ in 0..3 {
            for (from, to) in [(0, 1), (1, 0)] {
                let lacking = views[from].delta_since(&views[to].frontier(), None, &Default::default()).unwrap();
                let applied = give_at(&mut views[to], &lacking, NOW + from as u64 * 3_600_000);
                prop_assert_eq!(refusals(&applied), Vec::<String>::new());
            }
        }
        prop_assert_eq!(views[0].root_digest().unwrap(), views[1].root_digest().unwrap());
    }
}

#[test]
fn a_revoked_writers_records_are_tentative() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut reader, _) = replica(kind(), 2);
    give(&mut reader, &shown);
    give(&mut reader, &set(&mut one, "key", 1));
    assert!(reader.tentative().is_empty());
    let revoked = SwarmPolicy { revoked: [("agent-1".parse().unwrap(), NOW / 1_000)].into(), ..policy().next() };
    reader.set_signing(&authority(Some(signer(2)), &chain(&[policy(), revoked]))).unwrap();
    assert_eq!(get(&reader, "register/key"), Some(json!(1)), "it still counts");
    assert_eq!(reader.tentative(), [(writer(1), "register/key".to_owned())]);
}

#[test]
fn signatures_verified_elsewhere_are_not_verified_again_and_wrong_ones_stay_wrong() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut reader, _) = replica(kind(), 2);
    give(&mut reader, &shown);
    let honest = set(&mut one, "key", 1);
    let incoming = |delta: &Delta| vec![Incoming::decode(delta.encode().unwrap(), 1, None).unwrap()];
    let checks = reader.signatures_of(&incoming(&honest), NOW);
    assert_eq!(checks.len(), 1);
    reader.note_signatures(&checks, &[true]);
    assert!(reader.signatures_of(&incoming(&honest), NOW).is_empty());
    let forged = reseal(&honest, spoiled);
    let checks = reader.signatures_of(&incoming(&forged), NOW);
    let right: Vec<bool> = checks.iter().map(aepoch::trust::record::SignatureCheck::verify).collect();
    assert_eq!(right, [false]);
    reader.note_signatures(&checks, &right);
    assert_eq!(refusals(&give(&mut reader, &forged)).len(), 1);
}

#[test]
fn what_anybody_sends_as_a_writers_credentials_does_not_hide_who_it_is() {
    let (mut one, shown) = replica(kind(), 1);
    let (mut reader, _) = replica(kind(), 2);
    let spoil = |credentials: &[aepoch::trust::record::ShownCredential]| {
        let mut forged = shown.clone();
        let credentials = credentials.to_vec();
        let body = aepoch::trust::record::ShownCredentials { salt: SALT, credentials }.encode();
        forged.slots[0].records[0].body = body.into();
        forged
    };
    let expired = aepoch::trust::record::ShownCredential {
        policy: policy().hash(),
        chain: credential(1, Tier::BETA, -9_000, -8_000),
    };
    let foreign =
        aepoch::trust::record::ShownCredential { policy: policy().hash(), chain: credential(3, Tier::BETA, -600, 600) };
    for forged in [spoil(&[expired]), spoil(&[foreign])] {
        give(&mut reader, &forged);
    }
    give(&mut reader, &shown);
    give(&mut reader, &set(&mut one, "key", 1));
    assert_eq!(get(&reader, "register/key"), Some(json!(1)));
    for forged in [spoil(&[]), shown.clone()] {
        let incoming = Incoming::decode(forged.encode().unwrap(), 9, None).unwrap();
        reader.apply(vec![incoming], NOW, false).unwrap();
    }
    give(
        &mut reader,
        &spoil(&[aepoch::trust::record::ShownCredential {
            policy: policy().hash(),
            chain: credential(3, Tier::BETA, -600, 600),
        }]),
    );
    give(&mut reader, &set(&mut one, "key", 2));
    assert_eq!(get(&reader, "register/key"), Some(json!(2)));
}
