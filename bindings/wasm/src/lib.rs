//! aepoch in browsers: the production [`Agent`](aepoch::Agent), with methods JavaScript can call.
//!
//! Nothing here decides anything. The shape of these classes, and why values are JSON text, is written down in
//! `js/raw.ts`; what applications use is the TypeScript beside it.

mod agent;
mod coordination;
mod document;
mod fault;
mod hearing;
mod queue;
mod settings;
mod store;

use std::panic;

use js_sys::Function;
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;

/// Calls `heard` with every panic. The module aborts right after it and is of no use any more: whoever hears of it
/// makes a new one, and opens the same store.
#[wasm_bindgen(js_name = onPanic)]
pub fn on_panic(heard: Function) {
    let heard = SendWrapper::new(heard);
    panic::set_hook(Box::new(move |info| {
        let _ = heard.call1(&JsValue::NULL, &JsValue::from_str(&info.to_string()));
    }));
}

/// Panics: for the test that a panic is survived.
#[cfg(feature = "trap")]
#[wasm_bindgen]
pub fn trap() {
    panic!("asked to");
}
