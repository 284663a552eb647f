//! A process killed while it writes: everything it was told is durable must be there afterwards.
//!
//! `kill -9` leaves the page cache alone, so this says nothing of power cuts; the unit test of the file store beside
//! its source plays those through.
#![allow(clippy::disallowed_methods, reason = "when a process is killed is a matter of time")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use aepoch::store::{KeySource, RedbStore, Store, StoreDone, StoreThread, WriterConfig, maintenance, sealed};

use crate::{append, compact, document, one, read, sealed::key, texts};

const FOLDER: &str = "AEPOCH_TEST_CRASH_FOLDER";
const DOCUMENTS: [&str; 3] = ["a", "b", "c"];

/// The child: appends for ever, compacts now and then, and prints what was reported durable.
fn write_until_killed(folder: &Path) -> ! {
    let mut store = RedbStore::open(folder.join("store.redb")).unwrap();
    let mut lasts = DOCUMENTS.map(|name| match one(&mut store, crate::load(name)).unwrap() {
        StoreDone::Loaded(found) => found.map_or(0, |found| found.last),
        other => panic!("{other:?}"),
    });
    let (sender, answers) = mpsc::channel();
    let thread = StoreThread::spawn(Box::new(store), WriterConfig::default(), move |done| {
        sender.send(done).unwrap();
    })
    .unwrap();
    let mut out = std::io::stdout();
    for round in 0.. {
        for (which, name) in DOCUMENTS.into_iter().enumerate() {
            let next = lasts[which] + 1;
            thread.submit(which as u64, append(name, &[&format!("{name} {next}"), &format!("{name} {}", next + 1)]));
            lasts[which] += 2;
        }
        if round % 7 == 6 {
            let name = DOCUMENTS[round / 7 % 3];
            let upto = lasts[round / 7 % 3] - 3;
            thread.submit(9, compact(name, upto, &format!("{name} {upto}")));
        }
        let mut waiting = DOCUMENTS.len() + usize::from(round % 7 == 6);
        while waiting > 0 {
            for (id, outcome) in answers.recv().unwrap() {
                waiting -= 1;
                if let StoreDone::Appended { last } = outcome.unwrap() {
                    writeln!(out, "durable {} {last}", DOCUMENTS[id as usize]).unwrap();
                }
            }
        }
        out.flush().unwrap();
    }
    unreachable!("the loop above does not end")
}

#[test]
fn nothing_reported_durable_is_lost_when_the_process_is_killed() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        write_until_killed(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut durable = [0_u64; 3];
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::nothing_reported_durable_is_lost_when_the_process_is_killed", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut note = |line: String| {
            // The test runner prints lines of its own, and the last line may be cut off.
            let Some((name, last)) = line.strip_prefix("durable ").and_then(|rest| rest.split_once(' ')) else {
                return;
            };
            let which = DOCUMENTS.iter().position(|known| *known == name).unwrap();
            durable[which] = durable[which].max(last.parse().unwrap_or(0));
        };
        for _ in 0..30 + round * 17 {
            note(lines.next().expect("the child writes until it is killed").unwrap());
        }
        child.kill().unwrap();
        lines.map_while(Result::ok).for_each(&mut note);
        child.wait().unwrap();

        assert!(durable.iter().all(|last| *last > 0), "round {round}: {durable:?}");
        assert!(maintenance::verify(&path, None, |_, _| {}).unwrap().is_sound(), "round {round}");
        let mut store = RedbStore::open(&path).unwrap();
        for (which, name) in DOCUMENTS.into_iter().enumerate() {
            check(&mut store, name, durable[which]);
        }
    }
}

/// The snapshot and the log together are the numbers from one to the last, without a gap, and reach what was durable.
fn check(store: &mut dyn Store, name: &str, durable: u64) {
    let found = read(store, name);
    assert!(found.last >= durable, "{}: {durable} was durable, {} is there", document(name), found.last);
    let start = match &found.snapshot {
        Some(snapshot) => std::str::from_utf8(snapshot).unwrap().split(' ').nth(1).unwrap().parse().unwrap(),
        None => 0_u64,
    };
    let expected: Vec<String> = (start + 1..=found.last).map(|number| format!("{name} {number}")).collect();
    assert_eq!(texts(&found), expected);
}

const ROTATION_KILLS: u32 = 40;
const ROTATION_FOLDER: &str = "AEPOCH_TEST_ROTATION_FOLDER";

fn given(number: u8) -> KeySource {
    KeySource::Given(key(number))
}

/// The child: has two keys take turns for ever.
fn rotate_until_killed(folder: &Path) -> ! {
    let path = folder.join("store.redb");
    let mut present = if sealed::open(&path, Some(&given(1))).is_ok() { 1 } else { 2 };
    let mut out = std::io::stdout();
    loop {
        writeln!(out, "rotating").unwrap();
        out.flush().unwrap();
        sealed::rekey(&path, &given(present), &given(3 - present)).unwrap();
        present = 3 - present;
    }
}

#[test]
fn a_process_killed_while_it_rotates_keys_leaves_one_that_opens() {
    if let Some(folder) = std::env::var_os(ROTATION_FOLDER) {
        rotate_until_killed(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = sealed::open(&path, Some(&given(1))).unwrap();
    one(&mut *store, append("stage", &["a"])).unwrap();
    drop(store);
    for round in 0..ROTATION_KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::a_process_killed_while_it_rotates_keys_leaves_one_that_opens", "--exact", "--nocapture"])
            .env(ROTATION_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut rotating = told.filter(|line| line.contains("rotating"));
        let begun = Instant::now();
        assert!(rotating.next().is_some() && rotating.next().is_some() && rotating.next().is_some());
        // The third rotation has begun: killed a little later each round, it dies in every part of one.
        let rotation = begun.elapsed() / 2;
        thread::sleep(rotation * round / ROTATION_KILLS);
        child.kill().unwrap();
        child.wait().unwrap();
        let opens: Vec<u8> =
            [1, 2].into_iter().filter(|number| sealed::open(&path, Some(&given(*number))).is_ok()).collect();
        assert_eq!(opens.len(), 1, "round {round}: {opens:?}");
        let mut store = sealed::open(&path, Some(&given(opens[0]))).unwrap();
        assert_eq!(texts(&read(&mut *store, "stage")), ["a"]);
    }
}
