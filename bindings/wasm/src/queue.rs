//! Queues and claims as JavaScript holds them.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime},
};

use aepoch::{
    agent::coordination::{Queue, Task},
    coordination::{kernel::Tier, queue::Claiming},
    id::ObjectId,
};
use js_sys::Promise;
use serde_json::Value;
use wasm_bindgen::prelude::*;

use crate::{
    coordination::object,
    document::{Document, whole},
    fault::{argument, fault, from_json, promise, refused, to_json, unless},
    settings::{Settings, deciding, span},
};

#[wasm_bindgen(js_class = RawDocument)]
impl Document {
    pub fn queue(&self, name: &str, settings: &str) -> Promise {
        let document = self.inner().clone();
        let name = name.to_owned();
        let settings = settings.to_owned();
        promise(async move {
            let settings: Settings = from_json(&settings)?;
            let mut builder = document.queue::<Value>(&name);
            deciding!(builder, settings);
            builder = builder.members(settings.members.iter().map(|(_, agent)| agent.as_str()));
            if let Some(lease) = settings.lease {
                builder = builder.lease(span(lease));
            }
            if let Some(attempts) = settings.attempts {
                builder = builder.attempts(attempts);
            }
            if let Some(bucket) = settings.bucket {
                builder = builder.bucket(span(bucket));
            }
            Ok(RawQueue { object: builder.open().await.map_err(refused)? })
        })
    }
}

/// A queue of work.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawQueue {
    object: Queue<Value>,
}

object!(RawQueue, "RawQueue");

#[wasm_bindgen]
impl RawQueue {
    pub fn push(&self, payload: &str, tier: u8, deadline: Option<f64>) -> Promise {
        let object = self.object.clone();
        let payload = payload.to_owned();
        promise(async move {
            let payload: Value = from_json(&payload)?;
            let mut push = object.push(&payload).tier(Tier(tier));
            if let Some(deadline) = deadline {
                let ms = u64::try_from(whole(deadline)?).map_err(argument)?;
                push = push.deadline(SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
            }
            push.await.map(|item| item.to_string()).map_err(refused)
        })
    }

    pub fn claim(&self, mode: &str, abort: Option<Promise>) -> Promise {
        let object = self.object.clone();
        let mode = mode.to_owned();
        promise(async move {
            let claiming: Claiming = serde_json::from_value(Value::from(mode)).map_err(argument)?;
            let task = unless(abort, object.claim(claiming)).await?;
            Ok(RawClaim { task: RefCell::new(Some(task)) })
        })
    }

    pub fn items(&self) -> Result<String, JsValue> {
        let items = self.object.items().map_err(refused)?;
        let shown = items.iter().map(|item| {
            let mut shown = serde_json::to_value(item).map_err(argument)?;
            // As it is pushed, requeued and discarded by.
            shown["item"] = item.item.to_string().into();
            Ok(shown)
        });
        to_json(&shown.collect::<Result<Vec<Value>, JsValue>>()?)
    }

    #[wasm_bindgen(js_name = queueStatus)]
    pub fn queue_status(&self) -> Result<String, JsValue> {
        to_json(&self.object.status().map_err(refused)?)
    }

    pub fn requeue(&self, item: &str) -> Promise {
        let object = self.object.clone();
        let item = item.to_owned();
        promise(async move { object.requeue(item_of(&item)?).await.map_err(refused) })
    }

    pub fn discard(&self, item: &str) -> Promise {
        let object = self.object.clone();
        let item = item.to_owned();
        promise(async move { object.discard(item_of(&item)?).await.map_err(refused) })
    }
}

fn item_of(text: &str) -> Result<ObjectId, JsValue> {
    text.parse().map_err(|error: String| argument(error))
}

/// A claimed item: given back when freed before it is done.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawClaim {
    task: RefCell<Option<Task<Value>>>,
}

impl RawClaim {
    fn with<R>(&self, look: impl FnOnce(&Task<Value>) -> R) -> Result<R, JsValue> {
        self.task.borrow().as_ref().map(look).ok_or_else(done)
    }
}

fn done() -> JsValue {
    fault("Node", "the item is done or given back")
}

#[wasm_bindgen]
impl RawClaim {
    pub fn item(&self) -> Result<String, JsValue> {
        self.with(|task| task.item().to_string())
    }

    pub fn token(&self) -> Result<f64, JsValue> {
        self.with(|task| task.token() as f64)
    }

    pub fn payload(&self) -> Result<String, JsValue> {
        self.with(|task| to_json(task.payload()))?
    }

    #[wasm_bindgen(js_name = isHeld)]
    pub fn is_held(&self) -> bool {
        self.with(Task::is_held).unwrap_or(false)
    }

    pub fn complete(&self) -> Promise {
        let task = self.task.borrow_mut().take();
        promise(async move {
            let task = task.ok_or_else(done)?;
            task.complete().await.map_err(refused)
        })
    }

    pub fn fail(&self, reason: &str) -> Promise {
        let task = self.task.borrow_mut().take();
        let reason = reason.to_owned();
        promise(async move {
            let task = task.ok_or_else(done)?;
            task.fail(&reason).await.map_err(refused)
        })
    }
}
