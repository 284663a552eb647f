//! Exclusive claims: who works on an item, with a fencing token that grows with every holder. Layer 3, pure.
//!
//! One register per item, decided by CASPaxos (Rystsov, "CASPaxos: Replicated State Machines without logs", 2018) in
//! slots with one writer each: a proposer collects promises, applies a change to the value accepted at the highest
//! ballot among them, and has the result accepted. The default owner of an item skips the promises once, at round 0;
//! whoever had the last value chosen skips them for the next one, which is a *step* of the same ballot.
//!
//! Steps are safe because no ballot lies between two of them: below the later one, only what the proposer knows to be
//! chosen can have been chosen, and a higher ballot hears of one of the accepts either way. So who holds an item
//! renews, completes or gives back with accepts alone, and with none but its own when nobody may fail.
//!
//! Slots are overwritten, so who comes late may not see the quorum that others have seen. An end never changes, so
//! whoever knows it and sees that the slots do not show it says it: see [`last_word`].
//!
//! Under partition: a side with fewer than `n - tolerate` acceptors takes over nothing. A holder that is cut off may
//! still believe that it holds; only the token, checked where the effect lands, keeps its work out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::kernel::{BitSet, Rules};
use crate::{id::ReplicaId, limits};

/// What a register says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Claim {
    /// Nobody holds the item.
    #[default]
    Free,
    /// Given back, or failed; the next token is one higher.
    Returned {
        /// The token it was last held with.
        token: u64,
    },
    /// Somebody works on it.
    Held {
        /// Who.
        holder: ReplicaId,
        /// Fences the holder's effects; grows with every holder.
        token: u64,
        /// Counts the renewals of the lease.
        renewal: u64,
    },
    /// It is done, once and for all.
    Done {
        /// By the holder of this token.
        token: u64,
    },
    /// Nobody will do it, once and for all.
    Discarded {
        /// The last token given out.
        token: u64,
    },
}

/// A change of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Change {
    /// Take the item, from whoever holds it: acceptors see to it that the lease is over.
    Take {
        /// The new holder.
        holder: ReplicaId,
        /// How many holders there may be before it has to be requeued.
        attempts: u32,
    },
    /// Hold on to it.
    Renew {
        /// The holder's token.
        token: u64,
    },
    /// Give it back.
    Return {
        /// The holder's token.
        token: u64,
    },
    /// It is done.
    Complete {
        /// The holder's token.
        token: u64,
    },
    /// Offer an item again whose attempts are used up.
    Requeue {
        /// How many there are.
        attempts: u32,
    },
    /// Give the item up, when nobody holds it.
    Discard,
}

/// Why a register does not change. Final for this token, or this item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimRefusal {
    /// It is done already.
    #[error("done with token {token} already")]
    Done {
        /// By the holder of this token.
        token: u64,
    },
    /// Somebody else has it, or had it since.
    #[error("token {token} is stale, the current one is {current}")]
    Stale {
        /// The token given.
        token: u64,
        /// The register's; 0 when it was never held.
        current: u64,
    },
    /// Nobody will do it.
    #[error("discarded after token {token}")]
    Discarded {
        /// The last token given out.
        token: u64,
    },
    /// Its attempts are used up: it is dead until it is requeued.
    #[error("{attempts} attempts are used up, the last one with token {token}")]
    Exhausted {
        /// The last token given out.
        token: u64,
        /// How many attempts there were.
        attempts: u32,
    },
    /// It is not dead.
    #[error("not dead: attempt {attempt} of {attempts}")]
    Alive {
        /// Attempts so far.
        attempt: u64,
        /// How many there are.
        attempts: u32,
    },
    /// Somebody works on it.
    #[error("held by {holder} with token {token}")]
    Held {
        /// Who.
        holder: ReplicaId,
        /// Its token.
        token: u64,
    },
}

impl Claim {
    /// The last token given out; 0 when there was none.
    pub fn token(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Returned { token } | Self::Held { token, .. } | Self::Done { token } | Self::Discarded { token } => {
                token
            }
        }
    }

    /// How many holders the item has had since it was pushed or requeued: the token says it, of which requeuing skips
    /// one. So an item that kills its holders is counted like one that they give back.
    pub fn attempt(self, attempts: u32) -> u64 {
        self.token() % (u64::from(attempts) + 1)
    }

    /// True when the last of its attempts has ended: nobody may take it until it is requeued.
    pub fn is_dead(self, attempts: u32) -> bool {
        matches!(self, Self::Returned { .. }) && self.is_last(attempts)
    }

    /// True when no attempt is left after this one.
    pub fn is_last(self, attempts: u32) -> bool {
        self.attempt(attempts) == u64::from(attempts)
    }

    /// True when it never changes again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done { .. } | Self::Discarded { .. })
    }

    /// The highest number in it.
    fn highest(self) -> u64 {
        if let Self::Held { token, renewal, .. } = self { token.max(renewal) } else { self.token() }
    }

    /// The register after a change: a function of both and nothing else.
    ///
    /// # Errors
    /// [`ClaimRefusal`]; retrying does not help.
    pub fn apply(self, change: Change) -> Result<Self, ClaimRefusal> {
        match self {
            Self::Done { token } => return Err(ClaimRefusal::Done { token }),
            Self::Discarded { token } => return Err(ClaimRefusal::Discarded { token }),
            Self::Free | Self::Returned { .. } | Self::Held { .. } => {}
        }
        let current = |given: u64| match self {
            Self::Held { holder, token, renewal } if token == given => Ok((holder, renewal)),
            _ => Err(ClaimRefusal::Stale { token: given, current: self.token() }),
        };
        Ok(match change {
            Change::Take { attempts, .. } if self.is_last(attempts) => {
                return Err(ClaimRefusal::Exhausted { token: self.token(), attempts });
            }
            Change::Take { holder, .. } => Self::Held { holder, token: self.token() + 1, renewal: 0 },
            Change::Renew { token } => {
                let (holder, renewal) = current(token)?;
                Self::Held { holder, token, renewal: renewal + 1 }
            }
            Change::Return { token } => current(token).map(|_| Self::Returned { token })?,
            Change::Complete { token } => current(token).map(|_| Self::Done { token })?,
            Change::Requeue { attempts } if self.is_dead(attempts) => Self::Returned { token: self.token() + 1 },
            Change::Requeue { attempts } => {
                return Err(ClaimRefusal::Alive { attempt: self.attempt(attempts), attempts });
            }
            Change::Discard => match self {
                Self::Held { holder, token, .. } => return Err(ClaimRefusal::Held { holder, token }),
                _ => Self::Discarded { token: self.token() },
            },
        })
    }
}

/// An attempt to change a register: compared by round, then by seat, then by step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ClaimBallot {
    /// 0 is the default owner's, without promises.
    pub round: u32,
    /// Whose.
    pub seat: u16,
    /// Which of its values, from 0: each follows from the one before, which is chosen.
    pub step: u32,
}

impl ClaimBallot {
    /// Above all ballots that are voted on: what a seat proposes here it knows to be chosen.
    fn last(seat: u16) -> Self {
        Self { round: limits::BALLOT_MAX, seat, step: limits::BALLOT_MAX }
    }
}

/// What one seat publishes about one register. Durable before anybody sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ClaimSlot {
    /// Takes part in no lower ballot. `None`: not even the default owner's has come.
    pub promised: Option<ClaimBallot>,
    /// The last accept.
    pub accepted: Option<(ClaimBallot, Claim)>,
    /// Its own last attempt; the value is `None` while promises are asked for.
    pub proposal: Option<(ClaimBallot, Option<Claim>)>,
}

impl ClaimSlot {
    /// The end of the item, if its writer says that it knows it.
    fn end(&self) -> Option<(ClaimBallot, Claim)> {
        let (ballot, Some(claim)) = self.proposal? else { return None };
        (ballot == ClaimBallot::last(ballot.seat) && claim.is_final()).then_some((ballot, claim))
    }
}

/// Why a slot says nothing: the same verdict at every replica with the same acceptors. The writer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimMalformed {
    /// Its writer, the default owner, or whose ballot it is of has no seat.
    #[error("seat {seat} is not among the {acceptors} acceptors")]
    Seat {
        /// The seat.
        seat: u16,
        /// How many there are.
        acceptors: usize,
    },
    /// A round above the limit: nobody could begin a higher one.
    #[error("round {round} is over the limit of {}", limits::BALLOT_MAX)]
    Round {
        /// The round.
        round: u32,
    },
    /// A step above the limit.
    #[error("step {step} is over the limit of {}", limits::BALLOT_MAX)]
    Step {
        /// The step.
        step: u32,
    },
    /// A token or a renewal above the limit: what follows could not be counted.
    #[error("token or renewal {count} is over the limit of {}", limits::CLAIM_COUNT_MAX)]
    Count {
        /// The number.
        count: u64,
    },
    /// Somebody else skips the promises.
    #[error("round 0 is of seat {seat}, and seat {owner} is the default owner")]
    Owner {
        /// Whose it is said to be.
        seat: u16,
        /// Whose it would be.
        owner: u16,
    },
    /// It proposes at a ballot of another seat.
    #[error("seat {seat} proposes at a ballot of seat {owner}")]
    Foreign {
        /// The writer.
        seat: u16,
        /// Whose ballot it is.
        owner: u16,
    },
    /// It has accepted above its promise.
    #[error("accepted in round {accepted} of seat {seat}, above its promise")]
    AboveThePromise {
        /// The round of the accept.
        accepted: u32,
        /// Whose ballot that is.
        seat: u16,
    },
}

/// Checks a slot by itself, as it comes from another replica: `seat` is its writer's, `owner` the [`default_owner`]'s,
/// among so many `acceptors`. Pure, total, O(1). Whatever passes may be put into a view.
///
/// # Errors
/// [`ClaimMalformed`]: the slot is ignored, and its writer is broken or dishonest.
pub fn check(slot: &ClaimSlot, seat: u16, owner: u16, acceptors: usize) -> Result<(), ClaimMalformed> {
    let seated = |seat: u16| {
        if usize::from(seat) < acceptors { Ok(()) } else { Err(ClaimMalformed::Seat { seat, acceptors }) }
    };
    seated(seat)?;
    seated(owner)?;
    let accepted = slot.accepted.map(|(ballot, _)| ballot);
    let proposed = slot.proposal.map(|(ballot, _)| ballot);
    for ballot in [slot.promised, accepted, proposed].into_iter().flatten() {
        seated(ballot.seat)?;
        if ballot.round > limits::BALLOT_MAX {
            return Err(ClaimMalformed::Round { round: ballot.round });
        }
        if ballot.step > limits::BALLOT_MAX {
            return Err(ClaimMalformed::Step { step: ballot.step });
        }
        if ballot.round == 0 && ballot.seat != owner {
            return Err(ClaimMalformed::Owner { seat: ballot.seat, owner });
        }
    }
    let claims = [slot.accepted.map(|(_, claim)| claim), slot.proposal.and_then(|(_, claim)| claim)];
    if let Some(count) = claims.into_iter().flatten().map(Claim::highest).find(|count| *count > limits::CLAIM_COUNT_MAX)
    {
        return Err(ClaimMalformed::Count { count });
    }
    if let Some(ballot) = proposed.filter(|ballot| ballot.seat != seat) {
        return Err(ClaimMalformed::Foreign { seat, owner: ballot.seat });
    }
    match accepted.filter(|accepted| slot.promised < Some(*accepted)) {
        Some(accepted) => Err(ClaimMalformed::AboveThePromise { accepted: accepted.round, seat: accepted.seat }),
        None => Ok(()),
    }
}

/// The seat that may skip the promises: highest random weight (Thaler and Ravishankar, 1998), so that items spread
/// evenly and few move when members change. `None` for no seats. O(seats).
pub fn default_owner(item: &[u8], seats: &[ReplicaId]) -> Option<usize> {
    let weight = |seat: &usize| -> [u8; 32] {
        Sha256::new().chain_update(seats[*seat].get().to_be_bytes()).chain_update(item).finalize().into()
    };
    (0..seats.len()).max_by_key(weight)
}

/// The slots known of one register. Memory grows with the seats that have published one.
#[derive(Debug, Clone)]
pub struct ClaimView {
    rules: Rules,
    owner: u16,
    acceptors: u16,
    slots: BTreeMap<u16, ClaimSlot>,
    chosen: Option<(ClaimBallot, Claim)>,
}

impl ClaimView {
    /// A view without any slot. The first seats are the acceptors', those after them may only propose. `owner` is the
    /// [`default_owner`] among those that claim.
    ///
    /// # Panics
    /// When there are no acceptors, or more than a roster may have, or the owner cannot be a seat.
    pub fn new(acceptors: usize, tolerate: usize, owner: usize) -> Self {
        let seats = 1..=limits::COORDINATION_SEATS;
        assert!(owner <= *seats.end() && seats.contains(&acceptors), "owner {owner}, {acceptors} acceptors");
        let seat = |count: usize| u16::try_from(count).expect("seats are fewer than 65,536");
        let rules = Rules::tolerating(tolerate, acceptors);
        Self { rules, owner: seat(owner), acceptors: seat(acceptors), slots: BTreeMap::new(), chosen: None }
    }

    /// Takes in the newest slot of a seat; it has passed [`check`]. O(acceptors).
    pub fn put(&mut self, seat: usize, slot: ClaimSlot) {
        let Ok(seat) = u16::try_from(seat) else { return };
        let (accepted, end) = (slot.accepted.filter(|_| seat < self.acceptors), slot.end());
        self.slots.insert(seat, slot);
        let accepted = accepted.filter(|accepted| {
            self.voices().filter(|(_, slot)| slot.accepted == Some(*accepted)).count() >= self.rules.accepts
        });
        accepted.into_iter().chain(end).for_each(|(ballot, claim)| self.learn(ballot, claim));
    }

    fn learn(&mut self, ballot: ClaimBallot, claim: Claim) {
        if self.chosen.is_none_or(|(known, _)| known < ballot) {
            self.chosen = Some((ballot, claim));
        }
    }

    /// Takes in what another view of the same register knows to be chosen.
    pub fn join(&mut self, other: &Self) {
        if let Some((ballot, claim)) = other.chosen {
            self.learn(ballot, claim);
        }
    }

    /// True when whoever hears these slots, and no others before them, learns that this was chosen. O(n log n).
    fn shows(&self, claim: Claim) -> bool {
        let mut accepts: BTreeMap<ClaimBallot, usize> = BTreeMap::new();
        for (ballot, _) in self.voices().filter_map(|(_, slot)| slot.accepted).filter(|(_, value)| *value == claim) {
            *accepts.entry(ballot).or_default() += 1;
        }
        accepts.into_values().any(|accepts| accepts >= self.rules.accepts)
            || self.slots.values().filter_map(ClaimSlot::end).any(|(_, end)| end == claim)
    }

    /// The slots whose promises and accepts count.
    fn voices(&self) -> impl Iterator<Item = (u16, &ClaimSlot)> {
        self.slots.range(..self.acceptors).map(|(seat, slot)| (*seat, slot))
    }

    /// The newest value known to be chosen. There may be a newer one elsewhere: a holder learns of it where its token
    /// is refused.
    pub fn chosen(&self) -> Option<Claim> {
        self.chosen.map(|(_, claim)| claim)
    }

    /// At which ballot that was chosen.
    pub fn chosen_at(&self) -> Option<ClaimBallot> {
        self.chosen.map(|(ballot, _)| ballot)
    }

    /// A seat's last attempt.
    pub fn proposal(&self, seat: usize) -> Option<(ClaimBallot, Option<Claim>)> {
        self.slots.get(&u16::try_from(seat).ok()?)?.proposal
    }

    /// The last attempts of all seats but one, highest ballot first. O(seats that have published).
    pub fn proposals(&self, but: Option<u16>) -> Vec<(ClaimBallot, Option<Claim>)> {
        let others = self.slots.iter().filter(|(seat, _)| Some(**seat) != but);
        let mut proposals: Vec<_> = others.filter_map(|(_, slot)| slot.proposal).collect();
        proposals.sort_unstable_by(|a, b| b.cmp(a));
        proposals
    }

    /// The acceptors that promised exactly this ballot.
    pub fn promises(&self, ballot: ClaimBallot) -> BitSet {
        let promised = self.voices().filter(|(_, slot)| slot.promised == Some(ballot));
        promised.map(|(seat, _)| usize::from(seat)).collect()
    }
}

/// The default owner's first attempt: a change of the untouched register, without promises. Nothing when the seat is
/// not the default owner, has tried before, or promised another.
pub fn propose_first(view: &ClaimView, me: u16, slot: &ClaimSlot, change: Change) -> Option<ClaimSlot> {
    if me != view.owner || slot.proposal.is_some() || slot.promised.is_some() {
        return None;
    }
    let claim = Claim::Free.apply(change).ok()?;
    Some(ClaimSlot { proposal: Some((ClaimBallot { round: 0, seat: me, step: 0 }, Some(claim))), ..slot.clone() })
}

/// The next change by whoever had the last value chosen, without promises: a step of the same ballot. Nothing when the
/// newest value chosen is another's, or this seat has promised a higher ballot since.
///
/// # Errors
/// [`ClaimRefusal`] when the value chosen refuses the change.
pub fn propose_next(
    view: &ClaimView,
    me: u16,
    slot: &ClaimSlot,
    change: Change,
) -> Option<Result<ClaimSlot, ClaimRefusal>> {
    let (ballot, Some(claim)) = slot.proposal? else { return None };
    let current = ballot.seat == me && view.chosen == Some((ballot, claim)) && slot.promised <= Some(ballot);
    // The last step is for the last word.
    if !current || ballot.step + 1 >= limits::BALLOT_MAX {
        return None;
    }
    let next = ClaimBallot { step: ballot.step + 1, ..ballot };
    Some(claim.apply(change).map(|claim| ClaimSlot { proposal: Some((next, Some(claim))), ..slot.clone() }))
}

/// Begins an attempt above every one known. Nothing above the highest round.
pub fn prepare(view: &ClaimView, me: u16, slot: &ClaimSlot) -> Option<ClaimSlot> {
    let own = slot.proposal.map(|(ballot, _)| ballot).max(slot.promised);
    let known = view.slots.values().map(|slot| slot.proposal.map(|(ballot, _)| ballot).max(slot.promised)).max();
    let round = known.flatten().max(own).map_or(0, |ballot| ballot.round) + 1;
    let proposal = Some((ClaimBallot { round, seat: me, step: 0 }, None));
    (round <= limits::BALLOT_MAX).then(|| ClaimSlot { proposal, ..slot.clone() })
}

/// Promises an attempt. While the lease of the holder this seat knows of runs (`leased`, by its own clock and including
/// the allowance for drift), only the holder itself (`by_holder`) gets a promise.
pub fn promise(slot: &ClaimSlot, ballot: ClaimBallot, leased: bool, by_holder: bool) -> Option<ClaimSlot> {
    if ballot.round == 0 || ballot.step > 0 || slot.promised >= Some(ballot) || (leased && !by_holder) {
        return None;
    }
    Some(ClaimSlot { promised: Some(ballot), ..slot.clone() })
}

/// Proposes the change, once enough acceptors have promised: of the value accepted at the highest ballot among them.
///
/// When that value refuses the change, it is proposed as it is, beside the refusal: the refusal stands once the value is
/// chosen, for until then it may be one that nobody will remember.
pub fn propose(
    view: &ClaimView,
    me: u16,
    slot: &ClaimSlot,
    change: Change,
) -> Option<(ClaimSlot, Result<(), ClaimRefusal>)> {
    let Some((ballot, None)) = slot.proposal else { return None };
    let promises = view.promises(ballot);
    if ballot.seat != me || promises.len() < view.rules.recovery {
        return None;
    }
    let accepted = view.voices().filter(|(seat, _)| promises.contains(usize::from(*seat)));
    let newest = accepted.filter_map(|(_, slot)| slot.accepted).max_by_key(|(ballot, _)| *ballot);
    let known = newest.map_or(Claim::Free, |(_, claim)| claim);
    let changed = known.apply(change);
    let next = ClaimSlot { proposal: Some((ballot, Some(changed.unwrap_or(known)))), ..slot.clone() };
    Some((next, changed.map(drop)))
}

/// Accepts what is proposed at a ballot, unless a higher one is promised.
pub fn accept(slot: &ClaimSlot, ballot: ClaimBallot, claim: Claim) -> Option<ClaimSlot> {
    let newer = slot.accepted.is_none_or(|(accepted, _)| accepted < ballot);
    let kept = slot.promised.is_none_or(|promised| promised <= ballot);
    let accepted = Some((ballot, claim));
    (newer && kept).then(|| ClaimSlot { promised: Some(ballot), accepted, ..slot.clone() })
}

/// Says how the item has ended, when that is known here and the slots do not show it: each of a quorum has accepted the
/// end, but one of them again since, at a higher ballot. Whoever hears it knows as well.
///
/// Safe at whatever is promised: above the ballot at which an end was chosen nothing else is ever proposed.
pub fn last_word(view: &ClaimView, me: u16, slot: &ClaimSlot) -> Option<ClaimSlot> {
    let end = view.chosen().filter(|claim| claim.is_final() && !view.shows(*claim))?;
    Some(ClaimSlot { proposal: Some((ClaimBallot::last(me), Some(end))), ..slot.clone() })
}
