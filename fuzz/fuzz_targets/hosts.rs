#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("hosts"), |data: &[u8]| hookbox_fuzz::run("hosts", data));
