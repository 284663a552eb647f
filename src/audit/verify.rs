//! Verifying a log: the first record that was changed, removed or moved is named. Layer 4, pure.

use std::{collections::BTreeSet, io::Read};

use super::chain::{Content, Frames, GENESIS, Head, Link, ReadError};
use crate::{error::Fault, limits, trust::key::PublicKey};

/// What a log is verified against.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The keys that may have signed its checkpoints. Empty: any; then the signatures show no more than that the log
    /// was not changed by somebody without one of the keys it names.
    pub signers: BTreeSet<PublicKey>,
    /// A link noted earlier, which the log must still contain.
    pub head: Option<Link>,
    /// The link before its first record, when earlier segments were put away; [`GENESIS`] otherwise.
    pub after: Link,
}

impl Default for Expected {
    fn default() -> Self {
        Self { signers: BTreeSet::new(), head: None, after: GENESIS }
    }
}

/// What is wrong with a log, where it first shows.
#[derive(Debug, thiserror::Error)]
#[error("{segment}: record {seq}: {breach}")]
pub struct Finding {
    /// The segment.
    pub segment: String,
    /// The record.
    pub seq: u64,
    /// What.
    pub breach: Breach,
}

impl Finding {
    /// Who has to change something: whoever keeps the log.
    pub const fn fault(&self) -> Fault {
        Fault::Environment
    }
}

/// How a log can be wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// Another record stands where this one belongs.
    #[error("is missing; record {found} stands in its place")]
    Missing {
        /// Its number.
        found: u64,
    },
    /// Its hash does not hold.
    #[error("was changed, or the one before it was replaced: its hash does not hold")]
    Changed,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// A checkpoint without sense.
    #[error("is no checkpoint: {reason}")]
    NoCheckpoint {
        /// Why not.
        reason: String,
    },
    /// The signature of a checkpoint does not hold.
    #[error("the signature does not hold: of the records from {from} on, some were replaced")]
    Signature {
        /// The first record that no earlier checkpoint stands for.
        from: u64,
    },
    /// A checkpoint of a stranger.
    #[error("is signed with the key {signer}, which was not given")]
    Stranger {
        /// The key.
        signer: Box<PublicKey>,
    },
    /// Too many records without a checkpoint.
    #[error("has no checkpoint, nor have the {} before it: checkpoints were removed", limits::AUDIT_CHECKPOINT_ENTRIES)]
    Unsigned,
    /// There is nothing.
    #[error("is missing: there are no records, and a log has one from its beginning")]
    Empty,
    /// The log ends before what it must contain.
    #[error("is missing: the log ends without the head that was given, so it was cut off or replaced")]
    CutOff,
}

/// A log that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Records, checkpoints among them.
    pub records: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// How far it goes. Note it elsewhere: nobody can take away what comes before without being noticed then.
    pub head: Head,
    /// Records after the last checkpoint: they hang together, and nobody has signed that they are these.
    pub unsigned: u64,
    /// Who has signed.
    pub signers: BTreeSet<PublicKey>,
}

/// Goes through a log, segment by segment.
#[derive(Debug)]
pub struct Verifier {
    expected: Expected,
    head: Option<Head>,
    last_segment: String,
    head_seen: bool,
    verified: Verified,
}

impl Verifier {
    /// Before the first segment.
    pub fn new(expected: Expected) -> Self {
        let verified =
            Verified { records: 0, checkpoints: 0, head: Head::START, unsigned: 0, signers: BTreeSet::new() };
        let head_seen = expected.head.is_none_or(|head| head == expected.after);
        Self { expected, head: None, last_segment: "(no segment)".to_owned(), head_seen, verified }
    }

    /// Verifies the next segment; `name` is for the finding.
    ///
    /// # Errors
    /// The first finding.
    pub fn segment(&mut self, name: &str, from: impl Read) -> Result<(), Finding> {
        name.clone_into(&mut self.last_segment);
        let (begins, mut frames) = Frames::open(from).map_err(|error| self.finding(error.into()))?;
        // The first segment says itself where it begins: without its link nobody gets there.
        let head = self.head.get_or_insert(Head {
            seq: if self.expected.after == GENESIS { 0 } else { begins.seq },
            link: self.expected.after,
        });
        if begins.seq != head.seq {
            return Err(self.finding(Breach::Missing { found: begins.seq.saturating_add(1) }));
        }
        if begins.link != head.link {
            return Err(self.finding(Breach::Changed));
        }
        loop {
            let frame = frames.next_frame().map_err(|error| self.finding(error.into()))?;
            let Some(frame) = frame else { return Ok(()) };
            self.frame(&frame)?;
        }
    }

    fn frame(&mut self, frame: &super::chain::Frame) -> Result<(), Finding> {
        let before = self.head();
        let mut head = before;
        if !head.follow(frame) {
            let expected = before.seq.saturating_add(1);
            let breach = if frame.seq == expected { Breach::Changed } else { Breach::Missing { found: frame.seq } };
            return Err(self.finding(breach));
        }
        match frame.content() {
            Content::Checkpoint(checkpoint) => {
                if !checkpoint.signs(&before) {
                    let from = frame.seq.saturating_sub(self.verified.unsigned);
                    return Err(self.finding(Breach::Signature { from }));
                }
                if !self.expected.signers.is_empty() && !self.expected.signers.contains(&checkpoint.signer) {
                    return Err(self.finding(Breach::Stranger { signer: Box::new(checkpoint.signer) }));
                }
                self.verified.signers.insert(checkpoint.signer);
                self.verified.checkpoints += 1;
                self.verified.unsigned = 0;
            }
            // Its place and hash hold, which is all that is asked here; what it says a later version may know.
            Content::Entry(_) => self.verified.unsigned += 1,
            Content::Unreadable(_) if frame.is_entry() => self.verified.unsigned += 1,
            Content::Unreadable(reason) => return Err(self.finding(Breach::NoCheckpoint { reason })),
        }
        if self.verified.unsigned > limits::AUDIT_CHECKPOINT_ENTRIES {
            return Err(self.finding(Breach::Unsigned));
        }
        self.verified.records += 1;
        self.head = Some(head);
        self.head_seen |= self.expected.head == Some(head.link);
        Ok(())
    }

    /// All segments are through.
    ///
    /// # Errors
    /// `Empty`, `CutOff`, and `Unsigned` when keys were given and nothing is signed.
    pub fn finish(self) -> Result<Verified, Finding> {
        if self.verified.records == 0 {
            return Err(self.finding(Breach::Empty));
        }
        if !self.head_seen {
            return Err(self.finding(Breach::CutOff));
        }
        if !self.expected.signers.is_empty() && self.verified.checkpoints == 0 {
            return Err(self.finding(Breach::Unsigned));
        }
        Ok(Verified { head: self.head(), ..self.verified })
    }

    fn head(&self) -> Head {
        self.head.unwrap_or(Head { seq: 0, link: self.expected.after })
    }

    fn finding(&self, breach: Breach) -> Finding {
        let seq = self.head().seq.saturating_add(1);
        Finding { segment: self.last_segment.clone(), seq, breach }
    }
}
