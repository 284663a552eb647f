//! How a node behaves: identity, role and the sizes and spans that trade latency against work.

use std::{sync::Arc, time::Duration};

use super::connector::Backoff;
use crate::{
    document::Signing,
    id::Identity,
    sync::Role,
    trust::{authority::Authority, possession::Holder},
};

/// Sizes and spans of a node. The defaults are what `benches/README.md` was measured with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tuning {
    /// Under load, changes of one document are sent together once per tick. A change after a quiet tick goes out at
    /// once, and so does the one after it: what comes evenly and no faster than ticks never waits.
    pub tick: Duration,
    /// The same for coordination records: they are few, and somebody waits for each.
    pub slots_tick: Duration,
    /// How long after an update to guests (clients of other libraries) the next one waits, for each of the room that gets
    /// it; 50 ms at most. Zero: they are told as often as agents are.
    pub guest_pace: Duration,
    /// A batch goes out before its tick ends when it has this many changes.
    pub tick_changes: usize,
    /// Bytes queued for one connection above which it gets nothing more of what changes, but one delta once drained.
    pub queue_high: u64,
    /// Bytes queued at or below which a connection counts as drained. At least the step in which sessions report what
    /// has drained (32 KiB): less may never be reported.
    pub queue_low: u64,
    /// Documents and deltas above this many bytes are encoded and applied outside the node, as [`super::Work`].
    pub inline_bytes: usize,
    /// Deltas above this many bytes travel on the lowest lane.
    pub bulk_bytes: usize,
    /// How long a gap may stand before what is missing is asked for.
    pub resync_after: Duration,
    /// A document nobody has joined or opened is dropped from memory after this long.
    pub evict_after: Duration,
    /// Log entries after which a document is compacted.
    pub compact_entries: u64,
    /// Log bytes after which a document is compacted, or its weight when that is more.
    pub compact_bytes: u64,
    /// How long a shared snapshot may serve joiners before a fresh one is made.
    pub snapshot_shared_for: Duration,
    /// How long after a failed write the store is tried again.
    pub store_retry: Duration,
    /// How lost connections are redialled.
    pub backoff: Backoff,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(4),
            slots_tick: Duration::from_millis(1),
            guest_pace: Duration::from_micros(200),
            tick_changes: 512,
            queue_high: 256 * 1024,
            queue_low: 32 * 1024,
            inline_bytes: 256 * 1024,
            bulk_bytes: 64 * 1024,
            resync_after: Duration::from_millis(100),
            evict_after: Duration::from_secs(60),
            compact_entries: 2_000,
            compact_bytes: 1024 * 1024,
            snapshot_shared_for: Duration::from_secs(2),
            store_retry: Duration::from_secs(1),
            backoff: Backoff::default(),
        }
    }
}

/// What a node is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who it is; from its store.
    pub identity: Identity,
    /// What it is to its peers.
    pub role: Role,
    /// Its store, and so its identity, outlive the process: what it writes leaves only once it is durable there. Else a
    /// crash could make it forget commits that others have, and use their numbers again for other writes.
    pub keeps_identity: bool,
    /// Connections that dialled us may bring content and records of other writers than themselves.
    pub trust_inbound: bool,
    /// Who may connect: nobody without a credential that this admits. `None`: everybody.
    pub authority: Option<Authority>,
    /// What this node shows when asked who it is, and what it may change itself.
    pub holder: Option<Holder>,
    /// By what records are signed and checked in rooms whose dial says end to end; `None`: by `authority`, with the key
    /// of `holder`.
    pub signing: Option<Arc<Signing>>,
    /// Seed of its jitter.
    pub seed: u64,
    /// Sizes and spans.
    pub tuning: Tuning,
}
