//! Systems under test, each in a process of its own, and what the system says of that process.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::founder;

/// What is being measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The release binary, with its store on disk.
    Ours,
    /// The same, asking for credentials.
    Admitted,
    /// The release binary, as y-websocket's clients find it.
    OursYjs,
    /// The release binary, as Hocuspocus' clients find it.
    OursHocuspocus,
    /// The release binary, as automerge-repo's clients find it.
    OursAutomerge,
    /// A WebSocket broadcast without any protocol.
    Raw,
    /// `@y/websocket-server`, in memory.
    YWebsocket,
    /// `@hocuspocus/server`, in memory.
    Hocuspocus,
    /// `@automerge/automerge-repo` as a sync server, in memory.
    AutomergeRepo,
    /// Redis: a counter and a channel.
    Redis,
    /// etcd: the double barrier of its recipes.
    Etcd,
    /// etcd, all members watching all arrivals.
    EtcdCounted,
    /// `ZooKeeper`: the double barrier of its recipes.
    Zookeeper,
    /// `ZooKeeper`, all members watching all arrivals.
    ZookeeperCounted,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "aepoch",
            Self::Admitted => "aepoch, admitted",
            Self::OursYjs => "aepoch as y-websocket",
            Self::OursHocuspocus => "aepoch as hocuspocus",
            Self::OursAutomerge => "aepoch as automerge-repo",
            Self::Raw => "raw",
            Self::YWebsocket => "y-websocket",
            Self::Hocuspocus => "hocuspocus",
            Self::AutomergeRepo => "automerge-repo",
            Self::Redis => "redis",
            Self::Etcd => "etcd",
            Self::EtcdCounted => "etcd, counted",
            Self::Zookeeper => "zookeeper",
            Self::ZookeeperCounted => "zookeeper, counted",
        }
    }

    /// Speaks our protocol.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::Admitted)
    }

    /// The program of this crate.
    pub(crate) fn is_our_program(self) -> bool {
        matches!(self, Self::Ours | Self::Admitted | Self::OursYjs | Self::OursHocuspocus | Self::OursAutomerge)
    }

    /// Speaks Hocuspocus' protocol.
    pub(crate) fn is_hocuspocus(self) -> bool {
        matches!(self, Self::Hocuspocus | Self::OursHocuspocus)
    }

    /// Where a room is found.
    pub(crate) fn path(self, room: &str) -> String {
        match self {
            Self::Ours | Self::Admitted => "v1/sync".to_owned(),
            Self::OursYjs => format!("yjs/{room}"),
            Self::OursHocuspocus => "hocuspocus".to_owned(),
            Self::OursAutomerge => format!("automerge/{room}"),
            _ => room.to_owned(),
        }
    }

    /// False when it runs on node and node, or its packages, are not there.
    pub(crate) fn is_available(self) -> bool {
        let script = matches!(self, Self::YWebsocket | Self::Hocuspocus | Self::AutomergeRepo);
        !script || compare().join("node_modules").is_dir() && Command::new("node").arg("-v").output().is_ok()
    }
}

/// Where the others live.
pub(crate) fn compare() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/compare")
}

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) started: Instant,
    child: Child,
    /// Keeps the store of ours; removed with it.
    _folder: Option<tempfile::TempDir>,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Self {
        if !kind.is_our_program() {
            return Self::spawn(kind, None, None, &[]);
        }
        Self::start_with(kind, &["--updates-per-second", "1000000", "--bytes-per-second", "1000000000"])
    }

    /// Ours, at rates as told.
    pub(crate) fn start_with(kind: Kind, rates: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("relay.redb");
        Self::spawn(kind, Some(store), Some(folder), rates)
    }

    /// Ours, on a store that stays when it goes.
    pub(crate) fn on_store(store: PathBuf) -> Self {
        Self::spawn(Kind::Ours, Some(store), None, &[])
    }

    fn spawn(kind: Kind, store: Option<PathBuf>, folder: Option<tempfile::TempDir>, rates: &[&str]) -> Self {
        let mut command = match kind {
            Kind::Ours | Kind::Admitted | Kind::OursYjs | Kind::OursHocuspocus | Kind::OursAutomerge => {
                let store = store.unwrap();
                let mut command = Command::new(crate::binary());
                command.args(["serve", "--listen", "127.0.0.1:0", "--print-address", "--store"]).arg(&store);
                if kind == Kind::Admitted {
                    command.arg("--policy").arg(founder::write_policy(&store));
                    // As fast as one that asks nobody, unless the rate is what is measured.
                    command.args(rates.iter());
                }
                command
            }
            Kind::Raw => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg("--raw");
                command
            }
            Kind::YWebsocket | Kind::Hocuspocus | Kind::AutomergeRepo => {
                let script = format!("{}.mjs", kind.name());
                let mut command = Command::new("node");
                command.arg(script).current_dir(compare());
                command
            }
            rival => panic!("{} is started by benches/compare/barriers", rival.name()),
        };
        let started = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("ws://"), "{} did not start: {url:?}", kind.name());
        Self { kind, url: url.trim().to_owned(), started, child, _folder: folder }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("ws://")
    }

    /// Processor time of all its threads so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string())
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        resident(&self.child.id().to_string())
    }

    /// Ends it without a chance to tidy up.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Processor time of all threads of a process so far.
pub(crate) fn cpu_of(process: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<u64> = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap()).collect();
    // In ticks of 10 ms on every Linux.
    Duration::from_millis((fields[0] + fields[1]) * 10)
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
