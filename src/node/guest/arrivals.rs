//! What guests bring: updates, what becomes of them, and when they are told that theirs are durable.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use super::super::{
    Output,
    hub::Hub,
    room::Room,
    work::{Arrival, Origin},
};
use crate::{
    document::{Absorption, Incoming},
    error::CloseCode,
    id::{LinkId, ReplicaId},
    limits,
    trust::quota::Quota,
    wires::{Told, Word},
};

impl Room {
    /// A guest has brought an update.
    pub(super) fn receive_foreign(&mut self, link: LinkId, update: Bytes, hub: &mut Hub) {
        hub.counters.deltas_in += 1;
        // It was on its way when one side left.
        let Some(guest) = self.guests.get(&link) else { return };
        let (size, max) = (update.len() as u64, hub.quota(Quota::UpdateBytes));
        if size > max {
            let reason = format!("an update of {size} bytes is over the limit of {max}");
            return hub.strike(link, Some(&self.id), reason);
        }
        if self.inbox_bytes + update.len() > limits::ROOM_INBOX_BYTES && !self.inbox.is_empty() {
            return self.ask_guest_again(link, hub);
        }
        let may_write = guest.rights.may_write();
        self.inbox_bytes += update.len();
        self.inbox.push_back(Arrival { link, encoded: update, origin: Origin::Guest { may_write } });
        self.settle(hub);
    }

    /// The numbers of those who follow commits, and need not have written yet.
    pub(in crate::node) fn natives(&mut self, hub: &Hub) -> Arc<BTreeSet<ReplicaId>> {
        let replicas = |link| hub.links.get(link).map(|link| link.hello.identity.replica);
        let members = &self.members;
        self.natives.get_or_insert_with(|| Arc::new(members.keys().filter_map(replicas).collect())).clone()
    }

    /// What guests brought is part of the document, or is not.
    pub(in crate::node) fn absorbed(&mut self, absorbed: Vec<(LinkId, Absorption)>, hub: &mut Hub) {
        for (link, absorption) in absorbed {
            match absorption {
                Absorption::Landed(landed) => {
                    self.land_foreign(landed, hub);
                    self.owe_guest(link);
                }
                Absorption::Incomplete(landed) => {
                    self.land_foreign(landed, hub);
                    if !self.talked(link, true) {
                        self.ask_guest_again(link, hub);
                    }
                }
                Absorption::Refused(error) => {
                    self.talked(link, false);
                    hub.strike(link, Some(&self.id), error.to_string());
                }
                Absorption::Forbidden => {
                    self.talked(link, false);
                    self.forbid_guest(link, hub);
                }
            }
        }
        self.confirm_guests(hub);
    }

    fn land_foreign(&mut self, landed: Option<Incoming>, hub: &mut Hub) {
        let Some(landed) = landed else { return };
        self.note_written(hub.me());
        self.weight += landed.encoded.len() as u64;
        self.log.queue_foreign(&landed.delta, landed.encoded.clone());
        self.enqueue(landed);
    }

    /// All that is here now is in the log or on its way there: once it is durable, so is what the guest brought.
    fn owe_guest(&mut self, link: LinkId) {
        if self.talked(link, true) {
            return;
        }
        let position = self.log.queued();
        let Some(guest) = self.guests.get_mut(&link) else { return };
        guest.asked_again = 0;
        if !guest.counts {
            return;
        }
        let is_full = guest.owed.len() >= limits::GUEST_UNCONFIRMED;
        match guest.owed.back_mut() {
            // The one before is told a little later, with this one.
            Some((last, count)) if *last == position || is_full => (*last, *count) = (position, *count + 1),
            _ => guest.owed.push_back((position, 1)),
        }
    }

    /// What a guest brought in a conversation has been taken in as far as it could be, or was not; false for who has none.
    fn talked(&mut self, link: LinkId, is_taken_in: bool) -> bool {
        let own = is_taken_in.then(|| self.log.queued());
        let Some(talk) = self.guests.get_mut(&link).and_then(|guest| guest.talk.as_mut()) else { return false };
        talk.taken_in(own);
        true
    }

    fn forbid_guest(&mut self, link: LinkId, hub: &mut Hub) {
        let reason = format!("`{}` may be read on this connection, and not changed", self.id);
        let Some(guest) = self.guests.get_mut(&link) else { return };
        guest.forbidden += 1;
        let goes_on = guest.forbidden >= limits::GUEST_FORBIDDEN;
        hub.forbid(link, Some(&self.id), reason.clone());
        if goes_on {
            hub.out.push_back(Output::Close { link, code: CloseCode::REVOKED, reason });
        }
    }

    /// Has a guest asked for all it has that is not here. Who is asked in vain is asked ever more rarely.
    fn ask_guest_again(&mut self, link: LinkId, hub: &mut Hub) {
        let Some(guest) = self.guests.get_mut(&link) else { return };
        if guest.ask_at.is_none() {
            let at = hub.now.mono + hub.config.tuning.resync_after * 2_u32.pow(guest.asked_again.min(8));
            guest.asked_again += 1;
            guest.ask_at = Some(at);
            hub.arm(&self.id, at);
        }
    }

    /// Something they brought may have been lost with a document that had to be rebuilt.
    pub(in crate::node) fn ask_all_guests_again(&mut self, hub: &mut Hub) {
        for link in self.guests.keys().copied().collect::<Vec<_>>() {
            let waits_on = self.inbox.iter().any(|arrival| arrival.link == link);
            let Some(guest) = self.guests.get_mut(&link) else { continue };
            let may_write = guest.rights.may_write();
            match &mut guest.talk {
                Some(talk) => talk.start_over(may_write, waits_on),
                None => self.ask_guest_again(link, hub),
            }
        }
    }

    /// A timer has fired: asks guests whose time has come.
    pub(in crate::node) fn ask_guests(&mut self, hub: &mut Hub) {
        if self.guests.values().all(|guest| guest.ask_at.is_none()) {
            return;
        }
        let frontier = self.document().map(|document| document.content().frontier());
        let mut due = Vec::new();
        for (link, guest) in &mut self.guests {
            let Some(at) = guest.ask_at else { continue };
            match frontier {
                Some(_) if at <= hub.now.mono => {
                    guest.ask_at = None;
                    due.push(*link);
                }
                Some(_) => hub.arm(&self.id, at),
                None => hub.arm(&self.id, at.max(hub.now.mono + hub.config.tuning.resync_after)),
            }
        }
        if let (Some(frontier), false) = (frontier, due.is_empty()) {
            hub.counters.resyncs += due.len() as u64;
            hub.tell_guests(due, Told::new(Some(self.id.clone()), Word::Frontier(frontier)));
        }
    }

    /// Tells guests what of their own has become durable.
    pub(in crate::node) fn confirm_guests(&mut self, hub: &mut Hub) {
        let kept = self.log.kept();
        for (link, guest) in &mut self.guests {
            let mut durable = 0;
            while let Some((_, count)) = guest.owed.pop_front_if(|(position, _)| *position <= kept) {
                durable += count;
            }
            if durable > 0 {
                hub.counters.acks += 1;
                let word = Word::Kept(durable);
                hub.tell_guests(vec![*link], Told::new(Some(self.id.clone()), word));
            }
        }
    }
}
