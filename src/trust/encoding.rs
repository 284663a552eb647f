//! Base64 without padding, in the URL's alphabet, in its one canonical spelling. Layer 1.

use data_encoding::BASE64URL_NOPAD;

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// `None` for padding, foreign characters, impossible lengths and bits that a canonical spelling leaves zero.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// Exactly `N` bytes.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        assert_eq!(decode("_w"), Some(vec![0xff]));
        for other in ["_w==", "_x", "_w ", "/w", "_", "_w\n"] {
            assert_eq!(decode(other), None, "{other:?}");
        }
    }
}
