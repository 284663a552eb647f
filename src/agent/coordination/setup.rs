//! What all objects have in common when they are set up: who takes part, and how absence is decided.

use std::{collections::BTreeMap, time::Duration};

use super::Object;
use crate::{
    agent::{AgentDocument, AgentError},
    coordination::{
        kernel::{Definition, Gate, OnShortfall, Seat, Tier, TierPolicy},
        object::{Plan, Purpose},
    },
    document::Member,
    engine::Section,
    id::{AgentId, ReplicaId},
    node::Node,
};

/// How long alphas are waited for, unless set.
pub(super) const ALPHA_TIMEOUT: Duration = Duration::from_secs(15);
/// How long other tiers are.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Agents of one operation, unless raised.
const AGENTS_MAX: usize = 10;

/// Failures to be survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tolerate {
    Number(u32),
    Majority,
}

#[derive(Debug, Clone)]
struct TierSetup {
    timeout: Option<Duration>,
    min: Option<u32>,
    on_shortfall: Option<OnShortfall>,
}

/// The settings of an object before it exists.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    document: AgentDocument,
    name: String,
    members: Vec<(Tier, String)>,
    everybody: bool,
    electors: Vec<String>,
    relay_elects: bool,
    tolerate: Tolerate,
    tiers: BTreeMap<Tier, TierSetup>,
    default_timeout: Option<Duration>,
    on_shortfall: OnShortfall,
    gate: Gate,
    fence: bool,
    at_most: usize,
    begins: bool,
}

impl Setup {
    pub(super) fn new(document: &AgentDocument, name: &str) -> Self {
        Self {
            document: document.clone(),
            name: name.to_owned(),
            members: Vec::new(),
            everybody: false,
            electors: Vec::new(),
            relay_elects: false,
            tolerate: Tolerate::Number(0),
            tiers: BTreeMap::new(),
            default_timeout: None,
            on_shortfall: OnShortfall::Proceed,
            gate: Gate::Decided,
            fence: true,
            at_most: AGENTS_MAX,
            begins: false,
        }
    }

    pub(super) fn members<'a>(&mut self, tier: Tier, agents: impl IntoIterator<Item = &'a str>) {
        self.members.extend(agents.into_iter().map(|agent| (tier, agent.to_owned())));
    }

    pub(super) fn everybody(&mut self) {
        self.everybody = true;
        self.at_most = usize::MAX;
    }

    pub(super) fn everybody_unless_named(&mut self) {
        if self.members.is_empty() {
            self.everybody();
        }
    }

    pub(super) fn electors<'a>(&mut self, agents: impl IntoIterator<Item = &'a str>) {
        self.electors.extend(agents.into_iter().map(str::to_owned));
    }

    pub(super) fn relay_elects(&mut self) {
        self.relay_elects = true;
    }

    pub(super) fn tolerate(&mut self, failures: u32) {
        self.tolerate = Tolerate::Number(failures);
    }

    pub(super) fn tolerate_minority(&mut self) {
        self.tolerate = Tolerate::Majority;
    }

    fn tier(&mut self, tier: Tier) -> &mut TierSetup {
        self.tiers.entry(tier).or_insert(TierSetup { timeout: None, min: None, on_shortfall: None })
    }

    pub(super) fn timeout(&mut self, tier: Tier, timeout: Duration) {
        self.tier(tier).timeout = Some(timeout);
    }

    pub(super) fn timeout_of_all(&mut self, timeout: Duration) {
        self.default_timeout = Some(timeout);
    }

    pub(super) fn at_least(&mut self, tier: Tier, min: u32) {
        self.tier(tier).min = Some(min);
    }

    pub(super) fn on_shortfall(&mut self, what: OnShortfall) {
        self.on_shortfall = what;
    }

    pub(super) fn on_shortfall_of(&mut self, tier: Tier, what: OnShortfall) {
        self.tier(tier).on_shortfall = Some(what);
    }

    pub(super) fn gate(&mut self, gate: Gate) {
        self.gate = gate;
    }

    pub(super) fn fence(&mut self, fence: bool) {
        self.fence = fence;
    }

    pub(super) fn at_most(&mut self, agents: usize) {
        self.at_most = agents;
    }

    pub(super) fn begins(&mut self) {
        self.begins = true;
    }

    /// The object: as it is, when its definition is here; begun, when this agent begins it; else as soon as its
    /// definition comes.
    ///
    /// With members given, an object of that name that has others, or other rules, is an error.
    pub(super) async fn open(
        self,
        purpose: impl Fn(&[Seat]) -> Purpose,
        shape: impl Fn(&mut Definition),
    ) -> Result<Object, AgentError> {
        self.check()?;
        if self.everybody && !matches!(self.document.find(&self.name), Ok(Some(_))) {
            Box::pin(self.hear_of_others()).await?;
        }
        let agent = self.document.open.agent.clone();
        let swarm = agent.inner.swarm_document.clone();
        let opened = agent.wait_for(|node, now| {
            let document = self.document.id();
            let known = match node.find(document, &self.name) {
                Ok(known) => known,
                Err(error) if error.is_busy() => return None,
                Err(error) => return Some(Err(error.into())),
            };
            let open = self.members.is_empty() && !self.everybody;
            if let (Some(id), true) = (known, open) {
                return Some(Ok(id));
            }
            let members = match node.read(&swarm, crate::document::Document::members) {
                Ok(members) => members,
                Err(error) if error.is_busy() => return None,
                Err(error) => return Some(Err(error.into())),
            };
            if let Some(id) = known {
                return match self.differences(node, &members, id, &purpose, &shape) {
                    Ok(differences) if differences.is_empty() => Some(Ok(id)),
                    Ok(differences) => Some(Err(AgentError::NameTaken { name: self.name.clone(), differences })),
                    Err(error) => Some(Err(error)),
                };
            }
            let seats = self.seats(&members)?;
            let me = &agent.inner.identity;
            let first = seats.iter().min_by_key(|seat| seat.tier).is_some_and(|seat| seat.replica == me.replica);
            if open || !(first || self.begins) {
                return None;
            }
            let electors = self.elector_seats(node, &members)?;
            let plan = |origin| {
                let mut definition = self.definition(origin, seats, electors, &me.agent);
                shape(&mut definition);
                let purpose = purpose(&definition.members);
                Plan { definition, purpose }
            };
            match node.define(document, plan, now) {
                Err(error) if error.is_busy() => None,
                defined => Some(defined.map_err(AgentError::from)),
            }
        });
        let id = opened.await??;
        Ok(Object { document: self.document, id })
    }

    /// Asks peers who there is and what has begun: an agent that has just joined knows of nobody else, and would begin
    /// an object of its own. Of two agents that ask one peer, it had heard of the first when it answered the second, or
    /// the other way round: one of them at least knows of both.
    async fn hear_of_others(&self) -> Result<(), AgentError> {
        let swarm = self.document.open.agent.swarm().await?;
        swarm.hear_of(Some(Section::Member)).await?;
        self.document.hear_of(Some(Section::Coordination)).await
    }

    fn check(&self) -> Result<(), AgentError> {
        for (_, name) in &self.members {
            AgentId::new(name)?;
        }
        self.electors.iter().try_for_each(|name| AgentId::new(name).map(drop))?;
        if self.members.len() > self.at_most {
            let (count, max) = (self.members.len(), self.at_most);
            return Err(AgentError::TooManyAgents { name: self.name.clone(), count, max });
        }
        Ok(())
    }

    /// The members' seats, highest tier first; `None` until all are known to the swarm.
    fn seats(&self, members: &[(ReplicaId, Member)]) -> Option<Vec<Seat>> {
        let mut seats: Vec<Seat> = if self.everybody {
            let seat = |(replica, member): &(ReplicaId, Member)| Seat {
                agent: member.agent.clone(),
                replica: *replica,
                tier: Tier::ALPHA,
            };
            members.iter().map(seat).collect()
        } else {
            self.members.iter().map(|(tier, name)| seat_of(members, name, *tier)).collect::<Option<_>>()?
        };
        seats.sort_by_key(|seat| seat.tier);
        (!seats.is_empty()).then_some(seats)
    }

    /// The electors' seats: agents of the swarm, and relays this agent is connected to.
    fn elector_seats(&self, node: &Node, members: &[(ReplicaId, Member)]) -> Option<Vec<Seat>> {
        let named = self.electors.iter().map(|name| seat_of(members, name, Tier::ALPHA));
        let mut seats: Vec<Seat> = named.collect::<Option<_>>()?;
        if self.relay_elects {
            let relays: Vec<Seat> =
                node.relay_identities().map(|(agent, replica)| Seat { agent, replica, tier: Tier::ALPHA }).collect();
            if relays.is_empty() {
                return None;
            }
            seats.extend(relays);
        }
        Some(seats)
    }

    fn definition(
        &self,
        origin: crate::id::ObjectId,
        members: Vec<Seat>,
        electors: Vec<Seat>,
        creator: &AgentId,
    ) -> Definition {
        let deciders = if electors.is_empty() { members.len() } else { electors.len() };
        let majority = u32::try_from(deciders.saturating_sub(1) / 2).unwrap_or(u32::MAX);
        let mut definition = Definition {
            document: self.document.id().clone(),
            name: self.name.clone(),
            creator: creator.clone(),
            origin,
            members,
            electors,
            tolerate: match self.tolerate {
                Tolerate::Number(failures) => failures,
                Tolerate::Majority => majority,
            },
            tiers: Vec::new(),
            gate: self.gate,
            fence: self.fence,
        };
        self.set_tiers(&mut definition);
        definition
    }

    /// One policy for each tier that has members.
    pub(super) fn set_tiers(&self, definition: &mut Definition) {
        let mut tiers: Vec<Tier> = definition.members.iter().map(|seat| seat.tier).collect();
        tiers.sort_unstable();
        tiers.dedup();
        definition.tiers = tiers.into_iter().map(|tier| self.policy(tier)).collect();
    }

    fn policy(&self, tier: Tier) -> TierPolicy {
        let set = self.tiers.get(&tier);
        let default = if tier == Tier::ALPHA { ALPHA_TIMEOUT } else { TIMEOUT };
        TierPolicy {
            tier,
            timeout: set.and_then(|set| set.timeout).or(self.default_timeout).unwrap_or(default),
            min: set.and_then(|set| set.min).unwrap_or(1),
            on_shortfall: set.and_then(|set| set.on_shortfall).unwrap_or(self.on_shortfall),
        }
    }

    /// In which respects an object of this name is not what was asked for. Agents are compared by name: one that came
    /// back as a new incarnation has no seat in it, but that is for it to find out.
    fn differences(
        &self,
        node: &Node,
        members: &[(ReplicaId, Member)],
        id: crate::id::ObjectId,
        purpose: &impl Fn(&[Seat]) -> Purpose,
        shape: &impl Fn(&mut Definition),
    ) -> Result<Vec<String>, AgentError> {
        if self.everybody {
            return Ok(Vec::new());
        }
        let known = node.meeting(self.document.id(), id, |meeting, _| meeting.plan().clone())?;
        let replica = |name: &AgentId| {
            let mut seats = known.definition.members.iter().chain(&known.definition.electors);
            let theirs = seats.find(|seat| seat.agent == *name).map(|seat| seat.replica);
            let here = members.iter().find(|(_, member)| member.agent == *name).map(|(replica, _)| *replica);
            theirs.or(here).unwrap_or(ReplicaId::from_bits(0))
        };
        let seat = |tier: Tier, name: &String| -> Result<Seat, AgentError> {
            let agent = AgentId::new(name)?;
            Ok(Seat { replica: replica(&agent), agent, tier })
        };
        let mut seats: Vec<Seat> =
            self.members.iter().map(|(tier, name)| seat(*tier, name)).collect::<Result<_, _>>()?;
        seats.sort_by_key(|seat| seat.tier);
        let mut electors: Vec<Seat> =
            self.electors.iter().map(|name| seat(Tier::ALPHA, name)).collect::<Result<_, _>>()?;
        if self.relay_elects {
            // Which relays is up to whoever began it.
            electors.clone_from(&known.definition.electors);
        }
        let creator = known.definition.creator.clone();
        let mut definition = self.definition(id, seats, electors, &creator);
        shape(&mut definition);
        let purpose = purpose(&definition.members);
        Ok(Plan { definition, purpose }.differences(&known))
    }
}

fn seat_of(members: &[(ReplicaId, Member)], name: &str, tier: Tier) -> Option<Seat> {
    let (replica, member) = members.iter().find(|(_, member)| member.agent.as_str() == name)?;
    Some(Seat { agent: member.agent.clone(), replica: *replica, tier })
}
