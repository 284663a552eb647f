//! Work too heavy to do inline: the document leaves the node with its job and comes back with the outcome.
//!
//! While a document is away its room keeps what arrives; every other document goes on. The driver runs [`Work::run`]
//! wherever it likes (a blocking thread; at once in a browser; late in the simulator).

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use super::{
    flow::{encode_batch, encode_whole},
    guest::{Lacking, Turn},
    tiers::TierBook,
    verification::verified,
};
use crate::{
    document::{
        Absorption, AppliedDeltas, Confines, DigestEntry, Document, DocumentError, Foreign, Frontier, Incoming,
        Signing, Subscription,
    },
    engine::{Conversation, EngineKind, PeerMessage},
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
    Load {
        kind: EngineKind,
        replica: ReplicaId,
        stored: StoredDocument,
        signing: Option<Arc<Signing>>,
    },
    Apply {
        arrivals: Vec<Arrival>,
        /// Writers who follow commits, for guests' updates.
        natives: Arc<BTreeSet<ReplicaId>>,
        /// Coordination records are taken in.
        coordination: bool,
        tiers: TierBook,
        wall_ms: u64,
        watch: bool,
        bulk_bytes: usize,
        inline_bytes: usize,
    },
    CatchUp {
        link: LinkId,
        since: Frontier,
        author: Option<ReplicaId>,
        subscription: Subscription,
        bulk_bytes: usize,
    },
    Snapshot {
        upto: u64,
    },
    /// What a guest lacks.
    Lack {
        link: LinkId,
        since: Bytes,
    },
    /// A turn in a conversation with a guest.
    Converse {
        link: LinkId,
        conversation: Box<Conversation>,
        heard: Option<PeerMessage>,
        may_speak: bool,
    },
    Digest {
        link: LinkId,
        question: u64,
        path: String,
    },
}

#[derive(Debug)]
pub(super) enum Outcome {
    Loaded(Result<(), DocumentError>),
    Applied(Box<Applied>),
    CatchUp { link: LinkId, since: Frontier, delta: Result<CatchUp, DocumentError> },
    Snapshot { upto: u64, bytes: Result<Bytes, DocumentError> },
    Lack { link: LinkId, since: Bytes, lacking: Result<Lacking, DocumentError> },
    Converse { link: LinkId, conversation: Box<Conversation>, turn: Result<Turn, DocumentError> },
    Digest { link: LinkId, question: u64, path: String, entries: Result<Vec<DigestEntry>, DocumentError> },
}

/// What has come from a connection: a peer's delta, or a guest's update.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) link: LinkId,
    pub(super) encoded: Bytes,
    pub(super) origin: Origin,
}

/// Who has brought something.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Peer {
        /// Whose writes it may bring; `None`: anybody's.
        author: Option<ReplicaId>,
        /// What it may change; `None`: everything.
        confines: Option<Arc<Confines>>,
    },
    Guest {
        may_write: bool,
    },
}

/// What became of arrivals.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) result: Result<AppliedDeltas, DocumentError>,
    /// As it was given.
    pub(super) tiers: TierBook,
    /// Which writers' commits each connection brought: it wants to hear when they are durable.
    pub(super) brought: Vec<(LinkId, BTreeSet<ReplicaId>)>,
    /// What became of guests' updates, in order.
    pub(super) absorbed: Vec<(LinkId, Absorption)>,
    /// Those that are no deltas.
    pub(super) unreadable: Vec<(LinkId, String)>,
    /// Those that go beyond what their bringer may change.
    pub(super) forbidden: Vec<(LinkId, String)>,
    /// Who brought coordination records while none are taken in; nothing of such a delta was kept.
    pub(super) declined: Vec<LinkId>,
    /// What has landed as a message, when it is one delta and large: encoding it takes as long as applying it.
    pub(super) message: Option<Encoded>,
    /// The arrivals again, when the engine failed on one of them.
    pub(super) suspects: Vec<Arrival>,
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
            Job::Load { kind, replica, stored, signing } => {
                let (id, snapshot) = (self.document.clone(), stored.snapshot.as_ref());
                let loaded = match &signing {
                    Some(authority) => Document::load_sealed(id, kind, replica, snapshot, &stored.entries, authority),
                    None => Document::load(id, kind, replica, snapshot, &stored.entries),
                };
                Outcome::Loaded(loaded.map(|document| self.subject = Some(Box::new(document))))
            }
            job => match self.subject.as_mut() {
                Some(document) => run_on(document, job),
                None => return,
            },
        };
        if matches!(&outcome, Outcome::Applied(applied) if applied.result.is_err()) {
            // The engine failed half way: even dropping what it left behind may panic.
            std::mem::forget(self.subject.take());
        }
        self.outcome = Some(outcome);
    }
}

#[cfg(feature = "sim")]
impl Work {
    /// The engine fails on one of several things that have come. False, and nothing is done, when it is other work.
    pub(crate) fn fail(&mut self) -> bool {
        let Job::Apply { arrivals, tiers, .. } = &mut self.job else { return false };
        if arrivals.len() < 2 {
            return false;
        }
        self.subject = None;
        self.outcome = Some(Outcome::Applied(Box::new(Applied {
            result: Err(crate::engine::EngineError::Poisoned { reason: "on purpose".to_owned() }.into()),
            tiers: std::mem::take(tiers),
            brought: Vec::new(),
            absorbed: Vec::new(),
            unreadable: Vec::new(),
            forbidden: Vec::new(),
            declined: Vec::new(),
            message: None,
            suspects: std::mem::take(arrivals),
        })));
        true
    }
}

fn run_on(document: &mut Document, job: Job) -> Outcome {
    match job {
        Job::Apply { arrivals, natives, coordination, tiers, wall_ms, watch, bulk_bytes, inline_bytes } => {
            let mut applied = apply(document, arrivals, &natives, coordination, tiers, wall_ms, watch);
            if let Ok(AppliedDeltas { landed, .. }) = &applied.result
                && landed.len() == 1
                && landed[0].encoded.len() > inline_bytes
            {
                applied.message = encode_batch(document.id(), landed, bulk_bytes);
            }
            Outcome::Applied(Box::new(applied))
        }
        Job::CatchUp { link, since, author, subscription, bulk_bytes } => {
            let delta = document.delta_since(&since, author, &subscription).map(|mut delta| CatchUp {
                encoded: {
                    // They go their own way, ahead of this.
                    delta.slots.clear();
                    if delta.is_empty() { None } else { encode_whole(document.id(), &delta, bulk_bytes) }
                },
                frontier: document.frontier(),
            });
            Outcome::CatchUp { link, since, delta }
        }
        Job::Snapshot { upto } => Outcome::Snapshot { upto, bytes: document.snapshot().encode() },
        Job::Lack { link, since } => {
            let update = document.content().delta_since(&since, None);
            let frontier = document.content().frontier();
            let lacking = update.map(|update| Lacking { update, frontier }).map_err(DocumentError::from);
            Outcome::Lack { link, since, lacking }
        }
        Job::Converse { link, mut conversation, heard, may_speak } => {
            let turn = document.converse(&mut conversation, heard.as_ref(), may_speak);
            let is_empty = document.content().frontier().is_empty();
            Outcome::Converse { link, conversation, turn: turn.map(|says| Turn { says, is_empty }) }
        }
        Job::Digest { link, question, path } => {
            let entries = document.digest(&path);
            Outcome::Digest { link, question, path, entries }
        }
        Job::Load { .. } => unreachable!("a load creates its document and is handled by its caller"),
    }
}

fn apply(
    document: &mut Document,
    arrivals: Vec<Arrival>,
    natives: &BTreeSet<ReplicaId>,
    coordination: bool,
    mut tiers: TierBook,
    wall_ms: u64,
    watch: bool,
) -> Applied {
    let (mut incoming, mut brought) = (Vec::new(), Vec::new());
    let (mut unreadable, mut declined, mut forbidden) = (Vec::new(), Vec::new(), Vec::new());
    for Arrival { link, encoded, origin } in &arrivals {
        let Origin::Peer { author, confines } = origin else { continue };
        match Incoming::decode(encoded.clone(), link.0, *author) {
            Ok(one) if !coordination && !one.delta.slots.is_empty() => declined.push(*link),
            Ok(one) => {
                let confined = confines.as_ref().map_or(Ok(()), |confines| {
                    confines.check(&one.delta).and_then(|()| tiers.check(document, &one.delta, confines))
                });
                if let Err(error) = confined {
                    forbidden.push((*link, error.to_string()));
                    continue;
                }
                brought.push((*link, one.delta.writers().collect()));
                incoming.push(one);
            }
            Err(error) => unreadable.push((*link, format!("not a delta: {error}"))),
        }
    }
    let checks = document.signatures_of(&incoming, wall_ms);
    document.note_signatures(&checks, &verified(&checks));
    let mut result = document.apply(incoming, wall_ms, watch);
    let absorbed = absorb(document, &arrivals, natives, watch, &mut result);
    let suspects = if result.is_err() { arrivals } else { Vec::new() };
    Applied { result, tiers, brought, absorbed, unreadable, declined, forbidden, message: None, suspects }
}

/// Takes in what guests brought, after what peers did.
fn absorb(
    document: &mut Document,
    arrivals: &[Arrival],
    natives: &BTreeSet<ReplicaId>,
    watch: bool,
    result: &mut Result<AppliedDeltas, DocumentError>,
) -> Vec<(LinkId, Absorption)> {
    let mut absorbed = Vec::new();
    for Arrival { link, encoded, origin } in arrivals {
        let (Origin::Guest { may_write }, Ok(applied)) = (origin, &mut *result) else { continue };
        let foreign = Foreign { update: encoded.clone(), source: link.0, may_write: *may_write };
        let native = |writer: ReplicaId| natives.contains(&writer);
        match document.absorb(&foreign, native, watch, &mut applied.patches) {
            Ok(absorption) => absorbed.push((*link, absorption)),
            Err(error) => *result = Err(error),
        }
    }
    absorbed
}
