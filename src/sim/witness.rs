//! What nodes know and tell of coordination, looked at after every step and compared with what was done.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Sabotage,
    told::{Kept, Told},
    world::World,
};
use crate::{
    coordination::{
        epoch::frontier,
        kernel::Slot,
        meeting::Meeting,
        object::{Purpose, decode_slot, encode_slot},
        standing::Standing,
    },
    document::{Delta, Document, SlotKey, SlotPart, Version},
    id::{ObjectId, ReplicaId},
    time::Moment,
};

/// Generations looked back at: more than a participant keeps are not to be had.
const BACK: u64 = 4;

/// What one process was last seen to know of one document's objects.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Those of which something is new, and since when: it cannot be looked at while the document is away.
    pub(super) stirred: BTreeMap<ObjectId, u64>,
    version: Version,
    /// What it was told for good.
    standings: BTreeMap<(ObjectId, u64), Standing>,
    frontiers: BTreeMap<ObjectId, u64>,
    closed: BTreeSet<ObjectId>,
}

impl Seen {
    /// The document is closed: what its replica knows begins again from the disk.
    pub(super) fn forget(&mut self) {
        self.frontiers.clear();
        self.standings.clear();
    }
}

/// One look at one object.
struct Look<'a> {
    me: ReplicaId,
    moment: Moment,
    now: u64,
    told: &'a mut Told,
    seen: &'a mut Seen,
}

impl World {
    /// Looks at what has changed in a host.
    pub(super) fn witness(&mut self, host: usize) {
        if !self.plan.coordination {
            return;
        }
        for index in 0..self.documents.len() {
            if let Err(what) = self.witness_document(host, index) {
                let what = format!("{} in `{}`: {what}", self.hosts[host].agent, self.documents[index]);
                return self.fail(what);
            }
        }
    }

    fn witness_document(&mut self, host: usize, index: usize) -> Kept {
        let Self { hosts, told, documents, now, .. } = self;
        let it = &mut hosts[host];
        let (moment, me) = (it.moment(*now), it.replica());
        let Some(node) = &it.node else { return Ok(()) };
        let moved = node.read(&documents[index], |document| {
            let version = document.version();
            (it.seen_of[index].version != *version).then(|| version.clone())
        });
        let Ok(moved) = moved else { return Ok(()) };
        let stirred = std::mem::take(&mut it.seen_of[index].stirred);
        if moved.is_none() && stirred.is_empty() {
            return Ok(());
        }
        let mut look = Look { me, moment, now: *now, told: &mut told[index], seen: &mut it.seen_of[index] };
        if let Some(version) = moved {
            look.seen.version = version;
            node.read(&documents[index], |document| look.board(document)).map_err(|error| error.to_string())??;
        }
        let known = node.meetings(&documents[index], |all, _| all.map(Meeting::object).collect::<BTreeSet<_>>());
        for object in known.unwrap_or_default().union(&stirred.keys().copied().collect()) {
            let looked = node.meeting(&documents[index], *object, |meeting, document| {
                look.meeting(meeting, document, stirred.get(object).copied())
            });
            looked.unwrap_or(Ok(())).map_err(|what| format!("{object}: {what}"))?;
        }
        Ok(())
    }
}

impl Look<'_> {
    /// What is finished is gone, and stays so.
    fn board(&mut self, document: &Document) -> Kept {
        let closed = document.closed();
        let back = document.slots().find_map(|(key, _, _)| key.object().filter(|object| closed.contains(*object)));
        if let Some(object) = back {
            return Err(format!("G: records of {object} are here, which is finished"));
        }
        for object in self.told.objects.keys().copied().collect::<Vec<_>>() {
            if closed.contains(object) {
                if self.seen.closed.insert(object) {
                    self.told.closed(object)?;
                }
            } else if self.seen.closed.contains(&object) {
                return Err(format!("G: {object} was finished and is no longer"));
            }
        }
        Ok(())
    }

    fn meeting(&mut self, meeting: &Meeting, document: &Document, stirred: Option<u64>) -> Kept {
        let object = meeting.object();
        let barrier = meeting.barrier();
        let current = barrier.generation();
        if let Some(since) = stirred {
            let fingerprint = meeting.plan().fingerprint();
            let slots: Vec<(ReplicaId, Slot)> = document
                .slots_of(object)
                .filter(|(part, _, _)| *part == SlotPart::Slot)
                .filter_map(|(_, writer, body)| Some((writer, decode_slot(fingerprint, body).ok()??)))
                .collect();
            self.told.saw(object, self.me, barrier.view().roster(), &slots, since, self.now)?;
        }
        for generation in current.saturating_sub(BACK)..=current {
            let standing = meeting.standing(document, generation, self.moment.mono);
            self.standing(meeting, document, generation, standing)?;
        }
        if let Some(outcome) = meeting.poll_outcome() {
            self.told.polled(object, outcome)?;
        }
        if let Some(value) = meeting.decided() {
            self.told.decided(object, value)?;
        }
        if matches!(meeting.plan().purpose, Purpose::Epoch { .. }) {
            let reached = frontier(barrier);
            let before = self.seen.frontiers.insert(object, reached).unwrap_or(0);
            if reached < before {
                return Err(format!("E1: the frontier was {before} and is {reached}"));
            }
            if barrier.view().roster().members() > 0 {
                self.told.frontier(object, reached)?;
            }
        }
        Ok(())
    }

    fn standing(&mut self, meeting: &Meeting, document: &Document, generation: u64, standing: Standing) -> Kept {
        let object = meeting.object();
        let known = self.seen.standings.get(&(object, generation));
        // Without a seat it keeps nothing of its own: after a restart it may have to learn again what it had seen.
        let looks_on = meeting.barrier().roster_of(generation).is_none_or(|roster| roster.seat_of(self.me).is_none());
        let forgotten =
            matches!(standing, Standing::Superseded { .. } | Standing::Closed) || looks_on && !standing.is_final();
        if let Some(known) = known.filter(|known| **known != standing && !forgotten) {
            return Err(format!("B4: told {standing:?} of generation {generation}, before it was {known:?}"));
        }
        let roster = meeting.barrier().roster_of(generation);
        if standing == Standing::Closed
            && let Some(roster) = roster
            && roster.seat_of(self.me).is_some_and(|seat| seat < roster.members())
            && !self.told.objects.get(&object).is_none_or(|noted| noted.gone)
        {
            return Err(format!("L3: generation {generation} was decided, and a member is not told how"));
        }
        if known.is_some() || forgotten || !standing.is_final() {
            return Ok(());
        }
        if let Some(roster) = roster {
            self.told.told(object, roster, self.me, &standing, self.now)?;
        }
        if let Standing::Released(outcome) = &standing {
            self.told.fenced(object, self.me, outcome, document.version())?;
        }
        self.seen.standings.insert((object, generation), standing);
        Ok(())
    }
}

impl World {
    /// After a crash: what a replica that comes back under its old number has forgotten, nobody else knows.
    pub(super) fn check_forgotten(&mut self, host: usize, index: usize, kept: Option<&Document>) -> Kept {
        let me = self.hosts[host].replica();
        let wrote = kept.map_or(0, |kept| kept.version().slots.get(me));
        for other in self.hosts.iter().filter(|other| other.agent != self.hosts[host].agent) {
            let Some(node) = &other.node else { continue };
            let theirs = node.read(&self.documents[index], |document| document.version().slots.get(me));
            if theirs.is_ok_and(|theirs| theirs > wrote) {
                let agent = &self.hosts[host].agent;
                return Err(format!(
                    "{agent} comes back as {me} without coordination records that {} has",
                    other.agent
                ));
            }
        }
        let objects = self.told[index].objects.iter().map(|(object, noted)| (*object, noted.fingerprint));
        let objects: Vec<(ObjectId, u64)> = objects.collect();
        for (object, fingerprint) in objects {
            if kept.is_some_and(|kept| kept.closed().contains(object)) {
                continue;
            }
            let record = |part| kept.and_then(|kept| kept.slot(SlotKey::Of(object, part), me));
            if object.holder == me && record(SlotPart::Definition).is_none() {
                self.told[index].objects.remove(&object);
                continue;
            }
            let slot = record(SlotPart::Slot).and_then(|body| decode_slot(fingerprint, body).ok().flatten());
            self.told[index].forget(object, me, slot.as_ref());
        }
        Ok(())
    }
}

/// What coordination records become under sabotage.
pub(super) fn forged(mut delta: Delta, sabotage: Sabotage) -> Delta {
    for run in &mut delta.slots {
        if sabotage == Sabotage::ForgetClosed {
            run.records.retain(|record| record.key != SlotKey::Closed);
        }
        for record in &mut run.records {
            let Some((fingerprint, body)) = record.body.split_first_chunk::<8>() else { continue };
            let (SlotKey::Of(_, SlotPart::Slot), Ok(mut slot), true) =
                (record.key, Slot::decode(body), sabotage == Sabotage::ForgeOutcome)
            else {
                continue;
            };
            slot.latched.tiers.insert(0);
            record.body = encode_slot(u64::from_be_bytes(*fingerprint), &slot).into();
        }
    }
    delta
}
