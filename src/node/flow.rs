//! What leaves a room: batches to those who keep up, one delta from their frontier to those who do not.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Node,
    config::Tuning,
    event::Event,
    hub::Hub,
    room::{Room, State},
    work::{CatchUp, Job, Outcome, Work},
};
use crate::{
    document::{Confines, Delta, Document, DocumentError, Frontier, Incoming, Seen, Subscription, Version},
    id::{DocumentId, LinkId, ReplicaId},
    sync::{Encoded, ErrorCode, Lane, Message},
    time::Monotonic,
};

/// What a member gets of what changes.
#[derive(Debug, Clone, Default)]
pub(super) enum Flow {
    /// Everything, as it happens.
    #[default]
    Live,
    /// Nothing until it drains; then one delta.
    Behind {
        /// What it has, or what has been sent.
        since: Frontier,
    },
}

/// One connection's part in a room.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) subscription: Subscription,
    pub(super) flow: Flow,
    /// What it may change; `None`: everything.
    pub(super) confines: Option<Arc<Confines>>,
    /// It has said that it takes part.
    pub(super) entered: bool,
    /// It has been told what is here.
    pub(super) greeted: bool,
    /// Writers it has brought writes of, whose durability it wants to hear about.
    pub(super) owed: BTreeSet<ReplicaId>,
    /// What it has been told to be durable.
    pub(super) told: Version,
    /// It has refused our writes, or us, and why.
    pub(super) refused: Option<(ErrorCode, String)>,
    /// A delta for it is being computed.
    pub(super) serving: bool,
    /// Bytes of coordination records sent since it was last seen drained.
    slots_ahead: usize,
    /// It gets no coordination records until it has drained: it has these.
    pub(super) slots_behind: Option<Seen>,
    /// It has missed something of presence, and is told all of it once it has drained.
    pub(super) presence_behind: bool,
}

/// Coordination records overtake all others, so a member that drains slowly gets them nevertheless: up to this many
/// bytes, then one delta once it has drained.
const SLOTS_AHEAD_BYTES: usize = 256 * 1024;
/// Batches of coordination records that go out at once before they are made to wait for each other: a barrier of a few
/// agents takes no more, and one of a hundred that arrive together is worth batching.
const SLOTS_BURST: u32 = 32;
/// How long records nobody waits for may wait for others to travel with.
const LAZY_WAIT: Duration = Duration::from_millis(250);

impl Member {
    /// Why it does not take our writes, or us.
    pub(super) fn forbids(&self) -> Option<String> {
        let (code, reason) = self.refused.as_ref()?;
        (*code == ErrorCode::Forbidden).then(|| reason.clone())
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.flow, Flow::Live)
    }

    /// It is owed something once it has drained.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_live() || self.slots_behind.is_some() || self.presence_behind
    }

    /// It gets nothing until it has drained, then one delta. One that is being computed is of no use any more.
    pub(super) fn behind(&mut self, since: Frontier) {
        self.serving = false;
        self.flow = Flow::Behind { since };
    }

    pub(super) fn owe_acks(&mut self, writers: BTreeSet<ReplicaId>) {
        self.owed.extend(writers);
    }
}

/// Changes waiting for the end of the tick.
#[derive(Debug, Default)]
pub(super) struct Batch {
    changes: Vec<Incoming>,
    /// The batch as a message, when it is one large change that was encoded outside.
    message: Option<Encoded>,
    next_at: Monotonic,
    /// Changes of our own that nobody waits for, and until when they wait for others of ours to travel with.
    lazy: Vec<Incoming>,
    lazy_until: Option<Monotonic>,
}

impl Batch {
    fn is_due(&self, full: usize, now: Monotonic) -> bool {
        self.due_at().is_some_and(|at| at <= now) || self.changes.len() >= full
    }

    /// When something is to be sent; `None` when nothing is.
    fn due_at(&self) -> Option<Monotonic> {
        let at = (!self.changes.is_empty()).then_some(self.next_at);
        at.into_iter().chain(self.lazy_until.map(|until| until.max(self.next_at))).min()
    }

    /// The number of the last of our own records before those that are lazy, when some are.
    fn sent_of_ours(&self) -> Option<u64> {
        Some(self.lazy.first()?.delta.slots.first()?.span.since)
    }

    /// Nothing is lazy any more.
    fn hurry(&mut self) {
        self.lazy_until = None;
        self.changes.append(&mut self.lazy);
    }

    /// The changes to be sent now; the next ones wait for a tick, once `burst` batches went out without waiting.
    fn take(&mut self, tick: Duration, burst: u32, hub: &mut Hub) -> Option<Vec<Incoming>> {
        if self.lazy_until.is_some_and(|until| until <= hub.now.mono) {
            self.hurry();
        }
        if self.changes.is_empty() {
            return None;
        }
        self.next_at = self.next_at.max(hub.now.mono.before(tick * burst)) + tick;
        let changes = std::mem::take(&mut self.changes);
        hub.counters.batches += 1;
        hub.counters.changes += changes.len() as u64;
        Some(changes)
    }
}

/// Where changes came from, when they all came from one.
fn sole_source(changes: &[Incoming]) -> Option<LinkId> {
    changes.iter().all(|change| change.source == changes[0].source).then_some(LinkId(changes[0].source))
}

/// The whole document, encoded once for all who join within a short while.
#[derive(Debug)]
pub(super) struct SharedSnapshot {
    frontier: Frontier,
    encoded: Encoded,
    made_at: Monotonic,
}

/// The mark of a change made here.
pub(super) const LOCAL: u64 = u64::MAX;

impl Room {
    /// A change is part of the document now: it leaves with the next batch.
    pub(super) fn enqueue(&mut self, landed: Incoming) {
        let batch = if landed.delta.is_slots_only() { &mut self.slots_batch } else { &mut self.batch };
        batch.message = None;
        if landed.source == LOCAL {
            // Our own keep their order.
            batch.hurry();
        }
        batch.changes.push(landed);
    }

    /// Like [`Room::enqueue`], for a change that has been encoded already.
    pub(super) fn enqueue_encoded(&mut self, landed: Incoming, message: Encoded) {
        let is_alone = self.batch.changes.is_empty() && !landed.delta.is_slots_only();
        self.enqueue(landed);
        self.batch.message = Some(message).filter(|_| is_alone);
    }

    /// Sends batches whose time has come or that are full.
    pub(super) fn flush_due(&mut self, hub: &mut Hub) {
        let Tuning { tick, slots_tick, tick_changes, .. } = hub.config.tuning;
        let ready = matches!(self.state, State::Ready(_));
        if self.slots_batch.is_due(tick_changes, hub.now.mono) && ready {
            self.flush_slots(hub);
        }
        if self.batch.is_due(tick_changes, hub.now.mono) && ready {
            self.flush_batch(hub);
        }
        self.tell_guests_due(hub);
        for (batch, tick) in [(&self.slots_batch, slots_tick), (&self.batch, tick)] {
            if let Some(at) = batch.due_at() {
                let due = batch.is_due(tick_changes, hub.now.mono);
                hub.arm(&self.id, if due { at.max(hub.now.mono + tick) } else { at });
            }
        }
    }

    /// Sends all that is batched.
    pub(super) fn flush(&mut self, hub: &mut Hub) {
        self.slots_batch.hurry();
        self.flush_slots(hub);
        self.guest_pending.hurry();
        self.flush_batch(hub);
        self.tell_guests_due(hub);
    }

    /// True when changes wait for the end of the tick.
    pub(super) const fn has_batch(&self) -> bool {
        !self.batch.changes.is_empty()
    }

    /// Sends coordination records: ahead of everything, and to members too that have not drained.
    fn flush_slots(&mut self, hub: &mut Hub) {
        let Some(changes) = self.slots_batch.take(hub.config.tuning.slots_tick, SLOTS_BURST, hub) else { return };
        let only_source = sole_source(&changes);
        let (local, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| change.source == LOCAL);
        let (mut all, mut own) = (Vec::new(), Vec::new());
        for (link, member) in &mut self.members {
            let Some(peer) = hub.links.get(link) else { continue };
            if only_source == Some(*link) || member.slots_behind.is_some() {
                continue;
            }
            if peer.outstanding <= hub.config.tuning.queue_low {
                member.slots_ahead = 0;
            }
            own.push(*link);
            if peer.accepts(hub.me()).is_none() {
                all.push(*link);
            }
        }
        self.send_slots(&others, 0, &all, hub);
        self.send_slots(&local, self.written.slots, &own, hub);
    }

    fn send_slots(&mut self, changes: &[Incoming], upto: u64, receivers: &[LinkId], hub: &mut Hub) {
        if changes.is_empty() || receivers.is_empty() {
            return;
        }
        let encoded = encode_batch(&self.id, changes, hub.config.tuning.bulk_bytes);
        self.send_encoded_slots(encoded, upto, receivers, hub);
    }

    fn send_encoded_slots(&mut self, encoded: Option<Encoded>, upto: u64, receivers: &[LinkId], hub: &mut Hub) {
        let Some(encoded) = encoded else { return };
        hub.counters.deltas_out += receivers.len() as u64;
        let (bytes, is_bulk) = (encoded.len(), encoded.lane() == Lane::Low);
        self.emit_slots(receivers.to_vec(), encoded, upto, hub);
        let mut behind = Vec::new();
        for link in receivers {
            let Some(member) = self.members.get_mut(link) else { continue };
            member.slots_ahead += bytes;
            if is_bulk || member.slots_ahead > SLOTS_AHEAD_BYTES {
                behind.push(*link);
            }
        }
        if behind.is_empty() {
            return;
        }
        hub.counters.conflations += behind.len() as u64;
        hub.arm(&self.id, hub.now.mono + hub.config.tuning.tick);
        let Some(mut seen) = self.document().map(|document| document.version().slots.clone()) else { return };
        if let Some(sent) = self.slots_batch.sent_of_ours() {
            // What is lazy has not left: they are given it with the rest, once they have drained.
            seen = seen.capped(hub.me(), sent);
        }
        for link in behind {
            if let Some(member) = self.members.get_mut(&link) {
                member.slots_behind = Some(seen.clone());
            }
        }
    }

    /// Sends the coordination records they lack to members that have drained, or have not been sent much.
    fn serve_slots(&mut self, hub: &mut Hub) {
        // While the document is away, what members lack stays noted.
        let State::Ready(document) = &self.state else { return };
        let low = hub.config.tuning.queue_low;
        let behind = self.members.iter_mut().filter_map(|(link, member)| {
            let peer = hub.links.get(link)?;
            if peer.outstanding <= low {
                member.slots_ahead = 0;
            }
            let seen = member.slots_behind.take_if(|_| member.slots_ahead <= SLOTS_AHEAD_BYTES)?;
            Some((*link, seen, peer.accepts(hub.config.identity.replica)))
        });
        let lacking = behind.map(|(link, seen, author)| (link, document.slots_since(&seen, author)));
        for (link, slots) in lacking.collect::<Vec<_>>() {
            let delta = Delta { slots, ..Delta::default() };
            if !delta.is_empty() {
                let encoded = encode_whole(&self.id, &delta, hub.config.tuning.bulk_bytes);
                self.send_encoded_slots(encoded, self.written.slots, &[link], hub);
            }
        }
    }

    /// Sends content and records: encoded once per kind of receiver, its bytes shared.
    fn flush_batch(&mut self, hub: &mut Hub) {
        let message = self.batch.message.take();
        let Some(changes) = self.batch.take(hub.config.tuning.tick, 1, hub) else { return };
        let only_source = sole_source(&changes);
        self.flush_to_guests(&changes, only_source, hub);
        if self.members.is_empty() {
            return;
        }
        let (mut all, mut own, mut filtered) = (Vec::new(), Vec::new(), Vec::new());
        let whole = self.subscription.is_everything();
        for (link, member) in &self.members {
            if only_source == Some(*link) || !member.is_live() {
                continue;
            }
            let own_only = !whole || hub.links.get(link).is_some_and(|link| link.accepts(hub.me()).is_some());
            if !member.subscription.is_everything() {
                filtered.push((*link, member.subscription.clone()));
            } else if own_only {
                own.push(*link);
            } else {
                all.push(*link);
            }
        }
        let has_local = changes.iter().any(|change| change.source == LOCAL);
        let bulk_bytes = hub.config.tuning.bulk_bytes;
        if !filtered.is_empty() {
            let delta = Delta::merged(&changes);
            for (link, subscription) in filtered {
                let encoded = encode_whole(&self.id, &delta.filtered(&subscription), bulk_bytes);
                self.send(encoded, &[link], hub);
            }
        }
        if !own.is_empty() && has_local {
            let local: Vec<_> = changes.iter().filter(|change| change.source == LOCAL).cloned().collect();
            self.send(encode_batch(&self.id, &local, bulk_bytes), &own, hub);
        }
        if !all.is_empty() {
            self.send(message.or_else(|| encode_batch(&self.id, &changes, bulk_bytes)), &all, hub);
        }
    }

    /// Whose writes a member accepts from us; `None`: anybody's. A replica of a part of the records vouches for its
    /// own only.
    pub(super) fn accepted_author(&self, link: LinkId, hub: &Hub) -> Option<ReplicaId> {
        if self.subscription.is_everything() {
            hub.links.get(&link).and_then(|link| link.accepts(hub.me()))
        } else {
            Some(hub.me())
        }
    }

    /// Sends a delta. Whoever has much to drain now, because it is slow or because the delta is large, gets nothing more
    /// until it has: what is smaller must not overtake.
    fn send(&mut self, encoded: Option<Encoded>, receivers: &[LinkId], hub: &mut Hub) {
        let Some(encoded) = encoded else { return };
        hub.counters.deltas_out += receivers.len() as u64;
        let is_bulk = encoded.lane() == Lane::Low;
        self.emit(receivers.to_vec(), encoded, hub);
        let high = hub.config.tuning.queue_high;
        let is_slow = |link: &LinkId| hub.links.get(link).is_some_and(|link| link.outstanding > high);
        let slow: Vec<LinkId> = receivers.iter().copied().filter(is_slow).collect();
        hub.counters.conflations += slow.len() as u64;
        let waiting = if is_bulk { receivers } else { &slow };
        if waiting.is_empty() {
            return;
        }
        // A session reports what it has drained in steps: what is smaller than a step may never be reported, so the
        // room looks again by itself.
        hub.arm(&self.id, hub.now.mono + hub.config.tuning.tick);
        let since = self.document().map(Document::frontier).unwrap_or_default();
        for link in waiting {
            if let Some(member) = self.members.get_mut(link) {
                member.behind(since.clone());
            }
        }
    }

    /// Sends what they lack to members that have drained.
    pub(super) fn serve_behind(&mut self, hub: &mut Hub) {
        self.serve_slots(hub);
        self.serve_guests(hub);
        let low = hub.config.tuning.queue_low;
        let drained: Vec<LinkId> = self
            .members
            .iter()
            .filter(|(link, member)| {
                !member.is_live() && !member.serving && hub.links.get(link).is_some_and(|link| link.outstanding <= low)
            })
            .map(|(link, _)| *link)
            .collect();
        let is_drained = |link: &LinkId| hub.links.get(link).is_some_and(|link| link.outstanding <= low);
        let missed = self.members.iter().filter(|(link, member)| member.presence_behind && is_drained(link));
        for link in missed.map(|(link, _)| *link).collect::<Vec<_>>() {
            self.tell_all_presence(link, hub);
        }
        for link in drained {
            let State::Ready(document) = &self.state else { return };
            let Some(member) = self.members.get_mut(&link) else { continue };
            let Flow::Behind { mut since } = std::mem::take(&mut member.flow) else { continue };
            // Coordination records go their own way.
            since.version.slots.clone_from(&document.version().slots);
            if since.version.covers(document.version()) {
                continue;
            }
            member.flow = Flow::Behind { since: since.clone() };
            self.catch_up(link, since, hub);
        }
    }

    fn catch_up(&mut self, link: LinkId, since: Frontier, hub: &mut Hub) {
        hub.counters.catch_ups += 1;
        let author = self.accepted_author(link, hub);
        let here = self.document().map(Document::version);
        let is_current = |shared: &SharedSnapshot| here.is_some_and(|here| shared.frontier.version.covers(here));
        let is_current = self.shared.as_ref().is_some_and(is_current);
        let Some(member) = self.members.get_mut(&link) else { return };
        let subscription = member.subscription.clone();
        if is_first_visit(&since) && author.is_none() && subscription.is_everything() {
            if let Some(shared) = &self.shared
                && (is_current || shared.made_at + hub.config.tuning.snapshot_shared_for > hub.now.mono)
            {
                hub.counters.snapshots_shared += 1;
                member.flow = Flow::Behind { since: shared.frontier.clone() };
                let encoded = shared.encoded.clone();
                self.emit(vec![link], encoded, hub);
                // What has changed since the snapshot follows once it has drained.
                hub.arm(&self.id, hub.now.mono + hub.config.tuning.tick);
                return;
            }
            hub.counters.snapshots += 1;
        }
        member.serving = true;
        let bulk_bytes = hub.config.tuning.bulk_bytes;
        let job = Job::CatchUp { link, since, author, subscription, bulk_bytes };
        if self.weight > hub.config.tuning.inline_bytes as u64 {
            return self.send_away(job, hub);
        }
        let State::Ready(document) = std::mem::replace(&mut self.state, State::Away) else { return };
        let (document_id, generation) = (self.id.clone(), self.generation);
        let mut work = Work { document: document_id, generation, subject: Some(document), job, outcome: None };
        work.run();
        if let Some(document) = work.subject {
            self.state = State::Ready(document);
        }
        if let Some(Outcome::CatchUp { link, since, delta }) = work.outcome {
            self.caught_up(link, &since, delta, hub);
        }
    }

    /// The delta for a member has been computed.
    pub(super) fn caught_up(
        &mut self,
        link: LinkId,
        since: &Frontier,
        delta: Result<CatchUp, DocumentError>,
        hub: &mut Hub,
    ) {
        let Some(member) = self.members.get_mut(&link) else { return };
        if !std::mem::take(&mut member.serving) {
            // It has said anew what it has, and is served from that.
            return;
        }
        let CatchUp { encoded, frontier } = match delta {
            Ok(caught_up) => caught_up,
            Err(error) => {
                member.flow = Flow::Live;
                return hub.strike(link, Some(&self.id), format!("frontier refused: {error}"));
            }
        };
        member.flow = Flow::Live;
        let whole = is_first_visit(since) && member.subscription.is_everything();
        if let (true, None, Some(encoded)) = (whole, self.accepted_author(link, hub), &encoded) {
            self.shared = Some(SharedSnapshot { frontier, encoded: encoded.clone(), made_at: hub.now.mono });
        }
        self.send(encoded, &[link], hub);
    }

    /// Commits of the application are part of the document: tells peers and the store.
    pub(super) fn committed(&mut self, delta: Delta, hub: &mut Hub) -> Result<(), DocumentError> {
        let encoded = delta.encode()?;
        self.weight += encoded.len() as u64;
        self.log.queue(&delta, encoded.clone());
        self.enqueue(Incoming { delta, encoded, source: LOCAL, author: None });
        self.flush_due(hub);
        self.append(hub);
        Ok(())
    }

    /// Coordination records of ours are part of the document: tells the store at once, and peers, at once unless nobody
    /// waits for them.
    pub(super) fn committed_slots(&mut self, delta: Delta, lazy: bool, hub: &mut Hub) -> Result<(), DocumentError> {
        let encoded = delta.encode()?;
        self.weight += encoded.len() as u64;
        self.log.queue(&delta, encoded.clone());
        let landed = Incoming { delta, encoded, source: LOCAL, author: None };
        if lazy {
            self.slots_batch.lazy.push(landed);
            self.slots_batch.lazy_until.get_or_insert(hub.now.mono + LAZY_WAIT);
        } else {
            self.enqueue(landed);
        }
        self.flush_due(hub);
        self.append(hub);
        Ok(())
    }

    /// A peer has told which of our writes are durable there.
    pub(super) fn acknowledged(&mut self, link: LinkId, durable: &Version, hub: &mut Hub) {
        if !hub.links.get(&link).is_some_and(super::hub::Link::is_durable) {
            return;
        }
        if !self.acked.covers(durable) {
            self.acked.join(durable);
            hub.event(Event::Acked { document: self.id.clone() });
        }
    }
}

impl Node {
    /// A session has handed more to its transport: who has drained gets what it lacks.
    pub(super) fn drained(&mut self, link: LinkId, bytes: u64) {
        let Some(known) = self.hub.links.get_mut(&link) else { return };
        known.outstanding = known.outstanding.saturating_sub(bytes);
        if known.outstanding > self.hub.config.tuning.queue_low {
            return;
        }
        let documents: Vec<_> = known.documents.iter().cloned().collect();
        for document in documents {
            self.in_room(&document, |room, hub| {
                if room.members.get(&link).is_some_and(Member::is_waiting) {
                    room.serve_behind(hub);
                } else if room.guests.contains_key(&link) {
                    room.serve_guests(hub);
                }
            });
        }
    }
}

fn is_first_visit(since: &Frontier) -> bool {
    since.version.content.is_empty() && since.version.records.is_empty() && since.engine.is_empty()
}

/// A delta as one message, so that what was written together travels together: records that ran ahead of the content
/// they were written with would leave out what that content was written with before. Large ones yield to everything.
fn encode_delta(document: &DocumentId, encoded: Bytes, has_content: bool, bulk_bytes: usize) -> Option<Encoded> {
    let lane = match has_content {
        _ if encoded.len() > bulk_bytes => Lane::Low,
        true => Lane::High,
        false => Lane::Critical,
    };
    Encoded::new(&Message::Delta { document: document.clone(), delta: encoded }, lane).ok()
}

/// A batch of one keeps its bytes as they came.
pub(super) fn encode_batch(document: &DocumentId, changes: &[Incoming], bulk_bytes: usize) -> Option<Encoded> {
    match changes {
        [one] => encode_delta(document, one.encoded.clone(), one.delta.content.is_some(), bulk_bytes),
        _ => encode_whole(document, &Delta::merged(changes), bulk_bytes),
    }
}

pub(super) fn encode_whole(document: &DocumentId, delta: &Delta, bulk_bytes: usize) -> Option<Encoded> {
    encode_delta(document, delta.encode().ok()?, delta.content.is_some(), bulk_bytes)
}
