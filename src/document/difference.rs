//! What a peer lacks.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{
    ContentDelta, Delta, Document, DocumentError, Frontier, RecordKind, RecordsDelta, Seen, SlotsDelta, Span,
    Subscription,
};
use crate::id::ReplicaId;

impl Document {
    /// What a peer with `frontier` lacks, and nothing else; empty when it lacks nothing. With `author`, only what
    /// that replica wrote: what a replica may send to a peer that trusts it with its own writes only.
    ///
    /// A peer that widens its subscription must ask with a frontier without records, because a frontier does not say
    /// what was filtered out.
    ///
    /// # Errors
    /// `Engine(Corrupt)` when the peer's frontier cannot be read.
    pub fn delta_since(
        &self,
        frontier: &Frontier,
        author: Option<ReplicaId>,
        subscription: &Subscription,
    ) -> Result<Delta, DocumentError> {
        self.check_sound()?;
        let spans = spans(&self.version.content, &frontier.version.content, author);
        // All content counts as somebody's commits, so the version alone tells whether any is lacking. The engine's
        // frontier could not: where deletions differ, yrs cannot tell who lacks them.
        let content = if spans.is_empty() {
            None
        } else {
            let update = self.engine.delta_since(&frontier.engine, author)?;
            let spans = if author.is_none() { self.grounded(spans) } else { spans };
            Some(self.content_delta(spans, update))
        };
        let records = self.records_since(&frontier.version.records, author, subscription);
        Ok(Delta { content, records, slots: self.slots_since(&frontier.version.slots, author) })
    }

    /// The coordination records a peer lacks that has followed their writers as far as `seen`: they always come whole,
    /// whatever it subscribed to, and may be sent ahead of everything else.
    pub fn slots_since(&self, seen: &Seen, author: Option<ReplicaId>) -> Vec<SlotsDelta> {
        let of_span = |span: Span| SlotsDelta { span, records: self.board.since(span.writer, span.since).collect() };
        spans(&self.version.slots, seen, author).into_iter().map(of_span).collect()
    }

    /// Adds an empty span for everybody else. An engine that does not know who deleted something sends all deletions,
    /// those too of commits the peer was sent but has not let in yet: it must let them in first, or it would see
    /// what such a commit took away before what it put there instead.
    fn grounded(&self, mut spans: Vec<Span>) -> Vec<Span> {
        if self.engine.kind().capabilities().attributes_deletes {
            return spans;
        }
        let new: BTreeSet<ReplicaId> = spans.iter().map(|span| span.writer).collect();
        let known = self.version.content.iter().filter(|(writer, _)| !new.contains(writer));
        spans.extend(known.map(|(writer, upto)| Span { writer, since: upto, upto }));
        spans.sort_unstable_by_key(|span| span.writer);
        spans
    }

    /// All there is, for the store: behind the content, our own deletions apart.
    pub(super) fn everything(&self) -> Delta {
        let nothing = Seen::default();
        let spans = spans(&self.version.content, &nothing, None);
        let mut content = (!spans.is_empty()).then(|| self.content_delta(spans, self.engine.snapshot()));
        if let Some(content) = &mut content {
            content.updates.extend(Some(self.engine.own_deletes()).filter(|own| !own.is_empty()));
        }
        let records = self.records_since(&nothing, None, &Subscription::default());
        Delta { content, records, slots: self.slots_since(&nothing, None) }
    }

    fn content_delta(&self, spans: Vec<Span>, update: Bytes) -> ContentDelta {
        // Records written with the content bear its number as their fence. Later ones without content bear it too;
        // waiting for those as well costs nothing, because they travel in the same delta or before it. Named even if
        // the peer has them: it may pass the content on, as it came, to one who has not.
        let last = |span: &Span| {
            // Fences grow with the numbers of the records.
            let mut latest = self.lattice.numbered(span.writer, 0).rev();
            let (_, entry) = latest.find(|(_, entry)| entry.fence <= span.upto)?;
            (entry.fence > span.since).then_some((span.writer, entry.seq))
        };
        let after = spans.iter().filter_map(last).collect();
        ContentDelta { spans, after, updates: if update.is_empty() { Vec::new() } else { vec![update] } }
    }

    fn records_since(&self, peer: &Seen, author: Option<ReplicaId>, subscription: &Subscription) -> Vec<RecordsDelta> {
        let of_span = |span: Span| {
            let records = self.lattice.records(span.writer, span.since);
            let wanted = |kind: RecordKind, key: &str| {
                subscription.is_everything() || subscription.wants(&format!("{}/{key}", kind.section().as_str()))
            };
            RecordsDelta { span, records: records.filter(|record| wanted(record.kind, &record.key)).collect() }
        };
        spans(&self.version.records, peer, author).into_iter().map(of_span).collect()
    }
}

/// What `ours` has beyond `theirs`, by writer.
fn spans(ours: &Seen, theirs: &Seen, author: Option<ReplicaId>) -> Vec<Span> {
    ours.iter()
        .map(|(writer, upto)| Span { writer, since: theirs.get(writer), upto })
        .filter(|span| span.upto > span.since && author.is_none_or(|author| author == span.writer))
        .collect()
}
