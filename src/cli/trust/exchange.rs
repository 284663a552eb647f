//! `aepoch token exchange`: a credential for a token of another issuer. Layer 7.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use aepoch::trust::{delegation, exchange, policy::PolicyHash};
use clap::Args;
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use super::{
    super::{
        Failure,
        http::{self, Access},
        output::Output,
        tls::TlsArgs,
    },
    files,
};

/// The relay's address for this.
const PATH: &str = "/v1/token";
/// What is asked for (RFC 8693), as a form spells it.
const GRANT: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
    &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt";
/// How long the relay, and the issuer behind it, may take.
const WAIT: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(in crate::cli) struct ExchangeArgs {
    /// The relay; it has to be started with --exchange.
    #[arg(long, alias = "connect", value_name = "URL", env = "AEPOCH_RELAY", default_value = "ws://127.0.0.1:4433")]
    relay: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// The file of your key: the credential is bound to it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The other issuer's token: a file, or - for standard input.
    #[arg(long, value_name = "FILE")]
    subject_token: PathBuf,
    /// Your incarnation.
    #[arg(long, default_value_t = 1)]
    incarnation: u64,
}

pub(super) fn run(args: &ExchangeArgs, output: &Output) -> Result<ExitCode, Failure> {
    crate::cli::runtime(Some(2))?.block_on(ask(args, output))
}

async fn ask(args: &ExchangeArgs, output: &Output) -> Result<ExitCode, Failure> {
    let key = files::read_key(&args.key)?;
    let public = key.public();
    let subject = files::read_subject_token(&args.subject_token)?;
    let access = Access { tls: args.tls.trust(), ..Access::default() };
    let none = || Failure::failed(format!("{} exchanges no tokens: it was started without --exchange", args.relay));
    let described = http::get(&args.relay, &access, PATH, WAIT).await?.ok_or_else(none)?;
    let swarm: PolicyHash = serde_json::from_value(described["swarm"].clone())?;
    let time = files::now();
    let proof = BASE64URL_NOPAD.encode(&key.sign(&exchange::proof(&swarm, &public, time, &subject)));
    let incarnation = args.incarnation;
    let form = format!(
        "{GRANT}&subject_token={subject}&public_key={public}&proof={proof}&proof_time={time}&incarnation={incarnation}"
    );
    let answer = http::post(&args.relay, &access.tls, PATH, &form, WAIT).await?.ok_or_else(none)?;
    let token = answer["access_token"].as_str().unwrap_or_default();
    let links = delegation::unverified(token).map_err(|error| Failure::failed(error.to_string()))?;
    let claims = links.into_iter().next_back().map(|(_, claims)| claims);
    let claims = claims.filter(|claims| claims.aud == swarm && claims.cnf.jwk.x == public);
    let claims = claims.ok_or_else(|| Failure::failed(format!("{} sent a credential of somebody else", args.relay)))?;
    let told = json!({ "token": token, "claims": claims, "expires_in": answer["expires_in"] });
    output.answer(token, &told)?;
    Ok(ExitCode::SUCCESS)
}
