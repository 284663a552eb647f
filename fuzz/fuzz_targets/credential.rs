//! libFuzzer's entry to the target `credential`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: aepoch_fuzz::quiet(), |data: &[u8]| {
    let _ = aepoch_fuzz::credential::fuzz_one(data);
});
