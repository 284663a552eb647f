//! Clients that speak automerge's own sync protocol in the rooms of agents.

use std::time::Duration;

use aepoch::{
    document::Subscription,
    engine::EngineKind,
    id::DocumentId,
    limits,
    wires::{GuestRights, RepoId, Word},
};
use automerge::{
    ROOT,
    sync::{ChunkList, Message, State, SyncDoc as _},
    transaction::Transactable as _,
};
use serde_json::json;

use crate::{
    repo::Repo,
    world::{World, tuning},
};

const SECOND: Duration = Duration::from_secs(1);

fn document() -> DocumentId {
    RepoId::from_bytes(*b"0123456789abcdef").document("swarm").unwrap()
}

/// A relay and an agent with the document open.
fn world_with_agent() -> World {
    let mut world = World::new(1, &tuning());
    let now = world.now;
    world.hosts[1].node.open(&document(), EngineKind::Automerge, Subscription::default(), now).unwrap();
    world.pass(SECOND);
    world
}

fn write(world: &mut World, key: &str, value: &str) {
    let now = world.now;
    let plan = |tx: &mut aepoch::document::Transaction<'_>| tx.map("m").put(key, &value.to_owned());
    world.hosts[1].node.transact(&document(), plan, now).unwrap();
    world.pump();
}

fn read(world: &World, host: usize, path: &str) -> Option<serde_json::Value> {
    world.hosts[host].node.read(&document(), |document| document.get_path(path).ok()).unwrap()
}

fn entries(world: &World) -> u64 {
    world.hosts[0].node.documents().find(|status| status.document == document()).unwrap().log_entries
}

/// All talk until nobody has anything to say.
fn settle(world: &mut World, repos: &mut [&mut Repo]) {
    for _ in 0..20 {
        for repo in repos.iter_mut() {
            repo.hear(world);
        }
        world.pass(Duration::from_millis(100));
    }
}

#[test]
fn repos_and_an_agent_are_in_one_document() {
    let mut world = world_with_agent();
    let [mut first, mut second] = [1, 2].map(|n| Repo::connect(&mut world, &document(), n, GuestRights::Write));
    let list = first.doc.put_object(ROOT, "songs", automerge::ObjType::List).unwrap();
    first.doc.insert(&list, 0, "one").unwrap();
    first.speak(&mut world);
    second.speak(&mut world);
    settle(&mut world, &mut [&mut first, &mut second]);
    assert_eq!(read(&world, 1, "list/songs"), Some(json!(["one"])));
    write(&mut world, "agent", "was here");
    second.put(&mut world, "title", "tour");
    settle(&mut world, &mut [&mut first, &mut second]);
    assert_eq!(first.get("title").as_deref(), Some("tour"));
    assert_eq!(first.doc.get_heads(), second.doc.get_heads());
    assert!(first.is_kept() && second.is_kept());
    assert_eq!(read(&world, 1, "map/m/agent"), read(&world, 0, "map/m/agent"));
    let before = entries(&world);
    assert!(!first.speak(&mut world) && !second.speak(&mut world), "nobody has anything left to say");
    settle(&mut world, &mut [&mut first, &mut second]);
    assert_eq!(entries(&world), before);
}

#[test]
fn a_repo_hears_that_its_change_is_here_once_it_is_durable_and_others_hear_of_it_at_once() {
    let mut world = World::new(0, &tuning());
    let [mut writer, mut reader] = [1, 2].map(|n| Repo::connect(&mut world, &document(), n, GuestRights::Write));
    writer.put(&mut world, "k", "1");
    reader.speak(&mut world);
    settle(&mut world, &mut [&mut writer, &mut reader]);
    world.hosts[0].hold_store = true;
    for n in 2..6 {
        writer.put(&mut world, "k", &n.to_string());
        settle(&mut world, &mut [&mut writer, &mut reader]);
        assert_eq!(reader.get("k"), Some(n.to_string()));
    }
    assert!(!writer.is_kept());
    world.hosts[0].hold_store = false;
    settle(&mut world, &mut [&mut writer, &mut reader]);
    assert!(writer.is_kept());
}

#[test]
fn what_an_agent_writes_reaches_repos_once_it_is_durable() {
    let mut world = world_with_agent();
    let mut repo = Repo::connect(&mut world, &document(), 1, GuestRights::Write);
    repo.speak(&mut world);
    settle(&mut world, &mut [&mut repo]);
    world.hosts[0].hold_store = true;
    write(&mut world, "k", "v");
    settle(&mut world, &mut [&mut repo]);
    // Also in answer to what it says itself.
    repo.put(&mut world, "own", "v");
    settle(&mut world, &mut [&mut repo]);
    let heads = repo.doc.get_heads();
    assert_eq!(heads.len(), 1);
    assert!(repo.doc.get_changes(&[]).len() == 1, "what the agent wrote is not durable yet");
    world.hosts[0].hold_store = false;
    settle(&mut world, &mut [&mut repo]);
    assert!(repo.doc.get_changes(&[]).len() > 1);
}

#[test]
fn what_nobody_has_is_unavailable_after_a_while_and_comes_when_somebody_has_it() {
    let mut world = World::new(0, &tuning());
    let [mut asks, mut has] = [1, 2].map(|n| Repo::connect(&mut world, &document(), n, GuestRights::Write));
    asks.request(&mut world);
    world.pass(Duration::from_millis(400));
    asks.hear(&mut world);
    assert!(asks.words.is_empty(), "it may still come");
    world.pass(Duration::from_millis(200));
    asks.hear(&mut world);
    let is_unavailable = |repo: &Repo| repo.words.iter().any(|told| *told.word() == Word::Unavailable);
    assert!(is_unavailable(&asks));
    has.put(&mut world, "k", "v");
    settle(&mut world, &mut [&mut asks, &mut has]);
    assert_eq!(asks.get("k").as_deref(), Some("v"));
    // Who asks now is not told so.
    let mut late = Repo::connect(&mut world, &document(), 3, GuestRights::Read);
    late.request(&mut world);
    settle(&mut world, &mut [&mut late]);
    assert_eq!(late.get("k").as_deref(), Some("v"));
    assert!(!is_unavailable(&late));
}

#[test]
fn who_may_only_read_is_told_and_closed_in_the_end() {
    let mut world = world_with_agent();
    write(&mut world, "k", "v");
    let mut repo = Repo::connect(&mut world, &document(), 1, GuestRights::Read);
    repo.speak(&mut world);
    settle(&mut world, &mut [&mut repo]);
    assert!(repo.doc.get_changes(&[]).len() == 2 && repo.refusals().is_empty());
    for n in 0..limits::GUEST_FORBIDDEN {
        assert!(world.hosts[0].closed.is_empty(), "after {n}");
        repo.put(&mut world, "own", &n.to_string());
        settle(&mut world, &mut [&mut repo]);
    }
    assert_eq!(repo.refusals().len(), limits::GUEST_FORBIDDEN as usize);
    assert!(repo.refusals().iter().all(|(is_forbidden, _)| *is_forbidden));
    assert_eq!(world.hosts[0].closed.len(), 1);
    assert_eq!(read(&world, 1, "map/m"), Some(json!({ "k": "v" })));
}

#[test]
fn changes_that_come_in_the_wrong_order_are_held_and_the_missing_ones_asked_for() {
    let mut world = World::new(0, &tuning());
    let mut repo = Repo::connect(&mut world, &document(), 1, GuestRights::Write);
    for value in ["1", "2", "3"] {
        repo.doc.put(ROOT, "k", value).unwrap();
        repo.doc.commit();
    }
    let last = repo.doc.get_changes(&[])[2].raw_bytes().to_vec();
    let hello = repo.doc.sync().generate_sync_message(&mut State::new()).unwrap();
    repo.say(&mut world, Message { changes: ChunkList::from(vec![last]), ..hello }, false);
    settle(&mut world, &mut [&mut repo]);
    assert!(repo.is_kept());
    assert_eq!((entries(&world), repo.refusals().len()), (1, 0));
}

#[test]
fn what_agents_and_repos_write_meanwhile_goes_into_one_message() {
    let mut world = World::new(0, &tuning());
    let [mut writer, mut reader] = [1, 2].map(|n| Repo::connect(&mut world, &document(), n, GuestRights::Write));
    writer.put(&mut world, "k", "0");
    reader.speak(&mut world);
    settle(&mut world, &mut [&mut writer, &mut reader]);
    for n in 0..100 {
        writer.put(&mut world, "k", &n.to_string());
        world.pass(Duration::from_millis(2));
    }
    // One every 20 ms to who does not answer.
    let messages = world.hosts[0].told.iter().filter(|(link, _)| *link == reader.link).count();
    assert!((5..=12).contains(&messages), "{messages} messages");
    settle(&mut world, &mut [&mut writer, &mut reader]);
    assert_eq!(reader.get("k").as_deref(), Some("99"));
}

#[test]
fn a_repo_that_does_not_read_is_told_no_more_until_it_does() {
    let mut world = world_with_agent();
    let mut repo = Repo::connect(&mut world, &document(), 1, GuestRights::Write);
    repo.speak(&mut world);
    settle(&mut world, &mut [&mut repo]);
    world.hosts[0].stuck.insert(repo.link);
    for n in 0..300_u64 {
        // Nothing that could be compressed.
        let noise: String =
            (0..500_u64).map(|i| format!("{:04x}", (n * 500 + i).wrapping_mul(0x9e37_79b9) >> 16 & 0xffff)).collect();
        write(&mut world, "k", &noise);
        world.pass(Duration::from_millis(30));
    }
    let waiting: usize = world.hosts[0].told.iter().map(|(_, told)| told.cost()).sum();
    assert!(waiting < 400_000, "{waiting} bytes wait");
    let now = world.now;
    world.hosts[0].stuck.clear();
    let drained = aepoch::node::Input::Drained { link: repo.link, bytes: waiting as u64 };
    world.hosts[0].node.handle(drained, now);
    settle(&mut world, &mut [&mut repo]);
    assert!(repo.is_kept());
    assert!(repo.doc.get_changes(&[]).len() > 300);
}

#[test]
fn changes_that_break_a_rule_are_refused_and_nobody_is_worse_off() {
    let mut world = world_with_agent();
    write(&mut world, "k", "v");
    let mut repo = Repo::connect(&mut world, &document(), 1, GuestRights::Write);
    repo.speak(&mut world);
    settle(&mut world, &mut [&mut repo]);
    // Under the number of the agent, whose own it is.
    let number = aepoch::id::ReplicaId::from_bits(101).get().to_be_bytes();
    repo.doc.set_actor(automerge::ActorId::from(&number[..]));
    repo.put(&mut world, "forged", "v");
    settle(&mut world, &mut [&mut repo]);
    let refusals = repo.refusals();
    assert!(refusals[0].1.contains("whose own it is"), "{refusals:?}");
    assert!(!repo.is_kept());
    write(&mut world, "k", "w");
    let mut other = Repo::connect(&mut world, &document(), 2, GuestRights::Write);
    other.put(&mut world, "honest", "v");
    settle(&mut world, &mut [&mut other]);
    assert!(other.is_kept() && other.get("forged").is_none());
}

#[test]
fn a_heavy_document_is_talked_about_outside_the_node() {
    let mut tuning = tuning();
    tuning.inline_bytes = 2_000;
    let mut world = World::new(0, &tuning);
    let [mut writer, mut reader] = [1, 2].map(|n| Repo::connect(&mut world, &document(), n, GuestRights::Write));
    writer.put(&mut world, "k", &"long ".repeat(2_000));
    settle(&mut world, &mut [&mut writer]);
    let before = entries(&world);
    world.hosts[0].hold_work = true;
    // What somebody lacks of whom nothing is known takes time.
    reader.speak(&mut world);
    for key in ["first", "second"] {
        writer.put(&mut world, key, "v");
        world.pass(SECOND);
    }
    reader.hear(&mut world);
    assert_eq!((reader.messages, entries(&world)), (0, before), "the document is away");
    world.hosts[0].hold_work = false;
    world.pass(SECOND);
    assert_eq!(entries(&world), before + 2, "what was said meanwhile is taken up, one after the other");
    settle(&mut world, &mut [&mut writer, &mut reader]);
    // What is new takes none.
    world.hosts[0].hold_work = true;
    writer.put(&mut world, "third", "v");
    settle(&mut world, &mut [&mut writer, &mut reader]);
    assert_eq!(reader.get("third").as_deref(), Some("v"));
    assert!(reader.get("k").is_some() && reader.is_kept() && writer.is_kept());
}
