//! Messages of automerge's own sync protocol: what the library is given to read, and the changes, which it is not. Layer 1.
//!
//! A message lists heads, hashes the sender needs, Bloom filters of what it has, changes, and flags. The filters'
//! parameters are the sender's: automerge would take as many probes as it is told to, and divide by a size of zero.

use std::io::Read as _;

use flate2::read::DeflateDecoder;

use super::{
    CHANGE, DOCUMENT, MAGIC, read_head,
    reader::{Reader, refused},
};
use crate::{
    engine::{EngineError, PeerMessage, automerge::unsigned},
    limits,
};

const VERSIONS: [u8; 2] = [0x42, 0x43];
/// A change whose body is compressed; otherwise as it is in the document.
const COMPRESSED: u8 = 2;
/// Filters in one message: automerge sends one.
const FILTERS: u64 = 4;
/// automerge takes 10 bits and 7 probes.
const FILTER_BITS: u64 = 64;
const FILTER_PROBES: u64 = 64;

/// Takes a message apart. Linear in its size and in that of its changes, which are decompressed within the limit of a frame.
///
/// # Errors
/// `Refused` with the value and the limit.
pub fn read_message(message: &[u8]) -> Result<PeerMessage, EngineError> {
    let mut reader = Reader::new(message);
    let version = reader.byte()?;
    if !VERSIONS.contains(&version) {
        return refused(format!("a sync message of type {version:#04x}"));
    }
    let mut hashes = 0;
    skip_hashes(&mut reader, &mut hashes)?;
    skip_hashes(&mut reader, &mut hashes)?;
    let filters = reader.unsigned()?;
    if filters > FILTERS {
        return refused(format!("{filters} filters in a sync message, limit {FILTERS}"));
    }
    for _ in 0..filters {
        skip_hashes(&mut reader, &mut hashes)?;
        let len = reader.unsigned()?;
        check_filter(reader.take(len)?)?;
    }
    let mut rest = message[..reader.position()].to_vec();
    rest.push(0);
    let mut changes = Vec::new();
    for _ in 0..reader.unsigned()? {
        let len = reader.unsigned()?;
        unpack(reader.take(len)?, &mut changes)?;
    }
    rest.extend_from_slice(&message[reader.position()..]);
    Ok(PeerMessage { changes: changes.into(), rest: rest.into() })
}

fn skip_hashes(reader: &mut Reader<'_>, so_far: &mut u64) -> Result<(), EngineError> {
    let count = reader.unsigned()?;
    *so_far = so_far.saturating_add(count);
    if *so_far > limits::SYNC_HASHES {
        return refused(format!("{so_far} hashes in a sync message, limit {}", limits::SYNC_HASHES));
    }
    reader.take(32 * count).map(drop)
}

fn check_filter(filter: &[u8]) -> Result<(), EngineError> {
    if filter.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::new(filter);
    let (entries, bits, probes) = (reader.unsigned()?, reader.unsigned()?, reader.unsigned()?);
    if !(1..=FILTER_BITS).contains(&bits) || !(1..=FILTER_PROBES).contains(&probes) {
        return refused(format!(
            "a filter of {bits} bits an entry and {probes} probes, limit {FILTER_BITS} and {FILTER_PROBES}"
        ));
    }
    let (has, needs) = (reader.remaining() as u64, entries.saturating_mul(bits).div_ceil(8));
    if has != needs || entries == 0 {
        return refused(format!("a filter of {entries} entries in {has} bytes instead of {needs}"));
    }
    Ok(())
}

/// Adds chunks to `out`, decompressed where they were not.
fn unpack(chunks: &[u8], out: &mut Vec<u8>) -> Result<(), EngineError> {
    let mut reader = Reader::new(chunks);
    while !reader.is_empty() {
        let start = reader.position();
        let (checksum, kind) = read_head(&mut reader)?;
        let len = reader.unsigned()?;
        let body = reader.take(len)?;
        match kind {
            CHANGE | DOCUMENT => out.extend_from_slice(&chunks[start..reader.position()]),
            COMPRESSED => {
                let mut plain = Vec::new();
                let max = limits::GUEST_FRAME_BYTES.saturating_sub(out.len());
                let read = DeflateDecoder::new(body).take(max as u64 + 1).read_to_end(&mut plain);
                if let Err(error) = read {
                    return refused(format!("a change that cannot be decompressed: {error}"));
                }
                out.extend_from_slice(&MAGIC);
                out.extend_from_slice(&checksum);
                out.push(CHANGE);
                unsigned(out, plain.len());
                out.append(&mut plain);
            }
            kind => return refused(format!("a chunk of type {kind} in a sync message")),
        }
        if out.len() > limits::GUEST_FRAME_BYTES {
            return refused(format!("changes of more than {} bytes", limits::GUEST_FRAME_BYTES));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use automerge::{
        AutoCommit, ROOT,
        sync::{Message, State, SyncDoc as _},
        transaction::Transactable as _,
    };

    use super::*;

    /// What a peer with this text says to one that has nothing.
    fn message(text: &str) -> Message {
        let (mut ours, mut theirs) = (AutoCommit::new(), AutoCommit::new());
        ours.put(ROOT, "text", text).unwrap();
        let (mut a, mut b) = (State::new(), State::new());
        let hello = theirs.sync().generate_sync_message(&mut b).unwrap();
        // From one that cannot read whole documents.
        let hello = Message { flags: None, ..hello };
        ours.sync().receive_sync_message(&mut a, hello).unwrap();
        let message = ours.sync().generate_sync_message(&mut a).unwrap();
        // JavaScript's writes them like this.
        let changes = ours.get_changes(&[]).into_iter().map(|mut change| change.bytes().to_vec());
        Message { changes: changes.collect::<Vec<_>>().into(), ..message }
    }

    #[test]
    fn a_message_is_taken_apart_and_its_changes_are_decompressed() {
        let message = message(&"again and ".repeat(200));
        let encoded = message.clone().encode();
        let read = read_message(&encoded).unwrap();
        assert!(read.changes.len() > 2_000 && encoded.len() < 600, "{} of {}", read.changes.len(), encoded.len());
        let rest = Message::decode(&read.rest).unwrap();
        assert!(rest.changes.is_empty());
        assert_eq!(
            (rest.heads, rest.need, rest.have, rest.flags),
            (message.heads, message.need, message.have, message.flags)
        );
        let mut copy = AutoCommit::new();
        copy.load_incremental(&read.changes).unwrap();
        assert_eq!(copy.get_heads(), Message::decode(&encoded).unwrap().heads);
        crate::engine::inspect(crate::engine::EngineKind::Automerge, &read.changes).unwrap();
    }

    #[test]
    fn filters_are_held_to_their_bounds() {
        let with = |filter: &[u8]| {
            let mut message = vec![0x42, 0, 0, 1, 0];
            unsigned(&mut message, filter.len());
            message.extend_from_slice(filter);
            message.push(0);
            read_message(&message).map(drop)
        };
        with(&[]).unwrap();
        with(&[1, 10, 7, 0, 0]).unwrap();
        for bad in [
            // No bits, no probes, no entries; four thousand million probes; more entries than bytes, and fewer.
            &[1, 0, 7][..],
            &[1, 10, 0, 0, 0],
            &[0, 10, 7],
            &[1, 10, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0],
            &[0xff, 0xff, 0xff, 0xff, 0x0f, 10, 7, 0, 0],
            &[1, 10, 7, 0, 0, 0],
        ] {
            assert!(with(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_message_or_too_much_of_one_is_refused() {
        let encoded = message("text").encode();
        for end in 0..encoded.len() - 3 {
            assert!(read_message(&encoded[..end]).is_err(), "{end} of {} bytes", encoded.len());
        }
        // A bomb: 64 MiB of zeros.
        let mut packed =
            flate2::read::DeflateEncoder::new(std::io::repeat(0).take(64 << 20), flate2::Compression::best());
        let mut body = Vec::new();
        packed.read_to_end(&mut body).unwrap();
        let mut chunk = [&MAGIC[..], &[0; 4], &[COMPRESSED]].concat();
        unsigned(&mut chunk, body.len());
        chunk.extend_from_slice(&body);
        let mut bomb = vec![0x42, 0, 0, 0, 1];
        unsigned(&mut bomb, chunk.len());
        bomb.extend_from_slice(&chunk);
        let refused = read_message(&bomb).unwrap_err().to_string();
        assert!(refused.contains("8388608 bytes"), "{refused}");
        let mut hashes = vec![0x42];
        unsigned(&mut hashes, 1 << 30);
        assert!(read_message(&hashes).unwrap_err().to_string().contains("1073741824 hashes"));
    }
}
