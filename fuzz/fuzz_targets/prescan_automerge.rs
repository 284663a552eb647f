//! libFuzzer's entry to the target `prescan_automerge`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: aepoch_fuzz::quiet(), |data: &[u8]| {
    let _ = aepoch_fuzz::prescan_automerge::fuzz_one(data);
});
