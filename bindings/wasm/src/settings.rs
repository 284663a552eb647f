//! Settings of what members decide, as they come from JavaScript.

use std::time::Duration;

use aepoch::coordination::kernel::{Gate, OnShortfall, Tier};
use serde::Deserialize;

/// `RawSettings` of `js/raw.ts`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) members: Vec<(u8, String)>,
    pub(crate) everybody: bool,
    pub(crate) electors: Vec<String>,
    pub(crate) relay_elects: bool,
    pub(crate) tolerate: Option<Tolerate>,
    pub(crate) at_most: Option<usize>,
    pub(crate) begin: bool,
    pub(crate) timeouts: Vec<(u8, u64)>,
    pub(crate) at_least: Vec<(u8, u32)>,
    pub(crate) on_shortfall: Option<Shortfall>,
    pub(crate) cyclic: bool,
    pub(crate) fence: Option<bool>,
    pub(crate) gate: Option<GateName>,
    pub(crate) phases: Vec<String>,
    pub(crate) window: Option<u64>,
    pub(crate) options: Vec<String>,
    pub(crate) weights: Vec<(String, u32)>,
    pub(crate) threshold: Option<u64>,
    pub(crate) closable: bool,
    pub(crate) lease: Option<u64>,
    pub(crate) attempts: Option<u32>,
    pub(crate) bucket: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Tolerate {
    Number(u32),
    Minority(Minority),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Minority {
    Minority,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shortfall {
    Wait,
    Proceed,
    Break,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GateName {
    Decided,
    Acked,
}

impl From<Shortfall> for OnShortfall {
    fn from(shortfall: Shortfall) -> Self {
        match shortfall {
            Shortfall::Wait => Self::Wait,
            Shortfall::Proceed => Self::Proceed,
            Shortfall::Break => Self::Break,
        }
    }
}

impl From<GateName> for Gate {
    fn from(gate: GateName) -> Self {
        match gate {
            GateName::Decided => Self::Decided,
            GateName::Acked => Self::Acked,
        }
    }
}

pub(crate) fn span(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The tiers that have members, with them.
impl Settings {
    pub(crate) fn by_tier(&self) -> impl Iterator<Item = (Tier, &str)> {
        self.members.iter().map(|(tier, agent)| (Tier(*tier), agent.as_str()))
    }
}

/// Who decides, and who begins.
macro_rules! deciding {
    ($builder:ident, $settings:ident) => {
        $builder = $builder.electors($settings.electors.iter().map(String::as_str));
        if $settings.relay_elects {
            $builder = $builder.relay_elects();
        }
        match &$settings.tolerate {
            None => {}
            Some(crate::settings::Tolerate::Number(failures)) => $builder = $builder.tolerate(*failures),
            Some(crate::settings::Tolerate::Minority(_)) => $builder = $builder.tolerate_minority(),
        }
        if let Some(agents) = $settings.at_most {
            $builder = $builder.at_most(agents);
        }
        if $settings.begin {
            $builder = $builder.begin();
        }
    };
}

/// Tiers, and how long and for how many they wait.
macro_rules! tiered {
    ($builder:ident, $settings:ident) => {
        crate::settings::deciding!($builder, $settings);
        for (tier, agent) in $settings.by_tier() {
            $builder = $builder.members(tier, [agent]);
        }
        if $settings.everybody {
            $builder = $builder.everybody();
        }
        for (tier, ms) in &$settings.timeouts {
            $builder = $builder.timeout(aepoch::coordination::kernel::Tier(*tier), crate::settings::span(*ms));
        }
        for (tier, members) in &$settings.at_least {
            $builder = $builder.at_least(aepoch::coordination::kernel::Tier(*tier), *members);
        }
        if let Some(what) = $settings.on_shortfall {
            $builder = $builder.on_shortfall(what.into());
        }
    };
}

pub(crate) use {deciding, tiered};
