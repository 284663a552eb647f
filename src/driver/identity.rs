//! Who a node is: read from its store, drawn and kept there the first time.

use crate::{
    driver::clock::wall_ms,
    id::{AgentId, Identity, ReplicaId},
    store::{IDENTITY_NOTE, LOSS_NOTE, SALT_NOTE, Store, StoreError},
    trust::{binding::replica_of, key::PublicKey},
};

/// The identity in the store, or a fresh one, kept before it is used.
///
/// A store that lost something in a repair gets a fresh one: the numbers of the old one may be among what was lost,
/// and a writer must never use a number twice. A store that belongs to another agent keeps its replica id and takes the new name: the
/// writer is the store's.
pub(crate) fn identity_from(store: &mut dyn Store, agent: AgentId) -> Result<Identity, StoreError> {
    match kept(store)? {
        Some(kept) => Ok(Identity { agent, ..kept }),
        None => draw(store, agent, ReplicaId::from_bits(random()?)),
    }
}

/// The same for an agent with a key, from which its replica follows; and the salt that belongs to it. A store that was
/// used with another key, or without one, gets a fresh identity.
pub(crate) fn identity_of_key(
    store: &mut dyn Store,
    agent: AgentId,
    key: &PublicKey,
) -> Result<(Identity, u64), StoreError> {
    let salt = store.note(SALT_NOTE)?.and_then(|note| Some(u64::from_be_bytes(note.as_ref().try_into().ok()?)));
    if let (Some(kept), Some(salt)) = (kept(store)?, salt)
        && kept.replica == replica_of(key, salt)
    {
        return Ok((Identity { agent, ..kept }, salt));
    }
    let salt = random()?;
    store.set_note(SALT_NOTE, salt.to_be_bytes().to_vec().into())?;
    Ok((draw(store, agent, replica_of(key, salt))?, salt))
}

/// The identity in the store, unless something was lost since.
fn kept(store: &mut dyn Store) -> Result<Option<Identity>, StoreError> {
    if has_lost(store)? {
        return Ok(None);
    }
    Ok(store.note(IDENTITY_NOTE)?.and_then(|note| postcard::from_bytes(&note).ok()))
}

fn has_lost(store: &mut dyn Store) -> Result<bool, StoreError> {
    Ok(store.note(LOSS_NOTE)?.is_some_and(|note| !note.is_empty()))
}

fn draw(store: &mut dyn Store, agent: AgentId, replica: ReplicaId) -> Result<Identity, StoreError> {
    let identity = Identity { agent, replica, incarnation: wall_ms() };
    let note = postcard::to_allocvec(&identity).map_err(|error| StoreError::Write { reason: error.to_string() })?;
    store.set_note(IDENTITY_NOTE, note.into())?;
    if has_lost(store)? {
        store.set_note(LOSS_NOTE, Default::default())?;
    }
    Ok(identity)
}

fn random() -> Result<u64, StoreError> {
    getrandom::u64().map_err(|error| StoreError::Read { reason: format!("no randomness: {error}") })
}
