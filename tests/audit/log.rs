//! A log made by hand: segments of bytes, and where each frame stands in them.

use aepoch::{
    audit::{
        chain::{Frames, GENESIS, HEADER_BYTES, Head, Journal, Link},
        record::{Action, Entry, Event, Outcome},
        verify::{Expected, Finding, Verified, Verifier},
    },
    id::AgentId,
    time::Hlc,
    trust::key::PrivateKey,
};

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

/// An entry with that reason.
pub(crate) fn entry(journal: &mut Journal, reason: &str) -> Entry {
    let mut event = Event::new(Action::Offend, Outcome::Refused, reason);
    event.actor = Some(AgentId::new("mallory").unwrap());
    let wall_ms = 1_800_000_000_000 + journal.head().seq;
    Entry { wall_ms, hlc: journal.stamp(wall_ms), node: AgentId::new("relay").unwrap(), event }
}

/// A log: its segments, each a file's bytes.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) segments: Vec<Vec<u8>>,
}

impl Log {
    /// Segments of so many entries each, and a checkpoint at the end of each; signed with `key(signer)`.
    pub(crate) fn of(segments: &[u64], signer: u8) -> Self {
        let mut journal = Journal::resume(Head::START, Hlc::default(), 0);
        let mut log = Self { segments: Vec::new() };
        for entries in segments {
            let mut bytes = journal.head().header().to_vec();
            for _ in 0..*entries {
                let entry = entry(&mut journal, &format!("as {signer} tells it"));
                journal.record(entry, &key(signer), &mut bytes);
            }
            journal.checkpoint(1_800_000_000_000, &key(signer), &mut bytes);
            log.segments.push(bytes);
        }
        log
    }

    pub(crate) fn verify(&self, expected: Expected) -> Result<Verified, Finding> {
        let mut verifier = Verifier::new(expected);
        for (at, segment) in self.segments.iter().enumerate() {
            verifier.segment(&format!("segment {at}"), &segment[..])?;
        }
        verifier.finish()
    }

    /// Where record `seq` stands: the segment, and the bytes in it.
    pub(crate) fn place(&self, seq: u64) -> (usize, std::ops::Range<usize>) {
        for (at, segment) in self.segments.iter().enumerate() {
            let (_, mut frames) = Frames::open(&segment[..]).unwrap();
            let mut from = HEADER_BYTES;
            while let Some(frame) = frames.next_frame().unwrap() {
                let to = usize::try_from(frames.offset()).unwrap();
                if frame.seq == seq {
                    return (at, from..to);
                }
                from = to;
            }
        }
        panic!("no record {seq}");
    }

    pub(crate) fn bytes_of(&self, seq: u64) -> Vec<u8> {
        let (segment, range) = self.place(seq);
        self.segments[segment][range].to_vec()
    }

    pub(crate) fn replace(&mut self, seq: u64, bytes: &[u8]) {
        let (segment, range) = self.place(seq);
        self.segments[segment].splice(range, bytes.iter().copied());
    }

    /// The link of record `seq`.
    pub(crate) fn link(&self, seq: u64) -> Link {
        if seq == 0 { GENESIS } else { *self.bytes_of(seq).last_chunk().unwrap() }
    }
}

pub(crate) fn signed_by(signer: u8) -> Expected {
    Expected { signers: [key(signer).public()].into(), ..Expected::default() }
}
