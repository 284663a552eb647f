//! Which document a command is about, and opening a live replica of it. Layer 7.
#![allow(clippy::disallowed_methods, reason = "the program waits for peers by the clock")]

use std::{
    path::PathBuf,
    pin::pin,
    time::{Duration, Instant},
};

use aepoch::{
    agent::{Agent, AgentBuilder, AgentDocument, AgentError, AgentStatus},
    engine::EngineKind,
    id::DocumentId,
    node::{Event, NodeError},
    sync::ErrorCode,
};
use clap::Args;

use super::{Failure, credential::CredentialArgs, http::Access, source::Source, tls::TlsArgs};

/// The document holding members and agents' states.
const SWARM_DOCUMENT: &str = "_swarm";

/// Between two looks at whether a replica has caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// For finding out in what it differs from the relay's, for the error.
const FIND_DIFFERENCE: Duration = Duration::from_secs(1);

/// Where the documents are.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// The relay (or listening agent) to talk to.
    #[arg(long, value_name = "URL", env = "AEPOCH_RELAY", default_value = "ws://127.0.0.1:4433")]
    connect: String,

    #[command(flatten)]
    pub(super) tls: TlsArgs,

    /// Work on a store file instead, offline. No other process may have it open.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,

    #[command(flatten)]
    credential: CredentialArgs,

    /// The swarm the document belongs to.
    #[arg(long, env = "AEPOCH_SWARM", default_value = "default")]
    swarm: String,

    /// Seconds to wait for the relay.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

/// One document.
#[derive(Debug, Args)]
pub(super) struct DocumentArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,

    /// The document's name; for paths of agents and members, `_swarm` unless given.
    #[arg(long, short, env = "AEPOCH_DOCUMENT")]
    document: Option<String>,
}

impl PlaceArgs {
    pub(super) fn source(&self) -> Source {
        match &self.store {
            Some(path) => Source::Store(path.clone()),
            None => Source::Relay { url: self.connect.clone(), access: self.access(), timeout: self.timeout() },
        }
    }

    /// How to ask the relay over HTTP.
    pub(super) fn access(&self) -> Access {
        Access { tls: self.tls.trust(), credential: self.credential.clone() }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The full name of a document of the swarm.
    pub(super) fn id(&self, document: &str) -> Result<DocumentId, Failure> {
        Ok(DocumentId::new(&format!("{}/{document}", self.swarm))?)
    }

    /// Opens a replica of a document under the agent name `name`, caught up with the relay unless the work is on a file.
    /// It only looks on: nobody has to reckon with a member that is gone in a moment. A new document is held with
    /// `engine`.
    pub(super) async fn open(&self, name: &str, document: &str, engine: EngineKind) -> Result<Live, Failure> {
        let builder = self.credential.agent(name)?.swarm(&self.swarm).onlooker(true);
        let (builder, online) = match &self.store {
            Some(path) => (builder.store(path), None),
            None => (self.tls.set(builder.connect(&self.connect)), Some(self.timeout())),
        };
        open_with(&builder, document, engine, online).await
    }
}

impl DocumentArgs {
    /// The document meant by a command about `path`.
    pub(super) fn name(&self, path: &str) -> &str {
        let of_swarm = path.starts_with("agent") || path.starts_with("member");
        self.document.as_deref().unwrap_or(if of_swarm { SWARM_DOCUMENT } else { "main" })
    }

    pub(super) fn id(&self, path: &str) -> Result<DocumentId, Failure> {
        self.place.id(self.name(path))
    }

    /// As [`PlaceArgs::open`]. A new document is held with yrs.
    pub(super) async fn open(&self, name: &str, path: &str) -> Result<Live, Failure> {
        self.place.open(name, self.name(path), EngineKind::Yrs).await
    }
}

/// Opens a replica of a document. With `online` it is caught up with the relay within that time, or fails.
pub(super) async fn open(builder: &AgentBuilder, document: &str, online: Option<Duration>) -> Result<Live, Failure> {
    open_with(builder, document, EngineKind::Yrs, online).await
}

async fn open_with(
    builder: &AgentBuilder,
    document: &str,
    mut engine: EngineKind,
    online: Option<Duration>,
) -> Result<Live, Failure> {
    // The engine is the document's, not ours to choose: a mismatch tells which one it is.
    loop {
        match try_open(builder.clone(), document, engine, online).await? {
            Opened::Live(live) => return Ok(live),
            Opened::Held(held) => engine = held,
        }
    }
}

async fn try_open(
    builder: AgentBuilder,
    document: &str,
    engine: EngineKind,
    online: Option<Duration>,
) -> Result<Opened, Failure> {
    let agent = builder.open().await?;
    let mut events = agent.events();
    let document = match agent.document_with(document, engine).await {
        Ok(document) => document,
        Err(AgentError::Node(NodeError::EngineMismatch { held, .. })) if held != engine => {
            agent.close().await?;
            return Ok(Opened::Held(held));
        }
        Err(error) => return Err(error.into()),
    };
    let Some(timeout) = online else { return Ok(Opened::Live(Live { agent, document })) };
    let caught_up = catch_up(&agent, &document, timeout);
    let refused = async {
        loop {
            match events.next().await {
                Ok(Some(event)) => {
                    if let Event::Refused { document: of, code: ErrorCode::EngineMismatch, .. } = &*event
                        && of.as_ref() == Some(document.id())
                    {
                        return;
                    }
                }
                Ok(None) => std::future::pending().await,
                Err(_) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = refused => {
            drop(document);
            agent.close().await?;
            return Ok(Opened::Held(other(engine)));
        }
        done = caught_up => done?,
    }
    Ok(Opened::Live(Live { agent, document }))
}

enum Opened {
    Live(Live),
    Held(EngineKind),
}

/// A replica of the document in this process.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) agent: Agent,
    pub(super) document: AgentDocument,
}

const fn other(engine: EngineKind) -> EngineKind {
    match engine {
        EngineKind::Yrs => EngineKind::Automerge,
        EngineKind::Automerge => EngineKind::Yrs,
    }
}

/// Waits until the replica holds what the relay held when it was asked, for as long as `timeout` without any news. A
/// relay that turns us away is not asked again: that is an answer.
pub(super) async fn catch_up(agent: &Agent, document: &AgentDocument, timeout: Duration) -> Result<(), Failure> {
    let mut caught_up = pin!(document.catch_up());
    let (mut version, mut news) = (document.version()?, Instant::now());
    loop {
        tokio::select! {
            biased;
            done = &mut caught_up => return Ok(done?),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        let status = agent.status();
        if let Some(reason) = turned_away(&status) {
            return Err(Failure::unreachable(format!("the relay turned this agent away: {reason}")));
        }
        let now = document.version()?;
        if now != version {
            (version, news) = (now, Instant::now());
        }
        if news.elapsed() > timeout {
            return Err(Failure::unreachable(not_caught_up(document, &status, timeout).await));
        }
    }
}

async fn not_caught_up(document: &AgentDocument, status: &AgentStatus, timeout: Duration) -> String {
    tracing::warn!(status = ?document.status(), version = ?document.version(), "not caught up");
    let seconds = timeout.as_secs();
    if let Some(reason) = status.relays.iter().find_map(|relay| relay.reason.as_ref()) {
        return format!("not caught up within {seconds} s; the last connection ended: {reason}");
    }
    if !status.online {
        return format!("no relay answered within {seconds} s; is `aepoch serve` running?");
    }
    match tokio::time::timeout(FIND_DIFFERENCE, document.verify()).await {
        Ok(Ok(Some(path))) => format!("after {seconds} s this replica still differs from the relay's at `{path}`"),
        _ => format!("the relay is connected and has not told within {seconds} s what it holds"),
    }
}

fn turned_away(status: &AgentStatus) -> Option<&str> {
    let relay = status.relays.iter().find(|relay| relay.turned_away > 0)?;
    Some(relay.reason.as_deref().unwrap_or("without a reason"))
}
