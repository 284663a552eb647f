//! Handles on records: registers, counters, agents' state.

use std::{marker::PhantomData, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    document::{
        Access, Candidate, Resolver,
        access::{from_json, to_json},
    },
    id::AgentId,
};

/// A value with several writers. Overwriting costs no history: its size is bounded by the number of its writers.
///
/// **Under partition** both sides can write; afterwards both values are [`values`](Self::values) until someone who has
/// seen both writes again. [`get`](Self::get) picks one by the register's resolver.
#[derive(Debug, Clone)]
pub struct Register<T, A> {
    access: A,
    name: Arc<str>,
    resolver: Resolver,
    value: PhantomData<fn() -> T>,
}

impl<T, A: Access> Register<T, A> {
    /// The register of that name, whether or not anything was written to it.
    pub fn new(access: A, name: &str) -> Self {
        Self { access, name: name.into(), resolver: Resolver::default(), value: PhantomData }
    }

    /// Picks among concurrent values by `resolver` instead of by the newest.
    #[must_use]
    pub fn resolved_by(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    /// Sets the value, overriding all values visible here.
    ///
    /// # Errors
    /// `Serialize`, `TooLarge`, `Record` for a bad name; retrying does not help.
    pub fn set(&self, value: &T) -> Result<(), A::Error>
    where
        T: Serialize,
    {
        let value = to_json(&self.name, value)?;
        self.access.write(|transaction| transaction.set_register(&self.name, &value))
    }

    /// The value, or `None` when there is none or it was cleared.
    ///
    /// # Errors
    /// `Deserialize` when it is of another type.
    pub fn get(&self) -> Result<Option<T>, A::Error>
    where
        T: DeserializeOwned,
    {
        let value = self.access.read(|document| document.register(&self.name, &self.resolver))?;
        Ok(value.map(|value| from_json(&self.name, value)).transpose()?)
    }

    /// All values that nobody has overridden, newest first, with their writers: more than one is a conflict.
    ///
    /// # Errors
    /// Those of the access only.
    pub fn values(&self) -> Result<Vec<Candidate>, A::Error> {
        self.access.read(|document| document.register_values(&self.name))
    }

    /// The number of writes that led here, along the longest chain of writers who saw each other's.
    ///
    /// # Errors
    /// Those of the access only.
    pub fn version(&self) -> Result<u64, A::Error> {
        self.access.read(|document| document.register_version(&self.name))
    }

    /// Takes the value away, overriding all values visible here.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn clear(&self) -> Result<(), A::Error> {
        self.access.write(|transaction| transaction.clear_register(&self.name))
    }
}

/// A sum to which all replicas add. Additions are never lost, also under partition.
#[derive(Debug, Clone)]
pub struct Counter<A> {
    access: A,
    name: Arc<str>,
}

impl<A: Access> Counter<A> {
    /// The counter of that name; zero until someone adds.
    pub fn new(access: A, name: &str) -> Self {
        Self { access, name: name.into() }
    }

    /// Adds; a negative number subtracts.
    ///
    /// # Errors
    /// `Overflow` when this replica's share would leave the range of 64-bit integers.
    pub fn add(&self, add: i64) -> Result<(), A::Error> {
        self.access.write(|transaction| transaction.add_counter(&self.name, add))
    }

    /// The sum; one beyond 64 bits reads as the nearest 64-bit integer.
    ///
    /// # Errors
    /// Those of the access only.
    pub fn get(&self) -> Result<i64, A::Error> {
        self.access.read(|document| document.counter(&self.name))
    }
}

/// What one agent tells about itself: status, position, progress. Meant to be written by that agent only; of several
/// incarnations the newest value wins.
#[derive(Debug, Clone)]
pub struct AgentState<A> {
    access: A,
    agent: AgentId,
}

impl<A: Access> AgentState<A> {
    /// The state of `agent`.
    pub fn new(access: A, agent: AgentId) -> Self {
        Self { access, agent }
    }

    /// Whose state it is.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Sets a key.
    ///
    /// # Errors
    /// `Serialize`, `TooLarge`, `Record` for a bad key.
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), A::Error> {
        let value = to_json(key, value)?;
        self.access.write(|transaction| transaction.set_agent_value(&self.agent, key, &value))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `Deserialize` when it is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, A::Error> {
        let value = self.access.read(|document| document.agent_value(&self.agent, key))?;
        Ok(value.map(|value| from_json(key, value)).transpose()?)
    }

    /// Takes a key's value away.
    ///
    /// # Errors
    /// `Record` for a bad key.
    pub fn clear(&self, key: &str) -> Result<(), A::Error> {
        self.access.write(|transaction| transaction.clear_agent_value(&self.agent, key))
    }

    /// The keys that have a value, sorted.
    ///
    /// # Errors
    /// Those of the access only.
    pub fn keys(&self) -> Result<Vec<String>, A::Error> {
        let values = self.access.read(|document| document.agent_values(&self.agent))?;
        Ok(values.into_iter().map(|(key, _)| key).collect())
    }
}
