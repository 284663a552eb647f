//! A hostile peer against a yrs document: inspected, admitted, applied under guard.

use aepoch::engine::EngineKind;

use crate::{content, pieces, prescan_yrs};

/// Applies the pieces of `data` as updates of one peer.
pub fn fuzz_one(data: &[u8]) -> String {
    content::attack(EngineKind::Yrs, &pieces::split(data))
}

/// A peer's honest updates, together and one by one, and the known attacks.
pub fn seeds() -> Vec<Vec<u8>> {
    let honest = content::updates(EngineKind::Yrs);
    let mut seeds = vec![pieces::join(&honest)];
    seeds.extend(honest.iter().chain(&prescan_yrs::hostile()).map(|update| pieces::join(&[update])));
    seeds
}
