//! Guests with passes: what a pass allows, and what a newer policy makes of it.

use std::time::Duration;

use aepoch::{
    id::DocumentId,
    node::{Event, Input},
    time::Moment,
    trust::{pattern::Right, quota::Quota},
    wires::{Ask, Awareness, Entry, Gate, GuestRights, Word},
};
use bytes::Bytes;
use serde_json::json;

use crate::{
    guest::Client,
    swarm::{NOW, authority, changed, pass},
    world::{World, document, tuning},
};

const SECOND: Duration = Duration::from_secs(1);
const ALL: &[Right] = &[Right::Read, Right::Write, Right::Presence];

fn entry(subject: &str, grants: &[(&str, &[Right])]) -> Entry {
    let now = Moment { wall_ms: NOW * 1_000, ..Moment::default() };
    Gate::new(None, Some(authority()), now).admit(Some(&pass(subject, grants)), now.mono).unwrap()
}

fn world() -> World {
    let mut world = World::new(1, &tuning());
    let now = world.now;
    world.hosts[0].node.set_authority(authority(), now);
    world
}

/// Why the relay ended a guest's connection.
fn closed<'w>(world: &'w World, guest: &Client) -> Option<&'w str> {
    world.hosts[0].closed.iter().find(|(link, _)| *link == guest.link).map(|(_, reason)| reason.as_str())
}

fn shows(client: u64) -> Ask {
    let state = Some(Bytes::from_static(br#"{"cursor":1}"#));
    Ask::Presence { document: document(), states: vec![Awareness { client, clock: 1, state }] }
}

#[test]
fn a_pass_allows_what_it_says_in_the_rooms_it_names() {
    let mut world = world();
    let mut writer = Client::let_in(&mut world, 7, Some(entry("alice", &[("swarm/*", ALL)])));
    let mut reader = Client::let_in(&mut world, 8, Some(entry("bob", &[("swarm/*", &[Right::Read])])));
    let mut stranger = Client::let_in(&mut world, 9, Some(entry("eve", &[("swarm/notes", ALL)])));
    for guest in [&mut writer, &mut reader, &mut stranger] {
        guest.join(&mut world);
    }
    writer.put(&mut world, "k", "alice");
    reader.put(&mut world, "k", "bob");
    writer.ask(&mut world, shows(7));
    reader.ask(&mut world, shows(8));
    world.pass(SECOND);
    for guest in [&mut writer, &mut reader, &mut stranger] {
        guest.hear(&mut world);
    }
    assert_eq!(world.get(1, "map/m/k"), Some(json!("alice")));
    assert!(reader.refusals()[0].0);
    assert_eq!(stranger.refusals(), [(true, "no right to read `swarm/stage`".to_owned())]);
    assert_eq!(closed(&world, &stranger), Some("no right to read `swarm/stage`"));
    assert_eq!(closed(&world, &reader), None);
    assert_eq!(stranger.updates, 0);

    let seen = world.hosts[1].node.presence(&document());
    let seen: Vec<_> = seen.iter().map(|entry| (entry.replica.get(), entry.agent.as_str())).collect();
    assert_eq!(seen, [(7, "alice")], "under the name on the pass, and nobody without the right to be seen");
}

#[test]
fn a_document_that_is_not_granted_is_not_even_made() {
    let mut world = world();
    let mut guest = Client::let_in(&mut world, 7, Some(entry("alice", &[("swarm/other", ALL)])));
    let before = world.hosts[0].node.documents().count();
    guest.join(&mut world);
    assert_eq!(world.hosts[0].node.documents().count(), before);
}

#[test]
fn who_is_asked_document_by_document_has_to_enter_first() {
    let mut world = world();
    let mut guest = Client::let_in(&mut world, 7, None);
    let enters = |entry| Ask::Enter { document: document(), entry };
    guest.ask(&mut world, enters(entry("alice", &[("swarm/*", &[Right::Read])])));
    guest.join(&mut world);
    guest.put(&mut world, "k", "early");
    assert_eq!(world.get(1, "map/m/k"), None);
    guest.ask(&mut world, enters(entry("alice", &[("swarm/*", ALL)])));
    guest.join(&mut world);
    world.pass(SECOND);
    guest.hear(&mut world);
    guest.put(&mut world, "j", "later");
    guest.ask(&mut world, shows(7));
    world.pass(SECOND);
    assert_eq!(world.get(1, "map/m/j"), Some(json!("later")), "the newer pass counts at once");
    let seen = world.hosts[1].node.presence(&document());
    assert_eq!(seen[0].agent.as_str(), "alice");
    let entered = |event: &Event| {
        matches!(event, Event::Entered { agent, credential: Some((id, _)), .. }
        if agent.as_str() == "alice" && id == "pass-of-alice")
    };
    assert_eq!(world.hosts[0].events.iter().filter(|event| entered(event)).count(), 2);

    guest.ask(&mut world, Ask::Leave { document: document() });
    guest.join(&mut world);
    assert_eq!(closed(&world, &guest), Some("no right to read `swarm/stage`"), "it has to enter again");
}

#[test]
fn a_newer_policy_ends_connections_whose_pass_counts_no_more_or_allows_something_else() {
    let mut world = world();
    let mut alice = Client::let_in(&mut world, 7, Some(entry("alice", &[("swarm/*", ALL)])));
    let mut bob = Client::let_in(&mut world, 8, None);
    bob.ask(&mut world, Ask::Enter { document: document(), entry: entry("bob", &[("swarm/*", ALL)]) });
    let mut anybody = Client::connect(&mut world, 9, GuestRights::Write);
    for guest in [&mut alice, &mut bob, &mut anybody] {
        guest.join(&mut world);
    }
    let now = world.now;
    world.hosts[0].node.set_authority(changed(|policy| policy.revoked = [("bob".parse().unwrap(), NOW)].into()), now);
    world.pump();
    assert!(closed(&world, &bob).unwrap().contains("revokes"));
    assert_eq!([&alice, &anybody].map(|guest| closed(&world, guest)), [None, None]);
    let confined = changed(|policy| {
        policy.issuers.get_mut("gates").unwrap().rooms = ["swarm/notes".parse().unwrap()].into();
    });
    world.hosts[0].node.set_authority(confined, now);
    world.pump();
    let ends = [&alice, &anybody].map(|guest| closed(&world, guest));
    assert_eq!(ends, [Some("rights have changed: come back"), None]);

    // Who was let in by an older one, just before.
    let dismissed = changed(|policy| policy.allow = Some(["carol".parse().unwrap()].into()));
    world.hosts[0].node.set_authority(dismissed, now);
    let late = Client::let_in(&mut world, 10, Some(entry("alice", &[("swarm/*", ALL)])));
    world.pump();
    assert!(closed(&world, &late).unwrap().contains("list"));
}

#[test]
fn one_subject_has_as_many_connections_as_one_agent() {
    let mut world = world();
    let now = world.now;
    let few = changed(|policy| policy.quotas = [(Quota::AgentConnections, 2)].into());
    world.hosts[0].node.set_authority(few, now);
    let alice = || entry("alice", &[("swarm/*", ALL)]);
    let mut guests: Vec<_> = (7..9).map(|n| Client::let_in(&mut world, n, Some(alice()))).collect();
    guests.push(Client::let_in(&mut world, 9, None));
    world.pump();
    let ends =
        |world: &World| -> Vec<_> { guests.iter().map(|guest| closed(world, guest).map(str::to_owned)).collect() };
    assert_eq!(ends(&world), [None, None, None]);
    let enters = Ask::Enter { document: document(), entry: alice() };
    world.hosts[0].node.handle(Input::Asked { link: guests[2].link, ask: enters.clone() }, now);
    let late = Client::let_in(&mut world, 10, Some(alice()));
    world.pump();
    let too_many = Some("`alice` has 2 connections, limit 2".to_owned());
    assert_eq!(ends(&world), [None, None, too_many.clone()]);
    assert_eq!(closed(&world, &late).map(str::to_owned), too_many);
    // Who is in already may show a newer one.
    world.hosts[0].node.handle(Input::Asked { link: guests[0].link, ask: enters }, now);
    world.pump();
    assert_eq!(ends(&world)[0], None);
}

#[cfg(all(feature = "automerge", feature = "guests"))]
#[test]
fn a_repo_is_told_that_a_document_it_may_not_read_is_unavailable_and_goes_on_with_others() {
    use crate::repo::Repo;

    let mut world = World::new(0, &tuning());
    let now = world.now;
    world.hosts[0].node.set_authority(authority(), now);
    let [closed_room, room] = ["swarm/closed", "swarm/open"].map(|name| DocumentId::new(name).unwrap());
    let entry = entry("alice", &[("swarm/open", ALL)]);
    let mut repo = Repo::let_in(&mut world, &closed_room, 1, entry);
    repo.request(&mut world);
    repo.hear(&mut world);
    let words: Vec<_> = repo.words.iter().map(|told| told.word().clone()).collect();
    let reason = "no right to read `swarm/closed`".to_owned();
    assert_eq!(words, [Word::Refused { is_forbidden: true, reason }, Word::Unavailable]);
    assert!(world.hosts[0].closed.is_empty());
    let mut other = repo.on(&room);
    other.put(&mut world, "k", "1");
    world.pass(SECOND);
    other.hear(&mut world);
    assert!(other.is_kept());
}
