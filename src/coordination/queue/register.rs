//! The register of one item, as one replica drives it: promises and accepts for others, changes of its own. Layer 3.
//!
//! One write at a time: while a record is on its way to the disk, nothing follows from it and nothing is added to it.

use std::time::Duration;

use super::{
    item::{ClaimRecord, Failure, Intent},
    seats::Seats,
};
use crate::{
    coordination::claim::{
        Change, Claim, ClaimBallot, ClaimRefusal, ClaimSlot, ClaimView, accept, last_word, prepare, promise, propose,
        propose_first, propose_next,
    },
    id::ReplicaId,
    time::{Dice, Monotonic},
};

/// How much longer acceptors wait than a holder counts on, in parts: monotonic clocks drift apart by 5 % at most.
const DRIFT: u32 = 20;
/// How long an attempt may take before it is made anew, or given up. Doubles up to sixteen times that.
const RETRY: Duration = Duration::from_millis(500);
/// How long others leave an item alone that somebody is after.
const CONTENTION: Duration = Duration::from_millis(300);

/// A change this replica wants.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) change: Change,
    /// For whom: the ticket of a claim.
    pub(super) ticket: Option<u64>,
    ballot: Option<ClaimBallot>,
    /// The last value proposed for it.
    proposed: Option<Claim>,
    /// When that value was first proposed: a lease counts from here.
    pub(super) asked_at: Monotonic,
    retry_at: Monotonic,
    refused: Option<ClaimRefusal>,
}

impl Attempt {
    /// The register has refused it without a ballot: it can be concluded.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The change is made.
    Made(Claim),
    /// The register refuses it.
    Refused,
    /// Others were faster, or nobody answers: the item is left alone for a while.
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    holder: ReplicaId,
    token: u64,
    renewal: u64,
    ends: Monotonic,
}

#[derive(Debug)]
pub(super) struct Register {
    view: ClaimView,
    /// Durable.
    own: ClaimRecord,
    writing: Option<ClaimRecord>,
    /// To be written with the next record.
    intent: Option<Option<Intent>>,
    failure: Option<Failure>,
    attempt: Option<Attempt>,
    lease: Option<Lease>,
    contended_until: Monotonic,
    /// Attempts in a row that came to nothing.
    tries: u32,
}

impl Register {
    /// The register of an item from this replica's own record, if it has written one.
    pub(super) fn new(
        view: ClaimView,
        seats: &Seats,
        own: Option<ClaimRecord>,
        span: Duration,
        now: Monotonic,
    ) -> Self {
        let mut register = Self {
            view,
            own: own.unwrap_or_default(),
            writing: None,
            intent: None,
            failure: None,
            attempt: None,
            lease: None,
            contended_until: Monotonic::default(),
            tries: 0,
        };
        if let Some(me) = seats.me() {
            register.view.put(usize::from(me), register.own.slot.clone());
        }
        register.note_lease(span, now);
        register
    }

    /// The newest slot of another seat; it has been checked.
    pub(super) fn hear(&mut self, seat: u16, slot: ClaimSlot, span: Duration, now: Monotonic) {
        let known = self.view.proposal(usize::from(seat)).map(|(ballot, _)| ballot);
        let newer = slot.proposal.is_some_and(|(ballot, _)| Some(ballot) > known);
        let chosen = self.view.chosen_at();
        self.view.put(usize::from(seat), slot);
        if self.view.chosen_at() != chosen {
            self.settled();
        } else if newer {
            self.contended_until = self.contended_until.max(now + CONTENTION);
        }
        self.note_lease(span, now);
    }

    /// What was being written is durable.
    pub(super) fn persisted(&mut self, seats: &Seats, span: Duration, now: Monotonic) {
        let (Some(record), Some(me)) = (self.writing.take(), seats.me()) else { return };
        let chosen = self.view.chosen_at();
        self.view.put(usize::from(me), record.slot.clone());
        self.own = record;
        if self.view.chosen_at() != chosen {
            self.settled();
        }
        self.note_lease(span, now);
    }

    fn settled(&mut self) {
        self.contended_until = Monotonic::default();
        self.tries = 0;
    }

    /// The value of the register, as far as known here.
    pub(super) fn claim(&self) -> Claim {
        self.view.chosen().unwrap_or_default()
    }

    pub(super) fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// Begins a change; false while another one is under way.
    pub(super) fn want(&mut self, change: Change, ticket: Option<u64>, now: Monotonic) -> bool {
        if self.attempt.is_some() {
            return false;
        }
        let (ballot, proposed, refused) = (None, None, None);
        self.attempt = Some(Attempt { change, ticket, ballot, proposed, asked_at: now, retry_at: now, refused });
        true
    }

    /// The advisory claim to be written; `None` withdraws it.
    pub(super) fn intend(&mut self, intent: Option<Intent>) {
        self.intent = Some(intent);
    }

    /// The reason to be written with what comes next.
    pub(super) fn explain(&mut self, failure: Failure) {
        self.failure = Some(failure);
    }

    /// Own advisory claim that is durable.
    pub(super) fn intent(&self) -> Option<Intent> {
        self.own.intent
    }

    /// Own advisory claim as it will be.
    pub(super) fn intended(&self) -> Option<Intent> {
        self.intent.unwrap_or_else(|| self.writing.as_ref().unwrap_or(&self.own).intent)
    }

    pub(super) fn own_failure(&self) -> Option<&Failure> {
        self.failure.as_ref().or(self.writing.as_ref().unwrap_or(&self.own).failure.as_ref())
    }

    /// The record to write, when there is something to write and nothing on its way.
    pub(super) fn step(
        &mut self,
        seats: &Seats,
        span: Duration,
        now: Monotonic,
        dice: &mut Dice,
    ) -> Option<ClaimRecord> {
        if self.writing.is_some() || seats.me().is_none() {
            return None;
        }
        let mut next = self.own.clone();
        if let Some(intent) = self.intent.take() {
            next.intent = intent;
        }
        if self.failure.is_some() {
            next.failure = self.failure.take();
        }
        self.advance(&mut next.slot, seats, now, dice);
        if seats.accepts() {
            while let Some(slot) = self.respond(&next.slot, seats, now) {
                next.slot = slot;
            }
        }
        if next == self.own {
            return None;
        }
        self.writing = Some(next.clone());
        self.note_lease(span, now);
        Some(next)
    }

    /// The record that says how the item has ended, when that is known here and no longer to be seen.
    pub(super) fn last_word(&mut self, seats: &Seats) -> Option<ClaimRecord> {
        if self.writing.is_some() {
            return None;
        }
        let slot = last_word(&self.view, seats.me()?, &self.own.slot)?;
        self.writing = Some(ClaimRecord { slot, ..self.own.clone() });
        self.writing.clone()
    }

    /// Takes in what was known before the document was read again.
    pub(super) fn join(&mut self, other: &Self) {
        self.view.join(&other.view);
    }

    /// Goes on with the own attempt.
    fn advance(&mut self, slot: &mut ClaimSlot, seats: &Seats, now: Monotonic, dice: &mut Dice) {
        let (Some(me), Some(attempt)) = (seats.me(), &mut self.attempt) else { return };
        let change = attempt.change;
        let retry = |tries: u32| now + RETRY * (1 << tries.min(4));
        let begin_anew = |attempt: &mut Attempt, tries, dice: &mut Dice| {
            let prepared = prepare(&self.view, me, slot)?;
            attempt.ballot = prepared.proposal.map(|(ballot, _)| ballot);
            attempt.retry_at = retry(tries) + dice.jitter(RETRY);
            Some(prepared)
        };
        let next = match attempt.ballot {
            None => {
                let untouched = self.view.chosen().is_none();
                let first = propose_first(&self.view, me, slot, change).filter(|_| untouched);
                match first.map(Ok).or_else(|| propose_next(&self.view, me, slot, change)) {
                    Some(Ok(next)) => {
                        (attempt.asked_at, attempt.retry_at) = (now, retry(self.tries) + dice.jitter(RETRY));
                        attempt.ballot = next.proposal.map(|(ballot, _)| ballot);
                        attempt.proposed = next.proposal.and_then(|(_, claim)| claim);
                        Some(next)
                    }
                    Some(Err(refusal)) => {
                        attempt.refused = Some(refusal);
                        None
                    }
                    None => begin_anew(attempt, self.tries, dice),
                }
            }
            Some(_) if attempt.retry_at <= now && !matches!(change, Change::Take { .. }) => {
                self.tries += 1;
                begin_anew(attempt, self.tries, dice)
            }
            Some(ballot) if slot.proposal == Some((ballot, None)) => {
                propose(&self.view, me, slot, change).map(|(next, verdict)| {
                    let value = next.proposal.and_then(|(_, claim)| claim);
                    if verdict.is_ok() && attempt.proposed != value {
                        (attempt.asked_at, attempt.proposed) = (now, value);
                    }
                    next
                })
            }
            Some(_) => None,
        };
        if let Some(next) = next {
            *slot = next;
        }
    }

    /// Promises or accepts the highest ballot that asks for it.
    fn respond(&self, slot: &ClaimSlot, seats: &Seats, now: Monotonic) -> Option<ClaimSlot> {
        let mut asked = self.view.proposals(seats.me());
        asked.extend(slot.proposal);
        asked.sort_unstable_by(|a, b| b.cmp(a));
        asked.into_iter().find_map(|(ballot, claim)| match claim {
            None => {
                let by_holder = self.lease.is_some_and(|lease| seats.replica(ballot.seat) == Some(lease.holder));
                promise(slot, ballot, self.is_leased(now), by_holder)
            }
            // What is chosen already needs no more accepts.
            Some(claim) if self.view.chosen_at() < Some(ballot) => accept(slot, ballot, claim),
            Some(_) => None,
        })
    }

    /// Ends the attempt when it is decided, or not worth going on with.
    pub(super) fn conclude(&mut self, me: Option<u16>, now: Monotonic) -> Option<(Attempt, Verdict)> {
        let attempt = self.attempt.as_ref()?;
        let verdict = self.verdict(attempt, me, now)?;
        if matches!(verdict, Verdict::Lost) {
            self.tries += 1;
        }
        self.attempt.take().map(|attempt| (attempt, verdict))
    }

    fn verdict(&self, attempt: &Attempt, me: Option<u16>, now: Monotonic) -> Option<Verdict> {
        if attempt.refused.is_some() {
            return Some(Verdict::Refused);
        }
        let is_take = matches!(attempt.change, Change::Take { .. });
        let chosen = self.view.chosen().zip(self.view.chosen_at());
        if let (Some((claim, at)), Some(asked)) = (chosen, attempt.ballot)
            && at >= asked
        {
            return Some(match claim.apply(attempt.change) {
                _ if attempt.proposed == Some(claim) => Verdict::Made(claim),
                Err(_) => Verdict::Refused,
                // It was chosen above this attempt, which may still be repeated.
                Ok(_) => Verdict::Lost,
            });
        }
        if let Some(claim) = self.view.chosen()
            && let Change::Renew { token } | Change::Return { token } | Change::Complete { token } = attempt.change
            && (claim.is_final() || claim.token() > token)
        {
            // Tokens only grow: what is stale stays so.
            return claim.apply(attempt.change).err().map(|_| Verdict::Refused);
        }
        let preparing =
            self.own.slot.proposal.is_some_and(|(ballot, claim)| Some(ballot) == attempt.ballot && claim.is_none());
        let beaten = || self.view.proposals(me).first().is_some_and(|(ballot, _)| Some(*ballot) > attempt.ballot);
        let gives_up = attempt.ballot.is_some() && (attempt.retry_at <= now || (preparing && beaten()));
        (is_take && self.writing.is_none() && gives_up).then_some(Verdict::Lost)
    }

    /// Leaves the item alone for a while that grows with each try.
    pub(super) fn stand_back(&mut self, now: Monotonic, dice: &mut Dice) {
        let wait = CONTENTION + dice.jitter(RETRY * (1 << self.tries.min(4)));
        self.contended_until = self.contended_until.max(now + wait);
    }

    /// Until when others leave the item alone.
    pub(super) fn contended_until(&self) -> Monotonic {
        self.contended_until
    }

    /// When the lease of the holder known here is over, by this replica's clock and with the allowance for drift.
    pub(super) fn lease_ends(&self) -> Option<Monotonic> {
        self.lease.map(|lease| lease.ends)
    }

    fn is_leased(&self, now: Monotonic) -> bool {
        self.lease.is_some_and(|lease| lease.ends > now)
    }

    /// A lease begins anew with each holder and each renewal, when this replica accepts it or learns of it; and at a
    /// restart, which has forgotten how much of it had passed.
    fn note_lease(&mut self, span: Duration, now: Monotonic) {
        let accepted =
            [&Some(&self.own), &self.writing.as_ref()].map(|record| record.and_then(|own| own.slot.accepted));
        let chosen = self.view.chosen_at().zip(self.view.chosen());
        let newest = accepted.into_iter().flatten().chain(chosen).max_by_key(|(ballot, _)| *ballot);
        match newest {
            Some((_, Claim::Held { holder, token, renewal })) => {
                if self.lease.is_none_or(|lease| (lease.token, lease.renewal) != (token, renewal)) {
                    self.lease = Some(Lease { holder, token, renewal, ends: now + span + span / DRIFT });
                }
            }
            _ => self.lease = None,
        }
    }

    /// When to look again although nothing was heard.
    pub(super) fn next_wake(&self) -> Option<Monotonic> {
        self.attempt.as_ref().filter(|attempt| attempt.ballot.is_some()).map(|attempt| attempt.retry_at)
    }
}
