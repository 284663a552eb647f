//! A document as JavaScript holds it: reads, changes, observation, presence.

use aepoch::{
    agent::AgentDocument,
    document::{DocumentError, Resolver, Transaction},
    id::AgentId,
};
use js_sys::{Function, Promise};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use crate::{
    fault::{argument, from_json, promise, refused, to_json, unless},
    hearing::{Hearing, hear},
};

/// A document an agent has opened; closed when freed.
#[wasm_bindgen(js_name = RawDocument)]
#[derive(Debug)]
pub struct Document(AgentDocument);

impl Document {
    pub(crate) fn new(document: AgentDocument) -> Self {
        Self(document)
    }

    pub(crate) fn inner(&self) -> &AgentDocument {
        &self.0
    }

    fn write(&self, plan: impl FnOnce(&mut Transaction<'_>) -> Result<(), DocumentError>) -> Result<(), JsValue> {
        self.0.transact(plan).map_err(refused)
    }
}

#[wasm_bindgen(js_class = RawDocument)]
impl Document {
    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    #[wasm_bindgen(js_name = registerSet)]
    pub fn register_set(&self, name: &str, value: &str) -> Result<(), JsValue> {
        let value: Value = from_json(value)?;
        self.write(|tx| tx.register(name).set(&value))
    }

    #[wasm_bindgen(js_name = registerGet)]
    pub fn register_get(&self, name: &str) -> Result<Option<String>, JsValue> {
        let value = self.0.read(|document| document.register(name, &Resolver::LastWriterWins)).map_err(refused)?;
        value.map(|value| to_json(&value)).transpose()
    }

    #[wasm_bindgen(js_name = registerValues)]
    pub fn register_values(&self, name: &str) -> Result<String, JsValue> {
        let candidates = self.0.register::<Value>(name).values().map_err(refused)?;
        let shown = candidates.into_iter().map(|candidate| {
            json!({
                "writer": candidate.writer,
                "at": candidate.hlc.wall_ms(),
                "version": candidate.version,
                "value": candidate.value,
                "cleared": candidate.value.is_none(),
            })
        });
        to_json(&shown.collect::<Vec<_>>())
    }

    #[wasm_bindgen(js_name = registerVersion)]
    pub fn register_version(&self, name: &str) -> Result<f64, JsValue> {
        self.0.register::<Value>(name).version().map(|version| version as f64).map_err(refused)
    }

    #[wasm_bindgen(js_name = registerClear)]
    pub fn register_clear(&self, name: &str) -> Result<(), JsValue> {
        self.write(|tx| tx.register::<Value>(name).clear())
    }

    #[wasm_bindgen(js_name = counterAdd)]
    pub fn counter_add(&self, name: &str, by: f64) -> Result<(), JsValue> {
        let by = whole(by)?;
        self.write(|tx| tx.counter(name).add(by))
    }

    #[wasm_bindgen(js_name = counterGet)]
    pub fn counter_get(&self, name: &str) -> Result<f64, JsValue> {
        self.0.counter(name).get().map(|value| value as f64).map_err(refused)
    }

    #[wasm_bindgen(js_name = agentGet)]
    pub fn agent_get(&self, agent: &str, key: &str) -> Result<Option<String>, JsValue> {
        let agent = AgentId::new(agent).map_err(refused)?;
        let value = self.0.read(|document| document.agent_value(&agent, key)).map_err(refused)?;
        value.map(|value| to_json(&value)).transpose()
    }

    #[wasm_bindgen(js_name = agentKeys)]
    pub fn agent_keys(&self, agent: &str) -> Result<Vec<String>, JsValue> {
        let agent = AgentId::new(agent).map_err(refused)?;
        self.0.agent_state(&agent).keys().map_err(refused)
    }

    #[wasm_bindgen(js_name = mapPut)]
    pub fn map_put(&self, map: &str, key: &str, value: &str) -> Result<(), JsValue> {
        let value: Value = from_json(value)?;
        self.write(|tx| tx.map(map).put(key, &value))
    }

    #[wasm_bindgen(js_name = mapGet)]
    pub fn map_get(&self, map: &str, key: &str) -> Result<Option<String>, JsValue> {
        let value = self.0.map::<Value>(map).get(key).map_err(refused)?;
        value.map(|value| to_json(&value)).transpose()
    }

    #[wasm_bindgen(js_name = mapRemove)]
    pub fn map_remove(&self, map: &str, key: &str) -> Result<(), JsValue> {
        self.write(|tx| tx.map::<Value>(map).remove(key))
    }

    #[wasm_bindgen(js_name = mapEntries)]
    pub fn map_entries(&self, map: &str) -> Result<String, JsValue> {
        to_json(&self.0.map::<Value>(map).entries().map_err(refused)?)
    }

    #[wasm_bindgen(js_name = setInsert)]
    pub fn set_insert(&self, set: &str, value: &str) -> Result<(), JsValue> {
        let value: Value = from_json(value)?;
        self.write(|tx| tx.set(set).insert(&value))
    }

    #[wasm_bindgen(js_name = setRemove)]
    pub fn set_remove(&self, set: &str, value: &str) -> Result<(), JsValue> {
        let value: Value = from_json(value)?;
        self.write(|tx| tx.set(set).remove(&value))
    }

    #[wasm_bindgen(js_name = setHas)]
    pub fn set_has(&self, set: &str, value: &str) -> Result<bool, JsValue> {
        let value: Value = from_json(value)?;
        self.0.set(set).contains(&value).map_err(refused)
    }

    #[wasm_bindgen(js_name = setValues)]
    pub fn set_values(&self, set: &str) -> Result<String, JsValue> {
        to_json(&self.0.set::<Value>(set).values().map_err(refused)?)
    }

    #[wasm_bindgen(js_name = listInsert)]
    pub fn list_insert(&self, list: &str, index: u32, values: &str) -> Result<(), JsValue> {
        let values: Vec<Value> = from_json(values)?;
        self.write(|tx| tx.list(list).insert(index as usize, &values))
    }

    #[wasm_bindgen(js_name = listPush)]
    pub fn list_push(&self, list: &str, value: &str) -> Result<(), JsValue> {
        let value: Value = from_json(value)?;
        self.write(|tx| tx.list(list).push(&value))
    }

    #[wasm_bindgen(js_name = listRemove)]
    pub fn list_remove(&self, list: &str, from: u32, to: u32) -> Result<(), JsValue> {
        self.write(|tx| tx.list::<Value>(list).remove(from as usize..to as usize))
    }

    #[wasm_bindgen(js_name = listValues)]
    pub fn list_values(&self, list: &str) -> Result<String, JsValue> {
        to_json(&self.0.list::<Value>(list).values().map_err(refused)?)
    }

    #[wasm_bindgen(js_name = textInsert)]
    pub fn text_insert(&self, text: &str, index: u32, chars: &str) -> Result<(), JsValue> {
        self.write(|tx| tx.text(text).insert(index as usize, chars))
    }

    #[wasm_bindgen(js_name = textRemove)]
    pub fn text_remove(&self, text: &str, from: u32, to: u32) -> Result<(), JsValue> {
        self.write(|tx| tx.text(text).remove(from as usize..to as usize))
    }

    #[wasm_bindgen(js_name = textFormat)]
    pub fn text_format(&self, text: &str, from: u32, to: u32, attribute: &str, value: &str) -> Result<(), JsValue> {
        let value: Value = from_json(value)?;
        self.write(|tx| tx.text(text).format(from as usize..to as usize, attribute, value))
    }

    #[wasm_bindgen(js_name = textGet)]
    pub fn text_get(&self, text: &str) -> Result<String, JsValue> {
        self.0.text(text).get().map_err(refused)
    }

    #[wasm_bindgen(js_name = textSpans)]
    pub fn text_spans(&self, text: &str) -> Result<String, JsValue> {
        to_json(&self.0.text(text).spans().map_err(refused)?)
    }

    /// Several changes that become visible together.
    pub fn transact(&self, changes: &str) -> Result<(), JsValue> {
        let changes: Vec<Vec<Value>> = from_json(changes)?;
        let changes: Vec<Change<'_>> = changes.iter().map(|change| Change::read(change)).collect::<Result<_, _>>()?;
        self.write(|tx| changes.iter().try_for_each(|change| change.apply(tx)))
    }

    /// Calls `heard` with the changes below a path, as they come together; without any when some were missed.
    pub fn observe(&self, prefix: &str, heard: Function) -> Hearing {
        let mut observation = self.0.observe(prefix);
        hear(async move {
            loop {
                let told = match observation.next_together().await {
                    Ok(None) => return,
                    Ok(Some(patches)) => to_json(&patches).map_or(JsValue::UNDEFINED, JsValue::from),
                    Err(_) => JsValue::UNDEFINED,
                };
                let _ = heard.call1(&JsValue::NULL, &told);
            }
        })
    }

    #[wasm_bindgen(js_name = setPresence)]
    pub fn set_presence(&self, state: &str) -> Result<(), JsValue> {
        let state: Value = from_json(state)?;
        self.0.set_presence(&state).map_err(refused)
    }

    #[wasm_bindgen(js_name = clearPresence)]
    pub fn clear_presence(&self) -> Result<(), JsValue> {
        self.0.clear_presence().map_err(refused)
    }

    pub fn presence(&self) -> Result<String, JsValue> {
        let shown = self.0.presence().into_iter().map(|entry| {
            let state = entry.state.as_deref().and_then(|state| serde_json::from_slice::<Value>(state).ok());
            json!({ "replica": entry.replica, "agent": entry.agent, "clock": entry.clock, "state": state })
        });
        to_json(&shown.collect::<Vec<_>>())
    }

    pub fn members(&self) -> Result<String, JsValue> {
        let members = self.0.read(|document| document.members()).map_err(refused)?;
        let shown = members.into_iter().map(|(replica, member)| json!({ "replica": replica, "member": member }));
        to_json(&shown.collect::<Vec<_>>())
    }

    pub fn tree(&self) -> Result<String, JsValue> {
        let tree = self.0.read(|document| document.render()).map_err(refused)?;
        to_json(&tree.map_err(refused)?)
    }

    pub fn status(&self) -> Result<Option<String>, JsValue> {
        self.0.status().map(|status| to_json(&status)).transpose()
    }

    pub fn digest(&self) -> Result<String, JsValue> {
        use std::fmt::Write as _;
        let mut hex = String::new();
        for byte in self.0.digest().map_err(refused)? {
            // A string takes any text.
            let _ = write!(hex, "{byte:02x}");
        }
        Ok(hex)
    }

    pub fn flush(&self, abort: Option<Promise>) -> Promise {
        let this = self.0.clone();
        promise(async move { unless(abort, this.flush()).await })
    }

    pub fn explain(&self) -> Result<String, JsValue> {
        to_json(&self.0.explain().map_err(refused)?)
    }

    #[wasm_bindgen(js_name = cleanUp)]
    pub fn clean_up(&self, name: &str) -> Promise {
        let this = self.0.clone();
        let name = name.to_owned();
        promise(async move { this.clean_up(&name).await.map_err(refused) })
    }
}

/// A whole number that JavaScript counts exactly.
pub(crate) fn whole(number: f64) -> Result<i64, JsValue> {
    if number.fract() != 0.0 || number.abs() > 9_007_199_254_740_991.0 {
        return Err(argument(format!("{number} is no whole number of at most 2^53 - 1")));
    }
    Ok(number as i64)
}

/// One change of several: the method that would make it alone, and its arguments.
struct Change<'c> {
    method: &'c str,
    arguments: &'c [Value],
}

impl<'c> Change<'c> {
    fn read(change: &'c [Value]) -> Result<Self, JsValue> {
        let shape = |method: &str| -> Option<&'static str> {
            Some(match method {
                "registerSet" | "setInsert" | "setRemove" | "listPush" => "sv",
                "registerClear" => "s",
                "counterAdd" => "si",
                "mapPut" => "ssv",
                "mapRemove" => "ss",
                "listInsert" => "sna",
                "listRemove" | "textRemove" => "snn",
                "textInsert" => "sns",
                "textFormat" => "snnsv",
                _ => return None,
            })
        };
        let bad = || argument(format!("`{}` is no change", Value::from(change.to_vec())));
        let (method, arguments) = change.split_first().ok_or_else(bad)?;
        let method = method.as_str().ok_or_else(bad)?;
        let shape = shape(method).ok_or_else(bad)?;
        let fits = |(kind, value): (char, &Value)| match kind {
            's' => value.is_string(),
            'n' => value.as_u64().is_some_and(|number| number <= u64::from(u32::MAX)),
            'i' => value.is_i64(),
            'a' => value.is_array(),
            _ => true,
        };
        if shape.len() != arguments.len() || !shape.chars().zip(arguments).all(fits) {
            return Err(bad());
        }
        Ok(Self { method, arguments })
    }

    fn text(&self, at: usize) -> &str {
        self.arguments[at].as_str().unwrap_or_default()
    }

    fn number(&self, at: usize) -> usize {
        self.arguments[at].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
    }

    fn apply(&self, tx: &mut Transaction<'_>) -> Result<(), DocumentError> {
        let (name, value) = (self.text(0), self.arguments.last().unwrap_or(&Value::Null));
        match self.method {
            "registerSet" => tx.register(name).set(value),
            "registerClear" => tx.register::<Value>(name).clear(),
            "counterAdd" => tx.counter(name).add(value.as_i64().unwrap_or_default()),
            "mapPut" => tx.map(name).put(self.text(1), value),
            "mapRemove" => tx.map::<Value>(name).remove(self.text(1)),
            "setInsert" => tx.set(name).insert(value),
            "setRemove" => tx.set(name).remove(value),
            "listPush" => tx.list(name).push(value),
            "listInsert" => tx.list(name).insert(self.number(1), value.as_array().map_or(&[], Vec::as_slice)),
            "listRemove" => tx.list::<Value>(name).remove(self.number(1)..self.number(2)),
            "textInsert" => tx.text(name).insert(self.number(1), self.text(2)),
            "textRemove" => tx.text(name).remove(self.number(1)..self.number(2)),
            _ => tx.text(name).format(self.number(1)..self.number(2), self.text(3), value.clone()),
        }
    }
}
