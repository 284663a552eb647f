//! The processes of a demo: a relay and the agents. All end with the value that holds them. Layer 7.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

use super::protocol::{Order, Report};
use crate::cli::Failure;

/// How long a relay may take to listen, and any process to end when asked.
const START_AND_END: Duration = Duration::from_secs(60);
/// Of a failed process's log, this much is shown.
const LOG_LINES: usize = 8;

/// The folder of a run: stores, logs, the plan. Removed with this value unless it is kept.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    /// A folder that stays.
    pub(super) fn kept(path: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(path)?;
        // Stores of an earlier run would be taken up, and their results counted with ours.
        if std::fs::read_dir(path)?.next().is_some() {
            return Err(Failure::usage(format!("{} must be empty", path.display())));
        }
        Ok(Self { path: std::path::absolute(path)?, keep: true })
    }

    /// One of our own among the system's temporary files.
    pub(super) fn temporary() -> Result<Self, Failure> {
        let base = std::env::temp_dir();
        for number in 0_u32.. {
            let path = base.join(format!("aepoch-demo-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, keep: false }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::failed(format!("no free name for a folder in {}", base.display())))
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the folder behind.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }

    /// The last lines of a process's log, for an error.
    pub(super) fn end_of_log(&self, name: &str) -> String {
        let log = std::fs::read_to_string(self.file(&format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
        if last.is_empty() { "it left no log".to_owned() } else { format!("its log ends:\n{}", last.join("\n")) }
    }

    /// This program again, with its errors in a log of that name.
    fn command(&self, name: &str) -> Result<Command, Failure> {
        let log = std::fs::File::options().create(true).append(true).open(self.file(&format!("{name}.log")))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        // Ctrl-C at the terminal is for the demo alone: it ends its processes itself, and knows that it did.
        #[cfg(unix)]
        command.process_group(0);
        Ok(command)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed stays among the temporary files.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A running relay.
#[derive(Debug)]
pub(super) struct RelayProcess {
    child: Child,
    /// The relay ends in order when this is dropped.
    stdin: ChildStdin,
    url: String,
}

impl RelayProcess {
    /// Starts a relay on the run's store and waits until it listens.
    pub(super) async fn start(folder: &Folder, listen: &str) -> Result<Self, Failure> {
        let mut command = folder.command("relay")?;
        command.args(["serve", "--print-address", "--until-stdin-ends", "--log", "info", "--listen", listen]);
        command.arg("--store").arg(folder.file("relay.redb"));
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::failed("the relay has no pipes"));
        };
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_AND_END, lines.next_line()).await;
        let Ok(Ok(Some(url))) = line else {
            let what = format!("the relay did not come up at {listen}; {}", folder.end_of_log("relay"));
            return Err(Failure::failed(what));
        };
        Ok(Self { child, stdin, url })
    }

    /// `ws://host:port`.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// SIGKILL: no goodbye, nothing flushed.
    pub(super) async fn kill(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }

    /// Asks it to end in order, and waits for that.
    pub(super) async fn end(self) -> Result<(), Failure> {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        wait(&mut child, "the relay").await
    }
}

/// A running agent.
#[derive(Debug)]
pub(super) struct AgentProcess {
    child: Child,
    stdin: ChildStdin,
    /// Tells its reports from those of an earlier process of the same agent.
    pub(super) generation: u32,
}

/// An agent's report, with the generation of its process.
pub(super) type Told = (String, u32, Report);

impl AgentProcess {
    /// Starts an agent on its own store; what it reports goes to `told`.
    pub(super) fn start(
        folder: &Folder,
        name: &str,
        generation: u32,
        told: &mpsc::UnboundedSender<Told>,
    ) -> Result<Self, Failure> {
        let mut command = folder.command(name)?;
        command.args(["demo-agent", "--log", "warn", "--name", name]);
        command.arg("--plan").arg(folder.file("plan.json"));
        command.arg("--store").arg(folder.file(&format!("{name}.redb")));
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::failed(format!("{name} has no pipes")));
        };
        let (name, told) = (name.to_owned(), told.clone());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                // A process killed while writing leaves half a line.
                let Ok(report) = serde_json::from_str(&line) else { continue };
                let _ = told.send((name.clone(), generation, report));
            }
            let _ = told.send((name, generation, Report::Gone));
        });
        Ok(Self { child, stdin, generation })
    }

    pub(super) async fn order(&mut self, order: Order) -> Result<(), Failure> {
        let line = serde_json::to_string(&order)? + "\n";
        Ok(self.stdin.write_all(line.as_bytes()).await?)
    }

    /// SIGKILL.
    pub(super) async fn kill(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }

    /// Asks it to close in order, and waits for that.
    pub(super) async fn end(mut self, name: &str) -> Result<(), Failure> {
        self.order(Order::End).await?;
        wait(&mut self.child, name).await
    }
}

async fn wait(child: &mut Child, name: &str) -> Result<(), Failure> {
    let ended = tokio::time::timeout(START_AND_END, child.wait()).await;
    let status = ended.map_err(|_| Failure::failed(format!("{name} did not end when asked")))??;
    if status.success() { Ok(()) } else { Err(Failure::failed(format!("{name} ended with {status}"))) }
}
