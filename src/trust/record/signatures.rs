//! Whose word a run of records is: few signatures prove many. Layer 1.
//!
//! Each record names the one before. So of records that follow each other without a gap the last one's signature proves
//! all: the rest is hashing. A gap, which merging by state leaves wherever something was overwritten, takes a signature
//! of its own.

use std::collections::{BTreeMap, VecDeque};

use super::{PREIMAGE_BYTES, Preimage, RecordId, Seal};
use crate::{limits, trust::key::PublicKey};

/// Wrong signatures in one run after which the rest is not looked at: a run of them must not cost its length.
const WRONG_MAX: usize = 2;

/// One signature to be verified: 138 to 189 µs, wherever there is a core.
#[derive(Debug, Clone)]
pub struct SignatureCheck {
    id: RecordId,
    key: PublicKey,
    message: [u8; PREIMAGE_BYTES],
    signature: [u8; 64],
}

impl SignatureCheck {
    /// True when it is the key's.
    pub fn verify(&self) -> bool {
        self.key.verify(&self.message, &self.signature)
    }
}

/// A record as the form to be verified, encoded and hashed once.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Its preimage.
    pub preimage: Preimage,
    /// Its name.
    pub id: RecordId,
    message: [u8; PREIMAGE_BYTES],
    signature: [u8; 64],
}

impl Signed {
    /// Of a preimage and the seal over it.
    pub fn new(preimage: Preimage, seal: &Seal) -> Self {
        use sha2::Digest as _;
        let message = preimage.encode();
        let id = RecordId::from_bytes(sha2::Sha256::digest(message).into());
        Self { preimage, id, message, signature: seal.signature }
    }

    fn check(&self) -> SignatureCheck {
        SignatureCheck { id: self.id, key: self.preimage.key, message: self.message, signature: self.signature }
    }
}

/// Signatures that were verified, and what came out. Bounded: the oldest are forgotten.
#[derive(Debug, Default)]
pub struct SignatureCache {
    known: BTreeMap<(RecordId, [u8; 64]), bool>,
    order: VecDeque<(RecordId, [u8; 64])>,
}

impl SignatureCache {
    /// Keeps what came out.
    pub fn note(&mut self, check: &SignatureCheck, is_right: bool) {
        let at = (check.id, check.signature);
        if self.known.insert(at, is_right).is_none() {
            self.order.push_back(at);
        }
        if self.order.len() > limits::SIGNATURES_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Verifies, unless that was done before.
    pub fn verify(&mut self, check: &SignatureCheck) -> bool {
        if let Some(known) = self.known.get(&(check.id, check.signature)) {
            return *known;
        }
        let is_right = check.verify();
        self.note(check, is_right);
        is_right
    }

    fn knows(&self, check: &SignatureCheck) -> bool {
        self.known.contains_key(&(check.id, check.signature))
    }
}

/// Records of one writer and one numbering, by growing number.
#[derive(Debug)]
pub struct SignedRun<'a>(pub &'a [Signed]);

impl SignedRun<'_> {
    /// The signatures that have to be verified if all are right, and are not known to the cache.
    pub fn checks(&self, cache: &SignatureCache) -> Vec<SignatureCheck> {
        let needed = (0..self.0.len()).filter(|at| !self.is_linked(*at)).map(|at| self.0[at].check());
        needed.filter(|check| !cache.knows(check)).collect()
    }

    /// How many of the records, from the first, are proven to be the writer's. One that is not ends them: what comes
    /// behind it may be the writer's too, but whoever skipped over a forged record would never ask for the true one.
    pub fn proven(&self, cache: &mut SignatureCache) -> usize {
        let (mut upto, mut wrong, mut next) = (self.0.len(), 0, false);
        for at in (0..self.0.len()).rev() {
            next = self.is_linked(at) && next || cache.verify(&self.0[at].check());
            if !next {
                upto = at;
                wrong += 1;
            }
            if wrong > WRONG_MAX {
                return 0;
            }
        }
        upto
    }

    /// True when the record after it names it.
    fn is_linked(&self, at: usize) -> bool {
        let (own, next) = (&self.0[at], self.0.get(at + 1));
        next.is_some_and(|next| {
            own.preimage.seq.checked_add(1) == Some(next.preimage.seq) && next.preimage.previous == own.id
        })
    }
}
