//! Barriers, epochs, polls and decisions as JavaScript holds them.

use std::{cell::RefCell, rc::Rc};

use aepoch::agent::coordination::{Arrived, Barrier, Decision, Epoch, PollHandle};
use js_sys::Promise;
use serde_json::Value;
use wasm_bindgen::prelude::*;

use crate::{
    document::Document,
    fault::{argument, from_json, promise, refused, to_json, unless},
    settings::{Settings, span, tiered},
};

/// What every object has.
macro_rules! object {
    ($class:ident, $name:literal) => {
        #[wasm_bindgen(js_class = $name)]
        impl $class {
            pub fn id(&self) -> String {
                self.object.id().to_string()
            }

            pub fn status(&self) -> Result<String, JsValue> {
                to_json(&self.object.status().map_err(refused)?)
            }

            #[wasm_bindgen(js_name = cleanUp)]
            pub fn clean_up(&self) -> Promise {
                let object = self.object.clone();
                promise(async move { object.clean_up().await.map_err(refused) })
            }
        }
    };
}
pub(crate) use object;

#[wasm_bindgen(js_class = RawDocument)]
impl Document {
    pub fn barrier(&self, name: &str, settings: &str) -> Promise {
        let document = self.inner().clone();
        let name = name.to_owned();
        let settings = settings.to_owned();
        promise(async move {
            let settings: Settings = from_json(&settings)?;
            let mut builder = document.barrier(&name);
            tiered!(builder, settings);
            if settings.cyclic {
                builder = builder.cyclic();
            }
            if let Some(fence) = settings.fence {
                builder = builder.fence(fence);
            }
            if let Some(gate) = settings.gate {
                builder = builder.gate(gate.into());
            }
            let object = builder.open().await.map_err(refused)?;
            Ok(RawBarrier { object, arrivals: Rc::default() })
        })
    }

    pub fn epoch(&self, name: &str, settings: &str) -> Promise {
        let document = self.inner().clone();
        let name = name.to_owned();
        let settings = settings.to_owned();
        promise(async move {
            let settings: Settings = from_json(&settings)?;
            let mut builder = document.epoch(&name);
            tiered!(builder, settings);
            builder = builder.phases(settings.phases.iter().map(String::as_str));
            if let Some(window) = settings.window {
                builder = builder.window(span(window));
            }
            Ok(RawEpoch { object: builder.open().await.map_err(refused)? })
        })
    }

    pub fn poll(&self, name: &str, settings: &str) -> Promise {
        let document = self.inner().clone();
        let name = name.to_owned();
        let settings = settings.to_owned();
        promise(async move {
            let settings: Settings = from_json(&settings)?;
            let mut builder = document.poll(&name);
            tiered!(builder, settings);
            builder = builder.options(settings.options.iter().map(String::as_str));
            for (agent, weight) in &settings.weights {
                builder = builder.weight(agent, *weight);
            }
            if let Some(threshold) = settings.threshold {
                builder = builder.threshold(threshold);
            }
            if settings.closable {
                builder = builder.closable();
            }
            Ok(RawPoll { object: builder.open().await.map_err(refused)? })
        })
    }

    pub fn decision(&self, name: &str, settings: &str) -> Promise {
        let document = self.inner().clone();
        let name = name.to_owned();
        let settings = settings.to_owned();
        promise(async move {
            let settings: Settings = from_json(&settings)?;
            let mut builder = document.decision(&name);
            tiered!(builder, settings);
            Ok(RawDecision { object: builder.open().await.map_err(refused)? })
        })
    }
}

/// A barrier.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawBarrier {
    object: Barrier,
    /// Arrivals nobody has waited for yet.
    arrivals: Rc<RefCell<Vec<Arrived>>>,
}

object!(RawBarrier, "RawBarrier");

#[wasm_bindgen]
impl RawBarrier {
    pub fn arrive(&self, abort: Option<Promise>) -> Promise {
        let object = self.object.clone();
        promise(async move { to_json(&unless(abort, object.arrive()).await?) })
    }

    #[wasm_bindgen(js_name = arriveNow)]
    pub fn arrive_now(&self) -> Promise {
        let object = self.object.clone();
        let arrivals = self.arrivals.clone();
        promise(async move {
            let arrived = object.arrive_now().await.map_err(refused)?;
            let generation = arrived.generation;
            arrivals.borrow_mut().push(arrived);
            Ok(generation as f64)
        })
    }

    pub fn released(&self, generation: f64, abort: Option<Promise>) -> Promise {
        let object = self.object.clone();
        let arrivals = self.arrivals.clone();
        promise(async move {
            let wanted = |arrived: &Arrived| arrived.generation as f64 == generation;
            let here = arrivals.borrow().iter().copied().find(wanted);
            let arrived = match here {
                Some(arrived) => arrived,
                // Of this agent before a restart, or of nobody.
                None => match object.arrived().map_err(refused)?.filter(wanted) {
                    Some(arrived) => arrived,
                    None => return Err(argument(format!("this agent has not arrived in generation {generation}"))),
                },
            };
            let passage = unless(abort, object.released(arrived)).await?;
            arrivals.borrow_mut().retain(|arrived| !wanted(arrived));
            to_json(&passage)
        })
    }

    pub fn decline(&self) -> Promise {
        let object = self.object.clone();
        promise(async move { object.decline().await.map_err(refused) })
    }

    pub fn acknowledge(&self) -> Promise {
        let object = self.object.clone();
        promise(async move { object.acknowledge().await.map_err(refused) })
    }
}

/// An epoch.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawEpoch {
    object: Epoch,
}

object!(RawEpoch, "RawEpoch");

#[wasm_bindgen]
impl RawEpoch {
    pub fn finish(&self, phase: &str, abort: Option<Promise>) -> Promise {
        let object = self.object.clone();
        let phase = phase.to_owned();
        promise(async move { to_json(&unless(abort, object.finish(&phase)).await?) })
    }

    pub fn phase(&self) -> Result<Option<String>, JsValue> {
        Ok(self.object.status().map_err(refused)?.phase)
    }

    pub fn laggards(&self) -> Result<Vec<String>, JsValue> {
        let laggards = self.object.laggards().map_err(refused)?;
        Ok(laggards.iter().map(ToString::to_string).collect())
    }
}

/// A poll.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawPoll {
    object: PollHandle,
}

object!(RawPoll, "RawPoll");

#[wasm_bindgen]
impl RawPoll {
    pub fn vote(&self, option: &str) -> Promise {
        let object = self.object.clone();
        let option = option.to_owned();
        promise(async move { object.vote(&option).await.map_err(refused) })
    }

    pub fn decided(&self, abort: Option<Promise>) -> Promise {
        let object = self.object.clone();
        promise(async move { unless(abort, object.decided()).await })
    }
}

/// A decision.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawDecision {
    object: Decision,
}

object!(RawDecision, "RawDecision");

#[wasm_bindgen]
impl RawDecision {
    pub fn propose(&self, value: &str) -> Promise {
        let object = self.object.clone();
        let value = value.to_owned();
        promise(async move {
            let value: Value = from_json(&value)?;
            object.propose(&value).await.map_err(refused)
        })
    }

    pub fn abstain(&self) -> Promise {
        let object = self.object.clone();
        promise(async move { object.abstain().await.map_err(refused) })
    }

    pub fn decided(&self, abort: Option<Promise>) -> Promise {
        let object = self.object.clone();
        promise(async move {
            let decided: Option<Value> = unless(abort, object.decided()).await?;
            decided.map(|value| to_json(&value)).transpose()
        })
    }
}
