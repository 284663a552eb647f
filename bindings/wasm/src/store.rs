//! A store of JavaScript's: tasks leave as objects, answers come back as such.

use aepoch::{
    id::DocumentId,
    store::{AsyncStore, Pending, StoreDone, StoreError, StoreTask, StoredDocument, StoredSummary},
};
use bytes::Bytes;
use js_sys::{Array, Object, Promise, Reflect, Uint8Array};
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// `RawStore` of `js/raw.ts`.
    #[derive(Debug, Clone)]
    pub type RawStore;

    #[wasm_bindgen(method, catch)]
    fn commit(this: &RawStore, tasks: Array) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn note(this: &RawStore, name: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = setNote)]
    fn set_note(this: &RawStore, name: &str, note: Uint8Array) -> Result<Promise, JsValue>;
}

/// Keeps documents where the page says.
#[derive(Debug)]
pub(crate) struct PageStore(SendWrapper<RawStore>);

impl PageStore {
    pub(crate) fn new(store: RawStore) -> Self {
        Self(SendWrapper::new(store))
    }
}

impl AsyncStore for PageStore {
    fn commit(&self, tasks: Vec<StoreTask>) -> Pending<Vec<Result<StoreDone, StoreError>>> {
        let store = (*self.0).clone();
        Box::pin(SendWrapper::new(async move {
            let given: Array = tasks.iter().map(task_of).collect();
            let answers = match store.commit(given) {
                Ok(promise) => JsFuture::from(promise).await,
                Err(error) => Err(error),
            };
            match answers {
                Ok(answers) => {
                    tasks.iter().zip(Array::from(&answers).iter()).map(|(task, done)| done_of(task, &done)).collect()
                }
                Err(error) => tasks.iter().map(|_| Err(StoreError::Write { reason: said_by(&error) })).collect(),
            }
        }))
    }

    fn note(&self, name: &'static str) -> Pending<Result<Option<Bytes>, StoreError>> {
        let store = (*self.0).clone();
        Box::pin(SendWrapper::new(async move {
            let failed = |error: JsValue| StoreError::Read { reason: said_by(&error) };
            let note = JsFuture::from(store.note(name).map_err(failed)?).await.map_err(failed)?;
            Ok(bytes_of(&note))
        }))
    }

    fn set_note(&self, name: &'static str, note: Bytes) -> Pending<Result<(), StoreError>> {
        let store = (*self.0).clone();
        Box::pin(SendWrapper::new(async move {
            let failed = |error: JsValue| StoreError::Write { reason: said_by(&error) };
            let kept = store.set_note(name, Uint8Array::from(&*note)).map_err(failed)?;
            JsFuture::from(kept).await.map(drop).map_err(failed)
        }))
    }
}

fn said_by(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{error:?}"),
    }
}

fn object(kind: &str) -> Object {
    let object = Object::new();
    put(&object, "kind", kind);
    object
}

fn put(object: &Object, name: &str, value: impl Into<JsValue>) {
    // A fresh object takes any property.
    let _ = Reflect::set(object, &name.into(), &value.into());
}

fn task_of(task: &StoreTask) -> Object {
    match task {
        StoreTask::Load { document } => {
            let load = object("load");
            put(&load, "document", document.as_str());
            load
        }
        StoreTask::Append { document, header, entries } => {
            let append = object("append");
            put(&append, "document", document.as_str());
            put(&append, "header", Uint8Array::from(&**header));
            put(&append, "entries", entries.iter().map(|entry| Uint8Array::from(&**entry)).collect::<Array>());
            append
        }
        StoreTask::Compact { document, upto, snapshot } => {
            let compact = object("compact");
            put(&compact, "document", document.as_str());
            put(&compact, "upto", *upto as f64);
            put(&compact, "snapshot", Uint8Array::from(&**snapshot));
            compact
        }
        StoreTask::List => object("list"),
    }
}

fn get(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

fn bytes_of(value: &JsValue) -> Option<Bytes> {
    Some(Bytes::from(value.dyn_ref::<Uint8Array>()?.to_vec()))
}

fn text_of(object: &JsValue, name: &str) -> String {
    get(object, name).as_string().unwrap_or_default()
}

/// A count: JavaScript counts exactly up to 2^53.
fn count_of(object: &JsValue, name: &str) -> u64 {
    get(object, name).as_f64().map_or(0, |count| count as u64)
}

fn done_of(task: &StoreTask, done: &JsValue) -> Result<StoreDone, StoreError> {
    let document = || task.document().cloned();
    match (text_of(done, "kind").as_str(), task) {
        ("loaded", StoreTask::Load { .. }) => {
            let kept = get(done, "document");
            Ok(StoreDone::Loaded(if kept.is_object() { Some(loaded(&kept)?) } else { None }))
        }
        ("appended", StoreTask::Append { .. }) => Ok(StoreDone::Appended { last: count_of(done, "last") }),
        ("compacted", StoreTask::Compact { .. }) => Ok(StoreDone::Compacted),
        ("listed", StoreTask::List) => {
            let listed = Array::from(&get(done, "documents"));
            Ok(StoreDone::Listed(listed.iter().filter_map(|kept| summary(&kept)).collect()))
        }
        ("missing", _) if document().is_some() => {
            let document = document().ok_or(StoreError::Closed)?;
            Err(StoreError::Missing { document })
        }
        ("failed", _) if text_of(done, "during") == "read" => Err(StoreError::Read { reason: text_of(done, "reason") }),
        ("failed", _) => Err(StoreError::Write { reason: text_of(done, "reason") }),
        (kind, _) => Err(StoreError::Write { reason: format!("the store answered `{kind}`") }),
    }
}

fn loaded(kept: &JsValue) -> Result<StoredDocument, StoreError> {
    // Not passed over: a hole in a log is a loss.
    let odd = || StoreError::Read { reason: "an entry of the log is not bytes".to_owned() };
    let entries = Array::from(&get(kept, "entries"));
    Ok(StoredDocument {
        header: bytes_of(&get(kept, "header")).ok_or_else(odd)?,
        snapshot: bytes_of(&get(kept, "snapshot")),
        entries: entries.iter().map(|entry| bytes_of(&entry).ok_or_else(odd)).collect::<Result<_, _>>()?,
        last: count_of(kept, "last"),
    })
}

fn summary(kept: &JsValue) -> Option<StoredSummary> {
    Some(StoredSummary {
        document: DocumentId::new(&text_of(kept, "document")).ok()?,
        snapshot_bytes: count_of(kept, "snapshotBytes"),
        entries: count_of(kept, "entries"),
        log_bytes: count_of(kept, "logBytes"),
    })
}
