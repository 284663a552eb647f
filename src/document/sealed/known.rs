//! What a sealed document remembers: who its writers are, who sits where, which signatures were verified.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{SealedSeats, Signing, form::Form};
use crate::{
    document::{Incoming, Record, SlotKey, SlotPart, SlotRecord, slots::Board},
    id::{DocumentId, ObjectId, ReplicaId},
    limits,
    time::Hlc,
    trust::{
        key::PublicKey,
        record::{
            Circle, Holder, Invalid, NO_SEAT, Preimage, RecordId, Seal, ShownCredentials, SignatureCache, room_hash,
        },
    },
};

/// Definitions kept decoded.
const DEFINED_MAX: usize = 1_024;
/// Credentials kept judged that are in no document yet: those of a catch-up, which is looked at more than once.
const MET_MAX: usize = 1_024;

/// The last record of a writer in one numbering.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    pub(super) id: RecordId,
    pub(super) hlc: Hlc,
}

/// A definition that is here, as slots are checked against it.
#[derive(Debug)]
pub(super) struct Defined {
    body: Bytes,
    hash: [u8; 32],
    stamp: Hlc,
    seats: SealedSeats,
}

/// Where a record stands: what of its place is signed, and what its definition says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) definition: [u8; 32],
    pub(super) generation: u64,
    pub(super) seat: u16,
    pub(super) circle: Option<Circle>,
}

impl Standing {
    pub(super) const NOWHERE: Self = Self { definition: [0; 32], generation: 0, seat: NO_SEAT, circle: None };
}

/// Why a record has no standing: it will never have one, or not yet.
pub(super) enum Unplaced {
    Never(Invalid),
    Yet,
}

/// The state of a document whose records are signed.
#[derive(Debug)]
pub(in crate::document) struct Sealing {
    pub(super) authority: Arc<Signing>,
    pub(super) room: DocumentId,
    pub(super) room_hash: [u8; 32],
    /// Our own last records: of the others, then of coordination.
    pub(super) heads: [Head; 2],
    pub(super) signatures: SignatureCache,
    /// What is stamped ahead of our clock, and when it is not any more.
    pub(super) ahead: VecDeque<(u64, Incoming)>,
    /// By writer, as of the record in the document that shows its credentials.
    holders: BTreeMap<ReplicaId, (Bytes, Option<Arc<Holder>>)>,
    /// By writer and bytes, of what is not in the document: anybody may have sent it.
    met: BTreeMap<[u8; 32], Option<Arc<Holder>>>,
    defined: BTreeMap<ObjectId, Arc<Defined>>,
}

impl Sealing {
    pub(super) fn new(authority: Arc<Signing>, room: DocumentId) -> Self {
        Self {
            authority,
            room_hash: room_hash(&room),
            room,
            heads: Default::default(),
            signatures: SignatureCache::default(),
            ahead: VecDeque::new(),
            holders: BTreeMap::new(),
            met: BTreeMap::new(),
            defined: BTreeMap::new(),
        }
    }

    /// Who a writer is by what it has shown here.
    pub(super) fn holder(&mut self, writer: ReplicaId, board: &Board) -> Option<Arc<Holder>> {
        let (shown, _) = board.sealed(SlotKey::Credential, writer)?;
        if let Some((_, holder)) = self.holders.get(&writer).filter(|(known, _)| known == shown) {
            return holder.clone();
        }
        let holder = self.judged(writer, shown);
        if self.holders.len() >= limits::DOCUMENT_WRITERS {
            self.holders.clear();
        }
        self.holders.insert(writer, (shown.clone(), holder.clone()));
        holder
    }

    /// Who a writer is by a record that may not be in the document yet.
    pub(super) fn meet(&mut self, writer: ReplicaId, shown: &[u8]) -> Option<Arc<Holder>> {
        let at = Sha256::new().chain_update(writer.get().to_be_bytes()).chain_update(shown).finalize().into();
        if let Some(known) = self.met.get(&at) {
            return known.clone();
        }
        let holder = self.judged(writer, shown);
        if self.met.len() >= MET_MAX {
            self.met.clear();
        }
        self.met.insert(at, holder.clone());
        holder
    }

    fn judged(&self, writer: ReplicaId, shown: &[u8]) -> Option<Arc<Holder>> {
        let Signing { swarm, in_force, .. } = &*self.authority;
        let shown = ShownCredentials::decode(shown).ok()?;
        Holder::of(writer, &shown, swarm, in_force).map(Arc::new)
    }

    /// The definition of an object.
    fn defined(&mut self, object: ObjectId, board: &Board) -> Option<Arc<Defined>> {
        let (body, seal) = board.sealed(SlotKey::Of(object, SlotPart::Definition), object.holder)?;
        if let Some(known) = self.defined.get(&object).filter(|known| known.body == *body) {
            return Some(Arc::clone(known));
        }
        let stamp = Seal::decode(seal?).ok()?.hlc;
        let seats = self.authority.seating.seats(object, body)?;
        let defined = Arc::new(Defined { body: body.clone(), hash: Sha256::digest(body).into(), stamp, seats });
        if self.defined.len() >= DEFINED_MAX {
            self.defined.clear();
        }
        self.defined.insert(object, Arc::clone(&defined));
        Some(defined)
    }

    /// Where a coordination record of `writer` stands.
    pub(super) fn place(
        &mut self,
        writer: ReplicaId,
        record: &SlotRecord,
        board: &Board,
    ) -> Result<Standing, Unplaced> {
        let SlotKey::Of(object, part) = record.key else { return Ok(Standing::NOWHERE) };
        let about = match part {
            SlotPart::Definition | SlotPart::Item => {
                let holds = writer == object.holder;
                return if holds { Ok(Standing::NOWHERE) } else { Err(Unplaced::Never(Invalid::Holder)) };
            }
            SlotPart::Slot | SlotPart::Payload | SlotPart::Mark => object,
            SlotPart::Claim => {
                let item = board.get(SlotKey::Of(object, SlotPart::Item), object.holder);
                let queue = item.and_then(|item| self.authority.seating.queue(item));
                queue.ok_or(Unplaced::Yet)?
            }
        };
        let defined = self.defined(about, board).ok_or(Unplaced::Yet)?;
        let seats = &defined.seats.seats;
        let seated =
            seats.binary_search_by_key(&writer, |(seated, ..)| *seated).ok().map(|at| (seats[at].1, seats[at].2));
        let circle = |tier| Some(Circle { stamp: defined.stamp, tier });
        if part != SlotPart::Slot {
            return Ok(Standing { circle: circle(seated.and_then(|(_, tier)| tier)), ..Standing::NOWHERE });
        }
        let seatless = || Unplaced::Never(Invalid::Seat);
        let place = self.authority.seating.place(&record.body).ok_or_else(seatless)?;
        if place.fingerprint != defined.seats.fingerprint {
            return Err(Unplaced::Yet);
        }
        let came_later =
            || place.added.iter().find(|(added, _)| *added == writer).map(|(_, tier)| (NO_SEAT, Some(*tier)));
        let (seat, tier) = seated.or_else(came_later).ok_or_else(seatless)?;
        Ok(Standing { definition: defined.hash, generation: place.generation, seat, circle: circle(tier) })
    }

    /// The preimage of a record whose seal says this.
    pub(super) fn preimage(
        &self,
        (key, incarnation): (PublicKey, u64),
        form: Form,
        seq: u64,
        standing: &Standing,
        seal: &Seal,
    ) -> Preimage {
        let (kind, body_len, body_hash) = form;
        Preimage {
            kind,
            swarm: self.authority.swarm,
            room: self.room_hash,
            definition: standing.definition,
            generation: standing.generation,
            seat: standing.seat,
            key,
            incarnation,
            seq,
            previous: seal.previous,
            hlc: seal.hlc,
            tier: seal.tier,
            policy: seal.policy,
            body_len,
            body_hash,
        }
    }

    /// A record's name, when it is signed and its writer known.
    pub(in crate::document) fn record_id(
        &mut self,
        writer: ReplicaId,
        record: &Record,
        board: &Board,
    ) -> Option<RecordId> {
        self.signed_record(writer, record, board).map(|(preimage, _)| preimage.id())
    }

    pub(super) fn signed_record(
        &mut self,
        writer: ReplicaId,
        record: &Record,
        board: &Board,
    ) -> Option<(Preimage, Seal)> {
        let seal = Seal::decode(record.signature.as_ref()?).ok()?;
        let holder = self.holder(writer, board)?;
        let form = super::form::of_record(record);
        Some((self.preimage((holder.key, holder.salt), form, record.seq, &Standing::NOWHERE, &seal), seal))
    }

    pub(super) fn signed_slot(
        &mut self,
        writer: ReplicaId,
        record: &SlotRecord,
        board: &Board,
    ) -> Option<(Preimage, Seal)> {
        let seal = Seal::decode(record.signature.as_ref()?).ok()?;
        let holder = match record.key {
            SlotKey::Credential => self.meet(writer, &record.body)?,
            _ => self.holder(writer, board)?,
        };
        let standing = self.place(writer, record, board).ok()?;
        Some((
            self.preimage((holder.key, holder.salt), super::form::of_slot(record), record.seq, &standing, &seal),
            seal,
        ))
    }

    /// As [`Self::record_id`], of a coordination record.
    pub(in crate::document) fn slot_id(
        &mut self,
        writer: ReplicaId,
        record: &SlotRecord,
        board: &Board,
    ) -> Option<RecordId> {
        self.signed_slot(writer, record, board).map(|(preimage, _)| preimage.id())
    }
}
