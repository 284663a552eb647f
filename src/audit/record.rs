//! What one record of the audit log says, and its bytes. Layer 4, pure.

use serde::{Deserialize, Serialize};

use crate::{
    id::{AgentId, DocumentId, ObjectId},
    limits,
    time::Hlc,
};

/// What was done or tried. The variants' order is part of the format: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// The node started, and the log with it.
    Start,
    /// The node stopped in order.
    Stop,
    /// A record that a crash had left unfinished was cut off.
    Cut,
    /// Events were lost while the log could not be written.
    Lose,
    /// A connection got ready.
    Connect,
    /// A connection ended.
    Disconnect,
    /// A peer joined a document.
    Join,
    /// A peer asked for something it did not get, without having broken a rule.
    Ask,
    /// A peer sent what breaks a rule.
    Offend,
    /// A document was rebuilt after its engine had failed on a peer's bytes.
    Quarantine,
    /// A barrier, epoch, poll, decision or queue was begun.
    Define,
    /// A generation of one was decided.
    Decide,
    /// Something became of an item of a queue.
    Item,
    /// An object is finished for everybody.
    Close,
    /// Another version of the policy is in force.
    Govern,
}

impl Action {
    /// All of them, in the order of the format.
    pub const ALL: [Self; 15] = [
        Self::Start,
        Self::Stop,
        Self::Cut,
        Self::Lose,
        Self::Connect,
        Self::Disconnect,
        Self::Join,
        Self::Ask,
        Self::Offend,
        Self::Quarantine,
        Self::Define,
        Self::Decide,
        Self::Item,
        Self::Close,
        Self::Govern,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Cut => "cut",
            Self::Lose => "lose",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Join => "join",
            Self::Ask => "ask",
            Self::Offend => "offend",
            Self::Quarantine => "quarantine",
            Self::Define => "define",
            Self::Decide => "decide",
            Self::Item => "item",
            Self::Close => "close",
            Self::Govern => "govern",
        }
    }
}

impl std::str::FromStr for Action {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|action| action.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{name}` is no action; there are {names}")
        })
    }
}

/// How it went. The variants' order is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused, and nothing of it was kept.
    Refused,
    /// It went wrong.
    Failed,
}

impl Outcome {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What it was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The document.
    pub room: DocumentId,
    /// The barrier or other object in it.
    pub definition: Option<ObjectId>,
    /// Its generation, from 0.
    pub generation: Option<u64>,
}

/// What happened, as whoever saw it says it. Never holds a token, a key, or what documents contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who did it, by the name it gave itself.
    pub actor: Option<AgentId>,
    /// SHA-256 of the id of the credential it showed; `None` where none was asked for.
    pub credential: Option<[u8; 32]>,
    /// The connection, numbered within one run of the node.
    pub connection: Option<u64>,
    /// What.
    pub action: Action,
    /// What about.
    pub object: Option<Object>,
    /// How it went.
    pub outcome: Outcome,
    /// Why, in a sentence; at most [`limits::AUDIT_REASON_BYTES`], longer ones are cut.
    pub reason: String,
    /// The hash of the policy it was judged by; `None` where none was.
    pub policy: Option<[u8; 32]>,
    /// The id of the coordination record it was about.
    pub record: Option<[u8; 32]>,
}

impl Event {
    /// An event about nothing and by nobody in particular.
    pub fn new(action: Action, outcome: Outcome, reason: impl Into<String>) -> Self {
        let (actor, credential, connection, object, policy, record) = Default::default();
        Self { actor, credential, connection, action, object, outcome, reason: reason.into(), policy, record }
    }
}

/// An event with when and where it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The recording node's wall clock, milliseconds since 1970.
    pub wall_ms: u64,
    /// Grows from record to record of one log, whatever the wall clock does.
    pub hlc: Hlc,
    /// Who recorded it.
    pub node: AgentId,
    /// What happened.
    pub event: Event,
}

impl Entry {
    /// Its bytes: the fields in order, in postcard. The same entry gives the same bytes.
    pub fn encode(mut self) -> Vec<u8> {
        let reason = &mut self.event.reason;
        reason.truncate(reason.floor_char_boundary(limits::AUDIT_REASON_BYTES));
        postcard::to_stdvec(&self).expect("every field has an encoding")
    }

    /// Reads the bytes of an entry.
    ///
    /// # Errors
    /// A sentence: it was written by a later version, or by something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        match postcard::take_from_bytes(bytes) {
            Ok((entry, [])) => Ok(entry),
            Ok((_, rest)) => Err(format!("{} bytes follow the entry", rest.len())),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_found_by_its_name_and_stands_at_its_place() {
        for (at, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action.name().parse(), Ok(action));
            assert_eq!(postcard::to_stdvec(&action).unwrap(), [u8::try_from(at).unwrap()]);
        }
    }

    #[test]
    fn the_longest_names_and_reason_fit_into_a_record() {
        let name = "a".repeat(limits::NAME_SEGMENT_BYTES);
        let room = [name.as_str(); limits::NAME_SEGMENTS].join("/");
        let mut event = Event::new(Action::Offend, Outcome::Refused, "ü".repeat(limits::AUDIT_REASON_BYTES));
        let definition = ObjectId { holder: crate::id::ReplicaId::LAST, number: u64::MAX };
        event.object = Some(Object {
            room: DocumentId::new(&room).unwrap(),
            definition: Some(definition),
            generation: Some(u64::MAX),
        });
        event.actor = Some(AgentId::new(&name).unwrap());
        event.connection = Some(u64::MAX);
        (event.credential, event.policy, event.record) = (Some([255; 32]), Some([255; 32]), Some([255; 32]));
        let node = AgentId::new(&name).unwrap();
        let bytes = Entry { wall_ms: u64::MAX, hlc: Hlc(u64::MAX), node, event }.encode();
        assert!(bytes.len() <= limits::AUDIT_RECORD_BYTES, "{} bytes", bytes.len());
        assert_eq!(Entry::decode(&bytes).unwrap().event.reason.len(), limits::AUDIT_REASON_BYTES);
    }
}
