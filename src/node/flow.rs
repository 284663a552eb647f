//! What leaves a room: batches to those who keep up, one delta from their frontier to those who do not.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{
    event::Event,
    hub::Hub,
    room::{Room, State},
    work::{CatchUp, Job, Outcome, Work},
};
use crate::{
    document::{Delta, DocumentError, Frontier, Incoming, Subscription, Version},
    id::{DocumentId, LinkId, ReplicaId},
    sync::{Encoded, Lane, Message},
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
    /// It has been told what is here.
    pub(super) greeted: bool,
    /// Writers it has brought writes of, whose durability it wants to hear about.
    pub(super) owed: BTreeSet<ReplicaId>,
    /// What it has been told to be durable.
    pub(super) told: Version,
    /// It has refused our writes, and why.
    pub(super) refused: Option<String>,
    /// A delta for it is being computed.
    pub(super) serving: bool,
}

impl Member {
    pub(super) fn is_live(&self) -> bool {
        matches!(self.flow, Flow::Live)
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
        self.batch.message = None;
        self.batch.changes.push(landed);
    }

    /// Like [`Room::enqueue`], for a change that has been encoded already.
    pub(super) fn enqueue_encoded(&mut self, landed: Incoming, message: Encoded) {
        let is_alone = self.batch.changes.is_empty();
        self.enqueue(landed);
        self.batch.message = Some(message).filter(|_| is_alone);
    }

    /// Sends the batch when its time has come or it is full.
    pub(super) fn flush_due(&mut self, hub: &mut Hub) {
        let pending = self.batch.changes.len();
        if pending == 0 {
            return;
        }
        let due = self.batch.next_at <= hub.now.mono || pending >= hub.config.tuning.tick_changes;
        if due && matches!(self.state, State::Ready(_)) {
            self.flush(hub);
        } else {
            let at = self.batch.next_at.max(hub.now.mono + hub.config.tuning.tick);
            hub.arm(&self.id, if due { at } else { self.batch.next_at });
        }
    }

    /// Sends the batch: encoded once per kind of receiver, its bytes shared.
    pub(super) fn flush(&mut self, hub: &mut Hub) {
        if self.batch.changes.is_empty() {
            return;
        }
        let changes = std::mem::take(&mut self.batch.changes);
        let message = self.batch.message.take();
        let tick = hub.config.tuning.tick;
        self.batch.next_at = self.batch.next_at.max(hub.now.mono.before(tick)) + tick;
        if self.members.is_empty() {
            return;
        }
        hub.counters.batches += 1;
        hub.counters.changes += changes.len() as u64;
        let only_source =
            changes.iter().all(|change| change.source == changes[0].source).then_some(LinkId(changes[0].source));
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
    fn accepted_author(&self, link: LinkId, hub: &Hub) -> Option<ReplicaId> {
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
        let since = self.document().map(crate::document::Document::frontier).unwrap_or_default();
        for link in waiting {
            if let Some(member) = self.members.get_mut(link) {
                member.behind(since.clone());
            }
        }
    }

    /// Sends what they lack to members that have drained.
    pub(super) fn serve_behind(&mut self, hub: &mut Hub) {
        let low = hub.config.tuning.queue_low;
        let drained: Vec<LinkId> = self
            .members
            .iter()
            .filter(|(link, member)| {
                !member.is_live() && !member.serving && hub.links.get(link).is_some_and(|link| link.outstanding <= low)
            })
            .map(|(link, _)| *link)
            .collect();
        for link in drained {
            let State::Ready(document) = &self.state else { return };
            let Some(member) = self.members.get_mut(&link) else { continue };
            let Flow::Behind { since } = std::mem::take(&mut member.flow) else { continue };
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
        let Some(member) = self.members.get_mut(&link) else { return };
        let subscription = member.subscription.clone();
        if is_first_visit(&since) && author.is_none() && subscription.is_everything() {
            if let Some(shared) = &self.shared
                && shared.made_at + hub.config.tuning.snapshot_shared_for > hub.now.mono
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
        self.log.queue(encoded.clone());
        self.enqueue(Incoming { delta, encoded, source: LOCAL, author: None });
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

fn is_first_visit(since: &Frontier) -> bool {
    since.version.is_empty() && since.engine.is_empty()
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
