//! libFuzzer's entry to the target `apply_automerge`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: aepoch_fuzz::quiet(), |data: &[u8]| {
    let _ = aepoch_fuzz::apply_automerge::fuzz_one(data);
});
