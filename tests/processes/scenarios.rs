//! What twenty agents go through.

use serde_json::Value;

use crate::network::{Network, Process};

const AGENTS: usize = 20;

/// How agents reach each other.
#[derive(Clone, Copy)]
enum Links {
    Relay,
    Direct,
}

struct Swarm {
    network: Network,
    links: Links,
    agents: Vec<Option<Process>>,
    members: String,
}

impl Swarm {
    fn new(links: Links, clocks: &[(usize, &str)]) -> Self {
        let mut network = Network::new(AGENTS);
        for (number, offset) in clocks {
            network.set_clock(*number, offset);
        }
        if matches!(links, Links::Relay) {
            network.start_relay();
        }
        let members: Vec<String> = (1..=AGENTS).map(|number| format!("a{number}")).collect();
        let mut swarm = Self { network, links, agents: Vec::new(), members: members.join(",") };
        for number in 1..=AGENTS {
            let agent = swarm.start(number);
            swarm.agents.push(Some(agent));
        }
        swarm
    }

    fn start(&self, number: usize) -> Process {
        let dial: Vec<String> = match self.links {
            Links::Relay => vec!["10.77.0.254:4433".to_owned()],
            // Everybody who was there before.
            Links::Direct => {
                (1..=AGENTS).filter(|other| *other < number).map(|other| format!("10.77.0.{other}:4433")).collect()
            }
        };
        self.network.start(number, &dial)
    }

    fn agent(&mut self, number: usize) -> &mut Process {
        self.agents[number - 1].as_mut().unwrap()
    }

    /// `TOLERATE TIMEOUT_MS` and the members follow the name.
    fn line(&self, command: &str, name: &str, tolerate: usize, timeout_ms: u64) -> String {
        format!("{command} {name} {tolerate} {timeout_ms} {}", self.members)
    }

    /// All have the barrier's definition.
    fn open(&mut self, name: &str, tolerate: usize, timeout_ms: u64) {
        let line = self.line("open", name, tolerate, timeout_ms);
        for number in 1..=AGENTS {
            self.agent(number).tell(&line);
        }
        for number in 1..=AGENTS {
            self.agent(number).hear("opened");
        }
    }

    fn arrive(&mut self, numbers: impl Iterator<Item = usize>, name: &str, tolerate: usize, timeout_ms: u64) {
        let line = self.line("arrive", name, tolerate, timeout_ms);
        for number in numbers {
            self.agent(number).tell(&line);
        }
    }

    fn ended(&mut self, number: usize) -> Value {
        self.agent(number).hear("ended")["standing"].clone()
    }
}

/// Standing and outcome, without the word that tells one who is in from one who is late.
fn tiers(standing: &Value) -> &Value {
    &standing["tiers"]
}

fn missing(standing: &Value) -> Vec<&str> {
    let missing = standing["tiers"][0]["missing"].as_array().unwrap();
    missing.iter().map(|agent| agent.as_str().unwrap()).collect()
}

/// Five cables are pulled before their agents arrive: the others go on without them, all alike, and the five learn of it
/// once they are back.
fn partition_and_heal(swarm: &mut Swarm) {
    swarm.open("parted", 9, 3_000);
    (16..=20).for_each(|number| swarm.network.plug(number, false));
    swarm.arrive(1..=20, "parted", 9, 3_000);
    let first = swarm.ended(1);
    assert_eq!((first["standing"].as_str(), missing(&first).len()), (Some("released"), 5), "{first}");
    for number in 2..=15 {
        assert_eq!(swarm.ended(number), first);
    }
    (16..=20).for_each(|number| swarm.network.plug(number, true));
    for number in 16..=20 {
        let late = swarm.ended(number);
        assert_eq!((late["standing"].as_str(), tiers(&late)), (Some("late"), tiers(&first)), "a{number}");
    }
}

/// Three agents are killed after they have arrived: nobody misses them. Those that come back with their log know how it
/// ended; the one that lost its log has lost its seat.
fn kill_and_restart(swarm: &mut Swarm) {
    swarm.open("killed", 9, 60_000);
    swarm.arrive(1..=3, "killed", 9, 60_000);
    swarm.agent(20).tell("sees killed 3");
    swarm.agent(20).hear("sees");
    for number in 1..=3 {
        swarm.agents[number - 1].take().unwrap().kill();
    }
    swarm.arrive(4..=20, "killed", 9, 60_000);
    let outcome = swarm.ended(4);
    assert_eq!((outcome["standing"].as_str(), missing(&outcome).len()), (Some("released"), 0), "{outcome}");
    for number in 5..=20 {
        assert_eq!(swarm.ended(number), outcome);
        // The fence, across processes: what the dead had written before they arrived is here.
        swarm.agent(number).tell("written x");
        assert_eq!(swarm.agent(number).hear("written")["written"], AGENTS);
    }
    std::fs::remove_file(swarm.network.store(3)).unwrap();
    for number in 1..=3 {
        let again = swarm.start(number);
        swarm.agents[number - 1] = Some(again);
    }
    for number in 1..=2 {
        swarm.agent(number).tell("watch killed");
        assert_eq!(swarm.ended(number), outcome, "a{number}");
    }
    let line = swarm.line("arrive", "killed", 9, 60_000);
    swarm.agent(3).tell(&line);
    let refused = swarm.agent(3).hear("refused");
    assert!(refused["error"].as_str().unwrap().contains("no seat"), "{refused}");
}

fn run(links: Links) {
    let mut swarm = Swarm::new(links, &[]);
    partition_and_heal(&mut swarm);
    kill_and_restart(&mut swarm);
}

#[test]
fn twenty_agents_over_a_relay_outlive_pulled_cables_and_kills() {
    run(Links::Relay);
}

#[test]
fn twenty_agents_over_direct_links_outlive_pulled_cables_and_kills() {
    run(Links::Direct);
}

/// Wall clocks feed stamps and nothing else: agents an hour ahead or behind, or whose clock is set meanwhile, are waited
/// for as long as all others, and no longer.
#[test]
fn clocks_that_are_set_change_nothing() {
    let mut swarm = Swarm::new(Links::Relay, &[(2, "+3600"), (3, "-3600"), (4, "+0")]);
    let walls = [1, 2, 3].map(|number| swarm.agent(number).wall_s);
    let is_set = walls[1] > walls[0] + 3_000 && walls[2] + 3_000 < walls[0];
    assert!(is_set, "the clocks are not set: Debian's `faketime` is missing? {walls:?}");
    swarm.open("stepped", 9, 60_000);
    swarm.arrive(1..=10, "stepped", 9, 60_000);
    swarm.network.set_clock(4, "+7200");
    swarm.network.set_clock(2, "-7200");
    swarm.arrive(11..=20, "stepped", 9, 60_000);
    let outcome = swarm.ended(1);
    assert_eq!((outcome["standing"].as_str(), missing(&outcome).len()), (Some("released"), 0), "{outcome}");
    for number in 2..=20 {
        assert_eq!(swarm.ended(number), outcome);
    }
}
