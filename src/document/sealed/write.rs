//! Sealing what this replica writes.

use super::{
    Sealing,
    authority::Signer,
    form::{self, Form},
    known::{Head, Standing},
};
use bytes::Bytes;

use crate::{
    document::{Document, DocumentError, Record, SlotRecord, records::Slot, slots::Board},
    id::ReplicaId,
    time::Hlc,
    trust::record::Seal,
};

/// Which of two numberings a record is in: the position of its head.
const RECORDS: usize = 0;
const COORDINATION: usize = 1;

impl Document {
    /// # Errors
    /// `Unsigned` where records have to be signed and this replica has nothing to sign with.
    pub(in crate::document) fn check_signer(&self) -> Result<(), DocumentError> {
        match &self.sealing {
            Some(sealing) if sealing.authority.signer.is_none() => {
                Err(DocumentError::Unsigned { document: self.id.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Seals records of this replica that are in the document, by growing number.
    pub(in crate::document) fn seal_records(&mut self, records: &mut [Record], wall_ms: u64) {
        let Some(sealing) = &mut self.sealing else { return };
        let own = self.replica;
        for record in records {
            // A record that is sealed anew keeps its own stamp.
            let stamp = record.hlc.max(Hlc(wall_ms << 16));
            let Some(seal) = sealing.seal(RECORDS, form::of_record(record), record.seq, None, stamp) else { return };
            record.signature = Some(seal.into());
            let slot = Slot { kind: record.kind, key: record.key.clone() };
            if let Some(mut entry) = self.lattice.swap(own, &slot, None) {
                entry.signature = record.signature.as_deref().map(Into::into);
                self.lattice.swap(own, &slot, Some(entry));
            }
        }
    }

    /// Seals a coordination record of this replica.
    pub(in crate::document) fn seal_slot(&mut self, record: &mut SlotRecord, wall_ms: u64) {
        let Some(sealing) = &mut self.sealing else { return };
        let stamp = self.clock.stamp(wall_ms);
        // Without standing it is sealed all the same: others will say why it does not count.
        let standing = sealing.place(self.replica, record, &self.board).ok();
        let seal = sealing.seal(COORDINATION, form::of_slot(record), record.seq, standing, stamp);
        record.signature = seal.map(Into::into);
    }
}

impl Sealing {
    fn seal(
        &mut self,
        numbering: usize,
        form: Form,
        seq: u64,
        standing: Option<Standing>,
        stamp: Hlc,
    ) -> Option<Vec<u8>> {
        let standing = standing.unwrap_or(Standing::NOWHERE);
        let Signer { key, salt, tier, .. } = self.authority.signer.as_ref()?;
        let Head { id: previous, hlc } = self.heads[numbering];
        let seat = standing.circle.and_then(|circle| circle.tier);
        let blank = Seal {
            previous,
            // Along a writer's chain stamps do not go back.
            hlc: stamp.max(hlc),
            policy: self.authority.in_force.hash,
            tier: seat.unwrap_or(*tier),
            signature: [0; 64],
        };
        let preimage = self.preimage((key.public(), *salt), form, seq, &standing, &blank);
        let seal = Seal::sign(&preimage, key);
        self.heads[numbering] = Head { id: preimage.id(), hlc: blank.hlc };
        Some(seal.encode())
    }

    /// Goes on from the last records of this replica that are here. Where the last one is gone, the next names none.
    pub(super) fn resume(&mut self, own: ReplicaId, record: Option<&Record>, slot: Option<&SlotRecord>, board: &Board) {
        let Some((key, salt)) = self.authority.signer.as_ref().map(|signer| (signer.key.public(), signer.salt)) else {
            return;
        };
        let seal_of = |bytes: &Option<Bytes>| Seal::decode(bytes.as_ref()?).ok();
        if let Some(record) = record
            && let Some(seal) = seal_of(&record.signature)
        {
            let preimage = self.preimage((key, salt), form::of_record(record), record.seq, &Standing::NOWHERE, &seal);
            self.heads[RECORDS] = Head { id: preimage.id(), hlc: seal.hlc };
        }
        if let Some(record) = slot
            && let Some(seal) = seal_of(&record.signature)
            && let Ok(standing) = self.place(own, record, board)
        {
            let preimage = self.preimage((key, salt), form::of_slot(record), record.seq, &standing, &seal);
            self.heads[COORDINATION] = Head { id: preimage.id(), hlc: seal.hlc };
        }
    }
}
