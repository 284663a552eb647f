//! Who a node is: read from its store, drawn and kept there the first time.

use crate::{
    driver::clock::wall_ms,
    id::{AgentId, Identity, ReplicaId},
    store::{IDENTITY_NOTE, LOSS_NOTE, Store, StoreError},
};

/// The identity in the store, or a fresh one, kept before it is used.
///
/// A store that lost something in a repair gets a fresh one: the numbers of the old one may be among what was lost,
/// and a writer must never use a number twice. A store that belongs to another agent keeps its replica id and takes the new name: the writer is the store's.
pub(crate) fn identity_from(store: &mut dyn Store, agent: AgentId) -> Result<Identity, StoreError> {
    let has_lost = store.note(LOSS_NOTE)?.is_some_and(|note| !note.is_empty());
    if let Some(note) = store.note(IDENTITY_NOTE)?
        && !has_lost
        && let Ok(kept) = postcard::from_bytes::<Identity>(&note)
    {
        return Ok(Identity { agent, ..kept });
    }
    let bits = getrandom::u64().map_err(|error| StoreError::Read { reason: format!("no randomness: {error}") })?;
    let identity = Identity { agent, replica: ReplicaId::from_bits(bits), incarnation: wall_ms() };
    let note = postcard::to_allocvec(&identity).map_err(|error| StoreError::Write { reason: error.to_string() })?;
    store.set_note(IDENTITY_NOTE, note.into())?;
    if has_lost {
        store.set_note(LOSS_NOTE, Default::default())?;
    }
    Ok(identity)
}
