//! Stores that answer later, on the caller's own thread: a browser's database, a service elsewhere. Layer 1.

use std::pin::Pin;

use bytes::Bytes;

use super::{StoreDone, StoreError, StoreTask};

/// What a store will answer.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A [`Store`](super::Store) whose answers are waited for. The same promises hold: what is answered is durable.
///
/// Commits are made one after the other: the next begins when the one before has been answered.
pub trait AsyncStore: std::fmt::Debug + Send + Sync {
    /// Carries out a batch: all its writes become durable together or none does; reads see the writes before them.
    /// Answers in the order of the tasks; a task without an answer counts as failed.
    fn commit(&self, tasks: Vec<StoreTask>) -> Pending<Vec<Result<StoreDone, StoreError>>>;

    /// The note under `name`.
    ///
    /// # Errors
    /// `Read`.
    fn note(&self, name: &'static str) -> Pending<Result<Option<Bytes>, StoreError>>;

    /// Keeps a note durably.
    ///
    /// # Errors
    /// `Write`; the previous note remains.
    fn set_note(&self, name: &'static str, note: Bytes) -> Pending<Result<(), StoreError>>;
}
