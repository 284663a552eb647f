//! Client numbers: every page of Yjs that writes draws one, and none is given up.
#![cfg(feature = "yrs")]

use aepoch::{
    document::{Absorption, DocumentError, Foreign},
    engine::EngineKind,
    limits,
};
use bytes::Bytes;

use crate::peer::Peer;

fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// An update of these clients: each one unit at that clock, collected as garbage.
fn update(clients: impl ExactSizeIterator<Item = u64>, clock: u64) -> Bytes {
    let mut bytes = Vec::new();
    number(clients.len() as u64, &mut bytes);
    for client in clients {
        bytes.push(1);
        number(client, &mut bytes);
        number(clock, &mut bytes);
        bytes.extend([0, 1]);
    }
    bytes.push(0);
    bytes.into()
}

#[test]
fn a_document_full_of_client_numbers_refuses_another_and_lives_on() {
    let [full, agent] = Peer::several(EngineKind::Yrs);
    let absorb = |update| {
        let foreign = Foreign { update, source: 0, may_write: true };
        full.document.borrow_mut().absorb(&foreign, |_| false, false, &mut Vec::new()).unwrap()
    };
    let most = limits::DOCUMENT_CLIENTS as u64;
    let all: Vec<u64> = (100..100 + most).collect();
    assert!(matches!(absorb(update(all.iter().copied(), 0)), Absorption::Landed(Some(_))));

    let Absorption::Refused(DocumentError::TooLarge { what, size, max }) = absorb(update([7].into_iter(), 0)) else {
        panic!("one too many is taken");
    };
    assert_eq!((what.as_str(), size, max), ("writers of the document's content", max + 1, limits::DOCUMENT_CLIENTS));
    assert!(matches!(absorb(update([100].into_iter(), 1)), Absorption::Landed(Some(_))), "who is known writes on");

    let delta = agent.write(|tx| tx.map("m").put("k", &1));
    full.receive(&[delta]);
    assert_eq!(full.at("map/m/k"), Some(1.into()), "agents have room of their own");
    full.sync_to(&agent);
    assert_eq!(full.document.borrow().content().frontier(), agent.document.borrow().content().frontier());
}
