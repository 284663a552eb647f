//! libFuzzer's entry to the target `store_open`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: aepoch_fuzz::quiet(), |data: &[u8]| {
    let _ = aepoch_fuzz::store_open::fuzz_one(data);
});
