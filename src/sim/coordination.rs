//! What applications do with barriers and their kin: they begin objects of every kind, come or stay away, and go on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Sabotage, world::World};
use crate::{
    coordination::{
        kernel::{Definition, Gate, OnShortfall, Own, Seat, Tier, TierPolicy},
        meeting::Meeting,
        object::{Plan, Purpose},
        participant::ParticipantError,
        standing::Standing,
    },
    id::{DocumentId, ObjectId},
    node::{Arriving, NodeError},
    time::Dice,
};

/// Objects of a document that are open at once, as far as its application knows.
const OPEN_MAX: usize = 3;

/// What an application finds when it looks at an object.
struct Found {
    plan: Arc<Plan>,
    generation: u64,
    /// It is a member and has not spoken in this generation.
    may_speak: bool,
    /// It was released and has not said that it acted on it.
    owes: bool,
    members: Vec<Seat>,
}

impl World {
    /// One thing some application does with an object, or the beginning of one.
    pub(super) fn coordination_step(&mut self, host: usize, document: usize) {
        if self.plan.inquires() && self.dice.chance(10) {
            return self.inquire(host, document);
        }
        let open = self.objects_at(host, document);
        if open.len() < OPEN_MAX && self.dice.chance(if open.is_empty() { 60 } else { 12 }) {
            return self.begin(host, document);
        }
        if open.is_empty() {
            return;
        }
        let object = open[self.dice.below(open.len() as u64) as usize];
        match self.dice.below(100) {
            0..=1 => self.clean_up(host, document, object),
            2..=5 => self.decline(host, document, object),
            6..=30 => self.acknowledge(host, document, object),
            _ => self.attend(host, document, object),
        }
    }

    /// The objects an application knows of that are not finished.
    pub(super) fn objects_at(&self, host: usize, document: usize) -> Vec<ObjectId> {
        let Some(node) = &self.hosts[host].node else { return Vec::new() };
        node.meetings(&self.documents[document], |all, _| all.map(Meeting::object).collect()).unwrap_or_default()
    }

    fn begin(&mut self, host: usize, document: usize) {
        let number = self.told[document].objects.len();
        let creator = self.hosts[host].agent.clone();
        let seats: Vec<Seat> = self
            .hosts
            .iter()
            .map(|it| Seat { agent: it.agent.clone(), replica: it.replica(), tier: Tier::ALPHA })
            .collect();
        let id = self.documents[document].clone();
        let drawn = draw(&mut self.dice, &id, &seats);
        let (moment, sabotage) = (self.hosts[host].moment(self.now), self.plan.sabotage);
        let (mut asked, mut fingerprint) = (None, 0);
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        let begun = node.define(
            &id,
            |origin| {
                let mut plan = drawn;
                plan.definition.name = format!("object-{number}");
                plan.definition.creator = creator;
                plan.definition.origin = origin;
                asked = Some(plan.clone());
                sabotage.into_iter().for_each(|sabotage| spoil(&mut plan, sabotage));
                fingerprint = plan.fingerprint();
                plan
            },
            moment,
        );
        match (begun, asked) {
            (Ok(object), Some(plan)) if plan.object() == object => {
                self.trace.note(
                    self.now,
                    &[40, host as u64, object.number],
                    format_args!("{host} begins {object} in document {document}: {plan:?}"),
                );
                let kept = self.told[document].began(Arc::new(plan), fingerprint);
                self.keep(kept);
            }
            (result, _) => self.refused(result.map(drop)),
        }
    }

    /// The application comes, unless it has spoken already or has no seat.
    pub(super) fn attend(&mut self, host: usize, document: usize, object: ObjectId) {
        let Some(found) = self.find(host, document, object).filter(|found| found.may_speak) else { return };
        let id = self.documents[document].clone();
        let moment = self.hosts[host].moment(self.now);
        let me = self.hosts[host].replica();
        let arriving = self.arriving(&found);
        let (vote, payload) = (self.dice.below(2) as u32, arriving.payload.clone());
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        let written = node.read(&id, |document| {
            let version = document.version();
            (version.content.get(me), version.records.get(me))
        });
        let is_poll = matches!(found.plan.purpose, Purpose::Poll { .. });
        let arrived = match is_poll {
            true => node.vote(&id, object, vote, moment),
            false => node.arrive(&id, object, arriving, moment),
        };
        self.touch(host);
        let (Ok(generation), Ok(written)) = (&arrived, written) else {
            return self.refused(arrived.map(drop));
        };
        self.trace.note(
            self.now,
            &[41, host as u64, object.number, *generation],
            format_args!("{host} arrives in generation {generation} of {object}"),
        );
        // A vote names no content to wait for.
        let written = if is_poll { (0, 0) } else { written };
        let mut kept = self.told[document].arrived(object, *generation, me, written);
        if is_poll {
            kept = kept.and_then(|()| self.told[document].voted(object, me, vote));
        } else if let Some(payload) = payload {
            kept = kept.and_then(|()| self.told[document].proposed(object, me, payload));
        }
        self.keep(kept);
    }

    /// Now and then somebody leaves, or brings somebody who has no seat.
    fn arriving(&mut self, found: &Found) -> Arriving {
        let mut arriving = Arriving::default();
        if matches!(found.plan.purpose, Purpose::Decision) && self.dice.chance(80) {
            arriving.payload = Some(Bytes::copy_from_slice(&self.dice.bits().to_le_bytes()));
        }
        if found.plan.is_once() {
            return arriving;
        }
        arriving.leave = found.members.len() > 2 && self.dice.chance(5);
        let stranger = 1 + self.dice.below(self.plan.agents as u64) as usize;
        let Some(it) = self.hosts.get(stranger) else { return arriving };
        let tiers = &found.plan.definition.tiers;
        let tier = tiers[self.dice.below(tiers.len() as u64) as usize].tier;
        if self.dice.chance(10) && !found.members.iter().any(|seat| seat.replica == it.replica()) {
            arriving.sponsored.push(Seat { agent: it.agent.clone(), replica: it.replica(), tier });
        }
        arriving
    }

    fn decline(&mut self, host: usize, document: usize, object: ObjectId) {
        if self.find(host, document, object).is_none_or(|found| !found.may_speak) {
            return;
        }
        let moment = self.hosts[host].moment(self.now);
        let me = self.hosts[host].replica();
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        match node.decline(&self.documents[document], object, moment) {
            Ok(generation) => {
                self.trace.note(self.now, &[42, host as u64, generation], format_args!("{host} declines {object}"));
                let kept = self.told[document].declined(object, generation, me);
                self.keep(kept);
            }
            Err(error) => self.refused(Err(error)),
        }
    }

    /// The application has acted on its release, if it was released.
    pub(super) fn acknowledge(&mut self, host: usize, document: usize, object: ObjectId) {
        let Some(found) = self.find(host, document, object).filter(|found| found.owes) else { return };
        let moment = self.hosts[host].moment(self.now);
        let me = self.hosts[host].replica();
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        match node.acknowledge(&self.documents[document], object, moment) {
            Ok(()) => {
                self.trace.note(self.now, &[43, host as u64], format_args!("{host} has acted on {object}"));
                let kept = self.told[document].acknowledged(object, found.generation, me);
                self.keep(kept);
                self.touch(host);
            }
            Err(error) => {
                self.trace.note(self.now, &[], format_args!("{host} cannot acknowledge {object}: {error}"));
                self.refused(Err(error));
            }
        }
    }

    /// Finishes an object for everybody.
    pub(super) fn clean_up(&mut self, host: usize, document: usize, object: ObjectId) {
        let moment = self.hosts[host].moment(self.now);
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        let cleaned = node.clean_up(&self.documents[document], object, moment);
        self.trace.note(self.now, &[44, host as u64, object.number], format_args!("{host} cleans {object} up"));
        if let (Ok(()), Some(noted)) = (&cleaned, self.told[document].objects.get_mut(&object)) {
            noted.gone = true;
        }
        self.refused(cleaned);
        self.touch(host);
    }

    fn find(&self, host: usize, document: usize, object: ObjectId) -> Option<Found> {
        let it = &self.hosts[host];
        let moment = it.moment(self.now);
        let look = |meeting: &Meeting, document: &crate::document::Document| {
            let barrier = meeting.barrier();
            let (roster, generation) = (barrier.view().roster(), barrier.generation());
            let member = barrier.seat().is_some_and(|seat| seat < roster.members());
            let own = (barrier.durable().generation == generation).then_some(&barrier.durable().own);
            let standing = meeting.standing(document, generation, moment.mono);
            let released = matches!(standing, Standing::Released(_));
            let asks = meeting.plan().definition.gate == Gate::Acked;
            Found {
                plan: Arc::clone(meeting.plan()),
                generation,
                may_speak: member
                    && (own.is_none_or(|own| *own == Own::Unset) || released && !meeting.plan().is_once()),
                owes: asks && member && released && !barrier.durable().acked,
                members: roster.seats()[..roster.members()].to_vec(),
            }
        };
        it.node.as_ref()?.meeting(&self.documents[document], object, look).ok()
    }

    /// Notes a broken promise.
    pub(super) fn keep(&mut self, kept: super::told::Kept) {
        if let Err(what) = kept {
            self.fail(what);
        }
    }

    /// What an application may be told when it is too early or too late.
    fn refused(&mut self, result: Result<(), NodeError>) {
        match result {
            Ok(())
            | Err(NodeError::Busy { .. } | NodeError::NotOpen { .. } | NodeError::NameTaken { .. })
            | Err(NodeError::Participant(ParticipantError::Unknown { .. } | ParticipantError::Barrier(_))) => {}
            Err(error) => self.fail(format!("coordination was refused: {error}")),
        }
    }
}

/// A plan of any kind over some of the agents; who begins it, where and under which number is still open. The relay may
/// be an elector.
fn draw(dice: &mut Dice, document: &DocumentId, seats: &[Seat]) -> Plan {
    let agents = &seats[1..];
    let mut members: Vec<Seat> = agents.iter().filter(|_| dice.chance(80)).cloned().collect();
    if members.is_empty() {
        members.push(agents[0].clone());
    }
    let ranks = 1 + dice.below(3);
    for seat in &mut members {
        seat.tier = Tier(u8::try_from(dice.below(ranks)).unwrap_or(0));
    }
    members.sort_by_key(|seat| seat.tier);
    let electors: Vec<Seat> = match dice.chance(25) {
        true => seats
            .iter()
            .enumerate()
            .filter(|(at, _)| *at == 0 || dice.chance(60))
            .map(|(_, seat)| seat.clone())
            .collect(),
        false => Vec::new(),
    };
    let acceptors = if electors.is_empty() { members.len() } else { electors.len() };
    let most = u32::try_from((acceptors - 1) / 2).unwrap_or(0);
    let mut tiers: Vec<TierPolicy> = Vec::new();
    for seat in &members {
        if tiers.last().is_none_or(|policy| policy.tier != seat.tier) {
            let size = members.iter().filter(|other| other.tier == seat.tier).count() as u64;
            tiers.push(TierPolicy {
                tier: seat.tier,
                timeout: Duration::from_millis(300 + dice.below(3_000)),
                min: u32::try_from(dice.below(size + 1)).unwrap_or(0),
                on_shortfall: [OnShortfall::Wait, OnShortfall::Proceed, OnShortfall::Break][dice.below(3) as usize],
            });
        }
    }
    let definition = Definition {
        document: document.clone(),
        name: String::new(),
        creator: agents[0].agent.clone(),
        origin: ObjectId { holder: agents[0].replica, number: 1 },
        tolerate: [0, most.min(1), most][dice.below(3) as usize],
        electors,
        tiers,
        gate: if dice.chance(70) { Gate::Decided } else { Gate::Acked },
        fence: dice.chance(50),
        members,
    };
    let purpose = purpose(dice, definition.members.len());
    Plan { definition, purpose }
}

fn purpose(dice: &mut Dice, members: usize) -> Purpose {
    match dice.below(10) {
        0..=2 => Purpose::Barrier { once: true },
        3..=5 => Purpose::Barrier { once: false },
        6 | 7 => Purpose::Epoch { phases: vec!["play".to_owned(), "listen".to_owned()] },
        8 => {
            let weights: Vec<u32> = (0..members).map(|_| 1 + u32::try_from(dice.below(3)).unwrap_or(0)).collect();
            let weight: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let threshold = weight / 2 + 1 + dice.below(weight - weight / 2);
            let options = vec!["fast".to_owned(), "slow".to_owned()];
            Purpose::Poll { options, weights, threshold, closable: dice.chance(50) }
        }
        _ => Purpose::Decision,
    }
}

/// Nodes get another plan than the application asked for.
fn spoil(plan: &mut Plan, sabotage: Sabotage) {
    match sabotage {
        Sabotage::IgnoreFence => plan.definition.fence = false,
        Sabotage::IgnoreGate => plan.definition.gate = Gate::Decided,
        Sabotage::HastyTimers => {
            plan.definition.tiers.iter_mut().for_each(|policy| policy.timeout /= 4);
        }
        _ => {}
    }
}
