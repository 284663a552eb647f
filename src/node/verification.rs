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
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let chunk = checks.len().div_ceil(cores).max(CHUNK_MIN);
    if checks.len() <= chunk {
        return verified_here(checks);
    }
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
