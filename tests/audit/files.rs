//! A log in a folder: what a crash leaves of it, what is no crash, and who reads it meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aepoch::{
    audit::{
        chain::{Content, HEADER_BYTES},
        record::{Action, Event, Outcome},
        verify::Expected,
    },
    id::AgentId,
    relay::audit::{
        AuditConfig, AuditError, AuditLog,
        read::{Records, verify},
    },
};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("relay.audit");
    (folder, log)
}

fn open(log: &Path) -> Result<AuditLog, AuditError> {
    AuditLog::open(&AuditConfig::new(log), AgentId::new("relay").unwrap())
}

fn record(log: &AuditLog, reason: &str) {
    let ticket = log.append(Event::new(Action::Offend, Outcome::Refused, reason)).unwrap();
    log.wait(ticket).unwrap();
}

fn segments(log: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "aud"));
    found.sort();
    found
}

fn actions(log: &Path) -> Vec<Action> {
    let mut records = Records::from(log, 1).unwrap();
    let mut found = Vec::new();
    while let Some((_, frame)) = records.next_record().unwrap() {
        if let Content::Entry(entry) = frame.content() {
            found.push(entry.event.action);
        }
    }
    found
}

#[test]
fn a_log_goes_on_after_every_start() {
    let (_folder, log) = folder();
    let mut publics = Vec::new();
    for run in 1..=3 {
        let writing = open(&log).unwrap();
        record(&writing, "first");
        assert!(matches!(open(&log), Err(AuditError::InUse { .. })), "two writers would tear it");
        record(&writing, "second");
        publics.push(writing.public());
        let head = verify(&log, Expected::default()).unwrap().head;
        drop(writing);
        let verified =
            verify(&log, Expected { head: Some(head.link), signers: [publics[0]].into(), ..Expected::default() });
        let verified = verified.unwrap();
        assert_eq!(verified.unsigned, 0, "signed when it is closed");
        assert_eq!(actions(&log).len(), run * 4);
    }
    use Action::{Offend, Start, Stop};
    assert_eq!(actions(&log)[4..8], [Start, Offend, Offend, Stop]);
    let mut stamps = Vec::new();
    let mut records = Records::from(&log, 1).unwrap();
    while let Some((_, frame)) = records.next_record().unwrap() {
        if let Content::Entry(entry) = frame.content() {
            stamps.push(entry.hlc);
        }
    }
    assert!(stamps.is_sorted_by(|one, next| one < next), "{stamps:?}");
}

/// Wherever a crash ended the last record, the rest of the log stands, and that it was cut is recorded.
#[test]
fn what_a_crash_left_unfinished_is_cut_off_and_told() {
    let (_folder, log) = folder();
    drop(open(&log).unwrap());
    let segment = segments(&log).remove(0);
    let whole = fs::read(&segment).unwrap();
    let unfinished = [&[1][..], &5_u64.to_be_bytes(), &100_u32.to_be_bytes(), &[7; 60]].concat();
    let mut tails: Vec<Vec<u8>> =
        (1..unfinished.len()).step_by(11).map(|length| unfinished[..length].to_vec()).collect();
    // What some file systems leave of bytes that were never written.
    tails.extend([vec![0; 10], vec![0; 45], vec![0; 4_096]]);
    for tail in tails {
        fs::write(&segment, [&whole[..], &tail].concat()).unwrap();
        if !tail.starts_with(&[0; 45]) {
            assert!(verify(&log, Expected::default()).is_err(), "it is not whole now");
        }
        drop(open(&log).unwrap());
        verify(&log, Expected::default()).unwrap();
        assert_eq!(actions(&log), [Action::Start, Action::Stop, Action::Cut, Action::Start, Action::Stop]);
    }
}

#[test]
fn a_crash_while_a_segment_was_begun_leaves_a_log_that_opens() {
    let (_folder, log) = folder();
    drop(open(&log).unwrap());
    let (first, next) = (segments(&log).remove(0), log.join(format!("{:020}.aud", 5)));
    let header = fs::read(&first).unwrap()[..HEADER_BYTES].to_vec();
    for begun in [&[][..], &header[..20], &[0; HEADER_BYTES]] {
        fs::write(&next, begun).unwrap();
        drop(open(&log).unwrap());
        verify(&log, Expected::default()).unwrap();
    }
}

/// Case 58: a relay does not go on with a log that was changed, as if it were whole.
#[test]
fn a_changed_log_is_not_gone_on_with() {
    let (_folder, log) = folder();
    let writing = open(&log).unwrap();
    record(&writing, "the truth");
    drop(writing);
    let segment = segments(&log).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(9).position(|window| window == b"the truth").unwrap();
    bytes[at..at + 9].copy_from_slice(b"the lying");
    fs::write(&segment, bytes).unwrap();
    let Err(AuditError::Damaged(finding)) = open(&log) else { panic!("it was opened") };
    assert_eq!(finding.seq, 3);
    let Err(AuditError::Damaged(finding)) = verify(&log, Expected::default()) else { panic!("it holds") };
    assert_eq!((finding.seq, finding.segment), (3, format!("{:020}.aud", 1)));
}

#[cfg(unix)]
#[test]
fn the_key_is_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_folder, log) = folder();
    drop(open(&log).unwrap());
    let key = log.with_extension("audit.key");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&log), mode(&segments(&log)[0])), (0o600, 0o700, 0o600));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = open(&log).unwrap_err();
    assert!(matches!(refused, AuditError::Key { .. }), "{refused}");
    assert!(refused.to_string().contains("640"), "{refused}");
    let secret = fs::read_to_string(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, &secret[..secret.len() / 2]).unwrap();
    let refused = open(&log).unwrap_err().to_string();
    assert!(!refused.contains(&secret[20..40]), "{refused}");
}

/// Segments of a log somebody writes: a reader that came to the end sees what comes, also in the next segment.
#[test]
fn a_reader_follows_a_log_that_is_written() {
    let (_folder, log) = folder();
    let writing = open(&log).unwrap();
    let mut records = Records::from(&log, 1).unwrap();
    let mut next = || records.next_record().unwrap().map(|(_, frame)| frame.seq);
    assert_eq!([next(), next(), next()], [Some(1), Some(2), None]);
    record(&writing, "one more");
    assert_eq!([next(), next()], [Some(3), None]);
    drop(writing);
    assert_eq!([next(), next(), next()], [Some(4), Some(5), None]);

    // The same bytes in two files.
    let segment = segments(&log).remove(0);
    let verified = verify(&log, Expected::default()).unwrap();
    fs::write(log.join(format!("{:020}.aud", 6)), verified.head.header()).unwrap();
    assert_eq!(next(), None);
    let mut last = Records::last(&log, 2).unwrap();
    assert_eq!(last.next_record().unwrap().unwrap().1.seq, 4);
    fs::write(&segment, &fs::read(&segment).unwrap()[..400]).unwrap();
    let Err(AuditError::Damaged(_)) = Records::from(&log, 1).and_then(|mut records| {
        while records.next_record()?.is_some() {}
        Ok(())
    }) else {
        panic!("a segment that is followed by another ends within a record")
    };
}
