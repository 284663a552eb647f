//! libFuzzer's entry to the target `prescan_yrs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: aepoch_fuzz::quiet(), |data: &[u8]| {
    let _ = aepoch_fuzz::prescan_yrs::fuzz_one(data);
});
