//! Lines from stdin. Layer 7.
//!
//! A thread of its own rather than the runtime's reader: a runtime does not end while a read of stdin is under way.
#![allow(clippy::disallowed_methods, reason = "only a thread can wait for stdin and be left behind at the end")]

use tokio::sync::mpsc;

/// Every line of stdin from now on; ends with stdin.
pub(super) fn stdin() -> mpsc::UnboundedReceiver<String> {
    let (lines, received) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    received
}

/// Returns when stdin has ended; what comes before is ignored.
pub(super) async fn ended() {
    let mut lines = stdin();
    while lines.recv().await.is_some() {}
}
