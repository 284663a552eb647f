//! Coordination in a room: carries records between the document and its [`Participant`], and the application's wishes.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{
    Node, NodeError,
    event::Event,
    hub::Hub,
    room::{Room, State},
};
use crate::{
    coordination::{
        kernel::{Arrival, Seat},
        meeting::Meeting,
        object::Plan,
        participant::{CoordinationCounters, Participant, ParticipantError, Write},
        standing::Standing,
        tally::Tally,
        why::{ObjectStatus, Surroundings},
    },
    document::{Document, SlotKey, SlotPart},
    id::{AgentId, DocumentId, LinkId, ObjectId, ReplicaId},
    limits,
    sync::{ErrorCode, Role},
    time::Moment,
    trust::pattern::Right,
};

/// What a member brings along when it arrives.
#[derive(Debug, Clone, Default)]
pub struct Arriving {
    /// What it hands over to the others: a proposal, a vote.
    pub payload: Option<Bytes>,
    /// It takes no part in the next generation.
    pub leave: bool,
    /// Who joins the next generation on its word.
    pub sponsored: Vec<Seat>,
}

impl Room {
    /// The document is here, or here again: what its replica has taken part in goes on.
    pub(super) fn resume_coordination(&mut self, hub: &mut Hub) {
        if let State::Ready(document) = &mut self.state {
            if document.confines().is_some_and(|own| !own.allows(Right::Coordinate)) {
                // It looks on, and promises nobody anything.
                self.participant.take().iter().for_each(|before| hub.retire(before));
                return;
            }
            document.take_changed_slots();
            self.participant.iter().for_each(|before| hub.retire(before));
            self.participant = Some(Participant::new(document, hub.now.mono).succeeding(self.participant.take()));
        }
        self.coordinate(hub);
    }

    /// Takes in what changed, writes what follows from it, until nothing does.
    pub(super) fn coordinate(&mut self, hub: &mut Hub) {
        if hub.coordination_closed.is_some() {
            // Nor does it write: what is due is done when it is opened again.
            return;
        }
        // What became durable while the document was away counts from now on.
        self.slots_persisted(self.log.durable.slots.get(hub.me()), hub);
        loop {
            let State::Ready(document) = &mut self.state else { return };
            let Some(participant) = &mut self.participant else { return };
            let (changed, newly_closed) = document.take_changed_slots();
            participant.observe(document, &changed, newly_closed, hub.now.mono);
            let writes = participant.poll(document, hub.now, &mut hub.dice);
            if writes.is_empty() && !participant.is_busy() {
                break;
            }
            if self.write_slots(&writes, hub).is_err() {
                break;
            }
        }
        self.tell_happenings(hub);
    }

    /// Puts records into the document, the log and the batches.
    fn write_slots(&mut self, writes: &[Write], hub: &mut Hub) -> Result<(), NodeError> {
        if writes.is_empty() {
            return Ok(());
        }
        let State::Ready(document) = &mut self.state else {
            return Err(NodeError::Busy { document: self.id.clone() });
        };
        let me = hub.me();
        let records = writes.iter().map(|write| (write.key, write.body.clone())).collect();
        let written = document.write_slots(records, hub.now.wall_ms);
        let upto = document.version().slots.get(me);
        let written = written.map_err(NodeError::from).and_then(|delta| {
            self.note_written(me);
            Ok(self.committed_slots(delta, writes.iter().all(|write| write.lazy), hub)?)
        });
        if let Err(error) = written {
            // What was handed out is not written: the participant begins again from what is.
            hub.event(Event::StoreFailed { document: self.id.clone(), reason: error.to_string() });
            if let State::Ready(document) = &self.state {
                self.participant.iter().for_each(|before| hub.retire(before));
                let anew = Participant::new(document, hub.now.mono);
                self.participant = Some(anew.succeeding(self.participant.take()));
            }
            return Err(error);
        }
        if let Some(participant) = &mut self.participant {
            participant.wrote(writes, upto);
        }
        if !hub.config.keeps_identity {
            // It does not outlive its process, so nothing it wrote can be forgotten.
            self.slots_persisted(upto, hub);
        }
        Ok(())
    }

    /// The store has what this replica wrote.
    pub(super) fn slots_durable(&mut self, hub: &mut Hub) {
        self.coordinate(hub);
    }

    /// Tells who brought coordination records while none are taken in, and remembers to ask for them later.
    pub(super) fn decline(&mut self, brought_by: Vec<LinkId>, hub: &mut Hub) {
        let reason = hub.coordination_closed.clone().unwrap_or_else(|| "coordination was closed just now".to_owned());
        for link in brought_by {
            if self.members.contains_key(&link) && self.declined.insert(link) {
                hub.refuse(link, Some(&self.id), ErrorCode::Unavailable, reason.clone());
            }
        }
        if hub.coordination_closed.is_none() {
            self.ask_declined(hub);
        }
    }

    fn ask_declined(&mut self, hub: &mut Hub) {
        for link in std::mem::take(&mut self.declined) {
            self.ask_again(link, hub);
        }
    }

    fn slots_persisted(&mut self, upto: u64, hub: &mut Hub) {
        if let (State::Ready(document), Some(participant)) = (&self.state, &mut self.participant) {
            participant.persisted(document, upto, hub.now.mono);
        }
    }

    fn tell_happenings(&mut self, hub: &mut Hub) {
        let Some(participant) = &mut self.participant else { return };
        for (object, happening) in participant.take_happenings() {
            hub.event(Event::Coordination { document: self.id.clone(), object, happening });
        }
        if let Some(at) = participant.next_wake() {
            hub.arm(&self.id, at);
        }
    }
}

impl Node {
    /// Takes in no coordination records of peers from now on, for the `reason` that they are told, and echoes none as an
    /// elector; content and records go on. With `None` it goes on as before, and asks for what was not taken in.
    ///
    /// *Guarantee:* nothing a peer wrote meanwhile is kept, passed on or counted here. Peers that are connected to each
    /// other by another way are not held up.
    pub fn close_coordination(&mut self, reason: Option<String>, now: Moment) {
        self.hub.now = now;
        let opens = reason.is_none() && self.hub.coordination_closed.is_some();
        self.hub.coordination_closed = reason;
        if opens {
            for room in self.rooms.values_mut() {
                room.ask_declined(&mut self.hub);
                room.coordinate(&mut self.hub);
                room.flush_due(&mut self.hub);
            }
        }
    }

    /// Runs `act` on a document and its participant, then writes what it asks for.
    pub(super) fn with_participant<R>(
        &mut self,
        document: &DocumentId,
        now: Moment,
        act: impl FnOnce(&mut Participant, &Document) -> Result<(R, Vec<Write>), NodeError>,
    ) -> Result<R, NodeError> {
        self.hub.now = now;
        self.read(document, |content| content.confines().map_or(Ok(()), |own| own.require(Right::Coordinate)))??;
        let busy = || NodeError::Busy { document: document.clone() };
        let room = self.rooms.get_mut(document).ok_or_else(busy)?;
        room.coordinate(&mut self.hub);
        let State::Ready(content) = &room.state else { return Err(busy()) };
        let participant = room.participant.as_mut().ok_or_else(busy)?;
        let (result, writes) = act(participant, content)?;
        room.write_slots(&writes, &mut self.hub)?;
        room.coordinate(&mut self.hub);
        Ok(result)
    }

    /// Begins an object: `plan` is given the number it goes by. Of a name that is taken by an object with the same plan
    /// (but for who began it), that object is returned.
    ///
    /// # Errors
    /// `NameTaken` says what differs; `Plan` names the value and the limit.
    pub fn define(
        &mut self,
        document: &DocumentId,
        plan: impl FnOnce(ObjectId) -> Plan,
        now: Moment,
    ) -> Result<ObjectId, NodeError> {
        self.with_participant(document, now, |participant, content| {
            let plan = plan(content.next_object());
            plan.check()?;
            if let Some(known) = participant.named(&plan.definition.name).next() {
                let differences = plan.differences(known.plan());
                if differences.is_empty() {
                    return Ok((known.object(), Vec::new()));
                }
                let creator = known.plan().definition.creator.clone();
                return Err(NodeError::NameTaken { name: plan.definition.name.clone(), creator, differences });
            }
            let key = SlotKey::Of(plan.object(), SlotPart::Definition);
            Ok((plan.object(), vec![Write { key, body: plan.encode().into(), lazy: false }]))
        })
    }

    /// The application's member arrives at an object. Returns the generation.
    ///
    /// # Errors
    /// `Participant`: [`ParticipantError::is_writing`] says whether it may succeed shortly.
    pub fn arrive(
        &mut self,
        document: &DocumentId,
        object: ObjectId,
        arriving: Arriving,
        now: Moment,
    ) -> Result<u64, NodeError> {
        let size = arriving.payload.as_ref().map_or(0, Bytes::len);
        if size > limits::PAYLOAD_BYTES {
            return Err(NodeError::TooLarge { what: "what is handed over", size, max: limits::PAYLOAD_BYTES });
        }
        self.hub.now = now;
        let (me, hlc) = (self.hub.me(), self.hub.hlc.stamp(now.wall_ms));
        self.with_participant(document, now, |participant, content| {
            let Arriving { payload, leave, sponsored } = arriving;
            let version = content.version();
            let arrival = Arrival {
                hlc,
                fence: (version.content.get(me), version.records.get(me)),
                payload: payload.as_ref().map(|payload| Sha256::digest(payload).into()),
                leave,
                sponsored,
            };
            Ok(participant.arrive(object, arrival, payload, now.mono)?)
        })
    }

    /// A member arrives with a value the others read off its arrival itself: a vote.
    ///
    /// # Errors
    /// As [`Node::arrive`].
    pub fn vote(
        &mut self,
        document: &DocumentId,
        object: ObjectId,
        option: u32,
        now: Moment,
    ) -> Result<u64, NodeError> {
        self.hub.now = now;
        let hlc = self.hub.hlc.stamp(now.wall_ms);
        self.with_participant(document, now, |participant, _| {
            let payload = Some(crate::coordination::poll::vote_payload(option));
            let arrival = Arrival { hlc, payload, ..Arrival::default() };
            Ok(participant.arrive(object, arrival, None, now.mono)?)
        })
    }

    /// The application's member will not come. Returns the generation.
    ///
    /// # Errors
    /// As [`Node::arrive`].
    pub fn decline(&mut self, document: &DocumentId, object: ObjectId, now: Moment) -> Result<u64, NodeError> {
        self.with_participant(document, now, |participant, _| Ok(participant.decline(object, now.mono)?))
    }

    /// The application's member has acted on its release: what lower tiers wait for when the definition says so.
    ///
    /// # Errors
    /// As [`Node::arrive`].
    pub fn acknowledge(&mut self, document: &DocumentId, object: ObjectId, now: Moment) -> Result<(), NodeError> {
        self.with_participant(document, now, |participant, _| Ok(((), participant.acknowledge(object)?)))
    }

    /// Finishes an object for everybody and frees what it takes.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub fn clean_up(&mut self, document: &DocumentId, object: ObjectId, now: Moment) -> Result<(), NodeError> {
        self.with_participant(document, now, |participant, _| {
            participant.clean_up(object, now.mono);
            Ok(((), Vec::new()))
        })
    }

    /// Looks at an object, also when it is finished.
    ///
    /// # Errors
    /// As [`Node::read`]; `Participant` when it is not known here.
    pub fn meeting<R>(
        &self,
        document: &DocumentId,
        object: ObjectId,
        look: impl FnOnce(&Meeting, &Document) -> R,
    ) -> Result<R, NodeError> {
        self.read(document, |content| {
            let participant = self.rooms.get(document).and_then(|room| room.participant.as_ref());
            let meeting = participant.and_then(|participant| participant.meeting_or_ended(object));
            meeting.map(|meeting| look(meeting, content)).ok_or(ParticipantError::Unknown { object })
        })?
        .map_err(NodeError::from)
    }

    /// How a generation of an object stands for this node.
    ///
    /// # Errors
    /// As [`Node::meeting`].
    pub fn standing(
        &self,
        document: &DocumentId,
        object: ObjectId,
        generation: u64,
        now: Moment,
    ) -> Result<Standing, NodeError> {
        self.meeting(document, object, |meeting, content| meeting.standing(content, generation, now.mono))
    }

    /// Looks at all objects of a document that are not finished.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub fn meetings<R>(
        &self,
        document: &DocumentId,
        look: impl FnOnce(&mut dyn Iterator<Item = &Meeting>, &Document) -> R,
    ) -> Result<R, NodeError> {
        let participant = self.rooms.get(document).and_then(|room| room.participant.as_ref());
        self.read(document, |content| look(&mut participant.into_iter().flat_map(Participant::meetings), content))
    }

    /// The object of a name, if its definition is here; of several, which can only be when two agents began one at the
    /// same time, the first.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub fn find(&self, document: &DocumentId, name: &str) -> Result<Option<ObjectId>, NodeError> {
        self.read(document, |_| ())?;
        let participant = self.rooms.get(document).and_then(|room| room.participant.as_ref());
        Ok(participant.and_then(|participant| participant.named(name).next()).map(Meeting::object))
    }

    /// Why the objects of a document that are not finished stand as they do. `members` is the document that says who
    /// is who, if there is one.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub fn explain(
        &self,
        document: &DocumentId,
        members: &DocumentId,
        now: Moment,
    ) -> Result<Vec<ObjectStatus>, NodeError> {
        let around = self.surroundings(members);
        self.meetings(document, |meetings, content| {
            meetings.map(|meeting| ObjectStatus::of(meeting, content, &around, now.mono)).collect()
        })
    }

    /// What this node knows of the world around it: its links, and who is who by the document of that name.
    pub fn surroundings(&self, members: &DocumentId) -> Surroundings {
        let members = self.read(members, Document::members).unwrap_or_default();
        let incarnations = members.into_iter().map(|(replica, member)| (member.agent, replica)).collect();
        let hellos = || self.hub.links.values().filter(|link| link.guest.is_none()).map(|link| &link.hello);
        // Behind a relay anybody may be.
        let relayed = hellos().any(|hello| hello.role == Role::Relay);
        let reachable = hellos().map(|hello| hello.identity.replica).chain([self.hub.me()]).collect();
        Surroundings { down: self.hub.down.clone(), reachable: (!relayed).then_some(reachable), incarnations }
    }

    /// The relays this node is connected to.
    pub fn relay_identities(&self) -> impl Iterator<Item = (AgentId, ReplicaId)> + '_ {
        let relays = self.hub.links.values().filter(|link| link.hello.role == Role::Relay);
        relays.map(|link| (link.hello.identity.agent.clone(), link.hello.identity.replica))
    }

    /// What has been done since the start, and how what was seen has ended.
    pub fn coordination_counts(&self) -> (CoordinationCounters, Tally) {
        let (mut counters, mut tally) = self.hub.coordinated.clone();
        for participant in self.rooms.values().filter_map(|room| room.participant.as_ref()) {
            counters.add(participant.counters());
            tally.add(participant.tally());
        }
        (counters, tally)
    }
}
