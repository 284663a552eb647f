//! Metrics in the OpenMetrics text format, read from the nodes at each scrape.

use std::{fmt, sync::atomic::Ordering};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::Shared;
use crate::{
    coordination::{
        participant::CoordinationCounters,
        tally::{BUCKETS_MS, Tally},
    },
    limits::{self, Rates},
    node::{Counters, DocumentStatus},
    sync::Lane,
    trust::quota::{Quota, Quotas, lowered},
    wires::WireKind,
};

/// The numbers of one scrape.
#[derive(Debug)]
struct Scrape {
    counters: Counters,
    coordination: (CoordinationCounters, Tally),
    documents: Vec<DocumentStatus>,
    connections: u64,
    bytes_in: u64,
    bytes_out: u64,
    store_queued: u64,
    /// Records of the audit log, and whether it fails; `None` without one.
    audit: Option<(u64, bool)>,
    /// Of each wire of another library: open connections, updates received and sent, refusals.
    wires: Vec<(&'static str, [u64; 4])>,
    uptime_seconds: u64,
    throttled: u64,
    turns_cut: u64,
    rates: Rates,
    quotas: Quotas,
}

pub(super) fn encode(shared: &Shared) -> Result<String, fmt::Error> {
    let mut counters = Counters::default();
    let mut coordination = (CoordinationCounters::default(), Tally::default());
    let mut documents = Vec::new();
    for host in &shared.hosts {
        let (some, more, (counts, tally)) =
            host.with(|node, _| (node.counters(), node.documents().collect::<Vec<_>>(), node.coordination_counts()));
        counters.add(some);
        coordination.0.add(counts);
        coordination.1.add(&tally);
        documents.extend(more);
    }
    let scrape = Scrape {
        counters,
        coordination,
        documents,
        connections: shared.connections.count(),
        bytes_in: shared.traffic.bytes_in.load(Ordering::Relaxed),
        bytes_out: shared.traffic.bytes_out.load(Ordering::Relaxed),
        store_queued: shared.store.queued_bytes() as u64,
        audit: shared.audit.as_ref().map(|audit| (audit.records(), audit.is_failing())),
        wires: WireKind::ALL.map(|wire| (wire.name(), shared.wires[wire as usize].counts())).into(),
        uptime_seconds: shared.clock.mono().0 / 1_000_000,
        throttled: shared.fairness.throttled.load(Ordering::Relaxed),
        turns_cut: shared.fairness.turns_cut.load(Ordering::Relaxed),
        rates: shared.fairness.rates(),
        quotas: shared.quotas(),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (counted, coordinated) = (&self.counters, &self.coordination.0);
        let counters = [
            ("aepoch_deltas_received", "deltas received from peers", counted.deltas_in),
            ("aepoch_deltas_sent", "deltas sent, counted once per receiver", counted.deltas_out),
            ("aepoch_batches", "batches sent, one encoding each", counted.batches),
            ("aepoch_changes", "changes in those batches", counted.changes),
            ("aepoch_conflations", "slow readers' queues replaced by one delta", counted.conflations),
            ("aepoch_catch_ups", "deltas computed for joiners and drained readers", counted.catch_ups),
            ("aepoch_snapshots", "snapshots encoded for joiners", counted.snapshots),
            ("aepoch_snapshots_shared", "joiners served from a shared snapshot", counted.snapshots_shared),
            ("aepoch_resyncs", "resyncs asked for", counted.resyncs),
            ("aepoch_refused", "peers' inputs refused", counted.refused),
            ("aepoch_quarantines", "documents rebuilt after an engine failure", counted.quarantines),
            ("aepoch_appends", "log entries given to the store", counted.appends),
            ("aepoch_acks", "acknowledgements sent", counted.acks),
            ("aepoch_coordination_echoes", "echoes written by this relay as an elector", coordinated.echoes),
            ("aepoch_coordination_ballots", "ballots begun by this relay as an elector", coordinated.ballots),
            ("aepoch_coordination_malformed", "coordination records that break a rule", coordinated.malformed),
            ("aepoch_coordination_closed", "finished objects dropped", coordinated.closed),
            ("aepoch_received_bytes", "bytes received over all connections", self.bytes_in),
            ("aepoch_sent_bytes", "bytes sent over all connections", self.bytes_out),
            ("aepoch_throttled", "times a connection was not read for a while, being over its rate", self.throttled),
            ("aepoch_turns_cut", "times a connection's work was interrupted for others", self.turns_cut),
        ];
        let records = self.audit.map(|(records, _)| ("aepoch_audit_records", "records of the audit log", records));
        for (name, help, value) in counters.into_iter().chain(records) {
            let metric = ConstCounter::new(value);
            let descriptor = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(descriptor)?;
        }
        let sum = |of: fn(&DocumentStatus) -> u64| self.documents.iter().map(of).sum::<u64>();
        let gauges = [
            ("aepoch_connections", "connections being served", self.connections),
            ("aepoch_documents", "documents in memory", self.documents.len() as u64),
            ("aepoch_document_bytes", "encoded size of the documents in memory", sum(|status| status.weight)),
            ("aepoch_document_links", "connections joined to documents", sum(|status| status.links as u64)),
            ("aepoch_links_behind", "joined connections waiting to drain", sum(|status| status.behind as u64)),
            ("aepoch_presence_entries", "ephemeral states present", sum(|status| status.presence as u64)),
            ("aepoch_store_queued_bytes", "bytes waiting for the store", self.store_queued),
            ("aepoch_uptime_seconds", "seconds since the start", self.uptime_seconds),
        ];
        let failing = "1 while the audit log cannot be written, and no coordination is taken in";
        let failing = self.audit.map(|(_, is_failing)| ("aepoch_audit_failing", failing, u64::from(is_failing)));
        for (name, help, value) in gauges.into_iter().chain(failing) {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let descriptor = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(descriptor)?;
        }
        self.encode_lanes(&mut encoder)?;
        self.encode_limits(&mut encoder)?;
        self.encode_wires(&mut encoder)?;
        self.encode_coordination(&mut encoder)
    }
}

impl Scrape {
    /// What waits for what: the lanes of a connection.
    fn encode_lanes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "bytes of messages handed to connections, by lane, before compression";
        let mut family = encoder.encode_descriptor("aepoch_lane_bytes", help, None, MetricType::Counter)?;
        for (lane, bytes) in Lane::ALL.iter().zip(self.counters.bytes_by_lane) {
            ConstCounter::new(bytes).encode(family.encode_family(&[("lane", lane.as_str())])?)?;
        }
        Ok(())
    }

    /// What is in force.
    fn encode_limits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let quota = |quota: Quota| lowered(&self.quotas, quota, quota.most());
        let limits = [
            ("updates_per_second", self.rates.updates_per_second),
            ("bytes_per_second", self.rates.bytes_per_second),
            ("message_bytes", limits::MESSAGE_BYTES as u64),
            ("update_bytes", quota(Quota::UpdateBytes)),
            ("update_ops", limits::UPDATE_OPS),
            ("value_depth", limits::VALUE_DEPTH as u64),
            ("document_bytes", limits::DOCUMENT_BYTES as u64),
            ("document_writers", limits::DOCUMENT_WRITERS as u64),
            ("document_clients", limits::DOCUMENT_CLIENTS as u64),
            ("document_records", limits::DOCUMENT_RECORDS as u64),
            ("document_slots", limits::DOCUMENT_SLOTS as u64),
            ("held_bytes", limits::HELD_BYTES as u64),
            ("connection_documents", quota(Quota::ConnectionDocuments)),
            ("address_connections", quota(Quota::AddressConnections)),
            ("agent_connections", quota(Quota::AgentConnections)),
            ("connection_strikes", u64::from(limits::LINK_STRIKES)),
            ("presence_bytes", quota(Quota::PresenceBytes)),
            ("presence_entries", limits::PRESENCE_ENTRIES as u64),
            ("room_inbox_bytes", limits::ROOM_INBOX_BYTES as u64),
            ("hello_bytes", limits::HELLO_BYTES as u64),
        ];
        let help = "bounds in force, by name";
        let mut family = encoder.encode_descriptor("aepoch_limit", help, None, MetricType::Gauge)?;
        for (name, value) in limits {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("limit", name)])?)?;
        }
        Ok(())
    }

    /// Clients of other libraries.
    fn encode_wires(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = [
            ("aepoch_wire_connections", "open connections of clients of other libraries", MetricType::Gauge),
            ("aepoch_wire_updates_received", "updates received from them", MetricType::Counter),
            ("aepoch_wire_updates_sent", "updates sent to them, counted once per receiver", MetricType::Counter),
            ("aepoch_wire_refused", "what was refused to them", MetricType::Counter),
        ];
        for (at, (name, help, kind)) in metrics.into_iter().enumerate() {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (wire, counts) in &self.wires {
                let labels = [("wire", *wire)];
                match kind {
                    MetricType::Gauge => {
                        let open = i64::try_from(counts[at]).unwrap_or(i64::MAX);
                        ConstGauge::new(open).encode(family.encode_family(&labels)?)?;
                    }
                    _ => ConstCounter::new(counts[at]).encode(family.encode_family(&labels)?)?,
                }
            }
        }
        Ok(())
    }

    /// How barriers and their kin ended, as seen here.
    fn encode_coordination(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let tally = &self.coordination.1;
        let help = "ended tiers of barriers and their kin, by how they ended";
        let mut family = encoder.encode_descriptor("aepoch_coordination_tiers", help, None, MetricType::Counter)?;
        for ((kind, tier, ending), count) in &tally.endings {
            let labels = [("kind", *kind), ("tier", &*tier.to_string()), ("ending", *ending)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        let help = "members of ended tiers, by whether they took part";
        let mut family = encoder.encode_descriptor("aepoch_coordination_members", help, None, MetricType::Counter)?;
        for ((kind, tier), (came, all)) in &tally.members {
            for (took_part, count) in [("yes", *came), ("no", all - came)] {
                let labels = [("kind", *kind), ("tier", &*tier.to_string()), ("took_part", took_part)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "seconds from the first arrival to the end, as seen here";
        let name = "aepoch_coordination_duration_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (kind, durations) in &tally.durations {
            let bounds = BUCKETS_MS.iter().map(|bound| *bound as f64 / 1_000.0).chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = bounds.zip(durations.counts).collect();
            let count = durations.counts.iter().sum();
            let labels = [("kind", *kind)];
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<[(&str, &str); 0]>(durations.total.as_secs_f64(), count, &buckets, None)?;
        }
        Ok(())
    }
}
