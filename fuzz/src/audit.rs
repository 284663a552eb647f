//! Audit logs that somebody laid hands on: a verdict, never a panic; nothing forged holds, and nothing shown does harm.

use std::{collections::BTreeSet, sync::LazyLock};

use aepoch::{
    audit::{
        chain::{Content, Frames, GENESIS, Head, Journal, Link},
        record::{Action, Entry, Event, Object, Outcome},
        show,
        verify::{Expected, Verifier},
    },
    id::{AgentId, DocumentId},
    time::Hlc,
    trust::key::PrivateKey,
};

use crate::pieces;

/// Segments of one run; more only repeats the same steps.
const SEGMENTS_MAX: usize = 16;

static LOG: LazyLock<Vec<Vec<u8>>> = LazyLock::new(log);
/// Where the true log can end so that a checkpoint stands for all of it.
static SIGNED: LazyLock<BTreeSet<Link>> = LazyLock::new(signed);

fn key() -> PrivateKey {
    PrivateKey::from_seed(&[1; 32])
}

/// Verifies the pieces of `data` as segments, and shows every frame that can be read.
pub fn fuzz_one(data: &[u8]) -> String {
    let segments: Vec<&[u8]> = pieces::split(data).into_iter().take(SEGMENTS_MAX).collect();
    let mut shown = "nothing shown";
    for segment in &segments {
        let Ok((_, mut frames)) = Frames::open(*segment) else { continue };
        while let Ok(Some(frame)) = frames.next_frame() {
            let lines = [Some(show::text(&frame)), Some(show::json(&frame, &GENESIS)), show::csv(&frame, &GENESIS)];
            for line in lines.into_iter().flatten() {
                assert!(!line.contains(char::is_control), "a line with an effect: {line:?}");
            }
            shown = match frame.content() {
                Content::Entry(entry) => {
                    let again = Entry::decode(&entry.clone().encode());
                    // A reason beyond its limit is cut.
                    assert!(again.is_ok_and(|again| again.event.action == entry.event.action));
                    "an entry"
                }
                Content::Checkpoint(_) => "a checkpoint",
                Content::Unreadable(_) => "what cannot be read",
            };
        }
    }
    let expected = Expected { signers: BTreeSet::from([key().public()]), ..Expected::default() };
    let mut verifier = Verifier::new(expected);
    let through = segments.iter().try_for_each(|segment| verifier.segment("segment", *segment));
    match through.and_then(|()| verifier.finish()) {
        Ok(verified) => {
            assert!(verified.unsigned > 0 || SIGNED.contains(&verified.head.link), "a forged log holds");
            format!("{shown}, {} records hold", verified.records)
        }
        Err(finding) => {
            let kind: String = format!("{:?}", finding.breach).chars().take_while(|c| c.is_alphanumeric()).collect();
            format!("{shown}, {kind}")
        }
    }
}

/// Two segments; the reasons are what a peer would like to have on a screen.
fn log() -> Vec<Vec<u8>> {
    let mut journal = Journal::resume(Head::START, Hlc::default(), 0);
    let reasons = ["", "a\nb", "\u{1b}[2J", "=1+1", "\u{202e}\u{9b}\"\\"];
    let mut segments = Vec::new();
    for _ in 0..2 {
        let mut bytes = journal.head().header().to_vec();
        for (wall_ms, reason) in (1_800_000_000_000..).zip(reasons) {
            let mut event = Event::new(Action::Offend, Outcome::Refused, reason);
            event.actor = AgentId::new("mallory").ok();
            let room = DocumentId::new("band/stage").expect("a valid name");
            event.object = Some(Object { room, definition: None, generation: Some(7) });
            let node = AgentId::new("relay").expect("a valid name");
            let entry = Entry { wall_ms, hlc: journal.stamp(wall_ms), node, event };
            journal.record(entry, &key(), &mut bytes);
        }
        journal.checkpoint(1_800_000_000_000, &key(), &mut bytes);
        segments.push(bytes);
    }
    segments
}

fn signed() -> BTreeSet<Link> {
    let mut links = BTreeSet::new();
    for segment in LOG.iter() {
        let (_, mut frames) = Frames::open(&segment[..]).expect("a segment of ours");
        while let Some(frame) = frames.next_frame().expect("frames of ours") {
            if matches!(frame.content(), Content::Checkpoint(_)) {
                links.insert(frame.link);
            }
        }
    }
    links
}

/// A log, a part of it, and one with its segments in the wrong order.
pub fn seeds() -> Vec<Vec<u8>> {
    let [first, second] = &LOG[..] else { unreachable!("two segments") };
    vec![pieces::join(&[first, second]), pieces::join(&[first]), pieces::join(&[second, first])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_reaches_its_end() {
        let outcomes: Vec<String> = seeds().iter().map(|seed| fuzz_one(seed)).collect();
        let expected = ["12 records hold", "6 records hold", "Missing"].map(|end| format!("a checkpoint, {end}"));
        assert_eq!(outcomes, expected);
    }
}
