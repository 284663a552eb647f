//! What of a node's events is recorded, and how. Layer 6.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};

use super::AuditLog;
use crate::{
    audit::record::{Action, Event as Record, Object, Outcome},
    coordination::{participant::Happening, queue::ItemEvent, standing::Standing},
    id::{AgentId, DocumentId, LinkId, ObjectId},
    limits,
    node::Event,
    trust::policy::PolicyHash,
};

/// Hears the events of a relay's nodes.
pub(in crate::relay) struct Recorder {
    log: Arc<AuditLog>,
    links: Mutex<BTreeMap<LinkId, Known>>,
}

/// A connection that is open.
struct Known {
    agent: AgentId,
    shown: Option<Shown>,
    recorded: u32,
    /// Events beyond the limit.
    omitted: u64,
}

/// Hashes of what a connection was let in by.
#[derive(Debug, Clone, Copy)]
struct Shown {
    credential: [u8; 32],
    policy: [u8; 32],
}

impl Shown {
    fn of(id: &str, policy: &PolicyHash) -> Self {
        Self { credential: Sha256::digest(id).into(), policy: *policy.as_bytes() }
    }
}

impl Recorder {
    pub(in crate::relay) fn new(log: Arc<AuditLog>) -> Self {
        Self { log, links: Mutex::default() }
    }

    /// Every node hears of every connection: the first one's word is enough.
    pub(in crate::relay) fn hear(&self, is_first: bool, event: &Event) {
        let record = match event {
            Event::LinkUp { link, agent, credential } if is_first => {
                self.connected(*link, agent, credential.as_ref().map(|(id, policy)| Shown::of(id, policy)))
            }
            Event::Entered { link, document, agent, credential } if is_first => {
                let shown = credential.as_ref().map(|(id, policy)| Shown::of(id, policy));
                return self.entered(*link, document, agent, shown);
            }
            Event::LinkDown { link, agent, reason } if is_first => self.disconnected(*link, agent, reason),
            Event::Joined { link, document } => {
                let joined = Record::new(Action::Join, Outcome::Done, "");
                return self.of_link(*link, Some(document), joined);
            }
            Event::Denied { link, document, reason, .. } => {
                let denied = Record::new(Action::Ask, Outcome::Refused, reason);
                return self.of_link(*link, document.as_ref(), denied);
            }
            Event::Offence { link, document, reason } => {
                let offence = Record::new(Action::Offend, Outcome::Refused, reason);
                return self.of_link(*link, document.as_ref(), offence);
            }
            Event::Quarantined { document, reason } => {
                let record = Record::new(Action::Quarantine, Outcome::Failed, reason);
                Record { object: Some(in_room(document)), ..record }
            }
            Event::Coordination { document, object, happening } => {
                let Some(record) = happened(document, *object, happening) else { return };
                record
            }
            _ => return,
        };
        self.append(record);
    }

    /// Somebody who was not let in.
    pub(in crate::relay) fn turned_away(&self, reason: &str) {
        self.append(Record::new(Action::Connect, Outcome::Refused, reason));
    }

    /// A newer policy is in force.
    pub(in crate::relay) fn judged_by(&self, policy: &PolicyHash, version: u64) {
        let record = Record::new(Action::Govern, Outcome::Done, format!("version {version}"));
        self.append(Record { policy: Some(*policy.as_bytes()), ..record });
    }

    fn connected(&self, link: LinkId, agent: &AgentId, shown: Option<Shown>) -> Record {
        let known = Known { agent: agent.clone(), shown, recorded: 0, omitted: 0 };
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(link, known);
        let record = Record::new(Action::Connect, Outcome::Done, "");
        let (credential, policy) = parts(shown);
        Record { actor: Some(agent.clone()), connection: Some(link.0), credential, policy, ..record }
    }

    /// Somebody who was nobody is known from now on.
    fn entered(&self, link: LinkId, document: &DocumentId, agent: &AgentId, shown: Option<Shown>) {
        if let Some(known) = self.links.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&link) {
            (known.agent, known.shown) = (agent.clone(), shown);
        }
        self.of_link(link, Some(document), Record::new(Action::Connect, Outcome::Done, "by a pass"));
    }

    fn disconnected(&self, link: LinkId, agent: &AgentId, reason: &str) -> Record {
        let known = self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(&link);
        let omitted = known.map_or(0, |known| known.omitted);
        let more = if omitted > 0 { format!("; {omitted} more events of it were not recorded") } else { String::new() };
        let record = Record::new(Action::Disconnect, Outcome::Done, format!("{reason}{more}"));
        Record { actor: Some(agent.clone()), connection: Some(link.0), ..record }
    }

    fn of_link(&self, link: LinkId, document: Option<&DocumentId>, record: Record) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let known = links.get_mut(&link);
        let actor = known.as_ref().map(|known| known.agent.clone());
        let (credential, policy) = parts(known.as_ref().and_then(|known| known.shown));
        if let Some(known) = known {
            if known.recorded >= limits::AUDIT_LINK_EVENTS {
                known.omitted += 1;
                return;
            }
            known.recorded += 1;
        }
        drop(links);
        let (connection, object) = (Some(link.0), document.map(in_room));
        self.append(Record { actor, connection, object, credential, policy, ..record });
    }

    fn append(&self, record: Record) {
        // What is refused for want of room is counted by the log, which is failing then.
        let _ = self.log.append(record);
    }
}

fn parts(shown: Option<Shown>) -> (Option<[u8; 32]>, Option<[u8; 32]>) {
    (shown.map(|shown| shown.credential), shown.map(|shown| shown.policy))
}

fn in_room(document: &DocumentId) -> Object {
    Object { room: document.clone(), definition: None, generation: None }
}

/// What a happening says for itself; `None` for what only moves things on.
fn happened(document: &DocumentId, object: ObjectId, happening: &Happening) -> Option<Record> {
    let (record, generation) = match happening {
        Happening::Defined(plan) => {
            let (kind, definition) = (plan.purpose.kind(), &plan.definition);
            let reason = format!("{kind} `{}` of {} members", definition.name, definition.members.len());
            let actor = Some(definition.creator.clone());
            (Record { actor, ..Record::new(Action::Define, Outcome::Done, reason) }, None)
        }
        Happening::Ended { generation, standing, .. } => {
            let (outcome, reason) = match standing {
                Standing::Released(end) if end.is_complete() => (Outcome::Done, "released, complete".to_owned()),
                Standing::Released(end) => {
                    let missing = end.missing().count();
                    (Outcome::Done, format!("released without {missing}"))
                }
                standing => (Outcome::Failed, ending(standing)),
            };
            (Record::new(Action::Decide, outcome, reason), Some(*generation))
        }
        Happening::Item { item, event } => {
            let reason = match event {
                ItemEvent::Claimed { holder, token } => format!("{item} claimed by {holder}, token {token}"),
                ItemEvent::Completed { token } => format!("{item} completed, token {token}"),
                ItemEvent::Failed { token } => format!("{item} given back, token {token}"),
                ItemEvent::Dead { token } => format!("{item} given up, token {token}"),
                ItemEvent::Requeued => format!("{item} offered again"),
                ItemEvent::Discarded => format!("{item} discarded"),
            };
            (Record::new(Action::Item, Outcome::Done, reason), None)
        }
        Happening::Closed => (Record::new(Action::Close, Outcome::Done, ""), None),
        Happening::Heard | Happening::Changed => return None,
    };
    let object = Object { room: document.clone(), definition: Some(object), generation };
    Some(Record { object: Some(object), ..record })
}

/// The name of a standing, as programs know it.
fn ending(standing: &Standing) -> String {
    let value = serde_json::to_value(standing).unwrap_or_default();
    value["standing"].as_str().unwrap_or("ended").to_owned()
}
