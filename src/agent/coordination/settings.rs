//! Settings that builders have in common, as methods over their `setup`.

/// Who decides, and who begins: of every object.
macro_rules! deciding_settings {
    ($builder:ident $(<$of:ident>)?) => {
        impl $(<$of>)? $builder $(<$of>)? {
            /// Agents that decide in place of the members: those that come and go then do not count against
            /// `tolerate`.
            pub fn electors<'a>(mut self, agents: impl IntoIterator<Item = &'a str>) -> Self {
                self.setup.electors(agents);
                self
            }

            /// The relay decides (those this agent is connected to when it begins): members may come and go, and while
            /// the relay is away nothing is decided.
            pub fn relay_elects(mut self) -> Self {
                self.setup.relay_elects();
                self
            }

            /// How many of those who decide may be unreachable; at most a minority. 0 without electors: nobody is ever
            /// left out of a barrier, and what an agent that is gone has claimed stays with it.
            pub fn tolerate(mut self, failures: u32) -> Self {
                self.setup.tolerate(failures);
                self
            }

            /// As many as possible: any minority may be unreachable.
            pub fn tolerate_minority(mut self) -> Self {
                self.setup.tolerate_minority();
                self
            }

            /// Most agents it may have; 10 unless raised.
            pub fn at_most(mut self, agents: usize) -> Self {
                self.setup.at_most(agents);
                self
            }

            /// Begin it here, whoever is listed first. Two agents that begin different things under one name learn of
            /// it by an error.
            pub fn begin(mut self) -> Self {
                self.setup.begins();
                self
            }
        }
    };
}

/// Tiers, and how long and for how many they wait: of everything members arrive at.
macro_rules! tiered_settings {
    ($builder:ident) => {
        crate::agent::coordination::settings::deciding_settings!($builder);

        impl $builder {
            /// Members of a tier, in the order of their seats. They must be known to the swarm before it begins.
            pub fn members<'a>(
                mut self,
                tier: crate::coordination::kernel::Tier,
                agents: impl IntoIterator<Item = &'a str>,
            ) -> Self {
                self.setup.members(tier, agents);
                self
            }

            /// All who are in the swarm when it begins, as alphas. Peers are asked first who there is and what has
            /// begun, so an agent that was given a relay waits until it is connected. Agents that come in that very
            /// moment, or on the other side of a partition, may begin another object of that name: where that
            /// matters, name the members.
            pub fn everybody(mut self) -> Self {
                self.setup.everybody();
                self
            }

            /// How long a tier is waited for before it may be decided that somebody is left out: 15 s for alphas, 30 s
            /// for others, unless set.
            pub fn timeout(mut self, tier: crate::coordination::kernel::Tier, timeout: std::time::Duration) -> Self {
                self.setup.timeout(tier, timeout);
                self
            }

            /// Fewest members of a tier that must take part; 1 unless set.
            pub fn at_least(mut self, tier: crate::coordination::kernel::Tier, members: u32) -> Self {
                self.setup.at_least(tier, members);
                self
            }

            /// What happens when fewer do.
            pub fn on_shortfall(mut self, what: crate::coordination::kernel::OnShortfall) -> Self {
                self.setup.on_shortfall(what);
                self
            }

            /// The same for one tier.
            pub fn on_shortfall_of(
                mut self,
                tier: crate::coordination::kernel::Tier,
                what: crate::coordination::kernel::OnShortfall,
            ) -> Self {
                self.setup.on_shortfall_of(tier, what);
                self
            }
        }
    };
}

pub(super) use {deciding_settings, tiered_settings};
