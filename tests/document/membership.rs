//! Agents' state and membership, over several lives of an agent.

use aepoch::{document::Member, id::AgentId};
use serde_json::json;

use crate::peer::{Peer, kinds};

fn member(incarnation: u64) -> Member {
    Member {
        agent: AgentId::new("planner-1").unwrap(),
        incarnation,
        role: "planner".to_owned(),
        joined_ms: incarnation,
        addresses: vec!["ws://127.0.0.1:4433".to_owned()],
    }
}

#[test]
fn a_later_life_of_an_agent_takes_over_its_state_and_its_entry() {
    for kind in kinds() {
        let [old, new, watcher] = Peer::several(kind);
        old.commit(|tx| tx.enter(&member(1)));
        old.wall_ms.set(500_000);
        old.agent_state("planner-1").set("status", &"busy").unwrap();
        old.sync_to(&new);
        // The new life's clock is far behind the old one's.
        new.agent_state("planner-1").set("status", &"ready").unwrap();
        new.commit(|tx| tx.enter(&member(2)));
        new.sync_to(&watcher);
        old.sync_to(&watcher);
        let state = watcher.agent_state("planner-1");
        assert_eq!(state.get("status").unwrap(), Some("ready".to_owned()));
        assert_eq!(state.keys().unwrap(), ["status"]);
        let members = watcher.document.borrow().members();
        assert_eq!(members, [(new.replica(), member(2))]);
        assert_eq!(watcher.at("member/planner-1").unwrap()["incarnation"], json!(2));
    }
}

#[test]
fn two_lives_that_never_met_are_told_apart_by_incarnation() {
    for kind in kinds() {
        let [old, new] = Peer::several(kind);
        old.wall_ms.set(500_000);
        old.commit(|tx| tx.enter(&member(1)));
        new.commit(|tx| tx.enter(&member(2)));
        old.sync_to(&new);
        assert_eq!(new.document.borrow().members(), [(new.replica(), member(2))]);
    }
}

#[test]
fn who_leaves_is_listed_no_more() {
    for kind in kinds() {
        let [a, b] = Peer::several(kind);
        a.commit(|tx| tx.enter(&member(1)));
        a.sync_to(&b);
        assert_eq!(b.document.borrow().members().len(), 1);
        a.commit(|tx| tx.leave(&member(1).agent));
        a.sync_to(&b);
        assert!(b.document.borrow().members().is_empty());
        assert_eq!(b.render(), json!({}));
    }
}

#[test]
fn a_members_fields_are_bounded() {
    let a = Peer::new(kinds()[0], 1);
    let mut long = member(1);
    long.addresses = vec!["x".to_owned(); 17];
    let error = a.document.borrow_mut().transact(1_000, false, |tx| tx.enter(&long)).unwrap_err();
    assert!(error.to_string().contains("17 addresses are over the limit of 16"), "{error}");
}
