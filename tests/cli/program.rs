//! Running the built program.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// The program, without what the surroundings might tell it.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aepoch"));
    command.args(arguments);
    for name in [
        "AEPOCH_RELAY",
        "AEPOCH_SWARM",
        "AEPOCH_DOCUMENT",
        "AEPOCH_CREDENTIAL",
        "AEPOCH_KEY",
        "AEPOCH_POLICY",
        "AEPOCH_TLS_CA",
        "AEPOCH_TLS_PIN",
        "RUST_LOG",
        "CARGO_MANIFEST_DIR",
    ] {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG").env_remove("CARGO_MANIFEST_DIR");
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    program(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs it, expects success and one JSON value.
pub(crate) fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A relay as its own process; killed with this value.
pub(crate) struct Relay {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Relay {
    pub(crate) fn serve(store: &Path) -> Self {
        Self::serve_with(store, &[])
    }

    pub(crate) fn serve_with(store: &Path, options: &[&str]) -> Self {
        let store = store.to_str().unwrap();
        let mut command = program(&["serve", "--listen", "127.0.0.1:0", "--print-address", "--store", store]);
        command.args(options);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }

    /// A relay that can write no more than some KiB into one file, until the limit is lifted; its messages go to `log`.
    #[cfg(target_os = "linux")]
    pub(crate) fn serve_limited(options: &[&str], log: &Path) -> Self {
        let mut command = Command::new("sh");
        // Beyond the limit the system would end it with this signal; ignored, the write fails.
        command.args(["-c", "trap '' XFSZ; ulimit -S -f 16; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_aepoch")]);
        command.args(["serve", "--listen", "127.0.0.1:0", "--print-address"]).args(options).env_remove("RUST_LOG");
        let log = std::fs::File::create(log).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn lift_limit(&self) {
        let pid = self.child.id().to_string();
        let lifted = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &pid]).status().unwrap();
        assert!(lifted.success());
    }

    /// Asks it to end, as a supervisor would, and returns its exit code.
    #[cfg(unix)]
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
