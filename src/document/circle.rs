//! Deltas that build on each other: none of them can take effect alone, all of them together can.
//!
//! They arise when writers took turns and each then brings only what it wrote itself, to a relay that has lost its
//! store, for one.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Document, Incoming,
    merge::{Admitted, Ahead, HELD_MAX},
};
use crate::engine::{Admission, UpdateInfo};

impl Document {
    /// Splits `waiting` into the largest set whose content has all it builds on once the whole set is in, and the
    /// rest. Numbers of commits and records are followed as strictly as ever; only content may refer in circles.
    ///
    /// Looks at no more deltas than may wait, because each one left out costs another look at the others.
    pub(super) fn admit_circle(&self, waiting: Vec<Incoming>) -> (Vec<Admitted>, Vec<Incoming>) {
        let mut out = BTreeSet::new();
        loop {
            let members = self.circle(&waiting, &out);
            let joint = Joint::of(self, members.values().map(|(info, _)| info));
            let lacking: Vec<usize> =
                members.iter().filter(|(_, (info, _))| !joint.suffices(self, info)).map(|(index, _)| *index).collect();
            if !lacking.is_empty() {
                out.extend(lacking);
                continue;
            }
            // One by itself has been looked at before.
            let mut whole = UpdateInfo::default();
            members.values().for_each(|(info, _)| join(&mut whole, info.clone()));
            if members.len() < 2 || Admission::default().admit(self.engine.as_ref(), &whole, None).is_err() {
                return (Vec::new(), waiting);
            }
            return part(waiting, members);
        }
    }

    /// The deltas not left `out` that follow in number, by position, with what their content is made of.
    fn circle(&self, waiting: &[Incoming], out: &BTreeSet<usize>) -> BTreeMap<usize, (UpdateInfo, bool)> {
        let mut ahead = Ahead::default();
        let mut members = BTreeMap::new();
        let candidates = waiting.iter().enumerate().take(HELD_MAX);
        for (index, incoming) in candidates.filter(|(index, _)| !out.contains(index)) {
            // What is refused here was refused, or will be, when it is looked at by itself.
            if let Ok(Some((info, content_new))) = self.follow(&ahead, incoming)
                && self.grow(&mut ahead, &incoming.delta).is_ok()
            {
                members.insert(index, (info, content_new));
            }
        }
        members
    }
}

fn part(waiting: Vec<Incoming>, mut members: BTreeMap<usize, (UpdateInfo, bool)>) -> (Vec<Admitted>, Vec<Incoming>) {
    let (mut batch, mut rest) = (Vec::new(), Vec::new());
    for (index, incoming) in waiting.into_iter().enumerate() {
        match members.remove(&index) {
            Some((info, content_new)) => batch.push(Admitted { incoming, info, content_new }),
            None => rest.push(incoming),
        }
    }
    (batch, rest)
}

/// Joins what two updates contain, the second applied after the first.
pub(super) fn join(joined: &mut UpdateInfo, info: UpdateInfo) {
    joined.inserts.extend(info.inserts);
    joined.deletes.extend(info.deletes);
    joined.needs.extend(info.needs);
    joined.deps.extend(info.deps);
    joined.changes.extend(info.changes);
    joined.deps.retain(|dep| !joined.changes.contains(dep));
    joined.ops = joined.ops.saturating_add(info.ops);
    joined.depth = joined.depth.max(info.depth);
}

/// What will be known once several updates are in.
struct Joint {
    clocks: BTreeMap<u64, u64>,
    changes: BTreeSet<[u8; 32]>,
}

impl Joint {
    fn of<'a>(document: &Document, infos: impl Iterator<Item = &'a UpdateInfo>) -> Self {
        let mut joint = Self { clocks: BTreeMap::new(), changes: BTreeSet::new() };
        for info in infos {
            for range in &info.inserts {
                let known = joint.clocks.entry(range.writer).or_insert_with(|| document.engine.known(range.writer));
                // Beyond a gap nothing counts.
                if range.from <= *known {
                    *known = range.to.max(*known);
                }
            }
            joint.changes.extend(info.changes.iter().copied());
        }
        joint
    }

    fn suffices(&self, document: &Document, info: &UpdateInfo) -> bool {
        let known = |writer: u64| self.clocks.get(&writer).copied().unwrap_or_else(|| document.engine.known(writer));
        info.inserts.iter().all(|range| range.to <= known(range.writer))
            && info.deletes.iter().all(|range| range.to <= known(range.writer))
            && info.needs.iter().all(|(writer, need)| *need <= known(*writer))
            && info.deps.iter().all(|dep| self.changes.contains(dep) || document.engine.has_change(dep))
    }
}
