//! libFuzzer's entry to the target `apply_yrs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: aepoch_fuzz::quiet(), |data: &[u8]| {
    let _ = aepoch_fuzz::apply_yrs::fuzz_one(data);
});
