//! `aepoch key`: private keys in files of their own. Layer 7.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use aepoch::trust::key::{PrivateKey, PublicKey};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    super::{
        Failure,
        output::{FAINT, Output, STRONG},
    },
    files,
};

/// Ed25519 keys: of those who write the policy, of issuers, of agents.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Make a key and write it into a new file that only you can read.
    #[command(
        after_help = "The private half stays in the file (mode 0600) and is never printed; the file is never overwritten.
What is printed is public: give it to whoever writes the policy, or issues your credential.

Examples:
  aepoch key new planner.key
  aepoch key new root-1.key --json | jq -r .public"
    )]
    New(KeyArgs),
    /// Print the public half of a key, and its name.
    #[command(after_help = "A file that others can read is refused: its key is not private any more.

Examples:
  aepoch key show planner.key
  aepoch token mint --holder \"$(aepoch key show planner.key --json | jq -r .public)\" ...")]
    Show(KeyArgs),
}

/// The file of a key.
#[derive(Debug, Args)]
pub(in crate::cli) struct KeyArgs {
    /// The file.
    file: PathBuf,
}

pub(in crate::cli) fn run(command: &KeyCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        KeyCommand::New(args) => {
            let key = PrivateKey::from_seed(&files::entropy()?);
            files::write_new(&args.file, &(key.to_jwk() + "\n"), 0o600)?;
            tell(&args.file, &key.public(), output)
        }
        KeyCommand::Show(args) => tell(&args.file, &files::read_key(&args.file)?.public(), output),
    }
}

fn tell(file: &Path, key: &PublicKey, output: &Output) -> Result<ExitCode, Failure> {
    let name = key.thumbprint();
    let text = format!(
        "public {STRONG}{key}{STRONG:#}\nname   {name}\n{FAINT}the private half is in {}{FAINT:#}",
        file.display()
    );
    output.answer(text, &json!({ "public": key, "name": name, "file": file }))?;
    Ok(ExitCode::SUCCESS)
}
