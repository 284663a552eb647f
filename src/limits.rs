//! Every bound of the library, with its unit and the reason for its size. Layer 0.
//!
//! A limit is checked where the value enters; the error names the value and the limit.

use std::time::Duration;

/// Bytes in one segment of a name: long enough for a UUID with a prefix, short enough for a log line.
pub const NAME_SEGMENT_BYTES: usize = 64;
/// Segments in a document name.
pub const NAME_SEGMENTS: usize = 8;
/// Bytes in the name of a content container, and segments in it (nesting depth).
pub const CONTAINER_NAME_BYTES: usize = 256;
/// Nesting of named containers.
pub const CONTAINER_SEGMENTS: usize = 16;
/// Bytes in a key of a map or of a record.
pub const KEY_BYTES: usize = 1024;
/// Bytes in one value, encoded. Larger things are files.
pub const VALUE_BYTES: usize = 128 * 1024;
/// Nesting of one value. serde_json refuses beyond 128; yrs would recurse without limit.
pub const VALUE_DEPTH: usize = 64;

/// Bytes in the guid of a subdocument: as long as the longest document name, which it is to clients.
pub const SUBDOC_GUID_BYTES: usize = NAME_SEGMENTS * (NAME_SEGMENT_BYTES + 1);

/// How far a remote stamp may run ahead of our wall clock and still advance our own clock.
pub const HLC_AHEAD_MS: u64 = 60_000;

/// Bytes of one incremental update (one commit of one writer).
pub const UPDATE_BYTES: usize = 4 * 1024 * 1024;
/// Operations, or clock ticks, in one incremental update.
pub const UPDATE_OPS: u64 = 500_000;
/// Bytes of a document: also the largest delta or snapshot.
pub const DOCUMENT_BYTES: usize = 64 * 1024 * 1024;
/// Clocks at or above this are refused: beyond it yrs wraps.
pub const CLOCK_MAX: u64 = 1 << 31;
/// Replicas that write in one document, and actors of an automerge document: what an actor costs grows with their number,
/// since automerge keeps a clock of all of them for every 16 changes.
pub const DOCUMENT_WRITERS: usize = 4_096;
/// Numbers under which a yrs document is written before it takes no new client's: a page draws one each time it opens the
/// document to write, and none is given up. 50 people who open it three times a working day are there in a year and a
/// half. A state vector of so many takes 600 kB.
pub const DOCUMENT_CLIENTS: usize = 65_536;
/// Dependencies of one automerge change.
pub const CHANGE_DEPS: usize = 16_384;
/// Records in one document: keys times writers.
pub const DOCUMENT_RECORDS: usize = 1_000_000;
/// Entries in the context of one record: concurrent writers of one key.
pub const RECORD_CONTEXT: usize = 4_096;
/// Bytes of deltas a document may hold until what they build on has come; beyond it they are dropped and asked for
/// again. Writers who took turns while a relay was away each bring a half that waits for the other, so two halves of a
/// long spell of work have to fit.
pub const HELD_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of the records of one key and writer that may wait for their content; beyond it the oldest are dropped.
pub const PENDING_BYTES: usize = 256 * 1024;

/// Bytes of one frame on the wire. A critical frame waits for at most one of these.
pub const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes of one packet: a few frames. With what LZ4 can inflate it bounds what one packet can cost.
pub const PACKET_BYTES: usize = 4 * CHUNK_BYTES;
/// Bytes of one message, reassembled and inflated, on every lane but the lowest.
pub const MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of one message on the lowest lane: a whole document.
pub const BULK_BYTES: usize = DOCUMENT_BYTES + 1024 * 1024;
/// Bytes that may wait for one connection to read them: a document and whatever is more urgent. What a node sends
/// without being asked it stops sending long before; answers to somebody who only asks come to an end here.
pub const QUEUE_BYTES: usize = BULK_BYTES + MESSAGE_BYTES;
/// Bytes accepted before the handshake is done.
pub const HELLO_BYTES: usize = 8 * 1024;
/// How long a connection may take over its handshake.
pub const HELLO_WAIT: Duration = Duration::from_secs(5);
/// TLS handshakes under way at once at a relay; further connections wait to be accepted.
pub const HANDSHAKES: usize = 1_024;
/// Bytes of a file of certificates or of a private key: a few hundred authorities fit.
pub const CERTIFICATE_FILE_BYTES: u64 = 1024 * 1024;
/// How long somebody who asked over HTTP may take nothing of the answer.
pub const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Inflated size over compressed size; LZ4 itself cannot exceed 255.
pub const INFLATE_RATIO: usize = 255;
/// Bytes of one application message, and of one presence entry.
pub const APP_MESSAGE_BYTES: usize = 256 * 1024;
/// Bytes of one presence entry.
pub const PRESENCE_BYTES: usize = 4 * 1024;
/// Presence entries of one document.
pub const PRESENCE_ENTRIES: usize = 10_000;
/// The longest time-to-live a presence entry may ask for.
pub const PRESENCE_TTL_MAX: Duration = Duration::from_secs(300);
/// Documents one connection may join.
pub const LINK_DOCUMENTS: usize = 1_024;
/// Bytes of a path on the wire (a prefix, a line of a digest): a section, a container name and a key.
pub const PATH_BYTES: usize = 2 * KEY_BYTES;
/// Bytes of the sentence in a WebSocket close frame: a control frame holds 125, two of them the code (RFC 6455, 5.5).
pub const CLOSE_REASON_BYTES: usize = 123;
/// Bytes of the sentence in a refusal or a goodbye.
pub const REASON_BYTES: usize = 4 * 1024;
/// Lines of one digest on the wire: at most about 1.4 MB, with the longest paths. A level that has more is told in groups.
pub const DIGEST_LINES: usize = 1_024;
/// Prefixes in one subscription.
pub const SUBSCRIPTION_PREFIXES: usize = 64;
/// Connections a relay takes from one address (of IPv6, one network of 64 bits): a tenth of all it takes, so that no one
/// machine has them all. An office, or everybody behind a proxy, is one address; policies lower this for those who are not.
pub const ADDRESS_LINKS: usize = 10_000;
/// Connections one agent may have at a relay that knows who connects: its processes, and those not yet found dead.
pub const AGENT_LINKS: usize = 10;
/// Ended links that are remembered for explanations.
pub const LINKS_REMEMBERED: usize = 1_024;
/// Refused inputs after which a connection is closed.
pub const LINK_STRIKES: u32 = 3;
/// Deltas that may wait for one document while it is loaded or worked on.
pub const ROOM_INBOX_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of one frame of a client of another library: such clients send a whole update in one.
pub const GUEST_FRAME_BYTES: usize = MESSAGE_BYTES;
/// Hashes in one message of automerge's sync protocol: heads, and changes that are asked for.
pub const SYNC_HASHES: u64 = 65_536;
/// Bytes of one client's changes that build on what has not come yet; with more it has to send all of it anew.
pub const GUEST_HELD_BYTES: usize = 1024 * 1024;
/// Messages of one client that may wait for the one before to be taken in; with more it has to begin anew.
pub const GUEST_UNHEARD: usize = 64;
/// Documents of one connection that may wait to be authenticated.
pub const GUEST_EARLY_DOCUMENTS: usize = 100;
/// Frames of one connection that may wait for the authentication of their documents.
pub const GUEST_EARLY_FRAMES: usize = 1_000;
/// Bytes of those frames: a provider says little before it is let in.
pub const GUEST_EARLY_BYTES: usize = 1024 * 1024;
/// How long a client of another library may take to authenticate a document: it may have to fetch a token first.
pub const GUEST_AUTH_WAIT: Duration = Duration::from_secs(60);
/// Awareness states one connection of another library may show in a document: one is usual.
pub const GUEST_PRESENCES: usize = 8;
/// Passes of a guest that did not count, on one connection: then it is closed.
pub const GUEST_DENIED: usize = 64;
/// Updates of a connection that may only read after which it is closed: whoever types on has been told often enough.
pub const GUEST_FORBIDDEN: u32 = 16;
/// Acknowledgements one client may be owed in a document; further updates are acknowledged with the last of these.
pub const GUEST_UNCONFIRMED: usize = 4_096;

/// Coordination records in one document.
pub const DOCUMENT_SLOTS: usize = 1_000_000;
/// Bytes of one coordination record: the definition of an object with the most seats, whose names are the longest.
pub const SLOT_BYTES: usize = 512 * 1024;
/// Runs of finished objects one replica may tell: one for each object that is open among finished ones.
pub const CLOSED_RUNS: usize = 16_384;

/// Seats (members and electors) of one coordination object: a slot's bit set is then at most 512 bytes.
pub const COORDINATION_SEATS: usize = 4_096;
/// Tiers there are, alpha among them. Every tier of a coordination object is an instance of its own in each slot.
pub const TIERS: usize = 16;
/// Newcomers one arrival may sponsor: what a swarm that doubles needs when each member brings a few.
pub const COORDINATION_SPONSORED: usize = 64;
/// Phases of an epoch, and options of a poll: what people still tell apart.
pub const EPOCH_PHASES: usize = 64;
/// Options of a poll.
pub const POLL_OPTIONS: usize = 1_024;
/// Bytes a member may hand over on arriving, and of an item of a queue.
pub const PAYLOAD_BYTES: usize = 64 * 1024;
/// The highest ballot. Reached only by proposers that preempt each other for ever.
pub const BALLOT_MAX: u32 = 1 << 30;
/// The highest generation of a coordination object: nobody comes here by counting, and one more is still a number.
pub const GENERATION_MAX: u64 = 1 << 62;
/// Highest fencing token of a claim, and most renewals of one lease: nobody comes here by counting, and one more is
/// still a number.
pub const CLAIM_COUNT_MAX: u64 = 1 << 62;
/// The longest timeout of a tier: a day. Longer waits are what no tolerance is for.
pub const TIER_TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
/// Bytes of the reason a holder gives with a failure: a sentence or two, kept with the item by every replica.
pub const FAILURE_BYTES: usize = 1024;

/// Bytes of one credential: it travels in the first message of a connection, beside a signature, within
/// [`HELLO_BYTES`].
pub const TOKEN_BYTES: usize = 4 * 1024;
/// Bytes of a credential, or a chain of them, as it is shown with its signature: with the header of its frame within
/// [`HELLO_BYTES`].
pub const PROOF_BYTES: usize = HELLO_BYTES - 8;
/// Credentials one connection may show within a minute: each costs a few signatures to verify.
pub const PROOFS_PER_MINUTE: u32 = 16;
/// How often a credential may be passed on: an agent to its helper, the helper to one of its own. Deeper chains are
/// long to verify and nobody's responsibility.
pub const DELEGATION_DEPTH: usize = 2;
/// Bytes of another issuer's token that is to be exchanged: those with long lists of groups included.
pub const SUBJECT_TOKEN_BYTES: usize = 16 * 1024;
/// Seconds between a proof of possession and its arrival: the clocks of two machines, and the way.
pub const PROOF_SECONDS: u64 = 60;
/// Bytes of another issuer's key set, and keys in it: two or three are usual.
pub const KEY_SET_BYTES: u64 = 256 * 1024;
/// Keys in another issuer's key set.
pub const KEY_SET_KEYS: usize = 128;
/// How long fetching a key set may take.
pub const KEY_SET_WAIT: Duration = Duration::from_secs(5);
/// How old a fetched key set may be: an issuer that withdraws a key is heard within this.
pub const KEY_SET_AGE: Duration = Duration::from_secs(3_600);
/// Bytes of a policy file: what 100,000 names in a few versions take.
pub const POLICY_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Seconds by which the clocks of an issuer and of whoever admits may differ.
pub const CLOCK_LEEWAY_SECONDS: u64 = 30;
/// The latest time in a credential or policy, in seconds since 1970: the end of the year 9999.
pub const TIME_MAX_SECONDS: u64 = 253_402_300_799;
/// Bytes of a key's name or a credential's id: a URL of an issuer fits, a log line stays readable.
pub const KEY_NAME_BYTES: usize = 128;
/// Keys that may sign policies. People hold them.
pub const POLICY_ROOTS: usize = 32;
/// Keys that may issue credentials, retired ones not counted.
pub const POLICY_ISSUERS: usize = 64;
/// Room patterns of one issuer.
pub const ISSUER_PATTERNS: usize = 64;
/// Names in the allowlist, and in the list of the revoked, of one policy.
pub const POLICY_NAMES: usize = 100_000;
/// Versions of one policy that are looked at: whoever holds the root keys writes a few a day for years.
pub const POLICY_VERSIONS: usize = 10_000;
/// How long an alpha's credential may live unless the policy says otherwise, in seconds.
pub const ALPHA_LIFE_SECONDS: u64 = 15 * 60;
/// How long any other credential may live unless the policy says otherwise, in seconds.
pub const WORKER_LIFE_SECONDS: u64 = 60 * 60;

/// How fast one connection may bring things. What is faster is not refused: it is read later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Deltas, presence and application messages in a second.
    pub updates_per_second: u64,
    /// Bytes in a second.
    pub bytes_per_second: u64,
}

impl Rates {
    /// Rates of a relay that does not ask for credentials: more than one connection can bring.
    pub const OPEN: Self = Self { updates_per_second: 1_000_000, bytes_per_second: 1 << 30 };
    /// Rates of a relay that does, unless its policy or its settings say otherwise. An agent that is faster merges its
    /// writes before it sends them, so it loses time and not data.
    pub const ADMITTED: Self = Self { updates_per_second: 100, bytes_per_second: 1024 * 1024 };
    /// Updates that may come at once, in time at the rate.
    pub const UPDATES_BURST: Duration = Duration::from_secs(2);
    /// Bytes that may come at once, in time at the rate: a message of [`MESSAGE_BYTES`] at 1 MiB/s.
    pub const BYTES_BURST: Duration = Duration::from_secs(8);
    /// The longest pause: a peer that is not read must not look dead, nor we to it.
    pub const PAUSE_MAX: Duration = Duration::from_secs(10);
}
/// Keys cut off by one policy: a cut is for a key that was stolen.
pub const POLICY_CUTS: usize = 1_024;
/// Records that survive a cut: an agent's registers, counters and items in all rooms.
pub const CUT_SURVIVORS: usize = 10_000;
/// Rules of the trust dial in one policy.
pub const POLICY_DIALS: usize = 1_024;

/// Bytes of a record's seal: two hashes, a signature, a tier, a stamp.
pub const SEAL_BYTES: usize = 140;
/// Credentials a writer shows at a time: the one in use, those being renewed, and those that what it wrote before still
/// stands on.
pub const CREDENTIALS_SHOWN: usize = 4;
/// Bytes of one credential with every link it may have been passed on by.
pub const CREDENTIAL_BYTES: usize = (DELEGATION_DEPTH + 1) * (TOKEN_BYTES + 1);
/// Verified signatures a document remembers: those of a catch-up that comes by several ways.
pub const SIGNATURES_KNOWN: usize = 8_192;
/// Records of one writer stamped ahead of our clock that may wait for it.
pub const HELD_AHEAD: usize = 256;
/// Bytes of one record of the audit log: the longest names, and a reason.
pub const AUDIT_RECORD_BYTES: usize = 4 * 1024;
/// Bytes of the reason in an audit record: a sentence or two, of which a peer may have chosen parts.
pub const AUDIT_REASON_BYTES: usize = 1024;
/// Bytes of a segment of the audit log after which the next one begins: what can be read in a moment when a relay starts.
pub const AUDIT_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Audit records for which there is one signed checkpoint at least. So many at the end of a log may be without.
pub const AUDIT_CHECKPOINT_ENTRIES: u64 = 1_000;
/// How long an audit record waits at most for a signed checkpoint.
pub const AUDIT_CHECKPOINT_WAIT: Duration = Duration::from_secs(60);
/// Audit events that may wait for the disk: a few seconds of a busy relay, at most about 30 MB.
pub const AUDIT_QUEUE_EVENTS: usize = 16_384;
/// Audit events of one connection, besides its beginning and its end: more are counted and told at its end, so that a
/// peer cannot fill the disk by being refused.
pub const AUDIT_LINK_EVENTS: u32 = 64;
