//! The relay under attack: a process, what it takes in memory, what it says of itself.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use aepoch::Agent;

/// Far longer than anything here takes: a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How much more memory a relay may take after an attack than before. Allocators keep what they had at their peak.
const GROWTH_KIB: u64 = 64 * 1024;

/// Killed with this value.
pub(crate) struct Relay {
    child: Child,
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

impl Relay {
    pub(crate) fn serve(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_aepoch"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--print-address", "--store"]);
        command.arg(folder.path().join("relay.redb")).args(options).env("RUST_LOG", "error");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned(), _folder: folder }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("ws://").unwrap()
    }

    pub(crate) async fn agent(&self, name: &str) -> Agent {
        Agent::builder(name).swarm("test").connect(&self.url).open().await.unwrap()
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {name} in {answer}")).parse().unwrap()
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the relay is alive");
        resident.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Notes what the relay takes now.
    pub(crate) fn flat(&self) -> Flat<'_> {
        Flat { relay: self, before: self.resident_kib() }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a relay took before an attack.
pub(crate) struct Flat<'a> {
    relay: &'a Relay,
    before: u64,
}

impl Flat<'_> {
    /// Fails when it takes much more now.
    pub(crate) fn check(&self, what: &str) {
        let (before, after) = (self.before, self.relay.resident_kib());
        println!("{what}: {before} KiB before, {after} KiB after");
        assert!(after < before + GROWTH_KIB, "{what}: from {before} KiB to {after} KiB");
    }
}
