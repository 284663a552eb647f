//! The key a store is sealed with. Layer 1; pure.

use std::fmt;

use zeroize::Zeroizing;

use super::cipher::{KEY_BYTES, Secret};
use crate::store::StoreError;

/// The key that opens a sealed store: 32 bytes from a source of randomness. Wiped from memory when dropped, and never
/// shown.
#[derive(Clone)]
pub struct StoreKey(Secret);

impl StoreKey {
    /// A key of 32 random bytes. There is no stretching: a password would be guessed.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a key as text: 64 hexadecimal digits, with white space around them or none
    /// (`openssl rand -hex 32` writes one).
    ///
    /// # Errors
    /// `Key` when it is anything else. The text is not repeated.
    pub fn from_text(text: &str) -> Result<Self, StoreError> {
        let digits = text.trim().as_bytes();
        let bad = || StoreError::Key {
            reason: format!("the key has {} characters instead of 64 hexadecimal digits", digits.len()),
        };
        if digits.len() != 2 * KEY_BYTES {
            return Err(bad());
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                return Err(StoreError::Key { reason: "the key is not made of hexadecimal digits".to_owned() });
            };
            *byte = u8::try_from(high << 4 | low).map_err(|_| bad())?;
        }
        Ok(Self(key))
    }

    pub(super) const fn secret(&self) -> &Secret {
        &self.0
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        let key = StoreKey::from_text(&format!("  {}\n", "0aF1".repeat(16))).unwrap();
        assert_eq!(key.secret()[..4], [0x0a, 0xf1, 0x0a, 0xf1]);
        for bad in ["", "secret", &"0".repeat(63), &"0".repeat(65), &"0g".repeat(32), &"é".repeat(32)] {
            let error = StoreKey::from_text(bad).unwrap_err().to_string();
            assert!(error.contains("hexadecimal"), "{error}");
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", StoreKey::from_bytes([7; 32])), "StoreKey(..)");
    }
}
