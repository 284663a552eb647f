//! The thread in front of a store: gathering, order, failures, closing. Gates instead of pauses keep it exact.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use aepoch::store::{
    Answers, MemoryStore, RedbStore, Store, StoreDone, StoreError, StoreTask, StoreThread, WriterConfig,
};
use bytes::Bytes;

use crate::{append, compact, load, read, texts};

/// A store that tells of each commit, waits for leave to begin it, and fails those it is told to.
struct Watched {
    inner: Box<dyn Store>,
    begun: Sender<usize>,
    /// Each message lets one commit begin, and says whether the disk fails; once the sender is gone, all succeed.
    leave: Receiver<bool>,
}

impl Store for Watched {
    fn commit(&mut self, tasks: &[StoreTask]) -> Vec<Result<StoreDone, StoreError>> {
        // The test may have stopped listening.
        let _ = self.begun.send(tasks.len());
        if self.leave.recv().unwrap_or(false) {
            return tasks.iter().map(|_| Err(StoreError::Write { reason: "no space left".to_owned() })).collect();
        }
        self.inner.commit(tasks)
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.inner.note(name)
    }

    fn set_note(&mut self, name: &str, note: Bytes) -> Result<(), StoreError> {
        self.inner.set_note(name, note)
    }
}

struct Bench {
    begun: Receiver<usize>,
    leave: Sender<bool>,
    answers: Receiver<Answers>,
    /// Dropped last: it waits for the thread, which would wait for leave when a test fails.
    thread: StoreThread,
}

fn bench(inner: Box<dyn Store>, config: WriterConfig) -> Bench {
    let (begun_sender, begun) = channel();
    let (leave, leave_receiver) = channel();
    let (sender, answers) = channel();
    let store = Watched { inner, begun: begun_sender, leave: leave_receiver };
    let thread = StoreThread::spawn(Box::new(store), config, move |done| {
        // The test may have stopped listening.
        let _ = sender.send(done);
    })
    .unwrap();
    Bench { begun, leave, answers, thread }
}

fn config(linger: Duration) -> WriterConfig {
    let mut config = WriterConfig::default();
    config.linger = linger;
    config.gather = Duration::ZERO;
    config
}

/// Longer than any test: whatever waits for it never happens.
const NEVER: Duration = Duration::from_secs(100_000);

#[test]
fn tasks_that_arrive_during_a_commit_share_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let bench = bench(Box::new(RedbStore::open(&path).unwrap()), config(Duration::ZERO));
    bench.thread.submit(0, append("stage", &["0"]));
    assert_eq!(bench.begun.recv(), Ok(1), "the first task does not wait for others");
    for id in 1..=1000 {
        bench.thread.submit(id, append(["stage", "band"][id as usize % 2], &[&id.to_string()]));
    }
    bench.leave.send(false).unwrap();
    assert_eq!(bench.answers.recv().unwrap(), [(0, Ok(StoreDone::Appended { last: 1 }))]);
    assert_eq!(bench.begun.recv(), Ok(1000));
    bench.leave.send(false).unwrap();
    let answers = bench.answers.recv().unwrap();
    assert!(answers.iter().map(|(id, _)| *id).eq(1..=1000));
    assert_eq!(answers[999].1, Ok(StoreDone::Appended { last: 501 }));
    bench.thread.close();

    // One row for each document and commit, not one for each task.
    let report = aepoch::store::maintenance::verify(&path, None, |_, _| {}).unwrap();
    let rows: Vec<_> = report.documents.iter().map(|seen| (seen.batches, seen.entries)).collect();
    assert_eq!(rows, [(1, 500), (2, 501)]);
}

#[test]
fn a_full_batch_does_not_linger() {
    let mut config = config(NEVER);
    config.batch_tasks_max = 10;
    config.batch_bytes_max = 1000;
    let bench = bench(Box::new(MemoryStore::new()), config);
    bench.thread.submit(0, append("stage", &["0"]));
    assert_eq!(bench.begun.recv(), Ok(1));
    for id in 1..=25 {
        bench.thread.submit(id, append("stage", &["x"]));
    }
    bench.leave.send(false).unwrap();
    assert_eq!(bench.begun.recv(), Ok(10));
    bench.leave.send(false).unwrap();
    assert_eq!(bench.begun.recv(), Ok(10));
    // The five that are left linger; bytes alone fill the batch as well.
    bench.thread.submit(26, append("stage", &[&"y".repeat(990)]));
    bench.leave.send(false).unwrap();
    assert_eq!(bench.begun.recv(), Ok(5));
    bench.leave.send(false).unwrap();
    drop(bench.leave);
    bench.thread.close();
    assert_eq!(bench.begun.recv(), Ok(1), "closing does not linger either");
    assert_eq!(bench.answers.iter().map(|answers| answers.len()).sum::<usize>(), 27);
}

#[test]
fn a_lingering_batch_is_committed_without_further_tasks() {
    let bench = bench(Box::new(MemoryStore::new()), config(Duration::from_millis(20)));
    for id in 0..3 {
        bench.thread.submit(id, append("stage", &["x"]));
        bench.leave.send(false).unwrap();
        assert_eq!(bench.answers.recv().unwrap(), [(id, Ok(StoreDone::Appended { last: id + 1 }))]);
    }
}

#[test]
fn a_read_overtakes_lingering_writes_of_other_documents_only() {
    let bench = bench(Box::new(MemoryStore::new()), config(NEVER));
    bench.thread.submit(0, append("stage", &["a"]));
    bench.leave.send(false).unwrap();
    bench.answers.recv().unwrap();
    bench.begun.recv().unwrap();

    bench.thread.submit(1, append("stage", &["b"]));
    bench.thread.submit(2, load("band"));
    bench.leave.send(false).unwrap();
    assert_eq!(bench.answers.recv().unwrap(), [(2, Ok(StoreDone::Loaded(None)))]);
    // The write was left where it was until a read has to see it.
    bench.thread.submit(3, load("stage"));
    bench.leave.send(false).unwrap();
    let answers = bench.answers.recv().unwrap();
    assert_eq!(answers[0], (1, Ok(StoreDone::Appended { last: 2 })));
    let (3, Ok(StoreDone::Loaded(Some(found)))) = &answers[1] else { panic!("{answers:?}") };
    assert_eq!(texts(found), ["a", "b"]);

    bench.thread.submit(4, compact("stage", 1, "A"));
    bench.thread.submit(5, StoreTask::List);
    bench.leave.send(false).unwrap();
    let answers = bench.answers.recv().unwrap();
    let (5, Ok(StoreDone::Listed(listed))) = &answers[1] else { panic!("{answers:?}") };
    assert_eq!((listed[0].snapshot_bytes, listed[0].entries), (1, 1));
}

#[test]
fn a_failed_commit_is_reported_to_exactly_its_tasks() {
    let bench = bench(Box::new(MemoryStore::new()), config(Duration::ZERO));
    bench.thread.submit(0, append("stage", &["a"]));
    bench.begun.recv().unwrap();
    for id in 1..=5 {
        bench.thread.submit(id, append("stage", &["lost"]));
    }
    bench.leave.send(false).unwrap();
    assert_eq!(bench.begun.recv(), Ok(5));
    bench.thread.submit(6, append("stage", &["b"]));
    bench.leave.send(true).unwrap();
    bench.leave.send(false).unwrap();
    let answers: Vec<_> = bench.answers.iter().take(3).collect();
    assert_eq!(answers[0], [(0, Ok(StoreDone::Appended { last: 1 }))]);
    assert_eq!(answers[1].iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for (_, outcome) in &answers[1] {
        assert!(outcome.as_ref().is_err_and(StoreError::is_retryable), "{outcome:?}");
    }
    assert_eq!(answers[2], [(6, Ok(StoreDone::Appended { last: 2 }))]);
    bench.thread.submit(7, load("stage"));
    bench.leave.send(false).unwrap();
    let answers = bench.answers.recv().unwrap();
    let Ok(StoreDone::Loaded(Some(found))) = &answers[0].1 else { panic!("{answers:?}") };
    assert_eq!(texts(found), ["a", "b"]);
}

#[test]
fn queued_bytes_count_what_is_not_yet_answered() {
    let bench = bench(Box::new(MemoryStore::new()), config(Duration::ZERO));
    bench.thread.submit(0, append("stage", &["12345"]));
    bench.thread.submit(1, compact("stage", 1, "1234567"));
    // Three more bytes are the header of the append.
    assert_eq!(bench.thread.queued_bytes(), 15);
    bench.leave.send(false).unwrap();
    bench.leave.send(false).unwrap();
    let mut left = 2;
    while left > 0 {
        left -= bench.answers.recv().unwrap().len();
    }
    assert_eq!(bench.thread.queued_bytes(), 0);
}

#[test]
fn dropping_the_thread_commits_what_was_submitted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let answered = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::clone(&answered);
    let store = Box::new(RedbStore::open(&path).unwrap());
    let thread = StoreThread::spawn(store, config(NEVER), move |done| answers.lock().unwrap().extend(done)).unwrap();
    for id in 0..100 {
        thread.submit(id, append("stage", &["x"]));
    }
    drop(thread);
    let answered = answered.lock().unwrap();
    assert!(answered.iter().map(|(id, _)| *id).eq(0..100));
    assert!(answered.iter().all(|(_, outcome)| outcome.is_ok()));
    assert_eq!(read(&mut RedbStore::open(&path).unwrap(), "stage").last, 100);
}
