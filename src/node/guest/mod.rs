//! Guests: clients of other libraries, in the same rooms as agents. They speak of content alone ([`crate::wires`]), so
//! what they bring counts as this node's own commits, and what they are told are the updates within everybody's.
//!
//! What agents wrote reaches guests once it is durable here: after a crash a guest brings back all it has, and nobody but
//! the agent itself may bring what that agent wrote.
//!
//! - `arrivals`, `departures`: what guests bring, and what they are told;
//! - `pace`: how often;
//! - `talk`: the same for those that speak the engine's own sync protocol;
//! - `awareness`: who they see, and who sees them;
//! - `visit`: what lets them in, and what happens when that changes.

mod arrivals;
mod awareness;
mod departures;
mod pace;
mod talk;
mod visit;

use std::collections::{BTreeSet, VecDeque};

pub(super) use awareness::Seats;
use bytes::Bytes;
pub(super) use departures::{Gated, Lacking, SharedWhole};
pub(super) use pace::Pending;
use talk::Talk;
pub(super) use talk::Turn;
use visit::Asking;
pub(super) use visit::Visit;

use super::{
    Node, Output,
    event::Event,
    hub::Hub,
    room::{Room, State},
};
use crate::{
    engine::EngineKind,
    error::CloseCode,
    id::{DocumentId, LinkId},
    limits,
    sync::ErrorCode,
    time::Monotonic,
    trust::quota::Quota,
    wires::{Ask, GuestRights, Told, Word},
};

/// One guest's part in a room.
#[derive(Debug)]
pub(super) struct Guest {
    rights: GuestRights,
    /// Its awareness states are shown to others.
    is_seen: bool,
    /// It speaks the engine's own sync protocol.
    talk: Option<Box<Talk>>,
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
    /// How many of its updates are not, by how far the log has to be.
    owed: VecDeque<(u64, u64)>,
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

impl Room {
    /// A guest takes part, or asks anew what it lacks.
    fn join_guest(&mut self, link: LinkId, frontier: Bytes, counts: bool, hub: &mut Hub) {
        let Some(guest) = self.seat_guest(link, counts, hub) else { return };
        guest.behind = Some(frontier);
        guest.asked = true;
        guest.serving = false;
        if matches!(self.state, State::Ready(_)) {
            self.serve_guests(hub);
        }
    }

    /// The part of a guest, which begins now unless it has one already; `None` when it cannot have any.
    fn seat_guest(&mut self, link: LinkId, counts: bool, hub: &mut Hub) -> Option<&mut Guest> {
        if let State::Failed { reason } = &self.state {
            turn_away(link, &self.id, ErrorCode::Unavailable, reason.clone(), hub);
            return None;
        }
        let peer = hub.links.get_mut(&link)?;
        let visit = peer.guest.as_ref()?;
        let (rights, is_seen) = (visit.rights(&self.id)?, visit.may_be_seen(&self.id));
        peer.documents.insert(self.id.clone());
        self.idle_since = None;
        let is_known = self.guests.contains_key(&link);
        self.guests.entry(link).or_insert_with(|| Guest {
            rights,
            is_seen,
            talk: None,
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
        if !is_known {
            hub.event(Event::Joined { link, document: self.id.clone() });
            self.tell_guest_all_presence(link, hub);
            self.plan_renewal(hub);
        }
        self.guests.get_mut(&link)
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
            turn_away(link, &self.id, code, reason.to_owned(), hub);
        }
    }

    /// A guest says something that is not kept to all others.
    fn say(&mut self, link: LinkId, body: Bytes, hub: &mut Hub) {
        if !self.guests.contains_key(&link) {
            return;
        }
        if body.len() > limits::APP_MESSAGE_BYTES {
            let reason =
                format!("a message of {} bytes is over the limit of {}", body.len(), limits::APP_MESSAGE_BYTES);
            return hub.refuse(link, Some(&self.id), ErrorCode::Limit, reason);
        }
        // Who does not drain misses it.
        let high = hub.config.tuning.queue_high;
        let is_slow = |other: &LinkId| hub.links.get(other).is_some_and(|other| other.outstanding > high);
        let others = self.guests.keys().copied().filter(|other| *other != link && !is_slow(other)).collect();
        hub.tell_guests(others, Told::new(Some(self.id.clone()), Word::Said(body)));
    }
}

/// Tells a guest why it cannot take part, and closes its connection: it would wait for an answer for ever.
fn turn_away(link: LinkId, document: &DocumentId, code: ErrorCode, reason: String, hub: &mut Hub) {
    hub.refuse(link, Some(document), code, reason.clone());
    let code = if code == ErrorCode::EngineMismatch { CloseCode::PROTOCOL } else { CloseCode::INTERNAL };
    hub.out.push_back(Output::Close { link, code, reason });
}

impl Node {
    /// A guest asks for something.
    pub(super) fn asked(&mut self, link: LinkId, ask: Ask) {
        if self.hub.links.get(&link).is_none_or(|link| link.guest.is_none()) {
            return;
        }
        match ask {
            Ask::Enter { document, entry } => self.enter(link, document, entry),
            Ask::Join { document, engine, frontier, counts } => {
                if self.is_let_in(link, &document, Asking::Join)
                    && let Some((room, hub)) = self.admit_guest(link, document, engine)
                {
                    room.join_guest(link, frontier, counts, hub);
                }
            }
            Ask::Sync { document, engine, message, wants } => {
                if self.is_let_in(link, &document, Asking::Sync { wants }) {
                    self.converse(link, document, engine, (message, wants));
                }
            }
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
            Ask::Leave { document } => {
                if let Some(visit) = self.hub.links.get_mut(&link).and_then(|peer| peer.guest.as_mut()) {
                    visit.leave(&document);
                }
                self.in_room(&document, |room, hub| room.leave_guest(link, hub));
            }
        }
    }

    /// The room of a document a guest wants to take part in, unless it may not.
    fn admit_guest(&mut self, link: LinkId, document: DocumentId, engine: EngineKind) -> Option<(&mut Room, &mut Hub)> {
        let hub = &mut self.hub;
        let joined = hub.links.get(&link).map_or(0, |peer| peer.documents.len());
        let max = hub.quota(Quota::ConnectionDocuments);
        let is_new = hub.links.get(&link).is_some_and(|peer| !peer.documents.contains(&document));
        if is_new && joined as u64 >= max {
            let reason = format!("{joined} documents joined, limit {max}");
            hub.refuse(link, Some(&document), ErrorCode::Limit, reason);
            return None;
        }
        let room = self.rooms.entry(document.clone()).or_insert_with(|| Room::open(document.clone(), engine, hub));
        if room.engine != engine {
            let reason = format!("`{document}` is held with {}, not {engine}", room.engine);
            turn_away(link, &document, ErrorCode::EngineMismatch, reason, hub);
            return None;
        }
        Some((room, hub))
    }
}
