//! Documents as JSON. Read from the store, which has everything submitted before, so that rendering a large document
//! never holds up its replication.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use super::Shared;
use crate::{
    coordination::why::ObjectStatus,
    document::Document,
    engine::EngineKind,
    id::DocumentId,
    node::{DocumentStatus, NodeError},
    store::{StoreDone, StoreError, StoreTask, StoredSummary},
};

/// Task numbers of questions start here: no shard has them.
const FIRST_ASK: u64 = u64::MAX << 56;

type Answer = Result<StoreDone, StoreError>;

/// Questions put to the store beside the nodes'.
#[derive(Clone, Default)]
pub(crate) struct Asks {
    waiting: Arc<Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>>,
    next: Arc<AtomicU64>,
}

impl Asks {
    pub(super) fn answer(&self, id: u64, answer: Answer) {
        if let Some(waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            // The request may have been dropped meanwhile.
            let _ = waiting.send(answer);
        }
    }

    async fn ask(&self, shared: &Shared, task: StoreTask) -> Answer {
        let id = FIRST_ASK | self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
        shared.store.submit(id, task);
        answered.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// A line of `/v1/documents`.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    document: DocumentId,
    stored: Option<StoredSummary>,
    live: Option<DocumentStatus>,
}

impl Listed {
    pub(super) fn document(&self) -> &DocumentId {
        &self.document
    }
}

pub(super) async fn list(shared: &Shared) -> Result<Vec<Listed>, StoreError> {
    let StoreDone::Listed(stored) = shared.asks.ask(shared, StoreTask::List).await? else {
        return Ok(Vec::new());
    };
    let mut listed: BTreeMap<DocumentId, Listed> = stored
        .into_iter()
        .map(|summary| {
            let document = summary.document.clone();
            (document.clone(), Listed { document, stored: Some(summary), live: None })
        })
        .collect();
    for host in &shared.hosts {
        for status in host.with(|node, _| node.documents().collect::<Vec<_>>()) {
            let document = status.document.clone();
            let entry = Listed { document: document.clone(), stored: None, live: None };
            listed.entry(document).or_insert(entry).live = Some(status);
        }
    }
    Ok(listed.into_values().collect())
}

/// Why the objects of a document stand as they do, as the relay sees them; `None` when it is not in memory.
pub(super) fn explain(shared: &Shared, id: &DocumentId) -> Option<Result<Vec<ObjectStatus>, NodeError>> {
    // Members of a swarm are in a document beside it, which another shard may hold: then incarnations go unexplained.
    let swarm = id.as_str().rsplit_once('/').map_or("_swarm".to_owned(), |(swarm, _)| format!("{swarm}/_swarm"));
    let swarm = DocumentId::new(&swarm).ok()?;
    let answers = shared.hosts.iter().map(|host| host.with(|node, now| node.explain(id, &swarm, now)));
    answers.into_iter().find(|answer| !matches!(answer, Err(NodeError::NotOpen { .. })))
}

/// The answer of `/v1/documents/{id}`.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    document: DocumentId,
    engine: EngineKind,
    digest: String,
    value: Value,
}

pub(super) async fn show(shared: &Shared, id: &DocumentId) -> Result<Option<Shown>, StoreError> {
    let task = StoreTask::Load { document: id.clone() };
    let StoreDone::Loaded(Some(stored)) = shared.asks.ask(shared, task).await? else {
        return Ok(None);
    };
    let (id, replica) = (id.clone(), shared.identity.replica);
    let rendering = tokio::task::spawn_blocking(move || {
        let unreadable = |error: String| StoreError::Read { reason: format!("document `{id}`: {error}") };
        let engine = postcard::from_bytes(&stored.header).map_err(|error| unreadable(error.to_string()))?;
        let document = Document::load(id.clone(), engine, replica, stored.snapshot.as_ref(), &stored.entries)
            .map_err(|error| unreadable(error.to_string()))?;
        let digest = document.root_digest().map_err(|error| unreadable(error.to_string()))?;
        let value = document.render().map_err(|error| unreadable(error.to_string()))?;
        Ok(Some(Shown { document: id, engine, digest: crate::document::hex(&digest), value }))
    });
    rendering.await.unwrap_or_else(|error| Err(StoreError::Read { reason: error.to_string() }))
}
