//! Clients of other libraries in the rooms of agents.

use std::time::Duration;

use aepoch::{
    id::LinkId,
    limits,
    node::{Event, Tuning},
    wires::{GuestRights, Word},
};
use bytes::Bytes;
use serde_json::json;
use yrs::{Map as _, ReadTxn as _, StateVector, Transact as _};

use crate::{
    guest::Client,
    world::{World, document, tuning},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_guest_and_an_agent_see_what_the_other_writes() {
    let mut world = World::new(1, &tuning());
    world.put(1, "agent", "was here");
    world.pass(SECOND);
    let mut guest = Client::connect(&mut world, 7, GuestRights::Write);
    guest.join(&mut world);
    assert_eq!(guest.get("agent").as_deref(), Some("was here"));
    guest.put(&mut world, "guest", "too");
    guest.push(&mut world, "hello");
    world.pass(SECOND);
    assert_eq!(world.get(1, "map/m/guest"), Some(json!("too")));
    assert_eq!(world.get(1, "text/t"), Some(json!("hello")));
    world.put(1, "agent", "still is");
    world.pass(SECOND);
    guest.hear(&mut world);
    assert_eq!(guest.get("agent").as_deref(), Some("still is"));
    world.assert_equal();
}

#[test]
fn what_a_guest_did_before_it_came_is_asked_for_and_kept() {
    let mut world = World::new(1, &tuning());
    let mut guest = Client::connect(&mut world, 7, GuestRights::Write);
    guest.put_offline("offline", "yes");
    guest.join(&mut world);
    world.pass(SECOND);
    assert_eq!(world.get(1, "map/m/offline"), Some(json!("yes")));
    // Once more, as a provider does that asks again from time to time: nothing is kept twice.
    let entries = world.hosts[0].node.documents().next().unwrap().log_entries;
    guest.join(&mut world);
    let whole = guest.doc.transact().encode_state_as_update_v1(&StateVector::default());
    guest.send(&mut world, whole);
    world.pass(SECOND);
    assert_eq!(world.hosts[0].node.documents().next().unwrap().log_entries, entries);
}

#[test]
fn nobody_writes_under_the_number_of_an_agent() {
    let mut world = World::new(1, &tuning());
    world.put(1, "agent", "mine");
    world.pass(SECOND);
    // Host 1 is replica 101, the relay 100; both are agents' numbers though the relay has written nothing.
    for (number, client) in [(101, 20), (100, 21)] {
        let mut guest = Client::connect(&mut world, client, GuestRights::Write);
        guest.join(&mut world);
        let forger = yrs::Doc::with_options(yrs::Options::with_client_id(yrs::ClientID::new(number)));
        let known = guest.doc.transact().encode_state_as_update_v1(&StateVector::default());
        forger.transact_mut().apply_update(yrs::updates::decoder::Decode::decode_v1(&known).unwrap()).unwrap();
        let map = forger.get_or_insert_map("m");
        let mut txn = forger.transact_mut();
        map.insert(&mut txn, "agent", "theirs");
        let update = txn.encode_update_v1();
        drop(txn);
        guest.send(&mut world, update);
        world.pass(SECOND);
        guest.hear(&mut world);
        let (is_forbidden, reason) = guest.refusals().remove(0);
        assert!(!is_forbidden && reason.contains("whose own it is"), "{reason}");
    }
    assert_eq!(world.get(1, "map/m/agent"), Some(json!("mine")));
    let offences = world.hosts[0].events.iter().filter(|event| matches!(event, Event::Offence { .. })).count();
    assert_eq!(offences, 2);
}

#[test]
fn nothing_is_confirmed_to_a_guest_before_it_is_durable() {
    let mut world = World::new(0, &tuning());
    let mut guest = Client::connect(&mut world, 7, GuestRights::Write);
    guest.join(&mut world);
    world.pass(SECOND);
    guest.hear(&mut world);
    // Of the answer to what it was asked.
    let before = guest.kept();
    assert_eq!(before, 1);
    world.hosts[0].hold_store = true;
    guest.put(&mut world, "k", "v");
    // What is here already is not durable either.
    let again = guest.doc.transact().encode_state_as_update_v1(&StateVector::default());
    guest.send(&mut world, again);
    world.pass(SECOND);
    guest.hear(&mut world);
    assert_eq!(guest.kept(), before);
    world.hosts[0].hold_store = false;
    world.pass(SECOND);
    guest.hear(&mut world);
    assert_eq!(guest.kept(), before + 2);
}

#[test]
fn guests_hear_each_other_at_once_and_agents_once_they_are_durable() {
    let mut world = World::new(1, &tuning());
    let mut guests = [7, 8].map(|client| Client::connect(&mut world, client, GuestRights::Write));
    for guest in &mut guests {
        guest.join(&mut world);
    }
    world.pass(SECOND);
    world.hosts[0].hold_store = true;
    let [first, second] = &mut guests;
    first.put(&mut world, "guest", "1");
    world.pass(SECOND);
    second.hear(&mut world);
    assert_eq!(second.get("guest").as_deref(), Some("1"));
    // Were this told and lost in a crash, the guest would bring it back, and may not.
    world.put(1, "agent", "1");
    world.pass(SECOND);
    second.hear(&mut world);
    assert_eq!(second.get("agent"), None);
    first.join(&mut world);
    assert_eq!(first.get("agent"), None, "nor when it asks");
    world.hosts[0].hold_store = false;
    world.pass(SECOND);
    for guest in &mut guests {
        guest.hear(&mut world);
        assert_eq!(guest.get("agent").as_deref(), Some("1"));
    }
}

#[test]
fn updates_of_one_tick_leave_as_one() {
    let mut world = World::new(0, &tuning());
    let mut writer = Client::connect(&mut world, 7, GuestRights::Write);
    let mut other = Client::connect(&mut world, 8, GuestRights::Write);
    let mut reader = Client::connect(&mut world, 9, GuestRights::Read);
    for guest in [&mut writer, &mut other, &mut reader] {
        guest.join(&mut world);
    }
    world.pass(SECOND);
    reader.hear(&mut world);
    let before = reader.updates;
    for n in 0..50 {
        writer.push(&mut world, "x");
        other.put(&mut world, "n", &n.to_string());
    }
    world.pass(SECOND);
    reader.hear(&mut world);
    assert_eq!((reader.text().len(), reader.get("n").as_deref()), (50, Some("49")));
    assert!(reader.updates - before <= 3, "{} updates", reader.updates - before);
}

#[test]
fn a_guest_that_does_not_read_gets_one_update_once_it_does() {
    let tuning = tuning();
    let mut world = World::new(1, &tuning);
    let mut guest = Client::connect(&mut world, 7, GuestRights::Write);
    guest.join(&mut world);
    world.pass(SECOND);
    world.hosts[0].stuck.insert(guest.link);
    for n in 0..300 {
        world.put(1, "k", &format!("{n}: {}", "x".repeat(2_000)));
        world.pass(Duration::from_millis(20));
    }
    let waiting: usize = world.hosts[0].told.iter().map(|(_, told)| told.cost()).sum();
    assert!(waiting < 300_000, "{waiting} bytes wait");
    let count = world.hosts[0].told.len();
    world.hosts[0].stuck.clear();
    let now = world.now;
    let drained = aepoch::node::Input::Drained { link: guest.link, bytes: waiting as u64 };
    world.hosts[0].node.handle(drained, now);
    world.pass(SECOND);
    assert_eq!(world.hosts[0].told.len(), count + 1);
    guest.hear(&mut world);
    assert!(guest.get("k").unwrap().starts_with("299:"));
}

#[test]
fn a_room_whose_guests_are_gone_is_dropped_and_comes_back_as_it_was() {
    let mut world = World::new(0, &tuning());
    let mut guest = Client::connect(&mut world, 7, GuestRights::Write);
    guest.join(&mut world);
    guest.put(&mut world, "k", "v");
    world.pass(Duration::from_secs(90));
    assert_eq!(world.hosts[0].node.documents().count(), 1, "somebody is there");
    guest.go(&mut world);
    world.pass(Duration::from_secs(90));
    assert_eq!(world.hosts[0].node.documents().count(), 0);
    let mut other = Client::connect(&mut world, 8, GuestRights::Read);
    other.join(&mut world);
    world.pass(SECOND);
    other.hear(&mut world);
    assert_eq!(other.get("k").as_deref(), Some("v"));
}

#[test]
fn who_may_only_read_is_told_that_a_change_was_not_kept_and_closed_in_the_end() {
    let mut world = World::new(1, &tuning());
    world.put(1, "k", "v");
    world.pass(SECOND);
    let mut guest = Client::connect(&mut world, 7, GuestRights::Read);
    guest.join(&mut world);
    world.pass(SECOND);
    guest.hear(&mut world);
    assert_eq!(guest.get("k").as_deref(), Some("v"));
    assert_eq!((guest.refusals().len(), guest.kept()), (0, 1), "to have what is here is no offence");
    for n in 0..limits::GUEST_FORBIDDEN {
        assert!(world.hosts[0].closed.is_empty());
        guest.put(&mut world, "k", &n.to_string());
    }
    world.pass(SECOND);
    guest.hear(&mut world);
    assert_eq!(guest.refusals().len(), limits::GUEST_FORBIDDEN as usize);
    assert!(guest.refusals().iter().all(|(is_forbidden, _)| *is_forbidden));
    assert_eq!((world.hosts[0].closed.len(), guest.kept()), (1, 1));
    assert_eq!(world.get(1, "map/m/k"), Some(json!("v")));
}

#[test]
fn what_builds_on_something_missing_is_asked_for_again() {
    let mut world = World::new(1, &tuning());
    let mut guest = Client::connect(&mut world, 7, GuestRights::Write);
    guest.join(&mut world);
    world.pass(SECOND);
    guest.put_offline("lost", "1");
    guest.put(&mut world, "second", "2");
    assert_eq!(world.get(1, "map/m/second"), None);
    world.pass(SECOND);
    guest.hear(&mut world);
    world.pass(SECOND);
    assert_eq!(world.get(1, "map/m/lost"), Some(json!("1")));
    assert_eq!(world.get(1, "map/m/second"), Some(json!("2")));
    // One for the greeting's answer, one for the answer that brought both.
    guest.hear(&mut world);
    assert_eq!(guest.kept(), 2);
}

#[test]
fn who_brings_what_is_no_update_is_told_and_then_closed() {
    let mut world = World::new(0, &tuning());
    let mut guest = Client::connect(&mut world, 7, GuestRights::Write);
    guest.join(&mut world);
    let hostile = ["ffffffff0f", "0101070000ffffffff0700", "00014d0100ffffffff0f"];
    for bytes in hostile {
        let bytes = data_encoding::HEXLOWER.decode(bytes.as_bytes()).unwrap();
        guest.send(&mut world, bytes);
    }
    guest.send(&mut world, b"nonsense".to_vec());
    world.pass(SECOND);
    guest.hear(&mut world);
    assert!(guest.refusals().len() >= limits::LINK_STRIKES as usize, "{:?}", guest.refusals());
    assert!(!world.hosts[0].closed.is_empty());
}

#[test]
fn who_asks_for_a_document_of_the_other_engine_is_told_and_closed() {
    let mut world = World::new(0, &tuning());
    let mut guest = Client::connect(&mut world, 7, GuestRights::Write);
    guest.join(&mut world);
    let mut other = Client::connect(&mut world, 8, GuestRights::Write);
    let ask = aepoch::wires::Ask::Join {
        document: document(),
        engine: aepoch::engine::EngineKind::Automerge,
        frontier: Bytes::new(),
        counts: false,
    };
    other.ask(&mut world, ask);
    other.hear(&mut world);
    assert_eq!(other.refusals().len(), 1);
    assert_eq!(world.hosts[0].closed.iter().map(|(link, _)| *link).collect::<Vec<_>>(), [other.link]);
}

#[test]
fn a_document_that_cannot_be_read_is_no_reason_to_wait_for_ever() {
    let mut world = World::new(0, &tuning());
    world.hosts[0].load_error = Some(aepoch::store::StoreError::Damaged {
        document: document(),
        what: "flipped".to_owned(),
        survives: "nothing".to_owned(),
    });
    for client in [7, 8] {
        let mut guest = Client::connect(&mut world, client, GuestRights::Write);
        guest.join(&mut world);
        world.pass(SECOND);
        guest.hear(&mut world);
        assert!(guest.refusals().iter().any(|(_, reason)| reason.contains("flipped")), "{:?}", guest.refusals());
        assert!(world.hosts[0].closed.iter().any(|(link, _)| *link == guest.link));
    }
}

#[test]
fn presence_is_seen_both_ways_and_ends_with_the_connection() {
    let mut world = World::new(1, &tuning());
    let mut guests = [7, 8].map(|client| Client::connect(&mut world, client, GuestRights::Read));
    for guest in &mut guests {
        guest.join(&mut world);
    }
    let [first, second] = &mut guests;
    first.show(&mut world, 7, 1, Some(r#"{"user":"ann"}"#));
    second.show(&mut world, 8, 0, Some(r#"{"user":"bob"}"#));
    let now = world.now;
    let state = Some(Bytes::from_static(br#"{"busy":true}"#));
    world.hosts[1].node.set_presence(&document(), state, Duration::from_secs(300), now).unwrap();
    world.pass(SECOND);
    second.hear(&mut world);
    first.hear(&mut world);
    assert_eq!(first.awareness(8).unwrap().clock, 1, "nobody listens to clock 0");
    let state = |guest: &Client, client| guest.awareness(client).and_then(|state| state.state);
    assert_eq!(state(second, 7).as_deref(), Some(&br#"{"user":"ann"}"#[..]));
    assert_eq!(state(second, 101).as_deref(), Some(&br#"{"busy":true}"#[..]));
    let seen: Vec<_> = world.hosts[1].node.presence(&document()).iter().map(|entry| entry.replica.get()).collect();
    assert_eq!(seen, [7, 8, 101]);
    // An echo takes nothing over, so the state goes with its own connection.
    second.show(&mut world, 7, 1, Some(r#"{"user":"ann"}"#));
    second.show(&mut world, 101, 1 << 50, Some(r#"{"busy":"echo"}"#));
    first.go(&mut world);
    second.show(&mut world, 7, 1, Some(r#"{"user":"ann"}"#));
    world.pass(SECOND);
    second.hear(&mut world);
    assert_eq!(state(second, 7), None);
    let seen: Vec<_> = world.hosts[1].node.presence(&document()).iter().map(|entry| entry.replica.get()).collect();
    assert_eq!(seen, [8, 101]);
    // Clients forget whom they do not hear of for 30 s.
    let clock = second.awareness(101).unwrap().clock;
    world.pass(Duration::from_secs(20));
    second.hear(&mut world);
    assert!(second.awareness(101).unwrap().clock > clock);
    assert!(state(second, 101).is_some());
    // It comes back with the clock it had, and others would not listen to one that they heard the end of.
    let ended = second.awareness(7).unwrap().clock;
    first.come(&mut world, GuestRights::Read);
    first.join(&mut world);
    first.show(&mut world, 7, 1, Some(r#"{"user":"ann"}"#));
    world.pass(SECOND);
    second.hear(&mut world);
    assert!(state(second, 7).is_some());
    assert!(second.awareness(7).unwrap().clock > ended);
}

#[test]
fn a_guest_whose_state_is_not_renewed_is_gone() {
    let mut world = World::new(0, &tuning());
    let mut guest = Client::connect(&mut world, 7, GuestRights::Read);
    guest.join(&mut world);
    guest.show(&mut world, 7, 1, Some("{}"));
    world.pass(Duration::from_secs(30));
    assert_eq!(world.hosts[0].node.presence(&document()).len(), 1);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.hosts[0].node.presence(&document()).len(), 0);
}

#[test]
fn many_newcomers_cost_one_encoding() {
    let mut world = World::new(1, &tuning());
    world.put(1, "k", "v");
    world.pass(SECOND);
    for client in 10..110 {
        let mut guest = Client::connect(&mut world, client, GuestRights::Write);
        guest.join(&mut world);
        assert_eq!(guest.get("k").as_deref(), Some("v"));
    }
    let counters = world.hosts[0].node.counters();
    assert!(counters.snapshots_shared >= 99, "{counters:?}");
}

#[test]
fn a_heavy_document_serves_guests_from_outside_the_node() {
    let mut tuning = Tuning::default();
    tuning.inline_bytes = 2_000;
    let mut world = World::new(1, &tuning);
    for n in 0..50 {
        world.put(1, &n.to_string(), &"x".repeat(100));
    }
    world.pass(SECOND);
    let mut guest = Client::connect(&mut world, 7, GuestRights::Write);
    world.hosts[0].hold_work = true;
    guest.join(&mut world);
    assert_eq!(guest.get("49"), None);
    assert_eq!(world.hosts[0].work.len(), 1);
    // It is away; what comes meanwhile waits.
    guest.put(&mut world, "mine", "v");
    world.hosts[0].hold_work = false;
    world.pass(SECOND);
    guest.hear(&mut world);
    assert_eq!(guest.get("49"), Some("x".repeat(100)));
    world.pass(SECOND);
    assert_eq!(world.get(1, "map/m/mine"), Some(json!("v")));
}

#[test]
fn what_a_guest_says_reaches_the_other_guests() {
    let mut world = World::new(1, &tuning());
    let mut guests = [7, 8].map(|client| Client::connect(&mut world, client, GuestRights::Read));
    for guest in &mut guests {
        guest.join(&mut world);
    }
    let [first, second] = &mut guests;
    let body = Bytes::from_static(b"hello");
    first.ask(&mut world, aepoch::wires::Ask::Say { document: document(), body: body.clone() });
    for (guest, hears) in [(&mut *first, 0), (&mut *second, 1)] {
        guest.hear(&mut world);
        let said = guest.words.iter().filter(|told| *told.word() == Word::Said(body.clone())).count();
        assert_eq!(said, hears);
    }
    assert_eq!(world.hosts[0].node.links_in(&document()), [LinkId(1)], "guests are no members");
}

#[test]
fn whoever_is_answered_has_all_there_was_when_it_asked_however_many_come() {
    let mut world = World::new(0, &tuning());
    let mut writer = Client::connect(&mut world, 7, GuestRights::Write);
    let mut early = Client::connect(&mut world, 8, GuestRights::Read);
    writer.join(&mut world);
    early.join(&mut world);
    for n in 1..4 {
        // Within the time for which those who come share what is encoded.
        writer.put(&mut world, "k", &n.to_string());
        world.pass(Duration::from_millis(20));
        let mut late = Client::connect(&mut world, 10 + n, GuestRights::Read);
        late.join_until_answered(&mut world);
        assert_eq!(late.get("k"), Some(n.to_string()));
    }
}

#[test]
fn the_more_guests_the_more_of_what_is_written_fast_leaves_as_one_and_what_is_written_slowly_never_waits() {
    let told = |pace: Duration| {
        let mut tuning = tuning();
        tuning.guest_pace = pace;
        let mut world = World::new(0, &tuning);
        let mut writer = Client::connect(&mut world, 1_000, GuestRights::Write);
        let mut readers: Vec<_> = (0..100).map(|n| Client::connect(&mut world, n, GuestRights::Read)).collect();
        writer.join(&mut world);
        readers.iter_mut().for_each(|reader| reader.join(&mut world));
        world.pass(SECOND);
        let before = readers[0].updates;
        for n in 0..40 {
            writer.put(&mut world, "fast", &n.to_string());
            world.pass(Duration::from_millis(5));
        }
        world.pass(Duration::from_millis(50));
        for reader in &mut readers {
            reader.hear(&mut world);
            assert_eq!(reader.get("fast").as_deref(), Some("39"), "the last one too, though nothing comes after it");
        }
        let told = readers[0].updates - before;
        for n in 0..3 {
            world.pass(Duration::from_millis(25));
            writer.put(&mut world, "slow", &n.to_string());
            readers[0].hear(&mut world);
            assert_eq!(readers[0].get("slow"), Some(n.to_string()));
        }
        told
    };
    assert_eq!(told(Duration::ZERO), 40);
    let paced = told(Duration::from_micros(200));
    assert!((10..=12).contains(&paced), "{paced} updates in 200 ms at one in 20 ms");
}
