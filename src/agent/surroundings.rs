//! What lies around the node of an agent: whom it dials, and who hears of it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, broadcast};

use crate::{
    coordination::participant::Happening,
    driver::{Host, Outside, Traffic, run_link, timeout, trace_happening},
    node::{Event, Input, TargetId},
    sync::Channel,
    transport::{Dialer, Transport as _, TransportError, WebSocketTransport},
};

/// How long a dial may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// What the node of an agent asks of its driver.
pub(super) struct Surroundings {
    pub(super) relays: Vec<String>,
    pub(super) dialer: Dialer,
    pub(super) events: broadcast::Sender<Arc<Event>>,
    pub(super) progress: Arc<Notify>,
    pub(super) last_ack: Arc<Mutex<Option<u64>>>,
    pub(super) traffic: Arc<Traffic>,
}

impl Outside for Surroundings {
    fn dial(&self, host: &Arc<Host>, target: TargetId) {
        let Some(address) = self.relays.get(target.0 as usize).cloned() else { return };
        let (host, traffic) = (host.clone(), self.traffic.clone());
        let dialer = self.dialer.clone();
        host.runtime().clone().spawn(async move {
            let dialled = timeout(DIAL_TIMEOUT, dialer.websocket(&address)).await;
            let late = |_| {
                let reason = format!("no answer within {DIAL_TIMEOUT:?}");
                Err(TransportError::Connect { address: address.clone(), reason })
            };
            match dialled.unwrap_or_else(late) {
                Ok(transport) => {
                    let channel = channel_of(&transport);
                    let hosts = std::slice::from_ref(&host);
                    let ended = run_link(hosts, transport, Some(target), channel, traffic, None).await;
                    tracing::info!(%address, reason = %ended.reason, "connection ended");
                }
                Err(error) => {
                    tracing::debug!(%error, "dial failed");
                    host.handle(Input::DialFailed { target, reason: error.to_string(), is_final: false });
                }
            }
        });
    }

    fn event(&self, event: Event) {
        match &event {
            Event::Acked { .. } => {
                *self.last_ack.lock().unwrap_or_else(PoisonError::into_inner) = Some(crate::driver::wall_ms());
            }
            Event::Coordination { document, object, happening } => trace_happening(document, *object, happening),
            Event::Quarantined { document, reason } => tracing::warn!(%document, %reason, "document quarantined"),
            Event::StoreFailed { document, reason } => tracing::error!(%document, %reason, "store failed"),
            Event::Refused { document, reason, .. } => tracing::warn!(?document, %reason, "refused by a peer"),
            Event::Offence { link, document, reason } => {
                tracing::warn!(link = link.0, ?document, %reason, "refused a peer")
            }
            _ => {}
        }
        let is_for_waiters = !matches!(&event, Event::Coordination { happening: Happening::Heard, .. });
        // Nobody listening is fine.
        let _ = self.events.send(Arc::new(event));
        if is_for_waiters {
            self.progress.notify_waiters();
        }
    }

    fn returned(&self) {
        self.progress.notify_waiters();
    }
}

/// What both ends of a WebSocket know of it.
pub(super) fn channel_of(transport: &WebSocketTransport) -> Channel {
    Channel { audience: transport.audience().to_owned(), binding: transport.binding() }
}
