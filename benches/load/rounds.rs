//! One barrier, round after round, driven alike for every system: ours, the yardstick, and the rivals, whose package
//! includes this file. Every member is a task of its own; what is measured is between two readings of one clock.

use std::time::{Duration, Instant};

use tokio::{sync::mpsc, time::timeout};

/// How long a step of a round may take before the measurement is given up.
const STEP_WAIT: Duration = Duration::from_secs(600);

/// One member of a barrier that goes on, generation after generation, with a connection of its own.
pub(crate) trait Member: Send + 'static {
    /// Gets ready for a round, off the measured path.
    fn prepare(&mut self, _round: u64) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Arrives: returns when its write is sent, or acknowledged where the system acknowledges.
    fn arrive(&mut self, round: u64) -> impl Future<Output = ()> + Send;

    /// Returns when this member knows that all but one have arrived, where it can tell.
    fn settled(&mut self, _round: u64) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Returns when this member has learnt that all have arrived.
    fn released(&mut self, round: u64) -> impl Future<Output = ()> + Send;
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Prepare,
    /// Arrive, settle, say so; then wait for the release.
    Early,
    /// Settle, without arriving.
    Watch,
    /// Arrive and wait for the release.
    Pass,
}

/// When a member began with a step and when it was done.
type Done = (Instant, Instant);

/// Members on their tasks. Dropping it ends them.
pub(crate) struct Crew {
    steps: Vec<mpsc::UnboundedSender<(Step, u64)>>,
    done: mpsc::UnboundedReceiver<Done>,
    round: u64,
}

impl Crew {
    pub(crate) fn new<M: Member>(members: Vec<M>) -> Self {
        let (sender, done) = mpsc::unbounded_channel();
        let start = |member| {
            let (steps, taken) = mpsc::unbounded_channel();
            tokio::spawn(take_part(member, taken, sender.clone()));
            steps
        };
        Self { steps: members.into_iter().map(start).collect(), done, round: 0 }
    }

    /// Long enough for what the arrivals before have caused to be over: the more members, the more of it.
    fn pause(&self) -> Duration {
        Duration::from_millis(10 + self.steps.len() as u64)
    }

    /// A round in which all but one have arrived, and know it, a while before the last one does: from just before it
    /// arrives to the moment the slowest is released. Who is last changes from round to round.
    pub(crate) async fn last_arrival(&mut self) -> Duration {
        self.all(Step::Prepare).await;
        let last = usize::try_from(self.round).unwrap() % self.steps.len();
        for (number, member) in self.steps.iter().enumerate() {
            let step = if number == last { Step::Watch } else { Step::Early };
            member.send((step, self.round)).unwrap();
        }
        self.wait().await;
        tokio::time::sleep(self.pause()).await;
        // The wait for the release began when a member had settled: only the last one begins from here on.
        self.steps[last].send((Step::Pass, self.round)).unwrap();
        let done = self.wait().await;
        self.round += 1;
        let start = done.iter().map(|(start, _)| *start).max().unwrap();
        done.iter().map(|(_, end)| *end).max().unwrap() - start
    }

    /// A round in which all arrive at once: from the start given to them to the moment the slowest is released.
    pub(crate) async fn storm(&mut self) -> Duration {
        self.all(Step::Prepare).await;
        tokio::time::sleep(self.pause()).await;
        let start = Instant::now();
        let done = self.all(Step::Pass).await;
        self.round += 1;
        done.iter().map(|(_, end)| *end).max().unwrap() - start
    }

    async fn all(&mut self, step: Step) -> Vec<Done> {
        for member in &self.steps {
            member.send((step, self.round)).unwrap();
        }
        self.wait().await
    }

    /// Until as many have answered as there are.
    async fn wait(&mut self) -> Vec<Done> {
        let mut done = Vec::with_capacity(self.steps.len());
        while done.len() < self.steps.len() {
            let answer = timeout(STEP_WAIT, self.done.recv()).await;
            let missing = self.steps.len() - done.len();
            let answer = answer.unwrap_or_else(|_| panic!("round {}: {missing} members are stuck", self.round));
            done.push(answer.unwrap());
        }
        done
    }
}

async fn take_part<M: Member>(
    mut member: M,
    mut steps: mpsc::UnboundedReceiver<(Step, u64)>,
    done: mpsc::UnboundedSender<Done>,
) {
    while let Some((step, round)) = steps.recv().await {
        let mut start = Instant::now();
        match step {
            Step::Prepare => member.prepare(round).await,
            Step::Early => {
                member.arrive(round).await;
                member.settled(round).await;
                let settled = Instant::now();
                let _ = done.send((start, settled));
                start = settled;
                member.released(round).await;
            }
            Step::Watch => member.settled(round).await,
            Step::Pass => {
                member.arrive(round).await;
                member.released(round).await;
            }
        }
        // The crew may be gone: its last round is over.
        let _ = done.send((start, Instant::now()));
    }
}
