//! Guests: clients of other libraries, in the same rooms as agents. They speak of content alone ([`crate::wires`]), so
//! what they bring counts as this node's own commits, and what they are told are the updates within everybody's.
//!
//! What agents wrote reaches guests once it is durable here: after a crash a guest brings back all it has, and nobody but
//! the agent itself may bring what that agent wrote.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Node, Output,
    event::Event,
    flow::LOCAL,
    hub::{Hub, Link},
    room::{Room, State},
    work::{Arrival, Job, Origin, Outcome, Work},
};
use crate::{
    document::{Absorption, DocumentError, Incoming},
    engine::EngineKind,
    error::CloseCode,
    id::{DocumentId, Identity, LinkId, ReplicaId},
    limits,
    sync::{Capabilities, ErrorCode, Hello, Role},
    time::Monotonic,
    trust::quota::Quota,
    wires::{Ask, GuestRights, Told, Word},
};

/// One guest's part in a room.
#[derive(Debug)]
pub(super) struct Guest {
    rights: GuestRights,
    /// It gets nothing until it has drained, then what it lacks from this frontier of the engine. None: everything, as it
    /// happens.
    behind: Option<Bytes>,
    /// It has asked what it lacks, and is told even when that is nothing.
    asked: bool,
    /// It has been told what is here.
    greeted: bool,
    /// What it lacks is being computed.
    serving: bool,
    /// It wants to hear what of its own is durable.
    counts: bool,
    /// For each of its updates that is not, how far the log has to be.
    owed: VecDeque<u64>,
    /// It is asked at that time for what it brought and could not be taken in.
    ask_at: Option<Monotonic>,
    /// How often it was asked in a row.
    asked_again: u32,
    /// Updates it had no right to.
    forbidden: u32,
    /// It has missed something of presence, and is told all of it once it has drained.
    pub(super) presence_behind: bool,
    /// Clients whose states it shows.
    pub(super) clients: BTreeSet<u64>,
}

impl Guest {
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    fn is_waiting(&self) -> bool {
        self.behind.is_some() || self.presence_behind
    }
}

/// A word on its way out, and how far the log has to be before it may leave.
#[derive(Debug)]
pub(super) struct Gated {
    position: u64,
    links: Vec<LinkId>,
    told: Arc<Told>,
}

/// The whole document as an update, for all who come within a short while.
#[derive(Debug)]
pub(super) struct SharedWhole {
    frontier: Bytes,
    told: Arc<Told>,
    made_at: Monotonic,
}

/// What a guest lacks.
#[derive(Debug)]
pub(super) struct Lacking {
    pub(super) update: Bytes,
    /// What is here.
    pub(super) frontier: Bytes,
}

impl Room {
    /// A guest takes part, or asks anew what it lacks.
    fn join_guest(&mut self, link: LinkId, frontier: Bytes, counts: bool, hub: &mut Hub) {
        if let State::Failed { reason } = &self.state {
            return hub.refuse(link, Some(&self.id), ErrorCode::Unavailable, reason.clone());
        }
        let Some(peer) = hub.links.get_mut(&link) else { return };
        let Some(rights) = peer.guest else { return };
        peer.documents.insert(self.id.clone());
        self.idle_since = None;
        let is_known = self.guests.contains_key(&link);
        let guest = self.guests.entry(link).or_insert_with(|| Guest {
            rights,
            behind: None,
            asked: false,
            greeted: false,
            serving: false,
            counts,
            owed: VecDeque::new(),
            ask_at: None,
            asked_again: 0,
            forbidden: 0,
            presence_behind: false,
            clients: BTreeSet::new(),
        });
        guest.behind = Some(frontier);
        guest.asked = true;
        guest.serving = false;
        if !is_known {
            hub.event(Event::Joined { link, document: self.id.clone() });
            self.tell_guest_all_presence(link, hub);
            self.plan_renewal(hub);
        }
        if matches!(self.state, State::Ready(_)) {
            self.serve_guests(hub);
        }
    }

    pub(super) fn leave_guest(&mut self, link: LinkId, hub: &mut Hub) {
        if self.guests.remove(&link).is_none() {
            return;
        }
        if let Some(peer) = hub.links.get_mut(&link) {
            peer.documents.remove(&self.id);
        }
        self.seats.vacate(link, hub.now.mono);
        let gone = self.presence.drop_link(link, hub.now.mono);
        self.announce(gone, None, hub);
        self.rest(hub);
    }

    /// Those who cannot be served here leave.
    pub(super) fn dismiss_guests(&mut self, code: ErrorCode, reason: &str, hub: &mut Hub) {
        for link in std::mem::take(&mut self.guests).into_keys() {
            if let Some(peer) = hub.links.get_mut(&link) {
                peer.documents.remove(&self.id);
            }
            hub.refuse(link, Some(&self.id), code, reason.to_owned());
            hub.out.push_back(Output::Close { link, code: CloseCode::INTERNAL, reason: reason.to_owned() });
        }
    }

    /// A guest has brought an update.
    fn receive_foreign(&mut self, link: LinkId, update: Bytes, hub: &mut Hub) {
        hub.counters.deltas_in += 1;
        // It was on its way when one side left.
        let Some(guest) = self.guests.get(&link) else { return };
        let (size, max) = (update.len() as u64, hub.quota(Quota::UpdateBytes));
        if size > max {
            let reason = format!("an update of {size} bytes is over the limit of {max}");
            return hub.strike(link, Some(&self.id), reason);
        }
        if self.inbox_bytes + update.len() > limits::ROOM_INBOX_BYTES && !self.inbox.is_empty() {
            return self.ask_guest_again(link, hub);
        }
        let may_write = guest.rights.may_write();
        self.inbox_bytes += update.len();
        self.inbox.push_back(Arrival { link, encoded: update, origin: Origin::Guest { may_write } });
        self.settle(hub);
    }

    /// The numbers of those who follow commits, and need not have written yet.
    pub(super) fn natives(&mut self, hub: &Hub) -> Arc<BTreeSet<ReplicaId>> {
        let replicas = |link| hub.links.get(link).map(|link| link.hello.identity.replica);
        let members = &self.members;
        self.natives.get_or_insert_with(|| Arc::new(members.keys().filter_map(replicas).collect())).clone()
    }

    /// What guests brought is part of the document, or is not.
    pub(super) fn absorbed(&mut self, absorbed: Vec<(LinkId, Absorption)>, hub: &mut Hub) {
        for (link, absorption) in absorbed {
            match absorption {
                Absorption::Landed(landed) => {
                    self.land_foreign(landed, hub);
                    self.owe_guest(link);
                }
                Absorption::Incomplete(landed) => {
                    self.land_foreign(landed, hub);
                    self.ask_guest_again(link, hub);
                }
                Absorption::Refused(error) => hub.strike(link, Some(&self.id), error.to_string()),
                Absorption::Forbidden => self.forbid_guest(link, hub),
            }
        }
        self.confirm_guests(hub);
    }

    fn land_foreign(&mut self, landed: Option<Incoming>, hub: &mut Hub) {
        let Some(landed) = landed else { return };
        self.note_written(hub.me());
        self.weight += landed.encoded.len() as u64;
        self.log.queue(&landed.delta, landed.encoded.clone());
        self.enqueue(landed);
    }

    /// All that is here now is in the log or on its way there: once it is durable, so is what the guest brought.
    fn owe_guest(&mut self, link: LinkId) {
        let position = self.log.queued();
        let Some(guest) = self.guests.get_mut(&link) else { return };
        guest.asked_again = 0;
        if guest.counts && guest.owed.len() < limits::GUEST_UNCONFIRMED {
            guest.owed.push_back(position);
        }
    }

    fn forbid_guest(&mut self, link: LinkId, hub: &mut Hub) {
        let reason = format!("`{}` may be read on this connection, and not changed", self.id);
        let Some(guest) = self.guests.get_mut(&link) else { return };
        guest.forbidden += 1;
        let goes_on = guest.forbidden >= limits::GUEST_FORBIDDEN;
        hub.forbid(link, Some(&self.id), reason.clone());
        if goes_on {
            hub.out.push_back(Output::Close { link, code: CloseCode::REVOKED, reason });
        }
    }

    /// Has a guest asked for all it has that is not here. Who is asked in vain is asked ever more rarely.
    fn ask_guest_again(&mut self, link: LinkId, hub: &mut Hub) {
        let Some(guest) = self.guests.get_mut(&link) else { return };
        if guest.ask_at.is_none() {
            let at = hub.now.mono + hub.config.tuning.resync_after * 2_u32.pow(guest.asked_again.min(8));
            guest.asked_again += 1;
            guest.ask_at = Some(at);
            hub.arm(&self.id, at);
        }
    }

    /// Something they brought may have been lost with a document that had to be rebuilt.
    pub(super) fn ask_all_guests_again(&mut self, hub: &mut Hub) {
        for link in self.guests.keys().copied().collect::<Vec<_>>() {
            self.ask_guest_again(link, hub);
        }
    }

    /// A timer has fired: asks guests whose time has come.
    pub(super) fn ask_guests(&mut self, hub: &mut Hub) {
        let frontier = self.document().map(|document| document.content().frontier());
        let mut due = Vec::new();
        for (link, guest) in &mut self.guests {
            let Some(at) = guest.ask_at else { continue };
            match frontier {
                Some(_) if at <= hub.now.mono => {
                    guest.ask_at = None;
                    due.push(*link);
                }
                Some(_) => hub.arm(&self.id, at),
                None => hub.arm(&self.id, at.max(hub.now.mono + hub.config.tuning.resync_after)),
            }
        }
        if let (Some(frontier), false) = (frontier, due.is_empty()) {
            hub.counters.resyncs += due.len() as u64;
            hub.tell_guests(due, Told::new(Some(self.id.clone()), Word::Frontier(frontier)));
        }
    }

    /// Tells guests what of their own has become durable.
    pub(super) fn confirm_guests(&mut self, hub: &mut Hub) {
        let kept = self.log.kept();
        for (link, guest) in &mut self.guests {
            let durable = guest.owed.iter().take_while(|position| **position <= kept).count();
            if durable > 0 {
                guest.owed.drain(..durable);
                hub.counters.acks += 1;
                let word = Word::Kept(durable as u64);
                hub.tell_guests(vec![*link], Told::new(Some(self.id.clone()), word));
            }
        }
    }

    /// Sends the changes of a batch to guests that keep up: as one update, encoded once.
    pub(super) fn flush_to_guests(&mut self, changes: &[Incoming], sole_source: Option<LinkId>, hub: &mut Hub) {
        let live = self.guests.iter().filter(|(link, guest)| !guest.is_behind() && sole_source != Some(**link));
        let receivers: Vec<LinkId> = live.map(|(link, _)| *link).collect();
        if receivers.is_empty() {
            return;
        }
        let contents = || changes.iter().filter_map(|change| Some((change, change.delta.content.as_ref()?)));
        let updates: Vec<Bytes> = contents().flat_map(|(_, content)| content.updates.iter().cloned()).collect();
        let me = hub.me();
        let is_guests = contents().all(|(change, content)| {
            change.source != LOCAL && content.spans.iter().all(|span| span.writer == me)
        });
        let position = if is_guests { 0 } else { self.log.queued() };
        let updates = match &updates[..] {
            [] => return,
            [_] => updates,
            several => merge(self.engine, several).map_or_else(|| several.to_vec(), |one| vec![one]),
        };
        for update in updates {
            hub.counters.deltas_out += receivers.len() as u64;
            let told = Told::new(Some(self.id.clone()), Word::Update(update));
            self.emit_to_guests(receivers.clone(), told, position, hub);
        }
        let high = hub.config.tuning.queue_high;
        let is_slow = |link: &LinkId| hub.links.get(link).is_some_and(|link| link.outstanding > high);
        let slow: Vec<LinkId> = receivers.into_iter().filter(is_slow).collect();
        if slow.is_empty() {
            return;
        }
        hub.counters.conflations += slow.len() as u64;
        hub.arm(&self.id, hub.now.mono + hub.config.tuning.tick);
        let since = self.document().map(|document| document.content().frontier()).unwrap_or_default();
        for link in slow {
            if let Some(guest) = self.guests.get_mut(&link) {
                guest.behind = Some(since.clone());
            }
        }
    }

    /// Sends a word once the log is that far; words keep their order, and count as queued meanwhile.
    fn emit_to_guests(&mut self, links: Vec<LinkId>, told: Arc<Told>, position: u64, hub: &mut Hub) {
        hub.charge_guests(&links, &told);
        if self.guest_gate.is_empty() && position <= self.log.kept() {
            hub.release_to_guests(links, told);
        } else {
            self.guest_gate.push_back(Gated { position, links, told });
        }
    }

    /// Lets go what may leave by now.
    pub(super) fn release_to_guests(&mut self, hub: &mut Hub) {
        let kept = self.log.kept();
        while let Some(gated) = self.guest_gate.pop_front_if(|gated| gated.position <= kept) {
            hub.release_to_guests(gated.links, gated.told);
        }
    }

    /// Tells guests that have drained what they lack.
    pub(super) fn serve_guests(&mut self, hub: &mut Hub) {
        let low = hub.config.tuning.queue_low;
        let is_drained = |link: &LinkId| hub.links.get(link).is_some_and(|link| link.outstanding <= low);
        let due = |guest: &Guest| guest.is_waiting() && !guest.serving;
        let drained = self.guests.iter().filter(|(link, guest)| due(guest) && is_drained(link));
        for link in drained.map(|(link, _)| *link).collect::<Vec<_>>() {
            if self.guests.get(&link).is_some_and(|guest| guest.presence_behind) {
                self.tell_guest_all_presence(link, hub);
            }
            if !matches!(self.state, State::Ready(_)) {
                return;
            }
            self.serve_guest(link, hub);
        }
    }

    fn serve_guest(&mut self, link: LinkId, hub: &mut Hub) {
        let State::Ready(document) = &self.state else { return };
        let Some(guest) = self.guests.get_mut(&link) else { return };
        let Some(since) = guest.behind.clone() else { return };
        let here = document.content().frontier();
        if since == here && !guest.asked {
            guest.behind = None;
            return;
        }
        hub.counters.catch_ups += 1;
        if since.is_empty() && guest.asked {
            let lasts = hub.config.tuning.snapshot_shared_for;
            let shared = self.guest_whole.as_ref();
            if let Some(shared) = shared.filter(|shared| shared.frontier == here || shared.made_at + lasts > hub.now.mono) {
                hub.counters.snapshots_shared += 1;
                let (told, frontier) = (shared.told.clone(), shared.frontier.clone());
                return self.answer(link, told, &frontier, hub);
            }
            hub.counters.snapshots += 1;
        }
        guest.serving = true;
        let job = Job::Lack { link, since };
        if self.weight > hub.config.tuning.inline_bytes as u64 {
            return self.send_away(job, hub);
        }
        let State::Ready(document) = std::mem::replace(&mut self.state, State::Away) else { return };
        let (id, generation) = (self.id.clone(), self.generation);
        let mut work = Work { document: id, generation, subject: Some(document), job, outcome: None };
        work.run();
        if let Some(document) = work.subject {
            self.state = State::Ready(document);
        }
        if let Some(Outcome::Lack { link, since, lacking }) = work.outcome {
            self.lacked(link, &since, lacking, hub);
        }
    }

    /// What a guest lacks has been computed.
    pub(super) fn lacked(
        &mut self,
        link: LinkId,
        since: &Bytes,
        lacking: Result<Lacking, DocumentError>,
        hub: &mut Hub,
    ) {
        let Some(guest) = self.guests.get_mut(&link) else { return };
        if !std::mem::take(&mut guest.serving) {
            // It has said anew what it has, and is served from that.
            return;
        }
        let Lacking { update, frontier } = match lacking {
            Ok(lacking) => lacking,
            Err(error) => {
                guest.behind = None;
                return hub.strike(link, Some(&self.id), format!("frontier refused: {error}"));
            }
        };
        if !guest.asked {
            guest.behind = None;
            if !update.is_empty() {
                let told = Told::new(Some(self.id.clone()), Word::Update(update));
                self.emit_to_guests(vec![link], told, self.log.queued(), hub);
            }
            return;
        }
        let told = Told::new(Some(self.id.clone()), Word::Lacking(update));
        if since.is_empty() {
            let made_at = hub.now.mono;
            self.guest_whole = Some(SharedWhole { frontier: frontier.clone(), told: told.clone(), made_at });
        }
        self.answer(link, told, &frontier, hub);
    }

    /// Answers a guest that asked what it lacks, and the first time asks it the same.
    fn answer(&mut self, link: LinkId, told: Arc<Told>, has: &Bytes, hub: &mut Hub) {
        let position = self.log.queued();
        self.emit_to_guests(vec![link], told, position, hub);
        let here = self.document().map(|document| document.content().frontier()).unwrap_or_default();
        let is_slow = hub.links.get(&link).is_some_and(|peer| peer.outstanding > hub.config.tuning.queue_high);
        let Some(guest) = self.guests.get_mut(&link) else { return };
        guest.asked = false;
        // What came after what it was given follows once it has drained.
        guest.behind = (is_slow || *has != here).then(|| has.clone());
        if guest.behind.is_some() {
            hub.arm(&self.id, hub.now.mono + hub.config.tuning.tick);
        }
        // Who counts expects to be asked each time: it counts the answer.
        if !std::mem::replace(&mut guest.greeted, true) || guest.counts {
            let told = Told::new(Some(self.id.clone()), Word::Frontier(here));
            self.emit_to_guests(vec![link], told, position, hub);
        }
    }

    /// A guest says something that is not kept to all others.
    fn say(&mut self, link: LinkId, body: Bytes, hub: &mut Hub) {
        if !self.guests.contains_key(&link) {
            return;
        }
        if body.len() > limits::APP_MESSAGE_BYTES {
            let reason = format!("a message of {} bytes is over the limit of {}", body.len(), limits::APP_MESSAGE_BYTES);
            return hub.refuse(link, Some(&self.id), ErrorCode::Limit, reason);
        }
        // Who does not drain misses it.
        let high = hub.config.tuning.queue_high;
        let is_slow = |other: &LinkId| hub.links.get(other).is_some_and(|other| other.outstanding > high);
        let others = self.guests.keys().copied().filter(|other| *other != link && !is_slow(other)).collect();
        hub.tell_guests(others, Told::new(Some(self.id.clone()), Word::Said(body)));
    }
}

/// Updates as one; `None` when the engine cannot.
fn merge(engine: EngineKind, updates: &[Bytes]) -> Option<Bytes> {
    match engine {
        #[cfg(feature = "yrs")]
        EngineKind::Yrs => crate::engine::merged(updates),
        #[allow(unreachable_patterns, reason = "reachable only in builds without that engine")]
        _ => {
            let _ = updates;
            None
        }
    }
}

impl Node {
    /// A client of another library has connected.
    pub(super) fn guest_up(&mut self, link: LinkId, identity: Identity, rights: GuestRights) {
        let agent = identity.agent.clone();
        let up = Link {
            hello: Hello::new(identity, Role::Agent, Capabilities::default()),
            target: None,
            trusted: false,
            admission: None,
            guest: Some(rights),
            outstanding: 0,
            strikes: 0,
            documents: Default::default(),
            retry_after: None,
        };
        self.hub.links.insert(link, up);
        self.hub.event(Event::LinkUp { link, agent, credential: None });
    }

    /// A guest asks for something.
    pub(super) fn asked(&mut self, link: LinkId, ask: Ask) {
        if !self.hub.links.get(&link).is_some_and(|link| link.guest.is_some()) {
            return;
        }
        match ask {
            Ask::Join { document, engine, frontier, counts } => self.admit_guest(link, document, engine, frontier, counts),
            Ask::Update { document, update } => self.in_room(&document, |room, hub| {
                room.receive_foreign(link, update, hub);
                room.flush_due(hub);
            }),
            Ask::Presence { document, states } => {
                self.in_room(&document, |room, hub| room.presence_from_guest(link, states, hub));
            }
            Ask::QueryPresence { document } => {
                self.in_room(&document, |room, hub| room.tell_guest_all_presence(link, hub));
            }
            Ask::Say { document, body } => self.in_room(&document, |room, hub| room.say(link, body, hub)),
            Ask::Leave { document } => self.in_room(&document, |room, hub| room.leave_guest(link, hub)),
        }
    }

    fn admit_guest(&mut self, link: LinkId, document: DocumentId, engine: EngineKind, frontier: Bytes, counts: bool) {
        let hub = &mut self.hub;
        let joined = hub.links.get(&link).map_or(0, |peer| peer.documents.len());
        let max = hub.quota(Quota::ConnectionDocuments);
        let is_new = hub.links.get(&link).is_some_and(|peer| !peer.documents.contains(&document));
        if is_new && joined as u64 >= max {
            let reason = format!("{joined} documents joined, limit {max}");
            return hub.refuse(link, Some(&document), ErrorCode::Limit, reason);
        }
        let room = self.rooms.entry(document.clone()).or_insert_with(|| Room::open(document.clone(), engine, hub));
        if room.engine != engine {
            let reason = format!("`{document}` is held with {}, not {engine}", room.engine);
            hub.refuse(link, Some(&document), ErrorCode::EngineMismatch, reason.clone());
            return hub.out.push_back(Output::Close { link, code: CloseCode::PROTOCOL, reason });
        }
        room.join_guest(link, frontier, counts, hub);
    }
}
