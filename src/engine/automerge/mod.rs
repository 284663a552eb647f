//! Content held by automerge: all history, who wrote it, concurrent values. Layer 1.
//!
//! Updates are change chunks, never compressed: the session compresses. A snapshot is one document chunk. Positions
//! count Unicode scalar values. The clock is never read: changes carry time zero.
//!
//! Rules beyond automerge's own, the same at every replica: containers are created by one fixed change each
//! ([`creation`]), a change's operations are numbered from one above everything it builds on, objects nest no deeper
//! than a value may, and a change reads back as it was written. `merge` holds updates against them.

use std::{fmt, sync::Arc};

use automerge::{Automerge, ChangeHash, PatchLog, ReadDoc, Span, TextEncoding, transaction::CommitOptions};
use bytes::Bytes;

use super::{
    Absorbed, Applied, Container, ContainerKind, Engine, EngineCommit, EngineError, EngineKind, HistoryEntry, Op,
    Relation, TextSpan, UpdateInfo, Value, guard::guarded,
};
use crate::{id::ReplicaId, limits};

mod absorb;
mod actor;
mod chains;
mod containers;
#[cfg(feature = "guests")]
mod converse;
mod creation;
mod frontier;
mod merge;
mod observe;
mod plan;
mod queue;
mod value;
mod write;

pub(in crate::engine) use actor::{ACTOR_BYTES, ACTORS, CONTAINERS, is_creator, writer_of};
pub(in crate::engine) use creation::Creation;
#[cfg(feature = "guests")]
pub(in crate::engine) use creation::unsigned;
pub(in crate::engine) use merge::uncompressed;
pub(in crate::engine) use value::CONTAINER_DEPTH;

use chains::{Chains, Link};
use containers::Containers;
use frontier::Frontier;
use merge::{poisoned, save};
use observe::Observer;
use plan::Plan;
use queue::Queue;
use value::{View, hex, json_of};

/// Changes up to which a new peer gets them singly: for so few a document chunk is no smaller.
const SINGLE_CHANGES: usize = 16;

/// automerge content of one document.
pub(super) struct AutomergeEngine {
    replica: ReplicaId,
    document: Automerge,
    containers: Containers,
    chains: Chains,
    queue: Queue,
    /// Creations not sent yet: they go out with the change that follows, or with the next should that one fail.
    unsent: Vec<u8>,
}

impl fmt::Debug for AutomergeEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutomergeEngine")
            .field("replica", &self.replica)
            .field("heads", &self.document.get_heads())
            .field("pending", &self.queue.bytes())
            .finish_non_exhaustive()
    }
}

impl AutomergeEngine {
    /// Empty content written under `replica`.
    pub(super) fn new(replica: ReplicaId) -> Self {
        let document = Automerge::new_with_encoding(TextEncoding::UnicodeCodePoint);
        Self {
            replica,
            document: document.with_actor(actor::actor_of(replica)),
            containers: Containers::default(),
            chains: Chains::default(),
            queue: Queue::default(),
            unsent: Vec::new(),
        }
    }

    fn knows(&self, hash: &[u8; 32]) -> bool {
        self.document.get_change_meta_by_hash(&ChangeHash(*hash)).is_some()
    }

    fn is_creation(&self, hash: &[u8; 32]) -> bool {
        let meta = self.document.get_change_meta_by_hash(&ChangeHash(*hash));
        meta.is_some_and(|meta| is_creator(meta.actor.to_bytes()))
    }

    fn view(&self) -> View<'_> {
        View { document: &self.document, heads: None }
    }

    /// Creates containers.
    fn create(&mut self, creations: &[Creation]) -> Result<(), EngineError> {
        let changes = creations.iter().map(Creation::change).collect::<Result<Vec<_>, _>>()?;
        self.document.apply_changes(changes.clone()).map_err(poisoned)?;
        for (creation, change) in creations.iter().zip(&changes) {
            self.containers.add(creation);
            self.chains.push(change.actor_id(), Link { hash: change.hash().0, max_op: change.max_op() });
            self.unsent.extend_from_slice(change.raw_bytes());
        }
        Ok(())
    }

    /// Performs checked operations in one change.
    fn write(&mut self, ops: &[Op], watch: bool) -> Result<EngineCommit, EngineError> {
        let steps = write::resolve(&self.document, &self.containers, ops);
        let before = self.document.get_heads();
        let mut transaction = self.document.transaction_log_patches(PatchLog::new(watch)).map_err(poisoned)?;
        if let Err(error) = write::perform(&mut transaction, &steps) {
            transaction.rollback();
            return Err(EngineError::Corrupt { what: "transaction", reason: error.to_string() });
        }
        let (hash, mut log) = transaction.commit_with(CommitOptions::default().with_time(0));
        let mut update = std::mem::take(&mut self.unsent);
        if hash.is_some()
            && let Some(change) = self.document.get_last_local_change()
        {
            self.chains.push(change.actor_id(), Link { hash: change.hash().0, max_op: change.max_op() });
            update.extend_from_slice(change.raw_bytes());
        }
        if !watch {
            return Ok(EngineCommit { update: update.into(), patches: Vec::new() });
        }
        let patches = self.document.make_patches(&mut log);
        let patches = Observer::report(&self.document, &self.containers, &before, &patches);
        Ok(EngineCommit { update: update.into(), patches })
    }

    fn container_len(&self, container: &Container) -> Result<usize, EngineError> {
        let found = self.containers.expect(&self.document, &container.name, container.kind)?;
        Ok(found.map_or(0, |object| self.document.length(&object)))
    }

    fn spans(&self, text: &str) -> Result<Vec<TextSpan>, EngineError> {
        let Some(object) = self.containers.expect(&self.document, text, ContainerKind::Text)? else {
            return Ok(Vec::new());
        };
        let mut spans: Vec<TextSpan> = Vec::new();
        for span in self.document.spans(&object).map_err(poisoned)? {
            let (text, marks) = match span {
                Span::Text { text, marks } => (text, marks),
                // Another program's block takes one position.
                Span::Block(_) => ("\u{fffc}".to_owned(), None),
            };
            let marks = marks.iter().flat_map(|marks| marks.iter());
            let attributes = marks.map(|(name, value)| (name.to_owned(), json_of(value)));
            let attributes = attributes.filter(|(_, value)| !value.is_null()).collect();
            match spans.last_mut() {
                Some(last) if last.attributes == attributes => last.text.push_str(&text),
                _ => spans.push(TextSpan { text, attributes }),
            }
        }
        Ok(spans)
    }

    /// Changes a peer lacks that has `common` and all that builds on: only those of `author` and what they need that
    /// is nobody's, if asked for. All of them, also where they build on others' that the peer lacks: the delta that
    /// carries them says it has all of the author's commits.
    fn chunks(&self, common: &[ChangeHash], author: Option<ReplicaId>) -> Vec<u8> {
        let changes = self.document.get_changes(common);
        let author = author.map(actor::actor_of);
        let mut chunks = Vec::new();
        for change in &changes {
            let wanted = author.as_ref().is_none_or(|author| change.actor_id() == author)
                || is_creator(change.actor_id().to_bytes());
            if wanted {
                chunks.extend_from_slice(change.raw_bytes());
            }
        }
        chunks
    }

    fn delta(&self, frontier: &Frontier, author: Option<ReplicaId>) -> Bytes {
        let common = frontier.common(self);
        if author.is_some() {
            return self.chunks(&common, author).into();
        }
        let lacking = self.document.get_changes_meta(&common);
        let work: u64 = lacking.iter().map(|meta| meta.max_op + 1 - meta.start_op + meta.deps.len() as u64).sum();
        let whole = frontier.is_empty() && lacking.len() > SINGLE_CHANGES;
        if whole || work > limits::UPDATE_OPS / 2 { self.snapshot() } else { self.chunks(&common, None).into() }
    }

    fn entries(&self) -> Vec<HistoryEntry> {
        let metas = self.document.get_changes_meta(&[]);
        let entries = metas.into_iter().map(|meta| HistoryEntry {
            writer: actor::replica_of(meta.actor.to_bytes()),
            seq: meta.seq,
            id: hex(&meta.hash.0),
            ops: meta.max_op + 1 - meta.start_op,
            wall_ms: meta.timestamp.saturating_mul(1_000),
        });
        entries.collect()
    }
}

/// Reads run under [`guarded`]: a peer's change may lay out objects no writer of ours would, and a reader must survive
/// what automerge makes of them.
impl Engine for AutomergeEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Automerge
    }

    fn transact(&mut self, ops: &[Op], watch: bool) -> Result<EngineCommit, EngineError> {
        let creations = Plan::check(&self.document, &self.containers, ops)?;
        if !creations.is_empty() {
            self.create(&creations)?;
        }
        self.write(ops, watch)
    }

    fn known(&self, writer: u64) -> u64 {
        self.chains.known(writer)
    }

    fn has_change(&self, hash: &[u8; 32]) -> bool {
        self.knows(hash)
    }

    fn apply(&mut self, updates: &[Bytes], watch: bool) -> Result<Applied, EngineError> {
        self.merge(updates, watch)
    }

    fn absorb(&mut self, update: &Bytes, watch: bool) -> Result<Absorbed, EngineError> {
        self.take_in(update, watch)
    }

    fn is_known(&self, info: &UpdateInfo) -> bool {
        info.changes.iter().all(|hash| self.knows(hash))
    }

    #[cfg(feature = "guests")]
    fn converse(
        &mut self,
        talk: &mut super::Conversation,
        heard: Option<&super::PeerMessage>,
        may_speak: bool,
    ) -> Result<Option<Bytes>, EngineError> {
        guarded(|| {
            if let Some(heard) = heard {
                self.listen(talk, heard)?;
            }
            if may_speak { self.speak(talk) } else { Ok(None) }
        })
    }

    fn frontier(&self) -> Bytes {
        Frontier::encode(self)
    }

    fn compare(&self, frontier: &[u8]) -> Result<Relation, EngineError> {
        Ok(Frontier::decode(frontier)?.relation(self))
    }

    fn delta_since(&self, frontier: &[u8], author: Option<ReplicaId>) -> Result<Bytes, EngineError> {
        let frontier = Frontier::decode(frontier)?;
        guarded(|| Ok(self.delta(&frontier, author)))
    }

    fn snapshot(&self) -> Bytes {
        if self.document.is_empty() { Bytes::new() } else { save(&self.document).into() }
    }

    fn pending(&self) -> usize {
        self.queue.bytes()
    }

    fn drop_pending(&mut self) -> Result<(), EngineError> {
        self.queue.clear();
        Ok(())
    }

    fn containers(&self) -> Vec<Container> {
        self.containers.list(&self.document)
    }

    fn map_get(&self, map: &str, key: &str) -> Result<Option<Value>, EngineError> {
        guarded(|| {
            let found = self.containers.expect(&self.document, map, ContainerKind::Map)?;
            Ok(found.and_then(|object| self.view().get(&object, key)))
        })
    }

    fn map_entries(&self, map: &str) -> Result<Vec<(Arc<str>, Value)>, EngineError> {
        guarded(|| {
            let found = self.containers.expect(&self.document, map, ContainerKind::Map)?;
            let entries = found.map_or_else(Vec::new, |object| self.view().entries(&object, 1));
            Ok(entries.into_iter().map(|(key, value)| (Arc::from(key), value)).collect())
        })
    }

    fn list_values(&self, list: &str) -> Result<Vec<Value>, EngineError> {
        guarded(|| {
            let found = self.containers.expect(&self.document, list, ContainerKind::List)?;
            Ok(found.map_or_else(Vec::new, |object| self.view().items(&object, 1)))
        })
    }

    fn len(&self, container: &Container) -> Result<usize, EngineError> {
        guarded(|| self.container_len(container))
    }

    fn text_spans(&self, text: &str) -> Result<Vec<TextSpan>, EngineError> {
        guarded(|| self.spans(text))
    }

    fn history(&self) -> Result<Vec<HistoryEntry>, EngineError> {
        guarded(|| Ok(self.entries()))
    }

    fn past(&self, changes: usize) -> Result<Box<dyn Engine>, EngineError> {
        guarded(|| {
            // In the order of `entries`.
            let all = self.document.get_changes(&[]);
            let Some(first) = all.get(..changes) else {
                return Err(EngineError::OutOfRange { name: "history".to_owned(), index: changes, len: all.len() });
            };
            let mut past = Self::new(self.replica);
            let bytes = first.iter().map(|change| Bytes::copy_from_slice(change.raw_bytes())).collect::<Vec<_>>();
            past.apply(&bytes, false)?;
            Ok(Box::new(past) as Box<dyn Engine>)
        })
    }
}
