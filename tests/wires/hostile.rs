//! Frames that nobody honest sends: refused with a reason, and nothing is allocated for what they declare.

use aepoch::{
    limits,
    time::Monotonic,
    wires::{GuestRights, Hocuspocus, WireError, Yjs},
};
use bytes::Bytes;
use proptest::prelude::*;

use crate::stage::{Stage, document, open};

fn yjs() -> Stage {
    let mut stage = Stage::new(Yjs::new(document()));
    stage.hear("00000100").unwrap();
    stage
}

fn hocuspocus() -> Stage {
    let mut stage = Stage::new(Hocuspocus::new(open(GuestRights::Write), Monotonic(0)));
    stage.hear("0a62616e642f737461676502000005342e382e30").unwrap();
    stage
}

#[test]
fn malformed_frames_are_refused() {
    let frames = [
        "",
        "00",
        "0009",
        "0003",
        "00000501",
        "00000401070100",
        "0000020107",
        "00020901",
        "0101",
        "01ffffffff0f",
        "0105ffffffff0f00",
        "010401070100",
        // A state that is no JSON, and one nested a hundred deep.
        "0106010701037b7d7d",
        &format!("0168010701{:02x}{}", 100, "5b".repeat(100)),
        // A length of 2^31, and an integer without end.
        "00028080808008",
        "8080808080808080808080",
    ];
    for frame in frames {
        let error = yjs().hear(frame).unwrap_err();
        assert_eq!(error.close_code().0, 4400, "{frame}: {error}");
    }
}

#[test]
fn a_frame_over_its_limit_is_refused_unread() {
    let frame = Bytes::from(vec![0; limits::GUEST_FRAME_BYTES + 1]);
    let error = yjs().session.receive(&frame, Monotonic(0), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, WireError::TooLarge { .. }), "{error}");
    assert_eq!(error.close_code().0, 4413);
}

proptest! {
    #[test]
    fn no_bytes_harm_a_session(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
        for mut stage in [yjs(), hocuspocus()] {
            for frame in &frames {
                let mut asks = Vec::new();
                if stage.session.receive(&Bytes::from(frame.clone()), stage.now, &mut asks).is_err() {
                    break;
                }
                prop_assert!(asks.len() <= 2);
            }
        }
    }

    #[test]
    fn no_message_to_a_document_harms_a_session(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..12) {
        let name = b"\x0aband/stage";
        let frame: Vec<u8> = name.iter().copied().chain([kind]).chain(bytes.iter().copied()).collect();
        let _ = hocuspocus().session.receive(&frame.into(), Monotonic(0), &mut Vec::new());
        let frame: Vec<u8> = [kind].into_iter().chain(bytes).collect();
        let _ = yjs().session.receive(&frame.into(), Monotonic(0), &mut Vec::new());
    }
}
