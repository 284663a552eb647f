//! One input as several: pieces with their length in front, so that a mutation can reorder, repeat and cut them.

/// The pieces of `data`. A length beyond the end takes what is left.
pub(crate) fn split(mut data: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let [low, high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        data = after;
    }
    pieces
}

/// An input made of `pieces`. A piece beyond 65,535 bytes is cut.
pub(crate) fn join<P: AsRef<[u8]>>(pieces: &[P]) -> Vec<u8> {
    let mut data = Vec::new();
    for piece in pieces {
        let length = u16::try_from(piece.as_ref().len()).unwrap_or(u16::MAX);
        data.extend(length.to_le_bytes());
        data.extend(&piece.as_ref()[..usize::from(length)]);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_survive_the_round_trip() {
        let pieces: [&[u8]; 3] = [b"one", b"", b"three"];
        assert_eq!(split(&join(&pieces)), pieces);
        assert_eq!(split(&[9, 0, 1, 2]), [[1, 2]]);
        assert_eq!(split(&[9]), Vec::<&[u8]>::new());
    }
}
