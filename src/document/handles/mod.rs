//! Typed handles: what applications hold. Each works through any [`Access`](super::Access).

mod list;
mod map;
mod record;
mod text;

pub use list::List;
pub use map::{Map, Set};
pub use record::{AgentState, Counter, Register};
pub use text::RichText;

use super::{Planned, Transaction};
use crate::id::AgentId;

impl<'d> Transaction<'d> {
    /// A register, written as part of this transaction.
    pub fn register<T>(&mut self, name: &str) -> Register<T, Planned<'_, 'd>> {
        Register::new(Planned::new(self), name)
    }

    /// A counter, changed as part of this transaction.
    pub fn counter(&mut self, name: &str) -> Counter<Planned<'_, 'd>> {
        Counter::new(Planned::new(self), name)
    }

    /// An agent's state, written as part of this transaction.
    pub fn agent_state(&mut self, agent: &AgentId) -> AgentState<Planned<'_, 'd>> {
        AgentState::new(Planned::new(self), agent.clone())
    }

    /// A map, changed as part of this transaction. A nested one is named by its path: `posts/42`.
    pub fn map<T>(&mut self, name: &str) -> Map<T, Planned<'_, 'd>> {
        Map::new(Planned::new(self), name)
    }

    /// A set, changed as part of this transaction.
    pub fn set<T>(&mut self, name: &str) -> Set<T, Planned<'_, 'd>> {
        Set::new(Planned::new(self), name)
    }

    /// A list, changed as part of this transaction.
    pub fn list<T>(&mut self, name: &str) -> List<T, Planned<'_, 'd>> {
        List::new(Planned::new(self), name)
    }

    /// A text, changed as part of this transaction.
    pub fn text(&mut self, name: &str) -> RichText<Planned<'_, 'd>> {
        RichText::new(Planned::new(self), name)
    }
}
