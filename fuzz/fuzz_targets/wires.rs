//! libFuzzer's entry to the target `wires`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: aepoch_fuzz::quiet(), |data: &[u8]| {
    let _ = aepoch_fuzz::wires::fuzz_one(data);
});
