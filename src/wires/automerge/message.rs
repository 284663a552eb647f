//! automerge-repo's messages: CBOR maps, one to a frame. Layer 3, pure.

use bytes::Bytes;
use minicbor::{Decoder, Encoder, data::Type, decode::Error};

use crate::wires::error::WireError;

/// Longest text of a message that is kept: names of peers, sessions and versions.
const TEXT_BYTES: usize = 256;

/// What a client may say. What is not there, `undefined` or null is empty.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) kind: &'a str,
    pub(super) sender: &'a str,
    pub(super) document: &'a str,
    pub(super) session: &'a str,
    pub(super) count: u64,
    pub(super) data: &'a [u8],
    /// Protocol versions; `None`: it does not say.
    pub(super) versions: Option<Vec<&'a str>>,
}

impl<'a> Message<'a> {
    /// Reads a frame. Linear in its size; keys that are unknown are passed over.
    pub(super) fn read(frame: &'a [u8]) -> Result<Self, WireError> {
        let malformed = |error: Error| WireError::Malformed { reason: format!("not a message in CBOR: {error}") };
        let message = Self::decode(&mut Decoder::new(frame)).map_err(malformed)?;
        for (what, text) in [
            ("the kind of a message", message.kind),
            ("the name of a peer", message.sender),
            ("the name of a document", message.document),
            ("the name of a session", message.session),
        ] {
            if text.len() > TEXT_BYTES {
                return Err(WireError::TooLarge { what, size: text.len(), max: TEXT_BYTES });
            }
        }
        Ok(message)
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, Error> {
        let mut message = Self::default();
        let mut left = decoder.map()?;
        loop {
            match left.as_mut() {
                Some(0) => return Ok(message),
                Some(left) => *left -= 1,
                None if decoder.datatype()? == Type::Break => return Ok(message),
                None => {}
            }
            let key = decoder.str()?;
            if matches!(decoder.datatype()?, Type::Undefined | Type::Null) {
                decoder.skip()?;
                continue;
            }
            match key {
                "type" => message.kind = decoder.str()?,
                "senderId" => message.sender = decoder.str()?,
                "documentId" => message.document = decoder.str()?,
                "sessionId" => message.session = decoder.str()?,
                "count" => message.count = number(decoder)?,
                "data" => message.data = bytes(decoder)?,
                "supportedProtocolVersions" => message.versions = Some(texts(decoder)?),
                _ => decoder.skip()?,
            }
        }
    }
}

/// A number; whole ones may come as floating point.
fn number(decoder: &mut Decoder<'_>) -> Result<u64, Error> {
    match decoder.datatype()? {
        Type::F16 | Type::F32 | Type::F64 => match decoder.f64()? {
            float if float >= 0.0 && float <= 2_f64.powi(53) && float.fract() == 0.0 => Ok(float as u64),
            _ => Err(Error::message("a count that is no whole number")),
        },
        _ => decoder.u64(),
    }
}

/// Bytes; some encoders tag them as an array of numbers of one byte.
fn bytes<'a>(decoder: &mut Decoder<'a>) -> Result<&'a [u8], Error> {
    if decoder.datatype()? == Type::Tag {
        decoder.tag()?;
    }
    decoder.bytes()
}

fn texts<'a>(decoder: &mut Decoder<'a>) -> Result<Vec<&'a str>, Error> {
    let count = decoder.array()?.unwrap_or(u64::MAX);
    if count > 16 {
        return Err(Error::message("more than 16 protocol versions"));
    }
    (0..count).map(|_| decoder.str()).collect()
}

/// A value of a message to a client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    Text(&'a str),
    Number(u64),
    Data(&'a [u8]),
    /// Of the relay, which keeps documents: what its storage is called.
    Storage(&'a str),
}

/// Writes a frame with these fields, in this order.
pub(super) fn write(fields: &[(&str, Field<'_>)]) -> Bytes {
    let data: usize = fields.iter().map(|(_, field)| if let Field::Data(data) = field { data.len() } else { 48 }).sum();
    let mut encoder = Encoder::new(Vec::with_capacity(data + 64));
    // A vector takes all that is written: nothing here can fail.
    let written = (|| {
        encoder.map(fields.len() as u64)?;
        for (name, field) in fields {
            encoder.str(name)?;
            match field {
                Field::Text(text) => encoder.str(text)?,
                Field::Number(number) => encoder.u64(*number)?,
                Field::Data(data) => encoder.bytes(data)?,
                Field::Storage(id) => encoder.map(2)?.str("storageId")?.str(id)?.str("isEphemeral")?.bool(false)?,
            };
        }
        Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
    })();
    debug_assert!(written.is_ok());
    encoder.into_writer().into()
}
