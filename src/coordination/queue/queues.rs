//! All queues of a document, and which item is in which. Layer 3, pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    item::{ClaimRecord, ItemRecord},
    state::{ItemEvent, Queue},
};
use crate::{
    coordination::{
        object::{Plan, Purpose},
        participant::Write,
    },
    document::{Document, SlotKey, SlotPart},
    id::{ObjectId, ReplicaId},
    time::{Dice, Moment, Monotonic},
};

/// The part of a participant that is about queues.
#[derive(Debug)]
pub(in crate::coordination) struct Queues {
    replica: ReplicaId,
    queues: BTreeMap<ObjectId, Queue>,
    /// The queue of each item.
    items: BTreeMap<ObjectId, ObjectId>,
    /// Items that came before their queue.
    orphans: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    changed: BTreeSet<ObjectId>,
    /// Own items whose queue is gone.
    closing: Vec<ObjectId>,
}

impl Queues {
    pub(in crate::coordination) fn new(replica: ReplicaId) -> Self {
        Self {
            replica,
            queues: BTreeMap::new(),
            items: BTreeMap::new(),
            orphans: BTreeMap::new(),
            changed: BTreeSet::new(),
            closing: Vec::new(),
        }
    }

    /// A queue's definition is here.
    pub(in crate::coordination) fn defined(&mut self, document: &Document, plan: &Arc<Plan>, now: Monotonic) {
        let Purpose::Queue(rules) = &plan.purpose else { return };
        let object = plan.object();
        let mark = document.slot(SlotKey::Of(object, SlotPart::Mark), self.replica);
        let mut queue = Queue::new(plan.clone(), rules.clone(), self.replica, mark.map(|body| &**body));
        for (part, writer, body) in document.slots_of(object) {
            if part == SlotPart::Mark && writer != self.replica {
                queue.hear_mark(writer, body);
            }
        }
        self.queues.insert(object, queue);
        self.changed.insert(object);
        for item in self.orphans.remove(&object).unwrap_or_default() {
            self.heard(document, item, SlotPart::Item, item.holder, now);
        }
    }

    /// A record about a queue or an item has changed; false when its writer broke a rule.
    pub(in crate::coordination) fn heard(
        &mut self,
        document: &Document,
        object: ObjectId,
        part: SlotPart,
        writer: ReplicaId,
        now: Monotonic,
    ) -> bool {
        let Some(body) = document.slot(SlotKey::Of(object, part), writer) else { return true };
        match part {
            SlotPart::Item => writer == object.holder && self.item(document, object, body, now),
            SlotPart::Mark if writer != self.replica => {
                self.changed.insert(object);
                self.queues.get_mut(&object).is_none_or(|queue| queue.hear_mark(writer, body))
            }
            SlotPart::Claim if writer != self.replica => {
                let Some((queue, of)) = self.queue_of(object) else { return true };
                let heard = queue.hear(object, writer, body, now);
                self.changed.insert(of);
                heard
            }
            _ => true,
        }
    }

    fn item(&mut self, document: &Document, id: ObjectId, body: &[u8], now: Monotonic) -> bool {
        if self.items.contains_key(&id) {
            return true;
        }
        let Ok(record) = ItemRecord::decode(body) else { return false };
        let Some(queue) = self.queues.get_mut(&record.queue) else {
            if document.closed().contains(record.queue) {
                self.closing.extend((id.holder == self.replica).then_some(id));
            } else {
                self.orphans.entry(record.queue).or_default().insert(id);
            }
            return true;
        };
        let own = document.slot(SlotKey::Of(id, SlotPart::Claim), self.replica);
        let own = own.and_then(|body| ClaimRecord::decode(body).ok());
        if !queue.add(id, &record, own, now) {
            return false;
        }
        self.items.insert(id, record.queue);
        self.changed.insert(record.queue);
        for (part, writer, body) in document.slots_of(id) {
            if part == SlotPart::Claim && writer != self.replica {
                queue.hear(id, writer, body, now);
            }
        }
        queue.added(id);
        true
    }

    fn queue_of(&mut self, item: ObjectId) -> Option<(&mut Queue, ObjectId)> {
        let of = *self.items.get(&item)?;
        self.queues.get_mut(&of).map(|queue| (queue, of))
    }

    /// Own records of an object (an item's claim, a queue's mark) are durable.
    pub(in crate::coordination) fn persisted(&mut self, object: ObjectId, now: Monotonic) {
        if let Some(queue) = self.queues.get_mut(&object) {
            queue.mark_persisted();
            self.changed.insert(object);
        } else if let Some((queue, of)) = self.queue_of(object) {
            queue.persisted(object, now);
            self.changed.insert(of);
        }
    }

    /// What to write next, and which queues have changed.
    pub(in crate::coordination) fn poll(&mut self, now: Moment, dice: &mut Dice) -> (Vec<Write>, Vec<ObjectId>) {
        let due = self.queues.iter().filter(|(_, queue)| queue.next_wake().is_some_and(|at| at <= now.mono));
        self.changed.extend(due.map(|(object, _)| *object).collect::<Vec<_>>());
        let (mut writes, mut touched) = (Vec::new(), Vec::new());
        for object in std::mem::take(&mut self.changed) {
            let Some(queue) = self.queues.get_mut(&object) else { continue };
            touched.push(object);
            writes.extend(queue.poll(now, dice));
            if !queue.changed.is_empty() {
                self.changed.insert(object);
            }
        }
        (writes, touched)
    }

    /// Drops what is finished. O(runs of finished objects + what is dropped).
    pub(in crate::coordination) fn close(&mut self, document: &Document) {
        for (holder, first, last) in document.closed().runs() {
            let range = ObjectId { holder, number: first }..=ObjectId { holder, number: last };
            let gone: Vec<ObjectId> = self.items.range(range.clone()).map(|(item, _)| *item).collect();
            for item in gone {
                if let Some((queue, of)) = self.queue_of(item) {
                    queue.drop_item(item);
                    self.changed.insert(of);
                }
                self.items.remove(&item);
            }
            let queues: Vec<ObjectId> = self.queues.range(range).map(|(object, _)| *object).collect();
            for object in queues {
                let Some(queue) = self.queues.remove(&object) else { continue };
                let own = queue.items.keys().filter(|item| item.holder == self.replica);
                self.closing.extend(own.chain(&queue.closing).copied());
                for item in queue.items.keys() {
                    self.items.remove(item);
                }
            }
        }
    }

    pub(in crate::coordination) fn is_busy(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(in crate::coordination) fn next_wake(&self) -> Option<Monotonic> {
        self.queues.values().filter_map(Queue::next_wake).min()
    }

    pub(in crate::coordination) fn get(&self, object: ObjectId) -> Option<&Queue> {
        self.queues.get(&object)
    }

    /// A queue for a wish: it is polled afterwards.
    pub(in crate::coordination) fn get_mut(&mut self, object: ObjectId) -> Option<&mut Queue> {
        let queue = self.queues.get_mut(&object)?;
        self.changed.insert(object);
        Some(queue)
    }

    /// What happened to items since the last call: the queue, the item, what.
    pub(in crate::coordination) fn take_happenings(&mut self) -> Vec<(ObjectId, ObjectId, ItemEvent)> {
        let queues = self.queues.iter_mut();
        let told = |(object, queue): (&ObjectId, &mut Queue)| {
            let object = *object;
            std::mem::take(&mut queue.happenings).into_iter().map(move |(item, event)| (object, item, event))
        };
        queues.flat_map(told).collect()
    }

    /// Own items to be finished, since the last call.
    pub(in crate::coordination) fn take_closing(&mut self) -> Vec<ObjectId> {
        let mut closing = std::mem::take(&mut self.closing);
        self.queues.values_mut().for_each(|queue| closing.append(&mut queue.closing));
        closing
    }

    /// Takes over what applications have claimed, from before the document was read again.
    pub(in crate::coordination) fn adopt(&mut self, old: Self) {
        for (object, queue) in old.queues {
            if let Some(here) = self.queues.get_mut(&object) {
                here.adopt(queue);
                self.changed.insert(object);
            }
        }
    }
}
