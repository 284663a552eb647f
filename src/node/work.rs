//! Work too heavy to do inline: the document leaves the node with its job and comes back with the outcome.
//!
//! While a document is away its room keeps what arrives; every other document goes on. The driver runs [`Work::run`]
//! wherever it likes (a blocking thread; at once in a browser; late in the simulator).

use bytes::Bytes;

use super::flow::encode_whole;
use crate::{
    document::{AppliedDeltas, DigestEntry, Document, DocumentError, Frontier, Incoming, Subscription},
    engine::EngineKind,
    id::{DocumentId, LinkId, ReplicaId},
    store::StoredDocument,
    sync::Encoded,
};

/// A job and the document it is about.
#[derive(Debug)]
pub struct Work {
    /// The document's name.
    pub document: DocumentId,
    pub(super) generation: u64,
    pub(super) subject: Option<Box<Document>>,
    pub(super) job: Job,
    pub(super) outcome: Option<Outcome>,
}

#[derive(Debug)]
pub(super) enum Job {
    Load { kind: EngineKind, replica: ReplicaId, stored: StoredDocument },
    Apply { incoming: Vec<Incoming>, wall_ms: u64, watch: bool },
    CatchUp { link: LinkId, since: Frontier, author: Option<ReplicaId>, subscription: Subscription, bulk_bytes: usize },
    Snapshot { upto: u64 },
    Digest { link: LinkId, path: String },
}

#[derive(Debug)]
pub(super) enum Outcome {
    Loaded(Result<(), DocumentError>),
    Applied { result: Result<AppliedDeltas, DocumentError>, suspects: Vec<Incoming> },
    CatchUp { link: LinkId, since: Frontier, delta: Result<CatchUp, DocumentError> },
    Snapshot { upto: u64, bytes: Result<Bytes, DocumentError> },
    Digest { link: LinkId, path: String, entries: Result<Vec<DigestEntry>, DocumentError> },
}

/// What a member lacked, ready to be sent: encoding (and compressing) a document takes as long as computing it.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// `None`: nothing was lacking.
    pub(super) encoded: Option<Encoded>,
    /// What the member has once it has this.
    pub(super) frontier: Frontier,
}

impl Work {
    /// Does the job. May take long; touches nothing but the document it carries.
    pub fn run(&mut self) {
        let outcome = match std::mem::replace(&mut self.job, Job::Snapshot { upto: 0 }) {
            Job::Load { kind, replica, stored } => {
                let loaded =
                    Document::load(self.document.clone(), kind, replica, stored.snapshot.as_ref(), &stored.entries);
                Outcome::Loaded(loaded.map(|document| self.subject = Some(Box::new(document))))
            }
            job => match self.subject.as_mut() {
                Some(document) => run_on(document, job),
                None => return,
            },
        };
        if matches!(outcome, Outcome::Applied { result: Err(_), .. }) {
            // The engine failed half way: even dropping what it left behind may panic.
            std::mem::forget(self.subject.take());
        }
        self.outcome = Some(outcome);
    }
}

fn run_on(document: &mut Document, job: Job) -> Outcome {
    match job {
        Job::Apply { incoming, wall_ms, watch } => {
            let suspects = incoming.clone();
            let result = document.apply(incoming, wall_ms, watch);
            let suspects = if result.is_err() { suspects } else { Vec::new() };
            Outcome::Applied { result, suspects }
        }
        Job::CatchUp { link, since, author, subscription, bulk_bytes } => {
            let delta = document.delta_since(&since, author, &subscription).map(|delta| CatchUp {
                encoded: if delta.is_empty() { None } else { encode_whole(document.id(), &delta, bulk_bytes) },
                frontier: document.frontier(),
            });
            Outcome::CatchUp { link, since, delta }
        }
        Job::Snapshot { upto } => Outcome::Snapshot { upto, bytes: document.snapshot().encode() },
        Job::Digest { link, path } => {
            let entries = document.digest(&path);
            Outcome::Digest { link, path, entries }
        }
        Job::Load { .. } => unreachable!("a load creates its document and is handled by its caller"),
    }
}
