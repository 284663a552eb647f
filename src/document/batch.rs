//! Several deltas as one: what a relay sends at the end of a tick.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    ContentDelta, Delta, Incoming, Record, RecordKind, RecordsDelta, SlotKey, SlotRecord, SlotsDelta, Span,
    Subscription,
};
use crate::id::ReplicaId;

impl Delta {
    /// One delta for a run of deltas that took effect one after another. Records overwritten within the run are left
    /// out, so that under load its size follows the state, not the number of writes; content updates stay in order.
    ///
    /// O(n log n) in the number of records.
    pub fn merged(run: &[Incoming]) -> Self {
        let mut spans = Spans::default();
        let mut after: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        let mut updates: Vec<Bytes> = Vec::new();
        let mut record_spans = Spans::default();
        for delta in run.iter().map(|incoming| &incoming.delta) {
            if let Some(content) = &delta.content {
                content.spans.iter().for_each(|span| spans.join(span));
                for (writer, seq) in &content.after {
                    let entry = after.entry(*writer).or_default();
                    *entry = (*entry).max(*seq);
                }
                updates.extend(content.updates.iter().cloned());
            }
        }
        let mut records: BTreeMap<ReplicaId, Newest<'_>> = BTreeMap::new();
        for one in run.iter().flat_map(|incoming| &incoming.delta.records) {
            record_spans.join(&one.span);
            let newest = records.entry(one.span.writer).or_default();
            one.records.iter().for_each(|record| newest.put(record));
        }
        let content = (!updates.is_empty() || !spans.0.is_empty()).then(|| ContentDelta {
            spans: spans.0.into_values().collect(),
            after: after.into_iter().collect(),
            updates,
        });
        let of_writer = |span: Span| RecordsDelta {
            span,
            records: records.remove(&span.writer).map(Newest::into_records).unwrap_or_default(),
        };
        let records = record_spans.0.into_values().map(of_writer).collect();
        Self { content, records, slots: merged_slots(run) }
    }

    /// The same with only the records a subscription wants.
    #[must_use]
    pub fn filtered(&self, subscription: &Subscription) -> Self {
        let mut filtered = self.clone();
        for run in &mut filtered.records {
            run.records
                .retain(|record| subscription.wants(&format!("{}/{}", record.kind.section().as_str(), record.key)));
        }
        filtered
    }

    /// Whose writes it contains, some more than once.
    pub fn writers(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        let content = self.content.iter().flat_map(|content| &content.spans).filter(|span| span.upto > span.since);
        let content = content.map(|span| span.writer);
        let records = self.records.iter().map(|run| run.span.writer);
        content.chain(records).chain(self.slots.iter().map(|run| run.span.writer))
    }
}

/// The coordination records that a run leaves standing.
fn merged_slots(run: &[Incoming]) -> Vec<SlotsDelta> {
    let mut spans = Spans::default();
    let mut newest: BTreeMap<ReplicaId, BTreeMap<SlotKey, &SlotRecord>> = BTreeMap::new();
    for one in run.iter().flat_map(|incoming| &incoming.delta.slots) {
        spans.join(&one.span);
        let of_writer = newest.entry(one.span.writer).or_default();
        for record in &one.records {
            let standing = of_writer.entry(record.key).or_insert(record);
            if standing.seq < record.seq {
                *standing = record;
            }
        }
    }
    let of_span = |span: Span| {
        let standing = newest.remove(&span.writer).unwrap_or_default();
        let mut records: Vec<SlotRecord> = standing.into_values().cloned().collect();
        records.sort_by_key(|record| record.seq);
        SlotsDelta { span, records }
    };
    spans.0.into_values().map(of_span).collect()
}

#[derive(Default)]
struct Spans(BTreeMap<ReplicaId, Span>);

impl Spans {
    fn join(&mut self, span: &Span) {
        let joined = self.0.entry(span.writer).or_insert(*span);
        joined.since = joined.since.min(span.since);
        joined.upto = joined.upto.max(span.upto);
    }
}

/// The records of one writer that a run leaves standing. A record that waits for content stands beside the older one
/// of its key, which is still shown: it only replaces one with the same fence.
#[derive(Default)]
struct Newest<'a> {
    by_slot: BTreeMap<(RecordKind, &'a Arc<str>, u64), &'a Record>,
}

impl<'a> Newest<'a> {
    fn put(&mut self, record: &'a Record) {
        let slot = self.by_slot.entry((record.kind, &record.key, record.fence)).or_insert(record);
        if slot.seq < record.seq {
            *slot = record;
        }
    }

    fn into_records(self) -> Vec<Record> {
        let mut records: Vec<Record> = self.by_slot.into_values().cloned().collect();
        records.sort_by_key(|record| record.seq);
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Hlc;

    fn record(seq: u64, key: &str) -> Record {
        Record {
            seq,
            kind: RecordKind::Register,
            key: key.into(),
            hlc: Hlc(seq),
            fence: 0,
            context: Vec::new(),
            body: Bytes::from(vec![0; 3]),
            signature: None,
        }
    }

    fn incoming(writer: u64, since: u64, records: Vec<Record>) -> Incoming {
        let upto = since + records.len() as u64;
        let span = Span { writer: ReplicaId::from_bits(writer), since, upto };
        let delta = Delta { records: vec![RecordsDelta { span, records }], ..Delta::default() };
        Incoming { encoded: Bytes::new(), delta, source: 0, author: None }
    }

    #[test]
    fn a_run_of_overwrites_becomes_one_record_and_keeps_its_span() {
        let run: Vec<_> = (0..100).map(|n| incoming(1, n, vec![record(n + 1, "hot")])).collect();
        let merged = Delta::merged(&run);
        assert_eq!(merged.records.len(), 1);
        assert_eq!((merged.records[0].span.since, merged.records[0].span.upto), (0, 100));
        assert_eq!(merged.records[0].records, [record(100, "hot")]);
    }

    #[test]
    fn writers_and_keys_stay_apart_and_in_order() {
        let run = [
            incoming(2, 4, vec![record(5, "b"), record(6, "a")]),
            incoming(1, 0, vec![record(1, "a")]),
            incoming(2, 6, vec![record(7, "b")]),
        ];
        let merged = Delta::merged(&run);
        let seqs: Vec<Vec<u64>> =
            merged.records.iter().map(|run| run.records.iter().map(|record| record.seq).collect()).collect();
        assert_eq!(seqs, [vec![1], vec![6, 7]]);
        let wants = Subscription { prefixes: vec!["register/a".to_owned()] };
        let filtered = merged.filtered(&wants);
        assert_eq!(filtered.records[1].records.len(), 1);
        assert_eq!(filtered.records[1].span.upto, 7, "the span stays: nothing of it is missing");
    }
}
