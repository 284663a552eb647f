//! A hostile peer against an automerge document: inspected, admitted, applied under guard, checksums always right.

use aepoch::engine::EngineKind;

use crate::{content, pieces, prescan_automerge};

/// Applies the pieces of `data`, their checksums mended, as updates of one peer.
pub fn fuzz_one(data: &[u8]) -> String {
    let mended: Vec<Vec<u8>> = pieces::split(data).into_iter().map(prescan_automerge::mend).collect();
    let updates: Vec<&[u8]> = mended.iter().map(Vec::as_slice).collect();
    content::attack(EngineKind::Automerge, &updates)
}

/// A peer's honest updates, together and one by one.
pub fn seeds() -> Vec<Vec<u8>> {
    let honest = content::updates(EngineKind::Automerge);
    let mut seeds = vec![pieces::join(&honest)];
    seeds.extend(honest.iter().map(|update| pieces::join(&[update])));
    seeds
}
