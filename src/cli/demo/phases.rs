//! What an agent of the demo does: alphas push the files, gammas claim and index them, all sum up, alphas publish. Layer 7.
//!
//! Nobody is told what to do next. Whoever is killed and comes back finds its place in the document.

use std::{collections::BTreeMap, time::Duration};

use aepoch::{
    agent::{
        Agent, AgentDocument, AgentError,
        coordination::{Barrier, Epoch, Passage, Queue, Task},
    },
    coordination::{kernel::Tier, queue::Claiming, standing::Standing},
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    corpus::{self, Analysis, Statistics},
    protocol::{FILES, INDEX, PHASES, Plan, RESULT, Report, SUM},
    share,
    worker::report,
};
use crate::cli::Failure;

/// How long a phase waits for laggards, and the alphas' tier of the last barrier; gammas wait twice that.
const WINDOW: Duration = Duration::from_secs(4);
/// How long a claim outlives its holder.
const LEASE: Duration = Duration::from_millis(1_500);
/// Files pushed at a time.
const PUSHED_AT_ONCE: usize = 8;
/// Between two looks at whether all files are indexed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Sums over some files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    files: u64,
    words: u64,
}

impl Sums {
    fn of<'s>(statistics: impl Iterator<Item = &'s Statistics>) -> Self {
        statistics.fold(Self::default(), |sum, one| Self { files: sum.files + 1, words: sum.words + one.words })
    }
}

/// An agent's part in the work.
pub(super) struct Part {
    agent: Agent,
    name: String,
    plan: Plan,
    document: AgentDocument,
    /// Files indexed, and `None` at the end of them.
    acks: mpsc::UnboundedSender<Option<String>>,
}

/// What all agents meet at.
struct Objects {
    queue: Queue<String>,
    epoch: Epoch,
    publish: Barrier,
}

impl Part {
    pub(super) fn new(
        agent: Agent,
        plan: Plan,
        document: AgentDocument,
        acks: mpsc::UnboundedSender<Option<String>>,
    ) -> Self {
        Self { name: agent.name().to_string(), agent, plan, document, acks }
    }

    fn is_alpha(&self) -> bool {
        self.plan.alphas.contains(&self.name)
    }

    /// All of it, from wherever this agent is.
    pub(super) async fn perform(self) -> Result<(), Failure> {
        let objects = self.open().await?;
        let working =
            async { if self.plan.workers().contains(&self.name) { self.index(&objects.queue).await } else { Ok(()) } };
        let ((), ()) = tokio::try_join!(working, self.go_through(&objects))?;
        self.is_at("the end")?;
        // The receiver ends only with the agent.
        let _ = self.acks.send(None);
        Ok(())
    }

    async fn open(&self) -> Result<Objects, Failure> {
        let (document, plan) = (&self.document, &self.plan);
        let all = || plan.agents().map(String::as_str);
        let count = plan.agents().count();
        let queue = document.queue(FILES).members(all()).at_most(count).tolerate_minority().lease(LEASE);
        let epoch = document.epoch(INDEX).members(Tier::ALPHA, all()).at_most(count).tolerate_minority();
        let barrier = document.barrier(RESULT).members(Tier::ALPHA, plan.alphas.iter().map(String::as_str));
        let barrier = barrier.members(Tier::GAMMA, plan.gammas.iter().map(String::as_str)).at_most(count);
        let barrier = barrier.tolerate_minority().timeout(Tier::ALPHA, WINDOW / 2).timeout(Tier::GAMMA, WINDOW);
        Ok(Objects {
            queue: queue.open().await?,
            epoch: epoch.phases(PHASES).window(WINDOW).open().await?,
            publish: barrier.open().await?,
        })
    }

    /// The phases that are left for this agent. Left out of one, it still comes to the barrier at the end.
    async fn go_through(&self, objects: &Objects) -> Result<(), Failure> {
        if self.go_through_epoch(objects).await? {
            return Ok(());
        }
        self.all_indexed().await?;
        self.publish(&objects.publish).await
    }

    /// True when it came to the end of the last phase.
    async fn go_through_epoch(&self, objects: &Objects) -> Result<bool, Failure> {
        let Objects { queue, epoch, publish } = objects;
        loop {
            let position = epoch.position()?;
            let Some(phase) = PHASES.get(position.phase).filter(|_| position.epoch == 0) else { return Ok(true) };
            epoch.phase(phase)?.entered().await?;
            report(&Report::Phase((*phase).to_owned()));
            self.is_at(phase)?;
            match *phase {
                "collect" => self.push_share(queue).await?,
                "reduce" => self.sum_up().await?,
                _ => self.publish(publish).await?,
            }
            let passage = match epoch.finish(phase).await {
                Ok(passage) => passage,
                // It has no seat any more: the others went on without it while it was away.
                Err(AgentError::Node(_)) => return Ok(*phase == "publish"),
                Err(error) => return Err(error.into()),
            };
            told(INDEX, &passage);
            if *phase == "collect" {
                self.push_for_the_missing(queue, &passage).await?;
            }
            if !passage.is_released() {
                return Ok(*phase == "publish");
            }
        }
    }

    /// An alpha pushes its share of the files: those that score highest with its name.
    async fn push_share(&self, queue: &Queue<String>) -> Result<(), Failure> {
        if !self.is_alpha() {
            return Ok(());
        }
        // Back from a restart, it has pushed as many as its register says.
        let pushed = self.document.register::<usize>(&format!("pushed/{}", self.name));
        let share = share::share(&self.name, &self.plan.alphas, &self.plan.files);
        let already = pushed.get()?.unwrap_or(0).min(share.len());
        for (number, files) in share[already..].chunks(PUSHED_AT_ONCE).enumerate() {
            // Together they take one flush of the disk.
            futures_util::future::try_join_all(files.iter().map(|file| push(queue, file))).await?;
            pushed.set(&(already + number * PUSHED_AT_ONCE + files.len()))?;
            let pause = self.plan.push_ms * files.len() as u64;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    /// Whoever is the first alpha now pushes what those left out have not. What they had pushed is done first, so that
    /// nothing is pushed twice.
    async fn push_for_the_missing(&self, queue: &Queue<String>, passage: &Passage) -> Result<(), Failure> {
        let Some(outcome) = passage.outcome() else { return Ok(()) };
        // Left out itself, it is here all the same.
        let missing: Vec<&str> =
            outcome.missing().map(aepoch::id::AgentId::as_str).filter(|name| *name != self.name).collect();
        let first = self.plan.alphas.iter().find(|alpha| !missing.contains(&alpha.as_str()));
        let gone = self.plan.alphas.iter().filter(|alpha| missing.contains(&alpha.as_str()));
        let files: Vec<&str> =
            gone.flat_map(|alpha| share::share(alpha, &self.plan.alphas, &self.plan.files)).collect();
        if first != Some(&self.name) || files.is_empty() {
            return Ok(());
        }
        while !queue.items()?.is_empty() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let indexed = self.document.map::<Statistics>(FILES);
        for file in files {
            if indexed.get(file)?.is_none() {
                push(queue, file).await?;
            }
        }
        Ok(())
    }

    /// Claims files and indexes them until all are indexed, by whomever.
    async fn index(&self, queue: &Queue<String>) -> Result<(), Failure> {
        loop {
            let task = tokio::select! {
                task = queue.claim(Claiming::Exclusive) => task?,
                all = self.all_indexed() => return all,
            };
            self.index_one(task).await?;
            tokio::time::sleep(Duration::from_millis(self.plan.pace_ms)).await;
        }
    }

    async fn index_one(&self, task: Task<String>) -> Result<(), Failure> {
        let (file, item, token) = (task.payload().clone(), task.item().to_string(), task.token());
        self.is_at(&file)?;
        let analysis = corpus::analyse(&self.plan.root, &file)?;
        report(&Report::Effect { file: file.clone(), item: item.clone(), token });
        self.put(&file, &analysis)?;
        match task.complete().await {
            Ok(()) => {
                report(&Report::Indexed { file: file.clone(), item, token });
                let _ = self.acks.send(Some(file));
                Ok(())
            }
            // Another one holds it by now, or it was done. What was written is what the other one writes.
            Err(AgentError::Node(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells all who look on.
    fn is_at(&self, what: &str) -> Result<(), Failure> {
        Ok(self.agent.state().set("at", &what)?)
    }

    /// Everything known of a file in one step: replicas see all of it or nothing.
    fn put(&self, file: &str, analysis: &Analysis) -> Result<(), Failure> {
        let Analysis { statistics, words } = analysis;
        Ok(self.document.transact(|transaction| {
            transaction.map(FILES).put(file, statistics)?;
            for (word, count) in words {
                transaction.map(INDEX).put(&format!("{word}/{file}"), count)?;
            }
            Ok(())
        })?)
    }

    async fn all_indexed(&self) -> Result<(), Failure> {
        while self.document.map::<Statistics>(FILES).len()? < self.plan.files.len() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Sums up this agent's share of the files.
    async fn sum_up(&self) -> Result<(), Failure> {
        self.all_indexed().await?;
        Ok(self.document.register(&format!("{SUM}/{}", self.name)).set(&self.sums_of(&self.name)?)?)
    }

    fn sums_of(&self, name: &str) -> Result<Sums, Failure> {
        let indexed = self.document.map::<Statistics>(FILES).entries()?.into_iter();
        let indexed: BTreeMap<String, Statistics> = indexed.map(|(file, one)| (file.to_string(), one)).collect();
        let all: Vec<String> = self.plan.agents().cloned().collect();
        let share = share::share(name, &all, &self.plan.files);
        Ok(Sums::of(share.into_iter().filter_map(|file| indexed.get(file))))
    }

    /// Alphas add the sums up and publish the result before they arrive; gammas are released with it in sight.
    async fn publish(&self, barrier: &Barrier) -> Result<(), Failure> {
        let result = self.document.register::<Sums>(RESULT);
        if self.is_alpha() {
            let mut total = Sums::default();
            for agent in self.plan.agents() {
                // The sums of all who were in the phase before are here: that is its fence. Whoever was not has none.
                let sums = self.document.register::<Sums>(&format!("{SUM}/{agent}")).get()?;
                let sums = sums.map_or_else(|| self.sums_of(agent), Ok)?;
                total = Sums { files: total.files + sums.files, words: total.words + sums.words };
            }
            result.set(&total)?;
        }
        let passage = match barrier.arrive().await {
            Ok(passage) => passage,
            // It has arrived before it was killed.
            Err(AgentError::Node(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        told(RESULT, &passage);
        if let Some(Sums { files, words }) = result.get()?.filter(|_| passage.is_released()) {
            report(&Report::Result { words, files });
        }
        Ok(())
    }
}

async fn push(queue: &Queue<String>, file: &str) -> Result<(), Failure> {
    queue.push(&file.to_owned()).await?;
    report(&Report::Pushed(file.to_owned()));
    Ok(())
}

fn told(object: &str, passage: &Passage) {
    let Passage { generation, standing, .. } = passage;
    if !matches!(standing, Standing::Waiting | Standing::Overdue { .. }) {
        report(&Report::Passed { object: object.to_owned(), generation: *generation, standing: standing.clone() });
    }
}
