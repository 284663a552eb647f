//! What was done and told in coordination, kept outside of all nodes, and what must hold of it. A complaint begins with
//! the letter of the guarantee that is broken (`docs/guarantees.md`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    coordination::{
        kernel::{Gate, OnShortfall, Own, Roster, Seat, Slot, TierPolicy},
        object::{Plan, Purpose},
        poll::PollOutcome,
        standing::{Ending, Outcome, Standing, TierResult},
    },
    document::Version,
    id::{AgentId, ObjectId, ReplicaId},
};

/// How long a document may be away to be worked on, and so unseen here, in microseconds: a few jobs in a row.
const UNSEEN_MAX: u64 = 100_000;

/// A promise kept, or how it was broken.
pub(super) type Kept = Result<(), String>;

/// All objects that applications have begun in one document.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) objects: BTreeMap<ObjectId, Object>,
}

/// One object.
#[derive(Debug)]
pub(super) struct Object {
    /// As its application asked for it.
    pub(super) plan: Arc<Plan>,
    /// Of the plan that nodes were given.
    pub(super) fingerprint: u64,
    /// An application has cleaned it up.
    pub(super) gone: bool,
    rounds: BTreeMap<u64, Round>,
    /// What voters voted for, and what proposers proposed.
    votes: BTreeMap<ReplicaId, u32>,
    proposals: BTreeMap<ReplicaId, Bytes>,
    polled: Option<PollOutcome>,
    decided: Option<Option<Bytes>>,
}

/// One generation of it.
#[derive(Debug, Default)]
struct Round {
    roster: Option<Arc<Roster>>,
    /// Who arrived, and what it had written by then: commits of content, and records.
    arrived: BTreeMap<ReplicaId, (u64, u64)>,
    declined: BTreeSet<ReplicaId>,
    acked: BTreeSet<ReplicaId>,
    /// Tiers, by position, in which a ballot was begun.
    balloted: BTreeSet<usize>,
    /// When each replica first had an arrival or a refusal in its document: its timers run from there, at the earliest.
    seen: BTreeMap<ReplicaId, u64>,
    told: Vec<TierResult>,
}

impl Round {
    fn spoke(&self, seat: &Seat) -> bool {
        self.arrived.contains_key(&seat.replica) || self.declined.contains(&seat.replica)
    }

    /// Everybody's roster of a generation is one.
    fn sits(&mut self, roster: &Arc<Roster>) -> Kept {
        let known = self.roster.get_or_insert_with(|| Arc::clone(roster));
        if known.seats() == roster.seats() {
            return Ok(());
        }
        Err(format!("B6: two rosters of one generation: {:?} and {:?}", known.seats(), roster.seats()))
    }

    /// Whether a tier can be decided: all have spoken, or a ballot was begun. The member that keeps it from it.
    fn unsettled<'a>(&self, roster: &'a Roster, tier: usize) -> Option<&'a Seat> {
        let balloted = self.balloted.contains(&tier);
        members(roster, tier).find(|seat| !balloted && !self.spoke(seat))
    }

    fn check_result(&self, plan: &Plan, roster: &Roster, result: &TierResult, now: u64) -> Kept {
        let at = roster.tiers().iter().position(|seats| seats.tier == result.tier);
        let (Some(at), Some(policy)) = (at, plan.definition.policy(result.tier)) else {
            return Err(format!("B1: there is no {}", result.tier));
        };
        let mut named: Vec<&AgentId> = result.released.iter().chain(&*result.missing).collect();
        let mut all: Vec<&AgentId> = members(roster, at).map(|seat| &seat.agent).collect();
        named.sort();
        all.sort();
        if named != all {
            return Err(format!("B1: {result:?} does not account for {all:?}"));
        }
        let short = |names: &[AgentId], counts: &dyn Fn(&Seat) -> bool| {
            let missing = |agent: &&AgentId| {
                let found = members(roster, at).filter(|seat| seat.agent == **agent && counts(seat)).count();
                found < names.iter().filter(|name| name == agent).count()
            };
            names.iter().find(missing).cloned()
        };
        if let Some(agent) = short(&result.released, &|seat| self.arrived.contains_key(&seat.replica)) {
            return Err(format!("B2: {agent} is released in {result:?} without having arrived"));
        }
        if let Some(agent) = short(&result.missing, &|seat| self.declined.contains(&seat.replica)) {
            if !self.balloted.contains(&at) {
                return Err(format!("B3: {agent} is left out in {result:?} without any ballot"));
            }
            let timeout = micros(policy);
            let expired = |seat: &&usize| {
                let seen = self.seen.get(&roster.seats()[**seat].replica);
                seen.is_some_and(|seen| seen + timeout <= now + UNSEEN_MAX)
            };
            let (have, need) = (roster.acceptors().iter().filter(expired).count(), roster.rules().recovery);
            if have < need {
                return Err(format!("B9: {agent} is left out in {result:?} when {have} of {need} timers had run out"));
            }
        }
        check_ending(policy, result)
    }

    /// What the asker, by its seat, is told of its own and of higher tiers.
    fn check_member(&self, plan: &Plan, roster: &Roster, me: ReplicaId, standing: &Standing) -> Kept {
        let (outcome, released) = match standing {
            Standing::Released(outcome) => (outcome, true),
            Standing::Late(outcome) => (outcome, false),
            _ => return Ok(()),
        };
        let seat = roster.seat_of(me).filter(|seat| *seat < roster.members());
        let own = seat.and_then(|seat| roster.tier_of(seat)).unwrap_or(roster.tiers().len() - 1);
        let last = outcome.tiers.last();
        if last.map(|result| result.tier) != Some(roster.tiers()[own].tier) {
            return Err(format!("B5: {me} is told {outcome:?}, not of its own tier"));
        }
        if let (Some(seat), Some(result)) = (seat, last) {
            let agent = &roster.seats()[seat].agent;
            let named = if released { &result.released } else { &result.missing };
            if !named.contains(agent) {
                return Err(format!("B3: {agent} is told {standing:?}, which names it otherwise"));
            }
        }
        if released { self.check_gate(plan, roster, outcome, own) } else { Ok(()) }
    }

    fn check_gate(&self, plan: &Plan, roster: &Roster, outcome: &Outcome, own: usize) -> Kept {
        if outcome.tiers.len() != own + 1 {
            return Err(format!("B5: a release of tier {own} with {} outcomes", outcome.tiers.len()));
        }
        for (tier, result) in outcome.tiers.iter().enumerate() {
            if result.ending == Ending::Broken {
                return Err(format!("B5: released although a tier is broken: {result:?}"));
            }
            if let Some(seat) = self.unsettled(roster, tier) {
                return Err(format!("B5: tier {own} is released while tier {tier} waits for {}", seat.agent));
            }
            let waits = plan.definition.gate == Gate::Acked && tier < own;
            let owes = |seat: &&Seat| {
                let sole = roster.seats().iter().filter(|other| other.agent == seat.agent).count() == 1;
                sole && result.released.contains(&seat.agent) && !self.acked.contains(&seat.replica)
            };
            if let Some(seat) = members(roster, tier).find(owes).filter(|_| waits) {
                return Err(format!("B5: tier {own} is released before {} has acknowledged", seat.agent));
            }
        }
        Ok(())
    }
}

fn members(roster: &Roster, tier: usize) -> impl Iterator<Item = &Seat> {
    roster.tiers()[tier].members.iter().map(|seat| &roster.seats()[seat])
}

fn micros(policy: &TierPolicy) -> u64 {
    u64::try_from(policy.timeout.as_micros()).unwrap_or(u64::MAX)
}

fn check_ending(policy: &TierPolicy, result: &TierResult) -> Kept {
    // A tier that has shrunk asks for all it has.
    let enough = result.released.len() >= (policy.min as usize).min(result.released.len() + result.missing.len());
    let expected = match policy.on_shortfall {
        OnShortfall::Proceed if !enough => Ending::Shortfall,
        OnShortfall::Wait | OnShortfall::Break if !enough => Ending::Broken,
        _ if result.missing.is_empty() => Ending::Complete,
        _ => Ending::Degraded,
    };
    if result.ending == expected {
        return Ok(());
    }
    Err(format!("B7: {result:?} should be {expected:?}: at least {} are needed", policy.min))
}

impl Told {
    /// An application has begun an object.
    pub(super) fn began(&mut self, plan: Arc<Plan>, fingerprint: u64) -> Kept {
        let object = plan.object();
        let fresh = Object {
            plan,
            fingerprint,
            gone: false,
            rounds: BTreeMap::new(),
            votes: BTreeMap::new(),
            proposals: BTreeMap::new(),
            polled: None,
            decided: None,
        };
        match self.objects.insert(object, fresh) {
            Some(_) => Err(format!("G: the number of {object} is given out twice")),
            None => Ok(()),
        }
    }

    fn at(&mut self, object: ObjectId) -> Result<&mut Object, String> {
        self.objects.get_mut(&object).ok_or_else(|| format!("G: {object} is here, and nobody has begun it"))
    }

    /// A member has arrived, having written so much.
    pub(super) fn arrived(&mut self, object: ObjectId, generation: u64, who: ReplicaId, fence: (u64, u64)) -> Kept {
        let noted = self.at(object)?;
        if let Some(last) = generation.checked_sub(1) {
            noted.check_passed(last).map_err(|what| format!("B6: {who} arrives in generation {generation}, {what}"))?;
        }
        match noted.rounds.entry(generation).or_default().arrived.insert(who, fence) {
            Some(_) => Err(format!("B6: {who} arrives twice in generation {generation}")),
            None => Ok(()),
        }
    }

    pub(super) fn declined(&mut self, object: ObjectId, generation: u64, who: ReplicaId) -> Kept {
        self.at(object)?.rounds.entry(generation).or_default().declined.insert(who);
        Ok(())
    }

    pub(super) fn acknowledged(&mut self, object: ObjectId, generation: u64, who: ReplicaId) -> Kept {
        self.at(object)?.rounds.entry(generation).or_default().acked.insert(who);
        Ok(())
    }

    pub(super) fn voted(&mut self, object: ObjectId, who: ReplicaId, option: u32) -> Kept {
        self.at(object)?.votes.insert(who, option);
        Ok(())
    }

    pub(super) fn proposed(&mut self, object: ObjectId, who: ReplicaId, value: Bytes) -> Kept {
        self.at(object)?.proposals.insert(who, value);
        Ok(())
    }

    /// A replica has these slots of an object in its document, some of them since `since`; `roster` is that of its
    /// generation.
    pub(super) fn saw(
        &mut self,
        object: ObjectId,
        viewer: ReplicaId,
        roster: &Arc<Roster>,
        slots: &[(ReplicaId, Slot)],
        since: u64,
        now: u64,
    ) -> Kept {
        let noted = self.at(object)?;
        noted.rounds.entry(roster.generation()).or_default().sits(roster)?;
        let Object { plan, rounds, .. } = noted;
        for (_, slot) in slots {
            let round = rounds.entry(slot.generation).or_default();
            if slot.own != Own::Unset {
                round.seen.entry(viewer).or_insert(since);
            }
            let begun = slot.tiers.iter().enumerate().filter(|(_, state)| state.proposal.is_some());
            round.balloted.extend(begun.map(|(tier, _)| tier));
        }
        let own = slots.iter().find(|(writer, slot)| *writer == viewer && slot.generation == roster.generation());
        let Some((_, own)) = own else { return Ok(()) };
        let seen = rounds.get(&own.generation).and_then(|round| round.seen.get(&viewer));
        for (state, policy) in own.tiers.iter().zip(&plan.definition.tiers) {
            // An accept raises the promise too, and needs no timer.
            let hasty = seen.is_none_or(|seen| seen + micros(policy) > now + UNSEEN_MAX);
            let accepted = state.accepted.as_ref().map_or(0, |accepted| accepted.ballot.0);
            if hasty && state.promised.0 > accepted {
                let what = format!("B9: {viewer} has promised in {} while its timer was running", policy.tier);
                let times = format!("arrivals seen at {seen:?}, now {now}, timeout {}", micros(policy));
                return Err(format!("{what}: generation {}, {times}", own.generation));
            }
        }
        Ok(())
    }

    /// A replica is told how a generation stands.
    pub(super) fn told(
        &mut self,
        object: ObjectId,
        roster: &Arc<Roster>,
        me: ReplicaId,
        standing: &Standing,
        now: u64,
    ) -> Kept {
        let (Standing::Released(outcome) | Standing::Late(outcome) | Standing::Broken(outcome)) = standing else {
            return Ok(());
        };
        let Object { plan, rounds, .. } = self.at(object)?;
        let round = rounds.entry(outcome.generation).or_default();
        round.sits(roster)?;
        for result in &outcome.tiers {
            match round.told.iter().find(|told| told.tier == result.tier) {
                Some(told) if told != result => return Err(format!("B1: told {result:?}, before it was {told:?}")),
                Some(_) => {}
                None => {
                    round.check_result(plan, roster, result, now)?;
                    round.told.push(result.clone());
                }
            }
        }
        round.check_member(plan, roster, me, standing)
    }

    /// A member that is told of a release that waits for content has what the released had written on arriving.
    pub(super) fn fenced(&mut self, object: ObjectId, me: ReplicaId, outcome: &Outcome, version: &Version) -> Kept {
        let Object { plan, rounds, .. } = self.at(object)?;
        let Some(round) = rounds.get(&outcome.generation).filter(|_| plan.definition.fence) else { return Ok(()) };
        let Some(roster) = &round.roster else { return Ok(()) };
        if roster.seat_of(me).is_none_or(|seat| seat >= roster.members()) {
            return Ok(());
        }
        for agent in outcome.released() {
            let seats: Vec<&Seat> = roster.seats().iter().filter(|seat| seat.agent == *agent).collect();
            // With two incarnations in one roster a name does not say which of them is meant.
            let [Seat { replica, .. }] = seats[..] else { continue };
            let Some((content, records)) = round.arrived.get(replica) else { continue };
            if version.content.get(*replica) < *content || version.records.get(*replica) < *records {
                let here = version.of(*replica);
                return Err(format!(
                    "F6: released with {agent}, of which {content} and {records} is not here: {here:?}"
                ));
            }
        }
        Ok(())
    }

    /// A replica knows every generation below `frontier` to be over.
    pub(super) fn frontier(&mut self, object: ObjectId, frontier: u64) -> Kept {
        let Some(last) = frontier.checked_sub(1) else { return Ok(()) };
        self.at(object)?.check_passed(last).map_err(|what| format!("E1: the frontier is {frontier}, {what}"))
    }

    /// A replica knows how a poll ended.
    pub(super) fn polled(&mut self, object: ObjectId, outcome: PollOutcome) -> Kept {
        let noted = self.at(object)?;
        if outcome == PollOutcome::Pending {
            return Ok(());
        }
        let first = *noted.polled.get_or_insert(outcome);
        if first != outcome {
            return Err(format!("P1: a poll is {outcome:?}, and was {first:?}"));
        }
        let (PollOutcome::Approved(option), Purpose::Poll { weights, threshold, .. }) = (outcome, &noted.plan.purpose)
        else {
            return Ok(());
        };
        let weighted = noted.plan.definition.members.iter().zip(weights);
        let behind = weighted.filter(|(seat, _)| noted.votes.get(&seat.replica) == Some(&option));
        let weight: u64 = behind.map(|(_, weight)| u64::from(*weight)).sum();
        if weight < *threshold {
            return Err(format!("P1: option {option} is approved with {weight} of {threshold}"));
        }
        Ok(())
    }

    /// A replica knows what was decided.
    pub(super) fn decided(&mut self, object: ObjectId, value: Option<&Bytes>) -> Kept {
        let noted = self.at(object)?;
        if value.is_some_and(|value| !noted.proposals.values().any(|proposed| proposed == value)) {
            return Err(format!("P1: {value:?} is decided, which nobody proposed"));
        }
        let first = noted.decided.get_or_insert_with(|| value.cloned());
        if first.as_ref() != value {
            return Err(format!("P1: {value:?} is decided, and {first:?} was"));
        }
        Ok(())
    }

    /// A replica has dropped an object as finished.
    pub(super) fn closed(&mut self, object: ObjectId) -> Kept {
        let noted = self.at(object)?;
        let told = noted.rounds.get(&0).is_some_and(|round| !round.told.is_empty());
        if noted.gone || noted.plan.is_once() && told {
            return Ok(());
        }
        Err(format!("G: {object} is finished, and nobody asked for it or knows how it ended"))
    }

    /// What a crash took from a replica that comes back: what its surviving slot, if any, does not say.
    pub(super) fn forget(&mut self, object: ObjectId, who: ReplicaId, slot: Option<&Slot>) {
        let Some(noted) = self.objects.get_mut(&object) else { return };
        for (generation, round) in &mut noted.rounds {
            let kept = slot.filter(|slot| slot.generation >= *generation);
            let same = kept.filter(|slot| slot.generation == *generation);
            if kept.is_none() || same.is_some_and(|slot| slot.arrival().is_none()) {
                round.arrived.remove(&who);
                noted.votes.remove(&who);
                noted.proposals.remove(&who);
            }
            if kept.is_none() || same.is_some_and(|slot| slot.own != Own::Declined) {
                round.declined.remove(&who);
            }
            if kept.is_none() || same.is_some_and(|slot| !slot.acked) {
                round.acked.remove(&who);
            }
        }
    }
}

impl Object {
    /// Everybody in a generation has spoken in it, or a ballot in its tier may have left it out.
    fn check_passed(&self, generation: u64) -> Kept {
        let Some(round) = self.rounds.get(&generation) else { return Err("of which nothing is known".to_owned()) };
        let Some(roster) = &round.roster else { return Ok(()) };
        let open = (0..roster.tiers().len()).find_map(|tier| round.unsettled(roster, tier));
        open.map_or(Ok(()), |seat| Err(format!("but {} has not spoken in generation {generation}", seat.agent)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        coordination::kernel::{Definition, Tier},
        id::DocumentId,
    };

    const OBJECT: ObjectId = ObjectId { holder: ReplicaId::FIRST, number: 1 };

    fn seat(at: u64) -> Seat {
        let agent = AgentId::new(&format!("w{at}")).unwrap();
        Seat { agent, replica: ReplicaId::from_bits(at), tier: Tier::ALPHA }
    }

    /// Three members, of whom the first so many have come.
    fn ledger(come: u64, purpose: Purpose) -> (Told, Arc<Roster>) {
        let policy = TierPolicy {
            tier: Tier::ALPHA,
            timeout: Duration::from_secs(1),
            min: 2,
            on_shortfall: OnShortfall::Proceed,
        };
        let definition = Definition {
            document: DocumentId::new("band/stage").unwrap(),
            name: "tale".to_owned(),
            creator: seat(1).agent,
            origin: OBJECT,
            members: (1..=3).map(seat).collect(),
            electors: Vec::new(),
            tolerate: 1,
            tiers: vec![policy],
            gate: Gate::Decided,
            fence: false,
        };
        let roster = Arc::new(Roster::first(Arc::new(definition.clone())));
        let mut told = Told::default();
        told.began(Arc::new(Plan { definition, purpose }), 0).unwrap();
        told.saw(OBJECT, seat(1).replica, &roster, &[], 0, 0).unwrap();
        (1..=come).for_each(|at| told.arrived(OBJECT, 0, seat(at).replica, (0, 0)).unwrap());
        (told, roster)
    }

    fn outcome(ending: Ending, released: &[u64]) -> Standing {
        let names =
            |wanted: bool| (1..=3).filter(|at| released.contains(at) == wanted).map(|at| seat(at).agent).collect();
        let result = TierResult { tier: Tier::ALPHA, ending, released: names(true), missing: names(false) };
        Standing::Released(Outcome { generation: 0, tiers: vec![result] })
    }

    #[test]
    fn every_promise_that_is_broken_is_called_by_its_letter() {
        let once = || Purpose::Barrier { once: true };
        let letter = |kept: Kept| kept.unwrap_err()[..2].to_owned();
        let tell = |told: &mut Told, roster, at, standing| told.told(OBJECT, roster, seat(at).replica, &standing, 0);
        let (mut told, roster) = ledger(3, once());
        assert_eq!(tell(&mut told, &roster, 1, outcome(Ending::Complete, &[1, 2, 3])), Ok(()));
        assert_eq!(letter(tell(&mut told, &roster, 2, outcome(Ending::Degraded, &[1, 2]))), "B1");
        assert_eq!(letter(told.arrived(OBJECT, 0, seat(1).replica, (0, 0))), "B6", "twice");
        let (mut told, roster) = ledger(2, once());
        assert_eq!(letter(tell(&mut told, &roster, 1, outcome(Ending::Complete, &[1, 2, 3]))), "B2");
        assert_eq!(letter(tell(&mut told, &roster, 1, outcome(Ending::Degraded, &[1, 2]))), "B3");
        assert_eq!(letter(told.arrived(OBJECT, 1, seat(1).replica, (0, 0))), "B6", "without an outcome");
        assert_eq!(letter(told.frontier(OBJECT, 1)), "E1");
        told.objects.get_mut(&OBJECT).unwrap().rounds.get_mut(&0).unwrap().balloted.insert(0);
        assert_eq!(letter(tell(&mut told, &roster, 1, outcome(Ending::Degraded, &[1, 2]))), "B9");
        let (mut told, roster) = ledger(3, once());
        assert_eq!(letter(tell(&mut told, &roster, 1, outcome(Ending::Shortfall, &[1, 2, 3]))), "B7");
        let (mut told, _) = ledger(3, Purpose::Decision);
        assert_eq!(letter(told.decided(OBJECT, Some(&Bytes::from_static(b"nobody's")))), "P1");
        assert_eq!(told.polled(OBJECT, PollOutcome::Failed), Ok(()));
        assert_eq!(letter(told.polled(OBJECT, PollOutcome::Approved(1))), "P1");
        assert!(told.closed(OBJECT).unwrap_err().starts_with("G: "));
    }
}
