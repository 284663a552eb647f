//! Handles on maps of the content, and sets, which are maps from a value's canonical text to the value.

use std::{marker::PhantomData, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{Counter, List, Register, RichText};
use crate::{
    document::{
        Access, DocumentError,
        access::{from_json, to_json},
        canonical,
    },
    engine::{Container, ContainerKind, Op},
};

/// Keys to values. Replicas that write different keys both keep theirs; concurrent writes to one key are settled by
/// the engine, and for keys that are overwritten often a [`Register`] is the better place.
#[derive(Debug, Clone)]
pub struct Map<T, A> {
    access: A,
    name: Arc<str>,
    value: PhantomData<fn() -> T>,
}

impl<T, A: Access> Map<T, A> {
    /// The map of that name.
    pub fn new(access: A, name: &str) -> Self {
        Self { access, name: name.into(), value: PhantomData }
    }

    /// Sets a key; its old value is replaced as a whole.
    ///
    /// # Errors
    /// `Serialize`; `Engine` when the name is not a map's or something is over its limit.
    pub fn put(&self, key: &str, value: &T) -> Result<(), A::Error>
    where
        T: Serialize,
    {
        let value = to_json(key, value)?;
        self.access.write(|transaction| {
            transaction.content(Op::MapPut { map: self.name.clone(), key: key.into(), value });
            Ok(())
        })
    }

    /// Removes a key; no effect when absent.
    ///
    /// # Errors
    /// `Engine` when the name is not a map's.
    pub fn remove(&self, key: &str) -> Result<(), A::Error> {
        self.access.write(|transaction| {
            transaction.content(Op::MapRemove { map: self.name.clone(), key: key.into() });
            Ok(())
        })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `Engine` when the name is not a map's; `Deserialize` when the value is of another type.
    pub fn get(&self, key: &str) -> Result<Option<T>, A::Error>
    where
        T: DeserializeOwned,
    {
        let value = self.access.read(|document| document.content().map_get(&self.name, key))?;
        let value = value.map_err(DocumentError::from)?;
        Ok(value.map(|value| from_json(key, value)).transpose()?)
    }

    /// The entries, sorted by key.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn entries(&self) -> Result<Vec<(Arc<str>, T)>, A::Error>
    where
        T: DeserializeOwned,
    {
        let entries = self.access.read(|document| document.content().map_entries(&self.name))?;
        let entries = entries.map_err(DocumentError::from)?.into_iter();
        let typed = entries.map(|(key, value)| Ok((key.clone(), from_json(&key, value)?)));
        Ok(typed.collect::<Result<_, DocumentError>>()?)
    }

    /// Number of keys.
    ///
    /// # Errors
    /// `Engine` when the name is not a map's.
    pub fn len(&self) -> Result<usize, A::Error> {
        let container = Container { kind: ContainerKind::Map, name: self.name.clone() };
        Ok(self.access.read(|document| document.content().len(&container))?.map_err(DocumentError::from)?)
    }

    /// True when there are no keys.
    ///
    /// # Errors
    /// As [`Self::len`].
    pub fn is_empty(&self) -> Result<bool, A::Error> {
        Ok(self.len()? == 0)
    }
}

/// What lies below a map has its own name and merges by itself, so replicas that create it at once share it. Removing
/// a key of the map does not remove it.
impl<T, A: Access + Clone> Map<T, A> {
    fn below(&self, child: &str) -> String {
        format!("{}/{child}", self.name)
    }

    /// A map below this one.
    pub fn map<U>(&self, child: &str) -> Map<U, A> {
        Map::new(self.access.clone(), &self.below(child))
    }

    /// A set below this map.
    pub fn set<U>(&self, child: &str) -> Set<U, A> {
        Set::new(self.access.clone(), &self.below(child))
    }

    /// A list below this map.
    pub fn list<U>(&self, child: &str) -> List<U, A> {
        List::new(self.access.clone(), &self.below(child))
    }

    /// A text below this map.
    pub fn text(&self, child: &str) -> RichText<A> {
        RichText::new(self.access.clone(), &self.below(child))
    }

    /// A counter below this map; kept as a record.
    pub fn counter(&self, child: &str) -> Counter<A> {
        Counter::new(self.access.clone(), &self.below(child))
    }

    /// A register below this map; kept as a record.
    pub fn register<U>(&self, child: &str) -> Register<U, A> {
        Register::new(self.access.clone(), &self.below(child))
    }
}

/// Values without order or repetition. Shares its name with a map, so it must not be used as both.
///
/// Adding and removing one value at once is settled by the engine.
#[derive(Debug, Clone)]
pub struct Set<T, A>(Map<T, A>);

impl<T, A: Access> Set<T, A> {
    /// The set of that name.
    pub fn new(access: A, name: &str) -> Self {
        Self(Map::new(access, name))
    }

    /// Adds a value; no effect when present.
    ///
    /// # Errors
    /// `Serialize`; `Engine` when the value is over the limit of a key, or the name is in use for something else.
    pub fn insert(&self, value: &T) -> Result<(), A::Error>
    where
        T: Serialize,
    {
        let key = Self::key(value)?;
        let name = &self.0.name;
        let present = self.0.access.read(|document| document.content().map_get(name, &key))?;
        if present.map_err(DocumentError::from)?.is_none() {
            self.0.put(&key, value)?;
        }
        Ok(())
    }

    /// Removes a value; no effect when absent.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn remove(&self, value: &T) -> Result<(), A::Error>
    where
        T: Serialize,
    {
        self.0.remove(&Self::key(value)?)
    }

    /// True when the value is present.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn contains(&self, value: &T) -> Result<bool, A::Error>
    where
        T: Serialize,
    {
        let key = Self::key(value)?;
        let found = self.0.access.read(|document| document.content().map_get(&self.0.name, &key))?;
        Ok(found.map_err(DocumentError::from)?.is_some())
    }

    /// The values, sorted by their canonical JSON text.
    ///
    /// # Errors
    /// `Deserialize` when one is of another type.
    pub fn values(&self) -> Result<Vec<T>, A::Error>
    where
        T: DeserializeOwned,
    {
        Ok(self.0.entries()?.into_iter().map(|(_, value)| value).collect())
    }

    /// Number of values.
    ///
    /// # Errors
    /// `Engine` when the name is in use for something else.
    pub fn len(&self) -> Result<usize, A::Error> {
        self.0.len()
    }

    /// True when there are no values.
    ///
    /// # Errors
    /// As [`Self::len`].
    pub fn is_empty(&self) -> Result<bool, A::Error> {
        self.0.is_empty()
    }

    fn key(value: &T) -> Result<String, DocumentError>
    where
        T: Serialize,
    {
        Ok(canonical::text(&to_json("value of a set", value)?))
    }
}
