//! What is fuzzed, whoever makes up the bytes: libFuzzer (`fuzz_targets/`) or the program `smoke` on stable Rust.
//!
//! A target takes any bytes and returns how far they got, in a few words. It panics when a promise is broken; aborts
//! and hangs are seen by whoever runs it.

#![forbid(unsafe_code)]

pub mod apply_automerge;
pub mod apply_yrs;
pub mod audit;
mod content;
pub mod credential;
pub mod frame;
pub mod mutation;
mod pieces;
pub mod prescan_automerge;
pub mod prescan_yrs;
pub mod store_open;
pub mod wires;

/// One thing to fuzz.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also that of its libFuzzer program.
    pub name: &'static str,
    /// Runs one input; the answer says how far it got.
    pub fuzz_one: fn(&[u8]) -> String,
    /// Inputs to start from: what the library itself writes, and inputs that once did harm.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Everything that reads bytes from outside.
pub const TARGETS: [Target; 9] = [
    Target { name: "frame", fuzz_one: frame::fuzz_one, seeds: frame::seeds },
    Target { name: "prescan_yrs", fuzz_one: prescan_yrs::fuzz_one, seeds: prescan_yrs::seeds },
    Target { name: "prescan_automerge", fuzz_one: prescan_automerge::fuzz_one, seeds: prescan_automerge::seeds },
    Target { name: "apply_yrs", fuzz_one: apply_yrs::fuzz_one, seeds: apply_yrs::seeds },
    Target { name: "apply_automerge", fuzz_one: apply_automerge::fuzz_one, seeds: apply_automerge::seeds },
    Target { name: "audit", fuzz_one: audit::fuzz_one, seeds: audit::seeds },
    Target { name: "credential", fuzz_one: credential::fuzz_one, seeds: credential::seeds },
    Target { name: "store_open", fuzz_one: store_open::fuzz_one, seeds: store_open::seeds },
    Target { name: "wires", fuzz_one: wires::fuzz_one, seeds: wires::seeds },
];

/// Takes the panic hook away.
///
/// libFuzzer's own hook aborts at any panic, also one the library catches and reports. A panic that leaves a target
/// still ends the run.
pub fn quiet() {
    std::panic::set_hook(Box::new(|_| {}));
}
