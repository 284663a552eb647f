//! Running the demo: starts everybody, listens, lets things go wrong, waits for the end. Layer 7.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};

use super::{
    chaos::{AGENT_AWAY, Mishap, RELAY_AWAY, Schedule},
    process::{AgentProcess, Folder, RelayProcess, Told},
    protocol::{Order, Plan, Report},
    screen::Screen,
    share,
};
use crate::cli::{Failure, http, output::size};

/// Without news for this long, something is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent as the demo knows it.
#[derive(Debug, Default)]
struct Agent {
    process: Option<AgentProcess>,
    generation: u32,
    files: usize,
    indexed: BTreeSet<String>,
    acked: BTreeSet<String>,
    online: bool,
    away: bool,
    done: bool,
    digest: Option<String>,
}

impl Agent {
    fn state(&self) -> &'static str {
        match self {
            Self { process: None, .. } => "killed",
            Self { away: true, .. } => "offline, works on",
            Self { online: false, .. } => "no relay, works on",
            _ => "online",
        }
    }
}

/// Something that was killed and comes back.
#[derive(Debug)]
enum Revival {
    Relay,
    Agent(String),
}

/// What was seen of a run.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Files whose results the relay has acknowledged.
    pub(super) acked: BTreeSet<String>,
    /// Digests by agent.
    pub(super) digests: BTreeMap<String, String>,
    /// Bytes that an agent's return from working offline took.
    pub(super) resync_bytes: u64,
}

/// A demo under way.
#[derive(Debug)]
pub(super) struct Swarm<'a> {
    folder: &'a Folder,
    plan: &'a Plan,
    screen: &'a Screen,
    schedule: Schedule,
    relay: Option<RelayProcess>,
    agents: BTreeMap<String, Agent>,
    told: mpsc::UnboundedSender<Told>,
    news: mpsc::UnboundedReceiver<Told>,
    revivals: Vec<(Instant, Revival)>,
    returning: usize,
    resync_bytes: u64,
}

impl<'a> Swarm<'a> {
    /// Starts the agents of a plan whose relay runs already.
    pub(super) fn start(
        folder: &'a Folder,
        plan: &'a Plan,
        screen: &'a Screen,
        relay: RelayProcess,
        schedule: Schedule,
    ) -> Result<Self, Failure> {
        let (told, news) = mpsc::unbounded_channel();
        screen.relay(Some(relay.url()));
        let mut agents = BTreeMap::new();
        for name in &plan.agents {
            let process = Some(AgentProcess::start(folder, name, 0, &told)?);
            let files = share::share(name, &plan.agents, &plan.files).len();
            agents.insert(name.clone(), Agent { process, files, ..Agent::default() });
        }
        Ok(Self {
            folder,
            plan,
            screen,
            schedule,
            relay: Some(relay),
            agents,
            told,
            news,
            revivals: Vec::new(),
            returning: 0,
            resync_bytes: 0,
        })
    }

    /// Runs until all files are indexed and acknowledged, and all mishaps are over.
    pub(super) async fn work(&mut self) -> Result<(), Failure> {
        while !self.is_over() {
            self.listen().await?;
            while let Some(mishap) = self.next_mishap() {
                self.suffer(mishap).await?;
            }
        }
        Ok(())
    }

    /// Waits until every agent holds everything.
    pub(super) async fn settle(&mut self) -> Result<Seen, Failure> {
        for agent in self.agents.values_mut() {
            if let Some(process) = &mut agent.process {
                process.order(Order::Settle).await?;
            }
        }
        while self.agents.values().any(|agent| agent.digest.is_none()) {
            self.listen().await?;
        }
        let digests = self.agents.iter().filter_map(|(name, agent)| Some((name.clone(), agent.digest.clone()?)));
        Ok(Seen {
            acked: self.agents.values().flat_map(|agent| agent.acked.iter().cloned()).collect(),
            digests: digests.collect(),
            resync_bytes: self.resync_bytes,
        })
    }

    /// Ends everybody in order.
    pub(super) async fn end(self) -> Result<(), Failure> {
        for (name, agent) in self.agents {
            if let Some(process) = agent.process {
                process.end(&name).await?;
            }
        }
        match self.relay {
            Some(relay) => relay.end().await,
            None => Ok(()),
        }
    }

    fn is_over(&self) -> bool {
        let done = self.agents.values().all(|agent| agent.done && agent.process.is_some());
        done && self.schedule.is_over() && self.revivals.is_empty() && self.returning == 0
    }

    fn next_mishap(&mut self) -> Option<Mishap> {
        let indexed = self.agents.values().map(|agent| agent.indexed.len()).sum();
        // One at a time: what was killed is back before the next thing goes wrong.
        if self.revivals.is_empty() { self.schedule.due(indexed, self.plan.files.len()) } else { None }
    }

    /// Takes the next report, or brings back what is due.
    async fn listen(&mut self) -> Result<(), Failure> {
        let stuck = Instant::now() + PATIENCE;
        let revival = self.revivals.iter().map(|(at, _)| *at).min();
        tokio::select! {
            told = self.news.recv() => match told {
                Some(told) => self.take(told),
                None => Ok(()),
            },
            () = tokio::time::sleep_until(revival.unwrap_or(stuck)) => match revival {
                Some(_) => self.revive().await,
                None => Err(Failure::failed(format!("nothing has happened for {} s", PATIENCE.as_secs()))),
            },
        }
    }

    fn take(&mut self, (name, generation, report): Told) -> Result<(), Failure> {
        let Some(agent) = self.agents.get_mut(&name) else { return Ok(()) };
        let current = agent.process.as_ref().is_some_and(|process| process.generation == generation);
        match report {
            // What a process told before it was killed holds all the same.
            Report::Indexed(file) => drop(agent.indexed.insert(file)),
            Report::Acked(file) => {
                agent.indexed.insert(file.clone());
                agent.acked.insert(file);
            }
            _ if !current => {}
            Report::Ready { resumed } => {
                if generation > 0 {
                    let files = agent.files;
                    self.screen
                        .tell(format_args!("  {name} is back: {resumed} of its {files} files were in its store"));
                }
            }
            Report::Connected(online) => agent.online = online,
            Report::Done => agent.done = true,
            Report::Back { bytes, ms } => {
                agent.away = false;
                self.returning -= 1;
                self.resync_bytes += bytes;
                let bytes = size(bytes);
                self.screen.tell(format_args!("  {name} has caught up both ways: {bytes} in {ms} ms"));
            }
            Report::Settled { digest } => agent.digest = Some(digest),
            Report::Failed(reason) => return Err(Failure::failed(format!("{name}: {reason}"))),
            Report::Gone => {
                let what = format!("{name} has ended unasked; {}", self.folder.end_of_log(&name));
                return Err(Failure::failed(what));
            }
        }
        self.screen.agent(&name, agent.indexed.len(), agent.acked.len(), agent.state());
        Ok(())
    }

    async fn suffer(&mut self, mishap: Mishap) -> Result<(), Failure> {
        match mishap {
            Mishap::Leave(name) => {
                self.screen.mishap(format_args!("{name} goes offline, and works on"));
                if let Some(agent) = self.agents.get_mut(&name) {
                    agent.away = true;
                }
                self.order(&name, Order::GoOffline).await
            }
            Mishap::Return(name) => {
                self.screen.mishap(format_args!("{name} comes back"));
                self.returning += 1;
                self.order(&name, Order::GoOnline).await
            }
            Mishap::KillRelay => {
                self.screen.mishap("the relay is killed (SIGKILL); everybody works on");
                if let Some(relay) = self.relay.take() {
                    relay.kill().await?;
                }
                self.screen.relay(None);
                self.revivals.push((Instant::now() + RELAY_AWAY, Revival::Relay));
                Ok(())
            }
            Mishap::KillAgent(name) => {
                self.screen.mishap(format_args!("{name} is killed (SIGKILL)"));
                if let Some(agent) = self.agents.get_mut(&name) {
                    if let Some(process) = agent.process.take() {
                        process.kill().await?;
                    }
                    (agent.done, agent.online) = (false, false);
                    self.screen.agent(&name, agent.indexed.len(), agent.acked.len(), agent.state());
                }
                self.revivals.push((Instant::now() + AGENT_AWAY, Revival::Agent(name)));
                Ok(())
            }
        }
    }

    async fn order(&mut self, name: &str, order: Order) -> Result<(), Failure> {
        match self.agents.get_mut(name).and_then(|agent| agent.process.as_mut()) {
            Some(process) => process.order(order).await,
            None => Ok(()),
        }
    }

    async fn revive(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.revivals).into_iter().partition(|(at, _)| *at <= now);
        self.revivals = later;
        for (_, revival) in due {
            match revival {
                Revival::Relay => {
                    let relay = RelayProcess::start(self.folder, http::host_of(&self.plan.relay)?).await?;
                    self.screen.relay(Some(relay.url()));
                    self.screen.tell("  the relay is back, on the same port and store");
                    self.relay = Some(relay);
                }
                Revival::Agent(name) => {
                    let Some(agent) = self.agents.get_mut(&name) else { continue };
                    agent.generation += 1;
                    agent.process = Some(AgentProcess::start(self.folder, &name, agent.generation, &self.told)?);
                }
            }
        }
        Ok(())
    }
}
