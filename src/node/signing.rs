//! Signed records in a room: the document hears of the authority, shows its credential, asks for what a cut took along.

use std::sync::Arc;

use super::{
    Node,
    event::Event,
    hub::Hub,
    room::{Room, State},
};
use crate::{
    coordination::seating::Seats,
    document::{Delta, DocumentError, Signer, Signing},
    time::Moment,
    trust::{authority::Authority, credential::Admission, possession::Holder},
};

impl Room {
    /// Lets the document sign and check by the newest authority, once it is here.
    pub(super) fn uphold(&mut self, hub: &mut Hub) {
        let Some(authority) = hub.config.signing.clone() else { return };
        if self.signed_by.as_ref().is_some_and(|known| Arc::ptr_eq(known, &authority)) {
            return;
        }
        let State::Ready(document) = &mut self.state else { return };
        let patches = match document.set_signing(&authority) {
            Ok(patches) => patches,
            // What it wrote would be refused everywhere.
            Err(error) => return self.fail(error.to_string(), hub),
        };
        if self.watch && !patches.is_empty() {
            hub.event(Event::Changed { document: self.id.clone(), patches });
        }
        let is_cut = !authority.in_force.cuts.is_empty();
        self.signed_by = Some(authority);
        if let Err(error) = self.show_credential(hub) {
            hub.event(Event::StoreFailed { document: self.id.clone(), reason: error.to_string() });
        }
        if is_cut {
            let links: Vec<_> = self.members.keys().copied().collect();
            links.into_iter().for_each(|link| self.ask_again(link, hub));
        }
    }

    fn show_credential(&mut self, hub: &mut Hub) -> Result<(), DocumentError> {
        let State::Ready(document) = &mut self.state else { return Ok(()) };
        let Delta { slots, records, .. } = document.uphold(hub.now.wall_ms)?.delta;
        self.note_written(hub.me());
        if !slots.is_empty() {
            self.committed_slots(Delta { slots, ..Delta::default() }, false, hub)?;
        }
        if !records.is_empty() {
            self.committed(Delta { records, ..Delta::default() }, hub)?;
        }
        Ok(())
    }
}

/// What follows for records from whom the node lets in and what it holds itself.
pub(super) fn signing_of(authority: Option<&Authority>, holder: Option<&Holder>) -> Option<Arc<Signing>> {
    let authority = authority?;
    let signer = holder.and_then(|holder| {
        let (key, salt, shown) = (holder.key().clone(), holder.salt(), holder.presented().to_owned());
        let tier = Admission::claimed(&shown).ok()?.tier;
        // A holder's replica is that of its key and salt; its credential was read just now.
        Signer::new(holder.replica(), key, salt, shown, tier).ok()
    });
    Some(Arc::new(Signing { swarm: authority.swarm(), in_force: authority.in_force(), signer, seating: &Seats }))
}

impl Node {
    /// Signs and checks by `authority` from now on: after a renewal, or when a version of the policy has come.
    pub fn set_signing(&mut self, authority: Arc<Signing>, now: Moment) {
        self.hub.now = now;
        self.hub.config.signing = Some(authority);
        for room in self.rooms.values_mut() {
            room.uphold(&mut self.hub);
            room.flush_due(&mut self.hub);
        }
    }
}
