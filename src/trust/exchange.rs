//! What somebody signs who exchanges another issuer's token for a credential. Layer 1.

use sha2::{Digest as _, Sha256};

use super::{key::PublicKey, policy::PolicyHash};

/// Keeps this signature from being one over anything else.
const DOMAIN: &[u8] = b"swm/xch/1\0";

/// What the holder of `key` signs to show that it has the key and wants `subject_token` exchanged for a credential in
/// `swarm` that is bound to it, at `time` (seconds since 1970).
///
/// Fixed width: the domain, swarm:32, key:32, time:8 (big-endian), SHA-256 of the token:32.
pub fn proof(swarm: &PolicyHash, key: &PublicKey, time: u64, subject_token: &str) -> Vec<u8> {
    let token: [u8; 32] = Sha256::digest(subject_token).into();
    [DOMAIN, swarm.as_bytes(), key.as_bytes(), &time.to_be_bytes(), &token].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{encoding, key::PrivateKey};

    fn swarm(byte: u8) -> PolicyHash {
        encoding::encode(&[byte; 32]).parse().unwrap()
    }

    #[test]
    fn every_part_of_what_is_proved_is_signed() {
        let (one, other) = (PrivateKey::from_seed(&[1; 32]).public(), PrivateKey::from_seed(&[2; 32]).public());
        let whole = proof(&swarm(1), &one, 7, "token");
        assert_eq!(whole.len(), DOMAIN.len() + 32 + 32 + 8 + 32);
        for changed in [
            proof(&swarm(2), &one, 7, "token"),
            proof(&swarm(1), &other, 7, "token"),
            proof(&swarm(1), &one, 8, "token"),
            proof(&swarm(1), &one, 7, "tokem"),
        ] {
            assert_ne!(whole, changed);
        }
    }
}
