//! Epochs: named phases that a swarm goes through together. Layer 3, pure.
//!
//! Each step from one phase to the next is one generation of a [`TieredBarrier`]: to finish a phase is to arrive, and
//! the window is the barrier's timeout. So laggards are left out by decision, numbers advance by outcome and never by
//! anybody's clock, and a joiner begins at the generation its sponsors decided.

use super::{barrier::TieredBarrier, kernel::BitSet};

/// A place in the course of epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which epoch, from 0.
    pub epoch: u64,
    /// Which of its phases, from 0.
    pub phase: usize,
}

/// The names of an epoch's phases, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phases(Vec<String>);

/// A list of phases that cannot be used. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhasesError {
    /// There is none.
    #[error("an epoch without phases")]
    None,
    /// One name for two of them.
    #[error("two phases are called `{0}`")]
    Twice(String),
}

impl Phases {
    /// Checks and keeps the names.
    ///
    /// # Errors
    /// [`PhasesError`]; retrying does not help.
    pub fn new(names: Vec<String>) -> Result<Self, PhasesError> {
        if names.is_empty() {
            return Err(PhasesError::None);
        }
        match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            Some((_, name)) => Err(PhasesError::Twice(name.clone())),
            None => Ok(Self(names)),
        }
    }

    /// Where a generation of the barrier is.
    pub fn position(&self, generation: u64) -> Position {
        let count = self.0.len() as u64;
        let phase = usize::try_from(generation % count).expect("less than the number of names, which is a usize");
        Position { epoch: generation / count, phase }
    }

    /// The generation of a place. `None` beyond the last phase, or the last number.
    pub fn generation(&self, at: Position) -> Option<u64> {
        let phase = (at.phase < self.0.len()).then_some(at.phase as u64)?;
        at.epoch.checked_mul(self.0.len() as u64)?.checked_add(phase)
    }

    /// The name of a place's phase.
    pub fn name(&self, at: Position) -> Option<&str> {
        self.0.get(at.phase).map(String::as_str)
    }

    /// The place of a phase in an epoch.
    pub fn find(&self, epoch: u64, name: &str) -> Option<Position> {
        let phase = self.0.iter().position(|known| known == name)?;
        Some(Position { epoch, phase })
    }
}

/// How many phases everybody in the roster is known to have finished, counted from the first epoch on: the minimum over
/// members, each left-out one excepted once that is decided. It never falls, and is never ahead of the truth; under
/// partition it stands still. O(n).
///
/// Whoever is in a generation knows that every earlier phase is finished (the kernel's rule T7), so a joiner does not
/// pull the minimum back.
pub fn frontier(barrier: &TieredBarrier) -> u64 {
    let view = barrier.view();
    let tiers = view.roster().tiers();
    let undecided = (0..tiers.len()).filter(|tier| view.resolved(*tier).is_none());
    let unfinished = undecided.map(|tier| tiers[tier].members.difference(view.arrived()));
    barrier.generation() + u64::from(unfinished.fold(BitSet::new(), |all, tier| all.union(&tier)).is_empty())
}

/// Members not known to have finished the current phase, nor decided to be left out. O(n).
pub fn laggards(barrier: &TieredBarrier) -> BitSet {
    let view = barrier.view();
    let tiers = view.roster().tiers().iter().enumerate();
    let open = tiers.filter(|(tier, _)| view.resolved(*tier).is_none());
    open.fold(BitSet::new(), |all, (_, seats)| all.union(&seats.members.difference(view.arrived())))
}
