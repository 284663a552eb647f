//! Who this process is, to a relay that asks: options. Layer 7.

use std::path::{Path, PathBuf};

use aepoch::{
    agent::{Agent, AgentBuilder},
    trust::{credential::Admission, key::PrivateKey, possession::Holder},
};
use clap::Args;

use super::{
    Failure,
    trust::{files, policy_file::PolicyFile},
};

/// A credential and its key.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct CredentialArgs {
    /// The credential to show to a relay that asks: a file, as `aepoch token mint` prints it.
    #[arg(long, value_name = "FILE", env = "AEPOCH_CREDENTIAL", requires = "key")]
    credential: Option<PathBuf>,

    /// The file of the key the credential is bound to, as `aepoch key new` writes it.
    #[arg(long, value_name = "FILE", env = "AEPOCH_KEY")]
    key: Option<PathBuf>,

    /// The swarm's policy: needed where records are signed end to end.
    #[arg(long, value_name = "FILE", env = "AEPOCH_POLICY")]
    policy: Option<PathBuf>,
}

impl CredentialArgs {
    fn read(&self) -> Result<Option<(String, PrivateKey)>, Failure> {
        let (Some(credential), Some(key)) = (&self.credential, &self.key) else { return Ok(None) };
        Ok(Some((files::read_token(credential)?, files::read_key(key)?)))
    }

    fn judging(&self, builder: AgentBuilder) -> Result<AgentBuilder, Failure> {
        let Some(path) = &self.policy else { return Ok(builder) };
        Ok(builder.policy(PolicyFile::open(path, None)?.authority))
    }

    /// An agent that shows the credential. It goes by the name in it; by `fallback` without one.
    pub(super) fn agent(&self, fallback: &str) -> Result<AgentBuilder, Failure> {
        let Some((credential, key)) = self.read()? else { return self.judging(Agent::builder(fallback)) };
        let name = claimed(&credential, self.credential.as_deref())?.agent;
        self.judging(Agent::builder(name.as_str()).credential(&credential, key))
    }

    /// The same, under this name.
    pub(super) fn agent_called(&self, name: &str) -> Result<AgentBuilder, Failure> {
        let builder = Agent::builder(name);
        self.judging(match self.read()? {
            Some((credential, key)) => builder.credential(&credential, key),
            None => builder,
        })
    }

    /// What to sign requests with.
    pub(super) fn holder(&self) -> Result<Option<Holder>, Failure> {
        Ok(self.read()?.map(|(credential, key)| Holder::new(&credential, key, 0)))
    }
}

fn claimed(credential: &str, path: Option<&Path>) -> Result<Admission, Failure> {
    let shown = path.unwrap_or(Path::new("-")).display();
    Admission::claimed(credential).map_err(|error| Failure::failed(format!("{shown}: {error}")))
}
