//! One simulated process: a node, its clocks, its disk and who it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{disk::Disk, witness::Seen};
use crate::{
    document::{Subscription, Version},
    id::{AgentId, Identity, LinkId, ReplicaId},
    node::{Config, Node, TargetId, Tuning},
    sync::Role,
    time::{Dice, Moment, Monotonic},
};

/// Wall time at the start of every world: 2024-01-01.
const WALL_START_MS: u64 = 1_704_067_200_000;

/// One process on one machine.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) agent: AgentId,
    pub(super) identity: Identity,
    pub(super) role: Role,
    /// Its disk survives a crash; otherwise it comes back as a new replica.
    pub(super) keeps: bool,
    /// The records it holds.
    pub(super) subscription: Subscription,
    /// Others may forward through it.
    pub(super) trusts: bool,
    /// `None` while it is down.
    pub(super) node: Option<Node>,
    /// Counts its starts: what was meant for an earlier one is dropped.
    pub(super) epoch: u64,
    pub(super) disk: Disk,
    /// Ahead of the world's time, in microseconds: nodes share no monotonic clock.
    mono_ahead: u64,
    pub(super) wall_ahead_ms: i64,
    /// Connection and side of each link.
    pub(super) links: BTreeMap<LinkId, (u64, usize)>,
    /// Hosts it dials, by target number.
    pub(super) targets: Vec<usize>,
    /// When its node's timer is on the agenda.
    pub(super) timer: Option<u64>,
    /// Whether each document is open.
    pub(super) opened: Vec<bool>,
    /// The presence it shows in each document.
    pub(super) presence: Vec<Option<u64>>,
    /// The last version seen of each document since the start.
    pub(super) seen: Vec<Version>,
    /// What it is known to know of each document's objects since the start.
    pub(super) seen_of: Vec<Seen>,
    /// Its process does nothing until then.
    pub(super) stalled_until: u64,
    /// It tells its node that its identity does not outlive it.
    pub(super) hasty: bool,
    /// Application messages that have come since the start.
    pub(super) heard: BTreeSet<u64>,
}

impl Host {
    pub(super) fn new(agent: AgentId, role: Role, documents: usize, dice: &mut Dice) -> Self {
        let identity = Identity { agent: agent.clone(), replica: ReplicaId::from_bits(dice.bits()), incarnation: 1 };
        Self {
            agent,
            identity,
            role,
            keeps: role == Role::Relay || dice.chance(60),
            subscription: Subscription::default(),
            trusts: false,
            node: None,
            epoch: 0,
            disk: Disk::default(),
            mono_ahead: dice.below(1 << 40),
            wall_ahead_ms: i64::try_from(dice.below(20_000)).unwrap_or(0) - 10_000,
            links: BTreeMap::new(),
            targets: Vec::new(),
            timer: None,
            opened: vec![false; documents],
            presence: vec![None; documents],
            seen: vec![Version::default(); documents],
            seen_of: (0..documents).map(|_| Seen::default()).collect(),
            stalled_until: 0,
            hasty: false,
            heard: BTreeSet::new(),
        }
    }

    /// Both clocks at `now` of the world.
    pub(super) fn moment(&self, now: u64) -> Moment {
        let wall = WALL_START_MS + now / 1_000;
        Moment { mono: Monotonic(now + self.mono_ahead), wall_ms: wall.saturating_add_signed(self.wall_ahead_ms) }
    }

    /// The world's time at which this host's monotonic clock shows `at`.
    pub(super) fn world_time(&self, at: Monotonic) -> u64 {
        at.0.saturating_sub(self.mono_ahead)
    }

    /// Starts the process.
    pub(super) fn boot(&mut self, now: u64, tuning: &Tuning, dice: &mut Dice) {
        let config = Config {
            identity: self.identity.clone(),
            role: self.role,
            keeps_identity: self.keeps && !self.hasty,
            trust_inbound: self.trusts,
            authority: None,
            holder: None,
            signing: None,
            seed: dice.bits(),
            tuning: tuning.clone(),
        };
        let moment = self.moment(now);
        let mut node = Node::new(config, moment);
        for target in 0..self.targets.len() {
            node.add_target(TargetId(u32::try_from(target).unwrap_or(0)), moment);
        }
        self.node = Some(node);
    }

    /// The process dies; what was unconfirmed on its disk survives or not.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        self.node = None;
        self.epoch += 1;
        self.links.clear();
        self.timer = None;
        self.heard.clear();
        self.seen_of.fill_with(Seen::default);
        self.stalled_until = 0;
        self.opened.fill(false);
        self.presence.fill(None);
        self.seen.fill(Version::default());
        if self.keeps {
            self.disk.crash(dice);
        } else {
            self.disk.wipe();
            self.identity.replica = ReplicaId::from_bits(dice.bits());
            self.identity.incarnation += 1;
        }
    }

    /// Its disk is put back to what it held at some time before; what was done since is gone, and known to be: it is
    /// another replica from now on.
    pub(super) fn restore(&mut self, old: Disk, same: bool, dice: &mut Dice) {
        self.crash(dice);
        self.disk = old;
        if !same {
            self.identity.replica = ReplicaId::from_bits(dice.bits());
            self.identity.incarnation += 1;
        }
    }

    pub(super) fn replica(&self) -> ReplicaId {
        self.identity.replica
    }
}

/// Sizes small enough that a short run meets every bound.
pub(super) fn tight_tuning(dice: &mut Dice) -> Tuning {
    let mut tuning = Tuning::default();
    tuning.queue_high = 600 + dice.below(6_000);
    tuning.queue_low = tuning.queue_high / 4;
    tuning.inline_bytes = [1_000, 4_000, 64_000][usize::try_from(dice.below(3)).unwrap_or(0)];
    tuning.bulk_bytes = [600, 2_000, 32_000][usize::try_from(dice.below(3)).unwrap_or(0)];
    tuning.tick_changes = 8;
    tuning.evict_after = Duration::from_millis(500);
    tuning.compact_entries = 5 + dice.below(40);
    tuning.compact_bytes = 2_000 + dice.below(20_000);
    tuning.snapshot_shared_for = Duration::from_millis(dice.below(500));
    tuning.store_retry = Duration::from_millis(50);
    tuning.backoff.breaker_open = Duration::from_secs(3);
    tuning
}
