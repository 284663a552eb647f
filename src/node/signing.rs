//! Signed records in a room: the document hears of the authority, shows its credential, asks for what a cut took along.

use std::sync::Arc;

use super::{
    Node,
    event::Event,
    hub::Hub,
    room::{Room, State},
};
use crate::{
    document::{Authority, Delta, DocumentError},
    time::Moment,
};

impl Room {
    /// Lets the document sign and check by the newest authority, once it is here.
    pub(super) fn uphold(&mut self, hub: &mut Hub) {
        let Some(authority) = hub.config.signing.clone() else { return };
        if self.signed_by.as_ref().is_some_and(|known| Arc::ptr_eq(known, &authority)) {
            return;
        }
        let State::Ready(document) = &mut self.state else { return };
        let patches = match document.set_authority(&authority) {
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

impl Node {
    /// Signs and checks by `authority` from now on: after a renewal, or when a version of the policy has come.
    pub fn set_signing(&mut self, authority: Arc<Authority>, now: Moment) {
        self.hub.now = now;
        self.hub.config.signing = Some(authority);
        for room in self.rooms.values_mut() {
            room.uphold(&mut self.hub);
            room.flush_due(&mut self.hub);
        }
    }
}
