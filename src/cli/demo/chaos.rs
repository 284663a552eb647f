//! The mishaps of a demo, each at a share of the work done. Layer 7.

use std::{collections::VecDeque, time::Duration};

/// How long a killed relay stays away.
pub(super) const RELAY_AWAY: Duration = Duration::from_millis(1_000);
/// How long a killed agent stays away.
pub(super) const AGENT_AWAY: Duration = Duration::from_millis(700);

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mishap {
    /// An agent is killed, and does not come back.
    Lose(String),
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
    /// The demo's mishaps for these agents. The last of several alphas is lost in the middle of its pushing. One gamma
    /// is away for a while; the relay is killed before, another gamma after that: a majority stays connected but for
    /// moments, so that absence can be decided.
    pub(super) fn of(alphas: &[String], gammas: &[String]) -> Self {
        let mut mishaps = VecDeque::new();
        let lost = alphas.last().filter(|_| alphas.len() > 1 && alphas.len() + gammas.len() > 3);
        mishaps.extend(lost.map(|alpha| (2, Mishap::Lose(alpha.clone()))));
        mishaps.push_back((20, Mishap::KillRelay));
        if let Some(away) = gammas.first() {
            mishaps.push_back((40, Mishap::Leave(away.clone())));
            mishaps.push_back((60, Mishap::Return(away.clone())));
        }
        mishaps.extend(gammas.get(1).map(|killed| (75, Mishap::KillAgent(killed.clone()))));
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

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("{prefix}-{number}")).collect()
    }

    fn all(alphas: usize, gammas: usize) -> Vec<Mishap> {
        let mut schedule = Schedule::of(&names("alpha", alphas), &names("gamma", gammas));
        std::iter::from_fn(|| schedule.due(1, 1)).collect()
    }

    #[test]
    fn whoever_leaves_returns_and_is_not_killed_meanwhile() {
        for gammas in 1..8 {
            let mishaps = all(1, gammas);
            let left = mishaps.iter().find_map(|mishap| match mishap {
                Mishap::Leave(agent) => Some(agent.clone()),
                _ => None,
            });
            let left = left.unwrap();
            assert!(mishaps.contains(&Mishap::Return(left.clone())));
            assert!(mishaps.contains(&Mishap::KillRelay));
            assert!(!mishaps.contains(&Mishap::KillAgent(left)), "{gammas}");
        }
    }

    #[test]
    fn an_alpha_is_lost_only_where_the_others_can_go_on() {
        assert!(all(2, 4).contains(&Mishap::Lose("alpha-2".to_owned())));
        assert!(!all(2, 1).iter().chain(&all(1, 5)).any(|mishap| matches!(mishap, Mishap::Lose(_))));
    }

    #[test]
    fn mishaps_wait_for_their_share_of_the_work() {
        let mut schedule = Schedule::of(&["a1".to_owned()], &["g1".to_owned()]);
        assert_eq!(schedule.due(19, 100), None);
        assert_eq!(schedule.due(20, 100), Some(Mishap::KillRelay));
        assert_eq!(schedule.due(39, 100), None);
        assert!(!schedule.is_over());
    }
}
