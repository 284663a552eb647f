//! The yrs engine: content in a Yjs-compatible document. Layer 1, pure.
//!
//! Containers are root types of the same name, so plain Yjs clients see them under these names. Positions in texts are
//! converted at this edge: yrs counts UTF-16 units here, since its byte offsets lose count when a peer's edit splits a
//! surrogate pair.
//!
//! Deleted content is collected at once; replicas never author deletions while applying (`cleanup_formatting` is off).
//! Everything outgoing is the version 1 encoding in the canonical form of [`encode`].

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use ::yrs::{
    Array, ClientID, Doc, ID, IdSet, Map, OffsetKind, Options, ReadTxn, StateVector, Text, Transact, Transaction,
    TransactionMut, Update,
    types::text::YChange,
    updates::encoder::{Encode, Encoder},
};
use bytes::Bytes;

use self::{
    encode::Canonical,
    frontier::{DeletesDigest, Frontier},
    grounds::Grounds,
    inbox::{Inbox, Outlook},
    plan::Plan,
    shape::Shape,
    watch::Watch,
};
use super::{
    Absorbed, Applied, Container, ContainerKind, Engine, EngineCommit, EngineError, EngineKind, HistoryEntry, Op,
    Relation, TextSpan, UpdateInfo, Value, guarded,
    inspect::yrs::{self as prescan, Nesting},
};
use crate::id::ReplicaId;

mod encode;
mod foreign;
mod frontier;
mod grounds;
mod inbox;
mod order;
mod plan;
mod shape;
mod split;
mod subdocs;
mod value;
mod watch;

pub use foreign::{frontier_of_vector, merged, vector_of_frontier};

/// Content held by yrs.
pub(super) struct YrsEngine {
    doc: Doc,
    replica: ReplicaId,
    clocks: BTreeMap<u64, u64>,
    deletes: IdSet,
    /// Those made here: yrs does not say who deleted something.
    own_deletes: IdSet,
    digest: Cell<Option<DeletesDigest>>,
    /// Lists and texts looked at since the last remote change.
    shapes: RefCell<BTreeMap<Arc<str>, Shape>>,
    inbox: Inbox,
    grounds: Grounds,
    nesting: Nesting,
    watch: Watch,
    poisoned: Option<String>,
}

/// What a batch comes down to.
struct Sorted {
    /// Updates to be applied, in order.
    ready: Vec<Update>,
    /// Roots these name.
    roots: BTreeSet<String>,
    /// The clocks these move.
    ahead: BTreeMap<u64, u64>,
}

impl fmt::Debug for YrsEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("YrsEngine")
            .field("replica", &self.replica)
            .field("writers", &self.clocks.len())
            .field("pending", &self.inbox.bytes())
            .field("poisoned", &self.poisoned)
            .finish_non_exhaustive()
    }
}

impl YrsEngine {
    /// Empty content written under `replica`.
    pub(super) fn new(replica: ReplicaId) -> Self {
        let doc = Doc::with_options(Options {
            offset_kind: OffsetKind::Utf16,
            skip_gc: false,
            cleanup_formatting: false,
            ..Options::with_guid_and_client_id("aepoch".into(), ClientID::new(replica.get()))
        });
        Self {
            doc,
            replica,
            clocks: BTreeMap::new(),
            deletes: IdSet::new(),
            own_deletes: IdSet::new(),
            digest: Cell::new(None),
            shapes: RefCell::default(),
            inbox: Inbox::default(),
            grounds: Grounds::default(),
            nesting: Nesting::default(),
            watch: Watch::default(),
            poisoned: None,
        }
    }

    fn read(&self) -> Result<Transaction<'_>, EngineError> {
        self.sound()?;
        self.doc.try_transact().map_err(|error| EngineError::Poisoned { reason: error.to_string() })
    }

    fn sound(&self) -> Result<(), EngineError> {
        match &self.poisoned {
            Some(reason) => Err(EngineError::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Runs `work` in a transaction, commits it, and reads the result off the committed transaction.
    ///
    /// After a panic the transaction is leaked, and with it the document: dropping it would commit what is half done,
    /// which may panic again while unwinding and abort the process.
    fn write<R>(
        &mut self,
        work: impl FnOnce(&mut TransactionMut<'_>, &mut Watch) -> Result<(), EngineError>,
        read: impl FnOnce(&TransactionMut<'_>) -> R,
    ) -> Result<R, EngineError> {
        let mut txn = match self.doc.try_transact_mut() {
            Ok(txn) => txn,
            Err(error) => return Err(EngineError::Poisoned { reason: error.to_string() }),
        };
        let watch = &mut self.watch;
        let outcome = guarded(|| {
            work(&mut txn, watch)?;
            txn.commit();
            if txn.has_missing_updates() {
                return Err(EngineError::Poisoned { reason: "an update waits for itself".to_owned() });
            }
            Ok(())
        });
        match outcome {
            Ok(()) => {
                if !txn.delete_set().is_empty() {
                    self.deletes.merge_with(txn.delete_set().clone());
                    self.digest.set(None);
                }
                Ok(read(&txn))
            }
            Err(error) => {
                std::mem::forget(txn);
                self.poisoned = Some(error.to_string());
                Err(error)
            }
        }
    }

    fn deletes_digest(&self) -> DeletesDigest {
        let digest = self.digest.get().unwrap_or_else(|| frontier::digest(&self.deletes));
        self.digest.set(Some(digest));
        digest
    }

    /// The shape of a container that holds something.
    fn shape<T: ReadTxn>(&self, txn: &T, name: &str) -> Option<Shape> {
        let units = txn.get_text(name)?.len(txn) as usize;
        let known = self.shapes.borrow().get(name).copied().filter(|shape| shape.units == units);
        let shape = known.or_else(|| shape::shape(txn, name))?;
        if units > 0 && known.is_none() {
            self.shapes.borrow_mut().insert(name.into(), shape);
        }
        Some(shape)
    }

    /// The shape of a container to be read as `expected`; `None` when nothing is there.
    fn expect<T: ReadTxn>(&self, txn: &T, name: &str, expected: ContainerKind) -> Result<Option<Shape>, EngineError> {
        match self.shape(txn, name) {
            Some(shape) if shape.kind != expected => {
                Err(EngineError::WrongType { name: name.to_owned(), expected, found: shape.kind })
            }
            shape => Ok(shape),
        }
    }

    /// Sorts updates; what they stand on is kept when that went well, and only then.
    fn prepare(&mut self, updates: &[Bytes]) -> Result<Sorted, EngineError> {
        let sorted = self.sort(updates);
        match sorted {
            Ok(_) => self.grounds.settle(),
            Err(_) => self.grounds.roll_back(),
        }
        sorted
    }

    /// Sorts updates into those that can be applied, in order and decoded, and those that have to wait.
    fn sort(&mut self, updates: &[Bytes]) -> Result<Sorted, EngineError> {
        let mut queue = Vec::with_capacity(updates.len());
        for update in updates.iter().rev() {
            queue.push((update.clone(), prescan::scan(update)?));
        }
        let (mut ready, mut roots) = (Vec::new(), BTreeSet::new());
        let mut outlook = Outlook::new(&self.clocks);
        while let Some((update, scan)) = queue.pop() {
            let (update, scan, advanced) = match outlook.accept(&scan) {
                Some(advanced) => {
                    self.grounds.enter_all(&prescan::blocks(&update)?)?;
                    (update, scan, advanced)
                }
                None => {
                    let blocks = prescan::blocks(&update)?;
                    let parts = split::split(&update, &scan, &blocks, &mut outlook, &mut self.grounds)?;
                    for (missing, rest) in parts.rest {
                        self.inbox.hold(missing, rest);
                    }
                    let Some(ready) = parts.ready else { continue };
                    let scan = prescan::scan(&ready)?;
                    (ready, scan, parts.advanced)
                }
            };
            let (writers, most) = (outlook.writers(), EngineKind::Yrs.most_writers());
            if writers > most {
                return Err(EngineError::Refused {
                    reason: format!("{writers} writers in one document, limit {most}"),
                });
            }
            if scan.has_types || !self.nesting.is_empty() {
                prescan::admit(&mut self.nesting, &update)?;
            }
            ready.push(subdocs::decode(&update, &scan.subdocs)?);
            roots.extend(scan.roots);
            for (writer, clock) in advanced {
                for woken in self.inbox.wake(writer, clock) {
                    let scan = prescan::scan(&woken)?;
                    queue.push((woken, scan));
                }
            }
        }
        Ok(Sorted { ready, roots, ahead: outlook.into_ahead() })
    }

    /// Applies sorted updates in one transaction, and reads the result off it.
    fn integrate<R>(
        &mut self,
        ready: Vec<Update>,
        roots: &BTreeSet<String>,
        watch: bool,
        read: impl FnOnce(&TransactionMut<'_>) -> R,
    ) -> Result<R, EngineError> {
        let work = |txn: &mut TransactionMut<'_>, observers: &mut Watch| {
            if watch {
                observers.before(txn);
            }
            for update in ready {
                txn.apply_update(update).map_err(|error| EngineError::Poisoned { reason: error.to_string() })?;
            }
            let names = roots.iter().map(String::as_str);
            if watch {
                observers.during(txn, names);
            } else {
                observers.missed(names);
            }
            Ok(())
        };
        self.write(work, read)
    }

    /// What of our deletions a peer should hear of.
    fn deletes_for(&self, peer: &Frontier, author: Option<ReplicaId>) -> IdSet {
        if peer.deletes == self.deletes_digest() {
            return IdSet::new();
        }
        if author == Some(self.replica) { self.own_deletes.clone() } else { self.deletes.clone() }
    }

    fn encode_since(&self, known: &StateVector) -> Vec<u8> {
        let Ok(txn) = self.read() else { return Update::EMPTY_V1.to_vec() };
        let mut encoder = Canonical::new();
        txn.encode_diff(known, &mut encoder);
        encoder.to_vec()
    }
}

impl Engine for YrsEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Yrs
    }

    fn transact(&mut self, ops: &[Op], watch: bool) -> Result<EngineCommit, EngineError> {
        let (plan, shapes) = {
            let txn = self.read()?;
            Plan::new(ops, self.known(self.replica.get()), |name| self.shape(&txn, name))?
        };
        let work = |txn: &mut TransactionMut<'_>, observers: &mut Watch| {
            let names = shapes.keys().map(AsRef::as_ref);
            if watch {
                observers.before(txn);
                plan.run(txn);
                observers.during(txn, names);
            } else {
                plan.run(txn);
                observers.missed(names);
            }
            Ok(())
        };
        let (update, clock, units, deleted) = self.write(work, |txn| {
            let units: Vec<_> =
                shapes.keys().map(|name| txn.get_text(name.clone()).map_or(0, |text| text.len(txn) as usize)).collect();
            let inserted =
                txn.insert_set().iter().flat_map(|(_, ranges)| ranges).map(|range| u64::from(range.end)).max();
            if !txn.has_changes() {
                return (Bytes::new(), None, units, IdSet::new());
            }
            let mut encoder = Canonical::new();
            txn.encode_update(&mut encoder);
            (encoder.to_vec().into(), inserted, units, txn.delete_set().clone())
        })?;
        if !update.is_empty() {
            // Already written: were it refused, memory would be ahead of what the caller believes.
            if let Err(error) = prescan::blocks(&update).and_then(|blocks| self.grounds.enter_all(&blocks)) {
                self.poisoned = Some(error.to_string());
                self.sound()?;
            }
            self.grounds.settle();
        }
        self.own_deletes.merge_with(deleted);
        if let Some(clock) = clock {
            self.clocks.insert(self.replica.get(), clock);
        }
        let known = self.shapes.get_mut();
        for ((name, shape), units) in shapes.into_iter().zip(units) {
            if units == 0 {
                known.remove(&name);
            } else {
                known.insert(name, Shape { units, ..shape });
            }
        }
        Ok(EngineCommit { update, patches: if watch { self.watch.take() } else { Vec::new() } })
    }

    fn own_deletes(&self) -> Bytes {
        if self.own_deletes.is_empty() {
            return Bytes::new();
        }
        // An update is its blocks by client, here none, and then its deletions.
        let mut update = vec![0];
        update.extend_from_slice(&self.own_deletes.encode_v1());
        update.into()
    }

    fn adopt(&mut self, update: &Bytes) -> Result<(), EngineError> {
        for range in prescan::scan(update)?.info.deletes {
            let (from, to) = (range.from as u32, range.to as u32);
            self.own_deletes.insert(ID::new(ClientID::new(range.writer), from), to - from);
        }
        Ok(())
    }

    fn known(&self, writer: u64) -> u64 {
        self.clocks.get(&writer).copied().unwrap_or(0)
    }

    fn known_writers(&self) -> usize {
        self.clocks.len()
    }

    fn has_change(&self, _hash: &[u8; 32]) -> bool {
        false
    }

    fn apply(&mut self, updates: &[Bytes], watch: bool) -> Result<Applied, EngineError> {
        self.sound()?;
        let Sorted { ready, roots, ahead } = self.prepare(updates)?;
        if ready.is_empty() {
            return Ok(Applied { pending: self.inbox.bytes() > 0, ..Applied::default() });
        }
        let changed = self.integrate(ready, &roots, watch, |txn| txn.has_changes())?;
        self.clocks.extend(ahead);
        if changed {
            self.shapes.get_mut().clear();
        }
        let patches = if watch { self.watch.take() } else { Vec::new() };
        Ok(Applied { changed, pending: self.inbox.bytes() > 0, patches })
    }

    fn absorb(&mut self, update: &Bytes, watch: bool) -> Result<Absorbed, EngineError> {
        self.sound()?;
        let sorted = self.prepare(std::slice::from_ref(update));
        let incomplete = self.inbox.bytes() > 0;
        // Whoever brought it is asked for it again, together with what it builds on.
        self.inbox.clear();
        let Sorted { ready, roots, ahead } = sorted?;
        if ready.is_empty() {
            return Ok(Absorbed { incomplete, ..Absorbed::default() });
        }
        let update = self.integrate(ready, &roots, watch, |txn| {
            if !txn.has_changes() {
                return Bytes::new();
            }
            let mut encoder = Canonical::new();
            txn.encode_update(&mut encoder);
            encoder.to_vec().into()
        })?;
        self.clocks.extend(ahead);
        if !update.is_empty() {
            self.shapes.get_mut().clear();
        }
        let patches = if watch { self.watch.take() } else { Vec::new() };
        Ok(Absorbed { update, incomplete, patches })
    }

    fn is_known(&self, info: &UpdateInfo) -> bool {
        if info.inserts.iter().any(|range| range.to > self.known(range.writer)) {
            return false;
        }
        let mut deletes = IdSet::new();
        for range in &info.deletes {
            // Below the limit of clocks, as everything inspected.
            let (from, to) = (range.from as u32, range.to as u32);
            deletes.insert(ID::new(ClientID::new(range.writer), from), to - from);
        }
        deletes.diff(&self.deletes).is_empty()
    }

    fn frontier(&self) -> Bytes {
        frontier::encode(&self.clocks, &self.deletes_digest())
    }

    fn compare(&self, frontier: &[u8]) -> Result<Relation, EngineError> {
        let ours = Frontier { clocks: self.clocks.clone(), deletes: self.deletes_digest() };
        Ok(ours.relation(&Frontier::decode(frontier)?))
    }

    fn delta_since(&self, frontier: &[u8], author: Option<ReplicaId>) -> Result<Bytes, EngineError> {
        self.sound()?;
        let mut known = Frontier::decode(frontier)?;
        let deletes = self.deletes_for(&known, author);
        if let Some(author) = author {
            // As if it knew all of the others.
            let clock = known.clock(author.get());
            known.clocks.clone_from(&self.clocks);
            match clock {
                0 => drop(known.clocks.remove(&author.get())),
                clock => drop(known.clocks.insert(author.get(), clock)),
            }
        }
        if deletes.is_empty() && self.clocks.iter().all(|(writer, clock)| *clock <= known.clock(*writer)) {
            return Ok(Bytes::new());
        }
        let mut delta = self.encode_since(&known.state_vector());
        // yrs writes all deletions behind the blocks; these are replaced by those wanted.
        let all = self.deletes.encode_v1();
        if deletes != self.deletes && delta.ends_with(&all) {
            delta.truncate(delta.len() - all.len());
            delta.extend_from_slice(&deletes.encode_v1());
        }
        Ok(delta.into())
    }

    fn snapshot(&self) -> Bytes {
        self.encode_since(&StateVector::default()).into()
    }

    fn pending(&self) -> usize {
        self.inbox.bytes()
    }

    fn drop_pending(&mut self) -> Result<(), EngineError> {
        self.inbox.clear();
        Ok(())
    }

    fn containers(&self) -> Vec<Container> {
        let Ok(txn) = self.read() else { return Vec::new() };
        let mut containers: Vec<_> = txn
            .root_refs()
            .filter_map(|(name, _)| Some(Container { kind: self.shape(&txn, name)?.kind, name: name.into() }))
            .collect();
        containers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        containers
    }

    fn map_get(&self, map: &str, key: &str) -> Result<Option<Value>, EngineError> {
        let txn = self.read()?;
        self.expect_map(&txn, map)?;
        Ok(txn.get_map(map).and_then(|map| map.get(&txn, key)).map(|out| value::from_out(&out, &txn)))
    }

    fn map_entries(&self, map: &str) -> Result<Vec<(Arc<str>, Value)>, EngineError> {
        let txn = self.read()?;
        self.expect_map(&txn, map)?;
        let Some(map) = txn.get_map(map) else { return Ok(Vec::new()) };
        let entry = |key: &str| Some((Arc::<str>::from(key), value::from_out(&map.get(&txn, key)?, &txn)));
        let mut entries: Vec<_> = map.keys(&txn).filter_map(entry).collect();
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    }

    fn list_values(&self, list: &str) -> Result<Vec<Value>, EngineError> {
        let txn = self.read()?;
        if self.expect(&txn, list, ContainerKind::List)?.is_none() {
            return Ok(Vec::new());
        }
        let Some(list) = txn.get_array(list) else { return Ok(Vec::new()) };
        Ok(list.iter(&txn).map(|out| value::from_out(&out, &txn)).collect())
    }

    fn len(&self, container: &Container) -> Result<usize, EngineError> {
        let txn = self.read()?;
        if container.kind == ContainerKind::Map {
            self.expect_map(&txn, &container.name)?;
            let Some(map) = txn.get_map(container.name.clone()) else { return Ok(0) };
            return Ok(map.keys(&txn).filter(|key| map.get(&txn, key).is_some()).count());
        }
        Ok(self.expect(&txn, &container.name, container.kind)?.map_or(0, |shape| shape.len))
    }

    fn text_spans(&self, text: &str) -> Result<Vec<TextSpan>, EngineError> {
        let txn = self.read()?;
        if self.expect(&txn, text, ContainerKind::Text)?.is_none() {
            return Ok(Vec::new());
        }
        let Some(text) = txn.get_text(text) else { return Ok(Vec::new()) };
        let mut spans: Vec<TextSpan> = Vec::new();
        for chunk in text.diff(&txn, YChange::identity) {
            let characters = shape::characters(&chunk.insert);
            let attributes = chunk.attributes.iter().flat_map(|attributes| attributes.iter());
            let attributes = attributes.map(|(name, any)| (name.to_string(), value::from_any(any))).collect();
            match spans.last_mut() {
                Some(last) if last.attributes == attributes => last.text.push_str(&characters),
                _ => spans.push(TextSpan { text: characters.into_owned(), attributes }),
            }
        }
        Ok(spans)
    }

    fn history(&self) -> Result<Vec<HistoryEntry>, EngineError> {
        Err(EngineError::Unsupported { engine: EngineKind::Yrs, what: "list past changes" })
    }

    fn past(&self, _: usize) -> Result<Box<dyn Engine>, EngineError> {
        Err(EngineError::Unsupported { engine: EngineKind::Yrs, what: "show the past" })
    }
}

impl YrsEngine {
    /// Any entries there may be are those of a map, unless a sequence hides them. Never looks at the entries.
    fn expect_map<T: ReadTxn>(&self, txn: &T, name: &str) -> Result<(), EngineError> {
        if txn.get_text(name).is_none_or(|sequence| sequence.len(txn) == 0) {
            return Ok(());
        }
        self.expect(txn, name, ContainerKind::Map).map(drop)
    }
}
