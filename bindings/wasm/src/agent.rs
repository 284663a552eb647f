//! An agent as JavaScript holds it.

use std::sync::Arc;

use aepoch::{
    Agent,
    agent::Missed,
    engine::EngineKind,
    id::{AgentId, DocumentId},
    node::Event,
    sync::{Address, Lane},
    trust::key::PrivateKey,
};
use bytes::Bytes;
use js_sys::{Function, Promise, Uint8Array};
use serde::Deserialize;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use crate::{
    document::Document,
    fault::{argument, fault, from_json, promise, refused, to_json, unless},
    hearing::{Hearing, hear},
    store::{PageStore, RawStore},
};

/// Settings of [`open`]; the store comes beside them, for it is no value.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    name: String,
    swarm: String,
    #[serde(default)]
    connect: Vec<String>,
    engine: Option<EngineKind>,
    #[serde(default)]
    onlooker: bool,
    credential: Option<Shown>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    token: String,
    key: String,
}

/// Opens an agent. Does not wait for connections.
#[wasm_bindgen]
pub fn open(options: &str, store: Option<RawStore>) -> Promise {
    let options = options.to_owned();
    promise(async move {
        let options: Options = from_json(&options)?;
        let mut builder = Agent::builder(&options.name).swarm(&options.swarm).onlooker(options.onlooker);
        builder = builder.engine(options.engine.unwrap_or_default());
        for address in &options.connect {
            builder = builder.connect(address);
        }
        if let Some(Shown { token, key }) = &options.credential {
            // What was given is not repeated: it is a secret.
            let key = PrivateKey::from_jwk(key).ok_or_else(|| fault("Credential", "the key is no private JWK"))?;
            builder = builder.credential(token, key);
        }
        if let Some(store) = store {
            builder = builder.store_by(Arc::new(PageStore::new(store)));
        }
        Ok(RawAgent(builder.open().await.map_err(refused)?))
    })
}

/// An agent; what it has written stays when it is freed, and it leaves without a goodbye.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawAgent(Agent);

#[wasm_bindgen]
impl RawAgent {
    pub fn name(&self) -> String {
        self.0.name().to_string()
    }

    pub fn replica(&self) -> String {
        self.0.identity().replica.to_string()
    }

    pub fn status(&self) -> Result<String, JsValue> {
        to_json(&self.0.status())
    }

    pub fn document(&self, name: &str, engine: Option<String>) -> Promise {
        let this = self.0.clone();
        let name = name.to_owned();
        promise(async move {
            let opened = match engine {
                None => this.document(&name).await,
                Some(engine) => {
                    let engine: EngineKind = serde_json::from_value(Value::from(engine)).map_err(argument)?;
                    this.document_with(&name, engine).await
                }
            };
            opened.map(Document::new).map_err(refused)
        })
    }

    pub fn swarm(&self) -> Promise {
        let this = self.0.clone();
        promise(async move { this.swarm().await.map(Document::new).map_err(refused) })
    }

    #[wasm_bindgen(js_name = setState)]
    pub fn set_state(&self, key: &str, value: &str) -> Result<(), JsValue> {
        let value: Value = from_json(value)?;
        self.0.state().set(key, &value).map_err(refused)
    }

    #[wasm_bindgen(js_name = clearState)]
    pub fn clear_state(&self, key: &str) -> Result<(), JsValue> {
        self.0.state().clear(key).map_err(refused)
    }

    pub fn send(&self, to: &str, lane: u8, body: &[u8]) -> Result<(), JsValue> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum To {
            Agent(String),
            Document(String),
            All,
        }
        let to = match from_json(to)? {
            To::Agent(agent) => Address::Agent(AgentId::new(&agent).map_err(refused)?),
            To::Document(document) => self.0.address_of(&document).map_err(refused)?,
            To::All => Address::All,
        };
        let lane = match lane {
            0 => Lane::Critical,
            1 => Lane::High,
            2 => Lane::Normal,
            3 => Lane::Low,
            other => return Err(argument(format!("lane {other} is not one of 0 to 3"))),
        };
        self.0.send(to, lane, body.to_vec()).map_err(refused)
    }

    /// Calls `heard` with every event, and with a message's body.
    pub fn events(&self, heard: Function) -> Hearing {
        let mut events = self.0.events();
        hear(async move {
            loop {
                let (event, body) = match events.next().await {
                    Ok(None) => return,
                    Ok(Some(event)) => match shown(&event) {
                        Some(event) => event,
                        None => continue,
                    },
                    Err(Missed { count }) => (json!({ "kind": "missed", "count": count }), None),
                };
                let body = body.map_or(JsValue::UNDEFINED, |body| Uint8Array::from(&*body).into());
                let _ = heard.call2(&JsValue::NULL, &event.to_string().into(), &body);
            }
        })
    }

    pub fn flush(&self, abort: Option<Promise>) -> Promise {
        let this = self.0.clone();
        promise(async move { unless(abort, this.flush()).await })
    }

    pub fn persisted(&self, abort: Option<Promise>) -> Promise {
        let this = self.0.clone();
        promise(async move { unless(abort, this.persisted()).await })
    }

    #[wasm_bindgen(js_name = setOnline)]
    pub fn set_online(&self, online: bool) {
        self.0.set_online(online);
    }

    pub fn disconnect(&self) {
        self.0.disconnect();
    }

    pub fn renew(&self, token: &str) -> Result<(), JsValue> {
        self.0.renew(token).map_err(refused)
    }

    pub fn close(&self) -> Promise {
        let this = self.0.clone();
        promise(async move { this.close().await.map_err(refused) })
    }
}

/// An event as JSON, and a message's body beside it; `None` for what is the node's own business.
fn shown(event: &Event) -> Option<(Value, Option<Bytes>)> {
    let of = |document: &Option<DocumentId>| document.as_ref().map(ToString::to_string);
    Some((
        match event {
            Event::Acked { document } => json!({ "kind": "acked", "document": document }),
            Event::LinkUp { agent, .. } => json!({ "kind": "linkUp", "agent": agent }),
            Event::LinkDown { agent, reason, .. } => json!({ "kind": "linkDown", "agent": agent, "reason": reason }),
            Event::Presence { document, .. } => json!({ "kind": "presence", "document": document }),
            Event::Message { from, to, body } => {
                let to = match to {
                    Address::Agent(agent) => json!({ "agent": agent }),
                    Address::Document(document) => json!({ "document": document }),
                    Address::All => json!("all"),
                };
                return Some((json!({ "kind": "message", "from": from, "to": to }), Some(body.clone())));
            }
            Event::Refused { document, code, reason } => {
                json!({ "kind": "refused", "document": of(document), "code": format!("{code:?}"), "reason": reason })
            }
            Event::Quarantined { document, reason } => {
                json!({ "kind": "quarantined", "document": document, "reason": reason })
            }
            Event::StoreFailed { document, reason } => {
                json!({ "kind": "storeFailed", "document": document, "reason": reason })
            }
            Event::RenewalAsked { .. } => json!({ "kind": "renewalAsked" }),
            Event::Coordination { document, object, .. } => {
                json!({ "kind": "coordination", "document": document, "object": object.to_string() })
            }
            _ => return None,
        },
        None,
    ))
}
