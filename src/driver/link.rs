//! From a transport to the nodes behind it: one call runs a connection from handshake to end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{Connection, Fairness, Host, Notice, Traffic, WireTraffic, connection::Ended, line::Line};
use crate::{
    id::{DocumentId, Identity, LinkId},
    node::{Input, TargetId},
    sync::{Address, Channel, Door, Message, Session},
    transport::Transport,
    wires::{Ask, Entry, GuestSession},
};

static NEXT_LINK: AtomicU64 = AtomicU64::new(1);

/// Runs one connection on the nodes it concerns; returns why it ended. `target` is the one it was dialled for, `channel`
/// how; `fairness` is what it shares with others.
pub(crate) async fn run_link<T: Transport>(
    hosts: &[Arc<Host>],
    transport: T,
    target: Option<TargetId>,
    channel: Channel,
    traffic: Arc<Traffic>,
    fairness: Option<Arc<Fairness>>,
) -> Ended {
    let link = LinkId(NEXT_LINK.fetch_add(1, Ordering::Relaxed));
    let clock = hosts[0].clock();
    let session = match open_session(&hosts[0], target, channel) {
        Ok(session) => session,
        Err(error) => return Ended::lost(&format!("no randomness: {error}")),
    };
    let connection = Connection::new(transport, Line::peer(session), clock, traffic).sharing(fairness);
    for host in hosts {
        host.add_link(link, connection.outlet());
    }
    let ready = AtomicBool::new(false);
    let mut admitted = None;
    let guard = EndGuard { hosts, link, target, ready: &ready, ended: Ended::lost("cancelled") };
    let ended = connection
        .run(|notice| match notice {
            Notice::Ready(hello) => {
                ready.store(true, Ordering::Relaxed);
                for host in hosts {
                    host.handle(Input::LinkUp { link, hello: hello.clone(), target, admission: admitted.clone() });
                }
            }
            Notice::Admitted(admission) => {
                if ready.load(Ordering::Relaxed) {
                    for host in hosts {
                        host.handle(Input::Renewed { link, admission: admission.clone() });
                    }
                }
                admitted = Some(admission);
            }
            Notice::RenewalAsked => hosts[0].handle(Input::RenewalAsked { link }),
            Notice::Drained(bytes) => {
                // With several nodes behind one connection each hears of all bytes: none waits for another's.
                for host in hosts {
                    host.handle(Input::Drained { link, bytes });
                }
            }
            Notice::Message(message) => {
                let host = host_of(hosts, &message);
                host.handle(Input::Message { link, message });
            }
            Notice::Asked(_) => {}
        })
        .await;
    guard.end(ended)
}

/// Runs a connection of a client of another library on the nodes it concerns; returns why it ended. It is
/// seen under `identity`, and let in by `entry`, unless its wire says that document by document.
#[cfg(feature = "relay")]
pub(crate) async fn run_guest<T: Transport>(
    hosts: &[Arc<Host>],
    transport: T,
    session: GuestSession,
    (identity, entry): (Identity, Option<Entry>),
    (traffic, wire): (Arc<Traffic>, Arc<WireTraffic>),
    fairness: Option<Arc<Fairness>>,
) -> Ended {
    let link = LinkId(NEXT_LINK.fetch_add(1, Ordering::Relaxed));
    let line = Line::guest(session, wire.clone());
    let connection = Connection::new(transport, line, hosts[0].clock(), traffic).sharing(fairness);
    let _open = Open::new(wire);
    for host in hosts {
        host.add_link(link, connection.outlet());
        host.handle(Input::GuestUp { link, identity: identity.clone(), entry: entry.clone() });
    }
    let ready = AtomicBool::new(true);
    let guard = EndGuard { hosts, link, target: None, ready: &ready, ended: Ended::lost("cancelled") };
    let ended = connection
        .run(|notice| match notice {
            // Under which name others see it, all of them have to know; and what all have noted, all forget.
            Notice::Asked(ask @ (Ask::Enter { .. } | Ask::Leave { .. })) => {
                for host in hosts {
                    host.handle(Input::Asked { link, ask: ask.clone() });
                }
            }
            Notice::Asked(ask) => {
                let shard = shard_for(ask.document(), hosts.len());
                hosts[shard].handle(Input::Asked { link, ask });
            }
            Notice::Drained(bytes) => {
                for host in hosts {
                    host.handle(Input::Drained { link, bytes });
                }
            }
            _ => {}
        })
        .await;
    guard.end(ended)
}

/// One open connection of a wire.
#[cfg(feature = "relay")]
struct Open(Arc<WireTraffic>);

#[cfg(feature = "relay")]
impl Open {
    fn new(wire: Arc<WireTraffic>) -> Self {
        wire.connections.fetch_add(1, Ordering::Relaxed);
        Self(wire)
    }
}

#[cfg(feature = "relay")]
impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session that asks and shows as its node wants it to. Who was dialled is known by its address; who dials is asked.
fn open_session(host: &Arc<Host>, target: Option<TargetId>, channel: Channel) -> Result<Session, getrandom::Error> {
    let (hello, authority, holder) =
        host.with(|node, _| (node.hello(target.is_some()), node.authority().cloned(), node.holder().cloned()));
    let clock = host.clock();
    let mut session = Session::new(hello, clock.mono()).over(channel);
    if let (Some(authority), None) = (authority, target) {
        let mut challenge = [0; 32];
        getrandom::fill(&mut challenge)?;
        session = session.asking(Door::new(authority, challenge, clock.now()));
    }
    Ok(match holder {
        Some(holder) => session.holding(holder),
        None => session,
    })
}

/// Tells the nodes that the connection has ended, also when its task is dropped.
struct EndGuard<'a> {
    hosts: &'a [Arc<Host>],
    link: LinkId,
    target: Option<TargetId>,
    ready: &'a AtomicBool,
    ended: Ended,
}

impl EndGuard<'_> {
    fn end(mut self, ended: Ended) -> Ended {
        self.ended.clone_from(&ended);
        ended
    }
}

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        for host in self.hosts {
            host.drop_link(self.link, &self.ended);
            if let (Some(target), false) = (self.target, self.ready.load(Ordering::Relaxed)) {
                let (reason, is_final) = (self.ended.reason.clone(), self.ended.is_final());
                host.handle(Input::DialFailed { target, reason, is_final });
            }
        }
    }
}

fn host_of<'a>(hosts: &'a [Arc<Host>], message: &Message) -> &'a Arc<Host> {
    let document = match message {
        Message::Join { document, .. }
        | Message::Leave { document }
        | Message::Frontier { document, .. }
        | Message::Delta { document, .. }
        | Message::Ack { document, .. }
        | Message::Presence { document, .. }
        | Message::DigestRequest { document, .. }
        | Message::Digest { document, .. }
        | Message::VersionRequest { document, .. }
        | Message::Version { document, .. }
        | Message::App { to: Address::Document(document), .. }
        | Message::Error { document: Some(document), .. } => Some(document),
        Message::App { .. } | Message::Error { .. } | Message::Goodbye { .. } => None,
    };
    &hosts[document.map_or(0, |document| shard_for(document, hosts.len()))]
}

/// The node that holds a document: FNV-1a of its name.
fn shard_for(document: &DocumentId, shards: usize) -> usize {
    let hash = document
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    usize::try_from(hash % shards.max(1) as u64).unwrap_or(0)
}
