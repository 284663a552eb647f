//! A plain Yjs client at the relay: a document of its own, and what it was told.

use std::sync::Arc;

use aepoch::{
    engine::{EngineKind, frontier_of_vector, vector_of_frontier},
    id::{AgentId, Identity, LinkId, ReplicaId},
    node::Input,
    wires::{Ask, Awareness, Entry, GuestRights, Told, Word},
};
use bytes::Bytes;
use yrs::{
    ClientID, Doc, GetString as _, Map as _, Options, ReadTxn as _, StateVector, Text as _, Transact as _, Update,
    updates::{decoder::Decode as _, encoder::Encode as _},
};

use crate::world::{World, document};

pub(crate) struct Client {
    pub(crate) link: LinkId,
    pub(crate) doc: Doc,
    /// What it was told besides updates and questions.
    pub(crate) words: Vec<Arc<Told>>,
    /// Updates it was told.
    pub(crate) updates: usize,
    /// It wants to hear of what is durable.
    pub(crate) counts: bool,
}

impl Client {
    /// A client of that number, connected to the relay.
    pub(crate) fn connect(world: &mut World, client: u64, rights: GuestRights) -> Self {
        Self::let_in(world, client, Some(Entry::Open(rights)))
    }

    /// A client of that number, let in by `entry`.
    pub(crate) fn let_in(world: &mut World, client: u64, entry: Option<Entry>) -> Self {
        let doc = Doc::with_options(Options::with_client_id(ClientID::new(client)));
        let this = Self { link: LinkId(1_000 + client), doc, words: Vec::new(), updates: 0, counts: true };
        this.enter(world, entry);
        this
    }

    /// Connects, on a link that is not open.
    pub(crate) fn come(&mut self, world: &mut World, rights: GuestRights) {
        self.enter(world, Some(Entry::Open(rights)));
    }

    fn enter(&self, world: &mut World, entry: Option<Entry>) {
        let subject = entry.as_ref().and_then(Entry::subject).cloned();
        let agent = subject.unwrap_or_else(|| AgentId::new(&format!("guest-{}", self.link.0)).unwrap());
        let identity = Identity { agent, replica: ReplicaId::from_bits(1 << 40 | self.link.0), incarnation: 0 };
        let now = world.now;
        world.hosts[0].node.handle(Input::GuestUp { link: self.link, identity, entry }, now);
    }

    /// Asks what it lacks, and does what it is asked.
    pub(crate) fn join(&mut self, world: &mut World) {
        let vector = self.doc.transact().state_vector().encode_v1();
        let frontier = frontier_of_vector(&vector).unwrap();
        self.ask(world, Ask::Join { document: document(), engine: EngineKind::Yrs, frontier, counts: self.counts });
        self.hear(world);
    }

    /// Asks what it lacks, and hears no more than up to the answer.
    pub(crate) fn join_until_answered(&mut self, world: &mut World) {
        let ask = Ask::Join { document: document(), engine: EngineKind::Yrs, frontier: Bytes::new(), counts: false };
        self.ask(world, ask);
        while let Some(at) = world.hosts[0].told.iter().position(|(link, _)| *link == self.link) {
            let (_, told) = world.hosts[0].told.remove(at).unwrap();
            let (Word::Update(update) | Word::Lacking(update)) = told.word() else { continue };
            if !update.is_empty() {
                self.doc.transact_mut().apply_update(Update::decode_v1(update).unwrap()).unwrap();
            }
            if matches!(told.word(), Word::Lacking(_)) {
                return;
            }
        }
        panic!("it was not answered");
    }

    pub(crate) fn go(&mut self, world: &mut World) {
        let now = world.now;
        let down = Input::LinkDown { link: self.link, reason: "gone".to_owned(), is_final: false };
        world.hosts[0].node.handle(down, now);
        world.pump();
    }

    pub(crate) fn ask(&mut self, world: &mut World, ask: Ask) {
        let now = world.now;
        world.hosts[0].node.handle(Input::Asked { link: self.link, ask }, now);
        world.pump();
    }

    pub(crate) fn send(&mut self, world: &mut World, update: Vec<u8>) {
        self.ask(world, Ask::Update { document: document(), update: update.into() });
    }

    /// Puts something into the map, and sends it; returns the update.
    pub(crate) fn put(&mut self, world: &mut World, key: &str, value: &str) -> Vec<u8> {
        let update = self.put_offline(key, value);
        self.send(world, update.clone());
        update
    }

    pub(crate) fn put_offline(&mut self, key: &str, value: &str) -> Vec<u8> {
        let map = self.doc.get_or_insert_map("m");
        let mut txn = self.doc.transact_mut();
        map.insert(&mut txn, key, value);
        txn.encode_update_v1()
    }

    /// Writes into the text, and sends it.
    pub(crate) fn push(&mut self, world: &mut World, chars: &str) {
        let text = self.doc.get_or_insert_text("t");
        let mut txn = self.doc.transact_mut();
        text.push(&mut txn, chars);
        let update = txn.encode_update_v1();
        drop(txn);
        self.send(world, update);
    }

    pub(crate) fn text(&self) -> String {
        let text = self.doc.get_or_insert_text("t");
        text.get_string(&self.doc.transact())
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let map = self.doc.get_or_insert_map("m");
        map.get(&self.doc.transact(), key).map(|value| value.to_string(&self.doc.transact()))
    }

    /// Takes in all it was told, and answers what it was asked.
    pub(crate) fn hear(&mut self, world: &mut World) {
        loop {
            let told = &mut world.hosts[0].told;
            let Some(at) = told.iter().position(|(link, _)| *link == self.link) else { return };
            let Some((_, told)) = told.remove(at) else { return };
            match told.word() {
                Word::Update(update) | Word::Lacking(update) => {
                    self.updates += 1;
                    if !update.is_empty() {
                        let update = Update::decode_v1(update).unwrap();
                        self.doc.transact_mut().apply_update(update).unwrap();
                    }
                }
                Word::Frontier(frontier) => {
                    let vector = StateVector::decode_v1(&vector_of_frontier(frontier).unwrap()).unwrap();
                    let update = self.doc.transact().encode_state_as_update_v1(&vector);
                    self.send(world, update);
                }
                _ => self.words.push(told),
            }
        }
    }

    /// How many of its updates it was told to be durable.
    pub(crate) fn kept(&self) -> u64 {
        let kept = self.words.iter().map(|told| if let Word::Kept(count) = told.word() { *count } else { 0 });
        kept.sum()
    }

    /// What was refused to it, and whether for want of a right.
    pub(crate) fn refusals(&self) -> Vec<(bool, String)> {
        let refusals = self.words.iter().filter_map(|told| match told.word() {
            Word::Refused { is_forbidden, reason } => Some((*is_forbidden, reason.clone())),
            _ => None,
        });
        refusals.collect()
    }

    /// The latest it heard of each client.
    pub(crate) fn awareness(&self, client: u64) -> Option<Awareness> {
        self.words.iter().rev().find_map(|told| match told.word() {
            Word::Presence(states) => states.iter().find(|state| state.client == client).cloned(),
            _ => None,
        })
    }

    pub(crate) fn show(&mut self, world: &mut World, client: u64, clock: u64, state: Option<&str>) {
        let state = state.map(|state| Bytes::copy_from_slice(state.as_bytes()));
        self.ask(world, Ask::Presence { document: document(), states: vec![Awareness { client, clock, state }] });
    }
}
