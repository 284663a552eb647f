//! What a peer can make a node do.

use std::time::Duration;

use aepoch::{
    id::LinkId,
    limits,
    node::Input,
    sync::{Address, Lane, Message},
};
use bytes::Bytes;

use crate::world::{World, document, tuning};

/// The relay's end of the first wire.
const AT_RELAY: LinkId = LinkId(1);

fn junk() -> Message {
    Message::Delta { document: document(), delta: Bytes::from_static(&[0xff; 10]) }
}

#[test]
fn three_refused_inputs_end_a_connection_and_the_reason_is_said() {
    let mut world = World::new(2, &tuning());
    for strike in 1..=limits::LINK_STRIKES {
        assert!(world.hosts[0].closed.is_empty(), "strike {strike} is not the last");
        let now = world.now;
        world.hosts[0].node.handle(Input::Message { link: AT_RELAY, message: junk() }, now);
        world.pump();
    }
    assert_eq!(world.hosts[0].closed.len(), 1);
    assert!(world.hosts[0].closed[0].1.contains("not a delta"), "{:?}", world.hosts[0].closed);
    world.set(2, "r", 1);
    world.pass(Duration::from_millis(50));
    assert_eq!(world.get(0, "register/r"), Some(serde_json::json!(1)), "the other connection goes on");
}

#[test]
fn a_message_in_anothers_name_is_refused() {
    let mut world = World::new(2, &tuning());
    let from = aepoch::id::AgentId::new("somebody-else").unwrap();
    let message = Message::App { from, to: Address::All, lane: Lane::High, body: Bytes::from_static(b"hi") };
    let now = world.now;
    world.hosts[0].node.handle(Input::Message { link: AT_RELAY, message }, now);
    world.pump();
    assert_eq!(world.hosts[0].node.counters().refused, 1);
    let heard = |event: &aepoch::node::Event| matches!(event, aepoch::node::Event::Message { .. });
    assert!(!world.hosts[2].events.iter().any(heard));
}

#[test]
fn a_replica_that_comes_back_replaces_its_old_connection() {
    let mut world = World::new(1, &tuning());
    world.connect(1, 0);
    world.pump();
    assert_eq!(world.hosts[0].closed.len(), 1);
    assert!(world.hosts[0].closed[0].1.contains("newer connection"));
    world.set(1, "r", 7);
    world.pass(Duration::from_millis(50));
    assert_eq!(world.get(0, "register/r"), Some(serde_json::json!(7)));
}
