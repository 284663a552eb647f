//! Keys against the examples of RFC 8037, appendix A.

use aepoch::trust::key::{PrivateKey, PublicKey};
use data_encoding::BASE64URL_NOPAD;

use crate::forge::{b64, key};

const D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const SIGNED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const SIGNATURE: &str = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    BASE64URL_NOPAD.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

#[test]
fn the_examples_of_rfc_8037_come_out_as_printed() {
    let private = PrivateKey::from_seed(&bytes(D));
    let public = private.public();
    assert_eq!(public.to_string(), X, "A.1, A.2");
    assert_eq!(public.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "A.3");
    assert_eq!(b64(private.sign(SIGNED.as_bytes())), SIGNATURE, "A.4");
    let mut signature = bytes(SIGNATURE);
    assert!(public.verify(SIGNED.as_bytes(), &signature), "A.5");
    signature[0] ^= 1;
    assert!(!public.verify(SIGNED.as_bytes(), &signature));
}

#[test]
fn a_signature_has_one_spelling() {
    // S + L instead of S: the same signature to a verifier that does not look (RFC 8032, section 8.4).
    let order =
        data_encoding::HEXLOWER.decode(b"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut signature: [u8; 64] = bytes(SIGNATURE);
    let mut carry = 0;
    for (at, byte) in order.iter().enumerate() {
        let sum = u16::from(signature[32 + at]) + u16::from(*byte) + carry;
        signature[32 + at] = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert!(!X.parse::<PublicKey>().unwrap().verify(SIGNED.as_bytes(), &signature));
}

#[test]
fn a_point_has_one_spelling() {
    // y = p + 3 and y = 3 are one point; only the second may be written.
    let mut reduced = [0; 32];
    reduced[0] = 3;
    let mut other = [0xff; 32];
    (other[0], other[31]) = (0xf0, 0x7f);
    assert!(PublicKey::from_bytes(&reduced).is_ok());
    assert!(PublicKey::from_bytes(&other).is_err());
    assert!(X[..42].parse::<PublicKey>().is_err() && format!("{X}=").parse::<PublicKey>().is_err());
}

#[test]
fn a_private_key_is_read_back_and_shown_to_nobody() {
    let written = key(7).to_jwk();
    assert_eq!(PrivateKey::from_jwk(&written).unwrap().public(), key(7).public());
    assert!(PrivateKey::from_jwk(&written.replace(&key(7).public().to_string(), X)).is_none(), "halves of two keys");
    assert!(PrivateKey::from_jwk("{}").is_none());
    assert!(!format!("{:?}", key(7)).contains(&b64([7; 32])));
}
