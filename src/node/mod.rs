//! The node: one sans-IO state machine that holds documents and talks to peers. Layer 4.
//!
//! A driver (tokio in `agent` and `relay`, a browser, the simulator) does four things, in any order:
//! 1. gives it what happened, with the time: [`Node::handle`];
//! 2. calls commands for its application: [`Node::open`], [`Node::transact`], ...;
//! 3. drains [`Node::poll_output`] after each, and carries the outputs out;
//! 4. comes back with [`Input::Tick`] at [`Node::next_wake`].
//!
//! The node never reads a clock, draws entropy or does I/O, and nothing in it depends on map order, so a seed replays a
//! run. It holds no connection state but who is at the other end: packets, lanes and chunks are a
//! [`Session`](crate::sync::Session)'s, of which the driver keeps one per connection.
//!
//! - `room`: one document, its life cycle, what arrives;
//! - `flow`: what leaves: batches, conflation, catching up;
//! - `gate`: what waits until it is kept;
//! - `log`: what is kept: appends, acknowledgements, compaction;
//! - `guest`: clients of other libraries;
//! - `import`: what other programs have saved;
//! - `inquiry`: asking peers what they hold;
//! - `work`: what is too heavy to do inline;
//! - `signing`, `verification`: signed records, where a room is end to end;
//! - `coordination`, `queue`: barriers and their kin, and queues;
//! - `connector`, `presence`, `ephemeral`: dialling, presence, messages;
//! - `admission`, `tiers`: what credentials allow, and when that changes.

mod admission;
mod config;
mod connector;
mod coordination;
mod ephemeral;
mod error;
mod event;
mod flow;
mod gate;
mod guest;
mod hub;
mod import;
mod inquiry;
mod log;
mod presence;
mod queue;
mod room;
mod signing;
mod tiers;
mod verification;
mod work;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
pub use config::{Config, Tuning};
use connector::Connector;
pub use connector::{Backoff, TargetId, TargetState, TargetStatus};
pub use coordination::Arriving;
pub use error::NodeError;
pub use event::{Counters, DocumentStatus, Event, NodeStatus};
use hub::{Hub, Link};
pub use inquiry::{Inquired, InquiryId};
pub use queue::Pushing;
use room::{Room, State};
pub use work::Work;

use crate::{
    document::{Document, DocumentError, Frontier, Subscription, Transaction},
    engine::EngineKind,
    error::CloseCode,
    id::{DocumentId, Identity, LinkId},
    limits,
    store::{StoreDone, StoreError, StoreTask},
    sync::{Capabilities, Encoded, ErrorCode, Hello, Lane, Message, Role},
    time::{Moment, Monotonic},
    trust::{authority::Authority, credential::Admission, pattern::Right, possession::Holder, quota::Quota},
    wires::{Ask, Entry, Told},
};

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// A session's handshake is done.
    LinkUp {
        /// The connection.
        link: LinkId,
        /// What the peer said of itself.
        hello: Hello,
        /// The target this node dialled; `None` when the peer dialled us.
        target: Option<TargetId>,
        /// What its credential allows; `None` where none was asked for.
        admission: Option<Box<Admission>>,
    },
    /// The peer has shown a newer credential.
    Renewed {
        /// The connection.
        link: LinkId,
        /// What it allows.
        admission: Box<Admission>,
    },
    /// The peer asks for a newer credential than the one it was shown.
    RenewalAsked {
        /// The connection.
        link: LinkId,
    },
    /// A ready connection has ended.
    LinkDown {
        /// The connection.
        link: LinkId,
        /// Why.
        reason: String,
        /// It was closed, by either side, with a code that is final: the same again would end the same.
        is_final: bool,
    },
    /// A dial failed, or its handshake did.
    DialFailed {
        /// The target.
        target: TargetId,
        /// Why.
        reason: String,
        /// Somebody was there, and the handshake was ended with a code that is final.
        is_final: bool,
    },
    /// A message has come.
    Message {
        /// The connection.
        link: LinkId,
        /// The message.
        message: Message,
    },
    /// A client of another library has connected.
    GuestUp {
        /// The connection.
        link: LinkId,
        /// Under which name and number others see it.
        identity: Identity,
        /// What lets it in; `None` where that is said document by document: [`Ask::Enter`].
        entry: Option<Entry>,
    },
    /// Such a client asks for something.
    Asked {
        /// The connection.
        link: LinkId,
        /// What for.
        ask: Ask,
    },
    /// A session has handed this many more bytes to its transport.
    Drained {
        /// The connection.
        link: LinkId,
        /// Bytes.
        bytes: u64,
    },
    /// A store task is done.
    Stored {
        /// The task's number.
        id: u64,
        /// The answer.
        result: Result<StoreDone, StoreError>,
    },
    /// Work is done.
    Worked(Box<Work>),
    /// Time has passed.
    Tick,
}

/// What the driver has to do.
#[derive(Debug)]
pub enum Output {
    /// Queue these bytes at these connections' sessions.
    Send {
        /// The connections.
        links: Vec<LinkId>,
        /// The message, encoded once for all of them.
        encoded: Encoded,
    },
    /// Queue this word at these guests' sessions.
    Tell {
        /// The connections.
        links: Vec<LinkId>,
        /// The word, for all of them.
        told: Arc<Told>,
    },
    /// Close a connection.
    Close {
        /// The connection.
        link: LinkId,
        /// Why, for the peer's program.
        code: CloseCode,
        /// Why, for people.
        reason: String,
    },
    /// Show this at every connection that asks for credentials.
    Show {
        /// The newer credential.
        holder: Holder,
    },
    /// Judge credentials by this from now on.
    Judge {
        /// The newer policy.
        authority: Authority,
    },
    /// Connect to a target.
    Dial {
        /// The target.
        target: TargetId,
    },
    /// Give a task to the store and bring its answer back.
    Store {
        /// The task's number.
        id: u64,
        /// The task.
        task: StoreTask,
    },
    /// Run [`Work::run`] and bring it back.
    Work(Box<Work>),
    /// Tell the application.
    Event(Event),
}

/// The machine.
#[derive(Debug)]
pub struct Node {
    hub: Hub,
    rooms: BTreeMap<DocumentId, Room>,
    connector: Connector,
}

impl Node {
    /// A node without documents or connections.
    pub fn new(mut config: Config, now: Moment) -> Self {
        if config.signing.is_none() {
            config.signing = signing::signing_of(config.authority.as_ref(), config.holder.as_ref());
        }
        let connector = Connector::new(config.tuning.backoff.clone());
        Self { hub: Hub::new(config, now), rooms: BTreeMap::new(), connector }
    }

    /// What this node says first on a connection; `dialled` when it opened the connection itself.
    pub fn hello(&self, dialled: bool) -> Hello {
        let config = &self.hub.config;
        let mut capabilities = Capabilities::LZ4;
        if dialled || config.trust_inbound {
            capabilities = capabilities.with(Capabilities::FORWARDING);
        }
        if config.role == Role::Relay {
            capabilities = capabilities.with(Capabilities::DURABLE);
        }
        Hello::new(config.identity.clone(), config.role, capabilities)
    }

    /// Keeps a connection to a target from now on.
    pub fn add_target(&mut self, target: TargetId, now: Moment) {
        self.hub.now = now;
        self.connector.add(target, now.mono);
        self.hub.has_targets = true;
        self.dial_due();
    }

    /// Gives a target up; its connection, if any, stays until it ends.
    pub fn remove_target(&mut self, target: TargetId) {
        self.connector.remove(target);
        self.hub.has_targets = !self.connector.is_empty();
    }

    /// Dials at once where the next dial would wait.
    pub fn retry_targets(&mut self, now: Moment) {
        self.hub.now = now;
        self.connector.hurry(now.mono);
        self.dial_due();
    }

    /// Does not dial a target until it is added again; its connection, if any, is the driver's to close.
    pub fn pause_target(&mut self, target: TargetId) {
        self.connector.pause(target);
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Moment) {
        self.hub.now = now;
        match input {
            Input::LinkUp { link, hello, target, admission } => self.link_up(link, hello, target, admission),
            Input::Renewed { link, admission } => self.renewed(link, *admission),
            Input::RenewalAsked { link } => self.renewal_asked(link),
            Input::LinkDown { link, reason, is_final } => self.link_down(link, reason, is_final),
            Input::DialFailed { target, reason, is_final } => {
                self.connector.failed(target, is_final, now.mono, &mut self.hub.dice);
                self.connector.note(target, reason);
            }
            Input::Message { link, message } => self.message(link, message),
            Input::GuestUp { link, identity, entry } => self.guest_up(link, identity, entry),
            Input::Asked { link, ask } => self.asked(link, ask),
            Input::Drained { link, bytes } => self.drained(link, bytes),
            Input::Stored { id, result } => self.stored(id, result),
            Input::Worked(work) => {
                let hub = &mut self.hub;
                if let Some(room) = self.rooms.get_mut(&work.document) {
                    room.work_done(*work, hub);
                    room.flush_due(hub);
                }
                self.approach_ready();
            }
            Input::Tick => self.tick(),
        }
    }

    /// The next thing to do; `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.hub.out.pop_front()
    }

    /// When to come back with [`Input::Tick`].
    pub fn next_wake(&self) -> Option<Monotonic> {
        self.hub.next_wake().into_iter().chain(self.connector.next_wake()).min()
    }

    fn tick(&mut self) {
        for document in self.hub.due() {
            if let Some(room) = self.rooms.get_mut(&document) {
                room.tick(&mut self.hub);
                if room.is_spent(&self.hub) {
                    room.participant.iter().for_each(|participant| self.hub.retire(participant));
                    self.rooms.remove(&document);
                }
            }
        }
        self.dial_due();
    }

    fn dial_due(&mut self) {
        for target in self.connector.due(self.hub.now.mono) {
            self.hub.out.push_back(Output::Dial { target });
        }
    }

    fn link_up(&mut self, link: LinkId, hello: Hello, target: Option<TargetId>, admission: Option<Box<Admission>>) {
        if target.is_some_and(|target| !self.connector.connected(target, self.hub.now.mono)) {
            let reason = "the application has gone offline".to_owned();
            return self.hub.out.push_back(Output::Close { link, code: CloseCode::GOING_AWAY, reason });
        }
        // A replica that comes back before its old connection was found dead replaces it.
        let replica = hello.identity.replica;
        let old: Vec<LinkId> = self
            .hub
            .links
            .iter()
            .filter(|(_, known)| target.is_none() && known.target.is_none() && known.hello.identity.replica == replica)
            .map(|(id, _)| *id)
            .collect();
        for old in old {
            let reason = "replaced by a newer connection".to_owned();
            self.hub.out.push_back(Output::Close { link: old, code: CloseCode::REPLACED, reason: reason.clone() });
            self.link_down(old, reason, true);
        }
        let agent = hello.identity.agent.clone();
        let trusted = target.is_some() || self.hub.config.trust_inbound;
        // The policy may have changed since the handshake.
        let admission = match self.still_admitted(admission) {
            Ok(admission) => admission,
            Err(error) => {
                let reason = error.to_string();
                return self.hub.out.push_back(Output::Close { link, code: CloseCode::REVOKED, reason });
            }
        };
        if target.is_none() && admission.is_some() && self.has_too_many(link, &agent) {
            return;
        }
        let policy = self.authority().map(|authority| authority.current().hash);
        let credential = admission.as_ref().and_then(|admission| Some((admission.id.clone(), policy?)));
        let up = Link {
            hello,
            target,
            trusted,
            admission,
            guest: None,
            outstanding: 0,
            strikes: 0,
            documents: Default::default(),
            retry_after: None,
        };
        self.hub.down.remove(&agent);
        self.hub.links.insert(link, up);
        self.hub.event(Event::LinkUp { link, agent, credential });
        for room in self.rooms.values_mut().filter(|room| room.handles > 0) {
            let subscription = room.subscription.clone();
            room.approach(link, subscription, &mut self.hub);
        }
    }

    fn link_down(&mut self, link: LinkId, reason: String, is_final: bool) {
        let Some(down) = self.hub.links.remove(&link) else { return };
        for document in &down.documents {
            if let Some(room) = self.rooms.get_mut(document) {
                room.leave(link, &mut self.hub);
            }
        }
        let another = self.hub.links.values().any(|link| link.target == down.target);
        if let Some(target) = down.target.filter(|_| !another) {
            let now = self.hub.now.mono;
            if is_final {
                self.connector.turned_away(target, now, &mut self.hub.dice);
            } else {
                self.connector.lost(target, down.retry_after, now, &mut self.hub.dice);
            }
            self.connector.note(target, reason.clone());
        }
        self.hub.note_down(&down.hello.identity.agent, &reason);
        self.hub.event(Event::LinkDown { link, agent: down.hello.identity.agent, reason });
    }

    fn message(&mut self, link: LinkId, message: Message) {
        if !self.hub.links.contains_key(&link) {
            return;
        }
        match message {
            Message::Join { document, engine, frontier, subscription } => {
                self.join(link, document, engine, frontier, subscription);
            }
            Message::App { from, to, lane, body } => self.message_from(link, from, to, lane, body),
            Message::Goodbye { retry_after_ms, .. } => {
                if let Some(peer) = self.hub.links.get_mut(&link) {
                    peer.retry_after = Some(Duration::from_millis(u64::from(retry_after_ms)));
                }
            }
            Message::Error { document, code, reason } => {
                let room = document.as_ref().and_then(|document| self.rooms.get_mut(document));
                if let Some(room) = room
                    && let Some(member) = room.members.get_mut(&link)
                {
                    // Who does not let us in says to all that follows that we are not in.
                    if code != ErrorCode::NoSuchDocument || member.refused.is_none() {
                        member.refused = Some((code, reason.clone()));
                    }
                    room.refused_by(link, &mut self.hub);
                }
                self.hub.event(Event::Refused { document, code, reason });
            }
            Message::Leave { document } => self.in_room(&document, |room, hub| room.leave(link, hub)),
            Message::Frontier { document, frontier } => self.frontier(link, &document, frontier),
            Message::Delta { document, delta } => self.in_room(&document, |room, hub| {
                room.receive(link, delta, hub);
                room.flush_due(hub);
            }),
            Message::Ack { document, durable } => {
                self.in_room(&document, |room, hub| room.acknowledged(link, &durable, hub));
            }
            Message::Presence { document, entries } => {
                self.in_room(&document, |room, hub| room.presence_from(link, entries, hub));
            }
            Message::DigestRequest { document, question, path } => match self.rooms.get_mut(&document) {
                Some(room) => room.answer_digest(link, question, path, &mut self.hub),
                None => self.hub.not_joined(link, &document),
            },
            Message::VersionRequest { document, question } => match self.rooms.get_mut(&document) {
                Some(room) => room.answer_version(link, question, &mut self.hub),
                None => self.hub.not_joined(link, &document),
            },
            Message::Version { document, question, version } => {
                self.in_room(&document, |room, hub| room.version_from(link, question, version, hub));
            }
            Message::Digest { document, question, path, entries } => {
                self.hub.event(Event::Digest { link, document, question, path, entries });
            }
        }
    }

    fn in_room(&mut self, document: &DocumentId, act: impl FnOnce(&mut Room, &mut Hub)) {
        if let Some(room) = self.rooms.get_mut(document) {
            act(room, &mut self.hub);
        }
    }

    /// A peer says anew what it has. One that is no member takes itself for one when its leaving and our joining have
    /// crossed: so it is told once more that we take part.
    fn frontier(&mut self, link: LinkId, document: &DocumentId, frontier: Frontier) {
        let Some(room) = self.rooms.get_mut(document) else { return };
        if let Some(member) = room.members.get(&link) {
            let subscription = member.subscription.clone();
            room.join(link, frontier, subscription, &mut self.hub);
        } else if room.handles > 0 {
            room.approach(link, room.subscription.clone(), &mut self.hub);
        }
    }

    fn join(
        &mut self,
        link: LinkId,
        document: DocumentId,
        engine: EngineKind,
        frontier: Frontier,
        subscription: Subscription,
    ) {
        let Some(peer) = self.hub.links.get(&link) else { return };
        if let Some(Err(error)) = peer.confines(&document).map(|confines| confines.require(Right::Read)) {
            return self.hub.forbid(link, Some(&document), error.to_string());
        }
        let joined = peer.documents.len();
        let max = self.hub.quota(Quota::ConnectionDocuments);
        if joined as u64 >= max {
            let reason = format!("{joined} documents joined, limit {max}");
            return self.hub.refuse(link, Some(&document), ErrorCode::Limit, reason);
        }
        if !self.rooms.contains_key(&document) {
            if self.hub.config.role != Role::Relay {
                let reason = format!("`{document}` is not open at `{}`", self.hub.config.identity.agent);
                return self.hub.refuse(link, Some(&document), ErrorCode::NoSuchDocument, reason);
            }
            let room = Room::open(document.clone(), engine, &mut self.hub);
            self.rooms.insert(document.clone(), room);
        }
        let hub = &mut self.hub;
        let Some(room) = self.rooms.get_mut(&document) else { return };
        if room.engine != engine {
            let reason = format!("`{document}` is held with {}, not {engine}", room.engine);
            return hub.refuse(link, Some(&document), ErrorCode::EngineMismatch, reason);
        }
        room.enter(link, frontier, subscription, hub);
    }

    fn stored(&mut self, id: u64, result: Result<StoreDone, StoreError>) {
        let Some(document) = self.hub.finish_task(id) else { return };
        let hub = &mut self.hub;
        if let Some(room) = self.rooms.get_mut(&document) {
            if matches!(room.state, State::Loading { task: Some(task) } if task == id) {
                room.loaded(id, result, hub);
                self.approach_ready();
            } else {
                room.stored(id, result, hub);
            }
        }
    }

    /// Documents that have just become ready are joined at every connection.
    fn approach_ready(&mut self) {
        let links: Vec<LinkId> = self.hub.peers().collect();
        for room in self.rooms.values_mut().filter(|room| room.handles > 0 && room.document().is_some()) {
            for link in &links {
                if !room.members.contains_key(link) {
                    let subscription = room.subscription.clone();
                    room.approach(*link, subscription, &mut self.hub);
                }
            }
        }
    }

    /// Opens a document for the application; [`Event::Opened`] follows unless it is open already (returns true).
    ///
    /// # Errors
    /// `EngineMismatch`, `Unreadable`.
    pub fn open(
        &mut self,
        document: &DocumentId,
        engine: EngineKind,
        subscription: Subscription,
        now: Moment,
    ) -> Result<bool, NodeError> {
        self.hub.now = now;
        if !self.rooms.contains_key(document) {
            let mut room = Room::open(document.clone(), engine, &mut self.hub);
            room.subscription = subscription;
            self.rooms.insert(document.clone(), room);
        }
        let Some(room) = self.rooms.get_mut(document) else { return Ok(false) };
        if let State::Failed { reason } = &room.state {
            return Err(NodeError::Unreadable { document: document.clone(), reason: reason.clone() });
        }
        if room.engine != engine {
            return Err(NodeError::EngineMismatch { document: document.clone(), held: room.engine, asked: engine });
        }
        room.handles += 1;
        room.rest(&mut self.hub);
        let ready = room.document().is_some();
        self.approach_ready();
        Ok(ready)
    }

    /// The application is done with a document.
    pub fn close(&mut self, document: &DocumentId, now: Moment) {
        self.hub.now = now;
        let Some(room) = self.rooms.get_mut(document) else { return };
        room.handles = room.handles.saturating_sub(1);
        if room.handles == 0 && self.hub.config.role == Role::Agent {
            let links: Vec<LinkId> = room.members.keys().copied().collect();
            for link in links {
                self.hub.tell(link, &Message::Leave { document: document.clone() }, Lane::Critical);
                room.leave(link, &mut self.hub);
            }
        }
        room.rest(&mut self.hub);
    }

    /// Asks for [`Event::Changed`] on a document, or no longer.
    pub fn watch(&mut self, document: &DocumentId, watch: bool) {
        self.in_room(document, |room, _| room.watch = watch);
    }

    /// Reads a document.
    ///
    /// # Errors
    /// `NotOpen`, `Busy` (try again after the next [`Input::Worked`] or [`Input::Stored`]), `Unreadable`.
    pub fn read<R>(&self, document: &DocumentId, read: impl FnOnce(&Document) -> R) -> Result<R, NodeError> {
        let room = self.rooms.get(document).ok_or_else(|| NodeError::NotOpen { document: document.clone() })?;
        match &room.state {
            State::Ready(document) => Ok(read(document)),
            State::Failed { reason } => {
                Err(NodeError::Unreadable { document: document.clone(), reason: reason.clone() })
            }
            _ => Err(NodeError::Busy { document: document.clone() }),
        }
    }

    /// Changes a document: all of the plan or nothing. Peers and the store are told at once.
    ///
    /// # Errors
    /// As [`Node::read`], and what the plan or the document refused: nothing was changed then.
    pub fn transact<R>(
        &mut self,
        document: &DocumentId,
        plan: impl FnOnce(&mut Transaction<'_>) -> Result<R, DocumentError>,
        now: Moment,
    ) -> Result<R, NodeError> {
        self.hub.now = now;
        self.read(document, |_| ())?;
        let Some(room) = self.rooms.get_mut(document) else {
            return Err(NodeError::NotOpen { document: document.clone() });
        };
        let watch = room.watch;
        let State::Ready(content) = &mut room.state else {
            return Err(NodeError::Busy { document: document.clone() });
        };
        let (result, commit) = content.transact(now.wall_ms, watch, plan)?;
        if !commit.patches.is_empty() {
            self.hub.event(Event::Changed { document: document.clone(), patches: commit.patches });
        }
        if !commit.delta.is_empty() {
            let me = self.hub.me();
            room.note_written(me);
            room.committed(commit.delta, &mut self.hub)?;
        }
        Ok(result)
    }

    /// Sets this node's ephemeral state in a document for at least `ttl`, renewed until withdrawn with `None`.
    ///
    /// # Errors
    /// `TooLarge`, `Document(Forbidden)`, `NotOpen`.
    pub fn set_presence(
        &mut self,
        document: &DocumentId,
        state: Option<Bytes>,
        ttl: Duration,
        now: Moment,
    ) -> Result<(), NodeError> {
        self.hub.now = now;
        let size = state.as_ref().map_or(0, Bytes::len);
        if size > limits::PRESENCE_BYTES {
            return Err(NodeError::TooLarge { what: "presence", size, max: limits::PRESENCE_BYTES });
        }
        self.hub.may(document, Right::Presence)?;
        let room = self.rooms.get_mut(document).ok_or_else(|| NodeError::NotOpen { document: document.clone() })?;
        let ttl = ttl.clamp(Duration::from_secs(1), limits::PRESENCE_TTL_MAX);
        room.set_presence(state.map(|state| (state, ttl)), &mut self.hub);
        Ok(())
    }

    /// The ephemeral states in a document.
    pub fn presence(&self, document: &DocumentId) -> Vec<crate::sync::PresenceEntry> {
        self.rooms.get(document).map(|room| room.presence.entries().cloned().collect()).unwrap_or_default()
    }

    /// Asks a peer for the digest of the parts below a path; [`Event::Digest`] follows, with the number returned.
    pub fn request_digest(&mut self, link: LinkId, document: &DocumentId, path: &str) -> u64 {
        let question = self.hub.next_question();
        let request = Message::DigestRequest { document: document.clone(), question, path: path.to_owned() };
        self.hub.tell(link, &request, Lane::Normal);
        question
    }

    /// Connections that take part in a document.
    pub fn links_in(&self, document: &DocumentId) -> Vec<LinkId> {
        let Some(room) = self.rooms.get(document) else { return Vec::new() };
        room.members.iter().filter(|(_, member)| member.takes_part()).map(|(link, _)| *link).collect()
    }

    /// Why a peer does not take what this node has written: its credential does not allow it. It stays here, and is
    /// offered again on the next connection.
    pub fn forbidden(&self, document: &DocumentId) -> Option<String> {
        self.rooms.get(document)?.members.values().find_map(flow::Member::forbids)
    }

    /// Local commits of a document not yet durable where they should be: at a relay when targets are set, else in the
    /// store.
    pub fn unsynced(&self, document: &DocumentId) -> u64 {
        self.rooms.get(document).map_or(0, |room| room.unsynced(self.hub.me(), self.hub.has_targets))
    }

    /// True when no local commit of a document is unsynced; false too while it is not known, because what was written
    /// before is still read from the store.
    pub fn is_synced(&self, document: &DocumentId) -> bool {
        let Some(room) = self.rooms.get(document) else { return true };
        !room.is_unread() && room.unsynced(self.hub.me(), self.hub.has_targets) == 0
    }

    /// What is known about each document in memory.
    pub fn documents(&self) -> impl Iterator<Item = DocumentStatus> + '_ {
        self.rooms.values().map(|room| room.status(&self.hub))
    }

    /// What is known about the other end of the links.
    pub fn status(&self) -> NodeStatus {
        let statuses: Vec<_> = self.documents().collect();
        NodeStatus {
            online: !self.hub.links.is_empty(),
            peers: self.hub.links.values().map(|link| link.hello.identity.agent.clone()).collect(),
            targets: self.connector.states().collect(),
            unsynced: statuses.iter().map(|status| status.unsynced).sum(),
            stalled: statuses.into_iter().find_map(|status| status.stalled),
        }
    }

    /// What has been done since the start.
    pub fn counters(&self) -> Counters {
        self.hub.counters
    }

    /// Says goodbye to all peers and sends what is batched. The driver then lets its sessions drain and its store
    /// finish: every append has been emitted.
    pub fn shut_down(&mut self, reason: &str, retry_after: Duration, now: Moment) {
        self.hub.now = now;
        for room in self.rooms.values_mut() {
            room.flush(&mut self.hub);
            room.set_presence(None, &mut self.hub);
            room.presence_at = now.mono;
            room.tell_presence(&mut self.hub);
        }
        let goodbye = Message::Goodbye {
            reason: reason.to_owned(),
            retry_after_ms: u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX),
        };
        for link in self.hub.peers().collect::<Vec<_>>() {
            // The lowest lane, so that everything queued goes before it.
            self.hub.tell(link, &goodbye, Lane::Low);
        }
    }

    /// What the store last said when it failed, while it has not recovered.
    pub fn store_error(&self) -> Option<String> {
        self.rooms.values().find_map(|room| room.log.last_error.as_ref()).map(ToString::to_string)
    }

    /// True when nothing waits for the store.
    pub fn is_settled(&self) -> bool {
        self.rooms.values().all(|room| room.log.is_settled())
    }
}
