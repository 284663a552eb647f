//! What guests are told: changes as they happen, what they lack, and nothing that waits for the disk.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    super::{
        hub::Hub,
        room::{Room, State},
        work::{Job, Outcome},
    },
    Guest,
};
use crate::{
    document::DocumentError,
    engine::EngineKind,
    id::LinkId,
    time::Monotonic,
    wires::{Told, Word},
};

/// A word on its way out, and how far the log has to be before it may leave.
#[derive(Debug)]
pub(in crate::node) struct Gated {
    position: u64,
    links: Vec<LinkId>,
    told: Arc<Told>,
}

/// The whole document as an update, for all who come within a short while.
#[derive(Debug)]
pub(in crate::node) struct SharedWhole {
    frontier: Bytes,
    told: Arc<Told>,
    made_at: Monotonic,
}

/// What a guest lacks.
#[derive(Debug)]
pub(in crate::node) struct Lacking {
    pub(in crate::node) update: Bytes,
    /// What is here.
    pub(in crate::node) frontier: Bytes,
}

impl Room {
    /// Sends a word once the log is that far; words keep their order, and count as queued meanwhile.
    pub(super) fn emit_to_guests(&mut self, links: Vec<LinkId>, told: Arc<Told>, position: u64, hub: &mut Hub) {
        hub.charge_guests(&links, &told);
        if self.guest_gate.is_empty() && position <= self.log.kept() {
            hub.release_to_guests(links, told);
        } else {
            self.guest_gate.push_back(Gated { position, links, told });
        }
    }

    /// Lets go what may leave by now.
    pub(in crate::node) fn release_to_guests(&mut self, hub: &mut Hub) {
        let kept = self.log.kept();
        while let Some(gated) = self.guest_gate.pop_front_if(|gated| gated.position <= kept) {
            hub.release_to_guests(gated.links, gated.told);
        }
        self.release_to_talking(hub);
    }

    /// Tells guests that have drained what they lack.
    pub(in crate::node) fn serve_guests(&mut self, hub: &mut Hub) {
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
        self.serve_talking(hub);
    }

    fn serve_guest(&mut self, link: LinkId, hub: &mut Hub) {
        let State::Ready(document) = &self.state else { return };
        let Some(guest) = self.guests.get_mut(&link) else { return };
        let Some(mut since) = guest.behind.clone() else { return };
        let here = document.content().frontier();
        if since == here && !guest.asked {
            guest.behind = None;
            return;
        }
        hub.counters.catch_ups += 1;
        guest.serving = true;
        if since.is_empty() && guest.asked {
            let lasts = hub.config.tuning.snapshot_shared_for;
            let fits = |shared: &&SharedWhole| shared.frontier == here || shared.made_at + lasts > hub.now.mono;
            if let Some(shared) = self.guest_whole.as_ref().filter(fits) {
                hub.counters.snapshots_shared += 1;
                // Not as the answer: that follows, with what has changed since. Whoever is answered has all there was when
                // it asked, and may go by that (an editor puts its template into a document that is empty).
                let told = shared.told.clone();
                since = shared.frontier.clone();
                self.emit_to_guests(vec![link], told, self.log.queued(), hub);
            } else {
                hub.counters.snapshots += 1;
            }
        }
        let job = Job::Lack { link, since };
        if self.weight > hub.config.tuning.inline_bytes as u64 {
            return self.send_away(job, hub);
        }
        if let Some(Outcome::Lack { link, since, lacking }) = self.work_here(job) {
            self.lacked(link, &since, lacking, hub);
        }
    }

    /// What a guest lacks has been computed.
    pub(in crate::node) fn lacked(
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
        if since.is_empty() && !frontier.is_empty() {
            let (made_at, told) = (hub.now.mono, Told::new(Some(self.id.clone()), Word::Update(update.clone())));
            self.guest_whole = Some(SharedWhole { frontier: frontier.clone(), told, made_at });
        }
        let told = Told::new(Some(self.id.clone()), Word::Lacking(update));
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
}

/// Updates as one; `None` when the engine cannot.
pub(super) fn merge(engine: EngineKind, updates: &[Bytes]) -> Option<Bytes> {
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
