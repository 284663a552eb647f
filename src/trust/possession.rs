//! Showing a credential to somebody who asks: with a signature of the key it is bound to, over what both sides have
//! said, so that nobody else can show it, here or elsewhere (as DPoP, RFC 9449, does for HTTP). Layer 1.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    authority::Authority,
    binding::replica_of,
    credential::{Admission, CredentialError},
    delegation,
    key::PrivateKey,
};
use crate::{
    error::Fault,
    id::{AgentId, Identity, ReplicaId},
};

/// Keeps the signature from being one over anything else.
const DOMAIN: &[u8] = b"swm/auth/1\0";

/// Why somebody was not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PossessionError {
    /// The credential does not count.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The signature is not of the key the credential is bound to, or over another conversation.
    #[error("the signature is not of the credential's key over this conversation with `{audience}`")]
    Signature {
        /// Where the verifier was dialled.
        audience: String,
    },
    /// The agent calls itself something else than its credential.
    #[error("the credential is for `{found}`, the agent calls itself `{shown}`")]
    Name {
        /// `sub`.
        found: AgentId,
        /// The name in its Hello.
        shown: AgentId,
    },
    /// A number that is not that of the key.
    #[error("{shown} is not the replica of this key and salt, {wanted} is")]
    Replica {
        /// The number in its Hello.
        shown: ReplicaId,
        /// The number that follows from its key.
        wanted: ReplicaId,
    },
    /// A renewed credential is for another agent or key than the one before.
    #[error("renewed as `{found}` with another name or key than `{before}` came with")]
    Changed {
        /// The agent of the new one.
        found: AgentId,
        /// The agent of the one before.
        before: AgentId,
    },
}

impl PossessionError {
    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Credential(error) => error.fault(),
            _ => Fault::Peer,
        }
    }
}

/// A credential with its key: what an agent shows when asked who it is. Cheap to clone; `Debug` shows neither.
#[derive(Clone)]
pub struct Holder {
    presented: Arc<str>,
    key: PrivateKey,
    salt: u64,
}

impl Holder {
    /// The holder of `presented` (a token, or a chain of them), who writes under the replica of `key` and `salt`.
    pub fn new(presented: &str, key: PrivateKey, salt: u64) -> Self {
        Self { presented: presented.into(), key, salt }
    }

    /// The number it writes under.
    pub fn replica(&self) -> ReplicaId {
        replica_of(&self.key.public(), self.salt)
    }

    /// The same holder with a newer credential.
    #[must_use]
    pub fn renewed(&self, presented: &str) -> Self {
        Self { presented: presented.into(), ..self.clone() }
    }

    /// What it shows.
    pub fn presented(&self) -> &str {
        &self.presented
    }

    /// Its key.
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// What its replica is made of, beside the key.
    pub const fn salt(&self) -> u64 {
        self.salt
    }

    /// Answers whoever asked.
    ///
    /// # Errors
    /// The credential cannot be read, so it names no swarm.
    pub fn prove(&self, asked: &Conversation<'_>) -> Result<Proof, CredentialError> {
        let links = delegation::unverified(&self.presented)?;
        let swarm = links.last().map(|(_, claims)| claims.aud);
        let swarm = swarm.ok_or_else(|| CredentialError::Claims("no token".to_owned()))?;
        let message = asked.message(swarm.as_bytes(), &self.presented, self.salt);
        let signature = self.key.sign(&message).to_vec();
        Ok(Proof { credential: self.presented.as_ref().to_owned(), salt: self.salt, signature })
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What a proof is about. Either side's Hello is hashed as it was sent, so that a proof given to one verifier, in one
/// conversation, is of no use in another: the verifier's Hello holds a number nobody has used before.
#[derive(Debug, Clone, Copy)]
pub struct Conversation<'a> {
    /// SHA-256 of the Hello of whoever asks, which holds its challenge.
    pub asker: &'a [u8; 32],
    /// SHA-256 of the Hello of whoever is asked.
    pub asked: &'a [u8; 32],
    /// Where the connection was dialled: host and port as the dialler wrote them. Whoever is in between and pretends to
    /// be the verifier was dialled elsewhere.
    pub audience: &'a str,
    /// What only the two ends of the connection know (RFC 9266), when it is encrypted.
    pub binding: Option<&'a [u8; 32]>,
}

impl Conversation<'_> {
    /// What is signed: every part has a fixed length, or its length before it.
    fn message(&self, swarm: &[u8; 32], presented: &str, salt: u64) -> Vec<u8> {
        let mut message = DOMAIN.to_vec();
        message.extend(self.asker);
        message.extend(self.asked);
        message.extend(swarm);
        message.extend(Sha256::digest(presented));
        message.extend(salt.to_be_bytes());
        message.push(u8::from(self.binding.is_some()));
        message.extend(self.binding.into_iter().flatten());
        message.extend((self.audience.len() as u64).to_be_bytes());
        message.extend(self.audience.as_bytes());
        message
    }
}

/// A credential as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The token, or the chain of them.
    pub credential: String,
    /// What the replica is made of, beside the key.
    pub salt: u64,
    /// Of the credential's key, over the conversation: 64 bytes.
    pub signature: Vec<u8>,
}

impl Proof {
    /// Lets the agent `shown` in, or says why not.
    ///
    /// # Errors
    /// [`PossessionError`] with the first rule it breaks.
    pub fn check(
        &self,
        conversation: &Conversation<'_>,
        shown: &Identity,
        authority: &Authority,
        now: u64,
    ) -> Result<Admission, PossessionError> {
        let admission = authority.admit(&self.credential, now)?;
        let message = conversation.message(authority.swarm().as_bytes(), &self.credential, self.salt);
        let signature = <&[u8; 64]>::try_from(&self.signature[..]);
        if !signature.is_ok_and(|signature| admission.key.verify(&message, signature)) {
            return Err(PossessionError::Signature { audience: conversation.audience.to_owned() });
        }
        if admission.agent != shown.agent {
            return Err(PossessionError::Name { found: admission.agent, shown: shown.agent.clone() });
        }
        let wanted = replica_of(&admission.key, self.salt);
        if wanted != shown.replica {
            return Err(PossessionError::Replica { shown: shown.replica, wanted });
        }
        Ok(admission)
    }
}
