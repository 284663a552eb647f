//! Running the demo: starts everybody, listens, lets things go wrong, waits for the end. Layer 7.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aepoch::transport::Endpoint;
use tokio::{sync::mpsc, time::Instant};

use super::{
    chaos::{AGENT_AWAY, Mishap, RELAY_AWAY, Schedule},
    process::{AgentProcess, Folder, RelayProcess, Told},
    protocol::{Order, Plan, Report},
    screen::Screen,
    tally::{Effects, Outcomes},
};
use crate::cli::{Failure, output::size};

/// Without news for this long, something is stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often replicas are asked to settle until they hold the same, and how long between.
const SETTLES: u32 = 20;
const SETTLE_AGAIN: Duration = Duration::from_millis(500);

/// An agent as the demo knows it.
#[derive(Debug, Default)]
struct Agent {
    process: Option<AgentProcess>,
    generation: u32,
    pushed: usize,
    indexed: BTreeSet<String>,
    acked: BTreeSet<String>,
    phase: String,
    online: bool,
    away: bool,
    /// Killed for good.
    lost: bool,
    done: bool,
    digest: Option<String>,
}

impl Agent {
    fn state(&self) -> &'static str {
        match self {
            Self { lost: true, .. } => "lost",
            Self { process: None, .. } => "killed",
            Self { away: true, .. } => "offline",
            Self { online: false, .. } => "no relay",
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
    /// What ended: how each agent was told that it ended.
    pub(super) outcomes: Outcomes,
    /// What was let through, and what was not.
    pub(super) effects: Effects,
    /// Results shown to agents on their release.
    pub(super) results: BTreeSet<(u64, u64)>,
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
    outcomes: Outcomes,
    effects: Effects,
    results: BTreeSet<(u64, u64)>,
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
        for name in plan.agents() {
            let process = Some(AgentProcess::start(folder, name, 0, &told)?);
            agents.insert(name.clone(), Agent { process, ..Agent::default() });
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
            outcomes: Outcomes::default(),
            effects: Effects::default(),
            results: BTreeSet::new(),
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

    /// Waits until every agent holds everything, and the same: what is finished is forgotten within a second or two.
    pub(super) async fn settle(&mut self) -> Result<Seen, Failure> {
        for _ in 0..SETTLES {
            self.settle_once().await?;
            let digests: BTreeSet<_> = self.agents.values().filter_map(|agent| agent.digest.as_ref()).collect();
            if digests.len() <= 1 {
                break;
            }
            tokio::time::sleep(SETTLE_AGAIN).await;
        }
        let digests = self.agents.iter().filter_map(|(name, agent)| Some((name.clone(), agent.digest.clone()?)));
        Ok(Seen {
            acked: self.agents.values().flat_map(|agent| agent.acked.iter().cloned()).collect(),
            digests: digests.collect(),
            outcomes: std::mem::take(&mut self.outcomes),
            effects: std::mem::take(&mut self.effects),
            results: std::mem::take(&mut self.results),
            resync_bytes: self.resync_bytes,
        })
    }

    async fn settle_once(&mut self) -> Result<(), Failure> {
        for agent in self.agents.values_mut() {
            agent.digest = None;
            if let Some(process) = &mut agent.process {
                process.order(Order::Settle).await?;
            }
        }
        while self.agents.values().any(|agent| agent.digest.is_none() && !agent.lost) {
            self.listen().await?;
        }
        Ok(())
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
        let done = self.agents.values().all(|agent| agent.lost || agent.done && agent.process.is_some());
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
            Report::Pushed(_) => agent.pushed += 1,
            Report::Effect { item, token, .. } => self.effects.land(&item, token),
            Report::Indexed { file, item, token } => {
                self.effects.end(&file, &item, token);
                agent.indexed.insert(file);
            }
            Report::Passed { object, generation, standing } => {
                if let Some(what) = self.outcomes.note(&name, &object, generation, standing) {
                    self.screen.tell(format_args!("  {what}"));
                }
            }
            Report::Result { words, files } => drop(self.results.insert((words, files))),
            Report::Acked(file) => {
                agent.indexed.insert(file.clone());
                agent.acked.insert(file);
            }
            _ if !current => {}
            Report::Ready { resumed } => {
                if generation > 0 {
                    self.screen.tell(format_args!("  {name} is back: {resumed} files were in its store"));
                }
            }
            Report::Connected(online) => agent.online = online,
            Report::Phase(phase) => agent.phase = phase,
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
        show(self.screen, &name, agent);
        Ok(())
    }

    async fn suffer(&mut self, mishap: Mishap) -> Result<(), Failure> {
        match mishap {
            Mishap::Leave(name) => {
                self.screen.mishap(format_args!("{name} goes offline"));
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
            Mishap::Lose(name) => {
                self.screen.mishap(format_args!("{name} is killed (SIGKILL), for good"));
                if let Some(agent) = self.agents.get_mut(&name) {
                    (agent.lost, agent.online) = (true, false);
                    if let Some(process) = agent.process.take() {
                        process.kill().await?;
                    }
                    show(self.screen, &name, agent);
                }
                Ok(())
            }
            Mishap::KillRelay => {
                self.screen.mishap("the relay is killed (SIGKILL)");
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
                    show(self.screen, &name, agent);
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
                    let relay = RelayProcess::start(self.folder, &Endpoint::read(&self.plan.relay)?.authority).await?;
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

fn show(screen: &Screen, name: &str, agent: &Agent) {
    let done = agent.pushed.max(agent.indexed.len());
    screen.agent(name, done, agent.indexed.len() - agent.acked.len(), &agent.phase, agent.state());
}
