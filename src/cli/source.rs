//! Reading documents where they are kept: at a relay through REST, or in a store file nobody has open. Layer 7.
//!
//! Reading this way leaves no trace: no replica is created and no member entered.

use std::{path::PathBuf, time::Duration};

use aepoch::{
    document::Document,
    engine::EngineKind,
    id::{DocumentId, ReplicaId},
    store::{StoreDone, StoreError, StoreTask, StoredDocument, sealed},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Failure,
    http::{self, Access},
};

/// Where documents are kept.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// At a relay.
    Relay {
        /// `ws://host:port` or `wss://host:port`.
        url: String,
        /// How to ask there.
        access: Access,
        /// How long it may take to answer.
        timeout: Duration,
    },
    /// In a file.
    Store(PathBuf),
}

/// A document as read.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    /// Its full name.
    pub(super) document: DocumentId,
    /// Its engine.
    pub(super) engine: EngineKind,
    /// Its digest, in hexadecimal.
    pub(super) digest: String,
    /// All of it as JSON.
    pub(super) value: Value,
}

/// A document as listed.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    /// Its full name.
    pub(super) document: DocumentId,
    /// Bytes kept of it: snapshot and log.
    pub(super) stored_bytes: u64,
    /// Connections that take part in it now; `None` for a file.
    pub(super) links: Option<u64>,
}

impl Source {
    /// A relay's address or the path of a store.
    pub(super) fn parse(text: &str, access: Access, timeout: Duration) -> Self {
        match text.starts_with("ws://") || text.starts_with("wss://") {
            true => Self::Relay { url: text.to_owned(), access, timeout },
            false => Self::Store(text.into()),
        }
    }

    /// All documents kept, sorted by name.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, Failure> {
        match self {
            Self::Relay { url, access, timeout } => {
                let answer = http::get(url, access, "/v1/documents", *timeout).await?.unwrap_or_default();
                answer.as_array().into_iter().flatten().map(listed_by_relay).collect()
            }
            Self::Store(path) => {
                let StoreDone::Listed(kept) = ask(path.clone(), StoreTask::List).await? else { return Ok(Vec::new()) };
                let listed = kept.into_iter().map(|kept| Listed {
                    document: kept.document,
                    stored_bytes: kept.snapshot_bytes + kept.log_bytes,
                    links: None,
                });
                Ok(listed.collect())
            }
        }
    }

    /// One document; a failure when there is none.
    pub(super) async fn show(&self, id: &DocumentId) -> Result<Shown, Failure> {
        match self {
            Self::Relay { url, access, timeout } => {
                let answer = http::get(url, access, &format!("/v1/documents/{id}"), *timeout).await?;
                let mut answer = answer.ok_or_else(|| self.lacks(id))?;
                Ok(Shown {
                    document: id.clone(),
                    engine: serde_json::from_value(answer["engine"].take())?,
                    digest: answer["digest"].as_str().unwrap_or_default().to_owned(),
                    value: answer["value"].take(),
                })
            }
            Self::Store(_) => {
                let document = self.load(id).await?;
                let digest = aepoch::document::hex(&document.root_digest()?);
                let (engine, value) = (document.engine_kind(), document.render()?);
                Ok(Shown { document: id.clone(), engine, digest, value })
            }
        }
    }

    /// One document of a store, with all the engine keeps of it.
    pub(super) async fn load(&self, id: &DocumentId) -> Result<Document, Failure> {
        let Self::Store(path) = self else {
            return Err(Failure::usage("a relay shows documents, but does not hand out their stores"));
        };
        let task = StoreTask::Load { document: id.clone() };
        let StoreDone::Loaded(Some(stored)) = ask(path.clone(), task).await? else { return Err(self.lacks(id)) };
        let id = id.clone();
        blocking(move || build(id, &stored)).await
    }

    fn lacks(&self, id: &DocumentId) -> Failure {
        Failure::failed(format!("no document `{id}` at {self}; see `aepoch doc list`"))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Relay { url, .. } => f.write_str(url),
            Self::Store(path) => write!(f, "{}", path.display()),
        }
    }
}

fn listed_by_relay(entry: &Value) -> Result<Listed, Failure> {
    let bytes = |key: &str| entry["stored"][key].as_u64().unwrap_or(0);
    Ok(Listed {
        document: serde_json::from_value(entry["document"].clone())?,
        stored_bytes: bytes("snapshot_bytes") + bytes("log_bytes"),
        links: entry["live"]["links"].as_u64(),
    })
}

fn build(id: DocumentId, stored: &StoredDocument) -> Result<Document, Failure> {
    let engine: EngineKind = postcard::from_bytes(&stored.header)
        .map_err(|error| Failure::failed(format!("document `{id}` does not say its engine: {error}")))?;
    // Nothing is written under this id: the document is only read.
    let reader = ReplicaId::from_bits(0);
    Ok(Document::load(id, engine, reader, stored.snapshot.as_ref(), &stored.entries)?)
}

/// Asks a store file. It must exist: opening would create it.
async fn ask(path: PathBuf, task: StoreTask) -> Result<StoreDone, Failure> {
    blocking(move || {
        if !path.exists() {
            return Err(Failure::failed(format!("there is no store {}", path.display())));
        }
        let mut store = sealed::open(&path, None)?;
        let answer = store.commit(&[task]).into_iter().next();
        Ok(answer.unwrap_or(Err(StoreError::Closed))?)
    })
    .await
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> Result<R, Failure> + Send + 'static) -> Result<R, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::failed(format!("reading the store failed: {error}")))?
}
