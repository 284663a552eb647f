//! Signatures of what has arrived, verified on all cores. Layer 4.
//!
//! The only threads of the core: they live within one call, and what comes out is in the order of what went in.

use crate::trust::record::SignatureCheck;

/// Signatures one thread verifies at least: starting it costs about half of one.
#[cfg(not(target_family = "wasm"))]
const CHUNK_MIN: usize = 8;

/// Whether each signature is right, in order.
#[cfg(not(target_family = "wasm"))]
pub(super) fn verified(checks: &[SignatureCheck]) -> Vec<bool> {
    // Asking for the number of cores takes longer than a signature.
    if checks.len() <= CHUNK_MIN {
        return verified_here(checks);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let chunk = checks.len().div_ceil(cores).max(CHUNK_MIN);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            checks.chunks(chunk).map(|chunk| (chunk, scope.spawn(move || verified_here(chunk)))).collect();
        // Verifying does not panic; were it to, it would here too.
        threads.into_iter().flat_map(|(chunk, thread)| thread.join().unwrap_or_else(|_| verified_here(chunk))).collect()
    })
}

#[cfg(target_family = "wasm")]
pub(super) fn verified(checks: &[SignatureCheck]) -> Vec<bool> {
    verified_here(checks)
}

fn verified_here(checks: &[SignatureCheck]) -> Vec<bool> {
    checks.iter().map(SignatureCheck::verify).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        tier::Tier,
        time::Hlc,
        trust::{
            key::PrivateKey,
            policy::PolicyHash,
            record::{Kind, NO_SEAT, Preimage, RecordId, Seal, SignatureCache, Signed, SignedRun},
        },
    };

    #[test]
    fn what_came_out_is_in_the_order_of_what_went_in_however_many_there_are() {
        let key = PrivateKey::from_seed(&[1; 32]);
        let signed = |seq: u64| {
            let preimage = Preimage {
                kind: Kind::Register,
                swarm: PolicyHash::from_bytes([1; 32]),
                room: [2; 32],
                definition: [0; 32],
                generation: 0,
                seat: NO_SEAT,
                key: key.public(),
                incarnation: 1,
                // Gaps, so that each takes a signature of its own.
                seq: seq * 2,
                previous: RecordId::NONE,
                hlc: Hlc(seq),
                tier: Tier::BETA,
                policy: PolicyHash::from_bytes([1; 32]),
                body_len: 0,
                body_hash: [3; 32],
            };
            let mut seal = Seal::sign(&preimage, &key);
            seal.signature[0] ^= u8::from(seq.is_multiple_of(3));
            Signed::new(preimage, &seal)
        };
        for count in [0, 1, 8, 9, 40] {
            let run: Vec<Signed> = (1..=count).map(signed).collect();
            let checks = SignedRun(&run).checks(&SignatureCache::default());
            let expected: Vec<bool> = (1..=count).map(|seq| !seq.is_multiple_of(3)).collect();
            assert_eq!(verified(&checks), expected);
        }
    }
}
