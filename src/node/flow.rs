//! What leaves a room: batches to those who keep up, one delta from their frontier to those who do not.

use std::collections::BTreeSet;

use super::{
    event::Event,
    hub::Hub,
    room::{Room, State},
    work::{Job, Outcome, Work},
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
    /// Records as they happen; content waits until the bulk before it has left.
    Records {
        /// What has been sent of the content.
        since: Frontier,
    },
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

    pub(super) fn owe_ack(&mut self, delta: &Delta) {
        self.owed.extend(delta.writers());
    }
}

/// Changes waiting for the end of the tick.
#[derive(Debug, Default)]
pub(super) struct Batch {
    changes: Vec<Incoming>,
    next_at: Monotonic,
}

/// The whole document, encoded once for all who join within a short while.
#[derive(Debug)]
pub(super) struct SharedSnapshot {
    frontier: Frontier,
    parts: Vec<Encoded>,
    made_at: Monotonic,
}

/// The mark of a change made here.
pub(super) const LOCAL: u64 = u64::MAX;

impl Room {
    /// A change is part of the document now: it leaves with the next batch.
    pub(super) fn enqueue(&mut self, landed: Incoming) {
        self.batch.changes.push(landed);
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
        for (link, member) in &self.members {
            if only_source == Some(*link) || matches!(member.flow, Flow::Behind { .. }) {
                continue;
            }
            let records_only = matches!(member.flow, Flow::Records { .. });
            if !member.subscription.is_everything() {
                filtered.push((*link, records_only, member.subscription.clone()));
            } else if self.accepted_author(*link, hub).is_some() {
                own.push((*link, records_only));
            } else {
                all.push((*link, records_only));
            }
        }
        let has_local = changes.iter().any(|change| change.source == LOCAL);
        if !filtered.is_empty() {
            let delta = Delta::merged(&changes);
            for (link, records_only, subscription) in filtered {
                let parts = Parts::new(&self.id, delta.filtered(&subscription), hub.config.tuning.bulk_bytes);
                self.send_parts(&parts, &[(link, records_only)], hub);
            }
        }
        if !own.is_empty() && has_local {
            let local: Vec<_> = changes.iter().filter(|change| change.source == LOCAL).cloned().collect();
            let parts = Parts::of_batch(&self.id, &local, hub.config.tuning.bulk_bytes);
            self.send_parts(&parts, &own, hub);
        }
        if !all.is_empty() {
            let parts = Parts::of_batch(&self.id, &changes, hub.config.tuning.bulk_bytes);
            self.send_parts(&parts, &all, hub);
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

    fn send_parts(&mut self, parts: &Parts, receivers: &[(LinkId, bool)], hub: &mut Hub) {
        hub.counters.deltas_out += receivers.len() as u64;
        let content_receivers =
            || receivers.iter().filter(|(_, records_only)| !records_only).map(|(link, _)| *link).collect::<Vec<_>>();
        if let Some(records) = &parts.records {
            self.emit(receivers.iter().map(|(link, _)| *link).collect(), records.clone(), hub);
        }
        if let Some(content) = &parts.content {
            self.emit(content_receivers(), content.clone(), hub);
        }
        let high = hub.config.tuning.queue_high;
        let slow: Vec<LinkId> = receivers
            .iter()
            .map(|(link, _)| *link)
            .filter(|link| hub.links.get(link).is_some_and(|link| link.outstanding > high))
            .collect();
        let bulk = if parts.is_bulk() { content_receivers() } else { Vec::new() };
        if slow.is_empty() && bulk.is_empty() {
            return;
        }
        // A session reports what it has drained in steps: what is smaller than a step may never be reported, so the
        // room looks again by itself.
        hub.arm(&self.id, hub.now.mono + hub.config.tuning.tick);
        let since = self.document().map(crate::document::Document::frontier).unwrap_or_default();
        for link in bulk {
            if let Some(member) = self.members.get_mut(&link) {
                member.flow = parts.flow_after(since.clone());
            }
        }
        for link in slow {
            if let Some(member) = self.members.get_mut(&link) {
                // A member whose content already waits keeps the older frontier: that is what it has been sent.
                let since = match std::mem::take(&mut member.flow) {
                    Flow::Records { since: mut older } => {
                        older.version.records.join(&since.version.records);
                        older
                    }
                    Flow::Behind { since: older } => older,
                    Flow::Live => since.clone(),
                };
                hub.counters.conflations += 1;
                member.behind(since);
            }
        }
    }

    /// Sends what they lack to members that have drained.
    pub(super) fn serve_behind(&mut self, hub: &mut Hub) {
        // Who gets records as they happen is served from all records here, so those of the batch must be sent before.
        let gets_records = |member: &Member| matches!(member.flow, Flow::Records { .. });
        if matches!(self.state, State::Ready(_)) && self.members.values().any(gets_records) {
            self.flush(hub);
        }
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
            let since = match std::mem::take(&mut member.flow) {
                Flow::Behind { since } => since,
                Flow::Records { mut since } => {
                    since.version.records = document.version().records.clone();
                    since
                }
                Flow::Live => continue,
            };
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
                for part in shared.parts.clone() {
                    self.emit(vec![link], part, hub);
                }
                // What has changed since the snapshot follows once it has drained.
                hub.arm(&self.id, hub.now.mono + hub.config.tuning.tick);
                return;
            }
            hub.counters.snapshots += 1;
        }
        member.serving = true;
        let job = Job::CatchUp { link, since, author, subscription };
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
        delta: Result<Delta, DocumentError>,
        hub: &mut Hub,
    ) {
        let State::Ready(document) = &self.state else { return };
        let Some(member) = self.members.get_mut(&link) else { return };
        if !std::mem::take(&mut member.serving) {
            // It has said anew what it has, and is served from that.
            return;
        }
        let delta = match delta {
            Ok(delta) => delta,
            Err(error) => {
                member.flow = Flow::Live;
                return hub.strike(link, Some(&self.id), format!("frontier refused: {error}"));
            }
        };
        member.flow = Flow::Live;
        if delta.is_empty() {
            return;
        }
        let frontier = document.frontier();
        let whole = is_first_visit(since) && member.subscription.is_everything();
        let parts = Parts::new(&self.id, delta, hub.config.tuning.bulk_bytes);
        if whole && self.accepted_author(link, hub).is_none() {
            let encoded = parts.records.iter().chain(&parts.content).cloned().collect();
            self.shared = Some(SharedSnapshot { frontier: frontier.clone(), parts: encoded, made_at: hub.now.mono });
        }
        self.send_parts(&parts, &[(link, false)], hub);
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

/// A delta cut into its two messages: records may overtake content.
struct Parts {
    records: Option<Encoded>,
    content: Option<Encoded>,
}

impl Parts {
    fn new(document: &DocumentId, delta: Delta, bulk_bytes: usize) -> Self {
        let Delta { content, records } = delta;
        let message = |part: Delta, urgent: Lane| {
            let delta = part.encode().ok()?;
            let lane = if delta.len() > bulk_bytes { Lane::Low } else { urgent };
            Encoded::new(&Message::Delta { document: document.clone(), delta }, lane).ok()
        };
        let records =
            (!records.is_empty()).then(|| message(Delta { content: None, records }, Lane::Critical)).flatten();
        let content =
            content.and_then(|content| message(Delta { content: Some(content), records: Vec::new() }, Lane::High));
        Self { records, content }
    }

    /// A batch of one keeps its bytes as they came.
    fn of_batch(document: &DocumentId, changes: &[Incoming], bulk_bytes: usize) -> Self {
        if let [one] = changes
            && one.encoded.len() <= bulk_bytes
            && (one.delta.content.is_none() || one.delta.records.is_empty())
        {
            let lane = if one.delta.content.is_none() { Lane::Critical } else { Lane::High };
            let message = Message::Delta { document: document.clone(), delta: one.encoded.clone() };
            let encoded = Encoded::new(&message, lane).ok();
            return match lane {
                Lane::Critical => Self { records: encoded, content: None },
                _ => Self { records: None, content: encoded },
            };
        }
        Self::new(document, Delta::merged(changes), bulk_bytes)
    }

    fn is_bulk(&self) -> bool {
        self.records.iter().chain(&self.content).any(|part| part.lane() == Lane::Low)
    }

    /// How a member goes on after bulk: what is smaller must not overtake it.
    fn flow_after(&self, since: Frontier) -> Flow {
        if self.records.as_ref().is_some_and(|records| records.lane() == Lane::Low) {
            Flow::Behind { since }
        } else {
            Flow::Records { since }
        }
    }
}
