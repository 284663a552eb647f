//! Documents of other programs that the application takes in.

use bytes::Bytes;

use super::{
    Event, Node, NodeError,
    hub::Hub,
    room::{Room, State},
};
use crate::{
    document::{DocumentError, Imported},
    id::{DocumentId, ReplicaId},
    time::Moment,
};

impl Node {
    /// Merges what another program has saved into a document that is open; see
    /// [`Document::import`](crate::document::Document::import).
    ///
    /// # Errors
    /// `OwnOnly` where a peer would not take it; `NotOpen`, `Busy`, and what the document refuses. Nothing was changed.
    pub fn import(&mut self, document: &DocumentId, update: &Bytes, now: Moment) -> Result<Imported, NodeError> {
        self.hub.now = now;
        self.read(document, |_| ())?;
        match self.rooms.get_mut(document) {
            Some(room) => room.import(update, &mut self.hub),
            None => Err(NodeError::NotOpen { document: document.clone() }),
        }
    }
}

impl Room {
    fn import(&mut self, update: &Bytes, hub: &mut Hub) -> Result<Imported, NodeError> {
        if self.members.keys().any(|link| self.accepted_author(*link, hub).is_some()) {
            return Err(NodeError::OwnOnly { document: self.id.clone() });
        }
        let natives = self.natives(hub);
        let native = |writer: ReplicaId| natives.contains(&writer);
        let State::Ready(content) = &mut self.state else {
            return Err(NodeError::Busy { document: self.id.clone() });
        };
        let import = content.import(update, native, self.watch).inspect_err(|error| {
            if matches!(error, DocumentError::Poisoned { .. }) {
                self.quarantine(error, Vec::new(), hub);
            }
        })?;
        if !import.patches.is_empty() {
            hub.event(Event::Changed { document: self.id.clone(), patches: import.patches });
        }
        if let Some(commit) = import.commit {
            self.note_written(hub.me());
            self.committed(commit.delta, hub)?;
        }
        Ok(import.imported)
    }
}
