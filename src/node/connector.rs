//! When to dial whom: jittered backoff and a circuit breaker per target. Pure; layer 4.
//!
//! After `breaker_failures` failed dials in a row the circuit opens for `breaker_open`; then one dial probes
//! (half-open) and either closes it or opens it again. Losing a connection that had worked is no failure: the first
//! dial after it comes within `first_retry`. Being turned away, by a close code that is final, is a failure although
//! the handshake was done: the next connection would end the same. Waits use full jitter, so a swarm that lost its
//! relay does not come back in step (Brooker, "Exponential Backoff And Jitter", 2015).

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::time::{Dice, Monotonic};

/// One address a node keeps a connection to, numbered by its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub u32);

/// How a node retries. The defaults are those of requirement C4 and D2.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Backoff {
    /// Upper bound of the wait before the first dial after a working connection was lost.
    pub first_retry: Duration,
    /// Upper bound of the wait after the first failed dial; doubles with each further one.
    pub base: Duration,
    /// Largest upper bound.
    pub cap: Duration,
    /// Failed dials in a row that open the circuit.
    pub breaker_failures: u32,
    /// How long the circuit stays open.
    pub breaker_open: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first_retry: Duration::from_millis(200),
            base: Duration::from_secs(1),
            cap: Duration::from_secs(10),
            breaker_failures: 5,
            breaker_open: Duration::from_secs(60),
        }
    }
}

/// What a target is doing, for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// A dial is under way.
    Dialing,
    /// Connected.
    Up,
    /// The next dial waits for its backoff.
    Waiting,
    /// Too many failures: the circuit is open.
    Open,
    /// Taken off the network by the application.
    Paused,
}

#[derive(Debug)]
enum Phase {
    Dialing,
    Up { since: Monotonic },
    Waiting { until: Monotonic, open: bool },
    Paused,
}

#[derive(Debug)]
struct Target {
    phase: Phase,
    failures: u32,
    /// Connections in a row that were turned away.
    turned_away: u32,
    /// Why the last connection or dial ended.
    reason: Option<String>,
}

impl Target {
    const fn new(phase: Phase) -> Self {
        Self { phase, failures: 0, turned_away: 0, reason: None }
    }
}

/// How one target stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetStatus {
    /// Which one.
    pub target: TargetId,
    /// What it is doing.
    pub state: TargetState,
    /// Failed dials in a row.
    pub failures: u32,
    /// Connections in a row that were closed for good: the next one would end the same.
    pub turned_away: u32,
    /// Why the last connection or dial ended; `None` as long as none has.
    pub reason: Option<String>,
}

/// Decides when to dial.
#[derive(Debug)]
pub(super) struct Connector {
    backoff: Backoff,
    targets: BTreeMap<TargetId, Target>,
}

impl Connector {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, targets: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, target: TargetId, now: Monotonic) {
        let phase = Phase::Waiting { until: now, open: false };
        let target = self.targets.entry(target).or_insert(Target::new(Phase::Paused));
        if matches!(target.phase, Phase::Paused) {
            *target = Target::new(phase);
        }
    }

    pub(super) fn remove(&mut self, target: TargetId) {
        self.targets.remove(&target);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// No dials to a target until it is added again.
    pub(super) fn pause(&mut self, target: TargetId) {
        if let Some(target) = self.targets.get_mut(&target) {
            target.phase = Phase::Paused;
        }
    }

    /// Nothing waits any longer: what had failed may work now.
    pub(super) fn hurry(&mut self, now: Monotonic) {
        for target in self.targets.values_mut() {
            if let Phase::Waiting { until, open } = &mut target.phase {
                (*until, *open, target.failures) = (now, false, 0);
            }
        }
    }

    /// Targets to dial now.
    pub(super) fn due(&mut self, now: Monotonic) -> Vec<TargetId> {
        let mut due = Vec::new();
        for (id, target) in &mut self.targets {
            if matches!(target.phase, Phase::Waiting { until, .. } if until <= now) {
                target.phase = Phase::Dialing;
                due.push(*id);
            }
        }
        due
    }

    pub(super) fn next_wake(&self) -> Option<Monotonic> {
        self.targets
            .values()
            .filter_map(|target| match target.phase {
                Phase::Waiting { until, .. } => Some(until),
                _ => None,
            })
            .min()
    }

    /// A dial has succeeded; false when the target was paused meanwhile, so that the connection is not wanted.
    pub(super) fn connected(&mut self, id: TargetId, now: Monotonic) -> bool {
        let Some(target) = self.targets.get_mut(&id) else { return true };
        if matches!(target.phase, Phase::Paused) {
            return false;
        }
        target.phase = Phase::Up { since: now };
        target.failures = 0;
        true
    }

    /// A working connection was lost. `retry_after` is the peer's own wish, when it said goodbye.
    pub(super) fn lost(&mut self, id: TargetId, retry_after: Option<Duration>, now: Monotonic, dice: &mut Dice) {
        let (first, longest) = (self.backoff.first_retry, self.backoff.breaker_open);
        if let Some((target, _)) = self.up(id) {
            target.turned_away = 0;
            let wait = retry_after.unwrap_or(Duration::ZERO).min(longest) + dice.jitter(first);
            target.phase = Phase::Waiting { until: now + wait, open: false };
        }
    }

    /// A connection was closed for good. One that held for longer than the circuit stays open had worked before.
    pub(super) fn turned_away(&mut self, id: TargetId, now: Monotonic, dice: &mut Dice) {
        let worked = self.backoff.breaker_open;
        let Some((target, since)) = self.up(id) else { return };
        target.failures = if now.since(since) > worked { 0 } else { target.turned_away };
        target.turned_away = target.failures.saturating_add(1);
        self.back_off(id, now, dice);
    }

    /// A connected target, and since when.
    fn up(&mut self, id: TargetId) -> Option<(&mut Target, Monotonic)> {
        let target = self.targets.get_mut(&id)?;
        match target.phase {
            Phase::Up { since } => Some((target, since)),
            _ => None,
        }
    }

    /// A dial failed; finally, when somebody was there and let us not in.
    pub(super) fn failed(&mut self, id: TargetId, is_final: bool, now: Monotonic, dice: &mut Dice) {
        if let (true, Some(target)) = (is_final, self.targets.get_mut(&id)) {
            target.turned_away = target.turned_away.saturating_add(1);
        }
        self.back_off(id, now, dice);
    }

    fn back_off(&mut self, id: TargetId, now: Monotonic, dice: &mut Dice) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        if matches!(target.phase, Phase::Paused) {
            return;
        }
        target.failures = target.failures.saturating_add(1);
        let open = target.failures >= self.backoff.breaker_failures;
        let wait = if open {
            self.backoff.breaker_open
        } else {
            let doubled = self.backoff.base.saturating_mul(1 << (target.failures - 1).min(16));
            dice.jitter(doubled.min(self.backoff.cap))
        };
        target.phase = Phase::Waiting { until: now + wait, open };
    }

    /// Remembers why there is no connection.
    pub(super) fn note(&mut self, id: TargetId, reason: String) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.reason = Some(reason);
        }
    }

    pub(super) fn states(&self) -> impl Iterator<Item = TargetStatus> + '_ {
        self.targets.iter().map(|(id, target)| {
            let state = match target.phase {
                Phase::Dialing => TargetState::Dialing,
                Phase::Up { .. } => TargetState::Up,
                Phase::Paused => TargetState::Paused,
                Phase::Waiting { open: true, .. } => TargetState::Open,
                Phase::Waiting { open: false, .. } => TargetState::Waiting,
            };
            let Target { failures, turned_away, .. } = *target;
            TargetStatus { target: *id, state, failures, turned_away, reason: target.reason.clone() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: TargetId = TargetId(0);

    fn dialing() -> (Connector, Dice) {
        let mut connector = Connector::new(Backoff::default());
        connector.add(RELAY, Monotonic(0));
        assert_eq!(connector.due(Monotonic(0)), [RELAY]);
        (connector, Dice::new(1))
    }

    #[test]
    fn a_dial_that_succeeds_after_its_target_was_paused_is_not_wanted() {
        let (mut connector, _) = dialing();
        connector.pause(RELAY);
        assert!(!connector.connected(RELAY, Monotonic(0)));
        assert!(connector.states().all(|target| target.state == TargetState::Paused));
    }

    #[test]
    fn the_circuit_opens_after_five_failures_and_probes_after_a_minute() {
        let (mut connector, mut dice) = dialing();
        let mut now = Monotonic(0);
        for failure in 1..=5 {
            connector.failed(RELAY, false, now, &mut dice);
            let open = connector.states().any(|target| target.state == TargetState::Open);
            assert_eq!(open, failure == 5, "after {failure} failures");
            let wake = connector.next_wake().expect("a retry is planned");
            if failure == 5 {
                assert_eq!(wake.since(now), Duration::from_secs(60));
            }
            now = wake;
            assert_eq!(connector.due(now), [RELAY]);
        }
        connector.failed(RELAY, false, now, &mut dice);
        assert_eq!(connector.next_wake().map(|wake| wake.since(now)), Some(Duration::from_secs(60)));
        assert_eq!(connector.due(now + Duration::from_secs(60)), [RELAY]);
        assert!(connector.connected(RELAY, Monotonic(0)));
        assert!(connector.states().all(|target| target.state == TargetState::Up && target.failures == 0));
    }

    #[test]
    fn connections_that_are_turned_away_open_the_circuit_and_one_that_works_closes_it() {
        let (mut connector, mut dice) = dialing();
        let mut now = Monotonic(0);
        for times in 1..=5 {
            assert!(connector.connected(RELAY, now));
            connector.turned_away(RELAY, now, &mut dice);
            let open = connector.states().any(|target| target.state == TargetState::Open);
            assert_eq!(open, times == 5, "turned away {times} times");
            now = connector.next_wake().expect("a retry is planned");
            connector.due(now);
        }
        assert!(connector.connected(RELAY, now));
        now = now + Duration::from_secs(61);
        connector.turned_away(RELAY, now, &mut dice);
        assert!(connector.states().all(|target| target.state == TargetState::Waiting && target.failures == 1));
    }

    #[test]
    fn the_end_of_an_old_connection_does_not_disturb_a_dial() {
        let (mut connector, mut dice) = dialing();
        connector.turned_away(RELAY, Monotonic(0), &mut dice);
        connector.lost(RELAY, None, Monotonic(0), &mut dice);
        assert!(connector.states().all(|target| target.state == TargetState::Dialing && target.failures == 0));
    }

    #[test]
    fn waits_grow_to_the_cap_and_a_lost_connection_is_redialled_soon() {
        let (mut connector, mut dice) = dialing();
        for failure in 0..4_u32 {
            connector.failed(RELAY, false, Monotonic(0), &mut dice);
            let wait = connector.next_wake().expect("a retry is planned").since(Monotonic(0));
            assert!(wait <= Duration::from_secs(1 << failure).min(Duration::from_secs(10)), "{wait:?}");
            connector.due(Monotonic(u64::MAX));
        }
        assert!(connector.connected(RELAY, Monotonic(0)));
        connector.lost(RELAY, None, Monotonic(0), &mut dice);
        assert!(connector.next_wake().expect("a retry is planned") <= Monotonic(200_000));
    }
}
