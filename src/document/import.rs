//! Taking in what other programs have saved: a Yjs update, an automerge document.
//!
//! It comes in as a client's update does, see [`Document::absorb`], but as a whole or not at all.

use bytes::Bytes;
use serde::Serialize;

use super::{Absorption, Document, DocumentError, Foreign, Incoming, read::render_container};
use crate::{
    engine::{self, Admission, Container, EngineError, EngineKind, Patch, UpdateInfo, Value, guarded},
    id::ReplicaId,
};

/// What of an import was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Imported {
    /// Characters and values of a Yjs update, those deleted since among them; changes of an automerge document.
    pub insertions: u64,
    /// Characters and values that were here and are deleted, or came deleted; none with automerge, whose changes hold
    /// them.
    pub deletions: u64,
    /// Who inserted them: client numbers, or actors.
    pub writers: usize,
}

/// An import that has taken effect.
#[derive(Debug, Default)]
pub struct Import {
    /// What was new.
    pub imported: Imported,
    /// It, as a commit of this replica; `None` when nothing was new.
    pub commit: Option<Incoming>,
    /// What changed, in order; empty unless asked for.
    pub patches: Vec<Patch>,
}

impl Document {
    /// Merges a document of another program, or a part of one that builds on what is here, into the content: a Yjs
    /// update (version 1) with yrs, a saved document with automerge. Taken in again, it changes nothing. `natives` is
    /// that of [`Document::absorb`].
    ///
    /// # Errors
    /// `Engine` when it is damaged, over a limit or not complete, or holds under a number what is not what is here under
    /// it; `TooLarge`, `Forbidden`. Nothing was changed. After `Poisoned` the document must be rebuilt.
    pub fn import(
        &mut self,
        update: &Bytes,
        natives: impl Fn(ReplicaId) -> bool,
        watch: bool,
    ) -> Result<Import, DocumentError> {
        self.check_sound()?;
        self.may_write_content()?;
        let kind = self.engine.kind();
        let update = engine::plain(kind, update)?;
        let info = engine::inspect(kind, &update)?;
        self.check_complete(&info)?;
        self.check_agrees(&update, &info)?;
        let foreign = Foreign { update, source: 0, may_write: true };
        let mut patches = Vec::new();
        let commit = match self.absorb(&foreign, natives, watch, &mut patches)? {
            Absorption::Landed(commit) | Absorption::Incomplete(commit) => commit,
            Absorption::Refused(error) => return Err(error),
            Absorption::Forbidden => unreachable!("it was said that it may write"),
        };
        let mut imported = Imported::default();
        let content = commit.iter().filter_map(|commit| commit.delta.content.as_ref());
        for update in content.flat_map(|content| &content.updates) {
            let new = engine::inspect(kind, update)?;
            imported.insertions += new.inserts.iter().map(|range| range.to - range.from).sum::<u64>();
            imported.deletions += new.deletes.iter().map(|range| range.to - range.from).sum::<u64>();
            let mut writers: Vec<u64> = new.inserts.iter().map(|range| range.writer).collect();
            writers.dedup();
            imported.writers += writers.len();
        }
        Ok(Import { imported, commit, patches })
    }

    /// A client would be asked for the rest; a file has no more.
    fn check_complete(&self, info: &UpdateInfo) -> Result<(), DocumentError> {
        match Admission::default().admit(self.engine.as_ref(), info, None) {
            Err(EngineError::Gap { writer, from, known }) => {
                let reason = format!(
                    "builds on what is not here: writer {writer} up to {from}, known up to {known}; \
                     export the whole document, not a part"
                );
                Err(EngineError::Refused { reason }.into())
            }
            admitted => Ok(admitted?),
        }
    }

    /// An agent writes under one number in all its documents, so two of them may hold different things under the same
    /// clocks, of which yrs would take the second for known. Merged either way round, they then differ.
    fn check_agrees(&self, update: &Bytes, info: &UpdateInfo) -> Result<(), DocumentError> {
        let kind = self.engine.kind();
        let shared = info.inserts.iter().find(|range| range.from < self.engine.known(range.writer));
        let Some(shared) = shared.filter(|_| kind == EngineKind::Yrs) else { return Ok(()) };
        let here = self.engine.snapshot();
        let merged = |parts: [&Bytes; 2]| {
            guarded(|| {
                let mut engine = engine::create(kind, ReplicaId::from_bits(0))?;
                for part in parts {
                    engine.apply(std::slice::from_ref(part), false)?;
                }
                Ok(rendered(&*engine))
            })
        };
        if merged([&here, update])?? == merged([update, &here])?? {
            return Ok(());
        }
        let reason = format!("holds under number {:x} something else than this document does", shared.writer);
        Err(EngineError::Refused { reason }.into())
    }
}

fn rendered(engine: &dyn engine::Engine) -> Result<Vec<(Container, Value)>, DocumentError> {
    let containers = engine.containers().into_iter();
    containers.map(|container| Ok((container.clone(), render_container(engine, &container)?))).collect()
}
