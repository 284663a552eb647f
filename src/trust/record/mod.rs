//! Signed records: what a writer signs of each, who may have written it, and what a replica makes of it. Layer 1.
//!
//! Where a room's [`Dial`](super::dial::Dial) says end to end, every record carries a [`Seal`]. It signs a [`Preimage`]
//! of fixed width, which names everything a record could be moved to: another swarm, room, object, generation or seat.
//! [`Verdict`]s follow from the record, what its writer has shown of credentials, and the versions of the policy: never
//! from a clock, nor from what else a replica happens to have seen.

mod equivocation;
mod preimage;
mod seal;
mod shown;
mod signatures;
mod verdict;

pub use equivocation::{EquivocationProof, ProofError, SignedRecord};
pub use preimage::{Kind, NO_SEAT, PREIMAGE_BYTES, Plane, Preimage, PreimageError, RecordId, room_hash};
pub use seal::{Seal, SealError};
pub use shown::{Holder, ShownCredential, ShownCredentials, ShownError};
pub use signatures::{SignatureCache, SignatureCheck, Signed, SignedRun};
pub use verdict::{Circle, Invalid, Missing, Verdict, judge, stands_ahead};
