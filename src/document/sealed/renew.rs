//! Taking over an authority, showing credentials, and sealing anew what would be left without one.

use std::sync::Arc;

use super::{Sealing, Signing, form, known::Standing};
use crate::{
    document::{Commit, Document, DocumentError, Record, SlotKey, SlotPart, SlotRecord, records::Slot},
    engine::Patch,
    limits,
    time::Hlc,
    trust::{
        credential::vouch,
        dial::Dial,
        record::{Holder, Kind, Plane, Preimage, Seal, ShownCredential, ShownCredentials, Verdict, judge},
    },
};

/// Records sealed anew in one call of [`Document::uphold`]: bounds the delta it makes.
const RESEALED_MAX: usize = 4_096;

impl Document {
    /// Signs and checks by `authority` from now on, if the room's dial is end to end by it; what a cut takes away goes.
    /// Returns what changed for readers. Call [`Document::uphold`] afterwards.
    ///
    /// # Errors
    /// `Signer` when it is another replica's.
    pub fn set_signing(&mut self, authority: &Arc<Signing>) -> Result<Vec<Patch>, DocumentError> {
        self.take_authority(authority)?;
        Ok(self.apply_cuts())
    }

    pub(in crate::document) fn take_authority(&mut self, authority: &Arc<Signing>) -> Result<(), DocumentError> {
        if authority.in_force.dial(&self.id) != Dial::EndToEnd {
            self.sealing = None;
            return Ok(());
        }
        if let Some(signer) = &authority.signer {
            signer.check(self.replica)?;
        }
        let mut sealing = Box::new(Sealing::new(Arc::clone(authority), self.id.clone()));
        match self.sealing.take() {
            Some(old) => sealing.succeed(*old),
            None => {
                let last = self.lattice.numbered(self.replica, 0).next_back();
                let last = last.map(|(slot, entry)| entry.record(slot));
                let last = last.filter(|record| record.seq == self.version.records.get(self.replica));
                let upto = self.version.slots.get(self.replica);
                let last_slot = self.board.since(self.replica, upto.saturating_sub(1)).next();
                sealing.resume(self.replica, last.as_ref(), last_slot.as_ref(), &self.board);
            }
        }
        self.sealing = Some(sealing);
        Ok(())
    }

    /// True when records here are signed.
    pub fn is_sealed(&self) -> bool {
        self.sealing.is_some()
    }

    /// Shows this replica's credential, unless it does so already, and seals anew those of its records that nothing it
    /// shows entitles any more, or that are not signed. To be called after a new authority, and with every renewal.
    ///
    /// # Errors
    /// As [`Document::transact`].
    pub fn uphold(&mut self, wall_ms: u64) -> Result<Commit, DocumentError> {
        let Some((shown, is_new)) = self.to_be_shown() else { return Ok(Commit::default()) };
        let mut writes = Vec::new();
        if is_new {
            writes.push((SlotKey::Credential, shown.encode().into()));
        }
        let (mut stale, mut slots) = (Vec::new(), Vec::new());
        if let Some(sealing) = &self.sealing
            && let Signing { swarm, in_force, .. } = &*sealing.authority
            && let Some(holder) = Holder::of(self.replica, &shown, swarm, in_force)
        {
            let entries = self.lattice.numbered(self.replica, 0);
            let records = entries.filter(|(slot, entry)| self.is_stale(&entry.record(slot), &holder, wall_ms));
            stale = records.map(|(slot, _)| slot.clone()).take(RESEALED_MAX).collect();
            let held = self.board.since(self.replica, 0).filter(|record| record.key != SlotKey::Credential);
            slots = held.filter(|record| self.is_stale_slot(record, &holder, wall_ms)).take(RESEALED_MAX).collect();
        }
        writes.extend(slots.into_iter().map(|record| (record.key, record.body)));
        let shown = self.write_slots(writes, wall_ms)?;
        let ((), mut commit) = self.transact::<_, DocumentError>(wall_ms, false, |transaction| {
            stale.iter().try_for_each(|slot| transaction.seal_anew(slot))
        })?;
        commit.delta.slots = shown.slots;
        Ok(commit)
    }

    /// What this replica should show, and whether that is more than it does.
    fn to_be_shown(&self) -> Option<(ShownCredentials, bool)> {
        let Signing { swarm, in_force, signer, .. } = &*self.sealing.as_ref()?.authority;
        let signer = signer.as_ref()?;
        let now = self.board.get(SlotKey::Credential, self.replica);
        let now = now.and_then(|body| ShownCredentials::decode(body).ok());
        let mut shown = now.clone().unwrap_or_default();
        shown.salt = signer.salt;
        // One that its version refuses may be what a later one allows.
        shown.credentials.retain(|one| {
            in_force.chain.get(&one.policy).is_some_and(|policy| vouch(&one.chain, swarm, policy).is_ok())
        });
        if shown.credentials.iter().all(|one| one.chain != signer.credential) {
            shown.credentials.push(ShownCredential { policy: in_force.hash, chain: signer.credential.clone() });
        }
        while shown.credentials.len() > limits::CREDENTIALS_SHOWN {
            let dropped = self.dispensable(&shown);
            shown.credentials.remove(dropped);
        }
        let is_new = now.as_ref() != Some(&shown);
        Some((shown, is_new))
    }

    /// Which credential to drop: the oldest without which our live definitions stand, because these cannot be sealed
    /// anew: their stamp is what their members are judged by.
    fn dispensable(&self, shown: &ShownCredentials) -> usize {
        let without = |at: usize| {
            let mut fewer = shown.clone();
            fewer.credentials.remove(at);
            fewer
        };
        (0..shown.credentials.len() - 1).find(|at| self.stand_by(&without(*at))).unwrap_or(0)
    }

    fn stand_by(&self, shown: &ShownCredentials) -> bool {
        let Some(sealing) = &self.sealing else { return true };
        let Signing { swarm, in_force, .. } = &*sealing.authority;
        let Some(holder) = Holder::of(self.replica, shown, swarm, in_force) else { return false };
        let definitions = self.board.since(self.replica, 0);
        let mut definitions = definitions.filter(|record| matches!(record.key, SlotKey::Of(_, SlotPart::Definition)));
        definitions.all(|record| {
            let seal = record.signature.as_ref().and_then(|seal| Seal::decode(seal).ok());
            seal.is_none_or(|seal| sealing.stands(&holder, form::of_slot(&record), record.seq, &seal))
        })
    }

    fn is_stale(&self, record: &Record, holder: &Holder, wall_ms: u64) -> bool {
        let Some(sealing) = &self.sealing else { return false };
        let form = form::of_record(record);
        match record.signature.as_ref().and_then(|seal| Seal::decode(seal).ok()) {
            Some(seal) => {
                !sealing.stands(holder, form, record.seq, &seal)
                    && sealing.stands(holder, form, record.seq, &sealing.now(seal, wall_ms))
            }
            None => true,
        }
    }

    /// Those of the roster's plane stand or fall with the definition, which keeps its stamp.
    fn is_stale_slot(&self, record: &SlotRecord, holder: &Holder, wall_ms: u64) -> bool {
        let Some(sealing) = &self.sealing else { return false };
        let form = form::of_slot(record);
        let is_fixed = form.0.plane() == Plane::Roster || form.0 == Kind::Definition;
        match record.signature.as_ref().and_then(|seal| Seal::decode(seal).ok()) {
            Some(_) if is_fixed => false,
            Some(seal) => {
                !sealing.stands(holder, form, record.seq, &seal)
                    && sealing.stands(holder, form, record.seq, &sealing.now(seal, wall_ms))
            }
            None => true,
        }
    }

    /// The slot's record of this replica, for [`super::super::Transaction::seal_anew`].
    pub(in crate::document) fn is_overridden_here(&self, slot: &Slot) -> bool {
        let own = self.lattice.entry(slot, self.replica);
        own.is_some_and(|entry| self.lattice.is_overridden(slot, self.replica, entry))
    }
}

impl Sealing {
    /// Goes on from what was known under an earlier authority.
    fn succeed(&mut self, old: Self) {
        (self.heads, self.signatures, self.ahead) = (old.heads, old.signatures, old.ahead);
    }

    /// The seal as it would be made at this time.
    fn now(&self, seal: Seal, wall_ms: u64) -> Seal {
        Seal { hlc: Hlc(wall_ms << 16), policy: self.authority.in_force.hash, ..seal }
    }

    /// True when a record of the open plane with this seal counts by what `holder` shows.
    fn stands(&self, holder: &Holder, form: form::Form, seq: u64, seal: &Seal) -> bool {
        let preimage: Preimage = self.preimage((holder.key, holder.salt), form, seq, &Standing::NOWHERE, seal);
        let verdict = judge(&preimage, &preimage.id(), &self.room, None, holder, &self.authority.in_force);
        matches!(verdict, Verdict::Valid | Verdict::Tentative)
    }
}
