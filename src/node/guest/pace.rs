//! How often guests are told: in a room with many, what happens within a few milliseconds leaves as one update.
//!
//! Sending is most of what fan-out costs, and costs the same however small the update is. So after an update the next one
//! waits, for each that gets it some twenty times what sending to it takes: whatever is written, a room spends about a
//! twentieth of a core on that. What is written now and then does not wait.

use std::time::Duration;

use bytes::Bytes;

use super::{
    super::{
        flow::LOCAL,
        hub::Hub,
        room::{Room, State},
    },
    departures::merge,
};
use crate::{
    document::Incoming,
    id::LinkId,
    time::Monotonic,
    wires::{Told, Word},
};

/// The longest a change waits for others: people who type together do not see it.
const PACE_MAX: Duration = Duration::from_millis(50);

/// Updates that wait for others to travel with.
#[derive(Debug, Default)]
pub(in crate::node) struct Pending {
    updates: Vec<Bytes>,
    /// Where they came from, when they all came from one.
    source: Option<LinkId>,
    /// How far the log has to be before they may leave.
    position: u64,
    next_at: Monotonic,
}

impl Pending {
    fn clear(&mut self) {
        (self.updates, self.source, self.position) = (Vec::new(), None, 0);
    }

    /// What waits does so no longer.
    pub(in crate::node) const fn hurry(&mut self) {
        self.next_at = Monotonic(0);
    }
}

impl Room {
    /// Adds the changes of a batch to what guests are to be told.
    pub(in crate::node) fn flush_to_guests(
        &mut self,
        changes: &[Incoming],
        sole_source: Option<LinkId>,
        hub: &mut Hub,
    ) {
        self.tell_talking(sole_source, hub);
        if self.guests.values().all(|guest| guest.is_behind() || guest.is_talking()) {
            // Who is behind is told of these with the rest.
            return self.guest_pending.clear();
        }
        let contents = || changes.iter().filter_map(|change| Some((change, change.delta.content.as_ref()?)));
        let me = hub.me();
        let is_guests = contents()
            .all(|(change, content)| change.source != LOCAL && content.spans.iter().all(|span| span.writer == me));
        let pending = &mut self.guest_pending;
        pending.source = if pending.updates.is_empty() {
            sole_source
        } else {
            pending.source.filter(|source| Some(*source) == sole_source)
        };
        pending.updates.extend(contents().flat_map(|(_, content)| content.updates.iter().cloned()));
        if !is_guests {
            pending.position = self.log.queued();
        }
        self.tell_guests_due(hub);
    }

    /// Sends what waits to guests that keep up, once it has waited long enough: as one update, encoded once.
    pub(in crate::node) fn tell_guests_due(&mut self, hub: &mut Hub) {
        // A batch takes them along when its tick ends.
        if self.guest_pending.updates.is_empty() || self.has_batch() {
            return;
        }
        if !matches!(self.state, State::Ready(_)) {
            return hub.arm(&self.id, hub.now.mono + hub.config.tuning.tick);
        }
        let pending = &mut self.guest_pending;
        if pending.next_at > hub.now.mono && pending.updates.len() < hub.config.tuning.tick_changes {
            return hub.arm(&self.id, pending.next_at);
        }
        let source = pending.source;
        let live = self.guests.iter().filter(|(_, guest)| !guest.is_behind() && !guest.is_talking());
        let receivers: Vec<LinkId> = live.map(|(link, _)| *link).filter(|link| source != Some(*link)).collect();
        let pace = hub
            .config
            .tuning
            .guest_pace
            .saturating_mul(u32::try_from(receivers.len()).unwrap_or(u32::MAX))
            .min(PACE_MAX);
        // As with ticks: what comes evenly and no faster never waits.
        pending.next_at = pending.next_at.max(hub.now.mono.before(pace)) + pace;
        let (updates, position) = (std::mem::take(&mut pending.updates), pending.position);
        pending.clear();
        if receivers.is_empty() {
            return;
        }
        let updates = match &updates[..] {
            [_] => updates,
            several => merge(self.engine, several).map_or_else(|| several.to_vec(), |one| vec![one]),
        };
        for update in updates {
            hub.counters.deltas_out += receivers.len() as u64;
            let told = Told::new(Some(self.id.clone()), Word::Update(update));
            self.emit_to_guests(receivers.clone(), told, position, hub);
        }
        self.leave_behind_slow(receivers, hub);
    }

    /// Those with much to drain get nothing more until they have, and then one update.
    fn leave_behind_slow(&mut self, receivers: Vec<LinkId>, hub: &mut Hub) {
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
}
