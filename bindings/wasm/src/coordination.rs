//! Barriers, epochs, polls and decisions as JavaScript holds them.

use std::sync::Mutex;

use aepoch::agent::coordination::{Arrived, Barrier, Decision, Epoch, PollHandle};
use js_sys::Promise;
use serde_json::Value;
use wasm_bindgen::prelude::*;

use crate::{
    document::Document,
    fault::{argument, from_json, refused, to_json, unless},
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
            pub async fn clean_up(&self) -> Result<(), JsValue> {
                self.object.clean_up().await.map_err(refused)
            }
        }
    };
}
pub(crate) use object;

#[wasm_bindgen(js_class = RawDocument)]
impl Document {
    pub async fn barrier(&self, name: &str, settings: &str) -> Result<RawBarrier, JsValue> {
        let settings: Settings = from_json(settings)?;
        let mut builder = self.inner().barrier(name);
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
        Ok(RawBarrier { object, arrivals: Mutex::default() })
    }

    pub async fn epoch(&self, name: &str, settings: &str) -> Result<RawEpoch, JsValue> {
        let settings: Settings = from_json(settings)?;
        let mut builder = self.inner().epoch(name);
        tiered!(builder, settings);
        builder = builder.phases(settings.phases.iter().map(String::as_str));
        if let Some(window) = settings.window {
            builder = builder.window(span(window));
        }
        Ok(RawEpoch { object: builder.open().await.map_err(refused)? })
    }

    pub async fn poll(&self, name: &str, settings: &str) -> Result<RawPoll, JsValue> {
        let settings: Settings = from_json(settings)?;
        let mut builder = self.inner().poll(name);
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
    }

    pub async fn decision(&self, name: &str, settings: &str) -> Result<RawDecision, JsValue> {
        let settings: Settings = from_json(settings)?;
        let mut builder = self.inner().decision(name);
        tiered!(builder, settings);
        Ok(RawDecision { object: builder.open().await.map_err(refused)? })
    }
}

/// A barrier.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawBarrier {
    object: Barrier,
    /// Arrivals nobody has waited for yet.
    arrivals: Mutex<Vec<Arrived>>,
}

object!(RawBarrier, "RawBarrier");

#[wasm_bindgen]
impl RawBarrier {
    pub async fn arrive(&self, abort: Option<Promise>) -> Result<String, JsValue> {
        to_json(&unless(abort, self.object.arrive()).await?)
    }

    #[wasm_bindgen(js_name = arriveNow)]
    pub async fn arrive_now(&self) -> Result<f64, JsValue> {
        let arrived = self.object.arrive_now().await.map_err(refused)?;
        let generation = arrived.generation;
        if let Ok(mut arrivals) = self.arrivals.lock() {
            arrivals.push(arrived);
        }
        Ok(generation as f64)
    }

    pub async fn released(&self, generation: f64, abort: Option<Promise>) -> Result<String, JsValue> {
        let wanted = |arrived: &Arrived| arrived.generation as f64 == generation;
        let here = self.arrivals.lock().ok().and_then(|arrivals| arrivals.iter().copied().find(wanted));
        let arrived = match here {
            Some(arrived) => arrived,
            // Of this agent before a restart, or of nobody.
            None => match self.object.arrived().map_err(refused)?.filter(wanted) {
                Some(arrived) => arrived,
                None => return Err(argument(format!("this agent has not arrived in generation {generation}"))),
            },
        };
        let passage = unless(abort, self.object.released(arrived)).await?;
        if let Ok(mut arrivals) = self.arrivals.lock() {
            arrivals.retain(|arrived| !wanted(arrived));
        }
        to_json(&passage)
    }

    pub async fn decline(&self) -> Result<(), JsValue> {
        self.object.decline().await.map_err(refused)
    }

    pub async fn acknowledge(&self) -> Result<(), JsValue> {
        self.object.acknowledge().await.map_err(refused)
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
    pub async fn finish(&self, phase: &str, abort: Option<Promise>) -> Result<String, JsValue> {
        to_json(&unless(abort, self.object.finish(phase)).await?)
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
    pub async fn vote(&self, option: &str) -> Result<(), JsValue> {
        self.object.vote(option).await.map_err(refused)
    }

    pub async fn decided(&self, abort: Option<Promise>) -> Result<Option<String>, JsValue> {
        unless(abort, self.object.decided()).await
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
    pub async fn propose(&self, value: &str) -> Result<(), JsValue> {
        let value: Value = from_json(value)?;
        self.object.propose(&value).await.map_err(refused)
    }

    pub async fn abstain(&self) -> Result<(), JsValue> {
        self.object.abstain().await.map_err(refused)
    }

    pub async fn decided(&self, abort: Option<Promise>) -> Result<Option<String>, JsValue> {
        let decided: Option<Value> = unless(abort, self.object.decided()).await?;
        decided.map(|value| to_json(&value)).transpose()
    }
}
