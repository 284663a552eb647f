//! A document as an agent's application holds it.

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;

use super::{Agent, AgentError, Missed, Patches, events::Events, to_json};
use crate::{
    document::{
        Access, AgentState, Comparison, Counter, DigestEntry, Document, DocumentError, Imported, List, Map, Register,
        RichText, Set, Transaction, Version,
    },
    driver::{Host, sleep, timeout},
    engine::Section,
    id::{AgentId, DocumentId, LinkId},
    node::{DocumentStatus, Event, Inquired, InquiryId, NodeError},
    sync::{ErrorCode, PresenceEntry},
};

/// How long a presence stands when its agent stops renewing it.
const PRESENCE_TTL: Duration = Duration::from_secs(30);

/// How long [`AgentDocument::verify`] waits for each answer of a peer.
const VERIFY_WAIT: Duration = Duration::from_secs(10);

/// How long it waits before it asks a peer again that was busy with the document.
const VERIFY_AGAIN: Duration = Duration::from_millis(20);

/// How handles reach the document: through the node that holds it.
///
/// Reads and writes wait while the document is being loaded or worked on (a large delta, a snapshot), like those on any
/// lock; other documents go on meanwhile. In a browser, where nothing may wait, the work is done at once, and what
/// waits for the store is refused as busy.
#[derive(Clone)]
pub struct DocumentRef {
    host: Arc<Host>,
    id: DocumentId,
}

impl DocumentRef {
    pub(super) fn new(host: &Arc<Host>, id: DocumentId) -> Self {
        Self { host: host.clone(), id }
    }

    fn busy(&self) -> AgentError {
        NodeError::Busy { document: self.id.clone() }.into()
    }
}

impl Access for DocumentRef {
    type Error = AgentError;

    fn read<R>(&self, f: impl FnOnce(&Document) -> R) -> Result<R, AgentError> {
        let mut once = Some(f);
        let read = self.host.wait_for(|node, _| {
            let read = node.read(&self.id, |document| once.take().map(|f| f(document)));
            match read {
                Ok(Some(result)) => Some(Ok(result)),
                Ok(None) | Err(NodeError::Busy { .. }) => None,
                Err(error) => Some(Err(error.into())),
            }
        });
        read.unwrap_or_else(|| Err(self.busy()))
    }

    fn write<R>(&self, f: impl FnOnce(&mut Transaction<'_>) -> Result<R, DocumentError>) -> Result<R, AgentError> {
        let mut once = Some(f);
        let written = self.host.wait_for(|node, now| {
            if let Err(error) = node.read(&self.id, |_| ()) {
                return if matches!(error, NodeError::Busy { .. }) { None } else { Some(Err(error.into())) };
            }
            let f = once.take()?;
            Some(node.transact(&self.id, f, now).map_err(AgentError::from))
        });
        written.unwrap_or_else(|| Err(self.busy()))
    }
}

impl fmt::Debug for DocumentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DocumentRef").field(&self.id).finish()
    }
}

/// Keeps the document open at the node for as long as a handle of the application lives.
pub(super) struct Open {
    pub(super) agent: Agent,
    id: DocumentId,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.agent.inner.host.with(|node, now| node.close(&self.id, now));
    }
}

/// A document an agent has opened. Cheap to clone; closed with its last clone.
///
/// Reads and writes are local and immediate. **Under partition** they go on; replicas converge when they meet again.
#[derive(Clone)]
pub struct AgentDocument {
    pub(super) open: Arc<Open>,
    access: DocumentRef,
}

impl AgentDocument {
    pub(super) fn new(agent: Agent, id: DocumentId) -> Self {
        let access = DocumentRef::new(&agent.inner.host, id.clone());
        Self { open: Arc::new(Open { agent, id }), access }
    }

    /// The document's full name: `swarm/name`.
    pub fn id(&self) -> &DocumentId {
        &self.open.id
    }

    /// A value with several writers.
    pub fn register<T>(&self, name: &str) -> Register<T, DocumentRef> {
        Register::new(self.access.clone(), name)
    }

    /// A sum to which all replicas add.
    pub fn counter(&self, name: &str) -> Counter<DocumentRef> {
        Counter::new(self.access.clone(), name)
    }

    /// A map of the content.
    pub fn map<T>(&self, name: &str) -> Map<T, DocumentRef> {
        Map::new(self.access.clone(), name)
    }

    /// A set of the content.
    pub fn set<T>(&self, name: &str) -> Set<T, DocumentRef> {
        Set::new(self.access.clone(), name)
    }

    /// A list of the content.
    pub fn list<T>(&self, name: &str) -> List<T, DocumentRef> {
        List::new(self.access.clone(), name)
    }

    /// A text of the content.
    pub fn text(&self, name: &str) -> RichText<DocumentRef> {
        RichText::new(self.access.clone(), name)
    }

    /// What an agent tells about itself in this document.
    pub fn agent_state(&self, agent: &AgentId) -> AgentState<DocumentRef> {
        AgentState::new(self.access.clone(), agent.clone())
    }

    /// Changes content and records in one step: all of it becomes visible at once at every replica, or none of it.
    ///
    /// # Errors
    /// What the plan returns, or what the document refuses: nothing was changed then.
    pub fn transact<R>(
        &self,
        plan: impl FnOnce(&mut Transaction<'_>) -> Result<R, DocumentError>,
    ) -> Result<R, AgentError> {
        self.access.write(plan)
    }

    /// Reads several things of one state.
    ///
    /// # Errors
    /// The document cannot be reached.
    pub fn read<R>(&self, read: impl FnOnce(&Document) -> R) -> Result<R, AgentError> {
        self.access.read(read)
    }

    /// Merges what another program has saved into the content: a Yjs update (version 1) where the document is held with
    /// yrs, a saved automerge document where it is held with automerge. It becomes a commit of this agent; the writers'
    /// numbers stay, so taking it in again changes nothing. What is exported is
    /// [`snapshot`](crate::engine::Engine::snapshot) of [`Document::content`].
    ///
    /// A relay takes from an agent only what that agent wrote itself, unless it trusts it to forward. An agent that has a
    /// store and is not connected cannot know: its import then stays in its own replica, and what it writes on top of it
    /// waits at such a relay for ever.
    ///
    /// # Errors
    /// `Node(OwnOnly)` where a connected peer does not take it; `Node(Document(..))` with value and limit when it is
    /// damaged, too large, or not complete. Nothing was changed.
    pub fn import(&self, update: &Bytes) -> Result<Imported, AgentError> {
        let imported = self.open.agent.inner.host.wait_for(|node, now| match node.import(&self.open.id, update, now) {
            Err(NodeError::Busy { .. }) => None,
            imported => Some(imported.map_err(AgentError::from)),
        });
        imported.unwrap_or_else(|| Err(self.access.busy()))
    }

    /// The document's version: comparable across replicas.
    ///
    /// # Errors
    /// As [`AgentDocument::read`].
    pub fn version(&self) -> Result<Version, AgentError> {
        self.read(|document| document.version().clone())
    }

    /// The digest of the whole document: equal at replicas that hold the same.
    ///
    /// # Errors
    /// As [`AgentDocument::read`].
    pub fn digest(&self) -> Result<[u8; 32], AgentError> {
        Ok(self.read(Document::root_digest)??)
    }

    /// The changes from now on of what lies under `prefix` (`map/files`; empty for everything).
    pub fn observe(&self, prefix: &str) -> Observation {
        let inner = &self.open.agent.inner;
        let patches = Patches::new(self.open.agent.events(), self.open.id.clone(), prefix.to_owned());
        let watchers = &mut *inner.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = watchers.entry(self.open.id.clone()).or_insert(0);
        *count += 1;
        if *count == 1 {
            inner.host.with(|node, _| node.watch(&self.open.id, true));
        }
        Observation { patches, document: self.clone() }
    }

    /// Waits until all local writes of this document are durable: at a relay when one was named, else in the store.
    ///
    /// # Errors
    /// `Closed`; `Forbidden` when a relay does not take them.
    ///
    /// # Cancel safety
    /// Dropping the future only stops the waiting.
    pub async fn flush(&self) -> Result<(), AgentError> {
        let id = &self.open.id;
        let flushed = self.open.agent.wait_for(|node, _| {
            if node.is_synced(id) {
                return Some(Ok(()));
            }
            node.forbidden(id).map(|reason| Err(AgentError::Forbidden { document: id.clone(), reason }))
        });
        flushed.await?
    }

    /// How the document stands: what is not yet durable, and why.
    pub fn status(&self) -> Option<DocumentStatus> {
        let host = &self.open.agent.inner.host;
        host.with(|node, _| node.documents().find(|status| status.document == self.open.id))
    }

    /// Local commits not yet durable where they should be.
    pub fn unsynced(&self) -> u64 {
        self.open.agent.inner.host.with(|node, _| node.unsynced(&self.open.id))
    }

    /// Sets this agent's ephemeral state in the document: seen by those connected now, gone with the connection.
    ///
    /// # Errors
    /// `Encode`, `Node` when it is over [`limits::PRESENCE_BYTES`](crate::limits::PRESENCE_BYTES).
    pub fn set_presence(&self, state: &impl Serialize) -> Result<(), AgentError> {
        let state = to_json(state)?;
        let host = &self.open.agent.inner.host;
        Ok(host.with(|node, now| node.set_presence(&self.open.id, Some(state), PRESENCE_TTL, now))?)
    }

    /// Takes this agent's ephemeral state away.
    ///
    /// # Errors
    /// `Closed`.
    pub fn clear_presence(&self) -> Result<(), AgentError> {
        let host = &self.open.agent.inner.host;
        Ok(host.with(|node, now| node.set_presence(&self.open.id, None, PRESENCE_TTL, now))?)
    }

    /// The ephemeral states of all agents in the document.
    pub fn presence(&self) -> Vec<PresenceEntry> {
        self.open.agent.inner.host.with(|node, _| node.presence(&self.open.id))
    }

    /// Compares this replica with that of every connected peer: `None` when all hold the same, else the first path
    /// that differs (of more than [`limits::DIGEST_LINES`](crate::limits::DIGEST_LINES) on one level, any one). Writes
    /// made meanwhile show up as differences; a peer that goes meanwhile is left out.
    ///
    /// # Errors
    /// `NoAnswer` when a peer does not answer within ten seconds.
    pub async fn verify(&self) -> Result<Option<String>, AgentError> {
        let links = self.open.agent.inner.host.with(|node, _| node.links_in(&self.open.id));
        for link in links {
            if let Some(path) = self.first_difference(link).await? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    async fn first_difference(&self, link: LinkId) -> Result<Option<String>, AgentError> {
        let mut path = String::new();
        loop {
            let Some(theirs) = self.ask_digest(link, &path).await? else { return Ok(None) };
            match self.read(|document| document.compare(&path, &theirs))?? {
                Comparison::Equal => return Ok(None),
                Comparison::Differs(at) => return Ok(Some(at)),
                Comparison::Below(next) => path = next,
            }
        }
    }

    /// Waits until all is here that peers had when they were asked, and that they have what was written here: each that
    /// takes part, or comes to, is asked for its version, O(writers). An agent that was given a relay's address waits
    /// until it is connected.
    ///
    /// **Under partition** it speaks of those who are connected, and of what they pass on: a relay all, an agent that
    /// nobody trusts to forward its own writes.
    ///
    /// # Errors
    /// `Closed`; `Forbidden` when a peer does not take what was written here, or does not let this agent in.
    ///
    /// # Cancel safety
    /// Dropping the future only stops the asking.
    pub async fn catch_up(&self) -> Result<(), AgentError> {
        self.hear_of(None).await
    }

    /// The same about what is of a section's kind.
    pub(super) async fn hear_of(&self, section: Option<Section>) -> Result<(), AgentError> {
        let (agent, id) = (&self.open.agent, &self.open.id);
        let inquiry = agent.inner.host.with(|node, now| node.inquire(id, section, now))?;
        let _ends = Asking { document: self, inquiry };
        let heard = agent.wait_for(|node, _| match node.inquired(id, inquiry) {
            Inquired::Pending => None,
            Inquired::Heard => Some(Ok(())),
            Inquired::Forbidden { reason } => Some(Err(AgentError::Forbidden { document: id.clone(), reason })),
        });
        heard.await?
    }

    /// `None` when the peer has gone.
    async fn ask_digest(&self, link: LinkId, path: &str) -> Result<Option<Vec<DigestEntry>>, AgentError> {
        let mut events = self.open.agent.events();
        let host = &self.open.agent.inner.host;
        let mut question = host.with(|node, _| node.request_digest(link, &self.open.id, path));
        let answer = async {
            loop {
                match events.next().await {
                    Ok(Some(event)) => {
                        if let Event::Digest { question: of, entries, .. } = &*event
                            && *of == question
                        {
                            return Ok(Some(entries.clone()));
                        }
                        if let Event::LinkDown { link: gone, .. } = &*event
                            && *gone == link
                        {
                            return Ok(None);
                        }
                        if let Event::Refused { document: Some(of), code, .. } = &*event
                            && *of == self.open.id
                        {
                            if *code != ErrorCode::Unavailable {
                                // The peer has nothing at that path.
                                return Ok(Some(Vec::new()));
                            }
                            sleep(VERIFY_AGAIN).await;
                            question = host.with(|node, _| node.request_digest(link, &self.open.id, path));
                        }
                    }
                    Ok(None) => return Err(AgentError::Closed),
                    Err(Missed { .. }) => {}
                }
            }
        };
        timeout(VERIFY_WAIT, answer).await.unwrap_or(Err(AgentError::NoAnswer { what: "digest", waited: VERIFY_WAIT }))
    }

    /// Events of the agent that concern this document are among [`Agent::events`].
    pub fn events(&self) -> Events {
        self.open.agent.events()
    }
}

impl fmt::Debug for AgentDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AgentDocument").field(&self.open.id).finish()
    }
}

/// Ends an inquiry that nobody waits for any more.
struct Asking<'a> {
    document: &'a AgentDocument,
    inquiry: InquiryId,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let open = &self.document.open;
        open.agent.inner.host.with(|node, _| node.end_inquiry(&open.id, self.inquiry));
    }
}

/// The changes of a document, for as long as this lives.
#[derive(Debug)]
pub struct Observation {
    patches: Patches,
    document: AgentDocument,
}

impl Observation {
    /// The next change; `None` when the agent has closed.
    ///
    /// # Errors
    /// [`Missed`] when this listener was too slow: read the document anew, then go on.
    ///
    /// # Cancel safety
    /// No change is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<crate::engine::Patch>, Missed> {
        self.patches.next().await
    }

    /// The changes that came together, at least one; `None` when the agent has closed.
    ///
    /// # Errors
    /// As [`Observation::next`].
    ///
    /// # Cancel safety
    /// As [`Observation::next`].
    pub async fn next_together(&mut self) -> Result<Option<Vec<crate::engine::Patch>>, Missed> {
        self.patches.next_together().await
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let inner = &self.document.open.agent.inner;
        let watchers = &mut *inner.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = watchers.get_mut(self.document.id()) {
            *count -= 1;
            if *count == 0 {
                watchers.remove(self.document.id());
                inner.host.with(|node, _| node.watch(self.document.id(), false));
            }
        }
    }
}
