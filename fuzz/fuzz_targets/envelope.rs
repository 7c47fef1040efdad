#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("envelope"), |data: &[u8]| hookbox_fuzz::run("envelope", data));
