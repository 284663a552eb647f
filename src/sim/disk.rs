//! A disk that answers late, fails, and on a crash keeps any prefix of what it had not confirmed.

use std::collections::VecDeque;

use crate::{
    store::{MemoryStore, Store as _, StoreDone, StoreError, StoreTask},
    time::Dice,
};

/// The answer to one task.
pub(super) type Answer = (u64, Result<StoreDone, StoreError>);

/// One host's disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    kept: MemoryStore,
    waiting: VecDeque<(u64, StoreTask)>,
    writing: Vec<(u64, StoreTask)>,
    /// Writes fail until then.
    pub(super) failing_until: u64,
    /// Commits take long until then.
    pub(super) slow_until: u64,
    /// Confirms before it keeps, which no disk should do.
    pub(super) lies: bool,
    /// What a lying disk really holds.
    real: Option<MemoryStore>,
}

impl Disk {
    /// Takes a task; true when the disk was idle and a commit must be begun.
    pub(super) fn submit(&mut self, id: u64, task: StoreTask) -> bool {
        self.waiting.push_back((id, task));
        self.writing.is_empty()
    }

    /// Begins the next commit with all that waits; returns how long it takes, in microseconds.
    pub(super) fn begin(&mut self, now: u64, dice: &mut Dice) -> Option<u64> {
        if self.waiting.is_empty() || !self.writing.is_empty() {
            return None;
        }
        self.writing = self.waiting.drain(..).collect();
        let usual = 200 + dice.below(4_000);
        Some(if now < self.slow_until { usual + dice.below(400_000) } else { usual })
    }

    /// The commit under way ends.
    pub(super) fn finish(&mut self, now: u64, dice: &mut Dice) -> Vec<Answer> {
        let (ids, tasks): (Vec<u64>, Vec<StoreTask>) = std::mem::take(&mut self.writing).into_iter().unzip();
        let fails = now < self.failing_until && tasks.iter().any(StoreTask::is_write);
        if fails {
            // The last flush of a failed commit may have reached the disk all the same.
            if dice.chance(20) {
                self.kept.commit(&tasks);
            }
            let error = || Err(StoreError::Write { reason: "no space left on the simulated disk".to_owned() });
            return ids.into_iter().map(|id| (id, error())).collect();
        }
        if self.lies {
            if self.real.is_none() {
                self.real = Some(self.kept.clone());
            } else if dice.chance(30) {
                self.real = None;
            }
        }
        let answers = self.kept.commit(&tasks);
        ids.into_iter().zip(answers).collect()
    }

    /// Power is lost: of the commit under way a prefix survives, of what waited nothing.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        self.waiting.clear();
        let writing = std::mem::take(&mut self.writing);
        if let Some(real) = self.real.take() {
            self.kept = real;
            return;
        }
        let whole = dice.chance(40);
        for (_, task) in writing {
            let task = match task {
                StoreTask::Append { document, header, mut entries } if !whole => {
                    let survive = dice.below(entries.len() as u64 + 1);
                    entries.truncate(usize::try_from(survive).unwrap_or(0));
                    let cut = StoreTask::Append { document, header, entries };
                    self.kept.commit(std::slice::from_ref(&cut));
                    return;
                }
                task => task,
            };
            self.kept.commit(std::slice::from_ref(&task));
        }
    }

    /// A disk with what this one keeps: as of now, and for later.
    pub(super) fn backup(&self) -> Self {
        Self { kept: self.kept.clone(), ..Self::default() }
    }

    /// Forgets everything: the disk of a process that keeps nothing.
    pub(super) fn wipe(&mut self) {
        *self = Self { lies: self.lies, ..Self::default() };
    }

    /// What a process would find after a restart.
    pub(super) fn kept(&self) -> &MemoryStore {
        &self.kept
    }
}
