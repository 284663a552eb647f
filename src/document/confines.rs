//! What one agent may change of a document: checked before its own transactions take effect, and by whoever takes its
//! deltas in.

use super::{Delta, Document, DocumentError, RecordKind, records::Slot};
use crate::{
    id::AgentId,
    tier::Tier,
    trust::{
        credential::Admission,
        pattern::{Right, Scope},
    },
};

/// One agent's rights in one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confines {
    agent: AgentId,
    tier: Tier,
    scope: Scope,
}

impl Confines {
    /// What a credential allows in the document called `document`.
    pub fn of(admission: &Admission, document: &crate::id::DocumentId) -> Self {
        Self { agent: admission.agent.clone(), tier: admission.tier, scope: admission.scope(document) }
    }

    /// Whose they are.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// The highest tier it may sit in.
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// True when the right is granted, for some part of the document at least.
    pub fn allows(&self, right: Right) -> bool {
        self.scope.allows(right)
    }

    /// # Errors
    /// `Forbidden` unless the right is granted.
    pub fn require(&self, right: Right) -> Result<(), DocumentError> {
        if self.allows(right) { Ok(()) } else { Err(self.forbidden(right, "in this document")) }
    }

    /// The refusal of a tier that is too high.
    pub fn too_high(&self, doing: &'static str, tier: Tier) -> DocumentError {
        let what = format!("tier {tier}: {} is as high as its credential reaches", self.tier);
        DocumentError::Forbidden { agent: self.agent.clone(), doing, what }
    }

    /// # Errors
    /// `Forbidden` names what of the delta goes beyond them. O(records of the delta).
    pub fn check(&self, delta: &Delta) -> Result<(), DocumentError> {
        // A part without updates says only what it builds on.
        if delta.content.as_ref().is_some_and(|content| !content.updates.is_empty()) {
            self.check_content()?;
        }
        for record in delta.records.iter().flat_map(|run| &run.records) {
            self.check_record(record.kind, &record.key)?;
        }
        if delta.slots.is_empty() { Ok(()) } else { self.require(Right::Coordinate) }
    }

    fn check_content(&self) -> Result<(), DocumentError> {
        if self.scope.allows_content() { Ok(()) } else { Err(self.forbidden(Right::Write, "content")) }
    }

    fn check_record(&self, kind: RecordKind, key: &str) -> Result<(), DocumentError> {
        let path = || Slot::new(kind, key).path_text();
        let own = |owner: &str| owner == self.agent.as_str();
        let (allowed, right) = match kind {
            RecordKind::Member => (self.scope.allows(Right::Presence) && own(key), Right::Presence),
            RecordKind::Agent => {
                let owner = key.split('/').next().unwrap_or_default();
                (own(owner) && self.scope.allows_record(&path()), Right::Write)
            }
            RecordKind::Register | RecordKind::Counter => (self.scope.allows_record(&path()), Right::Write),
        };
        if allowed { Ok(()) } else { Err(self.forbidden(right, &format!("`{}`", path()))) }
    }

    fn forbidden(&self, right: Right, what: &str) -> DocumentError {
        let doing = if right == Right::Presence { "be seen" } else { right.name() };
        DocumentError::Forbidden { agent: self.agent.clone(), doing, what: what.to_owned() }
    }
}

impl Document {
    /// Refuses local changes beyond these; `None`: everything is allowed.
    pub fn confine(&mut self, confines: Option<Confines>) {
        self.confines = confines;
    }

    /// What this replica may change; `None`: everything.
    pub fn confines(&self) -> Option<&Confines> {
        self.confines.as_ref()
    }

    pub(super) fn may_write_content(&self) -> Result<(), DocumentError> {
        self.confines.as_ref().map_or(Ok(()), Confines::check_content)
    }

    pub(super) fn may_write_record(&self, slot: &Slot) -> Result<(), DocumentError> {
        self.confines.as_ref().map_or(Ok(()), |confines| confines.check_record(slot.kind, &slot.key))
    }
}
