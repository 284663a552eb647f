//! What goes wrong, and how often. Every seed has its own climate: some worlds only lose connections, some only disks,
//! so that one kind of fault does not always hide another.

use super::{
    Plan, Sabotage,
    world::{Due, World},
};
use crate::time::Dice;

/// Which faults a world has.
#[derive(Debug, Clone)]
pub(super) struct Climate {
    /// Faults among a hundred steps.
    percent: u64,
    resets: bool,
    partitions: bool,
    slow_readers: bool,
    crashes: bool,
    disk_faults: bool,
    clock_steps: bool,
    /// Agents are linked to each other too.
    pub(super) mesh: bool,
    /// Messages come twice, late and out of order.
    pub(super) chaotic: bool,
    /// Processes stand still for seconds, and disks are put back to what they were.
    stalls: bool,
    restores: bool,
}

impl Climate {
    pub(super) const fn restores(&self) -> bool {
        self.restores
    }

    pub(super) fn draw(dice: &mut Dice) -> Self {
        Self {
            percent: [0, 3, 10, 25][usize::try_from(dice.below(4)).unwrap_or(0)],
            resets: dice.chance(60),
            partitions: dice.chance(50),
            slow_readers: dice.chance(50),
            crashes: dice.chance(50),
            disk_faults: dice.chance(50),
            clock_steps: dice.chance(50),
            mesh: dice.chance(35),
            chaotic: dice.chance(25),
            stalls: false,
            restores: false,
        }
    }

    /// Faults that worlds without coordination do not have: their seeds keep their meaning.
    pub(super) fn draw_more(&mut self, plan: &Plan, dice: &mut Dice) {
        self.stalls = dice.chance(50);
        // What a replica that is gone for good wrote must come back through others, and whole.
        self.restores = self.mesh && !plan.filters() && dice.chance(50);
    }

    /// No more faults.
    pub(super) fn calm(&mut self) {
        self.percent = 0;
        self.chaotic = false;
    }
}

impl World {
    /// One step of the plan: a fault or something an application does.
    pub(super) fn take_step(&mut self) {
        if self.dice.chance(self.climate.percent) {
            self.fault();
        } else {
            self.work_step();
        }
    }

    fn fault(&mut self) {
        let climate = self.climate.clone();
        match self.dice.below(if self.plan.coordination { 9 } else { 7 }) {
            0 if climate.resets => self.reset(),
            1 if climate.partitions => self.partition(),
            2 if climate.slow_readers => self.slow_down(),
            3 if climate.crashes => self.crash(),
            4 if climate.disk_faults => self.disk_fault(),
            5 if climate.clock_steps => self.step_clock(),
            6 => self.open_or_close(),
            7 if climate.stalls => self.stall(),
            8 if climate.restores => self.restore(),
            _ => self.work_step(),
        }
    }

    fn any_connection(&mut self) -> Option<u64> {
        let count = self.connections.len() as u64;
        let nth = usize::try_from(self.dice.below(count)).unwrap_or(0);
        self.connections.keys().nth(nth).copied()
    }

    /// A connection breaks at some packet in each direction. Its ends learn of it at different times, one of them
    /// perhaps only because nothing comes any more.
    fn reset(&mut self) {
        let Some(connection) = self.any_connection() else { return };
        self.trace.note(self.now, &[10, connection], format_args!("connection {connection} breaks"));
        let sides = if self.dice.chance(50) { [0, 1] } else { [1, 0] };
        self.sever(connection, sides);
    }

    /// Cuts both directions; the first side learns of it at once, the second perhaps much later.
    fn sever(&mut self, connection: u64, sides: [usize; 2]) {
        let Some(broken) = self.connections.get_mut(&connection) else { return };
        for end in &mut broken.ends {
            end.pipe.cut(&mut self.dice);
        }
        let late = match self.dice.below(4) {
            0 => 0,
            1 | 2 => self.dice.below(500_000),
            _ => self.dice.below(20_000_000),
        };
        self.put(self.now, Due::Lost { connection, side: sides[0] });
        self.put(self.now + late, Due::Lost { connection, side: sides[1] });
    }

    /// Packets from one host to another, or both ways, are held back.
    fn partition(&mut self) {
        let hosts = self.hosts.len() as u64;
        let (from, to) = (self.dice.below(hosts) as usize, self.dice.below(hosts) as usize);
        let until = self.now + self.dice.below(3_000_000);
        self.trace.note(self.now, &[11, from as u64, to as u64], format_args!("nothing gets from {from} to {to}"));
        self.dark.insert((from, to), until);
        if self.dice.chance(60) {
            self.dark.insert((to, from), until);
        }
    }

    /// A connection becomes too slow for what goes through it, or fast again.
    fn slow_down(&mut self) {
        let Some(connection) = self.any_connection() else { return };
        let rate = [200, 1_000, 5_000, 4_000_000][self.dice.below(4) as usize];
        self.trace.note(self.now, &[12, connection, rate], format_args!("connection {connection}: {rate} bytes/s"));
        if let Some(slow) = self.connections.get_mut(&connection) {
            slow.weather.bytes_per_second = rate;
        }
    }

    /// A process dies and comes back later.
    fn crash(&mut self) {
        let host = self.dice.below(self.hosts.len() as u64) as usize;
        let Some(node) = &self.hosts[host].node else { return };
        // A relay forwards before it persists. One that accepts from each agent its own writes only can then lose what
        // others build on, and only its writer could bring it back: none may be gone for good.
        if host == 0 && !self.hosts[0].trusts && self.hosts[1..].iter().any(|agent| !agent.keeps) {
            return;
        }
        self.counters.add(node.counters());
        self.trace.note(self.now, &[13, host as u64], format_args!("{} crashes", self.hosts[host].agent));
        let links: Vec<(u64, usize)> = self.hosts[host].links.values().copied().collect();
        let writer = self.hosts[host].replica();
        self.hosts[host].crash(&mut self.dice);
        self.gone(host, links);
        self.check_crash(host, writer);
    }

    /// A process is gone, and will come back.
    fn gone(&mut self, host: usize, links: Vec<(u64, usize)>) {
        for (connection, side) in links {
            if let Some(broken) = self.connections.get_mut(&connection) {
                broken.ends[side].open = false;
            }
            self.sever(connection, [side, 1 - side]);
        }
        let down = self.dice.below(2_000_000);
        self.put(self.now + down, Due::Restart { host });
    }

    /// One process stands still, or all do: their timers then run out at one time.
    fn stall(&mut self) {
        let until = self.now + self.dice.below(4_000_000);
        let all = self.dice.chance(30);
        let one = self.dice.below(self.hosts.len() as u64) as usize;
        for host in 0..self.hosts.len() {
            let ready = |node: &crate::node::Node| node.documents().all(|status| status.ready);
            // What is away to be worked on comes back to a process that runs.
            if (all || host == one)
                && self.hosts[host].node.as_ref().is_some_and(ready)
                && self.hosts[host].stalled_until < self.now
            {
                self.trace.note(self.now, &[17, host as u64, until], format_args!("{host} stands still"));
                self.hosts[host].stalled_until = until;
            }
        }
    }

    /// An agent's disk is copied, or put back to the copy.
    fn restore(&mut self) {
        let host = 1 + self.dice.below(self.plan.agents as u64) as usize;
        let it = &self.hosts[host];
        let Some(node) = it.node.as_ref().filter(|_| it.keeps) else { return };
        let Some(old) = self.backups.remove(&host) else {
            self.backups.insert(host, it.disk.backup());
            return;
        };
        self.counters.add(node.counters());
        self.trace.note(self.now, &[18, host as u64], format_args!("{} is put back to a copy", it.agent));
        let links: Vec<(u64, usize)> = it.links.values().copied().collect();
        let writer = it.replica();
        let same = self.plan.sabotage == Some(Sabotage::Amnesia);
        self.hosts[host].restore(old, same, &mut self.dice);
        self.gone(host, links);
        if same {
            self.check_crash(host, writer);
        }
    }

    fn disk_fault(&mut self) {
        let host = self.dice.below(self.hosts.len() as u64) as usize;
        let until = self.now + self.dice.below(2_000_000);
        let fails = self.dice.chance(50);
        let what = if fails { "fails" } else { "is slow" };
        self.trace.note(self.now, &[14, host as u64, until], format_args!("the disk of {host} {what}"));
        let disk = &mut self.hosts[host].disk;
        *(if fails { &mut disk.failing_until } else { &mut disk.slow_until }) = until;
    }

    /// A wall clock is set, forwards or back, by up to two minutes.
    fn step_clock(&mut self) {
        let host = self.dice.below(self.hosts.len() as u64) as usize;
        let mut step = i64::try_from(self.dice.below(240_000)).unwrap_or(0) - 120_000;
        if self.plan.coordination && self.dice.chance(20) {
            step = 3_600_000;
        }
        self.trace.note(self.now, &[15, host as u64], format_args!("the clock of {host} is set by {step} ms"));
        self.hosts[host].wall_ahead_ms += step;
    }

    /// An application closes a document, or opens it again.
    fn open_or_close(&mut self) {
        let host = 1 + self.dice.below(self.plan.agents as u64) as usize;
        let document = self.dice.below(self.documents.len() as u64) as usize;
        if self.hosts.get(host).is_none_or(|it| it.node.is_none()) {
            return;
        }
        if self.hosts[host].opened[document] {
            self.trace.note(self.now, &[16, host as u64], format_args!("{host} closes document {document}"));
            let moment = self.hosts[host].moment(self.now);
            self.show_presence(host, document, None);
            self.hosts[host].opened[document] = false;
            self.hosts[host].seen_of[document].forget();
            self.stop_inquiring(host, document);
            if let Some(node) = self.hosts[host].node.as_mut() {
                node.close(&self.documents[document], moment);
            }
            self.touch(host);
        } else {
            self.open(host, document);
        }
    }
}
