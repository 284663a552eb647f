//! The harness: replicas that keep a log of what took effect, and deltas carried between them by hand.

use std::cell::{Cell, RefCell};

use aepoch::{
    document::{
        Access, AgentState, AppliedDeltas, Commit, Counter, Delta, Document, DocumentError, Incoming, List, Map,
        Register, RichText, Set, Subscription, Transaction,
    },
    engine::{EngineKind, Value},
    id::{AgentId, DocumentId, ReplicaId},
};
use bytes::Bytes;

/// The engines of this build.
pub(crate) fn kinds() -> Vec<EngineKind> {
    vec![
        #[cfg(feature = "yrs")]
        EngineKind::Yrs,
        #[cfg(feature = "automerge")]
        EngineKind::Automerge,
    ]
}

/// One replica.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) document: RefCell<Document>,
    /// What a store would hold, in order.
    pub(crate) log: RefCell<Vec<Bytes>>,
    /// Wall time; a test may set it.
    pub(crate) wall_ms: Cell<u64>,
}

impl Peer {
    pub(crate) fn new(kind: EngineKind, replica: u64) -> Self {
        let id = DocumentId::new("band/stage").unwrap();
        Self::of(Document::new(id, kind, ReplicaId::from_bits(replica)).unwrap())
    }

    pub(crate) fn of(document: Document) -> Self {
        Self { document: RefCell::new(document), log: RefCell::default(), wall_ms: Cell::new(1_000) }
    }

    /// Replicas 1 to `count`.
    pub(crate) fn several<const COUNT: usize>(kind: EngineKind) -> [Self; COUNT] {
        std::array::from_fn(|index| Self::new(kind, index as u64 + 1))
    }

    pub(crate) fn replica(&self) -> ReplicaId {
        self.document.borrow().replica()
    }

    /// Runs a transaction and returns what it made.
    pub(crate) fn commit(&self, plan: impl FnOnce(&mut Transaction<'_>) -> Result<(), DocumentError>) -> Commit {
        self.wall_ms.set(self.wall_ms.get() + 1);
        let ((), commit) = self.document.borrow_mut().transact(self.wall_ms.get(), true, plan).unwrap();
        if !commit.delta.is_empty() {
            self.log.borrow_mut().push(commit.delta.encode().unwrap());
        }
        commit
    }

    /// Runs a transaction and returns its delta, encoded.
    pub(crate) fn write(&self, plan: impl FnOnce(&mut Transaction<'_>) -> Result<(), DocumentError>) -> Bytes {
        self.commit(plan).delta.encode().unwrap()
    }

    pub(crate) fn try_receive(&self, deltas: &[Bytes]) -> Result<AppliedDeltas, DocumentError> {
        let decode = |(bytes, source): (&Bytes, u64)| Incoming::decode(bytes.clone(), source, None).unwrap();
        let incoming = deltas.iter().zip(1..).map(decode).collect();
        let applied = self.document.borrow_mut().apply(incoming, self.wall_ms.get(), true)?;
        self.log.borrow_mut().extend(applied.landed.iter().map(|incoming| incoming.encoded.clone()));
        Ok(applied)
    }

    /// Merges deltas of which none may be refused.
    pub(crate) fn receive(&self, deltas: &[Bytes]) -> AppliedDeltas {
        let applied = self.try_receive(deltas).unwrap();
        assert!(applied.refused.is_empty(), "refused: {:?}", applied.refused);
        applied
    }

    /// What this replica has and `other` lacks.
    pub(crate) fn lacking(&self, other: &Self) -> Delta {
        let frontier = other.document.borrow().frontier();
        self.document.borrow().delta_since(&frontier, None, &Subscription::default()).unwrap()
    }

    /// What this replica wrote itself and `other` lacks.
    pub(crate) fn own(&self, other: &Self) -> Delta {
        let frontier = other.document.borrow().frontier();
        let own = Some(self.replica());
        self.document.borrow().delta_since(&frontier, own, &Subscription::default()).unwrap()
    }

    /// Sends `other` all it lacks.
    pub(crate) fn sync_to(&self, other: &Self) {
        let delta = self.lacking(other);
        if !delta.is_empty() {
            let encoded = delta.encode().unwrap();
            let applied = other.receive(std::slice::from_ref(&encoded));
            // Something else may still wait there, but never what was made for this very replica.
            assert!(applied.landed.iter().any(|incoming| incoming.encoded == encoded));
        }
    }

    pub(crate) fn snapshot(&self) -> Bytes {
        self.document.borrow().snapshot().encode().unwrap()
    }

    pub(crate) fn render(&self) -> Value {
        self.document.borrow().render().unwrap()
    }

    pub(crate) fn at(&self, path: &str) -> Option<Value> {
        self.document.borrow().get_path(path).ok()
    }

    pub(crate) fn register<T>(&self, name: &str) -> Register<T, &Self> {
        Register::new(self, name)
    }

    pub(crate) fn counter(&self, name: &str) -> Counter<&Self> {
        Counter::new(self, name)
    }

    pub(crate) fn agent_state(&self, agent: &str) -> AgentState<&Self> {
        AgentState::new(self, AgentId::new(agent).unwrap())
    }

    pub(crate) fn map<T>(&self, name: &str) -> Map<T, &Self> {
        Map::new(self, name)
    }

    pub(crate) fn set<T>(&self, name: &str) -> Set<T, &Self> {
        Set::new(self, name)
    }

    pub(crate) fn list<T>(&self, name: &str) -> List<T, &Self> {
        List::new(self, name)
    }

    pub(crate) fn text(&self, name: &str) -> RichText<&Self> {
        RichText::new(self, name)
    }
}

impl Access for &Peer {
    type Error = DocumentError;

    fn read<R>(&self, f: impl FnOnce(&Document) -> R) -> Result<R, DocumentError> {
        Ok(f(&self.document.borrow()))
    }

    fn write<R>(&self, f: impl FnOnce(&mut Transaction<'_>) -> Result<R, DocumentError>) -> Result<R, DocumentError> {
        self.wall_ms.set(self.wall_ms.get() + 1);
        let (result, commit) = self.document.borrow_mut().transact(self.wall_ms.get(), false, f)?;
        if !commit.delta.is_empty() {
            self.log.borrow_mut().push(commit.delta.encode().unwrap());
        }
        Ok(result)
    }
}

/// A delta as two: its records and its content, as lanes of different priority carry them.
pub(crate) fn halves(delta: &Bytes) -> (Bytes, Bytes) {
    let delta = Incoming::decode(delta.clone(), 0, None).unwrap().delta;
    let records = Delta { records: delta.records, ..Delta::default() };
    let content = Delta { content: delta.content, ..Delta::default() };
    (records.encode().unwrap(), content.encode().unwrap())
}

pub(crate) fn decoded(delta: &Bytes) -> Delta {
    Incoming::decode(delta.clone(), 0, None).unwrap().delta
}
