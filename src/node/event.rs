//! What a node tells its driver, and what it tells about itself.

use bytes::Bytes;
use serde::Serialize;

use crate::{
    coordination::participant::Happening,
    document::DigestEntry,
    engine::{EngineKind, Patch},
    id::{AgentId, DocumentId, LinkId, ObjectId},
    node::{connector::TargetStatus, inquiry::InquiryId},
    sync::{Address, ErrorCode, Lane, PresenceEntry},
    trust::policy::PolicyHash,
};

/// Something an application may want to know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A document is in memory and usable.
    Opened {
        /// The document.
        document: DocumentId,
    },
    /// A document could not be opened.
    OpenFailed {
        /// The document.
        document: DocumentId,
        /// Why.
        reason: String,
    },
    /// A document changed; sent while somebody watches it.
    Changed {
        /// The document.
        document: DocumentId,
        /// What changed, in order.
        patches: Vec<Patch>,
    },
    /// More of our own writes became durable.
    Acked {
        /// The document.
        document: DocumentId,
    },
    /// A connection is ready.
    LinkUp {
        /// The connection.
        link: LinkId,
        /// Who is at the other end.
        agent: AgentId,
        /// The name of the credential it has shown (`jti`), and the policy that admitted it; where none was asked for, none.
        credential: Option<(String, PolicyHash)>,
    },
    /// A guest has shown a pass for a document, and is known by its name from now on.
    Entered {
        /// The connection.
        link: LinkId,
        /// The document.
        document: DocumentId,
        /// Whom the pass is for.
        agent: AgentId,
        /// The name of the pass (`jti`), and the policy that admitted it.
        credential: Option<(String, PolicyHash)>,
    },
    /// A connection has ended.
    LinkDown {
        /// The connection.
        link: LinkId,
        /// Who was at the other end.
        agent: AgentId,
        /// Why.
        reason: String,
    },
    /// Ephemeral states changed.
    Presence {
        /// The document.
        document: DocumentId,
        /// Changed entries; without state: gone.
        entries: Vec<PresenceEntry>,
    },
    /// An inquiry is not pending any more; [`Node::inquired`](super::Node::inquired) tells how it stands.
    Inquired {
        /// The document.
        document: DocumentId,
        /// Which.
        inquiry: InquiryId,
    },
    /// An application's message has come.
    Message {
        /// Who sent it.
        from: AgentId,
        /// Whom it was for.
        to: Address,
        /// The sender's bytes.
        body: Bytes,
    },
    /// A peer takes part in a document.
    Joined {
        /// The connection.
        link: LinkId,
        /// The document.
        document: DocumentId,
    },
    /// A peer asked for something we did not give it, without having broken a rule.
    Denied {
        /// The connection.
        link: LinkId,
        /// The document concerned, if one.
        document: Option<DocumentId>,
        /// The kind of refusal.
        code: ErrorCode,
        /// Why.
        reason: String,
    },
    /// A peer refused something of ours.
    Refused {
        /// The document concerned, if one.
        document: Option<DocumentId>,
        /// The kind of refusal.
        code: ErrorCode,
        /// The peer's sentence.
        reason: String,
    },
    /// We refused something of a peer's.
    Offence {
        /// The connection.
        link: LinkId,
        /// The document concerned, if one.
        document: Option<DocumentId>,
        /// What was wrong.
        reason: String,
    },
    /// An engine failed on a peer's bytes; the document is being rebuilt from the store without them.
    Quarantined {
        /// The document.
        document: DocumentId,
        /// What the engine said.
        reason: String,
    },
    /// The store failed; what it was given or asked for is kept and tried again.
    StoreFailed {
        /// The document.
        document: DocumentId,
        /// What the store said.
        reason: String,
    },
    /// A peer asks for a newer credential: ours ends soon. [`Node::renew_credential`](super::Node::renew_credential) answers.
    RenewalAsked {
        /// The connection.
        link: LinkId,
    },
    /// Something became of a barrier or another object.
    Coordination {
        /// The document.
        document: DocumentId,
        /// The object.
        object: ObjectId,
        /// What.
        happening: Happening,
    },
    /// A peer's digest has come.
    Digest {
        /// The connection it came from.
        link: LinkId,
        /// The document.
        document: DocumentId,
        /// What the question was told to be: [`Node::request_digest`](super::Node::request_digest).
        question: u64,
        /// The path asked for.
        path: String,
        /// Its parts.
        entries: Vec<DigestEntry>,
    },
}

/// Counts of what a node has done, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Deltas received from peers.
    pub deltas_in: u64,
    /// Deltas sent, counted once per receiver.
    pub deltas_out: u64,
    /// Bytes of messages handed to connections, by [`Lane`], most urgent first; before compression. Guests have none.
    pub bytes_by_lane: [u64; Lane::ALL.len()],
    /// Batches sent (one encoding each).
    pub batches: u64,
    /// Changes in those batches.
    pub changes: u64,
    /// Times a slow reader's queue was replaced by one delta.
    pub conflations: u64,
    /// Deltas computed for joiners and for drained readers.
    pub catch_ups: u64,
    /// Snapshots encoded for joiners.
    pub snapshots: u64,
    /// Joiners served from a shared snapshot.
    pub snapshots_shared: u64,
    /// Resyncs asked for.
    pub resyncs: u64,
    /// Peers' inputs refused.
    pub refused: u64,
    /// Documents rebuilt after an engine failure.
    pub quarantines: u64,
    /// Log entries given to the store.
    pub appends: u64,
    /// Acknowledgements sent.
    pub acks: u64,
}

impl Counters {
    /// Adds another node's counts.
    pub fn add(&mut self, other: Self) {
        self.deltas_in += other.deltas_in;
        self.deltas_out += other.deltas_out;
        self.bytes_by_lane.iter_mut().zip(other.bytes_by_lane).for_each(|(sum, more)| *sum += more);
        self.batches += other.batches;
        self.changes += other.changes;
        self.conflations += other.conflations;
        self.catch_ups += other.catch_ups;
        self.snapshots += other.snapshots;
        self.snapshots_shared += other.snapshots_shared;
        self.resyncs += other.resyncs;
        self.refused += other.refused;
        self.quarantines += other.quarantines;
        self.appends += other.appends;
        self.acks += other.acks;
    }
}

/// What a node knows about one document right now.
#[derive(Debug, Clone, Serialize)]
pub struct DocumentStatus {
    /// The document.
    pub document: DocumentId,
    /// Its engine.
    pub engine: EngineKind,
    /// It is in memory and at rest.
    pub ready: bool,
    /// Connections that take part in it.
    pub links: usize,
    /// Connections that wait to drain before they get more.
    pub behind: usize,
    /// Local commits of content and records not yet durable where they should be.
    pub unsynced: u64,
    /// Why they are not, or why the document is not here, in one sentence; `None` when neither is so.
    pub stalled: Option<String>,
    /// Entries and bytes in the log since the last snapshot.
    pub log_entries: u64,
    /// Estimate of the document's encoded size in bytes.
    pub weight: u64,
    /// Ephemeral states present.
    pub presence: usize,
}

/// What a node knows about the other end of its links.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStatus {
    /// At least one connection is ready.
    pub online: bool,
    /// Ready connections: the agents at their other ends.
    pub peers: Vec<AgentId>,
    /// Targets.
    #[serde(skip)]
    pub targets: Vec<TargetStatus>,
    /// Local commits not yet durable, over all documents.
    pub unsynced: u64,
    /// The first reason why.
    pub stalled: Option<String>,
}
