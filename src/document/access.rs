//! How typed handles reach a document: the same handle works on an open document and inside a transaction.

use std::cell::RefCell;

use serde::{Serialize, de::DeserializeOwned};

use super::{Document, DocumentError, Transaction};
use crate::engine::Value;

/// A way to a document. Implemented by whoever owns documents, and by [`Planned`] inside a transaction.
pub trait Access {
    /// What handles return when they fail.
    type Error: From<DocumentError>;

    /// Shows the document to `f`.
    ///
    /// # Errors
    /// The document cannot be reached.
    fn read<R>(&self, f: impl FnOnce(&Document) -> R) -> Result<R, Self::Error>;

    /// Runs `f` in a transaction.
    ///
    /// # Errors
    /// The document cannot be reached, or refused the transaction: nothing was changed.
    fn write<R>(&self, f: impl FnOnce(&mut Transaction<'_>) -> Result<R, DocumentError>) -> Result<R, Self::Error>;
}

/// The way to a document from inside a transaction: writes join the transaction.
#[derive(Debug)]
pub struct Planned<'a, 'd>(RefCell<&'a mut Transaction<'d>>);

impl<'a, 'd> Planned<'a, 'd> {
    pub(super) fn new(transaction: &'a mut Transaction<'d>) -> Self {
        Self(RefCell::new(transaction))
    }
}

// The cell cannot be borrowed twice: `f` has no way back to it, because it is never cloned and never lent out.
impl Access for Planned<'_, '_> {
    type Error = DocumentError;

    fn read<R>(&self, f: impl FnOnce(&Document) -> R) -> Result<R, DocumentError> {
        Ok(f(self.0.borrow().document()))
    }

    fn write<R>(&self, f: impl FnOnce(&mut Transaction<'_>) -> Result<R, DocumentError>) -> Result<R, DocumentError> {
        f(&mut self.0.borrow_mut())
    }
}

/// The JSON form of a caller's value; `path` is for the error.
pub(super) fn to_json<T: Serialize + ?Sized>(path: &str, value: &T) -> Result<Value, DocumentError> {
    serde_json::to_value(value)
        .map_err(|error| DocumentError::Serialize { path: path.to_owned(), reason: error.to_string() })
}

/// The caller's form of a value; `path` is for the error.
pub(super) fn from_json<T: DeserializeOwned>(path: &str, value: Value) -> Result<T, DocumentError> {
    serde_json::from_value(value)
        .map_err(|error| DocumentError::Deserialize { path: path.to_owned(), reason: error.to_string() })
}
