#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("body"), |data: &[u8]| hookbox_fuzz::run("body", data));
