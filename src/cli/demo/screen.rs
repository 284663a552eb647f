//! What a person watching the demo sees: a bar per agent, the relay, and what happens. Layer 7.

use std::{collections::BTreeMap, io::IsTerminal as _};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::{
    Failure,
    output::{BAD, FAINT, GOOD, ODD, Output},
};

/// The live table.
#[derive(Debug)]
pub(super) struct Screen {
    all: MultiProgress,
    relay: ProgressBar,
    agents: BTreeMap<String, ProgressBar>,
    /// Without a terminal, only what happens is told, line by line.
    live: bool,
    silent: bool,
}

impl Screen {
    /// A table for agents with their numbers of files.
    pub(super) fn new(output: &Output, shares: &[(String, usize)]) -> Result<Self, Failure> {
        let silent = output.is_json();
        let live = !silent && std::io::stderr().is_terminal();
        let all = if live {
            MultiProgress::new()
        } else {
            MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden())
        };
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .map(|style| style.progress_chars("━╸ "))
                .map_err(|error| Failure::failed(error.to_string()))
        };
        let (of_relay, of_agent) = (style("{prefix:12} {msg}")?, style("{prefix:12} {bar:30} {pos:>3}/{len:3} {msg}")?);
        let relay = all.add(ProgressBar::new(0).with_style(of_relay).with_prefix("relay"));
        let agents = shares.iter().map(|(name, files)| {
            let bar = ProgressBar::new(*files as u64).with_style(of_agent.clone()).with_prefix(name.clone());
            (name.clone(), all.add(bar))
        });
        let agents = agents.collect();
        Ok(Self { all, relay, agents, live, silent })
    }

    /// Something happened: a line above the table.
    pub(super) fn tell(&self, text: impl std::fmt::Display) {
        if self.live {
            // A line that cannot be shown is not worth ending the demo for.
            let _ = self.all.println(text.to_string());
        } else if !self.silent {
            anstream::eprintln!("{text}");
        }
    }

    /// A mishap, told in its colour.
    pub(super) fn mishap(&self, text: impl std::fmt::Display) {
        self.tell(format_args!("{ODD}▲{ODD:#} {text}"));
    }

    pub(super) fn relay(&self, url: Option<&str>) {
        self.relay.set_message(match url {
            Some(url) => format!("{GOOD}up{GOOD:#} {FAINT}{url}{FAINT:#}"),
            None => format!("{BAD}killed{BAD:#}"),
        });
        self.relay.tick();
    }

    /// How an agent stands.
    pub(super) fn agent(&self, name: &str, done: usize, open: usize, phase: &str, state: &str) {
        let Some(bar) = self.agents.get(name) else { return };
        let colour = match state {
            "online" => GOOD,
            "killed" | "lost" => BAD,
            _ => ODD,
        };
        let waiting = match open {
            0 => String::new(),
            open => format!(" {FAINT}{open} not yet at the relay{FAINT:#}"),
        };
        bar.set_position(done as u64);
        bar.set_message(format!("{phase:8} {colour}{state}{colour:#}{waiting}"));
        bar.tick();
    }

    /// Leaves the table as it is.
    pub(super) fn finish(&self) {
        self.relay.abandon();
        for bar in self.agents.values() {
            bar.abandon();
        }
    }
}
