//! Documents as JSON. Read from the store, which has everything submitted before, so that rendering a large document
//! never holds up its replication.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use super::Shared;
use crate::{
    coordination::why::ObjectStatus,
    document::{Document, DocumentError},
    engine::{EngineKind, HistoryEntry},
    id::DocumentId,
    node::{DocumentStatus, NodeError},
    store::{StoreDone, StoreError, StoreTask, StoredSummary},
};

/// Changes told in one answer.
const HISTORY_PAGE: usize = 1_000;

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
    let shown = read(shared, id, |document| {
        let digest = crate::document::hex(&document.root_digest()?);
        Ok(Shown { document: document.id().clone(), engine: document.engine_kind(), digest, value: document.render()? })
    });
    shown.await?.map(|shown| shown.map_err(|error| unreadable(id, &error))).transpose()
}

/// The answer of `/v1/history/{id}`.
#[derive(Debug, Serialize)]
pub(super) struct Past {
    document: DocumentId,
    engine: EngineKind,
    /// All there are.
    changes: usize,
    /// The number of the first one listed, from 1.
    from: usize,
    listed: Vec<HistoryEntry>,
    /// The content once the last of those listed was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

/// What of the past is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// A change by its number, from 1, and what the content was then; 0 is before the first.
    at: Option<usize>,
    /// The number of the first change to be listed.
    from: Option<usize>,
}

/// The outer error is the environment's, the inner one that of whoever asks.
pub(super) async fn past(
    shared: &Shared,
    id: &DocumentId,
    wanted: Wanted,
) -> Result<Option<Result<Past, DocumentError>>, StoreError> {
    read(shared, id, move |document| {
        let history = document.history()?;
        let value = wanted.at.map(|at| document.content_after(at)).transpose()?;
        let (from, most) = match wanted.at {
            Some(at) => (at.max(1), at.min(1)),
            None => (wanted.from.unwrap_or(1).max(1), HISTORY_PAGE),
        };
        let (document, engine, changes) = (document.id().clone(), document.engine_kind(), history.len());
        let listed = history.into_iter().skip(from - 1).take(most).collect();
        Ok(Past { document, engine, changes, from, listed, value })
    })
    .await
}

/// What `reading` says of a document; `None` when the store has no such document.
async fn read<R: Send + 'static>(
    shared: &Shared,
    id: &DocumentId,
    reading: impl FnOnce(&Document) -> Result<R, DocumentError> + Send + 'static,
) -> Result<Option<Result<R, DocumentError>>, StoreError> {
    let task = StoreTask::Load { document: id.clone() };
    let StoreDone::Loaded(Some(stored)) = shared.asks.ask(shared, task).await? else {
        return Ok(None);
    };
    let (id, replica) = (id.clone(), shared.identity.replica);
    let work = tokio::task::spawn_blocking(move || {
        let engine = postcard::from_bytes(&stored.header).map_err(|error| unreadable(&id, &error))?;
        let document = Document::load(id.clone(), engine, replica, stored.snapshot.as_ref(), &stored.entries);
        Ok(Some(reading(&document.map_err(|error| unreadable(&id, &error))?)))
    });
    work.await.unwrap_or_else(|error| Err(StoreError::Read { reason: error.to_string() }))
}

fn unreadable(id: &DocumentId, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Read { reason: format!("document `{id}`: {error}") }
}
