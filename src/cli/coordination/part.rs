//! A process's part in the coordination of a document: under an agent's name, or as an onlooker. Layer 7.
#![allow(clippy::disallowed_methods, reason = "the program waits for others by the clock")]

use std::{path::PathBuf, time::Duration};

use aepoch::{
    agent::{
        AgentDocument, AgentError,
        coordination::{Arrived, Passage},
    },
    coordination::{standing::Standing, why::ObjectStatus},
    id::AgentId,
    node::NodeError,
};
use clap::Args;
use tokio::time::Instant;

use super::{Failure, values};
use crate::cli::{
    connect::{self, Live},
    credential::CredentialArgs,
    tls::TlsArgs,
};

/// How long the relay may take to answer and to make something durable.
const RELAY_WAIT: Duration = Duration::from_secs(10);
/// How long a process that is done waits for its last records, which only help to forget what is over.
const LEAVE_WAIT: Duration = Duration::from_secs(2);
/// The name of who only looks on.
const ONLOOKER: &str = "cli";

/// Where the object is, and who acts.
#[derive(Debug, Args)]
pub(super) struct PartArgs {
    /// The relay (or listening agent) to talk to.
    #[arg(long, alias = "relay", value_name = "URL", env = "AEPOCH_RELAY", default_value = "ws://127.0.0.1:4433")]
    connect: String,

    #[command(flatten)]
    tls: TlsArgs,

    /// The swarm the document belongs to.
    #[arg(long, env = "AEPOCH_SWARM", default_value = "default")]
    swarm: String,

    #[command(flatten)]
    credential: CredentialArgs,

    /// The document the object belongs to.
    #[arg(long, short, env = "AEPOCH_DOCUMENT", default_value = "main")]
    document: String,

    /// The agent this process acts as. Without it, it only looks on.
    #[arg(long = "as", value_name = "AGENT")]
    agent: Option<String>,

    /// The agent's store. Its seat is the store's: an agent that comes back without it is another incarnation and has
    /// lost its seat, in everything that had begun. Only one process at a time can have it open.
    #[arg(long, value_name = "FILE", requires = "agent")]
    store: Option<PathBuf>,

    /// How long to wait in all: for members to appear, for somebody to begin, for the end. 500ms, 15s, 2m; a number
    /// alone is seconds.
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = values::span)]
    wait: Duration,
}

/// A live replica, and how long to wait.
pub(super) struct Part {
    live: Live,
    deadline: Instant,
    wait: Duration,
    /// It can never come back: nobody should reckon with it.
    leaves: bool,
}

/// Refuses what is no name of an agent.
pub(super) fn check_agent(name: &str) -> Result<(), Failure> {
    AgentId::new(name).map(drop).map_err(Failure::from)
}

impl PartArgs {
    /// Refuses to do `what` as nobody.
    pub(super) fn need_agent(&self, what: &str) -> Result<&str, Failure> {
        let agent = self.agent.as_deref();
        let agent = agent.ok_or_else(|| Failure::usage(format!("`{what}` is done by an agent: give --as AGENT")))?;
        check_agent(agent).map(|()| agent)
    }

    /// Who acts, if not an onlooker.
    pub(super) fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// Whoever begins an object and ends at once would take its own seat along.
    pub(super) fn keep_seat<'n>(&self, mut members: impl Iterator<Item = &'n str>) -> Result<(), Failure> {
        match self.agent() {
            Some(agent) if self.store.is_none() && members.any(|member| member == agent) => Err(Failure::usage(
                format!("`{agent}` would lose its seat when this process ends: give --store FILE, or leave --as out"),
            )),
            _ => Ok(()),
        }
    }

    async fn open(&self) -> Result<Part, Failure> {
        let deadline = Instant::now() + self.wait;
        let builder = match self.agent() {
            Some(name) => self.credential.agent_called(name)?,
            None => self.credential.agent(ONLOOKER)?.onlooker(true),
        };
        let mut builder = self.tls.set(builder.swarm(&self.swarm).connect(&self.connect));
        if let Some(path) = &self.store {
            builder = builder.store(path);
        }
        let live = connect::open(&builder, &self.document, Some(RELAY_WAIT)).await?;
        let leaves = self.agent.is_some() && self.store.is_none();
        Ok(Part { live, deadline, wait: self.wait, leaves })
    }
}

/// Opens the document, does something there, and leaves in order whatever came of it.
pub(super) fn take_part<R>(args: &PartArgs, act: impl AsyncFnOnce(&Part) -> Result<R, Failure>) -> Result<R, Failure> {
    crate::cli::runtime(Some(2))?.block_on(async {
        let part = args.open().await?;
        let done = act(&part).await;
        let left = part.leave().await;
        let done = done?;
        left.map(|()| done)
    })
}

impl Part {
    pub(super) fn document(&self) -> &AgentDocument {
        &self.live.document
    }

    /// Waits for an object; `members` are those it was asked to begin with.
    pub(super) async fn begun<T>(
        &self,
        name: &str,
        members: impl Iterator<Item = &str>,
        open: impl Future<Output = Result<T, AgentError>>,
    ) -> Result<T, Failure> {
        if let Ok(opened) = tokio::time::timeout_at(self.deadline, open).await {
            return Ok(opened?);
        }
        let known = self.members().await?;
        let unknown: Vec<&str> = members.filter(|member| !known.iter().any(|(agent, _)| agent == member)).collect();
        let document = self.document().id();
        let seconds = self.wait.as_secs_f64();
        Err(Failure::undecided(if unknown.is_empty() {
            format!(
                "nobody has begun `{name}` in {document} within {seconds} s; the first of its members does, or create"
            )
        } else {
            let unknown = unknown.join(", ");
            format!("`{name}` in {document} cannot begin: not in the swarm within {seconds} s: {unknown}")
        }))
    }

    /// The swarm's members and the replicas they are at present.
    async fn members(&self) -> Result<Vec<(String, aepoch::id::ReplicaId)>, Failure> {
        let swarm = self.live.agent.swarm().await?;
        let members = swarm.read(aepoch::document::Document::members)?;
        Ok(members.into_iter().map(|(replica, member)| (member.agent.as_str().to_owned(), replica)).collect())
    }

    /// Waits for something; `None` when it has not come in time.
    pub(super) async fn in_time<T>(
        &self,
        waited_for: impl Future<Output = Result<T, AgentError>>,
    ) -> Result<Option<T>, Failure> {
        Ok(tokio::time::timeout_at(self.deadline, waited_for).await.ok().transpose()?)
    }

    /// How a generation ended, or how it stands when the time is up.
    pub(super) async fn passage(
        &self,
        arrived: Arrived,
        released: impl Future<Output = Result<Passage, AgentError>>,
        standing: impl Fn(u64) -> Result<Standing, AgentError>,
    ) -> Result<Passage, Failure> {
        let passage = self.in_time(released).await?;
        if let Some(passage) = passage.as_ref().filter(|passage| passage.standing.is_final()) {
            return Ok(passage.clone());
        }
        // Whoever gives up has arrived nevertheless: that is not left to how fast a disk is.
        self.durable().await?;
        let generation = arrived.generation;
        let waited = passage.map_or(self.wait, |passage| passage.waited);
        Ok(Passage { generation, standing: standing(generation)?, waited })
    }

    /// Waits until the relay has on its disk what was written here.
    pub(super) async fn durable(&self) -> Result<(), Failure> {
        if let Ok(flushed) = tokio::time::timeout(RELAY_WAIT, self.document().flush()).await {
            return Ok(flushed?);
        }
        let why = self.live.agent.status().stalled.unwrap_or_else(|| "no reason known".to_owned());
        Err(Failure::unreachable(format!("not durable after {} s: {why}", RELAY_WAIT.as_secs())))
    }

    /// How an object that is not finished stands.
    pub(super) fn status(&self, kind: &str, name: &str) -> Result<ObjectStatus, Failure> {
        let all = self.document().explain()?;
        let document = self.document().id();
        match all.into_iter().find(|status| status.barrier.name == name) {
            Some(status) if status.kind == kind => Ok(status),
            Some(status) => {
                Err(Failure::usage(format!("`{name}` of {document} is of kind {}, not {kind}", status.kind)))
            }
            None => {
                Err(Failure::failed(format!("no {kind} `{name}` in {document}: not begun, or finished and forgotten")))
            }
        }
    }

    /// Finishes an object for everybody.
    pub(super) async fn clean(&self, kind: &str, name: &str) -> Result<(), Failure> {
        self.status(kind, name)?;
        self.document().clean_up(name).await?;
        self.durable().await
    }

    async fn leave(self) -> Result<(), Failure> {
        let me = self.live.agent.identity().replica;
        if self.leaves && self.members().await?.iter().any(|(_, replica)| *replica == me) {
            let name = self.live.agent.name().clone();
            let swarm = self.live.agent.swarm().await?;
            // A name used by very many processes cannot leave any more: it stays listed, which only misleads.
            if let Err(error) = swarm.transact(|transaction| transaction.leave(&name)) {
                tracing::warn!(%error, "still listed as a member");
            }
        }
        if tokio::time::timeout(LEAVE_WAIT, self.live.agent.flush()).await.is_err() {
            tracing::debug!("left before the last records were durable");
        }
        let Live { agent, document } = self.live;
        drop(document);
        Ok(agent.close().await?)
    }
}

/// What to do about a wish that is refused.
pub(super) fn refused(error: AgentError, instead: &str) -> Failure {
    let hint = match &error {
        AgentError::Node(NodeError::Participant(refusal)) if refusal.is_repeated() => instead.to_owned(),
        AgentError::Node(NodeError::Participant(refusal)) if refusal.is_seatless() => {
            "only members have one, in the incarnation that was there when it began: use the same --store".to_owned()
        }
        _ => return error.into(),
    };
    Failure::from(error).with(hint)
}
