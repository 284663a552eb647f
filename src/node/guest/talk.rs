//! Guests that speak the engine's own sync protocol: one message at a time is taken in and answered, and what happens
//! meanwhile goes into the next.
//!
//! A message tells the guest what is here, so it leaves only when what the guest itself brought, and what agents wrote, is
//! durable; what other guests wrote waits for nothing.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    super::{
        Node,
        hub::Hub,
        room::{Room, State},
        work::{Arrival, Job, Origin, Outcome},
    },
    Guest,
};
use crate::{
    document::DocumentError,
    engine::{Conversation, EngineKind, PeerMessage},
    id::{DocumentId, LinkId},
    limits,
    time::Monotonic,
    trust::quota::Quota,
    wires::{Told, Word},
};

/// How soon after a message a guest is told more without having answered: each message is computed and read for itself.
const UNASKED_EVERY: Duration = Duration::from_millis(20);
/// How long a document that somebody wants may take to come from somebody else, before it is said to be unknown.
const UNKNOWN_AFTER: Duration = Duration::from_millis(500);

/// Where the message under way is.
#[derive(Debug)]
enum Stage {
    Idle,
    /// Its changes are among what arrived.
    Arrived(PeerMessage),
    /// They are in the document, as far as they could be.
    TakenIn(PeerMessage),
}

/// A conversation with one guest.
#[derive(Debug)]
pub(super) struct Talk {
    /// `None` while a turn is being computed.
    conversation: Option<Box<Conversation>>,
    /// Messages behind the one under way.
    heard: VecDeque<PeerMessage>,
    stage: Stage,
    /// There is news.
    due: bool,
    not_before: Monotonic,
    /// Something the guest brought was lost.
    lost: bool,
    /// It wants the document, which is unknown, and hears so at that time.
    wants: Option<Monotonic>,
    /// How far the log has to be for what it brought to be durable.
    own: u64,
    /// What it is told once the log is that far.
    gated: Option<(u64, Arc<Told>)>,
}

impl Talk {
    fn new(may_write: bool) -> Self {
        Self {
            conversation: Some(Box::new(Conversation::new(may_write))),
            heard: VecDeque::new(),
            stage: Stage::Idle,
            due: false,
            not_before: Monotonic(0),
            lost: false,
            wants: None,
            own: 0,
            gated: None,
        }
    }

    /// What was brought is in the document, durable once the log is at `own`; or it was refused.
    pub(super) fn taken_in(&mut self, own: Option<u64>) {
        if let Stage::Arrived(mut message) = std::mem::replace(&mut self.stage, Stage::Idle) {
            match own {
                Some(own) => self.own = own,
                None => message.changes.clear(),
            }
            self.stage = Stage::TakenIn(message);
        }
    }

    /// All that the guest brought and that is not here has to come again.
    pub(super) fn lose(&mut self) {
        (self.lost, self.due) = (true, true);
    }

    /// The document is rebuilt: what was under way is gone, but for arrivals that wait on.
    pub(super) fn start_over(&mut self, may_write: bool, waits_on: bool) {
        self.conversation.get_or_insert_with(|| Box::new(Conversation::new(may_write)));
        if !waits_on {
            self.taken_in(None);
        }
        self.lose();
    }
}

impl Room {
    /// A guest has said something, and takes part from then on.
    fn converse(&mut self, link: LinkId, message: PeerMessage, wants: bool, hub: &mut Hub) {
        let Some(guest) = self.seat_guest(link, false, hub) else { return };
        let (size, max) = (message.changes.len() as u64, hub.quota(Quota::UpdateBytes));
        if size > max {
            let reason = format!("an update of {size} bytes is over the limit of {max}");
            return hub.strike(link, Some(&self.id), reason);
        }
        hub.counters.deltas_in += 1;
        let may_write = guest.rights.may_write();
        let talk = guest.talk.get_or_insert_with(|| Box::new(Talk::new(may_write)));
        if wants {
            talk.wants = Some(hub.now.mono + UNKNOWN_AFTER);
        }
        let held: usize = talk.heard.iter().map(|message| message.changes.len() + message.rest.len()).sum();
        if talk.heard.len() >= limits::GUEST_UNHEARD || held > limits::GUEST_FRAME_BYTES {
            talk.heard.clear();
            talk.lose();
        }
        talk.heard.push_back(message);
        self.listen(link);
        self.settle(hub);
    }

    /// Takes up the next message, if none is under way.
    fn listen(&mut self, link: LinkId) {
        let Some(guest) = self.guests.get_mut(&link) else { return };
        let may_write = guest.rights.may_write();
        let Some(talk) = &mut guest.talk else { return };
        let (Stage::Idle, Some(conversation)) = (&talk.stage, &mut talk.conversation) else { return };
        let Some(mut message) = talk.heard.pop_front() else { return };
        message.changes = conversation.complete(message.changes);
        let encoded = message.changes.clone();
        if encoded.is_empty() {
            talk.stage = Stage::TakenIn(message);
        } else if self.inbox_bytes + encoded.len() > limits::ROOM_INBOX_BYTES && !self.inbox.is_empty() {
            message.changes.clear();
            talk.stage = Stage::TakenIn(message);
            talk.lose();
        } else {
            talk.stage = Stage::Arrived(message);
            self.inbox_bytes += encoded.len();
            self.inbox.push_back(Arrival { link, encoded, origin: Origin::Guest { may_write } });
        }
    }

    /// There is news for guests that converse, but for who brought all of it.
    pub(super) fn tell_talking(&mut self, sole_source: Option<LinkId>, hub: &mut Hub) {
        let mut links = Vec::new();
        for (link, guest) in &mut self.guests {
            if let Some(talk) = guest.talk.as_mut().filter(|_| sole_source != Some(*link)) {
                talk.due = true;
                links.push(*link);
            }
        }
        for link in links {
            self.take_turns(link, hub);
        }
    }

    /// Answers guests that have said something or have to hear something.
    pub(super) fn serve_talking(&mut self, hub: &mut Hub) {
        let talking = self.guests.iter().filter(|(_, guest)| guest.talk.is_some());
        for link in talking.map(|(link, _)| *link).collect::<Vec<_>>() {
            self.take_turns(link, hub);
        }
    }

    fn take_turns(&mut self, link: LinkId, hub: &mut Hub) {
        while self.take_turn(link, hub) {}
        if !self.inbox.is_empty() && matches!(self.state, State::Ready(_)) {
            // The next message has been taken up.
            hub.arm(&self.id, hub.now.mono);
        }
    }

    /// One turn; false when it is not the time for one, or it is being computed elsewhere.
    fn take_turn(&mut self, link: LinkId, hub: &mut Hub) -> bool {
        if !matches!(self.state, State::Ready(_)) {
            return false;
        }
        let is_slow = hub.links.get(&link).is_none_or(|peer| peer.outstanding > hub.config.tuning.queue_high);
        let Some(talk) = self.guests.get_mut(&link).and_then(|guest| guest.talk.as_mut()) else { return false };
        // What it says is taken in also while there is something it may not hear yet.
        let may_speak = !is_slow && talk.gated.is_none();
        let has_heard = matches!(talk.stage, Stage::TakenIn(_));
        if matches!(talk.stage, Stage::Arrived(_)) || !may_speak && !has_heard {
            return false;
        }
        let next = [talk.due.then_some(talk.not_before), talk.wants].into_iter().flatten().min();
        if !has_heard && next.is_none_or(|next| next > hub.now.mono) {
            if let Some(next) = next {
                hub.arm(&self.id, next);
            }
            return false;
        }
        let Some(mut conversation) = talk.conversation.take() else { return false };
        if std::mem::take(&mut talk.lost) {
            conversation.forget();
        }
        talk.due = !may_speak;
        let heard = match std::mem::replace(&mut talk.stage, Stage::Idle) {
            Stage::TakenIn(message) => Some(message),
            _ => None,
        };
        let is_costly = conversation.is_costly();
        let job = Job::Converse { link, conversation, heard, may_speak };
        if is_costly && self.weight > hub.config.tuning.inline_bytes as u64 {
            self.send_away(job, hub);
            return false;
        }
        if let Some(Outcome::Converse { link, conversation, turn }) = self.work_here(job) {
            self.conversed(link, conversation, turn, hub);
        }
        true
    }

    /// A turn has been computed.
    pub(in crate::node) fn conversed(
        &mut self,
        link: LinkId,
        conversation: Box<Conversation>,
        turn: Result<Turn, DocumentError>,
        hub: &mut Hub,
    ) {
        let natives = self.log.natives();
        let Some(talk) = self.guests.get_mut(&link).and_then(|guest| guest.talk.as_mut()) else { return };
        talk.conversation = Some(conversation);
        let word = match turn {
            Ok(_) if talk.gated.is_some() => None,
            Ok(turn) if turn.is_empty && talk.wants.is_some_and(|until| until > hub.now.mono) => None,
            Ok(turn) if turn.is_empty && talk.wants.take().is_some() => Some(Word::Unavailable),
            Ok(turn) => {
                talk.wants = None;
                turn.says.map(Word::Sync)
            }
            Err(error) => return hub.strike(link, Some(&self.id), format!("message refused: {error}")),
        };
        if let Some(word) = word {
            hub.counters.deltas_out += 1;
            talk.not_before = hub.now.mono + UNASKED_EVERY;
            let told = Told::new(Some(self.id.clone()), word);
            hub.charge_guests(&[link], &told);
            let position = talk.own.max(natives);
            if position <= self.log.kept() {
                hub.release_to_guests(vec![link], told);
            } else {
                talk.gated = Some((position, told));
            }
        }
        self.listen(link);
    }

    /// Lets go what guests may hear by now, and goes on with them.
    pub(super) fn release_to_talking(&mut self, hub: &mut Hub) {
        let kept = self.log.kept();
        let mut released = Vec::new();
        for (link, guest) in &mut self.guests {
            let gated = guest.talk.as_mut().map(|talk| &mut talk.gated);
            if let Some((_, told)) = gated.and_then(|gated| gated.take_if(|(position, _)| *position <= kept)) {
                hub.release_to_guests(vec![*link], told);
                released.push(*link);
            }
        }
        for link in released {
            self.take_turns(link, hub);
        }
    }
}

/// What a turn came to.
#[derive(Debug)]
pub(in crate::node) struct Turn {
    /// `None`: there is nothing to say.
    pub(in crate::node) says: Option<bytes::Bytes>,
    /// Nothing has been written here.
    pub(in crate::node) is_empty: bool,
}

impl Node {
    /// A guest has said something in the engine's own sync protocol.
    pub(super) fn converse(
        &mut self,
        link: LinkId,
        document: DocumentId,
        engine: EngineKind,
        (message, wants): (PeerMessage, bool),
    ) {
        if let Some((room, hub)) = self.admit_guest(link, document, engine) {
            room.converse(link, message, wants, hub);
            room.flush_due(hub);
        }
    }
}

impl Guest {
    /// It converses, and is told nothing else of content.
    pub(super) fn is_talking(&self) -> bool {
        self.talk.is_some()
    }
}
