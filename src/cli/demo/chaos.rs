//! The mishaps of a demo, each at a share of the work done. Layer 7.

use std::{collections::VecDeque, time::Duration};

/// How long a killed relay stays away.
pub(super) const RELAY_AWAY: Duration = Duration::from_millis(1_000);
/// How long a killed agent stays away.
pub(super) const AGENT_AWAY: Duration = Duration::from_millis(700);

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mishap {
    /// An agent leaves the network and works on.
    Leave(String),
    /// It comes back.
    Return(String),
    /// The relay is killed, and started again after a while.
    KillRelay,
    /// An agent is killed, and started again after a while.
    KillAgent(String),
}

/// Mishaps still to come, in order, each due when that percentage of the files is indexed.
#[derive(Debug, Default)]
pub(super) struct Schedule(VecDeque<(usize, Mishap)>);

impl Schedule {
    /// The demo's mishaps for these agents. The relay is killed while one agent is away, and with only one agent no
    /// agent is killed: somebody should be seen working.
    pub(super) fn of(agents: &[String]) -> Self {
        let pick = |at: usize| agents.get(at % agents.len().max(1)).cloned();
        let mut mishaps = VecDeque::new();
        let (away, killed) = (pick(1), pick(2).filter(|_| agents.len() > 1));
        mishaps.extend(away.clone().map(|agent| (15, Mishap::Leave(agent))));
        mishaps.push_back((35, Mishap::KillRelay));
        mishaps.extend(killed.map(|agent| (55, Mishap::KillAgent(agent))));
        mishaps.extend(away.map(|agent| (75, Mishap::Return(agent))));
        Self(mishaps)
    }

    /// The next mishap, when it is due.
    pub(super) fn due(&mut self, indexed: usize, files: usize) -> Option<Mishap> {
        let (percent, _) = self.0.front()?;
        if indexed * 100 < files * percent { None } else { self.0.pop_front().map(|(_, mishap)| mishap) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(count: usize) -> Vec<Mishap> {
        let agents: Vec<String> = (1..=count).map(|number| format!("a{number}")).collect();
        let mut schedule = Schedule::of(&agents);
        std::iter::from_fn(|| schedule.due(1, 1)).collect()
    }

    #[test]
    fn whoever_leaves_returns_and_is_not_killed_meanwhile() {
        for count in 1..8 {
            let mishaps = all(count);
            let left = mishaps.iter().find_map(|mishap| match mishap {
                Mishap::Leave(agent) => Some(agent.clone()),
                _ => None,
            });
            let left = left.unwrap();
            assert!(mishaps.contains(&Mishap::Return(left.clone())));
            assert!(mishaps.contains(&Mishap::KillRelay));
            assert!(!mishaps.contains(&Mishap::KillAgent(left)), "{count}");
        }
    }

    #[test]
    fn mishaps_wait_for_their_share_of_the_work() {
        let mut schedule = Schedule::of(&["a1".to_owned()]);
        assert_eq!(schedule.due(14, 100), None);
        assert_eq!(schedule.due(15, 100), Some(Mishap::Leave("a1".to_owned())));
        assert_eq!(schedule.due(20, 100), None);
        assert!(!schedule.is_over());
    }
}
