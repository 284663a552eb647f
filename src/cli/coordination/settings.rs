//! Who takes part in an object and how absence is decided, as options. Layer 7.

use std::time::Duration;

use aepoch::coordination::kernel::{OnShortfall, Tier};
use clap::Args;

use super::{
    Failure,
    values::{self, Tolerate},
};

/// Agents of one object, unless raised.
const AGENTS_MAX: usize = 10;

/// Who takes part. Without members, whatever goes by the name already is meant.
#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// Members of a tier, in the order of their seats; repeat it for each tier. Tiers are released one after the other:
    /// alpha, beta, gamma, tier-3 and so on. Each member must be known to the swarm: it has run a command with `--as`,
    /// and either is running one or has a `--store`.
    #[arg(long, value_name = "TIER:AGENT,...", value_parser = values::members)]
    pub(super) members: Vec<(Tier, Vec<String>)>,

    /// Agents that decide in place of the members.
    #[arg(long, value_name = "AGENT,...", value_delimiter = ',', requires = "members")]
    pub(super) electors: Vec<String>,

    /// The relay decides in place of the members, which may then come and go. While it is away nothing is decided.
    #[arg(long, requires = "members")]
    pub(super) relay_elects: bool,

    /// How many of those who decide may be unreachable, or `minority`. With 0 nobody is ever left out. A process that
    /// has ended is unreachable. [default: 0; of a decision: minority]
    #[arg(long, value_name = "N|minority", value_parser = values::tolerate, requires = "members")]
    pub(super) tolerate: Option<Tolerate>,

    /// How long a tier is waited for, from its first arrival on, before it may be decided that somebody is left out.
    /// [default: alpha=15s, others 30s; of an epoch its window]
    #[arg(long, value_name = "TIER=SPAN", value_parser = values::timeout, requires = "members")]
    pub(super) timeout: Vec<(Tier, Duration)>,

    /// Fewest members of a tier that must take part. [default: 1 of each]
    #[arg(long, value_name = "TIER=N", value_parser = values::at_least, requires = "members")]
    pub(super) at_least: Vec<(Tier, u32)>,

    /// What happens when fewer do: wait for more, proceed without the tier, or break the whole for good. For all
    /// tiers, or for one (`alpha=break`). [default: proceed]
    #[arg(long, value_name = "wait|proceed|break", value_parser = values::on_shortfall, requires = "members")]
    pub(super) on_shortfall: Vec<(Option<Tier>, OnShortfall)>,

    /// Most agents it may have.
    #[arg(long, value_name = "N", default_value_t = AGENTS_MAX)]
    pub(super) max_agents: usize,
}

impl SettingsArgs {
    /// The members' names, of all tiers.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().flat_map(|(_, names)| names).map(String::as_str)
    }

    /// Refuses what can be seen to be wrong without anybody else.
    pub(super) fn check(&self, name: &str) -> Result<(), Failure> {
        let (count, max) = (self.names().count(), self.max_agents);
        if count > max {
            let told = format!("{count} members of `{name}` are over the limit of {max}: raise it with --max-agents");
            return Err(Failure::usage(told));
        }
        self.names().chain(self.electors.iter().map(String::as_str)).try_for_each(super::part::check_agent)
    }

    /// Refuses to begin nothing.
    pub(super) fn need_members(&self, name: &str) -> Result<(), Failure> {
        if self.members.is_empty() {
            return Err(Failure::usage(format!("`{name}` has no members: give --members alpha:a,b")));
        }
        self.check(name)
    }
}

/// The builder of an object with the settings. A macro, because the builders have these methods, but no trait.
macro_rules! configured {
    ($builder:expr, $settings:expr) => {{
        let (mut builder, settings): (_, &$crate::cli::coordination::settings::SettingsArgs) = ($builder, $settings);
        for (tier, names) in &settings.members {
            builder = builder.members(*tier, names.iter().map(String::as_str));
        }
        builder = builder.electors(settings.electors.iter().map(String::as_str)).at_most(settings.max_agents);
        if settings.relay_elects {
            builder = builder.relay_elects();
        }
        builder = match settings.tolerate {
            Some($crate::cli::coordination::values::Tolerate::Number(failures)) => builder.tolerate(failures),
            Some($crate::cli::coordination::values::Tolerate::Minority) => builder.tolerate_minority(),
            None => builder,
        };
        for (tier, timeout) in &settings.timeout {
            builder = builder.timeout(*tier, *timeout);
        }
        for (tier, members) in &settings.at_least {
            builder = builder.at_least(*tier, *members);
        }
        for (tier, what) in &settings.on_shortfall {
            builder = match tier {
                Some(tier) => builder.on_shortfall_of(*tier, *what),
                None => builder.on_shortfall(*what),
            };
        }
        builder
    }};
}
pub(super) use configured;
