//! What goes on until it is stopped: events of an agent, changes of a document.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// Something an application listens to.
#[wasm_bindgen(js_name = RawHearing)]
#[derive(Debug)]
pub struct Hearing {
    stop: js_sys::Function,
}

#[wasm_bindgen(js_class = RawHearing)]
impl Hearing {
    /// Ends it; what is under way is not heard any more.
    pub fn stop(&self) {
        let _ = self.stop.call0(&JsValue::NULL);
    }
}

/// Runs `listen` until it ends by itself or is stopped.
pub(crate) fn hear(listen: impl Future<Output = ()> + 'static) -> Hearing {
    let mut stop = None;
    let stopped = Promise::new(&mut |resolve, _| stop = Some(resolve));
    spawn_local(async move {
        let mut listen = std::pin::pin!(listen);
        let mut stopped = JsFuture::from(stopped);
        std::future::poll_fn(|cx| {
            use std::{pin::Pin, task::Poll};
            // First, so that nothing is heard after it.
            if Pin::new(&mut stopped).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            listen.as_mut().poll(cx)
        })
        .await;
    });
    Hearing { stop: stop.unwrap_or_default() }
}
