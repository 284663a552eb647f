//! Goal: the bytes of a signed record never change by accident. Method: `tests/vectors/record.hex` holds one; it is made
//! again, and read and believed.

use aepoch::document::Incoming;

use crate::{
    peer::kinds,
    signers::{NOW, give, refusals, replica, write},
};

fn vector() -> Vec<u8> {
    let text = include_str!("../vectors/record.hex");
    let digits: Vec<u32> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::chars)
        .filter_map(|character| character.to_digit(16))
        .collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

#[test]
fn a_signed_record_is_written_and_believed_as_its_vector_says() {
    let kind = kinds()[0];
    let (mut one, shown) = replica(kind, 1);
    let delta = write(&mut one, |tx| tx.register("song").set(&"intro"));
    let encoded = delta.encode().unwrap();
    let hex: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(encoded, vector(), "record.hex should hold\n{hex}");
    let (mut reader, _) = replica(kind, 2);
    give(&mut reader, &shown);
    let read = Incoming::decode(vector().into(), 0, None).unwrap();
    let applied = reader.apply(vec![read], NOW, false).unwrap();
    assert_eq!((refusals(&applied), reader.get_path("register/song").unwrap()), (vec![], "intro".into()));
}
