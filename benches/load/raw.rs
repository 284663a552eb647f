//! The yardstick: a relay that sends every binary message to all others on the same path, and knows nothing else.
//! The same library, socket options and buffers as ours.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use aepoch::transport::websocket_config;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{
    Bytes, Message,
    handshake::server::{Request, Response},
};

type Rooms = Arc<Mutex<BTreeMap<String, BTreeMap<u64, mpsc::UnboundedSender<Bytes>>>>>;

pub(crate) async fn serve() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("ws://{}", listener.local_addr().unwrap());
    let rooms = Rooms::default();
    let next = AtomicU64::new(0);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(connection(stream, rooms.clone(), next.fetch_add(1, Ordering::Relaxed)));
    }
}

async fn connection(stream: tokio::net::TcpStream, rooms: Rooms, id: u64) {
    let mut path = String::new();
    #[allow(clippy::result_large_err, reason = "the library fixes the type of the refusal")]
    let note = |request: &Request, response: Response| {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    let accepted = tokio_tungstenite::accept_hdr_async_with_config(stream, note, Some(websocket_config())).await;
    let Ok(socket) = accepted else { return };
    let (mut sink, mut stream) = socket.split();
    let (queue, mut queued) = mpsc::unbounded_channel::<Bytes>();
    rooms.lock().unwrap().entry(path.clone()).or_default().insert(id, queue);
    let writer = tokio::spawn(async move {
        while let Some(bytes) = queued.recv().await {
            if sink.feed(Message::Binary(bytes)).await.is_err() {
                return;
            }
            while let Ok(bytes) = queued.try_recv() {
                if sink.feed(Message::Binary(bytes)).await.is_err() {
                    return;
                }
            }
            if sink.flush().await.is_err() {
                return;
            }
        }
    });
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Binary(bytes) = message {
            for (other, queue) in &rooms.lock().unwrap()[&path] {
                if *other != id {
                    let _ = queue.send(bytes.clone());
                }
            }
        }
    }
    if let Some(room) = rooms.lock().unwrap().get_mut(&path) {
        room.remove(&id);
    }
    writer.abort();
}
