//! A client of automerge-repo at the relay: a document of its own in the library, and what it was told.

use std::sync::Arc;

use aepoch::{
    engine::{EngineKind, read_message},
    id::{AgentId, DocumentId, Identity, LinkId, ReplicaId},
    node::Input,
    wires::{Ask, Entry, GuestRights, Told, Word},
};
use automerge::{
    AutoCommit, ROOT, ReadDoc as _,
    sync::{Message, State, SyncDoc as _},
    transaction::Transactable as _,
};

use crate::world::World;

pub(crate) struct Repo {
    pub(crate) link: LinkId,
    pub(crate) doc: AutoCommit,
    state: State,
    document: DocumentId,
    /// What it was told besides messages.
    pub(crate) words: Vec<Arc<Told>>,
    /// Messages it was told.
    pub(crate) messages: usize,
}

impl Repo {
    /// A client of that number, connected to the relay.
    pub(crate) fn connect(world: &mut World, document: &DocumentId, client: u64, rights: GuestRights) -> Self {
        Self::let_in(world, document, client, Entry::Open(rights))
    }

    /// A client of that number, let in by `entry`.
    pub(crate) fn let_in(world: &mut World, document: &DocumentId, client: u64, entry: Entry) -> Self {
        let link = LinkId(2_000 + client);
        let agent = AgentId::new(&format!("repo-{client}")).unwrap();
        let identity = Identity { agent, replica: ReplicaId::from_bits(1 << 41 | client), incarnation: 0 };
        let now = world.now;
        world.hosts[0].node.handle(Input::GuestUp { link, identity, entry: Some(entry) }, now);
        Self::over(link, document)
    }

    fn over(link: LinkId, document: &DocumentId) -> Self {
        let (doc, document) = (AutoCommit::new(), document.clone());
        Self { link, doc, state: State::new(), document, words: Vec::new(), messages: 0 }
    }

    /// Another document over the same connection.
    pub(crate) fn on(&self, document: &DocumentId) -> Self {
        Self::over(self.link, document)
    }

    /// Says what it has to say, if anything.
    pub(crate) fn speak(&mut self, world: &mut World) -> bool {
        let Some(message) = self.doc.sync().generate_sync_message(&mut self.state) else { return false };
        self.say(world, message, false);
        true
    }

    /// Asks for the document, of which it has nothing.
    pub(crate) fn request(&mut self, world: &mut World) {
        let message = self.doc.sync().generate_sync_message(&mut self.state).unwrap();
        self.say(world, message, true);
    }

    pub(crate) fn say(&mut self, world: &mut World, message: Message, wants: bool) {
        let message = read_message(&message.encode()).unwrap();
        let ask = Ask::Sync { document: self.document.clone(), engine: EngineKind::Automerge, message, wants };
        let now = world.now;
        world.hosts[0].node.handle(Input::Asked { link: self.link, ask }, now);
        world.pump();
    }

    pub(crate) fn put(&mut self, world: &mut World, key: &str, value: &str) {
        self.doc.put(ROOT, key, value).unwrap();
        self.speak(world);
    }

    /// Takes in all it was told, and answers it, until nothing comes.
    pub(crate) fn hear(&mut self, world: &mut World) {
        loop {
            let told = &mut world.hosts[0].told;
            let Some(at) = told.iter().position(|(link, _)| *link == self.link) else { return };
            let Some((_, told)) = told.remove(at) else { return };
            match told.word() {
                Word::Sync(message) => {
                    self.messages += 1;
                    let message = Message::decode(message).unwrap();
                    self.doc.sync().receive_sync_message(&mut self.state, message).unwrap();
                    self.speak(world);
                }
                _ => self.words.push(told),
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        self.doc.get(ROOT, key).unwrap().and_then(|(value, _)| value.as_str().map(str::to_owned))
    }

    /// All it has is at the relay, as far as it was told.
    pub(crate) fn is_kept(&mut self) -> bool {
        let heads = self.doc.get_heads();
        self.state.their_heads == Some(heads)
    }

    /// What was refused to it, and whether for want of a right.
    pub(crate) fn refusals(&self) -> Vec<(bool, String)> {
        let refusals = self.words.iter().filter_map(|told| match told.word() {
            Word::Refused { is_forbidden, reason } => Some((*is_forbidden, reason.clone())),
            _ => None,
        });
        refusals.collect()
    }
}
