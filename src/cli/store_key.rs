//! Where the key of a store is to come from, as options. Layer 7.

use std::path::PathBuf;

use aepoch::store::KeySource;
use clap::Args;

/// The key of a sealed store: 64 hexadecimal digits (`openssl rand -hex 32`).
#[derive(Debug, Args)]
#[group(id = "store-key", multiple = false)]
pub(super) struct StoreKeyArgs {
    /// The store is sealed: its key, 64 hexadecimal digits, is in this file, which only its owner may read.
    #[arg(long, value_name = "FILE")]
    store_key_file: Option<PathBuf>,

    /// The store is sealed: its key is in this variable of the environment.
    #[arg(long, value_name = "NAME")]
    store_key_env: Option<String>,

    /// The store is sealed: this command, run by the shell, prints its key.
    #[arg(long, value_name = "COMMAND")]
    store_key_command: Option<String>,
}

impl StoreKeyArgs {
    /// `None` for a store that is not sealed.
    pub(super) fn source(&self) -> Option<KeySource> {
        source(self.store_key_file.as_ref(), self.store_key_env.as_ref(), self.store_key_command.as_ref())
    }
}

/// The key that is to open the store from now on.
#[derive(Debug, Args)]
#[group(id = "new-key", required = true, multiple = false)]
pub(super) struct NewKeyArgs {
    /// The new key is in this file, which only its owner may read.
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,

    /// The new key is in this variable of the environment.
    #[arg(long, value_name = "NAME")]
    new_key_env: Option<String>,

    /// This command, run by the shell, prints the new key.
    #[arg(long, value_name = "COMMAND")]
    new_key_command: Option<String>,
}

impl NewKeyArgs {
    /// One of them is given, or the command line was refused.
    pub(super) fn source(&self) -> Option<KeySource> {
        source(self.new_key_file.as_ref(), self.new_key_env.as_ref(), self.new_key_command.as_ref())
    }
}

fn source(file: Option<&PathBuf>, env: Option<&String>, command: Option<&String>) -> Option<KeySource> {
    let file = file.cloned().map(KeySource::File);
    file.or_else(|| env.cloned().map(KeySource::Environment)).or_else(|| command.cloned().map(KeySource::Command))
}
