//! One agent of the demo: a process that takes part in the work of all. Layer 7.
//!
//! `phases` is what it does; here is its life: starting, orders, acknowledgements.
#![allow(clippy::disallowed_methods, reason = "it tells how long catching up took")]

use std::{
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use aepoch::{
    agent::{Agent, AgentDocument},
    engine::Value,
    node::{Backoff, Event},
};
use clap::Args;
use tokio::sync::mpsc;

use super::{
    phases::Part,
    protocol::{DOCUMENT, FILES, Order, Plan, Report, SWARM},
};
use crate::cli::{Failure, connect::catch_up, lines};

/// How long an agent waits for its peers before it gives up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at whether all files have arrived.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One agent of the demo.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// The file with the plan.
    #[arg(long)]
    plan: PathBuf,
    /// This agent's name.
    #[arg(long)]
    name: String,
    /// This agent's store.
    #[arg(long)]
    store: PathBuf,
}

pub(crate) fn run(args: &WorkerArgs) -> Result<ExitCode, Failure> {
    let outcome = crate::cli::runtime(Some(2))?.block_on(work(args));
    if let Err(failure) = &outcome {
        report(&Report::Failed(failure.to_string()));
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn work(args: &WorkerArgs) -> Result<(), Failure> {
    let plan: Plan = serde_json::from_slice(&std::fs::read(&args.plan)?)?;
    let orders = lines::stdin();
    let mut backoff = Backoff::default();
    // The relay is away for a second only, and nobody wants to watch a breaker wait.
    backoff.cap = Duration::from_millis(500);
    backoff.breaker_failures = u32::MAX;
    let builder = Agent::builder(&args.name).swarm(SWARM).connect(&plan.relay).store(&args.store).backoff(backoff);
    let agent = builder.open().await?;
    let document = agent.document_with(DOCUMENT, plan.engine).await?;
    tokio::spawn(tell_connections(agent.clone()));
    let (acks, to_flush) = mpsc::unbounded_channel();
    tokio::spawn(tell_acks(document.clone(), to_flush));
    let files = plan.files.len();
    // Seen on the dashboard for as long as it is connected.
    document.set_presence(&args.name)?;
    let part = Part::new(agent.clone(), plan, document.clone(), acks);
    let life = Life { agent, document, files };
    life.resume().await?;
    report(&Report::Ready { resumed: life.document.map::<Value>(FILES).len()? });
    life.run(part, orders).await
}

struct Life {
    agent: Agent,
    document: AgentDocument,
    files: usize,
}

impl Life {
    /// An agent that was killed may have sent more than it had stored: it hears from the relay first what it wrote.
    async fn resume(&self) -> Result<(), Failure> {
        if self.document.version()?.is_empty() {
            return Ok(());
        }
        catch_up(&self.agent, &self.document, PATIENCE).await
    }

    /// Does its part, open for orders meanwhile and after.
    async fn run(&self, part: Part, mut orders: mpsc::UnboundedReceiver<String>) -> Result<(), Failure> {
        let performing = part.perform();
        tokio::pin!(performing);
        let mut is_over = false;
        loop {
            tokio::select! {
                performed = &mut performing, if !is_over => {
                    performed?;
                    is_over = true;
                }
                order = orders.recv() => {
                    if self.obey(order).await? == Order::End {
                        return Ok(self.agent.close().await?);
                    }
                }
            }
        }
    }

    async fn obey(&self, order: Option<String>) -> Result<Order, Failure> {
        // Without its parent, an agent of a demo has nothing left to do.
        let line = order.ok_or_else(|| Failure::failed("the demo has ended"))?;
        let order = serde_json::from_str(&line)?;
        match order {
            Order::GoOffline => self.agent.set_online(false),
            Order::GoOnline => {
                tokio::spawn(come_back(self.agent.clone(), self.document.clone()));
            }
            Order::Settle => {
                let digest = self.settle().await?;
                report(&Report::Settled { digest });
            }
            Order::End => {}
        }
        Ok(order)
    }

    async fn settle(&self) -> Result<String, Failure> {
        let all_here = async {
            while self.document.map::<Value>(FILES).len()? < self.files {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok::<_, Failure>(())
        };
        let waited = tokio::time::timeout(PATIENCE, all_here).await;
        waited.map_err(|_| Failure::unreachable("not all files have arrived"))??;
        self.document.flush().await?;
        catch_up(&self.agent, &self.document, PATIENCE).await?;
        Ok(aepoch::document::hex(&self.document.digest()?))
    }
}

/// Waits for the relay to have each file on disk. One wait covers all files indexed before it began.
async fn tell_acks(document: AgentDocument, mut indexed: mpsc::UnboundedReceiver<Option<String>>) {
    while let Some(first) = indexed.recv().await {
        let mut batch = vec![first];
        while let Ok(more) = indexed.try_recv() {
            batch.push(more);
        }
        if document.flush().await.is_err() {
            return;
        }
        for file in batch {
            report(&file.map_or(Report::Done, Report::Acked));
        }
    }
}

async fn tell_connections(agent: Agent) {
    let mut events = agent.events();
    report(&Report::Connected(agent.status().online));
    loop {
        match events.next().await {
            Ok(Some(event)) => match &*event {
                Event::LinkUp { .. } => report(&Report::Connected(true)),
                Event::LinkDown { .. } => report(&Report::Connected(false)),
                _ => {}
            },
            Ok(None) => return,
            Err(_) => report(&Report::Connected(agent.status().online)),
        }
    }
}

async fn come_back(agent: Agent, document: AgentDocument) {
    let traffic = || {
        let status = agent.status();
        status.bytes_in + status.bytes_out
    };
    let (start, before) = (Instant::now(), traffic());
    agent.set_online(true);
    let both_ways = async {
        document.flush().await?;
        catch_up(&agent, &document, PATIENCE).await
    };
    report(&match both_ways.await {
        Ok(()) => {
            let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            Report::Back { bytes: traffic() - before, ms }
        }
        Err(failure) => Report::Failed(failure.to_string()),
    });
}

/// Tells the demo. When it does not listen any more, its end shows at stdin.
pub(super) fn report(report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}
