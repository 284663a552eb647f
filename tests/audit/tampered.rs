//! A log that somebody laid hands on. Case numbers are those of the threat model.

use aepoch::{
    audit::{
        chain::{Head, Journal},
        verify::{Breach, Expected},
    },
    limits,
    time::Hlc,
};

use crate::log::{Log, entry, key, signed_by};

/// Two segments: records 1 to 8 with the checkpoint 9, records 10 to 17 with the checkpoint 18.
fn log() -> Log {
    Log::of(&[8, 8], 1)
}

#[test]
fn a_log_nobody_touched_holds() {
    let log = log();
    let verified = log.verify(signed_by(1)).unwrap();
    assert_eq!((verified.records, verified.checkpoints, verified.unsigned), (18, 2, 0));
    assert_eq!(verified.head, Head { seq: 18, link: log.link(18) });
    assert_eq!(verified.signers, [key(1).public()].into());
}

/// Case 58, edited.
#[test]
fn whatever_bit_of_a_record_is_flipped_the_record_is_named() {
    let log = log();
    for seq in [1, 5, 9, 10, 18] {
        let (segment, range) = log.place(seq);
        for at in range.clone() {
            for bit in [0, 7] {
                let mut changed = log.clone();
                changed.segments[segment][at] ^= 1 << bit;
                let finding = changed.verify(Expected::default()).unwrap_err();
                assert_eq!(finding.seq, seq, "byte {} of record {seq}: {finding}", at - range.start);
                assert_eq!(finding.segment, format!("segment {segment}"));
            }
        }
    }
}

/// Case 58, edited so well that its own hash holds again.
#[test]
fn a_record_that_was_written_anew_does_not_fit_to_the_next() {
    let log = log();
    let mut forged = log.clone();
    let mut journal = Journal::resume(Head { seq: 4, link: log.link(4) }, Hlc::default(), 4);
    let innocent = entry(&mut journal, "nothing happened here");
    let mut bytes = Vec::new();
    journal.record(innocent, &key(2), &mut bytes);
    forged.replace(5, &bytes);
    let finding = forged.verify(Expected::default()).unwrap_err();
    assert!(matches!(finding.breach, Breach::Changed), "{finding}");
    assert_eq!(finding.seq, 6, "5 holds by itself, and 6 does not follow it");
}

/// Case 58, deleted: the first record, one in the middle, the last of a segment, the first of the next.
#[test]
fn a_deleted_record_is_named() {
    for seq in [1, 5, 9, 10, 17] {
        let mut log = log();
        log.replace(seq, &[]);
        let finding = log.verify(Expected::default()).unwrap_err();
        assert_eq!(finding.seq, seq, "{finding}");
        assert!(matches!(finding.breach, Breach::Missing { found } if found == seq + 1), "{finding}");
    }
}

/// Case 58, deleted: a whole segment.
#[test]
fn a_deleted_segment_is_named() {
    let mut log = Log::of(&[3, 3, 3], 1);
    log.segments.remove(1);
    assert_eq!(log.verify(Expected::default()).unwrap_err().seq, 5);
    let mut log = Log::of(&[3, 3, 3], 1);
    let after = log.link(4);
    log.segments.remove(0);
    assert_eq!(log.verify(Expected::default()).unwrap_err().seq, 1);
    log.verify(Expected { after, ..signed_by(1) }).expect("put away by somebody who noted the link");
}

/// Case 58, reordered: records in a segment, and segments.
#[test]
fn reordered_records_are_named() {
    let log = log();
    for (first, second) in [(2, 3), (5, 8), (1, 17)] {
        let mut swapped = log.clone();
        let (one, other) = (log.bytes_of(first), log.bytes_of(second));
        swapped.replace(second, &one);
        swapped.replace(first, &other);
        let finding = swapped.verify(Expected::default()).unwrap_err();
        assert_eq!(finding.seq, first, "{finding}");
    }
    let mut swapped = log;
    swapped.segments.swap(0, 1);
    assert_eq!(swapped.verify(Expected::default()).unwrap_err().seq, 1);
}

/// Case 58, truncated within a record: wherever the file ends, the record it ends in is named.
#[test]
fn a_log_that_ends_within_a_record_is_cut_off_there() {
    let log = log();
    let (segment, range) = log.place(17);
    for end in range.start + 1..range.end {
        let mut cut = log.clone();
        cut.segments[segment].truncate(end);
        let finding = cut.verify(Expected::default()).unwrap_err();
        assert_eq!(finding.seq, 17, "{finding}");
    }
}

/// Case 58, truncated between records: nothing in the log shows it, a head noted elsewhere does.
#[test]
fn a_log_cut_off_between_records_lacks_the_head_that_was_noted() {
    let log = log();
    let noted = |seq| Expected { head: Some(log.link(seq)), ..Expected::default() };
    for seq in [1, 12, 18] {
        log.verify(noted(seq)).expect("a head it has");
    }
    let mut cut = log.clone();
    let (segment, range) = log.place(13);
    cut.segments[segment].truncate(range.end);
    cut.verify(noted(13)).expect("a head it still has");
    let finding = cut.verify(noted(18)).unwrap_err();
    assert!(matches!(finding.breach, Breach::CutOff), "{finding}");
    assert_eq!(finding.seq, 14, "the first that is missing");
}

#[test]
fn a_log_written_anew_lacks_the_signature() {
    // By somebody who knows everything but the key.
    let forged = Log::of(&[8, 8], 2);
    forged.verify(Expected::default()).expect("without a key to compare it cannot be told");
    let finding = forged.verify(signed_by(1)).unwrap_err();
    assert!(matches!(finding.breach, Breach::Stranger { .. }), "{finding}");

    // The signature of the true log over the forged records.
    let mut spliced = forged.clone();
    let checkpoint = log().bytes_of(9);
    spliced.replace(9, &relinked(&forged, 9, &checkpoint[13..checkpoint.len() - 32]));
    let finding = spliced.verify(signed_by(1)).unwrap_err();
    assert!(matches!(finding.breach, Breach::Signature { from: 1 }), "{finding}");
    assert_eq!(finding.seq, 9);
}

/// A frame of a checkpoint with this body whose hash holds, for whoever needs no key.
fn relinked(log: &Log, seq: u64, body: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new().chain_update(b"swm/aud/1\0").chain_update(log.link(seq - 1)).chain_update([2]);
    hash.update(seq.to_be_bytes());
    hash.update((body.len() as u64).to_be_bytes());
    let link = hash.chain_update(body).finalize();
    let size = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[2][..], &seq.to_be_bytes(), &size, body, &link].concat()
}

#[test]
fn checkpoints_cannot_be_left_out() {
    let mut journal = Journal::resume(Head::START, Hlc::default(), 0);
    let mut bytes = journal.head().header().to_vec();
    for _ in 0..limits::AUDIT_CHECKPOINT_ENTRIES * 2 + 1 {
        let entry = entry(&mut journal, "");
        journal.record(entry, &key(1), &mut bytes);
    }
    let log = Log { segments: vec![bytes] };
    let verified = log.verify(signed_by(1)).unwrap();
    assert_eq!((verified.checkpoints, verified.unsigned), (2, 1));

    // Somebody without the key binds the same entries anew, and leaves the checkpoints out.
    let mut journal = Journal::resume(Head::START, Hlc::default(), 0);
    let mut bytes = journal.head().header().to_vec();
    for n in 0..=limits::AUDIT_CHECKPOINT_ENTRIES {
        // A fresh journal each time never comes to its checkpoint.
        let mut next = Journal::resume(journal.head(), Hlc::default(), 0);
        let entry = entry(&mut next, "");
        next.record(entry, &key(2), &mut bytes);
        journal = next;
        if n == 0 {
            let young = Log { segments: vec![bytes.clone()] };
            assert!(matches!(young.verify(signed_by(1)).unwrap_err().breach, Breach::Unsigned));
        }
    }
    let finding = Log { segments: vec![bytes] }.verify(Expected::default()).unwrap_err();
    assert!(matches!(finding.breach, Breach::Unsigned), "{finding}");
}

#[test]
fn what_is_no_log_is_said_to_be_none() {
    for bytes in [&b""[..], b"swm/aud/1\0", &[0; 50], b"swm/aud/2\0 with more than enough bytes to be a header of one"]
    {
        let log = Log { segments: vec![bytes.to_vec()] };
        assert!(matches!(log.verify(Expected::default()).unwrap_err().breach, Breach::Unreadable(_)));
    }
    // A length beyond all bounds: nothing is set aside for it.
    let mut log = log();
    let (segment, range) = log.place(3);
    log.segments[segment][range.start + 9..range.start + 13].copy_from_slice(&[0x80, 0, 0, 0]);
    let finding = log.verify(Expected::default()).unwrap_err();
    assert_eq!(finding.to_string(), "segment 0: record 3: a record of 2147483648 bytes is over the limit of 4096");
}
