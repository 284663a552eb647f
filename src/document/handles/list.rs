//! Handle on lists of the content.

use std::{marker::PhantomData, ops::Range, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    document::{
        Access, DocumentError,
        access::{from_json, to_json},
    },
    engine::{Container, ContainerKind, Op},
};

/// A sequence of values. Concurrent insertions at one place are all kept.
#[derive(Debug, Clone)]
pub struct List<T, A> {
    access: A,
    name: Arc<str>,
    value: PhantomData<fn() -> T>,
}

impl<T, A: Access> List<T, A> {
    /// The list of that name.
    pub fn new(access: A, name: &str) -> Self {
        Self { access, name: name.into(), value: PhantomData }
    }

    /// Adds a value at the end.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn push(&self, value: &T) -> Result<(), A::Error>
    where
        T: Serialize,
    {
        self.insert_at(None, std::slice::from_ref(value))
    }

    /// Inserts values before position `index`.
    ///
    /// # Errors
    /// `Serialize`; `Engine` when the position is beyond the end, the name is not a list's, or something is over its
    /// limit.
    pub fn insert(&self, index: usize, values: &[T]) -> Result<(), A::Error>
    where
        T: Serialize,
    {
        self.insert_at(Some(index), values)
    }

    /// Removes a run.
    ///
    /// # Errors
    /// `Engine` when it reaches beyond the end, or the name is not a list's.
    pub fn remove(&self, range: Range<usize>) -> Result<(), A::Error> {
        self.access.write(|transaction| {
            transaction.content(Op::ListRemove { list: self.name.clone(), range });
            Ok(())
        })
    }

    /// The values.
    ///
    /// # Errors
    /// `Engine` when the name is not a list's; `Deserialize` when a value is of another type.
    pub fn values(&self) -> Result<Vec<T>, A::Error>
    where
        T: DeserializeOwned,
    {
        let values = self.access.read(|document| document.content().list_values(&self.name))?;
        let values = values.map_err(DocumentError::from)?.into_iter();
        Ok(values.map(|value| from_json(&self.name, value)).collect::<Result<_, DocumentError>>()?)
    }

    /// Number of values.
    ///
    /// # Errors
    /// `Engine` when the name is not a list's.
    pub fn len(&self) -> Result<usize, A::Error> {
        let container = Container { kind: ContainerKind::List, name: self.name.clone() };
        Ok(self.access.read(|document| document.content().len(&container))?.map_err(DocumentError::from)?)
    }

    /// True when there are no values.
    ///
    /// # Errors
    /// As [`Self::len`].
    pub fn is_empty(&self) -> Result<bool, A::Error> {
        Ok(self.len()? == 0)
    }

    fn insert_at(&self, index: Option<usize>, values: &[T]) -> Result<(), A::Error>
    where
        T: Serialize,
    {
        let values = values.iter().map(|value| to_json(&self.name, value)).collect::<Result<_, DocumentError>>()?;
        self.access.write(|transaction| {
            transaction.content(Op::ListInsert { list: self.name.clone(), index, values });
            Ok(())
        })
    }
}
