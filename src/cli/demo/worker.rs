//! One agent of the demo: a process that indexes its share of the files. Layer 7.
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
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    corpus::{self, Analysis},
    protocol::{DOCUMENT, FILES, INDEX, Order, Plan, Report, SWARM, WORDS},
    share,
};
use crate::cli::{Failure, connect::catch_up, lines};

/// How long an agent waits for its peers before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);
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
    let mut indexer = Indexer { plan, agent, document, orders, acks };
    indexer.resume().await?;
    indexer.index_share(&args.name).await?;
    indexer.obey_to_the_end().await
}

struct Indexer {
    plan: Plan,
    agent: Agent,
    document: AgentDocument,
    orders: mpsc::UnboundedReceiver<String>,
    /// Files indexed, and `None` at the end of them.
    acks: mpsc::UnboundedSender<Option<String>>,
}

impl Indexer {
    /// An agent that was killed may have sent more than it had stored: it hears from the relay first what it wrote.
    async fn resume(&self) -> Result<(), Failure> {
        if self.document.version()?.is_empty() {
            return Ok(());
        }
        catch_up(&self.agent, &self.document, PATIENCE).await
    }

    async fn index_share(&mut self, name: &str) -> Result<(), Failure> {
        let files = share::share(name, &self.plan.agents, &self.plan.files);
        let files: Vec<String> = files.into_iter().map(str::to_owned).collect();
        let mut open = Vec::new();
        for file in &files {
            if self.document.map::<Value>(FILES).get(file)?.is_some() {
                self.await_ack(Some(file.clone()));
            } else {
                open.push(file.clone());
            }
        }
        let resumed = files.len() - open.len();
        report(&Report::Ready { resumed });
        for (done, file) in (resumed + 1..).zip(open) {
            let analysis = corpus::analyse(&self.plan.root, &file)?;
            put(&self.document, name, &file, &analysis)?;
            let progress = json!({ "done": done, "of": files.len(), "file": file });
            self.agent.state().set("progress", &progress)?;
            report(&Report::Indexed(file.clone()));
            self.await_ack(Some(file));
            self.pause().await?;
        }
        self.await_ack(None);
        Ok(())
    }

    fn await_ack(&self, file: Option<String>) {
        // The receiver ends only with the agent.
        let _ = self.acks.send(file);
    }

    /// Pauses between files, open for orders meanwhile.
    async fn pause(&mut self) -> Result<(), Failure> {
        let until = tokio::time::Instant::now() + Duration::from_millis(self.plan.pace_ms);
        loop {
            tokio::select! {
                order = self.orders.recv() => {
                    self.obey(order).await?;
                }
                () = tokio::time::sleep_until(until) => return Ok(()),
            }
        }
    }

    async fn obey_to_the_end(&mut self) -> Result<(), Failure> {
        loop {
            let order = self.orders.recv().await;
            if self.obey(order).await? == Order::End {
                return Ok(self.agent.close().await?);
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
            while self.document.map::<Value>(FILES).len()? < self.plan.files.len() {
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

/// Everything known of a file in one step: replicas see all of it or nothing, so nothing is ever counted twice.
fn put(document: &AgentDocument, agent: &str, file: &str, analysis: &Analysis) -> Result<(), Failure> {
    let Analysis { statistics, words } = analysis;
    let mut entry = serde_json::to_value(statistics)?;
    entry["by"] = agent.into();
    Ok(document.transact(|transaction| {
        transaction.map(FILES).put(file, &entry)?;
        for (word, count) in words {
            transaction.map(INDEX).put(&format!("{word}/{file}"), count)?;
        }
        transaction.counter(FILES).add(1)?;
        transaction.counter(WORDS).add(i64::try_from(statistics.words).unwrap_or(i64::MAX))
    })?)
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
fn report(report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}
