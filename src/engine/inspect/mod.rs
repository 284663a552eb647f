//! The prescan: reads a peer's update without recursion and without an engine, and bounds everything in it.
//!
//! An engine may abort the process on bytes that are well-formed enough to be decoded (`docs/wire.md` lists them), so
//! no engine is given bytes that did not pass here.

use super::{EngineError, EngineKind};

#[cfg(feature = "automerge")]
pub(super) mod automerge;
#[cfg(feature = "yrs")]
pub(super) mod yrs;

/// A run of one writer's clock: `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockRange {
    /// The engine's writer: yrs client id; automerge actor mapped to a replica id.
    pub writer: u64,
    /// First clock.
    pub from: u64,
    /// One past the last.
    pub to: u64,
}

/// What an update contains, learnt without applying it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateInfo {
    /// Insertions (yrs) or changes by sequence number from 0 (automerge), sorted by writer. Automerge actors that are
    /// not ours get numbers above [`ReplicaId::MAX`](crate::id::ReplicaId::MAX); a container's creation, which every
    /// replica writes alike, is nobody's and left out.
    pub inserts: Vec<ClockRange>,
    /// Deleted ranges (yrs); empty for automerge.
    pub deletes: Vec<ClockRange>,
    /// Hashes of the changes contained (automerge; for a whole document, its heads).
    pub changes: Vec<[u8; 32]>,
    /// Hashes of changes this update builds on and does not contain (automerge).
    pub deps: Vec<[u8; 32]>,
    /// Per writer, the clock that what the insertions refer to must be known up to (yrs); the update's own insertions
    /// count as known. Sorted by writer.
    pub needs: Vec<(u64, u64)>,
    /// Operations, or clock ticks.
    pub ops: u64,
    /// Deepest nesting of a value.
    pub depth: usize,
}

/// Reads `update` and bounds its depth, counts, clocks, ids, text encoding and declared lengths.
///
/// Linear in the length of the update; allocates at most in proportion to it.
///
/// # Errors
/// `Refused` with the value and the limit; `NotCompiled` when the build lacks the engine.
pub fn inspect(kind: EngineKind, update: &[u8]) -> Result<UpdateInfo, EngineError> {
    match kind {
        #[cfg(feature = "yrs")]
        EngineKind::Yrs => yrs::inspect(update),
        #[cfg(feature = "automerge")]
        EngineKind::Automerge => automerge::inspect(update),
        #[allow(unreachable_patterns, reason = "reachable only in builds without that engine")]
        engine => {
            let _ = update;
            Err(EngineError::NotCompiled { engine })
        }
    }
}
