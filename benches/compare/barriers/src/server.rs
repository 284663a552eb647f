//! A server that `servers.sh` runs, until it is dropped.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

pub(crate) struct Server {
    pub(crate) address: String,
    script: Child,
}

impl Server {
    /// # Errors
    /// Why it cannot be measured here.
    pub(crate) fn start(system: &str) -> Result<Self, String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers.sh");
        let mut command = Command::new("bash");
        command.args([script, system]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().map_err(|error| format!("bash: {error}"))?;
        let mut line = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let line = line.trim();
        if line.parse::<std::net::SocketAddr>().is_ok() {
            return Ok(Self { address: line.to_owned(), script });
        }
        let _ = script.wait();
        Err(line.strip_prefix("skipped: ").unwrap_or("its script failed").to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input is what the script waits for; it then ends the server and removes its folder.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
