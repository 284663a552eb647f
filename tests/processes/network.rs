//! Namespaces, cables and processes.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::Value;

use crate::agent;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// A switch and the agents plugged into it. All of it goes when this is dropped.
pub(crate) struct Network {
    pub(crate) folder: tempfile::TempDir,
    tag: String,
    agents: usize,
    relay: Option<Child>,
}

impl Network {
    /// A switch with so many agents' namespaces, `10.77.0.1` and so on; the switch itself is `10.77.0.254`.
    pub(crate) fn new(agents: usize) -> Self {
        let tag = format!("ae{}", std::process::id());
        let network = Self { folder: tempfile::tempdir().unwrap(), tag, agents, relay: None };
        let hub = network.hub();
        ip(&format!("netns add {hub}"));
        ip(&format!("-n {hub} link add br0 type bridge"));
        ip(&format!("-n {hub} addr add 10.77.0.254/24 dev br0"));
        ip(&format!("-n {hub} link set br0 up"));
        ip(&format!("-n {hub} link set lo up"));
        for number in 1..=agents {
            let space = network.space(number);
            ip(&format!("netns add {space}"));
            ip(&format!("-n {hub} link add v{number} type veth peer name eth0 netns {space}"));
            ip(&format!("-n {hub} link set v{number} master br0 up"));
            ip(&format!("-n {space} addr add 10.77.0.{number}/24 dev eth0"));
            ip(&format!("-n {space} link set eth0 up"));
            ip(&format!("-n {space} link set lo up"));
        }
        network
    }

    fn hub(&self) -> String {
        format!("{}hub", self.tag)
    }

    fn space(&self, number: usize) -> String {
        format!("{}n{number}", self.tag)
    }

    /// Pulls an agent's cable, or plugs it in again.
    pub(crate) fn plug(&self, number: usize, plugged: bool) {
        ip(&format!("-n {} link set v{number} {}", self.hub(), if plugged { "up" } else { "down" }));
    }

    /// Starts a relay at the switch.
    pub(crate) fn start_relay(&mut self) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.hub(), env!("CARGO_BIN_EXE_aepoch"), "serve"]);
        command.args(["--listen", "10.77.0.254:4433", "--store"]).arg(self.folder.path().join("relay.redb"));
        self.relay = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    pub(crate) fn store(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("a{number}.redb"))
    }

    /// The file that says what an agent's clock shows, as an offset such as `+3600`.
    pub(crate) fn set_clock(&self, number: usize, offset: &str) {
        std::fs::write(self.folder.path().join(format!("clock{number}")), offset).unwrap();
    }

    /// Starts an agent with its store. It dials these addresses and listens on its own.
    pub(crate) fn start(&self, number: usize, dial: &[String]) -> Process {
        let name = format!("a{number}");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(number)]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "agent::process", "--ignored", "--nocapture", "--test-threads", "1"]);
        command.env(agent::NAME, &name).env(format!("{}_STORE", agent::NAME), self.store(number));
        command.env(format!("{}_DIAL", agent::NAME), dial.join(","));
        command.env(format!("{}_LISTEN", agent::NAME), format!("10.77.0.{number}:4433"));
        let clock = self.folder.path().join(format!("clock{number}"));
        if clock.exists() {
            // libfaketime, from the package `faketime`: found by the linker's own means.
            command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1");
            command.env("FAKETIME_TIMESTAMP_FILE", clock).env("FAKETIME_NO_CACHE", "1");
            command.env("DONT_FAKE_MONOTONIC", "1");
        }
        Process::start(command, name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(relay) = &mut self.relay {
            let _ = relay.kill();
            let _ = relay.wait();
        }
        let spaces = (1..=self.agents).map(|number| self.space(number)).chain([self.hub()]);
        for space in spaces {
            let _ = Command::new("ip").args(["netns", "del", &space]).status();
        }
    }
}

/// A running agent.
pub(crate) struct Process {
    name: String,
    child: Child,
    input: ChildStdin,
    lines: Receiver<Value>,
    /// What it said while something else was waited for.
    kept: VecDeque<Value>,
    /// What its clock showed when it was ready, in seconds since 1970.
    pub(crate) wall_s: u64,
}

impl Process {
    fn start(mut command: Command, name: String) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line)
                    && sender.send(value).is_err()
                {
                    return;
                }
            }
        });
        let mut process = Self { name, child, input, lines, kept: VecDeque::new(), wall_s: 0 };
        process.wall_s = process.hear("ready")["wall_s"].as_u64().unwrap();
        process
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// The next thing it says that has this key.
    pub(crate) fn hear(&mut self, key: &str) -> Value {
        if let Some(at) = self.kept.iter().position(|value| value.get(key).is_some()) {
            return self.kept.remove(at).unwrap();
        }
        loop {
            let heard = self.lines.recv_timeout(PATIENCE);
            let value = heard.unwrap_or_else(|_| panic!("{} never says `{key}`; it said {:?}", self.name, self.kept));
            if value.get(key).is_some() {
                return value;
            }
            self.kept.push_back(value);
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
